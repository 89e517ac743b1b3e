#include "base/error.h"
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void a_failure_is_code_and_sentence(void **state)
{
    (void)state;
    struct acc_error err = {.sqlstate = "40001"};

    assert_false(acc_fail(&err, ACC_EINPUT, "wanted %d, got \"%s\"", 4, "many"));
    assert_int_equal(err.code, ACC_EINPUT);
    assert_string_equal(err.text, "wanted 4, got \"many\"");
    assert_string_equal(err.sqlstate, "");
}

static void nobody_need_listen(void **state)
{
    (void)state;

    assert_false(acc_fail(NULL, ACC_EDB, "x"));
    assert_false(acc_fail_errno(NULL, "x"));
    assert_false(acc_fail_prefix(NULL, "x"));
}

static void errno_becomes_text(void **state)
{
    (void)state;
    struct acc_error err;

    errno = ENOENT;
    assert_false(acc_fail_errno(&err, "%s: cannot be opened", "a.yaml"));
    assert_int_equal(err.code, ACC_ESYS);
    assert_string_equal(err.text, "a.yaml: cannot be opened: No such file or directory");
}

static void a_prefix_keeps_code_and_state(void **state)
{
    (void)state;
    struct acc_error err;

    acc_fail(&err, ACC_EDB, "no such column");
    strcpy(err.sqlstate, "42703");
    assert_false(acc_fail_prefix(&err, "kind %s", "edge"));
    assert_string_equal(err.text, "kind edge: no such column");
    assert_int_equal(err.code, ACC_EDB);
    assert_string_equal(err.sqlstate, "42703");
}

static void too_long_a_sentence_is_cut(void **state)
{
    (void)state;
    struct acc_error err;
    char text[2 * sizeof(err.text)];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    acc_fail(&err, ACC_EINPUT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    errno = EIO;
    acc_fail_errno(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    acc_fail_prefix(&err, "before");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "before: xxx", 11);
}

static void memory_is_there(void **state)
{
    (void)state;
    char *zeros = acc_zalloc(100);
    char *text = acc_format("%s-%d", "a", 1);
    char *copy = acc_strdup(text);

    for (size_t i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_string_equal(copy, "a-1");
    zeros = acc_realloc(zeros, 200);
    assert_int_equal(zeros[99], 0);
    free(zeros);
    free(text);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_code_and_sentence),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(errno_becomes_text),
        cmocka_unit_test(a_prefix_keeps_code_and_state),
        cmocka_unit_test(too_long_a_sentence_is_cut),
        cmocka_unit_test(memory_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
