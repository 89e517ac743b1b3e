#include "facts_wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Oid element_oid(enum field_type type)
{
    static const Oid oids[] = {PG_BOOL, PG_INT8, PG_FLOAT8, PG_TEXT, PG_BYTEA, PG_TEXT, PG_UUID};
    return oids[type];
}

static Oid array_oid(enum field_type type)
{
    static const Oid oids[] = {PG_BOOL_ARRAY,  PG_INT8_ARRAY, PG_FLOAT8_ARRAY, PG_TEXT_ARRAY,
                               PG_BYTEA_ARRAY, PG_TEXT_ARRAY, PG_UUID_ARRAY};
    return oids[type];
}

static bool is_flat_array(const struct field *field)
{
    return field->is_array && field->type < FIELD_TEXT;
}

/* SQL */

void facts_select_list(const struct kind *kind, struct buf *sql)
{
    buf_text(sql, "f._id");
    for (size_t f = 0; f < kind->field_count; f++) {
        buf_text(sql, ", f.");
        pg_identifier(sql, kind->fields[f].name);
    }
}

void facts_column_sql(const struct kind *kind, size_t f, int *param, struct buf *from,
                      struct buf *names, struct buf *value)
{
    const struct field *field = &kind->fields[f];
    const char *type = field_sql_type(field);

    if (!field->is_array) {
        buf_printf(from, ", $%d::%s[]", ++*param, type);
        buf_printf(names, ", c%zu", f);
        buf_printf(value, "u.c%zu", f);
    } else if (is_flat_array(field)) {
        /*
         * All arrays behind one another in one parameter; a slice of fixed-length elements costs
         * nothing to find.
         */
        int flat = ++*param;
        buf_printf(from, ", $%d::int4[], $%d::int4[]", flat + 1, flat + 2);
        *param += 2;
        buf_printf(names, ", a%zu, n%zu", f, f);
        buf_printf(value,
                   "CASE WHEN u.n%zu > 0 THEN ($%d::%s)[u.a%zu:u.a%zu + u.n%zu - 1] WHEN u.n%zu = "
                   "0 THEN '{}'::%s END",
                   f, flat, type, f, f, f, f, type);
    } else {
        buf_printf(from, ", $%d::text[]", ++*param);
        buf_printf(names, ", c%zu", f);
        buf_printf(value, "u.c%zu::%s", f, type);
    }
}

/* Columns out */

char *facts_array(struct buf *out, Oid element, size_t count, uint32_t width)
{
    uint32_t length = __builtin_bswap32(width);

    buf_reset(out);
    buf_reserve(out, 20 + count * (4 + width));
    pg_array_begin(out, element);
    uint32_t n = __builtin_bswap32((uint32_t)count);
    memcpy(out->data + 12, &n, 4);
    for (size_t i = 0; i < count; i++)
        memcpy(out->data + 20 + i * (4 + width), &length, 4);
    out->size = 20 + count * (4 + width);
    out->data[out->size] = '\0';
    return out->data + 24;
}

/*
 * A column of 8-byte slots without NULL, which is most columns. false: it is another one, nothing
 * is written.
 */
static bool slot_column(const struct kind *kind, size_t f, struct acc_row **rows, size_t count,
                        struct buf *out)
{
    if (kind->fields[f].type != FIELD_INT8 && kind->fields[f].type != FIELD_FLOAT8)
        return false;
    for (size_t i = 0; kind->fields[f].is_nullable && i < count; i++) {
        if (row_is_null(rows[i], f))
            return false;
    }
    char *to = facts_array(out, element_oid(kind->fields[f].type), count, 8);
    for (size_t i = 0; i < count; i++, to += 12) {
        uint64_t wire = __builtin_bswap64((uint64_t)*row_int(rows[i], f));
        memcpy(to, &wire, 8);
    }
    return true;
}

static void add_slot(struct buf *out, enum field_type type, uint64_t bits)
{
    if (type == FIELD_BOOL) {
        uint8_t value = bits != 0;
        pg_array_add(out, &value, 1);
    } else {
        pg_array_int8(out, (int64_t)bits);
    }
}

static void flat_array_column(const struct kind *kind, size_t f, struct acc_row **rows,
                              size_t count, struct facts_scratch *scratch, struct pg_args *args)
{
    enum field_type type = kind->fields[f].type;
    int32_t next = 1;

    pg_array_begin(&scratch->part[0], element_oid(type));
    pg_array_begin(&scratch->part[1], PG_INT4);
    pg_array_begin(&scratch->part[2], PG_INT4);
    for (size_t i = 0; i < count; i++) {
        uint32_t n = 0;

        if (row_is_null(rows[i], f)) {
            pg_array_null(&scratch->part[1]);
            pg_array_null(&scratch->part[2]);
            continue;
        }
        const char *data = heap_at(row_span(rows[i], f));
        memcpy(&n, data, 4);
        for (uint32_t k = 0; k < n; k++) {
            uint64_t bits;
            memcpy(&bits, data + 8 + (size_t)8 * k, 8);
            add_slot(&scratch->part[0], type, bits);
        }
        pg_array_int4(&scratch->part[1], next);
        pg_array_int4(&scratch->part[2], (int32_t)n);
        next += (int32_t)n;
    }
    for (size_t p = 0; p < 3; p++) {
        pg_array_end(&scratch->part[p], 0);
        pg_array(args, p == 0 ? array_oid(type) : PG_INT4_ARRAY, &scratch->part[p]);
    }
}

/*
 * An array of texts, bytes or uuids as PostgreSQL's array literal: slices of such would walk from
 * the start each time.
 */
