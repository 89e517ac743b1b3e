#include "formats/csv.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

void csv_clear(struct csv *csv)
{
    cells_clear(&csv->cells);
    free(csv->columns);
    *csv = (struct csv){.kind = csv->kind, .names = csv->names, .name_count = csv->name_count};
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

    for (size_t c = 0; c < csv->cells.count; c++) {
        int field = field_of(csv, cells_text(&csv->cells, c), csv->cells.list[c].size, err);

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
    int16_t *columns = acc_alloc((csv->cells.count + 1) * sizeof(*columns));

    for (size_t i = 0; i < csv->name_count; i++)
        csv->names[i].is_met = false;
    if (!read_columns(csv, columns, err)) {
        free(columns);
        return false;
    }
    csv->columns = columns;
    csv->column_count = csv->cells.count;
    return true;
}

static bool fill(const struct csv *csv, const struct values_target *target, struct acc_row *row,
                 struct acc_error *err)
{
    uint64_t given = 0;

    if (csv->cells.count != csv->column_count)
        return acc_fail(err, ACC_EINPUT, "wanted %zu values as in the header, got %zu",
                        csv->column_count, csv->cells.count);
    for (size_t c = 0; c < csv->column_count; c++) {
        const struct cell *cell = &csv->cells.list[c];
        size_t field = (size_t)csv->columns[c];

        if (csv->columns[c] < 0)
            continue;
        bool is_null = cell->size == 0 && !cell->is_quoted && csv->kind->fields[field].is_nullable;

        if (is_null ? !values_set_null(csv->kind, field, row, err)
                    : !values_set_text(target, csv->kind, field, cells_text(&csv->cells, c),
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

    switch (cells_line(&csv->cells, line, size, err)) {
    case CELLS_RECORD:
        return end_record(csv, target, err);
    case CELLS_NONE:
        return CSV_NONE;
    case CELLS_BAD:
        acc_fail_prefix(err, "value %zu", csv->cells.count);
        return csv->column_count == 0 ? CSV_FAILED : CSV_BAD;
    case CELLS_MORE:
        break;
    }
    if ((int64_t)csv->cells.text.size <= record_max)
        return CSV_MORE;
    csv->cells.is_open = false;
    acc_fail(err, ACC_EINPUT,
             "a quote is open for %zu bytes, at most %lld are taken (ingest.value)",
             csv->cells.text.size, (long long)record_max);
    return CSV_BAD;
}

enum csv_result csv_end(const struct csv *csv, struct acc_error *err)
{
    if (csv->cells.is_open) {
        acc_fail(err, ACC_EINPUT, "value %zu: the quote is never closed", csv->cells.count);
        return CSV_BAD;
    }
    if (csv->column_count == 0) {
        acc_fail(err, ACC_EINPUT, "wanted a header line with field names, got nothing");
        return CSV_FAILED;
    }
    return CSV_NONE;
}
