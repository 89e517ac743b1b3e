/* Events that become packets again: retries that are due, and old facts for new lifecycles. */
#include "worker_internal.h"

#include "base/clock.h"
#include "retries.h"

#include <stdio.h>
#include <stdlib.h>

#define REPLAY_FACTS 1000
#define SETTLE_US 500000
#define SETTLE_DEAR 20 /* looks take this part of the time at most */

static struct pg_stmt begin_write = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
static struct pg_stmt commit_write = {.sql = "COMMIT"};

static void owned_array(const struct worker *worker, struct buf *out)
{
    buf_reset(out);
    pg_array_begin(out, PG_INT2);
    for (int b = 0; b < worker->own.buckets; b++) {
        if (worker->own.owned[b])
            pg_array_int2(out, (int16_t)b);
    }
    pg_array_end(out, 0);
}

/*
 * BEGIN, fence, stmt with args, packets of worker->pushes, COMMIT. A conflict leaves things as they
 * were.
 */
static bool push_with(struct worker *worker, struct pg_stmt *stmt, const struct pg_args *args,
                      struct acc_error *err)
{
    struct pg *pg = &worker->pg;
    bool ok = pg_send(pg, &begin_write, NULL, err) &&
              routing_check_send(&worker->routing, pg, err) && pg_send(pg, stmt, args, err) &&
              (worker->pushes.count == 0 ||
               queue_push_send(&worker->pushes, pg, &worker->epoch.next_packet, err)) &&
              pg_send(pg, &commit_write, NULL, err) && pg_sync(pg, err) && pg_finish(pg, err);
    if (ok) {
        worker->should_claim = true;
        return true;
    }
    struct acc_error later;
    if (pg->conn != NULL)
        (void)!pg_finish(pg, &later);
    if (err->code == ACC_ESTALE)
        return routing_read(&worker->routing, pg, err);
    return err->code == ACC_ECONFLICT;
}

static bool retries(struct worker *worker, struct acc_error *err)
{
    static struct pg_stmt due = {.sql =
                                     "SELECT lifecycle, fact, bucket FROM parked WHERE state = "
                                     "'delayed' AND ready_at <= now() "
                                     "AND bucket = ANY($1::int2[]) ORDER BY ready_at LIMIT 1000"};
    static struct pg_stmt take = {.sql = "WITH u AS (UPDATE parked p SET state = 'queued' FROM "
                                         "unnest($1::int2[], $2::uuid[]) AS k(lifecycle, fact) "
                                         "WHERE p.lifecycle = k.lifecycle AND p.fact = k.fact AND "
                                         "p.state = 'delayed' RETURNING 1) "
                                         "SELECT 1 / (count(*) = $3::int4)::int FROM u"};
    struct buf buckets = {0};
    struct buf lifecycles = {0};
    struct buf facts = {0};
    struct pg_args look = {0};
    struct pg_args args = {0};
    bool ok = true;

    owned_array(worker, &buckets);
    pg_array(&look, PG_INT2_ARRAY, &buckets);
    PGresult *res = pg_query(&worker->pg, &due, &look, err);
    buf_clear(&buckets);
    if (res == NULL)
        return err->code == ACC_ECONFLICT;
    if (PQntuples(res) > 0) {
        /* How large these facts are is not known here: sixteen a packet. */
        size_t retry_bytes = (size_t)worker->settings->queue.packet_bytes / 16;

        packet_set_reset(&worker->pushes);
        pg_array_begin(&lifecycles, PG_INT2);
        pg_array_begin(&facts, PG_UUID);
        for (int r = 0; r < PQntuples(res); r++) {
            const uint8_t *id = (const uint8_t *)PQgetvalue(res, r, 1);
            pg_array_int2(&lifecycles, pg_get_int2(res, r, 0));
            pg_array_add(&facts, id, 16);
            packet_set_add_id(&worker->pushes, pg_get_int2(res, r, 0), pg_get_int2(res, r, 2), 0, 0,
                              (uint16_t)(id[2] << 8 | id[3]), 'T', id, retry_bytes,
                              clock_wall_us());
        }
        pg_array_end(&lifecycles, 0);
        pg_array_end(&facts, 0);
        pg_array(&args, PG_INT2_ARRAY, &lifecycles);
        pg_array(&args, PG_UUID_ARRAY, &facts);
        pg_int4(&args, PQntuples(res));
        ok = push_with(worker, &take, &args, err);
        worker->looks_at_retries = true;
    }
    PQclear(res);
    buf_clear(&lifecycles);
    buf_clear(&facts);
    return ok;
}

/*
 * The next old facts of a bucket: ids lie in the order of slots, so a bucket is one range of the
 * key.
 */
