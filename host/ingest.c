#include "ingest.h"

#include "base/clock.h"
#include "ingest_side.h"
#include "tally.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES_MAX 50
#define OPEN_TRIES_MAX 100
#define DISTRUST_MAX 64

/* What the connection is at. */
enum step {
    IDLE,
    OPENING,      /* a pipeline that makes it ready to write */
    ASKING,       /* what is known */
    WRITING,      /* the transaction */
    ROLLING_BACK, /* one that failed */
    ROUTING,      /* reading routes that are out of date */
    PAUSING,      /* nothing is sent until pause_until_us */
};

struct ingest {
    struct pg *pg;
    const struct program *program;
    const struct settings *settings;
    const char *role; /* to be taken on, or NULL; owned */
    struct facts *facts;
    struct epoch epoch;
    int64_t numbers; /* given for records */
    struct routing routing;
    struct packet_set pushes;
    struct ingest_side sides[2];
    struct ingest_side *filling, *started; /* started: the last one */
    enum step step;
    bool is_opening;    /* not ready to write yet */
    bool is_first;      /* try of this transaction */
    bool is_completing; /* the last transaction of a split is under way, without rows */
    bool wants_routing; /* before the next try */
    bool is_failed;     /* for good */
    int tries;          /* that failed since something went well */
    int64_t pause_until_us;
    int distrust; /* flushes without repeats that it takes until facts are taken for new again */
    int distrust_len; /* what distrust becomes next time; doubles each time */
    struct pg_stmt notify;
    bool *has_table; /* of a check: [kind index], the database knows this kind; NULL: all */
};

/* Half of the batch's heap each. */
static void split_heap(struct ingest_side *sides)
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
    ingest->started = &ingest->sides[1];
    ingest->distrust_len = 1;
    /* Names in NOTIFY cannot be parameters; the schema's comes from a checked identifier. */
    ingest->notify.sql = "SELECT pg_notify(current_schema(), '')";
    return ingest;
}

/* Opening */

static bool open_send(struct ingest *ingest, struct acc_error *err)
{
    static struct pg_stmt plans = {
        .sql = "SELECT set_config(name, value, false) FROM (VALUES ('enable_seqscan', 'off'), "
               "('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), "
               "('enable_material', 'off'), ('plan_cache_mode', 'force_generic_plan'), "
               "('synchronous_commit', 'on')) AS s(name, value) "
               "UNION ALL SELECT set_config('role', rolname::text, false) FROM pg_roles "
               "WHERE rolname = $1 AND pg_has_role(rolname, 'MEMBER')"};
    struct pg_args args = {0};

    pg_text(&args, ingest->role);
    return pg_send(ingest->pg, &plans, &args, err) &&
           epoch_open_send(ingest->pg, "ingest", ingest->program->generation, err) &&
           routing_send(ingest->pg, err) && pg_sync(ingest->pg, err);
}

static bool open_read(struct ingest *ingest, struct acc_error *err)
{
    PGresult *plans = pg_result(ingest->pg, err);
    bool ok = plans != NULL &&
              epoch_open_take(&ingest->epoch, ingest->pg, ingest->program->generation, err) &&
              routing_take(&ingest->routing, ingest->pg, err);
    struct acc_error later;

    PQclear(plans);
    return pg_end(ingest->pg, ok ? err : &later) && ok;
}

static bool go_on(struct ingest *ingest, struct acc_error *err);

/* Goes on until there is nothing more to do, waiting for the server as long as it takes. */
static bool drain(struct ingest *ingest, struct ingest_counts *counts, struct acc_error *err)
{
    for (;;) {
        bool is_done;
        int64_t wait_ms;

        if (!ingest_poll(ingest, counts, &is_done, &wait_ms, err))
            return false;
        if (is_done)
            return true;
        bool is_pause = wait_ms >= 0;
        struct pollfd fd = {.fd = is_pause ? -1 : PQsocket(ingest->pg->conn),
                            .events = POLLIN | (ingest->pg->wants_write ? POLLOUT : 0)};
        poll(&fd, 1, (int)wait_ms);
    }
}

struct ingest *ingest_new_polled(struct pg *pg, const struct program *program,
                                 const struct settings *settings, const char *role,
                                 struct acc_error *err)
{
    struct ingest *ingest = make(pg, program, settings);

