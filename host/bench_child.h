/* What the child processes of a benchmark do. */
#pragma once

#include "bench.h"
#include "facts.h"
#include "script/script_bench.h"

/* One child's: a lifecycle, or (NULL) the host. */
struct bench_job {
    const struct bench_order *order;
    const char *lifecycle;
    int runs; /* of each part */
    int64_t limit_ms;
};

/* The child (a guard_order's run; context is a struct bench_job): says lines of JSON, {"begin": PART}, and the rows without of. */
void bench_child(void *context, int fd);

/* What both kinds of children work with. */
struct bench_place {
    const struct bench_job *job;
    int fd;
    struct script *script;
    struct program *program;
    struct pg *pg; /* of the reader's rights */
    struct facts *facts;
    struct seen *seen;
    struct batch *batch;
    struct acc_slot slot;
    struct bench_way way;
};
void bench_say_begin(struct bench_place *place, const char *part);
void bench_say(struct bench_place *place, const char *part, const struct bench_figures *figures,
               int64_t samples, const char *note, bool is_failed);

/*
 * Adds up to count facts of kind to the batch's data, from places spread over its ids, along their index; none when the kind has no
 * table yet. Stops at 64 MiB of texts.
 */
bool bench_sample(struct bench_place *place, const struct kind *kind, int64_t count,
                  struct acc_error *err) ACC_MUST_CHECK;

/* bench_host.c: measures the parts of the host. */
extern const char *const bench_host_parts[]; /* ends with NULL */
bool bench_host(struct bench_place *place, struct acc_error *err) ACC_MUST_CHECK;
