/* Intake: bodies of every format into facts, repeats, contradictions and records. */
#include "intake_for_tests.h"

#include <zlib.h>

static void facts_sent_together_are_written_in_one_transaction(void **state)
{
    struct database *database = *state;
    struct desk *desk = desk_open(database);
    char bodies[200][40];
    struct intake_counts counts;

    for (int i = 0; i < 200; i++) {
        snprintf(bodies[i], sizeof(bodies[i]), "{\"from\":%d,\"to\":%d}", i % 100, i % 100);
        SEND(desk, bodies[i], .kind = "edge");
    }
    settle(desk);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(desk->replies[i].status, 200);
        assert_int_equal(desk->replies[i].lines, 1);
        assert_int_equal(desk->replies[i].fresh, i < 100);
        assert_int_equal(desk->replies[i].repeats, i >= 100);
        assert_true(desk->replies[i].has_id);
        assert_memory_equal(desk->replies[i].id, desk->replies[i % 100].id, 16);
        assert_int_equal(desk->replies[i].ingest, desk->replies[0].ingest);
    }
    intake_counts(desk->intake, &counts);
    assert_int_equal(counts.transactions, 1);
    assert_int_equal(counts.facts, 100);
    assert_int_equal(counts.repeats, 100);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(number_of(database, EDGES), 100);
    assert_int_equal(number_of(database, "SELECT count(*) FROM ingest"), 1);
    assert_int_equal(number_of(database, "SELECT count(*) FROM ingest i JOIN batch b ON b.id = "
                                         "i.batch WHERE i.new = 100 AND i.repeats = 100 AND "
                                         "i.lines = 200 AND i.who = '127.0.0.1' AND b.new = 100 "
                                         "AND i.kind = 'edge' AND format = 'json'"),
                     1);
    desk_close(desk);
}

static void a_fact_that_is_there_is_a_repeat(void **state)
{
    struct desk *desk = desk_open(*state);

    SEND(desk, "{\"from\":1,\"to\":2}", .kind = "edge");
    settle(desk);
    SEND(desk, " {\n\"to\": 2, \"kind\":\"edge\", \"from\": 1}\n", .kind = "edge");
    SEND(desk, "{\"from\":1,\"to\":3}", .kind = "edge");
    settle(desk);
    assert_int_equal(desk->replies[1].status, 200);
    assert_int_equal(desk->replies[1].repeats, 1);
    assert_int_equal(desk->replies[1].fresh, 0);
    assert_int_equal(desk->replies[2].fresh, 1);
    assert_int_equal(number_of(*state, EDGES), 2);
    assert_int_equal(number_of(*state, "SELECT sum(repeats) FROM tally_kind"), 1);
    desk_close(desk);
}

#define EVERY                                                                                      \
    "\"b\":true,\"i\":1,\"f\":1.5,\"t\":\"t\",\"y\":\"00\","                                       \
    "\"u\":\"00000000-0000-0000-0000-000000000001\",\"j\":1"

static void a_fact_that_differs_is_refused_and_the_first_kept(void **state)
{
    struct desk *desk = desk_open(*state);

    SEND(desk, "{" EVERY ",\"n\":1}", .kind = "every");
    settle(desk);
    SEND(desk, "{" EVERY ",\"n\":2}", .kind = "every");
    SEND(desk, "{\"from\":1,\"to\":3}", .kind = "edge");
    SEND(desk, "[{" EVERY ",\"n\":1},{" EVERY ",\"n\":3}]", .kind = "every");
    settle(desk);
    assert_int_equal(desk->replies[1].status, 409);
    assert_string_equal(desk->replies[1].code, "contradiction");
    assert_non_null(strstr(desk->replies[1].message, "contradicts the every "));
    assert_int_equal(desk->replies[1].refused, 1);
    assert_int_equal(desk->replies[2].status, 200);
    assert_int_equal(desk->replies[3].status, 200);
    assert_int_equal(desk->replies[3].repeats, 1);
    assert_int_equal(desk->replies[3].refused, 1);
    assert_int_equal(desk->replies[3].errors[0].line, 2);
    assert_int_equal(number_of(*state, "SELECT n FROM fact_every"), 1);
    assert_int_equal(number_of(*state, "SELECT sum(contradictions) FROM tally_kind"), 2);
    desk_close(desk);
}

