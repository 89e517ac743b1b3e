/*
 * Figures: what the process that keeps the board knows. figures.c is its loop; figures_read.c asks the
 * tables and figures_database.c the engine; figures_rates.c, figures_todo.c and figures_sums.c
 * compute; figures_json.c and figures_graph.c write the documents, figures_series.c the charts,
 * figures_metrics.c the metrics, figures_say.c the messages of the stream.
 */
#pragma once

#include "control.h"
#include "figures_rates.h"
#include "figures_todo.h"
#include "lifecycle.h"
#include "serve.h"

#include <jansson.h>

#define FIGURES_SAMPLE_S 3

/* A lifecycle of the database, active or removed, as its tallies and the queue say, all in one snapshot. */
struct life {
    char name[KIND_NAME_MAX + 1];
    int16_t id;
    uint16_t kind; /* tag of its data's */
    bool is_active;
    int32_t priority, generation;
    const struct lifecycle *module; /* NULL: not in this generation's modules */
    int64_t counts[COUNTS];
    int64_t in_packets, quarantined, oldest_born_us; /* events, events, wall clock (0: none) */
    int64_t claimed; /* of those in packets: in the hands of a worker here */
    int64_t delayed, dead, discarded;
    int64_t unread;        /* old facts that it has yet to see */
    double throttle_per_s; /* 0: none */
    double todo;           /* expected events until the fixpoint; NAN: it does not settle */
};

/* Finds of one lifecycle (0: what was ingested) and kind. */
struct find {
    int16_t lifecycle;
    uint16_t tag;
    int64_t fresh, repeats, contradictions;
};

struct reading {
    struct life *lives; /* by name */
    size_t life_count;
    struct find *finds;
    size_t find_count;
    int64_t at_us; /* wall clock of the snapshot */
    int64_t took_us;
    int32_t generation;
    bool has_replays;
};

/* What the engine says of itself; read at a slower pace. */
struct database_table {
    char name[64];
    int64_t live, dead, bytes;
};
struct database_worker { /* a worker of any machine */
    int32_t epoch, pid, generation;
    int64_t started_us;
    char host[65];
};
struct database {
    bool is_read;
    char version[32];
    int64_t connections, connections_most, oldest_us; /* of the longest transaction */
    int64_t commits, rollbacks, deadlocks, blocks_hit, blocks_read;
    int64_t wal_bytes; /* written since the cluster was made */
    double wal_per_s, commits_per_s;
    int64_t bytes; /* of the database; 0: not read yet */
    int64_t buckets, buckets_owned;
    struct database_table *tables; /* of the app's schema, largest first */
    size_t table_count;
    struct database_worker *workers;
    size_t worker_count;
    int64_t at_us; /* monotonic */
};

enum figures_state {
    STATE_EMPTY,
    STATE_PAUSED,
    STATE_STALLED,
    STATE_NOT_CONVERGING,
    STATE_CONVERGING,
    STATE_FIXPOINT_EXCEPT,
    STATE_FIXPOINT,
    STATES
};
extern const char *const figures_state_names[STATES];

struct generation_row {
    int32_t id;
    int64_t at_us;
    char sha[65];
};

struct figures {
    const struct serve_options *options;
    struct page *page;
    const struct program *program;
    struct rates *rates;
    struct pg pg;
    bool has_database; /* the last reading succeeded */
    struct reading reading;
    struct control control;
    struct database database;
    struct generation_row *generations; /* newest first */
    size_t generation_count;
    struct todo todo;
    double *work; /* by life: todo.work */
    double eta_low_s, eta_high_s;
    enum figures_state state;
    struct metrics *metrics; /* what the database knows */
    struct said *said;
    struct sampled *sampled;
    json_t *fields; /* by kind: the array of its fields, made once */
};

