/*
 * Metrics: counters, gauges and histograms in one block of memory, private or shared by processes. Adding is one atomic
 * operation and never allocates. Rendered as OpenMetrics text. The block holds offsets and no addresses, so each process
 * may have it elsewhere; nothing in it is ever locked, so a process that dies in any place stops nobody.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define METRICS_LABELS_MAX 3
#define METRICS_NAME_MAX 63
#define METRICS_VALUE_MAX 63
#define METRICS_HELP_MAX 255

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/*
 * A family: "accrete_http_requests" (rendered with _total for counters), its unit as the end of its name ("_seconds",
 * "_bytes"), help in one sentence without a full stop, names of its labels. Names are letters, digits and _, of at most
 * METRICS_NAME_MAX bytes; none ends in _total, _bucket or _created, which rendering adds.
 */
struct metric_family {
    const char *name;
    enum metric_type type;
    const char *help;
    const char *labels[METRICS_LABELS_MAX];
};

struct metrics;
struct metric; /* one series: a family and the values of its labels; stays where it is */

/* Room for so many series (a histogram takes up to three places) in one private block. */
struct metrics *metrics_new(size_t series);
void metrics_free(struct metrics *metrics);
/*
 * The same in memory that the caller gives, zeroed at first and aligned to 64 bytes; processes may share it and all call
 * this, with the same size. Nothing to free.
 */
size_t metrics_size(size_t series);
struct metrics *metrics_at(void *memory, size_t size);

/* Whether a family is one: names, labels and help. */
bool metrics_check(const struct metric_family *family, struct acc_error *err) ACC_MUST_CHECK;
/* Makes a family that has no series yet; false when it is there with another type or other labels, or the block is full. */
bool metrics_declare(struct metrics *metrics, const struct metric_family *family,
                     struct acc_error *err);

/*
 * The series of a family with these label values (as many as the family has; NULL when it has none), made when it is not
 * there. Never NULL: when the block is full, or the name, label or type does not fit what is there, it is a series that is
 * not rendered, and accrete_metrics_dropped_total counts it. err (may be NULL) says why. family is copied.
 */
struct metric *metrics_get(struct metrics *metrics, const struct metric_family *family,
                           const char *const *values, struct acc_error *err);
/*
 * What does not fit the type (a counter going down or infinite, NAN, observing a gauge) changes nothing. A histogram
 * puts everything below 1e-6 into its first bucket, everything above 1e6 into its last, and takes no infinite value.
 */
void metric_add(struct metric *metric, double value); /* counter: value >= 0; gauge: any */
void metric_set(struct metric *metric, double value); /* gauge; a counter kept elsewhere */
void metric_observe(struct metric *metric,
                    double value); /* histogram: log-linear, four buckets a doubling, 1e-6 to 1e6 */
double metric_value(const struct metric *metric);   /* of a histogram: its sum */
uint64_t metric_count(const struct metric *metric); /* of a histogram */
/*
 * 0 <= q <= 1, within 12 % of the true quantile where that lies in 1e-6 to 1e6, else 0 or 2^20; NAN when nothing was
 * observed.
 */
double metric_quantile(const struct metric *metric, double q);

/*
 * Everything, families in the order of names and series in that of their values, as OpenMetrics 1.0 text, with `# EOF`
 * when is_whole. Of a histogram's buckets one a doubling is shown, from the smallest to the largest value observed.
 */
void metrics_render(const struct metrics *metrics, bool is_whole, struct buf *out);
/* Visits each series, in the order of rendering: for commands and tests. family and values are valid in visit only. */
void metrics_each(const struct metrics *metrics,
                  void (*visit)(void *context, const struct metric_family *family,
                                const char *const *values, const struct metric *metric),
                  void *context);
