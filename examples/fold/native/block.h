/*
 * A block of words: an array of one or more axes of one or more words each, row-major, the last axis
 * fastest. An axis is named by the word one step along it from the origin.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "fold.h"
#include "words.h"

struct block {
    int32_t axes;
    int32_t sizes[FOLD_AXES_MAX + 1];   /* words along each axis */
    int32_t strides[FOLD_AXES_MAX + 1]; /* cells from one word to the next along each axis */
    int32_t cells;
    int32_t *words;
    size_t words_room;
};

void block_clear(struct block *block);

/* The name of an axis of 2 words or more. */
int32_t block_name(const struct block *block, int32_t axis);

/*
 * Whether axis a comes before axis b: more steps first, then the bytes of the name. Any fixed order
 * would do; see grow.c.
 */
int block_axis_before(const struct words *words, int32_t a_steps, int32_t a_name, int32_t b_steps,
                      int32_t b_name);

/*
 * Reads a block as fold_block has it, or a line (axes NULL) of 2 words or more. 1, or FOLD_EINPUT,
 * FOLD_ELARGE, FOLD_EMEMORY; 0 if it is well formed but holds a word that no sentence has.
 */
int32_t block_read(struct block *block, const struct words *words, const char *axes,
                   size_t axes_bytes, const char *list, size_t list_bytes);

/* Adds a last axis of one word to a block of at most FOLD_AXES_MAX axes. */
void block_add_axis(struct block *block);

/* The text of a block in canonical form, kept for the caller of fold_next. */
struct block_text {
    char *bytes;
    size_t used, room;
};

/* Writes axes, words and dims of a block whose axes all have 2 words or more. 1 or FOLD_EMEMORY. */
int32_t block_write(const struct block *block, const struct words *words, struct block_text *text,
                    struct fold_block *out);
