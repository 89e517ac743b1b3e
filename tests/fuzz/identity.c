/*
 * The canonical encoding and the id against an independent writer of the words in identity.h: one byte at a time, and the hash by
 * OpenSSL's and xxHash's own functions. The kind itself is drawn from the input.
 */
#include "identity.h"

#include "fuzz.h"

#include <openssl/evp.h>
#include <xxhash.h>

/* Input, byte by byte; zeros when it is over. */
struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t draw(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

static uint64_t draw_word(struct input *input)
{
    uint64_t word = 0;

    for (int i = 0; i < 8; i++)
        word = word << 8 | draw(input);
    return word;
}

/* The slow writer */

static void put_length(struct buf *out, size_t size)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_byte(out, (uint8_t)(size >> shift));
}

static void put(struct buf *out, const char *data, size_t size)
{
    put_length(out, size);
    for (size_t i = 0; i < size; i++)
        buf_byte(out, (uint8_t)data[i]);
}

static void put_number(struct buf *out, enum field_type type, uint64_t bits)
{
    char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(bits >> (56 - 8 * i));
    if (type == FIELD_BOOL)
        put(out, bits != 0 ? "\1" : "\0", 1);
    else
        put(out, bytes, 8);
}

static void put_value(struct buf *out, const struct field *field, const struct acc_row *row,
                      size_t f)
{
    const struct acc_span *span = row_span(row, f);
    struct buf elements = {0};

    if (!field->is_array && field->type < FIELD_TEXT) {
        put_number(out, field->type, (uint64_t)*row_int(row, f));
        return;
    }
    if (!field->is_array) {
        put(out, heap_at(span), span->size);
        return;
    }
    const char *at = heap_at(span);
    uint32_t count;
    memcpy(&count, at, 4);
    at += 8;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits;
        uint32_t size;

        memcpy(&bits, at, field->type < FIELD_TEXT ? 8 : 4);
        memcpy(&size, at, 4);
        if (field->type < FIELD_TEXT) {
            put_number(&elements, field->type, bits);
            at += 8;
        } else {
            put(&elements, at + 4, size);
            at += 4 + size;
        }
    }
    put(out, elements.data == NULL ? "" : elements.data, elements.size);
    buf_clear(&elements);
}

static void put_type(struct buf *out, const struct field *field)
{
    static const char *const names[] = {"bool", "int8", "float8", "text", "bytes", "json", "uuid"};
    char type[16];

    snprintf(type, sizeof(type), "%s%s", names[field->type], field->is_array ? "[]" : "");
    put(out, type, strlen(type));
}

/* Unique fields by name, found by looking for the next larger name each time. */
static void put_fact(struct buf *out, const struct kind *kind, const struct acc_row *row)
{
    const char *last = "";

    buf_byte(out, 1);
    put(out, kind->name, strlen(kind->name));
    for (;;) {
        const struct field *next = NULL;

        for (size_t f = 0; f < kind->field_count; f++) {
            const struct field *field = &kind->fields[f];

            if (field->is_unique && strcmp(field->name, last) > 0 &&
                (next == NULL || strcmp(field->name, next->name) < 0))
                next = field;
        }
        if (next == NULL)
            return;
        put(out, next->name, strlen(next->name));
        put_type(out, next);
        put_value(out, next, row, (size_t)(next - kind->fields));
        last = next->name;
    }
}

/* A kind and a row from the input */

static bool draw_kind(struct input *input, struct kind *kind)
{
    struct acc_error err;

    snprintf(kind->name, sizeof(kind->name), "k%u", draw(input));
    kind->field_count = 1 + draw(input) % 6;
    for (size_t f = 0; f < kind->field_count; f++) {
        struct field *field = &kind->fields[f];
        uint8_t what = draw(input);

        snprintf(field->name, sizeof(field->name), "%c%s%zu", 'a' + draw(input) % 26,
                 draw(input) % 2 != 0 ? "x" : "", f);
        field->type = (enum field_type)(what % 7);
        field->is_array = (what & 64) != 0;
        field->is_unique = (what & 128) != 0;
    }
    return kind_finish(kind, &err);
}

static void draw_bytes(struct input *input, enum field_type type, struct buf *out)
{
    size_t size = type == FIELD_UUID ? 16 : draw(input) % 80;

    for (size_t i = 0; i < size; i++)
        buf_byte(out, draw(input));
}

static void draw_array(struct input *input, const struct field *field, struct buf *out)
{
    uint32_t head[2] = {draw(input) % 5, 0};

    buf_add(out, head, sizeof(head));
    for (uint32_t i = 0; i < head[0]; i++) {
        uint64_t bits = draw_word(input);
        struct buf text = {0};

        if (field->type < FIELD_TEXT) {
            buf_add(out, &bits, 8);
            continue;
        }
        draw_bytes(input, field->type, &text);
        uint32_t size = (uint32_t)text.size;
        buf_add(out, &size, 4);
        buf_add(out, text.data, text.size);
        buf_clear(&text);
    }
}

static void draw_row(struct input *input, const struct kind *kind, struct acc_heap *heap,
                     struct acc_row *row)
{
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        struct buf bytes = {0};
        struct acc_error err;

        if (!field_is_span(field)) {
            *row_int(row, f) = (int64_t)draw_word(input);
            continue;
        }
        if (field->is_array)
            draw_array(input, field, &bytes);
        else
            draw_bytes(input, field->type, &bytes);
        REQUIRE(row_set_bytes(row, f, heap, bytes.data, bytes.size, &err));
        buf_clear(&bytes);
    }
}

static void check_id(const struct kind *kind, struct acc_row *row, const struct buf *fact)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct buf shard = {0};

    for (size_t i = 0; i < kind->shard_count; i++) {
        put_type(&shard, &kind->fields[kind->shard[i]]);
        put_value(&shard, &kind->fields[kind->shard[i]], row, kind->shard[i]);
    }
    REQUIRE(EVP_Digest(fact->data, fact->size, digest, NULL, EVP_sha256(), NULL) == 1);
    identity_set(kind, row);
    REQUIRE(id_slot(row->id) == XXH3_64bits(shard.data, shard.size) >> 48);
    REQUIRE(id_tag(row->id) == kind->tag);
    REQUIRE(memcmp(row->id + 4, digest, 12) == 0);
    buf_clear(&shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct acc_heap heap;
    struct input input = {data, size};
    struct kind *kind = acc_zalloc(sizeof(*kind));
    struct buf encoded = {0};
    struct buf wanted = {0};

    if (heap.base == NULL)
        heap_init(&heap, 0);
    heap_reset(&heap);
    if (draw_kind(&input, kind)) {
        struct acc_row *row = acc_zalloc(kind->row_bytes);

        draw_row(&input, kind, &heap, row);
        row_normalise(kind, row);
        identity_encode(kind, row, &encoded);
        put_fact(&wanted, kind, row);
        REQUIRE(encoded.size == wanted.size);
        REQUIRE(memcmp(encoded.data, wanted.data, wanted.size) == 0);
        check_id(kind, row, &wanted);
        free(row);
    }
    buf_clear(&encoded);
    buf_clear(&wanted);
    free(kind);
    return 0;
}
