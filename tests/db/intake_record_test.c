/* Records of what was sent: every fact names its own, and they tell what is written, whatever becomes of the rest. */
#include "intake_for_tests.h"

/* Facts that no record is named by, or one that is not there. */
#define STRAYS                                                                                     \
    "SELECT count(*) FROM fact_edge f LEFT JOIN batch b ON b.id = f._batch LEFT JOIN ingest i ON " \
    "i.id = b.ingest WHERE i.kind IS DISTINCT FROM 'edge'"
/* Records whose numbers do not add up, or are not those of the facts that name them. */
#define LIARS                                                                                      \
    "SELECT count(*) FROM ingest i LEFT JOIN (SELECT b.ingest, count(*) FROM fact_edge f JOIN "    \
    "batch b ON b.id = f._batch GROUP BY 1) f ON f.ingest = i.id WHERE lines <> new + repeats + "  \
    "refused OR new <> coalesce(f.count, 0) OR least(refused, 1000) <> "                           \
    "jsonb_array_length(coalesce(errors, "                                                         \
    "'[]'))"
/* Batches that the facts do not agree with. */
#define BATCHES                                                                                    \
    "SELECT count(*) FROM batch b LEFT JOIN (SELECT _batch, count(*) FROM fact_edge GROUP BY 1) "  \
    "f ON f._batch = b.id WHERE new <> coalesce(f.count, 0) OR new > found"

static void check_books(struct database *database)
{
    assert_int_equal(number_of(database, STRAYS), 0);
    assert_int_equal(number_of(database, LIARS), 0);
    assert_int_equal(number_of(database, BATCHES), 0);
    assert_int_equal(number_of(database, "SELECT sum(new) FROM tally_kind"),
                     number_of(database, EDGES));
}

static int64_t facts_of(struct database *database, int64_t record, int from, int to)
{
    char sql[300];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM fact_edge f JOIN batch b ON b.id = f._batch WHERE b.ingest = "
             "%lld AND \"from\" BETWEEN %d AND %d",
             (long long)record, from, to - 1);
    return number_of(database, sql);
}

static void every_fact_names_the_record_it_was_sent_with(void **state)
{
    struct database *database = *state;
    char facts[400][40];

    database->settings.ingest.batch_lines = 100;
    struct desk *desk = desk_open(database);
    char *many = many_edges(10000, 13000);
    char *some = many_edges(12900, 13950);
    char *few = many_edges(20000, 20003);
    struct reply *first =
        SEND(desk, many, .kind = "edge", .format = INTAKE_NDJSON, .name = "many.ndjson");
    struct reply *second = SEND(desk, some, .kind = "edge", .format = INTAKE_NDJSON);
    struct reply *third = SEND(desk, few, .kind = "edge", .format = INTAKE_NDJSON);

    for (int i = 0; i < 400; i++) {
        snprintf(facts[i], sizeof(facts[i]), "{\"from\":%d,\"to\":1}", i);
        SEND(desk, facts[i], .kind = "edge", .trace = i % 3 == 0 ? "00-trace" : "");
        if (i % 50 == 0)
            turn(desk);
    }
    settle(desk);
    assert_int_equal(first->fresh, 3000);
    assert_int_equal(facts_of(database, first->ingest, 10000, 13000), 3000);
    assert_int_equal(second->repeats, 100);
    assert_int_equal(facts_of(database, second->ingest, 13000, 13950), 950);
    assert_int_equal(facts_of(database, third->ingest, 20000, 20003), 3);
    for (int i = 0; i < 400; i++) {
        struct reply *reply = &desk->replies[3 + i];

        assert_int_equal(reply->fresh, 1);
        assert_int_equal(facts_of(database, reply->ingest, i, i + 1), 1);
        if (i % 3 == 0)
            assert_int_equal(facts_of(database, reply->ingest, 0, 100000), 1);
    }
    check_books(database);
    assert_int_equal(number_of(database, "SELECT count(*) FROM ingest WHERE NOT ended"), 0);
    free(many);
    free(some);
    free(few);
    desk_close(desk);
}

