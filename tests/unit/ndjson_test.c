#include "formats/dump_json.h"
#include "formats/ndjson.h"
#include "kinds_for_tests.h"

#define EVERY                                                                                      \
    "{\"kind\":\"every\",\"b\":true,\"i\":-5,\"f\":0.5,\"t\":\"é\",\"y\":\"00ff\","               \
    "\"u\":\"00112233-4455-6677-8899-aabbccddeeff\",\"j\":{\"a\":[1,null]}"

/* The fact a line becomes, written again; NULL and fixture->err when it is refused. */
static const char *again(struct fixture *fixture, const struct kind *kind, const char *line,
                         size_t size)
{
    const struct kind *of = NULL;
    struct acc_rows *rows;

    for (size_t k = 0; k < 3; k++)
        fixture->rows[k].count = 0;
    if (!ndjson_line(&fixture->target, kind, line, size, &of, &fixture->err)) {
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(fixture->rows[k].count, 0);
        return NULL;
    }
    if (of == NULL)
        return "";
    rows = &fixture->rows[of->index];
    assert_int_equal(rows->count, 1);
    buf_reset(&fixture->line);
    dump_json_fact(&fixture->line, of, rows_at(rows, 0));
    return fixture->line.data;
}

#define AGAIN(kind, line) again(fixture, kind, line, strlen(line))
#define REFUSED(kind, line, message)                                                               \
    do {                                                                                           \
        assert_null(AGAIN(kind, line));                                                            \
        assert_int_equal(fixture->err.code, ACC_EINPUT);                                           \
        assert_string_equal(fixture->err.text, message);                                           \
    } while (0)

static void a_line_becomes_a_fact_and_the_same_line_again(void **state)
{
    static const char *const lines[] = {
        "{\"kind\":\"edge\",\"from\":1,\"to\":-2}",
        EVERY "}",
        EVERY ",\"n\":7,\"s\":\"\",\"d\":\"NaN\"}",
        EVERY ",\"is\":[1,-2],\"ts\":[\"a\",\"\"],\"fs\":[0.5,\"Infinity\"],\"bs\":[true,false]}",
        EVERY ",\"ys\":[\"00\",\"\"],\"us\":[\"00112233-4455-6677-8899-aabbccddeeff\"],\"js\":[{"
              "\"a\":1},null,2]}",
        EVERY ",\"is\":[],\"ts\":[],\"js\":[]}",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(lines); i++)
        assert_string_equal(AGAIN(NULL, lines[i]), lines[i]);
}

static void whole_numbers_of_64_bits_are_exact(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(
        AGAIN(fixture->edge, "{\"from\":9223372036854775807,\"to\":\"-9223372036854775808\"}"),
        "{\"kind\":\"edge\",\"from\":9223372036854775807,\"to\":-9223372036854775808}");
    assert_string_equal(AGAIN(fixture->edge, "{\"from\":3.0,\"to\":1e3}"),
                        "{\"kind\":\"edge\",\"from\":3,\"to\":1000}");
    REFUSED(fixture->edge, "{\"from\":\"9223372036854775808\",\"to\":1}",
            "field \"from\": wanted int8 (a whole number of 64 bits), got \"9223372036854775808\"");
    REFUSED(fixture->edge, "{\"from\":1.5,\"to\":1}",
            "field \"from\": wanted int8 (a whole number of 64 bits), got 1.5");
    REFUSED(fixture->edge, "{\"from\":9007199254740994.0,\"to\":1}",
            "field \"from\": wanted int8 (a whole number of 64 bits), got 9007199254740994");
    REFUSED(fixture->edge, "{\"from\":\" 1\",\"to\":1}",
            "field \"from\": wanted int8 (a whole number of 64 bits), got \" 1\"");
    assert_null(AGAIN(fixture->edge, "{\"from\":9223372036854775808,\"to\":1}"));
}

