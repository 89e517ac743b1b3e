/* Facts: permanent, unique rows. This is the only file that writes them. */
#pragma once

#include "facts_wire.h"
#include "pg/pg.h"
#include "rows.h"

/* Per kind statements and scratch for one connection's owner. */
struct facts;

struct facts *facts_new(const struct catalog *catalog);
void facts_free(struct facts *facts);

/*
 * Which facts are there already. ids: sorted row pointers of one kind. Sends the query into the
 * open pipeline; facts_known_read takes its result: known[i] tells whether row i exists, differs[i]
 * whether the existing one has other values outside its unique fields (with all_fields: in any
 * field). Values read go to heap.
 */
bool facts_known_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                      struct acc_row **rows, size_t count, bool all_fields,
                      struct acc_error *err) ACC_MUST_CHECK;
bool facts_known_read(struct facts *facts, struct pg *pg, const struct kind *kind,
                      struct acc_row **rows, size_t count, struct acc_heap *heap, bool *known,
                      bool *differs, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Sends the plain INSERT of rows (sorted by id, all new) into the open pipeline: fields, batch and
 * provenance. data is NULL for ingest; else the data of row->event is row number event of it.
 * friend_ids are 16 bytes each. A row that exists meanwhile fails the transaction with
 * ACC_ECONFLICT.
 */
bool facts_insert_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                       struct acc_row **rows, size_t count, int64_t batch_id,
                       const struct acc_rows *data, const uint8_t *friend_ids,
                       struct acc_error *err) ACC_MUST_CHECK;
/* The same without provenance, of several batches: row i is of batch_id + batch_of[row->event]. */
bool facts_insert_batches_send(struct facts *facts, struct pg *pg, const struct kind *kind,
                               struct acc_row **rows, size_t count, int64_t batch_id,
                               const uint32_t *batch_of, struct acc_error *err) ACC_MUST_CHECK;

/* Reads facts by id into rows (any order); ids not there are left out. One round trip. */
bool facts_get(struct facts *facts, struct pg *pg, const struct kind *kind, const uint8_t *ids,
               size_t count, struct acc_rows *rows, struct acc_heap *heap,
               struct acc_error *err) ACC_MUST_CHECK;
