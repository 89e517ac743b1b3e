#include "control.h"

#include "audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PER_S_MAX 1e9

void control_clear(struct control *control)
{
    for (size_t i = 0; i < control->throttle_count; i++) {
        free(control->throttles[i].who);
        free(control->throttles[i].reason);
    }
    free(control->throttles);
    free(control->who);
    free(control->reason);
    *control = (struct control){0};
}

static void take_row(struct control *control, const PGresult *res, int r)
{
    char *who = acc_strdup(pg_get_text(res, r, 3));
    char *reason = acc_strdup(pg_get_text(res, r, 4));
    int64_t since_us = pg_get_int8(res, r, 5);

    if (strcmp(pg_get_text(res, r, 0), "pause") == 0) {
        control->is_paused = true;
        control->who = who;
        control->reason = reason;
        control->since_us = since_us;
        return;
    }
    control->throttles[control->throttle_count++] =
        (struct control_throttle){.lifecycle = pg_get_int2(res, r, 1),
                                  .per_s = (double)pg_get_int8(res, r, 2) / 1e6,
                                  .who = who,
                                  .reason = reason,
                                  .since_us = since_us};
}

bool control_read(struct control *control, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt read = {
        .sql = "SELECT what, lifecycle, coalesce(per_s * 1000000, 0)::int8, who, reason, "
               "(extract(epoch FROM since) * 1000000)::int8 FROM control ORDER BY lifecycle"};

    PGresult *res = pg_look(pg, &read, NULL, err);

    if (res == NULL && !pg_lacks_table(err))
        return false;
    control_clear(control);
    if (res == NULL)
        return true;
    control->throttles = acc_zalloc((uint64_t)PQntuples(res) * sizeof(*control->throttles) + 1);
    for (int r = 0; r < PQntuples(res); r++)
        take_row(control, res, r);
    PQclear(res);
    return true;
}

double control_per_s(const struct control *control, int16_t lifecycle, double per_s)
{
    for (size_t i = 0; i < control->throttle_count; i++)
        if (control->throttles[i].lifecycle == lifecycle)
            return control->throttles[i].per_s;
    return per_s;
}

/* A change: its statement with parameters, and its row of the audit. */
struct change {
    const char *sql;
    struct pg_args args;
    struct audit audit;
    int64_t *audit_id;
    bool may_be_idle; /* a statement that changes no row is no change, and is not written down */
};

static bool run(struct pg *pg, void *context, struct acc_error *err)
{
    struct change *change = context;

    PGresult *res = pg_exec(pg, change->sql, &change->args, err);
    if (res == NULL)
        return false;
    bool is_idle = change->may_be_idle && strcmp(PQcmdTuples(res), "0") == 0;
    PQclear(res);
    *change->audit_id = 0;
    return is_idle ||
           (audit_add(pg, &change->audit, change->audit_id, err) &&
            pg_do(pg, "SELECT pg_notify(current_schema(), '" CONTROL_NOTE "')", NULL, err));
}

bool control_pause(struct pg *pg, bool is_paused, const struct control_act *act, int64_t *audit_id,
                   struct acc_error *err)
{
    char *who = act->who != NULL ? acc_strdup(act->who) : audit_who();
    struct change change = {
        .sql = is_paused ? "INSERT INTO control (what, lifecycle, who, reason, since) "
                           "VALUES ('pause', 0, $1, $2, clock_timestamp()) ON CONFLICT (what, "
                           "lifecycle) DO UPDATE SET who = excluded.who, reason = excluded.reason"
                         : "DELETE FROM control WHERE what = 'pause'",
        .audit = {.who = who,
                  .act = is_paused ? "queue pause" : "queue resume",
                  .what = "queue",
                  .reason = act->reason,
                  .result = is_paused ? "no new batches" : "batches again"}};

    change.audit_id = audit_id;
    change.may_be_idle = !is_paused;
    if (is_paused) {
        pg_text(&change.args, who);
        pg_text(&change.args, act->reason);
    }
    bool ok = pg_write(pg, run, &change, err);
    free(who);
    return ok;
}

/* The number of a lifecycle that new facts are routed to. */
static bool find(struct pg *pg, const char *name, int16_t *lifecycle, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_text(&args, name);
    PGresult *res = pg_exec(pg, "SELECT id FROM lifecycle WHERE name = $1 AND active", &args, err);
    if (res == NULL)
        return false;
    bool is_there = PQntuples(res) > 0;
    if (is_there)
        *lifecycle = pg_get_int2(res, 0, 0);
    PQclear(res);
    return is_there || acc_fail(err, ACC_EINPUT, "there is no lifecycle \"%s\"", name);
}

bool control_throttle(struct pg *pg, const char *lifecycle, double per_s,
                      const struct control_act *act, int64_t *audit_id, struct acc_error *err)
{
    int16_t number = 0;
    char result[64] = "the module's holds";

    if (!(per_s == 0 || (per_s >= 0.001 && per_s <= PER_S_MAX)))
        return acc_fail(err, ACC_EINPUT, "wanted 0.001..1e9 events a second, got %g", per_s);
    if (!find(pg, lifecycle, &number, err))
        return false;
    if (per_s > 0)
        snprintf(result, sizeof(result), "%g/s over all workers", per_s);
    char *who = act->who != NULL ? acc_strdup(act->who) : audit_who();
    struct change change = {
        .sql = per_s > 0 ? "INSERT INTO control VALUES ('throttle', $1, $2::int8 / 1000.0, $3, $4, "
                           "clock_timestamp()) ON CONFLICT (what, lifecycle) DO UPDATE SET per_s = "
                           "excluded.per_s, who = excluded.who, reason = excluded.reason, since = "
                           "excluded.since"
                         : "DELETE FROM control WHERE what = 'throttle' AND lifecycle = $1",
        .audit = {.who = who,
                  .act = "queue throttle",
                  .what = lifecycle,
                  .reason = act->reason,
                  .result = result}};
    change.audit_id = audit_id;
    pg_int2(&change.args, number);
    if (per_s > 0) {
        pg_int8(&change.args, (int64_t)(per_s * 1000));
        pg_text(&change.args, who);
        pg_text(&change.args, act->reason);
    }
    bool ok = pg_write(pg, run, &change, err);
    free(who);
    return ok;
}
