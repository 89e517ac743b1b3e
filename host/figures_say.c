/*
 * Messages of the stream that are no documents: a sample of new facts, counts of events and new signatures of errors,
 * workers that changed, reloads, the audit.
 */
#include "figures.h"

#include "base/clock.h"
#include "columns.h"
#include "explorer.h"
#include "parked.h"

#include <inttypes.h>
#include <stdlib.h>

#define FACTS_SHOWN 5
#define SIGNATURES_EACH_US 5000000
#define SIGNATURES_KEPT 64
#define AUDIT_MOST 20
#define AWAITED_MOST 100

struct said {
    struct acc_heap heap;
    int64_t sample_us; /* wall clock of the newest sample shown */
    int64_t facts;     /* when the last message was said */
    int64_t failed;    /* attempts that had failed by the last look at signatures */
    int64_t looked_us; /* when that was, monotonic */
    char signatures[SIGNATURES_KEPT][9];
    uint32_t signature_count; /* ever */
    json_t *workers;          /* as last said, by id */
    struct buf events;        /* counts as last said */
    json_t *awaited; /* audit rows whose result is still to come: number to result as last said */
};

static void say(struct figures *figures, enum board_topic topic, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);

    json_decref(message);
    if (text == NULL)
        return;
    board_say(figures->options->board, topic, text, strlen(text));
    free(text);
}

void figures_say_open(struct figures *figures)
{
    struct totals totals;

    figures->said = acc_zalloc(sizeof(*figures->said));
    heap_init(&figures->said->heap, 0);
    figures_totals(figures, &totals);
    figures->said->facts = totals.facts;
    figures->said->failed = totals.failed;
    figures->said->sample_us = clock_wall_us();
    figures->said->looked_us = clock_us();
    figures->said->workers = json_object();
    figures->said->awaited = json_object();
}

void figures_say_close(struct figures *figures)
{
    if (figures->said == NULL)
        return;
    json_decref(figures->said->workers);
    json_decref(figures->said->awaited);
    buf_clear(&figures->said->events);
    free(figures->said);
}

/* Facts */

struct shown {
    struct figures *figures;
    struct page_sample samples[FACTS_SHOWN];
    size_t count;
    json_t *rows;
};

/* The newest samples that the workers of this machine left. */
static void gather(struct figures *figures, struct shown *shown)
{
    const struct page *page = figures->page;
    int64_t newest_us = figures->said->sample_us;

    for (size_t s = 0; s < PAGE_SLOTS; s++) {
        for (size_t i = 0; page->slots[s].pid != 0 && i < PAGE_SAMPLES; i++) {
            const struct page_sample *sample = &page->slots[s].samples[i];
            int64_t at_us = __atomic_load_n(&sample->at_us, __ATOMIC_ACQUIRE);
            if (at_us <= figures->said->sample_us)
                continue;
            if (at_us > newest_us)
                newest_us = at_us;
            size_t place = shown->count < FACTS_SHOWN ? shown->count++ : 0;
            for (size_t k = 0; place == 0 && k < shown->count; k++) {
                if (shown->samples[k].at_us < shown->samples[place].at_us)
                    place = k;
            }
            if (shown->samples[place].at_us < at_us)
                shown->samples[place] = *sample;
        }
    }
    figures->said->sample_us = newest_us;
}

static bool show_one(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct shown *shown = context;
    struct buf label = {0};

    (void)err;
    fact_label(fact->kind, fact->row, &label);
    json_t *row = json_pack("{s:s, s:s, s:s%, s:s?, s:s}", "id", fact_id_text(fact->row->id),
                            "kind", fact->kind->name, "label", label.data == NULL ? "" : label.data,
                            label.size, "by", fact->lifecycle, "found_at", fact->at);
    if (row != NULL)
        json_array_append_new(shown->rows, row);
    buf_clear(&label);
    return true;
}

static bool say_facts(struct figures *figures, const struct totals *totals, struct acc_error *err)
{
    struct said *said = figures->said;
    struct shown shown = {.figures = figures, .rows = json_array()};
    struct explorer_visit visit = {.context = &shown, .fact = show_one};
    uint8_t ids[16 * FACTS_SHOWN];
    int64_t fresh = totals->facts - said->facts;

    said->facts = totals->facts;
    gather(figures, &shown);
    for (size_t i = 0; i < shown.count; i++)
        memcpy(ids + 16 * i, shown.samples[i].id, 16);
    heap_reset(&said->heap);
    bool ok = shown.count == 0 || explorer_get(&figures->pg, &figures->program->catalog, ids,
                                               shown.count, &said->heap, &visit, err);
    if (ok && fresh > 0)
        say(figures, TOPIC_FACTS,
            json_pack("{s:i, s:I, s:O}", "shown", (int)json_array_size(shown.rows), "of",
                      (json_int_t)fresh, "rows", shown.rows));
    json_decref(shown.rows);
    return ok;
}

/* Events */