/* figures_read.c. All fail with ACC_ELOST or ACC_EDB and leave what they fill as it was. */
/* A session that only reads, for short statements. */
bool figures_connect(struct figures *figures, struct acc_error *err) ACC_MUST_CHECK;
/* Tallies, queue and routes in one snapshot, and the batch rows since the last call, into reading and rates. */
bool figures_read(struct figures *figures, struct acc_error *err) ACC_MUST_CHECK;
/* figures_database.c: what the engine knows, and the generations. with_sizes: sizes of tables and database too. */
bool figures_read_database(struct figures *figures, bool with_sizes,
                           struct acc_error *err) ACC_MUST_CHECK;
void figures_clear(struct figures *figures);

/* Sums that several documents show. */
int64_t life_done(const struct life *life);
int64_t life_ready(const struct life *life);
struct life *figures_life(const struct figures *figures, int16_t id); /* NULL: none */
/* New facts of a kind (any: -1) found by a lifecycle (any: -1; 0: ingested). */
int64_t figures_new(const struct figures *figures, int lifecycle, int tag);
int64_t figures_repeats(const struct figures *figures, int lifecycle, int tag);
/* The same as decayed sums of the last five minutes. */
double recent_new(const struct figures *figures, int lifecycle, int tag);
double recent_repeats(const struct figures *figures, int lifecycle, int tag);
double recent_done(const struct figures *figures, int lifecycle); /* -1: all */
double recent_count(const struct figures *figures, int lifecycle, enum count count);
/* Events that one new fact of the kind raises: active lifecycles that name it. */
int figures_wakes(const struct figures *figures, uint16_t tag);
double recent_raised(const struct figures *figures);
/* Events done per second, and raised by one event, over the run; over five minutes when it has just begun. */
double run_done_per_s(const struct figures *figures);
double run_branching(const struct figures *figures);

/* Sums over the active lifecycles. */
struct totals {
    int64_t facts, done, failed, ready, claimed, delayed, dead, discarded, unread, orphaned;
    int64_t oldest_born_us;
    int64_t contradictions;
};
void figures_totals(const struct figures *figures, struct totals *totals);
/* The first that holds of: paused, stalled, (not) converging, the fixpoint with or without exceptions. */
enum figures_state figures_state_of(const struct figures *figures, const struct totals *totals,
                                    int64_t now_us);

struct worker_counts {
    int alive, want, old;
};
/* Whether a worker of this host runs another generation than the current one, of the host or of the database. */
bool figures_is_old(const struct figures *figures, const struct page_slot *slot);
void figures_workers(const struct figures *figures, struct worker_counts *counts);

/* figures_json.c: numbers as documents show them, four digits; null for NAN. Documents are new references. */
json_t *figures_number(double value);
json_t *figures_time(int64_t wall_us); /* UTC, "2026-01-31T12:00:00.000Z"; null for 0 */
json_t *figures_exit(const struct page_exit *exit); /* null: none has ended */
json_t *figures_status(const struct figures *figures);
json_t *figures_workers_json(const struct figures *figures);
json_t *figures_generations(const struct figures *figures);
json_t *figures_database(const struct figures *figures);
/* figures_graph.c */
json_t *figures_kinds(struct figures *figures);
json_t *figures_lifecycles(const struct figures *figures);
json_t *figures_graph(const struct figures *figures, bool is_recent);
/* The matrix of what events raise, over the run: [j * life_count + i]. The caller's to free. */
double *figures_raises(const struct figures *figures);

/* figures_metrics.c */
void figures_metrics_open(struct figures *figures);
void figures_metrics_write(struct figures *figures, struct buf *out);
void figures_metrics_close(struct figures *figures);

/* figures_series.c: values for charts, each by what came since the last call. */
void figures_sample(struct figures *figures, int64_t at_s);
void figures_sample_close(struct figures *figures);
/* Names of series; NULL ends. of_lifecycle: those that a lifecycle has. */
extern const char *const figures_series_names[];
extern const char *const figures_lifecycle_series_names[];

/* figures_say.c: topics of the stream that are no documents: facts, events, workers, reload, audit. */
void figures_say_open(struct figures *figures);
/* Asks the database for little: labels of at most five facts, new rows of the audit, new signatures of errors. */
bool figures_say(struct figures *figures, struct acc_error *err) ACC_MUST_CHECK;
void figures_say_close(struct figures *figures);
