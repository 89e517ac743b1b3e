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

static bool run_plan(struct pg *pg, struct schema_plan *plan, struct acc_error *err)
{
    bool ok = plan->refusal_count == 0 || acc_fail(err, ACC_EINPUT, "%s", plan->refusals[0]);

    for (size_t i = 0; ok && i < plan->count; i++)
        ok = run_step(pg, &plan->steps[i], err);
    for (size_t i = 0; ok && i < plan->note_count; i++)
        log_info("schema", "event=note text=%s", log_quote(plan->notes[i]));
    schema_plan_clear(plan);
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

/* The opposite of lock; ok is what came of the work, whose error stays. */
static bool unlock(struct pg *pg, bool ok, struct acc_error *err)
{
    struct acc_error later;

    return pg_do(pg,
                 "SELECT pg_advisory_unlock_all(); SET default_transaction_isolation = "
                 "serializable; RESET statement_timeout",
                 NULL, ok ? err : &later) &&
           ok;
}

bool schema_apply(struct pg *pg, const char *schema, const struct program *program,
                  const struct settings *settings, struct acc_error *err)
{
    struct schema_plan plan;

    bool ok = lock(pg, schema, err) &&
              schema_plan_make(&plan, pg, schema, program, settings, err) &&
              run_plan(pg, &plan, err);
    return unlock(pg, ok, err);
}

bool schema_roles(struct pg *pg, const char *schema, struct acc_error *err)
{
    struct schema_plan plan;

    bool ok = lock(pg, schema, err) && schema_plan_roles(&plan, pg, schema, err) &&
              run_plan(pg, &plan, err);
    return unlock(pg, ok, err);
}

bool schema_base(struct pg *pg, const char *schema, struct acc_error *err)
{
    bool is_current;

    return schema_base_is_current(pg, &is_current, err) &&
           (is_current || schema_apply(pg, schema, NULL, NULL, err));
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
