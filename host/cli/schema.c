/* accrete schema: what the database would have to become for this app, and where the two differ. */
#include "cli/commands.h"
#include "cli/work.h"
#include "schema_plan.h"

#include <string.h>

/* plan */

static json_t *plan_json(const struct schema_plan *plan)
{
    json_t *steps = json_array();
    json_t *refusals = json_array();
    json_t *notes = json_array();

    for (size_t i = 0; i < plan->count; i++)
        json_array_append_new(
            steps, json_pack("{s:s, s:s}", "why", plan->steps[i].why, "sql", plan->steps[i].sql));
    for (size_t i = 0; i < plan->refusal_count; i++)
        json_array_append_new(refusals, json_string(plan->refusals[i]));
    for (size_t i = 0; i < plan->note_count; i++)
        json_array_append_new(notes, json_string(plan->notes[i]));
    return json_pack("{s:o, s:o, s:o}", "steps", steps, "refusals", refusals, "notes", notes);
}

static void plan_text(const struct cli *cli, const struct schema_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        printf("-- %s\n%s;\n", plan->steps[i].why, plan->steps[i].sql);
    for (size_t i = 0; i < plan->note_count; i++)
        cli_note(cli, "with the next generation: %s", plan->notes[i]);
    for (size_t i = 0; i < plan->refusal_count; i++)
        cli_note(cli, "refused: %s", plan->refusals[i]);
    if (plan->count == 0 && plan->refusal_count == 0)
        cli_note(cli, "nothing to do: the database is what the app declares");
}

static int plan(struct cli *cli, struct work *work)
{
    struct schema_plan plan;
    struct acc_error err;
    int exit_code = CLI_DONE;

    if (!schema_plan_make(&plan, &work->session.pg, work->app.schema, &work->program,
                          &work->app.settings, &err))
        return cli_fail(cli, &err);
    if (cli_has(cli, "json"))
        exit_code = cli_print_json(cli, plan_json(&plan));
    else
        plan_text(cli, &plan);
    if (plan.refusal_count > 0)
        exit_code = CLI_FAILED;
    schema_plan_clear(&plan);
    return cli_flush(cli, exit_code);
}

/* apply */

static int apply(struct cli *cli, struct work *work)
{
    struct schema_plan plan; /* only for what is told: schema_apply makes its own, under the lock */
    struct acc_error err;
    int exit_code = CLI_DONE;

    if (!schema_plan_make(&plan, &work->session.pg, work->app.schema, &work->program,
                          &work->app.settings, &err))
        return cli_fail(cli, &err);
    if (!schema_apply(&work->session.pg, work->app.schema, &work->program, &work->app.settings,
                      &err))
        exit_code = cli_fail(cli, &err);
    else if (cli_has(cli, "json"))
        exit_code = cli_print_json(cli, plan_json(&plan));
    else
        plan_text(cli, &plan);
    if (exit_code == CLI_DONE && plan.note_count > 0)
        cli_note(cli, "the modules become a generation by accrete reload or the next accrete run");
    schema_plan_clear(&plan);
    return cli_flush(cli, exit_code);
}

/* drift */

static const char *const grades[] = {
    [DRIFT_NOTE] = "note", [DRIFT_WARN] = "warn", [DRIFT_FAIL] = "fail"};

static json_t *drift_json(const struct drift_list *list)
{
    json_t *out = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct drift *one = &list->items[i];
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:s?}", "grade", grades[one->grade],
                                             "object", one->object, "finding", one->finding, "mend",
                                             one->mend));
    }
    return out;
}

static void drift_text(const struct cli *cli, const struct drift_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct drift *one = &list->items[i];
        printf("%s  %s: %s\n", grades[one->grade], one->object, one->finding);
        if (one->mend != NULL)
            printf("      mend: %s\n", one->mend);
    }
    if (list->count == 0)
        cli_note(cli, "no drift: the database is what the app declares");
}

static int drift(struct cli *cli, struct work *work)
{
    struct drift_list list = {0};
    struct acc_error err;
    int exit_code = CLI_DONE;
    int worst = CLI_DONE;

    if (!work->has_tables) {
        acc_fail(&err, ACC_EINPUT, "there are no tables yet: accrete schema apply makes them");
        return cli_fail(cli, &err);
    }
    if (!schema_drift(&list, &work->session.pg, work->app.schema, &work->program,
                      &work->app.settings, &err))
        return cli_fail(cli, &err);
    for (size_t i = 0; i < list.count; i++)
        worst = list.items[i].grade != DRIFT_NOTE ? CLI_FAILED : worst;
    if (cli_has(cli, "json"))
        exit_code = cli_print_json(cli, drift_json(&list));
    else
        drift_text(cli, &list);
    drift_clear(&list);
    return cli_flush(cli, exit_code == CLI_DONE ? worst : exit_code);
}

static const struct {
    const char *name;
    int (*run)(struct cli *cli, struct work *work);
    unsigned needs;
} verbs[] = {{"plan", plan, WORK_READ}, {"apply", apply, 0}, {"drift", drift, WORK_READ}};

static int run(struct cli *cli)
{
    size_t verb = 0;
    struct work work;
    int exit_code;

    while (verb < 3 && strcmp(verbs[verb].name, cli->argv[0]) != 0)
        verb++;
    if (verb == 3)
        return cli_misuse(cli, "wanted plan, apply or drift, got \"%s\"", cli->argv[0]);
    if (!work_open(cli, &work, WORK_PROGRAM, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, verbs[verb].needs, &exit_code))
        exit_code = verbs[verb].run(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_schema = {
    .name = "schema",
    .summary = "plans and applies what the app declares; shows drift",
    .usage = "plan | apply | drift",
    .help =
        "The schema only grows: new kinds, new nullable fields, new look-up indexes (built while\n"
        "others read and write), new lifecycles. What would change the identity of facts or lose\n"
        "them is refused, with the way out. accrete run and reload apply by themselves; this is "
        "to\n"
        "look first, or to build indexes of a large database ahead of a reload.\n"
        "\n"
        "Two versions of an app on one database: the older one goes on while the newer one's "
        "kinds,\n"
        "fields and indexes come; facts it adds leave fields it does not know empty. Once a newer\n"
        "version has added a field, an older one that is started is refused, since it would lose "
        "it.",
    .argc_min = 1,
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"plan", CLI_TEXT, "what apply would do, statement by statement, and what is refused"},
            {"apply", CLI_TEXT, "does it; prints the statements that were run"},
            {"drift", CLI_TEXT, "where database and app differ; fails when something must be done"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "the same for programs"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete schema plan", "before a reload with changed kinds"},
            {"accrete schema apply", "builds new indexes beside the running host"},
            {"accrete schema drift", "what has been changed by hand"},
            {0},
        },
    .run = run,
};
