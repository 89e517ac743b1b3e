#include "ingest.h"

#include "base/clock.h"
#include "identity.h"
#include "seen.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES_MAX 50
#define DISTRUST_MAX 64
#define CHECK_BYTES (INT64_C(1) << 30) /* of ids that a check remembers */

/* Rows of one transaction: one side is filled while the server works on the other. */
struct side {
    struct acc_heap heap;
    struct acc_rows *rows;       /* by kind index */
    struct acc_row ***sorted;    /* by kind index: what is left to insert */
    size_t *counts, *capacities; /* by kind index */
    int64_t *repeats, *contradictions;
    ingest_refused_fn *refused;
    void *context;
    bool is_plain; /* sent without asking first what is known */
    bool is_sent;  /* results are to be read; else sending failed */
};

struct ingest {
    struct pg *pg;
    const struct program *program;
    const struct settings *settings;
    struct facts *facts;
    struct epoch epoch;
    struct routing routing;
    struct packet_set pushes;
    struct side sides[2];
    struct side *filling, *flying; /* flying NULL: nothing is started */
    int distrust; /* flushes without repeats that it takes until facts are taken for new again */
    int distrust_len; /* what distrust becomes next time; doubles each time */
    struct pg_stmt notify;
    struct seen *seen; /* of a check, else NULL */
    bool *has_table;   /* of a check: [kind index], the database knows this kind */
};

static void side_init(struct side *side, const struct catalog *catalog)
{
    size_t kinds = catalog->count;

    side->rows = acc_zalloc(kinds * sizeof(*side->rows) + 1);
    side->sorted = acc_zalloc(kinds * sizeof(*side->sorted) + 1);
    side->counts = acc_zalloc(kinds * sizeof(*side->counts) + 1);
    side->capacities = acc_zalloc(kinds * sizeof(*side->capacities) + 1);
    side->repeats = acc_zalloc(kinds * sizeof(*side->repeats) + 1);
    side->contradictions = acc_zalloc(kinds * sizeof(*side->contradictions) + 1);
    for (size_t k = 0; k < kinds; k++)
        rows_init(&side->rows[k], catalog->kinds[k], 1 << 20);
}

static void side_clear(struct side *side, const struct catalog *catalog)
{
    for (size_t k = 0; k < catalog->count; k++) {
        rows_clear(&side->rows[k]);
        free(side->sorted[k]);
    }
    free(side->rows);
    free(side->sorted);
    free(side->counts);
    free(side->capacities);
    free(side->repeats);
    free(side->contradictions);
}

/* Half of the batch's heap each. */
static void split_heap(struct side *sides)
{
    heap_init(&sides[0].heap, 0);
    sides[1].heap = sides[0].heap;
    sides[0].heap.end /= 2;
    sides[1].heap.start = sides[0].heap.end;
    sides[1].heap.used = sides[1].heap.start;
}

static struct ingest *make(struct pg *pg, const struct program *program,
                           const struct settings *settings)
{
    struct ingest *ingest = acc_zalloc(sizeof(*ingest));

    ingest->pg = pg;
    ingest->program = program;
    ingest->settings = settings;
    ingest->facts = facts_new(&program->catalog);
    ingest->pushes.packet_events = settings->queue.packet_events;
    ingest->pushes.packet_bytes = settings->queue.packet_bytes;
    for (int i = 0; i < 2; i++)
        side_init(&ingest->sides[i], &program->catalog);
    split_heap(ingest->sides);
    ingest->filling = &ingest->sides[0];
    ingest->distrust_len = 1;
    return ingest;
}

static bool set_plans(struct pg *pg, struct acc_error *err)
{
    return pg_do(pg,
                 "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
                 "SET enable_material = off; "
                 "SET plan_cache_mode = force_generic_plan; SET synchronous_commit = on",
                 NULL, err);
}

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err)
{
    struct ingest *ingest = make(pg, program, settings);
    struct buf sql = {0};

    /* Names in NOTIFY cannot be parameters; the schema's comes from a checked identifier. */
    buf_text(&sql, "SELECT pg_notify(current_schema(), '')");
    ingest->notify.sql = sql.data;
    if (set_plans(pg, err) && epoch_open(&ingest->epoch, pg, "ingest", program->generation, err) &&
        routing_read(&ingest->routing, pg, err))
        return ingest;
    ingest_free(ingest);
    return NULL;
}

