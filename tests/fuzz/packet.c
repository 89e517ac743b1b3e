/* Rows that a payload decodes to encode to the same bytes, and all of their values can be read. */
#include "formats/dump_json.h"
#include "fuzz.h"
#include "identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *fuzz = fuzz_begin();
    char *payload = acc_alloc(size + 1);
    struct acc_error err = {0};
    struct buf out = {0};
    size_t at = 0;

    if (size == 0) {
        free(payload);
        return 0;
    }
    const struct kind *kind = data[0] == 'e' ? fuzz->every : fuzz->edge;
    struct acc_rows *rows = &fuzz->rows[kind->index];
    size--;
    memcpy(payload, data + 1, size);
    payload = acc_realloc(payload, size > 0 ? size : 1);
    while (at < size && rows->count < 4000) {
        struct acc_row *row = rows_add(rows, &err);
        size_t from = at;

        REQUIRE(row != NULL);
        if (!row_decode(kind, payload, size, &at, &fuzz->heap, row, &err)) {
            REQUIRE(err.code == ACC_EINPUT);
            break;
        }
        buf_reset(&out);
        row_encode(kind, row, &out);
        REQUIRE(out.size == at - from && memcmp(out.data, payload + from, out.size) == 0);
        row_normalise(kind, row);
        identity_encode(kind, row, &out);
        REQUIRE(rows_equal(kind, row, row, UINT64_MAX));
    }
    buf_clear(&out);
    free(payload);
    return 0;
}
