#include "tally.h"

#include <stdlib.h>
#include <unistd.h>

#define PG_EPOCH_US INT64_C(946684800000000)

/* Arrays of TALLY_FRIENDS numbers in SQL, element by element: over rows, and a row and what is added to it. */
#define SUM(name, i) "sum(" name "[" #i "])::int8"
#define SUMS(name)                                                                                  \
    "ARRAY[" SUM(name, 1) ", " SUM(name, 2) ", " SUM(name, 3) ", " SUM(name, 4) ", " SUM(           \
        name,                                                                                       \
        5) ", " SUM(name,                                                                           \
                    6) ", " SUM(name,                                                               \
                                7) ", " SUM(name,                                                   \
                                            8) ", " SUM(name,                                       \
                                                        9) ", " SUM(name,                           \
                                                                    10) ", " SUM(name,              \
                                                                                 11) ", " SUM(name, \
                                                                                              12) "]"
#define ADD(name, i) "t." name "[" #i "] + excluded." name "[" #i "]"
#define ADDS(name)                                                                                  \
    name " = ARRAY[" ADD(name, 1) ", " ADD(name, 2) ", " ADD(name, 3) ", " ADD(name, 4) ", " ADD(   \
        name,                                                                                       \
        5) ", " ADD(name,                                                                           \
                    6) ", " ADD(name,                                                               \
                                7) ", " ADD(name,                                                   \
                                            8) ", " ADD(name,                                       \
                                                        9) ", " ADD(name,                           \
                                                                    10) ", " ADD(name,              \
                                                                                 11) ", " ADD(name, \
                                                                                              12) "]"
#define MORE "given = t.given + excluded.given, " ADDS("by_friends") ", " ADDS("late_by_friends")

int tally_friends_place(uint64_t friends)
{
    if (friends < 2)
        return (int)friends;
    int place = 65 - __builtin_clzll(friends - 1); /* 2: 2; 3, 4: 3; to 8: 4 */
    return place < TALLY_FRIENDS ? place : TALLY_FRIENDS - 1;
}

int64_t tally_friends_most(int place)
{
    if (place < 2)
        return place;
    return place < TALLY_FRIENDS - 1 ? INT64_C(1) << (place - 1) : -1;
}

bool epoch_open_send(struct pg *pg, const char *role, int32_t generation, struct acc_error *err)
{
    /*
     * The advisory lock is held before the row can be seen: a row without its lock is a dead epoch.
     */
    static struct pg_stmt stmt = {
        .sql = "INSERT INTO epoch (id, role, backend_pid, host, pid, generation) "
               "SELECT (SELECT coalesce(max(id), 0) + 1 FROM epoch), $1, pg_backend_pid(), $2, $3, "
               "$4 "
               "RETURNING id, pg_advisory_lock(current_schema()::regnamespace::oid::int4, "
               "CASE WHEN $1 = 'worker' THEN " EPOCH_WORKER " ELSE " EPOCH_OTHER " END + id)"};
    struct pg_args args = {0};
    char host[65] = "";

    gethostname(host, sizeof(host) - 1);
    pg_text(&args, role);
    pg_text(&args, host);
    pg_int4(&args, (int32_t)getpid());
    pg_int4(&args, generation);
    return pg_send(pg, &stmt, &args, err);
}

bool epoch_open_take(struct epoch *epoch, struct pg *pg, int32_t generation, struct acc_error *err)
{
    PGresult *res = pg_result(pg, err);

    if (res == NULL)
        return false;
    int32_t id = pg_get_int4(res, 0, 0);
    int64_t high = (int64_t)id << 32;
    *epoch = (struct epoch){id, generation, high + 1, high + 1};
    PQclear(res);
    return true;
}

bool epoch_open(struct epoch *epoch, struct pg *pg, const char *role, int32_t generation,
                struct acc_error *err)
{
    for (int tries = 0;; tries++) {
        struct acc_error later;
        bool ok = epoch_open_send(pg, role, generation, err) && pg_sync(pg, err) &&
                  epoch_open_take(epoch, pg, generation, err);

        if (pg_finish(pg, ok ? err : &later) && ok)
            return true;
        if (err->code != ACC_ECONFLICT || tries >= 100)
            return false;
        usleep((useconds_t)(1000 + random() % 5000));
    }
}

