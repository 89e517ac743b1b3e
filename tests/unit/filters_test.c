#include "filters.h"

#include "explorer.h"
#include "identity.h"
#include "kinds_for_tests.h"

static bool add(struct fixture *fixture, struct filters *filters, const char *text)
{
    return filters_add(filters, text, &fixture->heap, VALUE_BYTES, &fixture->err);
}

static void wants(struct fixture *fixture, const char *text, const char *message)
{
    struct filters filters;

    filters_init(&filters, fixture->all);
    assert_false(add(fixture, &filters, text));
    if (strstr(fixture->err.text, message) == NULL)
        fail_msg("\"%s\": wanted \"%s\", got \"%s\"", text, message, fixture->err.text);
    filters_clear(&filters);
}

/* The SQL of one filter, and its number of parameters. */
static void gives(struct fixture *fixture, const char *text, const char *sql, int params)
{
    struct pg_args args = {0};
    struct filters filters;
    struct buf out = {0};

    filters_init(&filters, fixture->all);
    if (!add(fixture, &filters, text))
        fail_msg("\"%s\": %s", text, fixture->err.text);
    filters_finish(&filters);
    filters_sql(&filters, &out, &args);
    assert_string_equal(out.data, sql);
    assert_int_equal(args.count, params);
    buf_clear(&out);
    filters_clear(&filters);
}

static void what_is_no_filter_is_refused(void **state)
{
    static const char *const texts[] = {"", "~", "i", "i~", "~eq~1", "i~~1", "=1", "i=1"};

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        wants(*state, texts[i], "wanted FIELD~OP~VALUE, as in b~eq~1");
}

static void unknown_fields_and_operators_are_answered_by_what_was_meant(void **state)
{
    wants(*state, "tss~eq~1", "has no field \"tss\", did you mean \"ts\"?");
    wants(*state, "_id~eq~1", "has no field");
    wants(*state, "t~prefx~a", "got \"prefx\", did you mean prefix?");
    wants(*state, "i~contains~1", "is int8, never null: wanted one of eq ne lt le gt ge, got");
    wants(*state, "is~lt~1", "is int8[]: wanted one of eq ne has null notnull, got");
    wants(*state, "j~lt~1", "wanted one of eq ne contains");
    wants(*state, "i~null", "never null");
}

static void values_are_checked_by_the_type_of_the_field(void **state)
{
    wants(*state, "i~eq~x", "filter \"i~eq~x\": field \"i\": wanted int8");
    wants(*state, "i~eq~9223372036854775808", "wanted int8");
    wants(*state, "b~eq~maybe", "wanted bool (true or false)");
    wants(*state, "f~gt~1e999", "wanted float8");
    wants(*state, "u~eq~12", "wanted uuid");
    wants(*state, "y~eq~xyz", "wanted bytes as hex digits");
    wants(*state, "t~eq~\xff", "wanted UTF-8");
    wants(*state, "j~eq~{", "wanted json as JSON");
    wants(*state, "is~eq~7", "wanted int8[]");
    wants(*state, "is~has~seven", "wanted int8");
    wants(*state, "i~eq", "the value is missing, wanted i~eq~VALUE");
    wants(*state, "n~null~1", "there is no value with it, wanted n~null");
}

static void values_are_parameters_and_never_sql(void **state)
{
    gives(*state, "i~eq~7", " AND f.\"i\" = $1", 1);
    gives(*state, "i~ne~7", " AND f.\"i\" IS DISTINCT FROM $1", 1);
    gives(*state, "f~le~-1.5", " AND f.\"f\" <= $1", 1);
    gives(*state, "t~eq~'; DROP TABLE x; --",
          " AND hashtextextended(f.\"t\", 0) = hashtextextended($1, 0) AND f.\"t\" = $1", 1);
    gives(*state, "t~lt~a~b", " AND f.\"t\" COLLATE \"C\" < $1", 1);
    gives(*state, "t~prefix~100%_", " AND starts_with(f.\"t\", $1)", 1);
    gives(*state, "t~contains~", " AND position($1 in f.\"t\") > 0", 1);
    gives(*state, "y~eq~00ff", " AND sha256(f.\"y\") = sha256($1) AND f.\"y\" = $1", 1);
    gives(*state, "y~prefix~00", " AND substr(f.\"y\", 1, length($1)) = $1", 1);
    gives(*state, "ts~has~a", " AND f.\"ts\" @> ARRAY[$1]", 1);
    gives(*state, "is~eq~[1,2]", " AND f.\"is\" = $1", 1);
    gives(*state, "n~null", " AND f.\"n\" IS NULL", 0);
    gives(*state, "n~notnull", " AND f.\"n\" IS NOT NULL", 0);
}

