/*
 * Quarantine: packets whose worker died. They are split until the event that kills is alone, and
 * run here, in a process that owns no bucket, so that a further death costs nobody else anything.
 */
#include "worker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "parked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSED_US 200000

static struct pg_stmt begin_write = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
static struct pg_stmt commit_write = {.sql = "COMMIT"};

static void death_text(const struct page_poison *poison, char *out, size_t size)
{
    if (poison->stuck_ms > 0)
        snprintf(out, size,
                 "the worker stood still for %lld ms in a callback and was killed (worker.stuck)",
                 (long long)poison->stuck_ms);
    else if (poison->signal != 0)
        snprintf(out, size, "the worker died of signal %d (%s)", poison->signal,
                 strsignal(poison->signal));
    else
        snprintf(out, size, "the worker ended with exit code %d", poison->status);
}

/* Where an event's bytes lie in a payload: rows have no index, so they are walked. */
static bool split(struct worker *worker, const struct packet *packet, int32_t suspect,
                  struct acc_error *err)
{
    struct lifecycle *lifecycle = program_by_id(&worker->program, packet->lifecycle);
    struct batch *batch = worker->batch;
    struct packet like = *packet;
    int32_t part = suspect >= 0 ? 0 : (packet->count + 15) / 16;

    if (lifecycle == NULL)
        return acc_fail(err, ACC_ESTALE, "lifecycle %d of a dead worker's packet is not loaded",
                        packet->lifecycle);
    batch_start(batch, lifecycle);
    struct acc_rows *data = &batch->data[lifecycle->on->index];
    bool ids_only;
    if (!packet_decode(packet, lifecycle->on, data, &batch->heap, &ids_only, err))
        return false;
    if (ids_only && packet->payload[0] == 'R')
        packet->payload[0] = 'I'; /* rows of an older layout: their ids say enough */
    packet_set_reset(&worker->pushes);
    like.tries = (int16_t)(packet->tries + 1);
    for (uint32_t i = 0; i < data->count; i++) {
        /*
         * The part's number rides on the age, which makes groups differ; the suspect's is its own.
         */
        like.born_us = packet->born_us;
        worker->pushes.packet_events = part > 0 ? part
                                       : (int32_t)i == suspect
                                           ? 1
                                           : worker->settings->queue.packet_events;
        if ((int32_t)i == suspect)
            continue;
        packet_set_add(&worker->pushes, &like, lifecycle->on, rows_at(data, i));
    }
    if (suspect >= 0 && (uint32_t)suspect < data->count) {
        worker->pushes.packet_events = 0; /* no open packet takes it: one of its own */
        packet_set_add(&worker->pushes, &like, lifecycle->on, rows_at(data, (uint32_t)suspect));
    }
    worker->pushes.packet_events = worker->settings->queue.packet_events;
    return true;
}

/* The transaction that replaces a poisoned packet by its parts, or parks its only event. */
static bool replace(struct worker *worker, struct packet *packet, const struct page_poison *poison,
                    struct acc_error *err)
{
    static struct pg_stmt park = {
        .sql = "INSERT INTO parked AS p (lifecycle, fact, bucket, state, attempts, error, trace, "
               "generation, first_at, last_at, ready_at, history) "
               "VALUES ($1::int2, $2::uuid, $3::int2, 'dead', $4::int4, $5::text, $6::text, "
               "$7::int4, now(), now(), now(), "
               "jsonb_build_array(" PARKED_ATTEMPT(
                   "$4::int4", "$5", "NULL", "$7",
                   "NULL") ")) "
                           "ON CONFLICT (lifecycle, fact) DO UPDATE SET attempts = p.attempts + 1, "
                           "retry = -abs(p.retry), "
                           "state = "
                           "'dead', error = excluded.error, "
                           "trace = excluded.trace, last_at = now(), ready_at = now(), history "
                           "= " PARKED_WITH(
                               PARKED_ATTEMPT("p.attempts + 1", "$5", "NULL", "$7", "NULL"),
                               "p.history")};
    struct pg *pg = &worker->pg;
    struct pg_args args = {0};
    char text[256];
    char trace[320];
    bool is_final = packet->count == 1 && packet->tries >= 1 &&
                    packet->tries + 1 >= worker->settings->queue.attempts;
    struct tally tally = {.lifecycle = packet->lifecycle, .failed = 1, .at_us = clock_wall_us()};

