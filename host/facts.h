/* Facts: permanent, unique rows. This is the only file that writes them. */
#pragma once

#include "pg/pg.h"
#include "rows.h"

/* Per kind statements and scratch for one connection's owner. */
struct facts;

struct facts *facts_new(const struct catalog *catalog);
void facts_free(struct facts *facts);

/*
 * Which facts are there already. ids: sorted row pointers of one kind. Sends the query into the open pipeline;
 * facts_known_read takes its result: known[i] is set for rows that exist, differs[i] where an existing one has other values outside its unique
 * fields (or, with all_fields, in any field).
 */
bool facts_known_send(struct facts *facts, struct pg *pg, const struct kind *kind, struct acc_row **rows, size_t count,
                      struct acc_error *err) ACC_MUST_CHECK;
bool facts_known_read(struct facts *facts, struct pg *pg, const struct kind *kind, struct acc_row **rows, size_t count,
                      bool all_fields, struct acc_heap *heap, bool *known, bool *differs, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Sends the plain INSERT of rows (sorted by id, all new) into the open pipeline: fields, batch and provenance. data_ids is NULL for
 * ingest; else the id of the data of row->event is at data_ids + 16 * stride..., given by data. friend_ids are 16 bytes each.
 * A row that exists meanwhile fails the transaction with ACC_ECONFLICT.
 */
bool facts_insert_send(struct facts *facts, struct pg *pg, const struct kind *kind, struct acc_row **rows, size_t count,
                       int64_t batch_id, const struct acc_rows *data, const uint8_t *friend_ids, struct acc_error *err) ACC_MUST_CHECK;

/* Reads facts by id into rows (any order); ids not there are left out. One round trip. */
bool facts_get(struct facts *facts, struct pg *pg, const struct kind *kind, const uint8_t *ids, size_t count,
               struct acc_rows *rows, struct acc_heap *heap, struct acc_error *err) ACC_MUST_CHECK;

/* Appends the select list `_id, "a", "b"…` (with alias f.) and decodes one row of such a result from column first on. */
void facts_select_list(const struct kind *kind, struct buf *sql);
bool facts_decode(const struct kind *kind, const PGresult *res, int row, int first, struct acc_heap *heap, struct acc_row *out,
                  struct acc_error *err) ACC_MUST_CHECK;
/* Appends field of each row as one binary array parameter to args, built in buf (kept until pg_send). Adds the SQL cast it needs to be used with. */
bool facts_column(const struct kind *kind, size_t field, struct acc_row **rows, size_t count, struct buf *buf, struct pg_args *args,
                  struct acc_error *err) ACC_MUST_CHECK;
