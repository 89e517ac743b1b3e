/* The private PostgreSQL, each time in a directory of its own; needs no running server. */
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

static void pause_ms(int64_t wait_ms)
{
    struct timespec time = {wait_ms / 1000, wait_ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/*
 * The first process of that name whose command line or working directory lies in the place; 0:
 * none.
 */
static pid_t process_in(const struct place *place, const char *name)
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

static bool holds_within(bool (*claim)(void *arg), void *arg)
{
    int64_t until_us = clock_us() + DEADLINE_MS * 1000;

    while (!claim(arg)) {
        if (clock_us() > until_us)
            return false;
        pause_ms(1);
    }
    return true;
}

static bool no_server(void *arg)
{
    return process_in(arg, "postgres") == 0;
}

static int setup(void **state)
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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

/* A test that leaves a server or a child behind has failed. */
static int teardown(void **state)
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

static struct embedded *start(struct place *place)
{
    struct acc_error err = {0};
    struct embedded *pg = embedded_start(&place->settings, place->data, place->run, &err);

    if (pg == NULL)
        fail_msg("%s", err.text);
    return pg;
}

static void start_fails(struct place *place, enum acc_code code, const char *text)
{
    struct acc_error err = {0};
    struct embedded *pg = embedded_start(&place->settings, place->data, place->run, &err);

    assert_null(pg);
    if (strstr(err.text, text) == NULL)
        fail_msg("wanted \"%s\" in: %s", text, err.text);
    assert_int_equal(err.code, code);
}

static int lock(struct place *place)
{
    struct acc_error err = {0};
    int fd = embedded_lock(place->data, DEADLINE_MS, &err);

    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

static PGconn *connect_to(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

/* Runs one statement on a new connection. Returns the first value, if any; the caller frees. */
static char *ask(struct place *place, const char *sql)
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

static void tell(struct place *place, const char *sql)
{
    free(ask(place, sql));
}

static void answers(struct place *place, const char *sql, const char *wanted)
{
    char *value = ask(place, sql);

    assert_non_null(value);
    assert_string_equal(value, wanted);
    free(value);
}

static char *read_text(const char *dir, const char *name)
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

static void write_text(const char *dir, const char *name, const char *text)
{
    char *path = acc_format("%s/%s", dir, name);
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    free(path);
}

static char *pg_dir(const struct place *place)
{
    return acc_format("%s/pg", place->data);
}

/* How many clusters in the making lie in the data directory. */
static int makings(const struct place *place)
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

static void host_main(struct place *place, int say, void (*before)(int lock_fd))
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

static struct host host_start(struct place *place, void (*before)(int lock_fd))
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

static void host_says(const struct host *host, const char *wanted)
{
    char text[2048] = "";
    ssize_t got = read(host->said, text, sizeof(text) - 1);

    assert_true(got >= 0);
    if (strstr(text, wanted) == NULL)
        fail_msg("wanted \"%s\" from the other host, got: %s", wanted, text);
}

static void host_kill(struct host *host)
{
    kill(host->pid, SIGKILL);
    waitpid(host->pid, NULL, 0);
    close(host->said);
}

static void an_empty_place_gets_a_server_that_root_does_not_run(void **state)
{
    struct place *place = *state;
    int fd = lock(place);
    struct embedded *pg = start(place);
    char *conninfo = embedded_conninfo_of(place->data, place->run);
    char *dir = pg_dir(place);
    struct stat st;

    assert_string_equal(embedded_conninfo(pg), conninfo);
    assert_true(embedded_alive(pg, NULL));
    answers(place, "select current_database() || ' ' || current_user", "accrete accrete");
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_not_equal(st.st_uid, 0);
    assert_int_equal(makings(place), 0);

    embedded_stop(pg, GRACE_MS);
    free(conninfo);
    free(dir);
    close(fd);
}

static void a_restart_keeps_the_data(void **state)
{
    struct place *place = *state;
    int fd = lock(place);
    struct embedded *pg = start(place);

    tell(place, "create table kept as select 7 as seven");
    embedded_stop(pg, GRACE_MS);
    pg = start(place);
    answers(place, "select seven from kept", "7");
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void the_server_never_forgets_and_listens_to_nobody_else(void **state)
{
    struct place *place = *state;
    int fd = lock(place);
    struct embedded *pg = start(place);

    tell(place, "alter system set fsync = off");
    tell(place, "alter system set full_page_writes = off");
    tell(place, "alter system set listen_addresses = '*'");
    tell(place, "alter system set work_mem = '5MB'");
    embedded_stop(pg, GRACE_MS);
    pg = start(place);
    answers(place, "show fsync", "on");
    answers(place, "show full_page_writes", "on");
    answers(place, "show synchronous_commit", "on");
    answers(place, "show data_checksums", "on");
    answers(place, "show listen_addresses", "");
    answers(place, "show unix_socket_permissions", "0700");
    answers(place, "show work_mem", "5MB"); /* what an operator may change he may change */
    answers(place, "show shared_buffers", "16MB");
    answers(place, "show max_wal_size", "128MB");
    answers(place, "show jit", "off");
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void errors_leave_no_user_data_in_the_log(void **state)
{
    struct place *place = *state;
    int fd = lock(place);
    struct embedded *pg = start(place);
    PGconn *quiet = connect_to(embedded_conninfo(pg));
    char *loud_info = acc_format("%s options=''", embedded_conninfo(pg));
    PGconn *loud = connect_to(loud_info);
    const char *value[] = {"confidential"};

    PQclear(PQexec(
        quiet, "create table one (v text primary key); insert into one values ('confidential')"));
    for (int i = 0; i < 2; i++) {
        PGresult *res = PQexecParams(i == 0 ? quiet : loud, "insert into one values ($1)", 1, NULL,
                                     value, NULL, NULL, 0);
        assert_string_equal(PQresultErrorField(res, PG_DIAG_SQLSTATE), "23505");
        PQclear(res);
    }
    char *log = read_text(place->data, "pg.log");
    assert_null(strstr(log, "confidential"));
    char *first = strstr(log, "duplicate key");
    assert_non_null(first); /* of the loud one */
    assert_null(strstr(first + 1, "duplicate key"));

    free(log);
    free(loud_info);
    PQfinish(quiet);
    PQfinish(loud);
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static bool has_ended(void *arg)
{
    return !embedded_alive(arg, NULL);
}

static void killed_by(struct place *place, int number, const char *told)
{
    int fd = lock(place);
    struct embedded *pg = start(place);
    struct acc_error why = {0};

    tell(place, "create table kept as select 7 as seven");
    PGconn *busy = connect_to(embedded_conninfo(pg));
    assert_int_equal(PQsendQuery(busy, "select count(*) from generate_series(1, 1000000000)"), 1);

    kill(embedded_pid(pg), number);
    assert_true(holds_within(has_ended, pg));
    assert_false(embedded_alive(pg, &why));
    if (strstr(why.text, told) == NULL)
        fail_msg("wanted \"%s\" in: %s", told, why.text);
    embedded_forget(pg);

    pg = start(place);
    answers(place, "select seven from kept", "7");
    PQfinish(busy);
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void a_killed_postmaster_is_noticed_and_recovers(void **state)
{
    killed_by(*state, SIGKILL, "was killed by signal 9");
}

static void an_immediate_shutdown_under_us_is_noticed_and_recovers(void **state)
{
    killed_by(*state, SIGQUIT, "ended with status 0");
}

static void the_next_host_starts_right_after_a_killed_one(void **state)
{
    struct place *place = *state;
    struct host first = host_start(place, NULL);

    host_says(&first, "ready");
    tell(place, "create table kept as select 7 as seven");
    host_kill(&first);

    int fd = lock(place);
    struct embedded *pg = start(place);
    answers(place, "select seven from kept", "7");
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void a_second_host_is_refused_with_the_pid_of_the_first(void **state)
{
    struct place *place = *state;
    struct acc_error err = {0};
    struct host first = host_start(place, NULL);
    char *wanted = acc_format("(pid %d)", (int)first.pid);

    host_says(&first, "ready");
    int64_t began_us = clock_us();
    assert_int_equal(embedded_lock(place->data, DEADLINE_MS, &err), -1);
    assert_true(clock_us() - began_us < 1000000); /* it lives, so there is nothing to wait for */
    assert_int_equal(err.code, ACC_ESYS);
    assert_non_null(strstr(err.text, wanted));
    assert_non_null(strstr(err.text, place->data));

    free(wanted);
    host_kill(&first);
}

static pid_t *shared_pid; /* in memory that forks share */

static void leave_a_child_with_the_lock(int lock_fd)
{
    pid_t pid = fork();

    (void)lock_fd;
    if (pid == 0)
        for (;;)
            pause();
    *shared_pid = pid;
}

static void leave_a_child_without_the_lock(int lock_fd)
{
    pid_t pid = fork();

    if (pid == 0) {
        embedded_lock_release_in_child(lock_fd);
        for (;;)
            pause();
    }
    *shared_pid = pid;
}

static void a_child_that_kept_the_lock_is_waited_for_and_told_of(void **state)
{
    struct place *place = *state;
    struct acc_error err = {0};
    struct host first = host_start(place, leave_a_child_with_the_lock);

    host_says(&first, "ready");
    host_kill(&first);
    assert_int_equal(embedded_lock(place->data, 50, &err), -1);
    assert_non_null(strstr(err.text, "left behind"));

    kill(*shared_pid, SIGKILL);
    close(lock(place));
}

static void a_child_that_released_the_lock_keeps_nobody_out(void **state)
{
    struct place *place = *state;
    struct acc_error err = {0};
    struct host first = host_start(place, leave_a_child_without_the_lock);

    host_says(&first, "ready");
    host_kill(&first);
    int fd = embedded_lock(place->data, 0, &err);
    assert_true(fd >= 0);
    kill(*shared_pid, SIGKILL);
    close(fd);
}

/* A process that a stale pid file may name: alive, and of the user that runs PostgreSQL. */
static pid_t stranger_of(uid_t uid)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0 && setuid(uid) != 0)
            _exit(1);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid forgets it */
        for (;;)
            pause();
    }
    return pid;
}

static void a_pid_file_that_names_no_server_is_removed(void **state)
{
    struct place *place = *state;
    int fd = lock(place);
    struct embedded *pg = start(place);
    char *dir = pg_dir(place);
    struct stat st;

    embedded_stop(pg, GRACE_MS);
    assert_int_equal(stat(dir, &st), 0);
    pid_t stranger = stranger_of(st.st_uid);
    char *text = acc_format("%d\n%s\n1\n5432\n", (int)stranger, dir);
    write_text(dir, "postmaster.pid", text);

    pg = start(place);
    assert_int_equal(kill(stranger, 0), 0);
    embedded_stop(pg, GRACE_MS);

    kill(stranger, SIGKILL); /* now a zombie: a killed postmaster that nobody has waited for */
    write_text(dir, "postmaster.pid", text);
    pg = start(place);
    embedded_stop(pg, GRACE_MS);
    waitpid(stranger, NULL, 0);

    write_text(dir, "postmaster.pid", ""); /* as a power cut leaves it */
    pg = start(place);
    embedded_stop(pg, GRACE_MS);

    free(text);
    free(dir);
    close(fd);
}

static void a_server_that_somebody_else_started_is_left_alone(void **state)
{
    struct place *place = *state;
    struct host first = host_start(place, NULL);

    host_says(&first, "ready"); /* and now without its lock */
    start_fails(place, ACC_ESYS, "that this host did not start still runs");
    answers(place, "select 1", "1");
    host_kill(&first);
}

static bool is_making(void *arg)
{
    return process_in(arg, "initdb") != 0 && makings(arg) == 1;
}

static void a_host_killed_during_initdb_leaves_no_half_cluster(void **state)
{
    struct place *place = *state;

    for (int i = 0; i < 4; i++) { /* at various moments */
        struct host first = host_start(place, NULL);
        assert_true(holds_within(is_making, place));
        pause_ms(60 * i);
        host_kill(&first);
        char *dir = pg_dir(place);
        assert_int_equal(access(dir, F_OK), -1);
        free(dir);
    }
    int fd = lock(place);
    struct embedded *pg = start(place);
    answers(place, "select 1", "1");
    assert_int_equal(makings(place), 0);
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void a_killed_initdb_is_an_error_and_the_next_start_works(void **state)
{
    struct place *place = *state;
    struct host first = host_start(place, NULL);

    assert_true(holds_within(is_making, place));
    kill(process_in(place, "initdb"), SIGKILL);
    host_says(&first, "was killed by signal 9");
    host_kill(&first);

    int fd = lock(place);
    struct embedded *pg = start(place);
    assert_int_equal(makings(place), 0);
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

static void a_socket_path_that_is_too_long_is_refused(void **state)
{
    struct place *place = *state;
    struct place far = *place;

    close(lock(place));
    snprintf(far.run, sizeof(far.run), "%s/%080d", place->base, 0);
    start_fails(&far, ACC_EINPUT, "at most 106");
    assert_int_equal(access(far.run, F_OK), -1);
}

static void a_cluster_of_another_major_version_is_refused(void **state)
{
    struct place *place = *state;
    char *dir = pg_dir(place);

    close(lock(place));
    assert_int_equal(mkdir(dir, 0700), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(dir, getpwnam("postgres")->pw_uid, (gid_t)-1), 0);
    write_text(dir, "README", "");
    start_fails(place, ACC_ESYS, "is no PostgreSQL cluster");
    write_text(dir, "PG_VERSION", "9\n");
    start_fails(place, ACC_ESYS, "was made by PostgreSQL 9");
    free(dir);
}

static void a_directory_without_postgresql_is_refused(void **state)
{
    struct place *place = *state;

    close(lock(place));
    place->settings.postgres.bin_dir = place->base;
    start_fails(place, ACC_ESYS, "found no PostgreSQL 14 or newer");
}

static void a_directory_that_the_servers_user_cannot_enter_is_named(void **state)
{
    struct place *place = *state;

    if (geteuid() != 0)
        skip();
    close(lock(place));
    assert_int_equal(chmod(place->base, 0700), 0);
    start_fails(place, ACC_ESYS, "cannot enter \"/tmp/embedded_test.");
}

static void a_signal_that_is_pending_ends_the_wait(void **state)
{
    struct place *place = *state;
    sigset_t term, old;
    siginfo_t info;

    close(lock(place));
    embedded_stop(start(place), GRACE_MS);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &old);
    kill(getpid(), SIGTERM);
    start_fails(place, ACC_ESYS, "told to stop");
    sigwaitinfo(&term, &info);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void a_fork_does_not_stop_the_server(void **state)
{
    struct place *place = *state;
    int fd = lock(place), status;
    struct embedded *pg = start(place);
    pid_t child = fork();

    if (child == 0) {
        embedded_stop(pg, GRACE_MS);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    answers(place, "select 1", "1");
    embedded_stop(pg, GRACE_MS);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_place_gets_a_server_that_root_does_not_run),
        TEST(a_restart_keeps_the_data),
        TEST(the_server_never_forgets_and_listens_to_nobody_else),
        TEST(errors_leave_no_user_data_in_the_log),
        TEST(a_killed_postmaster_is_noticed_and_recovers),
        TEST(an_immediate_shutdown_under_us_is_noticed_and_recovers),
        TEST(the_next_host_starts_right_after_a_killed_one),
        TEST(a_second_host_is_refused_with_the_pid_of_the_first),
        TEST(a_child_that_kept_the_lock_is_waited_for_and_told_of),
        TEST(a_child_that_released_the_lock_keeps_nobody_out),
        TEST(a_pid_file_that_names_no_server_is_removed),
        TEST(a_server_that_somebody_else_started_is_left_alone),
        TEST(a_host_killed_during_initdb_leaves_no_half_cluster),
        TEST(a_killed_initdb_is_an_error_and_the_next_start_works),
        TEST(a_socket_path_that_is_too_long_is_refused),
        TEST(a_cluster_of_another_major_version_is_refused),
        TEST(a_directory_without_postgresql_is_refused),
        TEST(a_directory_that_the_servers_user_cannot_enter_is_named),
        TEST(a_signal_that_is_pending_ends_the_wait),
        TEST(a_fork_does_not_stop_the_server),
    };

    shared_pid =
        mmap(NULL, sizeof(*shared_pid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared_pid == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
