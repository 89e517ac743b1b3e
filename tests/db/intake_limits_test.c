/* Intake where something gives way: room, the socket, a statement, the connection. */
#include "intake_for_tests.h"

#define WIDE 12           /* facts */
#define WIDE_BYTES 900000 /* of each */

static void what_a_socket_does_not_take_at_once_is_known_and_goes_later(void **state)
{
    static struct pg_stmt stmt = {.sql = "SELECT length($1::text)::int8"};
    struct database *database = *state;
    struct pg pg;
    struct pg_args args = {0};
    struct acc_error err;
    char *wide = malloc(WIDE * WIDE_BYTES + 1);
    bool is_ready = false;

    memset(wide, 'w', WIDE * WIDE_BYTES);
    wide[WIDE * WIDE_BYTES] = '\0';
    check_ok(pg_open_start(&pg, getenv("ACCRETE_TEST_URL"), database->schema, 0, &err), &err);
    while (!is_ready) {
        poll(NULL, 0, 1);
        check_ok(pg_open_poll(&pg, &is_ready, &err), &err);
    }
    pg_text(&args, wide);
    check_ok(pg_send(&pg, &stmt, &args, &err) && pg_sync(&pg, &err), &err);
    assert_true(pg.wants_write);
    for (is_ready = false; !is_ready; pg_poll(&pg, &is_ready)) {
        struct pollfd fd = {.fd = PQsocket(pg.conn),
                            .events = pg.wants_write ? POLLIN | POLLOUT : POLLIN};

        assert_int_equal(poll(&fd, 1, 20000), 1);
    }
    PGresult *res = pg_result(&pg, &err);
    assert_non_null(res);
    assert_int_equal(pg_get_int8(res, 0, 0), WIDE * WIDE_BYTES);
    PQclear(res);
    check_ok(pg_end(&pg, &err), &err);
    pg_close(&pg);
    free(wide);
}

/* More than a socket takes at once: the rest goes when it is writable, not when the server answers. */
static void wide_facts_are_written_piece_by_piece(void **state)
{
    struct desk *desk = desk_open(*state);
    struct buf bodies[WIDE] = {0};

    for (size_t i = 0; i < WIDE; i++) {
        buf_printf(&bodies[i], "{\"title\":\"%zu\",\"body\":\"", i);
        for (size_t n = 0; n < WIDE_BYTES; n++)
            buf_byte(&bodies[i], (char)('a' + (n * 7 + i) % 26));
        buf_text(&bodies[i], "\"}");
        SEND(desk, bodies[i].data, .kind = "book");
    }
    settle(desk);
    for (size_t i = 0; i < WIDE; i++) {
        assert_int_equal(desk->replies[i].status, 200);
        assert_int_equal(desk->replies[i].fresh, 1);
    }
    assert_true(desk->has_waited);
    assert_int_equal(number_of(*state, "SELECT sum(length(body)) FROM fact_book"),
                     WIDE * WIDE_BYTES);
    desk_close(desk);
    for (size_t i = 0; i < WIDE; i++)
        buf_clear(&bodies[i]);
}

static void too_many_and_too_much_are_turned_away(void **state)
{
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    struct intake_limits few = {
        .waiting_requests = 3, .waiting_bytes = 100, .unpacked_bytes = 1000};
    struct intake_counts counts;
    char *lines = many_edges(0, 6);

    intake_free(desk->intake);
    desk->intake = intake_new(getenv("ACCRETE_TEST_URL"), database->schema, &database->program,
                              &database->settings, &few);
    for (int i = 0; i < 4; i++)
        SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    assert_int_equal(desk->replies[3].status, 429);
    assert_true(desk->replies[3].retry_after_s > 0);
    settle(desk);
    for (int i = 0; i < 3; i++)
        assert_int_equal(desk->replies[i].status, 200);
    SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON); /* one alone is taken */
    SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    assert_int_equal(desk->replies[5].status, 503);
    assert_true(desk->replies[5].retry_after_s > 0);
    settle(desk);
    assert_int_equal(desk->replies[4].status, 200);
    intake_counts(desk->intake, &counts);
    assert_int_equal(counts.refused_busy, 2);
    assert_int_equal(counts.waiting_bytes, 0);
    free(lines);
    desk_close(desk);
}

