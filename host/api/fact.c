/* One fact: what it is, what it was found from, what came of it. */
#include "api/fact_call.h"
#include "api/handlers.h"
#include "api/rows.h"
#include "base/hash.h"
#include "effects.h"
#include "formats/dump_json.h"
#include "identity.h"
#include "provenance.h"

#include <stdlib.h>
#include <string.h>

#define CAUSES_NODES 500
#define GROUPS_MAX 256
#define PAGE_DEFAULT 25

static void add_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    if (text == NULL || text[0] == '\0')
        buf_text(out, "null");
    else
        dump_json_text(out, text, strlen(text));
}

static void add_ids(struct buf *out, const char *name, const uint8_t *ids, int count)
{
    buf_printf(out, ",\"%s\":[", name);
    for (int i = 0; i < count; i++)
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", fact_id_text(ids + (size_t)i * 16));
    buf_byte(out, ']');
}

/* The fact itself */

struct one_fact {
    struct buf fields;
    bool is_read;
    int64_t batch;
};

static bool read_fact(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct one_fact *one = context;

    (void)err;
    fact_fields(fact->kind, NULL, fact, &one->fields);
    one->is_read = true;
    one->batch = fact->batch;
    return true;
}

/*
 * The batch that wrote it: number, events, found, new, phases in ms, worker; and the record of ingest that it was sent
 * with. A batch that names none is of files that were written together: then the record of a file of the kind whose batches
 * it lies between or that it ended (within the same moments, which an index knows), if it can be one only.
 */
static json_t *read_batch(struct pg *pg, const struct kind *kind, int64_t batch,
                          struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql =
            "SELECT b.events::int8, b.found::int8, b.new::int8, b.phases_us[1]::int8, "
            "b.phases_us[2]::int8, b.phases_us[3]::int8, b.phases_us[4]::int8, "
            "e.host || ':' || e.pid, CASE WHEN b.ingest IS NULL THEN i.count ELSE 1 END, "
            "coalesce(b.ingest, i.id) FROM batch b LEFT JOIN epoch e ON e.id = "
            "b.id >> 32 LEFT JOIN LATERAL (SELECT count(*)::int8 AS count, max(i.id)::int8 AS id "
            "FROM ingest i WHERE b.lifecycle = 0 AND b.ingest IS NULL AND ((i.at BETWEEN b.at - "
            "interval '10 s' AND "
            "b.at + interval '10 s' AND i.batch = b.id) OR (i.first_batch BETWEEN b.id >> 32 << 32 "
            "AND b.id AND i.batch >= b.id)) AND i.kind IN ($2, '')) i ON true WHERE b.id = $1"};
    static const char *const phases[] = {"load", "load_friends", "process_data", "insert"};
    struct pg_args args = {0};
    char number[24];

    pg_int8(&args, batch);
    pg_text(&args, kind->name);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return NULL;
    snprintf(number, sizeof(number), "%lld", (long long)batch);
    json_t *known = json_object();
    json_t *of_batch = json_pack("{s:s}", "id", number);
    json_t *phases_ms = json_object();
    if (PQntuples(res) > 0) {
        json_object_set_new(of_batch, "events", json_integer(pg_get_int8(res, 0, 0)));
        json_object_set_new(of_batch, "found", json_integer(pg_get_int8(res, 0, 1)));
        json_object_set_new(of_batch, "new", json_integer(pg_get_int8(res, 0, 2)));
        for (int i = 0; i < 4; i++)
            json_object_set_new(phases_ms, phases[i],
                                PQgetisnull(res, 0, 3 + i)
                                    ? json_null()
                                    : json_real((double)pg_get_int8(res, 0, 3 + i) / 1000));
        if (!PQgetisnull(res, 0, 7))
            json_object_set_new(known, "worker", json_string(pg_get_text(res, 0, 7)));
        if (pg_get_int8(res, 0, 8) == 1) {
            snprintf(number, sizeof(number), "%lld", (long long)pg_get_int8(res, 0, 9));
            json_object_set_new(known, "ingest", json_string(number));
        }
    }
    json_object_set_new(known, "batch", of_batch);
    json_object_set_new(known, "phases_ms", phases_ms);
    PQclear(res);
    return known;
}

/* Appends `,"name":value` or null. */
static void add_member(struct buf *out, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
    char *text = value == NULL ? NULL : json_dumps(value, flags);

    buf_printf(out, ",\"%s\":%s", name, text == NULL ? "null" : text);
    free(text);
}

