/* Statements that stand alone: what the server refuses for others' sake is sent again, unseen by the caller. */
#include "database_for_tests.h"

#include <pthread.h>

struct rival {
    struct database *database;
    int pid; /* of the session that is to wait for us */
    bool has_committed;
};

/* Holds the row until the other session waits for it, then commits: that one's snapshot is too old. */
static void *hold_until_waited_for(void *context)
{
    struct rival *rival = context;
    char *sql = acc_format("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND "
                           "wait_event_type = 'Lock'",
                           rival->pid);

    for (int i = 0; i < 1000 && number_of(rival->database, sql) == 0; i++)
        usleep(10000);
    free(sql);
    rival->has_committed = pg_do(&rival->database->pg[0], "COMMIT", NULL, NULL);
    return NULL;
}

static void rival_begins(struct database *database, struct rival *rival, pthread_t *thread)
{
    *rival = (struct rival){.database = database, .pid = PQbackendPID(database->pg[1].conn)};
    run_sql(&database->pg[0], "BEGIN ISOLATION LEVEL READ COMMITTED; UPDATE counter SET n = n + 1");
    assert_int_equal(pthread_create(thread, NULL, hold_until_waited_for, rival), 0);
}

static void rival_ends(const struct rival *rival, pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(rival->has_committed);
}

static const char more[] = "UPDATE counter SET n = n + 1 RETURNING n";

static void a_statement_alone_is_sent_again(void **state)
{
    struct database *database = *state;
    struct pg_stmt stmt = {.sql = more};
    struct acc_error err;
    struct rival rival;
    pthread_t thread;

    run_sql(&database->pg[0], "CREATE TABLE counter (n int8); INSERT INTO counter VALUES (0)");
    rival_begins(database, &rival, &thread);
    PGresult *res = pg_query(&database->pg[1], &stmt, NULL, &err);
    check_ok(res != NULL, &err);
    assert_int_equal(pg_get_int8(res, 0, 0), 2);
    PQclear(res);
    rival_ends(&rival, thread);

    rival_begins(database, &rival, &thread);
    check_ok(pg_do(&database->pg[1], more, NULL, &err), &err);
    rival_ends(&rival, thread);
    assert_int_equal(number_of(database, "SELECT n FROM counter"), 4);
}

/* Within a transaction that would not do: what was read before would be of another time. */
static void within_a_transaction_it_is_not(void **state)
{
    struct database *database = *state;
    struct acc_error err;
    struct rival rival;
    pthread_t thread;

    run_sql(&database->pg[0], "CREATE TABLE counter (n int8); INSERT INTO counter VALUES (0)");
    run_sql(&database->pg[1], "BEGIN; SELECT n FROM counter");
    rival_begins(database, &rival, &thread);
    assert_false(pg_do(&database->pg[1], more, NULL, &err));
    assert_string_equal(err.sqlstate, "40001");
    run_sql(&database->pg[1], "ROLLBACK");
    rival_ends(&rival, thread);
    assert_int_equal(number_of(database, "SELECT n FROM counter"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(a_statement_alone_is_sent_again),
        database_test(within_a_transaction_it_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