static void what_the_database_refuses_hits_only_its_request(void **state)
{
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    char bodies[60][40];
    char *lines = many_edges(1000, 1300);

    run_sql(&database->pg[0], "ALTER TABLE fact_edge ADD CONSTRAINT lucky CHECK (\"from\" NOT IN "
                              "(13, 14, 1007, 1299))");
    for (int i = 0; i < 60; i++) {
        snprintf(bodies[i], sizeof(bodies[i]), "{\"from\":%d,\"to\":1}", i);
        SEND(desk, bodies[i], .kind = "edge", .trace = i == 14 ? "00-trace" : "");
    }
    struct reply *bulk = SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON);
    settle(desk);
    for (int i = 0; i < 60; i++) {
        struct reply *reply = &desk->replies[i];

        assert_int_equal(reply->status, i == 13 || i == 14 ? 422 : 200);
        assert_int_equal(reply->fresh, i != 13 && i != 14);
        assert_true(reply->ingest != 0);
    }
    assert_string_equal(desk->replies[13].code, "refused");
    assert_non_null(strstr(desk->replies[13].message, "lucky"));
    assert_int_equal(bulk->status, 200);
    assert_int_equal(bulk->fresh, 298);
    assert_int_equal(bulk->refused, 2);
    assert_int_equal(bulk->error_count, 2);
    assert_int_equal(bulk->errors[0].line, 8);
    assert_int_equal(bulk->errors[1].line, 300);
    assert_int_equal(number_of(database, EDGES), 58 + 298);
    assert_int_equal(number_of(database, "SELECT sum(new) FROM tally_kind"), 58 + 298);
    assert_int_equal(number_of(database, "SELECT sum(refused) FROM ingest"), 4);
    assert_int_equal(number_of(database, "SELECT sum(new) FROM ingest"), 58 + 298);
    assert_int_equal(number_of(database, "SELECT refused FROM ingest WHERE trace = '00-trace'"), 1);
    run_sql(&database->pg[0], "ALTER TABLE fact_edge DROP CONSTRAINT lucky");
    SEND(desk, bodies[13], .kind = "edge");
    settle(desk);
    assert_int_equal(desk->replies[61].fresh, 1);
    free(lines);
    desk_close(desk);
}

static void a_routing_that_changes_is_read_again(void **state)
{
    struct database *database = *state;
    struct desk *desk = desk_open(database);

    SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    settle(desk);
    run_sql(&database->pg[0], "UPDATE routing SET version = version + 1");
    SEND(desk, "{\"from\":1,\"to\":2}", .kind = "edge");
    SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    settle(desk);
    assert_int_equal(desk->replies[1].fresh, 1);
    assert_int_equal(desk->replies[2].repeats, 1);
    desk_close(desk);
}

/* Answers 503 from a conninfo where nothing listens, and then at once. */
static void without_a_database_requests_are_turned_away(void **state)
{
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    struct intake_counts counts;

    intake_free(desk->intake);
    desk->intake = intake_new("host=/tmp/accrete-none dbname=none", database->schema,
                              &database->program, &database->settings, &desk->limits);
    SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    SEND(desk, "{\"from\":1,\"to\":1}\n", .kind = "edge", .format = INTAKE_NDJSON);
    settle(desk);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(desk->replies[i].status, 503);
        assert_true(desk->replies[i].retry_after_s > 0);
    }
    SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge");
    assert_int_equal(desk->replies[2].status, 503);
    intake_counts(desk->intake, &counts);
    assert_false(counts.is_connected);
    desk_close(desk);
}

/*
 * Clients that send one fact after the other while backends are killed under them: each fact that
 * was answered with 200 is there, each request is answered once, and it goes on by itself.
 */
