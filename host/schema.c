#include "schema.h"

#include "accrete/hot.h"
#include "base/log.h"
#include "schema_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 50
#define WAIT_MS 3600000 /* an index on a large kind takes its time */

/* Applying */

static bool run_step(struct pg *pg, const struct schema_step *step, struct acc_error *err)
{
    struct acc_error later;

    if (pg_do(pg, step->sql, NULL, err))
        return true;
    if (pg->conn != NULL && PQtransactionStatus(pg->conn) == PQTRANS_INERROR)
        (void)!pg_do(pg, "ROLLBACK", NULL, &later);
    if (step->may_exist && (strcmp(err->sqlstate, "42710") == 0 || err->code == ACC_ECONFLICT))
        return true;
    return acc_fail_prefix(err, "%s", step->why);
}

static bool apply(struct pg *pg, const char *schema, const struct program *program,
                  const struct settings *settings, struct acc_error *err)
{
    struct schema_plan plan;
    bool ok = schema_plan_make(&plan, pg, schema, program, settings, err);

    if (!ok)
        return false;
    if (plan.refusal_count > 0)
        ok = acc_fail(err, ACC_EINPUT, "%s", plan.refusals[0]);
    for (size_t i = 0; ok && i < plan.count; i++)
        ok = run_step(pg, &plan.steps[i], err);
    for (size_t i = 0; ok && i < plan.note_count; i++)
        log_info("schema", "event=note text=%s", log_quote(plan.notes[i]));
    schema_plan_clear(&plan);
    return ok;
}

/*
 * Two hosts that start at once take turns. By asking, not by waiting: CONCURRENTLY waits for every
 * snapshot, and who waits for a lock holds one. For the same reason none of ours may be
 * SERIALIZABLE here.
 */
static bool lock(struct pg *pg, const char *schema, struct acc_error *err)
{
    char *sql = acc_format("SELECT pg_try_advisory_lock(%lld)",
                           (long long)(acc_hash64(schema, strlen(schema)) >> 1));
    struct pg_args none = {0};
    bool is_ours = false;
    bool ok =
        pg_do(pg, "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0",
              NULL, err);

    for (int64_t waited_ms = 0; ok && !is_ours; waited_ms += POLL_MS) {
        PGresult *res = pg_exec(pg, sql, &none, err);

        ok = res != NULL;
        is_ours = ok && pg_get_bool(res, 0, 0);
        PQclear(res);
        if (ok && !is_ours && waited_ms >= WAIT_MS)
            ok =
                acc_fail(err, ACC_EDB,
                         "another host has been changing the schema for %d minutes; accrete doctor "
                         "shows what runs",
                         WAIT_MS / 60000);
        if (ok && !is_ours)
            usleep(POLL_MS * 1000);
    }
    free(sql);
    return ok;
}

bool schema_apply(struct pg *pg, const char *schema, const struct program *program,
                  const struct settings *settings, struct acc_error *err)
{
    struct acc_error later;

    bool ok = lock(pg, schema, err) && apply(pg, schema, program, settings, err);
    if (!pg_do(pg,
               "SELECT pg_advisory_unlock_all(); SET default_transaction_isolation = serializable; "
               "RESET statement_timeout",
               NULL, ok ? err : &later))
        return false;
    return ok;
}

bool schema_base(struct pg *pg, const char *schema, struct acc_error *err)
{
    bool is_current;

    return schema_base_is_current(pg, &is_current, err) &&
           (is_current || schema_apply(pg, schema, NULL, NULL, err));
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
    /*
     * Writers hold ACCESS SHARE to their commit: behind this lock every fact is either routed as
     * before and committed, or not yet.
     */
    if (!pg_do(pg, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, err))
        return false;
    if (pg_do(pg, "LOCK TABLE routing IN ACCESS EXCLUSIVE MODE", NULL, err) &&
        register_all(pg, program, err))
        return pg_do(pg, "COMMIT", NULL, err);
    struct acc_error later;
    (void)!pg_do(pg, "ROLLBACK", NULL, &later);
    return false;
}

/* Roles */

void schema_role_name(const char *schema, const char *role, char *name)
{
    snprintf(name, SCHEMA_ROLE_BYTES, "%.52s_%s", schema, role);
}

bool schema_become(struct pg *pg, const char *schema, const char *role, struct acc_error *err)
{
    char name[SCHEMA_ROLE_BYTES];
    struct pg_args args = {0};
    struct buf sql = {0};

    schema_role_name(schema, role, name);
    pg_text(&args, name);
    PGresult *res =
        pg_exec(pg, "SELECT 1 FROM pg_roles WHERE rolname = $1 AND pg_has_role(rolname, 'MEMBER')",
                &args, err);
    if (res == NULL)
        return false;
    bool is_there = PQntuples(res) > 0;
    PQclear(res);
    if (!is_there)
        return true;
    buf_text(&sql, "SET ROLE ");
    pg_identifier(&sql, name);
    bool ok = pg_do(pg, sql.data, NULL, err);
    buf_clear(&sql);
    return ok;
}
