/* accrete run: the whole host on this machine. */
#include "cli/commands.h"
#include "native.h"
#include "supervise.h"

#include <stdlib.h>
#include <time.h>

#define WAIT_MS 10000
#define POLL_MS 20

/* A command that has started the private cluster for itself is soon done; a host is not. */
static void wait_for_commands(const struct app *app)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

    for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms += POLL_MS) {
        if (app_lock_holder(app) == 0 || app_host(app) != 0)
            return;
        nanosleep(&pause, NULL);
    }
}

static int run(struct cli *cli)
{
    static char workers[48];
    struct supervise_options options = {
        .until_fixpoint = cli_has(cli, "until-fixpoint"),
        .embedded = true, /* where no database.url says otherwise */
        .progress = !cli_has(cli, "quiet"),
        .detach = cli_has(cli, "detach"),
    };
    struct acc_error err = {0};
    struct app app;
    char *so_path = NULL;
    int exit_code;

    if (options.until_fixpoint && options.detach)
        return cli_misuse(cli, "--detach and --until-fixpoint exclude each other");
    if (cli_has(cli, "workers")) {
        snprintf(workers, sizeof(workers), "worker.count=%s", cli_value(cli, "workers"));
        if (!cli_set(cli, "workers", workers))
            return CLI_MISUSE;
    }
    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    if (!native_build(&app, &so_path, &err)) {
        exit_code = cli_fail(cli, &err);
    } else {
        wait_for_commands(&app);
        /* supervise_run fills err when it returns 1 for a reason that it has not told itself. */
        exit_code = supervise_run(&app, &options, &err);
        if (exit_code != CLI_DONE && err.code != ACC_OK)
            cli_fail(cli, &err);
    }
    free(so_path);
    app_close(&app);
    return exit_code;
}

const struct cli_command cli_run = {
    .name = "run",
    .summary = "runs the app: database, workers, everything on this machine",
    .usage = "",
    .is_host = true,
    .help =
        "Stays when nothing is left to do, since facts may come at any time. Ctrl-C or SIGTERM\n"
        "lets the running batches end; a second one abandons them, and nothing is lost. SIGHUP\n"
        "loads the modules anew, as accrete reload does.",
    .options =
        (const struct cli_option[]){
            {"until-fixpoint", 'u', CLI_SWITCH,
             .help = "ends when nothing is left to do; exit code 1 with dead events"},
            {"workers", 'w', CLI_COUNT, "N", .max = 1024,
             .help = "worker processes; 0: one a core"},
            {"detach", 'd', CLI_SWITCH, .help = "goes on in the background once it runs"},
            {"quiet", 'q', CLI_SWITCH, .help = "no progress"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete run --app examples/closure", "runs an app in the foreground"},
            {"accrete run --until-fixpoint --workers 4", "finds all that follows, then ends"},
            {0},
        },
    .run = run,
};
