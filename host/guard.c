#include "guard.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_US 50000

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

void guard_say(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, data, size);

        if (put < 0 && errno != EINTR)
            _exit(1);
        data += put < 0 ? 0 : put;
        size -= put < 0 ? 0 : (size_t)put;
    }
}

void guard_leave(const int *keep, size_t count)
{
    static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2, SIGPIPE};
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    unsigned from = 3;
    sigset_t all;

    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* what the code prints is no answer */
    for (size_t i = 0; i < count; i++) {
        if ((unsigned)keep[i] > from)
            close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    close_range(from, ~0u, 0);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        signal(ours[i], SIG_DFL);
    sigemptyset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void be_first_to_go(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!write(fd, "1000", 4);
        close(fd);
    }
}

/* Nothing of the parent's is touched: its descriptors are closed, its memory is a copy. */
static void confine(const struct guard_order *order, pid_t parent, int fd)
{
    struct rlimit none = {0, 0};
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval every = {.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    setpriority(PRIO_PROCESS, 0, 10);
    guard_leave(&fd, 1);
    setrlimit(RLIMIT_CORE, &none);
    be_first_to_go();
    guard.end_us = clock_us() + order->limit_ms * 1000;
    guard.most_pages = order->memory_bytes / sysconf(_SC_PAGESIZE) + resident_pages();
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

/* The parent */

bool guard_start(struct guard_child *child, const struct guard_order *order, struct acc_error *err)
{
    pid_t parent = getpid();
    int ends[2];

    *child = (struct guard_child){.limit_ms = order->limit_ms, .memory_bytes = order->memory_bytes};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "cannot make a pipe");
    fflush(NULL);
    child->pid = fork();
    if (child->pid == 0) {
        confine(order, parent, ends[1]);
        order->run(order->context, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    child->fd = ends[0];
    fcntl(child->fd, F_SETFL, O_NONBLOCK);
    if (child->pid > 0)
        return true;
    close(child->fd);
    return acc_fail_errno(err, "cannot start a process");
}

bool guard_read(struct guard_child *child)
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

/* What an end means; NULL: all is well. */
static char *end_words(const struct guard_child *child, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return NULL;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_LATE)
        return acc_format("it ran longer than %lld ms and was stopped", (long long)child->limit_ms);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MEMORY)
        return acc_format("it took more than %lld MiB of memory and was stopped",
                          (long long)(child->memory_bytes >> 20));
    if (WIFSIGNALED(status))
        return acc_format("its process crashed: signal %d (%s)", WTERMSIG(status),
                          strsignal(WTERMSIG(status)));
    return acc_format("its process ended with %d", WEXITSTATUS(status));
}

char *guard_end(struct guard_child *child)
{
    bool is_open = guard_read(child);
    int status = 0;

    if (is_open) /* its own guard should have ended it */
        kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    close(child->fd);
    return end_words(child, is_open ? W_EXITCODE(EXIT_LATE, 0) : status);
}

void guard_wait(const struct guard_child *child, int64_t wait_ms)
{
    struct pollfd one = {.fd = child->fd, .events = POLLIN};

    if (wait_ms > 0)
        poll(&one, 1, (int)wait_ms);
}
