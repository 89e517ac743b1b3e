#include "conf/settings.h"

#include "conf/option.h"

#include <stdlib.h>

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

#define AT(field) .offset = offsetof(struct settings, field)
#define TEXT(field) .type = OPTION_TEXT, AT(field), .initial = ""
#define WORD(field, list, value) .type = OPTION_WORD, AT(field), .words = list, .initial = value
#define BOOL(field, value) .type = OPTION_BOOL, AT(field), .initial = value
#define RANGE(kind, field, low, high, value)                                                       \
    .type = kind, AT(field), .min = low, .max = high, .initial = value
#define COUNT(field, low, high, value) RANGE(OPTION_COUNT, field, low, high, value)
#define TIME(field, low, high, value) RANGE(OPTION_TIME, field, low, high, value)
#define BYTES(field, low, high, value) RANGE(OPTION_BYTES, field, low, high, value)
#define RELOAD .is_reloadable = true

const struct option_section option_sections[] = {
    {"database", "Where the facts are. Without a url accrete runs a PostgreSQL of its own"},
    {"postgres", "The PostgreSQL that accrete runs itself; unused with database.url"},
    {"data", "Where accrete keeps files"},
    {"log", "Log lines on standard error"},
    {"worker", "Processes that run lifecycles"},
    {"queue", "Events on their way to the workers"},
    {"ingest", "Facts on their way in"},
    {"http", "HTTP: facts in and out, figures, the pages"},
    {"bench", "Benchmarks"},
    {"faults", "Faults on purpose, for tests"},
};
const size_t option_section_count = sizeof(option_sections) / sizeof(option_sections[0]);

