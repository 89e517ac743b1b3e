#include "ingest_side.h"

#include "base/hash.h"
#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX (1 << 20)
#define GROUP_REFUSALS                                                                             \
    100                /* looked for one by one; after that a range of its group goes together */
#define STRANGE_MAX 16 /* refusals that need not be about data before anything was written */

void side_init(struct ingest_side *side, const struct catalog *catalog)
{
    size_t kinds = catalog->count;

    *side = (struct ingest_side){.catalog = catalog};
    side->rows = acc_zalloc(kinds * sizeof(*side->rows) + 1);
    side->sorted = acc_zalloc(kinds * sizeof(*side->sorted) + 1);
    side->counts = acc_zalloc(kinds * sizeof(*side->counts) + 1);
    side->capacities = acc_zalloc(kinds * sizeof(*side->capacities) + 1);
    side->repeats = acc_zalloc(kinds * sizeof(*side->repeats) + 1);
    side->contradictions = acc_zalloc(kinds * sizeof(*side->contradictions) + 1);
    for (size_t k = 0; k < kinds; k++)
        rows_init(&side->rows[k], catalog->kinds[k], ROWS_MAX);
}

static void split_clear(struct ingest_split *split)
{
    for (size_t i = 0; i < split->message_count; i++)
        free(split->messages[i]);
    free(split->messages);
    free(split->rows);
    free(split->ranges);
    *split = (struct ingest_split){0};
}

void side_clear(struct ingest_side *side)
{
    for (size_t k = 0; k < side->catalog->count; k++) {
        rows_clear(&side->rows[k]);
        free(side->sorted[k]);
    }
    split_clear(&side->split);
    free(side->rows);
    free(side->sorted);
    free(side->counts);
    free(side->capacities);
    free(side->repeats);
    free(side->contradictions);
}

void side_reset(struct ingest_side *side)
{
    for (size_t k = 0; k < side->catalog->count; k++)
        rows_reset(&side->rows[k]);
    heap_reset(&side->heap);
    split_clear(&side->split);
    side->done = (struct ingest_counts){0};
}

/* Sorting */

void ingest_identify(const struct kind *kind, struct acc_row *row)
{
    row_normalise(kind, row);
    identity_set(kind, row);
    row->flags = INGEST_PENDING;
}

static int by_id(const void *a, const void *b)
{
    const struct acc_row *x = *(struct acc_row *const *)a;
    const struct acc_row *y = *(struct acc_row *const *)b;
    int order = id_compare(x->id, y->id);
    return order != 0 ? order : x < y ? -1 : x > y;
}

static void set_repeat(struct ingest_side *side, size_t k, struct acc_row *row, bool differs)
{
    row->flags = differs ? INGEST_CONTRADICTS : INGEST_REPEAT;
    side->repeats[k] += !differs;
    side->contradictions[k] += differs;
}

static void sort_kind(struct ingest_side *side, const struct kind *kind)
{
    if (side->counts[kind->index] > 0)
        qsort(side->sorted[kind->index], side->counts[kind->index], sizeof(struct acc_row *),
              by_id);
}

/* Takes the doubles out of the sorted rows of a kind. */
static void fold_kind(struct ingest_side *side, const struct kind *kind)
{
    size_t k = kind->index;
    struct acc_row **sorted = side->sorted[k];
    size_t kept = 0;

    for (size_t i = 0; i < side->counts[k]; i++) {
        struct acc_row *row = sorted[i];

        if (kept == 0 || id_compare(sorted[kept - 1]->id, row->id) != 0)
            sorted[kept++] = row;
        else
            set_repeat(side, k, row, !rows_equal(kind, sorted[kept - 1], row, UINT64_MAX));
    }
    side->counts[k] = kept;
}

static void forget_counts(struct ingest_side *side)
{
    size_t kinds = side->catalog->count;

    memset(side->repeats, 0, kinds * sizeof(*side->repeats));
    memset(side->contradictions, 0, kinds * sizeof(*side->contradictions));
}

void side_sort(struct ingest_side *side)
{
    forget_counts(side);
    for (size_t k = 0; k < side->catalog->count; k++) {
        const struct kind *kind = side->catalog->kinds[k];
        struct acc_rows *rows = &side->rows[k];

        if (side->capacities[k] < rows->count) {
            side->capacities[k] = rows->count;
            side->sorted[k] = acc_realloc(side->sorted[k], rows->count * sizeof(struct acc_row *));
        }
        for (uint32_t i = 0; i < rows->count; i++) {
            struct acc_row *row = rows_at(rows, i);

            if (row->flags == INGEST_RAW)
                ingest_identify(kind, row);
            side->sorted[k][i] = row;
        }
        side->counts[k] = rows->count;
        sort_kind(side, kind);
    }
    side_fold(side);
}

