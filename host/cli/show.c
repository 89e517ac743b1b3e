#include "cli/show.h"

#include "base/hash.h"
#include "base/log.h"
#include "formats/dump_json.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 10
#define CANDIDATE_WIDTH 100

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
    fact_json(fact->kind, fact->row, &json);
    fact_legible(json.data, json.size, CANDIDATE_WIDTH, &line);
    fprintf(stderr, "  %s %s %s\n", fact_id_text(fact->row->id), fact->kind->name, line.data);
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
