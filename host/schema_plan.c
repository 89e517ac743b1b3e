#include "schema_plan.h"

#include "accrete/hot.h"
#include "base/files.h"
#include "base/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes of the base tables' format count up; a newer format in the database is refused. */
#define FORMAT "3"

/* A plan in the making. */
struct planner {
    struct schema_plan *plan;
    struct pg *pg;
    const char *schema;
    const struct program *program;
    const struct settings *settings;
    bool has_base;    /* all base tables are there, so facts may be */
    bool makes_table; /* a step makes a table: rights are granted anew */
};

/* The plan */

static char *words_of(const char *fmt, va_list args)
{
    char *words;

    if (vasprintf(&words, fmt, args) < 0)
        abort();
    return words;
}

/* Takes a copy of sql; why is printed. */
static struct schema_step *add_step(struct planner *p, const char *sql, const char *fmt, ...)
    ACC_PRINTF(3, 4);
static struct schema_step *add_step(struct planner *p, const char *sql, const char *fmt, ...)
{
    struct schema_plan *plan = p->plan;
    va_list args;

    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity * 2 + 32;
        plan->steps = acc_realloc(plan->steps, plan->capacity * sizeof(*plan->steps));
    }
    va_start(args, fmt);
    plan->steps[plan->count] = (struct schema_step){acc_strdup(sql), words_of(fmt, args), false};
    va_end(args);
    return &plan->steps[plan->count++];
}

static void add_line(char ***list, size_t *count, const char *fmt, va_list args)
{
    *list = acc_realloc(*list, (*count + 1) * sizeof(**list));
    (*list)[(*count)++] = words_of(fmt, args);
}

static void refuse(struct planner *p, const char *fmt, ...) ACC_PRINTF(2, 3);
static void refuse(struct planner *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(&p->plan->refusals, &p->plan->refusal_count, fmt, args);
    va_end(args);
}

static void note(struct planner *p, const char *fmt, ...) ACC_PRINTF(2, 3);
static void note(struct planner *p, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_line(&p->plan->notes, &p->plan->note_count, fmt, args);
    va_end(args);
}

void schema_plan_clear(struct schema_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->steps[i].sql);
        free(plan->steps[i].why);
    }
    for (size_t i = 0; i < plan->refusal_count; i++)
        free(plan->refusals[i]);
    for (size_t i = 0; i < plan->note_count; i++)
        free(plan->notes[i]);
    free(plan->steps);
    free(plan->refusals);
    free(plan->notes);
    *plan = (struct schema_plan){0};
}

/* One value of a query, or NULL (err code ACC_OK when there was no row). Caller frees. */
static char *value_of(struct pg *pg, const char *sql, const char *arg, struct acc_error *err)
{
    struct pg_args args = {0};
    char *value = NULL;

    err->code = ACC_OK;
    if (arg != NULL)
        pg_text(&args, arg);
    PGresult *res = pg_exec(pg, sql, &args, err);
    if (res != NULL && PQntuples(res) > 0 && !PQgetisnull(res, 0, 0))
        value = acc_strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    return value;
}

/* *answer: whether the query has a row that is not NULL. */
static bool ask(struct pg *pg, const char *sql, const char *arg, bool *answer,
                struct acc_error *err)
{
    char *value = value_of(pg, sql, arg, err);

    *answer = value != NULL;
    free(value);
    return *answer || err->code == ACC_OK;
}

static void add_literal(struct planner *p, struct buf *sql, const char *text)
{
    char *literal = PQescapeLiteral(p->pg->conn, text, strlen(text));

    if (literal == NULL)
        abort(); /* out of memory, or a name that is not UTF-8, which is checked before */
    buf_text(sql, literal);
    PQfreemem(literal);
}

static void meta_statement(struct planner *p, struct buf *sql, const char *key, const char *value)
{
    buf_text(sql, "INSERT INTO meta VALUES (");
    add_literal(p, sql, key);
    buf_text(sql, ", ");
    add_literal(p, sql, value);
    buf_text(sql, ") ON CONFLICT (key) DO UPDATE SET value = excluded.value");
}

