/*
 * A batch: one turn of a worker in memory. Events in, look-ups, finds, outcomes; written by
 * worker.c.
 */
#pragma once

#include "conf/settings.h"
#include "facts.h"
#include "lifecycle.h"
#include "queue.h"
#include "rows.h"
#include "seen.h"

#define BATCH_EVENTS_MAX 65536
#define BATCH_REASONS_MAX 64

/* A look-up that this process may make: a shape of a kind, its keys, its statement. */
struct lookup {
    const struct kind *kind;
    const struct shape *shape;
    struct kind key_kind;      /* the shape's fields as a kind, so that keys are rows */
    struct acc_rows keys;      /* event: number of the handle */
    uint32_t fetched;          /* keys already looked up */
    struct pg_stmt stmt;       /* SQL owned */
    struct pg_stmt restricted; /* the same among given ids */
};

/* A whole small kind, kept complete. */
struct mirror {
    const struct kind *kind;
    struct acc_rows rows; /* append-only within a version */
    uint32_t version;     /* counts up when row numbers change */
    int64_t total;
    struct {
        int32_t epoch;
        int64_t count, last_batch;
    } * epochs;
    size_t epoch_count;
};

struct event_error {
    uint32_t event;
    bool is_final; /* no further tries */
    char *text, *trace;
};

struct batch_reason {
    int16_t outcome;
    char text[81];
    int64_t n;
};

struct batch {
    struct acc_batch hot; /* first: Lua sees it at this address */
    const struct settings *settings;
    const struct program *program;
    struct pg *pg;
    struct facts *facts;
    struct seen *seen;
    struct acc_slot *slot;
    struct acc_heap heap, mirror_heap;

    const struct lifecycle *lifecycle;
    struct acc_rows *data;    /* by kind index: rows of events */
    struct acc_rows *friends; /* by kind index: rows looked up */
    struct acc_rows *finds;   /* by kind index: rows found */
    struct mirror *mirrors;   /* by kind index; kind NULL: not mirrored */
    struct lookup *lookups;   /* all shapes of all kinds */
    size_t lookup_count;
    struct acc_handle *handles;
    uint32_t *index; /* row numbers, as handles point into it */
    uint32_t index_count, index_limit;
    uint8_t *friend_ids; /* 16 bytes each */
    uint8_t outcomes[BATCH_EVENTS_MAX];
    struct event_error *errors;
    size_t error_count, error_capacity;
    struct batch_reason reasons[BATCH_REASONS_MAX];
    size_t reason_count;
    bool in_transaction;         /* friends are read inside the SERIALIZABLE transaction */
    bool is_reading;             /* a REPEATABLE READ transaction is open for look-ups */
    bool too_many_friends;       /* the last fetch stopped at batch_friends: run fewer events */
    int64_t friend_rows;         /* rows looked up in this batch */
    const uint8_t *restrict_ids; /* look-ups see only these facts (checks, dry runs); NULL: all */
    size_t restrict_count;

    /*
     * Writes the finds so far without completing anything (an event that finds more than one
     * transaction takes).
     */
    bool (*flush)(struct batch *batch, struct acc_error *err);
    void *flush_context;

    /* Scratch of found.c and friends.c. */
    struct acc_row **candidates[CATALOG_KINDS_MAX]; /* by kind index: sorted, unique */
    size_t candidate_count[CATALOG_KINDS_MAX], candidate_capacity[CATALOG_KINDS_MAX];
    struct {
        int64_t fresh, repeats, contradictions;
    } found_counts[CATALOG_KINDS_MAX];
    /*
     * By kind index: candidates in a row that the database did not know. After many of them they
     * are not asked for any more but inserted; one that is there fails the transaction, and its
     * next try asks again.
     */
    bool has_rivals[CATALOG_KINDS_MAX]; /* candidates of one id contradict each other */
    uint32_t unknown_streak[CATALOG_KINDS_MAX];
    bool is_unasked; /* some candidates of the transaction under way were not asked for */
};

struct batch *batch_new(const struct settings *settings, const struct program *program,
                        struct pg *pg, struct facts *facts, struct seen *seen,
                        struct acc_slot *slot);
void batch_free(struct batch *batch);
/* Empties for the next turn of lifecycle. */
void batch_start(struct batch *batch, const struct lifecycle *lifecycle);
/* Forgets look-ups, finds and outcomes but keeps the events: the turn runs again. */
void batch_restart(struct batch *batch);
/* Marks event as failed and drops its finds. Texts are copied. */
void batch_park_event(struct batch *batch, uint32_t event, const char *text, const char *trace,
                      bool is_final);
void batch_drop_finds(struct batch *batch, uint32_t event);
void batch_reason(struct batch *batch, enum outcome outcome, const char *text);

/* The lookup of kind and shape number. */
struct lookup *batch_lookup(struct batch *batch, const struct kind *kind, int shape);

/*
 * friends.c: looks up all keys not yet fetched, in one round trip. Opens the read transaction when
 * there is none.
 */
bool friends_fetch(struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;
/* friends_mirror.c: makes the mirrors of the batch's lifecycle complete as of a snapshot taken now. */
bool friends_mirrors(struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;
/* Ends the read transaction, if one is open. */
bool friends_end(struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;

/*
 * found.c: settles the finds of all kinds: ids, repeats by filter and within the batch; then asks
 * the database for the rest. Afterwards candidates hold what is new, sorted. Contradictions park
 * their events.
 */
bool found_settle(struct batch *batch, struct acc_error *err) ACC_MUST_CHECK;
/* After the commit: what was inserted is known. */
void found_committed(struct batch *batch);
