/* With --write FILE it writes config/accrete.yaml instead of testing. */
#include "settings_for_tests.h"

#include "conf/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void assert_not_set(const char *name, const char *value, const char *expected)
{
    char *before = settings_get(&settings, name);

    if (settings_set(&settings, "test", name, value, &err))
        fail_msg("accepted: %s: %s", name, value);
    assert_int_equal(err.code, ACC_EINPUT);
    assert_string_equal(err.text, expected);
    char *after = settings_get(&settings, name);
    if (before != NULL)
        assert_string_equal(before, after);
    else
        assert_null(after);
    free(before);
    free(after);
}

static void defaults_are_the_documented_ones(void **state)
{
    (void)state;

    assert_null(settings.database.url);
    assert_null(settings.data.dir);
    assert_string_equal(settings.database.engine, "postgres");
    assert_int_equal(settings.database.connect_timeout_ms, 5000);
    assert_int_equal(settings.database.statement_timeout_ms, 60000);
    assert_int_equal(settings.postgres.shared_buffers_bytes, 0);
    assert_int_equal(settings.postgres.max_wal_bytes, INT64_C(8) << 30);
    assert_string_equal(settings.log.level, "info");
    assert_string_equal(settings.log.format, "text");
    assert_int_equal(settings.worker.count, 0);
    assert_int_equal(settings.worker.batch_events, 4000);
    assert_int_equal(settings.worker.batch_finds, 20000);
    assert_int_equal(settings.worker.batch_friends, 100000);
    assert_int_equal(settings.worker.friends_max, 1000000);
    assert_int_equal(settings.worker.seen_bytes, 256 << 20);
    assert_int_equal(settings.worker.mirror_bytes, 32 << 20);
    assert_int_equal(settings.worker.stuck_ms, 30000);
    assert_int_equal(settings.worker.grace_ms, 10000);
    assert_int_equal(settings.worker.batches_max, 0);
    assert_true(settings.worker.jit);
    assert_int_equal(settings.queue.buckets, 16);
    assert_int_equal(settings.queue.attempts, 3);
    assert_int_equal(settings.queue.retry_ms, 250);
    assert_int_equal(settings.queue.packet_events, 1000);
    assert_int_equal(settings.queue.packet_bytes, 256 << 10);
    assert_int_equal(settings.queue.hold_bytes, 16 << 20);
    assert_int_equal(settings.queue.poll_ms, 50);
    assert_int_equal(settings.queue.shuffle_seed, 0);
    assert_int_equal(settings.ingest.batch_lines, 10000);
    assert_int_equal(settings.ingest.value_bytes, 64 << 20);
    assert_false(settings.faults.redeliver);
    assert_int_equal(settings.app_count, 0);
}

/* The table and struct settings: no two options share a place, none is forgotten. */
static void every_option_has_a_place_of_its_own(void **state)
{
    (void)state;

    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &options[i];
        const char *value;

        switch (option->type) {
        case OPTION_TEXT:
            value = "some text";
            break;
        case OPTION_WORD:
            continue;
        case OPTION_BOOL:
            value = strcmp(option->initial, "yes") == 0 ? "no" : "yes";
            break;
        case OPTION_TIME:
            value = "777ms";
            break;
        case OPTION_BYTES:
            value = "77MiB";
            break;
        default:
            value = option->type == OPTION_POWER ? "64" : option->max < 77 ? "7" : "77";
        }
        if (strcmp(option->name, "queue.packet") == 0)
            value = "3MiB";
        assert_set(option->name, value, value);
        for (size_t j = 0; j < option_count; j++) {
            char *other = settings_get(&settings, options[j].name);
            const char *expected = j == i                        ? value
                                   : *options[j].initial == '\0' ? NULL
                                                                 : options[j].initial;
            if (j != i && expected != NULL && strcmp(expected, "60s") == 0)
                expected = "1m";
            if (expected == NULL)
                assert_null(other);
            else
                assert_string_equal(other, expected);
            free(other);
        }
        settings_clear(&settings);
        settings_init(&settings);
    }
}

