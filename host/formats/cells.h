/*
 * Records of CSV as RFC 4180 has it: values between separators, which may stand in double quotes and
 * then hold separators, newlines and doubled quotes. What the values mean is the caller's.
 */
#pragma once

#include "base/buf.h"

struct cell {
    size_t at, size; /* in cells.text */
    bool is_quoted;
};

/* A record in the making. Zeroed it is ready; separator 0 is a comma. */
struct cells {
    char separator;
    struct buf text;   /* the values; data is not NULL once there is a record */
    struct cell *list; /* owned */
    size_t count, capacity;
    bool is_open; /* a quote is open: the next line belongs to this record */
};

enum cells_result {
    CELLS_RECORD, /* list has a record, until the next line is taken */
    CELLS_NONE,   /* a blank line */
    CELLS_MORE,   /* the record goes on in the next line */
    CELLS_BAD, /* not CSV (ACC_EINPUT): of the value at list[count - 1]; the next line starts anew */
};

/* Takes one line without its newline; "\r" before the newline is ignored. */
enum cells_result cells_line(struct cells *cells, const char *line, size_t size,
                             struct acc_error *err) ACC_MUST_CHECK;

void cells_clear(struct cells *cells);

static inline const char *cells_text(const struct cells *cells, size_t i)
{
    return cells->text.data + cells->list[i].at;
}
