/* One transaction: new facts, their events, what is done, what is parked, tallies. */
#include "base/clock.h"
#include "parked.h"
#include "worker_turn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct pg_stmt begin_write = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
#define BEGIN_RESULTS 3
static struct pg_stmt commit_write = {.sql = "COMMIT"};

/* Events of the packet in the middle that were not run: a packet of their own. */
static void push_remainder(struct turn *turn)
{
    struct worker *worker = turn->worker;
    struct acc_rows *data = &worker->batch->data[turn->lifecycle->on->index];

    if (turn->whole == turn->count || turn->done == turn->first[turn->whole])
        return;
    const struct packet *packet = turn->packets[turn->whole];
    for (uint32_t i = turn->done; i < turn->first[turn->whole + 1]; i++)
        packet_set_add(&worker->pushes, packet, turn->lifecycle->on, rows_at(data, i));
}

size_t turn_completed(const struct turn *turn)
{
    bool is_cut = turn->whole < turn->count && turn->done > turn->first[turn->whole];
    return turn->whole + (is_cut ? 1 : 0);
}

static bool park_send(struct turn *turn, size_t *results, struct acc_error *err)
{
    static struct pg_stmt park = {
        .sql = "INSERT INTO parked AS p (lifecycle, fact, bucket, state, attempts, error, trace, "
               "generation, first_at, last_at, ready_at, history) "
               "VALUES ($1::int2, $2::uuid, $3::int2, CASE WHEN $7::int4 <= 1 THEN 'dead' ELSE "
               "'delayed' END, 1, $4::text, $5::text, "
               "$6::int4, now(), now(), now() + $8::int8 * interval '1 ms', "
               "jsonb_build_array(" PARKED_ATTEMPT(
                   "1", "$4", "$9", "$6",
                   "$10") ")) "
                          "ON CONFLICT (lifecycle, fact) DO UPDATE SET attempts = p.attempts + 1, "
                          "retry = -abs(p.retry), "
                          "error = "
                          "excluded.error, trace = excluded.trace, history = " PARKED_WITH(
                              PARKED_ATTEMPT("p.attempts + 1", "$4", "$9", "$6", "$10"),
                              "p.history") ", "
                                           "generation = excluded.generation, last_at = now(), "
                                           "state = CASE WHEN p.attempts + 1 >= $7::int4 THEN "
                                           "'dead' ELSE 'delayed' END, "
                                           "ready_at = now() + $8::int8 * (2 ^ least(p.attempts, "
                                           "16)) * interval '1 ms'"};
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;

    for (size_t i = 0; i < batch->error_count; i++) {
        const struct event_error *error = &batch->errors[i];
        const uint8_t *id = rows_at(&batch->data[turn->lifecycle->on->index], error->event)->id;
        struct pg_args args = {0};

        if (error->event >= turn->done)
            continue;
        pg_int2(&args, turn->lifecycle->id);
        pg_uuid(&args, id);
        pg_int2(&args, (int16_t)bucket_of(id, worker->routing.buckets));
        pg_text(&args, error->text);
        pg_text(&args, error->trace);
        pg_int4(&args, worker->epoch.generation);
        pg_int4(&args, error->is_final ? 1 : (int32_t)worker->settings->queue.attempts);
        pg_int8(&args, worker->settings->queue.retry_ms);
        pg_text(&args, worker->name);
        pg_int8(&args, clock_us() - turn->started_us);
        if (!pg_send(&worker->pg, &park, &args, err))
            return false;
        ++*results;
    }
    return true;
}

