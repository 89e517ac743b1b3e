/* Worker: what worker.c, worker_turn.c and quarantine.c share. */
#pragma once

#include "batch.h"
#include "control.h"
#include "ownership.h"
#include "pool.h"
#include "tally.h"
#include "worker.h"

/* What a lifecycle's last batches were like; decides how many events the next one takes. */
struct pace {
    double finds, friends; /* mean per event; negative: not known */
    double per_s;          /* throttle that holds now; 0: none */
    double tokens;
    int64_t filled_us;
};

/* What a worker tells the host's metrics, by lifecycle number in program. */
struct meters {
    struct metric *wait, *load, *friends, *process, *settle, *write, *conflicts, *failed;
};

struct worker {
    const struct worker_options *options;
    const struct settings *settings;
    struct page *page;
    struct page_slot *slot;
    struct pg pg;
    struct script *script;
    struct program program;
    struct facts *facts;
    struct seen *seen;
    struct batch *batch;
    struct epoch epoch;
    struct routing routing;
    struct ownership own;
    struct pool pool;
    struct packet_set pushes;
    struct pace *paces; /* by lifecycle number in program */
    bool *is_blocked;   /* by lifecycle id: throttled now */
    char name[80];      /* "machine-slot" */
    struct control control;
    bool heard_control;    /* somebody has changed it */
    struct meters *meters; /* NULL: options have no metrics */
    int32_t last_write_us; /* what the last write took */
    uint64_t claims, turns;
    bool looks_at_retries; /* a person's retry may be open: retries.h */
    int64_t retries_at_us; /* the next look at them */
    bool should_claim;     /* the database may hold packets that the pool lacks */
};

/*
 * Runs one batch of the taken packets (frees or returns each to the pool). false: the worker cannot
 * go on (connection lost). Everything else is dealt with: retried, bisected, parked.
 */
bool worker_turn(struct worker *worker, struct lifecycle *lifecycle, struct packet **taken,
                 size_t count, int64_t want, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Wakes the local owners of the buckets that packets of the set fell into, other than this worker.
 */
void worker_wake_others(struct worker *worker, const struct packet_set *set);

/*
 * The loop of the quarantine worker: splits poisoned packets, runs those with tries > 0 alone, ends
 * when there are none.
 */
bool quarantine_run(struct worker *worker, struct acc_error *err) ACC_MUST_CHECK;

/* Reads control and obeys it: throttles, and whether batches may begin (slot->is_paused). */
bool worker_obey(struct worker *worker, struct acc_error *err) ACC_MUST_CHECK;

/* Retries that are due and replays of new lifecycles, for owned buckets: into packets. */
bool worker_requeue(struct worker *worker, struct acc_error *err) ACC_MUST_CHECK;
/* Looks what became of retries, and whether to look again. */
bool worker_settle_retries(struct worker *worker, struct acc_error *err) ACC_MUST_CHECK;

/* worker_meters.c: metrics of the host's workers. Nothing happens when the worker has no metrics. */
void worker_meters_open(struct worker *worker);
/* A batch of lifecycle was committed, as its tally says; write_us: what the write of it took. */
void worker_meters_batch(struct worker *worker, const struct lifecycle *lifecycle,
                         const struct tally *tally, int64_t write_us);
void worker_meters_conflict(struct worker *worker, const struct lifecycle *lifecycle);
void worker_meters_close(struct worker *worker);
