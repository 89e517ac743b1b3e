/*
 * Fields of facts on the wire: the parameters that carry a field of many rows, and rows of a result back
 * in memory.
 */
#pragma once

#include "pg/pg.h"
#include "rows.h"

/*
 * Appends the select list `_id, "a", "b"…` (with alias f.) and decodes one row of such a result
 * from column first on.
 */
void facts_select_list(const struct kind *kind, struct buf *sql);
bool facts_decode(const struct kind *kind, const PGresult *res, int row, int first,
                  struct acc_heap *heap, struct acc_row *out, struct acc_error *err) ACC_MUST_CHECK;
/* The same of one field, in that column. */
bool facts_decode_field(const struct kind *kind, size_t field, const PGresult *res, int row,
                        int column, struct acc_heap *heap, struct acc_row *out,
                        struct acc_error *err) ACC_MUST_CHECK;

/*
 * An array of count elements of width bytes each and no NULL: the head and the elements' lengths
 * are written, the value of element i is at the returned address + i * (4 + width).
 */
char *facts_array(struct buf *out, Oid element, size_t count, uint32_t width);

/* Scratch for the binary arrays of one field. */
struct facts_scratch {
    struct buf part[3];
};

/*
 * How a field of many rows travels: as one to three array parameters. facts_column_sql appends what
 * stands inside unnest(...) to from, its column names to names, and the expression that gives the
 * field's value (of row u) to value; *param counts $n. facts_column appends the parameters in the
 * same order; scratch keeps them until pg_send.
 */
void facts_column_sql(const struct kind *kind, size_t field, int *param, struct buf *from,
                      struct buf *names, struct buf *value);
void facts_column(const struct kind *kind, size_t field, struct acc_row **rows, size_t count,
                  struct facts_scratch *scratch, struct pg_args *args);