static void plan_meta(struct planner *p, const char *key, const char *value, const char *why)
{
    struct buf sql = {0};

    meta_statement(p, &sql, key, value);
    add_step(p, sql.data, "%s", why);
    buf_clear(&sql);
}

/* Base tables */

static const char permanent[] =
    "CREATE OR REPLACE FUNCTION fact_is_permanent() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'facts are permanent: % on % is refused', TG_OP, TG_TABLE_NAME; "
    "END$$";

/* The name behind prefix, when statement begins with it. */
static bool name_behind(const char *statement, const char *prefix, char *name, size_t size)
{
    size_t length = strlen(prefix);

    if (strncmp(statement, prefix, length) != 0)
        return false;
    snprintf(name, size, "%.*s",
             (int)strspn(statement + length, "abcdefghijklmnopqrstuvwxyz_0123456789"),
             statement + length);
    return true;
}

/*
 * One statement of schema.sql. What makes a table or index is left out when that is there; the rest
 * when all has been run before.
 */
static bool plan_statement(struct planner *p, const char *statement, bool is_known,
                           struct acc_error *err)
{
    static const char there[] = "SELECT to_regclass($1)::text";
    char name[64] = "";
    bool is_there = false;

    if (name_behind(statement, "CREATE TABLE IF NOT EXISTS ", name, sizeof(name)) ||
        name_behind(statement, "CREATE INDEX IF NOT EXISTS ", name, sizeof(name))) {
        if (!ask(p->pg, there, name, &is_there, err))
            return false;
        if (is_there)
            return true;
        p->makes_table = true;
        add_step(p, statement, "base: %s", name);
    } else if (!is_known) {
        add_step(p, statement, "base: as this version wants it");
    }
    return true;
}

/* A statement of schema.sql without the comment lines above it. */
static const char *skip_comments(const char *at)
{
    for (;;) {
        at += strspn(at, " \n");
        if (strncmp(at, "--", 2) != 0)
            return at;
        at = strchr(at, '\n') == NULL ? at + strlen(at) : strchr(at, '\n');
    }
}

static bool plan_statements(struct planner *p, const char *text, bool is_known,
                            struct acc_error *err)
{
    struct buf sql = {0};
    bool ok = true;

    for (const char *at = skip_comments(text); ok && *at != '\0';) {
        const char *end = strstr(at, ";\n");
        if (end == NULL)
            break;
        buf_reset(&sql);
        buf_add(&sql, at, (size_t)(end - at));
        ok = plan_statement(p, sql.data, is_known, err);
        at = skip_comments(end + 2);
    }
    buf_clear(&sql);
    return ok;
}

/*
 * Packets of format 1 had no layout behind the kind's tag: nothing for ids, for rows what the
 * kind's declaration says (queue.h). One block, so that no packet is changed twice.
 */
static const char from_1[] =
    "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE packet IN ACCESS EXCLUSIVE MODE; "
    "UPDATE packet p SET payload = substring(p.payload FROM 1 FOR 3) || CASE WHEN "
    "get_byte(p.payload, 0) = ascii('R') THEN set_byte('\\x00'::bytea, 0, length(k.layout)) || "
    "convert_to(k.layout, 'UTF8') ELSE '\\x00'::bytea END || substring(p.payload FROM 4) FROM "
    "(SELECT tag, CASE WHEN bool_or(line ~ ' nullable$') THEN 'n' ELSE '-' END || string_agg(CASE "
    "WHEN line ~ '^[a-z0-9_]+ (bool|int8|float8) ' THEN 'f' ELSE 's' END, '' ORDER BY number) AS "
    "layout FROM kind, regexp_split_to_table(declaration, '\\n') WITH ORDINALITY AS l(line, "
    "number) "
    "WHERE line ~ '^[a-z0-9_]+ (bool|int8|float8|text|bytes|json|uuid)(\\[\\])? "
    "(unique|other|nullable)$' GROUP BY tag) k "
    "WHERE k.tag = get_byte(p.payload, 1) + 256 * get_byte(p.payload, 2); "
    "UPDATE meta SET value = '2' WHERE key = 'format'; COMMIT";

