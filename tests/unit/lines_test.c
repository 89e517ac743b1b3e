#include "base/buf.h"
#include "base/lines.h"
#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* All lines of text, each in angle brackets; too long ones as "<...>". */
static const char *split(const char *text, size_t size, size_t line_max)
{
    static struct buf out;
    struct lines lines;
    struct acc_error err;
    const char *line;
    size_t line_size;
    int ends[2];
    enum lines_result result;

    buf_reset(&out);
    buf_text(&out, "");
    assert_return_code(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, size), size); /* fits the pipe */
    close(ends[1]);
    lines_init(&lines, ends[0], line_max);
    while ((result = lines_next(&lines, &line, &line_size, &err)) == LINES_ONE ||
           result == LINES_TOO_LONG) {
        if (result == LINES_ONE)
            buf_printf(&out, "<%.*s>", (int)line_size, line);
        else
            buf_printf(&out, "<...%d>", (int)lines.number);
    }
    assert_int_equal(result, LINES_END);
    lines_clear(&lines);
    close(ends[0]);
    return out.data;
}

static void the_last_line_needs_no_newline(void **state)
{
    (void)state;
    assert_string_equal(split("a\n\nb", 4, 10), "<a><><b>");
    assert_string_equal(split("a\n", 2, 10), "<a>");
    assert_string_equal(split("", 0, 10), "");
    assert_string_equal(split("\n", 1, 10), "<>");
}

static void a_byte_order_mark_is_dropped(void **state)
{
    (void)state;
    assert_string_equal(split("\xef\xbb\xbf"
                              "a\n",
                              5, 10),
                        "<a>");
}

static void a_line_that_is_too_long_is_skipped_whole(void **state)
{
    char text[40000];

    (void)state;
    snprintf(text, sizeof(text), "ab\n%0*d\nabc\n", (int)sizeof(text) - 9, 0);
    assert_string_equal(split(text, strlen(text), 3), "<ab><...2><abc>");
    assert_string_equal(split("abcd\nabc", 8, 3), "<...1><abc>");
    assert_string_equal(split("abcd", 4, 3), "<...1>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(a_byte_order_mark_is_dropped),
        cmocka_unit_test(a_line_that_is_too_long_is_skipped_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
