#include "formats/values.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/utf8.h"
#include "formats/dump_json.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 48 /* of a wrong value in a message */
#define WHOLE_MAX 9007199254740992.0

/* One value on its way: a number, or bytes that are borrowed. */
struct scalar {
    int64_t whole; /* bool, int8 */
    double number; /* float8 */
    const char *data;
    size_t size;
};

const struct kind *values_kind(const struct values_target *target, const char *name,
                               struct acc_error *err)
{
    const struct catalog *catalog = target->catalog;
    const struct kind *kind = catalog_find(catalog, name);

    if (kind != NULL)
        return kind;

    const char **names = acc_alloc((catalog->count + 1) * sizeof(*names));
    for (size_t i = 0; i < catalog->count; i++)
        names[i] = catalog->kinds[i]->name;
    const char *nearest = name_suggest(name, names, catalog->count);
    free(names);
    acc_fail(err, ACC_EINPUT,
             nearest == NULL ? "unknown kind %s" : "unknown kind %s, did you mean \"%s\"?",
             log_quote(name), nearest);
    return NULL;
}

int values_field(const struct kind *kind, const char *name, struct acc_error *err)
{
    const char *names[KIND_FIELDS_MAX];
    int field = kind_field(kind, name);

    if (field >= 0)
        return field;
    for (size_t f = 0; f < kind->field_count; f++)
        names[f] = kind->fields[f].name;
    const char *nearest = name_suggest(name, names, kind->field_count);
    acc_fail(err, ACC_EINPUT,
             nearest == NULL ? "kind \"%s\" has no field %s"
                             : "kind \"%s\" has no field %s, did you mean \"%s\"?",
             kind->name, log_quote(name), nearest);
    return -1;
}

/* The type as it is declared, "int8[]". */
static const char *wanted(const struct field *field)
{
    static const char *const arrays[] = {"bool[]",  "int8[]", "float8[]", "text[]",
                                         "bytes[]", "json[]", "uuid[]"};

    return field->is_array ? arrays[field->type] : field_type_name(field->type);
}

/*
 * text for a message: quoted, safe for a terminal, not too long. Valid until the fourth call from
 * now.
 */
static const char *shown(const char *text, size_t size)
{
    char copy[SHOWN_BYTES + 4];
    size_t kept = size <= SHOWN_BYTES ? size : utf8_valid_prefix(text, SHOWN_BYTES);

    if (kept == 0)
        kept = size <= SHOWN_BYTES ? size : SHOWN_BYTES;
    memcpy(copy, text, kept);
    memcpy(copy + kept, "...", kept < size ? 4 : 0);
    copy[kept < size ? kept + 3 : kept] = '\0';
    return log_quote(copy);
}

static bool refuse_text(const struct field *field, const char *what, const char *text, size_t size,
                        struct acc_error *err)
{
    return acc_fail(err, ACC_EINPUT, "field \"%s\": wanted %s, got %s", field->name, what,
                    shown(text, size));
}

static bool refuse_json(const struct field *field, const char *what, const json_t *value,
                        struct acc_error *err)
{
    struct buf text = {0};

    if (json_is_string(value))
        return refuse_text(field, what, json_string_value(value), json_string_length(value), err);
    if (json_is_object(value) || json_is_array(value))
        return acc_fail(err, ACC_EINPUT, "field \"%s\": wanted %s, got %s", field->name, what,
                        json_is_object(value) ? "an object" : "an array");
    dump_json_value(&text, value);
    acc_fail(err, ACC_EINPUT, "field \"%s\": wanted %s, got %s", field->name, what, text.data);
    buf_clear(&text);
    return false;
}

static bool check_size(const struct values_target *target, const struct field *field, size_t size,
                       struct acc_error *err)
{
    if ((int64_t)size <= target->value_bytes)
        return true;
    return acc_fail(err, ACC_EINPUT,
                    "field \"%s\": the value has %zu bytes, at most %lld are taken (ingest.value)",
                    field->name, size, (long long)target->value_bytes);
}

