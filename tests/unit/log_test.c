#include "base/log.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int saved_stderr = -1;
static char line[8192]; /* what was logged since capture() */

/* From here to captured(), standard error is a file. */
static void capture(void)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    fclose(file);
}

static const char *captured(void)
{
    assert_true(lseek(STDERR_FILENO, 0, SEEK_SET) == 0);
    ssize_t bytes = read(STDERR_FILENO, line, sizeof(line) - 1);
    assert_true(bytes >= 0);
    line[bytes] = '\0';
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    return line;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED), 0);
    if (regexec(&regex, text, 0, NULL, 0) != 0)
        fail_msg("\"%s\" does not match %s", text, pattern);
    regfree(&regex);
}

/* The one line that was captured, as JSON. Caller decrefs. */
static json_t *captured_json(void)
{
    json_error_t problem;
    json_t *json = json_loads(captured(), JSON_REJECT_DUPLICATES, &problem);

    if (json == NULL)
        fail_msg("%s: %s", problem.text, line);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    return json;
}

static void assert_member(const json_t *json, const char *key, const char *expected)
{
    const char *value = json_string_value(json_object_get(json, key));

    if (value == NULL)
        fail_msg("no text \"%s\" in %s", key, line);
    assert_string_equal(value, expected);
}

static void a_line_has_time_level_pid_and_station(void **state)
{
    (void)state;
    char end[100];

    log_setup(LOG_INFO, false);
    capture();
    log_info("worker", "lifecycle=%s events=%d", "fold", 12);
    snprintf(end, sizeof(end), "Z level=info pid=%d at=worker lifecycle=fold events=12\n",
             (int)getpid());
    assert_matches(
        captured(),
        "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z ");
    assert_string_equal(line + strlen("2026-11-22T10:00:00.123"), end);
}

static void lower_levels_are_not_written(void **state)
{
    (void)state;

    log_setup(LOG_WARN, false);
    assert_true(log_enabled(LOG_ERROR));
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    capture();
    log_info("worker", "a=1");
    log_debug("worker", "a=1");
    assert_string_equal(captured(), "");
    capture();
    log_warn("worker", "a=1");
    log_error("worker", "a=1");
    assert_matches(captured(), "level=warn .*\n.* level=error ");
}

static void levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_WARN;

    assert_true(log_level_of("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_true(log_level_of("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_of("loud", &level));
    assert_false(log_level_of("", &level));
    assert_int_equal(level, LOG_DEBUG);
}

static void a_value_cannot_start_a_line(void **state)
{
    (void)state;

    log_setup(LOG_INFO, false);
    capture();
    log_info("pg", "error=%s", "first\nlevel=error\r\t\x01\x7f");
    assert_matches(captured(), " at=pg error=first\\\\nlevel=error\\\\r\\\\t\\\\u0001\\\\u007f\n$");
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void errno_survives_a_line(void **state)
{
    (void)state;

    log_setup(LOG_INFO, false);
    capture();
    errno = EPIPE;
    log_info("worker", "a=1");
    assert_int_equal(errno, EPIPE);
    captured();
}

static void pairs_become_members(void **state)
{
    (void)state;

    log_setup(LOG_INFO, true);
    capture();
    log_info("worker", "events=%d ratio=%.2f lifecycle=fold text=%s id=%s", 12, 0.5,
             log_quote("a \"b\"\\\n\x01 c=1 \xc3\xa9"), "0123");
    json_t *json = captured_json();
    assert_int_equal(json_integer_value(json_object_get(json, "events")), 12);
    assert_true(json_real_value(json_object_get(json, "ratio")) == 0.5);
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), getpid());
    assert_member(json, "level", "info");
    assert_member(json, "at", "worker");
    assert_member(json, "lifecycle", "fold");
    assert_member(json, "text", "a \"b\"\\\n\x01 c=1 \xc3\xa9");
    assert_member(json, "id", "0123"); /* a leading zero is no number */
    json_decref(json);
}

