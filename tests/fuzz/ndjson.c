/*
 * A line that is taken as a fact is taken by the whole JSON reader too, as the same fact; written by the dump and read again, it is the same
 * fact.
 */
#include "formats/ndjson.h"

#include "formats/dump_json.h"
#include "fuzz.h"

static void read_again(struct fuzz *fuzz, const struct kind *kind, const struct acc_row *row)
{
    struct buf line = {0};
    const struct kind *again;
    struct acc_error err;

    dump_json_fact(&line, kind, row);
    REQUIRE(ndjson_line(&fuzz->target, NULL, line.data, line.size, &again, &err));
    REQUIRE(again == kind);
    const struct acc_rows *rows = &fuzz->rows[kind->index];
    REQUIRE(rows_equal(kind, row, rows_at(rows, rows->count - 1), UINT64_MAX));
    buf_clear(&line);
}

/* The quick way and the long one agree. */
static void read_whole(struct fuzz *fuzz, const struct kind *kind, const char *line, size_t size)
{
    const struct kind *again;
    struct acc_error err;

    REQUIRE(ndjson_line_whole(&fuzz->target, NULL, line, size, &again, &err));
    REQUIRE(again == kind);
    const struct acc_rows *rows = &fuzz->rows[kind->index];
    REQUIRE(rows_equal(kind, rows_at(rows, 0), rows_at(rows, 1), UINT64_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *fuzz = fuzz_begin();
    const struct kind *kind = NULL;
    struct acc_error err = {0};
    char *line =
        acc_alloc(size + 1); /* exactly as long as it is, so that a look behind it is seen */

    memcpy(line, data, size);
    line = acc_realloc(line, size > 0 ? size : 1);
    if (ndjson_line(&fuzz->target, NULL, line, size, &kind, &err)) {
        if (kind != NULL)
            read_whole(fuzz, kind, line, size);
        if (kind != NULL)
            read_again(fuzz, kind, rows_at(&fuzz->rows[kind->index], 0));
    } else {
        REQUIRE(err.code == ACC_EINPUT && err.text[0] != '\0');
        REQUIRE(fuzz->rows[0].count + fuzz->rows[1].count == 0);
    }
    free(line);
    return 0;
}
