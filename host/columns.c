#include "columns.h"

#include "base/hash.h"
#include "base/log.h"
#include "formats/dump_json.h"

#include <stdlib.h>
#include <string.h>

static const char *const system_columns[] = {
    [COLUMN_ID] = "_id", [COLUMN_AT] = "_at", [COLUMN_BY] = "_by"};

/* Columns */

static bool add_named(struct columns *columns, const char *name, bool fields_only,
                      struct acc_error *err)
{
    const struct kind *kind = columns->kind;
    const char *names[KIND_FIELDS_MAX + 3];
    struct column column = {COLUMN_FIELD, 0};
    int field = kind_field(kind, name);

    if (columns->count == KIND_FIELDS_MAX + 3)
        return acc_fail(err, ACC_EINPUT, "more than %d fields", KIND_FIELDS_MAX + 3);
    for (int what = COLUMN_ID; field < 0 && !fields_only && what <= COLUMN_BY; what++)
        if (strcmp(system_columns[what], name) == 0)
            column.what = what;
    if (field >= 0)
        column.field = (size_t)field;
    if (field >= 0 || column.what != COLUMN_FIELD) {
        columns->list[columns->count++] = column;
        return true;
    }
    for (size_t f = 0; f < kind->field_count; f++)
        names[f] = kind->fields[f].name;
    memcpy(names + kind->field_count, system_columns + COLUMN_ID, 3 * sizeof(names[0]));
    const char *nearest = name_suggest(name, names, kind->field_count + (fields_only ? 0 : 3));
    return acc_fail(err, ACC_EINPUT,
                    nearest == NULL ? "kind \"%s\" has no field %s"
                                    : "kind \"%s\" has no field %s, did you mean \"%s\"?",
                    kind->name, log_quote(name), nearest);
}

static bool add_list(struct columns *columns, const char *text, bool fields_only,
                     struct acc_error *err)
{
    bool ok = true;

    for (const char *at = text; ok && at != NULL;) {
        const char *comma = strchr(at, ',');
        char *name = comma == NULL ? acc_strdup(at) : acc_format("%.*s", (int)(comma - at), at);

        ok = add_named(columns, name, fields_only, err);
        free(name);
        at = comma == NULL ? NULL : comma + 1;
    }
    return ok;
}

static void add_fields(struct columns *columns)
{
    for (size_t f = 0; f < columns->kind->field_count; f++)
        columns->list[columns->count++] = (struct column){COLUMN_FIELD, f};
}

bool columns_read(struct columns *columns, const struct kind *kind, const char *text,
                  struct acc_error *err)
{
    *columns = (struct columns){.kind = kind};
    if (text != NULL)
        return add_list(columns, text, false, err);
    columns->list[columns->count++].what = COLUMN_ID;
    add_fields(columns);
    return true;
}

bool columns_read_fields(struct columns *columns, const struct kind *kind, const char *text,
                         struct acc_error *err)
{
    uint64_t seen = 0;

    *columns = (struct columns){.kind = kind};
    if (text == NULL) {
        add_fields(columns);
        return true;
    }
    if (!add_list(columns, text, true, err))
        return false;
    for (size_t c = 0; c < columns->count; c++) {
        uint64_t bit = UINT64_C(1) << columns->list[c].field;

        if (seen & bit)
            return acc_fail(err, ACC_EINPUT, "\"%s\" is named twice", columns_name(columns, c));
        seen |= bit;
    }
    return true;
}

const char *columns_name(const struct columns *columns, size_t c)
{
    const struct column *column = &columns->list[c];

    return column->what == COLUMN_FIELD ? columns->kind->fields[column->field].name
                                        : system_columns[column->what];
}

/* Values */

const char *fact_id_text(const uint8_t *id)
{
    static char kept[4][33];
    static unsigned next;
    char *out = kept[next++ % 4];

    hex_encode(id, 16, out);
    return out;
}

/* A system column's text; NULL: it has none. */
static const char *system_text(const struct column *column, const struct explorer_fact *fact)
{
    if (column->what == COLUMN_ID)
        return fact_id_text(fact->row->id);
    return column->what == COLUMN_AT ? fact->at : fact->lifecycle;
}

static bool is_null(const struct column *column, const struct explorer_fact *fact)
{
    return column->what == COLUMN_FIELD ? row_is_null(fact->row, column->field)
                                        : system_text(column, fact) == NULL;
}

void columns_json(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                  struct buf *out)
{
    const struct column *column = &columns->list[c];

    if (column->what == COLUMN_FIELD) {
        dump_json_field(out, fact->kind, fact->row, column->field);
        return;
    }
    const char *text = system_text(column, fact);
    if (text == NULL)
        buf_text(out, "null");
    else
        dump_json_text(out, text, strlen(text));
}

static bool is_text(const struct columns *columns, size_t c)
{
    const struct column *column = &columns->list[c];
    const struct field *field = &columns->kind->fields[column->field];

    return column->what == COLUMN_FIELD && field->type == FIELD_TEXT && !field->is_array;
}