/* Stands for the base tables as this version wants them. */
static void base_version(char *out, size_t size)
{
    size_t bytes;
    const char *text = files_get("host/schema.sql", &bytes);

    snprintf(out, size, FORMAT ":%016llx%016llx", (unsigned long long)acc_hash64(text, bytes),
             (unsigned long long)acc_hash64(permanent, sizeof(permanent)));
}

bool schema_base_is_current(struct pg *pg, bool *is_current, struct acc_error *err)
{
    bool has_meta;
    char now[48];

    *is_current = false;
    base_version(now, sizeof(now));
    return ask(pg, "SELECT to_regclass('meta')::text", NULL, &has_meta, err) &&
           (!has_meta || ask(pg, "SELECT 'yes' FROM meta WHERE key = 'base' AND value = $1", now,
                             is_current, err));
}

static bool plan_base(struct planner *p, struct acc_error *err)
{
    size_t size;
    const char *text = files_get("host/schema.sql", &size);
    struct buf sql = {0};
    char *format = NULL;
    char *base = NULL;
    bool has_schema;
    bool has_meta;
    bool has_function;
    char now[48];
    bool ok = false;

    base_version(now, sizeof(now));
    if (!ask(p->pg, "SELECT to_regnamespace(quote_ident($1))::text", p->schema, &has_schema, err) ||
        !ask(p->pg, "SELECT to_regclass('meta')::text", NULL, &has_meta, err) ||
        !ask(p->pg, "SELECT to_regproc('fact_is_permanent')::text", NULL, &has_function, err))
        goto out;
    if (has_meta) {
        format = value_of(p->pg, "SELECT value FROM meta WHERE key = 'format'", NULL, err);
        if (format == NULL && err->code != ACC_OK)
            goto out;
        base = value_of(p->pg, "SELECT value FROM meta WHERE key = 'base'", NULL, err);
        if (base == NULL && err->code != ACC_OK)
            goto out;
    }
    if (format != NULL && strcmp(format, FORMAT) != 0 && strcmp(format, "2") != 0 &&
        strcmp(format, "1") != 0) {
        refuse(p,
               "schema \"%s\" has format %s, this accrete knows %s: use the version that made it",
               p->schema, format, FORMAT);
        ok = true;
        goto out;
    }
    if (!has_schema) {
        buf_text(&sql, "CREATE SCHEMA IF NOT EXISTS ");
        pg_identifier(&sql, p->schema);
        add_step(p, sql.data, "the app's schema");
    }
    bool is_known = base != NULL && strcmp(base, now) == 0;
    if (!plan_statements(p, text, is_known, err))
        goto out;
    if (format != NULL && strcmp(format, "1") == 0)
        add_step(p, from_1, "packets of format 1 get their layout");
    if (!is_known || !has_function)
        add_step(p, permanent, "permanence of facts");
    if (format == NULL || strcmp(format, FORMAT) != 0)
        plan_meta(p, "format", FORMAT, "format of the base tables");
    if (!is_known)
        plan_meta(p, "base", now, "version of the base tables");
    ok = true;
out:
    free(format);
    free(base);
    buf_clear(&sql);
    return ok;
}

/* Kinds */

/* One line a field, sorted as declared: "name type unique|other|nullable"; then the shard. */
static void declaration(const struct kind *kind, struct buf *out)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        buf_printf(out, "%s %s%s %s\n", field->name, field_type_name(field->type),
                   field->is_array ? "[]" : "",
                   field->is_unique     ? "unique"
                   : field->is_nullable ? "nullable"
                                        : "other");
    }
    buf_text(out, "shard");
    for (size_t i = 0; i < kind->shard_count; i++)
        buf_printf(out, " %s", kind->fields[kind->shard[i]].name);
    buf_text(out, "\n");
}

static bool has_line(const char *text, const char *line, size_t length)
{
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n')
            return true;
    }
    return false;
}

