#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_clear(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_reserve(struct buf *buf, size_t bytes)
{
    size_t want = buf->size + bytes + 1;

    if (want <= buf->capacity)
        return;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < want)
        capacity += capacity / 2;
    buf->data = acc_realloc(buf->data, capacity);
    buf->capacity = capacity;
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_list again;

    va_start(args, fmt);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (need >= 0) {
        buf_reserve(buf, (size_t)need);
        vsnprintf(buf->data + buf->size, (size_t)need + 1, fmt, again);
        buf->size += (size_t)need;
    }
    va_end(again);
}
