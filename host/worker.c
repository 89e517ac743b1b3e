/* The worker's life: connect, load, own buckets, take packets, run turns, end when told. */
#include "worker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "schema.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLAIM_PACKETS 32
#define TICK_US 200000

static bool set_session(struct worker *worker, struct acc_error *err)
{
    struct buf sql = {0};

    if (!schema_become(&worker->pg, worker->options->app->schema, "worker", err))
        return false;
    /*
     * Our queries join a few keys to an index: any other plan is a mistake of statistics. A
     * worker's commit need not wait for the disk: a lost tail takes its event deletes with it.
     */
    buf_text(&sql, "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = "
                   "off; SET enable_material = off; "
                   "SET enable_memoize = off; SET plan_cache_mode = force_generic_plan; SET jit = "
                   "off; SET synchronous_commit = off; LISTEN ");
    pg_identifier(&sql, worker->options->app->schema);
    bool ok = pg_do(&worker->pg, sql.data, NULL, err);
    buf_clear(&sql);
    return ok;
}

static bool start(struct worker *worker, struct acc_error *err)
{
    const struct worker_options *options = worker->options;
    const struct settings *settings = worker->settings;

    worker->script = script_new(settings, options->modules_dir, options->native_dir, err);
    if (worker->script != NULL && options->metrics != NULL)
        script_set_metrics(worker->script, options->metrics);
    if (worker->script == NULL || !script_load(worker->script, &worker->program, false, err))
        return false;
    if (!pg_open(&worker->pg, options->conninfo, options->app->schema,
                 settings->database.connect_timeout_ms, settings->database.statement_timeout_ms,
                 err) ||
        !schema_bind(&worker->pg, &worker->program, err) || !set_session(worker, err) ||
        !epoch_open(&worker->epoch, &worker->pg, options->is_quarantine ? "quarantine" : "worker",
                    worker->program.generation, err) ||
        !epoch_fold_dead(&worker->pg, err) || !routing_read(&worker->routing, &worker->pg, err))
        return false;
    if (!options->is_quarantine &&
        !ownership_init(&worker->own, &worker->pg, worker->routing.buckets,
                        worker->program.generation, err))
        return false;
    worker->facts = facts_new(&worker->program.catalog);
    worker->seen = seen_new((uint64_t)settings->worker.seen_bytes);
    worker->batch = batch_new(settings, &worker->program, &worker->pg, worker->facts, worker->seen,
                              &worker->slot->run);
    worker->pushes.packet_events = settings->queue.packet_events;
    worker->pushes.packet_bytes = settings->queue.packet_bytes;
    worker->paces = acc_zalloc(worker->program.lifecycle_count * sizeof(struct pace) + 1);
    for (size_t i = 0; i < worker->program.lifecycle_count; i++)
        worker->paces[i] = (struct pace){.finds = -1, .friends = -1, .filled_us = clock_us()};
    worker->is_blocked = acc_zalloc(32768);
    page_worker_name(worker->options->slot, worker->name, sizeof(worker->name));
    worker_meters_open(worker);
    worker->should_claim = true;
    worker->looks_at_retries = true;
    worker->slot->generation = worker->program.generation;
    worker->slot->lua_bytes = script_bytes(worker->script);
    return true;
}

static void stop(struct worker *worker)
{
    for (int b = 0; b < worker->own.buckets; b++) {
        if (worker->own.owned[b] && b < 4096 &&
            worker->page->bucket_slot[b] == worker->options->slot)
            worker->page->bucket_slot[b] = -1;
    }
    pool_clear(&worker->pool);
    packet_set_clear(&worker->pushes);
    batch_free(worker->batch);
    seen_free(worker->seen);
    facts_free(worker->facts);
    routing_clear(&worker->routing);
    ownership_clear(&worker->own);
    pg_close(&worker->pg);
    script_free(worker->script);
    free(worker->paces);
    free(worker->is_blocked);
    control_clear(&worker->control);
    worker_meters_close(worker);
}

