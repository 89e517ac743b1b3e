/* Facts of a kind: pages, counts, common values. */
#include "api/fact_call.h"
#include "api/handlers.h"
#include "api/rows.h"
#include "effects.h"
#include "formats/dump_json.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_MAX 1000
#define PAGE_DEFAULT 25
#define VALUES_OVER 10000
#define VALUES_DEFAULT 25
#define BYTES_MAX                                                                                  \
    (64 << 20) /* of the facts that are read for one answer: of very long ones fewer come */

/* A page in the making. */
struct page_of_facts {
    struct api_call *call;
    struct pg *pg;
    struct filters filters;
    struct columns columns;
    struct explorer_query query;
    uint8_t cursor[16];
    uint8_t *ids; /* 16 bytes each, owned */
    struct buf rows;
    size_t *ends; /* of each row in rows, owned */
    int64_t count;
    bool is_more;
};

static bool read_fields(struct page_of_facts *page, const struct kind *kind)
{
    struct acc_error err;

    if (columns_read_fields(&page->columns, kind, rows_param(page->call, "fields"), &err))
        return true;
    http_answer_error(page->call->request, 400, "bad_parameter", "fields", "fields: %s", err.text);
    return false;
}

/* Newest first where that is quick; else, when no order was asked for, by id. */
static bool read_order(struct page_of_facts *page)
{
    const char *text = rows_param(page->call, "order");
    struct acc_error err;
    bool is_quick;

    page->query.order = ORDER_NEWEST;
    if (text != NULL) {
        if (explorer_order(&page->query, text, &err))
            return true;
        http_answer_error(page->call->request, 400, "bad_parameter", "order", "order: %s",
                          err.text);
        return false;
    }
    if (!explorer_is_newest_quick(page->pg, page->query.kind, &is_quick, &err)) {
        fact_failure(page->call, &err);
        return false;
    }
    if (!is_quick)
        page->query.order = ORDER_ID;
    return true;
}

/* `before` is the page that follows in the order shown: in that of time, what was found before. */
static bool read_cursor(struct page_of_facts *page)
{
    const char *before = rows_param(page->call, "before");
    const char *after = rows_param(page->call, "after");

    if (before == NULL && after == NULL)
        return true;
    if (before != NULL && after != NULL) {
        http_answer_error(page->call->request, 400, "bad_parameter", "after",
                          "before and after exclude each other");
        return false;
    }
    page->query.cursor = page->cursor;
    page->query.is_before = after != NULL;
    return fact_resolve(page->call, page->pg, page->query.kind, after != NULL ? "after" : "before",
                        after != NULL ? after : before, page->cursor);
}

static bool fit_limit(struct page_of_facts *page)
{
    struct acc_error err;

    if (explorer_fit(page->pg, page->query.kind, BYTES_MAX, page->query.limit, &page->query.limit,
                     &err))
        return true;
    fact_failure(page->call, &err);
    return false;
}

static bool read_page(struct page_of_facts *page, const struct kind *kind)
{
    struct api_call *call = page->call;

    page->query.kind = kind;
    page->query.filters = &page->filters;
    page->query.limit_ms = call->api->app->settings.http.read_timeout_ms;
    if (!fact_filters(call, kind, &page->filters))
        return false;
    if (!read_fields(page, kind) ||
        !api_int(call, "limit", 1, PAGE_MAX, PAGE_DEFAULT, &page->query.limit))
        return false;
    page->pg = api_reader(call);
    return page->pg != NULL && fit_limit(page) && read_order(page) && read_cursor(page);
}

static bool add_fact(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct page_of_facts *page = context;
    struct buf *rows = &page->rows;

    (void)err;
    memcpy(page->ids + 16 * page->count, fact->row->id, 16);
    buf_printf(rows, "{\"id\":\"%s\",\"fields\":", fact_id_text(fact->row->id));
    fact_fields(fact->kind, &page->columns, fact, rows);
    buf_text(rows, ",\"by\":");
    if (fact->lifecycle == NULL)
        buf_text(rows, "null");
    else
        dump_json_text(rows, fact->lifecycle, strlen(fact->lifecycle));
    if (fact->at[0] == '\0')
        buf_text(rows, ",\"found_at\":null");
    else
        buf_printf(rows, ",\"found_at\":\"%s\"", fact->at);
    page->ends[page->count++] = rows->size;
    return true;
}

