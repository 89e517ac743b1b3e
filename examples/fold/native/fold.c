#include "fold.h"

#include <stdlib.h>

#include "block.h"
#include "grow.h"
#include "memory.h"
#include "runs.h"
#include "text.h"
#include "words.h"

struct fold {
    struct words words;
    struct runs after, before;
    int32_t sentence_count;
    int32_t max_phrase, max_dims;
    bool
        broken; /* out of memory in fold_add_sentence: runs may be missing, so no more is answered */
    int32_t *sentence;
    size_t sentence_room;

    struct grow grow;
    int32_t axis; /* of growth, now */
    int32_t axes_left;
    struct block_text written;

    struct text text;
};

struct fold *fold_new(int32_t max_phrase, int32_t max_dims)
{
    struct fold *fold = calloc(1, sizeof *fold);

    if (fold == NULL)
        return NULL;
    fold->max_phrase = max_phrase;
    fold->max_dims = max_dims;
    if (!runs_init(&fold->after) || !runs_init(&fold->before)) {
        fold_free(fold);
        return NULL;
    }
    return fold;
}

void fold_free(struct fold *fold)
{
    if (fold == NULL)
        return;
    words_clear(&fold->words);
    runs_clear(&fold->after);
    runs_clear(&fold->before);
    free(fold->sentence);
    grow_clear(&fold->grow);
    free(fold->written.bytes);
    text_clear(&fold->text);
    free(fold);
}

int32_t fold_add_sentence(struct fold *fold, const char *words, size_t bytes)
{
    const char *word;
    size_t count = 0, at = 0, length;

    fold->axes_left = 0; /* a search that was under way must not go on over other edges */
    fold->grow.running = false;
    if (fold->broken || fold->sentence_count == INT32_MAX)
        return FOLD_EMEMORY;
    while (!fold->broken && (length = words_next(words, bytes, &at, &word)) > 0) {
        int32_t number = words_add(&fold->words, word, length);
        fold->broken =
            number == WORD_NONE || !memory_reserve((void **)&fold->sentence, &fold->sentence_room,
                                                   count + 1, sizeof *fold->sentence);
        if (!fold->broken)
            fold->sentence[count++] = number;
    }
    if (at < bytes)
        count = 0;

    fold->broken = fold->broken ||
                   !runs_add(&fold->after, fold->sentence, count, false, fold->sentence_count) ||
                   !runs_add(&fold->before, fold->sentence, count, true, fold->sentence_count);
    return fold->broken ? FOLD_EMEMORY : fold->sentence_count++;
}

/* Goes on to the next axis along which there is something to search: 1, 0 or an error. */
static int32_t next_axis(struct fold *fold, bool before)
{
    struct grow_text text = {.words = &fold->words,
                             .after = &fold->after,
                             .before = &fold->before,
                             .max_phrase = fold->max_phrase};
    int32_t result = 0;

    while (result == 0 && fold->axes_left > 0) {
        fold->axes_left--;
        result = grow_start(&fold->grow, text, fold->axis++, before);
    }
    if (result < 0)
        fold->axes_left = 0;
    return result;
}

/* Reads a block and starts on all its axes, or on a new one. */
static int32_t start(struct fold *fold, const char *axes, size_t axes_bytes, const char *words,
                     size_t words_bytes, int32_t side, bool new_axis)
{
    struct block *block = &fold->grow.block;

    fold->axes_left = 0;
    fold->grow.running = false;
    if (fold->broken)
        return FOLD_EMEMORY;
    if (side != FOLD_BEHIND && side != FOLD_BEFORE)
        return FOLD_EINPUT;
    int32_t result = block_read(block, &fold->words, axes, axes_bytes, words, words_bytes);
    if (result != 1)
        return result;
    if (new_axis && fold->max_dims > 0 && block->axes >= fold->max_dims)
        return 0;
    if (new_axis && block->axes == FOLD_AXES_MAX)
        return FOLD_ELARGE;

    if (new_axis)
        block_add_axis(block);
    fold->axis = new_axis ? block->axes - 1 : 0;
    fold->axes_left = new_axis ? 1 : block->axes;
    result = next_axis(fold, side == FOLD_BEFORE);
    return result < 0 ? result : 0;
}

int32_t fold_widen(struct fold *fold, const char *words, size_t bytes, int32_t side)
{
    return start(fold, NULL, 0, words, bytes, side, true);
}

int32_t fold_up(struct fold *fold, const char *axes, size_t axes_bytes, const char *words,
                size_t words_bytes, int32_t side)
{
    return start(fold, axes, axes_bytes, words, words_bytes, side, true);
}

int32_t fold_over(struct fold *fold, const char *axes, size_t axes_bytes, const char *words,
                  size_t words_bytes, int32_t side)
{
    return start(fold, axes, axes_bytes, words, words_bytes, side, false);
}

int32_t fold_next(struct fold *fold, struct fold_block *block)
{
    int32_t count = 0;
    int32_t result = grow_next(&fold->grow, &count);

    while (result == 0 && fold->axes_left > 0) {
        result = next_axis(fold, fold->grow.before);
        if (result == 1)
            result = grow_next(&fold->grow, &count);
    }
    if (result == 1)
        result = block_write(&fold->grow.result, &fold->words, &fold->written, block);
    if (result == 1) {
        block->sentences = fold->grow.sentences;
        block->sentence_count = count;
    }
    return result;
}

int32_t fold_split(struct fold *fold, const char *text, size_t bytes)
{
    text_init(&fold->text, text, bytes);
    return 0;
}

int32_t fold_split_next(struct fold *fold, struct fold_sentence *sentence)
{
    int32_t result = text_next(&fold->text);

    if (result == 1) {
        sentence->words = fold->text.sentence;
        sentence->bytes = (int32_t)fold->text.sentence_used;
    }
    return result;
}

int64_t fold_tries(const struct fold *fold)
{
    return fold->grow.tries;
}