/* NDJSON with bad lines and repeats all over it. Caller frees. */
static char *mixed_edges(int from, int count)
{
    struct buf text = {0};

    for (int i = from; i < from + count; i++) {
        buf_printf(&text, "{\"from\":%d,\"to\":0}\n", i);
        if (i % 10 == 4)
            buf_printf(&text, "{\"from\":%d}\n{\"from\":%d,\"to\":0}\n", i, i);
    }
    return text.data;
}

/* Turns until more facts than before are written. */
static void until_more(struct desk *desk, int64_t before)
{
    int64_t until_us = clock_us() + 20 * INT64_C(1000000);

    while (number_of(desk->database, EDGES) <= before && desk->answered < desk->sent) {
        assert_true(clock_us() < until_us);
        turn(desk);
    }
}

static void a_record_tells_what_is_written_while_its_body_is_read(void **state)
{
    struct database *database = *state;

    database->settings.ingest.batch_lines = 100;
    struct desk *desk = desk_open(database);
    char *lines = mixed_edges(0, 3000);
    struct reply *bulk = SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON);
    int64_t seen = 0;
    int looks = 0;

    while (until_more(desk, seen), bulk->calls == 0) {
        seen = number_of(database, EDGES);
        assert_int_equal(number_of(database, LIARS), 0);
        assert_int_equal(number_of(database, "SELECT count(*) FROM ingest WHERE NOT ended"), 1);
        looks++;
    }
    assert_true(looks > 5);
    assert_int_equal(bulk->status, 200);
    assert_int_equal(bulk->lines, 3600);
    assert_int_equal(bulk->fresh, 3000);
    assert_int_equal(bulk->repeats, 300);
    assert_int_equal(bulk->refused, 300);
    check_books(database);
    assert_int_equal(number_of(database, "SELECT count(*) FROM ingest WHERE ended AND new = 3000 "
                                         "AND jsonb_array_length(errors) = 300"),
                     1);
    free(lines);
    desk_close(desk);
}

/* Bodies that are cut by a kill of the backend, with lines that the database itself refuses, again and again. */
static void what_was_written_of_a_body_that_was_cut_is_told(void **state)
{
    enum { COUNT = 1000, ROUNDS = 20 };
    struct database *database = *state;
    int told = 0;

    database->settings.ingest.batch_lines = 100;
    run_sql(&database->pg[0], "ALTER TABLE fact_edge ADD CONSTRAINT lucky CHECK (\"from\" % 500 "
                              "<> 13)");
    struct desk *desk = desk_open(database);
    for (int i = 0; i < ROUNDS; i++) {
        char *lines = mixed_edges(i * COUNT, COUNT);
        struct reply *bulk = NULL;

        while (bulk == NULL || bulk->status == 503) { /* away since the last kill */
            usleep(10000);
            turn(desk);
            bulk = SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON, .name = "cut");
        }
        for (int more = 0; more < i; more++)
            until_more(desk, number_of(database, EDGES));
        number_of(database, "SELECT count(pg_terminate_backend(backend_pid)) FROM epoch WHERE id = "
                            "(SELECT max(id) FROM epoch)");
        settle(desk);
        check_books(database);
        told += bulk->status == 503 &&
                number_of(database, "SELECT count(*) FROM ingest WHERE NOT ended AND new > 0 AND "
                                    "id = (SELECT max(id) FROM ingest)") > 0;
        free(lines);
    }
    assert_true(told > 3);
    int64_t before = number_of(database, EDGES);
    char *lines = mixed_edges(0, ROUNDS * COUNT);
    struct reply *last = NULL;
    while (last == NULL || last->status == 503) {
        usleep(10000);
        turn(desk);
        last = SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON, .name = "last");
        settle(desk);
    }
    assert_int_equal(last->status, 200);
    assert_int_equal(last->fresh + before, number_of(database, EDGES));
    check_books(database);
    free(lines);
    desk_close(desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(every_fact_names_the_record_it_was_sent_with),
        database_test(a_record_tells_what_is_written_while_its_body_is_read),
        database_test(what_was_written_of_a_body_that_was_cut_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
