/* A growing byte buffer. Bytes may hold zeros; `data` is always followed by one NUL. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <string.h>

struct buf {
    char *data;      /* NULL until the first byte; owned */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

void buf_clear(struct buf *buf);              /* frees; the buffer may be used again */
static inline void buf_reset(struct buf *buf) /* empties, keeps the memory */
{
    buf->size = 0;
}
void buf_reserve(struct buf *buf, size_t bytes); /* room for bytes more */
void buf_printf(struct buf *buf, const char *fmt, ...) ACC_PRINTF(2, 3);

static inline void buf_add(struct buf *buf, const void *data, size_t bytes)
{
    if (buf->capacity - buf->size <= bytes)
        buf_reserve(buf, bytes);
    if (bytes != 0)
        memcpy(buf->data + buf->size, data, bytes);
    buf->size += bytes;
    buf->data[buf->size] = '\0';
}

static inline void buf_byte(struct buf *buf, uint8_t value)
{
    buf_add(buf, &value, 1);
}

static inline void buf_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

/* Big-endian, as PostgreSQL's wire and the canonical encoding want it. */
static inline void buf_be16(struct buf *buf, uint16_t value)
{
    value = __builtin_bswap16(value);
    buf_add(buf, &value, sizeof(value));
}

static inline void buf_be32(struct buf *buf, uint32_t value)
{
    value = __builtin_bswap32(value);
    buf_add(buf, &value, sizeof(value));
}

static inline void buf_be64(struct buf *buf, uint64_t value)
{
    value = __builtin_bswap64(value);
    buf_add(buf, &value, sizeof(value));
}
