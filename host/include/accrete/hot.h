/*
 * What Lua's FFI and an app's native code may see. The part between the ffi marks is handed to
 * ffi.cdef as it is.
 *
 * Rows: a fact in memory is a struct acc_row followed by one 8-byte slot per field, in the kind's
 * order:
 *   int8: int64_t; float8: double; bool: int64_t 0 or 1;
 *   text, bytes, json, uuid and every array: struct acc_span, an offset into the heap and a length in bytes.
 * An array in the heap (8-byte aligned) is uint32_t count, uint32_t 0, then for int8, float8, bool
 * count slots of 8 bytes, for the others count pairs of uint32_t length and bytes.
 */
#pragma once

#include <stdint.h>

#define ACC_HOT_ABI 1

/* ffi:begin */
struct acc_span {
    uint32_t at;   /* offset from the heap's base */
    uint32_t size; /* bytes */
};

struct acc_row {
    uint8_t id[16];        /* content address */
    uint64_t nulls;        /* bit k: field k is NULL */
    uint32_t event;        /* finds: number of the event in the batch; keys: number of the handle */
    uint32_t friends_at;   /* finds: first friend in the batch's friend ids */
    uint32_t friend_count; /* finds: how many */
    uint32_t flags;
};

/* A growing array of rows of one kind at a fixed address. */
struct acc_rows {
    char *base;        /* row i is at base + i * stride; never moves, never unmapped */
    uint32_t stride;   /* bytes of one row */
    uint32_t count;    /* rows in use */
    uint32_t capacity; /* rows that fit */
    uint32_t spare;
};

/* A bump allocator inside the one 4 GiB region all offsets refer to. */
struct acc_heap {
    char *base;     /* of the region */
    uint64_t used;  /* next free offset */
    uint64_t start; /* first offset of this heap */
    uint64_t end;   /* offsets stop here */
};

/* What a look-up returns: rows index[b] .. index[e-1] of its kind's friend rows. */
struct acc_handle {
    uint32_t b, e;
    uint32_t key_at, key_count; /* its keys among the look-up's keys */
    uint32_t loaded;            /* 1: b and e are valid */
    uint32_t shape;
    uint32_t event;
    uint32_t spare;
};

/* Heartbeat and position of a worker, in memory shared with the master. */
struct acc_slot {
    uint64_t beat;   /* counts up with every event and host call */
    int32_t current; /* event of the batch whose callback runs, or -1 */
    uint32_t phase;  /* what the worker does */
};

/* The part of a batch that Lua drives. */
struct acc_batch {
    uint32_t event_count;  /* events in data */
    uint32_t run_count;    /* events that this turn runs: 0 .. run_count-1 */
    uint32_t handle_count; /* look-ups made so far */
    uint32_t handle_limit;
    uint32_t find_count; /* finds of all kinds so far */
    uint32_t find_limit; /* finds that end the turn */
    uint32_t friend_id_count;
    uint32_t friend_id_limit;
};

uint64_t acc_hash64(const void *data, uint64_t size); /* XXH3-64, stable for ever */
int acc_text_ok(const char *data, uint64_t size);     /* 1: UTF-8 without NUL */

/* A series of accrete.metrics: host/metrics.h. */
struct acc_metric;
void acc_metric_add(struct acc_metric *metric, double value);
void acc_metric_set(struct acc_metric *metric, double value);
void acc_metric_observe(struct acc_metric *metric, double value);
double acc_metric_value(const struct acc_metric *metric);
uint64_t acc_metric_count(const struct acc_metric *metric);
double acc_metric_quantile(const struct acc_metric *metric, double q);
/* ffi:end */