bool values_check_utf8(const char *what, const char *text, size_t size, struct acc_error *err)
{
    size_t valid = utf8_valid_prefix(text, size);

    if (valid == size)
        return true;
    return acc_fail(err, ACC_EINPUT, "%s: wanted UTF-8, byte %zu is 0x%02x", what, valid + 1,
                    (uint8_t)text[valid]);
}

static bool check_text(const struct field *field, const char *text, size_t size,
                       struct acc_error *err)
{
    const char *nul = memchr(text, '\0', size);
    char what[KIND_NAME_MAX + 16];

    snprintf(what, sizeof(what), "field \"%s\"", field->name);
    if (!values_check_utf8(what, text, size, err))
        return false;
    if (nul != NULL)
        return acc_fail(err, ACC_EINPUT, "field \"%s\": wanted text without NUL, byte %zu is one",
                        field->name, (size_t)(nul - text) + 1);
    return true;
}

/* Decimal digits with an optional minus that fit 64 bits; nothing else. */
static bool read_whole(const char *text, size_t size, int64_t *out)
{
    char copy[24];
    size_t digits = 0;

    if (size == 0 || size >= sizeof(copy))
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    for (size_t i = copy[0] == '-'; i < size; i++, digits++)
        if (!isdigit((uint8_t)copy[i]))
            return false;
    errno = 0;
    long long value = strtoll(copy, NULL, 10);
    if (digits == 0 || errno != 0)
        return false;
    *out = value;
    return true;
}

/*
 * A decimal number, NaN, Infinity or -Infinity; not what else strtod takes (hex, blanks,
 * "infinite").
 */
