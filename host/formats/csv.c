#include "formats/csv.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

void csv_clear(struct csv *csv)
{
    buf_clear(&csv->text);
    free(csv->cells);
    free(csv->columns);
    *csv = (struct csv){.kind = csv->kind, .names = csv->names, .name_count = csv->name_count};
}

static void start_record(struct csv *csv)
{
    buf_reset(&csv->text);
    csv->cell_count = 0;
    csv->is_open = false;
}

static struct csv_cell *add_cell(struct csv *csv)
{
    if (csv->cell_count == csv->cell_capacity) {
        csv->cell_capacity = csv->cell_capacity * 2 + 16;
        csv->cells = acc_realloc(csv->cells, csv->cell_capacity * sizeof(*csv->cells));
    }
    struct csv_cell *cell = &csv->cells[csv->cell_count++];
    *cell = (struct csv_cell){.at = csv->text.size};
    return cell;
}

static void end_cell(struct csv *csv)
{
    struct csv_cell *cell = &csv->cells[csv->cell_count - 1];

    cell->size = csv->text.size - cell->at;
}

/*
 * Text inside quotes from *at on, to the closing quote or the end of the line. True when it was
 * closed.
 */
static bool take_quoted(struct csv *csv, const char *line, size_t size, size_t *at)
{
    while (*at < size) {
        const char *quote = memchr(line + *at, '"', size - *at);
        size_t end = quote == NULL ? size : (size_t)(quote - line);

        buf_add(&csv->text, line + *at, end - *at);
        *at = end + 1;
        if (quote == NULL)
            return false;
        if (*at >= size || line[*at] != '"')
            return true;
        buf_byte(&csv->text, '"');
        (*at)++;
    }
    return false;
}

/* Text without quotes, to the comma or the end of the line. */
static bool take_plain(struct csv *csv, const char *line, size_t size, size_t *at,
                       struct acc_error *err)
{
    const char *comma = memchr(line + *at, ',', size - *at);
    size_t end = comma == NULL ? size : (size_t)(comma - line);

    if (memchr(line + *at, '"', end - *at) != NULL)
        return acc_fail(err, ACC_EINPUT,
                        "value %zu: a quote inside a value that does not begin with one",
                        csv->cell_count);
    buf_add(&csv->text, line + *at, end - *at);
    *at = end;
    return true;
}

/*
 * Cuts a line into cells. False with err when it is not CSV; csv->is_open when it ends inside
 * quotes.
 */
static bool split(struct csv *csv, const char *line, size_t size, struct acc_error *err)
{
    size_t plain_size =
        size > 0 && line[size - 1] == '\r' ? size - 1 : size; /* inside quotes \r is data */
    size_t at = 0;
    bool in_quotes = csv->is_open;

    for (;;) {
        if (!in_quotes) {
            struct csv_cell *cell = add_cell(csv);

            cell->is_quoted = in_quotes = at < plain_size && line[at] == '"';
            at += in_quotes;
        }
        if (in_quotes) {
            csv->is_open = !take_quoted(csv, line, size, &at);
            if (csv->is_open)
                return true;
            in_quotes = false;
        } else if (!take_plain(csv, line, plain_size, &at, err)) {
            return false;
        }
        end_cell(csv);
        if (at >= plain_size)
            return true;
        if (line[at] != ',')
            return acc_fail(err, ACC_EINPUT,
                            "value %zu: wanted a comma after the closing quote, got \"%.1s\"",
                            csv->cell_count, line + at);
        at++;
    }
}

/* The field of a column by its name in the header; -1: left out; -2: err says why not. */
static int field_of(struct csv *csv, const char *name, size_t size, struct acc_error *err)
{
    char copy[KIND_NAME_MAX + 2];
    size_t kept = size < sizeof(copy) - 1 ? size : sizeof(copy) - 1;
    int field;

    for (size_t i = 0; i < csv->name_count; i++) {
        struct csv_name *mapped = &csv->names[i];

        if (strlen(mapped->column) != size || memcmp(mapped->column, name, size) != 0)
            continue;
        mapped->is_met = true;
        if (mapped->field[0] == '\0')
            return -1;
        field = values_field(csv->kind, mapped->field, err);
        return field < 0 ? -2 : field;
    }
    memcpy(copy, name, kept);
    copy[kept] = '\0';
    field = values_field(csv->kind, copy, err);
    return field < 0 ? -2 : field;
}

