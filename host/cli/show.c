#include "cli/show.h"

#include "base/hash.h"
#include "base/log.h"
#include "formats/dump_json.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 10
#define CANDIDATE_WIDTH 100

static const char *const system_columns[] = {
    [SHOW_ID] = "_id", [SHOW_AT] = "_at", [SHOW_BY] = "_by"};

/* Columns */

static bool add_named(struct show_columns *columns, const char *name, struct acc_error *err)
{
    const struct kind *kind = columns->kind;
    const char *names[KIND_FIELDS_MAX + 3];
    struct show_column column = {SHOW_FIELD, 0};
    int field = kind_field(kind, name);

    if (columns->count == KIND_FIELDS_MAX + 3)
        return acc_fail(err, ACC_EINPUT, "more than %d fields", KIND_FIELDS_MAX + 3);
    for (int what = SHOW_ID; field < 0 && what <= SHOW_BY; what++)
        if (strcmp(system_columns[what], name) == 0)
            column.what = what;
    if (field >= 0)
        column.field = (size_t)field;
    if (field >= 0 || column.what != SHOW_FIELD) {
        columns->list[columns->count++] = column;
        return true;
    }
    for (size_t f = 0; f < kind->field_count; f++)
        names[f] = kind->fields[f].name;
    memcpy(names + kind->field_count, system_columns + SHOW_ID, 3 * sizeof(names[0]));
    const char *nearest = name_suggest(name, names, kind->field_count + 3);
    return acc_fail(err, ACC_EINPUT,
                    nearest == NULL ? "kind \"%s\" has no field %s"
                                    : "kind \"%s\" has no field %s, did you mean \"%s\"?",
                    kind->name, log_quote(name), nearest);
}

bool show_columns_read(struct show_columns *columns, const struct kind *kind, const char *text,
                       struct acc_error *err)
{
    bool ok = true;

    *columns = (struct show_columns){.kind = kind};
    if (text == NULL) {
        columns->list[columns->count++].what = SHOW_ID;
        for (size_t f = 0; f < kind->field_count; f++)
            columns->list[columns->count++] = (struct show_column){SHOW_FIELD, f};
        return true;
    }
    for (const char *at = text; ok && at != NULL;) {
        const char *comma = strchr(at, ',');
        char *name = comma == NULL ? acc_strdup(at) : acc_format("%.*s", (int)(comma - at), at);

        ok = add_named(columns, name, err);
        free(name);
        at = comma == NULL ? NULL : comma + 1;
    }
    return ok;
}

const char *show_column_name(const struct show_columns *columns, size_t c)
{
    const struct show_column *column = &columns->list[c];

    return column->what == SHOW_FIELD ? columns->kind->fields[column->field].name
                                      : system_columns[column->what];
}

/* Values */

const char *show_id(const uint8_t *id)
{
    static char kept[4][33];
    static unsigned next;
    char *out = kept[next++ % 4];

    hex_encode(id, 16, out);
    return out;
}

/* A system column's text; NULL: it has none. */
static const char *system_text(const struct show_column *column, const struct explorer_fact *fact)
{
    if (column->what == SHOW_ID)
        return show_id(fact->row->id);
    return column->what == SHOW_AT ? fact->at : fact->lifecycle;
}

static bool is_null(const struct show_column *column, const struct explorer_fact *fact)
{
    return column->what == SHOW_FIELD ? row_is_null(fact->row, column->field)
                                      : system_text(column, fact) == NULL;
}

void show_json(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
               struct buf *out)
{
    const struct show_column *column = &columns->list[c];

    if (column->what == SHOW_FIELD) {
        dump_json_field(out, fact->kind, fact->row, column->field);
        return;
    }
    const char *text = system_text(column, fact);
    if (text == NULL)
        buf_text(out, "null");
    else
        dump_json_text(out, text, strlen(text));
}

