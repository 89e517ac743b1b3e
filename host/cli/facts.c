/* accrete facts: pages of facts of one kind, filtered and ordered. */
#include "cli/commands.h"
#include "cli/show.h"
#include "formats/values.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_DEFAULT 20
#define LIMIT_MAX 1000000000
#define STREAM_PAGE 1000 /* facts of one statement when they are written as they come */
#define CELL_WIDTH 40    /* characters of a value on a terminal */
#define TIMEOUT_MS 10000

enum format { AS_TABLE, AS_JSON, AS_NDJSON, AS_CSV };

struct listing {
    struct cli *cli;
    struct work *work;
    struct explorer_query query;
    struct filters filters;
    struct columns columns;
    enum format format;
    struct acc_heap heap;
    struct buf line;
    struct show_table table;
    bool is_cut; /* values of the table are */
    uint8_t first[16], last[16], cursor[16];
    int64_t count;
    bool is_more;
};

/* Each fact as it comes */

static void add_object(struct listing *listing, const struct explorer_fact *fact)
{
    const struct columns *columns = &listing->columns;

    buf_byte(&listing->line, '{');
    for (size_t c = 0; c < columns->count; c++) {
        const char *name = columns_name(columns, c);

        buf_printf(&listing->line, "%s\"%s\":", c == 0 ? "" : ",", name);
        columns_json(columns, c, fact, &listing->line);
    }
    buf_byte(&listing->line, '}');
}

static void add_cells(struct listing *listing, const struct explorer_fact *fact)
{
    const struct columns *columns = &listing->columns;

    for (size_t c = 0; c < columns->count; c++) {
        struct buf cell = {0};

        buf_reset(&listing->line);
        columns_text(columns, c, fact, &listing->line);
        if (columns->list[c].what == COLUMN_ID)
            listing->line.size = SHOW_ID_DIGITS;
        buf_add(&cell, "", 0);
        fact_legible(listing->line.data, listing->line.size, listing->is_cut ? CELL_WIDTH : 0,
                     &cell);
        show_table_cell(&listing->table, cell.data, cell.size);
        buf_clear(&cell);
    }
}

static bool show_fact(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct listing *listing = context;

    (void)err;
    if (listing->count++ == 0)
        memcpy(listing->first, fact->row->id, 16);
    memcpy(listing->last, fact->row->id, 16);
    buf_reset(&listing->line);
    switch (listing->format) {
    case AS_TABLE:
        add_cells(listing, fact);
        return true;
    case AS_CSV:
        columns_csv_row(&listing->columns, fact, &listing->line);
        break;
    case AS_NDJSON:
        add_object(listing, fact);
        buf_byte(&listing->line, '\n');
        break;
    case AS_JSON:
        if (listing->count > 1)
            buf_text(&listing->line, ",");
        add_object(listing, fact);
        break;
    }
    fwrite(listing->line.data, 1, listing->line.size, stdout);
    return true;
}

/* Around them */

static void print_head(struct listing *listing)
{
    const struct columns *columns = &listing->columns;

    if (listing->format == AS_JSON)
        printf("{\"kind\":\"%s\",\"facts\":[", columns->kind->name);
    listing->table.column_count = columns->count;
    for (size_t c = 0; c < columns->count && listing->format == AS_TABLE; c++) {
        const char *name = columns_name(columns, c);

        show_table_cell(&listing->table, name, strlen(name));
    }
    if (listing->format == AS_CSV) {
        buf_reset(&listing->line);
        columns_csv_head(columns, &listing->line);
        fwrite(listing->line.data, 1, listing->line.size, stdout);
    }
}

static void print_table(struct listing *listing)
{
    bool is_right[KIND_FIELDS_MAX + 3] = {0};

    for (size_t c = 0; c < listing->columns.count; c++) {
        const struct column *column = &listing->columns.list[c];
        const struct field *field = &listing->columns.kind->fields[column->field];

        is_right[c] = column->what == COLUMN_FIELD && !field->is_array &&
                      (field->type == FIELD_INT8 || field->type == FIELD_FLOAT8);
    }
    show_table_print(&listing->table, is_right);
}

