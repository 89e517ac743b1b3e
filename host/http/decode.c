#include "http/decode.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <string.h>

static const char no_escape[] = "a % is not followed by two hex digits";
static const char no_utf8[] = "it is not UTF-8";

/* The byte that the escape at text stands for; -1: it is none. */
static int escaped(const char *text, size_t size)
{
    unsigned char byte;

    if (size < 3 || !hex_decode(text + 1, 2, &byte))
        return -1;
    return byte;
}

static bool is_dots(const char *segment, size_t size)
{
    return (size == 1 && segment[0] == '.') ||
           (size == 2 && segment[0] == '.' && segment[1] == '.');
}

/* No segment of the decoded path is . or .. */
static bool has_no_dots(const char *path, size_t size)
{
    size_t start = 1;

    for (size_t i = 1; i <= size; i++) {
        if (i < size && path[i] != '/')
            continue;
        if (is_dots(path + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

bool http_decode_path(const char *path, size_t size, char *out, size_t *out_size,
                      const char **reason)
{
    size_t count = 0;

    for (size_t i = 0; i < size; i++) {
        int byte = (unsigned char)path[i];

        if (byte == '%') {
            byte = escaped(path + i, size - i);
            *reason = byte < 0 ? no_escape : "it holds an encoded slash";
            if (byte < 0 || byte == '/')
                return false;
            i += 2;
        }
        *reason = "it holds a control byte";
        if (byte < ' ' || byte == 0x7f)
            return false;
        out[count++] = (char)byte;
    }
    out[count] = '\0';
    *reason = no_utf8;
    if (utf8_valid_prefix(out, count) != count)
        return false;
    *reason = "it holds the segment . or ..";
    if (!has_no_dots(out, count))
        return false;
    *out_size = count;
    return true;
}

bool http_decode_query(const char *text, size_t size, char *out, const char **reason)
{
    size_t count = 0;

    for (size_t i = 0; i < size; i++) {
        int byte = text[i] == '+' ? ' ' : (unsigned char)text[i];

        if (byte == '%') {
            byte = escaped(text + i, size - i);
            *reason = no_escape;
            if (byte < 0)
                return false;
            i += 2;
        }
        *reason = "it holds a zero byte";
        if (byte == 0)
            return false;
        out[count++] = (char)byte;
    }
    out[count] = '\0';
    *reason = no_utf8;
    return utf8_valid_prefix(out, count) == count;
}

/* Lower-case hex digits, not all of them zero unless may_be_zero. */
static bool is_hex(const char *text, size_t size, bool may_be_zero)
{
    bool is_zero = true;

    for (size_t i = 0; i < size; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
        is_zero = is_zero && text[i] == '0';
    }
    return may_be_zero || !is_zero;
}

bool http_is_trace(struct http_text text)
{
    const char *at = text.at; /* VV-TRACE(32)-PARENT(16)-FF */

    if (text.size < 55 || at[2] != '-' || at[35] != '-' || at[52] != '-')
        return false;
    if (!is_hex(at, 2, true) || !is_hex(at + 3, 32, false) || !is_hex(at + 36, 16, false) ||
        !is_hex(at + 53, 2, true) || memcmp(at, "ff", 2) == 0)
        return false;
    if (memcmp(at, "00", 2) == 0)
        return text.size == 55;
    return text.size == 55 || at[55] == '-';
}
