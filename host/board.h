/*
 * Board: what one process (figures) knows of the whole, put up for the others in shared memory: documents ready to be
 * sent, series for charts, messages of the stream. One writer, any number of readers, no locks: a reader copies, and copies
 * again when it was changed meanwhile. Made by the master before it forks.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "metrics.h"

enum board_document {
    BOARD_STATUS,      /* /status */
    BOARD_KINDS,       /* /kinds */
    BOARD_LIFECYCLES,  /* /lifecycles: array */
    BOARD_GRAPH_ALL,   /* /graph?window=all */
    BOARD_GRAPH_5M,    /* /graph?window=5m */
    BOARD_WORKERS,     /* /workers */
    BOARD_GENERATIONS, /* /generations */
    BOARD_DATABASE,    /* /database */
    BOARD_METRICS,     /* OpenMetrics text of what the database knows, without # EOF */
    BOARD_TOKENS,      /* struct token_set (tokens.h): whom the front lets in */
    BOARD_DOCUMENTS
};

/* Topics of the stream; lifecycle:NAME is filtered from LIFECYCLES by the front. */
enum board_topic {
    TOPIC_STATUS,
    TOPIC_LIFECYCLES,
    TOPIC_FACTS,
    TOPIC_EVENTS,
    TOPIC_WORKERS,
    TOPIC_RELOAD,
    TOPIC_AUDIT,
    BOARD_TOPICS
};
extern const char *const board_topic_names[BOARD_TOPICS];

struct board;

/* In a file of the run directory, shared by all processes forked afterwards. */
struct board *board_create(const char *run_dir, struct acc_error *err) ACC_MUST_CHECK;
void board_close(struct board *board);
/* Metrics of this host's processes. */
struct metrics *board_metrics(struct board *board);
/*
 * Memory of the writer that outlives its process, so that a new one goes on where the last one ended: zeros at first, and
 * again whenever another layout is named. At most BOARD_MEMORY bytes, aligned to 64.
 */
#define BOARD_MEMORY (20 << 20)
void *board_memory(struct board *board, uint64_t layout, size_t size);

/*
 * Whether this process is the writer, or becomes it now: there is one at a time, whatever generation it is of, and its
 * death sets the place free.
 */
bool board_own(struct board *board);

/* Writer. A document too large for its place (1 MiB to 32 MiB) is not put; false, logged with both numbers. */
bool board_put(struct board *board, enum board_document document, const void *data, size_t size);
/* Reader: replaces what is in out. false: nothing was put yet. *version changes with every put; *at_us is clock_us() of it. */
bool board_get(const struct board *board, enum board_document document, struct buf *out,
               uint64_t *version, int64_t *at_us);
uint64_t board_version(const struct board *board, enum board_document document);

/* Messages for the stream: the last one of each topic, JSON. A reader that polls sees the newest. */
void board_say(struct board *board, enum board_topic topic, const void *data, size_t size);
bool board_hear(const struct board *board, enum board_topic topic, uint64_t *version,
                struct buf *out); /* false: not newer */

/*
 * Series: values sampled every 3 s, kept for 15 minutes so, for 1, 6 and 24 hours in coarser steps (mean of what fell into
 * one), 300 points each. lifecycle is "" for the whole. NAN is a gap.
 */
#define BOARD_POINTS 300
#define BOARD_SERIES 16384 /* names, with and without a lifecycle */
enum board_window { WINDOW_15M, WINDOW_1H, WINDOW_6H, WINDOW_24H, BOARD_WINDOWS };
void board_sample_begin(struct board *board, int64_t at_s);
bool board_sample(struct board *board, const char *name, const char *lifecycle,
                  double value); /* false: no room, logged once */
void board_sample_end(struct board *board);
/* Oldest first; returns how many points; t in unix seconds. name or lifecycle unknown: -1. */
int board_series(const struct board *board, const char *name, const char *lifecycle,
                 enum board_window window, int64_t *t, double *values, int *step_s);
/* When the first sample was taken, in unix seconds; 0: none yet. Points before it are no gaps and are left out. */
int64_t board_since(const struct board *board);
/* "generation 4"; the newest BOARD_MARKS are kept, oldest first. */
#define BOARD_MARKS 64
void board_mark(struct board *board, int64_t at_s, const char *text);
int board_marks(const struct board *board, int64_t since_s, int64_t *t, char (*text)[64], int most);
