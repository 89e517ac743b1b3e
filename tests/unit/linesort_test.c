#include "base/linesort.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *sorted(const char *const *lines, size_t count, size_t run_bytes)
{
    static char text[1 << 22];
    struct linesort *sort = linesort_new("/tmp", run_bytes);
    FILE *out = fmemopen(text, sizeof(text), "w");
    struct acc_error err;

    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        assert_true(linesort_add(sort, lines[i], strlen(lines[i]), &err));
    assert_true(linesort_write(sort, out, &err));
    fclose(out);
    linesort_free(sort);
    return text;
}

static void lines_are_ordered_by_their_bytes(void **state)
{
    static const char *const lines[] = {"b", "a!", "\xff", "a", "", "B", "a"};

    (void)state;
    assert_string_equal(sorted(lines, COUNT_OF(lines), 1000), "\nB\na\na\na!\nb\n\xff\n");
    assert_string_equal(sorted(lines, COUNT_OF(lines), 1), "\nB\na\na\na!\nb\n\xff\n");
}

static void nothing_stays_nothing(void **state)
{
    (void)state;
    assert_string_equal(sorted(NULL, 0, 10), "");
}

/* More runs than are merged at a time. */
static void runs_on_disk_give_what_memory_gives(void **state)
{
    enum { COUNT = 20000 };
    char **lines = malloc(COUNT * sizeof(*lines));
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        seed = seed * 1664525 + 1013904223;
        lines[i] = malloc(64);
        snprintf(lines[i], 64, "%.*s%u", (int)(seed >> 28), "aaaaaaaaaaaaaaaa", seed % 5000);
    }
    char *at_once = strdup(sorted((const char *const *)lines, COUNT, 1 << 22));
    assert_string_equal(sorted((const char *const *)lines, COUNT, 1000), at_once);
    for (size_t i = 0; i < COUNT; i++)
        free(lines[i]);
    free(lines);
    free(at_once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_ordered_by_their_bytes),
        cmocka_unit_test(nothing_stays_nothing),
        cmocka_unit_test(runs_on_disk_give_what_memory_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
