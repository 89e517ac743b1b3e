#include "schema.h"

#include "accrete/hot.h"
#include "base/files.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes of the base tables' format count up; a newer format in the database is refused. */
#define FORMAT "1"

static bool run(struct pg *pg, const struct buf *sql, struct acc_error *err)
{
    return pg_do(pg, sql->data, NULL, err);
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

static bool meta_set(struct pg *pg, const char *key, const char *value, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_text(&args, key);
    pg_text(&args, value);
    return pg_do(
        pg,
        "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        &args, err);
}

/* Base tables: each statement of schema.sql by itself. */
static bool apply_base(struct pg *pg, const char *schema, struct acc_error *err)
{
    size_t size;
    const char *text = files_get("host/schema.sql", &size);
    struct buf sql = {0};
    bool ok = true;

    buf_text(&sql, "CREATE SCHEMA IF NOT EXISTS ");
    pg_identifier(&sql, schema);
    ok = run(pg, &sql, err);
    for (const char *at = text; ok && *at != '\0';) {
        const char *end = strstr(at, ";\n");
        if (end == NULL)
            break;
        buf_reset(&sql);
        buf_add(&sql, at, (size_t)(end - at));
        ok = run(pg, &sql, err);
        at = end + 2;
    }
    char *format =
        ok ? value_of(pg, "SELECT value FROM meta WHERE key = 'format'", NULL, err) : NULL;
    if (ok && format == NULL)
        ok = err->code == ACC_OK && meta_set(pg, "format", FORMAT, err);
    else if (ok && strcmp(format, FORMAT) != 0)
        ok = acc_fail(
            err, ACC_EDB,
            "schema \"%s\" has format %s, this accrete knows %s: use the version that made it",
            schema, format, FORMAT);
    free(format);
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

/* Only nullable fields may have come since; says what else differs. */
static bool check_drift(const struct kind *kind, const char *old, const char *now,
                        struct acc_error *err)
{
    for (const char *at = old; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t length = (size_t)(strchr(at, '\n') - at);
        if (!has_line(now, at, length))
            return acc_fail(err, ACC_EINPUT,
                            "kinds/%s.lua: facts are stored with \"%.*s\", which the module no "
                            "longer says; that would change identity "
                            "or lose data: make a new kind and copy through a lifecycle",
                            kind->name, (int)length, at);
    }
    for (const char *at = now; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t length = (size_t)(strchr(at, '\n') - at);
        if (!has_line(old, at, length) &&
            (length < 9 || strncmp(at + length - 8, "nullable", 8) != 0))
            return acc_fail(err, ACC_EINPUT,
                            "kinds/%s.lua: \"%.*s\" is new; a field added later must be nullable, "
                            "all else wants a new kind",
                            kind->name, (int)length, at);
    }
    return true;
}

static bool create_kind(struct pg *pg, const struct kind *kind, struct acc_error *err)
{
    struct buf sql = {0};
    bool ok;

    buf_printf(&sql, "CREATE TABLE IF NOT EXISTS %s (_id uuid PRIMARY KEY", kind->table);
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(&sql, ", ");
        pg_identifier(&sql, kind->fields[f].name);
        buf_printf(&sql, " %s%s", field_sql_type(&kind->fields[f]),
                   kind->fields[f].is_nullable ? "" : " NOT NULL");
    }
    buf_text(&sql, ", _batch int8 NOT NULL, _data uuid, _friends uuid[])");
    ok = run(pg, &sql, err);
    for (size_t f = 0; ok && f < kind->field_count; f++) {
        if (!kind->fields[f].is_nullable)
            continue;
        buf_reset(&sql);
        buf_printf(&sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS ", kind->table);
        pg_identifier(&sql, kind->fields[f].name);
        buf_printf(&sql, " %s", field_sql_type(&kind->fields[f]));
        ok = run(pg, &sql, err);
    }
    buf_reset(&sql);
    buf_printf(&sql,
               "CREATE OR REPLACE TRIGGER permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR "
               "EACH STATEMENT EXECUTE FUNCTION fact_is_permanent()",
               kind->table);
    ok = ok && run(pg, &sql, err);
    buf_clear(&sql);
    return ok;
}

static bool apply_kind(struct pg *pg, const struct kind *kind, bool *is_new, struct acc_error *err)
{
    struct buf now = {0};
    struct pg_args args = {0};
    bool ok = false;

    declaration(kind, &now);
    char *old = value_of(pg, "SELECT declaration FROM kind WHERE name = $1", kind->name, err);
    if (old == NULL && err->code != ACC_OK)
        goto out;
    *is_new = old == NULL;
    if (old != NULL && strcmp(old, now.data) == 0) {
        ok = true;
        goto out;
    }
    if ((old != NULL && !check_drift(kind, old, now.data, err)) || !create_kind(pg, kind, err))
        goto out;
    pg_int4(&args, kind->tag);
    pg_text(&args, kind->name);
    pg_text(&args, now.data);
    ok = pg_do(pg,
               "INSERT INTO kind VALUES ($1, $2, $3) ON CONFLICT (tag) DO UPDATE SET declaration = "
               "excluded.declaration WHERE kind.name = excluded.name",
               &args, err);
out:
    free(old);
    buf_clear(&now);
    return ok;
}

/* Indexes: each declared look-up has one; texts and arrays are indexed by their hash, whatever their length. */

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

static bool apply_index(struct pg *pg, const struct kind *kind, const struct shape *shape,
                        bool is_new, struct acc_error *err)
{
    static const char valid[] =
        "SELECT i.indisvalid::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relname = $1 AND c.relnamespace = current_schema()::regnamespace";
    struct buf expression = {0};
    struct buf sql = {0};
    char name[64];
    bool ok = false;

    if (shape->by_id)
        return true;
    index_expression(kind, shape, &expression);
    snprintf(name, sizeof(name), "ix_%.40s_%016llx", kind->name,
             (unsigned long long)acc_hash64(expression.data, expression.size));
    char *state = value_of(pg, valid, name, err);
    if (state == NULL && err->code != ACC_OK)
        goto out;
    if (state != NULL && strcmp(state, "true") == 0) {
        ok = true;
        goto out;
    }
    if (state != NULL) { /* left invalid by a build that was cut off */
        buf_printf(&sql, "DROP INDEX IF EXISTS %s", name);
        if (!run(pg, &sql, err))
            goto out;
        buf_reset(&sql);
    }
    buf_printf(&sql, "CREATE INDEX %s IF NOT EXISTS %s ON %s %s", is_new ? "" : "CONCURRENTLY",
               name, kind->table, expression.data);
    ok = run(pg, &sql, err);
out:
    free(state);
    buf_clear(&expression);
    buf_clear(&sql);
    return ok;
}

/* The role of workers may read and add facts, no more. */
static bool apply_roles(struct pg *pg, const char *schema, struct acc_error *err)
{
    struct buf sql = {0};
    char role[80];
    bool ok = false;

    char *may = value_of(
        pg, "SELECT (rolcreaterole OR rolsuper)::text FROM pg_roles WHERE rolname = current_user",
        NULL, err);
    if (may == NULL)
        goto out;
    if (strcmp(may, "true") != 0) {
        log_warn("schema",
                 "event=\"no CREATEROLE\" effect=\"permanence is kept by triggers alone\"");
        ok = true;
        goto out;
    }
    snprintf(role, sizeof(role), "%.52s_worker", schema);
    char *there = value_of(pg, "SELECT rolname::text FROM pg_roles WHERE rolname = $1", role, err);
    if (there == NULL) {
        buf_text(&sql, "CREATE ROLE ");
        pg_identifier(&sql, role);
        buf_text(&sql, " NOLOGIN");
        if (!run(pg, &sql, err) && strcmp(err->sqlstate, "42710") != 0 &&
            err->code != ACC_ECONFLICT)
            goto out;
        buf_reset(&sql);
    }
    free(there);
    buf_text(&sql, "GRANT ");
    pg_identifier(&sql, role);
    buf_text(&sql, " TO current_user; GRANT USAGE ON SCHEMA ");
    pg_identifier(&sql, schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, role);
    buf_text(&sql, "; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ");
    pg_identifier(&sql, schema);
    buf_text(&sql, " TO ");
    pg_identifier(&sql, role);
    buf_text(&sql, "; GRANT UPDATE, DELETE ON packet, parked, replay, replay_bound, batch, "
                   "tally_lifecycle, tally_kind, tally_reason, epoch TO ");
    pg_identifier(&sql, role);
    ok = run(pg, &sql, err);
out:
    free(may);
    buf_clear(&sql);
    return ok;
}

/* Settings that shape the fixpoint, frozen with the first fact; buckets, changed only when drained. */
static bool apply_meta(struct pg *pg, const struct settings *settings, struct acc_error *err)
{
    struct buf now = {0};
    char buckets[24];
    bool ok = false;

    for (size_t i = 0; i < settings->app_count; i++)
        buf_printf(&now, "%s=%s\n", settings->app[i].name, settings->app[i].value);
    const char *wanted = now.data == NULL ? "" : now.data;
    char *old = value_of(pg, "SELECT value FROM meta WHERE key = 'settings'", NULL, err);
    char *facts = value_of(pg, "SELECT 'yes' FROM tally_kind WHERE new > 0 LIMIT 1", NULL, err);
    char *has = value_of(pg, "SELECT value FROM meta WHERE key = 'buckets'", NULL, err);
    if (err->code != ACC_OK)
        goto out;
    if (old != NULL && facts != NULL && strcmp(old, wanted) != 0) {
        acc_fail(err, ACC_EINPUT,
                 "accrete.yaml: settings: facts were found with \"%s\", now it says \"%s\"; they "
                 "shape the fixpoint and cannot change: "
                 "use another data directory or schema",
                 old, wanted);
        goto out;
    }
    if ((old == NULL || strcmp(old, wanted) != 0) && !meta_set(pg, "settings", wanted, err))
        goto out;
    snprintf(buckets, sizeof(buckets), "%lld", (long long)settings->queue.buckets);
    if (has != NULL && strcmp(has, buckets) != 0) {
        char *busy = value_of(
            pg, "SELECT 'yes' WHERE EXISTS (SELECT FROM packet) OR EXISTS (SELECT FROM replay)",
            NULL, err);
        bool drained = busy == NULL && err->code == ACC_OK;
        free(busy);
        if (!drained) {
            if (err->code == ACC_OK)
                acc_fail(err, ACC_EINPUT,
                         "queue.buckets: the queue holds packets for %s buckets; wanted an empty "
                         "queue to change to %s",
                         has, buckets);
            goto out;
        }
    }
    if (has == NULL || strcmp(has, buckets) != 0) {
        if (!pg_do(pg,
                   "BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE routing IN ACCESS EXCLUSIVE "
                   "MODE; UPDATE routing SET version = version + 1",
                   NULL, err))
            goto out;
        bool set = meta_set(pg, "buckets", buckets, err);
        struct acc_error later;
        if (!pg_do(pg, set ? "COMMIT" : "ROLLBACK", NULL, set ? err : &later) || !set)
            goto out;
    }
    ok = true;
out:
    free(old);
    free(facts);
    free(has);
    buf_clear(&now);
    return ok;
}

static bool apply_all(struct pg *pg, const char *schema, const struct program *program,
                      const struct settings *settings, struct acc_error *err)
{
    static const char permanent[] =
        "CREATE OR REPLACE FUNCTION fact_is_permanent() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'facts are permanent: % on % is refused', TG_OP, TG_TABLE_NAME; "
        "END$$";

    if (!apply_base(pg, schema, err) || !pg_do(pg, permanent, NULL, err))
        return false;
    for (size_t i = 0; i < program->catalog.count; i++) {
        const struct kind *kind = program->catalog.kinds[i];
        bool is_new = false;

        if (!apply_kind(pg, kind, &is_new, err))
            return false;
        for (size_t s = 0; s < kind->shape_count; s++) {
            if (!apply_index(pg, kind, &kind->shapes[s], is_new, err))
                return false;
        }
    }
    return apply_meta(pg, settings, err) && apply_roles(pg, schema, err);
}

bool schema_apply(struct pg *pg, const char *schema, const struct program *program,
                  const struct settings *settings, struct acc_error *err)
{
    struct buf lock = {0};
    bool ok = false;

    /* Two hosts that start at once take turns. CONCURRENTLY waits for snapshots: none of ours may be SERIALIZABLE here. */
    buf_printf(&lock,
               "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; "
               "SELECT pg_advisory_lock(%lld)",
               (long long)(acc_hash64(schema, strlen(schema)) >> 1));
    if (run(pg, &lock, err)) {
        struct acc_error later;
        ok = apply_all(pg, schema, program, settings, err);
        if (!pg_do(pg,
                   "SELECT pg_advisory_unlock_all(); SET default_transaction_isolation = "
                   "serializable; RESET statement_timeout",
                   NULL, ok ? err : &later))
            ok = false;
    }
    buf_clear(&lock);
    return ok;
}

/* Generations */

static bool queue_replay(struct pg *pg, int16_t id, const struct kind *kind, struct acc_error *err)
{
    struct pg_args bound = {0};
    struct pg_args rows = {0};
    struct buf sql = {0};

    pg_int2(&bound, id);
    pg_int2(&rows, id);
    buf_printf(
        &sql,
        "INSERT INTO replay SELECT $1, b, '00000000-0000-0000-0000-000000000000'::uuid "
        "FROM generate_series(0, (SELECT value::int4 FROM meta WHERE key = 'buckets') - 1) b "
        "WHERE EXISTS (SELECT FROM %s) ON CONFLICT (lifecycle, bucket) DO UPDATE SET cursor = "
        "excluded.cursor",
        kind->table);
    bool ok =
        pg_do(pg,
              "INSERT INTO replay_bound SELECT $1, (id >> 32)::int4, max(id) FROM batch GROUP BY 2 "
              "ON CONFLICT (lifecycle, epoch) DO UPDATE SET last_batch = excluded.last_batch",
              &bound, err) &&
        pg_do(pg, sql.data, &rows, err);
    buf_clear(&sql);
    return ok;
}

static void names_array(const struct lifecycle *lifecycle, bool finds, struct buf *out)
{
    size_t count = finds ? lifecycle->find_count : lifecycle->friend_count;

    pg_array_begin(out, PG_TEXT);
    for (size_t i = 0; i < count; i++) {
        const struct kind *kind = finds ? lifecycle->finds[i] : lifecycle->friends[i].kind;
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice |= (finds ? lifecycle->finds[k] : lifecycle->friends[k].kind) == kind;
        if (!twice)
            pg_array_add(out, kind->name, strlen(kind->name));
    }
    pg_array_end(out, 0);
}

static bool register_lifecycle(struct pg *pg, struct lifecycle *lifecycle, int32_t generation,
                               struct acc_error *err)
{
    struct pg_args find = {0};
    struct pg_args args = {0};
    struct buf friends = {0};
    struct buf finds = {0};
    bool is_new = true;
    bool ok = false;

    pg_text(&find, lifecycle->name);
    PGresult *res =
        pg_exec(pg, "SELECT id, kind, active FROM lifecycle WHERE name = $1", &find, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0)
        is_new = !pg_get_bool(res, 0, 2) || pg_get_int4(res, 0, 1) != lifecycle->on->tag;
    PQclear(res);
    names_array(lifecycle, false, &friends);
    names_array(lifecycle, true, &finds);
    pg_text(&args, lifecycle->name);
    pg_int4(&args, lifecycle->on->tag);
    pg_int4(&args, lifecycle->priority);
    pg_int4(&args, generation);
    pg_text(&args, lifecycle->module_sha);
    pg_array(&args, PG_TEXT_ARRAY, &friends);
    pg_array(&args, PG_TEXT_ARRAY, &finds);
    res = pg_exec(
        pg,
        "INSERT INTO lifecycle AS l (id, name, kind, active, priority, generation, module, "
        "friends, finds) "
        "SELECT (SELECT coalesce(max(id), 0) + 1 FROM lifecycle), $1, $2, true, $3, $4, $5, $6, $7 "
        "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, active = true, priority = "
        "excluded.priority, "
        "generation = CASE WHEN l.module = excluded.module THEN l.generation ELSE "
        "excluded.generation END, "
        "module = excluded.module, friends = excluded.friends, finds = excluded.finds RETURNING id",
        &args, err);
    if (res != NULL) {
        lifecycle->id = pg_get_int2(res, 0, 0);
        PQclear(res);
        ok = !is_new || queue_replay(pg, lifecycle->id, lifecycle->on, err);
    }
    buf_clear(&friends);
    buf_clear(&finds);
    return ok;
}

static bool deactivate_others(struct pg *pg, const struct program *program, struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf names = {0};

    pg_array_begin(&names, PG_TEXT);
    for (size_t i = 0; i < program->lifecycle_count; i++)
        pg_array_add(&names, program->lifecycles[i]->name, strlen(program->lifecycles[i]->name));
    pg_array_end(&names, 0);
    pg_array(&args, PG_TEXT_ARRAY, &names);
    bool ok = pg_do(pg, "UPDATE lifecycle SET active = false WHERE active AND name <> ALL($1)",
                    &args, err);
    buf_clear(&names);
    return ok;
}

static bool register_all(struct pg *pg, struct program *program, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_text(&args, program->sha);
    PGresult *res = pg_exec(pg,
                            "INSERT INTO generation (id, sha) SELECT (SELECT coalesce(max(id), 0) "
                            "+ 1 FROM generation), $1 RETURNING id",
                            &args, err);
    if (res == NULL)
        return false;
    program->generation = pg_get_int4(res, 0, 0);
    PQclear(res);
    if (!deactivate_others(pg, program, err))
        return false;
    for (size_t i = 0; i < program->lifecycle_count; i++) {
        if (!register_lifecycle(pg, program->lifecycles[i], program->generation, err))
            return false;
    }
    return pg_do(pg, "UPDATE routing SET version = version + 1", NULL, err);
}

bool schema_bind(struct pg *pg, struct program *program, struct acc_error *err)
{
    struct pg_args none = {0};

    PGresult *res =
        pg_exec(pg, "SELECT id, sha FROM generation ORDER BY id DESC LIMIT 1", &none, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0 || strcmp(PQgetvalue(res, 0, 1), program->sha) != 0) {
        acc_fail(err, ACC_ESTALE,
                 "the modules here (sha %.12s) are not those of generation %d (sha %.12s)",
                 program->sha, PQntuples(res) == 0 ? 0 : pg_get_int4(res, 0, 0),
                 PQntuples(res) == 0 ? "none" : PQgetvalue(res, 0, 1));
        PQclear(res);
        return false;
    }
    program->generation = pg_get_int4(res, 0, 0);
    PQclear(res);
    res = pg_exec(pg, "SELECT id, name FROM lifecycle WHERE active", &none, err);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        struct lifecycle *lifecycle = program_find(program, PQgetvalue(res, r, 1));
        if (lifecycle != NULL)
            lifecycle->id = pg_get_int2(res, r, 0);
    }
    PQclear(res);
    return true;
}

bool schema_activate(struct pg *pg, struct program *program, struct acc_error *err)
{
    struct acc_error stale;

    if (schema_bind(pg, program, &stale))
        return true;
    if (stale.code != ACC_ESTALE) {
        *err = stale;
        return false;
    }
    /* Writers hold ACCESS SHARE to their commit: behind this lock every fact is either routed as before and committed, or not yet. */
    if (!pg_do(pg, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, err))
        return false;
    if (pg_do(pg, "LOCK TABLE routing IN ACCESS EXCLUSIVE MODE", NULL, err) &&
        register_all(pg, program, err))
        return pg_do(pg, "COMMIT", NULL, err);
    struct acc_error later;
    (void)!pg_do(pg, "ROLLBACK", NULL, &later);
    return false;
}