static void print_tail(struct listing *listing)
{
    bool is_before = listing->query.is_before;

    if (listing->format == AS_JSON) {
        printf("],\"is_more\":%s", listing->is_more ? "true" : "false");
        if (listing->count > 0)
            printf(",\"first\":\"%s\",\"last\":\"%s\"", fact_id_text(listing->first),
                   fact_id_text(listing->last));
        printf("}\n");
    }
    if (listing->format == AS_TABLE) {
        print_table(listing);
        if (listing->is_more)
            cli_note(listing->cli, "there are more: --%s %s", is_before ? "before" : "after",
                     fact_id_text(is_before ? listing->first : listing->last));
    }
}

static int list(struct listing *listing)
{
    struct explorer_visit visit = {listing, show_fact};
    int64_t wanted = cli_number(listing->cli, "limit", LIMIT_DEFAULT);
    int64_t page = wanted > EXPLORER_PAGE_MAX ? STREAM_PAGE : wanted;
    struct acc_error err;
    bool ok;

    print_head(listing);
    do { /* each page is a statement of its own */
        listing->query.limit = wanted - listing->count < page ? wanted - listing->count : page;
        ok = explorer_page(&listing->work->session.pg, &listing->query, &listing->heap, &visit,
                           &listing->is_more, &err);
        memcpy(listing->cursor, listing->last, 16);
        listing->query.cursor = listing->cursor;
    } while (ok && listing->is_more && listing->count < wanted);
    if (!ok)
        return cli_fail(listing->cli, &err);
    print_tail(listing);
    return cli_flush(listing->cli, CLI_DONE);
}

/* Arguments */

static bool choose_format(struct listing *listing)
{
    static const char *const names[] = {"json", "ndjson", "csv"};
    struct cli *cli = listing->cli;

    for (int i = 0; i < 3; i++) {
        if (!cli_has(cli, names[i]))
            continue;
        if (listing->format != AS_TABLE) {
            cli_misuse(cli, "--json, --ndjson and --csv exclude each other");
            return false;
        }
        listing->format = (enum format)(AS_JSON + i);
    }
    if (cli_has(cli, "after") && cli_has(cli, "before")) {
        cli_misuse(cli, "--after and --before exclude each other");
        return false;
    }
    if (cli_number(cli, "limit", LIMIT_DEFAULT) > EXPLORER_PAGE_MAX &&
        (cli_has(cli, "before") || listing->format == AS_TABLE || listing->format == AS_JSON)) {
        cli_misuse(cli, "--limit: above %d only with --ndjson or --csv, and not with --before",
                   EXPLORER_PAGE_MAX);
        return false;
    }
    return true;
}

static bool read_arguments(struct listing *listing)
{
    struct cli *cli = listing->cli;
    struct values_target names = {.catalog = &listing->work->program.catalog};
    const char *order = cli_value(cli, "order");
    struct acc_error err;
    const struct kind *kind = values_kind(&names, cli->argv[0], &err);
    const char *what = NULL;

    if (kind == NULL) {
        cli_misuse(cli, "%s", err.text);
        return false;
    }
    listing->query.kind = kind;
    if (order != NULL && !explorer_order(&listing->query, order, &err))
        what = "order";
    else if (!columns_read(&listing->columns, kind, cli_value(cli, "fields"), &err))
        what = "fields";
    if (what != NULL) {
        cli_misuse(cli, "--%s: %s", what, err.text);
        return false;
    }
    if (!choose_format(listing) || !show_filters(cli, listing->work, &listing->filters, kind))
        return false;
    listing->query.filters = &listing->filters;
    listing->is_cut = isatty(STDOUT_FILENO) == 1;
    return true;
}

