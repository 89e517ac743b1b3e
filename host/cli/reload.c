/* accrete reload: the running host takes up the app's modules as they are now. */
#include "audit.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "native.h"
#include "page.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define TIMEOUT_MS 60000
#define POLL_MS 20
#define SERVED_MS 5000 /* longest wait for the processes that answer with the new modules */
#define TRIES 20       /* with others who write into the audit */

enum answer { ANSWER_NONE, ANSWER_TAKEN, ANSWER_REFUSED };

/* What the host has said since `before`. */
static enum answer answer(const struct page *page, const struct page *before)
{
    if (page->refused != before->refused)
        return ANSWER_REFUSED;
    return page->reloads != before->reloads || page->generation != before->generation ? ANSWER_TAKEN
                                                                                      : ANSWER_NONE;
}

static int tell(struct cli *cli, const struct page *page, int32_t generation)
{
    if (cli_has(cli, "json"))
        return cli_print_json(cli, json_pack("{s:i, s:b}", "generation", (int)page->generation,
                                             "changed", (int)(page->generation != generation)));
    if (page->generation == generation)
        cli_note(cli, "the modules are those of generation %d already", (int)generation);
    else
        cli_note(cli, "generation %d runs now", (int)page->generation);
    return CLI_DONE;
}

/* Who did it, why and what came of it. That it is not written down undoes nothing. */
static void write_down(struct cli *cli, struct app *app, const struct page *page,
                       int32_t generation, enum answer said)
{
    char *what = page->generation == generation
                     ? acc_format("generation %d", (int)generation)
                     : acc_format("generation %d to %d", (int)generation, (int)page->generation);
    struct audit audit = {.act = "reload",
                          .what = what,
                          .reason = cli_has(cli, "reason") ? cli_value(cli, "reason") : "",
                          .result = said == ANSWER_REFUSED           ? page->refused_text
                                    : page->generation == generation ? "the same modules"
                                                                     : "taken up"};
    struct session session;
    struct acc_error err;

    if (!session_open(&session, app, &err)) {
        cli_note(cli, "this is not in the audit: %s", err.text);
    } else {
        bool ok = audit_add(&session.pg, &audit, NULL, &err);

        for (int tries = 0; !ok && err.code == ACC_ECONFLICT && tries < TRIES; tries++)
            ok = audit_add(&session.pg, &audit, NULL, &err);
        if (!ok)
            cli_note(cli, "this is not in the audit: %s", err.text);
        session_close(&session);
    }
    free(what);
}

static int ask(struct cli *cli, struct app *app, pid_t host, const struct page *page)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    struct page *before = acc_alloc(sizeof(*before));
    int64_t until_us = clock_us() + cli_number(cli, "timeout", TIMEOUT_MS) * 1000;
    enum answer said = ANSWER_NONE;
    struct acc_error err;
    int exit_code;

    while (page->generation == 0 && clock_us() < until_us && kill(host, 0) == 0)
        nanosleep(&pause, NULL); /* it is just starting */
    *before = *page;
    bool ok = kill(host, SIGHUP) == 0;
    while (ok && (said = answer(page, before)) == ANSWER_NONE && clock_us() < until_us &&
           kill(host, 0) == 0)
        nanosleep(&pause, NULL);
    for (int64_t end_us = clock_us() + SERVED_MS * 1000;
         said == ANSWER_TAKEN && !page_is_served(page) && clock_us() < end_us;)
        nanosleep(&pause, NULL);
    if (!ok)
        acc_fail_errno(&err, "cannot signal the host (pid %d)", (int)host);
    else if (said == ANSWER_REFUSED)
        acc_fail(&err, ACC_EINPUT, "%.1023s", page->refused_text);
    else if (said == ANSWER_NONE)
        acc_fail(&err, ACC_ESYS, "the host (pid %d) did not answer", (int)host);
    if (said != ANSWER_NONE)
        write_down(cli, app, page, before->generation, said);
    exit_code = said == ANSWER_TAKEN ? tell(cli, page, before->generation) : cli_fail(cli, &err);
    free(before);
    return exit_code;
}

static int reload(struct cli *cli, struct app *app)
{
    struct acc_error err;
    char *so_path = NULL;
    pid_t host = app_host(app);
    const struct page *page = host == 0 ? NULL : page_open(app->run_dir, &err);

    if (host == 0) {
        acc_fail(&err, ACC_ESYS,
                 "no host of this app runs on this machine: accrete run starts one, with the "
                 "modules as they are");
        return cli_fail(cli, &err);
    }
    if (page == NULL)
        return cli_fail(cli, &err);
    /* Here, so that what the compiler says comes to whoever asked. */
    int exit_code =
        native_build(app, &so_path, &err) ? ask(cli, app, host, page) : cli_fail(cli, &err);
    free(so_path);
    page_close(page);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct app app;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    exit_code = reload(cli, &app);
    app_close(&app);
    return exit_code;
}

const struct cli_command cli_reload = {
    .name = "reload",
    .summary = "makes the running host take up changed modules",
    .usage = "",
    .help = "Kinds, lifecycles and native code are checked as a whole; a broken module is refused\n"
            "with file and line, and the old generation stays.",
    .options =
        (const struct cli_option[]){
            {"timeout", 't', CLI_TIME, "TIME",
             .help = "waits no longer than this for the answer, 60s by default"},
            {"reason", 'r', CLI_TEXT, "TEXT", .help = "why, for the audit"},
            {"json", 0, CLI_SWITCH, .help = "the generation as JSON on stdout"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete reload", "after an edit; accrete check says more of what is wrong"},
            {0},
        },
    .run = run,
};