static bool read_float(const char *text, size_t size, double *out)
{
    static const struct {
        const char *word;
        double value;
    } words[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    char copy[512];
    char *end;

    if (size == 0 || size >= sizeof(copy) || memchr(text, '\0', size) != NULL)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(copy, words[i].word) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    if (strspn(copy, "0123456789+-.eE") != size)
        return false;
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

/* -0 becomes 0, and there is one NaN: equal values are equal bytes. */
static bool set_float(const struct field *field, double value, struct scalar *out,
                      struct acc_error *err)
{
    if (isnan(value)) {
        if (field->is_unique)
            return acc_fail(err, ACC_EINPUT,
                            "field \"%s\": NaN cannot be part of what makes a fact unique",
                            field->name);
        value = NAN;
    }
    out->number = value == 0 ? 0 : value;
    return true;
}

/* Hex digits, also after \x as PostgreSQL writes them, into scratch. */
static bool read_bytes(const char *text, size_t size, struct buf *scratch, struct scalar *out)
{
    if (size >= 2 && text[0] == '\\' && text[1] == 'x') {
        text += 2;
        size -= 2;
    }
    if (size % 2 != 0)
        return false;
    buf_reserve(scratch, size / 2 + 1);
    if (!hex_decode(text, size, scratch->data + scratch->size))
        return false;
    out->data = scratch->data + scratch->size;
    out->size = size / 2;
    return true;
}

/* 32 hex digits, with or without dashes at 8, 12, 16 and 20. */
static bool read_uuid(const char *text, size_t size, struct buf *scratch, struct scalar *out)
{
    char digits[33];
    size_t n = 0;

    if (size != 32 && size != 36)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (size == 36 && (i == 8 || i == 13 || i == 18 || i == 23)) {
            if (text[i] != '-')
                return false;
        } else {
            digits[n++] = text[i];
        }
    }
    return read_bytes(digits, n, scratch, out) && out->size == 16;
}

/* A value that stands in quotes or in a CSV cell. */
static bool scalar_from_text(const struct field *field, const char *text, size_t size,
                             struct buf *scratch, struct scalar *out, struct acc_error *err)
{
    switch (field->type) {
    case FIELD_TEXT:
        *out = (struct scalar){.data = text, .size = size};
        return check_text(field, text, size, err);
    case FIELD_INT8:
        return read_whole(text, size, &out->whole) ||
               refuse_text(field, "int8 (a whole number of 64 bits)", text, size, err);
    case FIELD_FLOAT8:
        if (!read_float(text, size, &out->number))
            return refuse_text(field, "float8", text, size, err);
        return set_float(field, out->number, out, err);
    case FIELD_BYTES:
        return read_bytes(text, size, scratch, out) ||
               refuse_text(field, "bytes as hex digits", text, size, err);
    case FIELD_UUID:
        return read_uuid(text, size, scratch, out) ||
               refuse_text(field, "uuid (32 hex digits)", text, size, err);
    case FIELD_BOOL:
    case FIELD_JSON:
        break;
    }
    return refuse_text(field, field_type_name(field->type), text, size, err);
}

static bool whole_from_json(const struct field *field, const json_t *value, struct scalar *out,
                            struct acc_error *err)
{
    double number = json_is_real(value) ? json_real_value(value) : 0.5;

    if (json_is_integer(value))
        out->whole = json_integer_value(value);
    else if (number == trunc(number) && fabs(number) <= WHOLE_MAX)
        out->whole = (int64_t)number;
    else
        return refuse_json(field, "int8 (a whole number of 64 bits)", value, err);
    return true;
}

/* Bytes of the result lie in the value or in scratch. */
static bool scalar_from_json(const struct field *field, const json_t *value, struct buf *scratch,
                             struct scalar *out, struct acc_error *err)
{
    *out = (struct scalar){0};
    if (field->type == FIELD_JSON) {
        size_t start = scratch->size;

        dump_json_value(scratch, value);
        out->data = scratch->data + start;
        out->size = scratch->size - start;
        return true;
    }
    if (json_is_string(value))
        return scalar_from_text(field, json_string_value(value), json_string_length(value), scratch,
                                out, err);
    if (field->type == FIELD_BOOL && json_is_boolean(value)) {
        out->whole = json_is_true(value);
        return true;
    }
    if (field->type == FIELD_INT8 && json_is_number(value))
        return whole_from_json(field, value, out, err);
    if (field->type == FIELD_FLOAT8 && json_is_number(value))
        return set_float(field, json_number_value(value), out, err);
    return refuse_json(field, field_type_name(field->type), value, err);
}

static bool store(const struct values_target *target, const struct field *field, size_t index,
                  const struct scalar *value, struct acc_row *row, struct acc_error *err)
{
    if (field->type == FIELD_FLOAT8)
        *row_float(row, index) = value->number;
    else if (field->type < FIELD_TEXT)
        *row_int(row, index) = value->whole;
    else
        return check_size(target, field, value->size, err) &&
               row_set_bytes(row, index, target->heap, value->data, value->size, err);
    return true;
}

static void add_element(struct buf *array, const struct field *field, const struct scalar *value)
{
    uint32_t size = (uint32_t)value->size;

    if (field->type == FIELD_FLOAT8) {
        buf_add(array, &value->number, 8);
    } else if (field->type < FIELD_TEXT) {
        buf_add(array, &value->whole, 8);
    } else {
        buf_add(array, &size, sizeof(size));
        buf_add(array, value->data, value->size);
    }
}

/* Elements one by one in the layout of hot.h. */
static bool build_array(const struct values_target *target, const struct field *field,
                        const json_t *list, struct buf *array, struct acc_error *err)
{
    uint32_t head[2] = {(uint32_t)json_array_size(list), 0};
    struct buf scratch = {0};
    bool ok = true;

    buf_add(array, head, sizeof(head));
    for (uint32_t i = 0; ok && i < head[0]; i++) {
        struct scalar value;

        buf_reset(&scratch);
        ok = scalar_from_json(field, json_array_get(list, i), &scratch, &value, err) &&
             check_size(target, field, array->size + value.size, err);
        if (ok)
            add_element(array, field, &value);
        else
            acc_fail_prefix(err, "element %u", i + 1);
    }
    buf_clear(&scratch);
    return ok;
}

static bool set_array(const struct values_target *target, const struct field *field, size_t index,
                      const json_t *list, struct acc_row *row, struct acc_error *err)
{
    struct buf array = {0};

    if (!json_is_array(list))
        return refuse_json(field, wanted(field), list, err);
    bool ok = build_array(target, field, list, &array, err) &&
              row_set_bytes(row, index, target->heap, array.data, array.size, err);
    buf_clear(&array);
    return ok;
}

bool values_set_null(const struct kind *kind, size_t field, struct acc_row *row,
                     struct acc_error *err)
{
    if (!kind->fields[field].is_nullable)
        return acc_fail(err, ACC_EINPUT, "field \"%s\": wanted %s, got null (it is not nullable)",
                        kind->fields[field].name, wanted(&kind->fields[field]));
    row->nulls |= UINT64_C(1) << field;
    return true;
}

bool values_set_json(const struct values_target *target, const struct kind *kind, size_t index,
                     const json_t *value, struct acc_row *row, struct acc_error *err)
{
    const struct field *field = &kind->fields[index];
    struct buf scratch = {0};
    struct scalar scalar;

    if (json_is_null(value) && (field->is_nullable || field->is_array || field->type != FIELD_JSON))
        return values_set_null(kind, index, row, err);
    if (field->is_array)
        return set_array(target, field, index, value, row, err);
    bool ok = scalar_from_json(field, value, &scratch, &scalar, err) &&
              store(target, field, index, &scalar, row, err);
    buf_clear(&scratch);
    return ok;
}

/* Text that holds JSON: of a json field, or of an array. */
static bool set_json_text(const struct values_target *target, const struct kind *kind, size_t index,
                          const char *text, size_t size, struct acc_row *row, struct acc_error *err)
{
    const struct field *field = &kind->fields[index];
    json_error_t why;
    char what[KIND_NAME_MAX + 16];

    snprintf(what, sizeof(what), "field \"%s\"", field->name);
    if (!check_size(target, field, size, err) || !values_check_utf8(what, text, size, err))
        return false;
    json_t *value =
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (value == NULL)
        return acc_fail(err, ACC_EINPUT, "field \"%s\": wanted %s as JSON, got %s: %s", field->name,
                        wanted(field), shown(text, size), why.text);
    bool ok = values_set_json(target, kind, index, value, row, err);
    json_decref(value);
    return ok;
}

static bool read_bool(const char *text, size_t size, int64_t *out)
{
    static const char *const words[] = {"false", "true", "f", "t", "0", "1"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0) {
            *out = i % 2;
            return true;
        }
    }
    return false;
}