/* Facts of one id that come together are each held against the one that is there, not against the first of them. */
static void a_fact_that_is_there_decides_over_those_that_come_together(void **state)
{
    struct database *database = *state;
    struct desk *first = desk_open(database);

    SEND(first, "{" EVERY ",\"n\":1}", .kind = "every");
    settle(first);
    desk_close(first);
    for (int i = 0; i < 2; i++) { /* the second time it is asked first what is known */
        struct desk *desk = desk_open(database);

        if (i == 1) {
            SEND(desk, "{" EVERY ",\"n\":1}", .kind = "every");
            settle(desk);
        }
        size_t sent = desk->sent;
        SEND(desk, "{" EVERY ",\"n\":2}", .kind = "every");
        SEND(desk, "{" EVERY ",\"n\":2}", .kind = "every");
        SEND(desk, "{" EVERY ",\"n\":1}", .kind = "every");
        SEND(desk, "[{" EVERY ",\"n\":3},{" EVERY ",\"n\":1},{" EVERY ",\"n\":3}]",
             .kind = "every");
        settle(desk);
        SEND(desk, "[{" EVERY ",\"n\":3},{" EVERY ",\"n\":1},{" EVERY ",\"n\":3}]", .kind = "every",
             .is_check = true);
        settle(desk);
        assert_int_equal(desk->replies[sent].status, 409);
        assert_int_equal(desk->replies[sent + 1].status, 409);
        assert_int_equal(desk->replies[sent + 2].status, 200);
        assert_int_equal(desk->replies[sent + 2].repeats, 1);
        for (size_t r = sent + 3; r < sent + 5; r++) {
            assert_int_equal(desk->replies[r].repeats, 1);
            assert_int_equal(desk->replies[r].refused, 2);
            assert_int_equal(desk->replies[r].errors[0].line, 1);
            assert_int_equal(desk->replies[r].errors[1].line, 3);
        }
        desk_close(desk);
    }
    assert_int_equal(number_of(database, "SELECT sum(contradictions) FROM tally_kind"), 8);
    assert_int_equal(number_of(database, "SELECT sum(repeats) FROM tally_kind"), 5);
    assert_int_equal(number_of(database, "SELECT sum(new) FROM tally_kind"), 1);
}

static void what_is_no_fact_is_named(void **state)
{
    static const struct {
        const char *kind, *body;
        int status;
        const char *code, *field, *message;
    } cases[] = {
        {"edge", "{\"from\":1}", 422, "bad_fact", "to", "is missing"},
        {"edge", "{\"from\":1,\"to\":\"x\"}", 422, "bad_fact", "to", "wanted int8"},
        {"edge", "{\"from\":1,\"to\":2,\"form\":3}", 422, "bad_fact", "form", "did you mean"},
        {"edge", "{\"kind\":\"book\",\"from\":1,\"to\":2}", 422, "bad_fact", "", "wanted \"edge\""},
        {"edge", "{\"from\":1,\"to\":2", 400, "bad_json", "", "not JSON"},
        {"edge", "{\"from\":1,\"to\":2}{", 400, "bad_json", "", "not JSON"},
        {"edge", "", 400, "bad_json", "", "got nothing"},
        {"edge", "7", 400, "bad_json", "", "wanted a JSON object"},
        {"edge", "[{\"from\":1,\"to\":2}", 400, "bad_json", "", "never closed"},
        {"edge", "[{\"from\":1,\"to\":2},]", 400, "bad_json", "", "element 2"},
        {"edge", "[1 2]", 400, "bad_json", "", "comma"},
        {"edge", "[] 7", 400, "bad_json", "", "behind the array"},
        {"edge", "{\"from\":1,\"to\":\"\xff\"}", 400, "bad_json", "", "UTF-8"},
        {"egde", "{\"from\":1,\"to\":2}", 404, "not_found", "", "edge"},
    };
    struct desk *desk = desk_open(*state);

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct reply *reply = SEND(desk, cases[i].body, .kind = cases[i].kind);

        settle(desk);
        if (reply->status != cases[i].status || strstr(reply->message, cases[i].message) == NULL)
            print_message("%s: %d %s\n", cases[i].body, reply->status, reply->message);
        assert_int_equal(reply->status, cases[i].status);
        assert_string_equal(reply->code, cases[i].code);
        assert_string_equal(reply->field, cases[i].field);
        assert_non_null(strstr(reply->message, cases[i].message));
    }
    assert_int_equal(number_of(*state, EDGES), 0);
    assert_int_equal(number_of(*state, "SELECT count(*) FROM batch"), 0);
    desk_close(desk);
}

