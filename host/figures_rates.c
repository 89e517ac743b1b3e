#include "figures_rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const rates_phase_names[RATES_PHASES] = {"load", "load_friends", "process_data",
                                                     "insert", "commit"};

struct decay decay_of(double seconds, double run_age_s)
{
    double run_s = fmin(RATES_SECONDS, fmax(RATES_RUN_LEAST_S, run_age_s / RATES_RUN_PART));
    double keep = exp(-seconds / RATES_SECONDS);
    double run_keep = exp(-seconds / run_s);

    return (struct decay){.keep = keep,
                          .add = seconds > 0 ? (1 - keep) * RATES_SECONDS / seconds : 1,
                          .seconds = seconds,
                          .run_keep = run_keep,
                          .run_add = seconds > 0 ? (1 - run_keep) * run_s / seconds : 1};
}

/* Histograms: bucket 0 is below 1 us, then eight a doubling. */

static int bucket_of_us(double us)
{
    int exponent;

    if (!(us >= 1))
        return 0;
    double fraction = frexp(us, &exponent); /* us = fraction * 2^exponent, 0.5 <= fraction < 1 */
    int bucket = 1 + (exponent - 1) * 8 + (int)((fraction - 0.5) * 16);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static double bucket_low(int bucket)
{
    if (bucket == 0)
        return 0;
    return ldexp(1 + (bucket - 1) % 8 / 8.0, (bucket - 1) / 8);
}

void histogram_add(struct histogram *histogram, double us, double weight)
{
    histogram->buckets[bucket_of_us(us)] += weight;
    histogram->total += weight;
}

void histogram_decay(struct histogram *histogram, double keep)
{
    if (histogram->total == 0)
        return;
    histogram->total = 0;
    for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
        histogram->buckets[b] *= keep;
        histogram->total += histogram->buckets[b];
    }
    if (histogram->total < 1e-6)
        memset(histogram, 0, sizeof(*histogram));
}

double histogram_quantile(const struct histogram *histogram, double q, double least)
{
    double left = q * histogram->total;

    if (histogram->total <= 0 || histogram->total < least)
        return NAN;
    for (int b = 0; b < HISTOGRAM_BUCKETS; b++) {
        double here = histogram->buckets[b];
        if (here > 0 && here >= left)
            return bucket_low(b) + (bucket_low(b + 1) - bucket_low(b)) * left / here;
        left -= here;
    }
    return bucket_low(HISTOGRAM_BUCKETS);
}

/* Sums */

int rates_kind(struct rates *rates, uint16_t tag)
{
    for (uint32_t i = 0; i < rates->tag_count; i++) {
        if (rates->tags[i] == tag)
            return (int)i;
    }
    if (rates->tag_count == RATES_KINDS)
        return -1;
    rates->tags[rates->tag_count] = tag;
    return (int)rates->tag_count++;
}

double rates_per_s(const struct rates *rates, double sum)
{
    return rates->weight > 0 ? sum / rates->weight : NAN;
}

double rates_share(double part, double whole, double least)
{
    return whole > 0 && whole >= least ? part / whole : NAN;
}

void rates_begin_run(struct rates *rates, int64_t done)
{
    rates->run_began_done = done;
    rates->run_began_us = rates->at_us;
    if (rates->run_weight == 0)
        return;
    rates->run_weight = 0;
    for (size_t l = 0; l < RATES_LIFECYCLES; l++) {
        struct rates_lifecycle *one = &rates->lifecycles[l];
        one->run_done = 0;
        memset(one->run_fresh, 0, rates->tag_count * sizeof(*one->run_fresh));
    }
}

void rates_add_count(struct rates *rates, int lifecycle, enum count count, double more,
                     const struct decay *decay)
{
    struct rates_lifecycle *one = &rates->lifecycles[lifecycle];

    one->counts[count] += more * decay->add;
    if (count <= COUNT_FOUND) /* an outcome */
        one->run_done += more * decay->run_add;
}

void rates_add_finds(struct rates *rates, int lifecycle, int kind, double fresh, double repeats,
                     const struct decay *decay)
{
    struct rates_lifecycle *one = &rates->lifecycles[lifecycle];

    one->fresh[kind] += fresh * decay->add;
    one->repeats[kind] += repeats * decay->add;
    one->run_fresh[kind] += fresh * decay->run_add;
}

