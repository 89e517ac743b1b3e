#include "block.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

void block_clear(struct block *block)
{
    free(block->words);
}

int32_t block_name(const struct block *block, int32_t axis)
{
    return block->words[block->strides[axis]];
}

int block_axis_before(const struct words *words, int32_t a_steps, int32_t a_name, int32_t b_steps,
                      int32_t b_name)
{
    if (a_steps != b_steps)
        return a_steps > b_steps;
    return words_compare(words, a_name, b_name) < 0;
}

static void set_strides(struct block *block)
{
    int32_t cells = 1;

    for (int32_t axis = block->axes - 1; axis >= 0; axis--) {
        block->strides[axis] = cells;
        cells *= block->sizes[axis];
    }
    block->cells = cells;
}

/* Reads "word:steps[,word:steps]..." into sizes and names. */
static int32_t read_axes(struct block *block, const char *axes, size_t bytes, const char **names,
                         size_t *name_bytes)
{
    int64_t cells = 1;
    size_t at = 0;

    block->axes = 0;
    while (at < bytes) {
        if (block->axes == FOLD_AXES_MAX)
            return FOLD_ELARGE;
        const char *colon = memchr(axes + at, ':', bytes - at);
        if (colon == NULL)
            return FOLD_EINPUT;
        names[block->axes] = axes + at;
        name_bytes[block->axes] = (size_t)(colon - (axes + at));
        at = (size_t)(colon - axes) + 1;

        int64_t steps = 0;
        for (; at < bytes && axes[at] >= '0' && axes[at] <= '9'; at++)
            if (steps < FOLD_CELLS_MAX) /* more is too large anyhow */
                steps = 10 * steps + (axes[at] - '0');
        if (steps == 0 || (at < bytes && axes[at++] != ','))
            return FOLD_EINPUT;
        cells *= steps + 1;
        if (cells > FOLD_CELLS_MAX)
            return FOLD_ELARGE;
        block->sizes[block->axes++] = (int32_t)steps + 1;
    }
    return block->axes < 2 ? FOLD_EINPUT : 1;
}

/* Reads the words; *unknown says whether one of them is in no sentence. */
static int32_t read_words(struct block *block, const struct words *words, const char *list,
                          size_t bytes, bool *unknown)
{
    const char *word;
    size_t at = 0, length;

    block->cells = 0;
    *unknown = false;
    while ((length = words_next(list, bytes, &at, &word)) > 0) {
        if (block->cells == FOLD_CELLS_MAX)
            return FOLD_ELARGE;
        if (!memory_reserve((void **)&block->words, &block->words_room, (size_t)block->cells + 1,
                            sizeof *block->words))
            return FOLD_EMEMORY;
        int32_t known = words_find(words, word, length);
        *unknown |= known == WORD_NONE;
        block->words[block->cells++] = known;
    }
    return at < bytes ? FOLD_EINPUT : 1;
}

int32_t block_read(struct block *block, const struct words *words, const char *axes,
                   size_t axes_bytes, const char *list, size_t list_bytes)
{
    const char *names[FOLD_AXES_MAX];
    size_t name_bytes[FOLD_AXES_MAX];
    bool unknown = false;

    int32_t result = axes == NULL ? 1 : read_axes(block, axes, axes_bytes, names, name_bytes);
    if (result == 1)
        result = read_words(block, words, list, list_bytes, &unknown);
    if (result != 1)
        return result;

    int32_t cells = block->cells;
    if (axes == NULL) {
        block->axes = 1;
        block->sizes[0] = cells;
    }
    set_strides(block);
    if (block->cells != cells || cells < 2)
        return FOLD_EINPUT;
    if (unknown)
        return 0;
    for (int32_t axis = 0; axes != NULL && axis < block->axes; axis++)
        if (words_find(words, names[axis], name_bytes[axis]) != block_name(block, axis))
            return FOLD_EINPUT;
    return 1;
}