static void what_is_no_pair_is_text(void **state)
{
    (void)state;

    log_setup(LOG_INFO, true);
    capture();
    log_info("main", "started well a=1 =b in 5 ms");
    json_t *json = captured_json();
    assert_member(json, "text", "started well =b in 5 ms");
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 1);
    json_decref(json);
}

static void our_own_members_are_not_replaced(void **state)
{
    (void)state;

    log_setup(LOG_INFO, true);
    capture();
    log_info("supervise", "pid=7 at=home");
    json_t *json = captured_json();
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), getpid());
    assert_int_equal(json_integer_value(json_object_get(json, "pid_")), 7);
    assert_member(json, "at", "supervise");
    assert_member(json, "at_", "home");
    json_decref(json);
}

static void json_stays_json_whatever_is_logged(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"",    "\\", "\"open",       "\"a\\",  "\"\\u12\"", "\"\\x\"", "\xff\xfe",
        "a\xc3", "-",  "1.",           ".5",     "1e5",       "-0",      "00",
        "=",     "==", "\"a\"b",       "\"\\\"", "{\"a\":1}", "\x7f\n",  "12345678901234567890123",
        "",      " ",  "\"\xf0\x9f\"",
    };

    log_setup(LOG_INFO, true);
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        capture();
        log_info("x", "value=%s after=1", values[i]);
        json_decref(captured_json());
        capture();
        log_info("x", "quoted=%s after=1", log_quote(values[i]));
        json_t *json = captured_json();
        assert_int_equal(json_integer_value(json_object_get(json, "after")), 1);
        json_decref(json);
    }
}

static void four_quotes_live_at_once(void **state)
{
    (void)state;
    const char *quotes[4];

    for (int i = 0; i < 4; i++)
        quotes[i] = log_quote((const char[]){(char)('a' + i), '\0'});
    assert_string_equal(quotes[0], "\"a\"");
    assert_string_equal(quotes[1], "\"b\"");
    assert_string_equal(quotes[2], "\"c\"");
    assert_string_equal(quotes[3], "\"d\"");
}

static void a_trouble_is_told_once_a_minute_and_when_it_is_over(void **state)
{
    struct log_trouble trouble = {0};
    const int64_t second_us = 1000000;

    (void)state;
    log_setup(LOG_INFO, false);
    capture();
    log_trouble_over(&trouble, "query", "it answers again");
    assert_string_equal(captured(), "");
    capture();
    log_trouble(&trouble, 7 * second_us, "query", "it does not answer", "no \"way\"");
    assert_matches(captured(), " level=warn pid=[0-9]+ at=query event=\"it does not answer\" "
                               "error=\"no \\\\\"way\\\\\"\"\n$");
    capture();
    for (int s = 8; s < 67; s++)
        log_trouble(&trouble, s * second_us, "query", "it does not answer", "no way");
    assert_string_equal(captured(), "");
    capture();
    log_trouble(&trouble, 67 * second_us, "query", "it does not answer", "no way");
    assert_matches(captured(), "error=\"no way\" times=60\n$");
    capture();
    log_trouble(&trouble, 68 * second_us, "query", "it does not answer", "no way");
    log_trouble_over(&trouble, "query", "it answers again");
    assert_matches(captured(),
                   "^[^\n]* level=info pid=[0-9]+ at=query event=\"it answers again\"\n$");
    capture();
    log_trouble_over(&trouble, "query", "it answers again");
    assert_string_equal(captured(), "");
    capture();
    log_trouble(&trouble, 69 * second_us, "query", "it does not answer", "no way");
    assert_matches(captured(), "error=\"no way\"\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_pid_and_station),
        cmocka_unit_test(lower_levels_are_not_written),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(a_value_cannot_start_a_line),
        cmocka_unit_test(errno_survives_a_line),
        cmocka_unit_test(pairs_become_members),
        cmocka_unit_test(what_is_no_pair_is_text),
        cmocka_unit_test(our_own_members_are_not_replaced),
        cmocka_unit_test(json_stays_json_whatever_is_logged),
        cmocka_unit_test(four_quotes_live_at_once),
        cmocka_unit_test(a_trouble_is_told_once_a_minute_and_when_it_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