static void ends_of_every_range_are_allowed_and_beyond_is_not(void **state)
{
    (void)state;

    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &options[i];
        const char *unit = option->type == OPTION_TIME    ? "ms"
                           : option->type == OPTION_BYTES ? "B"
                                                          : "";
        char text[40];

        if (option->max == 0)
            continue; /* not a number */
        snprintf(text, sizeof(text), "%lld%s", (long long)option->min, unit);
        assert_true(settings_set(&settings, "test", option->name, text, &err));
        assert_int_equal(*option_number(option, &settings), option->min);
        snprintf(text, sizeof(text), "%lld%s", (long long)option->max, unit);
        assert_true(settings_set(&settings, "test", option->name, text, &err));
        assert_int_equal(*option_number(option, &settings), option->max);
        snprintf(text, sizeof(text), "%lld%s", (long long)option->min - 1, unit);
        if (!(option->has_zero && option->min == 1))
            assert_false(settings_set(&settings, "test", option->name, text, &err));
        snprintf(text, sizeof(text), "%llu%s", (unsigned long long)option->max + 1, unit);
        assert_false(settings_set(&settings, "test", option->name, text, &err));
        assert_int_equal(*option_number(option, &settings), option->max);
        assert_int_equal(settings_set(&settings, "test", option->name, "0", &err),
                         option->has_zero || option->min == 0);
    }
}

static void units_are_read_and_written(void **state)
{
    (void)state;

    assert_set("worker.stuck", "250ms", "250ms");
    assert_set("worker.stuck", "1000ms", "1s");
    assert_set("worker.stuck", "90s", "90s");
    assert_set("worker.stuck", "2m", "2m");
    assert_set("worker.stuck", "24h", "1d");
    assert_int_equal(settings.worker.stuck_ms, 86400000);
    assert_set("queue.packet", "1024B", "1KiB");
    assert_set("queue.packet", "64KiB", "64KiB");
    assert_set("queue.packet", "64MiB", "64MiB");
    assert_set("postgres.max_wal", "3GiB", "3GiB");
    assert_set("worker.seen", "1TiB", "1TiB");
    assert_int_equal(settings.worker.seen_bytes, INT64_C(1) << 40);
    assert_set("worker.seen", "0", "0");
}

static void a_missing_or_foreign_unit_is_told(void **state)
{
    (void)state;

    assert_not_set("worker.stuck", "30",
                   "test: worker.stuck: wanted 100ms..1d with a unit (ms s m h d), got \"30\"");
    assert_not_set("worker.stuck", "30 s",
                   "test: worker.stuck: wanted 100ms..1d with a unit (ms s m h d), got \"30 s\"");
    assert_not_set("worker.stuck", "30KiB",
                   "test: worker.stuck: wanted 100ms..1d with a unit (ms s m h d), got \"30KiB\"");
    assert_not_set(
        "worker.seen", "256MB",
        "test: worker.seen: wanted 0 or 1MiB..1TiB with a unit (B KiB MiB GiB TiB), got \"256MB\"");
    assert_not_set(
        "worker.seen", "s",
        "test: worker.seen: wanted 0 or 1MiB..1TiB with a unit (B KiB MiB GiB TiB), got \"s\"");
    assert_not_set("worker.stuck", "99ms", "test: worker.stuck: wanted 100ms..1d, got \"99ms\"");
    assert_not_set("worker.count", "4s", "test: worker.count: wanted 0..1024, got \"4s\"");
}

static void odd_numbers_are_refused(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "",
        "many",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        " 1",
        "1 ",
        "1_000",
        "1025",
        "9223372036854775808",
        "99999999999999999999999999",
    };

    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        char *expected = acc_format("test: worker.count: wanted 0..1024, got \"%s\"", odd[i]);

        assert_not_set("worker.count", odd[i], expected);
        free(expected);
    }
    assert_not_set("queue.hold", "9999999999TiB",
                   "test: queue.hold: wanted 1KiB..1TiB with a unit (B KiB MiB GiB TiB), got "
                   "\"9999999999TiB\"");
    assert_not_set("worker.batches_max", "-1",
                   "test: worker.batches_max: wanted 0 or more, got \"-1\"");
    assert_set("worker.batches_max", "9223372036854775807", "9223372036854775807");
}

