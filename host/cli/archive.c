#include "cli/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: libpq's variables for what conninfo says. */
static void set_environment(const char *conninfo)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (o->envvar != NULL && o->val != NULL)
            setenv(o->envvar, o->val, 1);
    setenv("PGAPPNAME", "accrete", 1);
    unsetenv("PGOPTIONS");
    PQconninfoFree(options);
}

static void become(const char *const *argv, const char *conninfo, int out)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    signal(SIGINT, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    if (conninfo != NULL)
        set_environment(conninfo);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

bool archive_run(const char *const *argv, const char *conninfo, struct buf *out,
                 struct acc_error *err)
{
    const char *name = strrchr(argv[0], '/') == NULL ? argv[0] : strrchr(argv[0], '/') + 1;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    char bytes[4096];
    int ends[2];
    int status = 0;
    ssize_t n;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "cannot make a pipe");
    sigaction(SIGINT, &ignore, &before);
    pid_t pid = fork();
    if (pid == 0)
        become(argv, conninfo, ends[1]);
    close(ends[1]);
    while (pid > 0 && ((n = read(ends[0], bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0 && out != NULL)
            buf_add(out, bytes, (size_t)n);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    sigaction(SIGINT, &before, NULL);
    if (pid < 0)
        return acc_fail_errno(err, "cannot start %s", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    return WIFSIGNALED(status)
               ? acc_fail(err, ACC_ESYS, "%s was ended by signal %d", name, WTERMSIG(status))
               : acc_fail(err, ACC_EDB, "%s failed with exit code %d", name, WEXITSTATUS(status));
}

/* "pg_dump (PostgreSQL) 15.4 (Debian ...)" is 150004; 0: it cannot be run. */
static int version_of(const char *path)
{
    const char *argv[] = {path, "--version", NULL};
    struct buf out = {0};
    struct acc_error err;
    int version = 0;

    if (access(path, X_OK) == 0 && archive_run(argv, NULL, &out, &err) && out.data != NULL) {
        const char *digits = strchr(out.data, ')');
        char *end = NULL;
        long major = digits == NULL ? 0 : strtol(digits + 1, &end, 10);
        long minor = end == NULL || *end != '.' ? 0 : strtol(end + 1, NULL, 10);
        version = (int)(major * 10000 + minor);
    }
    buf_clear(&out);
    return version;
}

/* Whether a program of major version a suits the server better than one of b; 0: there is none. */
static bool is_better(int a, int b, int server)
{
    if (b == 0)
        return true;
    if ((a >= server) != (b >= server))
        return a >= server;
    return a >= server ? a < b : a > b;
}

/* The program that suits the server best so far. */
struct choice {
    int server; /* major version */
    char *path;
    int version;
};

/* Keeps the better of the choice and path (taken). */
static void consider(struct choice *choice, char *path)
{
    int version = version_of(path);
    int major = version / 10000;
    int before = choice->version / 10000;
    bool is_newer = major == before && version > choice->version;

    if (version == 0 ||
        (!is_newer && (major == before || !is_better(major, before, choice->server)))) {
        free(path);
        return;
    }
    free(choice->path);
    choice->path = path;
    choice->version = version;
}

static void consider_all(struct choice *choice, const char *pattern, const char *name)
{
    char *full = acc_format("%s/%s", pattern, name);
    glob_t found;

    if (glob(full, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            consider(choice, acc_strdup(found.gl_pathv[i]));
        globfree(&found);
    }
    free(full);
}

char *archive_program(const struct settings *settings, const char *name, int server_version,
                      struct acc_error *err)
{
    static const char *const usual[] = {"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
                                        "/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"};
    struct choice choice = {.server = server_version / 10000};

    if (settings->postgres.bin_dir != NULL) {
        consider(&choice, acc_format("%s/%s", settings->postgres.bin_dir, name));
    } else {
        for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
            consider_all(&choice, usual[i], name);
    }
    if (choice.path == NULL) {
        acc_fail(err, ACC_ESYS,
                 "there is no %s: install the client programs of PostgreSQL, or say where they are "
                 "(postgres.bin_dir)",
                 name);
    } else if (choice.version / 10000 < choice.server && strcmp(name, "pg_restore") != 0) {
        acc_fail(err, ACC_ESYS,
                 "the database is PostgreSQL %d, and the newest %s here is %d: install "
                 "postgresql-client-%d, or say where it is (postgres.bin_dir)",
                 choice.server, name, choice.version / 10000, choice.server);
        free(choice.path);
        choice.path = NULL;
    }
    return choice.path;
}

/* What is told of them */

bool archive_count(struct pg *pg, json_t *counts, struct acc_error *err)
{
    static const char sql[] = "SELECT k.name, coalesce(sum(t.new), 0)::int8 FROM kind k LEFT JOIN "
                              "tally_kind t ON t.kind = k.tag GROUP BY k.name ORDER BY k.name";
    struct pg_args none = {0};
    PGresult *res = pg_exec(pg, sql, &none, err);

    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        json_object_set_new(counts, pg_get_text(res, r, 0), json_integer(pg_get_int8(res, r, 1)));
    PQclear(res);
    return res != NULL;
}

json_t *archive_summary(const char *file, const char *schema, json_t *counts)
{
    const char *name;
    json_t *count;
    int64_t facts = 0;

    json_object_foreach(counts, name, count)
    {
        facts += json_integer_value(count);
    }
    return json_pack("{s:s, s:s, s:I, s:O}", "file", file, "schema", schema, "facts",
                     (json_int_t)facts, "kinds", counts);
}