/* clang-format off */
const struct option options[] = {
    {"database.url", TEXT(database.url),
     .help = "URL or conninfo of PostgreSQL 14 or newer; unset: a private one. Passwords belong into url_file"},
    {"database.url_file", TEXT(database.url_file),
     .help = "File that holds the url, so that a password is in no command line and in no YAML"},
    {"database.schema", TEXT(database.schema),
     .help = "Schema of the app's tables; unset: the app's name"},
    {"database.engine", WORD(database.engine, "postgres", "postgres"),
     .help = "What speaks PostgreSQL's protocol there"},
    {"database.connect_timeout", TIME(database.connect_timeout_ms, 1, HOUR, "5s"),
     .help = "Longest wait for a connection"},
    {"database.statement_timeout", TIME(database.statement_timeout_ms, 1, DAY, "60s"), .has_zero = true,
     .help = "Longest run of a statement; 0: no limit"},

    {"postgres.bin_dir", TEXT(postgres.bin_dir),
     .help = "Folder of postgres and initdb; unset: the newest that is installed"},
    {"postgres.shared_buffers", BYTES(postgres.shared_buffers_bytes, MIB, TIB, "0"), .has_zero = true,
     .help = "Its page cache; 0: a quarter of the memory, 128MiB..4GiB"},
    {"postgres.max_wal", BYTES(postgres.max_wal_bytes, 64 * MIB, TIB, "8GiB"),
     .help = "Write-ahead log between two checkpoints"},

    {"data.dir", TEXT(data.dir),
     .help = "Data directory; unset: $XDG_STATE_HOME/accrete/APP, as root /var/lib/accrete/APP"},
    {"data.run_dir", TEXT(data.run_dir),
     .help = "Short folder for sockets; unset: one in $XDG_RUNTIME_DIR, /run or /tmp"},

    {"log.level", WORD(log.level, "error warn info debug", "info"), RELOAD,
     .help = "The least that is logged"},
    {"log.format", WORD(log.format, "text json", "text"), RELOAD,
     .help = "text is key=value"},

    {"worker.count", COUNT(worker.count, 0, 1024, "0"), RELOAD,
     .help = "Worker processes; 0: one a core"},
    {"worker.batch_events", COUNT(worker.batch_events, 1, 32768, "4000"), RELOAD,
     .help = "Events in one batch, which is one transaction"},
    {"worker.batch_finds", COUNT(worker.batch_finds, 1, 1000000, "20000"), RELOAD,
     .help = "Finds that end a batch"},
    {"worker.batch_friends", COUNT(worker.batch_friends, 1, 10000000, "100000"), RELOAD,
     .help = "Friend rows that end a batch of several events"},
    {"worker.friends_max", COUNT(worker.friends_max, 1, 10000000, "1000000"), RELOAD,
     .help = "Friend rows of one event; with more the event fails"},
    {"worker.seen", BYTES(worker.seen_bytes, MIB, TIB, "256MiB"), .has_zero = true, RELOAD,
     .help = "Memory of a worker for ids it knows committed; 0: none"},
    {"worker.mirror", BYTES(worker.mirror_bytes, MIB, GIB / 2, "32MiB"), .has_zero = true, RELOAD,
     .help = "Memory of a worker for copies of small kinds; 0: none"},
    {"worker.stuck", TIME(worker.stuck_ms, 100, DAY, "30s"), RELOAD,
     .help = "A worker whose callback takes longer is killed"},
    {"worker.grace", TIME(worker.grace_ms, 0, HOUR, "10s"), RELOAD,
     .help = "Time for the running batches to end after SIGTERM"},
    {"worker.batches_max", COUNT(worker.batches_max, 0, INT64_MAX, "0"), RELOAD,
     .help = "A worker is replaced after so many batches; 0: never"},
    {"worker.jit", BOOL(worker.jit, "yes"), RELOAD,
     .help = "LuaJIT compiles; no is slow, but a loop in Lua can be stopped from inside"},

    {"queue.buckets", RANGE(OPTION_POWER, queue.buckets, 1, 4096, "16"),
     .help = "Parts of the queue, each owned by one worker at a time; changed only when it is empty"},
    {"queue.attempts", COUNT(queue.attempts, 1, 100, "3"), RELOAD,
     .help = "Tries of a failing event before it is dead"},
    {"queue.retry", TIME(queue.retry_ms, 0, HOUR, "250ms"), RELOAD,
     .help = "Wait before the second try, doubled before each further one"},
    {"queue.packet_events", COUNT(queue.packet_events, 1, 16384, "1000"), RELOAD,
     .help = "Events of one packet"},
    {"queue.packet", BYTES(queue.packet_bytes, KIB, 64 * MIB, "256KiB"), RELOAD,
     .help = "Payload of one packet"},
    {"queue.hold", BYTES(queue.hold_bytes, KIB, TIB, "16MiB"), RELOAD,
     .help = "Packets that a worker holds in memory"},
    {"queue.poll", TIME(queue.poll_ms, 1, 60 * SECOND, "50ms"), RELOAD,
     .help = "Longest sleep of an idle worker"},
    {"queue.shuffle_seed", COUNT(queue.shuffle_seed, 0, INT64_MAX, "0"), RELOAD,
     .help = "Work is claimed in an order drawn from this seed, for tests; 0: by priority and age"},

    {"ingest.batch_lines", COUNT(ingest.batch_lines, 1, 1000000, "10000"), RELOAD,
     .help = "Facts of one transaction"},
    {"ingest.value", BYTES(ingest.value_bytes, KIB, GIB / 2, "64MiB"), RELOAD,
     .help = "Longest text, bytes, json or array"},

    {"http.enabled", BOOL(http.enabled, "yes"),
     .help = "accrete run serves HTTP"},
    {"http.listen", TEXT(http.listen),
     .help = "ADDRESS:PORT; unset: 127.0.0.1:7171, or the next free port up to 7199"},
    {"http.open", BOOL(http.open, "no"),
     .help = "Another address than loopback without tokens"},
    {"http.readonly", BOOL(http.readonly, "no"), RELOAD,
     .help = "Every change over HTTP is refused"},
    {"http.certificate", TEXT(http.certificate),
     .help = "PEM file of the certificate chain; unset: no TLS"},
    {"http.key", TEXT(http.key),
     .help = "PEM file of its key"},
    {"http.access_log", TEXT(http.access_log), RELOAD,
     .help = "A line a request: log (among the log lines), a file, or off (as when unset)"},
    {"http.who_header", TEXT(http.who_header), RELOAD,
     .help = "Header by which a proxy in front names the person, for the audit; unset: none"},
    {"http.processes", COUNT(http.processes, 1, 8, "1"),
     .help = "Processes that take requests and write facts"},
    {"http.queries", COUNT(http.queries, 1, 8, "2"),
     .help = "Processes that answer from the database"},
    {"http.routes", COUNT(http.routes, 1, 8, "1"),
     .help = "Processes that run the app's Lua routes, if it has any"},
    {"http.connections", COUNT(http.connections, 1, 100000, "1000"),
     .help = "Connections at once; more wait"},
    {"http.body", BYTES(http.body_bytes, KIB, GIB / 2, "8MiB"),
     .help = "Longest body of a request"},
    {"http.bodies", BYTES(http.bodies_bytes, MIB, TIB, "256MiB"),
     .help = "Bodies being received together; beyond it connections are refused"},
    {"http.unpacked", BYTES(http.unpacked_bytes, KIB, GIB, "64MiB"),
     .help = "What a compressed body may become"},
    {"http.request_timeout", TIME(http.request_ms, 100, HOUR, "30s"),
     .help = "Time for a request to arrive whole, and for an idle connection"},
    {"http.write_timeout", TIME(http.write_ms, 100, HOUR, "30s"),
     .help = "A client that takes none of its answer for so long is dropped"},
    {"http.read_timeout", TIME(http.read_timeout_ms, 10, HOUR, "2s"), RELOAD,
     .help = "Longest statement of a read"},
    {"http.route_timeout", TIME(http.route_ms, 100, HOUR, "10s"), RELOAD,
     .help = "Longest run of a Lua route, or between two pieces of an answer that it streams"},
    {"http.route_memory", BYTES(http.route_bytes, 16 * MIB, TIB, "1GiB"), RELOAD,
     .help = "Memory that Lua may take in a route process; a route that wants more fails"},
    {"http.waiting_requests", COUNT(http.waiting_requests, 1, 1000000, "4096"), RELOAD,
     .help = "Ingest requests that wait to be written; more are refused with 429"},
    {"http.waiting", BYTES(http.waiting_bytes, KIB, TIB, "128MiB"), RELOAD,
     .help = "Their bodies together; more are refused with 503"},
    {"http.streams", COUNT(http.streams, 1, 10000, "64"), RELOAD,
     .help = "Readers of /stream at once"},

    {"bench.limit", TIME(bench.limit_ms, 100, DAY, "2m"), RELOAD,
     .help = "Longest run of accrete bench and of POST /bench; one lifecycle gets at most a quarter of it"},

    {"faults.redeliver", BOOL(faults.redeliver, "no"), RELOAD,
     .help = "Every packet is processed twice"},
};
const size_t option_count = sizeof(options) / sizeof(options[0]);
/* clang-format on */

