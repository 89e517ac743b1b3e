/* Benchmarks: what is known, and a new run, in a process of its own that outlives the request and this process. */
#include "api/handlers.h"

#include "audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void api_bench(struct api_call *call)
{
    struct acc_error err;
    int64_t baseline;

    if (!api_int(call, "baseline", 1, INT32_MAX, 0, &baseline))
        return;
    struct pg *pg = api_reader(call);
    if (pg == NULL)
        return;
    json_t *answer = bench_read(pg, call->api->program, NULL, (int32_t)baseline, &err);
    if (answer != NULL)
        http_answer_json(call->request, 200, answer);
    else if (err.code == ACC_EINPUT)
        http_answer_error(call->request, 404, "not_found", "baseline", "%s", err.text);
    else
        http_answer_failure(call->request, &err);
}

/* Running */

struct bench_task {
    const struct api *api;
    int32_t generation;
    int64_t audit;
    pid_t host;        /* the master: the page may come to be another one's */
    const char **only; /* NULL: everything */
};

#define AWAY_US 10000000 /* so long a result waits for a database that is away */
#define AWAY_EACH_US 200000

/* The process that runs it; it asks nobody of the one it was forked from. */

static bool is_over(void *context)
{
    const struct bench_task *task = context;

    return task->api->page->draining != 0 || (kill(task->host, 0) != 0 && errno == ESRCH);
}

struct ending {
    const struct bench_task *task;
    json_t *rows; /* NULL: nothing is kept */
    const char *result;
};

static bool keep(struct pg *pg, void *context, struct acc_error *err)
{
    const struct ending *ending = context;
    const struct bench_task *task = ending->task;

    return (ending->rows == NULL ||
            bench_save(pg, task->api->program, task->generation, ending->rows, err)) &&
           audit_result(pg, task->audit, ending->result, err);
}

static bool open_database(const struct api *api, struct pg *pg, struct acc_error *err)
{
    const struct settings *settings = &api->app->settings;

    return pg_open(pg, api->conninfo, api->app->schema, settings->database.connect_timeout_ms,
                   settings->database.statement_timeout_ms, err);
}

/* A database that is away may come back, with this host or the next one. */
static bool end_task(const struct bench_task *task, json_t *rows, const char *result)
{
    struct ending ending = {task, rows, result};
    int64_t until_us = clock_us() + AWAY_US;
    struct acc_error err;
    bool ok;

    for (;;) {
        struct pg pg = {0};

        ok = open_database(task->api, &pg, &err) && pg_write(&pg, keep, &ending, &err);
        pg_close(&pg);
        if (ok || err.code != ACC_ELOST || clock_us() > until_us)
            break;
        usleep(AWAY_EACH_US);
    }
    if (!ok)
        log_error("bench", "event=\"result not kept\" audit=%lld error=%s", (long long)task->audit,
                  log_quote(err.text));
    return ok;
}

/* Whether the audit has been told. */
static bool run_task(struct bench_task *task)
{
    const struct api *api = task->api;
    const struct bench_order order = {.settings = &api->app->settings,
                                      .conninfo = api->conninfo,
                                      .schema = api->app->schema,
                                      .modules_dir = api->modules_dir,
                                      .native_dir = api->native_dir,
                                      .program = api->program,
                                      .only = task->only,
                                      .runs = BENCH_RUNS,
                                      .samples = BENCH_SAMPLES,
                                      .should_stop = is_over,
                                      .context = task};
    struct acc_error err;
    json_t *rows = bench_run(&order, &err);

    if (rows == NULL)
        return end_task(task, NULL, err.text);
    bench_leave_stopped(rows);
    char *result = is_over(task) ? acc_strdup(BENCH_STOPPED) : bench_summary(rows);
    bool ok = end_task(task, rows, result);
    free(result);
    json_decref(rows);
    return ok;
}

/* The query process */

/* Waits for the end of the other process, as long as this one lives. */
struct bench_watch {
    pid_t pid;
    struct http_watch *watch;
};

