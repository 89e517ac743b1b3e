/* Finds of a batch: their ids, which are new, which repeat, which contradict. */
#include "batch.h"

#include "identity.h"

#include <stdio.h>
#include <stdlib.h>

/* What the scratch below is for: settling one batch. A worker is one thread. */
struct sortable {
    uint64_t key; /* the id's first 8 bytes as a number */
    struct acc_row *row;
};

#define AHEAD 16 /* rows whose places in the filter are on their way into the cache */

static uint64_t key_of(const struct acc_row *row)
{
    uint64_t key;
    memcpy(&key, row->id, 8);
    return __builtin_bswap64(key);
}

static bool is_before(const struct sortable *a, const struct sortable *b)
{
    if (a->key != b->key)
        return a->key < b->key;
    int order = id_compare(a->row->id, b->row->id);
    return order != 0 ? order < 0 : a->row < b->row; /* equal ids: the first found stays first */
}

/* For what is short, or sorted but for some ties. */
static void insertion_sort(struct sortable *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct sortable item = items[i];
        size_t k = i;

        for (; k > 0 && is_before(&item, &items[k - 1]); k--)
            items[k] = items[k - 1];
        items[k] = item;
    }
}

/*
 * Sorts rows by id: byte by byte of the first 8, from the last to the first; the few ties that are
 * left by comparing.
 */
static void sort_rows(struct acc_row **rows, size_t count)
{
    static struct sortable *items;
    static size_t capacity;

    if (capacity < 2 * count) {
        capacity = 2 * count + 1024;
        items = acc_realloc(items, capacity * sizeof(*items));
    }
    struct sortable *from = items;
    struct sortable *to = items + count;
    for (size_t i = 0; i < count; i++)
        from[i] = (struct sortable){key_of(rows[i]), rows[i]};
    for (unsigned shift = 0; count > 64 && shift < 64; shift += 8) {
        size_t starts[257] = {0};

        for (size_t i = 0; i < count; i++)
            starts[(from[i].key >> shift & 255) + 1]++;
        if (starts[(from[0].key >> shift & 255) + 1] == count)
            continue; /* all the same, as in the kind's tag */
        for (size_t d = 0; d < 256; d++)
            starts[d + 1] += starts[d];
        for (size_t i = 0; i < count; i++)
            to[starts[from[i].key >> shift & 255]++] = from[i];
        struct sortable *other = from;
        from = to;
        to = other;
    }
    insertion_sort(from, count);
    for (size_t i = 0; i < count; i++)
        rows[i] = from[i].row;
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
             "contradiction: %s %s is known with other values in the fields outside `unique`; they "
             "must be a function of the unique ones",
             kind->name, hex);
    batch->found_counts[kind->index].contradictions++;
    batch->outcomes[row->event] = OUTCOME_FAILED;
    /*
     * Finds are not dropped here: rows of all events lie mixed by now; settle leaves out those of
     * failed events.
     */
    if (batch->error_count == batch->error_capacity) {
        batch->error_capacity = batch->error_capacity * 2 + 8;
        batch->errors = acc_realloc(batch->errors, batch->error_capacity * sizeof(*batch->errors));
    }
    batch->errors[batch->error_count++] = (struct event_error){
        .event = row->event, .is_final = true, .text = acc_strdup(text), .trace = acc_strdup("")};
}

/*
 * Collects what the filter does not know, sorted and without doubles. Doubles that contradict each
 * other stay: the stored fact decides between them, if there is one.
 */
static void collect(struct batch *batch, const struct kind *kind)
{
    struct acc_rows *finds = &batch->finds[kind->index];
    size_t k = kind->index;
    size_t count = 0;

    if (batch->candidate_capacity[k] < finds->count) {
        batch->candidate_capacity[k] = finds->count + finds->count / 2;
        batch->candidates[k] = acc_realloc(batch->candidates[k],
                                           batch->candidate_capacity[k] * sizeof(struct acc_row *));
    }
    for (uint32_t i = 0; i < finds->count + AHEAD; i++) {
        static uint8_t marks[AHEAD][16];

        if (i >= AHEAD) {
            struct acc_row *row = rows_at(finds, i - AHEAD);
            if (batch->outcomes[row->event] != OUTCOME_FAILED) {
                if (seen_has(batch->seen, marks[i % AHEAD])) {
                    batch->found_counts[k].repeats++;
                } else {
                    identity_set(kind, row);
                    batch->candidates[k][count++] = row;
                }
            }
        }
        if (i < finds->count) {
            row_normalise(kind, rows_at(finds, i));
            identity_mark(kind, rows_at(finds, i), marks[i % AHEAD]);
            seen_prefetch(batch->seen, marks[i % AHEAD]);
        }
    }
    sort_rows(batch->candidates[k], count);
    size_t kept = 0;
    batch->has_rivals[k] = false;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = batch->candidates[k][i];
        if (kept > 0 && id_compare(batch->candidates[k][kept - 1]->id, row->id) == 0) {
            if (kind->other_mask == 0 ||
                rows_equal(kind, batch->candidates[k][kept - 1], row, kind->other_mask)) {
                batch->found_counts[k].repeats++;
                continue;
            }
            batch->has_rivals[k] = true;
        }
        batch->candidates[k][kept++] = row;
    }
    batch->candidate_count[k] = kept;
}