static void keep_all(double *sums, size_t count, double keep)
{
    for (size_t i = 0; i < count; i++)
        sums[i] *= keep;
}

void rates_step(struct rates *rates, const struct decay *decay)
{
    rates->weight = rates->weight * decay->keep + decay->add * decay->seconds;
    rates->run_weight = rates->run_weight * decay->run_keep + decay->run_add * decay->seconds;
    rates->commits *= decay->keep;
    for (size_t e = 0; e < RATES_EPOCHS; e++) {
        struct rates_epoch *epoch = &rates->epochs[e];
        if (epoch->id == 0)
            continue;
        epoch->events *= decay->keep;
        epoch->weight = epoch->weight * decay->keep + decay->add * decay->seconds;
    }
    for (size_t l = 0; l < RATES_LIFECYCLES; l++) {
        struct rates_lifecycle *one = &rates->lifecycles[l];
        keep_all(one->counts, COUNTS, decay->keep);
        keep_all(one->fresh, rates->tag_count, decay->keep);
        keep_all(one->repeats, rates->tag_count, decay->keep);
        keep_all(one->run_fresh, rates->tag_count, decay->run_keep);
        one->run_done *= decay->run_keep;
        keep_all(one->phases_us, RATES_PHASES, decay->keep);
        one->batches *= decay->keep;
        one->events *= decay->keep;
        histogram_decay(&one->latency, decay->keep);
        histogram_decay(&one->wait, decay->keep);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double rates_percentile(double *values, size_t count, double q)
{
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof(*values), compare);
    double at = q * (double)(count - 1);
    size_t low = (size_t)at;
    size_t high = low + 1 < count ? low + 1 : low;
    return values[low] + (values[high] - values[low]) * (at - (double)low);
}

/* Batch rows */

static void settle(struct rates *rates, struct rates_epoch *epoch, double write_us,
                   const struct decay *decay)
{
    struct rates_lifecycle *one = &rates->lifecycles[epoch->lifecycle];

    epoch->is_pending = false;
    if (epoch->pending_events ==
        0) { /* a part of an event that finds much: its time is the next row's */
        epoch->carried_us += epoch->pending_us + write_us;
        return;
    }
    one->phases_us[RATES_PHASES - 1] += write_us * decay->add;
    histogram_add(&one->latency,
                  (epoch->carried_us + epoch->pending_us + write_us) / epoch->pending_events,
                  epoch->pending_events * decay->add);
    epoch->carried_us = 0;
}

void rates_batch(struct rates *rates, struct rates_epoch *epoch, const struct rates_row *row,
                 const struct decay *decay)
{
    if (epoch->is_pending)
        settle(rates, epoch, row->last_write_us, decay);
    epoch->cursor = row->id;
    rates->commits += decay->add;
    epoch->events += row->events * decay->add;
    if (row->lifecycle <= 0 || row->lifecycle >= RATES_LIFECYCLES)
        return;
    struct rates_lifecycle *one = &rates->lifecycles[row->lifecycle];
    one->batches += decay->add;
    one->events += row->events * decay->add;
    epoch->pending_us = 0;
    for (size_t p = 0; p < 4; p++) {
        one->phases_us[p] += row->phases_us[p] * decay->add;
        epoch->pending_us += row->phases_us[p];
    }
    if (row->events > 0)
        histogram_add(&one->wait, row->waited_us, row->events * decay->add);
    epoch->lifecycle = row->lifecycle;
    epoch->pending_events = row->events;
    epoch->is_pending = true;
    epoch->readings = 0;
}

void rates_settle(struct rates *rates, const struct decay *decay)
{
    for (size_t e = 0; e < RATES_EPOCHS; e++) {
        struct rates_epoch *epoch = &rates->epochs[e];
        if (epoch->id == 0 || !epoch->is_pending || ++epoch->readings <= 2)
            continue;
        const struct rates_lifecycle *one = &rates->lifecycles[epoch->lifecycle];
        settle(rates, epoch, one->batches > 1 ? one->phases_us[RATES_PHASES - 1] / one->batches : 0,
               decay);
    }
}