static bool is_known(struct said *said, const char *signature)
{
    for (uint32_t i = 0; i < said->signature_count && i < SIGNATURES_KEPT; i++) {
        if (strcmp(said->signatures[i], signature) == 0)
            return true;
    }
    snprintf(said->signatures[said->signature_count++ % SIGNATURES_KEPT],
             sizeof(said->signatures[0]), "%.8s", signature);
    return false;
}

/* Signatures of what failed lately that were not there before; asked for only when attempts have failed. */
static bool new_signatures(struct figures *figures, json_t *list, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT l.name, " PARKED_GROUP ", " PARKED_MESSAGE
               ", count(*) FROM (SELECT * FROM parked WHERE last_at > now() - $1::int8 * interval "
               "'1 ms' ORDER BY last_at DESC LIMIT 200) p JOIN lifecycle l ON l.id = p.lifecycle "
               "GROUP BY 1, 2"};
    struct said *said = figures->said;
    struct pg_args args = {0};
    int64_t now_us = clock_us();

    pg_int8(&args, (now_us - said->looked_us) / 1000 + 2000);
    PGresult *res = pg_query(&figures->pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        if (is_known(said, pg_get_text(res, r, 1)))
            continue;
        json_t *one = json_pack("{s:s, s:s, s:s, s:I}", "lifecycle", pg_get_text(res, r, 0), "sig",
                                pg_get_text(res, r, 1), "message", pg_get_text(res, r, 2), "n",
                                (json_int_t)pg_get_int8(res, r, 3));
        if (one != NULL)
            json_array_append_new(list, one);
    }
    PQclear(res);
    said->looked_us = now_us;
    return true;
}

static bool say_events(struct figures *figures, const struct totals *totals, struct acc_error *err)
{
    struct said *said = figures->said;
    json_t *signatures = json_array();
    bool has_failed = totals->failed != said->failed;
    struct buf now = {0};
    bool ok = true;

    if (has_failed && clock_us() - said->looked_us > SIGNATURES_EACH_US) {
        ok = new_signatures(figures, signatures, err);
        if (ok)
            said->failed = totals->failed;
    }
    buf_printf(&now, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, totals->ready,
               totals->claimed, totals->delayed, totals->dead, totals->discarded);
    if (ok && (json_array_size(signatures) > 0 || now.size != said->events.size ||
               memcmp(now.data, said->events.data, now.size) != 0)) {
        say(figures, TOPIC_EVENTS,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:O}", "ready", (json_int_t)totals->ready,
                      "claimed", (json_int_t)totals->claimed, "delayed",
                      (json_int_t)totals->delayed, "dead", (json_int_t)totals->dead, "discarded",
                      (json_int_t)totals->discarded, "signatures", signatures));
        buf_reset(&said->events);
        buf_add(&said->events, now.data, now.size);
    }
    buf_clear(&now);
    json_decref(signatures);
    return ok;
}

/* Workers that came, went, changed generation or began to drain or pause. */
static void say_workers(struct figures *figures)
{
    static const char *const members[] = {"id", "host", "pid", "generation", "restarts"};
    json_t *all = figures_workers_json(figures);
    json_t *now = json_object();
    json_t *changed = json_array();
    json_t *gone = json_array();
    struct worker_counts counts;
    size_t i;
    json_t *row;
    const char *id;

    figures_workers(figures, &counts);
    json_array_foreach(all, i, row)
    {
        const char *state = json_string_value(json_object_get(row, "state"));
        bool is_usual = strcmp(state, "working") == 0 || strcmp(state, "waiting") == 0;
        json_t *one = json_object();
        for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++)
            json_object_set(one, members[m], json_object_get(row, members[m]));
        json_object_set_new(one, "state", json_string(is_usual ? "serving" : state));
        id = json_string_value(json_object_get(row, "id"));
        if (!json_equal(one, json_object_get(figures->said->workers, id)))
            json_array_append(changed, one);
        json_object_set_new(now, id, one);
    }
    json_object_foreach(figures->said->workers, id, row)
    {
        if (json_object_get(now, id) == NULL)
            json_array_append_new(gone, json_string(id));
    }
    if (json_array_size(changed) + json_array_size(gone) > 0)
        say(figures, TOPIC_WORKERS,
            json_pack("{s:i, s:i, s:i, s:O, s:O}", "alive", counts.alive, "want", counts.want,
                      "old", counts.old, "changed", changed, "gone", gone));
    json_decref(figures->said->workers);
    figures->said->workers = now;
    json_decref(changed);
    json_decref(gone);
    json_decref(all);
}

/* A generation that came, or a reload that was refused; also a mark in the charts. */
static void say_reload(struct figures *figures)
{
    struct rates *rates = figures->rates;
    int32_t generation = figures->reading.generation;
    uint64_t refused = __atomic_load_n(&figures->page->refused, __ATOMIC_ACQUIRE);
    char text[64];

    if (generation == rates->generation && refused == rates->refused)
        return;
    if (rates->generation != 0 && generation != rates->generation) {
        snprintf(text, sizeof(text), "generation %d", (int)generation);
        board_mark(figures->options->board, clock_wall_us() / 1000000, text);
    }
    if (rates->generation != 0 || refused != rates->refused)
        say(figures, TOPIC_RELOAD,
            json_pack("{s:i, s:b, s:o}", "generation", (int)generation, "taken",
                      (int)(refused == rates->refused), "error",
                      refused == rates->refused ? json_null()
                                                : json_string(figures->page->refused_text)));
    rates->generation = generation;
    rates->refused = refused;
}

