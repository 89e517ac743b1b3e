/* Kinds with every type of field, and somewhere for readers to put their facts. */
#pragma once

#include "check.h"
#include "formats/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES 1000
#define ROWS_MAX 64

/* edge: two numbers. all: one of each, a nullable twin and arrays. book: two texts. */
struct fixture {
    struct catalog catalog;
    struct kind *edge, *all, *book;
    struct acc_heap heap;
    struct acc_rows rows[3]; /* by the kind's index */
    struct values_target target;
    struct acc_error err;
    struct buf line;
};

static struct acc_rows *fixture_rows(void *context, const struct kind *kind)
{
    struct fixture *fixture = context;

    return &fixture->rows[kind->index];
}

static struct kind *fixture_kind(struct catalog *catalog, const char *name,
                                 const char *const (*fields)[2])
{
    struct kind *kind = calloc(1, sizeof(*kind));
    struct acc_error err;

    snprintf(kind->name, sizeof(kind->name), "%s", name);
    for (size_t f = 0; fields[f][0] != NULL; f++) {
        struct field *field = &kind->fields[kind->field_count++];
        char type[16];

        snprintf(field->name, sizeof(field->name), "%s", fields[f][0]);
        snprintf(type, sizeof(type), "%s", fields[f][1]);
        field->is_nullable = type[strlen(type) - 1] == '?';
        field->is_unique = type[strlen(type) - 1] == '!';
        type[strcspn(type, "?!")] = '\0';
        assert_true(field_type_of(type, &field->type, &field->is_array));
    }
    assert_true(kind_finish(kind, &err));
    assert_true(catalog_add(catalog, kind, &err));
    return kind;
}

/* With these fields of the second kind. */
static inline int fixture_of(void **state, const char *name, const char *const (*fields)[2])
{
    static const char *const edge[][2] = {{"from", "int8!"}, {"to", "int8!"}, {NULL, NULL}};
    static const char *const book[][2] = {{"title", "text!"}, {"body", "text!"}, {NULL, NULL}};
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->edge = fixture_kind(&fixture->catalog, "edge", edge);
    fixture->all = fixture_kind(&fixture->catalog, name, fields);
    fixture->book = fixture_kind(&fixture->catalog, "book", book);
    heap_init(&fixture->heap, 0);
    for (size_t k = 0; k < fixture->catalog.count; k++)
        rows_init(&fixture->rows[k], fixture->catalog.kinds[k], ROWS_MAX);
    fixture->target = (struct values_target){&fixture->catalog, &fixture->heap, fixture_rows,
                                             fixture, VALUE_BYTES};
    *state = fixture;
    return 0;
}

static inline int fixture_setup(void **state)
{
    static const char *const all[][2] = {
        {"b", "bool!"},      {"i", "int8!"},    {"f", "float8!"},   {"t", "text!"},
        {"y", "bytes!"},     {"u", "uuid!"},    {"j", "json"},      {"n", "int8?"},
        {"s", "text?"},      {"d", "float8?"},  {"is", "int8[]?"},  {"ts", "text[]?"},
        {"fs", "float8[]?"}, {"bs", "bool[]?"}, {"ys", "bytes[]?"}, {"us", "uuid[]?"},
        {"js", "json[]?"},   {"m", "json?"},    {NULL, NULL},
    };

    return fixture_of(state, "every", all);
}

static int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    for (size_t k = 0; k < 3; k++)
        rows_clear(&fixture->rows[k]);
    catalog_clear(&fixture->catalog);
    buf_clear(&fixture->line);
    free(fixture);
    return 0;
}

static inline struct acc_row *fixture_row(struct fixture *fixture, const struct kind *kind)
{
    struct acc_rows *rows = &fixture->rows[kind->index];
    struct acc_error err;

    rows->count = 0;
    return rows_add(rows, &err);
}
