/* accrete explain: why a fact is there, what came of it, and what a lifecycle makes of it. */
#include "cli/explain.h"

#include "base/log.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "formats/values.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_UP 5
#define DEPTH_DOWN 1
#define LIMIT_DEFAULT 20
#define TIMEOUT_MS 10000

/* What a fact was asked for by. */
struct wanted {
    const struct kind *kind; /* NULL: the id tells */
    const char *digits; /* of its id; NULL: id is computed from the values of its unique fields */
    uint8_t id[16];
};

/* Sets one field from "from=1". */
static bool read_field(const struct values_target *target, const struct kind *kind,
                       const char *word, struct acc_row *row, uint64_t *given,
                       struct acc_error *err)
{
    const char *equals = strchr(word, '=');

    if (equals == NULL)
        return acc_fail(err, ACC_EINPUT, "wanted FIELD=VALUE, got \"%s\"", word);
    char *name = acc_format("%.*s", (int)(equals - word), word);
    int field = values_field(kind, name, err);
    free(name);
    if (field < 0)
        return false;
    if ((kind->unique_mask >> field & 1) == 0)
        return acc_fail(err, ACC_EINPUT, "field \"%s\" of kind \"%s\" is not among the unique ones",
                        kind->fields[field].name, kind->name);
    *given |= UINT64_C(1) << field;
    return values_set_text(target, kind, (size_t)field, equals + 1, strlen(equals + 1), row, err);
}

/* The id of the fact with these values of all unique fields. */
static bool read_fields(const struct work *work, const struct kind *kind, int argc, char **argv,
                        struct wanted *wanted, struct acc_error *err)
{
    struct acc_heap heap;
    struct values_target target = {.heap = &heap,
                                   .value_bytes = work->app.settings.ingest.value_bytes};
    struct acc_row *row = acc_zalloc(kind->row_bytes);
    uint64_t given = 0;
    bool ok = true;

    heap_init(&heap, 0);
    for (int i = 0; ok && i < argc; i++)
        ok = read_field(&target, kind, argv[i], row, &given, err);
    if (ok)
        ok = values_complete(kind, given | kind->other_mask, row, err);
    if (ok) {
        identity_set(kind, row);
        memcpy(wanted->id, row->id, 16);
    }
    free(row);
    return ok;
}

/* Whether there is a fact with the id that was computed. */
static bool check_there(struct cli *cli, struct work *work, const struct wanted *wanted,
                        int *exit_code)
{
    struct id_range range;
    struct acc_error err;
    uint8_t id[16];
    size_t count = 0;

    memcpy(range.low, wanted->id, 16);
    memcpy(range.high, wanted->id, 16);
    if (explorer_find(&work->session.pg, &work->program.catalog, &range, 1, id, &count, &err) &&
        count == 0)
        acc_fail(&err, ACC_EINPUT, "no fact of kind \"%s\" fits these values", wanted->kind->name);
    if (count == 0)
        *exit_code = cli_fail(cli, &err);
    return count == 1;
}

/* Looks the fact up; from here on its id and kind are known. */
static bool resolve(struct cli *cli, struct work *work, struct wanted *wanted, int *exit_code)
{
    struct acc_error err;

    if (!show_has_facts(cli, work, wanted->kind, exit_code))
        return false;
    if (!explorer_begin(&work->session.pg, cli_number(cli, "timeout", TIMEOUT_MS), &err)) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    if (wanted->digits == NULL)
        return check_there(cli, work, wanted, exit_code);
    if (!show_resolve(cli, work, wanted->kind, "ID", wanted->digits, wanted->id, exit_code))
        return false;
    wanted->kind = catalog_by_tag(&work->program.catalog, id_tag(wanted->id));
    return true;
}

/*
 * Without the explorer's indexes all facts are searched: once, for the fact itself, in bounded
 * time.
 */
