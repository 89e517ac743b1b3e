/*
 * Ingest: facts from outside into the database, durably; repeats are fine, contradictions are
 * named.
 *
 * Rows are gathered while the server works on those gathered before: ingest_start hands them over
 * and gives empty ones; ingest_finish waits for the disk, or ingest_poll goes on without waiting.
 * A row that the database refuses is found by halving, and the others are written without it.
 */
#pragma once

#include "conf/settings.h"
#include "facts.h"
#include "queue.h"
#include "seen.h"

/* A writer of facts from outside: own epoch, statements, scratch. */
struct ingest;

struct ingest *ingest_new(struct pg *pg, const struct program *program,
                          const struct settings *settings, struct acc_error *err) ACC_MUST_CHECK;
/*
 * One that only counts (its starts have a `seen`): it asks pg what is known. pg NULL: there is no
 * database, every fact is new once.
 */
struct ingest *ingest_new_check(struct pg *pg, const struct program *program,
                                const struct settings *settings,
                                struct acc_error *err) ACC_MUST_CHECK;
/*
 * One that never waits: rows may be gathered at once, and ingest_poll first makes it ready to
 * write. pg is made by pg_open_start and open. role: taken on when it is there ("demo_worker"), or
 * NULL.
 */
struct ingest *ingest_new_polled(struct pg *pg, const struct program *program,
                                 const struct settings *settings, const char *role,
                                 struct acc_error *err) ACC_MUST_CHECK;
/* Waits for nothing: what was started and not finished may be written or not. */
void ingest_free(struct ingest *ingest);

struct ingest_counts {
    int64_t new_facts, repeats, contradictions;
    int64_t refused; /* by the database */
};

/* What became of a row: its `flags` once its start is done, and in `with` as far as it is known. */
enum ingest_outcome {
    INGEST_RAW,     /* has no id yet, or is of a later transaction of its start */
    INGEST_PENDING, /* new, unless the transaction fails */
    INGEST_NEW,
    INGEST_REPEAT,
    INGEST_CONTRADICTS, /* differs from the fact that is there outside the unique fields */
    INGEST_REFUSED,     /* by the database */
};

/*
 * Rows to be written; fill with rows_add/row_set_bytes on these. At most
 * settings.ingest.batch_lines before a start. `event` of a row may be set to the number of what it
 * belongs to, ascending: such a group is kept apart from others that the database refuses. Valid
 * until the next ingest_start.
 */
struct acc_rows *ingest_rows(struct ingest *ingest, const struct kind *kind);
struct acc_heap *ingest_heap(struct ingest *ingest);
/* Gives a row its id, which ingest_start does else: while the server works there is time for it. */
void ingest_identify(const struct kind *kind, struct acc_row *row);
/* The rows of the last start, until the next one. */
const struct acc_rows *ingest_started(const struct ingest *ingest, const struct kind *kind);

/*
 * Called at the end of a start for each row that contradicts a fact that is there, or that the
 * database has refused; number: its place among the rows of its start.
 */
typedef void ingest_refused_fn(void *context, const struct kind *kind, const struct acc_row *row,
                               uint32_t number, const char *message);
/*
 * Called in the pipeline of each transaction of a start, to send more; again when that is run again. batch_id: of its first
 * batch. is_last: of what it can tell nothing is still to come.
 */
typedef bool ingest_with_fn(void *context, struct pg *pg, int64_t batch_id, bool is_last,
                            struct acc_error *err);
/* Called when a start is done and all its rows say what became of them; they are still there. */
typedef void ingest_done_fn(void *context);

/* Why a row that contradicts or is refused was not written. */
#define INGEST_MESSAGE_BYTES 200
const char *ingest_message(const struct ingest *ingest, const struct kind *kind,
                           const struct acc_row *row, char text[INGEST_MESSAGE_BYTES]);

struct ingest_calls {
    ingest_refused_fn *refused; /* or NULL */
    ingest_with_fn *with;       /* or NULL */
    ingest_done_fn *done;       /* or NULL */
    void *context;              /* of all three */
    struct seen *seen;          /* ids counted before: count, write nothing; borrowed; else NULL */

    /*
     * Facts that were sent with several records are of as many batches, with numbers behind each other. Both are borrowed
     * until the start is done.
     */
    const uint32_t *batch_of; /* by a row's event, from 0; NULL: all are of the first */
    const int64_t *records;   /* by batch: the number of its record */
    size_t batch_count;       /* 0: one, whose record is not known */
};

/*
 * Finishes what was started before, then begins to write all rows gathered, in one SERIALIZABLE
 * transaction (several when the database refuses some). The connection is ingest's until then. Does
 * not wait when nothing is started.
 */
bool ingest_start(struct ingest *ingest, struct ingest_counts *counts,
                  const struct ingest_calls *calls, struct acc_error *err) ACC_MUST_CHECK;
/*
 * Waits until the rows started are on disk, if there are any; adds to counts. Conflicts are
 * retried. What is not counted is not written, or ACC_ELOST: nobody knows.
 */
bool ingest_finish(struct ingest *ingest, struct ingest_counts *counts,
                   struct acc_error *err) ACC_MUST_CHECK;
/*
 * The same without waiting: goes on as far as it can. Until *is_done call again when the
 * connection's socket is readable, or writable while pg->wants_write, and after *wait_ms unless it
 * is -1. After a failure only ingest_free is left.
 */
bool ingest_poll(struct ingest *ingest, struct ingest_counts *counts, bool *is_done,
                 int64_t *wait_ms, struct acc_error *err) ACC_MUST_CHECK;

/* The number of the next batch, or 0 as long as there is no connection. Later ones are higher. */
int64_t ingest_next_batch(const struct ingest *ingest);
/* A number for the record of a request (intake_record.h): epoch << 32 | counter. */
int64_t ingest_number(struct ingest *ingest);
