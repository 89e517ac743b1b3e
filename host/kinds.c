#include "kinds.h"

#include "accrete/hot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const type_names[] = {"bool", "int8", "float8", "text", "bytes", "json", "uuid"};
static const char *const sql_types[] = {"bool", "int8", "float8", "text", "bytea", "text", "uuid"};
static const char *const sql_arrays[] = {"bool[]",  "int8[]", "float8[]", "text[]",
                                         "bytea[]", "text[]", "uuid[]"};

/*
 * Words that the host gives a meaning of its own in messages, JSON or Lua. SQL's own reserved words
 * are fine: names are quoted.
 */
static const char *const reserved[] = {
    "kind",  "fact", "all",    "any",      "has",    "query",  "get",      "and",  "break",
    "do",    "else", "elseif", "end",      "false",  "for",    "function", "if",   "in",
    "local", "nil",  "not",    "or",       "repeat", "return", "then",     "true", "until",
    "while", "goto", "ctid",   "tableoid", "xmin",   "xmax",   "cmin",     "cmax"};

const char *field_type_name(enum field_type type)
{
    return type_names[type];
}

bool field_type_of(const char *text, enum field_type *type, bool *is_array)
{
    size_t length = strlen(text);
    bool array = length > 2 && strcmp(text + length - 2, "[]") == 0;

    if (array)
        length -= 2;
    for (size_t i = 0; i < sizeof(type_names) / sizeof(*type_names); i++) {
        if (strlen(type_names[i]) == length && strncmp(type_names[i], text, length) == 0) {
            *type = (enum field_type)i;
            *is_array = array;
            return true;
        }
    }
    return false;
}

const char *field_type_near(const char *text)
{
    static const char *const others[][2] = {
        {"string", "text"}, {"str", "text"},      {"varchar", "text"},  {"char", "text"},
        {"int", "int8"},    {"integer", "int8"},  {"bigint", "int8"},   {"number", "int8"},
        {"int4", "int8"},   {"int64", "int8"},    {"double", "float8"}, {"float", "float8"},
        {"real", "float8"}, {"float4", "float8"}, {"boolean", "bool"},  {"bytea", "bytes"},
        {"blob", "bytes"},  {"binary", "bytes"},  {"jsonb", "json"},    {"table", "json"},
    };
    char word[16];

    snprintf(word, sizeof(word), "%.*s", (int)strcspn(text, "[("), text);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (strcasecmp(others[i][0], word) == 0)
            return others[i][1];
    }
    return name_suggest(word, type_names, sizeof(type_names) / sizeof(*type_names));
}

const char *field_sql_type(const struct field *field)
{
    return field->is_array ? sql_arrays[field->type] : sql_types[field->type];
}

bool field_is_span(const struct field *field)
{
    return field->is_array || field->type >= FIELD_TEXT;
}

bool name_check(const char *what, const char *name, struct acc_error *err)
{
    size_t length = strlen(name);
    bool ok = length >= 1 && length <= KIND_NAME_MAX && name[0] >= 'a' && name[0] <= 'z';

    for (size_t i = 1; ok && i < length; i++)
        ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
             name[i] == '_';
    if (!ok)
        return acc_fail(err, ACC_EINPUT,
                        "%s: wanted a name like [a-z][a-z0-9_]{0,40}, got \"%.80s\"", what, name);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++) {
        if (strcmp(reserved[i], name) == 0)
            return acc_fail(err, ACC_EINPUT, "%s: \"%s\" is a reserved word, choose another name",
                            what, name);
    }
    return true;
}

bool kind_finish(struct kind *kind, struct acc_error *err)
{
    snprintf(kind->table, sizeof(kind->table), "fact_%s", kind->name);
    kind->tag = (uint16_t)(acc_hash64(kind->name, strlen(kind->name)) >> 48);
    kind->row_bytes = (uint32_t)(sizeof(struct acc_row) + 8 * kind->field_count);
    kind->unique_count = 0;
    kind->unique_mask = 0;
    kind->has_nullable = false;
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];

        kind->has_nullable |= field->is_nullable;
        if (!field->is_unique)
            continue;
        if (field->is_nullable)
            return acc_fail(err, ACC_EINPUT,
                            "field \"%s\" is unique and nullable; a unique field is never NULL",
                            field->name);
        if (field->type == FIELD_JSON)
            return acc_fail(
                err, ACC_EINPUT,
                "field \"%s\" is json and cannot be unique; name the unique fields in `unique`",
                field->name);
        size_t at = kind->unique_count++;
        while (at > 0 && strcmp(kind->fields[kind->unique[at - 1]].name, field->name) > 0) {
            kind->unique[at] = kind->unique[at - 1];
            at--;
        }
        kind->unique[at] = (uint8_t)f;
        kind->unique_mask |= UINT64_C(1) << f;
    }
    if (kind->unique_count == 0)
        return acc_fail(err, ACC_EINPUT, "a kind needs at least one unique field");
    kind->other_mask = ((UINT64_C(1) << kind->field_count) - 1) & ~kind->unique_mask;
    if (kind->shard_count == 0) {
        memcpy(kind->shard, kind->unique, kind->unique_count);
        kind->shard_count = kind->unique_count;
    }
    for (size_t i = 0; i < kind->shard_count; i++) {
        if ((kind->unique_mask >> kind->shard[i] & 1) == 0)
            return acc_fail(err, ACC_EINPUT, "shard field \"%s\" is not among the unique fields",
                            kind->fields[kind->shard[i]].name);
    }
    return true;
}

