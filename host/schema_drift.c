#include "schema_planner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEND_APPLY "accrete schema apply"

struct search {
    struct drift_list *list;
    struct pg *pg;
    const char *schema;
    const struct program *program;
    const struct settings *settings;
};

/* mend NULL: nothing needs to be done. object is taken. */
static void add(struct search *s, enum drift_grade grade, char *object, const char *mend,
                const char *fmt, ...) ACC_PRINTF(5, 6);
static void add(struct search *s, enum drift_grade grade, char *object, const char *mend,
                const char *fmt, ...)
{
    struct drift_list *list = s->list;
    va_list args;
    char *finding;

    va_start(args, fmt);
    if (vasprintf(&finding, fmt, args) < 0)
        abort();
    va_end(args);
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 16;
        list->items = acc_realloc(list->items, list->capacity * sizeof(*list->items));
    }
    struct drift *one = &list->items[list->count++];
    one->grade = grade;
    one->object = object;
    one->finding = finding;
    one->mend = mend == NULL ? NULL : acc_strdup(mend);
}

void drift_clear(struct drift_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].object);
        free(list->items[i].finding);
        free(list->items[i].mend);
    }
    free(list->items);
    *list = (struct drift_list){0};
}

static PGresult *query(struct search *s, const char *sql, const char *arg, struct acc_error *err)
{
    struct pg_args args = {0};

    if (arg != NULL)
        pg_text(&args, arg);
    return pg_exec(s->pg, sql, &args, err);
}

/* "schema".name, for statements that are run by hand. Caller frees. */
static char *in_schema(const struct search *s, const char *name)
{
    struct buf out = {0};

    pg_identifier(&out, s->schema);
    buf_byte(&out, '.');
    pg_identifier(&out, name);
    char *text = acc_strdup(out.data);
    buf_clear(&out);
    return text;
}

/* The tables that every app has */

static bool base_tables(struct search *s, bool *are_there, struct acc_error *err)
{
    struct base base;

    if (!base_look(&base, s->pg, err))
        return false;
    *are_there = true;
    for (size_t i = 0; i < base.count; i++) {
        const struct base_table *table = &base.tables[i];

        if (table->is == BASE_RIGHT)
            continue;
        *are_there = false;
        add(s, DRIFT_FAIL, acc_format("table %s", table->name), BASE_MEND, "%s%s",
            table->is == BASE_GONE ? "gone, and with it what it held" : "it ",
            table->is == BASE_GONE ? "" : table->flaw);
    }
    return true;
}

/* Kinds and their tables */

static bool undeclared_kinds(struct search *s, struct acc_error *err)
{
    static const char sql[] =
        "SELECT coalesce(k.name, substr(c.relname, 6)), c.relname::text, k.name IS NOT NULL "
        "FROM (SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
        "AND "
        "relkind = 'r' AND relname LIKE 'fact\\_%') c "
        "FULL JOIN kind k ON c.relname = 'fact_' || k.name ORDER BY 1";
    PGresult *res = query(s, sql, NULL, err);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        const char *name = pg_get_text(res, r, 0);
        bool is_declared = catalog_find(&s->program->catalog, name) != NULL;

        if (PQgetisnull(res, r, 1))
            add(s, DRIFT_FAIL, acc_format("kind %s", name), "restore a backup",
                "the database knows the kind, but its table fact_%s is gone", name);
        else if (!pg_get_bool(res, r, 2))
            add(s, DRIFT_WARN, acc_format("table %s", pg_get_text(res, r, 1)),
                is_declared ? MEND_APPLY : NULL, "a table that looks like a kind's, but is none");
        else if (!is_declared)
            add(s, DRIFT_NOTE, acc_format("kind %s", name), NULL,
                "the app does not declare it; its facts stay, and can be read again once it does");
    }
    PQclear(res);
    return res != NULL;
}

static bool column_is_right(const struct kind *kind, const PGresult *res, int r)
{
    int f = kind_field(kind, pg_get_text(res, r, 0));
    const char *type = pg_get_text(res, r, 1);

    return f >= 0 && strcmp(type, field_sql_type(&kind->fields[f])) == 0 &&
           pg_get_bool(res, r, 2) != kind->fields[f].is_nullable;
}