static void values_travel_in_the_form_of_the_wire(void **state)
{
    static const uint8_t array[] = {
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,    2,    0,    0,    0,    1,    0,    0,
        0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0,  0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct fixture *fixture = *state;
    struct filters filters;

    filters_init(&filters, fixture->all);
    assert_true(add(fixture, &filters, "i~gt~-2"));
    assert_true(add(fixture, &filters, "is~eq~[7,-1]"));
    assert_true(add(fixture, &filters, "b~eq~true"));
    assert_true(add(fixture, &filters, "j~eq~{\"b\":1, \"a\":2}"));
    assert_int_equal(filters.list[0].type, PG_INT8);
    assert_memory_equal(filters.wire.data + filters.list[0].at, "\xff\xff\xff\xff\xff\xff\xff\xfe",
                        8);
    assert_int_equal(filters.list[1].type, PG_INT8_ARRAY);
    assert_int_equal(filters.list[1].size, sizeof(array));
    assert_memory_equal(filters.wire.data + filters.list[1].at, array, sizeof(array));
    assert_int_equal(filters.list[2].size, 1);
    assert_memory_equal(filters.wire.data + filters.list[3].at, "{\"a\":2,\"b\":1}", 13);
    filters_clear(&filters);
}

static void all_unique_fields_by_eq_are_an_id(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->edge);
    struct filters filters;

    filters_init(&filters, fixture->edge);
    assert_true(add(fixture, &filters, "from~eq~1"));
    filters_finish(&filters);
    assert_false(filters.has_id);
    assert_true(add(fixture, &filters, "to~eq~-0"));
    filters_finish(&filters);
    assert_true(filters.has_id);
    *row_int(row, 0) = 1;
    *row_int(row, 1) = 0;
    identity_set(fixture->edge, row);
    assert_memory_equal(filters.id, row->id, 16);
    filters_clear(&filters);
}

static void there_are_not_more_than_so_many(void **state)
{
    struct fixture *fixture = *state;
    struct filters filters;

    filters_init(&filters, fixture->edge);
    for (int i = 0; i < FILTERS_MAX; i++)
        assert_true(add(fixture, &filters, "from~ne~1"));
    assert_false(add(fixture, &filters, "from~ne~1"));
    assert_string_equal(fixture->err.text, "wanted at most 32 filters");
    filters_clear(&filters);
}

static void an_order_is_an_id_newest_or_a_field(void **state)
{
    struct fixture *fixture = *state;
    struct explorer_query query = {.kind = fixture->all};

    assert_true(explorer_order(&query, "newest", &fixture->err));
    assert_int_equal(query.order, ORDER_NEWEST);
    assert_true(explorer_order(&query, "id~desc", &fixture->err));
    assert_true(query.order == ORDER_ID && query.is_descending);
    assert_true(explorer_order(&query, "t", &fixture->err));
    assert_true(query.order == ORDER_FIELD && query.field == 3 && !query.is_descending);
    assert_false(explorer_order(&query, "newset", &fixture->err));
    assert_non_null(strstr(fixture->err.text, "did you mean \"newest\"?"));
    assert_false(explorer_order(&query, "t~down", &fixture->err));
    assert_false(explorer_order(&query, "is", &fixture->err));
    assert_string_equal(fixture->err.text, "field \"is\" is an array and has no order");
}

static void first_digits_are_a_range_of_ids(void **state)
{
    struct id_range range;

    (void)state;
    assert_true(id_range_read("0aBc", &range));
    assert_memory_equal(range.low, "\x0a\xbc\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_equal(range.high + 2, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                        14);
    assert_true(id_range_read("0abc1", &range));
    assert_memory_equal(range.low, "\x0a\xbc\x10", 3);
    assert_memory_equal(range.high, "\x0a\xbc\x1f\xff", 4);
    assert_true(id_range_read("00112233-4455-6677-8899-aabbccddeeff", &range));
    assert_memory_equal(range.low, range.high, 16);
    assert_false(id_range_read("0ab", &range));
    assert_false(id_range_read("0abg", &range));
    assert_false(id_range_read("00112233445566778899aabbccddeeff0", &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_filter_is_refused),
        cmocka_unit_test(unknown_fields_and_operators_are_answered_by_what_was_meant),
        cmocka_unit_test(values_are_checked_by_the_type_of_the_field),
        cmocka_unit_test(values_are_parameters_and_never_sql),
        cmocka_unit_test(values_travel_in_the_form_of_the_wire),
        cmocka_unit_test(all_unique_fields_by_eq_are_an_id),
        cmocka_unit_test(there_are_not_more_than_so_many),
        cmocka_unit_test(an_order_is_an_id_newest_or_a_field),
        cmocka_unit_test(first_digits_are_a_range_of_ids),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