bool epoch_fold_dead(struct pg *pg, struct acc_error *err)
{
    static const char sql[] =
        "WITH dead AS (UPDATE epoch e SET folded = true WHERE NOT folded AND NOT EXISTS "
        "  (SELECT FROM pg_locks k WHERE k.locktype = 'advisory' AND k.classid = "
        "current_schema()::regnamespace::oid "
        "   AND k.objid IN (" EPOCH_WORKER " + e.id, " EPOCH_OTHER " + e.id)) RETURNING id), "
        "l AS (DELETE FROM tally_lifecycle t USING dead WHERE t.epoch = dead.id RETURNING t.*), "
        "k AS (DELETE FROM tally_kind t USING dead WHERE t.epoch = dead.id RETURNING t.*), "
        "r AS (DELETE FROM tally_reason t USING dead WHERE t.epoch = dead.id RETURNING t.*), "
        "l0 AS (INSERT INTO tally_lifecycle AS t SELECT 0, lifecycle, sum(early), sum(late), "
        "sum(empty), sum(found), sum(failed), "
        "  sum(friends), sum(retries), sum(given), " SUMS("by_friends") ", " SUMS(
            "late_by_friends") " FROM l GROUP BY lifecycle ON CONFLICT (epoch, lifecycle) DO "
                               "UPDATE SET early = t.early + excluded.early, "
                               "  late = t.late + excluded.late, empty = t.empty + excluded.empty, "
                               "found = t.found + "
                               "excluded.found, "
                               "  failed = t.failed + excluded.failed, friends = t.friends + "
                               "excluded.friends, retries = "
                               "t.retries + excluded.retries, " MORE "), "
                               "r0 AS (INSERT INTO tally_reason AS t SELECT 0, lifecycle, outcome, "
                               "reason, sum(n) FROM r "
                               "GROUP BY 2, 3, 4 "
                               "  ON CONFLICT (epoch, lifecycle, outcome, reason) DO UPDATE SET n "
                               "= t.n + excluded.n) "
                               "INSERT INTO tally_kind AS t SELECT 0, lifecycle, kind, sum(new), "
                               "sum(repeats), "
                               "sum(contradictions), 0 FROM k GROUP BY lifecycle, kind "
                               "  ON CONFLICT (epoch, lifecycle, kind) DO UPDATE SET new = t.new + "
                               "excluded.new, repeats "
                               "= t.repeats + excluded.repeats, "
                               "  contradictions = t.contradictions + excluded.contradictions";

    if (!pg_do(pg, sql, NULL, err))
        return err->code == ACC_ECONFLICT;
    return true;
}

/* What the batches' rows differ in: found, new, ingest. all: of a transaction that is one batch. */
static void add_batches(const struct tally *tally, const struct tally_batch *all,
                        struct buf column[3])
{
    const struct tally_batch *batches = tally->batches == NULL ? all : tally->batches;
    size_t count = tally->batches == NULL ? 1 : tally->batch_count;

    for (size_t c = 0; c < 3; c++) {
        buf_reset(&column[c]);
        pg_array_begin(&column[c], c == 2 ? PG_INT8 : PG_INT4);
    }
    for (size_t i = 0; i < count; i++) {
        pg_array_int4(&column[0], (int32_t)batches[i].found);
        pg_array_int4(&column[1], (int32_t)batches[i].fresh);
        pg_array_int8(&column[2], batches[i].record);
    }
    for (size_t c = 0; c < 3; c++)
        pg_array_end(&column[c], 0);
}

