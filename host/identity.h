/*
 * Identity: the content address of a fact.
 *
 * id = slot (2 bytes) + tag of the kind (2 bytes) + the first 12 bytes of SHA-256 over the
 * canonical encoding. Canonical encoding: version byte 1; kind; each non-NULL unique field, sorted
 * by name, as name, type, value. Kind, names, types (as declared, "int8[]") and values are each
 * preceded by their length as 4 bytes, big-endian. Values: bool 1 byte; int8 8 bytes big-endian
 * two's complement; float8 8 bytes big-endian IEEE 754 (-0 is 0); text UTF-8; bytes and uuid as
 * they are; arrays: each element preceded by its length as 4 bytes. slot = upper 16 bits of XXH3-64
 * over type and value (with their lengths) of the shard fields, in their declared order: kinds that
 * shard on equal values share a slot.
 */
#pragma once

#include "rows.h"

/* Sets row->id. -0.0 has been made 0 before (row normalisation is the writer's). */
void identity_set(const struct kind *kind, struct acc_row *row);

/* The canonical encoding, appended to out (for golden vectors and fuzzing). */
void identity_encode(const struct kind *kind, const struct acc_row *row, struct buf *out);

/*
 * 16 bytes that stand for kind and all values of row, in this process only: what the seen-filter
 * knows a fact by. Needs no id, so that a fact found again costs no SHA-256; differs where a field
 * outside unique differs. A keyed hash, the key drawn at random: facts come from outside, and
 * nobody may be able to make two of them agree.
 */
void identity_mark(const struct kind *kind, const struct acc_row *row, uint8_t mark[16]);

static inline uint16_t id_slot(const uint8_t *id)
{
    return (uint16_t)(id[0] << 8 | id[1]);
}

static inline uint16_t id_tag(const uint8_t *id)
{
    return (uint16_t)(id[2] << 8 | id[3]);
}
