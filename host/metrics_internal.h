/* Shared by metrics.c, metrics_check.c, metrics_numbers.c and metrics_render.c only. */
#pragma once

#include "metrics.h"

#include <stdatomic.h>

/* Buckets: one for all up to 2^-20, four for each doubling up to 2^20, one for the rest. */
#define EXPONENT_MIN (-20)
#define EXPONENT_MAX 20
#define METRIC_PER_DOUBLING 4
#define METRIC_BUCKETS ((EXPONENT_MAX - EXPONENT_MIN) * METRIC_PER_DOUBLING + 2)

enum record_type { RECORD_FAMILY = 1, RECORD_SERIES };

/* Begins both kinds of records. */
struct record {
    uint32_t type; /* enum record_type */
    uint32_t bytes;
    uint64_t hash;
};

/* Followed by name, help and the names of labels, each with its NUL. */
struct family {
    struct record record;
    uint32_t type; /* enum metric_type */
    uint32_t label_count;
    char texts[];
};

/* Followed by buckets (of a histogram), then the values of the labels, each with its NUL. */
struct metric {
    struct record record;
    uint32_t type;          /* enum metric_type, or METRIC_NONE: takes nothing */
    uint32_t bucket_count;  /* 0 or METRIC_BUCKETS */
    uint64_t family;        /* offset */
    _Atomic uint64_t value; /* bits of a double; of a histogram the sum */
    _Atomic uint64_t buckets[];
};

#define METRIC_NONE UINT32_MAX

/* metrics.c */

/* "counter", "gauge", "histogram" */
extern const char *const metrics_type_names[];

const struct family *metrics_family_of(const struct metrics *metrics, const struct metric *metric);
/* The values of the labels, each with its NUL. */
const char *metrics_values_of(const struct metric *metric);
/* Bytes of count texts that follow each other. */
size_t metrics_texts_size(const char *texts, size_t count);
/* Slots of the table, and the series in one of them; NULL: there is none. */
uint64_t metrics_slots(const struct metrics *metrics);
const struct metric *metrics_series_at(const struct metrics *metrics, uint64_t slot);
/* Series that found no room or did not fit. */
uint64_t metrics_dropped(const struct metrics *metrics);

/* metrics_check.c */

size_t metrics_label_count(const struct metric_family *family);
/* Whether each label has a value, and it is one. */
bool metrics_check_values(const struct metric_family *family, const char *const *values,
                          struct acc_error *err) ACC_MUST_CHECK;

/* metrics_numbers.c */

/* Bucket k ends at metrics_bound(k), which belongs to it; the last has no end. */
double metrics_bound(size_t bucket);
/* What is in bucket. */
uint64_t metrics_bucket_count(const struct metric *metric, size_t bucket);