#define AUDIT_ROW                                                                                  \
    "SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), who, act, "   \
    "what, reason, result FROM audit "

static json_t *audit_row(const PGresult *res, int r)
{
    static const char *const members[] = {"at", "who", "act", "what", "reason", "result"};
    json_t *row = json_pack("{s:I}", "id", (json_int_t)pg_get_int8(res, r, 0));

    for (int m = 0; m < 6; m++)
        json_object_set_new(row, members[m], json_string(pg_get_text(res, r, 1 + m)));
    return row;
}

/* Whether more is told later of a row whose result is this now: of a retry of something and of a benchmark that runs. */
static bool is_open(const char *act, const char *result)
{
    return strcmp(act, "bench") == 0
               ? strcmp(result, "running") == 0
               : strcmp(act, "queue retry") == 0 && strncmp(result, "0 ", 2) != 0 &&
                     strchr(result, ';') == NULL;
}

/* Such a row is looked at again until more is told. Of too many the oldest are not: their numbers come first. */
static void await(struct figures *figures, const PGresult *res, int r)
{
    json_t *awaited = figures->said->awaited;
    const char *result = pg_get_text(res, r, 6);
    char number[24];

    if (!is_open(pg_get_text(res, r, 3), result))
        return;
    if (json_object_size(awaited) == AWAITED_MOST)
        json_object_del(awaited, json_object_iter_key(json_object_iter(awaited)));
    snprintf(number, sizeof(number), "%" PRId64, pg_get_int8(res, r, 0));
    json_object_set_new(awaited, number, json_string(result));
}

/* Rows whose result has come since they were said. */
static bool add_results(struct figures *figures, json_t *rows, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = AUDIT_ROW "WHERE id = ANY($1::int8[]) ORDER BY id"};
    json_t *awaited = figures->said->awaited;
    struct pg_args args = {0};
    struct buf ids = {0};
    const char *number;
    json_t *result;

    if (json_object_size(awaited) == 0)
        return true;
    pg_array_begin(&ids, PG_INT8);
    json_object_foreach(awaited, number, result)
    {
        pg_array_int8(&ids, strtoll(number, NULL, 10));
    }
    pg_array_end(&ids, 0);
    pg_array(&args, PG_INT8_ARRAY, &ids);
    PGresult *res = pg_query(&figures->pg, &stmt, &args, err);
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        char key[24];

        snprintf(key, sizeof(key), "%" PRId64, pg_get_int8(res, r, 0));
        result = json_object_get(awaited, key);
        if (result == NULL || strcmp(json_string_value(result), pg_get_text(res, r, 6)) == 0)
            continue;
        json_array_append_new(rows, audit_row(res, r));
        json_object_del(awaited, key);
    }
    PQclear(res);
    buf_clear(&ids);
    return res != NULL;
}

/* A new board begins behind what there is. */
static bool begin_audit(struct figures *figures, struct acc_error *err)
{
    static struct pg_stmt newest = {.sql = "SELECT coalesce(max(id), 0) FROM audit"};
    PGresult *res = pg_query(&figures->pg, &newest, NULL, err);

    if (res == NULL)
        return false;
    figures->rates->audit_id = pg_get_int8(res, 0, 0);
    figures->rates->has_audit = true;
    PQclear(res);
    return true;
}

/* New rows of the audit, and those whose result is new. */
static bool say_audit(struct figures *figures, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql =
                                      AUDIT_ROW "WHERE id > $1::int8 ORDER BY id LIMIT $2::int8"};
    struct rates *rates = figures->rates;
    struct pg_args args = {0};

    if (!rates->has_audit)
        return begin_audit(figures, err);
    json_t *rows = json_array();
    pg_int8(&args, rates->audit_id);
    pg_int8(&args, AUDIT_MOST);
    bool ok = add_results(figures, rows, err);
    PGresult *res = ok ? pg_query(&figures->pg, &stmt, &args, err) : NULL;
    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        rates->audit_id = pg_get_int8(res, r, 0);
        json_array_append_new(rows, audit_row(res, r));
        await(figures, res, r);
    }
    if (json_array_size(rows) > 0)
        say(figures, TOPIC_AUDIT, json_pack("{s:O}", "rows", rows));
    PQclear(res);
    json_decref(rows);
    return res != NULL;
}

bool figures_say(struct figures *figures, struct acc_error *err)
{
    struct totals totals;

    figures_totals(figures, &totals);
    say_reload(figures);
    say_workers(figures);
    return say_facts(figures, &totals, err) && say_events(figures, &totals, err) &&
           say_audit(figures, err);
}
