/*
 * Ingest: facts from outside into the database, durably; repeats are fine, contradictions are
 * named.
 *
 * Rows are gathered while the server works on those gathered before: ingest_start hands them over
 * and gives empty ones, ingest_finish waits for the disk.
 */
#pragma once

#include "conf/settings.h"
#include "facts.h"
#include "queue.h"

/* A writer of facts from outside: own epoch, statements, scratch. */
struct ingest;

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err) ACC_MUST_CHECK;
/*
 * One that writes nothing and only counts: it asks pg what is known, and a fact that comes again is
 * a repeat (some 40 million facts are remembered; beyond that the oldest count as new again). pg
 * NULL: there is no database, every fact is new once.
 */
struct ingest *ingest_new_check(struct pg *pg, const struct program *program,
                                const struct settings *settings,
                                struct acc_error *err) ACC_MUST_CHECK;
/* Waits for nothing: what was started and not finished may be written or not. */
void ingest_free(struct ingest *ingest);

struct ingest_counts {
    int64_t new_facts, repeats, contradictions;
};

/*
 * Rows to be written; fill with rows_add/row_set_bytes on these. At most
 * settings.ingest.batch_lines before a start. Valid until the next ingest_start.
 */
struct acc_rows *ingest_rows(struct ingest *ingest, const struct kind *kind);
struct acc_heap *ingest_heap(struct ingest *ingest);

/*
 * Called for each row that contradicts a fact that is there: its number in the rows of its start.
 */
typedef void ingest_refused_fn(void *context, const struct kind *kind, uint32_t row,
                               const char *message);

/*
 * Finishes what was started before, then begins to write all rows gathered, in one SERIALIZABLE
 * transaction. refused is called with context here and in ingest_finish. The connection is ingest's
 * until then.
 */
bool ingest_start(struct ingest *ingest, struct ingest_counts *counts, ingest_refused_fn *refused,
                  void *context, struct acc_error *err) ACC_MUST_CHECK;
/*
 * Waits until the rows started are on disk, if there are any; adds to counts. Conflicts are
 * retried. The rows are gone afterwards either way.
 */
bool ingest_finish(struct ingest *ingest, struct ingest_counts *counts,
                   struct acc_error *err) ACC_MUST_CHECK;
