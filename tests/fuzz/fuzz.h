/* What the fuzz targets share: a complaint that ends the run, bytes taken one by one, and kinds of every type. */
#pragma once

#include "formats/values.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run as a crash when what must hold does not. */
#define REQUIRE(claim)                                                                             \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A kind from a list of {name, type}, ended by NULL; a type ends with ! (unique) or ? (nullable). */
static inline struct kind *fuzz_kind(struct catalog *catalog, const char *name,
                                     const char *const (*fields)[2])
{
    struct kind *kind = calloc(1, sizeof(*kind));
    struct acc_error err;

    REQUIRE(kind != NULL);
    snprintf(kind->name, sizeof(kind->name), "%s", name);
    for (size_t f = 0; fields[f][0] != NULL; f++) {
        struct field *field = &kind->fields[kind->field_count++];
        char type[16];

        snprintf(field->name, sizeof(field->name), "%s", fields[f][0]);
        snprintf(type, sizeof(type), "%s", fields[f][1]);
        field->is_nullable = strchr(type, '?') != NULL;
        field->is_unique = strchr(type, '!') != NULL;
        type[strcspn(type, "?!")] = '\0';
        REQUIRE(field_type_of(type, &field->type, &field->is_array));
    }
    REQUIRE(kind_finish(kind, &err));
    REQUIRE(catalog_add(catalog, kind, &err));
    return kind;
}

/* Somewhere for the readers to put their facts: two sides, so that what was read can be read again and compared. */
struct fuzz {
    struct catalog catalog;
    struct kind *edge, *every;
    struct acc_heap heap;
    struct acc_rows rows[2]; /* by the kind's index */
    struct values_target target;
};

static inline struct acc_rows *fuzz_rows(void *context, const struct kind *kind)
{
    struct fuzz *fuzz = context;

    return &fuzz->rows[kind->index];
}

/* The one of the process, emptied. */
static inline struct fuzz *fuzz_begin(void)
{
    static const char *const edge[][2] = {{"from", "int8!"}, {"to", "int8!"}, {NULL, NULL}};
    static const char *const every[][2] = {
        {"b", "bool!"},      {"i", "int8!"},    {"f", "float8!"},   {"t", "text!"},
        {"y", "bytes?"},     {"u", "uuid?"},    {"j", "json?"},     {"n", "int8?"},
        {"s", "text?"},      {"d", "float8?"},  {"is", "int8[]?"},  {"ts", "text[]?"},
        {"fs", "float8[]?"}, {"bs", "bool[]?"}, {"ys", "bytes[]?"}, {"us", "uuid[]?"},
        {"js", "json[]?"},   {NULL, NULL},
    };
    static struct fuzz fuzz;

    if (fuzz.edge == NULL) {
        fuzz.edge = fuzz_kind(&fuzz.catalog, "edge", edge);
        fuzz.every = fuzz_kind(&fuzz.catalog, "every", every);
        heap_init(&fuzz.heap, 0);
        for (size_t k = 0; k < 2; k++)
            rows_init(&fuzz.rows[k], fuzz.catalog.kinds[k], 4096);
        fuzz.target = (struct values_target){&fuzz.catalog, &fuzz.heap, fuzz_rows, &fuzz, 1 << 12};
    }
    for (size_t k = 0; k < 2; k++)
        rows_reset(&fuzz.rows[k]);
    heap_reset(&fuzz.heap);
    return &fuzz;
}
