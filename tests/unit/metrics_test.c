/* Metrics: adding from many processes, full blocks, names, quantiles, the text that is rendered. */
#include "check.h"
#include "metrics.h"
#include "script/script.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct metric_family requests = {
    "app_requests", METRIC_COUNTER, "Requests answered", {"route", "status"}};
static const struct metric_family in_flight = {
    "app_in_flight", METRIC_GAUGE, "Requests being answered", {NULL}};
static const struct metric_family duration = {
    "app_duration_seconds", METRIC_HISTOGRAM, "Time to the answer", {"route"}};

static struct metric *get(struct metrics *metrics, const struct metric_family *family,
                          const char *first, const char *second)
{
    struct acc_error err = {0};
    struct metric *metric =
        metrics_get(metrics, family, (const char *const[]){first, second, NULL}, &err);

    assert_string_equal(err.text, "");
    return metric;
}

static void check_number(double got, double wanted)
{
    if (got != wanted)
        fail_msg("wanted %.17g, got %.17g", wanted, got);
}

static char *render(const struct metrics *metrics)
{
    struct buf out = {0};

    metrics_render(metrics, true, &out);
    return out.data;
}

static void the_same_labels_are_the_same_series(void **state)
{
    struct metrics *metrics = metrics_new(10);
    struct metric *metric = get(metrics, &requests, "/facts", "200");

    (void)state;
    metric_add(metric, 2);
    metric_add(get(metrics, &requests, "/facts", "200"), 0.5);
    metric_add(get(metrics, &requests, "/fact", "s200"), 7);
    assert_ptr_equal(metric, get(metrics, &requests, "/facts", "200"));
    check_number(metric_value(metric), 2.5);
    metrics_free(metrics);
}

static void only_what_fits_the_type_counts(void **state)
{
    struct metrics *metrics = metrics_new(10);
    struct metric *counter = get(metrics, &requests, "/", "200");
    struct metric *gauge = get(metrics, &in_flight, NULL, NULL);
    struct metric *histogram = get(metrics, &duration, "/", NULL);

    (void)state;
    metric_add(counter, 3);
    metric_add(counter, -1);
    metric_add(counter, NAN);
    metric_add(counter, INFINITY);
    metric_observe(counter, 1);
    check_number(metric_value(counter), 3);
    metric_set(counter, 10);
    metric_set(counter, -10);
    check_number(metric_value(counter), 10);
    metric_add(gauge, -2);
    metric_add(gauge, NAN);
    metric_observe(gauge, 1);
    check_number(metric_value(gauge), -2);
    metric_add(histogram, 1);
    metric_set(histogram, 1);
    metric_observe(histogram, NAN);
    metric_observe(histogram, INFINITY);
    assert_int_equal(metric_count(histogram), 0);
    assert_true(isnan(metric_quantile(histogram, 0.5)));
    metrics_free(metrics);
}

static void check_refused(struct metric_family family, const char *const *values, const char *why)
{
    struct metrics *metrics = metrics_new(10);
    struct acc_error err = {0};
    struct metric *metric = metrics_get(metrics, &family, values, &err);

    assert_non_null(metric);
    if (strstr(err.text, why) == NULL)
        fail_msg("%s: wanted \"%s\", got \"%s\"", family.name, why, err.text);
    metric_add(metric, 1);
    metric_set(metric, 1);
    metric_observe(metric, 1);
    char *text = render(metrics);
    assert_string_equal(text, "# TYPE accrete_metrics_dropped counter\n"
                              "# HELP accrete_metrics_dropped Series that found no room or did not "
                              "fit\naccrete_metrics_dropped_total 1\n# EOF\n");
    free(text);
    metrics_free(metrics);
}

static void what_does_not_fit_is_counted_and_not_shown(void **state)
{
    static char longest[METRICS_HELP_MAX + 2];
    const char *const value[] = {"1", "2", "3"};

    (void)state;
    memset(longest, 'x', METRICS_HELP_MAX + 1);
    check_refused((struct metric_family){"", METRIC_GAUGE, "", {0}}, NULL, "wanted a name");
    check_refused((struct metric_family){"1a", METRIC_GAUGE, "", {0}}, NULL, "wanted a name");
    check_refused((struct metric_family){"a-b", METRIC_GAUGE, "", {0}}, NULL, "wanted a name");
    check_refused((struct metric_family){longest, METRIC_GAUGE, "", {0}}, NULL, "at most 63");
    check_refused((struct metric_family){"a_total", METRIC_COUNTER, "", {0}}, NULL,
                  "without \"_total\"");
    check_refused((struct metric_family){"a", METRIC_GAUGE, longest, {0}}, NULL, "at most 255");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "\xff", {0}}, NULL, "not UTF-8");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"a b"}}, value, "label \"a b\"");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"le"}}, value, "not le");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"__a"}}, value, "__");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"b", "b"}}, value, "twice");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"b"}}, NULL, "has no value");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"b"}},
                  (const char *const[]){longest}, "at most 63");
    check_refused((struct metric_family){"a", METRIC_GAUGE, "", {"b"}},
                  (const char *const[]){"a\xc3"}, "byte 2 is not UTF-8");
}

