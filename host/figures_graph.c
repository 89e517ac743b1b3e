/* Documents of kinds, lifecycles and the graph of both. */
#include "figures.h"

#include "filters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CYCLES_MOST 20
#define DOC_BYTES 300

/* Kinds */

static bool is_indexed(const struct kind *kind, size_t field)
{
    if (kind->unique_count == 1 && kind->unique[0] == field)
        return true; /* it is the id */
    for (size_t s = 0; s < kind->shape_count; s++) {
        const struct shape *shape = &kind->shapes[s];
        if (!shape->by_id && shape->count > 0 && shape->fields[0] == field)
            return true;
    }
    return false;
}

static json_t *operators(const struct field *field)
{
    struct buf words = {0};
    json_t *list = json_array();

    filters_operators(field, &words);
    for (char *rest = words.data, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word != '\0')
            json_array_append_new(list, json_string(word));
    }
    buf_clear(&words);
    return list;
}

static json_t *fields_json(const struct kind *kind)
{
    json_t *list = json_array();

    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        char type[24];

        snprintf(type, sizeof(type), "%s%s", field_type_name(field->type),
                 field->is_array ? "[]" : "");
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:b, s:o}", "name", field->name,
                                              "type", type, "unique", (int)field->is_unique,
                                              "nullable", (int)field->is_nullable, "indexed",
                                              (int)is_indexed(kind, f), "ops", operators(field)));
    }
    return list;
}

static bool has_friend(const struct lifecycle *lifecycle, const struct kind *kind)
{
    for (size_t i = 0; i < lifecycle->friend_count; i++) {
        if (lifecycle->friends[i].kind == kind)
            return true;
    }
    return false;
}

static bool has_find(const struct lifecycle *lifecycle, const struct kind *kind)
{
    for (size_t i = 0; i < lifecycle->find_count; i++) {
        if (lifecycle->finds[i] == kind)
            return true;
    }
    return false;
}

json_t *figures_kinds(struct figures *figures)
{
    const struct catalog *catalog = &figures->program->catalog;
    json_t *list = json_array();

    if (figures->fields == NULL)
        figures->fields = json_object();
    for (size_t k = 0; k < catalog->count; k++) {
        const struct kind *kind = catalog->kinds[k];
        json_t *found_by = json_array();
        json_t *wakes = json_array();
        json_t *friend_of = json_array();
        double fresh = recent_new(figures, -1, kind->tag);
        double repeats = recent_repeats(figures, -1, kind->tag);

        if (json_object_get(figures->fields, kind->name) == NULL)
            json_object_set_new(figures->fields, kind->name, fields_json(kind));
        for (size_t i = 0; i < figures->program->lifecycle_count; i++) {
            const struct lifecycle *lifecycle = figures->program->lifecycles[i];
            if (has_find(lifecycle, kind))
                json_array_append_new(found_by, json_string(lifecycle->name));
            if (lifecycle->on == kind)
                json_array_append_new(wakes, json_string(lifecycle->name));
            if (has_friend(lifecycle, kind))
                json_array_append_new(friend_of, json_string(lifecycle->name));
        }
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:o, s:o, s:I, s:O, s:o, s:o, s:o}", "name", kind->name,
                            "facts", (json_int_t)figures_new(figures, -1, kind->tag), "new_per_s",
                            figures_number(rates_per_s(figures->rates, fresh)), "repeats_share",
                            figures_number(rates_share(repeats, fresh + repeats, 1e-9)), "ingested",
                            (json_int_t)figures_new(figures, 0, kind->tag), "fields",
                            json_object_get(figures->fields, kind->name), "found_by", found_by,
                            "wakes", wakes, "friend_of", friend_of));
    }
    return list;
}

/* Lifecycles */

