#include "base/buf.h"
#include "check.h"

static void an_empty_buffer_owns_nothing(void **state)
{
    (void)state;
    struct buf buf = {0};

    assert_null(buf.data);
    buf_clear(&buf);
    assert_int_equal(buf.size, 0);
}

static void bytes_keep_zeros_and_end_with_a_nul(void **state)
{
    (void)state;
    struct buf buf = {0};

    buf_add(&buf, "a\0b", 3);
    assert_int_equal(buf.size, 3);
    assert_memory_equal(buf.data, "a\0b\0", 4);
    buf_clear(&buf);
}

static void growing_byte_by_byte_keeps_all(void **state)
{
    (void)state;
    struct buf buf = {0};

    for (size_t i = 0; i < 100000; i++) {
        buf_byte(&buf, (uint8_t)(i * 7));
        assert_int_equal(buf.data[buf.size], 0);
    }
    assert_int_equal(buf.size, 100000);
    for (size_t i = 0; i < buf.size; i++)
        assert_int_equal((uint8_t)buf.data[i], (uint8_t)(i * 7));
    buf_clear(&buf);
}

static void adding_nothing_still_ends_with_a_nul(void **state)
{
    (void)state;
    struct buf buf = {0};

    buf_add(&buf, NULL, 0);
    assert_non_null(buf.data);
    assert_int_equal(buf.size, 0);
    assert_string_equal(buf.data, "");
    buf_clear(&buf);
}

static void a_reset_keeps_the_memory(void **state)
{
    (void)state;
    struct buf buf = {0};

    buf_text(&buf, "some text");
    char *data = buf.data;
    buf_reset(&buf);
    assert_int_equal(buf.size, 0);
    buf_text(&buf, "other");
    assert_ptr_equal(buf.data, data);
    assert_string_equal(buf.data, "other");
    buf_clear(&buf);
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    struct buf buf = {0};

    buf_be16(&buf, 0x0102);
    buf_be32(&buf, 0x03040506);
    buf_be64(&buf, UINT64_C(0x0708090a0b0c0d0e));
    assert_int_equal(buf.size, 14);
    for (size_t i = 0; i < buf.size; i++)
        assert_int_equal(buf.data[i], i + 1);
    buf_clear(&buf);
}

static void printing_appends_at_any_length(void **state)
{
    (void)state;
    struct buf buf = {0};

    buf_text(&buf, "x");
    for (int bytes = 0; bytes < 300; bytes++) {
        buf_reset(&buf);
        buf_text(&buf, "<");
        buf_printf(&buf, "%*d>", bytes, 7);
        assert_int_equal(buf.size, strlen(buf.data));
        assert_int_equal(buf.size, (bytes < 1 ? 1 : bytes) + 2);
        assert_int_equal(buf.data[buf.size - 1], '>');
    }
    buf_clear(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_owns_nothing),
        cmocka_unit_test(bytes_keep_zeros_and_end_with_a_nul),
        cmocka_unit_test(growing_byte_by_byte_keeps_all),
        cmocka_unit_test(adding_nothing_still_ends_with_a_nul),
        cmocka_unit_test(a_reset_keeps_the_memory),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(printing_appends_at_any_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
