#include "words.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void words_clear(struct words *words)
{
    free(words->bytes);
    free(words->ends);
    free(words->slots);
}

static uint64_t hash(const char *spelling, size_t bytes)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)spelling[i]) * 0x100000001b3u;
    return h ^ (h >> 29);
}

const char *words_spelling(const struct words *words, int32_t word, size_t *bytes)
{
    size_t start = word == 0 ? 0 : words->ends[word - 1];

    *bytes = words->ends[word] - start;
    return words->bytes + start;
}

/* The slot that holds the word, or the free one where it belongs. There is always a free one. */
static size_t slot_of(const struct words *words, const char *spelling, size_t bytes)
{
    size_t mask = words->slot_count - 1;
    size_t slot = hash(spelling, bytes) & mask;

    for (; words->slots[slot] != 0; slot = (slot + 1) & mask) {
        size_t other_bytes;
        const char *other = words_spelling(words, words->slots[slot] - 1, &other_bytes);
        if (other_bytes == bytes && memcmp(other, spelling, bytes) == 0)
            break;
    }
    return slot;
}

int32_t words_find(const struct words *words, const char *spelling, size_t bytes)
{
    if (words->slot_count == 0)
        return WORD_NONE;
    return words->slots[slot_of(words, spelling, bytes)] - 1;
}

static bool grow_slots(struct words *words)
{
    size_t count = words->slot_count == 0 ? 64 : words->slot_count * 2;
    int32_t *slots = calloc(count, sizeof *slots);

    if (slots == NULL)
        return false;
    free(words->slots);
    words->slots = slots;
    words->slot_count = count;
    for (size_t w = 0; w < words->count; w++) {
        size_t bytes;
        const char *spelling = words_spelling(words, (int32_t)w, &bytes);
        words->slots[slot_of(words, spelling, bytes)] = (int32_t)w + 1;
    }
    return true;
}

int32_t words_add(struct words *words, const char *spelling, size_t bytes)
{
    if (words->slot_count < 2 * (words->count + 1) && !grow_slots(words))
        return WORD_NONE;

    size_t slot = slot_of(words, spelling, bytes);
    if (words->slots[slot] != 0)
        return words->slots[slot] - 1;

    if (bytes > UINT32_MAX - words->bytes_used || words->count >= INT32_MAX - 1)
        return WORD_NONE;
    if (!memory_reserve((void **)&words->bytes, &words->bytes_room, words->bytes_used + bytes, 1) ||
        !memory_reserve((void **)&words->ends, &words->ends_room, words->count + 1,
                        sizeof *words->ends))
        return WORD_NONE;
    memcpy(words->bytes + words->bytes_used, spelling, bytes);
    words->bytes_used += bytes;
    words->ends[words->count] = (uint32_t)words->bytes_used;
    words->slots[slot] = (int32_t)++words->count;
    return (int32_t)words->count - 1;
}

int words_compare(const struct words *words, int32_t a, int32_t b)
{
    size_t a_bytes, b_bytes;
    const char *a_spelling = words_spelling(words, a, &a_bytes);
    const char *b_spelling = words_spelling(words, b, &b_bytes);
    int order = memcmp(a_spelling, b_spelling, a_bytes < b_bytes ? a_bytes : b_bytes);

    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

size_t words_next(const char *list, size_t bytes, size_t *at, const char **word)
{
    size_t start = *at == 0 ? 0 : *at + 1; /* behind the blank that ended the word before */

    if (start >= bytes)
        return 0;
    const char *blank = memchr(list + start, ' ', bytes - start);
    size_t end = blank == NULL ? bytes : (size_t)(blank - list);
    if (end > start) {
        *word = list + start;
        *at = end;
    }
    return end - start;
}
