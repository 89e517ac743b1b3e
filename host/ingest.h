/* Ingest: facts from outside into the database, durably; repeats are fine, contradictions are named. */
#pragma once

#include "conf/settings.h"
#include "facts.h"
#include "queue.h"

/* A writer of facts from outside: own epoch, statements, scratch. */
struct ingest;

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err) ACC_MUST_CHECK;
void ingest_free(struct ingest *ingest);

struct ingest_counts {
    int64_t new_facts, repeats, contradictions;
};

/* Rows to be written; fill with rows_add/row_set_bytes on these. At most settings.ingest.batch_lines before a flush. */
struct acc_rows *ingest_rows(struct ingest *ingest, const struct kind *kind);
struct acc_heap *ingest_heap(struct ingest *ingest);

/* Called for each row of the flush that contradicts a fact that is there: its number in the rows since the last flush. */
typedef void ingest_refused_fn(void *context, const struct kind *kind, uint32_t row,
                               const char *message);

/*
 * Writes all rows gathered, in one SERIALIZABLE transaction that is on disk when this returns true; adds to counts. Conflicts are
 * retried. The rows are gone afterwards either way.
 */
bool ingest_flush(struct ingest *ingest, struct ingest_counts *counts, ingest_refused_fn *refused,
                  void *context, struct acc_error *err) ACC_MUST_CHECK;
