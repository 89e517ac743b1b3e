#include "ownership.h"

#include "tally.h"

#include <stdlib.h>

bool ownership_init(struct ownership *own, struct pg *pg, int buckets, int32_t generation,
                    struct acc_error *err)
{
    struct pg_args none = {0};

    *own = (struct ownership){.generation = generation, .newest = generation, .buckets = buckets};
    PGresult *res = pg_exec(pg, "SELECT current_schema()::regnamespace::oid::int4", &none, err);
    if (res == NULL)
        return false;
    own->schema_oid = pg_get_int4(res, 0, 0);
    own->owned = acc_zalloc((uint64_t)buckets);
    PQclear(res);
    return true;
}

void ownership_clear(struct ownership *own)
{
    free(own->owned);
    *own = (struct ownership){0};
}

static bool change(struct ownership *own, struct pg *pg, int bucket, bool take, bool *done,
                   struct acc_error *err)
{
    static struct pg_stmt lock = {.sql = "SELECT pg_try_advisory_lock($1::int4, $2::int4)"};
    static struct pg_stmt unlock = {.sql = "SELECT pg_advisory_unlock($1::int4, $2::int4)"};
    struct pg_args args = {0};

    pg_int4(&args, own->schema_oid);
    pg_int4(&args, bucket);
    PGresult *res = pg_query(pg, take ? &lock : &unlock, &args, err);
    if (res == NULL)
        return false;
    *done = pg_get_bool(res, 0, 0);
    if (*done) {
        own->owned[bucket] = take;
        own->count += take ? 1 : -1;
    }
    PQclear(res);
    return true;
}

/* Marks the buckets that somebody holds, counts the live workers of the newest generation. */
static bool look(struct ownership *own, struct pg *pg, bool *taken, int *workers,
                 struct acc_error *err)
{
    /* A worker that has its lock, but whose row is not committed yet, is taken for one of ours. */
    static struct pg_stmt stmt = {
        .sql = "SELECT k.objid::int8, coalesce(e.generation, $2::int4) FROM pg_locks k LEFT JOIN "
               "epoch e ON e.id = k.objid::int8 - " EPOCH_WORKER " WHERE k.locktype = 'advisory' "
               "AND k.classid = $1::int4::oid AND k.objsubid = 2 AND k.granted AND k.objid::int8 "
               "< " EPOCH_OTHER};
    long first = strtol(EPOCH_WORKER, NULL, 10);
    struct pg_args args = {0};

    pg_int4(&args, own->schema_oid);
    pg_int4(&args, own->generation);
    PGresult *res = pg_look(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    own->newest = own->generation;
    *workers = 0;
    for (int r = 0; r < PQntuples(res); r++) {
        int64_t key = pg_get_int8(res, r, 0);
        int32_t generation = pg_get_int4(res, r, 1);

        if (key < own->buckets)
            taken[key] = true;
        if (key < first || generation < own->newest)
            continue;
        *workers = generation > own->newest ? 1 : *workers + 1;
        own->newest = generation;
    }
    PQclear(res);
    return true;
}

bool ownership_balance(struct ownership *own, struct pg *pg, bool *changed, struct acc_error *err)
{
    bool *taken = acc_zalloc((uint64_t)own->buckets);
    int workers;
    bool ok = false;

    if (!look(own, pg, taken, &workers, err))
        goto out;
    int share = own->newest > own->generation
                    ? 0
                    : (own->buckets + workers - 1) / (workers < 1 ? 1 : workers);
    *changed = false;
    for (int b = own->buckets - 1; b >= 0 && own->count > share; b--) {
        bool done;
        if (own->owned[b] && !change(own, pg, b, false, &done, err))
            goto out;
        *changed = true;
    }
    for (int b = 0; b < own->buckets && own->count < share; b++) {
        bool done;
        if (taken[b])
            continue;
        if (!change(own, pg, b, true, &done, err))
            goto out;
        *changed |= done;
    }
    ok = true;
out:
    free(taken);
    return ok;
}