static void answer_fact(struct api_call *call, const struct fact_call *fact,
                        const struct one_fact *one, const struct provenance_node *node,
                        const json_t *batch)
{
    const struct kind *kind = fact->kind;
    struct buf out = {0};

    buf_printf(&out, "{\"id\":\"%s\",\"kind\":\"%s\",\"fields\":%s,\"unique_on\":[",
               fact_id_text(fact->id), kind->name, one->fields.data);
    for (size_t f = 0, n = 0; f < kind->field_count; f++)
        if (kind->fields[f].is_unique)
            buf_printf(&out, "%s\"%s\"", n++ == 0 ? "" : ",", kind->fields[f].name);
    buf_text(&out, "],\"repeats\":null"); /* counted by lifecycle and kind, not by fact */
    add_text(&out, "by", node->lifecycle);
    buf_printf(&out, ",\"generation\":%d", (int)node->generation);
    add_text(&out, "found_at", node->at);
    add_member(&out, batch, "worker");
    buf_text(&out, ",\"attempt\":null"); /* done events leave no row */
    add_member(&out, batch, "batch");
    add_member(&out, batch, "phases_ms");
    add_text(&out, "data", node->has_data ? fact_id_text(node->data) : NULL);
    add_ids(&out, "friends", node->friends, node->friend_count);
    buf_printf(&out, ",\"friend_count\":%lld", (long long)node->friend_total);
    add_member(&out, batch, "ingest");
    buf_byte(&out, '}');
    fact_answer(call, &out);
    buf_clear(&out);
}

void api_fact(struct api_call *call)
{
    const struct catalog *catalog = &call->api->program->catalog;
    struct one_fact one = {0};
    struct explorer_visit visit = {&one, read_fact};
    struct provenance provenance;
    struct fact_call fact;
    struct acc_error err;
    json_t *batch = NULL;

    if (!fact_of_path(call, &fact))
        return;
    provenance_init(&provenance, fact.pg, catalog, 1);
    if (!explorer_get(fact.pg, catalog, fact.id, 1, call->api->heap, &visit, &err) ||
        !provenance_up(&provenance, fact.id, 0, &err) ||
        (batch = read_batch(fact.pg, fact.kind, one.batch, &err)) == NULL)
        fact_failure(call, &err);
    else
        answer_fact(call, &fact, &one, &provenance.nodes[0], batch);
    json_decref(batch);
    provenance_clear(&provenance);
    buf_clear(&one.fields);
}

/* What it was found from */

static void add_node(const struct provenance *provenance, int n, struct buf *out)
{
    const struct provenance_node *node = &provenance->nodes[n];
    bool has_causes = node->has_data || node->friend_total > 0;
    bool is_cut = !node->is_followed && has_causes;

    buf_printf(out, "%s{\"id\":\"%s\"", n == 0 ? "" : ",", fact_id_text(node->id));
    add_text(out, "kind", node->kind == NULL ? NULL : node->kind->name);
    add_text(out, "label", node->label);
    add_text(out, "by", node->lifecycle);
    buf_printf(out, ",\"generation\":%d", (int)node->generation);
    add_text(out, "worker", node->worker);
    add_text(out, "found_at", node->at);
    add_text(out, "data", node->has_data ? fact_id_text(node->data) : NULL);
    add_ids(out, "friends", node->friends, node->friend_count);
    buf_printf(out, ",\"more\":%s}",
               is_cut || node->friend_total > node->friend_count ? "true" : "false");
}

static void answer_causes(struct api_call *call, const struct provenance *provenance)
{
    struct buf out = {0};
    bool is_cut = provenance->is_full;
    int levels = 0;

    buf_text(&out, "{\"nodes\":[");
    for (int n = 0; n < provenance->count; n++) {
        const struct provenance_node *node = &provenance->nodes[n];

        add_node(provenance, n, &out);
        levels = node->depth + 1 > levels ? node->depth + 1 : levels;
        is_cut |= !node->is_followed && (node->has_data || node->friend_total > 0);
    }
    buf_printf(&out,
               "],\"root\":\"%s\",\"facts_above\":%d,\"levels\":%d,\"cut\":%s,\"took_ms\":%.3f}",
               fact_id_text(provenance->nodes[0].id), provenance->count - 1, levels,
               is_cut ? "true" : "false", rows_took_ms(call));
    fact_answer(call, &out);
    buf_clear(&out);
}

void api_fact_causes(struct api_call *call)
{
    struct provenance provenance;
    struct fact_call fact;
    struct acc_error err;
    int64_t depth;

    if (!api_int(call, "depth", 1, 100, 3, &depth) || !fact_of_path(call, &fact))
        return;
    provenance_init(&provenance, fact.pg, &call->api->program->catalog, CAUSES_NODES);
    if (provenance_up(&provenance, fact.id, (int)depth, &err))
        answer_causes(call, &provenance);
    else
        fact_failure(call, &err);
    provenance_clear(&provenance);
}

/* What came of it */

static struct effects effects_of(struct api_call *call, const struct fact_call *fact)
{
    return (struct effects){fact->pg, &call->api->program->catalog,
                            call->api->app->settings.http.read_timeout_ms};
}