static void a_family_keeps_its_type_and_labels(void **state)
{
    struct metrics *metrics = metrics_new(10);
    const char *const values[] = {"/", "200", NULL};
    struct metric_family other = requests;
    struct acc_error err = {0};

    (void)state;
    get(metrics, &requests, "/", "200");
    other.type = METRIC_GAUGE;
    metrics_get(metrics, &other, values, &err);
    assert_string_equal(err.text, "metric app_requests: is a counter already, wanted a gauge");
    other = requests;
    other.labels[1] = "code";
    metrics_get(metrics, &other, values, &err);
    assert_string_equal(err.text, "metric app_requests: is there already with other labels");
    other.labels[1] = NULL;
    metrics_get(metrics, &other, values, &err);
    assert_string_equal(err.text, "metric app_requests: is there already with other labels");
    metrics_free(metrics);
}

static void there_is_room_for_as_many_as_were_asked_for(void **state)
{
    static char help[METRICS_HELP_MAX + 1];
    char name[METRICS_NAME_MAX + 1], value[METRICS_VALUE_MAX + 1];
    struct metrics *metrics = metrics_new(1000);
    struct acc_error err = {0};
    struct metric_family family = {name, METRIC_COUNTER, help, {"a", "b", "c"}};

    (void)state;
    memset(help, 'h', METRICS_HELP_MAX);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "m_%061d", i);
        snprintf(value, sizeof(value), "v_%061d", i);
        metric_add(metrics_get(metrics, &family, (const char *const[]){value, value, value}, &err),
                   i + 1);
        assert_string_equal(err.text, "");
    }
    int more = 0;
    for (; more < 1000000 && err.code == ACC_OK; more++) {
        snprintf(name, sizeof(name), "n_%061d", more);
        metrics_get(metrics, &family, (const char *const[]){"", "", ""}, &err);
    }
    assert_int_equal(err.code, ACC_ELIMIT);
    assert_non_null(strstr(err.text, "full"));
    char *text = render(metrics);
    assert_non_null(strstr(text, "\naccrete_metrics_dropped_total 1\n"));
    assert_null(strstr(text, " 1001\n"));
    assert_non_null(strstr(text, " 1000\n"));
    free(text);
    metrics_free(metrics);
}

