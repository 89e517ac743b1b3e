#include "formats/text.h"
#include "formats/values.h"
#include "kinds_for_tests.h"

#include <math.h>

static bool set(struct fixture *fixture, const char *field, const char *text, struct acc_row *row)
{
    int f = kind_field(fixture->all, field);

    return values_set_text(&fixture->target, fixture->all, (size_t)f, text, strlen(text), row,
                           &fixture->err);
}

static void minus_zero_becomes_zero_and_there_is_one_nan(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->all);
    double nan = NAN;
    size_t d = (size_t)kind_field(fixture->all, "d");

    assert_true(set(fixture, "d", "-0", row));
    assert_int_equal(*row_int(row, d), 0);
    assert_true(set(fixture, "d", "NaN", row));
    assert_memory_equal(row_float(row, d), &nan, 8);
    assert_true(set(fixture, "d", "-Infinity", row));
    assert_true(*row_float(row, d) == -INFINITY);
}

static void arrays_lie_in_the_heap_as_hot_code_reads_them(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->all);
    size_t is = (size_t)kind_field(fixture->all, "is");
    size_t ts = (size_t)kind_field(fixture->all, "ts");
    static const uint32_t numbers[] = {2, 0, 7, 0, UINT32_MAX, UINT32_MAX};
    static const char texts[] = "\2\0\0\0\0\0\0\0\1\0\0\0a\0\0\0\0";

    assert_true(set(fixture, "is", "[7,-1]", row));
    assert_int_equal(row_span(row, is)->size, sizeof(numbers));
    assert_int_equal(row_span(row, is)->at % 8, 0);
    assert_memory_equal(heap_at(row_span(row, is)), numbers, sizeof(numbers));
    assert_true(set(fixture, "ts", "[\"a\",\"\"]", row));
    assert_int_equal(row_span(row, ts)->size, sizeof(texts) - 1);
    assert_memory_equal(heap_at(row_span(row, ts)), texts, sizeof(texts) - 1);
}

static void words_for_bool_are_few(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->all);

    assert_true(set(fixture, "b", "t", row));
    assert_int_equal(*row_int(row, 0), 1);
    assert_true(set(fixture, "b", "false", row));
    assert_int_equal(*row_int(row, 0), 0);
    assert_false(set(fixture, "b", "yes", row));
    assert_string_equal(fixture->err.text, "field \"b\": wanted bool (true or false), got \"yes\"");
}

static void a_long_wrong_value_is_shown_in_part(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->all);

    assert_false(set(fixture, "i", "ééééééééééééééééééééééééééééééééééééééé", row));
    assert_string_equal(fixture->err.text,
                        "field \"i\": wanted int8 (a whole number of 64 bits), got "
                        "\"éééééééééééééééééééééééé...\"");
}

static void a_text_file_fills_title_and_body(void **state)
{
    struct fixture *fixture = *state;
    struct text_fields fields;
    const struct acc_rows *rows = &fixture->rows[fixture->book->index];

    assert_true(text_choose(fixture->book, NULL, &fields, &fixture->err));
    assert_int_equal(fields.title, 0);
    assert_int_equal(fields.body, 1);
    assert_true(
        text_fact(&fixture->target, fixture->book, &fields, "GPL-2", "text", 4, &fixture->err));
    assert_memory_equal(heap_at(row_span(rows_at(rows, 0), 0)), "GPL-2", 5);
    assert_memory_equal(heap_at(row_span(rows_at(rows, 0), 1)), "text", 4);
    assert_true(text_choose(fixture->book, "title", &fields, &fixture->err));
    assert_int_equal(fields.title, 1);
    assert_int_equal(fields.body, 0);
    assert_false(
        text_fact(&fixture->target, fixture->book, &fields, "n", "a\0b", 3, &fixture->err));
    assert_int_equal(rows->count, 1);
}

static void a_kind_that_text_cannot_fill_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct text_fields fields;

    assert_false(text_choose(fixture->edge, NULL, &fields, &fixture->err));
    assert_string_equal(
        fixture->err.text,
        "kind \"edge\" has 0 text fields, wanted one for the file's text (and one more for "
        "its name): name it by --field");
    assert_false(text_choose(fixture->edge, "to", &fields, &fixture->err));
    assert_false(text_choose(fixture->all, "t", &fields, &fixture->err));
    assert_string_equal(fixture->err.text, "a text file cannot fill field \"b\" of kind \"every\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(minus_zero_becomes_zero_and_there_is_one_nan),
        TEST(arrays_lie_in_the_heap_as_hot_code_reads_them),
        TEST(words_for_bool_are_few),
        TEST(a_long_wrong_value_is_shown_in_part),
        TEST(a_text_file_fills_title_and_body),
        TEST(a_kind_that_text_cannot_fill_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