static void the_member_kind_may_stand_for_the_argument(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(AGAIN(NULL, "{\"to\":2,\"from\":1,\"kind\":\"edge\"}"),
                        "{\"kind\":\"edge\",\"from\":1,\"to\":2}");
    assert_non_null(AGAIN(fixture->edge, "{\"kind\":\"edge\",\"from\":1,\"to\":2}"));
    REFUSED(fixture->edge, "{\"kind\":\"book\",\"from\":1,\"to\":2}",
            "member \"kind\": wanted \"edge\", got \"book\"");
    REFUSED(NULL, "{\"from\":1,\"to\":2}", "member \"kind\" is missing, and no kind was given");
    REFUSED(NULL, "{\"kind\":\"egde\",\"from\":1,\"to\":2}",
            "unknown kind \"egde\", did you mean \"edge\"?");
    REFUSED(NULL, "{\"kind\":7}", "member \"kind\": wanted the name of a kind");
}

static void blank_lines_are_nothing(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(AGAIN(NULL, ""), "");
    assert_string_equal(AGAIN(NULL, " \t\r"), "");
}

static void a_wrong_line_is_refused_with_field_and_reason(void **state)
{
    struct fixture *fixture = *state;

    REFUSED(fixture->edge, "{\"from\":1}", "field \"to\" of kind \"edge\" is missing, wanted int8");
    REFUSED(fixture->edge, "{\"from\":1,\"to\":2,\"too\":3}",
            "kind \"edge\" has no field \"too\", did you mean \"to\"?");
    REFUSED(fixture->edge, "{\"from\":1,\"to\":null}",
            "field \"to\": wanted int8, got null (it is not nullable)");
    REFUSED(fixture->edge, "{\"from\":1,\"to\":\"x\"}",
            "field \"to\": wanted int8 (a whole number of 64 bits), got \"x\"");
    REFUSED(fixture->edge, "{\"from\":1,\"to\":[2]}", "field \"to\": wanted int8, got an array");
    REFUSED(fixture->edge, "{\"from\":1,\"to\":true}", "field \"to\": wanted int8, got true");
    REFUSED(fixture->edge, "[1,2]", "wanted an object with the fields of a fact");
    REFUSED(fixture->edge, "7", "wanted an object with the fields of a fact");
    assert_null(AGAIN(fixture->edge, "{\"from\":1,\"from\":2,\"to\":3}"));
    assert_non_null(strstr(fixture->err.text, "duplicate object key"));
    assert_null(AGAIN(fixture->edge, "{\"from\":1"));
    assert_non_null(strstr(fixture->err.text, "not JSON: "));
    assert_null(AGAIN(fixture->edge, "{\"from\":1,\"to\":2} x"));
}

static void text_without_meaning_is_refused(void **state)
{
    struct fixture *fixture = *state;

    REFUSED(fixture->book, "{\"title\":\"a\\u0000b\",\"body\":\"\"}",
            "field \"title\": wanted text without NUL, byte 2 is one");
    REFUSED(fixture->book, "{\"title\":\"a\xff\",\"body\":\"\"}",
            "line: wanted UTF-8, byte 12 is 0xff");
    REFUSED(fixture->book, "{\"title\":\"\xed\xa0\x80\",\"body\":\"\"}",
            "line: wanted UTF-8, byte 11 is 0xed");
    assert_null(AGAIN(fixture->book, "{\"title\":\"\\ud800\",\"body\":\"\"}"));
    REFUSED(fixture->book, "{\"title\":5,\"body\":\"\"}", "field \"title\": wanted text, got 5");
}

