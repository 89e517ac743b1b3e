/* accrete reset: an app begins anew; its private cluster and all facts are removed. */
#include "base/clock.h"
#include "base/remove.h"
#include "cli/commands.h"
#include "embedded_cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_MS 10000
#define SERVER_MS 10000
#define POLL_MS 20
#define DOOMED                                                                                     \
    "pg.new.reset" /* begins so that the next start clears away what a cut-off reset left */

/* What accrete itself puts into a data directory; anything else is somebody's and stays. */
static const char *const ours[] = {"pg",       "pg.log",     "pg.log.old", "generations", "native",
                                   "host.log", "bench.lock", DOOMED,       NULL};
static const char *const kept[] = {"host.lock", "guests.lock", "app", ".", "..", NULL};

static bool is_in(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/*
 * A server that outlived its host shuts down by itself; its files are not pulled away from under
 * it.
 */
static bool wait_for_server(const struct app *app, struct acc_error *err)
{
    char *path = acc_format("%s/pg/postmaster.pid", app->data_dir);
    int64_t until_us = clock_us() + SERVER_MS * 1000;
    struct postmaster_file file = {0};

    cluster_postmaster(path, &file);
    while (file.pid > 0 && process_lives(file.pid) && clock_us() < until_us) {
        sleep_ms(POLL_MS);
        file = (struct postmaster_file){0};
        cluster_postmaster(path, &file);
    }
    bool is_gone = file.pid <= 0 || !process_lives(file.pid);
    if (!is_gone)
        acc_fail(err, ACC_ESYS, "a PostgreSQL (pid %d) still runs on \"%s/pg\": end it first",
                 (int)file.pid, app->data_dir);
    free(path);
    return is_gone;
}

/* With the lock in hand nobody else is in the directory. */
static bool empty(struct cli *cli, const struct app *app, struct acc_error *err)
{
    int fd = open(app->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0;

    if (!ok)
        return acc_fail_errno(err, "cannot open \"%s\"", app->data_dir);
    /* First out of the way, at one blow: a reset that is cut off leaves no half cluster. */
    ok = remove_at(fd, DOOMED, err) &&
         (renameat(fd, "pg", fd, DOOMED) == 0 || errno == ENOENT ||
          acc_fail_errno(err, "cannot move \"%s/pg\" away", app->data_dir));
    for (size_t i = 0; ok && ours[i] != NULL; i++)
        ok = remove_at(fd, ours[i], err);
    DIR *dir = ok ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        close(fd);
        return ok;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (!is_in(kept, entry->d_name))
            cli_note(cli, "\"%s/%s\" is not accrete's and stays", app->data_dir, entry->d_name);
    closedir(dir);
    return true;
}

static bool agree(struct cli *cli, const struct app *app, int *exit_code)
{
    char answer[16] = "";
    struct acc_error err;

    if (cli_has(cli, "yes"))
        return true;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        *exit_code = cli_misuse(cli, "all facts of \"%s\" in \"%s\" would be removed: say --yes",
                                app->name, app->data_dir);
        return false;
    }
    fprintf(stderr, "remove all facts of %s in %s? They cannot be brought back. [y/N] ", app->name,
            app->data_dir);
    if (fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return true;
    acc_fail(&err, ACC_EINPUT, "nothing was removed");
    *exit_code = cli_fail(cli, &err);
    return false;
}

static int reset(struct cli *cli, const struct app *app)
{
    struct acc_error err;
    pid_t host = app_host(app);
    int exit_code = CLI_DONE;
    int lock;

    if (app->settings.database.url != NULL || app->settings.database.url_file != NULL) {
        acc_fail(&err, ACC_EINPUT,
                 "only a private cluster can be reset, this app uses a server: there, DROP SCHEMA "
                 "\"%s\" CASCADE does it, or another database.schema begins anew",
                 app->schema);
        return cli_fail(cli, &err);
    }
    if (host != 0) {
        acc_fail(&err, ACC_EINPUT, "the host (pid %d) runs: accrete stop ends it", (int)host);
        return cli_fail(cli, &err);
    }
    if (!agree(cli, app, &exit_code))
        return exit_code;
    lock = embedded_lock(app->data_dir, LOCK_MS, &err);
    if (lock < 0)
        return cli_fail(cli, &err);
    if (!wait_for_server(app, &err) || !empty(cli, app, &err))
        exit_code = cli_fail(cli, &err);
    close(lock);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct app app;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    exit_code = reset(cli, &app);
    app_close(&app);
    return exit_code;
}

const struct cli_command cli_reset = {
    .name = "reset",
    .summary = "removes all facts of an app's private cluster",
    .usage = "",
    .help =
        "The app's own files stay, and so does what is not accrete's in the data directory. Only\n"
        "for a private cluster, and only while no host runs. accrete backup first keeps a copy.",
    .options =
        (const struct cli_option[]){
            {"yes", 'y', CLI_SWITCH, .help = "does not ask"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete reset", "asks, then begins anew"},
            {"accrete stop && accrete reset --yes", "in a script"},
            {0},
        },
    .run = run,
};