static PGresult *old_facts(struct worker *worker, const struct kind *kind, int16_t lifecycle,
                           int16_t bucket, const uint8_t *cursor, struct acc_error *err)
{
    struct buf sql = {0};
    struct pg_args args = {0};
    uint8_t end[16];
    uint32_t slot = ((uint32_t)(bucket + 1) << 16) / (uint32_t)worker->routing.buckets;

    memset(end, 0xff, sizeof(end));
    if (slot <= 0xffff) {
        memset(end, 0, sizeof(end));
        end[0] = (uint8_t)(slot >> 8);
        end[1] = (uint8_t)slot;
    }
    uint8_t low[16] = {0};
    slot = ((uint32_t)bucket << 16) / (uint32_t)worker->routing.buckets;
    low[0] = (uint8_t)(slot >> 8);
    low[1] = (uint8_t)slot;
    pg_uuid(&args, memcmp(cursor, low, 16) > 0 ? cursor : low);
    pg_uuid(&args, end);
    pg_int2(&args, lifecycle);
    buf_text(&sql,
             "SELECT f._id, coalesce(f._batch <= (SELECT b.last_batch FROM replay_bound b WHERE "
             "b.lifecycle = $3 AND b.epoch = (f._batch >> 32)::int4), false), (64");
    for (size_t f = 0; f < kind->field_count; f++) { /* sizes as stored: nothing is read for them */
        if (!field_is_span(&kind->fields[f]))
            continue;
        buf_text(&sql, " + coalesce(pg_column_size(f.");
        pg_identifier(&sql, kind->fields[f].name);
        buf_text(&sql, "), 0)");
    }
    buf_printf(&sql, ")::int8 FROM %s f WHERE f._id > $1 AND f._id < $2 ORDER BY f._id LIMIT %d",
               kind->table, REPLAY_FACTS);
    struct acc_error later;
    PGresult *res = NULL;
    if (pg_do(&worker->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err)) {
        res = pg_exec(&worker->pg, sql.data, &args, err);
        if (!pg_do(&worker->pg, "COMMIT", NULL, res == NULL ? &later : err)) {
            PQclear(res);
            res = NULL;
        }
    }
    buf_clear(&sql);
    return res;
}

static bool replay_one(struct worker *worker, const struct kind *kind, int16_t lifecycle,
                       int16_t bucket, const uint8_t *cursor, struct acc_error *err)
{
    static struct pg_stmt advance = {
        .sql = "WITH u AS (UPDATE replay SET cursor = $4::uuid WHERE lifecycle = $1::int2 AND "
               "bucket = $2::int2 "
               "AND cursor = $3::uuid RETURNING 1) SELECT 1 / count(*)::int FROM u"};
    static struct pg_stmt finish = {
        .sql = "WITH u AS (DELETE FROM replay WHERE lifecycle = $1::int2 AND bucket = $2::int2 "
               "AND cursor = $3::uuid RETURNING 1) SELECT 1 / count(*)::int FROM u"};
    struct pg_args args = {0};

    PGresult *res = old_facts(worker, kind, lifecycle, bucket, cursor, err);
    if (res == NULL)
        return false;
    int count = PQntuples(res);
    packet_set_reset(&worker->pushes);
    for (int r = 0; r < count; r++) {
        if (pg_get_bool(res, r, 1))
            packet_set_add_id(&worker->pushes, lifecycle, bucket, 0, 0, kind->tag, 'I',
                              (const uint8_t *)PQgetvalue(res, r, 0),
                              (size_t)pg_get_int8(res, r, 2), clock_wall_us());
    }
    pg_int2(&args, lifecycle);
    pg_int2(&args, bucket);
    pg_uuid(&args, cursor);
    if (count == REPLAY_FACTS)
        pg_uuid(&args, (const uint8_t *)PQgetvalue(res, count - 1, 0));
    bool ok = push_with(worker, count == REPLAY_FACTS ? &advance : &finish, &args, err);
    PQclear(res);
    return ok;
}

static bool replays(struct worker *worker, struct acc_error *err)
{
    static struct pg_stmt next = {.sql = "SELECT r.lifecycle, r.bucket, r.cursor FROM replay r "
                                         "JOIN lifecycle l ON l.id = r.lifecycle AND l.active "
                                         "WHERE r.bucket = ANY($1::int2[]) LIMIT 16"};
    struct buf buckets = {0};
    struct pg_args args = {0};
    bool ok = true;

    owned_array(worker, &buckets);
    pg_array(&args, PG_INT2_ARRAY, &buckets);
    PGresult *res = pg_query(&worker->pg, &next, &args, err);
    buf_clear(&buckets);
    if (res == NULL)
        return err->code == ACC_ECONFLICT;
    for (int r = 0; ok && r < PQntuples(res); r++) {
        const struct lifecycle *lifecycle = program_by_id(&worker->program, pg_get_int2(res, r, 0));
        if (lifecycle != NULL)
            ok = replay_one(worker, lifecycle->on, lifecycle->id, pg_get_int2(res, r, 1),
                            (const uint8_t *)PQgetvalue(res, r, 2), err);
    }
    PQclear(res);
    return ok;
}

bool worker_settle_retries(struct worker *worker, struct acc_error *err)
{
    int64_t began_us = clock_us();
    bool ok = retries_settle(&worker->pg, &worker->looks_at_retries, err);
    int64_t took_us = clock_us() - began_us;

    worker->retries_at_us =
        clock_us() + (SETTLE_DEAR * took_us > SETTLE_US ? SETTLE_DEAR * took_us : SETTLE_US);
    return ok || err->code == ACC_ECONFLICT;
}

bool worker_requeue(struct worker *worker, struct acc_error *err)
{
    if (worker->looks_at_retries && clock_us() >= worker->retries_at_us &&
        !worker_settle_retries(worker, err))
        return false;
    return worker->own.count == 0 || (retries(worker, err) && replays(worker, err));
}
