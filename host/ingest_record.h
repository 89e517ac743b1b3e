/*
 * Records of what was sent: a row for each body or file, and one for each transaction's single
 * facts together. A body of several transactions has its row with the first of them, and each
 * brings it up to date: it tells what is written, whatever becomes of the rest.
 */
#pragma once

#include "base/buf.h"
#include "pg/pg.h"

#define RECORD_ERRORS_MAX 1000 /* kept; the rest is only counted */

/* Lines that were refused. Zeroed it is empty. */
struct record_errors {
    struct record_error {
        int64_t line;
        char *field; /* that the message is about, or NULL */
        char *message;
    } * list;
    size_t count, capacity;
    int64_t total;
};

/* Copies message, and the name of the field that it speaks of. line 0 (a whole file) is kept as 1. */
void record_errors_add(struct record_errors *errors, int64_t line, const char *message);
/* Adds those of another, copied. */
void record_errors_join(struct record_errors *errors, const struct record_errors *more);
void record_errors_clear(struct record_errors *errors);
/* Appends {"line", "field", "message"}; field is left out when it is NULL. */
void record_error_json(int64_t line, const char *field, const char *message, struct buf *out);
/* Appends them as a JSON array of these. */
void record_errors_json(const struct record_errors *errors, struct buf *out);

/*
 * The name in the first `field "NAME"` of a message, copied to field (at most size bytes); false:
 * it names none.
 */
bool record_field(const char *message, char *field, size_t size);

/* All borrowed; text that is no UTF-8 is mended. */
struct ingest_record {
    int64_t id; /* ingest_number */
    const char *who, *name, *format, *kind, *trace;
    int64_t bytes, lines, fresh, repeats, refused, part, parts;
    /* With `batch` the bounds of its facts' batches, which are one writer's; 0: not known. */
    int64_t first_batch;
    int64_t batch;      /* the last with facts of it */
    bool is_open;       /* more of it comes with later transactions */
    const char *errors; /* a JSON array, or NULL: none */
};

/*
 * Sends the rows into the open pipeline (one result); a row with the id of an earlier one takes its place, but for when it
 * was. No two of records have the same id.
 */
bool ingest_records_send(struct pg *pg, const struct ingest_record *records, size_t count,
                         struct acc_error *err) ACC_MUST_CHECK;
