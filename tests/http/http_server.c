/*
 * A server for tests of host/http: routes that echo, stream, forward and hang.
 *
 *   http_server OPTION=VALUE...   listen, forward, certificate, key, body, bodies, connections, request, write, access,
 *                                 behind_front, one_at_a_time, limit
 *
 * Prints "listening NAME", and after a line on stdin that says "counts" one line of figures, after "reload" what came of
 * reading the certificate again. SIGTERM drains; it ends when no connection is left, or after two seconds.
 */
#include "base/buf.h"
#include "base/log.h"
#include "http/http.h"
#include "http/router.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READERS 1024

struct reader {
    struct http_stream *stream;
};

struct program {
    struct http_server *server;
    struct http_tls *tls;
    struct http_timer *beat;
    const char *forward;
    int64_t limit_ms;
    struct reader *readers[READERS];
    char message[128];
    int message_users, skipped;
    int64_t beats;
    struct http_request *late[READERS];
    size_t late_count;
};

static volatile sig_atomic_t is_told_to_stop;

static void on_signal(int number)
{
    (void)number;
    is_told_to_stop = 1;
}

static const char *const routes[][2] = {
    {"GET", "/"},
    {"POST", "/echo"},
    {"GET", "/bytes/{count}"},
    {"GET", "/stream/{count}"},
    {"GET", "/events"},
    {"GET", "/hang"},
    {"GET", "/late"},
    {"GET", "/query"},
    {"GET", "/abort"},
    {"GET", "/known"},
    {"GET", "/who"},
    {"GET", "/sleep/{ms}"},
    {"GET", "/empty"},
    {"POST", "/via/{rest}"},
    {"GET", "/via/{rest}"},
    {"GET", "/cut"},
    {"GET", "/via/bytes/{count}"},
    {"GET", "/via/stream/{count}"},
    {"GET", "/via/sleep/{ms}"},
    {"GET", "/exit"},
    {"GET", "/pauses/{count}"},
    {"GET", "/abort_busy/{count}"},
};

static const char *pattern_at(const void *context, size_t index, const char **method)
{
    (void)context;
    if (index >= sizeof(routes) / sizeof(routes[0]))
        return NULL;
    *method = routes[index][0];
    return routes[index][1];
}

static long number_of(struct http_text text)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%.*s", (int)text.size, text.at);
    return strtol(digits, NULL, 10);
}

/* A body of so many bytes, in pieces of at most 100,000. */
struct flow {
    long left;
    bool is_aborted;
};

static void flow_more(void *context, struct http_stream *stream)
{
    static char bytes[100000];
    struct flow *flow = context;
    size_t size = flow->left < (long)sizeof(bytes) ? (size_t)flow->left : sizeof(bytes);

    memset(bytes, 'x', sizeof(bytes));
    if (flow->is_aborted && flow->left == 0) {
        http_stream_abort(stream);
        return;
    }
    flow->left -= (long)size;
    http_stream_send(stream, bytes, size, flow->left == 0 && !flow->is_aborted);
}

static const struct http_stream_calls flow_calls = {flow_more, free};

static void answer_stream(struct http_request *request, long bytes, bool is_aborted)
{
    struct flow *flow = calloc(1, sizeof(*flow));

    flow->left = bytes;
    flow->is_aborted = is_aborted;
    flow_more(flow, http_stream_begin(request, 200, "text/plain", &flow_calls, flow));
}

static struct program program;

/* A body of so many bytes, of 500 more in the turn after them, and of the last 500 after a pause. */
struct pauses {
    struct http_stream *stream;
    struct http_timer *timer;
    int pieces;
};

static void pauses_due(void *context)
{
    struct pauses *pauses = context;
    char bytes[500];

    memset(bytes, 'x', sizeof(bytes));
    http_stream_send(pauses->stream, bytes, sizeof(bytes), pauses->pieces > 1);
}

static void pauses_more(void *context, struct http_stream *stream)
{
    struct pauses *pauses = context;

    (void)stream;
    http_timer_set(pauses->timer, ++pauses->pieces == 1 ? 0 : 400);
}