/* Events that were parked and have now been done leave no row. */
static bool unpark_send(struct turn *turn, size_t *results, struct acc_error *err)
{
    static struct pg_stmt unpark = {.sql = "DELETE FROM parked WHERE lifecycle = $1::int2 AND fact "
                                           "= ANY($2::uuid[]) AND state = 'queued'"};
    static struct buf ids;
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    struct pg_args args = {0};
    size_t n = 0;

    buf_reset(&ids);
    pg_array_begin(&ids, PG_UUID);
    for (size_t p = 0; p < turn->count && turn->first[p] < turn->done; p++) {
        if (turn->packets[p]->payload[0] != 'T')
            continue;
        for (uint32_t i = turn->first[p]; i < turn->first[p + 1] && i < turn->done; i++) {
            if (batch->outcomes[i] == OUTCOME_FAILED)
                continue;
            pg_array_add(&ids, rows_at(&batch->data[turn->lifecycle->on->index], i)->id, 16);
            n++;
        }
    }
    pg_array_end(&ids, 0);
    if (n == 0)
        return true;
    pg_int2(&args, turn->lifecycle->id);
    pg_array(&args, PG_UUID_ARRAY, &ids);
    ++*results;
    return pg_send(&worker->pg, &unpark, &args, err);
}

static bool reasons_send(struct turn *turn, size_t *results, struct acc_error *err)
{
    struct worker *worker = turn->worker;

    for (size_t i = 0; i < worker->batch->reason_count && !turn->is_first_delivery; i++) {
        const struct batch_reason *reason = &worker->batch->reasons[i];
        ++*results;
        if (!tally_reason_send(&worker->epoch, turn->lifecycle->id,
                               reason->outcome == OUTCOME_EARLY ? "early" : "late", reason->text,
                               reason->n, &worker->pg, err))
            return false;
    }
    return true;
}

static bool skip_results(struct pg *pg, size_t count, struct acc_error *err)
{
    for (; count > 0; count--) {
        PGresult *res = pg_result(pg, err);
        if (res == NULL)
            return false;
        PQclear(res);
    }
    return true;
}

/* The fence comes first: behind it the snapshot sees the routing as it stays until the commit. */
bool turn_begin_send(struct worker *worker, struct acc_error *err)
{
    return pg_send(&worker->pg, &begin_write, NULL, err) &&
           routing_check_send(&worker->routing, &worker->pg, err);
}

/*
 * Everything of the turn in one pipeline. with_completion is false for a part of an event (flush).
 */
static bool write_all(struct turn *turn, bool with_completion, struct acc_error *err)
{
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    struct pg *pg = &worker->pg;
    const struct catalog *catalog = &worker->program.catalog;
    const struct acc_rows *data = &batch->data[turn->lifecycle->on->index];
    int64_t batch_id = worker->epoch.next_batch++;
    int64_t now_us = clock_wall_us();
    int64_t began_us = clock_us();
    size_t before = 0; /* results ahead of the packets' */
    size_t after = 1;  /* and behind them: the tallies */

    packet_set_reset(&worker->pushes);
    for (size_t i = 0; i < catalog->count; i++) {
        if (batch->candidate_count[i] > 0)
            packet_set_route(&worker->pushes, &worker->routing, &worker->program, catalog->kinds[i],
                             batch->candidates[i], batch->candidate_count[i], now_us);
    }
    if (with_completion && !turn->is_first_delivery)
        push_remainder(turn);
    bool ok = true;
    if (!batch->in_transaction) {
        ok = turn_begin_send(worker, err);
        before += BEGIN_RESULTS;
    }
    for (size_t i = 0; ok && i < catalog->count; i++) {
        if (batch->candidate_count[i] == 0)
            continue;
        ok = facts_insert_send(worker->facts, pg, catalog->kinds[i], batch->candidates[i],
                               batch->candidate_count[i], batch_id, data, batch->friend_ids, err);
        before++;
    }
    if (ok && worker->pushes.count > 0)
        ok = queue_push_send(&worker->pushes, pg, &worker->epoch.next_packet, err);
    if (with_completion && !turn->is_first_delivery) {
        if (ok && turn_completed(turn) > 0) {
            ok = queue_done_send(turn->packets, turn_completed(turn), pg, err);
            after++;
        }
        ok = ok && park_send(turn, &after, err) && unpark_send(turn, &after, err);
    }
    ok = ok && tally_send(&turn->tally, &worker->epoch, batch_id, pg, err);
    if (with_completion)
        ok = ok && reasons_send(turn, &after, err);
    ok = ok && pg_send(pg, &commit_write, NULL, err) && pg_sync(pg, err);
    ok = ok && skip_results(pg, before, err) &&
         (worker->pushes.count == 0 || queue_push_read(&worker->pushes, pg, err)) &&
         skip_results(pg, after + 1, err);
    struct acc_error later;
    bool finished = pg_finish(pg, ok ? err : &later);
    if (!ok && !finished && later.code == ACC_ELOST)
        *err = later;
    if (!ok || !finished)
        return false;
    worker->last_write_us = (int32_t)(clock_us() - began_us);
    return true;
}

