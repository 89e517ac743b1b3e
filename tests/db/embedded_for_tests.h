/* A place for a private PostgreSQL, new for every test; what runs in it, and other hosts that do. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "embedded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 20000
#define GRACE_MS 10000

struct place {
    char base[64];
    char data[80];
    char run[160];
    struct settings settings;
};

static inline void pause_ms(int64_t wait_ms)
{
    struct timespec time = {wait_ms / 1000, wait_ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/*
 * The first process of that name whose command line or working directory lies in the place; 0:
 * none.
 */
static inline pid_t process_in(const struct place *place, const char *name)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    assert_non_null(dir);
    while (found == 0 && (entry = readdir(dir)) != NULL) {
        char path[300], text[4096] = "", comm[32] = "";
        FILE *in;
        if ((int)strtol(entry->d_name, NULL, 10) == 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        if ((in = fopen(path, "re")) != NULL) {
            if (fscanf(in, "%31s", comm) != 1)
                comm[0] = '\0';
            fclose(in);
        }
        if (strcmp(comm, name) != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cwd", entry->d_name);
        ssize_t got = readlink(path, text, sizeof(text) - 1);
        if (got > 0 && strncmp(text, place->base, strlen(place->base)) == 0)
            found = (int)strtol(entry->d_name, NULL, 10);
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        if (found == 0 && (in = fopen(path, "re")) != NULL) {
            size_t bytes = fread(text, 1, sizeof(text) - 1, in);
            if (memmem(text, bytes, place->base, strlen(place->base)) != NULL)
                found = (int)strtol(entry->d_name, NULL, 10);
            fclose(in);
        }
    }
    closedir(dir);
    return found;
}

static inline bool holds_within(bool (*claim)(void *arg), void *arg)
{
    int64_t until_us = clock_us() + DEADLINE_MS * 1000;

    while (!claim(arg)) {
        if (clock_us() > until_us)
            return false;
        pause_ms(1);
    }
    return true;
}

static inline bool no_server(void *arg)
{
    return process_in(arg, "postgres") == 0;
}

static inline int setup(void **state)
{
    struct place *place = acc_zalloc(sizeof(*place));

    snprintf(place->base, sizeof(place->base), "/tmp/embedded_test.XXXXXX");
    assert_non_null(mkdtemp(place->base));
    assert_int_equal(chmod(place->base, 0711), 0); /* as root, postgres must pass */
    snprintf(place->data, sizeof(place->data), "%s/data", place->base);
    snprintf(place->run, sizeof(place->run), "%s/run", place->base);
    place->settings.postgres.shared_buffers_bytes = 16 << 20;
    place->settings.postgres.max_wal_bytes = 128 << 20;
    log_setup(LOG_ERROR, false);
    *state = place;
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

/* A test that leaves a server or a child behind has failed. */
static inline int teardown(void **state)
{
    struct place *place = *state;
    bool is_clean = holds_within(no_server, place);
    bool is_childless = waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;

    if (!is_clean || !is_childless)
        print_error("left behind: server %d, children %d\n", !is_clean, !is_childless);
    nftw(place->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(place);
    return is_clean && is_childless ? 0 : -1;
}

static inline struct embedded *start(struct place *place)
{
    struct acc_error err = {0};
    struct embedded *pg = embedded_start(&place->settings, place->data, place->run, &err);

    if (pg == NULL)
        fail_msg("%s", err.text);
    return pg;
}

static inline void start_fails(struct place *place, enum acc_code code, const char *text)
{
    struct acc_error err = {0};
    struct embedded *pg = embedded_start(&place->settings, place->data, place->run, &err);

    assert_null(pg);
    if (strstr(err.text, text) == NULL)
        fail_msg("wanted \"%s\" in: %s", text, err.text);
    assert_int_equal(err.code, code);
}

static inline int lock(struct place *place)
{
    struct acc_error err = {0};
    int fd = embedded_lock(place->data, DEADLINE_MS, &err);

    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

static inline PGconn *connect_to(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

/* Runs one statement on a new connection. Returns the first value, if any; the caller frees. */
static inline char *ask(struct place *place, const char *sql)
{
    char *conninfo = embedded_conninfo_of(place->data, place->run);
    PGconn *conn = connect_to(conninfo);
    PGresult *res = PQexec(conn, sql);
    char *value = NULL;

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        fail_msg("%s", PQerrorMessage(conn));
    if (PQntuples(res) > 0)
        value = acc_strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(conn);
    free(conninfo);
    return value;
}

static inline void tell(struct place *place, const char *sql)
{
    free(ask(place, sql));
}

static inline void answers(struct place *place, const char *sql, const char *wanted)
{
    char *value = ask(place, sql);

    assert_non_null(value);
    assert_string_equal(value, wanted);
    free(value);
}

static inline char *read_text(const char *dir, const char *name)
{
    char *path = acc_format("%s/%s", dir, name);
    char *text = acc_zalloc(65536);
    FILE *in = fopen(path, "re");

    assert_non_null(in);
    text[fread(text, 1, 65535, in)] = '\0';
    fclose(in);
    free(path);
    return text;
}

static inline void write_text(const char *dir, const char *name, const char *text)
{
    char *path = acc_format("%s/%s", dir, name);
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    free(path);
}

static inline char *pg_dir(const struct place *place)
{
    return acc_format("%s/pg", place->data);
}

/* How many clusters in the making lie in the data directory. */
static inline int makings(const struct place *place)
{
    DIR *dir = opendir(place->data);
    struct dirent *entry;
    int count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        count += strncmp(entry->d_name, "pg.new.", 7) == 0;
    if (dir != NULL)
        closedir(dir);
    return count;
}

/*
 * A second host in a process of its own. It takes the lock, starts the server, says so, and waits
 * to be killed.
 */
struct host {
    pid_t pid;
    int said; /* gets "ready" or the text of the error */
};

static inline void host_main(struct place *place, int say, void (*before)(int lock_fd))
{
    struct acc_error err = {0};
    int fd = embedded_lock(place->data, DEADLINE_MS, &err);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd >= 0 && before != NULL)
        before(fd);
    struct embedded *pg =
        fd < 0 ? NULL : embedded_start(&place->settings, place->data, place->run, &err);
    const char *text = pg == NULL ? err.text : "ready";
    if (write(say, text, strlen(text)) < 0)
        _exit(1);
    for (;;)
        pause();
}

static inline struct host host_start(struct place *place, void (*before)(int lock_fd))
{
    struct host host;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    host.pid = fork();
    assert_true(host.pid >= 0);
    if (host.pid == 0)
        host_main(place, ends[1], before);
    close(ends[1]);
    host.said = ends[0];
    return host;
}

static inline void host_says(const struct host *host, const char *wanted)
{
    char text[2048] = "";
    ssize_t got = read(host->said, text, sizeof(text) - 1);

    assert_true(got >= 0);
    if (strstr(text, wanted) == NULL)
        fail_msg("wanted \"%s\" from the other host, got: %s", wanted, text);
}

static inline void host_kill(struct host *host)
{
    kill(host->pid, SIGKILL);
    waitpid(host->pid, NULL, 0);
    close(host->said);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
