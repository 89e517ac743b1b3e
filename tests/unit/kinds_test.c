/* Kinds: what a declaration may say, and what is said of one that may not. */
#include "kinds_for_tests.h"

#include "pg/pg.h"

static struct kind *kind_of(const char *const (*fields)[2])
{
    struct kind *kind = calloc(1, sizeof(*kind));

    snprintf(kind->name, sizeof(kind->name), "thing");
    for (size_t f = 0; fields[f][0] != NULL; f++) {
        struct field *field = &kind->fields[kind->field_count++];
        char type[16];

        snprintf(field->name, sizeof(field->name), "%s", fields[f][0]);
        snprintf(type, sizeof(type), "%s", fields[f][1]);
        field->is_nullable = strchr(type, '?') != NULL;
        field->is_unique = strchr(type, '!') != NULL;
        type[strcspn(type, "?!")] = '\0';
        assert_true(field_type_of(type, &field->type, &field->is_array));
    }
    return kind;
}

static void check_refused(const char *const (*fields)[2], const char *wanted)
{
    struct kind *kind = kind_of(fields);
    struct acc_error err;

    assert_false(kind_finish(kind, &err));
    assert_int_equal(err.code, ACC_EINPUT);
    if (strstr(err.text, wanted) == NULL)
        print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, wanted));
    free(kind);
}

static void a_kind_without_unique_fields_is_refused(void **state)
{
    static const char *const fields[][2] = {{"a", "int8"}, {NULL, NULL}};

    (void)state;
    check_refused(fields, "needs at least one unique field");
}

static void a_unique_field_that_may_be_null_is_refused(void **state)
{
    static const char *const fields[][2] = {{"a", "int8?!"}, {NULL, NULL}};

    (void)state;
    check_refused(fields, "\"a\" is unique and nullable");
}

static void unique_json_is_refused(void **state)
{
    static const char *const fields[][2] = {{"a", "json!"}, {NULL, NULL}};
    static const char *const lists[][2] = {{"a", "json[]!"}, {NULL, NULL}};

    (void)state;
    check_refused(fields, "\"a\" is json and cannot be unique");
    check_refused(lists, "\"a\" is json and cannot be unique");
}

static void a_shard_field_that_is_not_unique_is_refused(void **state)
{
    static const char *const fields[][2] = {{"a", "int8!"}, {"b", "int8"}, {NULL, NULL}};
    struct kind *kind = kind_of(fields);
    struct acc_error err;

    (void)state;
    kind->shard[0] = 1;
    kind->shard_count = 1;
    assert_false(kind_finish(kind, &err));
    assert_non_null(strstr(err.text, "shard field \"b\" is not among the unique fields"));
    free(kind);
}

static void masks_tell_unique_from_other_fields(void **state)
{
    static const char *const fields[][2] = {
        {"z", "int8!"}, {"b", "int8"}, {"a", "text!"}, {NULL, NULL}};
    struct kind *kind = kind_of(fields);
    struct acc_error err;

    (void)state;
    assert_true(kind_finish(kind, &err));
    assert_int_equal(kind->unique_mask, 5);
    assert_int_equal(kind->other_mask, 2);
    assert_int_equal(kind->unique[0], 2); /* by name */
    assert_int_equal(kind->unique[1], 0);
    free(kind);
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {
        "",    "A",        "1a",
        "a-b", "a b",      "_a",
        "a\"", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop"};
    static const char *const reserved[] = {"kind", "fact", "end", "any", "ctid", "function"};
    struct acc_error err;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(name_check("kinds/x.lua", bad[i], &err));
        assert_non_null(strstr(err.text, "kinds/x.lua: wanted a name like [a-z][a-z0-9_]{0,40}"));
    }
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        assert_false(name_check("field 1", reserved[i], &err));
        assert_non_null(strstr(err.text, "is a reserved word"));
    }
    assert_true(name_check("field 1", "from", &err));
    assert_true(name_check("field 1", "abcdefghijklmnopqrstuvwxyzabcdefghijklmno", &err));
}

static void a_kind_twice_is_refused(void **state)
{
    static const char *const fields[][2] = {{"a", "int8!"}, {NULL, NULL}};
    struct catalog catalog = {0};
    struct kind *second = kind_of(fields);
    struct acc_error err;

    (void)state;
    fixture_kind(&catalog, "thing", fields);
    assert_true(kind_finish(second, &err));
    assert_false(catalog_add(&catalog, second, &err));
    assert_non_null(strstr(err.text, "kind \"thing\" is declared twice"));
    snprintf(second->name, sizeof(second->name), "other"); /* the tag is still thing's */
    assert_false(catalog_add(&catalog, second, &err));
    assert_non_null(strstr(err.text, "have the same tag"));
    free(second);
    catalog_clear(&catalog);
}

static void a_look_up_by_all_unique_fields_goes_by_id(void **state)
{
    struct fixture *fixture = *state;
    struct shape both = {.fields = {0, 1}, .count = 2};
    struct shape one = {.fields = {1}, .count = 1};
    struct shape json = {.fields = {(uint8_t)kind_field(fixture->all, "j")}, .count = 1};

    int number = kind_shape(fixture->edge, &both, &fixture->err);
    assert_true(fixture->edge->shapes[number].by_id);
    assert_int_equal(kind_shape(fixture->edge, &both, &fixture->err), number);
    number = kind_shape(fixture->edge, &one, &fixture->err);
    assert_false(fixture->edge->shapes[number].by_id);
    assert_int_equal(kind_shape(fixture->all, &json, &fixture->err), -1);
    assert_non_null(strstr(fixture->err.text, "\"j\" is json and cannot be looked up"));
}

static void a_misspelled_name_finds_its_neighbour(void **state)
{
    static const char *const names[] = {"edge", "path", "phrase"};

    (void)state;
    assert_string_equal(name_suggest("edges", names, 3), "edge");
    assert_string_equal(name_suggest("pahts", names, 3), "path");
    assert_null(name_suggest("weather", names, 3));
}

static void postgresql_before_14_is_refused(void **state)
{
    struct acc_error err;

    (void)state;
    assert_true(pg_version_check(140000, &err));
    assert_true(pg_version_check(150020, &err));
    assert_true(pg_version_check(180001, &err));
    assert_false(pg_version_check(130022, &err));
    assert_string_equal(err.text, "wanted PostgreSQL 14 or newer, the server is 13.22");
    assert_false(pg_version_check(90624, &err));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kind_without_unique_fields_is_refused),
        cmocka_unit_test(a_unique_field_that_may_be_null_is_refused),
        cmocka_unit_test(unique_json_is_refused),
        cmocka_unit_test(a_shard_field_that_is_not_unique_is_refused),
        cmocka_unit_test(masks_tell_unique_from_other_fields),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_kind_twice_is_refused),
        cmocka_unit_test_setup_teardown(a_look_up_by_all_unique_fields_goes_by_id, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test(a_misspelled_name_finds_its_neighbour),
        cmocka_unit_test(postgresql_before_14_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
