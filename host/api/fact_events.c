/* The events of a fact: one for each lifecycle that its kind wakes, and where it is. */
#include "api/events.h"
#include "api/fact_call.h"
#include "api/handlers.h"
#include "effects.h"

#include <stdlib.h>
#include <string.h>

#define PLACE_PACKETS_MOST 20000 /* of a lifecycle; beyond it a place in the queue is not told */

/* What is known of the events of one fact. */
struct look {
    struct api_call *call;
    const struct fact_call *fact;
    struct effects effects;
    int64_t batch; /* that wrote the fact */
    int64_t buckets;
};

static json_t *row_of(const char *lifecycle, const uint8_t *fact, const char *state)
{
    char *id = acc_format("%s:%s", lifecycle, fact_id_text(fact));
    json_t *row = json_pack("{s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:i}", "id", id, "lifecycle",
                            lifecycle, "state", state, "outcome", "reason", "friends", "took_ms",
                            "place", "attempts", 1);

    free(id);
    return row;
}

static void set_text(json_t *row, const char *name, const char *text)
{
    json_object_set_new(row, name, json_string(text));
}

/* How many events of the lifecycle are older, when that is quickly counted. */
static bool set_place(const struct look *look, const struct lifecycle *lifecycle,
                      const char *raised_at, json_t *row, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT count(*), coalesce(sum(n) FILTER (WHERE born < $2::text::timestamptz), "
               "0)::int8 FROM (SELECT n, born FROM packet WHERE lifecycle = $1 LIMIT $3) p"};
    struct pg_args args = {0};

    pg_int2(&args, lifecycle->id);
    pg_text(&args, raised_at);
    pg_int8(&args, PLACE_PACKETS_MOST + 1);
    PGresult *res = pg_query(look->fact->pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    if (pg_get_int8(res, 0, 0) <= PLACE_PACKETS_MOST)
        json_object_set_new(row, "place", json_integer(pg_get_int8(res, 0, 1) + 1));
    PQclear(res);
    return true;
}

/* In a packet: ready, or in a worker's hands. *row stays NULL when it is in none that was searched. */
static bool look_in_packets(const struct look *look, const struct lifecycle *lifecycle,
                            json_t **row, struct acc_error *err)
{
    struct events events = {0};
    bool found = false;
    bool ok =
        event_queued(look->call, look->fact->pg, lifecycle, look->fact->id, &events, &found, err);

    if (ok && found) {
        const json_t *queued = events.list[0].row;
        const char *state = json_string_value(json_object_get(queued, "state"));
        const char *raised_at = json_string_value(json_object_get(queued, "raised_at"));

        *row = row_of(lifecycle->name, look->fact->id, state);
        json_object_set(*row, "attempts", json_object_get(queued, "attempts"));
        if (strcmp(state, "ready") == 0)
            ok = set_place(look, lifecycle, raised_at, *row, err);
    }
    events_clear(&events);
    return ok;
}

/* Whether packets that were not searched may hold it. */
static bool is_unsearched(const struct look *look, const struct lifecycle *lifecycle,
                          bool *unsearched, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT count(*) FROM (SELECT FROM packet WHERE bucket = $1 AND lifecycle = $2 "
               "LIMIT $3) p"};
    struct pg_args args = {0};

    pg_int2(&args, (int16_t)bucket_of(look->fact->id, (int)look->buckets));
    pg_int2(&args, lifecycle->id);
    pg_int8(&args, EVENT_SEARCH_MOST);
    PGresult *res = pg_query(look->fact->pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *unsearched = pg_get_int8(res, 0, 0) == EVENT_SEARCH_MOST;
    PQclear(res);
    return true;
}

/* The share of an event in its batch's time. */
static bool set_took(const struct look *look, int64_t batch, json_t *row, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT (SELECT sum(p) FROM unnest(phases_us) p)::float8 / greatest(events, 1) / "
               "1000 FROM batch WHERE id = $1"};
    struct pg_args args = {0};
    uint64_t bits;
    double ms;

    pg_int8(&args, batch);
    PGresult *res = pg_query(look->fact->pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0)) {
        bits = (uint64_t)pg_get_int8(res, 0, 0); /* a float8 travels as its bits */
        memcpy(&ms, &bits, sizeof(ms));
        json_object_set_new(row, "took_ms", json_real(ms));
    }
    PQclear(res);
    return true;
}

