#include "api/fact_call.h"

#include "formats/dump_json.h"

#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 10

void fact_failure(struct api_call *call, const struct acc_error *err)
{
    if (err->code == ACC_ELIMIT || strcmp(err->sqlstate, "57014") == 0)
        http_answer_error(call->request, 503, "too_slow", NULL, "%s",
                          err->code == ACC_ELIMIT ? err->text : "the time for this answer was up");
    else
        http_answer_failure(call->request, err);
}

bool fact_filters(struct api_call *call, const struct kind *kind, struct filters *filters)
{
    struct acc_error err;
    const char *text;
    size_t place = 0;

    filters_init(filters, kind);
    while ((text = http_query(call->request, "f", &place)) != NULL) {
        char *field;

        if (filters_add(filters, text, call->api->heap, call->api->app->settings.ingest.value_bytes,
                        &err))
            continue;
        field = acc_format("%.*s", (int)strcspn(text, "~"), text);
        http_answer_error(call->request, 400, "bad_filter",
                          kind_field(kind, field) >= 0 ? field : "f", "%s", err.text);
        free(field);
        filters_clear(filters);
        return false;
    }
    filters_finish(filters);
    return true;
}

/* Which id */

static bool add_candidate(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct buf label = {0};

    (void)err;
    fact_label(fact->kind, fact->row, &label);
    json_array_append_new(
        context, json_pack("{s:s, s:s}", "id", fact_id_text(fact->row->id), "label", label.data));
    buf_clear(&label);
    return true;
}

static void answer_many(struct api_call *call, struct pg *pg, const char *name, const char *digits,
                        const uint8_t *ids, size_t count)
{
    json_t *candidates = json_array();
    struct explorer_visit visit = {candidates, add_candidate};
    size_t shown = count > CANDIDATES_MAX ? CANDIDATES_MAX : count;
    struct acc_error err;

    if (!explorer_get(pg, &call->api->program->catalog, ids, shown, call->api->heap, &visit,
                      &err)) {
        json_decref(candidates);
        fact_failure(call, &err);
        return;
    }
    char *message = acc_format("%s: \"%s\" begins %s%zu ids, wanted more digits", name, digits,
                               count > shown ? "more than " : "", shown);
    http_answer_json(call->request, 409,
                     json_pack("{s:{s:s, s:s, s:s, s:s, s:o}}", "error", "code", "ambiguous",
                               "message", message, "field", name, "request",
                               http_request_id(call->request), "candidates", candidates));
    free(message);
}

bool fact_resolve(struct api_call *call, struct pg *pg, const struct kind *kind, const char *name,
                  const char *digits, uint8_t id[16])
{
    struct catalog one = {.kinds = (struct kind *[]){(struct kind *)kind}, .count = 1};
    uint8_t ids[16 * (CANDIDATES_MAX + 1)];
    struct id_range range;
    struct acc_error err;
    size_t count;

    if (!id_range_read(digits, &range)) {
        http_answer_error(call->request, 400, "bad_id", name,
                          "%s: wanted 4 to 32 hex digits, got \"%.60s\"", name, digits);
        return false;
    }
    if (!explorer_find(pg, &one, &range, CANDIDATES_MAX + 1, ids, &count, &err)) {
        fact_failure(call, &err);
    } else if (count == 0) {
        http_answer_error(call->request, 404, "not_found", name,
                          "no fact of kind \"%s\" has an id that begins with \"%s\"", kind->name,
                          digits);
    } else if (count > 1) {
        answer_many(call, pg, name, digits, ids, count);
    } else {
        memcpy(id, ids, 16);
    }
    return count == 1;
}

bool fact_of_path(struct api_call *call, struct fact_call *fact)
{
    fact->kind = api_kind(call, 0);
    if (fact->kind == NULL)
        return false;
    fact->pg = api_reader(call);
    return fact->pg != NULL &&
           fact_resolve(call, fact->pg, fact->kind, "id", api_part(call, 1), fact->id);
}

/* JSON */

void fact_fields(const struct kind *kind, const struct columns *columns,
                 const struct explorer_fact *fact, struct buf *out)
{
    size_t count = columns == NULL ? kind->field_count : columns->count;

    buf_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        size_t field = columns == NULL ? i : columns->list[i].field;

        buf_printf(out, "%s\"%s\":", i == 0 ? "" : ",", kind->fields[field].name);
        dump_json_field(out, kind, fact->row, field);
    }
    buf_byte(out, '}');
}

void fact_answer(struct api_call *call, const struct buf *json)
{
    http_answer(call->request, 200, "application/json", json->data, json->size);
}
