#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define REGION_BYTES (UINT64_C(4) << 30)
#define BATCH_BYTES (UINT64_C(3) << 30)
#define HEAP_KEEP (UINT64_C(4) << 20)
#define ROWS_KEEP (UINT64_C(2) << 20)

char *heap_base;

/* Address space without memory: pages come with the first write. */
static char *reserve(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        fprintf(stderr, "accrete: cannot reserve %llu bytes of address space\n",
                (unsigned long long)bytes);
        abort();
    }
    return at;
}

char *heap_region(void)
{
    if (heap_base == NULL)
        heap_base = reserve(REGION_BYTES);
    return heap_base;
}

void heap_init(struct acc_heap *heap, int number)
{
    heap->base = heap_region();
    heap->start = number == 0 ? 16 : BATCH_BYTES;
    heap->end = number == 0 ? BATCH_BYTES : REGION_BYTES;
    heap->used = heap->start;
}

void heap_reset(struct acc_heap *heap)
{
    if (heap->used - heap->start > HEAP_KEEP) {
        uint64_t from = (heap->start + HEAP_KEEP + 4095) & ~UINT64_C(4095);
        madvise(heap->base + from, heap->used - from, MADV_DONTNEED);
    }
    heap->used = heap->start;
}

uint32_t heap_alloc(struct acc_heap *heap, uint64_t bytes, struct acc_error *err)
{
    uint64_t at = (heap->used + 7) & ~UINT64_C(7);

    if (bytes > heap->end - heap->start || at + bytes > heap->end) {
        acc_fail(err, ACC_ELIMIT, "texts of one batch exceed %llu bytes",
                 (unsigned long long)(heap->end - heap->start));
        return 0;
    }
    heap->used = at + bytes;
    return (uint32_t)at;
}

void rows_init(struct acc_rows *rows, const struct kind *kind, uint32_t capacity)
{
    *rows = (struct acc_rows){.stride = kind->row_bytes, .capacity = capacity};
    rows->base = reserve((uint64_t)capacity * rows->stride);
}

void rows_clear(struct acc_rows *rows)
{
    if (rows->base != NULL)
        munmap(rows->base, (uint64_t)rows->capacity * rows->stride);
    *rows = (struct acc_rows){0};
}

void rows_reset(struct acc_rows *rows)
{
    uint64_t used = (uint64_t)rows->count * rows->stride;

    if (used > ROWS_KEEP)
        madvise(rows->base + ROWS_KEEP, ((used + 4095) & ~UINT64_C(4095)) - ROWS_KEEP,
                MADV_DONTNEED);
    rows->count = 0;
}

struct acc_row *rows_add(struct acc_rows *rows, struct acc_error *err)
{
    if (rows->count >= rows->capacity) {
        acc_fail(err, ACC_ELIMIT, "more than %u rows in one batch", rows->capacity);
        return NULL;
    }
    struct acc_row *row = rows_at(rows, rows->count++);
    memset(row, 0, rows->stride);
    return row;
}

bool row_set_bytes(struct acc_row *row, size_t field, struct acc_heap *heap, const void *data,
                   size_t size, struct acc_error *err)
{
    uint32_t at = heap_alloc(heap, size, err);

    if (at == 0)
        return false;
    if (size != 0)
        memcpy(heap->base + at, data, size);
    *row_span(row, field) = (struct acc_span){at, (uint32_t)size};
    return true;
}

void row_encode(const struct kind *kind, const struct acc_row *row, struct buf *out)
{
    buf_add(out, row->id, sizeof(row->id));
    if (kind->has_nullable)
        buf_add(out, &row->nulls, sizeof(row->nulls));
    for (size_t f = 0; f < kind->field_count; f++) {
        if (row_is_null(row, f))
            continue;
        if (!field_is_span(&kind->fields[f])) {
            buf_add(out, row_int(row, f), 8);
            continue;
        }
        const struct acc_span *span = row_span(row, f);
        buf_add(out, &span->size, sizeof(span->size));
        buf_add(out, heap_at(span), span->size);
    }
}

static bool take(const char *data, size_t size, size_t *at, void *into, size_t bytes)
{
    if (size - *at < bytes)
        return false;
    memcpy(into, data + *at, bytes);
    *at += bytes;
    return true;
}

/* Whether the bytes are an array in the layout of hot.h, to its last byte. */
static bool array_is_whole(const struct field *field, const char *data, size_t size)
{
    uint32_t head[2];
    size_t at = sizeof(head);

    if (size < sizeof(head))
        return false;
    memcpy(head, data, sizeof(head));
    if (field->type < FIELD_TEXT)
        return head[1] == 0 && size - at == 8 * (size_t)head[0];
    for (uint32_t i = 0; i < head[0]; i++) {
        uint32_t bytes;

        if (!take(data, size, &at, &bytes, sizeof(bytes)) || bytes > size - at)
            return false;
        at += bytes;
    }
    return head[1] == 0 && at == size;
}

bool row_decode(const struct kind *kind, const char *data, size_t size, size_t *at,
                struct acc_heap *heap, struct acc_row *row, struct acc_error *err)
{
    if (!take(data, size, at, row->id, sizeof(row->id)) ||
        (kind->has_nullable && !take(data, size, at, &row->nulls, sizeof(row->nulls))))
        goto cut;
    for (size_t f = 0; f < kind->field_count; f++) {
        uint32_t bytes;

        if (row_is_null(row, f))
            continue;
        if (!field_is_span(&kind->fields[f])) {
            if (!take(data, size, at, row_int(row, f), 8))
                goto cut;
            continue;
        }
        if (!take(data, size, at, &bytes, sizeof(bytes)) || size - *at < bytes)
            goto cut;
        if (kind->fields[f].is_array && !array_is_whole(&kind->fields[f], data + *at, bytes))
            goto cut;
        if (!row_set_bytes(row, f, heap, data + *at, bytes, err))
            return false;
        *at += bytes;
    }
    return true;
cut:
    return acc_fail(err, ACC_EINPUT, "packet payload of kind \"%s\" is cut at byte %zu of %zu",
                    kind->name, *at, size);
}

const void *row_value(const struct kind *kind, const struct acc_row *row, size_t field,
                      size_t *size)
{
    if (!field_is_span(&kind->fields[field])) {
        *size = 8;
        return row_int(row, field);
    }
    *size = row_span(row, field)->size;
    return heap_at(row_span(row, field));
}

bool rows_equal(const struct kind *kind, const struct acc_row *a, const struct acc_row *b,
                uint64_t mask)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        size_t an;
        size_t bn;

        if ((mask >> f & 1) == 0)
            continue;
        if (row_is_null(a, f) != row_is_null(b, f))
            return false;
        if (row_is_null(a, f))
            continue;
        const void *av = row_value(kind, a, f, &an);
        const void *bv = row_value(kind, b, f, &bn);
        if (an != bn || memcmp(av, bv, an) != 0)
            return false;
    }
    return true;
}

void row_normalise(const struct kind *kind, struct acc_row *row)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        if (kind->fields[f].type != FIELD_FLOAT8 || row_is_null(row, f))
            continue;
        double *value = row_float(row, f);
        uint32_t count = 1;
        if (kind->fields[f].is_array) {
            char *data = (char *)heap_at(row_span(row, f));
            memcpy(&count, data, 4);
            value = (double *)(data + 8);
        }
        for (uint32_t i = 0; i < count; i++) {
            if (value[i] == 0)
                value[i] = 0;
            else if (isnan(value[i]))
                value[i] = NAN;
        }
    }
}
