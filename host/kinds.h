/* Kinds: what a fact is made of, which fields make it unique, how it is looked up. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KIND_FIELDS_MAX 32
#define KIND_SHAPES_MAX 32
#define KIND_NAME_MAX 41
#define CATALOG_KINDS_MAX 256

enum field_type {
    FIELD_BOOL,
    FIELD_INT8,
    FIELD_FLOAT8,
    FIELD_TEXT,
    FIELD_BYTES,
    FIELD_JSON,
    FIELD_UUID,
};

struct field {
    char name[KIND_NAME_MAX + 1];
    enum field_type type;
    bool is_array;
    bool is_nullable;
    bool is_unique;
};

/* A declared look-up: the fields it gives values for. */
struct shape {
    uint8_t fields[KIND_FIELDS_MAX]; /* indexes into the kind's fields, ascending */
    bool has
        [KIND_FIELDS_MAX]; /* [i]: fields[i] is an array that holds the value, instead of being equal */
    size_t count;          /* 0: the whole kind, mirrored */
    bool by_id;            /* exactly the unique fields: answered through the id */
};

struct kind {
    char name[KIND_NAME_MAX + 1];
    char table[KIND_NAME_MAX + 8]; /* "fact_" and the name */
    uint16_t tag;                  /* 16 bits of the hash of the name */
    size_t index;                  /* in the catalog */
    struct field fields[KIND_FIELDS_MAX];
    size_t field_count;
    uint8_t unique[KIND_FIELDS_MAX]; /* unique fields sorted by name */
    size_t unique_count;
    uint8_t shard[KIND_FIELDS_MAX]; /* in the declared order */
    size_t shard_count;
    uint64_t unique_mask; /* bit k: field k is unique */
    uint64_t other_mask;  /* the other fields: functions of the unique ones */
    struct shape shapes[KIND_SHAPES_MAX];
    size_t shape_count;
    bool has_nullable;  /* rows are encoded with their null bits */
    uint32_t row_bytes; /* of a row in memory */
};

/* All kinds of an app, sorted by name. */
struct catalog {
    struct kind **kinds;
    size_t count;
};

/*
 * The type's name as declared ("int8"), and back. type_of reads "int8" and "int8[]"; false:
 * unknown.
 */
const char *field_type_name(enum field_type type);
bool field_type_of(const char *text, enum field_type *type, bool *is_array);
/* The type that is probably meant by a word that is none ("string" is "text"), or NULL. */
const char *field_type_near(const char *text);
/* SQL type of a field, e.g. "int8[]"; json is text in SQL (kept as canonical text). */
const char *field_sql_type(const struct field *field);
/* Whether a slot holds a span (text, bytes, json, uuid, arrays). */
bool field_is_span(const struct field *field);

/* Names are [a-z][a-z0-9_]{0,40} and not reserved by the host. */
bool name_check(const char *what, const char *name, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Fills the derived members (table, tag, unique, shard, masks, row_bytes) of a kind whose name,
 * fields and flags are set; shard names fields by index, none: the unique ones. ACC_EINPUT: nothing
 * unique, json or float array unique, shard not unique, ...
 */
bool kind_finish(struct kind *kind, struct acc_error *err) ACC_MUST_CHECK;

/* Index of a field, or -1. kind_suggest names the nearest field, or NULL. */
int kind_field(const struct kind *kind, const char *name);
const char *name_suggest(const char *name, const char *const *names, size_t count);

/*
 * The number of the shape, added when it is new; -1 with err when a field is unknown, json, or
 * there are too many.
 */
int kind_shape(struct kind *kind, const struct shape *shape, struct acc_error *err) ACC_MUST_CHECK;

void catalog_clear(struct catalog *catalog);
/* Takes kind. ACC_EINPUT when the name or the tag is there already. */
bool catalog_add(struct catalog *catalog, struct kind *kind, struct acc_error *err) ACC_MUST_CHECK;
struct kind *catalog_find(const struct catalog *catalog, const char *name); /* NULL: none */
struct kind *catalog_by_tag(const struct catalog *catalog, uint16_t tag);   /* NULL: none */