/* The fact that the page begins behind. */
static bool find_cursor(struct listing *listing, int *exit_code)
{
    struct cli *cli = listing->cli;

    listing->query.is_before = cli_has(cli, "before");
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "after" : "before";

        if (!cli_has(cli, name))
            continue;
        if (!show_resolve(cli, listing->work, listing->query.kind, i == 0 ? "--after" : "--before",
                          cli_value(cli, name), listing->cursor, exit_code))
            return false;
        listing->query.cursor = listing->cursor;
    }
    return true;
}

static int list_in(struct listing *listing)
{
    struct work *work = listing->work;
    bool has_table = false;
    struct acc_error err;
    int exit_code;

    if (work->has_tables &&
        !explorer_has_table(&work->session.pg, listing->query.kind, &has_table, &err))
        return cli_fail(listing->cli, &err);
    if (!has_table) { /* where nothing was stored yet there are no facts */
        print_head(listing);
        print_tail(listing);
        return cli_flush(listing->cli, CLI_DONE);
    }
    if (!explorer_begin(&work->session.pg, cli_number(listing->cli, "timeout", TIMEOUT_MS), &err))
        return cli_fail(listing->cli, &err);
    return find_cursor(listing, &exit_code) ? list(listing) : exit_code;
}

static int run(struct cli *cli)
{
    struct work work;
    struct listing listing = {.cli = cli, .work = &work};
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    heap_init(&listing.heap, 0);
    if (!read_arguments(&listing))
        exit_code = CLI_MISUSE;
    else if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = list_in(&listing);
    filters_clear(&listing.filters);
    show_table_clear(&listing.table);
    buf_clear(&listing.line);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_facts = {
    .name = "facts",
    .summary = "lists facts of a kind, filtered and ordered, page by page",
    .usage = "KIND",
    .help =
        "A filter is FIELD~OP~VALUE; several must all hold. Operators, by the field's type:\n"
        "  eq ne                every type; ne takes NULL as different\n"
        "  lt le gt ge          int8 float8 text bytes uuid; text by its bytes\n"
        "  prefix contains      text bytes; contains also json, as text\n"
        "  has                  arrays: one element is the value\n"
        "  null notnull         nullable fields, without a value: FIELD~null\n"
        "Values are written as in CSV: bytes as hex, json and arrays as JSON.\n"
        "\n"
        "Filters by eq on the fields of a look-up, and on all unique fields, are answered by an\n"
        "index (accrete index lists them); others search the kind, for at most --timeout.\n"
        "Newest first is quick after accrete index explorer. In CSV a text that begins with\n"
        "= + - @ gets a ' in front, so that no spreadsheet runs it; NDJSON keeps it as it is.",
    .argc_min = 1,
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "the kind of the facts"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"filter", 'f', CLI_TEXT, "FIELD~OP~VALUE",
             .help = "only facts for which this holds; may be repeated"},
            {"order", 'o', CLI_TEXT, "ORDER",
             .help = "id, the default; newest; FIELD or FIELD~desc, NULL last"},
            {"limit", 'n', CLI_COUNT, "N", .min = 1, .max = LIMIT_MAX,
             .help = "at most so many, 20 by default"},
            {"after", 0, CLI_TEXT, "ID", .help = "the page behind this fact, in that order"},
            {"before", 0, CLI_TEXT, "ID", .help = "the page in front of it"},
            {"fields", 0, CLI_TEXT, "A,B",
             .help = "these fields; also _id, _at and _by (who found it)"},
            {"json", 0, CLI_SWITCH, .help = "one object with facts, is_more, first and last"},
            {"ndjson", 0, CLI_SWITCH, .help = "one object a line"},
            {"csv", 0, CLI_SWITCH, .help = "with a head; NULL is empty, an empty text \"\""},
            {"timeout", 0, CLI_TIME, "TIME", .help = "for one page, 10s by default; 0s: none"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete facts path -f from~eq~1 -f to~gt~10", "some paths"},
            {"accrete facts path --order newest --fields from,to,_by,_at", "what came last"},
            {"accrete facts path -n 1000000 --csv > paths.csv", "many of them"},
            {0},
        },
    .run = run,
};
