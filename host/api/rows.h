/* Rows: what handlers that answer lists from the database share. */
#pragma once

#include "api/api.h"

/* SQL: a time as text, 2026-01-31T12:00:00.000Z, and as microseconds for keys. */
#define ROWS_TIME(column)                                                                          \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define ROWS_US(column) "(extract(epoch FROM " column ") * 1000000)::int8"

/*
 * One JSON object a row. names says the columns of the result, ends with NULL: a text, "#name" an int8, "{name" JSON text.
 * SQL NULL is null.
 */
json_t *rows_object(const PGresult *res, int row, const char *const *names);
json_t *rows_objects(const PGresult *res, const char *const *names);
/* Answers {"rows", "before", "after": null, "took_ms"}; takes rows. before NULL: there is no further page. */
void rows_answer(struct api_call *call, json_t *rows, const char *before);
/* Milliseconds since the request came, to microseconds. */
double rows_took_ms(const struct api_call *call);
/* Reads a whole number from *at on, up to the character end, and moves behind that. false: something else stands there. */
bool rows_number(const char **at, char end, int64_t *value);
/* A parameter of the query; NULL: not given. */
const char *rows_param(struct api_call *call, const char *name);