static void what_was_answered_is_there_after_kills(void **state)
{
    enum { CLIENTS = 64, KILLS = 15 };
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    char bodies[CLIENTS][48];
    int64_t sent[CLIENTS];
    bool *acknowledged = calloc(1, 4 << 20);
    int64_t next = 0;
    int64_t refused = 0;
    int kills = 0;
    int64_t until_us = clock_us() + 60 * INT64_C(1000000);
    int64_t kill_us = 0;
    struct intake_counts counts;

    desk->sent = CLIENTS;
    desk->answered = CLIENTS;
    for (int c = 0; c < CLIENTS; c++) {
        desk->replies[c] = (struct reply){.calls = 1};
        sent[c] = -1;
    }
    while (kills < KILLS) {
        assert_true(clock_us() < until_us);
        for (int c = 0; c < CLIENTS; c++) {
            struct reply *reply = &desk->replies[c];

            if (reply->calls == 0)
                continue;
            assert_int_equal(reply->calls, 1);
            if (sent[c] >= 0 && reply->status == 200) {
                acknowledged[sent[c]] = true;
            } else if (sent[c] >= 0) {
                assert_int_equal(reply->status, 503);
                refused++;
            }
            *reply = (struct reply){0};
            sent[c] = next++;
            assert_true(next < 4 << 20);
            snprintf(bodies[c], sizeof(bodies[c]), "{\"from\":%lld,\"to\":%d}", (long long)sent[c],
                     c);
            intake_submit(desk->intake, &(struct intake_request){.kind = "edge",
                                                                 .body = bodies[c],
                                                                 .size = strlen(bodies[c]),
                                                                 .who = "",
                                                                 .trace = "",
                                                                 .done = done,
                                                                 .context = reply});
        }
        turn(desk);
        intake_counts(desk->intake, &counts);
        if (!counts.is_connected) {
            kill_us = clock_us() + 20000 + random() % 30000;
        } else if (clock_us() > kill_us) {
            kill_us = INT64_MAX;
            kills += (int)number_of(
                database,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE "
                "application_name = 'accrete' AND pid IN (SELECT backend_pid FROM epoch)");
        }
    }
    int64_t until_good = clock_us() + 20 * INT64_C(1000000);
    while (desk->answered < CLIENTS + (size_t)next) {
        assert_true(clock_us() < until_good);
        turn(desk);
    }
    int64_t good = 0;
    PGresult *res = pg_exec(&database->pg[1], "SELECT \"from\" FROM fact_edge",
                            &(struct pg_args){0}, &database->fixture->err);
    assert_non_null(res);
    bool *there = calloc(1, 4 << 20);
    for (int r = 0; r < PQntuples(res); r++)
        there[pg_get_int8(res, r, 0)] = true;
    PQclear(res);
    for (int64_t i = 0; i < next; i++) {
        good += acknowledged[i];
        assert_true(there[i] || !acknowledged[i]);
    }
    print_message("%lld sent, %lld acknowledged, %lld answered with 503, %d kills\n",
                  (long long)next, (long long)good, (long long)refused, kills);
    assert_true(good > 1000);
    assert_true(refused > 0);
    intake_counts(desk->intake, &counts);
    assert_true(counts.lost >= KILLS - 1);
    desk->sent = desk->answered;
    free(acknowledged);
    free(there);
    desk_close(desk);
}

/* 64 clients, each with one fact on its way: how many are on disk in a second. */
static void single_facts_are_written_fast(void **state)
{
    enum { CLIENTS = 64 };
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    char bodies[CLIENTS][300];
    int64_t next = 0;
    struct intake_counts counts;

    SEND(desk, "{\"from\":-1,\"to\":1}", .kind = "edge");
    settle(desk);
    for (int c = 0; c < CLIENTS; c++)
        desk->replies[c] = (struct reply){.calls = 1};
    int64_t started_us = clock_us();
    while (clock_us() < started_us + 2000000) {
        for (int c = 0; c < CLIENTS; c++) {
            struct reply *reply = &desk->replies[c];

            if (reply->calls == 0)
                continue;
            reply->calls = 0;
            snprintf(bodies[c], sizeof(bodies[c]), "{\"from\":%lld,\"to\":%d}", (long long)next++,
                     c);
            intake_submit(desk->intake, &(struct intake_request){.kind = "edge",
                                                                 .body = bodies[c],
                                                                 .size = strlen(bodies[c]),
                                                                 .who = "127.0.0.1",
                                                                 .trace = "",
                                                                 .done = done,
                                                                 .context = reply});
        }
        intake_drive(desk->intake);
        turn(desk);
    }
    intake_counts(desk->intake, &counts);
    double seconds = (double)(clock_us() - started_us) / 1e6;
    print_message("%.0f facts/s in %.0f transactions/s\n", (double)counts.facts / seconds,
                  (double)counts.transactions / seconds);
    assert_true((double)counts.facts / seconds > 1000);
    while (!intake_is_idle(desk->intake))
        turn(desk);
    desk->sent = desk->answered;
    desk_close(desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(what_a_socket_does_not_take_at_once_is_known_and_goes_later),
        database_test(wide_facts_are_written_piece_by_piece),
        database_test(too_many_and_too_much_are_turned_away),
        database_test(what_the_database_refuses_hits_only_its_request),
        database_test(a_routing_that_changes_is_read_again),
        database_test(without_a_database_requests_are_turned_away),
        database_test(what_was_answered_is_there_after_kills),
        database_test(single_facts_are_written_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
