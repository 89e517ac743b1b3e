/*
 * Logging: one line a message on stderr, `key=value` or JSON, with UTC time, level and pid. Never a
 * secret.
 */
#pragma once

#include "base/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Level and form for the process. format is "text" or "json". Threads are not used. */
void log_setup(enum log_level level, bool json);
bool log_level_of(const char *name, enum log_level *level); /* false: unknown name */
bool log_enabled(enum log_level level);

/*
 * log_write(LOG_INFO, "worker", "event", "batch done", "events", "%d", 12, ..., NULL) is unwieldy
 * in C, so a line is one format that is already key=value: log_info("worker", "lifecycle=%s
 * events=%d", name, n) prints `2026-11-22T10:00:00.123Z level=info pid=12 at=worker lifecycle=fold
 * events=12`. In JSON the same pairs become members; a value with blanks must be written as
 * key="quoted text" (log_quote does it).
 */
void log_line(enum log_level level, const char *at, const char *fmt, ...) ACC_PRINTF(3, 4);
#define log_error(at, ...) log_line(LOG_ERROR, at, __VA_ARGS__)
#define log_warn(at, ...) log_line(LOG_WARN, at, __VA_ARGS__)
#define log_info(at, ...) log_line(LOG_INFO, at, __VA_ARGS__)
#define log_debug(at, ...) log_line(LOG_DEBUG, at, __VA_ARGS__)

/*
 * text as a quoted value: quotes, backslashes and control characters escaped. Valid until the
 * fourth call from now.
 */
const char *log_quote(const char *text);

/* A trouble that lasts, such as a database that does not answer. Zero: there is none. */
struct log_trouble {
    bool is_on;
    int64_t said_us; /* when it was said last */
    uint64_t untold; /* how often it was met since */
};
/*
 * It was met at now_us (monotonic): a line at warn the first time, then at most one a minute, which says how often it was
 * met since the one before.
 */
void log_trouble(struct log_trouble *trouble, int64_t now_us, const char *at, const char *event,
                 const char *error);
/* It is over: a line at info if there was any. */
void log_trouble_over(struct log_trouble *trouble, const char *at, const char *event);
