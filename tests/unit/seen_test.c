/* Seen-filter: never a false hit, bounded memory, the newest ids are kept. */
#include "check.h"
#include "seen.h"

#include "base/hash.h"

#include <string.h>

#define MIB (UINT64_C(1) << 20)

static void id_of(uint64_t n, uint8_t id[16])
{
    uint8_t digest[32];

    sha256(&n, sizeof(n), digest);
    memcpy(id, digest, 16);
}

static void what_was_added_is_there_and_nothing_else(void **state)
{
    struct seen *seen = seen_new(256 * MIB);
    uint8_t id[16];

    (void)state;
    for (uint64_t n = 0; n < 300000; n++) {
        id_of(n, id);
        seen_add(seen, id);
    }
    for (uint64_t n = 0; n < 600000; n++) {
        id_of(n, id);
        assert_int_equal(seen_has(seen, id), n < 300000);
    }
    seen_free(seen);
}

static void ids_that_differ_in_one_bit_are_two(void **state)
{
    struct seen *seen = seen_new(8 * MIB);
    uint8_t id[16];

    (void)state;
    id_of(1, id);
    seen_add(seen, id);
    for (int bit = 0; bit < 128; bit++) {
        id[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(seen_has(seen, id));
        id[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(seen_has(seen, id));
    seen_free(seen);
}

static void it_grows_to_its_bound_and_forgets_the_oldest(void **state)
{
    struct seen *seen = seen_new(8 * MIB);
    uint8_t id[16];
    uint64_t known = 0;
    const uint64_t all = 2000000;

    (void)state;
    for (uint64_t n = 0; n < all; n++) {
        id_of(n, id);
        seen_add(seen, id);
        assert_true(seen_has(seen, id));
        assert_true(seen_bytes(seen) <= 8 * MIB);
    }
    assert_true(seen_bytes(seen) > 4 * MIB);
    for (uint64_t n = 0; n < all; n++) {
        id_of(n, id);
        known += seen_has(seen, id);
    }
    assert_true(known > 100000);
    assert_true(known < all);
    id_of(0, id);
    assert_false(seen_has(seen, id));
    seen_free(seen);
}

static void a_bound_of_nothing_knows_nothing(void **state)
{
    struct seen *seen = seen_new(0);
    uint8_t id[16];

    (void)state;
    id_of(1, id);
    seen_add(seen, id);
    assert_false(seen_has(seen, id));
    assert_int_equal(seen_bytes(seen), 0);
    seen_free(seen);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_there_and_nothing_else),
        cmocka_unit_test(ids_that_differ_in_one_bit_are_two),
        cmocka_unit_test(it_grows_to_its_bound_and_forgets_the_oldest),
        cmocka_unit_test(a_bound_of_nothing_knows_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