static bool columns(struct search *s, const struct kind *kind, struct acc_error *err)
{
    /* Names of types as field_sql_type says them. */
    static const char sql[] =
        "SELECT a.attname::text, CASE WHEN t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = "
        "'A' "
        "THEN e.typname || '[]' ELSE t.typname::text END, a.attnotnull "
        "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = "
        "t.typelem WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND "
        "a.attname NOT LIKE '\\_%'";
    uint64_t found = 0;
    PGresult *res = query(s, sql, kind->table, err);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        int f = kind_field(kind, pg_get_text(res, r, 0));

        if (f < 0)
            add(s, DRIFT_FAIL, acc_format("kind %s", kind->name),
                "declare the field again as nullable, or use the app's newer version",
                "the database has a column %s that the module does not declare",
                pg_get_text(res, r, 0));
        else if (!column_is_right(kind, res, r))
            add(s, DRIFT_FAIL, acc_format("kind %s", kind->name),
                "make a new kind and copy through a lifecycle",
                "column %s is %s%s, the module says %s%s", pg_get_text(res, r, 0),
                pg_get_text(res, r, 1), pg_get_bool(res, r, 2) ? "" : ", nullable",
                field_sql_type(&kind->fields[f]), kind->fields[f].is_nullable ? ", nullable" : "");
        if (f >= 0)
            found |= UINT64_C(1) << f;
    }
    for (size_t f = 0; res != NULL && f < kind->field_count; f++)
        if ((found >> f & 1) == 0)
            add(s, DRIFT_FAIL, acc_format("kind %s", kind->name), MEND_APPLY,
                "the module declares a field %s that the database does not have",
                kind->fields[f].name);
    PQclear(res);
    return res != NULL;
}

static bool trigger(struct search *s, const struct kind *kind, struct acc_error *err)
{
    static const char sql[] = "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = "
                              "to_regclass($1) AND tgname = 'permanent'";
    PGresult *res = query(s, sql, kind->table, err);

    if (res == NULL)
        return false;
    if (PQntuples(res) == 0 || strcmp(pg_get_text(res, 0, 0), "D") == 0) {
        char *table = in_schema(s, kind->table);
        char *function = in_schema(s, "fact_is_permanent");
        char *mend =
            PQntuples(res) == 0
                ? acc_format("CREATE TRIGGER permanent BEFORE UPDATE OR DELETE OR TRUNCATE "
                             "ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s()",
                             table, function)
                : acc_format("ALTER TABLE %s ENABLE TRIGGER permanent", table);
        add(s, DRIFT_FAIL, acc_format("kind %s", kind->name), mend,
            "nothing keeps its facts from being changed: the trigger is %s",
            PQntuples(res) == 0 ? "gone" : "disabled");
        free(table);
        free(function);
        free(mend);
    }
    PQclear(res);
    return true;
}

/* Indexes */

/* Whether a declared look-up has an index of that name. */
static bool is_declared_index(const struct search *s, const char *name)
{
    for (size_t k = 0; k < s->program->catalog.count; k++) {
        const struct kind *kind = s->program->catalog.kinds[k];
        for (size_t i = 0; i < kind->shape_count; i++) {
            struct buf expression = {0};
            char its[64];
            bool is_it =
                schema_index(kind, &kind->shapes[i], its, &expression) && strcmp(its, name) == 0;
            buf_clear(&expression);
            if (is_it)
                return true;
        }
    }
    return false;
}

static bool present_indexes(struct search *s, struct acc_error *err)
{
    static const char sql[] =
        "SELECT c.relname::text, t.relname::text, i.indisvalid AND i.indisready FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
        "WHERE t.relnamespace = current_schema()::regnamespace AND NOT i.indisprimary ORDER BY 2, "
        "1";
    PGresult *res = query(s, sql, NULL, err);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        const char *name = pg_get_text(res, r, 0);
        const char *table = pg_get_text(res, r, 1);

        if (!pg_get_bool(res, r, 2))
            add(s, DRIFT_WARN, acc_format("index %s", name),
                strncmp(name, "ix_", 3) == 0 ? MEND_APPLY : "drop it and build it again",
                "on %s, left invalid by a build that was cut off: it costs and does not help",
                table);
        else if (strncmp(name, "ix_", 3) == 0 && !is_declared_index(s, name)) {
            char *index = in_schema(s, name);
            char *mend = acc_format("DROP INDEX CONCURRENTLY %s, if no older version of the app "
                                    "runs",
                                    index);
            add(s, DRIFT_NOTE, acc_format("index %s", name), mend,
                "on %s, of a look-up that the app does not declare any more", table);
            free(index);
            free(mend);
        }
    }
    PQclear(res);
    return res != NULL;
}

static bool missing_index(struct search *s, const struct kind *kind, const struct shape *shape,
                          struct acc_error *err)
{
    struct buf expression = {0};
    char name[64];
    bool ok = true;

    if (schema_index(kind, shape, name, &expression)) {
        PGresult *res = query(s, "SELECT to_regclass($1) IS NULL", name, err);
        ok = res != NULL;
        if (ok && pg_get_bool(res, 0, 0))
            add(s, DRIFT_FAIL, acc_format("index %s", name), MEND_APPLY,
                "missing: each such look-up of kind %s reads all its facts", kind->name);
        PQclear(res);
    }
    buf_clear(&expression);
    return ok;
}