/* A JSON string of ASCII without escapes, as uuids and bytes are, loses its quotes. */
static void add_unquoted(const struct buf *json, struct buf *out)
{
    bool is_string = json->size >= 2 && json->data[0] == '"';

    buf_add(out, json->data + is_string, json->size - 2 * (size_t)is_string);
}

void columns_csv(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                 struct buf *out)
{
    const struct column *column = &columns->list[c];
    struct buf cell = {0};

    if (is_null(column, fact))
        return;
    if (is_text(columns, c)) {
        const struct acc_span *span = row_span(fact->row, column->field);

        /* A spreadsheet would take it for a formula. */
        if (span->size > 0 && strchr("=+-@\t\r", *heap_at(span)) != NULL)
            buf_byte(&cell, '\'');
        buf_add(&cell, heap_at(span), span->size);
    } else if (column->what == COLUMN_FIELD &&
               (columns->kind->fields[column->field].is_array ||
                columns->kind->fields[column->field].type == FIELD_JSON)) {
        dump_json_field(&cell, fact->kind, fact->row, column->field);
    } else {
        struct buf json = {0};

        columns_json(columns, c, fact, &json);
        add_unquoted(&json, &cell);
        buf_clear(&json);
    }
    if (cell.size > 0 && strpbrk(cell.data, ",\"\r\n") == NULL) {
        buf_add(out, cell.data, cell.size);
    } else {
        buf_byte(out, '"');
        for (size_t i = 0; i < cell.size; i++) {
            if (cell.data[i] == '"')
                buf_byte(out, '"');
            buf_byte(out, (uint8_t)cell.data[i]);
        }
        buf_byte(out, '"');
    }
    buf_clear(&cell);
}

void columns_csv_head(const struct columns *columns, struct buf *out)
{
    for (size_t c = 0; c < columns->count; c++)
        buf_printf(out, "%s%s", c == 0 ? "" : ",", columns_name(columns, c));
    buf_byte(out, '\n');
}

void columns_csv_row(const struct columns *columns, const struct explorer_fact *fact,
                     struct buf *out)
{
    for (size_t c = 0; c < columns->count; c++) {
        if (c > 0)
            buf_byte(out, ',');
        columns_csv(columns, c, fact, out);
    }
    buf_byte(out, '\n');
}

void fact_legible(const char *text, size_t size, size_t width, struct buf *out)
{
    size_t shown = 0;

    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];

        if ((byte & 0xc0) != 0x80 && width > 0 && ++shown > width) {
            buf_text(out, "...");
            return;
        }
        if (byte < 0x20 || byte == 0x7f) {
            buf_byte(out, '?');
        } else if (byte == 0xc2 && i + 1 < size && (uint8_t)text[i + 1] < 0xa0) {
            buf_byte(out, '?'); /* a control character of two bytes */
            i++;
        } else {
            buf_byte(out, byte);
        }
    }
}

void columns_text(const struct columns *columns, size_t c, const struct explorer_fact *fact,
                  struct buf *out)
{
    struct buf json = {0};
    struct buf plain = {0};

    buf_add(out, "", 0);
    columns_json(columns, c, fact, &json);
    if (!is_null(&columns->list[c], fact)) {
        add_unquoted(&json, &plain);
        fact_legible(plain.data, plain.size, 0, out);
    }
    buf_clear(&json);
    buf_clear(&plain);
}

void fact_json(const struct kind *kind, const struct acc_row *row, struct buf *out)
{
    size_t start = out->size;

    dump_json_fields(out, kind, row); /* begins with a comma, which the brace replaces */
    if (out->size == start)
        buf_text(out, ",");
    out->data[start] = '{';
    buf_byte(out, '}');
}

/* A text without quotes, as it is; anything else as JSON. */
static void add_plain(const struct kind *kind, const struct acc_row *row, size_t field,
                      struct buf *out)
{
    const struct field *type = &kind->fields[field];
    struct buf json = {0};

    if (type->type == FIELD_TEXT && !type->is_array) {
        buf_add(out, heap_at(row_span(row, field)), row_span(row, field)->size);
        return;
    }
    dump_json_field(&json, kind, row, field);
    if (type->type == FIELD_JSON || type->is_array)
        buf_add(out, json.data, json.size);
    else
        add_unquoted(&json, out);
    buf_clear(&json);
}

void fact_label(const struct kind *kind, const struct acc_row *row, struct buf *out)
{
    struct buf plain = {0};

    buf_add(out, "", 0);
    for (size_t f = 0; f < kind->field_count && plain.size <= 4 * FACT_LABEL_WIDTH; f++) {
        if (row_is_null(row, f))
            continue;
        if (plain.size > 0)
            buf_byte(&plain, ' ');
        add_plain(kind, row, f, &plain);
    }
    fact_legible(plain.data, plain.size, FACT_LABEL_WIDTH, out);
    buf_clear(&plain);
}