/* Ownership */

static bool balance(struct worker *worker, struct acc_error *err)
{
    int32_t newest = worker->own.newest;
    bool changed;

    if (worker->own.buckets != worker->routing.buckets)
        return acc_fail(
            err, ACC_ESTALE,
            "the number of buckets changed"); /* a new worker starts with the new number */
    if (!ownership_balance(&worker->own, &worker->pg, &changed, err))
        return false;
    worker->slot->buckets_owned = worker->own.count;
    if (worker->own.newest != newest && worker->own.newest > worker->own.generation)
        log_warn("worker",
                 "event=\"workers of a newer generation have its buckets now\" generation=%d "
                 "newer=%d mend=\"bring the app up to date here, then accrete reload\"",
                 worker->own.generation, worker->own.newest);
    if (!changed)
        return true;
    for (int b = 0; b < worker->own.buckets && b < 4096; b++) {
        if (worker->own.owned[b]) {
            worker->slot->buckets_taken += worker->page->bucket_slot[b] != worker->options->slot;
            worker->page->bucket_slot[b] = (int16_t)worker->options->slot;
            continue;
        }
        if (worker->page->bucket_slot[b] == worker->options->slot)
            worker->page->bucket_slot[b] = -1;
        pool_drop(&worker->pool, b);
    }
    worker->should_claim = true;
    return true;
}

/* What people have set */

bool worker_obey(struct worker *worker, struct acc_error *err)
{
    if (!control_read(&worker->control, &worker->pg, err))
        return false;
    worker->heard_control = false;
    worker->slot->is_paused = worker->control.is_paused;
    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        const struct lifecycle *lifecycle = worker->program.lifecycles[i];
        struct pace *pace = &worker->paces[i];
        double per_s = control_per_s(&worker->control, lifecycle->id, lifecycle->throttle);

        if (per_s == pace->per_s)
            continue;
        pace->per_s = per_s;
        pace->tokens = 0; /* what was done before is not held against it */
        pace->filled_us = clock_us();
    }
    return true;
}

/* Throttles: a worker's share is the throttle times owned / all buckets. */
static int64_t allowance(struct worker *worker, size_t number, int64_t now_us)
{
    struct pace *pace = &worker->paces[number];

    if (pace->per_s <= 0)
        return INT64_MAX;
    double rate = pace->per_s;
    if (worker->own.buckets > 0)
        rate = rate * worker->own.count / worker->own.buckets;
    pace->tokens += rate * (double)(now_us - pace->filled_us) / 1e6;
    pace->filled_us = now_us;
    if (pace->tokens > rate + 1)
        pace->tokens = rate + 1; /* at most a second's worth */
    return pace->tokens < 1 ? 0 : (int64_t)pace->tokens;
}

static bool is_poisoned(const struct page *page, int64_t id)
{
    for (size_t i = 0; i < PAGE_POISON; i++) {
        if (page->poison[i].id == id)
            return true;
    }
    return false;
}

static bool has_poison(const struct page *page)
{
    for (size_t i = 0; i < PAGE_POISON; i++) {
        if (page->poison[i].id != 0)
            return true;
    }
    return false;
}

/* Packets of dead workers leave the pool: the quarantine worker splits them. */
static void drop_poisoned(struct worker *worker)
{
    if (!has_poison(worker->page))
        return;
    for (size_t i = worker->pool.count; i-- > 0;) {
        struct packet *packet = worker->pool.packets[i];
        if (!is_poisoned(worker->page, packet->id))
            continue;
        worker->pool.bytes -= packet->size;
        worker->pool.packets[i] = worker->pool.packets[--worker->pool.count];
        packet_free(packet);
    }
}

/* Claiming */

