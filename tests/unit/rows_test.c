/* Rows: what goes into a packet comes out of it, and a cut packet is refused at every byte. */
#include "kinds_for_tests.h"

#include "rows.h"

static void fill_span(struct fixture *fixture, struct acc_row *row, const struct field *field,
                      size_t f)
{
    static const char text[] = "some text of 16 ";
    uint32_t list[6] = {2, 0, 1, 0, 0, 0}; /* two slots, 1 and 0 */
    uint32_t none[2] = {0, 0};
    bool has_slots = field->type < FIELD_TEXT;

    assert_true(field->is_array
                    ? row_set_bytes(row, f, &fixture->heap, has_slots ? list : none,
                                    has_slots ? sizeof(list) : sizeof(none), &fixture->err)
                    : row_set_bytes(row, f, &fixture->heap, text, 16, &fixture->err));
}

static struct acc_row *fill(struct fixture *fixture, bool with_nulls)
{
    const struct kind *kind = fixture->all;
    struct acc_row *row = fixture_row(fixture, kind);

    for (size_t i = 0; i < 16; i++)
        row->id[i] = (uint8_t)(i * 7);
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];
        if (field->is_nullable && with_nulls)
            row->nulls |= UINT64_C(1) << f;
        else if (field_is_span(field))
            fill_span(fixture, row, field, f);
        else
            *row_int(row, f) =
                field->type == FIELD_BOOL ? 1 : (int64_t)(f * UINT64_C(0x0123456789abcdef));
    }
    return row;
}

static void check_round_trip(struct fixture *fixture, bool with_nulls)
{
    struct acc_row *row = fill(fixture, with_nulls);
    struct buf out = {0};
    struct acc_row *back = calloc(1, fixture->all->row_bytes);
    size_t at = 0;

    row_encode(fixture->all, row, &out);
    assert_true(
        row_decode(fixture->all, out.data, out.size, &at, &fixture->heap, back, &fixture->err));
    assert_int_equal(at, out.size);
    assert_memory_equal(back->id, row->id, 16);
    assert_true(back->nulls == row->nulls);
    assert_true(rows_equal(fixture->all, row, back, UINT64_MAX));
    free(back);
    buf_clear(&out);
}

static void a_row_comes_back_as_it_was(void **state)
{
    check_round_trip(*state, false);
}

static void nulls_come_back(void **state)
{
    check_round_trip(*state, true);
}

static void a_cut_row_is_refused_at_every_byte(void **state)
{
    struct fixture *fixture = *state;
    struct buf out = {0};
    struct acc_row *back = calloc(1, fixture->all->row_bytes);

    row_encode(fixture->all, fill(fixture, false), &out);
    for (size_t size = 0; size < out.size; size++) {
        char *exact = malloc(size + 1); /* so that a sanitizer sees a read behind the cut */
        size_t at = 0;

        exact = realloc(exact, size == 0 ? 1 : size);
        memcpy(exact, out.data, size);
        memset(back, 0, fixture->all->row_bytes);
        assert_false(
            row_decode(fixture->all, exact, size, &at, &fixture->heap, back, &fixture->err));
        assert_int_equal(fixture->err.code, ACC_EINPUT);
        free(exact);
    }
    free(back);
    buf_clear(&out);
}

static void a_length_beyond_the_end_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct acc_row *row = fixture_row(fixture, fixture->book);
    struct acc_row *back = calloc(1, fixture->book->row_bytes);
    struct buf out = {0};
    uint32_t huge = UINT32_MAX;
    size_t at = 0;

    assert_true(row_set_bytes(row, 0, &fixture->heap, "a", 1, &fixture->err));
    assert_true(row_set_bytes(row, 1, &fixture->heap, "b", 1, &fixture->err));
    row_encode(fixture->book, row, &out);
    memcpy(out.data + 16, &huge, sizeof(huge));
    assert_false(
        row_decode(fixture->book, out.data, out.size, &at, &fixture->heap, back, &fixture->err));
    free(back);
    buf_clear(&out);
}

static void null_equals_null_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    size_t field = (size_t)kind_field(fixture->all, "n");
    struct acc_row *row = fill(fixture, false);
    struct acc_row *twin = calloc(1, fixture->all->row_bytes);

    memcpy(twin, row, fixture->all->row_bytes);
    assert_true(rows_equal(fixture->all, row, twin, UINT64_MAX));
    twin->nulls |= UINT64_C(1) << field;
    assert_false(rows_equal(fixture->all, row, twin, UINT64_MAX));
    row->nulls |= UINT64_C(1) << field;
    *row_int(row, field) = 1; /* what stands behind NULL does not count */
    assert_true(rows_equal(fixture->all, row, twin, UINT64_MAX));
    assert_true(rows_equal(fixture->all, row, twin, 0));
    free(twin);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_comes_back_as_it_was, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(nulls_come_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_cut_row_is_refused_at_every_byte, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_length_beyond_the_end_is_refused, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(null_equals_null_and_nothing_else, fixture_setup,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
