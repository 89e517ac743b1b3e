/* Tallies: epochs of writers, the batch row, and exact counts, each row with one writer. */
#pragma once

#include "kinds.h"
#include "pg/pg.h"

/*
 * Each writer holds the advisory lock (schema, one of these + epoch) for as long as its connection
 * lives. Buckets are below.
 */
#define EPOCH_WORKER "1048576"
#define EPOCH_OTHER "268435456"

/* A writer of facts: numbers for its batches and packets, epoch << 32 | counter, never reused. */
struct epoch {
    int32_t id;
    int32_t generation;
    int64_t next_batch;
    int64_t next_packet;
};

/* Registers this connection as a writer. role: "worker", "ingest", "script". */
bool epoch_open(struct epoch *epoch, struct pg *pg, const char *role, int32_t generation,
                struct acc_error *err) ACC_MUST_CHECK;
/* The same in a pipeline (one result). ACC_ECONFLICT: again. */
bool epoch_open_send(struct pg *pg, const char *role, int32_t generation,
                     struct acc_error *err) ACC_MUST_CHECK;
bool epoch_open_take(struct epoch *epoch, struct pg *pg, int32_t generation,
                     struct acc_error *err) ACC_MUST_CHECK;

/*
 * Adds the tallies of epochs whose connection is gone to epoch 0. Any time, by anyone; conflicts
 * are left for the next call.
 */
bool epoch_fold_dead(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/* Events by the friends they got: 0, 1, 2, up to 4, 8 .. 512, more. */
#define TALLY_FRIENDS 12
/* The place for a number of friends, and the largest number of a place (the last: -1). */
int tally_friends_place(uint64_t friends);
int64_t tally_friends_most(int place);

/* One of the batches that the facts of a transaction are of: so that a fact tells what it was sent with. */
struct tally_batch {
    int64_t found, fresh;
    int64_t record; /* of ingest, that its facts were sent with; 0: none */
};

/* What one transaction adds. */
struct tally {
    int16_t lifecycle; /* 0: ingest */
    int64_t events;    /* finished in this transaction */
    int64_t early, late, empty, found, failed, friends, retries;
    int64_t given; /* friends handed to events that loaded them */
    int64_t by_friends[TALLY_FRIENDS], late_by_friends[TALLY_FRIENDS];
    int32_t waited_ms;     /* its events, between their birth and now, on average */
    int32_t last_write_us; /* what the write of the batch before took */
    struct {
        uint16_t tag;
        int64_t fresh, repeats, contradictions;
    } kinds[CATALOG_KINDS_MAX];
    size_t kind_count;
    int32_t phases_us[4];
    int64_t at_us;                     /* wall clock */
    const struct tally_batch *batches; /* borrowed; NULL: one batch, of all that is in kinds */
    size_t batch_count;
};

/*
 * Sends the batch row and the tallies (one result). batch_id: of the first of its batches, the
 * others have the numbers behind it.
 */
bool tally_send(const struct tally *tally, const struct epoch *epoch, int64_t batch_id,
                struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/* Adds n to the count of a reason (one result each). Reasons are cut at 80 bytes. */
bool tally_reason_send(const struct epoch *epoch, int16_t lifecycle, const char *outcome,
                       const char *reason, int64_t n, struct pg *pg,
                       struct acc_error *err) ACC_MUST_CHECK;