    ingest->role = role == NULL ? NULL : acc_strdup(role);
    ingest->is_opening = true;
    if (go_on(ingest, err))
        return ingest;
    ingest_free(ingest);
    return NULL;
}

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err)
{
    struct ingest *ingest = ingest_new_polled(pg, program, settings, NULL, err);
    struct ingest_counts none = {0};

    if (ingest == NULL || drain(ingest, &none, err))
        return ingest;
    ingest_free(ingest);
    return NULL;
}

/* Which kinds have a table to be asked. */
static bool find_tables(struct ingest *ingest, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;
    bool ok = pg_do(ingest->pg,
                    "SET enable_seqscan = off; SET enable_hashjoin = off; "
                    "SET enable_mergejoin = off; SET enable_material = off; "
                    "SET plan_cache_mode = force_generic_plan",
                    NULL, err);

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
        side_clear(&ingest->sides[i]);
    facts_free(ingest->facts);
    routing_clear(&ingest->routing);
    packet_set_clear(&ingest->pushes);
    free((char *)ingest->role);
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

const struct acc_rows *ingest_started(const struct ingest *ingest, const struct kind *kind)
{
    return &ingest->started->rows[kind->index];
}

const char *ingest_message(const struct ingest *ingest, const struct kind *kind,
                           const struct acc_row *row, char text[INGEST_MESSAGE_BYTES])
{
    return side_message(ingest->started, kind, row, text);
}

int64_t ingest_next_batch(const struct ingest *ingest)
{
    return ingest->epoch.next_batch;
}

int64_t ingest_number(struct ingest *ingest)
{
    return (int64_t)ingest->epoch.id << 32 | ++ingest->numbers;
}

/* Asking what is known. All fields are compared: a forged twin is a contradiction, not a repeat. */

static bool is_asked(const struct ingest *ingest, const struct ingest_side *side, size_t k)
{
    return side->counts[k] > 0 && (ingest->has_table == NULL || ingest->has_table[k]);
}

static bool ask_send(struct ingest *ingest, struct ingest_side *side, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    bool ok = pg_send(ingest->pg, &begin, NULL, err);

    side_gather(side);
    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (is_asked(ingest, side, k))
            ok = facts_known_send(ingest->facts, ingest->pg, catalog->kinds[k], side->sorted[k],
                                  side->counts[k], true, err);
    }
    return ok && pg_send(ingest->pg, &commit, NULL, err) && pg_sync(ingest->pg, err);
}

static bool ask_read(struct ingest *ingest, struct ingest_side *side, struct acc_error *err)
{
    const struct catalog *catalog = &ingest->program->catalog;
    PGresult *res = pg_result(ingest->pg, err); /* of BEGIN */
    bool ok = res != NULL;

    PQclear(res);
    for (size_t k = 0; ok && k < catalog->count; k++) {
        if (is_asked(ingest, side, k))
            ok = side_take_known(side, catalog->kinds[k], ingest->facts, ingest->pg, err);
    }
    if (ok)
        side_fold(side);
    if (ok && side->calls.seen != NULL)
        side_take_seen(side);
    struct acc_error later;
    return pg_end(ingest->pg, ok ? err : &later) && ok;
}

/* Writing */

/* Facts and packets of one kind. */
static bool kind_send(struct ingest *ingest, const struct ingest_side *side,
                      const struct kind *kind, int64_t batch_id, struct tally *tally,
                      struct acc_error *err)
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
    if (side->calls.batch_of != NULL)
        return facts_insert_batches_send(ingest->facts, ingest->pg, kind, side->sorted[k], n,
                                         batch_id, side->calls.batch_of, err);
    return facts_insert_send(ingest->facts, ingest->pg, kind, side->sorted[k], n, batch_id, NULL,
                             NULL, err);
}

/*
 * The batch row is written for repeats too: its commit waits for the disk, and with it for the
 * asynchronous one that found the fact.
 */
