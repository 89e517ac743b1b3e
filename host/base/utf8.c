#include "base/utf8.h"

#include "accrete/hot.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the character at s, 0 when it is not valid or not whole. The first byte is not ASCII. */
static size_t character_bytes(const uint8_t *s, size_t n)
{
    uint8_t lowest = 0x80; /* range of the second byte; E0, ED, F0 and F4 narrow it */
    uint8_t highest = 0xBF;
    size_t bytes;

    if (s[0] >= 0xC2 && s[0] <= 0xDF) {
        bytes = 2;
    } else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        bytes = 3;
        lowest = s[0] == 0xE0 ? 0xA0 : lowest;
        highest = s[0] == 0xED ? 0x9F : highest;
    } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        bytes = 4;
        lowest = s[0] == 0xF0 ? 0x90 : lowest;
        highest = s[0] == 0xF4 ? 0x8F : highest;
    } else {
        return 0;
    }
    if (n < bytes || s[1] < lowest || s[1] > highest)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return bytes;
}

size_t utf8_valid_prefix(const char *s, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)s;
    size_t at = 0;

    while (at < n) {
        uint64_t word;

        while (n - at >= sizeof(word)) { /* eight ASCII bytes at a time */
            memcpy(&word, bytes + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) != 0)
                break;
            at += sizeof(word);
        }
        while (at < n && bytes[at] < 0x80)
            at++;
        if (at < n) {
            size_t step = character_bytes(bytes + at, n - at);
            if (step == 0)
                return at;
            at += step;
        }
    }
    return n;
}

void utf8_mend(char *text, size_t size)
{
    for (size_t at = 0; (at += utf8_valid_prefix(text + at, size - at)) < size;)
        text[at] = '?';
}

int acc_text_ok(const char *data, uint64_t size)
{
    return utf8_valid_prefix(data, size) == size && memchr(data, 0, size) == NULL;
}