/* Which kinds have a table to be asked. */
static bool find_tables(struct ingest *ingest, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;
    bool ok = set_plans(ingest->pg, err);

    for (size_t k = 0; ok && k < catalog->count; k++) {
        struct pg_args args = {0};

        pg_text(&args, catalog->kinds[k]->table);
        PGresult *res = pg_exec(ingest->pg, "SELECT to_regclass($1) IS NOT NULL", &args, err);
        ok = res != NULL;
        ingest->has_table[k] = ok && pg_get_bool(res, 0, 0);
        PQclear(res);
    }
    return ok;
}

struct ingest *ingest_new_check(struct pg *pg, const struct program *program,
                                const struct settings *settings, struct acc_error *err)
{
    struct ingest *ingest = make(pg, program, settings);

    ingest->seen = seen_new(CHECK_BYTES);
    ingest->has_table = acc_zalloc(program->catalog.count + 1);
    if (pg == NULL || find_tables(ingest, err))
        return ingest;
    ingest_free(ingest);
    return NULL;
}

void ingest_free(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    for (int i = 0; i < 2; i++)
        side_clear(&ingest->sides[i], &ingest->program->catalog);
    facts_free(ingest->facts);
    routing_clear(&ingest->routing);
    packet_set_clear(&ingest->pushes);
    free((char *)ingest->notify.sql);
    seen_free(ingest->seen);
    free(ingest->has_table);
    free(ingest);
}

struct acc_rows *ingest_rows(struct ingest *ingest, const struct kind *kind)
{
    return &ingest->filling->rows[kind->index];
}

struct acc_heap *ingest_heap(struct ingest *ingest)
{
    return &ingest->filling->heap;
}

static int by_id(const void *a, const void *b)
{
    const struct acc_row *x = *(struct acc_row *const *)a;
    const struct acc_row *y = *(struct acc_row *const *)b;
    int order = id_compare(x->id, y->id);
    return order != 0 ? order : x < y ? -1 : x > y;
}

static void refuse(struct side *side, const struct kind *kind, const struct acc_row *row)
{
    const struct acc_rows *rows = &side->rows[kind->index];
    uint32_t number = (uint32_t)(((const char *)row - rows->base) / rows->stride);
    char text[160];
    int used = snprintf(text, sizeof(text), "contradicts the %s ", kind->name);

    for (size_t i = 0; i < 16; i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%02x", row->id[i]);
    snprintf(text + used, sizeof(text) - (size_t)used,
             " that is known: other values outside its unique fields");
    side->contradictions[kind->index]++;
    if (side->refused != NULL)
        side->refused(side->context, kind, number, text);
}

/* Sorted rows of one kind, doubles within them taken out. */
static void sort_kind(struct side *side, const struct kind *kind)
{
    size_t k = kind->index;
    struct acc_rows *rows = &side->rows[k];

    if (side->capacities[k] < rows->count) {
        side->capacities[k] = rows->count;
        side->sorted[k] = acc_realloc(side->sorted[k], rows->count * sizeof(struct acc_row *));
    }
    struct acc_row **sorted = side->sorted[k];
    for (uint32_t i = 0; i < rows->count; i++) {
        struct acc_row *row = rows_at(rows, i);
        row_normalise(kind, row);
        identity_set(kind, row);
        sorted[i] = row;
    }
    if (rows->count > 0)
        qsort(sorted, rows->count, sizeof(struct acc_row *), by_id);
    size_t kept = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        struct acc_row *row = sorted[i];
        if (kept == 0 || id_compare(sorted[kept - 1]->id, row->id) != 0)
            sorted[kept++] = row;
        else if (rows_equal(kind, sorted[kept - 1], row, UINT64_MAX))
            side->repeats[k]++;
        else
            refuse(side, kind, row);
    }
    side->counts[k] = kept;
}

/* Whether the database is asked about the rows of a kind. */
static bool is_asked(const struct ingest *ingest, const struct side *side, size_t k)
{
    return side->counts[k] > 0 && (ingest->has_table == NULL || ingest->has_table[k]);
}

/* Asking what is known. All fields are compared: a forged twin is a contradiction, not a repeat. */
static bool ask_send(struct ingest *ingest, const struct side *side, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    bool ok = pg_send(ingest->pg, &begin, NULL, err);

    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (is_asked(ingest, side, k))
            ok = facts_known_send(ingest->facts, ingest->pg, catalog->kinds[k], side->sorted[k],
                                  side->counts[k], true, err);
    }
    return ok && pg_send(ingest->pg, &commit, NULL, err) && pg_sync(ingest->pg, err);
}

