/* accrete index: lists the indexes of facts, and builds those of the explorer. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "indexes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Listing */

static void add_bytes(int64_t bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    buf_printf(out, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void add_cell(struct show_table *table, const char *text)
{
    show_table_cell(table, text, strlen(text));
}

static void add_row(struct show_table *table, json_t *index)
{
    static const char *const names[] = {"kind", "purpose", "columns", "method", "state", "bytes"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *value = json_object_get(index, names[i]);
        struct buf cell = {0};
        json_t *column;
        size_t c;

        buf_add(&cell, "", 0);
        json_array_foreach(value, c, column)
        {
            buf_printf(&cell, "%s%s", c == 0 ? "" : ", ", json_string_value(column));
        }
        if (json_is_integer(value))
            add_bytes(json_integer_value(value), &cell);
        else if (json_is_string(value))
            buf_text(&cell,
                     json_string_value(value)[0] == '\0' ? "batches" : json_string_value(value));
        show_table_cell(table, cell.data, cell.size);
        buf_clear(&cell);
    }
}

static int print_list(struct cli *cli, json_t *list)
{
    static const char *const heads[] = {"kind", "purpose", "columns", "method", "state", "size"};
    static const bool is_right[] = {false, false, false, false, false, true};
    struct show_table table = {.column_count = sizeof(heads) / sizeof(heads[0])};
    json_t *index;
    size_t i;

    for (size_t c = 0; c < table.column_count; c++)
        add_cell(&table, heads[c]);
    json_array_foreach(list, i, index)
    {
        add_row(&table, index);
    }
    show_table_print(&table, is_right);
    show_table_clear(&table);
    json_decref(list);
    return cli_flush(cli, CLI_DONE);
}

static int list(struct cli *cli, struct work *work)
{
    struct acc_error err;
    json_t *list;
    int exit_code;

    if (!show_has_facts(cli, work, NULL, &exit_code))
        return exit_code;
    list = indexes_list(&work->session.pg, &work->program.catalog, &err);
    if (list == NULL)
        return cli_fail(cli, &err);
    return cli_has(cli, "json") ? cli_print_json(cli, list) : print_list(cli, list);
}

/* Building */

static void tell(void *context, const char *name, const char *table, size_t number, size_t total,
                 bool is_done, bool is_new, int64_t took_us)
{
    struct cli *cli = context;

    if (cli_has(cli, "quiet") || (!is_done && !isatty(STDERR_FILENO)))
        return;
    fprintf(stderr, "%s%zu/%zu  %s on %s", isatty(STDERR_FILENO) ? "\r\033[K" : "", number, total,
            name, table);
    if (!is_done)
        fprintf(stderr, " ...");
    else if (is_new)
        fprintf(stderr, "  %.1f s\n", (double)took_us / 1e6);
    else
        fprintf(stderr, "  is there\n");
    fflush(stderr);
}

static int build(struct cli *cli, struct work *work)
{
    struct index_progress progress = {cli, tell};
    struct acc_error err;
    int exit_code;

    if (!show_has_facts(cli, work, NULL, &exit_code))
        return exit_code;
    if (!indexes_build_explorer(&work->session.pg, work->app.schema, &work->program.catalog,
                                &progress, &err))
        return cli_fail(cli, &err);
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    bool is_build = cli->argc == 1;
    struct work work;
    int exit_code;

    if (is_build && strcmp(cli->argv[0], "explorer") != 0)
        return cli_misuse(cli, "wanted \"explorer\" or nothing, got \"%s\"", cli->argv[0]);
    if (is_build && cli_has(cli, "json"))
        return cli_misuse(cli, "--json: only for the list of indexes");
    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, is_build ? 0 : WORK_READ, &exit_code))
        exit_code = is_build ? build(cli, &work) : list(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_index = {
    .name = "index",
    .summary = "lists the indexes of facts, or builds those of the explorer",
    .usage = "[explorer]",
    .help = "Each kind has the index of its ids and one for each declared look-up; accrete keeps "
            "them.\n"
            "Those of the explorer make accrete facts --order newest and accrete explain --down\n"
            "quick. They cost time with every new fact, so they are built on demand, at best when\n"
            "the facts are in; nothing is blocked meanwhile. Building again does what is missing.",
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"explorer", CLI_TEXT, "builds them"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"quiet", 'q', CLI_SWITCH, .help = "no progress"},
            {"json", 0, CLI_SWITCH, .help = "the list, with names and sizes in bytes"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete index", "what there is, and its size"},
            {"accrete index explorer", "what was found last, and what came of a fact, at once"},
            {0},
        },
    .run = run,
};