/* The comment at the head of the module, and whether it uses native code: read once a generation. */
static void add_module(const struct figures *figures, json_t *row, const struct life *life)
{
    static json_t *known; /* [doc, hot] by name: a process has one generation */
    char line[512];
    struct buf doc = {0};
    bool is_hot = false;
    bool in_head = true;

    if (known == NULL)
        known = json_object();
    json_t *pair = json_object_get(known, life->name);
    char *path = acc_format("%s/lifecycles/%s.lua", figures->options->modules_dir, life->name);
    FILE *file = pair != NULL || life->module == NULL ? NULL : fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        is_hot |= strstr(line, "accrete.native") != NULL;
        in_head = in_head && strncmp(line, "--", 2) == 0 && strncmp(line, "---@", 4) != 0;
        if (!in_head || doc.size >= DOC_BYTES)
            continue;
        char *text = line + strspn(line, "- ");
        text[strcspn(text, "\r\n")] = '\0';
        if (doc.size > 0)
            buf_byte(&doc, ' ');
        buf_text(&doc, text);
    }
    if (file != NULL)
        fclose(file);
    free(path);
    if (pair == NULL) {
        pair =
            json_pack("[o, b]", doc.size == 0 ? json_null() : json_string(doc.data), (int)is_hot);
        if (pair == NULL) /* the comment is no UTF-8 */
            pair = json_pack("[n, b]", (int)is_hot);
        json_object_set_new(known, life->name, pair);
    }
    json_object_set(row, "doc", json_array_get(pair, 0));
    json_object_set(row, "hot", json_array_get(pair, 1));
    buf_clear(&doc);
}

static json_t *names_of(const struct lifecycle *lifecycle, bool finds)
{
    json_t *list = json_array();
    size_t count = lifecycle == NULL ? 0 : finds ? lifecycle->find_count : lifecycle->friend_count;

    for (size_t i = 0; i < count; i++) {
        const struct kind *kind = finds ? lifecycle->finds[i] : lifecycle->friends[i].kind;
        bool is_twice = false;
        for (size_t k = 0; k < i; k++)
            is_twice |= (finds ? lifecycle->finds[k] : lifecycle->friends[k].kind) == kind;
        if (!is_twice)
            json_array_append_new(list, json_string(kind->name));
    }
    return list;
}

static json_t *outcomes_json(const int64_t *counts)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "found", (json_int_t)counts[COUNT_FOUND], "empty",
                     (json_int_t)counts[COUNT_EMPTY], "late", (json_int_t)counts[COUNT_LATE],
                     "early", (json_int_t)counts[COUNT_EARLY]);
}

static json_t *quantiles_ms(const struct histogram *histogram)
{
    return json_pack("{s:o, s:o, s:o}", "p50",
                     figures_number(histogram_quantile(histogram, 0.5, 20) / 1e3), "p95",
                     figures_number(histogram_quantile(histogram, 0.95, 20) / 1e3), "p99",
                     figures_number(histogram_quantile(histogram, 0.99, 20) / 1e3));
}

static const struct rates_lifecycle *rates_of(const struct figures *figures,
                                              const struct life *life)
{
    static const struct rates_lifecycle none;

    return life->id > 0 && life->id < RATES_LIFECYCLES ? &figures->rates->lifecycles[life->id]
                                                       : &none;
}

static void add_finds(const struct figures *figures, const struct life *life, json_t *row)
{
    json_t *fresh = json_object();
    json_t *repeats = json_object();

    for (size_t f = 0; f < figures->reading.find_count; f++) {
        const struct find *find = &figures->reading.finds[f];
        const struct kind *kind = catalog_by_tag(&figures->program->catalog, find->tag);
        if (find->lifecycle != life->id || kind == NULL)
            continue;
        json_object_set_new(fresh, kind->name, json_integer(find->fresh));
        json_object_set_new(repeats, kind->name, json_integer(find->repeats));
    }
    json_object_set_new(row, "new", fresh);
    json_object_set_new(row, "repeats", repeats);
}