bool tally_send(const struct tally *tally, const struct epoch *epoch, int64_t batch_id,
                struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "WITH b AS (INSERT INTO batch (id, lifecycle, generation, at, events, found, new, "
               "phases_us, waited_ms, last_write_us, place, ingest) "
               "  SELECT $1::int8 + u.i - 1, $2::int2, $3::int4, $4::timestamptz, $5::int4, "
               "u.found, u.new, $8::int4[], $21::int4, $22::int4, u.i - 1, nullif(u.ingest, 0) "
               "  FROM unnest($6::int4[], $7::int4[], $26::int8[]) WITH ORDINALITY "
               "AS u(found, new, ingest, i)), "
               "t AS (INSERT INTO tally_lifecycle AS t VALUES ($9::int4, $2::int2, $10::int8, "
               "$11::int8, $12::int8, $13::int8, $14::int8, "
               "  $15::int8, $16::int8, $23::int8, $24::int8[], $25::int8[]) "
               "  ON CONFLICT (epoch, lifecycle) DO UPDATE SET early = t.early + excluded.early, "
               "late = t.late + excluded.late, "
               "  empty = t.empty + excluded.empty, found = t.found + excluded.found, failed = "
               "t.failed + excluded.failed, "
               "  friends = t.friends + excluded.friends, retries = t.retries + "
               "excluded.retries, " MORE ") "
               "INSERT INTO tally_kind AS t SELECT $9::int4, $2::int2, k.kind, k.new, k.repeats, "
               "k.contradictions, $1::int8 + cardinality($6::int4[]) - 1 "
               "FROM unnest($17::int4[], $18::int8[], $19::int8[], $20::int8[]) AS k(kind, new, "
               "repeats, contradictions) "
               "ON CONFLICT (epoch, lifecycle, kind) DO UPDATE SET new = t.new + excluded.new, "
               "repeats = t.repeats + excluded.repeats, "
               "contradictions = t.contradictions + excluded.contradictions, last_batch = "
               "excluded.last_batch"};
    static struct buf column[5], friends[2], own[3];
    struct tally_batch all = {0};
    struct pg_args args = {0};

    for (size_t c = 0; c < 5; c++) {
        buf_reset(&column[c]);
        pg_array_begin(&column[c], c == 0 || c == 4 ? PG_INT4 : PG_INT8);
    }
    for (size_t k = 0; k < tally->kind_count; k++) {
        pg_array_int4(&column[0], tally->kinds[k].tag);
        pg_array_int8(&column[1], tally->kinds[k].fresh);
        pg_array_int8(&column[2], tally->kinds[k].repeats);
        pg_array_int8(&column[3], tally->kinds[k].contradictions);
        all.fresh += tally->kinds[k].fresh;
        all.found += tally->kinds[k].fresh + tally->kinds[k].repeats;
    }
    for (size_t p = 0; p < 4; p++)
        pg_array_int4(&column[4], tally->phases_us[p]);
    for (size_t c = 0; c < 5; c++)
        pg_array_end(&column[c], 0);
    pg_int8(&args, batch_id);
    pg_int2(&args, tally->lifecycle);
    pg_int4(&args, epoch->generation);
    pg_int8(&args, tally->at_us - PG_EPOCH_US);
    args.types[args.count - 1] = PG_TIMESTAMPTZ;
    pg_int4(&args, (int32_t)tally->events);
    add_batches(tally, &all, own);
    pg_array(&args, PG_INT4_ARRAY, &own[0]);
    pg_array(&args, PG_INT4_ARRAY, &own[1]);
    pg_array(&args, PG_INT4_ARRAY, &column[4]);
    pg_int4(&args, epoch->id);
    const int64_t sums[] = {tally->early,  tally->late,    tally->empty,  tally->found,
                            tally->failed, tally->friends, tally->retries};
    for (size_t i = 0; i < sizeof(sums) / sizeof(*sums); i++)
        pg_int8(&args, sums[i]);
    pg_array(&args, PG_INT4_ARRAY, &column[0]);
    for (size_t c = 1; c < 4; c++)
        pg_array(&args, PG_INT8_ARRAY, &column[c]);
    pg_int4(&args, tally->waited_ms);
    pg_int4(&args, tally->last_write_us);
    pg_int8(&args, tally->given);
    for (size_t f = 0; f < 2; f++) {
        buf_reset(&friends[f]);
        pg_array_begin(&friends[f], PG_INT8);
        for (size_t i = 0; i < TALLY_FRIENDS; i++)
            pg_array_int8(&friends[f], f == 0 ? tally->by_friends[i] : tally->late_by_friends[i]);
        pg_array_end(&friends[f], 0);
        pg_array(&args, PG_INT8_ARRAY, &friends[f]);
    }
    pg_array(&args, PG_INT8_ARRAY, &own[2]);
    return pg_send(pg, &stmt, &args, err);
}

bool tally_reason_send(const struct epoch *epoch, int16_t lifecycle, const char *outcome,
                       const char *reason, int64_t n, struct pg *pg, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql =
            "INSERT INTO tally_reason AS t VALUES ($1::int4, $2::int2, $3::text, $4::text, "
            "$5::int8) "
            "ON CONFLICT (epoch, lifecycle, outcome, reason) DO UPDATE SET n = t.n + excluded.n"};
    struct pg_args args = {0};

    pg_int4(&args, epoch->id);
    pg_int2(&args, lifecycle);
    pg_text(&args, outcome);
    pg_text(&args, reason);
    pg_int8(&args, n);
    return pg_send(pg, &stmt, &args, err);
}