/* Only nullable fields may have come since; refuses what else differs. */
static bool check_declaration(struct planner *p, const struct kind *kind, const char *old,
                              const char *now)
{
    for (const char *at = old; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t length = (size_t)(strchr(at, '\n') - at);
        if (!has_line(now, at, length)) {
            refuse(p,
                   "kinds/%s.lua: facts are stored with \"%.*s\", which the module no longer says; "
                   "that would change identity or lose data: make a new kind and copy through a "
                   "lifecycle",
                   kind->name, (int)length, at);
            return false;
        }
    }
    for (const char *at = now; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t length = (size_t)(strchr(at, '\n') - at);
        if (!has_line(old, at, length) &&
            (length < 9 || strncmp(at + length - 8, "nullable", 8) != 0)) {
            refuse(p,
                   "kinds/%s.lua: \"%.*s\" is new; a field added later must be nullable, all else "
                   "wants a new kind",
                   kind->name, (int)length, at);
            return false;
        }
    }
    return true;
}

static void plan_table(struct planner *p, const struct kind *kind)
{
    struct buf sql = {0};

    buf_printf(&sql, "CREATE TABLE IF NOT EXISTS %s (_id uuid PRIMARY KEY", kind->table);
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(&sql, ", ");
        pg_identifier(&sql, kind->fields[f].name);
        buf_printf(&sql, " %s%s", field_sql_type(&kind->fields[f]),
                   kind->fields[f].is_nullable ? "" : " NOT NULL");
    }
    buf_text(&sql, ", _batch int8 NOT NULL, _data uuid, _friends uuid[])");
    add_step(p, sql.data, "new kind %s", kind->name);
    p->makes_table = true;
    buf_clear(&sql);
}

/* Columns of nullable fields that the stored declaration does not have. */
static void plan_columns(struct planner *p, const struct kind *kind, const char *old)
{
    struct buf sql = {0};

    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        char *line = acc_format("%s %s%s nullable", field->name, field_type_name(field->type),
                                field->is_array ? "[]" : "");
        if (field->is_nullable && (old == NULL || !has_line(old, line, strlen(line)))) {
            buf_reset(&sql);
            buf_printf(&sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS ", kind->table);
            pg_identifier(&sql, field->name);
            buf_printf(&sql, " %s", field_sql_type(field));
            add_step(p, sql.data, "new nullable field %s of kind %s", field->name, kind->name);
        }
        free(line);
    }
    buf_clear(&sql);
}

static void plan_trigger(struct planner *p, const struct kind *kind)
{
    struct buf sql = {0};

    buf_printf(&sql,
               "CREATE OR REPLACE TRIGGER permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR "
               "EACH STATEMENT EXECUTE FUNCTION fact_is_permanent()",
               kind->table);
    add_step(p, sql.data, "permanence of kind %s", kind->name);
    buf_clear(&sql);
}

static void plan_declaration(struct planner *p, const struct kind *kind, const char *now)
{
    struct buf sql = {0};

    buf_printf(&sql, "INSERT INTO kind VALUES (%d, ", (int)kind->tag);
    add_literal(p, &sql, kind->name);
    buf_text(&sql, ", ");
    add_literal(p, &sql, now);
    buf_text(&sql, ") ON CONFLICT (tag) DO UPDATE SET declaration = excluded.declaration WHERE "
                   "kind.name = excluded.name");
    add_step(p, sql.data, "declaration of kind %s", kind->name);
    buf_clear(&sql);
}

/* Ids carry the tag: two kinds of one app cannot share it. */
static bool check_tag(struct planner *p, const struct kind *kind, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_int4(&args, kind->tag);
    pg_text(&args, kind->name);
    PGresult *res =
        pg_exec(p->pg, "SELECT name FROM kind WHERE tag = $1 AND name <> $2", &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0)
        refuse(p,
               "kinds/%s.lua: its ids could not be told from those of kind \"%s\", of which there "
               "are facts (both names hash to tag %04x): give the new kind another name",
               kind->name, PQgetvalue(res, 0, 0), kind->tag);
    PQclear(res);
    return true;
}

