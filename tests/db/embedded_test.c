/* The private PostgreSQL, each time in a directory of its own; needs no running server. */
#include "embedded_for_tests.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_place_gets_a_server_that_root_does_not_run),
        TEST(a_restart_keeps_the_data),
        TEST(the_server_never_forgets_and_listens_to_nobody_else),
        TEST(errors_leave_no_user_data_in_the_log),
        TEST(a_socket_path_that_is_too_long_is_refused),
        TEST(a_cluster_of_another_major_version_is_refused),
        TEST(a_directory_without_postgresql_is_refused),
        TEST(a_directory_that_the_servers_user_cannot_enter_is_named),
        TEST(a_signal_that_is_pending_ends_the_wait),
        TEST(a_fork_does_not_stop_the_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