static bool write_send(struct ingest *ingest, const struct ingest_side *side, struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL SERIALIZABLE"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    const struct catalog *catalog = &ingest->program->catalog;
    size_t batches = side->calls.batch_count;
    struct tally_batch *of_batches = acc_zalloc(batches * sizeof(*of_batches) + 1);
    struct tally tally = {.at_us = clock_wall_us(),
                          .batches = batches == 0 ? NULL : of_batches,
                          .batch_count = batches};
    int64_t batch_id = ingest->epoch.next_batch;
    struct pg *pg = ingest->pg;

    ingest->epoch.next_batch += batches == 0 ? 1 : (int64_t)batches;
    side_batches(side, of_batches);

    packet_set_reset(&ingest->pushes);
    bool ok = pg_send(pg, &begin, NULL, err) && routing_check_send(&ingest->routing, pg, err);
    for (size_t k = 0; ok && k < catalog->count; k++)
        ok = kind_send(ingest, side, catalog->kinds[k], batch_id, &tally, err);
    if (ok && ingest->pushes.count > 0)
        ok = queue_push_send(&ingest->pushes, pg, &ingest->epoch.next_packet, err) &&
             pg_send(pg, &ingest->notify, NULL, err);
    if (ok && side->calls.with != NULL)
        ok = side->calls.with(side->calls.context, pg, batch_id,
                              !side->split.is_on || ingest->is_completing, err);
    ok = ok && tally_send(&tally, &ingest->epoch, batch_id, pg, err) &&
         pg_send(pg, &commit, NULL, err) && pg_sync(pg, err);
    free(of_batches);
    return ok;
}

/*
 * Facts are taken for new as long as they are: the primary key tells when one was not, at the price
 * of the whole transaction. After that it takes more and more flushes without a repeat to win that
 * trust back.
 */
static void learn(struct ingest *ingest, const struct ingest_side *side, int64_t known)
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

/* The machine */

/* Sends what comes next, when nothing is under way. */
static bool go_on(struct ingest *ingest, struct acc_error *err)
{
    static struct pg_stmt rollback = {.sql = "ROLLBACK"};
    struct ingest_side *side = ingest->started;
    struct pg *pg = ingest->pg;

    if (pg_must_rollback(pg)) {
        ingest->step = ROLLING_BACK;
        return pg_send(pg, &rollback, NULL, err) && pg_sync(pg, err);
    }
    if (ingest->wants_routing) {
        ingest->step = ROUTING;
        return routing_send(pg, err) && pg_sync(pg, err);
    }
    if (ingest->pause_until_us > clock_us()) {
        ingest->step = PAUSING;
        return true;
    }
    if (ingest->is_opening) {
        ingest->step = OPENING;
        return open_send(ingest, err);
    }
    if (side->calls.seen == NULL &&
        (ingest->is_completing || (side->is_plain && ingest->is_first))) {
        ingest->step = WRITING;
        return write_send(ingest, side, err);
    }
    ingest->step = ASKING;
    return ask_send(ingest, side, err);
}

/* Ends the start: tells what was refused. */
static void complete(struct ingest *ingest)
{
    struct ingest_side *side = ingest->started;

    ingest->step = IDLE;
    ingest->is_completing = false;
    side_tell(side);
    if (side->calls.done != NULL)
        side->calls.done(side->calls.context);
}

/* The next transaction of the start, if there is one. */
static bool next_transaction(struct ingest *ingest, struct acc_error *err)
{
    struct ingest_side *side = ingest->started;

    ingest->is_first = false;
    ingest->tries = 0;
    if (!ingest->is_completing && side_next_range(side))
        return go_on(ingest, err);
    if (side->split.is_on && side->calls.with != NULL && !ingest->is_completing) {
        ingest->is_completing = true;
        side->split.now = (struct ingest_range){0, 0};
        return go_on(ingest, err);
    }
    complete(ingest);
    return true;
}

static bool committed(struct ingest *ingest, struct acc_error *err)
{
    struct ingest_side *side = ingest->started;

    if (!side->split.is_on && side->calls.seen == NULL)
        learn(ingest, side, side_repeats(side) - side->doubles);
    side_committed(side);
    return next_transaction(ingest, err);
}

/* Something failed: runs it again, or without the rows that it is about. */
static bool failed(struct ingest *ingest, struct acc_error *err)
{
    struct acc_error why = *err;
    int tries_max = ingest->is_opening ? OPEN_TRIES_MAX : TRIES_MAX;

    if (why.code == ACC_ELOST)
        return false;
    if (pg_is_transient(&why)) {
        if (++ingest->tries >= tries_max)
            return false;
        if (ingest->tries > 1 || !ingest->started->is_plain)
            ingest->pause_until_us = clock_us() + random() % (1000 * ingest->tries);
        ingest->wants_routing = ingest->wants_routing || why.code == ACC_ESTALE;
        ingest->is_first = false;
        return go_on(ingest, err);
    }
    if (ingest->is_opening || ingest->wants_routing || ingest->is_completing ||
        ingest->started->calls.seen != NULL || !side_narrow(ingest->started, &why))
        return false;
    return next_transaction(ingest, err);
}