static void answer_groups(struct api_call *call, const struct fact_call *fact)
{
    struct effects effects = effects_of(call, fact);
    struct effects_group groups[GROUPS_MAX];
    size_t count = GROUPS_MAX;
    struct acc_error err;

    if (!effects_groups(&effects, fact->id, groups, &count, &err)) {
        fact_failure(call, &err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_int_t as_data = groups[i].as_data;
        json_int_t as_friend = groups[i].as_friend;

        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:I, s:b}", "by", groups[i].lifecycle,
                                        "count", as_data + as_friend, "as_data", as_data,
                                        "as_friend", as_friend, "exact", groups[i].is_exact));
    }
    http_answer_json(call->request, 200, list);
}

/* Rows of a page with their labels. */
struct effects_answer {
    struct buf out;
    const struct effects_row *rows;
    const int64_t *counts; /* NULL: not known */
    size_t count;          /* told so far */
};

static bool add_effect(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct effects_answer *answer = context;
    const struct effects_row *row = &answer->rows[answer->count];
    struct buf label = {0};

    (void)err;
    fact_label(fact->kind, fact->row, &label);
    buf_printf(&answer->out, "%s{\"id\":\"%s\",\"kind\":\"%s\"", answer->count == 0 ? "" : ",",
               fact_id_text(fact->row->id), fact->kind->name);
    add_text(&answer->out, "label", label.data);
    buf_printf(&answer->out, ",\"role\":\"%s\",\"has_effects\":%s}",
               row->as_data ? "data" : "friend",
               answer->counts == NULL              ? "null"
               : answer->counts[answer->count] > 0 ? "true"
                                                   : "false");
    answer->count++;
    buf_clear(&label);
    return true;
}

static void answer_effects(struct api_call *call, const struct fact_call *fact,
                           const struct effects_row *rows, size_t count, bool is_more)
{
    struct effects effects = effects_of(call, fact);
    struct effects_answer answer = {.rows = rows};
    struct explorer_visit visit = {&answer, add_effect};
    uint8_t ids[16 * EFFECTS_PAGE_MAX];
    int64_t counts[EFFECTS_PAGE_MAX];
    struct acc_error err;
    bool is_known;

    for (size_t i = 0; i < count; i++)
        memcpy(ids + 16 * i, rows[i].id, 16);
    buf_text(&answer.out, "{\"rows\":[");
    bool ok = effects_counts(&effects, ids, count, 1, counts, &is_known, &err);
    answer.counts = ok && is_known ? counts : NULL;
    ok = ok && explorer_get(fact->pg, effects.catalog, ids, count, call->api->heap, &visit, &err);
    if (ok) {
        buf_text(&answer.out, "],\"before\":null");
        add_text(&answer.out, "after", is_more ? fact_id_text(rows[count - 1].id) : NULL);
        buf_printf(&answer.out, ",\"took_ms\":%.3f}", rows_took_ms(call));
        fact_answer(call, &answer.out);
    } else {
        fact_failure(call, &err);
    }
    buf_clear(&answer.out);
}

static void answer_page(struct api_call *call, const struct fact_call *fact, const char *by,
                        const char *digits, int64_t limit)
{
    struct effects effects = effects_of(call, fact);
    struct effects_row rows[EFFECTS_PAGE_MAX];
    struct acc_error err;
    uint8_t after[16];
    int16_t lifecycle;
    size_t count;
    bool is_more;

    if (!api_lifecycle_number(call, fact->pg, "by", by, &lifecycle))
        return;
    if (digits != NULL && (strlen(digits) != 32 || !hex_decode(digits, 32, after))) {
        http_answer_error(call->request, 400, "bad_id", "after",
                          "after: wanted 32 hex digits, got \"%.60s\"", digits);
        return;
    }
    if (effects_page(&effects, fact->id, lifecycle, digits == NULL ? NULL : after, (size_t)limit,
                     rows, &count, &is_more, &err))
        answer_effects(call, fact, rows, count, is_more);
    else if (err.code == ACC_EINPUT)
        http_answer_error(call->request, 400, "bad_id", "after", "after: %s", err.text);
    else
        fact_failure(call, &err);
}

void api_fact_effects(struct api_call *call)
{
    const char *by = rows_param(call, "by");
    const char *after = rows_param(call, "after");
    struct fact_call fact;
    int64_t limit;

    if (!api_int(call, "limit", 1, EFFECTS_PAGE_MAX, PAGE_DEFAULT, &limit))
        return;
    if (by == NULL && after != NULL) {
        http_answer_error(call->request, 400, "bad_parameter", "after",
                          "after: only with by, the name of a lifecycle");
        return;
    }
    if (!fact_of_path(call, &fact))
        return;
    if (by == NULL)
        answer_groups(call, &fact);
    else
        answer_page(call, &fact, by, after, limit);
}
