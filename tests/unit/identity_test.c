/* Identity: the canonical encoding and the ids of a few facts, byte by byte. They must never change. */
#include "kinds_for_tests.h"

#include "identity.h"

static void hex_of(const void *data, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", ((const uint8_t *)data)[i]);
}

/* The encoding and the id of a row, against what ARCHITECTURE.md says. */
static void check_golden(const struct kind *kind, struct acc_row *row, const char *encoding,
                         const char *id)
{
    struct buf out = {0};
    char hex[4096];

    identity_encode(kind, row, &out);
    hex_of(out.data, out.size, hex);
    if (strcmp(hex, encoding) != 0)
        print_message("encoding of %s: %s\n", kind->name, hex);
    assert_string_equal(hex, encoding);
    identity_set(kind, row);
    hex_of(row->id, 16, hex);
    if (strcmp(hex, id) != 0)
        print_message("id of %s: %s\n", kind->name, hex);
    assert_string_equal(hex, id);
    buf_clear(&out);
}

static void the_encoding_of_whole_numbers_is_golden(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->edge);

    *row_int(row, 0) = 1;
    *row_int(row, 1) = 2;
    check_golden(fixture->edge, row,
                 "0100000004656467650000000466726f6d00000004696e74380000000800000000000000010000000"
                 "2746f00000004696e7438000000080000000000000002",
                 "86b7bda9b65afd9b93877416b40a8b18");
    *row_int(row, 0) = INT64_MIN;
    *row_int(row, 1) = -1;
    check_golden(fixture->edge, row,
                 "0100000004656467650000000466726f6d00000004696e74380000000880000000000000000000000"
                 "2746f00000004696e743800000008ffffffffffffffff",
                 "58aebda99f4add2c3eb2dbae5982168e");
}

static void the_encoding_of_texts_is_golden(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->book);

    assert_true(row_set_bytes(row, 0, &fixture->heap, "", 0, &fixture->err));
    assert_true(row_set_bytes(row, 1, &fixture->heap, "gr\xc3\xbc\xc3\x9f", 6, &fixture->err));
    check_golden(fixture->book, row,
                 "0100000004626f6f6b00000004626f64790000000474657874000000066772c3bcc39f00000005746"
                 "9746c65000000047465787400000000",
                 "74c66955299987ed6be59fc0b3c95bc2");
}

static struct acc_row *every_row(struct fixture *fixture)
{
    struct acc_row *row = fixture_row(fixture, fixture->all);
    const struct kind *kind = fixture->all;

    row->nulls = 0;
    for (size_t f = 0; f < kind->field_count; f++) {
        if (kind->fields[f].is_nullable)
            row->nulls |= UINT64_C(1) << f;
    }
    *row_int(row, 0) = 1;
    *row_int(row, 1) = 9007199254740993;
    *row_float(row, 2) = 0.1;
    assert_true(row_set_bytes(row, 3, &fixture->heap, "t", 1, &fixture->err));
    assert_true(row_set_bytes(row, 4, &fixture->heap, "\0\xff", 2, &fixture->err));
    assert_true(row_set_bytes(row, 5, &fixture->heap, "0123456789abcdef", 16, &fixture->err));
    assert_true(row_set_bytes(row, 6, &fixture->heap, "{}", 2, &fixture->err));
    return row;
}

static void the_encoding_of_every_scalar_is_golden(void **state)
{
    struct fixture *fixture = *state;

    check_golden(fixture->all, every_row(fixture),
                 "01000000056576657279000000016200000004626f6f6c0000000101000000016600000006666c6f6"
                 "17438000000083fb999999999999a000000016900000004696e743800000008002000000000000100"
                 "000001740000000474657874000000017400000001750000000475756964000000103031323334353"
                 "637383961626364656600000001790000000562797465730000000200ff",
                 "528cb162720259c15a486fa19446941d");
}

static void fields_outside_unique_do_not_change_the_id(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = every_row(fixture);
    uint8_t id[16];

    identity_set(fixture->all, row);
    memcpy(id, row->id, 16);
    *row_int(row, 7) = 5;
    row->nulls &= ~(UINT64_C(1) << 7);
    assert_true(row_set_bytes(row, 6, &fixture->heap, "[]", 2, &fixture->err));
    identity_set(fixture->all, row);
    assert_memory_equal(row->id, id, 16);
}

static void every_unique_field_changes_the_id(void **state)
{
    struct fixture *fixture = *state;
    uint8_t first[16];

    identity_set(fixture->all, every_row(fixture));
    memcpy(first, rows_at(&fixture->rows[fixture->all->index], 0)->id, 16);
    for (size_t f = 0; f < 6; f++) {
        struct acc_row *row = every_row(fixture);
        if (field_is_span(&fixture->all->fields[f]))
            row_span(row, f)->size--;
        else
            *row_int(row, f) ^= 1;
        identity_set(fixture->all, row);
        assert_memory_not_equal(row->id, first, 16);
    }
}

static void minus_zero_and_zero_are_one_fact(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = every_row(fixture);
    uint8_t id[16];

    *row_float(row, 2) = 0.0;
    row_normalise(fixture->all, row);
    identity_set(fixture->all, row);
    memcpy(id, row->id, 16);
    *row_float(row, 2) = -0.0;
    row_normalise(fixture->all, row);
    identity_set(fixture->all, row);
    assert_memory_equal(row->id, id, 16);
}

static void the_order_of_declaration_does_not_matter(void **state)
{
    static const char *const forth[][2] = {{"a", "int8!"}, {"b", "text!"}, {NULL, NULL}};
    static const char *const back[][2] = {{"b", "text!"}, {"a", "int8!"}, {NULL, NULL}};
    struct fixture *fixture = *state;
    struct catalog catalogs[2] = {{0}};
    uint8_t ids[2][16];

    for (int i = 0; i < 2; i++) {
        struct kind *kind = fixture_kind(&catalogs[i], "twin", i == 0 ? forth : back);
        struct acc_row *row = calloc(1, kind->row_bytes);

        *row_int(row, (size_t)kind_field(kind, "a")) = 7;
        assert_true(row_set_bytes(row, (size_t)kind_field(kind, "b"), &fixture->heap, "x", 1,
                                  &fixture->err));
        identity_set(kind, row);
        memcpy(ids[i], row->id, 16);
        free(row);
        catalog_clear(&catalogs[i]);
    }
    assert_memory_equal(ids[0], ids[1], 16);
}

static void the_id_tells_kind_and_bucket(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->edge);

    *row_int(row, 0) = 12345;
    identity_set(fixture->edge, row);
    assert_int_equal(id_tag(row->id), fixture->edge->tag);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_encoding_of_whole_numbers_is_golden, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_encoding_of_texts_is_golden, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_encoding_of_every_scalar_is_golden, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(fields_outside_unique_do_not_change_the_id, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(every_unique_field_changes_the_id, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(minus_zero_and_zero_are_one_fact, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_order_of_declaration_does_not_matter, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(the_id_tells_kind_and_bucket, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