static void buckets_are_powers_of_two(void **state)
{
    (void)state;

    assert_set("queue.buckets", "1", "1");
    assert_set("queue.buckets", "4096", "4096");
    assert_not_set("queue.buckets", "17",
                   "test: queue.buckets: wanted a power of two in 1..4096, got \"17\"");
    assert_not_set("queue.buckets", "0",
                   "test: queue.buckets: wanted a power of two in 1..4096, got \"0\"");
    assert_not_set("queue.buckets", "8192",
                   "test: queue.buckets: wanted a power of two in 1..4096, got \"8192\"");
}

static void bools_have_six_words(void **state)
{
    (void)state;

    assert_set("worker.jit", "no", "no");
    assert_set("worker.jit", "yes", "yes");
    assert_set("worker.jit", "false", "no");
    assert_set("worker.jit", "true", "yes");
    assert_set("worker.jit", "off", "no");
    assert_set("worker.jit", "on", "yes");
    assert_not_set("worker.jit", "1", "test: worker.jit: wanted yes or no, got \"1\"");
    assert_not_set("worker.jit", "", "test: worker.jit: wanted yes or no, got \"\"");
}

static void words_are_chosen_from_a_list(void **state)
{
    (void)state;

    assert_set("log.level", "debug", "debug");
    assert_set("log.format", "json", "json");
    assert_not_set("log.level", "loud",
                   "test: log.level: wanted error, warn, info or debug, got \"loud\"");
    assert_not_set("log.level", "", "test: log.level: wanted error, warn, info or debug, got \"\"");
    assert_not_set("log.level", "error warn",
                   "test: log.level: wanted error, warn, info or debug, got \"error warn\"");
    assert_not_set("log.level", "err",
                   "test: log.level: wanted error, warn, info or debug, got \"err\"");
    assert_not_set("database.engine", "oracle",
                   "test: database.engine: wanted postgres, got \"oracle\"");
}

static void a_text_can_be_unset(void **state)
{
    (void)state;

    assert_set("database.url", "postgres://here", "postgres://here");
    assert_set("database.url", "", NULL);
    assert_true(read_yaml("database: {url: there}"));
    assert_string_equal(settings.database.url, "there");
    assert_true(read_yaml("database: {url: ~}"));
    assert_null(settings.database.url);
}

static void an_unknown_name_gets_the_nearest(void **state)
{
    (void)state;

    assert_not_set("worker.cuont", "1",
                   "test: worker.cuont: wanted a known option, got an unknown name; did you mean "
                   "\"worker.count\"?");
    assert_not_set("worker", "1", "test: worker: wanted a known option, got an unknown name");
    assert_not_set("queue.batch_finds", "1",
                   "test: queue.batch_finds: wanted a known option, got an unknown name; did you "
                   "mean \"worker.batch_finds\"?");
    assert_not_set("worker.stuck_ms", "1",
                   "test: worker.stuck_ms: wanted a known option, got an unknown name; did you "
                   "mean \"worker.stuck\"?");
    assert_not_set("completely.different", "1",
                   "test: completely.different: wanted a known option, got an unknown name");
    assert_not_set("", "1", "test: : wanted a known option, got an unknown name");
    assert_not_set("settings.", "1", "test: settings.: wanted a known option, got an unknown name");
    assert_null(settings_get(&settings, "worker.cuont"));
    assert_null(option_nearest(
        "a-name-so-long-that-nobody-can-have-meant-any-of-our-options-with-it-at-all"));
}

static void the_environment_goes_over_the_file(void **state)
{
    (void)state;
    char *environment[] = {"PATH=/bin",
                           "ACCRETE_APP=examples/fold",
                           "ACCRETE_TEST_URL=host=__x__",
                           "ACCRETE_WORKER__COUNT=4",
                           "ACCRETE_WORKER__BATCH_EVENTS=1",
                           "ACCRETE_DATABASE__URL=host=/tmp user=a",
                           "ACCRETE_SETTINGS__MAX_PHRASE=8",
                           "NOT_ACCRETE_WORKER__X=1",
                           NULL};

    assert_true(read_yaml("worker: {count: 2, stuck: 3s}\n"));
    if (!settings_read_env(&settings, environment, &messages, &err))
        fail_msg("%s", messages);
    assert_int_equal(settings.worker.count, 4);
    assert_int_equal(settings.worker.batch_events, 1);
    assert_int_equal(settings.worker.stuck_ms, 3000);
    assert_string_equal(settings.database.url, "host=/tmp user=a");
    assert_string_equal(settings_app(&settings, "max_phrase"), "8");
}