static void many_small_series_fill_the_block_and_no_more(void **state)
{
    struct metrics *metrics = metrics_new(100);
    struct metric_family family = {"a", METRIC_GAUGE, "", {"b"}};
    struct acc_error err = {0};
    int made = 0;

    (void)state;
    for (; made < 100000 && err.code == ACC_OK; made++) {
        char value[16];

        snprintf(value, sizeof(value), "%d", made);
        metric_set(metrics_get(metrics, &family, (const char *const[]){value}, &err), made);
    }
    assert_int_equal(err.code, ACC_ELIMIT);
    assert_true(made > 100);
    for (int i = 0; i < made - 1; i++) {
        char value[16];

        snprintf(value, sizeof(value), "%d", i);
        check_number(metric_value(get(metrics, &family, value, NULL)), i);
    }
    metrics_free(metrics);
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static void quantiles_are_within_their_bound(void **state)
{
    enum { COUNT = 20000 };
    static double values[COUNT];
    uint64_t random = 1;

    (void)state;
    for (int shape = 0; shape < 3; shape++) {
        struct metrics *metrics = metrics_new(4);
        struct metric *metric = get(metrics, &duration, "/", NULL);

        for (int i = 0; i < COUNT; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            double u = ((double)(random >> 11) + 1) / 9007199254740993.0;

            values[i] = shape == 0 ? u : shape == 1 ? exp2(u * 39.8 - 19.9) : -log(u) * 1e-3 + 1e-5;
            metric_observe(metric, values[i]);
        }
        qsort(values, COUNT, sizeof(*values), compare_doubles);
        for (int percent = 1; percent <= 100; percent++) {
            double truth = values[COUNT / 100 * percent - 1];
            double told = metric_quantile(metric, percent / 100.0);

            if (fabs(told - truth) > 0.12 * truth)
                fail_msg("shape %d, %d %%: %g instead of %g", shape, percent, told, truth);
        }
        assert_int_equal(metric_count(metric), COUNT);
        metrics_free(metrics);
    }
}

static void what_is_too_small_or_too_large_is_counted_at_the_ends(void **state)
{
    struct metrics *metrics = metrics_new(4);
    struct metric *metric = get(metrics, &duration, "/", NULL);

    (void)state;
    metric_observe(metric, 0);
    metric_observe(metric, -5);
    metric_observe(metric, 1e9);
    assert_int_equal(metric_count(metric), 3);
    check_number(metric_value(metric), 1e9 - 5);
    check_number(metric_quantile(metric, 0), 0);
    check_number(metric_quantile(metric, 1), 1048576);
    assert_true(isnan(metric_quantile(metric, 1.5)));
    metrics_free(metrics);
}

static void it_reads_as_openmetrics(void **state)
{
    struct metrics *metrics = metrics_new(20);
    const struct metric_family odd = {
        "app_odd_bytes", METRIC_GAUGE, "A \"\\\"\n\xc3\xa4", {"what"}};

    (void)state;
    metric_observe(get(metrics, &duration, "/", NULL), 1); /* a bound belongs to what it ends */
    metric_observe(get(metrics, &duration, "/", NULL), 1.5);
    metric_observe(get(metrics, &duration, "/", NULL), 5);
    metric_observe(get(metrics, &duration, "/none", NULL), 0);
    metric_add(get(metrics, &requests, "/b", "200"), 1);
    metric_add(get(metrics, &requests, "/a", "500"), 0.25);
    metric_add(get(metrics, &requests, "/a", "200"), 123456789012.0);
    metric_set(get(metrics, &odd, "a\"b\\c\nd", NULL), -INFINITY);
    metric_set(get(metrics, &odd, "", NULL), NAN);
    metric_set(get(metrics, &in_flight, NULL, NULL), 1e300);
    char *text = render(metrics);
    assert_string_equal(
        text, "# TYPE app_duration_seconds histogram\n"
              "# UNIT app_duration_seconds seconds\n"
              "# HELP app_duration_seconds Time to the answer\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"0.5\"} 0\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"1.0\"} 1\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"2.0\"} 2\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"4.0\"} 2\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"8.0\"} 3\n"
              "app_duration_seconds_bucket{route=\"/\",le=\"+Inf\"} 3\n"
              "app_duration_seconds_sum{route=\"/\"} 7.5\n"
              "app_duration_seconds_count{route=\"/\"} 3\n"
              "app_duration_seconds_bucket{route=\"/none\",le=\"9.5367431640625e-07\"} 1\n"
              "app_duration_seconds_bucket{route=\"/none\",le=\"+Inf\"} 1\n"
              "app_duration_seconds_sum{route=\"/none\"} 0\n"
              "app_duration_seconds_count{route=\"/none\"} 1\n"
              "# TYPE app_in_flight gauge\n"
              "# HELP app_in_flight Requests being answered\n"
              "app_in_flight 1e+300\n"
              "# TYPE app_odd_bytes gauge\n"
              "# UNIT app_odd_bytes bytes\n"
              "# HELP app_odd_bytes A \\\"\\\\\\\"\\n\xc3\xa4\n"
              "app_odd_bytes{what=\"\"} NaN\n"
              "app_odd_bytes{what=\"a\\\"b\\\\c\\nd\"} -Inf\n"
              "# TYPE app_requests counter\n"
              "# HELP app_requests Requests answered\n"
              "app_requests_total{route=\"/a\",status=\"200\"} 123456789012\n"
              "app_requests_total{route=\"/a\",status=\"500\"} 0.25\n"
              "app_requests_total{route=\"/b\",status=\"200\"} 1\n"
              "# EOF\n");
    free(text);
    metrics_free(metrics);
}

static void a_histogram_of_nothing_shows_its_last_bucket(void **state)
{
    struct metrics *metrics = metrics_new(20);
    struct buf out = {0};

    (void)state;
    get(metrics, &duration, "/", NULL);
    metrics_render(metrics, false, &out);
    assert_non_null(strstr(out.data, "\napp_duration_seconds_bucket{route=\"/\",le=\"+Inf\"} 0\n"));
    assert_null(strstr(out.data, "# EOF"));
    assert_null(strstr(out.data, "le=\"0"));
    buf_clear(&out);
    metrics_free(metrics);
}

/* What one of the processes does: makes the same series as all others, and adds. */
static void add_to_all(struct metrics *metrics, int times, int series)
{
    struct metric *last = get(metrics, &duration, "/", NULL);

    for (int i = 0; i < times; i++) {
        char route[16];

        snprintf(route, sizeof(route), "/%d", i % series);
        metric_add(get(metrics, &requests, route, "200"), 1);
        metric_observe(last, 0.5);
    }
}

static void processes_make_and_add_at_once_and_nothing_is_lost(void **state)
{
    enum { CHILDREN = 4, TIMES = 50000, SERIES = 500 };
    size_t size = metrics_size(SERIES + 10);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[CHILDREN];

    (void)state;
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            /* elsewhere in this process, so that an address inside the block would show */
            void *moved = mremap(memory, 0, size, MREMAP_MAYMOVE);

            munmap(memory, size);
            add_to_all(metrics_at(moved, size), TIMES, SERIES);
            _exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct metrics *metrics = metrics_at(memory, size);
    for (int i = 0; i < SERIES; i++) {
        char route[16];

        snprintf(route, sizeof(route), "/%d", i);
        check_number(metric_value(get(metrics, &requests, route, "200")),
                     (double)(CHILDREN * TIMES) / SERIES);
    }
    assert_int_equal(metric_count(get(metrics, &duration, "/", NULL)), CHILDREN * TIMES);
    check_number(metric_value(get(metrics, &duration, "/", NULL)), CHILDREN * TIMES * 0.5);
    char *text = render(metrics);
    assert_null(strstr(text, "accrete_metrics_dropped"));
    free(text);
    munmap(memory, size);
}

static void a_process_killed_while_it_makes_series_stops_nobody(void **state)
{
    size_t size = metrics_size(20000);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct metrics *metrics = metrics_at(memory, size);

    (void)state;
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();

        if (child == 0)
            for (int i = 0;; i++) {
                char status[16];

                snprintf(status, sizeof(status), "%d", i % 1000);
                metric_add(
                    metrics_get(metrics, &requests, (const char *const[]){"/", status}, NULL), 1);
            }
        usleep((useconds_t)(200 + 100 * round));
        kill(child, SIGKILL);
        /* the dead child is a zombie still */
        metric_add(get(metrics, &requests, "/parent", "200"), 1);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    check_number(metric_value(get(metrics, &requests, "/parent", "200")), 20);
    char *text = render(metrics);
    assert_null(strstr(text, "accrete_metrics_dropped"));
    free(text);
    munmap(memory, size);
}

static void run_script(struct metrics *metrics, const char *text)
{
    char path[] = "/tmp/accrete-test.XXXXXX";
    int fd = mkstemp(path);
    struct settings settings;
    struct acc_error err = {0};

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    settings_init(&settings);
    struct script *script = script_new(&settings, NULL, NULL, &err);
    assert_non_null(script);
    script_set_metrics(script, metrics);
    if (!script_run(script, path, 0, NULL, &err))
        fail_msg("%s", err.text);
    script_free(script);
    settings_clear(&settings);
    unlink(path);
}

static void scripts_count_into_the_block_of_their_host(void **state)
{
    struct metrics *metrics = metrics_new(20);
    const struct metric_family mails = {"mails", METRIC_COUNTER, "Mails sent", {"outcome"}};

    (void)state;
    for (int i = 0; i < 2; i++)
        run_script(metrics, "local metrics = require 'accrete.metrics'\n"
                            "metrics.counter('mails', 'Mails sent', { 'outcome' }):add(2, 'ok')\n"
                            "assert(metrics.render():find('mails_total'))\n"
                            "metrics.new():counter('private', 'Not for all'):add(1)\n");
    check_number(metric_value(get(metrics, &mails, "ok", NULL)), 4);
    char *text = render(metrics);
    assert_null(strstr(text, "private"));
    free(text);
    metrics_free(metrics);
}

static void a_metric_of_an_older_generation_stops_no_script(void **state)
{
    struct metrics *metrics = metrics_new(20);

    (void)state;
    metric_add(get(metrics, &requests, "/", "200"), 5);
    run_script(metrics,
               "local metrics = require 'accrete.metrics'\n"
               "local now = metrics.gauge('app_requests', 'Otherwise', { 'route' })\n"
               "now:set(1, '/')\n"
               "assert(now:value('/') == 0)\n"
               "assert(not pcall(metrics.counter, 'app_requests', 'Twice', { 'route' }))\n");
    check_number(metric_value(get(metrics, &requests, "/", "200")), 5);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_labels_are_the_same_series),
        cmocka_unit_test(only_what_fits_the_type_counts),
        cmocka_unit_test(what_does_not_fit_is_counted_and_not_shown),
        cmocka_unit_test(a_family_keeps_its_type_and_labels),
        cmocka_unit_test(there_is_room_for_as_many_as_were_asked_for),
        cmocka_unit_test(many_small_series_fill_the_block_and_no_more),
        cmocka_unit_test(quantiles_are_within_their_bound),
        cmocka_unit_test(what_is_too_small_or_too_large_is_counted_at_the_ends),
        cmocka_unit_test(it_reads_as_openmetrics),
        cmocka_unit_test(a_histogram_of_nothing_shows_its_last_bucket),
        cmocka_unit_test(processes_make_and_add_at_once_and_nothing_is_lost),
        cmocka_unit_test(a_process_killed_while_it_makes_series_stops_nobody),
        cmocka_unit_test(scripts_count_into_the_block_of_their_host),
        cmocka_unit_test(a_metric_of_an_older_generation_stops_no_script),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
