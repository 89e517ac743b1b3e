/*
 * NDJSON: one fact a line, an object with the fields by name. Lines are given; where they come from
 * is the caller's.
 */
#pragma once

#include "formats/values.h"

/*
 * Reads one line (without its newline) and adds its fact to the target's rows. kind: what all lines
 * are, or NULL when each says it in a member "kind". *of is the kind of the fact, or NULL for a
 * blank line.
 *
 * Fails with ACC_EINPUT, and then nothing was added: not JSON, a member that is no field, a wrong
 * value. ACC_ELIMIT: rows or heap are full.
 */
bool ndjson_line(const struct values_target *target, const struct kind *kind, const char *line,
                 size_t size, const struct kind **of, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The same by the whole JSON reader alone, for a line that is UTF-8 and not blank. ndjson_line
 * takes the lines of most facts more quickly (flat.h).
 */
bool ndjson_line_whole(const struct values_target *target, const struct kind *kind,
                       const char *line, size_t size, const struct kind **of,
                       struct acc_error *err) ACC_MUST_CHECK;
