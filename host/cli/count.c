/* accrete count: how many facts there are, exactly and at once; or how many pass filters. */
#include "cli/commands.h"
#include "cli/show.h"
#include "formats/values.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BOUND 1000000 /* facts that filters are tried to count to */
#define TIMEOUT_MS 10000

/* Facts of every kind by name, from the tallies: exact, and no table is scanned. */
static json_t *read_counts(struct cli *cli, struct work *work, int *exit_code)
{
    static const char sql[] =
        "SELECT k.name, coalesce(sum(t.new), 0)::int8 FROM kind k "
        "LEFT JOIN tally_kind t ON t.kind = k.tag GROUP BY k.name ORDER BY k.name";
    json_t *counts = json_object();

    for (size_t k = 0; k < work->program.catalog.count; k++)
        json_object_set_new(counts, work->program.catalog.kinds[k]->name, json_integer(0));
    if (!work->has_tables)
        return counts;
    PGresult *res = work_query(cli, work, sql, NULL, exit_code);
    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        json_object_set_new(counts, pg_get_text(res, r, 0), json_integer(pg_get_int8(res, r, 1)));
    if (res == NULL) {
        json_decref(counts);
        counts = NULL;
    }
    PQclear(res);
    return counts;
}

/* Keeps the kinds that were asked for, in that order. */
static bool choose(struct cli *cli, struct work *work, json_t **counts)
{
    struct values_target names = {.catalog = &work->program.catalog};
    json_t *chosen = json_object();
    struct acc_error err;

    for (int i = 0; i < cli->argc; i++) {
        json_t *count = json_object_get(*counts, cli->argv[i]);

        if (count == NULL && values_kind(&names, cli->argv[i], &err) == NULL) {
            cli_misuse(cli, "%s", err.text);
            json_decref(chosen);
            return false;
        }
        json_object_set(chosen, cli->argv[i], count);
    }
    json_decref(*counts);
    *counts = chosen;
    return true;
}

static void print_table(json_t *counts)
{
    const char *name;
    json_t *count;
    int width = 0;

    json_object_foreach(counts, name, count)
    {
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
    }
    json_object_foreach(counts, name, count)
    {
        printf("%-*s  %" JSON_INTEGER_FORMAT "\n", width, name, json_integer_value(count));
    }
}

static int print(struct cli *cli, struct work *work)
{
    int exit_code;
    json_t *counts = read_counts(cli, work, &exit_code);

    if (counts == NULL)
        return exit_code;
    if (cli->argc > 0 && !choose(cli, work, &counts)) {
        json_decref(counts);
        return CLI_MISUSE;
    }
    if (cli_has(cli, "json"))
        return cli_print_json(cli, counts);
    if (cli->argc == 1)
        printf("%" JSON_INTEGER_FORMAT "\n",
               json_integer_value(json_object_get(counts, cli->argv[0])));
    else
        print_table(counts);
    json_decref(counts);
    return cli_flush(cli, CLI_DONE);
}

/* With filters: counted, kind by kind */

static bool count_kind(struct cli *cli, struct work *work, const struct filters *filters,
                       json_t *counts, int *exit_code)
{
    int64_t bound = cli_has(cli, "exact") ? 0 : BOUND;
    struct acc_error err;
    int64_t count = 0;
    bool has = false;

    if ((work->has_tables && !explorer_has_table(&work->session.pg, filters->kind, &has, &err)) ||
        (has && !explorer_count(&work->session.pg, filters, bound, &count, &err))) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    json_object_set_new(counts, filters->kind->name,
                        json_pack("{s:I, s:b}", "count", (json_int_t)count, "is_exact",
                                  bound == 0 || count < bound));
    return true;
}

static int print_counted(struct cli *cli, json_t *counts)
{
    const char *name;
    json_t *one;
    int width = 0;
    bool is_exact = true;

    json_object_foreach(counts, name, one)
    {
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
        is_exact &= json_is_true(json_object_get(one, "is_exact"));
    }
    if (!is_exact)
        cli_note(cli, "counted to %s and no further; --exact counts all", cli_grouped(BOUND));
    if (cli_has(cli, "json"))
        return cli_print_json(cli, counts);
    json_object_foreach(counts, name, one)
    {
        if (cli->argc > 1)
            printf("%-*s  ", width, name);
        printf("%" JSON_INTEGER_FORMAT "%s\n", json_integer_value(json_object_get(one, "count")),
               json_is_true(json_object_get(one, "is_exact")) ? "" : "+");
    }
    json_decref(counts);
    return cli_flush(cli, CLI_DONE);
}

static int count_all(struct cli *cli, struct work *work, const struct filters *filters)
{
    json_t *counts = json_object();
    int64_t timeout_ms = cli_has(cli, "exact") ? 0 : TIMEOUT_MS;
    struct acc_error err;
    int exit_code;

    if (!explorer_begin(&work->session.pg, cli_number(cli, "timeout", timeout_ms), &err)) {
        json_decref(counts);
        return cli_fail(cli, &err);
    }
    for (int i = 0; i < cli->argc; i++) {
        if (!count_kind(cli, work, &filters[i], counts, &exit_code)) {
            json_decref(counts);
            return exit_code;
        }
    }
    return print_counted(cli, counts);
}

/* The filters hold for each kind that is named. false: misuse, printed. */
static bool read_filters(struct cli *cli, const struct work *work, struct filters *filters)
{
    struct values_target names = {.catalog = &work->program.catalog};
    struct acc_error err;

    if (cli->argc == 0) {
        cli_misuse(cli, "--filter: wanted the KIND whose facts it is about");
        return false;
    }
    for (int i = 0; i < cli->argc; i++) {
        const struct kind *kind = values_kind(&names, cli->argv[i], &err);

        if (kind == NULL) {
            cli_misuse(cli, "%s", err.text);
            return false;
        }
        if (!show_filters(cli, work, &filters[i], kind))
            return false;
    }
    return true;
}

static int run_filtered(struct cli *cli, struct work *work)
{
    struct filters *filters = acc_zalloc((size_t)(cli->argc + 1) * sizeof(*filters));
    int exit_code = CLI_MISUSE;

    if (read_filters(cli, work, filters) && work_connect(cli, work, WORK_READ, &exit_code))
        exit_code = count_all(cli, work, filters);
    for (int i = 0; i < cli->argc; i++)
        filters_clear(&filters[i]);
    free(filters);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    if (cli_has(cli, "filter"))
        exit_code = run_filtered(cli, &work);
    else if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = print(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_count = {
    .name = "count",
    .summary = "prints how many facts there are of each kind",
    .usage = "[KIND]...",
    .help =
        "The numbers are exact, and come at once whatever their size. One KIND: just its number.\n"
        "With filters (accrete facts --help says which) facts are counted: up to 1,000,000, which\n"
        "shows as 1000000+, or all of them with --exact.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "these kinds only"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"filter", 'f', CLI_TEXT, "FIELD~OP~VALUE",
             .help = "counts facts for which this holds; may be repeated"},
            {"exact", 0, CLI_SWITCH, .help = "with filters: counts all, however long it takes"},
            {"timeout", 0, CLI_TIME, "TIME", .help = "with filters: 10s by default; 0s: none"},
            {"json", 0, CLI_SWITCH,
             .help = "numbers by kind; with filters objects with count and is_exact"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete count", "all kinds"},
            {"accrete count path", "one number"},
            {"accrete count path -f from~eq~1", "how many paths begin at 1"},
            {0},
        },
    .run = run,
};
