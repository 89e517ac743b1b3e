/* accrete find: the fact whose id begins with some digits, of whatever kind. */
#include "base/log.h"
#include "cli/commands.h"
#include "cli/show.h"

#include <string.h>

#define MATCHES_MAX 20
#define LINE_WIDTH 160

struct matches {
    size_t count;
    json_t *list; /* NULL: printed as they come */
    FILE *out;
};

static bool show_match(void *context, const struct explorer_fact *fact, struct acc_error *err)
{
    struct matches *matches = context;
    struct buf fields = {0};
    struct buf line = {0};

    (void)err;
    fact_json(fact->kind, fact->row, &fields);
    if (matches->list != NULL) {
        json_array_append_new(matches->list,
                              json_pack("{s:s, s:s, s:o, s:s?, s:s}", "kind", fact->kind->name,
                                        "id", fact_id_text(fact->row->id), "fields",
                                        json_loadb(fields.data, fields.size, JSON_ALLOW_NUL, NULL),
                                        "lifecycle", fact->lifecycle, "at", fact->at));
    } else {
        fact_legible(fields.data, fields.size, LINE_WIDTH, &line);
        fprintf(matches->out, "%s %s %s\n", fact->kind->name, fact_id_text(fact->row->id),
                line.data);
    }
    buf_clear(&fields);
    buf_clear(&line);
    return true;
}

/*
 * One fact is the answer. Several are a question, which goes to stderr; a program gets them all the
 * same.
 */
static int show(struct cli *cli, struct work *work, const uint8_t *ids, size_t count)
{
    size_t shown = count > MATCHES_MAX ? MATCHES_MAX : count;
    struct matches matches = {.list = cli_has(cli, "json") ? json_array() : NULL,
                              .out = count == 1 ? stdout : stderr};
    struct explorer_visit visit = {&matches, show_match};
    int code = count == 1 ? CLI_DONE : CLI_FAILED;
    struct acc_heap heap;
    struct acc_error err;

    heap_init(&heap, 0);
    if (count == 0)
        cli_note(cli, "no fact has an id that begins with \"%s\"", cli->argv[0]);
    else if (count > 1)
        cli_note(cli, "\"%s\" begins %s%zu ids, wanted more digits:", cli->argv[0],
                 count > shown ? "more than " : "", shown);
    if (!explorer_get(&work->session.pg, &work->program.catalog, ids, shown, &heap, &visit, &err)) {
        json_decref(matches.list);
        return cli_fail(cli, &err);
    }
    if (matches.list == NULL)
        return cli_flush(cli, code);
    int printed = cli_print_json(cli, matches.list);
    return printed == CLI_DONE ? code : printed;
}

static int find(struct cli *cli, struct work *work, const struct id_range *range)
{
    uint8_t ids[16 * (MATCHES_MAX + 1)];
    struct acc_error err;
    size_t count;
    int exit_code;

    if (!show_has_facts(cli, work, NULL, &exit_code))
        return exit_code;
    if (!explorer_find(&work->session.pg, &work->program.catalog, range, MATCHES_MAX + 1, ids,
                       &count, &err))
        return cli_fail(cli, &err);
    return show(cli, work, ids, count);
}

static int run(struct cli *cli)
{
    struct work work;
    struct id_range range;
    int exit_code;

    if (!id_range_read(cli->argv[0], &range))
        return cli_misuse(cli, "PREFIX: wanted 4 to 32 hex digits, got %s",
                          log_quote(cli->argv[0]));
    if (!work_open(cli, &work, WORK_KINDS, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = find(cli, &work, &range);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_find_command = {
    .name = "find",
    .summary = "finds a fact of any kind by the first digits of its id",
    .usage = "PREFIX",
    .help =
        "The digits fit one fact: its kind, id and fields are printed. They fit several: these\n"
        "are listed on stderr, and the exit code is 1, as it is when there is none.",
    .argc_min = 1,
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"PREFIX", CLI_TEXT, "4 to 32 hex digits"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "a list of the facts that fit, at most 20"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete find cd927986043a", "which fact that is"},
            {0},
        },
    .run = run,
};
