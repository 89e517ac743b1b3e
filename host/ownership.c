#include "ownership.h"

#include "tally.h"

#include <stdlib.h>

bool ownership_init(struct ownership *own, struct pg *pg, int buckets, struct acc_error *err)
{
    struct pg_args none = {0};

    *own = (struct ownership){.buckets = buckets};
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

bool ownership_balance(struct ownership *own, struct pg *pg, bool *changed, struct acc_error *err)
{
    static struct pg_stmt look = {.sql = "SELECT objid::int8 FROM pg_locks WHERE locktype = "
                                         "'advisory' AND classid = $1::int4::oid "
                                         "AND objsubid = 2 AND granted"};
    struct pg_args args = {0};
    long worker_base = strtol(EPOCH_WORKER, NULL, 10);
    long other_base = strtol(EPOCH_OTHER, NULL, 10);
    int workers = 0;
    bool ok = false;

    pg_int4(&args, own->schema_oid);
    PGresult *res = pg_query(pg, &look, &args, err);
    if (res == NULL)
        return false;
    bool *taken = acc_zalloc((uint64_t)own->buckets);
    for (int r = 0; r < PQntuples(res); r++) {
        int64_t key = pg_get_int8(res, r, 0);
        if (key < own->buckets)
            taken[key] = true;
        else if (key >= worker_base && key < other_base)
            workers++;
    }
    PQclear(res);
    int share = (own->buckets + workers - 1) / (workers < 1 ? 1 : workers);
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
