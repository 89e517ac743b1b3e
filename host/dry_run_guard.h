/*
 * Dry runs behind a guard: the lifecycle runs in a process of its own, with its own modules and connection, in bounded
 * time and memory, so that an endless loop or a crash of an app's code hurts nobody.
 */
#pragma once

#include "conf/settings.h"
#include "guard.h"

#include <jansson.h>

#define DRY_RUN_LIMIT_MS 5000
#define DRY_RUN_MEMORY_BYTES (INT64_C(1) << 30)

/* What is run on what. Borrowed while it runs. */
struct dry_run_order {
    const struct settings *settings;
    const char *conninfo, *schema;
    const char *modules_dir, *native_dir; /* native_dir NULL: none */
    const char *lifecycle;                /* its name */
    uint8_t id[16];                       /* of the fact */
    size_t listed;                        /* friends and finds of each kind that are told */
    int64_t limit_ms, memory_bytes;
};

/* One that runs. guard.fd becomes readable when it has said something, and at its end. */
struct dry_run_child {
    struct dry_run_order order;
    struct guard_child guard;
};

bool dry_run_start(struct dry_run_child *child, const struct dry_run_order *order,
                   struct acc_error *err) ACC_MUST_CHECK;
/* Takes what can be read without waiting; false: it has ended, or closed its end. */
bool dry_run_read(struct dry_run_child *child);
/*
 * Ends it, if it has not ended, and gives its answer (caller decrefs):
 *
 *   {lifecycle, kind, id, outcome: "early" | "late" | "empty" | "found" | "failed", reason, error, trace,
 *    friends: {KIND: {count, facts: [{id, fields}]}}, find_count, finds: {KIND: {new, known, facts: [{id, fields, is_new}]}},
 *    us: {friends, process, known} | null, is_stale: the modules are not those of the current generation}
 *
 * A crash, too long a run and too much memory are "failed", too, with the words for it in error. NULL with err when
 * the modules do not load or the database fails; ACC_EINPUT: no such fact.
 */
json_t *dry_run_end(struct dry_run_child *child, struct acc_error *err);

/* All of it, waiting. */
json_t *dry_run_guarded(const struct dry_run_order *order, struct acc_error *err);