bool values_set_text(const struct values_target *target, const struct kind *kind, size_t index,
                     const char *text, size_t size, struct acc_row *row, struct acc_error *err)
{
    const struct field *field = &kind->fields[index];
    struct buf scratch = {0};
    struct scalar scalar = {0};

    if (field->is_array || field->type == FIELD_JSON)
        return set_json_text(target, kind, index, text, size, row, err);
    if (field->type == FIELD_BOOL) {
        if (!read_bool(text, size, &scalar.whole))
            return refuse_text(field, "bool (true or false)", text, size, err);
        return store(target, field, index, &scalar, row, err);
    }
    bool ok = scalar_from_text(field, text, size, &scratch, &scalar, err) &&
              store(target, field, index, &scalar, row, err);
    buf_clear(&scratch);
    return ok;
}

bool values_complete(const struct kind *kind, uint64_t given, struct acc_row *row,
                     struct acc_error *err)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        if ((given >> f & 1) != 0)
            continue;
        if (!kind->fields[f].is_nullable)
            return acc_fail(err, ACC_EINPUT, "field \"%s\" of kind \"%s\" is missing, wanted %s",
                            kind->fields[f].name, kind->name, wanted(&kind->fields[f]));
        row->nulls |= UINT64_C(1) << f;
    }
    return true;
}