static bool is_text(const struct show_columns *columns, size_t c)
{
    const struct show_column *column = &columns->list[c];
    const struct field *field = &columns->kind->fields[column->field];

    return column->what == SHOW_FIELD && field->type == FIELD_TEXT && !field->is_array;
}

/* A JSON string of ASCII without escapes, as uuids and bytes are, loses its quotes. */
static void add_unquoted(const struct buf *json, struct buf *out)
{
    bool is_string = json->size >= 2 && json->data[0] == '"';

    buf_add(out, json->data + is_string, json->size - 2 * (size_t)is_string);
}

void show_csv(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
              struct buf *out)
{
    const struct show_column *column = &columns->list[c];
    struct buf cell = {0};

    if (is_null(column, fact))
        return;
    if (is_text(columns, c)) {
        const struct acc_span *span = row_span(fact->row, column->field);

        /* A spreadsheet would take it for a formula. */
        if (span->size > 0 && strchr("=+-@\t\r", *heap_at(span)) != NULL)
            buf_byte(&cell, '\'');
        buf_add(&cell, heap_at(span), span->size);
    } else if (column->what == SHOW_FIELD &&
               (columns->kind->fields[column->field].is_array ||
                columns->kind->fields[column->field].type == FIELD_JSON)) {
        dump_json_field(&cell, fact->kind, fact->row, column->field);
    } else {
        struct buf json = {0};

        show_json(columns, c, fact, &json);
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

void show_legible(const char *text, size_t size, size_t width, struct buf *out)
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

void show_text(const struct show_columns *columns, size_t c, const struct explorer_fact *fact,
               struct buf *out)
{
    struct buf json = {0};
    struct buf plain = {0};

    buf_add(out, "", 0);
    show_json(columns, c, fact, &json);
    if (!is_null(&columns->list[c], fact)) {
        add_unquoted(&json, &plain);
        show_legible(plain.data, plain.size, 0, out);
    }
    buf_clear(&json);
    buf_clear(&plain);
}

void show_fields_json(const struct kind *kind, const struct acc_row *row, struct buf *out)
{
    size_t start = out->size;

    dump_json_fields(out, kind, row); /* begins with a comma, which the brace replaces */
    if (out->size == start)
        buf_text(out, ",");
    out->data[start] = '{';
    buf_byte(out, '}');
}

/* Tables */

static size_t width_of(const char *text, size_t size)
{
    size_t width = 0;

    for (size_t i = 0; i < size; i++)
        width += ((uint8_t)text[i] & 0xc0) != 0x80;
    return width;
}

void show_table_cell(struct show_table *table, const char *text, size_t size)
{
    if (table->cell_count == table->cell_capacity) {
        table->cell_capacity = table->cell_capacity * 2 + 64;
        table->cells = acc_realloc(table->cells, table->cell_capacity * sizeof(*table->cells));
    }
    table->cells[table->cell_count].at = table->text.size;
    table->cells[table->cell_count++].width = width_of(text, size);
    buf_add(&table->text, text, size);
    buf_byte(&table->text, '\0');
}

void show_table_print(const struct show_table *table, const bool *is_right)
{
    size_t columns = table->column_count;
    size_t *widths = acc_zalloc(columns * sizeof(*widths) + 1);
    bool is_bold = cli_is_coloured(stdout);

    for (size_t i = 0; i < table->cell_count; i++)
        if (table->cells[i].width > widths[i % columns])
            widths[i % columns] = table->cells[i].width;
    for (size_t i = 0; i < table->cell_count; i++) {
        const char *text = table->text.data + table->cells[i].at;
        size_t c = i % columns;
        int pad = (int)(widths[c] - table->cells[i].width);
        bool is_last = c + 1 == columns;

        if (is_bold && i == 0)
            printf("\033[1m");
        if (is_right[c])
            printf("%*s%s%s", pad, "", text, is_last ? "" : "  ");
        else
            printf("%s%*s%s", text, is_last ? 0 : pad, "", is_last ? "" : "  ");
        if (is_last)
            printf("%s\n", is_bold && i < columns ? "\033[0m" : "");
    }
    free(widths);
}

void show_table_clear(struct show_table *table)
{
    buf_clear(&table->text);
    free(table->cells);
    *table = (struct show_table){0};
}

/* Which fact is meant */

bool show_has_facts(struct cli *cli, struct work *work, const struct kind *kind, int *exit_code)
{
    struct acc_error err;
    bool has = true;

    if (!work->has_tables) {
        acc_fail(&err, ACC_EINPUT, "nothing is stored yet: accrete ingest loads facts");
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    if (kind != NULL && !explorer_has_table(&work->session.pg, kind, &has, &err)) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    if (!has) {
        acc_fail(&err, ACC_EINPUT,
                 "kind \"%s\" is new and has no table yet: accrete reload or the next accrete run "
                 "makes it",
                 kind->name);
        *exit_code = cli_fail(cli, &err);
    }
    return has;
}

static bool print_candidate(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct buf json = {0};
    struct buf line = {0};

    (void)context;
    (void)err;
    show_fields_json(fact->kind, fact->row, &json);
    show_legible(json.data, json.size, CANDIDATE_WIDTH, &line);
    fprintf(stderr, "  %s %s %s\n", show_id(fact->row->id), fact->kind->name, line.data);
    buf_clear(&json);
    buf_clear(&line);
    return true;
}

static int refuse_many(struct cli *cli, struct work *work, const char *digits, const uint8_t *ids,
                       size_t count)
{
    struct explorer_visit visit = {.fact = print_candidate};
    struct acc_heap heap;
    struct acc_error err;
    size_t shown = count > CANDIDATES_MAX ? CANDIDATES_MAX : count;

    heap_init(&heap, 0);
    cli_note(cli, "\"%s\" begins %s%zu ids, wanted more digits:", digits,
             count > shown ? "more than " : "", shown);
    if (!explorer_get(&work->session.pg, &work->program.catalog, ids, shown, &heap, &visit, &err))
        return cli_fail(cli, &err);
    return CLI_FAILED;
}

bool show_resolve(struct cli *cli, struct work *work, const struct kind *kind, const char *name,
                  const char *digits, uint8_t id[16], int *exit_code)
{
    struct catalog one = {.kinds = (struct kind *[]){(struct kind *)kind}, .count = 1};
    uint8_t ids[16 * (CANDIDATES_MAX + 1)];
    struct id_range range;
    struct acc_error err;
    size_t count;

    if (!id_range_read(digits, &range)) {
        *exit_code =
            cli_misuse(cli, "%s: wanted 4 to 32 hex digits, got %s", name, log_quote(digits));
        return false;
    }
    if (!explorer_find(&work->session.pg, kind == NULL ? &work->program.catalog : &one, &range,
                       CANDIDATES_MAX + 1, ids, &count, &err)) {
        *exit_code = cli_fail(cli, &err);
    } else if (count == 0) {
        acc_fail(&err, ACC_EINPUT, "no fact%s%s%s has an id that begins with \"%s\"",
                 kind == NULL ? "" : " of kind \"", kind == NULL ? "" : kind->name,
                 kind == NULL ? "" : "\"", digits);
        *exit_code = cli_fail(cli, &err);
    } else if (count > 1) {
        *exit_code = refuse_many(cli, work, digits, ids, count);
    } else {
        memcpy(id, ids, 16);
        return true;
    }
    return false;
}

bool show_filters(struct cli *cli, const struct work *work, struct filters *filters,
                  const struct kind *kind)
{
    struct acc_heap heap;
    struct acc_error err;
    const char *text;

    filters_init(filters, kind);
    heap_init(&heap, 0);
    for (size_t i = 0; (text = cli_nth(cli, "filter", i)) != NULL; i++) {
        if (!filters_add(filters, text, &heap, work->app.settings.ingest.value_bytes, &err)) {
            cli_misuse(cli, "%s", err.text);
            filters_clear(filters);
            return false;
        }
    }
    filters_finish(filters);
    return true;
}