/* Takes out what is known of a kind. */
static bool take_known(struct ingest *ingest, struct side *side, const struct kind *kind,
                       struct acc_error *err)
{
    size_t k = kind->index;
    size_t count = side->counts[k];
    bool *known = acc_alloc(2 * count + 1);
    bool *differs = known + count;

    if (!facts_known_read(ingest->facts, ingest->pg, kind, side->sorted[k], count, &side->heap,
                          known, differs, err)) {
        free(known);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct acc_row *row = side->sorted[k][i];
        if (!known[i])
            side->sorted[k][kept++] = row;
        else if (differs[i])
            refuse(side, kind, row);
        else
            side->repeats[k]++;
    }
    side->counts[k] = kept;
    free(known);
    return true;
}

static bool ask_read(struct ingest *ingest, struct side *side, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;
    PGresult *res = pg_result(ingest->pg, err); /* of BEGIN */
    bool ok = res != NULL;

    PQclear(res);
    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (is_asked(ingest, side, k))
            ok = take_known(ingest, side, catalog->kinds[k], err);
    }
    struct acc_error later;
    return pg_finish(ingest->pg, ok ? err : &later) && ok;
}

/* What ingest_start begins and ingest_finish ends when nothing is to be written. */
static bool check_send(struct ingest *ingest, struct side *side, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;

    for (size_t k = 0; k < catalog->count; k++) {
        size_t kept = 0;

        for (size_t i = 0; i < side->counts[k]; i++) {
            struct acc_row *row = side->sorted[k][i];

            if (seen_has(ingest->seen, row->id)) {
                side->repeats[k]++;
            } else {
                seen_add(ingest->seen, row->id);
                side->sorted[k][kept++] = row;
            }
        }
        side->counts[k] = kept;
    }
    return ingest->pg == NULL || ask_send(ingest, side, err);
}

/* Facts and packets of one kind. */
static bool kind_send(struct ingest *ingest, const struct side *side, const struct kind *kind,
                      int64_t batch_id, struct tally *tally, struct acc_error *err)
{
    size_t k = kind->index;
    size_t n = side->counts[k];

    if (n + (size_t)(side->repeats[k] + side->contradictions[k]) == 0)
        return true;
    tally->kinds[tally->kind_count].tag = kind->tag;
    tally->kinds[tally->kind_count].fresh = (int64_t)n;
    tally->kinds[tally->kind_count].repeats = side->repeats[k];
    tally->kinds[tally->kind_count++].contradictions = side->contradictions[k];
    if (n == 0)
        return true;
    packet_set_route(&ingest->pushes, &ingest->routing, ingest->program, kind, side->sorted[k], n,
                     tally->at_us);
    return facts_insert_send(ingest->facts, ingest->pg, kind, side->sorted[k], n, batch_id, NULL,
                             NULL, err);
}

/*
 * The batch row is written for repeats too: its commit waits for the disk, and with it for the
 * asynchronous one that found the fact.
 */
static bool write_send(struct ingest *ingest, const struct side *side, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    struct tally tally = {.at_us = clock_wall_us()};
    int64_t batch_id = ingest->epoch.next_batch++;
    struct pg *pg = ingest->pg;

    packet_set_reset(&ingest->pushes);
    bool ok = pg_send(pg, &begin, NULL, err) && routing_check_send(&ingest->routing, pg, err);
    for (size_t k = 0; ok && k < catalog->count; k++)
        ok = kind_send(ingest, side, catalog->kinds[k], batch_id, &tally, err);
    if (ok && ingest->pushes.count > 0)
        ok = queue_push_send(&ingest->pushes, pg, &ingest->epoch.next_packet, err) &&
             pg_send(pg, &ingest->notify, NULL, err);
    return ok && tally_send(&tally, &ingest->epoch, batch_id, pg, err) &&
           pg_send(pg, &commit, NULL, err) && pg_sync(pg, err);
}

static bool write_new(struct ingest *ingest, const struct side *side, struct acc_error *err)
{
    bool ok = write_send(ingest, side, err);
    struct acc_error later;

    return pg_finish(ingest->pg, ok ? err : &later) && ok;
}