static bool declared_kind(struct search *s, const struct kind *kind, struct acc_error *err)
{
    PGresult *res = query(s, "SELECT to_regclass($1) IS NULL", kind->table, err);

    if (res == NULL)
        return false;
    bool is_new = pg_get_bool(res, 0, 0);
    PQclear(res);
    if (is_new) {
        add(s, DRIFT_WARN, acc_format("kind %s", kind->name), MEND_APPLY,
            "the app declares it, the database does not have it");
        return true;
    }
    for (size_t i = 0; i < kind->shape_count; i++)
        if (!missing_index(s, kind, &kind->shapes[i], err))
            return false;
    return columns(s, kind, err) && trigger(s, kind, err);
}

/* Lifecycles, rights */

static bool lifecycles(struct search *s, struct acc_error *err)
{
    PGresult *res =
        query(s, "SELECT name, module FROM lifecycle WHERE active ORDER BY name", NULL, err);
    int64_t known = 0;

    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        const struct lifecycle *lifecycle = program_find(s->program, pg_get_text(res, r, 0));

        known += lifecycle != NULL;
        if (lifecycle == NULL)
            add(s, DRIFT_WARN, acc_format("lifecycle %s", pg_get_text(res, r, 0)),
                "accrete reload or accrete run",
                "facts are routed to it, but the app does not have it any more");
        else if (strcmp(lifecycle->module_sha, pg_get_text(res, r, 1)) != 0)
            add(s, DRIFT_NOTE, acc_format("lifecycle %s", lifecycle->name),
                "accrete reload or accrete run",
                "the module here is another one than that of the running generation");
    }
    for (size_t i = 0; i < s->program->lifecycle_count && known >= 0; i++) {
        bool is_there = false;
        for (int r = 0; r < PQntuples(res); r++)
            is_there |= strcmp(pg_get_text(res, r, 0), s->program->lifecycles[i]->name) == 0;
        if (!is_there)
            add(s, DRIFT_WARN, acc_format("lifecycle %s", s->program->lifecycles[i]->name),
                "accrete reload or accrete run", "the app has it, but no fact is routed to it yet");
    }
    PQclear(res);
    return true;
}

static bool rights(struct search *s, struct acc_error *err)
{
    static const char sql[] =
        "SELECT c.relname::text FROM pg_class c, pg_roles o WHERE o.rolname = $1 AND "
        "c.relnamespace "
        "= current_schema()::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'fact\\_%' AND "
        "(has_table_privilege($1, c.oid, 'UPDATE') OR has_table_privilege($1, c.oid, 'DELETE') OR "
        "has_table_privilege($1, c.oid, 'TRUNCATE')) ORDER BY 1";
    char role[80];

    snprintf(role, sizeof(role), "%.52s_worker", s->schema);
    PGresult *res = query(s, sql, role, err);
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        char *table = in_schema(s, pg_get_text(res, r, 0));
        char *mend = acc_format("REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM \"%s\"", table, role);
        add(s, DRIFT_FAIL, acc_format("table %s", pg_get_text(res, r, 0)), mend,
            "the role %s may change or delete facts", role);
        free(table);
        free(mend);
    }
    PQclear(res);
    return res != NULL;
}

static bool frozen_settings(struct search *s, struct acc_error *err)
{
    struct buf now = {0};
    char buckets[24];
    PGresult *res =
        query(s, "SELECT key, value FROM meta WHERE key IN ('settings', 'buckets')", NULL, err);

    for (size_t i = 0; i < s->settings->app_count; i++)
        buf_printf(&now, "%s=%s\n", s->settings->app[i].name, s->settings->app[i].value);
    snprintf(buckets, sizeof(buckets), "%lld", (long long)s->settings->queue.buckets);
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        bool is_buckets = strcmp(pg_get_text(res, r, 0), "buckets") == 0;
        const char *wanted = is_buckets ? buckets : now.data == NULL ? "" : now.data;

        if (strcmp(pg_get_text(res, r, 1), wanted) != 0)
            add(s, DRIFT_WARN, acc_strdup(is_buckets ? "queue.buckets" : "settings"),
                "accrete schema plan says whether it can change",
                "the database has \"%s\", the app says \"%s\"", pg_get_text(res, r, 1), wanted);
    }
    PQclear(res);
    buf_clear(&now);
    return res != NULL;
}

bool schema_drift(struct drift_list *list, struct pg *pg, const char *schema,
                  const struct program *program, const struct settings *settings,
                  struct acc_error *err)
{
    struct search s = {list, pg, schema, program, settings};

    *list = (struct drift_list){0};
    bool has_base = false;
    bool ok = base_tables(&s, &has_base, err);
    if (ok && !has_base) /* the rest is read from them */
        return true;
    ok = ok && undeclared_kinds(&s, err);
    for (size_t i = 0; ok && i < program->catalog.count; i++)
        ok = declared_kind(&s, program->catalog.kinds[i], err);
    ok = ok && present_indexes(&s, err) && lifecycles(&s, err) && frozen_settings(&s, err) &&
         rights(&s, err);
    if (!ok)
        drift_clear(list);
    return ok;
}