static void add_cursor(struct buf *out, const char *name, const uint8_t *id)
{
    if (id == NULL)
        buf_printf(out, ",\"%s\":null", name);
    else
        buf_printf(out, ",\"%s\":\"%s\"", name, fact_id_text(id));
}

static void answer_page(struct page_of_facts *page, const int64_t *effects)
{
    static const char *const orders[] = {
        [ORDER_ID] = "id", [ORDER_NEWEST] = "newest", [ORDER_FIELD] = "field"};
    bool is_before = page->query.is_before;
    bool has_cursor = page->query.cursor != NULL;
    const uint8_t *first = page->count == 0 ? NULL : page->ids;
    const uint8_t *last = page->count == 0 ? NULL : page->ids + 16 * (page->count - 1);
    struct buf out = {0};
    size_t at = 0;

    buf_text(&out, "{\"rows\":[");
    for (int64_t i = 0; i < page->count; at = page->ends[i++]) {
        buf_text(&out, i == 0 ? "" : ",");
        buf_add(&out, page->rows.data + at, page->ends[i] - at);
        if (effects == NULL)
            buf_text(&out, ",\"effects\":null}");
        else
            buf_printf(&out, ",\"effects\":%lld}", (long long)effects[i]);
    }
    buf_byte(&out, ']');
    add_cursor(&out, "before", (is_before ? has_cursor : page->is_more) ? last : NULL);
    add_cursor(&out, "after", (is_before ? page->is_more : has_cursor) ? first : NULL);
    buf_printf(&out, ",\"order\":\"%s\",\"took_ms\":%.3f}", orders[page->query.order],
               rows_took_ms(page->call));
    fact_answer(page->call, &out);
    buf_clear(&out);
}

static void list_page(struct page_of_facts *page)
{
    struct explorer_visit visit = {page, add_fact};
    struct effects effects = {page->pg, &page->call->api->program->catalog,
                              page->call->api->app->settings.http.read_timeout_ms};
    int64_t counts[PAGE_MAX];
    struct acc_error err;
    bool is_known;

    page->ids = acc_alloc((uint64_t)page->query.limit * 16);
    page->ends = acc_alloc((uint64_t)page->query.limit * sizeof(*page->ends));
    if (!explorer_page(page->pg, &page->query, page->call->api->heap, &visit, &page->is_more,
                       &err) ||
        !effects_counts(&effects, page->ids, (size_t)page->count, EFFECTS_SHOWN, counts, &is_known,
                        &err))
        fact_failure(page->call, &err);
    else
        answer_page(page, is_known ? counts : NULL);
}

void api_facts(struct api_call *call)
{
    struct page_of_facts page = {.call = call};
    const struct kind *kind = api_kind(call, 0);

    if (kind == NULL)
        return;
    if (read_page(&page, kind))
        list_page(&page);
    filters_clear(&page.filters);
    buf_clear(&page.rows);
    free(page.ids);
    free(page.ends);
}

/* Counts */

static void count(struct api_call *call, const struct filters *filters, int64_t limit_ms)
{
    struct pg *pg = api_reader(call);
    bool is_exact = true;
    struct acc_error err;
    int64_t number;

    if (pg == NULL)
        return;
    bool ok = filters->count == 0
                  ? explorer_total(pg, filters->kind, &number, &err)
                  : explorer_count_within(pg, filters, limit_ms,
                                          call->api->app->settings.http.read_timeout_ms, &number,
                                          &is_exact, &err);
    if (!ok)
        fact_failure(call, &err);
    else
        http_answer_json(call->request, 200,
                         json_pack("{s:I, s:b}", "count", (json_int_t)number, "exact", is_exact));
}

void api_facts_count(struct api_call *call)
{
    const struct kind *kind = api_kind(call, 0);
    struct filters filters;
    int64_t limit_ms;

    if (kind == NULL || !fact_filters(call, kind, &filters))
        return;
    if (api_int(call, "limit_ms", 1, 2000, 200, &limit_ms))
        count(call, &filters, limit_ms);
    filters_clear(&filters);
}

/* Common values */

struct values {
    const struct kind *kind;
    size_t field;
    json_t *counts; /* by the value's JSON */
    struct buf text;
    int64_t over;
};

