/*
 * Explorer: pages of facts in a chosen order, counts, and facts by the first digits of their ids.
 * Reads only. Every page is one short statement that starts where the last one ended, so that its
 * cost does not grow with its number.
 */
#pragma once

#include "facts.h"
#include "filters.h"

#define EXPLORER_PAGE_MAX 10000
#define EXPLORER_PREFIX_MIN                                                                        \
    4 /* hex digits: a slot, so that each kind is one range of its primary key */

enum explorer_order { ORDER_ID, ORDER_NEWEST, ORDER_FIELD };

struct explorer_query {
    const struct kind *kind;
    const struct filters *filters; /* NULL: all */
    enum explorer_order order;
    size_t field; /* of ORDER_FIELD; NULLs come last, ties go by id */
    bool is_descending;
    const uint8_t *cursor; /* id of a fact that there is; NULL: from the start */
    bool is_before; /* the page that ends before cursor instead of the one that begins behind it */
    int64_t limit;  /* 1..EXPLORER_PAGE_MAX */
    int64_t
        limit_ms; /* newest first takes several statements: no further one after so long; 0: any */
};

/* A fact as it is shown. Valid during the call it is handed to. */
struct explorer_fact {
    const struct kind *kind;
    const struct acc_row *row;
    const char *lifecycle; /* who found it; NULL: it was ingested */
    const char *at;        /* UTC, 2026-01-31T12:00:00.000Z; "" when unknown */
    int64_t batch;
};

/* Returns false with err to stop. */
struct explorer_visit {
    void *context;
    bool (*fact)(void *context, const struct explorer_fact *fact, struct acc_error *err);
};

/* Bounds the statements of this connection from here on, and makes it fit for short queries. */
bool explorer_begin(struct pg *pg, int64_t timeout_ms, struct acc_error *err) ACC_MUST_CHECK;

/* "newest", "id", FIELD or FIELD~desc into query. ACC_EINPUT says what was probably meant. */
bool explorer_order(struct explorer_query *query, const char *text,
                    struct acc_error *err) ACC_MUST_CHECK;

/* Whether newest first takes an index (or a small kind) instead of sorting all facts. */
bool explorer_is_newest_quick(struct pg *pg, const struct kind *kind, bool *is_quick,
                              struct acc_error *err) ACC_MUST_CHECK;

/*
 * Visits one page in its order; *is_more tells whether there are facts beyond it (in the direction
 * it was read). ACC_ELIMIT: the statement took longer than explorer_begin allows; the text says
 * which look-ups have an index.
 */
bool explorer_page(struct pg *pg, const struct explorer_query *query, struct acc_heap *heap,
                   const struct explorer_visit *visit, bool *is_more,
                   struct acc_error *err) ACC_MUST_CHECK;

/* Facts that pass the filters, counted up to bound (0: all of them). */
bool explorer_count(struct pg *pg, const struct filters *filters, int64_t bound, int64_t *count,
                    struct acc_error *err) ACC_MUST_CHECK;

/* All facts of the kind, exactly and at once, from the tallies. */
bool explorer_total(struct pg *pg, const struct kind *kind, int64_t *count,
                    struct acc_error *err) ACC_MUST_CHECK;

/*
 * Counts facts that pass the filters for about limit_ms; *is_exact false: there are at least so many. *until
 * (statement_timeout of the session in ms) is what holds again afterwards.
 */
bool explorer_count_within(struct pg *pg, const struct filters *filters, int64_t limit_ms,
                           int64_t until_ms, int64_t *count, bool *is_exact,
                           struct acc_error *err) ACC_MUST_CHECK;

/*
 * The table of a kind as it lies, for whoever searches all of it in short statements: how many blocks it has, and the
 * facts of blocks first .. last-1 that pass the filters. Later blocks hold later facts.
 */
bool explorer_count_blocks(struct pg *pg, const struct kind *kind, int64_t *blocks,
                           struct acc_error *err) ACC_MUST_CHECK;
bool explorer_scan(struct pg *pg, const struct filters *filters, int64_t first, int64_t last,
                   struct acc_heap *heap, const struct explorer_visit *visit,
                   struct acc_error *err) ACC_MUST_CHECK;

/* How many facts of the kind take bytes in the database on average, at least 1 and at most limit: what fits memory. */
bool explorer_fit(struct pg *pg, const struct kind *kind, int64_t bytes, int64_t limit,
                  int64_t *count, struct acc_error *err) ACC_MUST_CHECK;

/* Whether eq filters name all fields of a look-up that has an index, or the fact itself. */
bool explorer_is_indexed(const struct filters *filters);

/* All ids that begin with some hex digits. */
struct id_range {
    uint8_t low[16], high[16];
};

/* From 4..32 hex digits, dashes left out; false: something else. */
bool id_range_read(const char *digits, struct id_range *range);

/*
 * Ids in range, of any kind that has a table, in the order of kinds and ids; at most limit of them.
 * ids has room for 16 * limit bytes.
 */
bool explorer_find(struct pg *pg, const struct catalog *catalog, const struct id_range *range,
                   size_t limit, uint8_t *ids, size_t *count, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Visits the facts with these ids, in the order of ids given; those that are not there are left
 * out.
 */
bool explorer_get(struct pg *pg, const struct catalog *catalog, const uint8_t *ids, size_t count,
                  struct acc_heap *heap, const struct explorer_visit *visit,
                  struct acc_error *err) ACC_MUST_CHECK;

/* Whether the kind has a table yet: one that was just declared has none before the next run. */
bool explorer_has_table(struct pg *pg, const struct kind *kind, bool *has,
                        struct acc_error *err) ACC_MUST_CHECK;
