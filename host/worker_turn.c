/* One batch: packets in, friends, callbacks, one transaction out. */
#include "worker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "parked.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TAKEN_MAX PAGE_PACKETS

static struct pg_stmt begin_write = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
#define BEGIN_RESULTS 3
static struct pg_stmt commit_write = {.sql = "COMMIT"};

/* A turn and where its packets' events lie. */
struct turn {
    struct worker *worker;
    struct lifecycle *lifecycle;
    struct packet **packets;
    size_t count;
    uint32_t first[TAKEN_MAX + 1]; /* event number of each packet's first event */
    uint32_t done;                 /* events run: 0 .. done-1 */
    size_t whole;                  /* packets run to their end */
    bool is_first_delivery;        /* faults.redeliver: write the finds, complete nothing */
    int64_t started_us, gathered_us, processed_us;
    int64_t load_us;   /* what reading its packets took */
    int32_t waited_ms; /* its events before they were taken, on average */
    struct tally tally;
    int64_t conflicts;
};

/* Decoding */

static bool decode_packet(struct turn *turn, const struct packet *packet, struct acc_error *err)
{
    struct batch *batch = turn->worker->batch;
    const struct kind *kind = turn->lifecycle->on;
    struct acc_rows *data = &batch->data[kind->index];
    uint32_t before = data->count;
    bool ids_only;

    if (!packet_decode(packet, kind, data, &batch->heap, &ids_only, err))
        return false;
    if (!ids_only)
        return true;
    uint8_t *ids = acc_alloc((uint64_t)packet->count * 16 + 1);
    for (int32_t i = 0; i < packet->count; i++)
        memcpy(ids + (size_t)16 * (size_t)i, rows_at(data, before + (uint32_t)i)->id, 16);
    data->count = before;
    bool ok = facts_get(batch->facts, batch->pg, kind, ids, (size_t)packet->count, data,
                        &batch->heap, err);
    free(ids);
    if (ok && data->count - before != (uint32_t)packet->count)
        ok = acc_fail(err, ACC_EDB, "packet %lld holds %d events, %u facts were read",
                      (long long)packet->id, packet->count, data->count - before);
    return ok;
}

static bool decode(struct turn *turn, struct acc_error *err)
{
    struct batch *batch = turn->worker->batch;

    batch_start(batch, turn->lifecycle);
    for (size_t i = 0; i < turn->count; i++) {
        turn->first[i] = batch->data[turn->lifecycle->on->index].count;
        if (!decode_packet(turn, turn->packets[i], err))
            return false;
    }
    turn->first[turn->count] = batch->data[turn->lifecycle->on->index].count;
    batch->hot.event_count = turn->first[turn->count];
    memset(batch->outcomes, OUTCOME_NONE, batch->hot.event_count);
    return true;
}

/* The slot tells the master what runs, so that a death can be pinned to its packet and event. */
static void announce(struct turn *turn)
{
    struct page_slot *slot = turn->worker->slot;

    slot->packet_count = 0;
    slot->lifecycle = turn->lifecycle->id;
    for (size_t i = 0; i < turn->count; i++)
        slot->packets[i] =
            (struct page_packet){turn->packets[i]->id, turn->packets[i]->bucket,
                                 turn->packets[i]->lifecycle, (int32_t)turn->first[i]};
    slot->run.current = -1;
    slot->batch_started_us = clock_us();
    slot->batch_events = turn->first[turn->count];
    __atomic_store_n(&slot->packet_count, (uint32_t)turn->count, __ATOMIC_RELEASE);
}

static void retract(struct worker *worker)
{
    __atomic_store_n(&worker->slot->packet_count, 0, __ATOMIC_RELEASE);
    worker->slot->run.current = -1;
    worker->slot->lifecycle = 0;
    worker->slot->run.phase = PHASE_CLAIM;
}

/* Writing */

/* Friends that each event got: look-ups stand by event, several of one event apart. */
static void count_friends(struct turn *turn)
{
    static uint32_t got[BATCH_EVENTS_MAX];
    struct batch *batch = turn->worker->batch;
    struct tally *tally = &turn->tally;

    if (turn->lifecycle->friend_count == 0)
        return;
    memset(got, 0, turn->done * sizeof(got[0]));
    for (uint32_t h = 0; h < batch->hot.handle_count; h++) {
        const struct acc_handle *handle = &batch->handles[h];
        if (handle->event < turn->done && handle->loaded != 0)
            got[handle->event] += handle->e - handle->b;
    }
    for (uint32_t i = 0; i < turn->done; i++) {
        bool is_late = batch->outcomes[i] == OUTCOME_LATE;
        if (!is_late && batch->outcomes[i] != OUTCOME_EMPTY && batch->outcomes[i] != OUTCOME_FOUND)
            continue;
        tally->given += got[i];
        tally->by_friends[tally_friends_place(got[i])]++;
        tally->late_by_friends[tally_friends_place(got[i])] += is_late;
    }
}