void side_fold(struct ingest_side *side)
{
    int64_t before = side_repeats(side);

    for (size_t k = 0; k < side->catalog->count; k++)
        fold_kind(side, side->catalog->kinds[k]);
    side->doubles = side_repeats(side) - before;
}

static void gather_row(struct ingest_side *side, size_t k, struct acc_row *row)
{
    row->flags = INGEST_PENDING;
    side->sorted[k][side->counts[k]++] = row;
}

static void gather_kind(struct ingest_side *side, const struct kind *kind)
{
    size_t k = kind->index;

    if (side->counts[k] == side->rows[k].count)
        return; /* nothing was taken out since they were sorted */
    side->counts[k] = 0;
    for (uint32_t i = 0; i < side->rows[k].count; i++)
        gather_row(side, k, rows_at(&side->rows[k], i));
    sort_kind(side, kind);
}

void side_gather(struct ingest_side *side)
{
    const struct ingest_split *split = &side->split;
    const struct catalog *catalog = side->catalog;

    forget_counts(side);
    for (size_t k = 0; !split->is_on && k < catalog->count; k++)
        gather_kind(side, catalog->kinds[k]);
    if (!split->is_on)
        return;
    memset(side->counts, 0, catalog->count * sizeof(*side->counts));
    for (size_t i = split->now.from; i < split->now.to; i++)
        gather_row(side, split->rows[i].kind->index, split->rows[i].row);
    for (size_t k = 0; k < catalog->count; k++)
        sort_kind(side, catalog->kinds[k]);
}

int64_t side_repeats(const struct ingest_side *side)
{
    int64_t sum = 0;

    for (size_t k = 0; k < side->catalog->count; k++)
        sum += side->repeats[k] + side->contradictions[k];
    return sum;
}

/* What is known */

bool side_take_known(struct ingest_side *side, const struct kind *kind, struct facts *facts,
                     struct pg *pg, struct acc_error *err)
{
    size_t k = kind->index;
    size_t count = side->counts[k];
    bool *known = acc_alloc(2 * count + 1);
    bool *differs = known + count;
    size_t kept = 0;

    if (!facts_known_read(facts, pg, kind, side->sorted[k], count, &side->heap, known, differs,
                          err)) {
        free(known);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = side->sorted[k][i];

        if (known[i])
            set_repeat(side, k, row, differs[i]);
        else
            side->sorted[k][kept++] = row;
    }
    side->counts[k] = kept;
    free(known);
    return true;
}

void side_take_seen(struct ingest_side *side)
{
    struct seen *seen = side->calls.seen;

    for (size_t k = 0; k < side->catalog->count; k++) {
        size_t kept = 0;

        for (size_t i = 0; i < side->counts[k]; i++) {
            struct acc_row *row = side->sorted[k][i];

            if (seen_has(seen, row->id)) {
                set_repeat(side, k, row, false);
            } else {
                seen_add(seen, row->id);
                side->sorted[k][kept++] = row;
            }
        }
        side->counts[k] = kept;
    }
}

static void count_row(const struct ingest_side *side, const struct acc_row *row,
                      struct tally_batch *batches)
{
    uint32_t batch = side->calls.batch_of == NULL ? 0 : side->calls.batch_of[row->event];

    batches[batch].fresh += row->flags == INGEST_PENDING;
    batches[batch].found += row->flags == INGEST_PENDING || row->flags == INGEST_REPEAT;
}

void side_batches(const struct ingest_side *side, struct tally_batch *batches)
{
    const struct ingest_split *split = &side->split;

    if (side->calls.batch_count == 0)
        return;
    for (size_t i = 0; i < side->calls.batch_count; i++)
        batches[i].record = side->calls.records[i];
    for (size_t i = split->now.from; split->is_on && i < split->now.to; i++)
        count_row(side, split->rows[i].row, batches);
    for (size_t k = 0; !split->is_on && k < side->catalog->count; k++) {
        for (uint32_t i = 0; i < side->rows[k].count; i++)
            count_row(side, rows_at(&side->rows[k], i), batches);
    }
}

void side_committed(struct ingest_side *side)
{
    for (size_t k = 0; k < side->catalog->count; k++) {
        for (size_t i = 0; i < side->counts[k]; i++)
            side->sorted[k][i]->flags = INGEST_NEW;
        side->done.new_facts += (int64_t)side->counts[k];
        side->done.repeats += side->repeats[k];
        side->done.contradictions += side->contradictions[k];
        side->counts[k] = 0;
    }
    forget_counts(side);
    side->split.has_written = true;
}

/* Halving */

