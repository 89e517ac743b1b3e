/* Answers that the board has ready: copied as they are, so that asking costs the database nothing. */
#include "api/handlers.h"

#include "base/clock.h"
#include "figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERIES_NAMES_MAX 32
#define OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

static void not_yet(struct api_call *call)
{
    http_add_header(call->request, "Retry-After", "1");
    http_answer_error(call->request, 503, "not_ready", NULL,
                      "nothing has been read from the database yet");
}

static void answer_document(struct api_call *call, enum board_document document)
{
    static struct buf body;
    uint64_t version;
    int64_t at_us;
    char tag[48];

    if (!board_get(call->api->board, document, &body, &version, &at_us)) {
        not_yet(call);
        return;
    }
    /* The time tells boards of different hosts apart, which all count versions from 1. */
    snprintf(tag, sizeof(tag), "%d-%llx-%llx", (int)document, (unsigned long long)version,
             (unsigned long long)at_us);
    if (!http_is_known(call->request, tag))
        http_answer(call->request, 200, "application/json", body.data, body.size);
}

void api_status(struct api_call *call)
{
    answer_document(call, BOARD_STATUS);
}

void api_kinds(struct api_call *call)
{
    answer_document(call, BOARD_KINDS);
}

void api_lifecycles(struct api_call *call)
{
    answer_document(call, BOARD_LIFECYCLES);
}

void api_workers(struct api_call *call)
{
    answer_document(call, BOARD_WORKERS);
}

void api_generations(struct api_call *call)
{
    answer_document(call, BOARD_GENERATIONS);
}

void api_database(struct api_call *call)
{
    answer_document(call, BOARD_DATABASE);
}

void api_graph(struct api_call *call)
{
    size_t place = 0;
    const char *window = http_query(call->request, "window", &place);

    if (window == NULL || strcmp(window, "all") == 0)
        answer_document(call, BOARD_GRAPH_ALL);
    else if (strcmp(window, "5m") == 0)
        answer_document(call, BOARD_GRAPH_5M);
    else
        http_answer_error(call->request, 400, "bad_parameter", "window",
                          "window: wanted all or 5m, got \"%.40s\"", window);
}

/* Series */

static bool read_window(struct api_call *call, enum board_window *window)
{
    static const char *const names[BOARD_WINDOWS] = {"15m", "1h", "6h", "24h"};
    size_t place = 0;
    const char *text = http_query(call->request, "window", &place);

    *window = WINDOW_1H;
    for (size_t w = 0; text != NULL && w < BOARD_WINDOWS; w++) {
        if (strcmp(text, names[w]) != 0)
            continue;
        *window = (enum board_window)w;
        return true;
    }
    if (text == NULL)
        return true;
    http_answer_error(call->request, 400, "bad_parameter", "window",
                      "window: wanted 15m, 1h, 6h or 24h, got \"%.40s\"", text);
    return false;
}

static bool is_among(const char *name, const char *const *names, size_t *count)
{
    for (*count = 0; names[*count] != NULL; ++*count) {
        if (strcmp(names[*count], name) == 0)
            return true;
    }
    return false;
}

static size_t read_names(struct api_call *call, const char *const *known, const char **names)
{
    size_t place = 0;
    size_t count = 0;
    size_t among;
    const char *name;

    while ((name = http_query(call->request, "name", &place)) != NULL) {
        if (!is_among(name, known, &among)) {
            api_unknown(call, "series", "name", name, known, among);
            return 0;
        }
        if (count == SERIES_NAMES_MAX) {
            http_answer_error(call->request, 400, "bad_parameter", "name",
                              "wanted at most %d names", SERIES_NAMES_MAX);
            return 0;
        }
        names[count++] = name;
    }
    if (count == 0)
        http_answer_error(call->request, 400, "bad_parameter", "name",
                          "wanted at least one name, as in name=events_done");
    return count;
}

static json_t *points_json(const double *values, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++)
        json_array_append_new(list, figures_number(values[i]));
    return list;
}

static json_t *marks_json(const struct board *board, int64_t since_s)
{
    int64_t t[BOARD_MARKS];
    char text[BOARD_MARKS][64];
    json_t *list = json_array();
    int count = board_marks(board, since_s, t, text, BOARD_MARKS);

    for (int i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("{s:I, s:s}", "t", (json_int_t)t[i], "text", text[i]));
    return list;
}

