#include "seen.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define GROUP 16
#define SEGMENTS_MAX 32
#define FIRST_GROUPS 4096 /* 64 Ki ids, 1.1 MiB */
#define LOAD 0.7
#define BYTES_PER_GROUP (GROUP * 17)

struct segment {
    uint64_t groups;
    uint64_t count;
    uint8_t *tags; /* 0 is free, a tag has its top bit set */
    uint8_t (*ids)[16];
};

struct seen {
    struct segment segments[SEGMENTS_MAX]; /* oldest first */
    size_t count;
    uint64_t bytes, bytes_max;
};

struct seen *seen_new(uint64_t bytes_max)
{
    struct seen *seen = acc_zalloc(sizeof(*seen));
    seen->bytes_max = bytes_max;
    return seen;
}

static void segment_free(struct seen *seen, size_t i)
{
    seen->bytes -= seen->segments[i].groups * BYTES_PER_GROUP;
    free(seen->segments[i].tags);
    free(seen->segments[i].ids);
    memmove(&seen->segments[i], &seen->segments[i + 1],
            (seen->count - i - 1) * sizeof(struct segment));
    seen->count--;
}

void seen_free(struct seen *seen)
{
    if (seen == NULL)
        return;
    while (seen->count > 0)
        segment_free(seen, seen->count - 1);
    free(seen);
}

uint64_t seen_bytes(const struct seen *seen)
{
    return seen->bytes;
}

/* A bit for each of the 16 tags of a group that equals tag. */
static unsigned match(const uint8_t *tags, uint8_t tag)
{
#if defined(__SSE2__)
    __m128i group = _mm_load_si128((const __m128i *)tags);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(group, _mm_set1_epi8((char)tag)));
#else
    unsigned bits = 0;
    for (unsigned i = 0; i < GROUP; i++)
        bits |= (unsigned)(tags[i] == tag) << i;
    return bits;
#endif
}

/* Ids are hashes: their last 8 bytes pick the group, one byte before them is the tag. */
static uint64_t group_of(const uint8_t *id, uint64_t groups)
{
    uint64_t low;
    memcpy(&low, id + 8, 8);
    return (uint64_t)((unsigned __int128)low * groups >> 64);
}

static bool segment_has(const struct segment *segment, const uint8_t *id)
{
    uint8_t tag = id[7] | 0x80;

    for (uint64_t g = group_of(id, segment->groups);; g = g + 1 == segment->groups ? 0 : g + 1) {
        for (unsigned bits = match(segment->tags + GROUP * g, tag); bits != 0; bits &= bits - 1) {
            if (memcmp(segment->ids[GROUP * g + (unsigned)__builtin_ctz(bits)], id, 16) == 0)
                return true;
        }
        if (match(segment->tags + GROUP * g, 0) != 0)
            return false; /* a free place: it was never put further on */
    }
}

void seen_prefetch(const struct seen *seen, const uint8_t id[16])
{
    for (size_t i = 0; i < seen->count; i++) {
        const struct segment *segment = &seen->segments[i];
        __builtin_prefetch(segment->tags + GROUP * group_of(id, segment->groups));
    }
}

bool seen_has(const struct seen *seen, const uint8_t id[16])
{
    for (size_t i = seen->count; i-- > 0;) {
        if (segment_has(&seen->segments[i], id))
            return true;
    }
    return false;
}

/* Each segment is as large as all before it together. */
static struct segment *grow(struct seen *seen)
{
    uint64_t groups =
        seen->bytes < FIRST_GROUPS * BYTES_PER_GROUP ? FIRST_GROUPS : seen->bytes / BYTES_PER_GROUP;

    while (seen->count > 0 && (seen->bytes + groups * BYTES_PER_GROUP > seen->bytes_max ||
                               seen->count == SEGMENTS_MAX)) {
        segment_free(seen, 0);
        groups = FIRST_GROUPS;
        if (seen->count > 0 && seen->bytes + groups * BYTES_PER_GROUP <= seen->bytes_max)
            break;
    }
    if (seen->bytes + groups * BYTES_PER_GROUP > seen->bytes_max)
        return NULL; /* a bound too small for one segment: no filter */
    struct segment *segment = &seen->segments[seen->count++];
    *segment = (struct segment){.groups = groups};
    if (posix_memalign((void **)&segment->tags, 64, groups * GROUP) != 0)
        abort();
    memset(segment->tags, 0, groups * GROUP);
    segment->ids = acc_alloc(groups * GROUP * 16);
    seen->bytes += groups * BYTES_PER_GROUP;
    return segment;
}

void seen_add(struct seen *seen, const uint8_t id[16])
{
    struct segment *segment = seen->count == 0 ? NULL : &seen->segments[seen->count - 1];

    if (segment == NULL || (double)segment->count >= LOAD * (double)(segment->groups * GROUP))
        segment = grow(seen);
    if (segment == NULL)
        return;
    for (uint64_t g = group_of(id, segment->groups);; g = g + 1 == segment->groups ? 0 : g + 1) {
        unsigned gaps = match(segment->tags + GROUP * g, 0);
        if (gaps == 0)
            continue;
        uint64_t at = GROUP * g + (unsigned)__builtin_ctz(gaps);
        segment->tags[at] = id[7] | 0x80;
        memcpy(segment->ids[at], id, 16);
        segment->count++;
        return;
    }
}
