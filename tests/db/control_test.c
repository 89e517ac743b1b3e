/* What people set in the database: pause, throttles, tokens, retries; and the figures of the queue. */
#include "control.h"
#include "database_for_tests.h"
#include "tokens.h"

#include <math.h>
#include <sys/wait.h>

#define LIFECYCLES                                                                                 \
    "INSERT INTO lifecycle (id, name, kind, active, generation, module) VALUES "                   \
    "(1, 'first', 7, true, 1, ''), (2, 'second', 7, true, 1, ''), (3, 'gone', 7, false, 1, '')"

static const struct control_act act = {.who = "anna", .reason = "a test"};

static struct http_text text_of(const char *text)
{
    return (struct http_text){text, strlen(text)};
}

static void a_pause_is_seen_by_others_and_written_down(void **state)
{
    struct database *database = *state;
    struct control control = {0};
    struct acc_error err;
    int64_t audit_id;

    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_false(control.is_paused);
    check_ok(control_pause(&database->pg[0], true, &act, &audit_id, &err), &err);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_true(control.is_paused);
    assert_string_equal(control.who, "anna");
    assert_string_equal(control.reason, "a test");
    int64_t since_us = control.since_us;
    assert_true(since_us > INT64_C(1700000000000000));
    /* Paused again: who and why are the new ones, since when is not. */
    struct control_act again = {.who = "ben", .reason = "again"};
    check_ok(control_pause(&database->pg[0], true, &again, &audit_id, &err), &err);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_string_equal(control.who, "ben");
    assert_int_equal(control.since_us, since_us);
    check_ok(control_pause(&database->pg[0], false, &act, &audit_id, &err), &err);
    assert_int_equal(audit_id, 3);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_false(control.is_paused);
    assert_null(control.who);
    /* What is not paused cannot be resumed: nothing is written down. */
    check_ok(control_pause(&database->pg[0], false, &act, &audit_id, &err), &err);
    assert_int_equal(audit_id, 0);
    assert_int_equal(number_of(database, "SELECT count(*) FROM audit WHERE act LIKE 'queue %'"), 3);
    control_clear(&control);
}

static void a_throttle_that_is_set_beats_the_modules_until_it_is_lifted(void **state)
{
    struct database *database = *state;
    struct control control = {0};
    struct acc_error err;
    int64_t audit_id;

    run_sql(&database->pg[0], LIFECYCLES);
    check_ok(control_throttle(&database->pg[0], "second", 12.5, &act, &audit_id, &err), &err);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_true(control_per_s(&control, 2, 100) == 12.5);
    assert_true(control_per_s(&control, 1, 100) == 100);
    assert_true(control_per_s(&control, 1, 0) == 0);
    check_ok(control_throttle(&database->pg[0], "second", 0, &act, &audit_id, &err), &err);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_true(control_per_s(&control, 2, 100) == 100);
    control_clear(&control);
}

static void a_throttle_of_nothing_or_of_no_rate_is_refused(void **state)
{
    struct database *database = *state;
    static const double rates[] = {-1, 1e-9, 1e12, NAN, INFINITY};
    struct acc_error err;
    int64_t audit_id;

    run_sql(&database->pg[0], LIFECYCLES);
    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        assert_false(control_throttle(&database->pg[0], "first", rates[i], &act, &audit_id, &err));
        assert_int_equal(err.code, ACC_EINPUT);
    }
    assert_false(control_throttle(&database->pg[0], "nothing", 5, &act, &audit_id, &err));
    assert_int_equal(err.code, ACC_EINPUT);
    assert_false(control_throttle(&database->pg[0], "gone", 5, &act, &audit_id, &err));
    assert_int_equal(number_of(database, "SELECT count(*) FROM control"), 0);
    assert_int_equal(number_of(database, "SELECT count(*) FROM audit"), 0);
}

static void tables_of_an_older_version_hold_nothing(void **state)
{
    struct database *database = *state;
    struct token_set *set = calloc(1, sizeof(*set));
    struct control control = {0};
    struct acc_error err;

    run_sql(&database->pg[0], "DROP TABLE control; DROP TABLE token");
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_false(control.is_paused);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_int_equal(set->count, 0);
    assert_int_not_equal(set->version, 0);
    run_sql(&database->pg[1], "SELECT 1"); /* the session is as it was */
    assert_int_equal(PQtransactionStatus(database->pg[1].conn), PQTRANS_IDLE);
    free(set);
}

static void people_who_change_it_at_once_are_all_written_down(void **state)
{
    struct database *database = *state;
    pid_t pids[4];
    int written = 0;

    for (int i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct pg pg;
            struct acc_error err;
            int64_t audit_id;
            int written = 0;
            bool ok = pg_open(&pg, getenv("ACCRETE_TEST_URL"), database->schema, 5000, 20000, &err);

            for (int n = 0; ok && n < 10; n++) {
                ok = control_pause(&pg, n % 2 == 0, &act, &audit_id, &err);
                written += ok && audit_id > 0; /* a resume may come after another's */
            }
            _exit(ok ? written : 100);
        }
    }
    for (int i = 0; i < 4; i++) {
        int status;

        waitpid(pids[i], &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) >= 5 && WEXITSTATUS(status) <= 10);
        written += WEXITSTATUS(status);
    }
    assert_int_equal(number_of(database, "SELECT count(*) FROM audit"), written);
    assert_int_equal(number_of(database, "SELECT max(id) FROM audit"), written);
}

