/* Finds of a batch: their ids, which are new, which repeat, which contradict. */
#include "batch.h"

#include "identity.h"

#include <stdio.h>
#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const struct acc_row *x = *(struct acc_row *const *)a;
    const struct acc_row *y = *(struct acc_row *const *)b;
    int order = id_compare(x->id, y->id);
    return order != 0 ? order : x < y ? -1 : x > y; /* equal ids: the first found stays first */
}

static void contradict(struct batch *batch, const struct kind *kind, const struct acc_row *row)
{
    char text[512];
    char hex[33];

    if (batch->outcomes[row->event] == OUTCOME_FAILED)
        return;
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", row->id[i]);
    snprintf(text, sizeof(text),
             "contradiction: %s %s is known with other values in the fields outside `unique`; they must be a function of the unique ones",
             kind->name, hex);
    batch->found_counts[kind->index].contradictions++;
    batch->outcomes[row->event] = OUTCOME_FAILED;
    /* Finds are not dropped here: rows of all events lie mixed by now; settle leaves out those of failed events. */
    if (batch->error_count == batch->error_capacity) {
        batch->error_capacity = batch->error_capacity * 2 + 8;
        batch->errors = acc_realloc(batch->errors, batch->error_capacity * sizeof(*batch->errors));
    }
    batch->errors[batch->error_count++] =
        (struct event_error){.event = row->event, .is_final = true, .text = acc_strdup(text), .trace = acc_strdup("")};
}

/* Collects what the filter does not know, sorted and without doubles. false: an event failed, settle again. */
static bool collect(struct batch *batch, const struct kind *kind)
{
    struct acc_rows *finds = &batch->finds[kind->index];
    size_t k = kind->index;
    size_t count = 0;
    bool is_clean = true;

    if (batch->candidate_capacity[k] < finds->count) {
        batch->candidate_capacity[k] = finds->count + finds->count / 2;
        batch->candidates[k] = acc_realloc(batch->candidates[k], batch->candidate_capacity[k] * sizeof(struct acc_row *));
    }
    for (uint32_t i = 0; i < finds->count; i++) {
        struct acc_row *row = rows_at(finds, i);
        uint8_t digest[16];

        if (batch->outcomes[row->event] == OUTCOME_FAILED)
            continue;
        identity_digest(kind, row, digest);
        if (seen_has(batch->seen, digest))
            batch->found_counts[k].repeats++;
        else
            batch->candidates[k][count++] = row;
    }
    qsort(batch->candidates[k], count, sizeof(struct acc_row *), by_id);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = batch->candidates[k][i];
        if (kept > 0 && id_compare(batch->candidates[k][kept - 1]->id, row->id) == 0) {
            batch->found_counts[k].repeats++;
            if (kind->other_mask != 0 && !rows_equal(kind, batch->candidates[k][kept - 1], row, kind->other_mask)) {
                contradict(batch, kind, row);
                is_clean = false;
            }
            continue;
        }
        batch->candidates[k][kept++] = row;
    }
    batch->candidate_count[k] = kept;
    return is_clean;
}

static void seen_row(struct batch *batch, const struct kind *kind, const struct acc_row *row)
{
    uint8_t digest[16];
    identity_digest(kind, row, digest);
    seen_add(batch->seen, digest);
}

/* Takes one kind's answer: drops what is known. false in *is_clean: an event failed. */
static bool take_known(struct batch *batch, const struct kind *kind, bool *is_clean, struct acc_error *err)
{
    size_t k = kind->index;
    size_t count = batch->candidate_count[k];
    bool *known = acc_alloc(2 * count + 1);
    bool *differs = known + count;

    if (!facts_known_read(batch->facts, batch->pg, kind, batch->candidates[k], count, &batch->heap, known, differs, err)) {
        free(known);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = batch->candidates[k][i];
        if (!known[i]) {
            batch->candidates[k][kept++] = row;
            continue;
        }
        batch->found_counts[k].repeats++;
        if (differs[i]) {
            contradict(batch, kind, row);
            *is_clean = false;
        } else {
            seen_row(batch, kind, row);
        }
    }
    batch->candidate_count[k] = kept;
    free(known);
    return true;
}

static bool ask_known(struct batch *batch, bool *is_clean, struct acc_error *err)
{
    static struct pg_stmt begin_read = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
    static struct pg_stmt end_read = {.sql = "COMMIT"};
    const struct catalog *catalog = &batch->program->catalog;
    bool own = !batch->in_transaction;
    bool asked = false;
    bool ok = true;

    for (size_t i = 0; i < catalog->count; i++)
        asked |= batch->candidate_count[i] > 0;
    if (!asked)
        return friends_end(batch, err);
    /* A new snapshot: the look-ups' one may be old by now. */
    if (own && batch->is_reading) {
        ok = pg_send(batch->pg, &end_read, NULL, err);
        batch->is_reading = false;
        asked = true;
    } else {
        asked = false; /* whether the end of the read phase has a result to take */
    }
    ok = ok && (!own || pg_send(batch->pg, &begin_read, NULL, err));
    for (size_t i = 0; ok && i < catalog->count; i++) {
        if (batch->candidate_count[i] > 0)
            ok = facts_known_send(batch->facts, batch->pg, catalog->kinds[i], batch->candidates[i], batch->candidate_count[i], false, err);
    }
    ok = ok && (!own || pg_send(batch->pg, &end_read, NULL, err)) && pg_sync(batch->pg, err);
    for (int skip = (own ? 1 : 0) + (asked ? 1 : 0); ok && skip > 0; skip--) {
        PGresult *res = pg_result(batch->pg, err);
        ok = res != NULL;
        PQclear(res);
    }
    for (size_t i = 0; ok && i < catalog->count; i++) {
        if (batch->candidate_count[i] > 0)
            ok = take_known(batch, catalog->kinds[i], is_clean, err);
    }
    struct acc_error later;
    return pg_finish(batch->pg, ok ? err : &later) && ok;
}

bool found_settle(struct batch *batch, struct acc_error *err)
{
    const struct catalog *catalog = &batch->program->catalog;
    bool is_clean = true;

    for (size_t i = 0; i < catalog->count; i++) {
        for (uint32_t r = 0; r < batch->finds[i].count; r++) {
            struct acc_row *row = rows_at(&batch->finds[i], r);
            row_normalise(catalog->kinds[i], row);
            identity_set(catalog->kinds[i], row);
        }
    }
    do {
        is_clean = true;
        for (size_t i = 0; i < catalog->count; i++) {
            batch->found_counts[i].repeats = 0;
            batch->found_counts[i].fresh = 0;
            is_clean &= collect(batch, catalog->kinds[i]);
        }
        if (!ask_known(batch, &is_clean, err))
            return false;
    } while (!is_clean); /* each round fails at least one event */
    for (size_t i = 0; i < catalog->count; i++)
        batch->found_counts[i].fresh = (int64_t)batch->candidate_count[i];
    return true;
}

void found_committed(struct batch *batch)
{
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        for (size_t c = 0; c < batch->candidate_count[i]; c++)
            seen_row(batch, batch->program->catalog.kinds[i], batch->candidates[i][c]);
    }
}