static void count_outcomes(struct turn *turn)
{
    struct batch *batch = turn->worker->batch;
    struct tally *tally = &turn->tally;

    *tally = (struct tally){.lifecycle = turn->lifecycle->id,
                            .at_us = clock_wall_us(),
                            .friends = batch->friend_rows,
                            .retries = turn->conflicts,
                            .waited_ms = turn->waited_ms,
                            .last_write_us = turn->worker->last_write_us};
    if (!turn->is_first_delivery)
        count_friends(turn);
    for (uint32_t i = 0; i < turn->done && !turn->is_first_delivery; i++) {
        tally->events++;
        tally->early += batch->outcomes[i] == OUTCOME_EARLY;
        tally->late += batch->outcomes[i] == OUTCOME_LATE;
        tally->empty += batch->outcomes[i] == OUTCOME_EMPTY;
        tally->found += batch->outcomes[i] == OUTCOME_FOUND;
        tally->failed += batch->outcomes[i] == OUTCOME_FAILED;
    }
    tally->events -= tally->failed; /* a failed event is not finished */
    tally->phases_us[0] = (int32_t)turn->load_us;
    tally->phases_us[1] = (int32_t)(turn->gathered_us - turn->started_us);
    tally->phases_us[2] = (int32_t)(turn->processed_us - turn->gathered_us);
    tally->phases_us[3] = (int32_t)(clock_us() - turn->processed_us);
}

static void count_kinds(struct turn *turn)
{
    struct batch *batch = turn->worker->batch;

    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        if (batch->found_counts[i].fresh + batch->found_counts[i].repeats +
                batch->found_counts[i].contradictions ==
            0)
            continue;
        size_t k = turn->tally.kind_count++;
        turn->tally.kinds[k].tag = batch->program->catalog.kinds[i]->tag;
        turn->tally.kinds[k].fresh = batch->found_counts[i].fresh;
        turn->tally.kinds[k].repeats = batch->found_counts[i].repeats;
        turn->tally.kinds[k].contradictions = batch->found_counts[i].contradictions;
    }
}

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

/*
 * The packets that this transaction completes: those run whole, and the one that a remainder
 * replaces.
 */
static size_t completed(const struct turn *turn)
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
static bool begin_send(struct worker *worker, struct acc_error *err)
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
        ok = begin_send(worker, err);
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
        if (ok && completed(turn) > 0) {
            ok = queue_done_send(turn->packets, completed(turn), pg, err);
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

/* After the commit: packets for our own buckets stay in RAM, other owners are woken. */
static void keep_pushed(struct worker *worker)
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

static void count_live(struct turn *turn)
{
    struct page_slot *slot = turn->worker->slot;

    slot->batches++;
    slot->conflicts += (uint64_t)turn->conflicts;
    slot->events += (uint64_t)turn->tally.events;
    slot->failed += (uint64_t)turn->tally.failed;
    slot->friend_rows += (uint64_t)turn->worker->batch->friend_rows;
    slot->round_trips = turn->worker->pg.round_trips;
    slot->seen_bytes = seen_bytes(turn->worker->seen);
    for (size_t k = 0; k < turn->tally.kind_count; k++) {
        slot->found += (uint64_t)(turn->tally.kinds[k].fresh + turn->tally.kinds[k].repeats);
        slot->new_facts += (uint64_t)turn->tally.kinds[k].fresh;
        slot->repeats += (uint64_t)turn->tally.kinds[k].repeats;
    }
}

/* One of the new facts, twice a second at most, for those who watch. */
static void leave_sample(struct turn *turn)
{
    struct page_slot *slot = turn->worker->slot;
    struct batch *batch = turn->worker->batch;
    uint32_t last = (slot->next_sample + PAGE_SAMPLES - 1) % PAGE_SAMPLES;
    size_t kinds = turn->worker->program.catalog.count;
    size_t first = kinds > 0 ? (size_t)random() % kinds : 0;

    if (turn->tally.at_us - slot->samples[last].at_us < 500000)
        return;
    for (size_t i = 0; i < kinds; i++) {
        size_t k = (first + i) % kinds;
        struct page_sample *sample = &slot->samples[slot->next_sample % PAGE_SAMPLES];

        if (batch->candidate_count[k] == 0)
            continue;
        memcpy(sample->id, batch->candidates[k][(size_t)random() % batch->candidate_count[k]]->id,
               sizeof(sample->id));
        sample->lifecycle = turn->lifecycle->id;
        __atomic_store_n(&sample->at_us, turn->tally.at_us, __ATOMIC_RELEASE);
        slot->next_sample++;
        return;
    }
}

static void learn_pace(struct turn *turn)
{
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    double events = turn->done;
    double finds = batch->hot.find_count / events;
    double friends =
        (double)batch->friend_rows / (batch->hot.run_count == 0 ? 1 : batch->hot.run_count);

    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        struct pace *pace = &worker->paces[i];
        if (worker->program.lifecycles[i] != turn->lifecycle)
            continue;
        /* Quick upward, slow downward: a batch too large costs more than one too small. */
        pace->finds =
            pace->finds < 0 || finds > pace->finds ? finds : 0.8 * pace->finds + 0.2 * finds;
        pace->friends = pace->friends < 0 || friends > pace->friends
                            ? friends
                            : 0.8 * pace->friends + 0.2 * friends;
        pace->tokens -= events;
    }
}

