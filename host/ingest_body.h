/*
 * Body: NDJSON, CSV or a JSON array, from a file or from memory, taken fact by fact into rows. Who
 * takes them decides what becomes of the rows and of what is refused.
 */
#pragma once

#include "base/lines.h"
#include "formats/csv.h"
#include "formats/values.h"

enum body_format { BODY_NDJSON, BODY_CSV, BODY_ARRAY };

struct body {
    enum body_format format;
    const struct values_target *target; /* borrowed */
    const struct kind *kind;            /* NULL: each line of NDJSON names it */
    struct lines *lines;                /* of NDJSON and CSV; borrowed */
    struct csv csv;
    const char *at, *end; /* of an array: what is left */
    int64_t elements;     /* of an array: taken */
    struct buf record;    /* lines of the CSV record being read */

    /* Of what body_next took last: */
    int64_t line;     /* where it began; of an array its number; from 1; 0: unreadable */
    const char *text; /* as it came, NULL: too long to be kept; until the next call */
    size_t size;
    const struct kind *of; /* of a fact */
};

enum body_result {
    BODY_FACT,   /* a row was added */
    BODY_BAD,    /* refused, err says why (ACC_EINPUT) */
    BODY_NONE,   /* a blank line, or part of a record */
    BODY_HEADER, /* the header of CSV */
    BODY_END,
    BODY_FAILED, /* unreadable, no usable header, or rows or heap full */
};

/* names: columns of CSV that are not called like their field; borrowed. */
void body_init_lines(struct body *body, enum body_format format, const struct values_target *target,
                     const struct kind *kind, struct lines *lines, struct csv_name *names,
                     size_t name_count);
/* An array whose text body_check_array has passed; borrowed. */
void body_init_array(struct body *body, const struct values_target *target, const struct kind *kind,
                     const char *text, size_t size);
void body_clear(struct body *body);

enum body_result body_next(struct body *body, struct acc_error *err) ACC_MUST_CHECK;

/* Whether text is an array as far as its brackets, commas and quotes go; its elements are read later. */
bool body_check_array(const char *text, size_t size, struct acc_error *err) ACC_MUST_CHECK;

/* What is in memory, for lines_init_reader. Zeroed but for data and size it is at the start. */
struct body_memory {
    const char *data;
    size_t size, at;
};
ptrdiff_t body_memory_read(void *context, char *data, size_t size, struct acc_error *err);
