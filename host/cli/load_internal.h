/* Loading: what load.c, load_rows.c and load_guess.c share. */
#pragma once

#include "base/lines.h"
#include "cli/load.h"
#include "ingest_record.h"

/* A file being read, or read. */
struct load_source {
    const char *name; /* borrowed; as messages call it */
    struct rejected own;
    struct rejected *rejected; /* own, or the shared one; NULL: its refused lines are not kept */

    /* For its record: */
    const char *format; /* NULL: nothing was read of it */
    int64_t bytes, lines, refused;
    int64_t fresh, repeats;
    int64_t first_batch; /* when reading of it began the next one; 0: there was no connection yet */
    int64_t pending;     /* rows of it that are not written yet */
    bool is_ended;
    bool is_sent, is_recorded; /* its record: with the transaction under way; on disk */
    struct record_errors errors;
};

/* Where a row came from, so that a refusal when it is written can say so. */
struct load_origin {
    struct load_source *source;
    int64_t line;    /* 0: the whole file */
    size_t at, size; /* its text in the side's lines */
};

/* Origins of the rows of one kind. */
struct load_origins {
    struct load_origin *rows;
    size_t count, capacity;
};

/* Rows gathered for one write; while one is written the next is gathered. */
struct load_side {
    struct load *load;
    struct buf lines;
    struct load_origins origins[]; /* by the kind's index */
};

/* A line or record as it came. */
struct load_raw {
    struct load_source *source;
    int64_t line; /* where it began */
    const char *data;
    size_t size;
};

/* load_rows.c */

/* Tells and keeps what was refused, and counts it. */
void load_refuse(struct load *load, const struct load_raw *raw, const char *message);
/* A reader has added a row. */
bool load_added(struct load *load, const struct kind *kind, const struct load_raw *raw,
                struct acc_error *err) ACC_MUST_CHECK;
/* Begins to write what is gathered, with the records of files that are done. */
bool load_write_rows(struct load *load, struct acc_error *err) ACC_MUST_CHECK;
/* The rows member of load->target. */
struct acc_rows *load_rows_of(void *context, const struct kind *kind);

/* load_guess.c */

/*
 * By the name, else by the first bytes: an object is NDJSON, field names are CSV, all else is text
 * where the kind can take it.
 */
bool load_guess_format(const struct load *load, const char *file, struct lines *lines,
                       enum load_format *format, struct acc_error *err) ACC_MUST_CHECK;
