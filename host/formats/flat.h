/*
 * The quick way through a line of NDJSON: a flat object of numbers, words and strings, as nearly
 * all lines are.
 */
#pragma once

#include "formats/values.h"

/*
 * Adds the line's fact as ndjson_line does and returns its kind, or NULL: then nothing was added,
 * and nothing is said about the line but that it wants the whole reader. It takes only what that
 * one takes, and makes the same row of it. line is UTF-8.
 */
const struct kind *flat_line(const struct values_target *target, const struct kind *kind,
                             const char *line, size_t size);
