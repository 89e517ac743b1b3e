/* Time: one monotonic clock for durations, one wall clock for records. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_us(void) /* monotonic, microseconds */
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static inline int64_t clock_wall_us(void) /* since 1970-01-01 UTC, microseconds */
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}