static void on_end(void *context)
{
    struct bench_watch *watch = context;

    http_watch_free(watch->watch);
    while (waitpid(watch->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(watch);
}

/* lock is the other process's from now on. */
static bool start_task(const struct api_call *call, struct bench_task *task, int lock,
                       struct acc_error *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "cannot make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fds[] = {lock < ends[1] ? lock : ends[1], lock < ends[1] ? ends[1] : lock};
        guard_leave(fds, 2);
        bench_lock_sign(lock, task->audit, task->host);
        if (run_task(task))
            bench_lock_sign(lock, 0, 0);
        _exit(0);
    }
    close(ends[1]);
    if (pid > 0) {
        struct bench_watch *watch = acc_alloc(sizeof(*watch));

        watch->pid = pid;
        watch->watch = http_watch_new(call->api->server, ends[0], on_end, watch);
    }
    close(ends[0]);
    return pid > 0 || acc_fail_errno(err, "cannot start a process");
}

/* The names of the body's lifecycles, borrowed from it; NULL when it names none. false: answered. */
static bool read_names(struct api_call *call, json_t *body, const char ***only)
{
    json_t *list = json_object_get(body, "lifecycles");
    size_t count = json_array_size(list);
    size_t i;
    json_t *one;

    *only = NULL;
    if (list == NULL || json_is_null(list))
        return true;
    if (count == 0) {
        http_answer_error(call->request, 400, "bad_body", "lifecycles",
                          "lifecycles: wanted a list of names, or none for all and the host");
        return false;
    }
    *only = http_alloc(call->request, (count + 1) * sizeof(**only));
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(one);

        (*only)[i] = name;
        if (name != NULL &&
            (program_find(call->api->program, name) != NULL || strcmp(name, BENCH_HOST) == 0))
            continue;
        http_answer_error(call->request, name == NULL ? 400 : 422,
                          name == NULL ? "bad_body" : "unknown_lifecycle", "lifecycles",
                          name == NULL ? "lifecycles: wanted texts%s"
                                       : "lifecycles: there is no lifecycle \"%.60s\"",
                          name == NULL ? "" : name);
        return false;
    }
    (*only)[count] = NULL;
    return true;
}

struct beginning {
    struct audit audit;
    int64_t id;
    int lock;
    pid_t host;
};

/* The lock names the row before it can be seen: whatever happens then, somebody tells it its end. */
static bool add_row(struct pg *pg, void *context, struct acc_error *err)
{
    struct beginning *beginning = context;

    if (!audit_add(pg, &beginning->audit, &beginning->id, err))
        return false;
    bench_lock_sign(beginning->lock, beginning->id, beginning->host);
    return true;
}

static bool add_audit(struct pg *pg, const struct api_call *call, const char *reason, int lock,
                      struct bench_task *task, struct acc_error *err)
{
    struct buf what = {0};

    for (const char **name = task->only; name != NULL && *name != NULL; name++)
        buf_printf(&what, "%s%s", name == task->only ? "" : ", ", *name);
    struct beginning beginning = {.audit = {.who = http_who(call->request),
                                            .act = "bench",
                                            .what = what.size == 0 ? "all" : what.data,
                                            .reason = reason,
                                            .result = BENCH_RUNNING},
                                  .lock = lock,
                                  .host = task->host};
    bool ok = bench_settle(pg, lock, task->host, err) && pg_write(pg, add_row, &beginning, err);

    task->audit = beginning.id;
    buf_clear(&what);
    return ok;
}

static void begin(struct api_call *call, const char **only, const char *reason, int lock)
{
    struct bench_task task = {.api = call->api,
                              .generation = call->api->program->generation,
                              .host = call->api->page->master_pid,
                              .only = only};
    struct pg *pg = api_writer(call);
    struct acc_error err;

    if (pg == NULL)
        return;
    bool is_added = add_audit(pg, call, reason, lock, &task, &err);
    if (is_added && start_task(call, &task, lock, &err)) {
        http_answer_json(call->request, 202, json_pack("{s:I}", "audit", (json_int_t)task.audit));
    } else {
        struct acc_error later;

        if (is_added && audit_result(pg, task.audit, err.text, &later))
            bench_lock_sign(lock, 0, 0);
        else if (is_added)
            log_error("bench", "event=\"result not kept\" error=%s", log_quote(later.text));
        http_answer_failure(call->request, &err);
    }
    api_writer_end(call, pg);
}

/* Query processes look now and then whether one was killed before it could tell the audit. */
void api_bench_tend(struct api *api)
{
    int lock = bench_lock_left(api->app->data_dir);
    struct pg pg = {0};
    struct acc_error err;

    if (lock < 0)
        return;
    if (!open_database(api, &pg, &err) || !bench_settle(&pg, lock, api->page->master_pid, &err))
        log_error("bench", "event=\"result not kept\" error=%s", log_quote(err.text));
    pg_close(&pg);
    close(lock);
}

void api_bench_post(struct api_call *call)
{
    static const char *const names[] = {"reason", "lifecycles", NULL};
    json_t *body = api_body(call, names);
    const char *reason = body == NULL ? NULL : api_reason(call, body);
    const char **only;
    struct acc_error err;

    if (reason != NULL && read_names(call, body, &only)) {
        int lock = bench_lock(call->api->app->data_dir, &err);

        if (lock >= 0)
            begin(call, only, reason, lock);
        else if (err.code == ACC_ESTALE)
            http_answer_error(call->request, 409, "running", NULL, "%s", err.text);
        else
            http_answer_failure(call->request, &err);
        if (lock >= 0)
            close(lock);
    }
    json_decref(body);
}
