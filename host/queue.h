/* Queue: packets of events, routing, parked events. This is the only file that writes packets. */
#pragma once

#include "facts.h"
#include "lifecycle.h"
#include "pg/pg.h"
#include "rows.h"

/* Which lifecycles a kind wakes, as the database says; read again when the version moves. */
struct route {
    int16_t lifecycle;
    uint16_t kind; /* tag */
};

struct routing {
    int64_t version;
    int buckets;
    struct route *routes; /* sorted by kind, lifecycle; owned */
    size_t count;
};

/* Reads version, buckets and routes in one snapshot. */
bool routing_read(struct routing *routing, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/* The same in a pipeline (one result), in whatever snapshot its transaction has. */
bool routing_send(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
bool routing_take(struct routing *routing, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
void routing_clear(struct routing *routing);
/*
 * Sends the fence: LOCK TABLE routing IN ACCESS SHARE MODE and the version check (ACC_ESTALE when
 * it moved). Two results.
 */
bool routing_check_send(const struct routing *routing, struct pg *pg,
                        struct acc_error *err) ACC_MUST_CHECK;

static inline int bucket_of(const uint8_t *id, int buckets)
{
    return (int)(((uint32_t)(id[0] << 8 | id[1]) * (uint32_t)buckets) >> 16);
}

/* A packet in RAM. */
struct packet {
    int16_t bucket;
    int16_t lifecycle;
    int16_t priority;
    int16_t tries;
    int32_t count; /* events */
    int64_t id;
    int64_t born_us;     /* wall clock */
    uint8_t ctid[6];     /* wire form */
    bool is_redelivered; /* faults.redeliver: has been run once */
    size_t size;
    size_t weight; /* under construction: bytes of its facts, which ids stand for */
    char *payload; /* owned */
};
void packet_free(struct packet *packet);

/*
 * Payload: byte form ('R' rows, 'I' ids, 'T' ids that are retries of parked events), uint16 tag of
 * the kind, byte length of the layout and the layout, then rows (row_encode) or 16-byte ids. The
 * layout says how rows are walked when the kind has got fields since: 'n' when null bits are there,
 * else '-'; then 'f' or 's' for each field of 8 bytes or of a length and bytes.
 */

/*
 * Appends the packet's events to rows: whole facts (texts in heap), or when it holds ids, or rows
 * of another layout, only their ids; *ids_only says which. ACC_EINPUT: cut, malformed, of another
 * kind, or not as many as it says.
 */
bool packet_decode(const struct packet *packet, const struct kind *kind, struct acc_rows *rows,
                   struct acc_heap *heap, bool *ids_only, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Packets under construction for one transaction: groups new facts by (lifecycle, bucket,
 * priority).
 */
struct packet_set {
    struct packet *packets;
    size_t count, capacity;
    int64_t packet_events, packet_bytes; /* limits of one packet */
    struct buf scratch;
};
void packet_set_reset(struct packet_set *set);
void packet_set_clear(struct packet_set *set);
/*
 * Adds events for new facts: one per route of the kind. priority_of (may be NULL) is asked for
 * lifecycles that program has with a priority function.
 */
void packet_set_route(struct packet_set *set, const struct routing *routing,
                      const struct program *program, const struct kind *kind, struct acc_row **rows,
                      size_t count, int64_t now_us);
/* Adds one event by id ('I' or 'T' form) or one by row. */
void packet_set_add_id(struct packet_set *set, int16_t lifecycle, int16_t bucket, int16_t priority,
                       int16_t tries, uint16_t tag, char form, const uint8_t *id, size_t weight,
                       int64_t now_us);
/*
 * Adds the fact of one more event to a packet like the given one (lifecycle, bucket, priority,
 * tries, age, payload form).
 */
void packet_set_add(struct packet_set *set, const struct packet *like, const struct kind *kind,
                    const struct acc_row *row);
/*
 * Numbers the packets from *counter (epoch << 32 | n) and sends their INSERT; the result has one
 * ctid a row, in order.
 */
bool queue_push_send(struct packet_set *set, struct pg *pg, int64_t *next_id,
                     struct acc_error *err) ACC_MUST_CHECK;
bool queue_push_read(struct packet_set *set, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Sends the fence that completes packets: deletes them and raises (ACC_ESTALE) unless all were
 * still there. One result.
 */
bool queue_done_send(struct packet **packets, size_t count, struct pg *pg,
                     struct acc_error *err) ACC_MUST_CHECK;

/* What to take from the queue. */
struct claim {
    const int16_t *buckets;
    size_t bucket_count;       /* 0 with is_quarantine: any bucket */
    const int16_t *lifecycles; /* with their priorities, by which packets are ordered */
    const int32_t *priorities;
    size_t lifecycle_count;
    const int64_t *held; /* ids not wanted: in RAM already, or poisoned */
    size_t held_count;
    bool is_quarantine;   /* packets with tries > 0 instead of those without */
    bool oldest_first;    /* by age alone, so that low priorities are not starved */
    int64_t shuffle_seed; /* not 0: in an order drawn from it (tests) */
    int32_t most;         /* packets */
};
/*
 * Reads packets (they stay in the database until queue_done_send). *packets is an array the caller
 * frees, each packet by packet_free.
 */
bool queue_claim(const struct claim *claim, struct pg *pg, struct packet ***packets, size_t *count,
                 struct acc_error *err) ACC_MUST_CHECK;
/* Reads one packet by its key; *packet is NULL when it is gone. */
bool queue_get(struct pg *pg, int16_t bucket, int64_t id, struct packet **packet,
               struct acc_error *err) ACC_MUST_CHECK;

/* Which packets somebody wants to see, oldest first. Reading takes nothing from anybody. */
struct queue_look {
    const int16_t *lifecycles; /* of these */
    size_t lifecycle_count;
    int16_t bucket; /* -1: of any */
    const int64_t *without;
    size_t without_count;
    int64_t from_born_us, from_id; /* this one or those behind it; 0: from the oldest */
    int32_t most;                  /* packets */
};
/* As queue_claim, for a session of any rights. */
bool queue_see(const struct queue_look *look, struct pg *pg, struct packet ***packets,
               size_t *count, struct acc_error *err) ACC_MUST_CHECK;

/* Whole-queue figures in one snapshot. */
struct queue_state {
    int64_t packets, ready; /* packets, events in them */
    int64_t quarantined;    /* events of packets with tries > 0 */
    int64_t delayed, dead, discarded;
    int64_t replays;  /* (lifecycle, bucket) still to replay */
    int64_t orphaned; /* events of lifecycles that are not active: they stay */
};
bool queue_state(struct queue_state *state, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/* Nothing is left to do, but for what is dead or discarded. */
static inline bool queue_is_fixpoint(const struct queue_state *state)
{
    return state->ready == 0 && state->delayed == 0 && state->replays == 0;
}
/*
 * Workers' commits may be on no disk yet: one that waits for the disk is behind them all, so that what was seen before
 * survives a crash.
 */
bool queue_make_durable(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/* The same of one lifecycle; those that are not active too, as long as they have a number. */
struct queue_depth {
    int16_t lifecycle;
    int64_t ready; /* events in packets, those in a worker's hands among them */
    int64_t delayed, dead, discarded;
    int64_t quarantined; /* of the ready ones: their packet's worker died */
    int64_t packets;
    int64_t replays;        /* buckets of old facts still to be read for it */
    int64_t oldest_born_us; /* wall clock of the oldest packet; 0: none */
};
/*
 * One row a lifecycle, by number, in one snapshot: sums over packets and parked events, never over
 * facts. *depths is the caller's to free.
 */
bool queue_depths(struct pg *pg, struct queue_depth **depths, size_t *count,
                  struct acc_error *err) ACC_MUST_CHECK;
/* How many buckets there are, and how many of them some connected worker owns now. */
bool queue_buckets(struct pg *pg, int64_t *all, int64_t *owned,
                   struct acc_error *err) ACC_MUST_CHECK;
