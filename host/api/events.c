/* Events by state, one event, and dead ones by the signature of their error. */
#include "api/events.h"
#include "api/handlers.h"
#include "api/rows.h"

#include "base/hash.h"
#include "columns.h"
#include "parked.h"

#include <inttypes.h>
#include <stdlib.h>

#define SCAN_MOST 10000 /* parked events that are looked at for a signature, newest first */
#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* Lists */

void events_add(struct events *events, json_t *row, const uint8_t *fact)
{
    if (events->count == events->capacity) {
        events->capacity = events->capacity * 2 + 32;
        events->list = acc_realloc(events->list, events->capacity * sizeof(*events->list));
    }
    struct event *event = &events->list[events->count++];
    event->row = row;
    memcpy(event->fact, fact, sizeof(event->fact));
}

void events_clear(struct events *events)
{
    for (size_t i = 0; i < events->count; i++)
        json_decref(events->list[i].row);
    free(events->list);
    *events = (struct events){0};
}

json_t *events_take(struct events *events)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < events->count; i++)
        json_array_append(rows, events->list[i].row);
    events_clear(events);
    return rows;
}

static bool label_one(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct events *events = context;
    struct buf label = {0};

    (void)err;
    fact_label(fact->kind, fact->row, &label);
    for (size_t i = 0; i < events->count; i++) {
        json_t *row = events->list[i].row;

        if (memcmp(events->list[i].fact, fact->row->id, 16) != 0)
            continue;
        json_object_set_new(row, "label", json_stringn(label.data, label.size));
        if (json_is_null(json_object_get(row, "raised_at")) && fact->at[0] != '\0')
            json_object_set_new(row, "raised_at", json_string(fact->at));
    }
    buf_clear(&label);
    return true;
}

bool events_label(struct api_call *call, struct pg *pg, struct events *events,
                  struct acc_error *err)
{
    struct explorer_visit visit = {.context = events, .fact = label_one};
    uint8_t *ids = acc_alloc(events->count * 16 + 1);

    for (size_t i = 0; i < events->count; i++)
        memcpy(ids + 16 * i, events->list[i].fact, 16);
    bool ok = events->count == 0 || explorer_get(pg, &call->api->program->catalog, ids,
                                                 events->count, call->api->heap, &visit, err);
    free(ids);
    return ok;
}

/* Parked events */

/* The callback that failed, as the trace says. */
#define CALLBACK "substring(p.trace FROM E'\\nin ([a-z_]+) of ')"
#define FACT "replace(p.fact::text, '-', '')"
#define READY_AT ROWS_TIME("p.ready_at")
#define COLUMNS                                                                                    \
    "l.name || ':' || " FACT ", l.name, coalesce(k.name, '?'), " FACT ", NULL::text, p.state, "    \
    "l.priority::int8, p.attempts::int8, NULL::text, " READY_AT ", p.error, " CALLBACK             \
    ", " PARKED_GROUP ", p.generation::int8, p.history->0->>'worker'"
static const char *const column_names[] = {
    "id",        "lifecycle", "kind",  "fact", "label", "state",       "#priority", "#attempts",
    "raised_at", "ready_at",  "error", "in",   "sig",   "#generation", "worker",    NULL};
#define COLUMN_COUNT 15
#define KEY_COLUMNS ", " ROWS_US("p.ready_at") ", p.lifecycle::int8, p.fact"
#define JOINS " JOIN lifecycle l ON l.id = p.lifecycle LEFT JOIN kind k ON k.tag = l.kind "
/* Behind the key in $6, $7, $8, newest first, of the lifecycle $1 and the state $2. */
#define BEHIND                                                                                     \
    "FROM parked p WHERE p.state = $2 AND ($1::text IS NULL OR p.lifecycle = (SELECT id FROM "     \
    "lifecycle WHERE name = $1)) AND ($6::int8 IS NULL OR (p.ready_at, p.lifecycle, p.fact) < "    \
    "('epoch'::timestamptz + $6::int8 * interval '1 us', $7::int2, $8::uuid)) "
#define NEWEST "ORDER BY p.ready_at DESC, p.lifecycle DESC, p.fact DESC "

/* The place of a row in the order of pages. */
struct key {
    bool is_set;
    int64_t ready_us;
    int64_t lifecycle;
    uint8_t fact[16];
};

