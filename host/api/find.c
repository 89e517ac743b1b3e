/* Finding what is meant by a few letters or digits: facts by the first digits of their ids, kinds, lifecycles. */
#include "api/fact_call.h"
#include "api/handlers.h"
#include "api/rows.h"

#include <string.h>

#define MATCHES_MAX 20
#define QUERY_MAX 200

static bool is_full(const json_t *matches)
{
    return json_array_size(matches) >= MATCHES_MAX;
}

static void add(json_t *matches, const char *href, const char *label)
{
    if (!is_full(matches))
        json_array_append_new(matches, json_pack("{s:s, s:s}", "href", href, "label", label));
}

/* Names hold no letter that means something in a URL. */
static void add_names(const struct program *program, const char *text, json_t *matches)
{
    char href[128];

    for (size_t k = 0; k < program->catalog.count; k++) {
        const char *name = program->catalog.kinds[k]->name;

        snprintf(href, sizeof(href), "/ui/facts/%s", name);
        if (strcasestr(name, text) != NULL)
            add(matches, href, name);
    }
    for (size_t l = 0; l < program->lifecycle_count; l++) {
        const char *name = program->lifecycles[l]->name;

        snprintf(href, sizeof(href), "/ui/lifecycles/%s", name);
        if (strcasestr(name, text) != NULL)
            add(matches, href, name);
    }
}

static bool add_fact(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct buf label = {0};
    char href[128];

    (void)err;
    snprintf(href, sizeof(href), "/ui/facts/%s/%s", fact->kind->name, fact_id_text(fact->row->id));
    buf_printf(&label, "%s ", fact->kind->name);
    fact_label(fact->kind, fact->row, &label);
    add(context, href, label.data);
    buf_clear(&label);
    return true;
}

static bool add_facts(struct api_call *call, const struct id_range *range, json_t *matches)
{
    const struct catalog *catalog = &call->api->program->catalog;
    struct explorer_visit visit = {matches, add_fact};
    uint8_t ids[16 * MATCHES_MAX];
    struct acc_error err;
    size_t count;
    struct pg *pg = api_reader(call);

    if (pg == NULL)
        return false;
    if (explorer_find(pg, catalog, range, MATCHES_MAX, ids, &count, &err) &&
        explorer_get(pg, catalog, ids, count, call->api->heap, &visit, &err))
        return true;
    fact_failure(call, &err);
    return false;
}

void api_find(struct api_call *call)
{
    const char *text = rows_param(call, "q");
    json_t *matches = json_array();
    struct id_range range;

    if (text == NULL || text[0] == '\0' || strlen(text) > QUERY_MAX) {
        http_answer_error(call->request, 400, "bad_parameter", "q", "q: wanted 1..%d bytes",
                          QUERY_MAX);
        json_decref(matches);
        return;
    }
    add_names(call->api->program, text, matches);
    if (id_range_read(text, &range) && !add_facts(call, &range, matches))
        json_decref(matches);
    else
        http_answer_json(call->request, 200, matches);
}