static void all_errors_of_the_environment_come_at_once(void **state)
{
    (void)state;
    char *environment[] = {"ACCRETE_WORKER__JIT=no", "ACCRETE_WORKER__COUNT=many",
                           "ACCRETE_WORKER__CUONT=4", "ACCRETE___X=1", NULL};

    assert_false(settings_read_env(&settings, environment, &messages, &err));
    assert_string_equal(err.text, "environment: 3 errors");
    assert_string_equal(messages,
                        "ACCRETE_WORKER__COUNT: worker.count: wanted 0..1024, got \"many\"\n"
                        "ACCRETE_WORKER__CUONT: worker.cuont: wanted a known option, got an "
                        "unknown name; did you mean \"worker.count\"?\n"
                        "ACCRETE___X: .x: wanted a known option, got an unknown name\n");
    assert_true(settings.worker.jit); /* nothing of it was applied */
}

static char *read_all(FILE *file)
{
    static char text[1 << 16];

    rewind(file);
    size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    text[bytes] = '\0';
    fclose(file);
    return acc_strdup(text);
}

static void the_committed_default_file_is_the_generated_one(void **state)
{
    (void)state;
    FILE *committed = fopen("config/accrete.yaml", "r");
    FILE *generated = tmpfile();

    assert_non_null(committed);
    assert_non_null(generated);
    settings_write_default(generated);
    char *expected = read_all(generated);
    char *text = read_all(committed);
    if (strcmp(text, expected) != 0)
        fail_msg("config/accrete.yaml is out of date: build/dev/tests/unit_settings_test --write "
                 "config/accrete.yaml");
    free(text);
    free(expected);
}

static void the_default_file_sets_every_option_to_its_default(void **state)
{
    (void)state;
    struct settings defaults;

    settings_init(&defaults);
    for (size_t i = 0; i < option_count; i++) {
        if (options[i].type == OPTION_TEXT)
            assert_set(options[i].name, "changed", "changed");
        else if (options[i].type == OPTION_BOOL)
            *option_bool(&options[i], &settings) = strcmp(options[i].initial, "no") == 0;
        else if (options[i].type != OPTION_WORD)
            *option_number(&options[i], &settings) = options[i].max;
    }
    if (!settings_read_file(&settings, "config/accrete.yaml", &messages, &err))
        fail_msg("%s\n%s", err.text, messages);
    for (size_t i = 0; i < option_count; i++) {
        char *expected = settings_get(&defaults, options[i].name);
        char *value = settings_get(&settings, options[i].name);

        if (expected == NULL)
            assert_null(value);
        else
            assert_string_equal(value, expected);
        free(expected);
        free(value);
    }
    settings_clear(&defaults);
}

static void help_names_every_option(void **state)
{
    (void)state;
    FILE *file = tmpfile();

    assert_non_null(file);
    settings_write_help(file);
    char *text = read_all(file);
    for (size_t i = 0; i < option_count; i++) {
        char *name = acc_format("%s: %s\n", options[i].name, options[i].help);

        assert_non_null(strstr(text, name));
        free(name);
    }
    assert_non_null(strstr(text, "\n    0..1024; default 0; a reload applies it\n"));
    assert_non_null(strstr(text, "\n    text; default unset; needs a restart\n"));
    free(text);
}

static int write_default(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL) {
        perror(path);
        return 1;
    }
    settings_write_default(file);
    return fclose(file) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_the_documented_ones),
        TEST(every_option_has_a_place_of_its_own),
        TEST(ends_of_every_range_are_allowed_and_beyond_is_not),
        TEST(units_are_read_and_written),
        TEST(a_missing_or_foreign_unit_is_told),
        TEST(odd_numbers_are_refused),
        TEST(buckets_are_powers_of_two),
        TEST(bools_have_six_words),
        TEST(words_are_chosen_from_a_list),
        TEST(a_text_can_be_unset),
        TEST(an_unknown_name_gets_the_nearest),
        TEST(the_environment_goes_over_the_file),
        TEST(all_errors_of_the_environment_come_at_once),
        TEST(the_committed_default_file_is_the_generated_one),
        TEST(the_default_file_sets_every_option_to_its_default),
        TEST(help_names_every_option),
    };

    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_default(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