/*
 * A large event's finds so far, written in the middle of its callback. The batch goes on with empty
 * find buffers.
 */
static bool flush(struct batch *batch, struct acc_error *err)
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
        count_kinds(turn);
        if (write_all(turn, false, err))
            break;
        if (err->code != ACC_ECONFLICT || tries >= 20)
            return false;
        usleep((useconds_t)(500 + random() % (1000 * (tries + 1))));
    }
    count_live(turn);
    found_committed(batch);
    keep_pushed(worker);
    for (size_t i = 0; i < worker->program.catalog.count; i++) {
        rows_reset(&batch->finds[i]);
        batch->candidate_count[i] = 0;
        memset(&batch->found_counts[i], 0, sizeof(batch->found_counts[i]));
    }
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    return true;
}

/* Friends, callbacks, what is new: everything before the write. */
static bool compute(struct turn *turn, struct acc_error *err)
{
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    struct lifecycle *lifecycle = turn->lifecycle;
    uint32_t next = 0;

    turn->started_us = clock_us();
    if (!lifecycle->is_monotone) {
        if (!begin_send(worker, err) || !pg_sync(&worker->pg, err) || !pg_finish(&worker->pg, err))
            return false;
        batch->in_transaction = true;
    }
    if (lifecycle->has_mirror && !friends_mirrors(batch, err))
        return false;
    if (!lifecycle->gather(lifecycle, batch, err) || !friends_end(batch, err))
        return false;
    turn->gathered_us = clock_us();
    if (!lifecycle->process(lifecycle, batch, &next, err))
        return false;
    turn->processed_us = clock_us();
    turn->done = next;
    for (turn->whole = 0; turn->whole < turn->count && turn->first[turn->whole + 1] <= turn->done;)
        turn->whole++;
    return true;
}

static bool write_turn(struct turn *turn, struct acc_error *err)
{
    turn->worker->slot->run.phase = PHASE_WRITE;
    if (!found_settle(turn->worker->batch, err))
        return false;
    count_outcomes(turn);
    count_kinds(turn);
    return write_all(turn, true, err);
}

/* Ends whatever transaction an error left open. */
static void abandon(struct worker *worker)
{
    struct acc_error err;

    worker->batch->in_transaction = false;
    worker->batch->is_reading = false;
    if (worker->pg.conn == NULL)
        return;
    (void)!pg_finish(&worker->pg, &err);
    if (PQtransactionStatus(worker->pg.conn) != PQTRANS_IDLE)
        (void)!pg_do(&worker->pg, "ROLLBACK", NULL, &err);
}

/*
 * The routing moved (read it again), or our packets are gone (drop what we hold). *is_ours tells
 * whether to run again.
 */
static bool refresh(struct worker *worker, bool *is_ours, struct acc_error *err)
{
    int64_t version = worker->routing.version;

    if (!routing_read(&worker->routing, &worker->pg, err))
        return false;
    *is_ours = worker->routing.version != version;
    return true;
}

static void give_back(struct turn *turn, size_t from)
{
    for (size_t i = from; i < turn->count; i++)
        pool_add(&turn->worker->pool, turn->packets[i]);
}

static void end_turn(struct turn *turn)
{
    struct worker *worker = turn->worker;
    size_t done = completed(turn);

    leave_sample(turn);
    found_committed(worker->batch);
    count_live(turn);
    worker_meters_batch(worker, turn->lifecycle, &turn->tally, worker->last_write_us);
    learn_pace(turn);
    retract(worker);
    if (turn->is_first_delivery) {
        /*
         * Those begun count as delivered, or one whose finds end the batch would never be
         * completed.
         */
        for (size_t i = 0; i < turn->count && turn->first[i] < turn->done; i++)
            turn->packets[i]->is_redelivered = true;
        give_back(turn, 0);
        keep_pushed(worker);
        return;
    }
    for (size_t i = 0; i < done; i++)
        packet_free(turn->packets[i]);
    give_back(turn, done);
    keep_pushed(worker);
    log_debug("worker", "lifecycle=%s events=%u finds=%u conflicts=%lld batch_ms=%.1f",
              turn->lifecycle->name, turn->done, worker->batch->hot.find_count,
              (long long)turn->conflicts, (double)(clock_us() - turn->started_us) / 1000);
}

