#include "ingest.h"

#include "base/clock.h"
#include "identity.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES_MAX 50

struct ingest {
    struct pg *pg;
    const struct program *program;
    const struct settings *settings;
    struct facts *facts;
    struct epoch epoch;
    struct routing routing;
    struct packet_set pushes;
    struct acc_heap heap;
    struct acc_rows *rows;       /* by kind index */
    struct acc_row ***sorted;    /* by kind index: what is left to insert */
    size_t *counts, *capacities; /* by kind index */
    int64_t *repeats, *contradictions;
    struct pg_stmt notify;
};

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err)
{
    struct ingest *ingest = acc_zalloc(sizeof(*ingest));
    size_t kinds = program->catalog.count;

    ingest->pg = pg;
    ingest->program = program;
    ingest->settings = settings;
    if (!pg_do(pg,
               "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
               "SET enable_material = off; "
               "SET plan_cache_mode = force_generic_plan; SET synchronous_commit = on",
               NULL, err) ||
        !epoch_open(&ingest->epoch, pg, "ingest", program->generation, err) ||
        !routing_read(&ingest->routing, pg, err)) {
        free(ingest);
        return NULL;
    }
    ingest->facts = facts_new(&program->catalog);
    ingest->pushes.packet_events = settings->queue.packet_events;
    ingest->pushes.packet_bytes = settings->queue.packet_bytes;
    heap_init(&ingest->heap, 0);
    ingest->rows = acc_zalloc(kinds * sizeof(*ingest->rows) + 1);
    ingest->sorted = acc_zalloc(kinds * sizeof(*ingest->sorted) + 1);
    ingest->counts = acc_zalloc(kinds * sizeof(*ingest->counts) + 1);
    ingest->capacities = acc_zalloc(kinds * sizeof(*ingest->capacities) + 1);
    ingest->repeats = acc_zalloc(kinds * sizeof(*ingest->repeats) + 1);
    ingest->contradictions = acc_zalloc(kinds * sizeof(*ingest->contradictions) + 1);
    for (size_t i = 0; i < kinds; i++)
        rows_init(&ingest->rows[i], program->catalog.kinds[i], 1 << 20);
    /* Names in NOTIFY cannot be parameters; the schema's comes from a checked identifier. */
    struct buf sql = {0};
    buf_text(&sql, "SELECT pg_notify(current_schema(), '')");
    ingest->notify.sql = sql.data;
    return ingest;
}

void ingest_free(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    for (size_t i = 0; i < ingest->program->catalog.count; i++) {
        rows_clear(&ingest->rows[i]);
        free(ingest->sorted[i]);
    }
    facts_free(ingest->facts);
    routing_clear(&ingest->routing);
    packet_set_clear(&ingest->pushes);
    free((char *)ingest->notify.sql);
    free(ingest->rows);
    free(ingest->sorted);
    free(ingest->counts);
    free(ingest->capacities);
    free(ingest->repeats);
    free(ingest->contradictions);
    free(ingest);
}

struct acc_rows *ingest_rows(struct ingest *ingest, const struct kind *kind)
{
    return &ingest->rows[kind->index];
}

struct acc_heap *ingest_heap(struct ingest *ingest)
{
    return &ingest->heap;
}

static int by_id(const void *a, const void *b)
{
    const struct acc_row *x = *(struct acc_row *const *)a;
    const struct acc_row *y = *(struct acc_row *const *)b;
    int order = id_compare(x->id, y->id);
    return order != 0 ? order : x < y ? -1 : x > y;
}

struct refusal {
    ingest_refused_fn *refused;
    void *context;
};

