/* Sorts more lines than fit memory: sorted runs in unnamed temporary files, merged at the end. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

/* Lines on their way to be sorted by their bytes. */
struct linesort;

/*
 * dir: where temporary files go; they have no name, so that nothing is left behind. run_bytes:
 * memory for lines.
 */
struct linesort *linesort_new(const char *dir, size_t run_bytes);
void linesort_free(struct linesort *sort);

/* Adds a copy of a line that holds no newline. ACC_ESYS: the temporary file cannot be written. */
bool linesort_add(struct linesort *sort, const char *line, size_t size,
                  struct acc_error *err) ACC_MUST_CHECK;

/* Writes all lines in order, each with a newline, to out. Once. */
bool linesort_write(struct linesort *sort, FILE *out, struct acc_error *err) ACC_MUST_CHECK;
