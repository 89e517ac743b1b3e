#include "dry_run_guard.h"

#include "base/clock.h"
#include "columns.h"
#include "dry_run.h"
#include "schema.h"
#include "script/script.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_US 50000
#define GRACE_MS 1000 /* beyond the limit, before it is killed from outside */

enum { EXIT_LATE = 71, EXIT_MEMORY = 72 };

/* The child */

static struct {
    int64_t end_us;
    int64_t most_pages;
} guard;

static int64_t resident_pages(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    int64_t pages = 0;

    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    const char *at = strchr(text, ' ');
    for (at = at == NULL ? "" : at + 1; *at >= '0' && *at <= '9'; at++)
        pages = pages * 10 + *at - '0';
    return pages;
}

/* Runs whatever the app's code does, a compiled loop too: only what a signal handler may call. */
static void tick(int signal)
{
    int error = errno;

    (void)signal;
    if (clock_us() > guard.end_us)
        _exit(EXIT_LATE);
    if (resident_pages() > guard.most_pages)
        _exit(EXIT_MEMORY);
    errno = error;
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, data, size);

        if (put < 0 && errno != EINTR)
            _exit(1);
        data += put < 0 ? 0 : put;
        size -= put < 0 ? 0 : (size_t)put;
    }
}

/* Nothing of the parent's is touched: its descriptors are closed, its memory is a copy. */
static void close_others(int fd)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* what the code prints is no answer */
    if (fd > 3)
        close_range(3, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
}

static void be_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!write(fd, "1000", 4);
        close(fd);
    }
}

static void confine(const struct dry_run_order *order, pid_t parent)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2, SIGPIPE};
    struct rlimit none = {0, 0};
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval every = {.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US};
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    setpriority(PRIO_PROCESS, 0, 10);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        signal(ours[i], SIG_DFL);
    sigemptyset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setrlimit(RLIMIT_CORE, &none);
    be_first_to_go();
    guard.end_us = clock_us() + order->limit_ms * 1000;
    guard.most_pages = order->memory_bytes / sysconf(_SC_PAGESIZE) + resident_pages();
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static json_t *json_fact(const struct kind *kind, const struct acc_row *row)
{
    struct buf fields = {0};

    fact_json(kind, row, &fields);
    json_t *one = json_pack("{s:s, s:o}", "id", fact_id_text(row->id), "fields",
                            json_loadb(fields.data, fields.size, JSON_ALLOW_NUL, NULL));
    buf_clear(&fields);
    return one;
}

/* {kind: {"count": n, "facts": [...]}} */
static json_t *json_friends(const struct dry_run *run, size_t listed)
{
    const struct batch *batch = run->batch;
    json_t *friends = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        bool is_mirror = batch->mirrors[k].kind != NULL;
        const struct acc_rows *rows = is_mirror ? &batch->mirrors[k].rows : &batch->friends[k];
        json_t *facts = json_array();

        for (uint32_t i = 0; i < rows->count && i < listed; i++)
            json_array_append_new(facts, json_fact(kind, rows_at(rows, i)));
        if (rows->count > 0)
            json_object_set_new(
                friends, kind->name,
                json_pack("{s:I, s:O}", "count", (json_int_t)rows->count, "facts", facts));
        json_decref(facts);
    }
    return friends;
}

/* {kind: {"new": n, "known": n, "facts": [...]}} */
static json_t *json_finds(const struct dry_run *run, size_t listed)
{
    const struct batch *batch = run->batch;
    json_t *finds = json_object();

    for (size_t k = 0; k < batch->program->catalog.count; k++) {
        const struct kind *kind = batch->program->catalog.kinds[k];
        size_t room = batch->finds[k].count;
        const struct acc_row **rows = acc_alloc(room * sizeof(struct acc_row *) + 1);
        bool *is_new = acc_alloc(room + 1);
        size_t count = dry_run_finds(run, kind, rows, is_new);
        json_t *facts = json_array();
        size_t fresh = 0;

        for (size_t i = 0; i < count; i++) {
            fresh += is_new[i];
            if (i >= listed)
                continue;
            json_t *one = json_fact(kind, rows[i]);
            json_object_set_new(one, "is_new", json_boolean(is_new[i]));
            json_array_append_new(facts, one);
        }
        if (count > 0)
            json_object_set_new(finds, kind->name,
                                json_pack("{s:I, s:I, s:O}", "new", (json_int_t)fresh, "known",
                                          (json_int_t)(count - fresh), "facts", facts));
        json_decref(facts);
        free(rows);
        free(is_new);
    }
    return finds;
}

static json_t *answer_of(const struct dry_run *run, const struct dry_run_order *order)
{
    static const char *const outcomes[] = {
        [OUTCOME_NONE] = "none",    [OUTCOME_READY] = "ready", [OUTCOME_EARLY] = "early",
        [OUTCOME_LATE] = "late",    [OUTCOME_EMPTY] = "empty", [OUTCOME_FOUND] = "found",
        [OUTCOME_FAILED] = "failed"};

    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:o, s:I, s:o, s:{s:I, s:I, s:I}}",
                     "lifecycle", run->lifecycle->name, "kind", run->lifecycle->on->name, "id",
                     fact_id_text(order->id), "outcome", outcomes[run->outcome], "reason",
                     run->reason, "error", run->error, "trace", run->trace, "friends",
                     json_friends(run, order->listed), "find_count", (json_int_t)run->find_count,
                     "finds", json_finds(run, order->listed), "us", "friends",
                     (json_int_t)run->friends_us, "process", (json_int_t)run->process_us, "known",
                     (json_int_t)run->settle_us);
}

