/* The rows of one start of an ingest, from being gathered to what became of each. Only for ingest.c. */
#pragma once

#include "ingest.h"
#include "tally.h"

/* A range of the rows in the order in which they were added. */
struct ingest_range {
    size_t from, to;
};

/* Rows that the database has refused together, in search of the one that it refuses. */
struct ingest_split {
    bool is_on;
    bool has_written; /* at least one range of it */
    struct ingest_entry {
        struct acc_row *row;
        const struct kind *kind;
    } * rows; /* all, in the order of their groups */
    size_t count;
    struct ingest_range now;
    struct ingest_range *ranges; /* still to come, last first */
    size_t range_count, range_capacity;
    char **messages; /* of refusals, by the row's `friends_at`; owned */
    size_t message_count;
    size_t group_refusals; /* found in the group of `group` */
    uint32_t group;
};

struct ingest_side {
    const struct catalog *catalog;
    struct acc_heap heap;
    struct acc_rows *rows;             /* by kind index */
    struct acc_row ***sorted;          /* by kind index: what is left to insert */
    size_t *counts, *capacities;       /* by kind index */
    int64_t *repeats, *contradictions; /* by kind index; of the transaction being tried */
    struct ingest_calls calls;
    struct ingest_counts done; /* what is committed */
    bool is_plain;             /* sent without asking first what is known */
    int64_t doubles;           /* repeats and contradictions within itself */
    struct ingest_split split;
};

void side_init(struct ingest_side *side, const struct catalog *catalog);
void side_clear(struct ingest_side *side);
/* Makes it empty, for rows to be gathered. */
void side_reset(struct ingest_side *side);

/* Ids for all rows; sorts them by kind, doubles taken out: held against the first of them. */
void side_sort(struct ingest_side *side);
/*
 * Sorts those of the transaction anew, with their doubles: each is to be held against the fact that is there. When what is
 * known is taken out of them, side_fold takes out the doubles that are left.
 */
void side_gather(struct ingest_side *side);
void side_fold(struct ingest_side *side);
int64_t side_repeats(const struct ingest_side *side); /* and contradictions, so far */
/* Takes out what is known of a kind, which an earlier facts_known_send has asked about. */
bool side_take_known(struct ingest_side *side, const struct kind *kind, struct facts *facts,
                     struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/* Takes out what calls.seen knows, and adds the rest to it. */
void side_take_seen(struct ingest_side *side);

/* What is written now, as far as it is known, by calls.batch_count batches; the batches' records. */
void side_batches(const struct ingest_side *side, struct tally_batch *batches);

/* The transaction is committed: its rows are new, and counted. */
void side_committed(struct ingest_side *side);

/*
 * The database has refused a transaction for a reason that is no passing one: its rows are halved,
 * or are refused when they are one (or too many of one group). false: everything is refused, it
 * cannot be the rows' fault.
 */
bool side_narrow(struct ingest_side *side, const struct acc_error *why) ACC_MUST_CHECK;
/* The next range is to be written, from side_gather on; false: there is none, nothing is left to insert. */
bool side_next_range(struct ingest_side *side);

const char *side_message(const struct ingest_side *side, const struct kind *kind,
                         const struct acc_row *row, char text[INGEST_MESSAGE_BYTES]);
/* Calls refused for each row it is about. */
void side_tell(struct ingest_side *side);
