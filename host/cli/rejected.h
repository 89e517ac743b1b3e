/*
 * Lines that were refused, kept beside the file they came from, so that they can be mended and
 * loaded.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A file of refused lines. */
struct rejected {
    char *path;        /* owned */
    struct buf header; /* of CSV: its first line, too */
    bool has_header;   /* header is known, perhaps as none */
    bool is_begun;     /* what is in it is this run's */
    bool is_failed;    /* it could not be written; said once */
    int64_t lines;
};

/* The one that is open; zeroed it is ready. */
struct rejected_out {
    FILE *file;
    const struct rejected *of;
};

/*
 * Appends a line and a newline to rejected, which is made or emptied the first time. false: it
 * cannot be written.
 */
bool rejected_keep(struct rejected_out *out, struct rejected *rejected, const char *line,
                   size_t size, struct acc_error *err) ACC_MUST_CHECK;
/* false: the last lines could not be written. */
bool rejected_close(struct rejected_out *out, struct acc_error *err) ACC_MUST_CHECK;
void rejected_clear(struct rejected *rejected);
