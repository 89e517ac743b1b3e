/* The numbers of a series: sums that processes add to without locks, and the buckets of histograms. */
#include "metrics_internal.h"

#include <math.h>
#include <string.h>

#define FIRST_BITS UINT64_C(0x3EB0000000000000) /* of 2^-20 as a double */
#define BUCKET_SHIFT 50 /* exponent and the first two bits of the fraction */

static double double_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void add_double(_Atomic uint64_t *to, double value)
{
    uint64_t old = atomic_load_explicit(to, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(to, &old, bits_of(double_of(old) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void metric_add(struct metric *metric, double value)
{
    if (metric->type == METRIC_GAUGE
            ? !isnan(value)
            : metric->type == METRIC_COUNTER && value > 0 && isfinite(value))
        add_double(&metric->value, value);
}

void metric_set(struct metric *metric, double value)
{
    if (metric->type == METRIC_GAUGE ||
        (metric->type == METRIC_COUNTER && value >= 0 && isfinite(value)))
        atomic_store_explicit(&metric->value, bits_of(value), memory_order_relaxed);
}

static size_t bucket_of(double value)
{
    if (value <= double_of(FIRST_BITS))
        return 0;
    /* Positive doubles sort like their bits: one less puts a bound into the bucket that it ends. */
    uint64_t step = ((bits_of(value) - 1) >> BUCKET_SHIFT) - (FIRST_BITS >> BUCKET_SHIFT);
    return step < METRIC_BUCKETS - 2 ? (size_t)step + 1 : METRIC_BUCKETS - 1;
}

double metrics_bound(size_t bucket)
{
    return double_of(FIRST_BITS + ((uint64_t)bucket << BUCKET_SHIFT));
}

void metric_observe(struct metric *metric, double value)
{
    if (metric->type != METRIC_HISTOGRAM || !isfinite(value))
        return;
    atomic_fetch_add_explicit(&metric->buckets[bucket_of(value)], 1, memory_order_relaxed);
    add_double(&metric->value, value);
}

double metric_value(const struct metric *metric)
{
    return double_of(atomic_load_explicit(&metric->value, memory_order_relaxed));
}

uint64_t metrics_bucket_count(const struct metric *metric, size_t bucket)
{
    return atomic_load_explicit(&metric->buckets[bucket], memory_order_relaxed);
}

uint64_t metric_count(const struct metric *metric)
{
    uint64_t count = 0;

    for (size_t i = 0; i < metric->bucket_count; i++)
        count += metrics_bucket_count(metric, i);
    return count;
}

double metric_quantile(const struct metric *metric, double q)
{
    uint64_t count = metric_count(metric);
    double wanted = ceil(q * (double)count); /* the rank that is looked for, from 1 on */
    uint64_t rank = 0;

    if (count == 0 || !(q >= 0 && q <= 1))
        return NAN;
    for (size_t i = 0; i < METRIC_BUCKETS - 1; i++) {
        rank += metrics_bucket_count(metric, i);
        if (rank > 0 &&
            (double)rank >= wanted) /* the harmonic middle errs least: 1/9 at both ends */
            return i == 0 ? 0 : 2 / (1 / metrics_bound(i - 1) + 1 / metrics_bound(i));
    }
    return metrics_bound(METRIC_BUCKETS - 2);
}
