/* Words as small numbers, for as long as a fold lives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORD_NONE = -1 };

struct words {
    char *bytes; /* all spellings, one after the other */
    size_t bytes_used, bytes_room;
    uint32_t *ends; /* ends[w]: where word w ends in bytes */
    size_t count, ends_room;
    int32_t *slots; /* hash table of word + 1, 0 is free */
    size_t slot_count;
};

void words_clear(struct words *words);

/* The number of a word, or WORD_NONE if it was never added. */
int32_t words_find(const struct words *words, const char *spelling, size_t bytes);

/* The number of a word, added if it is new; WORD_NONE if out of memory. */
int32_t words_add(struct words *words, const char *spelling, size_t bytes);

/* The spelling of a word that was added; valid until the next words_add. */
const char *words_spelling(const struct words *words, int32_t word, size_t *bytes);

/* Less than, equal to or greater than 0 as spelling a comes before, is or comes after b, by bytes. */
int words_compare(const struct words *words, int32_t a, int32_t b);

/*
 * Takes the next word off a list of words with single blanks between: *at, 0 at first, moves
 * behind it. Returns its bytes; 0 when there is none, and *at < bytes then means a blank too many.
 */
size_t words_next(const char *list, size_t bytes, size_t *at, const char **word);