static json_t *life_json(const struct figures *figures, const struct life *life)
{
    const struct rates_lifecycle *rates = rates_of(figures, life);
    const struct kind *on = catalog_by_tag(&figures->program->catalog, life->kind);
    double done = recent_done(figures, life->id);
    double early = rates->counts[COUNT_EARLY];
    double late = rates->counts[COUNT_LATE];
    double busy_us = 0;
    json_t *row = json_object();
    json_t *phases = json_object();
    int64_t oldest_us =
        life->oldest_born_us == 0 ? 0 : figures->reading.at_us - life->oldest_born_us;

    for (size_t p = 0; p < RATES_PHASES; p++) {
        busy_us += rates->phases_us[p];
        json_object_set_new(
            phases, rates_phase_names[p],
            figures_number(rates_share(rates->phases_us[p], rates->events, 0.5) / 1e3));
    }
    json_object_set_new(row, "name", json_string(life->name));
    add_module(figures, row, life);
    json_object_set_new(row, "active", json_boolean(life->is_active));
    json_object_set_new(row, "on", on == NULL ? json_null() : json_string(on->name));
    json_object_set_new(row, "friends", names_of(life->module, false));
    json_object_set_new(row, "finds", names_of(life->module, true));
    json_object_set_new(row, "monotone",
                        json_boolean(life->module != NULL && life->module->is_monotone));
    json_object_set_new(row, "generation", json_integer(life->generation));
    json_object_set_new(row, "priority", json_integer(life->priority));
    json_object_set_new(row, "throttle_per_s",
                        life->throttle_per_s > 0 ? figures_number(life->throttle_per_s)
                                                 : json_null());
    json_object_set_new(row, "batch",
                        figures_number(rates_share(rates->events, rates->batches, 0.01)));
    json_object_set_new(row, "done", json_integer(life_done(life)));
    json_object_set_new(row, "done_per_s", figures_number(rates_per_s(figures->rates, done)));
    json_object_set_new(row, "outcomes", outcomes_json(life->counts));
    json_object_set_new(row, "failed", json_integer(life->counts[COUNT_FAILED]));
    json_object_set_new(row, "retries", json_integer(life->counts[COUNT_RETRIES]));
    json_object_set_new(row, "abort_late_calls",
                        json_integer(life_done(life) - life->counts[COUNT_EARLY]));
    json_object_set_new(row, "abort_late_calls_per_s",
                        figures_number(rates_per_s(figures->rates, done - early)));
    json_object_set_new(row, "late_share", figures_number(rates_share(late, done - early, 1e-9)));
    json_object_set_new(row, "early_share", figures_number(rates_share(early, done, 1e-9)));
    json_object_set_new(row, "latency_ms", quantiles_ms(&rates->latency));
    json_object_set_new(row, "wait_p95_s",
                        figures_number(histogram_quantile(&rates->wait, 0.95, 20) / 1e6));
    json_object_set_new(row, "phases_ms", phases);
    add_finds(figures, life, row);
    json_object_set_new(
        row, "new_per_s",
        figures_number(rates_per_s(figures->rates, recent_new(figures, life->id, -1))));
    json_object_set_new(
        row, "friends_mean",
        life->module != NULL && life->module->friend_count > 0
            ? figures_number(rates_share(rates->counts[COUNT_GIVEN], done - early, 1e-9))
            : json_null());
    json_object_set_new(row, "worker_time",
                        figures_number(rates_per_s(figures->rates, busy_us / 1e6)));
    json_object_set_new(row, "queue",
                        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "ready",
                                  (json_int_t)life_ready(life), "claimed",
                                  (json_int_t)life->claimed, "delayed", (json_int_t)life->delayed,
                                  "dead", (json_int_t)life->dead, "discarded",
                                  (json_int_t)life->discarded, "unread", (json_int_t)life->unread));
    json_object_set_new(row, "drain_s",
                        figures_number(rates_share((double)(life->in_packets + life->delayed),
                                                   rates_per_s(figures->rates, done), 1e-9)));
    json_object_set_new(row, "oldest_ready_ms",
                        life->oldest_born_us == 0
                            ? json_null()
                            : json_integer(oldest_us > 0 ? oldest_us / 1000 : 0));
    json_object_set_new(row, "todo", figures_number(life->todo));
    return row;
}