    death_text(poison, text, sizeof(text));
    snprintf(trace, sizeof(trace), "%s, in its process alone, %d times", text, packet->tries + 1);
    if (!split(worker, packet, packet->count == 1 ? 0 : poison->suspect, err))
        return false;
    bool ok = pg_send(pg, &begin_write, NULL, err) && queue_done_send(&packet, 1, pg, err);
    if (is_final) {
        const struct acc_row *row = rows_at(
            &worker->batch->data[program_by_id(&worker->program, packet->lifecycle)->on->index], 0);
        pg_int2(&args, packet->lifecycle);
        pg_uuid(&args, row->id);
        pg_int2(&args, packet->bucket);
        pg_int4(&args, packet->tries + 1);
        pg_text(&args, text);
        pg_text(&args, trace);
        pg_int4(&args, worker->epoch.generation);
        ok = ok && pg_send(pg, &park, &args, err);
    } else {
        ok = ok && queue_push_send(&worker->pushes, pg, &worker->epoch.next_packet, err);
    }
    ok = ok && tally_send(&tally, &worker->epoch, worker->epoch.next_batch++, pg, err) &&
         pg_send(pg, &commit_write, NULL, err) && pg_sync(pg, err) && pg_finish(pg, err);
    if (ok && is_final)
        log_error("quarantine", "event=\"event is dead\" lifecycle=%s error=%s",
                  program_by_id(&worker->program, packet->lifecycle)->name, log_quote(text));
    return ok;
}

/* Deals with every packet the master has listed. */
static bool split_poisoned(struct worker *worker, struct acc_error *err)
{
    for (size_t i = 0; i < PAGE_POISON; i++) {
        struct page_poison poison = worker->page->poison[i];
        struct packet *packet = NULL;

        if (poison.id == 0)
            continue;
        if (!queue_get(&worker->pg, poison.bucket, poison.id, &packet, err))
            return err->code == ACC_ECONFLICT;
        bool ok = packet == NULL || replace(worker, packet, &poison, err);
        packet_free(packet);
        if (!ok) {
            struct acc_error later;
            (void)!pg_finish(&worker->pg, &later);
            if (err->code == ACC_ECONFLICT || (err->code == ACC_ESTALE && err->sqlstate[0] != '\0'))
                continue; /* somebody had it in hand: look again */
            return false;
        }
        __atomic_store_n(&worker->page->poison[i].id, 0, __ATOMIC_RELEASE);
    }
    return true;
}

static bool run_one(struct worker *worker, struct packet *packet, struct acc_error *err)
{
    struct lifecycle *lifecycle = program_by_id(&worker->program, packet->lifecycle);

    /*
     * worker_turn takes the packet; what is left of it comes back to the pool, which holds nothing
     * else here.
     */
    packet->is_redelivered = true;
    bool ok = worker_turn(worker, lifecycle, &packet, 1, packet->count, err);
    pool_drop(&worker->pool, -1);
    return ok;
}

bool quarantine_run(struct worker *worker, struct acc_error *err)
{
    int16_t *ids = acc_alloc(worker->program.lifecycle_count * sizeof(int16_t) + 1);
    int32_t *priorities = acc_zalloc(worker->program.lifecycle_count * sizeof(int32_t) + 1);
    size_t lifecycles = 0;
    bool ok = true;
    bool more = true;

    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        if (worker->program.lifecycles[i]->id != 0)
            ids[lifecycles++] = worker->program.lifecycles[i]->id;
    }
    while (ok && more && __atomic_load_n(&worker->slot->retire, __ATOMIC_ACQUIRE) == 0) {
        worker->slot->run.beat++;
        if (!worker_obey(worker, err)) {
            ok = false;
            break;
        }
        if (worker->control.is_paused) {
            usleep(PAUSED_US);
            continue;
        }
        struct claim want = {.lifecycles = ids,
                             .priorities = priorities,
                             .lifecycle_count = lifecycles,
                             .is_quarantine = true,
                             .most = 1};
        struct packet **packets = NULL;
        size_t count = 0;

        ok = split_poisoned(worker, err) && queue_claim(&want, &worker->pg, &packets, &count, err);
        more = count > 0;
        if (ok && more)
            ok = run_one(worker, packets[0], err);
        free(packets);
    }
    free(ids);
    free(priorities);
    return ok;
}