static int read_down(struct cli *cli, struct provenance *provenance, const uint8_t *id,
                     const uint8_t *after)
{
    int depth = (int)cli_number(cli, "depth", DEPTH_DOWN);
    int page = (int)cli_number(cli, "limit", LIMIT_DEFAULT);
    struct acc_error err;
    bool has = false;

    if (!provenance_has_indexes(provenance, &has, &err))
        return cli_fail(cli, &err);
    if (!has && depth > 1)
        depth = 1;
    if (!has)
        cli_note(cli, "all facts are searched, one step down; accrete index explorer makes it "
                      "quick, at any depth");
    if (provenance_down(provenance, id, depth, page, after, cli_number(cli, "timeout", TIMEOUT_MS),
                        &err))
        return CLI_DONE;
    if (err.code == ACC_ELIMIT || strcmp(err.sqlstate, "57014") == 0)
        acc_fail(&err, ACC_ELIMIT,
                 "the time was up before all facts were searched; accrete index explorer makes it "
                 "quick, --timeout 5m gives it more time");
    else if (err.code == ACC_EINPUT)
        acc_fail(&err, ACC_EINPUT, "--after %s: wanted a fact that came of this one",
                 log_quote(cli_value(cli, "after")));
    return cli_fail(cli, &err);
}

static int draw(struct cli *cli, struct provenance *provenance)
{
    struct explain_drawing drawing = {.cli = cli,
                                      .provenance = provenance,
                                      .is_down = cli_has(cli, "down"),
                                      .is_drawn = acc_zalloc((uint64_t)provenance->count + 1)};
    int code = cli_has(cli, "json")  ? explain_json(&drawing)
               : cli_has(cli, "dot") ? explain_dot(&drawing)
                                     : explain_text(&drawing);

    free(drawing.is_drawn);
    buf_clear(&drawing.line);
    return code;
}

static int explain(struct cli *cli, struct work *work, const struct wanted *wanted)
{
    bool is_down = cli_has(cli, "down");
    int64_t limit = cli_number(cli, "limit", LIMIT_DEFAULT);
    struct provenance provenance;
    struct acc_error err;
    uint8_t after[16];
    int code = CLI_DONE;

    if (cli_has(cli, "after") &&
        !show_resolve(cli, work, NULL, "--after", cli_value(cli, "after"), after, &code))
        return code;
    provenance_init(&provenance, &work->session.pg, &work->program.catalog,
                    is_down && limit >= PROVENANCE_NODES ? (int)limit + 1 : PROVENANCE_NODES);
    if (is_down)
        code = read_down(cli, &provenance, wanted->id, cli_has(cli, "after") ? after : NULL);
    else if (!provenance_up(&provenance, wanted->id, (int)cli_number(cli, "depth", DEPTH_UP), &err))
        code = cli_fail(cli, &err);
    if (code == CLI_DONE)
        code = draw(cli, &provenance);
    provenance_clear(&provenance);
    return code;
}

static bool is_number_of_digits(const char *text)
{
    struct id_range unused;

    return id_range_read(text, &unused);
}

/* What the arguments ask for; false: misuse, printed. */
static bool read_arguments(struct cli *cli, struct work *work, struct wanted *wanted)
{
    struct values_target names = {.catalog = &work->program.catalog};
    struct acc_error err;

    *wanted = (struct wanted){0};
    if (cli->argc == 1 && is_number_of_digits(cli->argv[0])) {
        wanted->digits = cli->argv[0];
        return true;
    }
    wanted->kind = values_kind(&names, cli->argv[0], &err);
    if (wanted->kind != NULL && strchr(cli->argv[1], '=') == NULL) {
        wanted->digits = cli->argv[1];
        if (cli->argc == 2 && is_number_of_digits(cli->argv[1]))
            return true;
        acc_fail(&err, ACC_EINPUT, "ID: wanted 4 to 32 hex digits, got %s",
                 log_quote(cli->argv[cli->argc == 2 ? 1 : 2]));
    } else if (wanted->kind != NULL &&
               read_fields(work, wanted->kind, cli->argc - 1, cli->argv + 1, wanted, &err)) {
        return true;
    }
    cli_misuse(cli, "%s", err.text);
    return false;
}

