/* One batch: packets in, friends, callbacks, one transaction out; again after a conflict, in smaller pieces after errors. */
#include "worker_turn.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Friends, callbacks, what is new: everything before the write. */
static bool compute(struct turn *turn, struct acc_error *err)
{
    struct worker *worker = turn->worker;
    struct batch *batch = worker->batch;
    struct lifecycle *lifecycle = turn->lifecycle;
    uint32_t next = 0;

    turn->started_us = clock_us();
    if (!lifecycle->is_monotone) {
        if (!turn_begin_send(worker, err) || !pg_sync(&worker->pg, err) ||
            !pg_finish(&worker->pg, err))
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
    size_t done = turn_completed(turn);

    turn_leave_sample(turn);
    found_committed(worker->batch);
    turn_count_live(turn);
    worker_meters_batch(worker, turn->lifecycle, &turn->tally, worker->last_write_us);
    turn_learn_pace(turn);
    retract(worker);
    if (turn->is_first_delivery) {
        /*
         * Those begun count as delivered, or one whose finds end the batch would never be
         * completed.
         */
        for (size_t i = 0; i < turn->count && turn->first[i] < turn->done; i++)
            turn->packets[i]->is_redelivered = true;
        give_back(turn, 0);
        turn_keep_pushed(worker);
        return;
    }
    for (size_t i = 0; i < done; i++)
        packet_free(turn->packets[i]);
    give_back(turn, done);
    turn_keep_pushed(worker);
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
    batch->flush = turn_flush;
    batch->flush_context = turn;
    return compute(turn, err) && turn_write(turn, err);
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
    return turn_write(turn, err);
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
