#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "fold.h"
#include "memory.h"

enum meaning { ENDS_SENTENCE, ENDS_WORD, LETTER, DROPPED };

void text_init(struct text *text, const char *bytes, size_t count)
{
    text->bytes = bytes;
    text->count = count;
    text->at = 0;
    text->sentence_used = 0;
}

void text_clear(struct text *text)
{
    free(text->sentence);
}

static bool within(uint32_t code, uint32_t first, uint32_t last)
{
    return code >= first && code <= last;
}

/* What a code point does; a capital letter becomes small. */
static enum meaning meaning_of(uint32_t *code)
{
    uint32_t c = *code;

    if (c == '.' || c == '!' || c == '?' || c == ';')
        return ENDS_SENTENCE;
    if (c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r')
        return ENDS_WORD;
    if (within(c, 'a', 'z'))
        return LETTER;
    if (within(c, 'A', 'Z') || (within(c, 0xc0, 0xde) && c != 0xd7)) {
        *code = c + 0x20;
        return LETTER;
    }
    if (c < 0xc0 || c == 0xd7 || c == 0xf7 || within(c, 0x2000, 0x2bff) ||
        within(c, 0x3000, 0x303f) || within(c, 0x1f000, 0x1ffff))
        return DROPPED;
    return LETTER;
}

/* The bytes of the code point at bytes, strictly UTF-8 (shortest form, no surrogate); 0 if none. */
static size_t decode(const unsigned char *bytes, size_t count, uint32_t *code)
{
    size_t length = bytes[0] < 0x80 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};

    if (within(bytes[0], 0x80, 0xc1) || bytes[0] > 0xf4 || length > count)
        return 0;
    uint32_t c = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (bytes[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || within(c, 0xd800, 0xdfff))
        return 0;
    *code = c;
    return length;
}

static size_t encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

int32_t text_next(struct text *text)
{
    bool between = false; /* a word has ended and another may begin */

    text->sentence_used = 0;
    while (text->at < text->count) {
        uint32_t code;
        size_t length =
            decode((const unsigned char *)text->bytes + text->at, text->count - text->at, &code);
        if (length == 0 || code == 0)
            return FOLD_EINPUT;
        text->at += length;

        enum meaning meaning = meaning_of(&code);
        if (meaning == ENDS_SENTENCE && text->sentence_used > 0)
            return 1;
        if (meaning == ENDS_WORD)
            between = text->sentence_used > 0;
        if (meaning != LETTER)
            continue;

        if (text->sentence_used > INT32_MAX - 8)
            return FOLD_ELARGE;
        if (!memory_reserve((void **)&text->sentence, &text->sentence_room, text->sentence_used + 5,
                            1))
            return FOLD_EMEMORY;
        if (between)
            text->sentence[text->sentence_used++] = ' ';
        between = false;
        text->sentence_used += encode(code, text->sentence + text->sentence_used);
    }
    return text->sentence_used > 0;
}