static json_t *run_in(const struct dry_run_order *order, struct program *program, struct pg *pg,
                      struct acc_error *err)
{
    struct lifecycle *lifecycle = program_find(program, order->lifecycle);
    struct dry_run run;
    bool is_stale = false;

    if (lifecycle == NULL) {
        acc_fail(err, ACC_EINPUT, "unknown lifecycle \"%s\"", order->lifecycle);
        return NULL;
    }
    if (!schema_bind(pg, program, err)) {
        if (err->code != ACC_ESTALE)
            return NULL;
        is_stale = true;
    }
    dry_run_init(&run, order->settings, program, pg);
    if (!dry_run_event(&run, lifecycle, order->id, err))
        return NULL;
    json_t *answer = answer_of(&run, order);
    if (answer != NULL)
        json_object_set_new(answer, "is_stale", json_boolean(is_stale));
    else
        acc_fail(err, ACC_ELUA, "the lifecycle's texts are no UTF-8");
    return answer;
}

/* Nothing is freed: the process ends. */
static json_t *run(const struct dry_run_order *order, struct acc_error *err)
{
    struct program program;
    struct pg pg = {0};
    struct script *script = script_new(order->settings, order->modules_dir, order->native_dir, err);

    if (script == NULL || !script_load(script, &program, false, err) ||
        !pg_open(&pg, order->conninfo, order->schema, order->settings->database.connect_timeout_ms,
                 order->limit_ms, err) ||
        !schema_become(&pg, order->schema, "reader", err) ||
        !pg_do(&pg, "SET default_transaction_read_only = on; SET jit = off", NULL, err))
        return NULL;
    return run_in(order, &program, &pg, err);
}

static void child_main(const struct dry_run_order *order, int fd)
{
    struct acc_error err = {0};
    json_t *answer = run(order, &err);

    if (answer == NULL)
        answer = json_pack("{s:{s:i, s:s, s:s}}", "failure", "code", (int)err.code, "sqlstate",
                           err.sqlstate, "text", err.text);
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    if (text == NULL)
        _exit(1);
    write_all(fd, text, strlen(text));
    _exit(0);
}

/* The parent */

bool dry_run_start(struct dry_run_child *child, const struct dry_run_order *order,
                   struct acc_error *err)
{
    pid_t parent = getpid();
    int ends[2];

    *child = (struct dry_run_child){.order = *order};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "cannot make a pipe");
    fflush(NULL);
    child->pid = fork();
    if (child->pid == 0) {
        confine(order, parent);
        close_others(ends[1]);
        child_main(order, ends[1]);
    }
    close(ends[1]);
    child->fd = ends[0];
    fcntl(child->fd, F_SETFL, O_NONBLOCK);
    if (child->pid > 0)
        return true;
    close(child->fd);
    return acc_fail_errno(err, "cannot start a process");
}

bool dry_run_read(struct dry_run_child *child)
{
    for (;;) {
        char some[65536];
        ssize_t got = read(child->fd, some, sizeof(some));

        if (got > 0)
            buf_add(&child->said, some, (size_t)got);
        else if (got == 0 || (errno != EINTR && errno != EAGAIN))
            return false;
        else if (errno == EAGAIN)
            return true;
    }
}

/* What an end without an answer means. */
static json_t *answer_of_end(const struct dry_run_order *order, int status)
{
    struct buf error = {0};

    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_LATE)
        buf_printf(&error, "it ran longer than %lld ms and was stopped",
                   (long long)order->limit_ms);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MEMORY)
        buf_printf(&error, "it took more than %lld MiB of memory and was stopped",
                   (long long)(order->memory_bytes >> 20));
    else if (WIFSIGNALED(status))
        buf_printf(&error, "its process crashed: signal %d (%s)", WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
    else
        buf_printf(&error, "its process ended with %d", WEXITSTATUS(status));
    json_t *answer = json_pack("{s:s, s:n, s:s, s:s, s:n, s:s, s:n, s:{}, s:i, s:{}, s:n, s:b}",
                               "lifecycle", order->lifecycle, "kind", "id", fact_id_text(order->id),
                               "outcome", "failed", "reason", "error", error.data, "trace",
                               "friends", "find_count", 0, "finds", "us", "is_stale", 0);
    buf_clear(&error);
    return answer;
}

json_t *dry_run_end(struct dry_run_child *child, struct acc_error *err)
{
    struct dry_run_order *order = &child->order;
    bool is_open = dry_run_read(child);
    int status = 0;

    if (is_open) /* its own guard should have ended it */
        kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(child->fd);
    json_t *answer = json_loadb(child->said.data == NULL ? "" : child->said.data, child->said.size,
                                JSON_ALLOW_NUL, NULL);
    buf_clear(&child->said);
    if (answer == NULL)
        return answer_of_end(order, is_open ? W_EXITCODE(EXIT_LATE, 0) : status);
    json_t *failure = json_object_get(answer, "failure");
    if (failure == NULL)
        return answer;
    acc_fail(err, (enum acc_code)json_integer_value(json_object_get(failure, "code")), "%s",
             json_string_value(json_object_get(failure, "text")));
    snprintf(err->sqlstate, sizeof(err->sqlstate), "%s",
             json_string_value(json_object_get(failure, "sqlstate")));
    json_decref(answer);
    return NULL;
}

json_t *dry_run_guarded(const struct dry_run_order *order, struct acc_error *err)
{
    struct dry_run_child child;
    int64_t end_us = clock_us() + (order->limit_ms + GRACE_MS) * 1000;

    if (!dry_run_start(&child, order, err))
        return NULL;
    while (dry_run_read(&child) && clock_us() < end_us) {
        struct pollfd one = {.fd = child.fd, .events = POLLIN};

        poll(&one, 1, (int)((end_us - clock_us()) / 1000) + 1);
    }
    return dry_run_end(&child, err);
}