/* *is_new: no facts can be there, so indexes need not be built beside them. */
static bool plan_kind(struct planner *p, const struct kind *kind, bool *is_new,
                      struct acc_error *err)
{
    struct buf now = {0};
    char *old = NULL;
    bool is_there = false;
    bool ok = false;

    declaration(kind, &now);
    *is_new = true;
    if (p->has_base) {
        old = value_of(p->pg, "SELECT declaration FROM kind WHERE name = $1", kind->name, err);
        if ((old == NULL && err->code != ACC_OK) || !check_tag(p, kind, err))
            goto out;
        *is_new = old == NULL;
    }
    ok = true;
    if ((old != NULL && strcmp(old, now.data) == 0) ||
        (old != NULL && !check_declaration(p, kind, old, now.data)))
        goto out;
    ok = ask(p->pg, "SELECT to_regclass($1)::text", kind->table, &is_there, err);
    if (!ok)
        goto out;
    if (!is_there)
        plan_table(p, kind);
    else
        plan_columns(p, kind, old);
    plan_trigger(p, kind);
    plan_declaration(p, kind, now.data);
out:
    free(old);
    buf_clear(&now);
    return ok;
}

/*
 * Indexes: each declared look-up has one; texts and arrays are indexed by their hash, whatever
 * their length.
 */

static void index_expression(const struct kind *kind, const struct shape *shape, struct buf *out)
{
    if (shape->count == 0) {
        buf_text(out, "(_batch)");
        return;
    }
    for (size_t i = 0; i < shape->count; i++) {
        if (shape->has[i]) {
            buf_text(out, "USING gin (");
            pg_identifier(out, kind->fields[shape->fields[i]].name);
            buf_text(
                out,
                ") WITH (fastupdate = off)"); /* a pending list would be scanned by every look-up */
            return;
        }
    }
    buf_text(out, "(");
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &kind->fields[shape->fields[i]];
        const char *hash = field->is_array              ? "hash_array_extended"
                           : field->type == FIELD_TEXT  ? "hashtextextended"
                           : field->type == FIELD_BYTES ? "hashbytea"
                                                        : NULL;
        buf_text(out, i == 0 ? "" : ", ");
        if (hash != NULL && strcmp(hash, "hashbytea") == 0) {
            buf_text(out, "sha256(");
            pg_identifier(out, field->name);
            buf_text(out, ")");
        } else if (hash != NULL) {
            buf_printf(out, "%s(", hash);
            pg_identifier(out, field->name);
            buf_text(out, ", 0)");
        } else {
            pg_identifier(out, field->name);
        }
    }
    buf_text(out, ")");
}

bool schema_index(const struct kind *kind, const struct shape *shape, char *name,
                  struct buf *expression)
{
    if (shape->by_id)
        return false;
    index_expression(kind, shape, expression);
    snprintf(name, 64, "ix_%.40s_%016llx", kind->name,
             (unsigned long long)acc_hash64(expression->data, expression->size));
    return true;
}

static bool plan_index(struct planner *p, const struct kind *kind, const struct shape *shape,
                       bool is_new, struct acc_error *err)
{
    static const char valid[] =
        "SELECT i.indisvalid::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace";
    struct buf expression = {0};
    struct buf sql = {0};
    char name[64];
    char *state = NULL;
    bool ok = true;

    if (!schema_index(kind, shape, name, &expression))
        return true;
    state = value_of(p->pg, valid, name, err);
    if (state == NULL && err->code != ACC_OK) {
        ok = false;
        goto out;
    }
    if (state != NULL && strcmp(state, "true") == 0)
        goto out;
    if (state != NULL) {
        buf_printf(&sql, "DROP INDEX CONCURRENTLY IF EXISTS %s", name);
        add_step(p, sql.data, "its building was cut off");
        buf_reset(&sql);
    }
    buf_printf(&sql, "CREATE INDEX%s IF NOT EXISTS %s ON %s %s", is_new ? "" : " CONCURRENTLY",
               name, kind->table, expression.data);
    add_step(p, sql.data, "look-up of kind %s%s", kind->name,
             is_new ? "" : ", built while others read and write");
out:
    free(state);
    buf_clear(&expression);
    buf_clear(&sql);
    return ok;
}

