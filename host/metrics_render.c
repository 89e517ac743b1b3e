/* All series in the order of names and values, and as OpenMetrics text. */
#include "formats/dump_json.h"
#include "metrics_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A series with what it is sorted by. */
struct entry {
    const struct family *family;
    const struct metric *metric;
};

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    int order = strcmp(a->family->texts, b->family->texts);
    const char *x = metrics_values_of(a->metric), *y = metrics_values_of(b->metric);

    for (size_t i = 0; order == 0 && i < a->family->label_count; i++) {
        order = strcmp(x, y);
        x += strlen(x) + 1;
        y += strlen(y) + 1;
    }
    return order;
}

/* All series, sorted; caller frees. */
static struct entry *list_series(const struct metrics *metrics, size_t *count)
{
    uint64_t slots = metrics_slots(metrics);
    struct entry *entries = acc_alloc(slots * sizeof(*entries));

    *count = 0;
    for (uint64_t i = 0; i < slots; i++) {
        const struct metric *metric = metrics_series_at(metrics, i);

        if (metric != NULL)
            entries[(*count)++] = (struct entry){metrics_family_of(metrics, metric), metric};
    }
    qsort(entries, *count, sizeof(*entries), compare_entries);
    return entries;
}

static struct metric_family describe(const struct family *family)
{
    struct metric_family described = {.name = family->texts, .type = family->type};
    const char *text = family->texts + metrics_texts_size(family->texts, 1);

    described.help = text;
    for (size_t i = 0; i < family->label_count; i++) {
        text += strlen(text) + 1;
        described.labels[i] = text;
    }
    return described;
}

void metrics_each(const struct metrics *metrics,
                  void (*visit)(void *context, const struct metric_family *family,
                                const char *const *values, const struct metric *metric),
                  void *context)
{
    size_t count;
    struct entry *entries = list_series(metrics, &count);

    for (size_t i = 0; i < count; i++) {
        struct metric_family family = describe(entries[i].family);
        const char *values[METRICS_LABELS_MAX] = {NULL};
        const char *at = metrics_values_of(entries[i].metric);

        for (size_t k = 0; k < entries[i].family->label_count; k++, at += strlen(at) + 1)
            values[k] = at;
        visit(context, &family, values, entries[i].metric);
    }
    free(entries);
}

static void put_number(struct buf *out, double value)
{
    if (isnan(value))
        buf_text(out, "NaN");
    else if (isinf(value))
        buf_text(out, value > 0 ? "+Inf" : "-Inf");
    else
        dump_json_float(out, value);
}

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buf_text(out, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\')
            buf_byte(out, '\\');
        buf_byte(out, (uint8_t)*text);
    }
}

/* `{a="1",le="2.0"}`; le may be NULL. */
static void put_labels(struct buf *out, const struct metric_family *family,
                       const char *const *values, const char *le)
{
    size_t count = metrics_label_count(family);

    if (count == 0 && le == NULL)
        return;
    buf_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%s=\"", i > 0 ? "," : "", family->labels[i]);
        put_escaped(out, values[i]);
        buf_byte(out, '"');
    }
    if (le != NULL)
        buf_printf(out, "%sle=\"%s\"", count > 0 ? "," : "", le);
    buf_byte(out, '}');
}

static void put_sample(struct buf *out, const struct metric_family *family, const char *end,
                       const char *const *values, const char *le, double value)
{
    buf_text(out, family->name);
    buf_text(out, end);
    put_labels(out, family, values, le);
    buf_byte(out, ' ');
    put_number(out, value);
    buf_byte(out, '\n');
}

static void put_bucket(struct buf *out, const struct metric_family *family,
                       const char *const *values, double le, uint64_t count)
{
    struct buf text = {0};

    put_number(&text, le);
    if (isfinite(le) && le == floor(le) && strpbrk(text.data, ".e") == NULL)
        buf_text(&text, ".0"); /* the canonical form of a bound */
    put_sample(out, family, "_bucket", values, text.data, (double)count);
    buf_clear(&text);
}

/* The bucket that ends where the doubling of bucket begins; 0 has none below. */
static size_t doubling_below(size_t bucket)
{
    return bucket == 0 ? 0 : (bucket - 1) / METRIC_PER_DOUBLING * METRIC_PER_DOUBLING;
}

static void put_histogram(struct buf *out, const struct metric_family *family,
                          const char *const *values, const struct metric *metric)
{
    uint64_t counts[METRIC_BUCKETS]; /* read once, so that what is shown adds up */
    size_t first = METRIC_BUCKETS - 1, last = 0;
    uint64_t all = 0, below = 0;

    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        all += counts[i] = metrics_bucket_count(metric, i);
        if (counts[i] == 0)
            continue;
        first = first < i ? first : i;
        last = i;
    }
    first = doubling_below(first);
    for (size_t i = 0; all > 0 && i < METRIC_BUCKETS - 1; i++) {
        below += counts[i];
        if (i % METRIC_PER_DOUBLING == 0 && i >= first)
            put_bucket(out, family, values, metrics_bound(i), below);
        if (i % METRIC_PER_DOUBLING == 0 && i >= last)
            break;
    }
    put_bucket(out, family, values, INFINITY, all);
    put_sample(out, family, "_sum", values, NULL, metric_value(metric));
    put_sample(out, family, "_count", values, NULL, (double)all);
}

static const char *unit_of(const char *name)
{
    static const char *const units[] = {"seconds", "bytes", "ratio"};
    const char *end = strrchr(name, '_');

    for (size_t i = 0; end != NULL && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end + 1, units[i]) == 0)
            return units[i];
    return NULL;
}

static void put_head(struct buf *out, const struct metric_family *family)
{
    const char *unit = unit_of(family->name);

    buf_printf(out, "# TYPE %s %s\n", family->name, metrics_type_names[family->type]);
    if (unit != NULL)
        buf_printf(out, "# UNIT %s %s\n", family->name, unit);
    buf_printf(out, "# HELP %s ", family->name);
    put_escaped(out, family->help);
    buf_byte(out, '\n');
}

struct rendering {
    struct buf *out;
    const char *name; /* of the family that the last series belongs to, in the block; "" */
    uint64_t dropped; /* still to be shown, in its place among the names */
};

static const struct metric_family dropped_family = {
    "accrete_metrics_dropped", METRIC_COUNTER, "Series that found no room or did not fit", {NULL}};

static void put_dropped(struct rendering *rendering)
{
    if (rendering->dropped == 0)
        return;
    put_head(rendering->out, &dropped_family);
    put_sample(rendering->out, &dropped_family, "_total", NULL, NULL, (double)rendering->dropped);
    rendering->dropped = 0;
}

static void render_series(void *context, const struct metric_family *family,
                          const char *const *values, const struct metric *metric)
{
    struct rendering *rendering = context;

    if (strcmp(rendering->name, family->name) != 0) {
        if (strcmp(family->name, dropped_family.name) > 0)
            put_dropped(rendering);
        put_head(rendering->out, family);
        rendering->name = family->name;
    }
    if (family->type == METRIC_HISTOGRAM)
        put_histogram(rendering->out, family, values, metric);
    else
        put_sample(rendering->out, family, family->type == METRIC_COUNTER ? "_total" : "", values,
                   NULL, metric_value(metric));
}

void metrics_render(const struct metrics *metrics, bool is_whole, struct buf *out)
{
    struct rendering rendering = {out, "", metrics_dropped(metrics)};

    metrics_each(metrics, render_series, &rendering);
    put_dropped(&rendering);
    if (is_whole)
        buf_text(out, "# EOF\n");
}
