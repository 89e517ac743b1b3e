/* Lines of a file, a pipe or a terminal, of bounded length. */
#pragma once

#include "base/error.h"

#include <stddef.h>

/* Reads at most size bytes into data: how many, 0 at the end, -1 with err. */
typedef ptrdiff_t lines_read_fn(void *context, char *data, size_t size, struct acc_error *err);

struct lines {
    int fd;              /* borrowed */
    lines_read_fn *read; /* instead of fd, or NULL */
    void *context;       /* of read */
    size_t line_max;     /* longer lines are skipped and reported */
    int64_t number;      /* of the line returned last, from 1 */
    int64_t bytes;       /* read so far */
    char *data;          /* owned */
    size_t at, size, capacity;
    bool is_skipping; /* the rest of a line that was too long is to be dropped */
    bool is_end;      /* there is no more */
};

enum lines_result { LINES_ONE, LINES_TOO_LONG, LINES_END, LINES_FAILED };

void lines_init(struct lines *lines, int fd, size_t line_max);
/* The same on what read gives. */
void lines_init_reader(struct lines *lines, lines_read_fn *read, void *context, size_t line_max);
void lines_clear(struct lines *lines);

/*
 * The next line without its newline, valid until the next call; the last one need not have a
 * newline. A byte order mark at the very start is dropped. LINES_FAILED: reading failed (ACC_ESYS).
 */
enum lines_result lines_next(struct lines *lines, const char **line, size_t *size,
                             struct acc_error *err) ACC_MUST_CHECK;

/* Bytes that are at hand without a line being taken, at most want, to tell a format by. */
bool lines_peek(struct lines *lines, size_t want, const char **data, size_t *size,
                struct acc_error *err) ACC_MUST_CHECK;

/*
 * All that is left, as one piece, valid until lines_clear. ACC_EINPUT when it is more than max
 * bytes.
 */
bool lines_rest(struct lines *lines, size_t max, const char **data, size_t *size,
                struct acc_error *err) ACC_MUST_CHECK;
