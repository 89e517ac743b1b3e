#include "http/head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define EXTRA_BYTES 4096

static enum http_reading bad(struct http_refusal *refusal, int status, const char *code,
                             const char *message)
{
    *refusal = (struct http_refusal){status, code, message};
    return HTTP_BAD;
}

static enum http_reading bad_head(struct http_head *head, const char *message)
{
    return bad(&head->refusal, 400, "bad_request", message);
}

static bool is_token_byte(char byte)
{
    return isalnum((unsigned char)byte) ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_token_byte(text[i]))
            return false;
    return size > 0;
}

static bool is_target(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < '!' || text[i] > '~' || text[i] == '#')
            return false;
    return true;
}

static enum http_reading request_line(struct http_head *head, const char *line, size_t size)
{
    const char *end = line + size;
    const char *target = memchr(line, ' ', size);
    const char *version =
        target == NULL ? NULL : memchr(target + 1, ' ', (size_t)(end - target) - 1);

    if (version == NULL || memchr(version + 1, ' ', (size_t)(end - version) - 1) != NULL)
        return bad_head(head, "wanted METHOD TARGET HTTP/1.1 in the first line");
    for (const char *at = line; at < target; at++)
        if (*at < 'A' || *at > 'Z')
            return bad_head(head, "wanted a method of capital letters");
    if (target == line || target - line > 16)
        return bad_head(head, "wanted a method of 1..16 letters");
    target++;
    if (version - target > HTTP_TARGET_BYTES)
        return bad(&head->refusal, 414, "target_too_long", "the target is longer than 8192 bytes");
    if (target == version || *target != '/')
        return bad_head(head, "wanted a target that begins with /");
    if (!is_target(target, (size_t)(version - target)))
        return bad_head(head, "the target holds a byte that has to be percent-encoded");
    version++;
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 ||
        !isdigit((unsigned char)version[5]) || version[6] != '.' ||
        !isdigit((unsigned char)version[7]))
        return bad_head(head, "wanted HTTP/1.1 or HTTP/1.0 at the end of the first line");
    if (version[5] != '1' || version[7] > '1')
        return bad(&head->refusal, 505, "bad_version", "wanted HTTP/1.1 or HTTP/1.0");
    head->is_http10 = version[7] == '0';
    return HTTP_MORE;
}

static bool is_host(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) &&
            (text[i] == '\0' || strchr("-._:[]%", text[i]) == NULL))
            return false;
    return size > 0 && size <= 255;
}

static bool is(const char *text, size_t size, const char *word)
{
    return size == strlen(word) && strncasecmp(text, word, size) == 0;
}

static enum http_reading content_length(struct http_head *head, const char *value, size_t size)
{
    if (head->has_length || head->is_chunked)
        return bad_head(head, "the length of the body is given twice");
    head->has_length = true;
    if (size == 0 || size > 18)
        return bad_head(head, "wanted Content-Length of 1..18 digits");
    for (size_t i = 0; i < size; i++) {
        if (!isdigit((unsigned char)value[i]))
            return bad_head(head, "wanted Content-Length of digits alone");
        head->body_bytes = head->body_bytes * 10 + (value[i] - '0');
    }
    return HTTP_MORE;
}

static enum http_reading header(struct http_head *head, const char *name, size_t name_size,
                                const char *value, size_t size)
{
    if (is(name, name_size, "host")) {
        if (head->has_host)
            return bad_head(head, "Host is given twice");
        if (!is_host(value, size))
            return bad_head(head, "wanted Host as NAME or NAME:PORT");
        head->has_host = true;
    } else if (is(name, name_size, "content-length")) {
        return content_length(head, value, size);
    } else if (is(name, name_size, "transfer-encoding")) {
        if (head->has_length || head->is_chunked)
            return bad_head(head, "the length of the body is given twice");
        if (head->is_http10 || !is(value, size, "chunked"))
            return bad_head(head, "wanted Transfer-Encoding: chunked, in HTTP/1.1");
        head->is_chunked = true;
    } else if (is(name, name_size, "expect")) {
        if (!is(value, size, "100-continue"))
            return bad(&head->refusal, 417, "bad_expectation", "wanted Expect: 100-continue");
        head->has_expect = true;
    }
    return HTTP_MORE;
}

static enum http_reading header_line(struct http_head *head, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    const char *end = line + size, *value;

    if (head->lines > HTTP_HEADERS)
        return bad(&head->refusal, 431, "head_too_large", "there are more than 100 headers");
    if (*line == ' ' || *line == '\t')
        return bad_head(head, "a header is folded");
    if (colon == NULL || !is_token(line, (size_t)(colon - line)))
        return bad_head(head, "wanted NAME: VALUE in every header");
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t');)
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return header(head, line, (size_t)(colon - line), value, (size_t)(end - value));
}

static enum http_reading head_end(struct http_head *head, size_t size)
{
    if (head->lines == 0)
        return bad_head(head, "wanted a request");
    if (!head->has_host && !head->is_http10)
        return bad_head(head, "wanted a Host");
    head->size = size;
    return HTTP_DONE;
}

