/* One batch, between worker_turn.c, worker_turn_write.c and worker_turn_count.c only. */
#pragma once

#include "worker_internal.h"

#define TAKEN_MAX PAGE_PACKETS

/* A turn and where its packets' events lie. */
struct turn {
    struct worker *worker;
    struct lifecycle *lifecycle;
    struct packet **packets;
    size_t count;
    uint32_t first[TAKEN_MAX + 1]; /* event number of each packet's first event */
    uint32_t done;                 /* events run: 0 .. done-1 */
    size_t whole;                  /* packets run to their end */
    bool is_first_delivery;        /* faults.redeliver: write the finds, complete nothing */
    int64_t started_us, gathered_us, processed_us;
    int64_t load_us;   /* what reading its packets took */
    int32_t waited_ms; /* its events before they were taken, on average */
    struct tally tally;
    int64_t conflicts;
};

/* worker_turn_write.c */

/* Begins the transaction that writes, behind the fence of the routing; its results are read later. */
bool turn_begin_send(struct worker *worker, struct acc_error *err) ACC_MUST_CHECK;
/* Settles the finds, counts, and writes all of the turn in one pipeline. */
bool turn_write(struct turn *turn, struct acc_error *err) ACC_MUST_CHECK;
/* As batch->flush, its flush_context the turn. */
bool turn_flush(struct batch *batch, struct acc_error *err);
/*
 * Packets that the transaction completes: those run whole, and the one that a remainder replaces.
 */
size_t turn_completed(const struct turn *turn);
/* After the commit: packets for our own buckets stay in RAM, other owners are woken. */
void turn_keep_pushed(struct worker *worker);

/* worker_turn_count.c */

/* Fill the turn's tally: events by outcome, phases and friends; finds by kind. */
void turn_count_outcomes(struct turn *turn);
void turn_count_kinds(struct turn *turn);
/* Adds what was committed to the slot's counters. */
void turn_count_live(struct turn *turn);
/* One of the new facts, twice a second at most, for those who watch. */
void turn_leave_sample(struct turn *turn);
/* What the next batch of the lifecycle should expect. */
void turn_learn_pace(struct turn *turn);