/* Neither parked nor in a packet: done. Of that no row is kept; what it found tells of it. */
static bool look_at_effects(const struct look *look, const struct lifecycle *lifecycle,
                            json_t **row, struct acc_error *err)
{
    bool unsearched;
    bool is_known;
    bool has;
    int64_t batch;

    if (!is_unsearched(look, lifecycle, &unsearched, err) ||
        !effects_batch(&look->effects, look->fact->id, lifecycle->id, &has, &batch, &is_known, err))
        return false;
    *row = row_of(lifecycle->name, look->fact->id, unsearched && !has ? "unknown" : "done");
    if (is_known && has) {
        set_text(*row, "outcome", "found");
        return set_took(look, batch, *row, err);
    }
    set_text(*row, "reason",
             unsearched ? "more packets wait than are searched: it is done, or in one of them"
             : is_known ? "empty, early or late: a dry run tells which"
                        : "what it found takes long to look for: accrete index explorer makes it "
                          "quick");
    return true;
}

static bool look_at(const struct look *look, const PGresult *res, int r, json_t *list,
                    struct acc_error *err)
{
    const char *name = pg_get_text(res, r, 1);
    const struct lifecycle *lifecycle =
        program_by_id(look->call->api->program, pg_get_int2(res, r, 0));
    const char *state = PQgetisnull(res, r, 2) ? NULL : pg_get_text(res, r, 2);
    json_t *row = NULL;
    bool ok = true;

    if (lifecycle != NULL && (state == NULL || strcmp(state, "queued") == 0))
        ok = look_in_packets(look, lifecycle, &row, err);
    if (ok && row == NULL && state != NULL) {
        row = row_of(name, look->fact->id, strcmp(state, "queued") == 0 ? "ready" : state);
        json_object_set_new(row, "attempts", json_integer(pg_get_int4(res, r, 3)));
        set_text(row, "reason", pg_get_text(res, r, 4));
    } else if (ok && row == NULL && pg_get_bool(res, r, 5)) {
        row = row_of(name, look->fact->id, "ready");
        set_text(row, "reason", "waits for the replay over old facts");
    } else if (ok && row == NULL && lifecycle != NULL) {
        ok = look_at_effects(look, lifecycle, &row, err);
    }
    if (row != NULL)
        json_array_append_new(list, row);
    return ok;
}

static bool read_batch(struct pg *pg, const struct kind *kind, const uint8_t *id, int64_t *batch,
                       struct acc_error *err)
{
    struct pg_args args = {0};
    char *sql = acc_format("SELECT _batch FROM %s WHERE _id = $1", kind->table);

    pg_uuid(&args, id);
    PGresult *res = pg_exec(pg, sql, &args, err);
    free(sql);
    if (res == NULL)
        return false;
    *batch = PQntuples(res) == 0 ? 0 : pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

static bool read_events(struct look *look, json_t *list, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT l.id, l.name, p.state, p.attempts, p.error, EXISTS (SELECT FROM replay r "
               "JOIN replay_bound b ON b.lifecycle = r.lifecycle WHERE r.lifecycle = l.id AND "
               "r.bucket = $3 AND r.cursor < $2 AND b.epoch = $4::int8 >> 32 AND b.last_batch >= "
               "$4) FROM lifecycle l LEFT JOIN parked p ON p.lifecycle = l.id AND p.fact = $2 "
               "WHERE l.kind = $1 AND l.active ORDER BY l.name"};
    const struct fact_call *fact = look->fact;
    struct pg_args args = {0};
    int64_t owned;

    if (!queue_buckets(fact->pg, &look->buckets, &owned, err) ||
        !read_batch(fact->pg, fact->kind, fact->id, &look->batch, err))
        return false;
    pg_int4(&args, fact->kind->tag);
    pg_uuid(&args, fact->id);
    pg_int2(&args, (int16_t)bucket_of(fact->id, (int)look->buckets));
    pg_int8(&args, look->batch);
    PGresult *res = pg_query(fact->pg, &stmt, &args, err);
    bool ok = res != NULL;
    for (int r = 0; ok && r < PQntuples(res); r++)
        ok = look_at(look, res, r, list, err);
    PQclear(res);
    return ok;
}

void api_fact_events(struct api_call *call)
{
    struct look look = {.call = call};
    json_t *list = json_array();
    struct fact_call fact;
    struct acc_error err;

    if (!fact_of_path(call, &fact)) {
        json_decref(list);
        return;
    }
    look.fact = &fact;
    look.effects = (struct effects){fact.pg, &call->api->program->catalog,
                                    call->api->app->settings.http.read_timeout_ms};
    if (read_events(&look, list, &err)) {
        http_answer_json(call->request, 200, list);
        return;
    }
    json_decref(list);
    fact_failure(call, &err);
}
