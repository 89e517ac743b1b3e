#include "embedded_child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child that could not become the program tells its parent. */
struct start_failure {
    char step[32];
    int number; /* errno */
};

bool child_ended(pid_t pid, bool block, int *status)
{
    pid_t got;

    do
        got = waitpid(pid, status, block ? 0 : WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        *status = -1; /* somebody else has waited for it */
    return got != 0;
}

const char *child_end_text(int status)
{
    static char text[80];

    if (status == -1)
        snprintf(text, sizeof(text), "has ended");
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof(text), "ended with status %d", WEXITSTATUS(status));
    return text;
}

static void signals_to_default(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The order matters: setuid forgets the death signal. */
static const char *become(const struct owner *owner, int death_signal, pid_t parent)
{
    if (geteuid() == 0 && owner->uid != 0) {
        if (initgroups(owner->name, owner->gid) != 0)
            return "initgroups";
        if (setgid(owner->gid) != 0)
            return "setgid";
        if (setuid(owner->uid) != 0)
            return "setuid";
    }
    if (prctl(PR_SET_PDEATHSIG, death_signal) != 0)
        return "prctl";
    if (getppid() != parent)
        _exit(1); /* it died before the line above */
    umask(077);
    return NULL;
}

static void close_on_exec_all(void)
{
    if (close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0)
        return;

    /* Linux before 5.11 */
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (fd > 2)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (dir != NULL)
        closedir(dir);
}

static const char *take_streams(int input, int output)
{
    /* Above 2 first, so that no dup2 overwrites what the next one needs. */
    input = fcntl(input, F_DUPFD, 3);
    output = fcntl(output, F_DUPFD, 3);
    if (input < 0 || output < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        return "dup2";
    return NULL;
}

static void run_child(const struct child_plan *plan, pid_t parent, int input, int report)
{
    struct start_failure failure = {0};
    const char *library_path = getenv("LD_LIBRARY_PATH");
    char *environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL, NULL};
    const char *step;

    if (library_path != NULL)
        environment[3] = acc_format("LD_LIBRARY_PATH=%s", library_path);
    signals_to_default();
    setsid();
    step = take_streams(input, plan->output_fd);
    if (step == NULL) {
        close_on_exec_all();
        step = become(plan->owner, plan->death_signal, parent);
    }
    if (step == NULL && chdir("/") != 0)
        step = "chdir";
    if (step == NULL) {
        execve(plan->argv[0], (char *const *)plan->argv, environment);
        step = "execve";
    }
    failure.number = errno;
    snprintf(failure.step, sizeof(failure.step), "%s", step);
    if (write(report, &failure, sizeof(failure)) < 0)
        _exit(126);
    _exit(127);
}

/* A descriptor that holds text and then ends. */
static int input_of(const char *text)
{
    int ends[2];

    if (text == NULL)
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    if (write(ends[1], text, strlen(text)) != (ssize_t)strlen(text)) {
        close(ends[0]);
        ends[0] = -1;
    }
    close(ends[1]);
    return ends[0];
}

static pid_t fork_quietly(void)
{
    sigset_t all, old;

    /* The parent's handlers must not run in the child. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static ssize_t read_all(int fd, void *data, size_t bytes)
{
    ssize_t got;

    do
        got = read(fd, data, bytes);
    while (got < 0 && errno == EINTR);
    return got;
}

pid_t child_start(const struct child_plan *plan, struct acc_error *err)
{
    struct start_failure failure = {0};
    pid_t self = getpid(), pid = -1;
    int report[2] = {-1, -1}, status;
    int input = input_of(plan->input);

    if (input < 0 || pipe2(report, O_CLOEXEC) != 0) {
        acc_fail_errno(err, "cannot start %s", plan->argv[0]);
        goto out;
    }
    pid = fork_quietly();
    if (pid == 0)
        run_child(plan, self, input, report[1]);
    if (pid < 0) {
        acc_fail_errno(err, "cannot start %s: fork", plan->argv[0]);
        goto out;
    }
    close(report[1]);
    report[1] = -1;
    if (read_all(report[0], &failure, sizeof(failure)) == (ssize_t)sizeof(failure)) {
        child_ended(pid, true, &status);
        errno = failure.number;
        acc_fail_errno(err, "cannot start %s as user %s: %s", plan->argv[0], plan->owner->name,
                       failure.step);
        pid = -1;
    }
out:
    if (input >= 0)
        close(input);
    if (report[0] >= 0)
        close(report[0]);
    if (report[1] >= 0)
        close(report[1]);
    return pid;
}

bool child_run(const struct child_plan *plan, struct acc_error *err)
{
    int status;
    pid_t pid = child_start(plan, err);

    if (pid < 0)
        return false;
    child_ended(pid, true, &status);
    if (status != 0)
        return acc_fail(err, ACC_EDB, "%s %s", plan->argv[0], child_end_text(status));
    return true;
}

bool child_do(const struct owner *owner, bool (*work)(void *arg, struct acc_error *err), void *arg,
              struct acc_error *err)
{
    struct acc_error told = {0};
    int ends[2], status;
    pid_t self = getpid();

    if (owner->uid == geteuid())
        return work(arg, err);

    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "pipe");
    pid_t pid = fork_quietly();
    if (pid == 0) {
        signals_to_default();
        const char *step = become(owner, SIGKILL, self);
        bool ok = step == NULL ? work(arg, &told)
                               : acc_fail_errno(&told, "user %s: %s", owner->name, step);
        if (!ok && write(ends[1], &told, sizeof(told)) < 0)
            _exit(126);
        _exit(ok ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return acc_fail_errno(err, "fork");
    }
    bool is_told = read_all(ends[0], &told, sizeof(told)) == (ssize_t)sizeof(told);
    close(ends[0]);
    child_ended(pid, true, &status);
    if (status == 0)
        return true;
    if (!is_told)
        return acc_fail(err, ACC_ESYS, "a helper that ran as user %s %s", owner->name,
                        child_end_text(status));
    if (err != NULL)
        *err = told;
    return false;
}
