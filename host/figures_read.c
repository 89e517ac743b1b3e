/* What figures ask the database: sums over tallies and queue, never a row of facts. */
#include "figures.h"

#include "base/clock.h"
#include "schema.h"

#include <math.h>
#include <stdlib.h>

#define PG_EPOCH_US INT64_C(946684800000000)
#define ROWS_MOST 2000 /* batch rows of one writer and reading; of more the newest are taken */

static struct pg_stmt begin_read = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
static struct pg_stmt commit_read = {.sql = "COMMIT"};

bool figures_connect(struct figures *figures, struct acc_error *err)
{
    const struct settings *settings = &figures->options->app->settings;

    return pg_open(&figures->pg, figures->options->conninfo, figures->options->app->schema,
                   settings->database.connect_timeout_ms, 30000, err) &&
           pg_do(&figures->pg,
                 "SET default_transaction_read_only = on; SET jit = off; SET application_name = "
                 "'accrete figures'",
                 NULL, err);
}

void figures_clear(struct figures *figures)
{
    free(figures->reading.lives);
    free(figures->reading.finds);
    free(figures->database.tables);
    free(figures->database.workers);
    free(figures->generations);
    free(figures->work);
    control_clear(&figures->control);
    json_decref(figures->fields);
    pg_close(&figures->pg);
}

/* One snapshot */

static struct pg_stmt lives_stmt = {
    .sql =
        "SELECT l.id, l.name, l.kind, l.active, l.priority, l.generation, coalesce(t.early, 0), "
        "coalesce(t.late, 0), coalesce(t.empty, 0), coalesce(t.found, 0), coalesce(t.failed, 0), "
        "coalesce(t.friends, 0), coalesce(t.retries, 0), coalesce(t.given, 0) FROM lifecycle l "
        "LEFT JOIN (SELECT lifecycle, sum(early)::int8 AS early, sum(late)::int8 AS late, "
        "sum(empty)::int8 AS empty, sum(found)::int8 AS found, sum(failed)::int8 AS failed, "
        "sum(friends)::int8 AS friends, sum(retries)::int8 AS retries, sum(given)::int8 AS given "
        "FROM tally_lifecycle GROUP BY lifecycle) t ON t.lifecycle = l.id ORDER BY l.name"};
static struct pg_stmt finds_stmt = {
    .sql = "SELECT lifecycle, kind, sum(new)::int8, sum(repeats)::int8, sum(contradictions)::int8 "
           "FROM tally_kind GROUP BY lifecycle, kind"};
static struct pg_stmt packets_stmt = {
    .sql = "SELECT lifecycle, sum(n)::int8, coalesce(sum(n) FILTER (WHERE tries > 0), 0)::int8, "
           "min(born) FROM packet GROUP BY lifecycle"};
static struct pg_stmt parked_stmt = {
    .sql = "SELECT lifecycle, count(*) FILTER (WHERE state = 'delayed'), count(*) FILTER (WHERE "
           "state = 'dead'), count(*) FILTER (WHERE state = 'discarded') FROM parked GROUP BY "
           "lifecycle"};
static struct pg_stmt replay_stmt = {.sql = "SELECT DISTINCT lifecycle FROM replay"};
static struct pg_stmt generation_stmt = {.sql = "SELECT coalesce(max(id), 0) FROM generation"};
static struct pg_stmt epochs_stmt = {
    .sql = "SELECT id, folded FROM epoch WHERE NOT folded OR id > $1::int4 ORDER BY id"};
static struct pg_stmt rows_stmt = {
    .sql =
        "SELECT b.id, b.lifecycle, b.events, b.waited_ms, b.last_write_us, "
        "coalesce(b.phases_us[1], 0), coalesce(b.phases_us[2], 0), coalesce(b.phases_us[3], 0), "
        "coalesce(b.phases_us[4], 0) FROM unnest($1::int4[], $2::int8[]) AS e(id, seen), LATERAL "
        "(SELECT * FROM batch WHERE batch.id > e.seen AND batch.id < (e.id::int8 + 1) << 32 "
        "AND batch.place = 0 ORDER BY batch.id DESC LIMIT $3::int8) b ORDER BY b.id"};
/* Where a new process begins: behind what there is. */
static struct pg_stmt ends_stmt = {
    .sql =
        "SELECT e.id, coalesce((SELECT max(b.id) FROM batch b WHERE b.id >= e.id::int8 << 32 AND "
        "b.id < (e.id::int8 + 1) << 32), e.id::int8 << 32) FROM epoch e WHERE NOT e.folded OR "
        "e.id = (SELECT max(id) FROM epoch)"};

