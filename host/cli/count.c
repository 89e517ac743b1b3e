/* accrete count: how many facts there are, exactly and at once. */
#include "cli/commands.h"
#include "cli/work.h"
#include "formats/values.h"

#include <inttypes.h>
#include <string.h>

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

static int run(struct cli *cli)
{
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = print(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_count = {
    .name = "count",
    .summary = "prints how many facts there are of each kind",
    .usage = "[KIND]...",
    .help =
        "The numbers are exact, and come at once whatever their size. One KIND: just its number.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "these kinds only"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "an object of numbers by kind"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete count", "all kinds"},
            {"accrete count path", "one number"},
            {0},
        },
    .run = run,
};
