#include "identity.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

static void add_text(struct buf *out, const void *data, size_t size)
{
    buf_be32(out, (uint32_t)size);
    buf_add(out, data, size);
}

static void add_type(struct buf *out, const struct field *field)
{
    const char *name = field_type_name(field->type);
    size_t size = strlen(name);

    buf_be32(out, (uint32_t)(size + (field->is_array ? 2 : 0)));
    buf_add(out, name, size);
    if (field->is_array)
        buf_add(out, "[]", 2);
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

/* The key of this process's marks. */
static const uint64_t *mark_key(void)
{
    static uint64_t key[2];
    static bool is_drawn;

    if (!is_drawn && getrandom(key, sizeof(key), 0) != sizeof(key)) {
        fputs("accrete: the system gives no random bytes\n", stderr);
        abort();
    }
    is_drawn = true;
    return key;
}

void identity_mark(const struct kind *kind, const struct acc_row *row, uint8_t mark[16])
{
    uint64_t words[2 + KIND_FIELDS_MAX] = {kind->tag, row->nulls};
    uint64_t out[2];
    size_t n = 2;

    buf_reset(&scratch);
    for (size_t f = 0; f < kind->field_count; f++) {
        if (row_is_null(row, f))
            continue;
        if (!field_is_span(&kind->fields[f])) {
            words[n++] = (uint64_t)*row_int(row, f);
            continue;
        }
        words[n++] = row_span(row, f)->size;
        buf_add(&scratch, heap_at(row_span(row, f)), row_span(row, f)->size);
    }
    if (scratch.size >
        0) { /* the lengths, which tell the texts apart, then the texts, filled up to whole words */
        static const char zeros[8];
        static struct buf whole;

        buf_add(&scratch, zeros, (8 - scratch.size % 8) % 8);
        buf_reset(&whole);
        buf_add(&whole, words, n * sizeof(*words));
        buf_add(&whole, scratch.data, scratch.size);
        siphash128(mark_key(), (const uint64_t *)(const void *)whole.data, whole.size / 8, out);
    } else {
        siphash128(mark_key(), words, n, out);
    }
    memcpy(mark, out, 16);
}
