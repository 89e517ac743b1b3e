#include "base/utf8.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

/* The definition, slowly: decode, then check the number. Bytes of the character at s, 0 for none. */
static size_t decode(const uint8_t *s, size_t n)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = s[0] < 0x80       ? 1
                   : s[0] >> 5 == 6  ? 2
                   : s[0] >> 4 == 14 ? 3
                   : s[0] >> 3 == 30 ? 4
                                     : 0;
    uint32_t value;

    if (bytes == 0 || bytes > n)
        return 0;
    value = bytes == 1 ? s[0] : s[0] & (0x7f >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        value = value << 6 | (s[i] & 0x3f);
    }
    if (value < lowest[bytes] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    return bytes;
}

static size_t valid_prefix_slowly(const uint8_t *s, size_t n)
{
    size_t at = 0;

    while (at < n) {
        size_t bytes = decode(s + at, n - at);
        if (bytes == 0)
            break;
        at += bytes;
    }
    return at;
}

static size_t valid_prefix(const char *text)
{
    return utf8_valid_prefix(text, strlen(text));
}

static void text_of_all_lengths_is_valid(void **state)
{
    (void)state;

    assert_int_equal(utf8_valid_prefix("", 0), 0);
    assert_int_equal(valid_prefix("a"), 1);
    assert_int_equal(valid_prefix("plain ascii that is longer than a word"), 38);
    assert_int_equal(valid_prefix("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80!"), 16);
    assert_int_equal(utf8_valid_prefix("a\0b", 3), 3);
}

static void ends_of_the_ranges(void **state)
{
    (void)state;
    static const char *const valid[] = {
        "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",     "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
    };
    static const char *const invalid[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xc2",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xc2\x41",
        "\xe2\x82\x41",
        "\xf0\x9f\x98\x41",
        "\xe2\x41\x82",
    };

    for (size_t i = 0; i < COUNT_OF(valid); i++)
        assert_int_equal(valid_prefix(valid[i]), strlen(valid[i]));
    for (size_t i = 0; i < COUNT_OF(invalid); i++) {
        char text[32] = "0123456789";

        strcat(text, invalid[i]);
        assert_int_equal(valid_prefix(text), 10);
        strcat(text, "after");
        assert_int_equal(valid_prefix(text), 10);
    }
}

static void every_two_and_three_bytes_as_the_definition(void **state)
{
    (void)state;

    for (uint32_t i = 0; i < 1 << 24; i += i < 1 << 16 ? 1 : 7) {
        uint8_t s[] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};

        if (utf8_valid_prefix((char *)s, 3) != valid_prefix_slowly(s, 3))
            fail_msg("bytes %02x %02x %02x", s[0], s[1], s[2]);
    }
}

static void random_bytes_as_the_definition(void **state)
{
    (void)state;
    static const uint8_t likely[] = {0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xed,
                                     0xef, 0xf0, 0xf4, 0x9f, 0xa0, 0x90};
    uint64_t seed = 1;

    for (int round = 0; round < 200000; round++) {
        uint8_t s[40];
        size_t n = 0;

        seed = seed * UINT64_C(6364136223846793005) + 1;
        n = seed >> 33 & 31;
        for (size_t i = 0; i < n; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            s[i] = seed >> 63 ? 'x' : likely[(seed >> 40) % COUNT_OF(likely)];
        }
        assert_int_equal(utf8_valid_prefix((char *)s, n), valid_prefix_slowly(s, n));
    }
}

static void nothing_is_read_beyond_the_end(void **state)
{
    (void)state;

    for (size_t n = 0; n < 40; n++) { /* the sanitizer looks on */
        char *text = malloc(n + 1);

        assert_non_null(text);
        memset(text, 'a', n);
        text[n] = '\xe2';
        assert_int_equal(utf8_valid_prefix(text, n + 1), n);
        free(text);
    }
}

static void what_is_mended_is_valid_and_keeps_its_size(void **state)
{
    char text[] = "caf\xe9 na\xc3\xafve \xf0\x9f\x98";

    (void)state;
    utf8_mend(text, strlen(text));
    assert_string_equal(text, "caf? na\xc3\xafve ???");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_all_lengths_is_valid),
        cmocka_unit_test(ends_of_the_ranges),
        cmocka_unit_test(every_two_and_three_bytes_as_the_definition),
        cmocka_unit_test(random_bytes_as_the_definition),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
        cmocka_unit_test(what_is_mended_is_valid_and_keeps_its_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