static void array_literal(enum field_type type, const char *data, struct buf *out)
{
    uint32_t count;

    memcpy(&count, data, 4);
    data += 8;
    buf_byte(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;

        memcpy(&size, data, 4);
        data += 4;
        buf_text(out, i == 0 ? "\"" : ",\"");
        if (type == FIELD_BYTES)
            buf_text(out, "\\\\x");
        for (uint32_t k = 0; k < size; k++) {
            uint8_t byte = (uint8_t)data[k];
            if (type == FIELD_BYTES || type == FIELD_UUID) {
                buf_byte(out, (uint8_t) "0123456789abcdef"[byte >> 4]);
                buf_byte(out, (uint8_t) "0123456789abcdef"[byte & 15]);
                continue;
            }
            if (byte == '"' || byte == '\\')
                buf_byte(out, '\\');
            buf_byte(out, byte);
        }
        buf_byte(out, '"');
        data += size;
    }
    buf_byte(out, '}');
}

void facts_column(const struct kind *kind, size_t f, struct acc_row **rows, size_t count,
                  struct facts_scratch *scratch, struct pg_args *args)
{
    const struct field *field = &kind->fields[f];
    struct buf *out = &scratch->part[0];

    for (size_t p = 0; p < 3; p++)
        buf_reset(&scratch->part[p]);
    if (is_flat_array(field)) {
        flat_array_column(kind, f, rows, count, scratch, args);
        return;
    }
    if (!field->is_array && slot_column(kind, f, rows, count, out)) {
        pg_array(args, array_oid(field->type), out);
        return;
    }
    pg_array_begin(out, field->is_array ? PG_TEXT : element_oid(field->type));
    for (size_t i = 0; i < count; i++) {
        if (row_is_null(rows[i], f)) {
            pg_array_null(out);
        } else if (field->is_array) {
            struct buf *literal = &scratch->part[1];
            buf_reset(literal);
            array_literal(field->type, heap_at(row_span(rows[i], f)), literal);
            pg_array_add(out, literal->data, literal->size);
        } else if (field_is_span(field)) {
            pg_array_add(out, heap_at(row_span(rows[i], f)), row_span(rows[i], f)->size);
        } else {
            add_slot(out, field->type, (uint64_t)*row_int(rows[i], f));
        }
    }
    pg_array_end(out, 0);
    pg_array(args, field->is_array ? PG_TEXT_ARRAY : array_oid(field->type), out);
}

/* Columns in */

/* One NaN: LuaJIT reads doubles as they are, and takes others for values of its own. */
static int64_t one_nan(int64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    if (!isnan(value))
        return bits;
    value = NAN;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static bool decode_array(const struct field *field, const char *wire, int length,
                         struct acc_heap *heap, struct acc_span *span, struct acc_error *err)
{
    uint32_t head[5] = {0};
    uint32_t count = 0;
    size_t bytes = 8;

    memcpy(head, wire, length < 20 ? 12 : 20);
    if (__builtin_bswap32(head[0]) == 1)
        count = __builtin_bswap32(head[3]);
    else if (head[0] != 0)
        return acc_fail(err, ACC_EDB, "field \"%s\" holds an array of more than one dimension",
                        field->name);
    const char *from = wire + 20;
    bytes += field->type < FIELD_TEXT ? (size_t)8 * count : (size_t)length;
    uint32_t at = heap_alloc(heap, bytes, err);
    if (at == 0)
        return false;
    char *to = heap->base + at;
    memset(to, 0, 8);
    memcpy(to, &count, 4);
    to += 8;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;

        memcpy(&size, from, 4);
        size = __builtin_bswap32(size);
        from += 4;
        if (size == UINT32_MAX)
            return acc_fail(err, ACC_EDB, "field \"%s\" holds an array with a NULL", field->name);
        if (field->type >= FIELD_TEXT) {
            memcpy(to, &size, 4);
            memcpy(to + 4, from, size);
            to += 4 + size;
        } else {
            uint64_t bits = (uint8_t)*from;
            if (field->type != FIELD_BOOL) {
                memcpy(&bits, from, 8);
                bits = __builtin_bswap64(bits);
            }
            if (field->type == FIELD_FLOAT8)
                bits = (uint64_t)one_nan((int64_t)bits);
            memcpy(to, &bits, 8);
            to += 8;
        }
        from += size;
    }
    *span = (struct acc_span){at, (uint32_t)(to - (heap->base + at))};
    return true;
}

bool facts_decode_field(const struct kind *kind, size_t f, const PGresult *res, int row, int column,
                        struct acc_heap *heap, struct acc_row *out, struct acc_error *err)
{
    const struct field *field = &kind->fields[f];
    const char *wire = PQgetvalue(res, row, column);
    int length = PQgetlength(res, row, column);

    if (PQgetisnull(res, row, column)) {
        out->nulls |= UINT64_C(1) << f;
        return true;
    }
    if (field->is_array)
        return decode_array(field, wire, length, heap, row_span(out, f), err);
    if (field_is_span(field))
        return row_set_bytes(out, f, heap, wire, (size_t)length, err);
    int64_t bits =
        field->type == FIELD_BOOL ? (int64_t)(uint8_t)*wire : pg_get_int8(res, row, column);
    *row_int(out, f) = field->type == FIELD_FLOAT8 ? one_nan(bits) : bits;
    return true;
}

bool facts_decode(const struct kind *kind, const PGresult *res, int row, int first,
                  struct acc_heap *heap, struct acc_row *out, struct acc_error *err)
{
    memcpy(out->id, PQgetvalue(res, row, first), 16);
    for (size_t f = 0; f < kind->field_count; f++) {
        if (!facts_decode_field(kind, f, res, row, first + 1 + (int)f, heap, out, err))
            return false;
    }
    return true;
}