static bool add_value(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct values *values = context;

    (void)err;
    buf_reset(&values->text);
    dump_json_field(&values->text, fact->kind, fact->row, values->field);
    json_t *count = json_object_get(values->counts, values->text.data);
    if (count == NULL)
        json_object_set_new(values->counts, values->text.data, json_integer(1));
    else
        json_integer_set(count, json_integer_value(count) + 1);
    values->over++;
    return true;
}

struct value {
    const char *text;
    int64_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct value *x = a;
    const struct value *y = b;

    return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
                                : strcmp(x->text, y->text);
}

static void answer_values(struct api_call *call, const struct values *values, int64_t limit,
                          bool is_newest)
{
    size_t size = json_object_size(values->counts);
    struct value *list = acc_alloc(size * sizeof(*list) + 1);
    struct buf out = {0};
    const char *text;
    json_t *count;
    size_t i = 0;

    json_object_foreach(values->counts, text, count)
    {
        list[i++] = (struct value){text, json_integer_value(count)};
    }
    qsort(list, size, sizeof(*list), by_count);
    buf_text(&out, "{\"values\":[");
    for (i = 0; i < size && i < (size_t)limit; i++)
        buf_printf(&out, "%s{\"value\":%s,\"count\":%lld}", i == 0 ? "" : ",", list[i].text,
                   (long long)list[i].count);
    buf_printf(&out, "],\"over\":%lld,\"newest\":%s,\"took_ms\":%.3f}", (long long)values->over,
               is_newest ? "true" : "false", rows_took_ms(call));
    fact_answer(call, &out);
    buf_clear(&out);
    free(list);
}

/* Without the index for newest first: the end of the table, which is about the same. */
static bool visit_end(struct pg *pg, const struct filters *filters, int64_t over,
                      struct acc_heap *heap, const struct explorer_visit *visit,
                      struct acc_error *err)
{
    int64_t total;
    int64_t blocks;

    if (!explorer_total(pg, filters->kind, &total, err) ||
        !explorer_count_blocks(pg, filters->kind, &blocks, err))
        return false;
    int64_t last = total > over ? blocks * over / total + 1 : blocks;
    return explorer_scan(pg, filters, blocks > last ? blocks - last : 0, blocks + 1, heap, visit,
                         err);
}

static void list_values(struct api_call *call, struct pg *pg, const struct filters *filters,
                        struct values *values, int64_t limit)
{
    struct explorer_visit visit = {values, add_value};
    struct explorer_query query = {.kind = filters->kind,
                                   .filters = filters,
                                   .order = ORDER_NEWEST,
                                   .limit_ms = call->api->app->settings.http.read_timeout_ms};
    struct acc_error err;
    bool is_quick;
    bool is_more;

    if (!explorer_fit(pg, filters->kind, BYTES_MAX, VALUES_OVER, &query.limit, &err) ||
        !explorer_is_newest_quick(pg, filters->kind, &is_quick, &err) ||
        !(is_quick ? explorer_page(pg, &query, call->api->heap, &visit, &is_more, &err)
                   : visit_end(pg, filters, query.limit, call->api->heap, &visit, &err)))
        fact_failure(call, &err);
    else
        answer_values(call, values, limit, is_quick);
}

/* The field that is asked for. false: answered. */
static bool read_field(struct api_call *call, const struct kind *kind, size_t *field)
{
    const char *name = rows_param(call, "field");
    struct columns columns;
    struct acc_error err;

    if (name == NULL || strchr(name, ',') != NULL) {
        http_answer_error(call->request, 400, "bad_parameter", "field",
                          "field: wanted the name of a field of kind \"%s\"", kind->name);
        return false;
    }
    if (!columns_read_fields(&columns, kind, name, &err)) {
        http_answer_error(call->request, 400, "bad_parameter", "field", "field: %s", err.text);
        return false;
    }
    *field = columns.list[0].field;
    return true;
}

void api_facts_values(struct api_call *call)
{
    const struct kind *kind = api_kind(call, 0);
    struct values values = {.kind = kind};
    struct filters filters;
    int64_t limit;

    if (kind == NULL || !read_field(call, kind, &values.field) ||
        !api_int(call, "limit", 1, PAGE_MAX, VALUES_DEFAULT, &limit) ||
        !fact_filters(call, kind, &filters))
        return;
    struct pg *pg = api_reader(call);
    values.counts = json_object();
    if (pg != NULL)
        list_values(call, pg, &filters, &values, limit);
    json_decref(values.counts);
    buf_clear(&values.text);
    filters_clear(&filters);
}
