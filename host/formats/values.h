/*
 * Values from outside into the fields of rows: type, range, UTF-8 and size are checked, and a
 * refusal says which field, what was wanted and what came. The readers of all formats end here;
 * they know neither files nor the network.
 */
#pragma once

#include "rows.h"

struct json_t;

/* Where the facts that a reader finds go. */
struct values_target {
    const struct catalog *catalog;
    struct acc_heap *heap; /* texts of the rows */
    struct acc_rows *(*rows)(
        void *context, const struct kind *kind); /* rows of that kind; the reader adds to them */
    void *context;
    int64_t value_bytes; /* longest text, bytes, json or array (ingest.value) */
};

/* The kind of that name, or NULL with "unknown kind" and what was probably meant. */
const struct kind *values_kind(const struct values_target *target, const char *name,
                               struct acc_error *err) ACC_MUST_CHECK;

/* The field of that name, or -1 with "unknown field" and what was probably meant. */
int values_field(const struct kind *kind, const char *name, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Fills field of row from a parsed JSON value; null for a nullable field only. ACC_EINPUT, or
 * ACC_ELIMIT when the heap is full.
 */
bool values_set_json(const struct values_target *target, const struct kind *kind, size_t field,
                     const struct json_t *value, struct acc_row *row,
                     struct acc_error *err) ACC_MUST_CHECK;

/*
 * Fills field of row from text, as CSV has it: texts as they are, numbers and words as in JSON
 * without quotes (bool also t f 1 0), bytes as hex, json and arrays as JSON text.
 */
bool values_set_text(const struct values_target *target, const struct kind *kind, size_t field,
                     const char *text, size_t size, struct acc_row *row,
                     struct acc_error *err) ACC_MUST_CHECK;

/* NULL for field of row; refused when it is not nullable. */
bool values_set_null(const struct kind *kind, size_t field, struct acc_row *row,
                     struct acc_error *err) ACC_MUST_CHECK;

/* Fields not in given (bit k: field k) become NULL; false when one of them is not nullable. */
bool values_complete(const struct kind *kind, uint64_t given, struct acc_row *row,
                     struct acc_error *err) ACC_MUST_CHECK;

/* Fails unless text is UTF-8; the message names the first byte that is not, counted from 1. */
bool values_check_utf8(const char *what, const char *text, size_t size,
                       struct acc_error *err) ACC_MUST_CHECK;