static bool read_key(const char *text, struct key *key)
{
    *key = (struct key){.is_set = text != NULL};
    return text == NULL ||
           (rows_number(&text, '-', &key->ready_us) && rows_number(&text, '-', &key->lifecycle) &&
            strlen(text) == 32 && hex_decode(text, 32, key->fact));
}

static char *key_text(const PGresult *res, int row, int column)
{
    return acc_format("%" PRId64 "-%" PRId64 "-%s", pg_get_int8(res, row, column),
                      pg_get_int8(res, row, column + 1),
                      fact_id_text((const uint8_t *)PQgetvalue(res, row, column + 2)));
}

static void page_args(struct pg_args *args, const struct parked_filter *filter,
                      const struct key *key)
{
    parked_args(filter, args, NULL, NULL);
    if (key->is_set) {
        pg_int8(args, key->ready_us);
        pg_int2(args, (int16_t)key->lifecycle);
        pg_uuid(args, key->fact);
    } else {
        pg_bytes(args, PG_INT8, NULL, 0);
        pg_bytes(args, PG_INT2, NULL, 0);
        pg_bytes(args, PG_UUID, NULL, 0);
    }
}

/* The key of the last row that a search for a signature has looked at, or NULL: it came to the end. Caller frees. */
static bool scan_end(struct pg *pg, const struct parked_filter *filter, const struct key *key,
                     char **next, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT " ROWS_US("p.ready_at") ", p.lifecycle::int8, p.fact " BEHIND NEWEST
                                               "OFFSET " TEXT_OF(SCAN_MOST) " - 1 LIMIT 1"};
    struct pg_args args = {0};

    page_args(&args, filter, key);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *next = PQntuples(res) > 0 ? key_text(res, 0, 0) : NULL;
    PQclear(res);
    return true;
}

static bool read_parked(struct pg *pg, const struct parked_filter *filter, const struct key *key,
                        int64_t limit, struct events *events, char **next, struct acc_error *err)
{
    static struct pg_stmt all = {.sql = "SELECT " COLUMNS KEY_COLUMNS
                                        " FROM (SELECT p.* " BEHIND NEWEST "LIMIT $9::int8) p" JOINS
                                        "WHERE " PARKED_WHERE " " NEWEST};
    static struct pg_stmt of_group = {
        .sql = "SELECT " COLUMNS KEY_COLUMNS " FROM (SELECT p.* " BEHIND NEWEST "LIMIT " TEXT_OF(
            SCAN_MOST) ") p" JOINS "WHERE " PARKED_WHERE " " NEWEST "LIMIT $9::int8"};
    struct pg_args args = {0};

    page_args(&args, filter, key);
    pg_int8(&args, limit);
    PGresult *res = pg_query(pg, filter->group == NULL ? &all : &of_group, &args, err);
    if (res == NULL)
        return false;
    int count = PQntuples(res);
    for (int r = 0; r < count; r++)
        events_add(events, rows_object(res, r, column_names),
                   (const uint8_t *)PQgetvalue(res, r, COLUMN_COUNT + 2));
    if (count == limit)
        *next = key_text(res, count - 1, COLUMN_COUNT);
    PQclear(res);
    return count == limit || filter->group == NULL || scan_end(pg, filter, key, next, err);
}

static bool list_parked(struct api_call *call, struct pg *pg, const struct parked_filter *filter,
                        const char *before, int64_t limit, struct events *events, char **next)
{
    struct acc_error err;
    struct key key;

    if (!read_key(before, &key)) {
        http_answer_error(call->request, 400, "bad_parameter", "before",
                          "before: wanted what a page of this state gave, got \"%.80s\"", before);
        return false;
    }
    if (read_parked(pg, filter, &key, limit, events, next, &err))
        return true;
    http_answer_failure(call->request, &err);
    return false;
}

/* The lifecycle that the parameter names, and its number; NULL and 0 when it is not given. false: answered. */
static bool lifecycle_param(struct api_call *call, struct pg *pg, const char **name,
                            int16_t *number)
{
    *name = rows_param(call, "lifecycle");
    *number = 0;
    return *name == NULL || api_lifecycle_number(call, pg, "lifecycle", *name, number);
}

static bool sig_param(struct api_call *call, const char **sig)
{
    *sig = rows_param(call, "sig");
    if (*sig == NULL || (strlen(*sig) == 8 && strspn(*sig, "0123456789abcdef") == 8))
        return true;
    http_answer_error(call->request, 400, "bad_parameter", "sig",
                      "sig: wanted 8 hex digits, got \"%.40s\"", *sig);
    return false;
}

