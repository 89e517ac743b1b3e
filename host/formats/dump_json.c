#include "formats/dump_json.h"

#include "base/hash.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a byte below 0x20, a quote or a backslash becomes; everything else stays. */
static void add_escaped(struct buf *out, uint8_t byte)
{
    static const char plain[] = "btn\0fr"; /* of 0x08 on; vertical tab has no short form */

    if (byte == '"' || byte == '\\')
        buf_printf(out, "\\%c", byte);
    else if (byte >= 0x08 && byte <= 0x0d && byte != 0x0b)
        buf_printf(out, "\\%c", plain[byte - 0x08]);
    else
        buf_printf(out, "\\u%04x", byte);
}

void dump_json_text(struct buf *out, const char *text, size_t size)
{
    size_t from = 0;

    buf_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];

        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buf_add(out, text + from, i - from);
        add_escaped(out, byte);
        from = i + 1;
    }
    buf_add(out, text + from, size - from);
    buf_byte(out, '"');
}

void dump_json_float(struct buf *out, double value)
{
    char text[32];

    if (isnan(value)) {
        buf_text(out, "\"NaN\"");
        return;
    }
    if (isinf(value)) {
        buf_text(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    if (value == 0)
        value = 0; /* -0 is 0 */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_text(out, text);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_object(struct buf *out, json_t *object)
{
    size_t count = json_object_size(object);
    const char **names = acc_alloc(count * sizeof(*names) + 1);
    const char *name;
    json_t *value;
    size_t n = 0;

    json_object_foreach(object, name, value)
    {
        names[n++] = name;
    }
    qsort(names, count, sizeof(*names), compare_names);
    buf_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_byte(out, ',');
        dump_json_text(out, names[i], strlen(names[i]));
        buf_byte(out, ':');
        dump_json_value(out, json_object_get(object, names[i]));
    }
    buf_byte(out, '}');
    free(names);
}

static void add_list(struct buf *out, const json_t *list)
{
    buf_byte(out, '[');
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0)
            buf_byte(out, ',');
        dump_json_value(out, json_array_get(list, i));
    }
    buf_byte(out, ']');
}

void dump_json_value(struct buf *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        add_object(out, (json_t *)value); /* jansson iterates over non-const objects only */
        return;
    case JSON_ARRAY:
        add_list(out, value);
        return;
    case JSON_STRING:
        dump_json_text(out, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        dump_json_float(out, json_real_value(value));
        return;
    case JSON_TRUE:
        buf_text(out, "true");
        return;
    case JSON_FALSE:
        buf_text(out, "false");
        return;
    case JSON_NULL:
        buf_text(out, "null");
        return;
    }
}

static void add_hex(struct buf *out, const char *data, size_t size)
{
    buf_byte(out, '"');
    buf_reserve(out, 2 * size + 1);
    hex_encode(data, size, out->data + out->size);
    out->size += 2 * size;
    buf_byte(out, '"');
}

static void add_uuid(struct buf *out, const char *data, size_t size)
{
    static const int groups[] = {4, 2, 2, 2, 6};
    char digits[33];

    if (size != 16) { /* cannot be, but a dump must not read what is not there */
        add_hex(out, data, size);
        return;
    }
    hex_encode(data, 16, digits);
    buf_byte(out, '"');
    for (int i = 0, at = 0; i < 5; at += 2 * groups[i++])
        buf_printf(out, "%s%.*s", i == 0 ? "" : "-", 2 * groups[i], digits + at);
    buf_byte(out, '"');
}

static void add_bytes(struct buf *out, enum field_type type, const char *data, size_t size)
{
    switch (type) {
    case FIELD_BYTES:
        add_hex(out, data, size);
        return;
    case FIELD_UUID:
        add_uuid(out, data, size);
        return;
    case FIELD_JSON:
        buf_add(out, data, size);
        return;
    default:
        dump_json_text(out, data, size);
    }
}

static void add_scalar(struct buf *out, enum field_type type, const void *slot)
{
    int64_t whole;
    double number;

    memcpy(&whole, slot, sizeof(whole));
    memcpy(&number, slot, sizeof(number));
    if (type == FIELD_BOOL)
        buf_text(out, whole != 0 ? "true" : "false");
    else if (type == FIELD_INT8)
        buf_printf(out, "%" PRId64, whole);
    else
        dump_json_float(out, number);
}

static void add_array(struct buf *out, enum field_type type, const char *array)
{
    uint32_t count;
    const char *at = array + 8;

    memcpy(&count, array, sizeof(count));
    buf_byte(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            buf_byte(out, ',');
        if (type < FIELD_TEXT) {
            add_scalar(out, type, at);
            at += 8;
        } else {
            uint32_t size;

            memcpy(&size, at, sizeof(size));
            add_bytes(out, type, at + sizeof(size), size);
            at += sizeof(size) + size;
        }
    }
    buf_byte(out, ']');
}

void dump_json_field(struct buf *out, const struct kind *kind, const struct acc_row *row,
                     size_t field)
{
    const struct field *type = &kind->fields[field];

    if (row_is_null(row, field))
        buf_text(out, "null");
    else if (type->is_array)
        add_array(out, type->type, heap_at(row_span(row, field)));
    else if (field_is_span(type))
        add_bytes(out, type->type, heap_at(row_span(row, field)), row_span(row, field)->size);
    else
        add_scalar(out, type->type, row_int(row, field));
}

void dump_json_fields(struct buf *out, const struct kind *kind, const struct acc_row *row)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        if (row_is_null(row, f))
            continue;
        buf_text(out, ",\"");
        buf_text(out, kind->fields[f].name);
        buf_text(out, "\":");
        dump_json_field(out, kind, row, f);
    }
}

void dump_json_fact(struct buf *out, const struct kind *kind, const struct acc_row *row)
{
    buf_text(out, "{\"kind\":\"");
    buf_text(out, kind->name);
    buf_byte(out, '"');
    dump_json_fields(out, kind, row);
    buf_byte(out, '}');
}
