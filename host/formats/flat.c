#include "formats/flat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 64 /* bytes; longer ones are for the whole reader */
#define DIGITS_MAX 18 /* always fit 64 bits */

/* A line on its way. Every function below gives up by returning false. */
struct flat {
    const char *at, *end;
    const struct values_target *target;
    const struct kind *kind;
    struct acc_row *row;
    uint64_t given; /* bit k: field k has its value */
    size_t next;    /* the field that is probably next */
    struct buf *scratch;
};

static void skip_blanks(struct flat *flat)
{
    while (flat->at < flat->end &&
           (*flat->at == ' ' || *flat->at == '\t' || *flat->at == '\r' || *flat->at == '\n'))
        flat->at++;
}

/* Takes this character, behind blanks. */
static bool take(struct flat *flat, char wanted)
{
    skip_blanks(flat);
    if (flat->at == flat->end || *flat->at != wanted)
        return false;
    flat->at++;
    return true;
}

static bool take_word(struct flat *flat, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(flat->end - flat->at) < size || memcmp(flat->at, word, size) != 0)
        return false;
    flat->at += size;
    return true;
}

/* Four hex digits of a character that is no NUL and no half of a pair. */
static bool take_code(struct flat *flat)
{
    uint32_t code = 0;

    if (flat->end - flat->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *flat->at++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        code = code << 4 | digit;
    }
    if (code == 0 || (code >= 0xd800 && code <= 0xdfff))
        return false;
    if (code < 0x80) {
        buf_byte(flat->scratch, (uint8_t)code);
        return true;
    }
    if (code < 0x800) {
        buf_byte(flat->scratch, (uint8_t)(0xc0 | code >> 6));
    } else {
        buf_byte(flat->scratch, (uint8_t)(0xe0 | code >> 12));
        buf_byte(flat->scratch, (uint8_t)(0x80 | (code >> 6 & 0x3f)));
    }
    buf_byte(flat->scratch, (uint8_t)(0x80 | (code & 0x3f)));
    return true;
}

static bool take_escape(struct flat *flat)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";

    if (flat->at == flat->end)
        return false;
    char c = *flat->at++;
    if (c == 'u')
        return take_code(flat);
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name == NULL)
        return false;
    buf_byte(flat->scratch, (uint8_t)values[name - names]);
    return true;
}

/* To the next quote, backslash or control character. */
static const char *plain_end(const char *at, const char *end)
{
    while (at < end && *at != '"' && *at != '\\' && (uint8_t)*at >= 0x20)
        at++;
    return at;
}

/* A string behind its opening quote: in the line itself, or in scratch when it has escapes. */
static bool take_string(struct flat *flat, const char **text, size_t *size)
{
    const char *start = flat->at;

    flat->at = plain_end(start, flat->end);
    if (flat->at < flat->end && *flat->at == '"') {
        *text = start;
        *size = (size_t)(flat->at++ - start);
        return true;
    }
    buf_reset(flat->scratch);
    buf_add(flat->scratch, start, (size_t)(flat->at - start));
    while (flat->at < flat->end && *flat->at == '\\') {
        flat->at++;
        if (!take_escape(flat))
            return false;
        start = flat->at;
        flat->at = plain_end(start, flat->end);
        buf_add(flat->scratch, start, (size_t)(flat->at - start));
    }
    if (flat->at == flat->end || *flat->at != '"')
        return false;
    flat->at++;
    *text = flat->scratch->data;
    *size = flat->scratch->size;
    return true;
}

static size_t take_digits(struct flat *flat)
{
    const char *start = flat->at;

    while (flat->at < flat->end && *flat->at >= '0' && *flat->at <= '9')
        flat->at++;
    return (size_t)(flat->at - start);
}

/* Digits behind the point and the exponent, if there are any. */
static bool take_fraction(struct flat *flat, bool *is_whole)
{
    *is_whole = true;
    if (flat->at < flat->end && *flat->at == '.') {
        *is_whole = false;
        flat->at++;
        if (take_digits(flat) == 0)
            return false;
    }
    if (flat->at < flat->end && (*flat->at == 'e' || *flat->at == 'E')) {
        *is_whole = false;
        flat->at++;
        if (flat->at < flat->end && (*flat->at == '+' || *flat->at == '-'))
            flat->at++;
        if (take_digits(flat) == 0)
            return false;
    }
    return true;
}

static bool set_whole(struct flat *flat, size_t field, const char *digits, size_t count,
                      bool is_negative)
{
    int64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = 10 * value + (digits[i] - '0');
    value = is_negative ? -value : value;
    if (flat->kind->fields[field].type == FIELD_INT8)
        *row_int(flat->row, field) = value;
    else
        *row_float(flat->row, field) = (double)value;
    return true;
}

