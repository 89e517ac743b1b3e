/*
 * Effects: what came of a fact, as the data or a friend of what lifecycles found. Everything is bounded, however much
 * came of it: counts stop at a bound, pages cost the same wherever they begin.
 *
 * Of each kind first the facts it was the data of, in the order of ids; then those it was only a friend of, in the order
 * in which they lie in the table, which is about the order of arrival: the index of friends knows no order, and to sort by
 * another one all of them would have to be read.
 */
#pragma once

#include "kinds.h"
#include "pg/pg.h"

#define EFFECTS_BOUND 10000   /* counted of each kind and role */
#define EFFECTS_SHOWN 1000    /* counted for a row of a list; there it means that many or more */
#define EFFECTS_PAGE_MAX 1000 /* rows of a page that HTTP answers */

/* What to ask with. until_ms is the session's statement_timeout, which holds again after each call. */
struct effects {
    struct pg *pg;
    const struct catalog *catalog;
    int64_t until_ms;
};

/* What a lifecycle found of a fact. */
struct effects_group {
    char lifecycle[KIND_NAME_MAX + 1];
    int64_t as_data, as_friend; /* only a friend */
    bool is_exact;              /* false: there are at least so many */
};
/*
 * By lifecycle, those with the most first; *groups has room for count of them, *count is set. ACC_ELIMIT: without the
 * explorer's indexes the time was up.
 */
bool effects_groups(const struct effects *effects, const uint8_t *id, struct effects_group *groups,
                    size_t *count, struct acc_error *err) ACC_MUST_CHECK;

/* A fact that came of another one, which was its data, one of its friends, or both. */
struct effects_row {
    uint8_t id[16];
    bool as_data, as_friend;
};

#define EFFECTS_OF_ALL (-1) /* whoever found it */
/*
 * What lifecycle (its number or EFFECTS_OF_ALL) found of the fact, behind the one with id after (NULL: from the first);
 * rows has room for limit of them. ACC_EINPUT: after is none of them.
 */
bool effects_page(const struct effects *effects, const uint8_t *id, int16_t lifecycle,
                  const uint8_t *after, size_t limit, struct effects_row *rows, size_t *count,
                  bool *is_more, struct acc_error *err) ACC_MUST_CHECK;

/*
 * How many facts came of each of some facts, at most bound (up to EFFECTS_SHOWN); *is_known false when that cannot be
 * told quickly.
 */
bool effects_counts(const struct effects *effects, const uint8_t *ids, size_t count, int64_t bound,
                    int64_t *counts, bool *is_known, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Whether lifecycle has found anything with the fact as its data, and then the batch of the first one; *is_known false
 * when that cannot be told quickly.
 */
bool effects_batch(const struct effects *effects, const uint8_t *id, int16_t lifecycle, bool *has,
                   int64_t *batch, bool *is_known, struct acc_error *err) ACC_MUST_CHECK;
