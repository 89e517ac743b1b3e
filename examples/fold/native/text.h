/* Text to sentences: one scan, code point by code point. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    const char *bytes; /* borrowed from the caller of text_init */
    size_t count, at;
    char *sentence; /* the last sentence read */
    size_t sentence_used, sentence_room;
};

/* Starts on a text. It must be UTF-8 without U+0000: FOLD_EINPUT comes when the fault is reached. */
void text_init(struct text *text, const char *bytes, size_t count);
void text_clear(struct text *text);

/* 1: text->sentence holds the next one. 0: there is none. FOLD_EINPUT, FOLD_ELARGE, FOLD_EMEMORY. */
int32_t text_next(struct text *text);