enum answer { LIVES, FINDS, PACKETS, PARKED, REPLAYS, GENERATION, EPOCHS, ROWS, ANSWERS };

static bool ask(struct figures *figures, PGresult **answers, struct acc_error *err)
{
    struct pg *pg = &figures->pg;
    struct rates *rates = figures->rates;
    struct buf ids = {0};
    struct buf cursors = {0};
    struct pg_args since = {0};
    struct pg_args args = {0};
    struct pg_stmt *statements[ANSWERS] = {&lives_stmt,  &finds_stmt,  &packets_stmt,
                                           &parked_stmt, &replay_stmt, &generation_stmt,
                                           &epochs_stmt, &rows_stmt};

    pg_array_begin(&ids, PG_INT4);
    pg_array_begin(&cursors, PG_INT8);
    for (size_t e = 0; e < RATES_EPOCHS; e++) {
        if (rates->epochs[e].id == 0)
            continue;
        pg_array_int4(&ids, rates->epochs[e].id);
        pg_array_int8(&cursors, rates->epochs[e].cursor);
    }
    pg_array_end(&ids, 0);
    pg_array_end(&cursors, 0);
    pg_int4(&since, rates->max_epoch);
    pg_array(&args, PG_INT4_ARRAY, &ids);
    pg_array(&args, PG_INT8_ARRAY, &cursors);
    pg_int8(&args, ROWS_MOST);
    bool ok = pg_send(pg, &begin_read, NULL, err);
    for (size_t a = 0; ok && a < ANSWERS; a++)
        ok = pg_send(pg, statements[a], a == EPOCHS ? &since : a == ROWS ? &args : NULL, err);
    ok = ok && pg_send(pg, &commit_read, NULL, err) && pg_sync(pg, err);
    PGresult *begun = ok ? pg_result(pg, err) : NULL;
    ok = begun != NULL;
    PQclear(begun);
    for (size_t a = 0; ok && a < ANSWERS; a++) {
        answers[a] = pg_result(pg, err);
        ok = answers[a] != NULL;
    }
    struct acc_error later;
    ok = pg_finish(pg, ok ? err : &later) && ok;
    buf_clear(&ids);
    buf_clear(&cursors);
    return ok;
}

static struct life *life_by_id(struct life *lives, size_t count, int16_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (lives[i].id == id)
            return &lives[i];
    }
    return NULL;
}

struct life *figures_life(const struct figures *figures, int16_t id)
{
    return life_by_id(figures->reading.lives, figures->reading.life_count, id);
}

static void take_lives(struct figures *figures, PGresult *const *answers, struct reading *reading)
{
    const PGresult *res = answers[LIVES];
    struct life *life;

    reading->life_count = (size_t)PQntuples(res);
    reading->lives = acc_zalloc(reading->life_count * sizeof(*reading->lives) + 1);
    for (int r = 0; r < PQntuples(res); r++) {
        life = &reading->lives[r];
        life->id = pg_get_int2(res, r, 0);
        snprintf(life->name, sizeof(life->name), "%.*s", KIND_NAME_MAX, pg_get_text(res, r, 1));
        life->kind = (uint16_t)pg_get_int4(res, r, 2);
        life->is_active = pg_get_bool(res, r, 3);
        life->priority = pg_get_int4(res, r, 4);
        life->generation = pg_get_int4(res, r, 5);
        life->module = life->is_active ? program_find(figures->program, life->name) : NULL;
        for (int c = 0; c < COUNTS; c++)
            life->counts[c] = pg_get_int8(res, r, 6 + c);
        life->throttle_per_s = control_per_s(&figures->control, life->id,
                                             life->module == NULL ? 0 : life->module->throttle);
        life->todo = NAN;
    }
    res = answers[PACKETS];
    for (int r = 0; r < PQntuples(res); r++) {
        life = life_by_id(reading->lives, reading->life_count, pg_get_int2(res, r, 0));
        if (life == NULL)
            continue;
        life->in_packets = pg_get_int8(res, r, 1);
        life->quarantined = pg_get_int8(res, r, 2);
        life->oldest_born_us = pg_get_int8(res, r, 3) + PG_EPOCH_US;
    }
    res = answers[PARKED];
    for (int r = 0; r < PQntuples(res); r++) {
        life = life_by_id(reading->lives, reading->life_count, pg_get_int2(res, r, 0));
        if (life == NULL)
            continue;
        life->delayed = pg_get_int8(res, r, 1);
        life->dead = pg_get_int8(res, r, 2);
        life->discarded = pg_get_int8(res, r, 3);
    }
}