void settings_init(struct settings *settings)
{
    *settings = (struct settings){0};
    for (size_t i = 0; i < option_count; i++)
        if (!option_parse(&options[i], options[i].initial, settings))
            abort(); /* the table contradicts itself */
}

void settings_clear(struct settings *settings)
{
    for (size_t i = 0; i < option_count; i++)
        if (options[i].type == OPTION_TEXT || options[i].type == OPTION_WORD)
            free(*option_text(&options[i], settings));
    for (size_t i = 0; i < settings->app_count; i++) {
        free(settings->app[i].name);
        free(settings->app[i].value);
    }
    free(settings->app);
    *settings = (struct settings){0};
}

const struct option *option_find(const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

/* Where the app's setting of that name is, or would be. */
static size_t app_place(const struct settings *settings, const char *name, bool *is_there)
{
    size_t i = 0;

    while (i < settings->app_count && strcmp(settings->app[i].name, name) < 0)
        i++;
    *is_there = i < settings->app_count && strcmp(settings->app[i].name, name) == 0;
    return i;
}

const char *settings_app(const struct settings *settings, const char *name)
{
    bool is_there;
    size_t i = app_place(settings, name, &is_there);

    return is_there ? settings->app[i].value : NULL;
}

static void set_app(struct settings *settings, const char *name, const char *value)
{
    bool is_there;
    size_t i = app_place(settings, name, &is_there);

    if (is_there) {
        free(settings->app[i].value);
    } else {
        settings->app =
            acc_realloc(settings->app, (settings->app_count + 1) * sizeof(*settings->app));
        memmove(&settings->app[i + 1], &settings->app[i],
                (settings->app_count - i) * sizeof(*settings->app));
        settings->app_count++;
        settings->app[i].name = acc_strdup(name);
    }
    settings->app[i].value = acc_strdup(value);
}

bool settings_set(struct settings *settings, const char *where, const char *name, const char *value,
                  struct acc_error *err)
{
    const struct option *option = option_find(name);
    const char *nearest;
    struct buf text = {0};

    if (strncmp(name, "settings.", 9) == 0 && name[9] != '\0') {
        set_app(settings, name + 9, value);
        return true;
    }
    if (option != NULL && option_parse(option, value, settings))
        return true;

    if (option != NULL) {
        option_complain(option, value, &text);
    } else {
        buf_text(&text, "wanted a known option, got an unknown name");
        if ((nearest = option_nearest(name)) != NULL)
            buf_printf(&text, "; did you mean \"%s\"?", nearest);
    }
    acc_fail(err, ACC_EINPUT, "%s: %s: %s", where, name, text.data);
    buf_clear(&text);
    return false;
}

char *settings_get(const struct settings *settings, const char *name)
{
    const struct option *option = option_find(name);
    struct buf text = {0};

    if (strncmp(name, "settings.", 9) == 0) {
        const char *value = settings_app(settings, name + 9);
        return value == NULL ? NULL : acc_strdup(value);
    }
    if (option != NULL)
        option_format(option, settings, &text);
    return text.data;
}