static bool state_param(struct api_call *call, const char **state)
{
    static const char *const states[] = {"ready", "claimed", "delayed", "dead", "discarded"};
    const char *given = rows_param(call, "state");

    *state = given == NULL ? "dead" : given;
    return events_state(call, *state, states, sizeof(states) / sizeof(*states));
}

bool events_state(struct api_call *call, const char *state, const char *const *states, size_t count)
{
    struct buf wanted = {0};

    for (size_t i = 0; i < count; i++) {
        if (strcmp(states[i], state) == 0) {
            buf_clear(&wanted);
            return true;
        }
        buf_printf(&wanted, "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", states[i]);
    }
    http_answer_error(call->request, 422, "unknown_state", "state",
                      "state: wanted %s, got \"%.40s\"", wanted.data, state);
    buf_clear(&wanted);
    return false;
}

void api_events(struct api_call *call)
{
    struct events events = {0};
    struct parked_filter filter = {0};
    const char *before = rows_param(call, "before");
    int16_t lifecycle;
    char *next = NULL;
    struct acc_error err;
    int64_t limit;

    if (!state_param(call, &filter.state) || !sig_param(call, &filter.group) ||
        !api_int(call, "limit", 1, 1000, 25, &limit))
        return;
    bool is_claimed = strcmp(filter.state, "claimed") == 0;
    bool is_queued = is_claimed || strcmp(filter.state, "ready") == 0;
    struct pg *pg = api_reader(call);
    if (pg == NULL || !lifecycle_param(call, pg, &filter.lifecycle, &lifecycle))
        return;
    bool ok = is_queued && filter.group != NULL ? true
              : is_queued
                  ? events_queued(call, pg, is_claimed, lifecycle, before, limit, &events, &next)
                  : list_parked(call, pg, &filter, before, limit, &events, &next);
    if (ok && events_label(call, pg, &events, &err))
        rows_answer(call, events_take(&events), next);
    else if (ok)
        http_answer_failure(call->request, &err);
    events_clear(&events);
    free(next);
}

/* One event */

/* The trace's lines, without what is in the error already. */
static json_t *trace_lines(const char *trace)
{
    json_t *lines = json_array();

    for (const char *at = trace; *at != '\0';) {
        size_t size = strcspn(at, "\n");
        const char *line = at + strspn(at, "\t ");

        if (line < at + size && strncmp(line, "stack traceback:", 16) != 0)
            json_array_append_new(lines, json_stringn(line, (size_t)(at + size - line)));
        at += size + (at[size] == '\n');
    }
    return lines;
}

/* What became of each attempt; the newest is the event's state. */
static void add_results(json_t *attempts, const char *state)
{
    size_t i;
    json_t *attempt;

    json_array_foreach(attempts, i, attempt)
    {
        bool is_last = i == 0 && (strcmp(state, "dead") == 0 || strcmp(state, "discarded") == 0);
        json_object_set_new(attempt, "result", json_string(is_last ? "failed, dead" : "failed"));
    }
}

static bool read_one(struct pg *pg, const struct parked_key *key, struct events *events,
                     struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT " COLUMNS ", p.trace, p.history::text, " ROWS_TIME(
            "p.first_at") ", " ROWS_TIME("p.last_at") " FROM parked p" JOINS "WHERE " PARKED_WHERE};
    struct parked_filter filter = {.keys = key, .key_count = 1};
    struct buf lifecycles = {0};
    struct buf facts = {0};
    struct pg_args args = {0};

    parked_args(&filter, &args, &lifecycles, &facts);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    buf_clear(&lifecycles);
    buf_clear(&facts);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0) {
        json_t *row = rows_object(res, 0, column_names);
        json_t *attempts = json_loads(pg_get_text(res, 0, COLUMN_COUNT + 1), JSON_DECODE_ANY, NULL);

        add_results(attempts, json_string_value(json_object_get(row, "state")));
        json_object_set_new(row, "trace", trace_lines(pg_get_text(res, 0, COLUMN_COUNT)));
        json_object_set_new(row, "attempts", attempts);
        json_object_set_new(row, "first_at", json_string(pg_get_text(res, 0, COLUMN_COUNT + 2)));
        json_object_set_new(row, "last_at", json_string(pg_get_text(res, 0, COLUMN_COUNT + 3)));
        events_add(events, row, key->fact);
    }
    PQclear(res);
    return true;
}

