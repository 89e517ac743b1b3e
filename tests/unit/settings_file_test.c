/* Settings from YAML: what is read, and every error of a file with its place. */
#include "settings_for_tests.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void assert_refused(const char *yaml, const char *expected)
{
    if (read_yaml(yaml))
        fail_msg("accepted: %s", yaml);
    assert_int_equal(err.code, ACC_EINPUT);
    assert_string_equal(messages, expected);
}

static void a_file_is_read_over_what_is_there(void **state)
{
    (void)state;

    assert_set("worker.count", "9", "9");
    assert_set("queue.poll", "9ms", "9ms");
    assert_true(read_yaml("worker:\n  count: 4\n  jit: off\n  stuck: \"5s\"\nlog: {format: json}\n"
                          "data:\n  dir: /srv/accrete data\n"));
    assert_int_equal(settings.worker.count, 4);
    assert_int_equal(settings.queue.poll_ms, 9);
    assert_int_equal(settings.worker.stuck_ms, 5000);
    assert_false(settings.worker.jit);
    assert_string_equal(settings.log.format, "json");
    assert_string_equal(settings.data.dir, "/srv/accrete data");
}

static void empty_files_and_sections_change_nothing(void **state)
{
    (void)state;
    static const char *const empty[] = {"",          "\n",         "# nothing\n",
                                        "---\n",     "~\n",        "{}",
                                        "worker:\n", "worker: {}", "settings:\nworker: ~\n"};

    for (size_t i = 0; i < COUNT_OF(empty); i++)
        if (!read_yaml(empty[i]))
            fail_msg("refused: \"%s\": %s", empty[i], messages);
    assert_int_equal(settings.worker.batch_events, 4000);
}

static void all_errors_of_a_file_come_at_once(void **state)
{
    (void)state;

    assert_set("worker.count", "7", "7");
    assert_refused(
        "worker:\n"
        "  batch_events: 5\n"
        "  count: many\n"
        "  cuont: 4\n"
        "  stuck: 30\n"
        "  jit: maybe\n"
        "  batch_events: 6\n"
        "wroker:\n"
        "  x: 1\n"
        "log: {level: loud, format: [a]}\n"
        "queue: {buckets: 17, retry: }\n"
        "batch_lines: 4\n"
        "data: 5\n"
        "ingest: [a]\n"
        "settings: {a: 1, b: {c: d}}\n",
        "FILE:3:10: worker.count: wanted 0..1024, got \"many\"\n"
        "FILE:4:3: worker.cuont: wanted a known option, got an unknown key; did you mean "
        "\"worker.count\"?\n"
        "FILE:5:10: worker.stuck: wanted 100ms..1d with a unit (ms s m h d), got \"30\"\n"
        "FILE:6:8: worker.jit: wanted yes or no, got \"maybe\"\n"
        "FILE:7:3: worker.batch_events: wanted once, got again; the first is in line 2\n"
        "FILE:8:1: wroker: wanted a known option, got an unknown key; did you mean \"worker\"?\n"
        "FILE:10:14: log.level: wanted error, warn, info or debug, got \"loud\"\n"
        "FILE:10:28: log.format: wanted text or json, got a list\n"
        "FILE:11:18: queue.buckets: wanted a power of two in 1..4096, got \"17\"\n"
        "FILE:11:29: queue.retry: wanted 0..1h, got nothing\n"
        "FILE:12:1: batch_lines: wanted a known option, got an unknown key; did you mean "
        "\"ingest.batch_lines\"?\n"
        "FILE:13:7: data: wanted a map of options, got a text\n"
        "FILE:14:9: ingest: wanted a map of options, got a list\n"
        "FILE:15:21: settings.b: wanted one value, got a map\n");
    assert_non_null(strstr(err.text, ": 14 errors"));
    assert_int_equal(settings.worker.count, 7); /* nothing of it was applied */
    assert_int_equal(settings.worker.batch_events, 4000);
    assert_int_equal(settings.app_count, 0);
}

static void one_error_is_singular(void **state)
{
    (void)state;

    assert_refused("worker: {count: x}", "FILE:1:17: worker.count: wanted 0..1024, got \"x\"\n");
    assert_non_null(strstr(err.text, ": 1 error"));
    assert_null(strstr(err.text, "errors"));
}

static void a_root_that_is_no_map_is_refused(void **state)
{
    (void)state;

    assert_refused("- worker\n", "FILE:1:1: wanted a map of sections, got a list\n");
    assert_refused("hello\n", "FILE:1:1: wanted a map of sections, got a text\n");
    assert_refused("worker: {[a]: 1}\n", "FILE:1:10: worker: wanted a name as key, got a list\n");
    assert_refused("worker: {\"\": 1}\n",
                   "FILE:1:10: worker: wanted a name as key, got an empty text\n");
    assert_refused("? {a: b}\n: 1\n", "FILE:1:3: wanted a name as key, got a map\n");
    assert_refused("worker: {count: 1}\nworker: {count: 2}\n",
                   "FILE:2:1: worker: wanted once, got again; the first is in line 1\n");
    assert_refused("worker: {count: 1}\n---\nworker: {count: 2}\n",
                   "FILE:3:1: wanted one document, got a second one\n");
}