/* A try that lost: count its repeats afresh. */
static bool again(struct ingest *ingest, const struct acc_error *why, struct acc_error *err)
{
    *err = *why;
    if (why->code == ACC_ESTALE)
        return routing_read(&ingest->routing, ingest->pg, err);
    return why->code == ACC_ECONFLICT || (pg_is_transient(why) && why->code != ACC_ELOST);
}

static bool ask_and_write(struct ingest *ingest, struct side *side, struct acc_error *err)
{
    bool ok = ask_send(ingest, side, err);
    struct acc_error later;

    if (!ok) {
        (void)!pg_finish(ingest->pg, &later);
        return false;
    }
    return ask_read(ingest, side, err) && write_new(ingest, side, err);
}

/* The first try, of which ingest_start has sent the beginning. */
static bool first_try(struct ingest *ingest, struct side *side, struct acc_error *err)
{
    struct acc_error later;

    if (!side->is_sent) {
        (void)!pg_finish(ingest->pg, &later);
        return ask_and_write(ingest, side, err);
    }
    if (side->is_plain)
        return pg_finish(ingest->pg, err);
    return ask_read(ingest, side, err) && write_new(ingest, side, err);
}

/*
 * Facts are taken for new as long as they are: the primary key tells when one was not, at the price
 * of the whole transaction. After that it takes more and more flushes without a repeat to win that
 * trust back.
 */
static void learn(struct ingest *ingest, const struct side *side, int64_t known)
{
    if (side->is_plain && known == 0)
        return;
    if (side->is_plain) {
        ingest->distrust = ingest->distrust_len;
        if (ingest->distrust_len < DISTRUST_MAX)
            ingest->distrust_len *= 2;
    } else if (known > 0) {
        ingest->distrust = ingest->distrust_len;
    } else {
        ingest->distrust--;
    }
}

static int64_t repeats_of(const struct ingest *ingest, const struct side *side)
{
    int64_t sum = 0;

    for (size_t k = 0; k < ingest->program->catalog.count; k++)
        sum += side->repeats[k] + side->contradictions[k];
    return sum;
}

static bool finish(struct ingest *ingest, struct side *side, struct acc_error *err)
{
    if (ingest->seen != NULL)
        return ingest->pg == NULL || ask_read(ingest, side, err);

    bool ok = first_try(ingest, side, err);

    for (int tries = 1; !ok && tries < TRIES_MAX; tries++) {
        struct acc_error why = *err;

        if (!again(ingest, &why, err)) {
            *err = why;
            break;
        }
        if (tries > 1 || !side->is_plain)
            usleep((useconds_t)(random() % (1000 * tries)));
        ok = ask_and_write(ingest, side, err);
    }
    return ok;
}

bool ingest_finish(struct ingest *ingest, struct ingest_counts *counts, struct acc_error *err)
{
    struct side *side = ingest->flying;

    if (side == NULL)
        return true;
    int64_t doubles = repeats_of(ingest, side);
    bool ok = finish(ingest, side, err);

    learn(ingest, side, repeats_of(ingest, side) - doubles);
    for (size_t k = 0; k < ingest->program->catalog.count; k++) {
        if (ok) {
            counts->new_facts += (int64_t)side->counts[k];
            counts->repeats += side->repeats[k];
            counts->contradictions += side->contradictions[k];
        }
        rows_reset(&side->rows[k]);
    }
    heap_reset(&side->heap);
    ingest->flying = NULL;
    return ok;
}

bool ingest_start(struct ingest *ingest, struct ingest_counts *counts, ingest_refused_fn *refused,
                  void *context, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;
    struct side *side = ingest->filling;
    struct acc_error why;

    side->refused = refused;
    side->context = context;
    memset(side->repeats, 0, catalog->count * sizeof(*side->repeats));
    memset(side->contradictions, 0, catalog->count * sizeof(*side->contradictions));
    for (size_t k = 0; k < catalog->count; k++)
        sort_kind(side, catalog->kinds[k]); /* while the server is at the rows before */
    if (!ingest_finish(ingest, counts, err))
        return false;
    if (ingest->seen != NULL && !check_send(ingest, side, err))
        return false;
    side->is_plain = ingest->distrust <= 0;
    if (ingest->seen == NULL)
        side->is_sent =
            side->is_plain ? write_send(ingest, side, &why) : ask_send(ingest, side, &why);
    ingest->flying = side;
    ingest->filling = side == &ingest->sides[0] ? &ingest->sides[1] : &ingest->sides[0];
    return true;
}
