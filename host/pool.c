#include "pool.h"

#include <stdlib.h>

void pool_clear(struct pool *pool)
{
    pool_drop(pool, -1);
    free(pool->packets);
    *pool = (struct pool){0};
}

void pool_add(struct pool *pool, struct packet *packet)
{
    if (pool->count == pool->capacity) {
        pool->capacity = pool->capacity * 2 + 64;
        pool->packets = acc_realloc(pool->packets, pool->capacity * sizeof(*pool->packets));
    }
    pool->packets[pool->count++] = packet;
    pool->bytes += packet->size;
}

static struct packet *remove_at(struct pool *pool, size_t i)
{
    struct packet *packet = pool->packets[i];

    pool->packets[i] = pool->packets[--pool->count];
    pool->bytes -= packet->size;
    return packet;
}

void pool_drop(struct pool *pool, int bucket)
{
    for (size_t i = pool->count; i-- > 0;) {
        if (bucket < 0 || pool->packets[i]->bucket == bucket)
            packet_free(remove_at(pool, i));
    }
}

bool pool_has(const struct pool *pool, int64_t id)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->packets[i]->id == id)
            return true;
    }
    return false;
}

static uint64_t shuffled(int64_t id, int64_t seed)
{
    uint64_t key[2] = {(uint64_t)id, (uint64_t)seed};
    return acc_hash64(key, sizeof(key));
}

/* Whether a comes before b, both of one lifecycle. */
static bool before(const struct packet *a, const struct packet *b, int64_t seed)
{
    if (seed != 0)
        return shuffled(a->id, seed) < shuffled(b->id, seed);
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->born_us != b->born_us)
        return a->born_us < b->born_us;
    return a->id < b->id;
}

struct packet *pool_best(const struct pool *pool, const struct program *program,
                         const bool *is_blocked, int64_t shuffle_seed)
{
    struct packet *best = NULL;
    int32_t best_priority = 0;

    for (size_t i = 0; i < pool->count; i++) {
        struct packet *packet = pool->packets[i];
        const struct lifecycle *lifecycle = program_by_id(program, packet->lifecycle);

        if (lifecycle == NULL || is_blocked[packet->lifecycle])
            continue;
        int32_t priority = shuffle_seed != 0 ? 0 : lifecycle->priority;
        if (best == NULL || priority > best_priority ||
            (priority == best_priority && before(packet, best, shuffle_seed))) {
            best = packet;
            best_priority = priority;
        }
    }
    return best;
}

size_t pool_take(struct pool *pool, int16_t lifecycle, int64_t events, int64_t shuffle_seed,
                 struct packet **taken, size_t most)
{
    size_t count = 0;

    while (count < most && events > 0) {
        size_t best = pool->count;
        for (size_t i = 0; i < pool->count; i++) {
            if (pool->packets[i]->lifecycle == lifecycle &&
                (best == pool->count ||
                 before(pool->packets[i], pool->packets[best], shuffle_seed)))
                best = i;
        }
        if (best == pool->count)
            break;
        taken[count] = remove_at(pool, best);
        events -= taken[count++]->count;
    }
    return count;
}