static int by_group(const void *a, const void *b)
{
    const struct ingest_entry *x = a;
    const struct ingest_entry *y = b;

    if (x->row->event != y->row->event)
        return x->row->event < y->row->event ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind->index < y->kind->index ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void split_begin(struct ingest_side *side)
{
    struct ingest_split *split = &side->split;

    for (size_t k = 0; k < side->catalog->count; k++)
        split->count += side->rows[k].count;
    split->rows = acc_alloc(split->count * sizeof(*split->rows) + 1);
    split->count = 0;
    for (size_t k = 0; k < side->catalog->count; k++) {
        for (uint32_t i = 0; i < side->rows[k].count; i++)
            split->rows[split->count++] =
                (struct ingest_entry){rows_at(&side->rows[k], i), side->catalog->kinds[k]};
    }
    if (split->count > 0)
        qsort(split->rows, split->count, sizeof(*split->rows), by_group);
    split->now = (struct ingest_range){0, split->count};
    split->is_on = true;
}

/* A range that is still to come. */
static void push(struct ingest_split *split, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        split->rows[i].row->flags = INGEST_RAW;
    if (split->range_count == split->range_capacity) {
        split->range_capacity = 2 * split->range_capacity + 32;
        split->ranges = acc_realloc(split->ranges, split->range_capacity * sizeof(*split->ranges));
    }
    split->ranges[split->range_count++] = (struct ingest_range){from, to};
}

static uint32_t group_at(const struct ingest_split *split, size_t i)
{
    return split->rows[i].row->event;
}

/* Where to cut the range: between groups while there are several, else in the middle. */
static size_t middle(const struct ingest_split *split)
{
    size_t from = split->now.from;
    size_t to = split->now.to;
    size_t cut = from + (to - from) / 2;
    uint32_t group = group_at(split, cut);

    if (group_at(split, from) == group_at(split, to - 1))
        return cut;
    size_t down = cut;
    while (down > from && group_at(split, down - 1) == group)
        down--;
    if (down > from)
        return down;
    while (group_at(split, cut) == group)
        cut++;
    return cut;
}

static void refuse_range(struct ingest_side *side, const struct acc_error *why)
{
    struct ingest_split *split = &side->split;

    split->messages =
        acc_realloc(split->messages, (split->message_count + 1) * sizeof(*split->messages));
    split->messages[split->message_count] = acc_format("the database refuses it: %s", why->text);
    for (size_t i = split->now.from; i < split->now.to; i++) {
        split->rows[i].row->flags = INGEST_REFUSED;
        split->rows[i].row->friends_at = (uint32_t)split->message_count;
    }
    split->message_count++;
    side->done.refused += (int64_t)(split->now.to - split->now.from);
}

/* Whether an error can be about the values of a row, by the class of its SQLSTATE. */
static bool is_about_data(const struct acc_error *why)
{
    static const char *const classes[] = {"22", "23", "54", "P0"};

    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strncmp(why->sqlstate, classes[i], 2) == 0)
            return true;
    }
    return false;
}

bool side_narrow(struct ingest_side *side, const struct acc_error *why)
{
    struct ingest_split *split = &side->split;

    if (!split->is_on)
        split_begin(side);
    struct ingest_range now = split->now;
    if (now.from == now.to)
        return false; /* there is no row in it */
    uint32_t group = group_at(split, now.from);
    if (group != split->group)
        split->group_refusals = 0;
    split->group = group;
    bool is_one_group = group == group_at(split, now.to - 1);
    if (now.to - now.from == 1 || (is_one_group && split->group_refusals >= GROUP_REFUSALS)) {
        refuse_range(side, why);
        split->group_refusals++;
        return is_about_data(why) || split->has_written || split->message_count < STRANGE_MAX;
    }
    size_t cut = middle(split);
    push(split, cut, now.to);
    push(split, now.from, cut);
    return true;
}

bool side_next_range(struct ingest_side *side)
{
    struct ingest_split *split = &side->split;

    forget_counts(side);
    for (size_t k = 0; k < side->catalog->count; k++)
        side->counts[k] = 0;
    if (split->range_count == 0)
        return false;
    split->now = split->ranges[--split->range_count];
    return true;
}

/* Telling */

const char *side_message(const struct ingest_side *side, const struct kind *kind,
                         const struct acc_row *row, char text[INGEST_MESSAGE_BYTES])
{
    char id[33];

    if (row->flags == INGEST_REFUSED)
        return side->split.messages[row->friends_at];
    hex_encode(row->id, 16, id);
    snprintf(text, INGEST_MESSAGE_BYTES,
             "contradicts the %s %s that is known: other values outside its unique fields",
             kind->name, id);
    return text;
}

void side_tell(struct ingest_side *side)
{
    if (side->calls.refused == NULL || side->done.contradictions + side->done.refused == 0)
        return;
    for (size_t k = 0; k < side->catalog->count; k++) {
        const struct kind *kind = side->catalog->kinds[k];

        for (uint32_t i = 0; i < side->rows[k].count; i++) {
            const struct acc_row *row = rows_at(&side->rows[k], i);
            char text[INGEST_MESSAGE_BYTES];

            if (row->flags >= INGEST_CONTRADICTS)
                side->calls.refused(side->calls.context, kind, row, i,
                                    side_message(side, kind, row, text));
        }
    }
}