/* Rights: the role of workers may read and add facts, no more; that of readers may read. Neither sees tokens. */

#define WRITABLE                                                                                   \
    "packet, parked, replay, replay_bound, batch, tally_lifecycle, tally_kind, tally_reason, "     \
    "epoch"

#define SEES_TOKENS                                                                                \
    "(has_table_privilege($1, c.oid, 'SELECT') OR has_any_column_privilege($1, c.oid, 'SELECT') "  \
    "OR has_table_privilege($1, c.oid, 'INSERT') OR has_table_privilege($1, c.oid, 'UPDATE'))"

static const struct role {
    const char *suffix, *who;
    /* 'yes' when the role $1 lacks a right on a table that is there, or sees tokens */
    const char *lacking;
    const char *tables, *more; /* what is granted on all tables, and on WRITABLE (NULL: no more) */
} roles[] = {
    {"worker", "workers: they may read and add facts, no more",
     "SELECT 'yes' FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND "
     "c.relkind = 'r' AND CASE WHEN c.relname = 'token' THEN " SEES_TOKENS
     " ELSE NOT (has_table_privilege($1, c.oid, 'SELECT') AND "
     "has_table_privilege($1, c.oid, 'INSERT') AND (c.relname <> ALL(string_to_array("
     "'" WRITABLE "', ', ')) OR (has_table_privilege($1, c.oid, 'UPDATE') AND "
     "has_table_privilege($1, c.oid, 'DELETE')))) END LIMIT 1",
     "SELECT, INSERT", "UPDATE, DELETE"},
    {"reader", "readers: they may read",
     "SELECT 'yes' FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND "
     "c.relkind = 'r' AND CASE WHEN c.relname = 'token' THEN " SEES_TOKENS
     " ELSE NOT has_table_privilege($1, c.oid, 'SELECT') END LIMIT 1",
     "SELECT", NULL},
};

/* *ok_now: the role has what it needs on every table that is there. */
static bool has_rights(struct planner *p, const struct role *role, const char *name, bool *ok_now,
                       struct acc_error *err)
{
    bool lacks;

    if (!ask(p->pg, role->lacking, name, &lacks, err) ||
        !ask(p->pg,
             "SELECT 'yes' WHERE pg_has_role($1, 'MEMBER') AND "
             "has_schema_privilege($1, current_schema(), 'USAGE')",
             name, ok_now, err))
        return false;
    *ok_now = *ok_now && !lacks;
    return true;
}

static void plan_grants(struct planner *p, const struct role *role, const char *name)
{
    struct buf sql = {0};

    buf_text(&sql, "GRANT ");
    pg_identifier(&sql, name);
    buf_text(&sql, " TO current_user; GRANT USAGE ON SCHEMA ");
    pg_identifier(&sql, p->schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, name);
    buf_printf(&sql, "; GRANT %s ON ALL TABLES IN SCHEMA ", role->tables);
    pg_identifier(&sql, p->schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, name);
    if (role->more != NULL) {
        buf_printf(&sql, "; GRANT %s ON " WRITABLE " TO ", role->more);
        pg_identifier(&sql, name);
    }
    buf_text(&sql, "; REVOKE ALL ON token FROM ");
    pg_identifier(&sql, name);
    add_step(p, sql.data, "rights of %s", role->who);
    buf_clear(&sql);
}

