/*
 * Benchmarks: what a call of each callback of an app's lifecycles takes, replayed over facts that are there, and what some parts of
 * the host take. Everything is measured in guarded children that may only read; what is inserted goes into temporary copies
 * and is rolled back. The results are kept by generation.
 */
#pragma once

#include "conf/settings.h"
#include "guard.h"
#include "lifecycle.h"
#include "pg/pg.h"

#include <jansson.h>

#define BENCH_RUNS 30
#define BENCH_SAMPLES 1000
#define BENCH_SAMPLES_MAX 10000
#define BENCH_HOST LIFECYCLE_HOST /* whom the parts of the host belong to */
#define BENCH_HISTORY 14          /* generations that are shown */

/* What is measured. Borrowed while it runs. */
struct bench_order {
    const struct settings
        *settings; /* bench.limit bounds all of it; each lifecycle gets at most a quarter */
    const char *conninfo, *schema;
    const char *modules_dir, *native_dir; /* native_dir NULL: none */
    const struct program *program;        /* its declarations */
    const char *const
        *only; /* names of lifecycles, BENCH_HOST for the host; NULL-terminated; NULL: everything */
    int runs;  /* of each part */
    int64_t samples; /* facts of each lifecycle */
    /* Asked now and then; true ends it. NULL: never. */
    bool (*should_stop)(void *context);
    /* Told whose turn it is; NULL: nobody. */
    void (*turn)(void *context, const char *of);
    void *context;
};

/*
 * Runs it all, one after the other, and returns the rows (caller decrefs):
 *
 *   [{of, part, ns: number or null, ci_ns, runs, samples, note, is_failed}]
 *
 * When should_stop ends it, the parts measured by then are rows, and so are the other ones of who was at work, with the note "stopped";
 * nobody behind it has any.
 *
 * ns is the median per call, ci_ns half the width of its interval: the runs are spread over six processes, since what the JIT compiler
 * makes of a callback differs between them; the median of their medians, and as wide as these lie apart (97 %), or as one's own
 * interval (95 %, lua/accrete/bench.lua) where that is wider. note says what the figure does not: "not
 * sampled", errors of samples. A callback that raises, crashes or does not end is a row that has failed; so are those
 * behind it that were not measured for that. NULL: no process could be started.
 */
json_t *bench_run(const struct bench_order *order, struct acc_error *err);
/* "3 lifecycles and the host, 15 parts, 1 failed"; caller frees. */
char *bench_summary(const json_t *rows);

/* Takes out the rows of who was stopped before all its parts were measured: of them its former figures stay. */
void bench_leave_stopped(json_t *rows);

/* bench_lock.c */

/* Results in the audit: as long as one runs, and of one that ended with its host. */
#define BENCH_RUNNING "running"
#define BENCH_STOPPED "stopped with the host"

/*
 * Only one benchmark runs on a machine and data directory at once. Takes the lock: a descriptor, given back by closing it (the processes
 * that have copies of it, too). -1: ACC_ESTALE when another one runs, its text names the process. Who has it calls bench_settle
 * before it signs.
 */
int bench_lock(const char *data_dir, struct acc_error *err) ACC_MUST_CHECK;
/*
 * Writes into the lock that it is this process's, and what it has to tell: the number of the audit's row that says BENCH_RUNNING, and its
 * host's process. 0, 0: nothing, or nothing any more.
 */
void bench_lock_sign(int fd, int64_t audit, pid_t host);
/*
 * The lock, taken, when who had it is gone and has not told the audit; else -1. Asks no database, so it can be called often.
 */
int bench_lock_left(const char *data_dir);
/* Whether one runs that has to tell the audit: it ends soon after its host has begun to drain. */
bool bench_is_hosts(const char *data_dir);
/*
 * Tells the audit for who had the lock (fd) before and is gone, if it says BENCH_RUNNING still: that its process was killed when its
 * host is the caller's (0: none), else BENCH_STOPPED. Then the lock has nothing to tell.
 */
bool bench_settle(struct pg *pg, int fd, pid_t host, struct acc_error *err) ACC_MUST_CHECK;

/* bench_history.c */

/*
 * Keeps rows as those of generation, in the caller's transaction if there is one; a result of the same generation and part is replaced.
 * The newest 60 generations are kept.
 */
bool bench_save(struct pg *pg, const struct program *program, int32_t generation, json_t *rows,
                struct acc_error *err) ACC_MUST_CHECK;

/*
 * What is known of every part of program's lifecycles and of the host, from the newest generation that it was measured in (caller
 * decrefs):
 *
 *   [{of, part, unit: "ns", value, ci, baseline, baseline_generation, change, beyond, history, note, at, generation, runs,
 *     samples, host}]
 *
 * value, ci, baseline, change are null where there is none. change is value / baseline - 1, beyond whether it is more than 5 % and both
 * intervals do not touch. baseline 0: for each part the newest generation before. history: the values of the last
 * BENCH_HISTORY generations, oldest first, null for gaps. fresh (may be NULL): rows of bench_run that are not kept, shown instead of
 * those that are and compared to the newest of these. NULL: ACC_EINPUT, nothing is known of generation baseline.
 */
json_t *bench_read(struct pg *pg, const struct program *program, json_t *fresh, int32_t baseline,
                   struct acc_error *err);