json_t *figures_lifecycles(const struct figures *figures)
{
    json_t *list = json_array();

    for (size_t i = 0; i < figures->reading.life_count; i++)
        json_array_append_new(list, life_json(figures, &figures->reading.lives[i]));
    return list;
}

/* Graph. Of five minutes the counts are sums that forget, so that shares and means are of the same time. */

struct graph {
    const struct figures *figures;
    bool is_recent;
    json_t *edges, *cycles;
};

static double count_of(const struct graph *graph, const struct life *life, enum count count)
{
    return graph->is_recent ? rates_of(graph->figures, life)->counts[count]
                            : (double)life->counts[count];
}

static double done_of(const struct graph *graph, const struct life *life)
{
    return count_of(graph, life, COUNT_EARLY) + count_of(graph, life, COUNT_LATE) +
           count_of(graph, life, COUNT_EMPTY) + count_of(graph, life, COUNT_FOUND);
}

static void add_edge(struct graph *graph, const char *from, const char *to, const char *type,
                     double count, double per_event, double repeats, double early, double late)
{
    json_array_append_new(
        graph->edges,
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "from", from, "to", to, "type", type,
                  "count", isnan(count) ? json_null() : json_integer(llround(count)), "per_event",
                  figures_number(per_event), "repeats_share", figures_number(repeats),
                  "early_share", figures_number(early), "late_share", figures_number(late)));
}

static void add_edges(struct graph *graph, const struct life *life)
{
    const struct figures *figures = graph->figures;
    const struct kind *on = catalog_by_tag(&figures->program->catalog, life->kind);
    double done = done_of(graph, life);
    double early = count_of(graph, life, COUNT_EARLY);
    double given = count_of(graph, life, COUNT_GIVEN);
    json_t *friends = names_of(life->module, false);
    json_t *name;
    size_t i;

    if (on != NULL)
        add_edge(graph, on->name, life->name, "data", done, NAN, NAN,
                 rates_share(early, done, 1e-9),
                 rates_share(count_of(graph, life, COUNT_LATE), done - early, 1e-9));
    /* Friends of several kinds are counted together: how many of which is not known. */
    bool is_one = json_array_size(friends) == 1;
    json_array_foreach(friends, i, name)
    {
        add_edge(graph, json_string_value(name), life->name, "friend", is_one ? given : NAN,
                 is_one ? rates_share(given, done - early, 1e-9) : NAN, NAN, NAN, NAN);
    }
    json_decref(friends);
    for (size_t f = 0; life->module != NULL && f < life->module->find_count; f++) {
        const struct kind *kind = life->module->finds[f];
        double fresh = graph->is_recent ? recent_new(figures, life->id, kind->tag)
                                        : (double)figures_new(figures, life->id, kind->tag);
        double repeats = graph->is_recent ? recent_repeats(figures, life->id, kind->tag)
                                          : (double)figures_repeats(figures, life->id, kind->tag);
        bool is_twice = false;
        for (size_t e = 0; e < f; e++)
            is_twice |= life->module->finds[e] == kind;
        if (!is_twice)
            add_edge(graph, life->name, kind->name, "found", fresh, rates_share(fresh, done, 1e-9),
                     rates_share(repeats, fresh + repeats, 1e-9), NAN, NAN);
    }
}

