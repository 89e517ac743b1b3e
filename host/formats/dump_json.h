/*
 * JSON as accrete writes it: one form per value, so that equal facts are equal bytes. Strings are
 * UTF-8 with the least escaping, numbers the shortest that read back the same, no blanks.
 */
#pragma once

#include "base/buf.h"
#include "rows.h"

struct json_t;

/*
 * text in quotes. Control characters are escaped, everything else stays as it is; text must be
 * UTF-8.
 */
void dump_json_text(struct buf *out, const char *text, size_t size);

/*
 * The shortest decimal that reads back as value; "NaN", "Infinity" and "-Infinity" as strings,
 * since JSON has none.
 */
void dump_json_float(struct buf *out, double value);

/*
 * A parsed value in canonical form: members sorted by the bytes of their names, numbers as
 * dump_json_float writes them.
 */
void dump_json_value(struct buf *out, const struct json_t *value);

/*
 * One field of a row as a JSON value: int8 decimal, bytes hex, uuid with dashes, json as it is
 * kept; null.
 */
void dump_json_field(struct buf *out, const struct kind *kind, const struct acc_row *row,
                     size_t field);

/*
 * Appends `,"from":1,"to":2`: the fields in their declared order. NULL is left out, so that a
 * nullable field added later changes no line.
 */
void dump_json_fields(struct buf *out, const struct kind *kind, const struct acc_row *row);

/* A whole fact, `{"kind":"edge","from":1,"to":2}`, without a newline. */
void dump_json_fact(struct buf *out, const struct kind *kind, const struct acc_row *row);
