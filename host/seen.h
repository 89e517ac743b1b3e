/*
 * Seen-filter: facts known committed, in RAM. A hit is right, because facts are permanent; a miss
 * says nothing. It holds the 128-bit keyed mark of each fact whole (identity_mark: short
 * fingerprints would one day drop a fact for ever), with 1-byte tags in groups of 16 to find it.
 * Grows by segments to its bound, then forgets the older half.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen;

struct seen *seen_new(uint64_t bytes_max);
void seen_free(struct seen *seen);
bool seen_has(const struct seen *seen, const uint8_t id[16]);
/* Fetches what seen_has will look at into the cache: to be called some ids ahead. */
void seen_prefetch(const struct seen *seen, const uint8_t id[16]);
void seen_add(struct seen *seen, const uint8_t id[16]);
uint64_t seen_bytes(const struct seen *seen);