static bool take_number(struct flat *flat, size_t field)
{
    enum field_type type = flat->kind->fields[field].type;
    const char *start = flat->at;
    char copy[NUMBER_MAX];
    bool is_whole;

    if (type != FIELD_INT8 && type != FIELD_FLOAT8)
        return false;
    flat->at += *flat->at == '-';
    const char *digits = flat->at;
    size_t count = take_digits(flat);
    if (count == 0 || count > DIGITS_MAX || (count > 1 && *digits == '0') ||
        !take_fraction(flat, &is_whole))
        return false;
    if (is_whole)
        return set_whole(flat, field, digits, count, digits > start);
    size_t size = (size_t)(flat->at - start);
    if (type != FIELD_FLOAT8 || size >= sizeof(copy))
        return false;
    memcpy(copy, start, size);
    copy[size] = '\0';
    double value = strtod(copy, NULL);
    *row_float(flat->row, field) = value == 0 ? 0 : value;
    return isfinite(value);
}

static bool take_value(struct flat *flat, size_t f)
{
    const struct field *field = &flat->kind->fields[f];
    struct acc_error ignored;
    const char *text;
    size_t size;

    skip_blanks(flat);
    if (flat->at == flat->end || field->is_array || field->type == FIELD_JSON)
        return false;
    switch (*flat->at) {
    case '"':
        flat->at++;
        return field->type != FIELD_BOOL && take_string(flat, &text, &size) &&
               values_set_text(flat->target, flat->kind, f, text, size, flat->row, &ignored);
    case 't':
    case 'f':
        if (field->type != FIELD_BOOL)
            return false;
        *row_int(flat->row, f) = *flat->at == 't';
        return take_word(flat, *flat->at == 't' ? "true" : "false");
    case 'n':
        return take_word(flat, "null") && values_set_null(flat->kind, f, flat->row, &ignored);
    default:
        return take_number(flat, f);
    }
}

static bool is_named(const struct kind *kind, size_t field, const char *name, size_t size)
{
    return strncmp(kind->fields[field].name, name, size) == 0 &&
           kind->fields[field].name[size] == '\0';
}

/* A name without escapes, and its colon. */
static bool take_name(struct flat *flat, const char **name, size_t *size)
{
    if (!take(flat, '"'))
        return false;
    *name = flat->at;
    flat->at = plain_end(flat->at, flat->end);
    *size = (size_t)(flat->at - *name);
    if (*size > KIND_NAME_MAX || flat->at == flat->end || *flat->at != '"')
        return false;
    flat->at++;
    return take(flat, ':');
}

static bool take_field(struct flat *flat, const char *name, size_t size)
{
    size_t count = flat->kind->field_count;
    size_t f = flat->next < count ? flat->next : 0;

    for (size_t tried = 0; !is_named(flat->kind, f, name, size); tried++) {
        if (tried == count)
            return false;
        f = f + 1 < count ? f + 1 : 0;
    }
    if ((flat->given >> f & 1) != 0)
        return false;
    flat->given |= UINT64_C(1) << f;
    flat->next = f + 1;
    return take_value(flat, f);
}

/* The member "kind", its name being read: only as the first one. */
static bool take_kind(struct flat *flat)
{
    char name[KIND_NAME_MAX + 1];
    const char *text;
    size_t size;

    skip_blanks(flat);
    if (flat->at == flat->end || *flat->at++ != '"' || !take_string(flat, &text, &size) ||
        size >= sizeof(name) || memchr(text, '\0', size) != NULL)
        return false;
    memcpy(name, text, size);
    name[size] = '\0';
    if (flat->kind == NULL)
        flat->kind = catalog_find(flat->target->catalog, name);
    return flat->kind != NULL && strcmp(flat->kind->name, name) == 0;
}

static bool read_object(struct flat *flat, struct acc_rows **rows)
{
    struct acc_error ignored;
    const char *name;
    size_t size;

    if (!take(flat, '{') || !take_name(flat, &name, &size))
        return false;
    bool has_kind = size == 4 && memcmp(name, "kind", 4) == 0;
    if (has_kind ? !take_kind(flat) : flat->kind == NULL)
        return false;
    *rows = flat->target->rows(flat->target->context, flat->kind);
    flat->row = rows_add(*rows, &ignored);
    if (flat->row == NULL) {
        *rows = NULL;
        return false;
    }
    if (!has_kind && !take_field(flat, name, size))
        return false;
    while (take(flat, ','))
        if (!take_name(flat, &name, &size) || !take_field(flat, name, size))
            return false;
    if (!take(flat, '}'))
        return false;
    skip_blanks(flat);
    return flat->at == flat->end && values_complete(flat->kind, flat->given, flat->row, &ignored);
}

const struct kind *flat_line(const struct values_target *target, const struct kind *kind,
                             const char *line, size_t size)
{
    static struct buf scratch;
    struct flat flat = {
        .at = line, .end = line + size, .target = target, .kind = kind, .scratch = &scratch};
    struct acc_rows *rows = NULL;
    uint64_t used = target->heap->used;

    if (read_object(&flat, &rows))
        return flat.kind;
    if (rows != NULL)
        rows->count--;
    target->heap->used = used;
    return NULL;
}