static void refuse(struct ingest *ingest, const struct kind *kind, const struct acc_row *row,
                   const struct refusal *refusal)
{
    const struct acc_rows *rows = &ingest->rows[kind->index];
    uint32_t number = (uint32_t)(((const char *)row - rows->base) / rows->stride);
    char text[160];
    int used = snprintf(text, sizeof(text), "contradicts the %s ", kind->name);

    for (size_t i = 0; i < 16; i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%02x", row->id[i]);
    snprintf(text + used, sizeof(text) - (size_t)used,
             " that is known: other values outside its unique fields");
    ingest->contradictions[kind->index]++;
    if (refusal->refused != NULL)
        refusal->refused(refusal->context, kind, number, text);
}

/* Sorted rows of each kind, doubles within the flush taken out. */
static void sort_rows(struct ingest *ingest, const struct refusal *refusal)
{
    for (size_t k = 0; k < ingest->program->catalog.count; k++) {
        const struct kind *kind = ingest->program->catalog.kinds[k];
        struct acc_rows *rows = &ingest->rows[k];

        if (ingest->capacities[k] < rows->count) {
            ingest->capacities[k] = rows->count;
            ingest->sorted[k] =
                acc_realloc(ingest->sorted[k], rows->count * sizeof(struct acc_row *));
        }
        for (uint32_t i = 0; i < rows->count; i++) {
            struct acc_row *row = rows_at(rows, i);
            row_normalise(kind, row);
            identity_set(kind, row);
            ingest->sorted[k][i] = row;
        }
        if (rows->count > 0)
            qsort(ingest->sorted[k], rows->count, sizeof(struct acc_row *), by_id);
        size_t kept = 0;
        for (uint32_t i = 0; i < rows->count; i++) {
            struct acc_row *row = ingest->sorted[k][i];
            if (kept == 0 || id_compare(ingest->sorted[k][kept - 1]->id, row->id) != 0)
                ingest->sorted[k][kept++] = row;
            else if (rows_equal(kind, ingest->sorted[k][kept - 1], row, UINT64_MAX))
                ingest->repeats[k]++;
            else
                refuse(ingest, kind, row, refusal);
        }
        ingest->counts[k] = kept;
    }
}

static bool take_known(struct ingest *ingest, const struct kind *kind,
                       const struct refusal *refusal, struct acc_error *err)
{
    size_t k = kind->index;
    size_t count = ingest->counts[k];
    bool *known = acc_alloc(2 * count + 1);
    bool *differs = known + count;

    if (!facts_known_read(ingest->facts, ingest->pg, kind, ingest->sorted[k], count, &ingest->heap,
                          known, differs, err)) {
        free(known);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = ingest->sorted[k][i];
        if (!known[i])
            ingest->sorted[k][kept++] = row;
        else if (differs[i])
            refuse(ingest, kind, row, refusal);
        else
            ingest->repeats[k]++;
    }
    ingest->counts[k] = kept;
    free(known);
    return true;
}

/* Takes out what is known, by one look at the database. All fields are compared: a forged twin is a contradiction, not a repeat. */
static bool ask_known(struct ingest *ingest, const struct refusal *refusal, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    bool ok = pg_send(ingest->pg, &begin, NULL, err);

    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (ingest->counts[k] > 0)
            ok = facts_known_send(ingest->facts, ingest->pg, catalog->kinds[k], ingest->sorted[k],
                                  ingest->counts[k], true, err);
    }
    ok = ok && pg_send(ingest->pg, &commit, NULL, err) && pg_sync(ingest->pg, err);
    PGresult *res = ok ? pg_result(ingest->pg, err) : NULL;
    ok = res != NULL;
    PQclear(res);
    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (ingest->counts[k] > 0)
            ok = take_known(ingest, catalog->kinds[k], refusal, err);
    }
    struct acc_error later;
    return pg_finish(ingest->pg, ok ? err : &later) && ok;
}

/* The batch row is written for repeats too: its commit waits for the disk, and with it for the asynchronous one that found the fact. */
static bool write_new(struct ingest *ingest, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    struct tally tally = {.at_us = clock_wall_us()};
    int64_t batch_id = ingest->epoch.next_batch++;
    struct pg *pg = ingest->pg;

    packet_set_reset(&ingest->pushes);
    bool ok = pg_send(pg, &begin, NULL, err) && routing_check_send(&ingest->routing, pg, err);
    for (size_t k = 0; ok && k < catalog->count; k++) {
        size_t n = ingest->counts[k];
        if (n + (size_t)(ingest->repeats[k] + ingest->contradictions[k]) == 0)
            continue;
        tally.kinds[tally.kind_count].tag = catalog->kinds[k]->tag;
        tally.kinds[tally.kind_count].fresh = (int64_t)n;
        tally.kinds[tally.kind_count].repeats = ingest->repeats[k];
        tally.kinds[tally.kind_count++].contradictions = ingest->contradictions[k];
        if (n == 0)
            continue;
        packet_set_route(&ingest->pushes, &ingest->routing, ingest->program, catalog->kinds[k],
                         ingest->sorted[k], n, tally.at_us);
        ok = facts_insert_send(ingest->facts, pg, catalog->kinds[k], ingest->sorted[k], n, batch_id,
                               NULL, NULL, err);
    }
    if (ok && ingest->pushes.count > 0)
        ok = queue_push_send(&ingest->pushes, pg, &ingest->epoch.next_packet, err) &&
             pg_send(pg, &ingest->notify, NULL, err);
    ok = ok && tally_send(&tally, &ingest->epoch, batch_id, pg, err) &&
         pg_send(pg, &commit, NULL, err) && pg_sync(pg, err);
    struct acc_error later;
    return pg_finish(pg, ok ? err : &later) && ok;
}

/* A try that lost: count its repeats afresh. */
static bool again(struct ingest *ingest, const struct acc_error *why, struct acc_error *err)
{
    *err = *why;
    if (why->code == ACC_ESTALE)
        return routing_read(&ingest->routing, ingest->pg, err);
    return why->code == ACC_ECONFLICT || (pg_is_transient(why) && why->code != ACC_ELOST);
}

bool ingest_flush(struct ingest *ingest, struct ingest_counts *counts, ingest_refused_fn *refused,
                  void *context, struct acc_error *err)
{
    struct refusal refusal = {refused, context};
    size_t kinds = ingest->program->catalog.count;
    bool ok = false;

    memset(ingest->repeats, 0, kinds * sizeof(*ingest->repeats));
    memset(ingest->contradictions, 0, kinds * sizeof(*ingest->contradictions));
    sort_rows(ingest, &refusal);
    for (int tries = 1; !ok; tries++) {
        ok = ask_known(ingest, &refusal, err) && write_new(ingest, err);
        if (ok)
            break;
        struct acc_error why = *err;
        if (tries >= TRIES_MAX || !again(ingest, &why, err)) {
            *err = why;
            break;
        }
        usleep((useconds_t)(random() % (1000 * tries)));
    }
    for (size_t k = 0; k < kinds; k++) {
        if (ok) {
            counts->new_facts += (int64_t)ingest->counts[k];
            counts->repeats += ingest->repeats[k];
            counts->contradictions += ingest->contradictions[k];
        }
        rows_reset(&ingest->rows[k]);
    }
    heap_reset(&ingest->heap);
    return ok;
}