static void pauses_closed(void *context)
{
    struct pauses *pauses = context;

    http_timer_free(pauses->timer);
    free(pauses);
}

/* The first piece of count bytes; is_aborted: with it the stream breaks off, else it goes on as above. */
static void answer_pauses(struct http_request *request, long count, bool is_aborted)
{
    static const struct http_stream_calls calls = {pauses_more, pauses_closed};
    struct pauses *pauses = calloc(1, sizeof(*pauses));
    char *bytes = malloc((size_t)count + 1);

    memset(bytes, 'x', (size_t)count);
    pauses->timer = http_timer_new(program.server, pauses_due, pauses);
    pauses->stream = http_stream_begin(request, 200, "text/plain", &calls, pauses);
    http_stream_send(pauses->stream, bytes, (size_t)count, false);
    if (is_aborted)
        http_stream_abort(pauses->stream);
    free(bytes);
}

static void message_released(void *owner)
{
    (void)owner;
    program.message_users--;
}

static void reader_closed(void *context)
{
    for (size_t i = 0; i < READERS; i++)
        if (program.readers[i] == context)
            program.readers[i] = NULL;
    free(context);
}

static const struct http_stream_calls reader_calls = {NULL, reader_closed};

static void answer_events(struct http_request *request)
{
    static const char hello[] = "retry: 2000\n\n";
    size_t place = 0;

    while (place < READERS && program.readers[place] != NULL)
        place++;
    if (place == READERS) {
        http_add_header(request, "retry-after", "1");
        http_answer_error(request, 503, "too_many_readers", NULL, "at most %d read at once",
                          READERS);
        return;
    }
    program.readers[place] = calloc(1, sizeof(struct reader));
    program.readers[place]->stream =
        http_stream_begin(request, 200, "text/event-stream", &reader_calls, program.readers[place]);
    http_stream_send(program.readers[place]->stream, hello, strlen(hello), false);
}

static void on_beat(void *context)
{
    (void)context;
    http_timer_set(program.beat, 50);
    if (program.message_users > 0)
        return;
    snprintf(program.message, sizeof(program.message), "id: %" PRId64 "\ndata: beat\n\n",
             ++program.beats);
    for (size_t i = 0; i < READERS; i++) {
        struct reader *reader = program.readers[i];

        if (reader == NULL)
            continue;
        if (http_stream_is_busy(reader->stream)) {
            program.skipped++;
            continue;
        }
        program.message_users++;
        http_stream_send_shared(reader->stream, program.message, strlen(program.message),
                                message_released, NULL);
    }
}

static void answer_query(struct http_request *request)
{
    json_t *pairs = json_array();
    const char *name, *value;
    size_t place = 0;

    for (size_t i = 0; http_query_at(request, i, &name, &value); i++)
        json_array_append_new(pairs, json_pack("[s,s]", name, value));
    value = http_query(request, "f", &place);
    http_answer_json(request, 200,
                     json_pack("{s:o,s:s?,s:s?}", "pairs", pairs, "first", value, "second",
                               http_query(request, "f", &place)));
}

static void answer_who(struct http_request *request)
{
    struct http_text host = http_header(request, "host");

    http_answer_json(request, 200,
                     json_pack("{s:s,s:i,s:s,s:s,s:s,s:b,s:s%,s:s%}", "who", http_who(request),
                               "role", http_role(request), "peer", http_peer(request), "id",
                               http_request_id(request), "trace", http_trace(request), "tls",
                               http_is_tls(request), "host", host.at, host.size, "path",
                               http_path(request).at, http_path(request).size));
}

static void forward(struct http_request *request)
{
    struct http_text who = http_header(request, "x-test-who");
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)who.size, who.at);
    if (who.size > 0)
        http_set_who(request, name, HTTP_ROLE_INGEST);
    http_forward(request, program.forward, program.limit_ms);
}