/* Fields of the columns into columns, which has room for all. */
static bool read_columns(struct csv *csv, int16_t *columns, struct acc_error *err)
{
    uint64_t given = 0;
    struct acc_row unused = {0};

    for (size_t c = 0; c < csv->cell_count; c++) {
        const struct csv_cell *cell = &csv->cells[c];
        int field = field_of(csv, csv->text.data + cell->at, cell->size, err);

        if (field == -2)
            return acc_fail_prefix(err, "header: column %zu", c + 1);
        if (field >= 0 && (given >> field & 1) != 0)
            return acc_fail(err, ACC_EINPUT, "header: column %zu: field \"%s\" is there twice",
                            c + 1, csv->kind->fields[field].name);
        if (field >= 0)
            given |= UINT64_C(1) << field;
        columns[c] = (int16_t)field;
    }
    for (size_t i = 0; i < csv->name_count; i++)
        if (!csv->names[i].is_met)
            return acc_fail(err, ACC_EINPUT, "header: there is no column %s to map",
                            log_quote(csv->names[i].column));
    return values_complete(csv->kind, given, &unused, err) || acc_fail_prefix(err, "header");
}

static bool read_header(struct csv *csv, struct acc_error *err)
{
    int16_t *columns = acc_alloc((csv->cell_count + 1) * sizeof(*columns));

    for (size_t i = 0; i < csv->name_count; i++)
        csv->names[i].is_met = false;
    if (!read_columns(csv, columns, err)) {
        free(columns);
        return false;
    }
    csv->columns = columns;
    csv->column_count = csv->cell_count;
    return true;
}

static bool fill(const struct csv *csv, const struct values_target *target, struct acc_row *row,
                 struct acc_error *err)
{
    uint64_t given = 0;

    if (csv->cell_count != csv->column_count)
        return acc_fail(err, ACC_EINPUT, "wanted %zu values as in the header, got %zu",
                        csv->column_count, csv->cell_count);
    for (size_t c = 0; c < csv->column_count; c++) {
        const struct csv_cell *cell = &csv->cells[c];
        size_t field = (size_t)csv->columns[c];

        if (csv->columns[c] < 0)
            continue;
        bool is_null = cell->size == 0 && !cell->is_quoted && csv->kind->fields[field].is_nullable;

        if (is_null ? !values_set_null(csv->kind, field, row, err)
                    : !values_set_text(target, csv->kind, field, csv->text.data + cell->at,
                                       cell->size, row, err))
            return false;
        given |= UINT64_C(1) << field;
    }
    return values_complete(csv->kind, given, row, err);
}

static enum csv_result end_record(struct csv *csv, const struct values_target *target,
                                  struct acc_error *err)
{
    if (csv->column_count == 0)
        return read_header(csv, err) ? CSV_NONE : CSV_FAILED;

    struct acc_rows *rows = target->rows(target->context, csv->kind);
    struct acc_row *row = rows_add(rows, err);
    if (row == NULL)
        return CSV_FAILED;
    if (fill(csv, target, row, err))
        return CSV_FACT;
    rows->count--;
    return err->code == ACC_EINPUT ? CSV_BAD : CSV_FAILED;
}

enum csv_result csv_line(struct csv *csv, const struct values_target *target, const char *line,
                         size_t size, struct acc_error *err)
{
    int64_t record_max =
        target->value_bytes + 65536; /* else a quote that is never closed swallows the file */

    if (csv->is_open) {
        buf_byte(&csv->text, '\n');
    } else {
        start_record(csv);
        if (size == 0 || (size == 1 && line[0] == '\r'))
            return CSV_NONE;
        buf_reserve(&csv->text, 1); /* data is never NULL, even when all values are empty */
    }
    if (!split(csv, line, size, err)) {
        csv->is_open = false;
        return csv->column_count == 0 ? CSV_FAILED : CSV_BAD;
    }
    if (!csv->is_open)
        return end_record(csv, target, err);
    if ((int64_t)csv->text.size <= record_max)
        return CSV_MORE;
    csv->is_open = false;
    acc_fail(err, ACC_EINPUT,
             "a quote is open for %zu bytes, at most %lld are taken (ingest.value)", csv->text.size,
             (long long)record_max);
    return CSV_BAD;
}

enum csv_result csv_end(const struct csv *csv, struct acc_error *err)
{
    if (csv->is_open) {
        acc_fail(err, ACC_EINPUT, "value %zu: the quote is never closed", csv->cell_count);
        return CSV_BAD;
    }
    if (csv->column_count == 0) {
        acc_fail(err, ACC_EINPUT, "wanted a header line with field names, got nothing");
        return CSV_FAILED;
    }
    return CSV_NONE;
}
