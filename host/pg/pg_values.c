/* Values on the wire: binary parameters, arrays, and what results hold. */
#include "pg/pg.h"

/* Parameters */

static int next_arg(struct pg_args *args, Oid type, int format)
{
    int i = args->count++;

    args->types[i] = type;
    args->formats[i] = format;
    return i;
}

static void scalar(struct pg_args *args, Oid type, const void *bytes, int size)
{
    int i = next_arg(args, type, 1);

    memcpy(&args->scalars[i], bytes, (size_t)size);
    args->values[i] = (const char *)&args->scalars[i];
    args->lengths[i] = size;
}

void pg_int8(struct pg_args *args, int64_t value)
{
    uint64_t wire = __builtin_bswap64((uint64_t)value);
    scalar(args, PG_INT8, &wire, 8);
}

void pg_int4(struct pg_args *args, int32_t value)
{
    uint32_t wire = __builtin_bswap32((uint32_t)value);
    scalar(args, PG_INT4, &wire, 4);
}

void pg_int2(struct pg_args *args, int16_t value)
{
    uint16_t wire = __builtin_bswap16((uint16_t)value);
    scalar(args, PG_INT2, &wire, 2);
}

void pg_bool(struct pg_args *args, bool value)
{
    uint8_t wire = value;
    scalar(args, PG_BOOL, &wire, 1);
}

void pg_bytes(struct pg_args *args, Oid type, const void *data, size_t size)
{
    int i = next_arg(args, type, 1);

    args->values[i] = data;
    args->lengths[i] = (int)size;
}

void pg_text(struct pg_args *args, const char *text)
{
    pg_bytes(args, PG_TEXT, text, text == NULL ? 0 : strlen(text));
}

void pg_uuid(struct pg_args *args, const uint8_t *id)
{
    pg_bytes(args, PG_UUID, id, 16);
}

void pg_array(struct pg_args *args, Oid array_type, const struct buf *array)
{
    pg_bytes(args, array_type, array->data, array->size);
}

void pg_array_begin(struct buf *buf, Oid element_oid)
{
    buf_be32(buf, 1); /* dimensions */
    buf_be32(buf, 0); /* has no NULL */
    buf_be32(buf, element_oid);
    buf_be32(buf, 0); /* elements, set by end */
    buf_be32(buf, 1); /* lower bound */
}

/* The header's count is used as a counter while elements are added; begin is found by the end. */
void pg_array_add(struct buf *buf, const void *data, size_t size)
{
    buf_be32(buf, (uint32_t)size);
    buf_add(buf, data, size);
}

void pg_array_null(struct buf *buf)
{
    buf_be32(buf, UINT32_MAX);
}

void pg_array_int8(struct buf *buf, int64_t value)
{
    char wire[12];
    uint32_t size = __builtin_bswap32(8);
    uint64_t bits = __builtin_bswap64((uint64_t)value);

    memcpy(wire, &size, 4);
    memcpy(wire + 4, &bits, 8);
    buf_add(buf, wire, sizeof(wire));
}

void pg_array_int4(struct buf *buf, int32_t value)
{
    buf_be32(buf, 4);
    buf_be32(buf, (uint32_t)value);
}

void pg_array_int2(struct buf *buf, int16_t value)
{
    buf_be32(buf, 2);
    buf_be16(buf, (uint16_t)value);
}

void pg_array_end(struct buf *buf, size_t start)
{
    uint32_t count = 0;
    uint32_t nulls = 0;

    for (size_t at = start + 20; at < buf->size; count++) {
        uint32_t size;
        memcpy(&size, buf->data + at, 4);
        size = __builtin_bswap32(size);
        nulls |= size == UINT32_MAX;
        at += 4 + (size == UINT32_MAX ? 0 : size);
    }
    count = __builtin_bswap32(count);
    nulls = __builtin_bswap32(nulls);
    memcpy(buf->data + start + 12, &count, 4);
    memcpy(buf->data + start + 4, &nulls, 4);
}

/* Results */

int64_t pg_get_int8(const PGresult *res, int row, int column)
{
    uint64_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 8);
    return (int64_t)__builtin_bswap64(wire);
}

int32_t pg_get_int4(const PGresult *res, int row, int column)
{
    uint32_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 4);
    return (int32_t)__builtin_bswap32(wire);
}

int16_t pg_get_int2(const PGresult *res, int row, int column)
{
    uint16_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 2);
    return (int16_t)__builtin_bswap16(wire);
}

bool pg_get_bool(const PGresult *res, int row, int column)
{
    return *PQgetvalue(res, row, column) != 0;
}

const char *pg_get_text(const PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column);
}