static void broken_yaml_has_a_place(void **state)
{
    (void)state;

    assert_false(read_yaml("worker:\n  count: 1\n stuck: 2s\n"));
    assert_memory_equal(messages, "FILE:3:2: wanted YAML, got ", 27);
    assert_false(read_yaml("worker: {count: [\n"));
    assert_memory_equal(messages, "FILE:2:1: wanted YAML, got ", 27);
    assert_false(read_yaml("worker:\n\tcount: 1\n"));
    assert_memory_equal(messages, "FILE:2:1: wanted YAML, got ", 27);
    assert_false(read_yaml("worker: *nobody\n"));
    assert_memory_equal(messages, "FILE:1:9: wanted YAML, got ", 27);
    assert_false(read_yaml("worker: {count: 1}\n---\n]\n"));
    assert_memory_equal(messages, "FILE:3:1: wanted YAML, got ", 27);
}

static void odd_bytes_are_refused(void **state)
{
    (void)state;
    static const char nul[] = "data: {dir: a\0b}\n";

    assert_refused("data: {dir: \"a\\0b\"}\n",
                   "FILE:1:13: data.dir: wanted text, got a NUL character\n");
    assert_refused("settings: {x: \"a\\0b\"}\n",
                   "FILE:1:15: settings.x: wanted one value, got a NUL character\n");
    assert_refused("settings: {\"a\\0b\": 1}\n",
                   "FILE:1:12: settings: wanted a name as key, got a NUL character\n");
    assert_false(read_yaml("data: {dir: \"\xff\xfe\"}\n"));
    assert_memory_equal(messages, "FILE: byte 13: wanted UTF-8, got ", 33);
    assert_false(read_yaml_bytes(nul, sizeof(nul) - 1));
    assert_null(settings.data.dir);
}

static void an_alias_is_what_it_stands_for(void **state)
{
    (void)state;

    assert_true(read_yaml("worker: {batch_events: &n 50}\ningest: {batch_lines: *n}\n"));
    assert_int_equal(settings.ingest.batch_lines, 50);
    assert_false(read_yaml("worker: &w\n  count: *w\n")); /* a map that holds itself ends, too */
}

static void the_apps_own_settings_stay_text(void **state)
{
    (void)state;

    assert_true(read_yaml("settings:\n  max_phrase: 8\n  name: \"a b\"\n  empty:\n  Book: yes\n"));
    assert_int_equal(settings.app_count, 4);
    for (size_t i = 1; i < settings.app_count; i++)
        assert_true(strcmp(settings.app[i - 1].name, settings.app[i].name) < 0);
    assert_string_equal(settings_app(&settings, "max_phrase"), "8");
    assert_string_equal(settings_app(&settings, "name"), "a b");
    assert_string_equal(settings_app(&settings, "empty"), "");
    assert_string_equal(settings_app(&settings, "Book"), "yes");
    assert_null(settings_app(&settings, "other"));
    assert_true(
        read_yaml("settings: {max_phrase: 9}\n")); /* a later source goes over it, name by name */
    assert_string_equal(settings_app(&settings, "max_phrase"), "9");
    assert_string_equal(settings_app(&settings, "name"), "a b");
    assert_set("settings.max_phrase", "10", "10");
    assert_refused("settings: {a: 1, a: 2}\n",
                   "FILE:1:18: settings.a: wanted once, got again; the first is in line 1\n");
    assert_refused("settings: 5\n", "FILE:1:11: settings: wanted a map of options, got a text\n");
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    (void)state;

    assert_false(settings_read_file(&settings, "/nowhere/accrete.yaml", &messages, &err));
    assert_int_equal(err.code, ACC_ESYS);
    assert_string_equal(err.text,
                        "/nowhere/accrete.yaml: cannot be opened: No such file or directory");
    assert_null(messages);
    assert_false(settings_read_file(&settings, "/tmp", &messages, &err));
    assert_int_equal(err.code, ACC_ESYS);
    assert_string_equal(err.text, "/tmp: cannot be read: Is a directory");
    assert_null(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_read_over_what_is_there),
        TEST(empty_files_and_sections_change_nothing),
        TEST(all_errors_of_a_file_come_at_once),
        TEST(one_error_is_singular),
        TEST(a_root_that_is_no_map_is_refused),
        TEST(broken_yaml_has_a_place),
        TEST(odd_bytes_are_refused),
        TEST(an_alias_is_what_it_stands_for),
        TEST(the_apps_own_settings_stay_text),
        TEST(a_file_that_cannot_be_read_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
