/*
 * Rows: facts in memory, the heap their texts lie in, and their compact encoding for packets. The
 * layout is include/accrete/hot.h's, so that Lua reads rows without a copy.
 */
#pragma once

#include "accrete/hot.h"
#include "base/buf.h"
#include "base/error.h"
#include "kinds.h"

#include <string.h>

/* Maps the 4 GiB region (address space only) once per process; ends the process when that fails. */
char *heap_region(void);
/* A heap over part of the region: number 0 is the batch's (3 GiB), 1 the mirrors' (1 GiB). */
void heap_init(struct acc_heap *heap, int number);
void heap_reset(struct acc_heap *heap); /* empties; gives memory beyond 4 MiB back to the system */
/* Offset of bytes fresh bytes aligned to 8, or 0 with ACC_ELIMIT when the heap is full. */
uint32_t heap_alloc(struct acc_heap *heap, uint64_t bytes, struct acc_error *err) ACC_MUST_CHECK;

/* Reserves address space for capacity rows of kind. */
void rows_init(struct acc_rows *rows, const struct kind *kind, uint32_t capacity);
void rows_clear(struct acc_rows *rows); /* unmaps */
void rows_reset(struct acc_rows *rows); /* empties; gives memory beyond 2 MiB back */
/* A zeroed row at the end; NULL with ACC_ELIMIT when capacity is reached. */
struct acc_row *rows_add(struct acc_rows *rows, struct acc_error *err) ACC_MUST_CHECK;

static inline struct acc_row *rows_at(const struct acc_rows *rows, uint32_t i)
{
    return (struct acc_row *)(rows->base + (size_t)i * rows->stride);
}

static inline bool row_is_null(const struct acc_row *row, size_t field)
{
    return (row->nulls >> field & 1) != 0;
}

static inline int64_t *row_int(const struct acc_row *row, size_t field)
{
    return (int64_t *)((char *)row + sizeof(*row)) + field;
}

static inline double *row_float(const struct acc_row *row, size_t field)
{
    return (double *)row_int(row, field);
}

static inline struct acc_span *row_span(const struct acc_row *row, size_t field)
{
    return (struct acc_span *)row_int(row, field);
}

static inline const char *heap_at(const struct acc_span *span)
{
    extern char *heap_base;
    return heap_base + span->at;
}

/* Orders two ids as bytes. */
static inline int id_compare(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, 16);
}

/* Copies bytes into heap and points field of row at them. */
bool row_set_bytes(struct acc_row *row, size_t field, struct acc_heap *heap, const void *data,
                   size_t size, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Appends the row (id, nulls, values) to out; rows_decode reads it back. Host byte order: packets
 * stay in one database.
 */
void row_encode(const struct kind *kind, const struct acc_row *row, struct buf *out);
/*
 * Decodes one row at *at (moved on) from data of size bytes; texts go to heap. ACC_EINPUT when cut
 * or malformed.
 */
bool row_decode(const struct kind *kind, const char *data, size_t size, size_t *at,
                struct acc_heap *heap, struct acc_row *row, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Bytes that stand for the value of a field (equal values give equal bytes): used for hashing and
 * comparing values of rows from different heaps. Points into row or heap; *size is set.
 */
const void *row_value(const struct kind *kind, const struct acc_row *row, size_t field,
                      size_t *size);
/* Whether the fields in mask are equal (NULL equals NULL). */
bool rows_equal(const struct kind *kind, const struct acc_row *a, const struct acc_row *b,
                uint64_t mask);

/*
 * Makes -0 a 0 and every NaN the same, so that equal values have equal bytes. Before an identity is
 * made of the row.
 */
void row_normalise(const struct kind *kind, struct acc_row *row);