static bool check_options(struct cli *cli)
{
    bool is_why = cli_has(cli, "why-not");
    const char *wrong = NULL;

    if (cli_has(cli, "json") && cli_has(cli, "dot"))
        wrong = "--json and --dot exclude each other";
    else if (is_why && (cli_has(cli, "down") || cli_has(cli, "dot") || cli_has(cli, "depth")))
        wrong = "--why-not takes none of --down, --dot and --depth";
    else if (!cli_has(cli, "down") && cli_has(cli, "after"))
        wrong = "--after: only with --down";
    else if (!cli_has(cli, "down") && !is_why && cli_has(cli, "limit"))
        wrong = "--limit: only with --down or --why-not";
    else if (cli->argc == 1 && !is_number_of_digits(cli->argv[0]))
        wrong = "wanted KIND ID|FIELD=VALUE...";
    if (wrong != NULL)
        cli_misuse(cli, "%s", wrong);
    return wrong == NULL;
}

static int run(struct cli *cli)
{
    const char *lifecycle = cli_value(cli, "why-not");
    struct wanted wanted;
    struct work work;
    int exit_code;

    if (!check_options(cli))
        return CLI_MISUSE;
    if (!work_open(cli, &work, lifecycle == NULL ? WORK_KINDS : WORK_PROGRAM, &exit_code))
        return exit_code;
    if (!read_arguments(cli, &work, &wanted))
        exit_code = CLI_MISUSE;
    else if (work_connect(cli, &work, WORK_READ, &exit_code) &&
             resolve(cli, &work, &wanted, &exit_code))
        exit_code = lifecycle == NULL
                        ? explain(cli, &work, &wanted)
                        : explain_why_not(cli, &work, lifecycle, wanted.kind, wanted.id);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_explain = {
    .name = "explain",
    .summary = "tells why a fact is there, what came of it, or what a lifecycle makes of it",
    .usage = "KIND ID|FIELD=VALUE...",
    .help =
        "For a found fact the data and friends it was first found from, and so on down to facts\n"
        "that came from outside. A fact that is met twice is drawn once, where it is nearest to\n"
        "the root; at most 250 facts are shown, and where the tree is cut off an id stands that\n"
        "explain goes on from. KIND may be left out before an ID.\n"
        "\n"
        "--down goes the other way: the facts whose first finding rests on this one, as its data\n"
        "or as a friend; after accrete index explorer at once, however many there are. Of each\n"
        "kind first those that have it as their data, by id, then those that have it only as a\n"
        "friend, as they lie in the table: about in the order in which they were found.\n"
        "\n"
        "--why-not runs a lifecycle again on the fact without writing anything: its outcome and\n"
        "reason, the friends it got, what it finds and whether that is known, time, and the error\n"
        "with its trace.",
    .argc_min = 1,
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "its kind"},
            {"ID", CLI_TEXT,
             "its id, 32 hex digits; or the first ones, at least 4, if they fit one fact only"},
            {"FIELD=VALUE", CLI_TEXT, "or the values of all its unique fields"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"depth", 'd', CLI_COUNT, "N", .max = PROVENANCE_DEPTH_MAX,
             .help = "steps to go, 5 by default; 1 with --down"},
            {"down", 0, CLI_SWITCH, .help = "what came of it"},
            {"limit", 'n', CLI_COUNT, "N", .min = 1, .max = EXPLORER_PAGE_MAX,
             .help = "with --down: facts that came of each, 20 by default; with --why-not: "
                     "friends and finds listed"},
            {"after", 0, CLI_TEXT, "ID",
             .help = "with --down: the page behind this fact, one of those that came of it"},
            {"why-not", 0, CLI_TEXT, "LIFECYCLE", .help = "runs this lifecycle on it"},
            {"json", 0, CLI_SWITCH, .help = "nested objects, with full ids"},
            {"dot", 0, CLI_SWITCH, .help = "for Graphviz; friends are dashed"},
            {"timeout", 0, CLI_TIME, "TIME", .help = "for one statement, 10s by default; 0s: none"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete explain path from=1 to=4", "where a path comes from"},
            {"accrete explain path 3f1a --depth 20 --json", "more of it, for programs"},
            {"accrete explain edge from=1 to=2 --down", "what came of an edge"},
            {"accrete explain --why-not edge_extends_path edge from=1 to=2",
             "what the lifecycle does with it"},
            {0},
        },
    .run = run,
};
