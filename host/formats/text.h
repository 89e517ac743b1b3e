/* Text: a whole file as one fact. */
#pragma once

#include "formats/values.h"

/* Which fields of a kind a file fills. */
struct text_fields {
    int body;  /* gets the file's text */
    int title; /* gets the file's name, or -1 */
};

/*
 * Chooses them: body is the field given by name, or the only text field, or the second of two (the
 * first is the title). All other fields must be nullable. ACC_EINPUT says what the kind lacks.
 */
bool text_choose(const struct kind *kind, const char *body, struct text_fields *fields,
                 struct acc_error *err) ACC_MUST_CHECK;

/* Adds the fact of one file. ACC_EINPUT: NUL, not UTF-8, too long. */
bool text_fact(const struct values_target *target, const struct kind *kind,
               const struct text_fields *fields, const char *name, const char *data, size_t size,
               struct acc_error *err) ACC_MUST_CHECK;
