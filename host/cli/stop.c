/* accrete stop: ends the running host. */
#include "base/clock.h"
#include "cli/commands.h"

#include <signal.h>
#include <time.h>

#define EXTRA_MS 30000 /* beyond worker.grace: the database writes its last checkpoint */
#define POLL_MS 20

static int stop(struct cli *cli, const struct app *app)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    pid_t host = app_host(app);
    int64_t until_us =
        clock_us() + cli_number(cli, "timeout", app->settings.worker.grace_ms + EXTRA_MS) * 1000;
    struct acc_error err;

    if (host == 0) {
        cli_note(cli, "no host of this app runs on this machine");
        return CLI_DONE;
    }
    if (kill(host, SIGTERM) != 0) {
        acc_fail_errno(&err, "cannot signal the host (pid %d)", (int)host);
        return cli_fail(cli, &err);
    }
    while (app_host(app) == host && clock_us() < until_us)
        nanosleep(&pause, NULL);
    if (app_host(app) != host)
        return CLI_DONE;
    acc_fail(&err, ACC_ESYS,
             "the host (pid %d) still runs: a second accrete stop abandons the running batches",
             (int)host);
    return cli_fail(cli, &err);
}

static int run(struct cli *cli)
{
    struct app app;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    exit_code = stop(cli, &app);
    app_close(&app);
    return exit_code;
}

const struct cli_command cli_stop = {
    .name = "stop",
    .summary = "stops the app's running host and waits for its end",
    .usage = "",
    .help =
        "The running batches end first, as with Ctrl-C. Nothing queued is lost: accrete run goes\n"
        "on where it stopped. That no host runs is fine.",
    .options =
        (const struct cli_option[]){
            {"timeout", 't', CLI_TIME, "TIME", .help = "waits no longer than this"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete stop --timeout 1m", "waits a minute for running batches to end"},
            {"accrete stop && accrete backup family.accrete", "keeps all that was done"},
            {0},
        },
    .run = run,
};