static void lose_turn(struct turn *turn)
{
    retract(turn->worker);
    give_back(turn, 0);
}

/* One try with run_count events. */
static bool try_turn(struct turn *turn, uint32_t limit, struct acc_error *err)
{
    struct batch *batch = turn->worker->batch;

    batch_restart(batch);
    batch->in_transaction = false;
    batch->hot.run_count = limit < batch->hot.event_count ? limit : batch->hot.event_count;
    batch->flush = flush;
    batch->flush_context = turn;
    return compute(turn, err) && write_turn(turn, err);
}

/*
 * An error that is this one event's: it is parked, with the turn's other events left for the next.
 */
static bool park_alone(struct turn *turn, const struct acc_error *why, struct acc_error *err)
{
    struct batch *batch = turn->worker->batch;

    batch_restart(batch);
    batch->in_transaction = false;
    batch_park_event(batch, 0, why->text, "", false);
    turn->done = 1;
    turn->whole = turn->first[1] <= 1 ? 1 : 0;
    turn->processed_us = turn->gathered_us = turn->started_us;
    return write_turn(turn, err);
}

/* How long the events had waited when they were taken, on average. */
static int32_t waited_ms(struct packet *const *packets, size_t count)
{
    int64_t now_us = clock_wall_us();
    double events = 0;
    double waited_us = 0;

    for (size_t i = 0; i < count; i++) {
        events += packets[i]->count;
        if (now_us > packets[i]->born_us)
            waited_us += (double)(now_us - packets[i]->born_us) * packets[i]->count;
    }
    double ms = events > 0 ? waited_us / events / 1000 : 0;
    return ms < INT32_MAX ? (int32_t)ms : INT32_MAX;
}

bool worker_turn(struct worker *worker, struct lifecycle *lifecycle, struct packet **taken,
                 size_t count, int64_t want, struct acc_error *err)
{
    struct turn turn = {.worker = worker, .lifecycle = lifecycle, .packets = taken, .count = count};
    uint32_t limit = want < 1 ? 1 : (uint32_t)want;

    turn.is_first_delivery = worker->settings->faults.redeliver && !taken[0]->is_redelivered;
    if (turn.is_first_delivery || worker->settings->faults.redeliver)
        limit = UINT32_MAX; /* a delivery is of whole packets */
    int64_t taken_us = clock_us();
    turn.waited_ms = waited_ms(taken, count);
    if (!decode(&turn, err)) {
        lose_turn(&turn);
        if (err->code == ACC_EINPUT || err->code == ACC_EDB) {
            log_error("worker", "event=\"packet unreadable\" error=%s", log_quote(err->text));
            pool_drop(&worker->pool, -1);
            usleep(100000);
            return true;
        }
        return err->code != ACC_ELOST;
    }
    turn.load_us = clock_us() - taken_us;
    announce(&turn);
    for (int tries = 1;; tries++) {
        if (try_turn(&turn, limit, err)) {
            end_turn(&turn);
            return true;
        }
        struct acc_error why = *err;
        uint32_t ran = worker->batch->hot.run_count;
        bool too_many = worker->batch->too_many_friends;
        abandon(worker);
        if (why.code == ACC_ELOST)
            break;
        if (why.code == ACC_ESTALE) {
            bool is_ours;
            if (!refresh(worker, &is_ours, err))
                break;
            if (!is_ours) { /* somebody else has done them */
                lose_turn(&turn);
                pool_drop(&worker->pool, -1);
                worker->should_claim = true;
                return true;
            }
        } else if (why.code == ACC_ECONFLICT) {
            turn.conflicts++;
            worker_meters_conflict(worker, lifecycle);
            if (tries % 3 == 0 && ran > 1)
                limit = (ran + 1) / 2;
            usleep((useconds_t)(random() % (1000 * (tries > 20 ? 20 : tries))));
        } else if (too_many) {
            limit = (ran + 1) / 2;
        } else if (pg_is_transient(&why)) {
            log_warn("worker", "lifecycle=%s event=\"will try again\" error=%s", lifecycle->name,
                     log_quote(why.text));
            usleep((useconds_t)(100000 * (tries > 50 ? 50 : tries)));
        } else if (ran > 1) {
            limit = ran / 2; /* bisect to the event that the database or Lua cannot take */
        } else {
            if (park_alone(&turn, &why, err)) {
                end_turn(&turn);
                return true;
            }
            abandon(worker);
            if (err->code == ACC_ELOST)
                break;
        }
    }
    lose_turn(&turn);
    return false;
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