/* LIFECYCLE:FACTID with all digits; false: something else. */
static bool read_id(const struct program *program, const char *text,
                    const struct lifecycle **lifecycle, uint8_t *fact)
{
    const char *colon = strchr(text, ':');
    char name[KIND_NAME_MAX + 2];

    if (colon == NULL || (size_t)(colon - text) >= sizeof(name) || strlen(colon + 1) != 32)
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)(colon - text), text);
    *lifecycle = program_find(program, name);
    return *lifecycle != NULL && (*lifecycle)->id != 0 && hex_decode(colon + 1, 32, fact);
}

/* Looks among the parked ones, then in packets. No event is no failure. */
static bool find_one(struct api_call *call, struct pg *pg, const char *id, struct events *events,
                     struct acc_error *err)
{
    const struct lifecycle *lifecycle;
    struct parked_key key;
    bool found = false;

    if (parked_find(pg, id, &key, err)) {
        if (!read_one(pg, &key, events, err))
            return false;
    } else if (err->code != ACC_EINPUT) {
        return false;
    }
    if (events->count > 0 || !read_id(call->api->program, id, &lifecycle, key.fact))
        return true;
    if (!event_queued(call, pg, lifecycle, key.fact, events, &found, err))
        return false;
    if (found)
        json_object_update_new(events->list[0].row, json_pack("{s:[], s:[], s:n, s:n}", "trace",
                                                              "attempts", "first_at", "last_at"));
    return true;
}

void api_event(struct api_call *call)
{
    const char *id = api_part(call, 0);
    struct events events = {0};
    struct acc_error err;
    struct pg *pg = api_reader(call);

    if (pg == NULL)
        return;
    bool ok = find_one(call, pg, id, &events, &err) && events_label(call, pg, &events, &err);
    if (!ok)
        http_answer_failure(call->request, &err);
    else if (events.count == 0)
        http_answer_error(
            call->request, 404, "not_found", "id",
            "\"%.100s\": no such event waits or has failed: wanted LIFECYCLE:FACTID of "
            "one that is not done",
            id);
    else
        http_answer_json(call->request, 200, json_incref(events.list[0].row));
    events_clear(&events);
}

/* Groups */

#define NEWEST_DEAD                                                                                \
    "SELECT * FROM parked WHERE state = 'dead' AND ($1::text IS NULL OR lifecycle = "              \
    "(SELECT id FROM lifecycle WHERE name = $1)) ORDER BY ready_at DESC LIMIT " TEXT_OF(SCAN_MOST)
#define IN_CURRENT_MODULES                                                                         \
    "(min(p.first_at) >= (SELECT at FROM generation ORDER BY id DESC LIMIT 1))::text"
#define GENERATIONS "array_to_json(array_agg(DISTINCT p.generation ORDER BY p.generation))::text"
#define FIRST_AT ROWS_TIME("min(p.first_at)")
#define LAST_AT ROWS_TIME("max(p.last_at)")
#define GROUP_COLUMNS                                                                              \
    PARKED_GROUP ", count(*), " PARKED_MESSAGE ", l.name, min(" CALLBACK "), " FIRST_AT            \
                 ", " LAST_AT ", " GENERATIONS ", " IN_CURRENT_MODULES

void api_event_groups(struct api_call *call)
{
    /* A group is fresh when its first failure came after the current modules did. */
    static struct pg_stmt stmt = {.sql = "WITH p AS (" NEWEST_DEAD ") SELECT " GROUP_COLUMNS
                                         " FROM p JOIN lifecycle l ON l.id = p.lifecycle "
                                         "GROUP BY l.name, " PARKED_SIGNATURE
                                         " ORDER BY 2 DESC, 1 LIMIT 1000"};
    static const char *const names[] = {"sig",      "#n",      "message",      "lifecycle", "in",
                                        "first_at", "last_at", "{generations", "{fresh",    NULL};
    struct pg_args args = {0};
    struct acc_error err;
    const char *lifecycle;
    int16_t number;
    struct pg *pg = api_reader(call);

    if (pg == NULL || !lifecycle_param(call, pg, &lifecycle, &number))
        return;
    pg_text(&args, lifecycle);
    PGresult *res = pg_query(pg, &stmt, &args, &err);
    if (res == NULL)
        http_answer_failure(call->request, &err);
    else
        http_answer_json(
            call->request, 200,
            json_pack("{s:o, s:i}", "groups", rows_objects(res, names), "over", SCAN_MOST));
    PQclear(res);
}
