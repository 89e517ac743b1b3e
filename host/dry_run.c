#include "dry_run.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define SEEN_BYTES (1 << 20)

void dry_run_init(struct dry_run *run, const struct settings *settings,
                  const struct program *program, struct pg *pg)
{
    *run = (struct dry_run){.facts = facts_new(&program->catalog), .seen = seen_new(SEEN_BYTES)};
    run->slot.current = -1;
    run->batch = batch_new(settings, program, pg, run->facts, run->seen, &run->slot);
}

void dry_run_clear(struct dry_run *run)
{
    batch_free(run->batch);
    seen_free(run->seen);
    facts_free(run->facts);
}

/*
 * In the place of the worker's: finds that fill the batch are looked at and forgotten instead of
 * written.
 */
static bool forget(struct batch *batch, struct acc_error *err)
{
    struct dry_run *run = batch->flush_context;

    if (!found_settle(batch, err))
        return false;
    run->find_count += batch->hot.find_count;
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        rows_reset(&batch->finds[i]);
        batch->candidate_count[i] = 0;
        memset(&batch->found_counts[i], 0, sizeof(batch->found_counts[i]));
    }
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    return true;
}

static bool load(struct dry_run *run, const uint8_t *id, struct acc_error *err)
{
    struct batch *batch = run->batch;
    const struct kind *kind = run->lifecycle->on;
    struct acc_rows *data = &batch->data[kind->index];

    batch_start(batch, run->lifecycle);
    if (!facts_get(run->facts, batch->pg, kind, id, 1, data, &batch->heap, err))
        return false;
    if (data->count == 0)
        return acc_fail(err, ACC_EINPUT, "there is no such fact of kind \"%s\"", kind->name);
    batch->hot.event_count = 1;
    batch_restart(batch);
    batch->hot.run_count = 1;
    batch->in_transaction = false; /* friends are read in a transaction that is read only */
    batch->flush = forget;
    batch->flush_context = run;
    return true;
}

static bool compute(struct dry_run *run, struct lifecycle *lifecycle, struct acc_error *err)
{
    struct batch *batch = run->batch;
    int64_t at_us = clock_us();
    uint32_t next = 0;

    if ((lifecycle->has_mirror && !friends_mirrors(batch, err)) ||
        !lifecycle->gather(lifecycle, batch, err) || !friends_end(batch, err))
        return false;
    run->friends_us = clock_us() - at_us;
    at_us = clock_us();
    if (!lifecycle->process(lifecycle, batch, &next, err))
        return false;
    run->process_us = clock_us() - at_us;
    at_us = clock_us();
    run->find_count += batch->hot.find_count;
    if (!found_settle(batch, err))
        return false;
    run->settle_us = clock_us() - at_us;
    return true;
}

/* What the batch says of its one event. */
static void conclude(struct dry_run *run)
{
    const struct batch *batch = run->batch;

    run->outcome = (enum outcome)batch->outcomes[0];
    if (run->outcome == OUTCOME_EMPTY && run->find_count > 0)
        run->outcome = OUTCOME_FOUND;
    if (batch->reason_count > 0)
        run->reason = batch->reasons[0].text;
    if (batch->error_count > 0) {
        run->error = batch->errors[0].text;
        run->trace = batch->errors[0].trace;
    }
}

bool dry_run_event(struct dry_run *run, struct lifecycle *lifecycle, const uint8_t *id,
                   struct acc_error *err)
{
    struct acc_error later;

    run->lifecycle = lifecycle;
    run->find_count = 0;
    run->reason = run->error = run->trace = NULL;
    if (!load(run, id, err))
        return false;
    if (compute(run, lifecycle, err)) {
        conclude(run);
        return true;
    }
    /*
     * A limit, a look-up that the database cannot take: in a worker the event would be parked with
     * this.
     */
    (void)!pg_finish(run->batch->pg, &later);
    if (err->code == ACC_ELOST || (err->code == ACC_EDB && strncmp(err->sqlstate, "57", 2) == 0))
        return false;
    batch_park_event(run->batch, 0, err->text, "", false);
    conclude(run);
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct acc_row *const *left = a;
    const struct acc_row *const *right = b;

    return id_compare((*left)->id, (*right)->id);
}

size_t dry_run_finds(const struct dry_run *run, const struct kind *kind,
                     const struct acc_row **rows, bool *is_new)
{
    const struct batch *batch = run->batch;
    const struct acc_rows *finds = &batch->finds[kind->index];
    size_t candidates = batch->candidate_count[kind->index];
    size_t count = 0;
    size_t c = 0;

    for (uint32_t i = 0; i < finds->count; i++)
        rows[i] = rows_at(finds, i);
    qsort(rows, finds->count, sizeof(void *), by_id);
    for (uint32_t i = 0; i < finds->count; i++) {
        if (count > 0 && id_compare(rows[count - 1]->id, rows[i]->id) == 0)
            continue;
        while (c < candidates && id_compare(batch->candidates[kind->index][c]->id, rows[i]->id) < 0)
            c++;
        is_new[count] =
            c < candidates && id_compare(batch->candidates[kind->index][c]->id, rows[i]->id) == 0;
        rows[count++] = rows[i];
    }
    return count;
}