static void bodies_of_every_format_are_read_and_what_is_refused_is_named(void **state)
{
    struct desk *desk = desk_open(*state);
    struct reply *array, *ndjson, *csv, *empty, *header;

    array = SEND(desk,
                 " [ {\"from\":1,\"to\":\"[,\"} , {\"from\":1,\"to\":1},7,{\"from\":1,\"to\":1} ] ",
                 .kind = "edge");
    ndjson = SEND(desk, "{\"from\":2,\"to\":1}\n\nnot json\n{\"from\":2,\"to\":2}\r\n{\"from\":2}",
                  .kind = "edge", .format = INTAKE_NDJSON);
    csv = SEND(desk, "to,from\n1,3\n\"2\n\",3\n2,\"3\"\n1,2,3\n", .kind = "edge",
               .format = INTAKE_CSV);
    empty = SEND(desk, "[]", .kind = "edge");
    header = SEND(desk, "to,form\n1,3\n", .kind = "edge", .format = INTAKE_CSV);
    settle(desk);
    assert_int_equal(array->status, 200);
    assert_int_equal(array->lines, 4);
    assert_int_equal(array->fresh, 1);
    assert_int_equal(array->repeats, 1);
    assert_int_equal(array->refused, 2);
    assert_int_equal(array->error_count, 2);
    assert_int_equal(array->errors[0].line, 1);
    assert_string_equal(array->errors[0].field, "to");
    assert_int_equal(array->errors[1].line, 3);
    assert_false(array->has_id);
    assert_int_equal(ndjson->lines, 4);
    assert_int_equal(ndjson->fresh, 2);
    assert_int_equal(ndjson->errors[0].line, 3);
    assert_int_equal(ndjson->errors[1].line, 5);
    assert_string_equal(ndjson->errors[1].field, "to");
    assert_int_equal(csv->lines, 4);
    assert_int_equal(csv->fresh, 2);
    assert_int_equal(csv->refused, 2);
    assert_int_equal(csv->errors[0].line, 3);
    assert_int_equal(csv->errors[1].line, 6);
    assert_int_equal(empty->status, 200);
    assert_int_equal(empty->lines, 0);
    assert_int_equal(header->status, 400);
    assert_string_equal(header->code, "bad_csv");
    assert_int_equal(number_of(*state, EDGES), 5);
    assert_int_equal(number_of(*state, "SELECT count(*) FROM ingest"), 4);
    assert_int_equal(
        number_of(*state,
                  "SELECT count(*) FROM ingest WHERE format = 'ndjson' AND lines = 4 AND new "
                  "= 2 AND refused = 2 AND bytes = 57 AND jsonb_array_length(errors) = 2 "
                  "AND errors->1->>'field' = 'to' AND errors->0->>'line' = '3'"),
        1);
    desk_close(desk);
}

static void a_long_body_is_spread_over_transactions(void **state)
{
    struct database *database = *state;
    struct intake_counts counts;

    database->settings.ingest.batch_lines = 100;
    struct desk *desk = desk_open(database);
    char *lines = many_edges(0, 5000);
    struct reply *bulk =
        SEND(desk, lines, .kind = "edge", .format = INTAKE_NDJSON, .name = "e.ndjson");
    struct reply *fact = SEND(desk, "{\"from\":-1,\"to\":0}", .kind = "edge");
    int64_t until_us = clock_us() + 20 * INT64_C(1000000);

    while (fact->calls == 0 && clock_us() < until_us)
        turn(desk);
    assert_int_equal(bulk->calls, 0); /* a fact does not wait for a long body */
    settle(desk);
    assert_int_equal(bulk->status, 200);
    assert_int_equal(bulk->lines, 5000);
    assert_int_equal(bulk->fresh, 5000);
    assert_int_equal(number_of(database, EDGES), 5001);
    intake_counts(desk->intake, &counts);
    assert_true(counts.transactions >= 50);
    assert_int_equal(number_of(database, "SELECT max(new) FROM batch") <= 100, 1);
    assert_int_equal(number_of(database, "SELECT new FROM ingest WHERE name = 'e.ndjson'"), 5000);
    free(lines);
    desk_close(desk);
}

