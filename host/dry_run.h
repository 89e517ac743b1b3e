/*
 * A dry run: one event through its lifecycle's callbacks, as a worker runs it, in transactions that
 * only read. Shows what the event would do now; nothing is written.
 */
#pragma once

#include "batch.h"

struct dry_run {
    struct facts *facts;
    struct seen *seen;
    struct batch *batch;
    struct acc_slot slot;
    const struct lifecycle *lifecycle;
    enum outcome outcome;
    const char *reason; /* of an abort, or NULL; lies in batch, like these: */
    const char *error;  /* of a failed event, or NULL */
    const char *trace;
    int64_t find_count; /* finds, with those that were found twice */
    int64_t friends_us, process_us, settle_us;
};

/* settings and program are borrowed. */
void dry_run_init(struct dry_run *run, const struct settings *settings,
                  const struct program *program, struct pg *pg);
void dry_run_clear(struct dry_run *run);

/*
 * Runs lifecycle on the fact. What became of the event stands in run; an error of the callback is a
 * result and no failure. Fails when the database does, and with ACC_EINPUT when there is no such
 * fact.
 */
bool dry_run_event(struct dry_run *run, struct lifecycle *lifecycle, const uint8_t *id,
                   struct acc_error *err) ACC_MUST_CHECK;

/*
 * The distinct finds of kind, in the order of ids, and whether each is new. Both arrays have room
 * for finds.
 */
size_t dry_run_finds(const struct dry_run *run, const struct kind *kind,
                     const struct acc_row **rows, bool *is_new);