static void handle(void *context, struct http_request *request)
{
    struct router_match match;
    struct http_text body = http_body(request);
    const char *pattern;

    (void)context;
    if (program.forward != NULL && http_path(request).size > 5 &&
        memcmp(http_path(request).at, "/via/", 5) == 0) {
        forward(request);
        return;
    }
    struct http_text path = http_path(request);

    if (path.size > 5 && memcmp(path.at, "/via/", 5) == 0)
        path = (struct http_text){path.at + 4, path.size - 4};
    router_find(pattern_at, NULL, http_method(request), path, &match);
    if (match.route < 0) {
        if (match.allow[0] == '\0') {
            http_answer_error(request, 404, "not_found", NULL, "there is nothing at \"%.*s\"",
                              (int)path.size, path.at);
        } else {
            http_add_header(request, "allow", match.allow);
            http_answer_error(request, 405, "bad_method", NULL, "wanted %s", match.allow);
        }
        return;
    }
    pattern = routes[match.route][1];
    if (strcmp(pattern, "/") == 0)
        http_answer_text(request, 200, "hello\n");
    else if (strcmp(pattern, "/echo") == 0)
        http_answer(request, 200, "application/octet-stream", body.at, body.size);
    else if (strcmp(pattern, "/bytes/{count}") == 0) {
        size_t size = (size_t)number_of(match.parts[0]);
        char *bytes = malloc(size + 1);

        memset(bytes, 'x', size);
        http_answer(request, 200, "text/plain", bytes, size);
        free(bytes);
    } else if (strcmp(pattern, "/stream/{count}") == 0)
        answer_stream(request, number_of(match.parts[0]), false);
    else if (strcmp(pattern, "/pauses/{count}") == 0)
        answer_pauses(request, number_of(match.parts[0]), false);
    else if (strcmp(pattern, "/abort_busy/{count}") == 0)
        answer_pauses(request, number_of(match.parts[0]), true);
    else if (strcmp(pattern, "/abort") == 0)
        answer_stream(request, 1000, true);
    else if (strcmp(pattern, "/events") == 0)
        answer_events(request);
    else if (strcmp(pattern, "/hang") == 0 || strcmp(pattern, "/late") == 0) {
        if (program.late_count == READERS) {
            http_answer_error(request, 503, "full", NULL, "too many wait");
            return;
        }
        program.late[program.late_count++] = request;
    } else if (strcmp(pattern, "/query") == 0)
        answer_query(request);
    else if (strcmp(pattern, "/known") == 0) {
        if (!http_is_known(request, "tag1"))
            http_answer_text(request, 200, "content\n");
    } else if (strcmp(pattern, "/who") == 0)
        answer_who(request);
    else if (strcmp(pattern, "/sleep/{ms}") == 0) {
        usleep((useconds_t)number_of(match.parts[0]) * 1000);
        http_answer_text(request, 200, "slept\n");
    } else if (strcmp(pattern, "/empty") == 0)
        http_answer(request, 204, NULL, NULL, 0);
    else if (strcmp(pattern, "/exit") == 0 || strcmp(pattern, "/cut") == 0)
        _exit(3);
    else
        http_answer_error(request, 404, "not_found", "rest", "there is nothing at \"%.*s\"",
                          (int)path.size, path.at);
}

/* Late answers go out at the end of the turn after the one they came in; hung ones never do. */
static void on_turn(void *context)
{
    size_t kept = 0;

    (void)context;
    for (size_t i = 0; i < program.late_count; i++) {
        struct http_text path = http_path(program.late[i]);

        if (path.size == 5 && memcmp(path.at, "/late", 5) == 0)
            http_answer_text(program.late[i], 200, "late\n");
        else
            program.late[kept++] = program.late[i];
    }
    program.late_count = kept;
}

static void print_counts(void)
{
    struct http_counts counts;
    char text[128] = "", *pages = text;
    FILE *statm = fopen("/proc/self/statm", "r"); /* pages: all, then those in memory */

    if (statm != NULL) {
        if (fgets(text, sizeof(text), statm) != NULL)
            strtol(text, &pages, 10);
        fclose(statm);
    }
    http_server_counts(program.server, &counts);
    printf("accepted=%" PRIu64 " requests=%" PRIu64 " 2xx=%" PRIu64 " 4xx=%" PRIu64 " 5xx=%" PRIu64
           " refused_heads=%" PRIu64 " refused_bodies=%" PRIu64 " dropped_writers=%" PRIu64
           " connections=%" PRId64 " body_bytes=%" PRId64 " streams=%" PRId64
           " skipped=%d rss_kib=%ld\n",
           counts.accepted, counts.requests, counts.by_class[2], counts.by_class[4],
           counts.by_class[5], counts.refused_heads, counts.refused_bodies, counts.dropped_writers,
           counts.connections, counts.body_bytes_now, counts.streams, program.skipped,
           strtol(pages, NULL, 10) * sysconf(_SC_PAGESIZE) / 1024);
}

