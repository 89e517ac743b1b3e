/*
 * Indexes: which ones the app's tables have, and those of the explorer, which cost too much to be
 * kept while facts pour in and are therefore built on demand.
 */
#pragma once

#include "kinds.h"
#include "pg/pg.h"

#include <jansson.h>

/* Which explorer indexes of a kind are there and valid. */
struct explorer_indexes {
    bool batch;   /* newest first */
    bool data;    /* what came of a fact as data, in the order of ids */
    bool friends; /* what came of a fact as friend */
};

/* Fills has[kind->index] for all kinds. */
bool indexes_of_explorer(struct pg *pg, const struct catalog *catalog, struct explorer_indexes *has,
                         struct acc_error *err) ACC_MUST_CHECK;

/*
 * [{name, kind, purpose: "id" | "look-up" | "explorer", columns: [...], method, state: "valid" |
 * "invalid" | "missing", bytes}], by kind; "missing" only for those of the explorer. NULL with err.
 */
json_t *indexes_list(struct pg *pg, const struct catalog *catalog, struct acc_error *err);

/* Told before (is_done false) and after each index. */
struct index_progress {
    void *context;
    void (*tell)(void *context, const char *name, const char *table, size_t number, size_t total,
                 bool is_done, bool is_new, int64_t took_us);
};

/*
 * Builds what is missing of the explorer's indexes, CONCURRENTLY; one that a cut-off build left
 * invalid is built anew. Takes turns with schema_apply. pg must be no read-only session; its
 * isolation level and timeout are changed.
 */
bool indexes_build_explorer(struct pg *pg, const char *schema, const struct catalog *catalog,
                            const struct index_progress *progress,
                            struct acc_error *err) ACC_MUST_CHECK;
