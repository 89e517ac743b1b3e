/* What the parts of the explorer share: the columns behind a fact's fields, and its rows. */
#pragma once

#include "explorer.h"

/* Behind the fields: who found it and when. */
#define EXPLORER_ABOUT                                                                             \
    ", l.name, coalesce(to_char(b.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), "   \
    "''), f._batch"
#define EXPLORER_JOINS                                                                             \
    " LEFT JOIN batch b ON b.id = f._batch LEFT JOIN lifecycle l ON l.id = b.lifecycle"

/* Row r of a result with the fields of kind and EXPLORER_ABOUT. row is scratch of kind->row_bytes. */
bool explorer_visit_row(const struct kind *kind, const PGresult *res, int r, struct acc_heap *heap,
                        struct acc_row *row, const struct explorer_visit *visit,
                        struct acc_error *err) ACC_MUST_CHECK;

/* The rows of a page as they came: one result, or one for some batches each. */
struct explorer_pieces {
    PGresult **list; /* owned */
    size_t count;
    int64_t row_count;
};
void explorer_add_piece(struct explorer_pieces *pieces, PGresult *res); /* takes res */

/*
 * Newest first with the explorer's indexes: the newest batches of the lifecycles that find such facts, and more of them
 * until they fill the page (and one fact beyond it).
 */
bool explorer_read_newest(struct pg *pg, const struct explorer_query *query,
                          struct explorer_pieces *pieces, struct acc_error *err) ACC_MUST_CHECK;
/* Whether keys are read from the small to the large. */
bool explorer_is_ascending(const struct explorer_query *query);

/* A statement that was cut off because it took too long says what would be quick. Returns false. */
bool explorer_explain_timeout(struct pg *pg, const struct kind *kind, struct acc_error *err);

/* Two places in a table; the condition on f borrows them until the statement is sent. */
struct explorer_blocks {
    char from[6], to[6]; /* binary tids */
};
void explorer_in_blocks(struct explorer_blocks *blocks, int64_t first, int64_t last,
                        struct buf *sql, struct pg_args *args);

/* Bounds the statements from here on; ms >= 1. */
bool explorer_set_timeout(struct pg *pg, int64_t ms, struct acc_error *err) ACC_MUST_CHECK;
