/*
 * fold: the hot paths of the text folding example. Everything a lifecycle may call is here.
 *
 * A struct fold holds the sentences that have been shown to it and answers one question about
 * them: given a block of words, which blocks are exactly one layer larger? See grow.c.
 *
 * Nothing that a caller passes is kept, but for the text of fold_split. Memory grows with the
 * sentences shown (150-180 bytes a word: 6.4 MiB for Genesis, 108 MiB for the whole King James
 * Bible) and with the largest block, by nothing else. Not for use by two threads at once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The part between the marks is read by LuaJIT too: plain declarations only. */
/* ffi:begin */
enum {
    FOLD_AXES_MAX = 12,       /* axes of a block */
    FOLD_CELLS_MAX = 1048576, /* words in a block */

    /* A negative result: */
    FOLD_EMEMORY = -1, /* out of memory */
    FOLD_EINPUT = -2,  /* not UTF-8, not a canonical block, a side that does not exist */
    FOLD_ELARGE = -3,  /* larger than the limits above */

    /* Where the new layer goes: */
    FOLD_BEHIND = 0, /* the given block is the near part: it holds the origin of what is found */
    FOLD_BEFORE = 1  /* the given block is the far part: it holds the far corner */
};

struct fold;

/* A block of words in canonical form. Valid until the next call with the same fold. */
struct fold_block {
    const char *axes;         /* "b:2,c:1": hop word and steps, sorted by the bytes of the words */
    const char *words;        /* row-major, last axis fastest, one blank between */
    const char *dims;         /* "2,1": the steps, largest first */
    const int32_t *sentences; /* numbers of sentences that together hold every new line */
    int32_t axes_bytes;
    int32_t words_bytes;
    int32_t dims_bytes;
    int32_t sentence_count;
};

/* A piece of the text that was given to fold_split. Valid until the next call with the same fold. */
struct fold_sentence {
    const char *words; /* one blank between */
    int32_t bytes;
};

/*
 * An empty fold; NULL if out of memory. No line longer than max_phrase words and no block of more
 * than max_dims axes is found; 0 means no limit.
 */
struct fold *fold_new(int32_t max_phrase, int32_t max_dims);
void fold_free(struct fold *fold);

/*
 * Shows one more sentence; returns its number, from 0 on. What is no list of words with single
 * blanks between counts as a sentence without a run.
 */
int32_t fold_add_sentence(struct fold *fold, const char *words, size_t bytes);

/* Starts on all blocks that have the given line (2 words or more) as one of two facing sides. */
int32_t fold_widen(struct fold *fold, const char *words, size_t bytes, int32_t side);
/* Starts on all blocks that have the given block as one of two facing sides: one more axis. */
int32_t fold_up(struct fold *fold, const char *axes, size_t axes_bytes, const char *words,
                size_t words_bytes, int32_t side);
/* Starts on all blocks that are one step longer than the given one along one axis. */
int32_t fold_over(struct fold *fold, const char *axes, size_t axes_bytes, const char *words,
                  size_t words_bytes, int32_t side);
/* The next block of what was started last: 1, or 0 after the last one. */
int32_t fold_next(struct fold *fold, struct fold_block *block);

/* Starts on the sentences of a text, which must stay where it is until the last was read. */
int32_t fold_split(struct fold *fold, const char *text, size_t bytes);
/* The next sentence: 1, or 0 after the last one. */
int32_t fold_split_next(struct fold *fold, struct fold_sentence *sentence);

/* Words tried for a place in a new layer since fold_new; for benches. */
int64_t fold_tries(const struct fold *fold);
/* ffi:end */