static void too_long_a_value_is_refused_with_the_number(void **state)
{
    struct fixture *fixture = *state;
    struct buf line = {0};

    buf_text(&line, "{\"title\":\"\",\"body\":\"");
    for (int i = 0; i < VALUE_BYTES; i++)
        buf_text(&line, "x");
    buf_text(&line, "\"}");
    assert_non_null(again(fixture, fixture->book, line.data, line.size));
    line.size -= 2;
    buf_text(&line, "x\"}");
    assert_null(again(fixture, fixture->book, line.data, line.size));
    assert_string_equal(
        fixture->err.text,
        "field \"body\": the value has 1001 bytes, at most 1000 are taken (ingest.value)");
    buf_clear(&line);
}

static void each_type_refuses_what_it_cannot_hold(void **state)
{
    static const struct {
        const char *member;
        const char *message;
    } cases[] = {
        {"\"s\":true", "field \"s\": wanted text, got true"},
        {"\"d\":\"1e999\"", "field \"d\": wanted float8, got \"1e999\""},
        {"\"d\":\"0x10\"", "field \"d\": wanted float8, got \"0x10\""},
        {"\"d\":\"nan\"", "field \"d\": wanted float8, got \"nan\""},
        {"\"is\":7", "field \"is\": wanted int8[], got 7"},
        {"\"is\":[1,null]", "element 2: field \"is\": wanted int8, got null"},
        {"\"is\":[[1]]", "element 1: field \"is\": wanted int8, got an array"},
        {"\"ts\":[\"a\\u0000\"]",
         "element 1: field \"ts\": wanted text without NUL, byte 2 is one"},
        {"\"ys\":[\"0\"]", "element 1: field \"ys\": wanted bytes as hex digits, got \"0\""},
        {"\"us\":[\"00\"]", "element 1: field \"us\": wanted uuid (32 hex digits), got \"00\""},
        {"\"bs\":[1]", "element 1: field \"bs\": wanted bool, got 1"},
        {"\"bs\":[\"true\"]", "element 1: field \"bs\": wanted bool, got \"true\""},
    };
    struct fixture *fixture = *state;
    char line[512];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(line, sizeof(line), EVERY ",%s}", cases[i].member);
        REFUSED(NULL, line, cases[i].message);
    }
}

static void a_number_that_is_none_cannot_be_unique(void **state)
{
    struct fixture *fixture = *state;

    REFUSED(NULL, "{\"kind\":\"every\",\"b\":true,\"i\":1,\"f\":\"NaN\"}",
            "field \"f\": NaN cannot be part of what makes a fact unique");
}

static void control_characters_of_a_wrong_value_do_not_reach_the_terminal(void **state)
{
    struct fixture *fixture = *state;

    REFUSED(fixture->edge, "{\"from\":\"\\u001b[2J\",\"to\":1}",
            "field \"from\": wanted int8 (a whole number of 64 bits), got \"\\u001b[2J\"");
}

static void full_rows_are_a_limit_and_no_refusal(void **state)
{
    struct fixture *fixture = *state;
    const struct kind *of;
    const char *line = "{\"from\":1,\"to\":2}";

    for (int i = 0; i < ROWS_MAX; i++)
        assert_true(
            ndjson_line(&fixture->target, fixture->edge, line, strlen(line), &of, &fixture->err));
    assert_false(
        ndjson_line(&fixture->target, fixture->edge, line, strlen(line), &of, &fixture->err));
    assert_int_equal(fixture->err.code, ACC_ELIMIT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_line_becomes_a_fact_and_the_same_line_again),
        TEST(whole_numbers_of_64_bits_are_exact),
        TEST(the_member_kind_may_stand_for_the_argument),
        TEST(blank_lines_are_nothing),
        TEST(a_wrong_line_is_refused_with_field_and_reason),
        TEST(text_without_meaning_is_refused),
        TEST(too_long_a_value_is_refused_with_the_number),
        TEST(each_type_refuses_what_it_cannot_hold),
        TEST(a_number_that_is_none_cannot_be_unique),
        TEST(control_characters_of_a_wrong_value_do_not_reach_the_terminal),
        TEST(full_rows_are_a_limit_and_no_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