static void take_finds(PGresult *const *answers, struct reading *reading)
{
    const PGresult *res = answers[FINDS];

    reading->find_count = (size_t)PQntuples(res);
    reading->finds = acc_zalloc(reading->find_count * sizeof(*reading->finds) + 1);
    for (int r = 0; r < PQntuples(res); r++)
        reading->finds[r] = (struct find){.lifecycle = pg_get_int2(res, r, 0),
                                          .tag = (uint16_t)pg_get_int4(res, r, 1),
                                          .fresh = pg_get_int8(res, r, 2),
                                          .repeats = pg_get_int8(res, r, 3),
                                          .contradictions = pg_get_int8(res, r, 4)};
}

int64_t life_done(const struct life *life)
{
    return life->counts[COUNT_EARLY] + life->counts[COUNT_LATE] + life->counts[COUNT_EMPTY] +
           life->counts[COUNT_FOUND];
}

int64_t life_ready(const struct life *life)
{
    return life->in_packets - life->claimed;
}

/*
 * Old facts that a lifecycle has yet to see have no packets yet. Within one snapshot every fact of its kind is unread, in
 * a packet, parked or done.
 */
static void count_unread(PGresult *const *answers, struct reading *reading)
{
    const PGresult *res = answers[REPLAYS];

    for (int r = 0; r < PQntuples(res); r++) {
        struct life *life = life_by_id(reading->lives, reading->life_count, pg_get_int2(res, r, 0));
        int64_t facts = 0;

        if (life == NULL || !life->is_active)
            continue;
        reading->has_replays = true;
        for (size_t f = 0; f < reading->find_count; f++)
            facts += reading->finds[f].tag == life->kind ? reading->finds[f].fresh : 0;
        facts -= life_done(life) + life->in_packets + life->delayed + life->dead + life->discarded;
        life->unread = facts > 0 ? facts : 0;
    }
}

/* What is in the hands of workers stands on the page of their machine; of others it counts as ready. */
static void count_claimed(const struct page *page, struct reading *reading)
{
    for (size_t s = 0; s < PAGE_SLOTS; s++) {
        const struct page_slot *slot = &page->slots[s];
        if (slot->pid == 0 || __atomic_load_n(&slot->packet_count, __ATOMIC_ACQUIRE) == 0)
            continue;
        struct life *life =
            life_by_id(reading->lives, reading->life_count, (int16_t)slot->lifecycle);
        if (life != NULL)
            life->claimed += slot->batch_events;
    }
    for (size_t i = 0; i < reading->life_count; i++) {
        if (reading->lives[i].claimed > reading->lives[i].in_packets)
            reading->lives[i].claimed = reading->lives[i].in_packets;
    }
}

/* Into the rates */

/* What was added since the last reading; a database that began anew begins anew here. */
static double added(int64_t *last, int64_t now, bool is_first)
{
    int64_t more = now - *last;

    *last = now;
    return is_first || more < 0 ? 0 : (double)more;
}

static void add_counts(struct rates *rates, const struct reading *reading,
                       const struct decay *decay)
{
    bool is_first = !rates->has_reading;

    for (size_t i = 0; i < reading->life_count; i++) {
        const struct life *life = &reading->lives[i];
        if (life->id <= 0 || life->id >= RATES_LIFECYCLES)
            continue;
        struct rates_lifecycle *one = &rates->lifecycles[life->id];
        for (size_t c = 0; c < COUNTS; c++)
            rates_add_count(rates, life->id, (enum count)c,
                            added(&one->last[c], life->counts[c], is_first), decay);
    }
    for (size_t f = 0; f < reading->find_count; f++) {
        const struct find *find = &reading->finds[f];
        int k = rates_kind(rates, find->tag);
        if (k < 0 || find->lifecycle < 0 || find->lifecycle >= RATES_LIFECYCLES)
            continue;
        struct rates_lifecycle *one = &rates->lifecycles[find->lifecycle];
        rates_add_finds(rates, find->lifecycle, k, added(&one->last_new[k], find->fresh, is_first),
                        added(&one->last_repeats[k], find->repeats, is_first), decay);
    }
    rates->has_reading = true;
}