/* text as gzip. Caller frees. */
static char *packed(const char *text, size_t size, size_t *packed_size)
{
    z_stream gzip = {0};
    char *out = malloc(size + 1000);

    assert_int_equal(deflateInit2(&gzip, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    gzip.next_in = (Bytef *)text;
    gzip.avail_in = (uInt)size;
    gzip.next_out = (Bytef *)out;
    gzip.avail_out = (uInt)size + 1000;
    assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
    *packed_size = gzip.total_out;
    deflateEnd(&gzip);
    return out;
}

static struct reply *send_packed(struct desk *desk, const char *body, size_t size,
                                 enum intake_format format)
{
    return submit(
        desk,
        (struct intake_request){
            .kind = "edge", .format = format, .encoding = INTAKE_GZIP, .body = body, .size = size},
        NULL);
}

static void packed_bodies_are_unpacked_up_to_a_limit(void **state)
{
    struct desk *desk = desk_open(*state);
    char *lines = many_edges(0, 3000);
    size_t bomb_size = 50 << 20;
    char *blank = malloc(bomb_size);
    size_t size, fact_size, packed_bomb;

    memset(blank, ' ', bomb_size);
    char *body = packed(lines, strlen(lines), &size);
    char *fact = packed("{\"from\":-1,\"to\":0}", 18, &fact_size);
    char *bomb = packed(blank, bomb_size, &packed_bomb);
    char *two = malloc(2 * fact_size);
    memcpy(two, fact, fact_size);
    memcpy(two + fact_size, fact, fact_size);
    struct reply *whole = send_packed(desk, body, size, INTAKE_NDJSON);
    struct reply *one = send_packed(desk, fact, fact_size, INTAKE_JSON);
    struct reply *cut = send_packed(desk, body, size - 9, INTAKE_NDJSON);
    struct reply *large = send_packed(desk, bomb, packed_bomb, INTAKE_NDJSON);
    struct reply *damaged = send_packed(desk, lines, strlen(lines), INTAKE_NDJSON);
    struct reply *members = send_packed(desk, two, 2 * fact_size, INTAKE_NDJSON);
    struct reply *none = send_packed(desk, fact, 0, INTAKE_NDJSON);
    settle(desk);
    assert_int_equal(whole->status, 200);
    assert_int_equal(whole->fresh, 3000);
    assert_int_equal(one->status, 200);
    assert_int_equal(one->fresh, 1);
    assert_true(one->has_id);
    assert_int_equal(cut->status, 400);
    assert_string_equal(cut->code, "bad_gzip");
    assert_int_equal(large->status, 413);
    assert_int_equal(damaged->status, 400);
    assert_int_equal(members->status, 200);
    assert_int_equal(members->refused, 1); /* two objects in one line */
    assert_int_equal(none->status, 400);
    assert_int_equal(number_of(*state, EDGES), 3001);
    free(lines);
    free(blank);
    free(body);
    free(fact);
    free(bomb);
    free(two);
    desk_close(desk);
}

static void a_text_is_one_fact(void **state)
{
    struct desk *desk = desk_open(*state);
    struct reply *book = SEND(desk, "In the beginning\nthere was text", .kind = "book",
                              .format = INTAKE_TEXT, .name = "a.txt");
    struct reply *nameless = SEND(desk, "x", .kind = "book", .format = INTAKE_TEXT);
    struct reply *edge = SEND(desk, "x", .kind = "edge", .format = INTAKE_TEXT, .name = "a.txt");
    struct reply *bad = SEND(desk, "\xff", .kind = "book", .format = INTAKE_TEXT, .name = "b.txt");
    struct reply *part = SEND(desk, "x", .kind = "book", .format = INTAKE_TEXT, .name = "c.txt",
                              .part = 1, .parts = 2);

    settle(desk);
    assert_int_equal(book->status, 200);
    assert_int_equal(book->fresh, 1);
    assert_int_equal(nameless->status, 400);
    assert_string_equal(nameless->field, "name");
    assert_int_equal(edge->status, 415);
    assert_int_equal(bad->status, 200);
    assert_int_equal(bad->refused, 1);
    assert_int_equal(part->status, 400);
    assert_int_equal(number_of(*state, "SELECT length(body) FROM fact_book WHERE title = 'a.txt'"),
                     31);
    desk_close(desk);
}

static void a_check_counts_and_writes_nothing(void **state)
{
    struct database *database = *state;

    database->settings.ingest.batch_lines = 1000;
    struct desk *desk = desk_open(database);
    char *known = many_edges(0, 1500);
    char *lines = many_edges(1000, 5000);
    struct buf twice = {0};

    buf_text(&twice, lines);
    buf_text(&twice, lines);
    buf_text(&twice, "{}\n");
    SEND(desk, known, .kind = "edge", .format = INTAKE_NDJSON);
    settle(desk);
    int64_t batches = number_of(database, "SELECT count(*) FROM batch");
    struct reply *bulk = SEND(desk, twice.data, .kind = "edge", .format = INTAKE_NDJSON,
                              .is_check = true, .name = "x");
    struct reply *fact = SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge", .is_check = true);
    struct reply *bad = SEND(desk, "{\"from\":1}", .kind = "edge", .is_check = true);
    settle(desk);
    assert_int_equal(bulk->status, 200);
    assert_int_equal(bulk->lines, 8001);
    assert_int_equal(bulk->fresh, 3500);
    assert_int_equal(bulk->repeats, 4500);
    assert_int_equal(bulk->refused, 1);
    assert_int_equal(bulk->ingest, 0);
    assert_int_equal(fact->status, 200);
    assert_int_equal(fact->repeats, 1);
    assert_int_equal(bad->status, 422);
    assert_int_equal(number_of(database, EDGES), 1500);
    assert_int_equal(number_of(database, "SELECT count(*) FROM batch"), batches);
    assert_int_equal(number_of(database, "SELECT count(*) FROM ingest"), 1);
    buf_clear(&twice);
    free(known);
    free(lines);
    desk_close(desk);
}

static void requests_with_a_name_or_trace_have_records_of_their_own(void **state)
{
    struct desk *desk = desk_open(*state);
    struct reply *plain = SEND(desk, "{\"from\":1,\"to\":1}", .kind = "edge", .who = "ann");
    struct reply *other = SEND(desk, "{\"from\":1,\"to\":2}", .kind = "edge", .who = "bob\xff");
    struct reply *traced =
        SEND(desk, "{\"from\":1,\"to\":3}", .kind = "edge", .trace = "00-ab-cd-01", .who = "b\xff");
    struct reply *bad =
        SEND(desk, "{\"from\":1}", .kind = "edge", .name = "n", .part = 2, .parts = 3);

    settle(desk);
    assert_int_equal(plain->ingest, other->ingest);
    assert_int_not_equal(plain->ingest, traced->ingest);
    assert_int_equal(bad->status, 422);
    assert_string_equal(bad->field, "to");
    assert_int_not_equal(bad->ingest, 0);
    assert_int_equal(number_of(*state, "SELECT count(*) FROM ingest"), 3);
    assert_int_equal(number_of(*state, "SELECT count(*) FROM ingest WHERE who = '' AND lines = 2"),
                     1);
    assert_int_equal(number_of(*state, "SELECT count(*) FROM ingest WHERE who = 'b?' AND trace = "
                                       "'00-ab-cd-01' AND new = 1"),
                     1);
    assert_int_equal(number_of(*state,
                               "SELECT count(*) FROM ingest WHERE name = 'n' AND part = 2 AND "
                               "parts = 3 AND refused = 1 AND errors->0->>'field' = 'to'"),
                     1);
    desk_close(desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        database_test(facts_sent_together_are_written_in_one_transaction),
        database_test(a_fact_that_is_there_is_a_repeat),
        database_test(a_fact_that_differs_is_refused_and_the_first_kept),
        database_test(a_fact_that_is_there_decides_over_those_that_come_together),
        database_test(what_is_no_fact_is_named),
        database_test(bodies_of_every_format_are_read_and_what_is_refused_is_named),
        database_test(a_long_body_is_spread_over_transactions),
        database_test(packed_bodies_are_unpacked_up_to_a_limit),
        database_test(a_text_is_one_fact),
        database_test(a_check_counts_and_writes_nothing),
        database_test(requests_with_a_name_or_trace_have_records_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
