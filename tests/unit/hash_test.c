#include "base/hash.h"
#include "check.h"

#include <string.h>

static void assert_sha256(const char *data, size_t bytes, const char *expected)
{
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    sha256(data, bytes, digest);
    hex_encode(digest, sizeof(digest), hex);
    assert_string_equal(hex, expected);
}

static void digests_are_those_of_the_standard(void **state)
{
    (void)state;
    static char million[1000000];

    memset(million, 'a', sizeof(million));
    for (int again = 0; again < 3; again++) { /* the context is reused */
        assert_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        assert_sha256(million, sizeof(million),
                      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

static void zeros_in_data_count(void **state)
{
    (void)state;

    assert_sha256("\0", 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

static void hex_comes_back_as_bytes(void **state)
{
    (void)state;
    uint8_t bytes[256];
    uint8_t back[256];
    char hex[513];

    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    hex_encode(bytes, sizeof(bytes), hex);
    assert_int_equal(strlen(hex), 512);
    assert_memory_equal(hex, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_true(hex_decode(hex, 512, back));
    assert_memory_equal(bytes, back, sizeof(bytes));
}

static void both_cases_are_hex(void **state)
{
    (void)state;
    uint8_t bytes[2];

    assert_true(hex_decode("aBCd", 4, bytes));
    assert_memory_equal(bytes, "\xab\xcd", 2);
    assert_true(hex_decode("", 0, bytes));
}

static void what_is_no_hex_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "abc", "0g", "g0", "0x", " 0", "0/", "0:", "@0", "`0"};
    uint8_t bytes[2];

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(hex_decode(texts[i], strlen(texts[i]), bytes));
    assert_false(hex_decode("00\0", 4, bytes));
}

static void siphash_is_that_of_its_authors(void **state)
{
    (void)state;
    static const uint8_t none[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                     0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    static const uint8_t eight[16] = {0x3b, 0x62, 0xa9, 0xba, 0x62, 0x58, 0xf5, 0x61,
                                      0x0f, 0x83, 0xe2, 0x64, 0xf3, 0x14, 0x97, 0xb4};
    const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint64_t out[2];

    siphash128(key, NULL, 0, out);
    assert_memory_equal(out, none, 16);
    siphash128(key, key, 1, out);
    assert_memory_equal(out, eight, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_the_standard),
        cmocka_unit_test(zeros_in_data_count),
        cmocka_unit_test(hex_comes_back_as_bytes),
        cmocka_unit_test(both_cases_are_hex),
        cmocka_unit_test(what_is_no_hex_is_refused),
        cmocka_unit_test(siphash_is_that_of_its_authors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