static bool claim(struct worker *worker, struct acc_error *err)
{
    size_t buckets = 0;
    size_t lifecycles = 0;
    size_t held = 0;
    int16_t *bucket = acc_alloc((uint64_t)worker->own.buckets * sizeof(int16_t) + 1);
    int16_t *ids = acc_alloc(worker->program.lifecycle_count * sizeof(int16_t) + 1);
    int32_t *priorities = acc_alloc(worker->program.lifecycle_count * sizeof(int32_t) + 1);
    int64_t *not_wanted = acc_alloc((worker->pool.count + PAGE_POISON) * sizeof(int64_t));
    struct packet **packets = NULL;
    size_t count = 0;

    for (int b = 0; b < worker->own.buckets; b++) {
        if (worker->own.owned[b])
            bucket[buckets++] = (int16_t)b;
    }
    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        const struct lifecycle *lifecycle = worker->program.lifecycles[i];
        if (lifecycle->id == 0 || worker->is_blocked[lifecycle->id])
            continue;
        ids[lifecycles] = lifecycle->id;
        priorities[lifecycles++] = lifecycle->priority;
    }
    for (size_t i = 0; i < worker->pool.count; i++)
        not_wanted[held++] = worker->pool.packets[i]->id;
    for (size_t i = 0; i < PAGE_POISON; i++) {
        if (worker->page->poison[i].id != 0)
            not_wanted[held++] = worker->page->poison[i].id;
    }
    struct claim want = {.buckets = bucket,
                         .bucket_count = buckets,
                         .lifecycles = ids,
                         .priorities = priorities,
                         .lifecycle_count = lifecycles,
                         .held = not_wanted,
                         .held_count = held,
                         .oldest_first = ++worker->claims % 16 == 0,
                         .shuffle_seed = worker->settings->queue.shuffle_seed,
                         .most = CLAIM_PACKETS};
    bool ok =
        buckets == 0 || lifecycles == 0 || queue_claim(&want, &worker->pg, &packets, &count, err);
    for (size_t i = 0; ok && i < count; i++)
        pool_add(&worker->pool, packets[i]);
    worker->should_claim = count == CLAIM_PACKETS;
    free(packets);
    free(bucket);
    free(ids);
    free(priorities);
    free(not_wanted);
    return ok;
}

/* Events of lifecycle for the next batch: as many as its last ones say fit. */
static int64_t wanted(const struct worker *worker, size_t number, int64_t allowed)
{
    const struct settings *s = worker->settings;
    const struct pace *pace = &worker->paces[number];
    int64_t want = s->worker.batch_events;

    if (pace->friends < 0 && worker->program.lifecycles[number]->friend_count > 0 && want > 128)
        want = 128;
    if (pace->finds > 0 && (double)want * pace->finds > (double)s->worker.batch_finds)
        want = (int64_t)((double)s->worker.batch_finds / pace->finds);
    if (pace->friends > 0 && (double)want * pace->friends * 1.5 > (double)s->worker.batch_friends)
        want = (int64_t)((double)s->worker.batch_friends / pace->friends / 1.5);
    if (want > allowed)
        want = allowed;
    return want < 1 ? 1 : want;
}

/* Runs one batch if there is one. *ran says so. */
static bool turn(struct worker *worker, bool *ran, struct acc_error *err)
{
    struct packet *taken[PAGE_PACKETS];
    int64_t now_us = clock_us();
    size_t number = 0;

    *ran = false;
    for (size_t i = 0; i < worker->program.lifecycle_count; i++) {
        worker->is_blocked[worker->program.lifecycles[i]->id] = allowance(worker, i, now_us) == 0;
    }
    drop_poisoned(worker);
    struct packet *best = pool_best(&worker->pool, &worker->program, worker->is_blocked,
                                    worker->settings->queue.shuffle_seed);
    if (best == NULL)
        return true;
    while (worker->program.lifecycles[number]->id != best->lifecycle)
        number++;
    int64_t want = wanted(worker, number, allowance(worker, number, now_us));
    int64_t packets = worker->settings->faults.redeliver ? 1 : PAGE_PACKETS;
    size_t count = pool_take(&worker->pool, best->lifecycle, want,
                             worker->settings->queue.shuffle_seed, taken, (size_t)packets);
    *ran = true;
    return worker_turn(worker, worker->program.lifecycles[number], taken, count, want, err);
}

