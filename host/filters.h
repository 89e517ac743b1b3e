/*
 * Filters: conditions on the fields of one kind, FIELD~OP~VALUE, as the command line and HTTP take
 * them. Values are parsed by the field's type and travel as parameters; nothing of them is ever
 * part of SQL text.
 */
#pragma once

#include "base/buf.h"
#include "pg/pg.h"
#include "rows.h"

#define FILTERS_MAX 32

enum filter_op {
    FILTER_EQ,
    FILTER_NE, /* NULL counts as different */
    FILTER_LT,
    FILTER_LE,
    FILTER_GT,
    FILTER_GE,
    FILTER_PREFIX,   /* text and bytes begin with the value */
    FILTER_CONTAINS, /* text, bytes and json (as text) hold the value somewhere */
    FILTER_HAS,      /* an array has the value as an element */
    FILTER_NULL,
    FILTER_NOTNULL,
};

struct filter {
    size_t field;
    enum filter_op op;
    Oid type;        /* of the value's wire form */
    size_t at, size; /* its place in filters.wire */
};

/* All of them must hold. */
struct filters {
    const struct kind *kind;
    struct filter list[FILTERS_MAX];
    size_t count;
    struct buf wire;
    struct acc_row *row; /* values of eq, so that all unique fields together give an id */
    uint64_t given;      /* bit k: field k is compared by eq */
    bool has_id;         /* all unique fields are: at most one fact fits */
    uint8_t id[16];
};

void filters_init(struct filters *filters, const struct kind *kind);
void filters_clear(struct filters *filters);

/*
 * Adds one condition from text. Values of at most value_bytes go through heap, which must not be
 * reset before filters_finish. ACC_EINPUT: not FIELD~OP~VALUE, unknown field or operator (with what
 * was probably meant), an operator that the type does not have, a value that does not fit.
 */
bool filters_add(struct filters *filters, const char *text, struct acc_heap *heap,
                 int64_t value_bytes, struct acc_error *err) ACC_MUST_CHECK;
/* After the last one: finds out whether they name one fact. */
void filters_finish(struct filters *filters);

/*
 * Appends ` AND ...` for the table with alias f, and its parameters. Values are borrowed from
 * filters.
 */
void filters_sql(const struct filters *filters, struct buf *sql, struct pg_args *args);

/*
 * The operators that a field of this type has, "eq ne lt"; for messages and for whoever builds a
 * form.
 */
void filters_operators(const struct field *field, struct buf *out);
