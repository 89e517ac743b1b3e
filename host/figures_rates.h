/*
 * Rates: exponentially weighted means over five minutes, corrected for the start (a run of ten seconds shows the mean of
 * ten seconds), and histograms that forget at the same pace. Plain memory without pointers: it lies on the board, so that a
 * new process goes on with it. Pure arithmetic: no database, no clock.
 */
#pragma once

#include "kinds.h"
#include "lifecycle.h"
#include "tally.h"

#include <stdint.h>

#define RATES_SECONDS 300.0
/*
 * What a run brings (what its events raise, how fast they are done) is a mean over a part of its age until that is five
 * minutes: a run is young as long as it is, and five minutes would go on holding its growth when its queue has long turned.
 */
#define RATES_RUN_LEAST_S 3.0
#define RATES_RUN_PART 4.0
#define RATES_LIFECYCLES                                                                           \
    (LIFECYCLES_MAX + 1) /* by number, those of former modules too; 0 is ingest */
#define RATES_KINDS 320  /* tags ever seen */
#define RATES_EPOCHS 1024
#define RATES_PHASES 5 /* load, load_friends, process_data, insert, commit */
#define RATES_SAMPLES 30
extern const char *const rates_phase_names[RATES_PHASES];

/* What one step of time does to a sum: sum = keep * sum + add * (what came in the step, spread evenly over it). */
struct decay {
    double keep, add, seconds;
    double run_keep, run_add; /* the same for the sums of the run */
};
struct decay decay_of(double seconds,
                      double run_age_s); /* seconds > 0; the run's age at the end of the step */

/* Log-linear: eight buckets a doubling from 1 us to 2^30 us. */
#define HISTOGRAM_BUCKETS 248
struct histogram {
    double total;
    double buckets[HISTOGRAM_BUCKETS];
};
void histogram_add(struct histogram *histogram, double us, double weight);
void histogram_decay(struct histogram *histogram, double keep);
/* In us, within 9 %; NAN when fewer than least were added (after forgetting). 0 <= q <= 1. */
double histogram_quantile(const struct histogram *histogram, double q, double least);

/* Counts of a lifecycle, as they are in the tallies (whole numbers) or as a decayed sum of what was added to them. */
enum count {
    COUNT_EARLY,
    COUNT_LATE,
    COUNT_EMPTY,
    COUNT_FOUND,
    COUNT_FAILED,
    COUNT_FRIENDS,
    COUNT_RETRIES,
    COUNT_GIVEN,
    COUNTS
};

struct rates_lifecycle {
    int64_t last[COUNTS]; /* tallies when they were read last */
    int64_t last_new[RATES_KINDS], last_repeats[RATES_KINDS];
    double counts[COUNTS];
    double fresh[RATES_KINDS], repeats[RATES_KINDS];
    double run_done, run_fresh[RATES_KINDS]; /* of the run: events done, new facts */
    double batches, events, phases_us[RATES_PHASES];
    struct histogram latency, wait;
};

/* A writer whose batch rows are being followed. */
struct rates_epoch {
    int32_t id; /* 0: free */
    int16_t lifecycle;
    bool is_pending; /* the last row's write is told by the next one */
    int8_t readings; /* since then */
    bool is_gone;    /* its tallies are folded: nothing more will come */
    int64_t cursor;
    double pending_us, pending_events, carried_us;
    double events, weight; /* decayed, and the time they stand for */
};

struct rates {
    bool has_reading;
    int64_t at_us; /* of the last reading, monotonic */
    double weight; /* seconds that the sums stand for */
    double commits;
    uint16_t tags[RATES_KINDS];
    uint32_t tag_count;
    int32_t max_epoch;
    struct rates_epoch epochs[RATES_EPOCHS];
    double done_samples[RATES_SAMPLES]; /* events done per second, one a minute */
    uint32_t sample_count;              /* ever */
    int64_t sampled_us;
    /* Of the whole. */
    int64_t run_began_done; /* events done when the queue was last empty */
    int64_t run_began_us;   /* when that was, monotonic */
    double run_weight;      /* seconds that the sums of the run stand for */
    int64_t done;           /* events done at the last reading */
    int64_t moved_us;       /* when an event was last done, monotonic */
    int32_t state;
    int64_t state_since_us; /* wall clock */
    int32_t generation;
    uint64_t refused;
    bool has_audit; /* audit_id is the newest row that was said */
    int64_t audit_id;
    uint64_t buckets_taken, slot_taken[130];
    int32_t slot_pid[130];
    struct rates_lifecycle lifecycles[RATES_LIFECYCLES];
};

/* The place of a kind's tag, made when it is not there; -1: no room. */
int rates_kind(struct rates *rates, uint16_t tag);
/* A sum as a rate per second; NAN before any time has passed. */
double rates_per_s(const struct rates *rates, double sum);
/* The queue is empty, or this is where we begin: from here on it is another run. */
void rates_begin_run(struct rates *rates, int64_t done);
/* So many more of a count, and new facts (repeats) of a kind's place, came in the step. */
void rates_add_count(struct rates *rates, int lifecycle, enum count count, double more,
                     const struct decay *decay);
void rates_add_finds(struct rates *rates, int lifecycle, int kind, double fresh, double repeats,
                     const struct decay *decay);
/* Moves the clock: forgets, before what came in the step is added with decay->add. */
void rates_step(struct rates *rates, const struct decay *decay);
/* part / whole; NAN when whole is below least. */
double rates_share(double part, double whole, double least);
/* The q-th percentile of count values, linear between them; NAN: none. values is sorted by it. */
double rates_percentile(double *values, size_t count, double q);

/* One row of batch of the epoch, in the order of ids. */
struct rates_row {
    int64_t id;
    int16_t lifecycle;
    double events, waited_us, last_write_us, phases_us[4];
};
void rates_batch(struct rates *rates, struct rates_epoch *epoch, const struct rates_row *row,
                 const struct decay *decay);
/* Ends what waited for a next row longer than two calls: its write is taken to be as long as others. */
void rates_settle(struct rates *rates, const struct decay *decay);