/* The line from head->line to the CR at end. */
static enum http_reading line_end(struct http_head *head, const char *data, size_t end)
{
    const char *line = data + head->line;
    size_t size = end - head->line;
    enum http_reading reading;

    if (size == 0) {
        if (head->lines > 0 || head->start > 0)
            return head_end(head, end + 2);
        head->start = end + 2; /* some clients end a body with a line of its own */
        return HTTP_MORE;
    }
    if (head->lines == 0)
        reading = request_line(head, line, size);
    else
        reading = header_line(head, line, size);
    head->lines++;
    return reading;
}

enum http_reading http_head_read(struct http_head *head, const char *data, size_t size)
{
    for (; head->seen < size; head->seen++) {
        size_t at = head->seen;
        char byte = data[at];
        bool is_after_cr = at > 0 && data[at - 1] == '\r';

        if (at >= HTTP_HEAD_BYTES)
            return bad(&head->refusal, 431, "head_too_large",
                       "the head is longer than 32768 bytes");
        if (byte == '\n' && is_after_cr) {
            enum http_reading reading = line_end(head, data, at - 1);

            if (reading != HTTP_MORE)
                return reading;
            head->line = at + 1;
        } else if (byte == '\n' || is_after_cr) {
            return bad_head(head, "a line does not end in CR LF");
        } else if (((unsigned char)byte < ' ' && byte != '\t' && byte != '\r') || byte == 0x7f) {
            return bad_head(head, "the head holds a control byte");
        }
    }
    return HTTP_MORE;
}

enum {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_REST,
    TRAILER_LF,
    END_LF
};

static enum http_reading bad_chunk(struct http_chunks *chunks, const char *message)
{
    return bad(&chunks->refusal, 400, "bad_chunk", message);
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}

static enum http_reading chunk_size(struct http_chunks *chunks, char byte, int64_t limit_bytes)
{
    int digit = hex_digit(byte);

    if (digit >= 0) {
        if (++chunks->digits > 15)
            return bad_chunk(chunks, "the size of a chunk has more than 15 digits");
        if (chunks->left > limit_bytes)
            return bad(&chunks->refusal, 413, "body_too_large", "the body is too long");
        chunks->left = chunks->left * 16 + digit;
        return HTTP_MORE;
    }
    if (chunks->digits == 0 || (byte != '\r' && byte != ';' && byte != ' ' && byte != '\t'))
        return bad_chunk(chunks, "wanted a chunk's size as hex digits");
    if (chunks->left > limit_bytes - chunks->total)
        return bad(&chunks->refusal, 413, "body_too_large", "the body is too long");
    chunks->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return HTTP_MORE;
}

static enum http_reading chunk_text(struct http_chunks *chunks, char byte, int after)
{
    if (byte == '\r') {
        chunks->state = after;
        return HTTP_MORE;
    }
    if (((unsigned char)byte < ' ' && byte != '\t') || byte == 0x7f)
        return bad_chunk(chunks, "a control byte between chunks");
    if (++chunks->extra > EXTRA_BYTES)
        return bad_chunk(chunks, "more than 4096 bytes between and behind the chunks");
    return HTTP_MORE;
}

static enum http_reading chunk_byte(struct http_chunks *chunks, char byte, int64_t limit_bytes)
{
    switch (chunks->state) {
    case SIZE:
        return chunk_size(chunks, byte, limit_bytes);
    case EXTENSION:
        return chunk_text(chunks, byte, SIZE_LF);
    case DATA_CR:
        if (byte != '\r')
            return bad_chunk(chunks, "wanted CR LF behind a chunk");
        chunks->state = DATA_LF;
        return HTTP_MORE;
    case TRAILER:
        chunks->state = byte == '\r' ? END_LF : TRAILER_REST;
        return byte == '\r' ? HTTP_MORE : chunk_text(chunks, byte, TRAILER_LF);
    case TRAILER_REST:
        return chunk_text(chunks, byte, TRAILER_LF);
    default:
        break;
    }
    if (byte != '\n')
        return bad_chunk(chunks, "a line of the chunks does not end in CR LF");
    if (chunks->state == END_LF)
        return HTTP_DONE;
    if (chunks->state == SIZE_LF)
        chunks->state = chunks->left == 0 ? TRAILER : DATA;
    else
        chunks->state = chunks->state == DATA_LF ? SIZE : TRAILER;
    chunks->digits = 0;
    return HTTP_MORE;
}

enum http_reading http_chunks_read(struct http_chunks *chunks, const char *data, size_t size,
                                   int64_t limit_bytes, size_t *used)
{
    for (size_t at = 0; at < size;) {
        if (chunks->state == DATA) {
            int64_t step =
                (int64_t)(size - at) < chunks->left ? (int64_t)(size - at) : chunks->left;

            at += (size_t)step;
            chunks->left -= step;
            chunks->total += step;
            if (chunks->left == 0)
                chunks->state = DATA_CR;
            continue;
        }
        enum http_reading reading = chunk_byte(chunks, data[at], limit_bytes);

        if (reading != HTTP_MORE) {
            *used = at + 1;
            return reading;
        }
        at++;
    }
    *used = size;
    return HTTP_MORE;
}
