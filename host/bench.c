#include "bench.h"

#include "base/clock.h"
#include "bench_child.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_BYTES (INT64_C(1) << 30)
#define SHARE 4 /* a child gets at most this share of the whole time */
#define LOOK_MS 100
#define PROCESSES 6 /* that measure each lifecycle: six values give an interval */

/* One lifecycle or the host */

/* What a child has said so far, taken line by line. */
struct hearing {
    const char *of;
    json_t *rows;
    char part[256]; /* that it was about */
    char *failure;
    bool is_stopped;
};

static void hear(struct hearing *hearing, const char *line, size_t size)
{
    json_t *said = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
    const char *begin = json_string_value(json_object_get(said, "begin"));
    const char *failure = json_string_value(json_object_get(said, "failure"));

    if (begin != NULL) {
        snprintf(hearing->part, sizeof(hearing->part), "%s", begin);
    } else if (failure != NULL) {
        free(hearing->failure);
        hearing->failure = acc_strdup(failure);
    } else if (said != NULL) {
        json_object_set_new(said, "of", json_string(hearing->of));
        json_array_append(hearing->rows, said);
    }
    json_decref(said);
}

static void hear_all(struct hearing *hearing, const struct buf *said)
{
    const char *at = said->data;
    const char *end = said->data + said->size;

    while (at != NULL && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        if (newline == NULL) /* cut with the child */
            break;
        hear(hearing, at, (size_t)(newline - at));
        at = newline + 1;
    }
}

static bool has_row(const struct hearing *hearing, const char *part)
{
    size_t i;
    json_t *row;

    json_array_foreach(hearing->rows, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "of")), hearing->of) == 0 &&
            strcmp(json_string_value(json_object_get(row, "part")), part) == 0)
            return true;
    }
    return false;
}

/* Parts that the child did not come to: rows that say why. */
static void add_missing(struct hearing *hearing, const char *const *parts, size_t count,
                        const char *why)
{
    char *note = hearing->part[0] == '\0' || why == hearing->failure
                     ? acc_strdup(why)
                     : acc_format("%s: %s", hearing->part, why);

    for (size_t i = 0; i < count; i++) {
        bool is_itself = strcmp(parts[i], hearing->part) == 0;

        if (!has_row(hearing, parts[i]))
            json_array_append_new(hearing->rows,
                                  json_pack("{s:s, s:s, s:n, s:n, s:i, s:i, s:s, s:b, s:b}", "of",
                                            hearing->of, "part", parts[i], "ns", "ci_ns", "runs", 0,
                                            "samples", 0, "note", is_itself ? why : note,
                                            "is_failed", 1, "is_stopped", hearing->is_stopped));
    }
    free(note);
}

static size_t parts_of(const struct bench_order *order, const char *lifecycle, const char **parts)
{
    const struct lifecycle *own =
        lifecycle == NULL ? NULL : program_find(order->program, lifecycle);
    size_t count = 0;

    if (lifecycle != NULL)
        return own == NULL ? 0 : script_bench_parts(own, parts);
    for (; bench_host_parts[count] != NULL; count++)
        parts[count] = bench_host_parts[count];
    return count;
}

static bool should_stop(const struct bench_order *order)
{
    return order->should_stop != NULL && order->should_stop(order->context);
}

#define PARTS_MAX 16

/*
 * Measures in one child, for at most limit_ms, so many runs; adds its rows to rows. *is_clean: it ended by itself and every part of it
 * was measured or had nothing to measure.
 */
static bool run_child(const struct bench_order *order, const char *lifecycle, int runs,
                      int64_t limit_ms, json_t *rows, bool *is_clean, struct acc_error *err)
{
    struct bench_job job = {
        .order = order, .lifecycle = lifecycle, .runs = runs, .limit_ms = limit_ms};
    const struct guard_order guarded = {
        .run = bench_child, .context = &job, .limit_ms = limit_ms, .memory_bytes = MEMORY_BYTES};
    struct hearing hearing = {.of = lifecycle == NULL ? BENCH_HOST : lifecycle, .rows = rows};
    int64_t end_us = clock_us() + (limit_ms + GUARD_GRACE_MS) * 1000;
    const char *parts[PARTS_MAX];
    size_t count = parts_of(order, lifecycle, parts);
    struct guard_child child;

    if (!guard_start(&child, &guarded, err))
        return false;
    while (guard_read(&child) && clock_us() < end_us && !(hearing.is_stopped = should_stop(order)))
        guard_wait(&child, LOOK_MS);
    char *why = guard_end(&child);
    hear_all(&hearing, &child.said);
    buf_clear(&child.said);
    *is_clean = !hearing.is_stopped && hearing.failure == NULL && why == NULL;
    add_missing(&hearing, parts, count,
                hearing.is_stopped        ? "stopped"
                : hearing.failure != NULL ? hearing.failure
                : why != NULL             ? why
                                          : "it was not measured");
    free(hearing.failure);
    free(why);
    return true;
}

