/* Bodies of requests and files, fact by fact; and the errors of their records. */
#include "kinds_for_tests.h"

#include "ingest_body.h"
#include "ingest_record.h"

/* All results of a body as text: F a fact, B a bad one, H the header, with their lines. */
static void read_all(struct fixture *fixture, struct body *body, struct buf *out)
{
    for (;;) {
        enum body_result result = body_next(body, &fixture->err);

        if (result == BODY_END || result == BODY_FAILED) {
            buf_text(out, result == BODY_END ? "." : "!");
            return;
        }
        if (result != BODY_NONE)
            buf_printf(out, "%c%lld ", "FBNH"[result], (long long)body -> line);
    }
}

static const char *array(struct fixture *fixture, const char *text)
{
    static struct buf out;
    struct body body;

    buf_reset(&out);
    if (!body_check_array(text, strlen(text), &fixture->err))
        return fixture->err.text;
    body_init_array(&body, &fixture->target, fixture->edge, text, strlen(text));
    read_all(fixture, &body, &out);
    body_clear(&body);
    return out.data;
}

static const char *lines(struct fixture *fixture, enum body_format format, const char *text)
{
    static struct buf out;
    struct body_memory memory = {.data = text, .size = strlen(text)};
    struct lines lines;
    struct body body;

    buf_reset(&out);
    lines_init_reader(&lines, body_memory_read, &memory, 100);
    body_init_lines(&body, format, &fixture->target, fixture->edge, &lines, NULL, 0);
    read_all(fixture, &body, &out);
    body_clear(&body);
    lines_clear(&lines);
    return out.data;
}

#define A "{\"from\":1,\"to\":2}"

static void elements_of_an_array_are_taken_one_by_one(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(array(fixture, "[]"), ".");
    assert_string_equal(array(fixture, " [ \n ] "), ".");
    assert_string_equal(array(fixture, "[" A "]"), "F1 .");
    assert_string_equal(array(fixture, "\n[\t" A " ,\r\n" A ",7, null ,\"]\",[1,[2]]," A " ] \n"),
                        "F1 F2 B3 B4 B5 B6 F7 .");
    assert_string_equal(array(fixture, "[{\"from\":1,\"to\":2,\"x\":\"\\\"}]\"}," A "]"),
                        "B1 F2 .");
    assert_string_equal(array(fixture, "[{\"from\":1,\"to\":2]," A "]"), "B1 F2 .");
    assert_int_equal(fixture->rows[fixture->edge->index].count, 6);
}

static void what_is_no_array_is_refused_as_a_whole(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(array(fixture, "[" A ",]"), "not JSON: element 2 of the array is empty");
    assert_string_equal(array(fixture, "[,]"), "not JSON: element 1 of the array is empty");
    assert_string_equal(array(fixture, "[" A " " A "]"),
                        "not JSON: wanted a comma or ] behind element 1 of the array");
    assert_string_equal(array(fixture, "[" A "] x"), "not JSON: there is more behind the array");
    assert_string_equal(array(fixture, "[1}]"),
                        "not JSON: wanted a comma or ] behind element 1 of the array");
}

static void an_array_that_is_cut_anywhere_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const char *whole = "[" A ", {\"from\":\"\\\\\\\"\",\"to\":[1,{}]},true]";
    size_t size = strlen(whole);

    assert_true(body_check_array(whole, size, &fixture->err));
    for (size_t cut = 1; cut < size; cut++) {
        char *part = malloc(cut); /* so that a read behind it is seen */

        memcpy(part, whole, cut);
        assert_false(body_check_array(part, cut, &fixture->err));
        assert_memory_equal(fixture->err.text, "not JSON", 8);
        free(part);
    }
}

static void lines_are_counted_as_they_came(void **state)
{
    struct fixture *fixture = *state;
    char text[400] = A "\n\n";

    assert_string_equal(lines(fixture, BODY_NDJSON, A "\n\r\n\nx\n" A), "F1 B4 F5 .");
    assert_string_equal(lines(fixture, BODY_NDJSON, ""), ".");
    memset(text + strlen(text), 'x', 200);
    strcat(text, "\n" A "\n");
    assert_string_equal(lines(fixture, BODY_NDJSON, text), "F1 B3 F4 .");
    assert_string_equal(lines(fixture, BODY_CSV, "to,from\n\n1,2\n\"1\n\",2\n3,4\n5,6,7\n"),
                        "H1 F3 B4 F6 B7 .");
    assert_string_equal(lines(fixture, BODY_CSV, "to,from\n1,2\n\"3,4\n5,6\n"), "H1 F2 B3 .");
    assert_string_equal(lines(fixture, BODY_CSV, "to,form\n1,2\n"), "!");
    assert_string_equal(lines(fixture, BODY_CSV, ""), "!");
}

static void the_field_is_found_in_the_message(void **state)
{
    char field[8];

    (void)state;
    assert_true(record_field("field \"to\": wanted int8", field, sizeof(field)));
    assert_string_equal(field, "to");
    assert_true(record_field("kind \"edge\" has no field \"form\"", field, sizeof(field)));
    assert_string_equal(field, "form");
    assert_false(record_field("not JSON", field, sizeof(field)));
    assert_false(record_field("field \"too_long_for_it\"", field, sizeof(field)));
    assert_false(record_field("field \"", field, sizeof(field)));
}

static void so_many_errors_are_kept_and_the_rest_counted(void **state)
{
    struct record_errors errors = {0};
    struct record_errors joined = {0};
    struct buf json = {0};

    (void)state;
    record_errors_json(&errors, &json);
    assert_string_equal(json.data, "[]");
    buf_reset(&json);
    record_errors_add(&errors, 3, "field \"to\": got \"\xc3\"");
    record_errors_add(&errors, 4, "tab\there");
    record_errors_json(&errors, &json);
    assert_string_equal(
        json.data, "[{\"line\":3,\"field\":\"to\",\"message\":\"field \\\"to\\\": got \\\"?\\\"\"},"
                   "{\"line\":4,\"message\":\"tab\\there\"}]");
    for (int i = 0; i < 2 * RECORD_ERRORS_MAX; i++)
        record_errors_add(&errors, i, "x");
    assert_int_equal(errors.count, RECORD_ERRORS_MAX);
    assert_int_equal(errors.total, 2 * RECORD_ERRORS_MAX + 2);
    record_errors_join(&joined, &errors);
    record_errors_join(&joined, &errors);
    assert_int_equal(joined.count, RECORD_ERRORS_MAX);
    assert_int_equal(joined.total, 2 * errors.total);
    assert_int_equal(joined.list[0].line, 3);
    assert_string_equal(joined.list[0].field, "to");
    record_errors_clear(&joined);
    record_errors_clear(&errors);
    buf_clear(&json);
}

#define body_test(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        body_test(elements_of_an_array_are_taken_one_by_one),
        body_test(what_is_no_array_is_refused_as_a_whole),
        body_test(an_array_that_is_cut_anywhere_is_refused),
        body_test(lines_are_counted_as_they_came),
        cmocka_unit_test(the_field_is_found_in_the_message),
        cmocka_unit_test(so_many_errors_are_kept_and_the_rest_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