static void a_token_opens_until_it_is_revoked(void **state)
{
    struct database *database = *state;
    struct token_set *set = calloc(1, sizeof(*set));
    struct pg *pg = &database->pg[0];
    char secret[2][TOKEN_BYTES];
    struct acc_error err;
    const char *name;
    enum http_role role;
    int64_t audit_id;

    check_ok(token_new(pg, "one", HTTP_ROLE_READ, "anna", "", secret[0], &audit_id, &err), &err);
    check_ok(token_new(pg, "two", HTTP_ROLE_ADMIN, "anna", "", secret[1], &audit_id, &err), &err);
    assert_int_equal(strlen(secret[0]), TOKEN_BYTES - 1);
    assert_string_not_equal(secret[0], secret[1]);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_int_equal(set->count, 2);
    uint64_t version = set->version;
    assert_true(tokens_check(set, text_of(secret[0]), &name, &role));
    assert_string_equal(name, "one");
    assert_int_equal(role, HTTP_ROLE_READ);
    assert_true(tokens_check(set, text_of(secret[1]), &name, &role));
    assert_string_equal(name, "two");
    assert_int_equal(role, HTTP_ROLE_ADMIN);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_true(set->version == version);
    check_ok(token_revoke(pg, "two", "anna", "", &audit_id, &err), &err);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_false(set->version == version);
    assert_false(tokens_check(set, text_of(secret[1]), &name, &role));
    assert_true(tokens_check(set, text_of(secret[0]), &name, &role));
    assert_false(token_revoke(pg, "two", "anna", "", &audit_id, &err));
    assert_int_equal(err.code, ACC_EINPUT);
    /* Its name is not given again. */
    assert_false(token_new(pg, "two", HTTP_ROLE_READ, "anna", "", secret[1], &audit_id, &err));
    assert_int_equal(err.code, ACC_EINPUT);
    free(set);
}

static void what_is_no_token_opens_nothing(void **state)
{
    struct database *database = *state;
    struct token_set *set = calloc(1, sizeof(*set));
    char secret[TOKEN_BYTES];
    char changed[TOKEN_BYTES + 1];
    struct acc_error err;
    const char *name;
    enum http_role role;
    int64_t audit_id;

    assert_false(tokens_check(set, text_of(""), &name, &role)); /* no tokens at all */
    check_ok(token_new(&database->pg[0], "one", HTTP_ROLE_READ, NULL, "", secret, &audit_id, &err),
             &err);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    for (size_t i = 0; i < TOKEN_BYTES - 1; i++) {
        strcpy(changed, secret);
        changed[i] ^= 1;
        assert_false(tokens_check(set, text_of(changed), &name, &role));
        changed[i] ^= 1;
        changed[i] = '\0'; /* cut */
        assert_false(tokens_check(set, text_of(changed), &name, &role));
    }
    snprintf(changed, sizeof(changed), "%s ", secret);
    assert_false(tokens_check(set, text_of(changed), &name, &role));
    assert_false(tokens_check(set, (struct http_text){secret, TOKEN_BYTES}, &name, &role));
    assert_false(tokens_check(set, (struct http_text){"", 0}, &name, &role));
    /* Rows that we did not make open nothing. */
    run_sql(&database->pg[0], "INSERT INTO token VALUES ('odd', 'king', sha256('x'), now(), 'x'), "
                              "('short', 'admin', 'x', now(), 'x'), ('', 'none', '', now(), 'x')");
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_false(tokens_check(set, text_of("x"), &name, &role));
    assert_int_equal(set->count, 1);
    free(set);
}

static void there_is_a_most_number_of_tokens(void **state)
{
    struct database *database = *state;
    struct token_set *set = calloc(1, sizeof(*set));
    char secret[TOKEN_BYTES];
    struct acc_error err;
    int64_t audit_id;

    run_sql(&database->pg[0], "INSERT INTO token SELECT 't' || n, 'read', sha256(n::text::bytea), "
                              "now(), 'x' FROM generate_series(1, 256) n");
    assert_false(
        token_new(&database->pg[0], "more", HTTP_ROLE_READ, NULL, "", secret, &audit_id, &err));
    assert_int_equal(err.code, ACC_ELIMIT);
    check_ok(tokens_load(set, &database->pg[1], &err), &err);
    assert_int_equal(set->count, TOKENS_MAX);
    free(set);
}

