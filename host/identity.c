#include "identity.h"

#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

static void add_text(struct buf *out, const void *data, size_t size)
{
    buf_be32(out, (uint32_t)size);
    buf_add(out, data, size);
}

static void add_type(struct buf *out, const struct field *field)
{
    char name[16];

    snprintf(name, sizeof(name), "%s%s", field_type_name(field->type), field->is_array ? "[]" : "");
    add_text(out, name, strlen(name));
}

static void add_scalar(struct buf *out, enum field_type type, uint64_t bits)
{
    if (type == FIELD_BOOL) {
        buf_be32(out, 1);
        buf_byte(out, bits != 0);
    } else {
        buf_be32(out, 8);
        buf_be64(out, bits);
    }
}

static void add_array(struct buf *out, const struct field *field, const struct acc_span *span)
{
    const char *data = heap_at(span);
    uint32_t count;
    size_t start = out->size;

    memcpy(&count, data, sizeof(count));
    buf_be32(out, 0);
    data += 8;
    for (uint32_t i = 0; i < count; i++) {
        if (field->type < FIELD_TEXT) {
            uint64_t bits;
            memcpy(&bits, data, 8);
            add_scalar(out, field->type, bits);
            data += 8;
        } else {
            uint32_t size;
            memcpy(&size, data, sizeof(size));
            add_text(out, data + 4, size);
            data += 4 + size;
        }
    }
    uint32_t total = __builtin_bswap32((uint32_t)(out->size - start - 4));
    memcpy(out->data + start, &total, sizeof(total));
}

static void add_value(struct buf *out, const struct kind *kind, const struct acc_row *row, size_t f)
{
    const struct field *field = &kind->fields[f];

    if (field->is_array)
        add_array(out, field, row_span(row, f));
    else if (field_is_span(field))
        add_text(out, heap_at(row_span(row, f)), row_span(row, f)->size);
    else
        add_scalar(out, field->type, (uint64_t)*row_int(row, f));
}

void identity_encode(const struct kind *kind, const struct acc_row *row, struct buf *out)
{
    buf_byte(out, 1);
    add_text(out, kind->name, strlen(kind->name));
    for (size_t i = 0; i < kind->unique_count; i++) {
        const struct field *field = &kind->fields[kind->unique[i]];
        add_text(out, field->name, strlen(field->name));
        add_type(out, field);
        add_value(out, kind, row, kind->unique[i]);
    }
}

/* One scratch buffer for the process: identities are made by one thread. */
static struct buf scratch;

void identity_set(const struct kind *kind, struct acc_row *row)
{
    uint8_t digest[32];

    buf_reset(&scratch);
    for (size_t i = 0; i < kind->shard_count; i++) {
        add_type(&scratch, &kind->fields[kind->shard[i]]);
        add_value(&scratch, kind, row, kind->shard[i]);
    }
    uint16_t slot = (uint16_t)(XXH3_64bits(scratch.data, scratch.size) >> 48);
    buf_reset(&scratch);
    identity_encode(kind, row, &scratch);
    sha256(scratch.data, scratch.size, digest);
    row->id[0] = (uint8_t)(slot >> 8);
    row->id[1] = (uint8_t)slot;
    row->id[2] = (uint8_t)(kind->tag >> 8);
    row->id[3] = (uint8_t)kind->tag;
    memcpy(row->id + 4, digest, 12);
}

void identity_digest(const struct kind *kind, const struct acc_row *row, uint8_t digest[16])
{
    uint8_t whole[32];

    if (kind->other_mask == 0) {
        memcpy(digest, row->id, 16);
        return;
    }
    buf_reset(&scratch);
    buf_add(&scratch, row->id, 16);
    for (size_t f = 0; f < kind->field_count; f++) {
        if ((kind->other_mask >> f & 1) == 0)
            continue;
        buf_byte(&scratch, row_is_null(row, f));
        if (!row_is_null(row, f))
            add_value(&scratch, kind, row, f);
    }
    sha256(scratch.data, scratch.size, whole);
    memcpy(digest, whole, 16);
}