/* Of candidates of one id, none of which is stored, the first stays. false: an event failed. */
static bool fold_rivals(struct batch *batch, const struct kind *kind)
{
    struct acc_row **rows = batch->candidates[kind->index];
    size_t kept = 0;
    bool is_clean = true;

    for (size_t i = 0; i < batch->candidate_count[kind->index]; i++) {
        if (kept == 0 || id_compare(rows[kept - 1]->id, rows[i]->id) != 0) {
            rows[kept++] = rows[i];
            continue;
        }
        batch->found_counts[kind->index].repeats++;
        if (!rows_equal(kind, rows[kept - 1], rows[i], kind->other_mask)) {
            contradict(batch, kind, rows[i]);
            is_clean = false;
        }
    }
    batch->candidate_count[kind->index] = kept;
    return is_clean;
}

static void seen_row(struct batch *batch, const struct kind *kind, const struct acc_row *row)
{
    uint8_t mark[16];
    identity_mark(kind, row, mark);
    seen_add(batch->seen, mark);
}

/* Takes one kind's answer: drops what is known. false in *is_clean: an event failed. */
static bool take_known(struct batch *batch, const struct kind *kind, bool *is_clean,
                       struct acc_error *err)
{
    size_t k = kind->index;
    size_t count = batch->candidate_count[k];
    bool *known = acc_alloc(2 * count + 1);
    bool *differs = known + count;

    if (!facts_known_read(batch->facts, batch->pg, kind, batch->candidates[k], count, &batch->heap,
                          known, differs, err)) {
        free(known);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = batch->candidates[k][i];
        batch->unknown_streak[k] = known[i] ? 0 : batch->unknown_streak[k] + 1;
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

/*
 * So many candidates without one that the database knew: the filter knows what repeats, asking is
 * in vain.
 */
#define STREAK 50000

static bool should_ask(struct batch *batch, size_t kind)
{
    if (batch->candidate_count[kind] == 0)
        return false;
    if (batch->unknown_streak[kind] < STREAK || batch->has_rivals[kind])
        return true;
    batch->is_unasked = true;
    return false;
}

static bool ask_known(struct batch *batch, bool *is_clean, struct acc_error *err)
{
    static struct pg_stmt begin_read = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
    static struct pg_stmt end_read = {.sql = "COMMIT"};
    const struct catalog *catalog = &batch->program->catalog;
    bool own = !batch->in_transaction;
    bool ask[CATALOG_KINDS_MAX];
    bool asked = false;
    bool ok = true;

    for (size_t i = 0; i < catalog->count; i++) {
        ask[i] = should_ask(batch, i);
        asked |= ask[i];
    }
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
        if (ask[i])
            ok = facts_known_send(batch->facts, batch->pg, catalog->kinds[i], batch->candidates[i],
                                  batch->candidate_count[i], false, err);
    }
    ok = ok && (!own || pg_send(batch->pg, &end_read, NULL, err)) && pg_sync(batch->pg, err);
    for (int skip = (own ? 1 : 0) + (asked ? 1 : 0); ok && skip > 0; skip--) {
        PGresult *res = pg_result(batch->pg, err);
        ok = res != NULL;
        PQclear(res);
    }
    for (size_t i = 0; ok && i < catalog->count; i++) {
        if (ask[i])
            ok = take_known(batch, catalog->kinds[i], is_clean, err);
    }
    struct acc_error later;
    return pg_finish(batch->pg, ok ? err : &later) && ok;
}

bool found_settle(struct batch *batch, struct acc_error *err)
{
    const struct catalog *catalog = &batch->program->catalog;
    bool is_clean = true;

    if (batch
            ->is_unasked) /* the last transaction did not commit: perhaps for what it did not ask */
        memset(batch->unknown_streak, 0, sizeof(batch->unknown_streak));
    do {
        is_clean = true;
        batch->is_unasked = false;
        for (size_t i = 0; i < catalog->count; i++) {
            batch->found_counts[i].repeats = 0;
            batch->found_counts[i].fresh = 0;
            collect(batch, catalog->kinds[i]);
        }
        if (!ask_known(batch, &is_clean, err))
            return false;
        /* In a round of its own: what contradicts a stored fact is not the first of anything. */
        for (size_t i = 0; is_clean && i < catalog->count; i++)
            is_clean = !batch->has_rivals[i] || fold_rivals(batch, catalog->kinds[i]);
    } while (!is_clean); /* each round fails at least one event */
    for (size_t i = 0; i < catalog->count; i++)
        batch->found_counts[i].fresh = (int64_t)batch->candidate_count[i];
    return true;
}

void found_committed(struct batch *batch)
{
    batch->is_unasked = false;
    for (size_t i = 0; i < batch->program->catalog.count; i++) {
        for (size_t c = 0; c < batch->candidate_count[i]; c++)
            seen_row(batch, batch->program->catalog.kinds[i], batch->candidates[i][c]);
    }
}