static void the_role_of_workers_sees_no_token(void **state)
{
    struct database *database = *state;
    struct token_set *set = calloc(1, sizeof(*set));
    struct control control = {0};
    struct acc_error err;

    check_ok(schema_become(&database->pg[1], database->schema, "worker", &err), &err);
    check_ok(control_read(&control, &database->pg[1], &err), &err);
    assert_false(tokens_load(set, &database->pg[1], &err));
    assert_string_equal(err.sqlstate, "42501");
    assert_int_equal(set->version, 0);
    control_clear(&control);
    free(set);
}

static void depths_are_those_of_each_lifecycle(void **state)
{
    struct database *database = *state;
    struct queue_depth *depths;
    struct queue_state whole;
    struct acc_error err;
    size_t count;

    run_sql(&database->pg[0], LIFECYCLES);
    run_sql(&database->pg[0],
            "INSERT INTO packet (bucket, id, lifecycle, priority, tries, born, n, payload) VALUES "
            "(0, 1, 1, 0, 0, '2026-01-01', 10, ''), (1, 2, 1, 0, 2, '2026-01-02', 5, ''), "
            "(0, 3, 3, 0, 0, '2026-01-03', 7, '')");
    run_sql(&database->pg[0],
            "INSERT INTO parked SELECT l, gen_random_uuid(), 0, s, 1, '', '', 1, now(), now(), "
            "now() FROM (VALUES (1, 'dead'), (1, 'dead'), (1, 'queued'), (2, 'delayed'), "
            "(2, 'discarded')) v(l, s)");
    run_sql(&database->pg[0], "INSERT INTO replay VALUES (2, 0, gen_random_uuid()), "
                              "(2, 1, gen_random_uuid())");
    check_ok(queue_depths(&database->pg[1], &depths, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_int_equal(depths[0].lifecycle, 1);
    assert_int_equal(depths[0].ready, 15);
    assert_int_equal(depths[0].packets, 2);
    assert_int_equal(depths[0].quarantined, 5);
    assert_int_equal(depths[0].dead, 2);
    assert_int_equal(depths[0].delayed, 0);
    assert_int_equal(depths[0].oldest_born_us, INT64_C(1767225600000000));
    assert_int_equal(depths[1].ready, 0);
    assert_int_equal(depths[1].delayed, 1);
    assert_int_equal(depths[1].discarded, 1);
    assert_int_equal(depths[1].replays, 2);
    assert_int_equal(depths[1].oldest_born_us, 0);
    assert_int_equal(depths[2].ready, 7);
    free(depths);
    check_ok(queue_state(&whole, &database->pg[1], &err), &err);
    assert_int_equal(whole.ready, 15);
    assert_int_equal(whole.orphaned, 7);
    assert_int_equal(whole.dead, 2);
    assert_false(queue_is_fixpoint(&whole));
}

static void packets_are_seen_in_line_without_being_taken(void **state)
{
    struct database *database = *state;
    const int16_t lifecycles[] = {1, 2};
    const int64_t without[] = {2};
    struct queue_look look = {.lifecycles = lifecycles,
                              .lifecycle_count = 2,
                              .bucket = -1,
                              .without = without,
                              .without_count = 1,
                              .most = 2};
    struct packet **packets;
    struct acc_error err;
    size_t count;

    run_sql(&database->pg[0],
            "INSERT INTO packet (bucket, id, lifecycle, priority, tries, born, n, payload) SELECT "
            "n % 2, n, 1 + n % 3, 0, 0, timestamptz '2026-01-01' - n * interval '1 us', 1, '' "
            "FROM generate_series(1, 9) n");
    check_ok(queue_see(&look, &database->pg[1], &packets, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_int_equal(packets[0]->id, 9);
    assert_int_equal(packets[1]->id, 7); /* 8 is of another lifecycle */
    look.from_born_us = packets[1]->born_us;
    look.from_id = packets[1]->id;
    packet_free(packets[0]);
    packet_free(packets[1]);
    free(packets);
    look.most = 10;
    look.bucket = 1;
    check_ok(queue_see(&look, &database->pg[1], &packets, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_int_equal(packets[0]->id, 7);
    assert_int_equal(packets[1]->id, 3);
    assert_int_equal(packets[2]->id, 1);
    for (size_t i = 0; i < count; i++)
        packet_free(packets[i]);
    free(packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(a_pause_is_seen_by_others_and_written_down),
        database_test(a_throttle_that_is_set_beats_the_modules_until_it_is_lifted),
        database_test(a_throttle_of_nothing_or_of_no_rate_is_refused),
        database_test(tables_of_an_older_version_hold_nothing),
        database_test(people_who_change_it_at_once_are_all_written_down),
        database_test(a_token_opens_until_it_is_revoked),
        database_test(what_is_no_token_opens_nothing),
        database_test(there_is_a_most_number_of_tokens),
        database_test(the_role_of_workers_sees_no_token),
        database_test(depths_are_those_of_each_lifecycle),
        database_test(packets_are_seen_in_line_without_being_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
