/*
 * Every option of accrete, in one struct. One table row in settings.c (name, type, unit, range,
 * default, reloadable, one sentence) makes the YAML parser, config/accrete.yaml, --help-config and
 * the ACCRETE_A__B environment names.
 */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One key of the app's own `settings:` map; values are kept as text, as written. */
struct app_setting {
    char *name;
    char *value;
};

struct settings {
    struct {
        char *url; /* libpq conninfo or URL; NULL: a private PostgreSQL in the data directory */
        char *
            url_file; /* a file that holds the URL, so that no password is in argv or YAML; NULL: none */
        char *schema; /* NULL: the app's name */
        char *engine; /* "postgres" */
        int64_t connect_timeout_ms;
        int64_t statement_timeout_ms;
    } database;
    struct {
        char *bin_dir;                /* directory of postgres and initdb; NULL: found */
        int64_t shared_buffers_bytes; /* 0: a quarter of the machine's memory, 128MiB..4GiB */
        int64_t max_wal_bytes;
    } postgres;
    struct {
        char *
            dir; /* data directory; NULL: $XDG_STATE_HOME/accrete/APP, as root /var/lib/accrete/APP */
        char *
            run_dir; /* short directory for sockets; NULL: $XDG_RUNTIME_DIR/accrete or /run/accrete or /tmp/... */
    } data;
    struct {
        char *level;  /* error warn info debug */
        char *format; /* text (key=value) or json */
    } log;
    struct {
        int64_t count;         /* worker processes; 0: one per core */
        int64_t batch_events;  /* events in one batch */
        int64_t batch_finds;   /* finds that end a batch */
        int64_t batch_friends; /* friend rows that end a batch of several events */
        int64_t friends_max;   /* friend rows of one event; beyond it the event fails */
        int64_t seen_bytes;    /* bound of the seen-filter */
        int64_t mirror_bytes;  /* bound of the mirrors of whole small kinds */
        int64_t stuck_ms;      /* a callback longer than this is killed */
        int64_t grace_ms;      /* drain time after SIGTERM */
        int64_t batches_max;   /* a worker ends after so many batches and is replaced; 0: never */
        bool jit;              /* LuaJIT compiler */
    } worker;
    struct {
        int64_t buckets;       /* power of two; changed only when drained */
        int64_t attempts;      /* tries of a failing event before it is dead */
        int64_t retry_ms;      /* wait before the second try; doubled each time */
        int64_t packet_events; /* events of one packet */
        int64_t packet_bytes;  /* payload of one packet */
        int64_t hold_bytes;    /* packets a worker holds in RAM */
        int64_t poll_ms;       /* longest sleep of an idle worker */
        int64_t
            shuffle_seed; /* 0: by priority and age; else claim order is shuffled from this seed (tests) */
    } queue;
    struct {
        int64_t batch_lines; /* facts of one ingest transaction */
        int64_t value_bytes; /* longest text, bytes, json or array value */
    } ingest;
    struct {
        bool enabled;
        char *listen;             /* "127.0.0.1:7171"; NULL: that, or the next free port */
        bool open;                /* another address than loopback without tokens */
        bool readonly;            /* every change is refused */
        char *certificate, *key;  /* PEM files; NULL: no TLS */
        char *access_log;         /* "off", "log" or a file */
        char *who_header;         /* set by a proxy in front, for the audit; NULL: none */
        int64_t processes;        /* fronts */
        int64_t queries;          /* query processes */
        int64_t routes;           /* route processes, where an app has routes */
        int64_t connections;      /* at once, a front */
        int64_t body_bytes;       /* longest body */
        int64_t bodies_bytes;     /* bodies being received together, a front */
        int64_t unpacked_bytes;   /* a gzip body may become so large */
        int64_t request_ms;       /* head and body, and idle */
        int64_t write_ms;         /* a reader that takes nothing */
        int64_t read_timeout_ms;  /* a statement of a read */
        int64_t route_ms;         /* a Lua route; beyond it its process is killed */
        int64_t route_bytes;      /* of Lua in a route process */
        int64_t waiting_requests; /* of ingest; more: 429 */
        int64_t waiting_bytes;    /* of ingest; more: 503 */
        int64_t streams;          /* readers of /stream */
    } http;
    struct {
        int64_t limit_ms; /* of a whole benchmark */
    } bench;
    struct {
        bool redeliver; /* every packet is processed twice (tests) */
    } faults;
    struct app_setting *app; /* the app's own `settings:`, sorted by name */
    size_t app_count;
};

/* Fills settings with the defaults. Nothing to free but by settings_clear. */
void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);

/*
 * Reads a YAML file over settings. Unknown key, wrong type, out of range: all errors of the file at
 * once, one a line, as `file:line:col: worker.count: wanted 1..256, got "many"`, in *messages
 * (caller frees); err says how many. On failure settings are unchanged. A file that does not exist
 * is ACC_ESYS.
 */
bool settings_read_file(struct settings *settings, const char *path, char **messages,
                        struct acc_error *err) ACC_MUST_CHECK;

/*
 * Applies ACCRETE_A__B=value of the environment; ACCRETE_APP alone is not an option. An unknown
 * ACCRETE_A__B is an error.
 */
bool settings_read_env(struct settings *settings, char **environment, char **messages,
                       struct acc_error *err) ACC_MUST_CHECK;

/*
 * Sets one option by its dotted name ("worker.count") from text, as the environment and `--set` do.
 * where names the source.
 */
bool settings_set(struct settings *settings, const char *where, const char *name, const char *value,
                  struct acc_error *err) ACC_MUST_CHECK;

/*
 * The value of an option in the form settings_set takes, or NULL when unset. Caller frees. NULL
 * also for an unknown name.
 */
char *settings_get(const struct settings *settings, const char *name);

/* The app's own setting of that name, or NULL; borrowed. */
const char *settings_app(const struct settings *settings, const char *name);

/* Writes config/accrete.yaml: every option at its default, explained. */
void settings_write_default(FILE *out);

/* Writes --help-config: name, unit, range, default, whether a reload applies it, one sentence. */
void settings_write_help(FILE *out);
