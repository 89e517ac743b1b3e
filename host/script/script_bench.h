/* Measuring from C: what lua/accrete/bench.lua does, for a lifecycle's callbacks and for functions of the host. */
#pragma once

#include "batch.h"
#include "script/script.h"

/* What a call takes. */
struct bench_figures {
    double ns,
        ci_ns; /* median per call, half the width of its 95 % interval; ns below 0: not measured */
    int runs;
};

struct bench_way {
    int runs;
    int64_t part_ms; /* no run of a part is begun after it */
};

/* The callbacks that a lifecycle has, in the order in which an event meets them. */
#define BENCH_CALLBACKS 5
size_t script_bench_parts(const struct lifecycle *lifecycle, const char *parts[BENCH_CALLBACKS]);

/* Who is told what comes. note is "" or says what the figures do not. */
struct bench_sink {
    void (*begin)(void *context, const char *part);
    void (*result)(void *context, const char *part, const struct bench_figures *figures,
                   int64_t samples, const char *note, bool is_failed);
    void *context;
    const char *note; /* what is to be said of all parts, or NULL */
};

/*
 * Measures the lifecycle's callbacks over the events of batch that are gathered (events that failed are left out), each by the
 * processor's time, those with queries of their own by the clock. Finds are made and forgotten; the batch's flush must forget them, too.
 * queries: how many of its own the lifecycle made while it was gathered.
 */
bool script_bench(struct script *script, struct lifecycle *lifecycle, struct batch *batch,
                  const struct bench_way *way, int64_t queries, const struct bench_sink *sink,
                  struct acc_error *err) ACC_MUST_CHECK;
/*
 * Makes the lifecycle's M.examples the events of the batch, which has none, with their friends: batch->hot.run_count of them, 0 when
 * there are no right ones. They are ready for script_bench.
 */
bool script_bench_examples(struct script *script, const struct lifecycle *lifecycle,
                           struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;
/* Queries that lifecycles of the script have made so far. */
int64_t script_bench_queries(const struct script *script);

/*
 * Measures run, which makes n calls; by the clock, or by the processor's time. false with the first error of run.
 */
bool script_measure(struct script *script,
                    bool (*run)(void *context, int64_t n, struct acc_error *err), void *context,
                    bool by_clock, const struct bench_way *way, struct bench_figures *figures,
                    struct acc_error *err) ACC_MUST_CHECK;

/* Measures how a row of kind becomes a Lua table, over the batch's data of that kind, which has some. */
bool script_bench_rows(struct script *script, const struct kind *kind, struct batch *batch,
                       const struct bench_way *way, struct bench_figures *figures,
                       struct acc_error *err) ACC_MUST_CHECK;
