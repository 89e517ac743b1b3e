/* Every fact read from CSV, written with all values in quotes and read again, is the same fact. The first byte chooses the kind. */
#include "formats/csv.h"

#include "formats/dump_json.h"
#include "fuzz.h"

/* Reads data line by line; each line stands alone in memory, so that a look behind it is seen. */
static bool read_all(struct fuzz *fuzz, struct csv *csv, const char *data, size_t size)
{
    struct acc_error err = {0};
    enum csv_result result = CSV_NONE;

    for (size_t at = 0; at < size && result != CSV_FAILED;) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t length = newline == NULL ? size - at : (size_t)(newline - data) - at;
        char *line = acc_alloc(length > 0 ? length : 1);

        memcpy(line, data + at, length);
        result = csv_line(csv, &fuzz->target, line, length, &err);
        free(line);
        at += length + 1;
        REQUIRE(result < CSV_BAD || err.text[0] != '\0');
        if (fuzz->rows[csv->kind->index].count >= 1000)
            break;
    }
    return result != CSV_FAILED && csv_end(csv, &err) != CSV_FAILED;
}

static void add_quoted(struct buf *out, const char *text, size_t size)
{
    buf_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            buf_byte(out, '"');
        buf_byte(out, (uint8_t)text[i]);
    }
    buf_byte(out, '"');
}

/* The value as a reader of CSV wants it: what JSON has in quotes stands without them. */
static void add_value(struct buf *out, const struct kind *kind, const struct acc_row *row, size_t f)
{
    const struct field *field = &kind->fields[f];
    struct buf text = {0};

    if (row_is_null(row, f))
        return;
    if (field->type == FIELD_TEXT && !field->is_array) {
        add_quoted(out, heap_at(row_span(row, f)), row_span(row, f)->size);
        return;
    }
    dump_json_field(&text, kind, row, f);
    bool is_quoted = !field->is_array && field->type != FIELD_JSON && text.data[0] == '"';
    add_quoted(out, text.data + is_quoted, text.size - 2 * (size_t)is_quoted);
    buf_clear(&text);
}

static void write_all(const struct fuzz *fuzz, const struct kind *kind, struct buf *out)
{
    const struct acc_rows *rows = &fuzz->rows[kind->index];

    for (size_t f = 0; f < kind->field_count; f++)
        buf_printf(out, "%s%s", f == 0 ? "" : ",", kind->fields[f].name);
    buf_byte(out, '\n');
    for (uint32_t i = 0; i < rows->count; i++) {
        for (size_t f = 0; f < kind->field_count; f++) {
            if (f > 0)
                buf_byte(out, ',');
            add_value(out, kind, rows_at(rows, i), f);
        }
        buf_byte(out, '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz *fuzz = fuzz_begin();
    const struct kind *kind = size > 0 && data[0] == 'e' ? fuzz->every : fuzz->edge;
    const struct acc_rows *rows = &fuzz->rows[kind->index];
    struct csv_name names[] = {{.column = "old name", .field = ""}};
    bool has_names = memmem(data, size, "old name", 8) != NULL;
    struct csv csv = {.kind = kind, .names = names, .name_count = has_names};
    struct csv again = {.kind = kind};
    struct buf text = {0};

    if (size > 0 && read_all(fuzz, &csv, (const char *)data + 1, size - 1)) {
        uint32_t count = rows->count;

        write_all(fuzz, kind, &text);
        REQUIRE(read_all(fuzz, &again, text.data, text.size));
        REQUIRE(rows->count == 2 * count || count >= 500);
        for (uint32_t i = 0; i < count && count < 500; i++)
            REQUIRE(rows_equal(kind, rows_at(rows, i), rows_at(rows, count + i), UINT64_MAX));
    }
    buf_clear(&text);
    csv_clear(&csv);
    csv_clear(&again);
    return 0;
}