static struct rates_epoch *epoch_of(struct rates *rates, int32_t id)
{
    for (size_t e = 0; e < RATES_EPOCHS; e++) {
        if (rates->epochs[e].id == id)
            return &rates->epochs[e];
    }
    return NULL;
}

static void follow(struct rates *rates, int32_t id, int64_t cursor)
{
    struct rates_epoch *epoch = epoch_of(rates, id);

    if (epoch == NULL)
        epoch = epoch_of(rates, 0); /* a free one; with none left it is not followed */
    if (epoch != NULL && epoch->id == 0)
        *epoch = (struct rates_epoch){.id = id, .cursor = cursor};
    if (id > rates->max_epoch)
        rates->max_epoch = id;
}

static void take_rows(struct rates *rates, PGresult *const *answers, const struct decay *decay)
{
    const PGresult *res = answers[ROWS];
    bool is_there[RATES_EPOCHS] = {0};

    for (int r = 0; r < PQntuples(res); r++) {
        struct rates_row row = {.id = pg_get_int8(res, r, 0),
                                .lifecycle = pg_get_int2(res, r, 1),
                                .events = pg_get_int4(res, r, 2),
                                .waited_us = pg_get_int4(res, r, 3) * 1e3,
                                .last_write_us = pg_get_int4(res, r, 4)};
        struct rates_epoch *epoch = epoch_of(rates, (int32_t)(row.id >> 32));
        for (int p = 0; p < 4; p++)
            row.phases_us[p] = pg_get_int4(res, r, 5 + p);
        if (epoch != NULL)
            rates_batch(rates, epoch, &row, decay);
    }
    rates_settle(rates, decay);
    /* Writers that are gone have told everything by the reading after the one that showed them gone. */
    res = answers[EPOCHS];
    for (int r = 0; r < PQntuples(res); r++) {
        int32_t id = pg_get_int4(res, r, 0);
        follow(rates, id, (int64_t)id << 32);
        struct rates_epoch *epoch = epoch_of(rates, id);
        if (epoch != NULL && !pg_get_bool(res, r, 1))
            is_there[epoch - rates->epochs] = true;
    }
    for (size_t e = 0; e < RATES_EPOCHS; e++) {
        struct rates_epoch *epoch = &rates->epochs[e];
        if (epoch->id == 0 || is_there[e])
            continue;
        if (epoch->is_gone && !epoch->is_pending)
            epoch->id = 0;
        epoch->is_gone = true;
    }
}

/* The first process of a board begins behind the batches that there are. */
static bool start_epochs(struct figures *figures, struct acc_error *err)
{
    PGresult *res = pg_query(&figures->pg, &ends_stmt, NULL, err);

    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        follow(figures->rates, pg_get_int4(res, r, 0), pg_get_int8(res, r, 1));
    PQclear(res);
    return res != NULL;
}

bool figures_read(struct figures *figures, struct acc_error *err)
{
    PGresult *answers[ANSWERS] = {0};
    struct reading reading = {.at_us = clock_wall_us()};
    struct rates *rates = figures->rates;
    int64_t began_us = clock_us();

    if (!control_read(&figures->control, &figures->pg, err))
        return false;
    if (!rates->has_reading && rates->max_epoch == 0 && !start_epochs(figures, err))
        return false;
    bool ok = ask(figures, answers, err);
    if (ok) {
        int64_t now_us = clock_us();
        double passed_s = rates->has_reading ? (double)(now_us - rates->at_us) / 1e6 : 0;
        struct decay decay = decay_of(passed_s > 0.001 ? passed_s : 0.001,
                                      (double)(now_us - rates->run_began_us) / 1e6);

        take_lives(figures, answers, &reading);
        take_finds(answers, &reading);
        count_unread(answers, &reading);
        count_claimed(figures->page, &reading);
        reading.generation = pg_get_int4(answers[GENERATION], 0, 0);
        reading.took_us = now_us - began_us;
        rates->at_us = now_us;
        if (rates->has_reading)
            rates_step(rates, &decay);
        add_counts(rates, &reading, &decay);
        take_rows(rates, answers, &decay);
        free(figures->reading.lives);
        free(figures->reading.finds);
        figures->reading = reading;
    }
    for (size_t a = 0; a < ANSWERS; a++)
        PQclear(answers[a]);
    return ok;
}