void worker_wake_others(struct worker *worker, const struct packet_set *set)
{
    bool woken[PAGE_SLOTS] = {0};
    uint64_t one = 1;

    for (size_t i = 0; i < set->count; i++) {
        int bucket = set->packets[i].bucket;
        int slot = bucket < 4096 ? worker->page->bucket_slot[bucket] : -1;

        if (slot < 0 || slot >= PAGE_SLOTS || slot == worker->options->slot || woken[slot])
            continue;
        woken[slot] = true;
        if (write(worker->options->wake_fds[slot], &one, sizeof(one)) != sizeof(one))
            continue; /* full: it is awake anyway */
    }
}

void turn_keep_pushed(struct worker *worker)
{
    worker_wake_others(worker, &worker->pushes);
    for (size_t i = 0; i < worker->pushes.count; i++) {
        struct packet *made = &worker->pushes.packets[i];
        bool is_ours = worker->own.owned != NULL && worker->own.owned[made->bucket] &&
                       made->tries == 0 && program_by_id(&worker->program, made->lifecycle) != NULL;

        if (!is_ours ||
            worker->pool.bytes + made->size > (size_t)worker->settings->queue.hold_bytes) {
            worker->should_claim |= worker->own.owned != NULL && worker->own.owned[made->bucket];
            continue;
        }
        struct packet *packet = acc_alloc(sizeof(*packet));
        *packet = *made;
        made->payload = NULL; /* handed over */
        pool_add(&worker->pool, packet);
    }
}

bool turn_write(struct turn *turn, struct acc_error *err)
{
    turn->worker->slot->run.phase = PHASE_WRITE;
    if (!found_settle(turn->worker->batch, err))
        return false;
    turn_count_outcomes(turn);
    turn_count_kinds(turn);
    return write_all(turn, true, err);
}

/*
 * A large event's finds so far, written in the middle of its callback. The batch goes on with empty
 * find buffers.
 */
bool turn_flush(struct batch *batch, struct acc_error *err)
{
    struct turn *turn = batch->flush_context;
    struct worker *worker = turn->worker;

    if (batch->in_transaction)
        return acc_fail(err, ACC_ELIMIT, "an event that is not monotone finds more than %u facts",
                        batch->hot.find_limit);
    for (int tries = 0;; tries++) {
        if (!found_settle(batch, err))
            return false;
        turn->tally = (struct tally){.lifecycle = turn->lifecycle->id,
                                     .at_us = clock_wall_us(),
                                     .retries = tries,
                                     .last_write_us = worker->last_write_us};
        turn_count_kinds(turn);
        if (write_all(turn, false, err))
            break;
        if (err->code != ACC_ECONFLICT || tries >= 20)
            return false;
        usleep((useconds_t)(500 + random() % (1000 * (tries + 1))));
    }
    turn_count_live(turn);
    found_committed(batch);
    turn_keep_pushed(worker);
    for (size_t i = 0; i < worker->program.catalog.count; i++) {
        rows_reset(&batch->finds[i]);
        batch->candidate_count[i] = 0;
        memset(&batch->found_counts[i], 0, sizeof(batch->found_counts[i]));
    }
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    return true;
}