static void add_cycle(void *context, const size_t *cycle, size_t length, double gain)
{
    struct graph *graph = context;
    const struct reading *reading = &graph->figures->reading;
    json_t *path = json_array();

    for (size_t i = 0; i <= length; i++) {
        const struct life *life = &reading->lives[cycle[i % length]];
        const struct kind *kind = catalog_by_tag(&graph->figures->program->catalog, life->kind);
        if (kind != NULL)
            json_array_append_new(path, json_string(kind->name));
        if (i < length)
            json_array_append_new(path, json_string(life->name));
    }
    json_array_append_new(graph->cycles,
                          json_pack("{s:o, s:o}", "path", path, "gain", figures_number(gain)));
}

/* What one event of i has raised of j, over the graph's time. */
static double *gains(const struct graph *graph)
{
    const struct figures *figures = graph->figures;
    const struct reading *reading = &figures->reading;
    size_t count = reading->life_count;
    double *raises = acc_zalloc(count * count * sizeof(double) + 1);

    for (size_t i = 0; i < count; i++) {
        const struct life *from = &reading->lives[i];
        double done = done_of(graph, from);
        for (size_t j = 0; j < count && done > 1e-9; j++) {
            const struct life *to = &reading->lives[j];
            if (!to->is_active || !from->is_active)
                continue;
            raises[j * count + i] =
                (graph->is_recent ? recent_new(figures, from->id, to->kind)
                                  : (double)figures_new(figures, from->id, to->kind)) /
                done;
        }
    }
    return raises;
}

static json_t *graph_life(const struct graph *graph, const struct life *life)
{
    const struct rates_lifecycle *rates = rates_of(graph->figures, life);
    json_int_t queued = life->in_packets + life->delayed;
    int64_t counts[COUNTS];

    for (int c = 0; c < COUNTS; c++)
        counts[c] = llround(count_of(graph, life, (enum count)c));
    return json_pack(
        "{s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:o}", "name", life->name, "done",
        (json_int_t)round(done_of(graph, life)), "done_per_s",
        figures_number(rates_per_s(graph->figures->rates, recent_done(graph->figures, life->id))),
        "outcomes", outcomes_json(counts), "failed", (json_int_t)counts[COUNT_FAILED], "queued",
        queued, "dead", (json_int_t)life->dead, "p95_ms",
        figures_number(histogram_quantile(&rates->latency, 0.95, 20) / 1e3));
}

json_t *figures_graph(const struct figures *figures, bool is_recent)
{
    struct graph graph = {
        .figures = figures, .is_recent = is_recent, .edges = json_array(), .cycles = json_array()};
    const struct catalog *catalog = &figures->program->catalog;
    json_t *kinds = json_array();
    json_t *lifecycles = json_array();

    for (size_t k = 0; k < catalog->count; k++) {
        const struct kind *kind = catalog->kinds[k];
        double fresh = recent_new(figures, -1, kind->tag);
        json_array_append_new(
            kinds, json_pack("{s:s, s:I, s:o}", "name", kind->name, "facts",
                             (json_int_t)(is_recent ? llround(fresh)
                                                    : figures_new(figures, -1, kind->tag)),
                             "new_per_s", figures_number(rates_per_s(figures->rates, fresh))));
    }
    for (size_t i = 0; i < figures->reading.life_count; i++) {
        const struct life *life = &figures->reading.lives[i];
        if (!life->is_active)
            continue;
        json_array_append_new(lifecycles, graph_life(&graph, life));
        add_edges(&graph, life);
    }
    double *raises = gains(&graph);
    uint16_t *on = acc_alloc(figures->reading.life_count * sizeof(*on) + 1);
    for (size_t i = 0; i < figures->reading.life_count; i++)
        on[i] = figures->reading.lives[i].kind;
    todo_cycles(figures->reading.life_count, raises, on, CYCLES_MOST, add_cycle, &graph);
    free(on);
    free(raises);
    return json_pack("{s:o, s:o, s:o, s:o}", "kinds", kinds, "lifecycles", lifecycles, "edges",
                     graph.edges, "cycles", graph.cycles);
}