/* Sleeps until somebody wakes us, the database notifies, or the poll time is over. */
static bool wait_for_work(struct worker *worker, int64_t most_ms, struct acc_error *err)
{
    struct pollfd fds[2] = {
        {.fd = worker->options->wake_fds[worker->options->slot], .events = POLLIN},
        {.fd = PQsocket(worker->pg.conn), .events = POLLIN}};
    uint64_t count;

    worker->slot->run.phase = PHASE_IDLE;
    poll(fds, 2, (int)most_ms);
    if ((fds[0].revents & POLLIN) != 0 && read(fds[0].fd, &count, sizeof(count)) != sizeof(count))
        count = 0;
    if (fds[1].revents != 0) {
        if (PQconsumeInput(worker->pg.conn) != 1)
            return acc_fail(err, ACC_ELOST, "the connection to the database is lost");
        for (PGnotify *note; (note = PQnotifies(worker->pg.conn)) != NULL;) {
            worker->heard_control |= strcmp(note->extra, CONTROL_NOTE) == 0;
            PQfreemem(note);
        }
    }
    worker->should_claim = true;
    worker->slot->run.beat++;
    return true;
}

static bool is_retired(const struct worker *worker)
{
    int64_t most = worker->settings->worker.batches_max;
    return __atomic_load_n(&worker->slot->retire, __ATOMIC_ACQUIRE) != 0 ||
           (most > 0 && (int64_t)worker->turns >= most);
}

static bool run(struct worker *worker, struct acc_error *err)
{
    int64_t last_tick = 0;

    while (!is_retired(worker)) {
        int64_t now_us = clock_us();
        bool ran = false;

        worker->slot->run.beat++;
        if (now_us - last_tick > TICK_US || worker->heard_control) {
            last_tick = now_us;
            if (!worker_obey(worker, err) || !balance(worker, err) ||
                (!worker->control.is_paused && !worker_requeue(worker, err)))
                return false;
        }
        if (worker->control.is_paused) {
            if (!wait_for_work(worker, worker->settings->queue.poll_ms, err))
                return false;
            continue;
        }
        if (worker->should_claim &&
            (worker->pool.count < CLAIM_PACKETS || worker->turns % 8 == 0) &&
            worker->pool.bytes < (size_t)worker->settings->queue.hold_bytes && !claim(worker, err))
            return false;
        if (!turn(worker, &ran, err))
            return false;
        worker->turns += ran;
        if (!ran && !wait_for_work(worker, worker->settings->queue.poll_ms, err))
            return false;
        if (ran && worker->turns % 16 == 0)
            worker->should_claim = true; /* what is in RAM gets no precedence for long */
    }
    return worker_settle_retries(worker, err);
}

int worker_main(const struct worker_options *options)
{
    struct worker worker = {.options = options,
                            .settings = &options->app->settings,
                            .page = options->page,
                            .slot = &options->page->slots[options->slot]};
    struct acc_error err = {0};

    srandom((unsigned)getpid());
    worker.slot->run.phase = PHASE_START;
    worker.slot->started_us = clock_us();
    bool ok = start(&worker, &err);
    if (ok)
        ok = options->is_quarantine ? quarantine_run(&worker, &err) : run(&worker, &err);
    int64_t most = worker.settings->worker.batches_max;
    int code = !ok && (err.code == ACC_ELOST || pg_is_transient(&err)) ? WORKER_AGAIN
               : !ok                                                   ? WORKER_FAILED
               : most > 0 && (int64_t)worker.turns >= most             ? WORKER_AGAIN
                                                                       : WORKER_DONE;
    if (!ok && err.code == ACC_ESTALE)
        code = WORKER_STALE;
    if (!ok)
        log_line(code == WORKER_FAILED ? LOG_ERROR : LOG_WARN, "worker",
                 "event=\"worker ends\" error=%s", log_quote(err.text));
    stop(&worker);
    return code;
}
