#include "base/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256 << 10)

void lines_init(struct lines *lines, int fd, size_t line_max)
{
    *lines = (struct lines){.fd = fd, .line_max = line_max};
}

void lines_init_reader(struct lines *lines, lines_read_fn *read, void *context, size_t line_max)
{
    *lines = (struct lines){.fd = -1, .read = read, .context = context, .line_max = line_max};
}

void lines_clear(struct lines *lines)
{
    free(lines->data);
    lines->data = NULL;
}

static ptrdiff_t read_fd(const struct lines *lines, char *data, size_t size, struct acc_error *err)
{
    ssize_t got;

    do {
        got = read(lines->fd, data, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        acc_fail_errno(err, "cannot read");
    return got;
}

/* Moves what is left to the front and reads on behind it. */
static bool read_more(struct lines *lines, struct acc_error *err)
{
    if (lines->at > 0)
        memmove(lines->data, lines->data + lines->at, lines->size - lines->at);
    lines->size -= lines->at;
    lines->at = 0;
    if (lines->capacity - lines->size < READ_BYTES) {
        lines->capacity = 2 * lines->capacity + READ_BYTES;
        lines->data = acc_realloc(lines->data, lines->capacity);
    }
    char *to = lines->data + lines->size;
    size_t room = lines->capacity - lines->size;
    ptrdiff_t got = lines->read != NULL ? lines->read(lines->context, to, room, err)
                                        : read_fd(lines, to, room, err);
    if (got < 0)
        return false;
    lines->is_end = got == 0;
    lines->size += (size_t)got;
    if (lines->bytes == 0 && lines->size >= 3 && memcmp(lines->data, "\xef\xbb\xbf", 3) == 0)
        lines->at = 3;
    lines->bytes += got;
    return true;
}

/* Takes size bytes and the newline behind them. */
static enum lines_result take(struct lines *lines, size_t size, const char **line,
                              size_t *line_size)
{
    bool is_skipped = lines->is_skipping;

    *line = lines->data + lines->at;
    *line_size = size;
    lines->at += size < lines->size - lines->at ? size + 1 : size;
    lines->is_skipping = false;
    lines->number++;
    return is_skipped || size > lines->line_max ? LINES_TOO_LONG : LINES_ONE;
}

enum lines_result lines_next(struct lines *lines, const char **line, size_t *size,
                             struct acc_error *err)
{
    size_t searched = 0;

    for (;;) {
        size_t left = lines->size - lines->at;
        const char *from = lines->data + lines->at + searched;
        const char *newline = left == searched ? NULL : memchr(from, '\n', left - searched);

        if (newline != NULL)
            return take(lines, (size_t)(newline - (lines->data + lines->at)), line, size);
        if (lines->is_end)
            return left > 0 || lines->is_skipping ? take(lines, left, line, size) : LINES_END;
        searched = left;
        if (left > lines->line_max) { /* keep nothing of it, so that memory stays bounded */
            lines->is_skipping = true;
            lines->at = lines->size;
            searched = 0;
        }
        if (!read_more(lines, err))
            return LINES_FAILED;
    }
}

bool lines_peek(struct lines *lines, size_t want, const char **data, size_t *size,
                struct acc_error *err)
{
    while (lines->size - lines->at < want && !lines->is_end)
        if (!read_more(lines, err))
            return false;
    *data = lines->data + lines->at;
    *size = lines->size - lines->at < want ? lines->size - lines->at : want;
    return true;
}

bool lines_rest(struct lines *lines, size_t max, const char **data, size_t *size,
                struct acc_error *err)
{
    while (!lines->is_end && lines->size - lines->at <= max)
        if (!read_more(lines, err))
            return false;
    if (lines->size - lines->at > max)
        return acc_fail(err, ACC_EINPUT, "wanted at most %zu bytes (ingest.value)", max);
    *data = lines->data + lines->at;
    *size = lines->size - lines->at;
    lines->at = lines->size;
    return true;
}
