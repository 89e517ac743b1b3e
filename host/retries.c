#include "retries.h"

bool retries_add(struct pg *pg, int64_t audit_id, int64_t count, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_int8(&args, audit_id);
    pg_int8(&args, count);
    return pg_do(pg, "INSERT INTO retry (audit, queued, taken) VALUES ($1::int8, $2::int8, 0)",
                 &args, err);
}

/* Events of a lifecycle that was removed wait for its return, which may never come. */
#define HAS_ENDED                                                                                  \
    "NOT EXISTS (SELECT FROM parked p JOIN lifecycle l ON l.id = p.lifecycle AND l.active "        \
    "WHERE p.retry = r.audit)"

bool retries_write(struct pg *pg, struct acc_error *err)
{
    static const char sql[] =
        "WITH ended AS (DELETE FROM retry r WHERE " HAS_ENDED
        " RETURNING r.audit, r.queued, r.taken), "
        "again AS (SELECT e.audit, e.queued - e.taken - count(p.fact) AS done, e.taken, "
        "count(*) FILTER (WHERE p.state = 'dead' AND p.retry < 0) AS dead, "
        "count(*) FILTER (WHERE p.state IN ('delayed', 'queued') AND p.retry < 0) AS delayed, "
        "count(*) FILTER (WHERE p.state = 'discarded' AND p.retry < 0) AS discarded, "
        "count(*) FILTER (WHERE p.retry > 0) AS removed "
        "FROM ended e LEFT JOIN parked p ON p.retry IN (e.audit, -e.audit) "
        "GROUP BY e.audit, e.queued, e.taken) "
        "UPDATE audit a SET result = a.result || '; ' || concat_ws(', ', "
        "CASE WHEN g.done > 0 THEN g.done || ' done' END, "
        "CASE WHEN g.dead > 0 THEN g.dead || ' dead again' END, "
        "CASE WHEN g.delayed > 0 THEN g.delayed || ' delayed again' END, "
        "CASE WHEN g.discarded > 0 THEN g.discarded || ' discarded' END, "
        "CASE WHEN g.taken > 0 THEN g.taken || ' retried again' END, "
        "CASE WHEN g.removed > 0 THEN g.removed || ' left of a lifecycle that was removed' END) || "
        "' after ' || "
        "CASE WHEN t.s < 10 THEN round(t.s, 1) || ' s' WHEN t.s < 120 THEN round(t.s) || ' s' "
        "WHEN t.s < 7200 THEN round(t.s / 60) || ' min' ELSE round(t.s / 3600, 1) || ' h' END "
        "FROM again g JOIN audit b ON b.id = g.audit, "
        "LATERAL (SELECT extract(epoch FROM clock_timestamp() - b.at) AS s) t WHERE a.id = b.id";

    return pg_do(pg, sql, NULL, err);
}

static bool write_ended(struct pg *pg, void *context, struct acc_error *err)
{
    (void)context;
    return retries_write(pg, err);
}

bool retries_settle(struct pg *pg, bool *is_open, struct acc_error *err)
{
    static struct pg_stmt look = {.sql = "SELECT count(*) FILTER (WHERE " HAS_ENDED
                                         "), count(*) FROM retry r"};
    PGresult *res = pg_look(pg, &look, NULL, err);

    if (res == NULL)
        return false;
    int64_t ended = pg_get_int8(res, 0, 0);
    *is_open = pg_get_int8(res, 0, 1) > ended;
    PQclear(res);
    return ended == 0 || pg_write(pg, write_ended, NULL, err);
}