void block_add_axis(struct block *block)
{
    block->sizes[block->axes++] = 1;
    set_strides(block);
}

static int32_t put(struct block_text *text, const char *bytes, size_t count)
{
    if (!memory_reserve((void **)&text->bytes, &text->room, text->used + count, 1))
        return FOLD_EMEMORY;
    memcpy(text->bytes + text->used, bytes, count);
    text->used += count;
    return 1;
}

static int32_t put_number(struct block_text *text, int32_t number)
{
    char digits[12];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return put(text, digits + at, sizeof digits - at);
}

static int32_t put_word(struct block_text *text, const struct words *words, int32_t word)
{
    size_t bytes;
    const char *spelling = words_spelling(words, word, &bytes);

    return put(text, spelling, bytes);
}

static int32_t put_axes(struct block_text *text, const struct block *block,
                        const struct words *words, const int32_t *order)
{
    int32_t result = 1;

    for (int32_t i = 0; i < block->axes && result == 1; i++) {
        if (i > 0)
            result = put(text, ",", 1);
        if (result == 1)
            result = put_word(text, words, block_name(block, order[i]));
        if (result == 1)
            result = put(text, ":", 1);
        if (result == 1)
            result = put_number(text, block->sizes[order[i]] - 1);
    }
    return result;
}

static int32_t put_cells(struct block_text *text, const struct block *block,
                         const struct words *words, const int32_t *order)
{
    int32_t place[FOLD_AXES_MAX + 1] = {0};
    int32_t cell = 0, result = 1;

    for (int32_t i = 0; i < block->cells && result == 1; i++) {
        if (i > 0)
            result = put(text, " ", 1);
        if (result == 1)
            result = put_word(text, words, block->words[cell]);
        for (int32_t a = block->axes - 1; a >= 0; a--) {
            int32_t axis = order[a];
            cell += block->strides[axis];
            if (++place[axis] < block->sizes[axis])
                break;
            cell -= block->sizes[axis] * block->strides[axis];
            place[axis] = 0;
        }
    }
    return result;
}

static int32_t put_dims(struct block_text *text, const struct block *block)
{
    int32_t sizes[FOLD_AXES_MAX + 1];
    int32_t result = 1;

    for (int32_t i = 0; i < block->axes; i++) { /* insertion sort, largest first */
        int32_t at = i;
        for (; at > 0 && sizes[at - 1] < block->sizes[i]; at--)
            sizes[at] = sizes[at - 1];
        sizes[at] = block->sizes[i];
    }
    for (int32_t i = 0; i < block->axes && result == 1; i++) {
        if (i > 0)
            result = put(text, ",", 1);
        if (result == 1)
            result = put_number(text, sizes[i] - 1);
    }
    return result;
}

int32_t block_write(const struct block *block, const struct words *words, struct block_text *text,
                    struct fold_block *out)
{
    int32_t order[FOLD_AXES_MAX + 1];

    for (int32_t axis = 0; axis < block->axes; axis++) { /* insertion sort by name */
        int32_t at = axis;
        for (; at > 0 &&
               words_compare(words, block_name(block, order[at - 1]), block_name(block, axis)) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }

    text->used = 0;
    int32_t result = put_axes(text, block, words, order);
    size_t axes_end = text->used;
    if (result == 1)
        result = put_cells(text, block, words, order);
    size_t words_end = text->used;
    if (result == 1)
        result = put_dims(text, block);
    if (result != 1)
        return result;
    if (text->used > INT32_MAX)
        return FOLD_ELARGE;

    out->axes = text->bytes;
    out->axes_bytes = (int32_t)axes_end;
    out->words = text->bytes + axes_end;
    out->words_bytes = (int32_t)(words_end - axes_end);
    out->dims = text->bytes + words_end;
    out->dims_bytes = (int32_t)(text->used - words_end);
    return 1;
}
