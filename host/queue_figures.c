/* Figures of the queue: of the whole, and of each lifecycle. One snapshot each, over queue tables only. */
#include "queue.h"

#include <stdlib.h>

bool queue_state(struct queue_state *state, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql =
            "SELECT p.packets, p.ready, p.quarantined, p.orphaned, k.delayed, k.dead, k.discarded, "
            "(SELECT count(*) FROM replay JOIN lifecycle l ON l.id = replay.lifecycle AND "
            "l.active) FROM "
            "(SELECT count(*) AS packets, coalesce(sum(n) FILTER (WHERE l.active), 0)::int8 AS "
            "ready, "
            " coalesce(sum(n) FILTER (WHERE tries > 0), 0)::int8 AS quarantined, "
            " coalesce(sum(n) FILTER (WHERE NOT l.active), 0)::int8 AS orphaned "
            " FROM packet LEFT JOIN lifecycle l ON l.id = packet.lifecycle) p, "
            "(SELECT count(*) FILTER (WHERE state = 'delayed') AS delayed, count(*) FILTER (WHERE "
            "state = 'dead') AS dead, "
            " count(*) FILTER (WHERE state = 'discarded') AS discarded FROM parked) k"};

    PGresult *res = pg_look(pg, &stmt, NULL, err);
    if (res == NULL)
        return false;
    *state = (struct queue_state){
        .packets = pg_get_int8(res, 0, 0),
        .ready = pg_get_int8(res, 0, 1),
        .quarantined = pg_get_int8(res, 0, 2),
        .orphaned = pg_get_int8(res, 0, 3),
        .delayed = pg_get_int8(res, 0, 4),
        .dead = pg_get_int8(res, 0, 5),
        .discarded = pg_get_int8(res, 0, 6),
        .replays = pg_get_int8(res, 0, 7),
    };
    PQclear(res);
    return true;
}

bool queue_make_durable(struct pg *pg, struct acc_error *err)
{
    return pg_do(pg,
                 "SET synchronous_commit = on; INSERT INTO meta VALUES ('waited', now()::text) "
                 "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                 NULL, err);
}

bool queue_depths(struct pg *pg, struct queue_depth **depths, size_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql =
            "SELECT l.id, coalesce(p.ready, 0)::int8, coalesce(k.delayed, 0), coalesce(k.dead, 0), "
            "coalesce(k.discarded, 0), coalesce(p.quarantined, 0)::int8, coalesce(p.packets, 0), "
            "coalesce(r.replays, 0), coalesce(extract(epoch FROM p.born) * 1000000, 0)::int8 "
            "FROM lifecycle l "
            "LEFT JOIN (SELECT lifecycle, count(*) AS packets, sum(n) AS ready, "
            "sum(n) FILTER (WHERE tries > 0) AS quarantined, min(born) AS born "
            "FROM packet GROUP BY lifecycle) p ON p.lifecycle = l.id "
            "LEFT JOIN (SELECT lifecycle, count(*) FILTER (WHERE state = 'delayed') AS delayed, "
            "count(*) FILTER (WHERE state = 'dead') AS dead, "
            "count(*) FILTER (WHERE state = 'discarded') AS discarded "
            "FROM parked GROUP BY lifecycle) k ON k.lifecycle = l.id "
            "LEFT JOIN (SELECT lifecycle, count(*) AS replays FROM replay GROUP BY lifecycle) r "
            "ON r.lifecycle = l.id ORDER BY l.id"};
    PGresult *res = pg_look(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    *count = (size_t)PQntuples(res);
    *depths = acc_zalloc(*count * sizeof(**depths) + 1);
    for (int r = 0; r < PQntuples(res); r++)
        (*depths)[r] = (struct queue_depth){
            .lifecycle = pg_get_int2(res, r, 0),
            .ready = pg_get_int8(res, r, 1),
            .delayed = pg_get_int8(res, r, 2),
            .dead = pg_get_int8(res, r, 3),
            .discarded = pg_get_int8(res, r, 4),
            .quarantined = pg_get_int8(res, r, 5),
            .packets = pg_get_int8(res, r, 6),
            .replays = pg_get_int8(res, r, 7),
            .oldest_born_us = pg_get_int8(res, r, 8),
        };
    PQclear(res);
    return true;
}

bool queue_buckets(struct pg *pg, int64_t *all, int64_t *owned, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT m.value::int8, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
               "AND classid = current_schema()::regnamespace::oid AND objsubid = 2 AND granted "
               "AND objid::int8 < m.value::int8) FROM meta m WHERE m.key = 'buckets'"};
    PGresult *res = pg_look(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    bool has_rows = PQntuples(res) > 0;
    *all = has_rows ? pg_get_int8(res, 0, 0) : 0;
    *owned = has_rows ? pg_get_int8(res, 0, 1) : 0;
    PQclear(res);
    return true;
}
