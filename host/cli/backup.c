/* accrete backup: all of an app's facts, queue and counts in one file, at one moment. */
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Facts at the moment that the dump will see, by kind. The snapshot lives as long as this
 * transaction.
 */
static bool take_snapshot(struct pg *pg, char **snapshot, json_t *counts, struct acc_error *err)
{
    struct pg_args none = {0};

    if (!pg_do(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err))
        return false;
    PGresult *res = pg_exec(pg, "SELECT pg_export_snapshot()", &none, err);
    if (res == NULL)
        return false;
    *snapshot = acc_strdup(pg_get_text(res, 0, 0));
    PQclear(res);
    return archive_count(pg, counts, err);
}

static bool sync_file(const char *path, int64_t *bytes, struct acc_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st = {0};
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && fsync(fd) == 0;

    if (!ok)
        acc_fail_errno(err, "cannot write \"%s\"", path);
    if (fd >= 0)
        close(fd);
    *bytes = st.st_size;
    return ok;
}

/* Into a file beside it first, so that FILE is whole or not there. */
static bool dump(struct work *work, const char *snapshot, const char *file, int64_t *bytes,
                 struct acc_error *err)
{
    char *program = archive_program(&work->app.settings, "pg_dump",
                                    PQserverVersion(work->session.pg.conn), err);
    char *part = acc_format("%s.part", file);
    char *to = acc_format("--file=%s", part);
    char *schema = acc_format("--schema=\"%s\"", work->app.schema);
    char *at = acc_format("--snapshot=%s", snapshot);
    const char *argv[] = {program,
                          "--format=custom",
                          "--compress=1",
                          "--no-owner",
                          "--no-privileges",
                          "--no-password",
                          to,
                          schema,
                          at,
                          NULL};
    bool ok = program != NULL && archive_run(argv, work->session.conninfo, NULL, err) &&
              sync_file(part, bytes, err) &&
              (rename(part, file) == 0 || acc_fail_errno(err, "cannot make \"%s\"", file));

    if (!ok)
        unlink(part);
    free(program);
    free(part);
    free(to);
    free(schema);
    free(at);
    return ok;
}

static int tell(struct cli *cli, struct work *work, json_t *counts, int64_t bytes)
{
    json_t *summary = archive_summary(cli->argv[0], work->app.schema, counts);

    json_object_set_new(summary, "bytes", json_integer(bytes));
    if (cli_has(cli, "json"))
        return cli_print_json(cli, summary);
    printf("%s in %s, %s bytes\n",
           cli_counted(json_integer_value(json_object_get(summary, "facts")), "fact"), cli->argv[0],
           cli_grouped(bytes));
    json_decref(summary);
    return cli_flush(cli, CLI_DONE);
}

static int backup(struct cli *cli, struct work *work)
{
    json_t *counts = json_object();
    char *snapshot = NULL;
    int64_t bytes = 0;
    struct acc_error err;
    int exit_code;

    if (!work->has_tables) {
        acc_fail(&err, ACC_EINPUT, "nothing is stored yet, so there is nothing to keep");
        exit_code = cli_fail(cli, &err);
    } else if (!take_snapshot(&work->session.pg, &snapshot, counts, &err) ||
               !dump(work, snapshot, cli->argv[0], &bytes, &err)) {
        exit_code = cli_fail(cli, &err);
    } else {
        exit_code = tell(cli, work, counts, bytes);
    }
    free(snapshot);
    json_decref(counts);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct work work;
    struct acc_error err;
    int exit_code;

    if (access(cli->argv[0], F_OK) == 0 && !cli_has(cli, "force")) {
        acc_fail(&err, ACC_EINPUT, "\"%s\" is there already: --force replaces it", cli->argv[0]);
        return cli_fail(cli, &err);
    }
    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, 0, &exit_code))
        exit_code = backup(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_backup = {
    .name = "backup",
    .summary = "writes an app's facts, queue and counts to a file",
    .usage = "FILE",
    .help =
        "The state of one moment, while everything goes on: facts with their provenance, queued\n"
        "and failed events, counts. The app's folder is not in it. FILE has the custom format of\n"
        "pg_dump, which must be installed; accrete restore takes it into a private cluster or a\n"
        "server, of this major version of PostgreSQL or a newer one.",
    .argc_min = 1,
    .argc_max = 1,
    .arguments =
        (const struct cli_argument[]){
            {"FILE", CLI_FILE, "made whole or not at all"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"force", 0, CLI_SWITCH, .help = "replaces a FILE that is there"},
            {"json", 0, CLI_SWITCH, .help = "what was written, as one object"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete backup monday.accrete", "beside a running host, or without one"},
            {"accrete backup --set database.url=postgres://db/facts all.accrete", "of a server"},
            {0},
        },
    .run = run,
};