/* All of the same time; false when a sample came between them. */
static bool read_series(const struct board *board, const char *const *names, size_t name_count,
                        const char *lifecycle, enum board_window window, json_t **answer)
{
    int64_t t[BOARD_POINTS];
    int64_t first[BOARD_POINTS];
    double values[BOARD_POINTS];
    int count = -1;
    int step_s = 0;
    json_t *series = json_object();
    json_t *times = json_array();
    bool is_same = true;

    for (size_t n = 0; n < name_count; n++) {
        int got = board_series(board, names[n], lifecycle, window, t, values, &step_s);
        if (got < 0) {
            json_object_set_new(series, names[n], json_null());
            continue;
        }
        if (count < 0) {
            count = got;
            memcpy(first, t, (size_t)got * sizeof(t[0]));
        }
        is_same = is_same && got == count && (got == 0 || t[0] == first[0]);
        json_object_set_new(series, names[n], points_json(values, got));
    }
    for (int i = 0; i < count; i++)
        json_array_append_new(times, json_integer(first[i]));
    *answer =
        json_pack("{s:o, s:i, s:o, s:o}", "t", times, "step_s", step_s, "series", series, "marks",
                  marks_json(board, count > 0 ? first[0] : clock_wall_us() / 1000000));
    return is_same;
}

/* A series without a sample so far has gaps only. */
static void fill_gaps(json_t *answer)
{
    json_t *series = json_object_get(answer, "series");
    size_t count = json_array_size(json_object_get(answer, "t"));
    const char *name;
    json_t *points;
    void *next;

    json_object_foreach_safe(series, next, name, points)
    {
        if (!json_is_null(points))
            continue;
        json_t *gaps = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(gaps, json_null());
        json_object_set_new(series, name, gaps);
    }
}

void api_series(struct api_call *call)
{
    const char *names[SERIES_NAMES_MAX];
    size_t place = 0;
    const char *lifecycle = http_query(call->request, "lifecycle", &place);
    enum board_window window;
    json_t *answer = NULL;

    if (lifecycle != NULL && !api_is_lifecycle(call, "lifecycle", lifecycle))
        return;
    lifecycle = lifecycle == NULL ? "" : lifecycle;
    size_t count = read_names(
        call, *lifecycle == '\0' ? figures_series_names : figures_lifecycle_series_names, names);
    if (count == 0 || !read_window(call, &window))
        return;
    if (board_since(call->api->board) == 0) {
        not_yet(call);
        return;
    }
    for (int tries = 0; tries < 3; tries++) {
        json_decref(answer);
        if (read_series(call->api->board, names, count, lifecycle, window, &answer))
            break;
    }
    fill_gaps(answer);
    http_answer_json(call->request, 200, answer);
}

/* Health */

void api_live(struct api_call *call)
{
    http_answer_json(call->request, 200,
                     json_pack("{s:b, s:s}", "live", 1, "version", ACC_VERSION));
}

static bool board_is_kept(const struct page *page)
{
    for (size_t s = 0; s < PAGE_SERVICES; s++) {
        if (page->services[s].pid != 0 && page->services[s].role == SERVICE_FIGURES)
            return true;
    }
    return false;
}

void api_ready(struct api_call *call)
{
    const struct page *page = call->api->page;
    struct buf text = {0};
    uint64_t version;
    int64_t at_us;
    int workers = 0;
    json_t *status = NULL;

    if (board_get(call->api->board, BOARD_STATUS, &text, &version, &at_us))
        status = json_loadb(text.data, text.size, 0, NULL);
    buf_clear(&text);
    for (size_t s = 0; s < PAGE_SLOTS; s++)
        workers += page->slots[s].pid != 0 && page->slots[s].is_quarantine == 0;
    bool has_database = board_is_kept(page) && json_is_true(json_object_get(status, "database"));
    bool is_ready = has_database && workers > 0 && page->draining == 0;
    json_decref(status);
    if (!is_ready)
        http_add_header(call->request, "Retry-After", "1");
    http_answer_json(call->request, is_ready ? 200 : 503,
                     json_pack("{s:b, s:b, s:i, s:i}", "ready", (int)is_ready, "database",
                               (int)has_database, "workers", workers, "generation",
                               (int)page->generation));
}

/* Metrics */