static double number_of(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    return json_is_number(value) ? json_number_value(value) : -1;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/*
 * Puts into row what the rows of its part in others (of further children) say too: ns the median of the children's medians, ci_ns wide
 * enough for all of them, which for PROCESSES is an interval of 97 % of that median (1 - 2 / 2^6), and no narrower than one child's own.
 */
static void join(json_t *row, json_t *const *others, size_t count)
{
    double values[PROCESSES];
    double ci = number_of(row, "ci_ns");
    int64_t runs = json_integer_value(json_object_get(row, "runs"));
    size_t known = 0;

    values[known++] = number_of(row, "ns");
    for (size_t o = 0; o < count; o++) {
        size_t i;
        json_t *other;
        json_array_foreach(others[o], i, other)
        {
            if (strcmp(json_string_value(json_object_get(other, "part")),
                       json_string_value(json_object_get(row, "part"))) != 0)
                continue;
            if (json_is_true(json_object_get(other, "is_failed")) &&
                !json_is_true(json_object_get(other, "is_stopped")))
                json_object_set(row, "note", json_object_get(other, "note"));
            if (number_of(other, "ns") < 0)
                continue;
            values[known++] = number_of(other, "ns");
            runs += json_integer_value(json_object_get(other, "runs"));
        }
    }
    if (values[0] < 0 || known == 1)
        return;
    qsort(values, known, sizeof(values[0]), ascending);
    double median =
        known % 2 == 1 ? values[known / 2] : (values[known / 2 - 1] + values[known / 2]) / 2;
    ci = fmax(ci, fmax(values[known - 1] - median, median - values[0]));
    json_object_set_new(row, "ns", json_real(round(median * 1000) / 1000));
    json_object_set_new(row, "ci_ns", json_real(round(ci * 1000) / 1000));
    json_object_set_new(row, "runs", json_integer(runs));
}

/*
 * Measures lifecycle (NULL: the host), for at most limit_ms, in PROCESSES children one after the other: what the JIT compiler makes of a
 * callback differs from process to process, up to tenfold. After one that has failed, or when time is short, there are no more.
 */
static bool run_one(const struct bench_order *order, const char *lifecycle, int64_t limit_ms,
                    json_t *rows, struct acc_error *err)
{
    int64_t began_us = clock_us();
    size_t first = json_array_size(rows);
    int each = (order->runs + PROCESSES - 1) / PROCESSES;
    json_t *others[PROCESSES - 1];
    size_t count = 0;
    bool is_clean = false;

    if (order->turn != NULL)
        order->turn(order->context, lifecycle == NULL ? BENCH_HOST : lifecycle);
    bool ok = run_child(order, lifecycle, each, limit_ms, rows, &is_clean, err);
    int64_t took_us = clock_us() - began_us;
    for (int runs = order->runs - each; ok && is_clean && runs > 0 && count < PROCESSES - 1;
         runs -= each) {
        int64_t left_us = limit_ms * 1000 - (clock_us() - began_us);
        if (left_us < 2 * took_us || should_stop(order))
            break;
        others[count] = json_array();
        ok = run_child(order, lifecycle, runs < each ? runs : each, left_us / 1000, others[count],
                       &is_clean, err);
        count++;
    }
    for (size_t r = first; ok && r < json_array_size(rows); r++)
        join(json_array_get(rows, r), others, count);
    while (count > 0)
        json_decref(others[--count]);
    return ok;
}

/* All of them */

static bool is_wanted(const struct bench_order *order, const char *of)
{
    for (const char *const *name = order->only; name != NULL && *name != NULL; name++)
        if (strcmp(*name, of) == 0)
            return true;
    return order->only == NULL;
}

/* The next one, unless it is stopped; when the time is over its parts have failed. */
static bool run_next(const struct bench_order *order, const char *lifecycle, int64_t end_us,
                     json_t *rows, struct acc_error *err)
{
    int64_t whole_ms = order->settings->bench.limit_ms;
    int64_t left_ms = (end_us - clock_us()) / 1000;
    int64_t limit_ms = left_ms < whole_ms / SHARE ? left_ms : whole_ms / SHARE;

    if (limit_ms > 0)
        return run_one(order, lifecycle, limit_ms, rows, err);
    struct hearing hearing = {.of = lifecycle == NULL ? BENCH_HOST : lifecycle, .rows = rows};
    const char *parts[PARTS_MAX];
    size_t count = parts_of(order, lifecycle, parts);
    char *why = acc_format("bench.limit of %lld ms was over before its turn", (long long)whole_ms);
    add_missing(&hearing, parts, count, why);
    free(why);
    return true;
}

void bench_leave_stopped(json_t *rows)
{
    size_t count = json_array_size(rows);
    const json_t *last = json_array_get(rows, count - 1);

    if (!json_is_true(json_object_get(last, "is_stopped")))
        return;
    char *of = acc_strdup(json_string_value(json_object_get(last, "of")));
    while (count > 0 &&
           strcmp(json_string_value(json_object_get(json_array_get(rows, count - 1), "of")), of) ==
               0)
        json_array_remove(rows, --count);
    free(of);
}

json_t *bench_run(const struct bench_order *order, struct acc_error *err)
{
    const struct program *program = order->program;
    int64_t end_us = clock_us() + order->settings->bench.limit_ms * 1000;
    json_t *rows = json_array();
    bool ok = true;

    for (size_t i = 0; ok && i < program->lifecycle_count && !should_stop(order); i++) {
        if (is_wanted(order, program->lifecycles[i]->name))
            ok = run_next(order, program->lifecycles[i]->name, end_us, rows, err);
    }
    if (ok && is_wanted(order, BENCH_HOST) && !should_stop(order))
        ok = run_next(order, NULL, end_us, rows, err);
    if (ok)
        return rows;
    json_decref(rows);
    return NULL;
}

char *bench_summary(const json_t *rows)
{
    size_t lifecycles = 0;
    size_t failed = 0;
    bool has_host = false;
    const char *last = "";
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        const char *of = json_string_value(json_object_get(row, "of"));
        bool is_host = strcmp(of, BENCH_HOST) == 0;

        failed += json_is_true(json_object_get(row, "is_failed"));
        lifecycles += !is_host && strcmp(of, last) != 0;
        has_host |= is_host;
        last = of;
    }
    return acc_format("%zu %s%s, %zu parts, %zu failed", lifecycles,
                      lifecycles == 1 ? "lifecycle" : "lifecycles", has_host ? " and the host" : "",
                      json_array_size(rows), failed);
}
