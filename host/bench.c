#include "bench.h"

#include "base/clock.h"
#include "bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MEMORY_BYTES (INT64_C(1) << 30)
#define SHARE 4 /* a child gets at most this share of the whole time */
#define LOOK_MS 100

/* One lifecycle or the host */

/* What a child has said so far, taken line by line. */
struct hearing {
    const char *of;
    json_t *rows;
    char part[256]; /* that it was about */
    char *failure;
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
                                  json_pack("{s:s, s:s, s:n, s:n, s:i, s:i, s:s, s:b}", "of",
                                            hearing->of, "part", parts[i], "ns", "ci_ns", "runs", 0,
                                            "samples", 0, "note", is_itself ? why : note,
                                            "is_failed", 1));
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

/* Measures lifecycle (NULL: the host) in a child, for at most limit_ms. */
static bool run_one(const struct bench_order *order, const char *lifecycle, int64_t limit_ms,
                    json_t *rows, struct acc_error *err)
{
    struct bench_job job = {.order = order, .lifecycle = lifecycle, .limit_ms = limit_ms};
    const struct guard_order guarded = {
        .run = bench_child, .context = &job, .limit_ms = limit_ms, .memory_bytes = MEMORY_BYTES};
    struct hearing hearing = {.of = lifecycle == NULL ? BENCH_HOST : lifecycle, .rows = rows};
    int64_t end_us = clock_us() + (limit_ms + GUARD_GRACE_MS) * 1000;
    const char *parts[PARTS_MAX];
    size_t count = parts_of(order, lifecycle, parts);
    struct guard_child child;
    bool is_stopped = false;

    if (order->turn != NULL)
        order->turn(order->context, hearing.of);
    if (!guard_start(&child, &guarded, err))
        return false;
    while (guard_read(&child) && clock_us() < end_us && !(is_stopped = should_stop(order)))
        guard_wait(&child, LOOK_MS);
    char *why = guard_end(&child);
    hear_all(&hearing, &child.said);
    buf_clear(&child.said);
    add_missing(&hearing, parts, count,
                is_stopped                ? "stopped"
                : hearing.failure != NULL ? hearing.failure
                : why != NULL             ? why
                                          : "it was not measured");
    free(hearing.failure);
    free(why);
    return true;
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

int bench_lock(const char *data_dir, struct acc_error *err)
{
    char *path = acc_format("%s/bench.lock", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char pid[16] = "";

    if (fd < 0)
        acc_fail_errno(err, "cannot open %s", path);
    free(path);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    bool is_taken = errno == EWOULDBLOCK;
    ssize_t got = pread(fd, pid, sizeof(pid) - 1, 0);
    if (is_taken)
        acc_fail(err, ACC_ESTALE, "a benchmark is running already%s%.*s",
                 got > 0 ? ", process " : "", got > 0 ? (int)strspn(pid, "0123456789") : 0, pid);
    else
        acc_fail_errno(err, "cannot lock bench.lock");
    close(fd);
    return -1;
}

void bench_lock_sign(int fd)
{
    char pid[16];
    int size = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, pid, (size_t)size, 0);
}
