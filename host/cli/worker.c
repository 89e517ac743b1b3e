/* accrete worker: workers for a database that another host or server runs. */
#include "cli/commands.h"
#include "native.h"
#include "supervise.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

/* A password in argv can be seen by every user of the machine. */
static bool has_password(const char *url)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    bool has = false;

    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        has = has || (strcmp(o->keyword, "password") == 0 && o->val != NULL);
    PQconninfoFree(options);
    return has;
}

static bool take_options(struct cli *cli, char **overrides)
{
    const char *url = cli_value(cli, "database");
    const char *workers = cli_value(cli, "workers");

    if (url != NULL && has_password(url)) {
        cli_misuse(cli, "--database: wanted a URL without password: use database.url_file, "
                        "PGPASSWORD or ~/.pgpass");
        return false;
    }
    if (url != NULL)
        overrides[0] = acc_format("database.url=%s", url);
    if (workers != NULL)
        overrides[1] = acc_format("worker.count=%s", workers);
    return (url == NULL || cli_set(cli, "database", overrides[0])) &&
           (workers == NULL || cli_set(cli, "workers", overrides[1]));
}

static int work(struct cli *cli)
{
    struct supervise_options options = {.embedded = false, .progress = false};
    struct acc_error err = {0};
    struct app app;
    char *so_path = NULL;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    if (!native_build(&app, &so_path, &err)) {
        exit_code = cli_fail(cli, &err);
    } else {
        exit_code = supervise_run(&app, &options, &err);
        if (exit_code != CLI_DONE && err.code != ACC_OK)
            cli_fail(cli, &err);
    }
    free(so_path);
    app_close(&app);
    return exit_code;
}

static int run(struct cli *cli)
{
    char *overrides[2] = {NULL, NULL};
    int exit_code = take_options(cli, overrides) ? work(cli) : CLI_MISUSE;

    free(overrides[0]);
    free(overrides[1]);
    return exit_code;
}

const struct cli_command cli_worker = {
    .name = "worker",
    .summary = "adds workers on this machine to a database that runs elsewhere",
    .usage = "",
    .is_host = true,
    .help =
        "All workers are the same, wherever they run; they share the buckets of the queue. The\n"
        "modules here must be those of the current generation: others are refused, with the files\n"
        "that differ. On a database without facts and modules they become the first one.",
    .options =
        (const struct cli_option[]){
            {"database", 0, CLI_TEXT, "URL",
             .help = "the database, as database.url; without a password"},
            {"workers", 'w', CLI_COUNT, "N", .max = 1024,
             .help = "worker processes; 0: one a core"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete worker --database postgresql://db.example/facts --workers 8",
             "lends eight workers"},
            {0},
        },
    .run = run,
};