/* All results of what was sent are here. */
static bool received(struct ingest *ingest, struct acc_error *err)
{
    struct ingest_side *side = ingest->started;
    bool ok = false;

    switch (ingest->step) {
    case OPENING:
        ok = open_read(ingest, err);
        if (ok) {
            ingest->is_opening = false;
            ingest->tries = 0;
            ingest->step = IDLE;
            return true;
        }
        break;
    case ASKING:
        ok = ask_read(ingest, side, err);
        if (ok && side->calls.seen != NULL)
            return committed(ingest, err);
        if (ok) {
            ingest->step = WRITING;
            return write_send(ingest, side, err);
        }
        break;
    case WRITING:
        ok = pg_end(ingest->pg, err);
        if (ok)
            return committed(ingest, err);
        break;
    case ROLLING_BACK:
        ok = pg_end(ingest->pg, err);
        break;
    case ROUTING: {
        struct acc_error later;

        ok = routing_take(&ingest->routing, ingest->pg, err);
        ok = pg_end(ingest->pg, ok ? err : &later) && ok;
        ingest->wants_routing = !ok;
        break;
    }
    case IDLE:
    case PAUSING:
        return true;
    }
    return ok ? go_on(ingest, err) : failed(ingest, err);
}

/* One step, if there is anything to do now. */
static bool step(struct ingest *ingest, bool *is_waiting, int64_t *wait_ms, struct acc_error *err)
{
    *is_waiting = false;
    *wait_ms = -1;
    if (ingest->step == PAUSING) {
        int64_t left_us = ingest->pause_until_us - clock_us();

        *is_waiting = left_us > 0;
        if (*is_waiting)
            *wait_ms = (left_us + 999) / 1000;
        return *is_waiting || go_on(ingest, err);
    }
    bool is_ready;
    pg_poll(ingest->pg, &is_ready);
    *is_waiting = !is_ready;
    return *is_waiting || received(ingest, err);
}

bool ingest_poll(struct ingest *ingest, struct ingest_counts *counts, bool *is_done,
                 int64_t *wait_ms, struct acc_error *err)
{
    bool is_waiting = false;
    bool was_started = ingest->step != IDLE && !ingest->is_opening;

    *wait_ms = -1;
    while (ingest->step != IDLE && !is_waiting) {
        if (ingest->is_failed)
            return acc_fail(err, ACC_ELOST, "writing has failed before");
        if (!step(ingest, &is_waiting, wait_ms, err)) {
            ingest->is_failed = true;
            return false;
        }
    }
    *is_done = ingest->step == IDLE;
    if (!*is_done || !was_started)
        return true;
    const struct ingest_counts *done = &ingest->started->done;
    counts->new_facts += done->new_facts;
    counts->repeats += done->repeats;
    counts->contradictions += done->contradictions;
    counts->refused += done->refused;
    return true;
}

bool ingest_finish(struct ingest *ingest, struct ingest_counts *counts, struct acc_error *err)
{
    return drain(ingest, counts, err);
}

bool ingest_start(struct ingest *ingest, struct ingest_counts *counts,
                  const struct ingest_calls *calls, struct acc_error *err)
{
    struct ingest_side *side = ingest->filling;

    side->calls = *calls;
    side_sort(side); /* while the server is at the rows before */
    if (!ingest_finish(ingest, counts, err))
        return false;
    ingest->filling = ingest->started;
    ingest->started = side;
    side_reset(ingest->filling);
    side->is_plain = ingest->distrust <= 0;
    ingest->is_first = true;
    ingest->tries = 0;
    ingest->pause_until_us = 0;
    if (ingest->pg != NULL)
        return go_on(ingest, err);
    side_take_seen(side);
    side_committed(side);
    complete(ingest);
    counts->new_facts += side->done.new_facts;
    counts->repeats += side->done.repeats;
    counts->contradictions += side->done.contradictions;
    return true;
}
