/* What became of retries, told by the rows of parked events alone. */
#include "database_for_tests.h"
#include "parked.h"
#include "retries.h"

#include <sys/wait.h>

#define EVENTS                                                                                     \
    "INSERT INTO lifecycle (id, name, kind, active, generation, module) VALUES "                   \
    "(1, 'first', 7, true, 1, ''); INSERT INTO parked (lifecycle, fact, bucket, state, attempts, " \
    "error, trace, generation, first_at, last_at, ready_at) SELECT 1, "                            \
    "lpad(to_hex(n), 32, '0')::uuid, 0, 'dead', 3, 'no', '', 1, now(), now(), now() "              \
    "FROM generate_series(1, 5) n"
/* As workers do: an event that is done leaves no row, one that fails again carries its retry's number negative. */
#define DONE(which) "DELETE FROM parked WHERE fact::text ~ '" which "$'"
#define FAILS(which, state)                                                                        \
    "UPDATE parked SET state = '" state "', retry = -abs(retry) WHERE fact::text ~ '" which "$'"

static int64_t act(struct database *database, const char *state, bool is_retry, int64_t expect)
{
    struct parked_filter filter = {.state = state};
    struct parked_act wish = {.filter = &filter,
                              .is_retry = is_retry,
                              .who = "anna",
                              .what = "all",
                              .reason = "a test",
                              .expect = expect};
    struct acc_error err;
    int64_t audit_id;
    int64_t count;

    check_ok(parked_change(&database->pg[0], &wish, &count, &audit_id, &err), &err);
    return audit_id;
}

static bool settle(struct database *database)
{
    struct acc_error err;
    bool is_open;

    check_ok(retries_settle(&database->pg[1], &is_open, &err), &err);
    return is_open;
}

/* The result, whose time is shown as T. */
static void result_is(struct database *database, int64_t audit_id, const char *wanted)
{
    struct pg_args args = {0};

    pg_int8(&args, audit_id);
    PGresult *res =
        pg_exec(&database->pg[0],
                "SELECT regexp_replace(result, '[0-9.]+ s$', 'T') FROM audit WHERE id = $1", &args,
                &database->fixture->err);
    assert_non_null(res);
    assert_string_equal(pg_get_text(res, 0, 0), wanted);
    PQclear(res);
}

static void a_retry_has_ended_when_the_last_of_its_events_has(void **state)
{
    struct database *database = *state;

    run_sql(&database->pg[0], EVENTS);
    assert_false(settle(database));
    int64_t retry = act(database, "dead", true, 5);
    assert_true(settle(database));
    run_sql(&database->pg[0], DONE("[123]"));
    run_sql(&database->pg[0], FAILS("4", "dead"));
    assert_true(settle(database));
    result_is(database, retry, "5 queued");
    run_sql(&database->pg[0], FAILS("5", "delayed"));
    assert_false(settle(database));
    result_is(database, retry, "5 queued; 3 done, 1 dead again, 1 delayed again after T");
    assert_false(settle(database));
    result_is(database, retry, "5 queued; 3 done, 1 dead again, 1 delayed again after T");
}

static void events_that_are_retried_again_count_with_the_later_retry(void **state)
{
    struct database *database = *state;

    run_sql(&database->pg[0], EVENTS);
    int64_t first = act(database, "dead", true, 5);
    run_sql(&database->pg[0], FAILS("[12]", "dead"));
    int64_t second = act(database, "dead", true, 2);
    run_sql(&database->pg[0], DONE("[2345]"));
    assert_true(settle(database));
    result_is(database, first, "5 queued; 3 done, 2 retried again after T");
    result_is(database, second, "2 queued");
    run_sql(&database->pg[0], FAILS("1", "dead"));
    assert_false(settle(database));
    result_is(database, second, "2 queued; 1 done, 1 dead again after T");
    result_is(database, first, "5 queued; 3 done, 2 retried again after T");
}

static void events_of_a_removed_lifecycle_hold_no_retry_up(void **state)
{
    struct database *database = *state;

    run_sql(&database->pg[0], EVENTS);
    int64_t retry = act(database, "dead", true, 5);
    run_sql(&database->pg[0], DONE("[12]"));
    run_sql(&database->pg[0], FAILS("3", "dead"));
    run_sql(&database->pg[0], "UPDATE lifecycle SET active = false");
    assert_false(settle(database));
    result_is(database, retry,
              "5 queued; 2 done, 1 dead again, 2 left of a lifecycle that was removed after T");
}

static void a_discard_may_be_the_end_of_a_retry(void **state)
{
    struct database *database = *state;

    run_sql(&database->pg[0], EVENTS);
    int64_t retry = act(database, "dead", true, 5);
    run_sql(&database->pg[0], DONE("1"));
    int64_t discard = act(database, "delayed", false, 4);
    result_is(database, retry, "5 queued; 1 done, 4 discarded after T");
    result_is(database, discard, "4 events");
    assert_int_equal(number_of(database, "SELECT count(*) FROM retry"), 0);
}

static void a_retry_of_nothing_or_of_others_than_meant_leaves_none_open(void **state)
{
    struct database *database = *state;
    struct parked_filter filter = {.state = "dead"};
    struct parked_act wish = {
        .filter = &filter, .is_retry = true, .what = "all", .reason = "a test", .expect = 4};
    struct acc_error err;
    int64_t audit_id;
    int64_t count;

    int64_t retry = act(database, "dead", true, 0);
    result_is(database, retry, "0 queued");
    run_sql(&database->pg[0], EVENTS);
    assert_false(parked_change(&database->pg[0], &wish, &count, &audit_id, &err));
    assert_int_equal(count, 5);
    assert_false(settle(database));
    assert_int_equal(number_of(database, "SELECT count(*) FROM audit"), 1);
    assert_int_equal(number_of(database, "SELECT count(*) FROM parked WHERE retry IS NOT NULL"), 0);
}

static void of_workers_who_see_the_end_at_once_one_writes_it(void **state)
{
    struct database *database = *state;
    pid_t pids[4];
    int status;

    run_sql(&database->pg[0], EVENTS);
    int64_t retry = act(database, "dead", true, 5);
    run_sql(&database->pg[0], DONE("."));
    for (size_t i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct pg pg = {0};
            struct acc_error err;
            bool is_open = true;
            bool ok =
                pg_open(&pg, getenv("ACCRETE_TEST_URL"), database->schema, 5000, 20000, &err) &&
                schema_become(&pg, database->schema, "worker", &err) &&
                retries_settle(&pg, &is_open, &err);
            _exit(ok && !is_open ? 0 : 1);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    result_is(database, retry, "5 queued; 5 done after T");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(a_retry_has_ended_when_the_last_of_its_events_has),
        database_test(events_that_are_retried_again_count_with_the_later_retry),
        database_test(events_of_a_removed_lifecycle_hold_no_retry_up),
        database_test(a_discard_may_be_the_end_of_a_retry),
        database_test(a_retry_of_nothing_or_of_others_than_meant_leaves_none_open),
        database_test(of_workers_who_see_the_end_at_once_one_writes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