static void count(struct metrics *metrics, const char *name, const char *help, const char *label,
                  const char *value, double more)
{
    struct metric_family family = {name, METRIC_COUNTER, help, {label}};

    metric_add(metrics_get(metrics, &family, &value, NULL), more);
}

static void gauge(struct metrics *metrics, const char *name, const char *help, const char *process,
                  double now)
{
    struct metric_family family = {name, METRIC_GAUGE, help, {"process"}};

    metric_set(metrics_get(metrics, &family, &process, NULL), now);
}

static const char *process_number(const struct page *page)
{
    static char number[12] = "0";

    for (size_t s = 0; s < PAGE_SERVICES; s++) {
        if (page->services[s].pid == getpid())
            snprintf(number, sizeof(number), "%d", (int)page->services[s].number);
    }
    return number;
}

static void meter_http(struct api *api, struct metrics *metrics, const char *process)
{
    static const char *const classes[] = {"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static struct http_counts last;
    struct http_counts now;

    http_server_counts(api->server, &now);
    for (size_t c = 2; c < 6; c++)
        count(metrics, "accrete_http_requests", "Requests answered, by class of status", "status",
              classes[c], (double)(now.by_class[c] - last.by_class[c]));
    count(metrics, "accrete_http_connections_accepted", "Connections accepted", NULL, NULL,
          (double)(now.accepted - last.accepted));
    count(metrics, "accrete_http_refused", "Requests refused before they were looked at", "part",
          "head", (double)(now.refused_heads - last.refused_heads));
    count(metrics, "accrete_http_refused", "Requests refused before they were looked at", "part",
          "body", (double)(now.refused_bodies - last.refused_bodies));
    count(metrics, "accrete_http_readers_dropped", "Connections whose reader took nothing", NULL,
          NULL, (double)(now.dropped_writers - last.dropped_writers));
    gauge(metrics, "accrete_http_connections", "Connections open now", process,
          (double)now.connections);
    gauge(metrics, "accrete_http_streams", "Readers of streams now", process, (double)now.streams);
    gauge(metrics, "accrete_http_bodies_bytes", "Bodies being received now", process,
          (double)now.body_bytes_now);
    last = now;
}

static void meter_intake(struct api *api, struct metrics *metrics, const char *process)
{
    static struct intake_counts last;
    struct intake_counts now = {0};

    if (api->intake == NULL)
        return;
    intake_counts(api->intake, &now);
    count(metrics, "accrete_ingest_requests", "Requests with facts", NULL, NULL,
          (double)(now.requests - last.requests));
    count(metrics, "accrete_ingest_transactions", "Transactions that wrote such facts", NULL, NULL,
          (double)(now.transactions - last.transactions));
    count(metrics, "accrete_ingest_facts", "Facts sent over HTTP, by what became of them", "result",
          "new", (double)(now.facts - last.facts));
    count(metrics, "accrete_ingest_facts", "Facts sent over HTTP, by what became of them", "result",
          "repeat", (double)(now.repeats - last.repeats));
    count(metrics, "accrete_ingest_facts", "Facts sent over HTTP, by what became of them", "result",
          "refused", (double)(now.refused - last.refused));
    count(metrics, "accrete_ingest_busy", "Requests refused because too many waited", NULL, NULL,
          (double)(now.refused_busy - last.refused_busy));
    count(metrics, "accrete_ingest_connections_lost",
          "Losses of the connection that writes such facts", NULL, NULL,
          (double)(now.lost - last.lost));
    gauge(metrics, "accrete_ingest_waiting_requests", "Requests that wait to be written", process,
          (double)now.waiting);
    gauge(metrics, "accrete_ingest_waiting_bytes", "Their bodies", process,
          (double)now.waiting_bytes);
    last = now;
}

void api_meters(struct api *api)
{
    struct metrics *metrics = board_metrics(api->board);
    const char *process = process_number(api->page);

    meter_http(api, metrics, process);
    meter_intake(api, metrics, process);
}

void api_metrics(struct api_call *call)
{
    static struct buf body;
    static struct buf database;
    uint64_t version;
    int64_t at_us;

    api_meters(call->api);
    buf_reset(&body);
    metrics_render(board_metrics(call->api->board), false, &body);
    if (board_get(call->api->board, BOARD_METRICS, &database, &version, &at_us))
        buf_add(&body, database.data, database.size);
    buf_text(&body, "# EOF\n");
    http_answer(call->request, 200, OPENMETRICS, body.data, body.size);
}