static void on_stdin(void *context)
{
    char line[64];
    ssize_t size = read(0, line, sizeof(line) - 1);
    struct acc_error err;

    (void)context;
    if (size <= 0) {
        is_told_to_stop = 1;
        return;
    }
    line[size] = '\0';
    if (strcmp(line, "reload\n") == 0)
        printf("reload %s\n", http_tls_reload(program.tls, &err) ? "done" : err.text);
    else if (strcmp(line, "drain\n") == 0)
        http_server_drain(program.server);
    if (strcmp(line, "reload\n") != 0)
        print_counts();
}

static const char *option(char **arguments, const char *name, const char *initial)
{
    for (; *arguments != NULL; arguments++)
        if (strncmp(*arguments, name, strlen(name)) == 0 && (*arguments)[strlen(name)] == '=')
            return *arguments + strlen(name) + 1;
    return initial;
}

static int64_t number(char **arguments, const char *name, int64_t initial)
{
    const char *text = option(arguments, name, NULL);

    return text == NULL ? initial : strtoll(text, NULL, 10);
}

static void finish(int listener)
{
    for (size_t i = 0; i < program.late_count; i++)
        if (http_path(program.late[i]).size > 0)
            http_answer_error(program.late[i], 503, "stopping", NULL, "the server stops");
    program.late_count = 0;
    for (size_t i = 0; i < READERS; i++)
        if (program.readers[i] != NULL)
            http_stream_send(program.readers[i]->stream, "", 0, true);
    http_timer_set(program.beat, -1);
    http_server_drain(program.server);
    for (int turns = 0; turns < 200 && !http_server_is_empty(program.server); turns++)
        http_server_turn(program.server, 10);
    close(listener);
}

int main(int count, char **arguments)
{
    struct acc_error err = {0};
    struct http_options options = {.name = "test"};
    struct http_watch *watch = NULL;
    int listener;
    char *name;

    (void)count;
    arguments++;
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_setup(LOG_INFO, false);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    options.body_bytes = number(arguments, "body", 1 << 20);
    options.bodies_bytes = number(arguments, "bodies", 64 << 20);
    options.connections = number(arguments, "connections", 1000);
    options.request_ms = number(arguments, "request", 30000);
    options.write_ms = number(arguments, "write", 30000);
    options.access_log = option(arguments, "access", "off");
    options.is_behind_front = number(arguments, "behind_front", 0) != 0;
    program.forward = option(arguments, "forward", NULL);
    program.limit_ms = number(arguments, "limit", 1000);
    listener = http_listen(option(arguments, "listen", "127.0.0.1:0"), &err);
    if (listener < 0 || (program.server = http_server_new(&options, &err)) == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (option(arguments, "certificate", NULL) != NULL &&
        (program.tls = http_tls_new(option(arguments, "certificate", NULL),
                                    option(arguments, "key", ""), &err)) == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (!http_server_listen(program.server, dup(listener), program.tls, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    http_server_handle(program.server, handle, NULL);
    http_server_each_turn(program.server, on_turn, NULL);
    if (number(arguments, "one_at_a_time", 0) != 0)
        http_server_one_at_a_time(program.server);
    program.beat = http_timer_new(program.server, on_beat, NULL);
    http_timer_set(program.beat, 50);
    watch = http_watch_new(program.server, 0, on_stdin, NULL);
    name = http_listen_name(listener);
    printf("listening %s\n", name);
    free(name);
    while (!is_told_to_stop && http_server_turn(program.server, 1000))
        ;
    finish(listener);
    print_counts();
    http_watch_free(watch);
    http_timer_free(program.beat);
    http_server_free(program.server);
    http_tls_free(program.tls);
    return 0;
}