static bool plan_role(struct planner *p, const struct role *role, struct acc_error *err)
{
    struct buf sql = {0};
    char name[80];
    bool is_there;
    bool is_right = false;

    schema_role_name(p->schema, role->suffix, name);
    if (!ask(p->pg, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", name, &is_there, err))
        return false;
    if (!is_there) {
        buf_text(&sql, "CREATE ROLE ");
        pg_identifier(&sql, name);
        buf_text(&sql, " NOLOGIN");
        add_step(p, sql.data, "role of %ss", role->suffix)->may_exist = true;
        buf_clear(&sql);
    } else if (p->has_base && !has_rights(p, role, name, &is_right, err)) {
        return false;
    }
    if (!is_right || p->makes_table)
        plan_grants(p, role, name);
    return true;
}

static bool plan_roles(struct planner *p, struct acc_error *err)
{
    bool may;
    bool ok = true;

    if (!ask(p->pg,
             "SELECT 'yes' FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR "
             "rolsuper)",
             NULL, &may, err))
        return false;
    if (!may) {
        note(p, "the database's role may not create roles: permanence of facts is kept by triggers "
                "alone");
        return true;
    }
    for (size_t i = 0; ok && i < sizeof(roles) / sizeof(*roles); i++)
        ok = plan_role(p, &roles[i], err);
    return ok;
}

/*
 * Settings that shape the fixpoint, frozen with the first fact; buckets, changed only when drained.
 */

static void plan_buckets(struct planner *p, const char *buckets, const char *has)
{
    struct buf sql = {0};

    buf_text(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE routing IN ACCESS EXCLUSIVE "
                   "MODE; UPDATE routing SET version = version + 1; ");
    meta_statement(p, &sql, "buckets", buckets);
    buf_text(&sql, "; COMMIT");
    if (has == NULL)
        add_step(p, sql.data, "%s buckets", buckets);
    else
        add_step(p, sql.data, "%s buckets instead of %s", buckets, has);
    buf_clear(&sql);
}

/* What meta says now, and whether facts and packets are there. */
struct stored {
    char *settings, *buckets;
    bool has_facts, is_busy;
};

static bool read_stored(struct planner *p, struct stored *stored, struct acc_error *err)
{
    *stored = (struct stored){0};
    if (!p->has_base)
        return true;
    stored->settings = value_of(p->pg, "SELECT value FROM meta WHERE key = 'settings'", NULL, err);
    if (err->code != ACC_OK)
        return false;
    stored->buckets = value_of(p->pg, "SELECT value FROM meta WHERE key = 'buckets'", NULL, err);
    return err->code == ACC_OK &&
           ask(p->pg, "SELECT 'yes' FROM tally_kind WHERE new > 0 LIMIT 1", NULL,
               &stored->has_facts, err) &&
           ask(p->pg,
               "SELECT 'yes' WHERE EXISTS (SELECT FROM packet) OR EXISTS (SELECT FROM replay)",
               NULL, &stored->is_busy, err);
}

static bool plan_settings(struct planner *p, struct acc_error *err)
{
    const struct settings *settings = p->settings;
    struct stored stored;
    struct buf now = {0};
    char buckets[24];
    bool ok = read_stored(p, &stored, err);

    for (size_t i = 0; i < settings->app_count; i++)
        buf_printf(&now, "%s=%s\n", settings->app[i].name, settings->app[i].value);
    const char *wanted = now.data == NULL ? "" : now.data;
    bool is_same = stored.settings != NULL && strcmp(stored.settings, wanted) == 0;
    snprintf(buckets, sizeof(buckets), "%lld", (long long)settings->queue.buckets);
    if (ok && stored.settings != NULL && !is_same && stored.has_facts)
        refuse(p,
               "accrete.yaml: settings: facts were found with \"%s\", now it says \"%s\"; they "
               "shape the fixpoint and cannot change: use another data directory or schema",
               stored.settings, wanted);
    else if (ok && !is_same)
        plan_meta(p, "settings", wanted, "settings that shape the fixpoint");
    if (ok && stored.buckets != NULL && strcmp(stored.buckets, buckets) != 0 && stored.is_busy)
        refuse(p,
               "queue.buckets: the queue holds packets for %s buckets; wanted an empty queue to "
               "change to %s",
               stored.buckets, buckets);
    else if (ok && (stored.buckets == NULL || strcmp(stored.buckets, buckets) != 0))
        plan_buckets(p, buckets, stored.buckets);
    free(stored.settings);
    free(stored.buckets);
    buf_clear(&now);
    return ok;
}

/*
 * Lifecycles: nothing is to be applied, they are registered when the modules become a generation.
 */

static bool plan_lifecycle(struct planner *p, const struct lifecycle *lifecycle,
                           struct acc_error *err)
{
    static const char sql[] =
        "SELECT l.kind, coalesce(k.name, '?'), l.active, l.module, EXISTS (SELECT FROM packet "
        "WHERE "
        "lifecycle = l.id) OR EXISTS (SELECT FROM parked WHERE lifecycle = l.id AND state <> "
        "'discarded') OR EXISTS (SELECT FROM replay WHERE lifecycle = l.id) "
        "FROM lifecycle l LEFT JOIN kind k ON k.tag = l.kind WHERE l.name = $1";
    struct pg_args args = {0};

    pg_text(&args, lifecycle->name);
    PGresult *res = pg_exec(p->pg, sql, &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0)
        note(p, "lifecycle %s is new: it will also see the facts of kind %s that are there",
             lifecycle->name, lifecycle->on->name);
    else if (pg_get_int4(res, 0, 0) != lifecycle->on->tag && pg_get_bool(res, 0, 4))
        refuse(p,
               "lifecycles/%s.lua: it reacts to kind \"%s\" now, but events of kind \"%s\" still "
               "wait for it: let them finish, or give the new lifecycle another name",
               lifecycle->name, lifecycle->on->name, pg_get_text(res, 0, 1));
    else if (pg_get_int4(res, 0, 0) != lifecycle->on->tag)
        note(p,
             "lifecycle %s reacts to kind %s instead of %s: it will also see the facts that are "
             "there",
             lifecycle->name, lifecycle->on->name, pg_get_text(res, 0, 1));
    else if (!pg_get_bool(res, 0, 2))
        note(p, "lifecycle %s comes back: it will see all facts of kind %s again", lifecycle->name,
             lifecycle->on->name);
    else if (strcmp(pg_get_text(res, 0, 3), lifecycle->module_sha) != 0)
        note(p, "lifecycle %s has changed: facts it has seen are not run again", lifecycle->name);
    PQclear(res);
    return true;
}

static bool plan_lifecycles(struct planner *p, struct acc_error *err)
{
    static const char sql[] =
        "SELECT l.name, coalesce((SELECT sum(n) FROM packet WHERE lifecycle = "
        "l.id), 0)::int8 FROM lifecycle l WHERE active ORDER BY name";
    struct pg_args none = {0};

    for (size_t i = 0; i < p->program->lifecycle_count; i++)
        if (!plan_lifecycle(p, p->program->lifecycles[i], err))
            return false;
    PGresult *res = pg_exec(p->pg, sql, &none, err);
    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        if (program_find(p->program, pg_get_text(res, r, 0)) == NULL)
            note(p, "lifecycle %s is removed: its %lld queued events stay", pg_get_text(res, r, 0),
                 (long long)pg_get_int8(res, r, 1));
    PQclear(res);
    return res != NULL;
}

static bool plan_all(struct planner *p, struct acc_error *err)
{
    if (!ask(p->pg, "SELECT to_regclass('tally_reason')::text", NULL, &p->has_base, err) ||
        !plan_base(p, err))
        return false;
    if (p->program == NULL || p->plan->refusal_count > 0)
        return true;
    for (size_t i = 0; i < p->program->catalog.count; i++) {
        const struct kind *kind = p->program->catalog.kinds[i];
        bool is_new = false;

        if (!plan_kind(p, kind, &is_new, err))
            return false;
        for (size_t s = 0; s < kind->shape_count; s++) {
            if (!plan_index(p, kind, &kind->shapes[s], is_new, err))
                return false;
        }
    }
    return plan_settings(p, err) && plan_roles(p, err) && (!p->has_base || plan_lifecycles(p, err));
}

bool schema_plan_make(struct schema_plan *plan, struct pg *pg, const char *schema,
                      const struct program *program, const struct settings *settings,
                      struct acc_error *err)
{
    struct planner planner = {
        .plan = plan, .pg = pg, .schema = schema, .program = program, .settings = settings};

    *plan = (struct schema_plan){0};
    if (plan_all(&planner, err))
        return true;
    schema_plan_clear(plan);
    return false;
}
