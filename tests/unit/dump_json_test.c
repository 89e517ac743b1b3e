#include "formats/dump_json.h"
#include "kinds_for_tests.h"

#include <jansson.h>
#include <math.h>

static const char *text_of(struct fixture *fixture, const char *text, size_t size)
{
    buf_reset(&fixture->line);
    dump_json_text(&fixture->line, text, size);
    return fixture->line.data;
}

static void text_is_escaped_as_little_as_can_be(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(text_of(fixture, "a/b é\x7f", 7), "\"a/b é\x7f\"");
    assert_string_equal(text_of(fixture, "\"\\", 2), "\"\\\"\\\\\"");
    assert_string_equal(text_of(fixture, "\b\t\n\f\r", 5), "\"\\b\\t\\n\\f\\r\"");
    assert_string_equal(text_of(fixture, "\x01\x0b\x1f", 3), "\"\\u0001\\u000b\\u001f\"");
    assert_string_equal(text_of(fixture, "", 0), "\"\"");
}

static const char *float_of(struct fixture *fixture, double value)
{
    buf_reset(&fixture->line);
    dump_json_float(&fixture->line, value);
    return fixture->line.data;
}

static void a_number_is_the_shortest_that_reads_back_the_same(void **state)
{
    struct fixture *fixture = *state;

    assert_string_equal(float_of(fixture, 1), "1");
    assert_string_equal(float_of(fixture, 0.1), "0.1");
    assert_string_equal(float_of(fixture, -0.0), "0");
    assert_string_equal(float_of(fixture, 1e300), "1e+300");
    assert_string_equal(float_of(fixture, 0.1 + 0.2), "0.30000000000000004");
    assert_string_equal(float_of(fixture, 5e-324), "4.94065645841247e-324");
    assert_string_equal(float_of(fixture, NAN), "\"NaN\"");
    assert_string_equal(float_of(fixture, -INFINITY), "\"-Infinity\"");
    for (int i = 1; i < 100000; i++) {
        double value = exp(i * 0.007 - 350) * (i % 2 == 0 ? 1 : -1);
        assert_true(strtod(float_of(fixture, value), NULL) == value);
    }
}

static void equal_json_values_are_equal_bytes(void **state)
{
    static const char *const forms[] = {
        " { \"b\" : [1, 2.0, -0.0, null, true], \"a\" : { } , \"\\u0063\" : \"\\u00e9\\/\" } ",
        "{\"a\":{},\"c\":\"é/\",\"b\":[1.0,2,0,null,true]}",
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        json_t *value = json_loads(forms[i], JSON_DECODE_ANY, NULL);
        buf_reset(&fixture->line);
        dump_json_value(&fixture->line, value);
        assert_string_equal(fixture->line.data, "{\"a\":{},\"b\":[1,2,0,null,true],\"c\":\"é/\"}");
        json_decref(value);
    }
}

static void a_fact_has_its_fields_in_declared_order(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->edge);

    *row_int(row, 0) = INT64_MIN;
    *row_int(row, 1) = INT64_MAX;
    dump_json_fact(&fixture->line, fixture->edge, row);
    assert_string_equal(
        fixture->line.data,
        "{\"kind\":\"edge\",\"from\":-9223372036854775808,\"to\":9223372036854775807}");
}

static void null_is_left_out_of_a_fact_but_written_as_a_value(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->edge);

    row->nulls = 2;
    dump_json_fact(&fixture->line, fixture->edge, row);
    assert_string_equal(fixture->line.data, "{\"kind\":\"edge\",\"from\":0}");
    buf_reset(&fixture->line);
    dump_json_field(&fixture->line, fixture->edge, row, 1);
    assert_string_equal(fixture->line.data, "null");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(text_is_escaped_as_little_as_can_be),
        TEST(a_number_is_the_shortest_that_reads_back_the_same),
        TEST(equal_json_values_are_equal_bytes),
        TEST(a_fact_has_its_fields_in_declared_order),
        TEST(null_is_left_out_of_a_fact_but_written_as_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
