/*
 * Pool: the packets a worker holds in RAM, a copy of rows that stay in the database until they are
 * done.
 */
#pragma once

#include "lifecycle.h"
#include "queue.h"

struct pool {
    struct packet **packets;
    size_t count, capacity;
    size_t bytes;
};

void pool_clear(struct pool *pool);
/* Takes packet. */
void pool_add(struct pool *pool, struct packet *packet);
/* Frees the packets of a bucket that is no longer ours, or all (bucket < 0). */
void pool_drop(struct pool *pool, int bucket);
/* Whether id is held. */
bool pool_has(const struct pool *pool, int64_t id);

/*
 * Which packet comes first: higher lifecycle priority, higher packet priority, older. With a seed:
 * drawn from it.
 */
struct packet *pool_best(const struct pool *pool, const struct program *program,
                         const bool *is_blocked, int64_t shuffle_seed);
/*
 * Moves up to most packets out of the pool, the best of lifecycle first, until they hold events;
 * returns how many.
 */
size_t pool_take(struct pool *pool, int16_t lifecycle, int64_t events, int64_t shuffle_seed,
                 struct packet **taken, size_t most);
