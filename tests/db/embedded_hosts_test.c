/* The private PostgreSQL when something dies: the server, a host, initdb; and when two want one place. */
#include "embedded_for_tests.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    shared_pid =
        mmap(NULL, sizeof(*shared_pid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared_pid == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