int kind_field(const struct kind *kind, const char *name)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        if (strcmp(kind->fields[f].name, name) == 0)
            return (int)f;
    }
    return -1;
}

/* Levenshtein distance, both at most 63 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    size_t n = strlen(b);

    if (n > 63 || strlen(a) > 63)
        return 64;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t up = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (up + 1 < best)
                best = up + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[n];
}

const char *name_suggest(const char *name, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(name) / 2 < 3 ? strlen(name) / 2 + 1 : 3;

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(name, names[i]);
        if (d <= least && (best == NULL || d < least)) {
            best = names[i];
            least = d;
        }
    }
    return best;
}

static bool shape_equal(const struct shape *a, const struct shape *b)
{
    return a->count == b->count && memcmp(a->fields, b->fields, a->count) == 0 &&
           memcmp(a->has, b->has, a->count * sizeof(a->has[0])) == 0;
}

int kind_shape(struct kind *kind, const struct shape *shape, struct acc_error *err)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < kind->shape_count; i++) {
        if (shape_equal(&kind->shapes[i], shape))
            return (int)i;
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &kind->fields[shape->fields[i]];
        if (field->type == FIELD_JSON) {
            acc_fail(err, ACC_EINPUT, "field \"%s\" is json and cannot be looked up", field->name);
            return -1;
        }
        mask |= UINT64_C(1) << shape->fields[i];
    }
    if (kind->shape_count == KIND_SHAPES_MAX) {
        acc_fail(err, ACC_ELIMIT, "kind \"%s\" has more than %d look-up shapes", kind->name,
                 KIND_SHAPES_MAX);
        return -1;
    }
    struct shape *made = &kind->shapes[kind->shape_count];
    *made = *shape;
    made->by_id = shape->count > 0 && mask == kind->unique_mask;
    for (size_t i = 0; i < shape->count; i++)
        made->by_id &= !shape->has[i];
    return (int)kind->shape_count++;
}

void catalog_clear(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++)
        free(catalog->kinds[i]);
    free(catalog->kinds);
    *catalog = (struct catalog){0};
}

bool catalog_add(struct catalog *catalog, struct kind *kind, struct acc_error *err)
{
    const struct kind *twin = catalog_by_tag(catalog, kind->tag);

    if (catalog_find(catalog, kind->name) != NULL)
        return acc_fail(err, ACC_EINPUT, "kind \"%s\" is declared twice", kind->name);
    if (twin != NULL)
        return acc_fail(err, ACC_EINPUT,
                        "kinds \"%s\" and \"%s\" have the same tag %04x; rename one", twin->name,
                        kind->name, kind->tag);
    if (catalog->count == CATALOG_KINDS_MAX)
        return acc_fail(err, ACC_ELIMIT, "more than %d kinds in one app", CATALOG_KINDS_MAX);
    catalog->kinds = acc_realloc(catalog->kinds, (catalog->count + 1) * sizeof(struct kind *));
    size_t at = catalog->count++;
    while (at > 0 && strcmp(catalog->kinds[at - 1]->name, kind->name) > 0) {
        catalog->kinds[at] = catalog->kinds[at - 1];
        at--;
    }
    catalog->kinds[at] = kind;
    for (size_t i = 0; i < catalog->count; i++)
        catalog->kinds[i]->index = i;
    return true;
}

struct kind *catalog_find(const struct catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->count; i++) {
        if (strcmp(catalog->kinds[i]->name, name) == 0)
            return catalog->kinds[i];
    }
    return NULL;
}

struct kind *catalog_by_tag(const struct catalog *catalog, uint16_t tag)
{
    for (size_t i = 0; i < catalog->count; i++) {
        if (catalog->kinds[i]->tag == tag)
            return catalog->kinds[i];
    }
    return NULL;
}
