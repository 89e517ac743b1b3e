/* Where the files of two programs differ. */
#include "check.h"

#include "lifecycle.h"

static void says(const char *ours, const char *theirs, const char *wanted)
{
    struct program program = {.files = (char *)ours};
    struct buf out = {0};

    program_say_differences(&program, theirs, &out);
    assert_string_equal(out.data == NULL ? "" : out.data, wanted);
    buf_clear(&out);
}

static void files_that_differ_are_named_with_how(void **state)
{
    (void)state;
    says("kinds/a.lua 11\nlua/b.lua 22\n", "kinds/a.lua 11\nlua/b.lua 22\n", "");
    says("kinds/a.lua 11\nlua/b.lua 22\n", "kinds/a.lua 12\nlua/b.lua 22\n", "kinds/a.lua differs");
    says("kinds/a.lua 11\nkinds/ab.lua 11\n", "kinds/ab.lua 11\nroutes/r.lua 3\n",
         "kinds/a.lua is only here, routes/r.lua is not here");
    says(NULL, "kinds/a.lua 11\n", "kinds/a.lua is not here");
    says("kinds/a.lua 11\n", "", "kinds/a.lua is only here");
}

static void at_most_eight_are_named(void **state)
{
    (void)state;
    says("a 1\nb 1\nc 1\nd 1\ne 1\n", "a 2\nb 2\nc 2\nd 2\ne 1\nf 1\ng 1\nh 1\ni 1\nj 1\n",
         "a differs, b differs, c differs, d differs, f is not here, g is not here, h is not here, "
         "i is not here and 1 more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_differ_are_named_with_how),
        cmocka_unit_test(at_most_eight_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
