#include "supervise_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "bench.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 50

/* Children */

/* What every child does first: the master's signals and locks are not its own. */
void supervise_become_child(struct master *master, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; the master decides */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close(master->signals);
    embedded_lock_release_in_child(master->lock);
}

static void become_service(void *context, pid_t parent)
{
    supervise_become_child(context, parent);
}

/* The database */

static bool start_database(struct master *master, struct acc_error *err)
{
    struct app *app = master->app;

    if (app_has_server(app)) {
        master->conninfo = app_url(app, err);
        return master->conninfo != NULL;
    }
    if (!master->options->embedded)
        return acc_fail(err, ACC_EINPUT,
                        "accrete worker wants a database: give --database URL or set database.url");
    master->embedded = embedded_start(&app->settings, app->data_dir, app->run_dir, err);
    if (master->embedded == NULL)
        return false;
    if (master->conninfo == NULL)
        master->conninfo = acc_strdup(embedded_conninfo(master->embedded));
    return true;
}

static void check_database(struct master *master)
{
    struct acc_error why;

    if (app_has_server(master->app) || master->is_stopping)
        return;
    if (master->embedded != NULL) {
        if (embedded_alive(master->embedded, &why))
            return;
        log_error("supervise", "event=\"PostgreSQL ended, starting it again\" reason=%s",
                  log_quote(why.text));
        embedded_forget(master->embedded);
        master->embedded = NULL;
    }
    if (clock_us() < master->database_retry_us)
        return;
    if (!start_database(master, &why)) {
        log_error("supervise", "event=\"PostgreSQL does not start, will try again\" error=%s",
                  log_quote(why.text));
        master->database_retry_us = clock_us() + 1000000;
        return;
    }
    for (int i = 0; i < master->place_count; i++)
        master->places[i].start_at_us = 0;
}

/* The loop */

static void reap(struct master *master)
{
    int status;
    pid_t pid;

    supervise_reap_workers(master);
    supervise_reap_reload(master);
    if (master->watching != 0 &&
        (pid = waitpid(master->watching, &status, WNOHANG)) == master->watching) {
        master->watching = 0;
        if (master->options->until_fixpoint && WIFEXITED(status) &&
            WEXITSTATUS(status) != WATCH_AGAIN) {
            master->exit_code = WEXITSTATUS(status);
            master->is_stopping = true;
        }
    }
    services_reap(master->services);
    check_database(master);
}

static void start_due(struct master *master)
{
    if (master->is_stopping || (!app_has_server(master->app) && master->embedded == NULL))
        return;
    supervise_start_workers(master);
    if (master->watching == 0 && (master->options->until_fixpoint || master->options->progress)) {
        pid_t parent = getpid();
        pid_t pid = fork();
        if (pid == 0) {
            supervise_become_child(master, parent);
            exit(watch_main(master->app, master->conninfo, master->page, master->options));
        }
        master->watching = pid > 0 ? pid : 0;
    }
    services_start_due(master->services, master->conninfo);
}

static bool any_process(const struct master *master)
{
    if (services_any(master->services))
        return true;
    for (int i = 0; i < PAGE_SLOTS; i++) {
        if (master->page->slots[i].pid != 0)
            return true;
    }
    return false;
}

/*
 * Asks all workers to end; those that have not by the grace time are killed: their transactions die
 * with them.
 */
static void drain(struct master *master, bool at_once)
{
    master->page->draining = 1;
    for (int i = 0; i < PAGE_SLOTS; i++) {
        struct page_slot *slot = &master->page->slots[i];
        if (slot->pid == 0)
            continue;
        __atomic_store_n(&slot->retire, 1, __ATOMIC_RELEASE);
        if (at_once)
            kill(slot->pid, SIGKILL);
    }
    supervise_wake_all(master);
    services_drain(master->services, at_once);
}

static void on_signal(struct master *master, const struct signalfd_siginfo *info)
{
    switch (info->ssi_signo) {
    case SIGHUP:
        supervise_reload(master);
        break;
    case SIGTERM:
    case SIGINT:
        if (master->is_stopping)
            master->stop_by_us = 0; /* a second one: abandon */
        else
            log_info(
                "supervise",
                "event=\"stopping\" text=\"running batches end first; once more to abandon them\"");
        master->is_stopping = true;
        break;
    default:
        break;
    }
}

static void run(struct master *master)
{
    bool is_draining = false;

    for (;;) {
        struct pollfd fd = {.fd = master->signals, .events = POLLIN};
        struct signalfd_siginfo info;

        poll(&fd, 1, TICK_MS);
        while (read(master->signals, &info, sizeof(info)) == sizeof(info))
            on_signal(master, &info);
        reap(master);
        if (master->is_stopping && !is_draining) {
            is_draining = true;
            master->stop_by_us = clock_us() + master->app->settings.worker.grace_ms * 1000;
            drain(master, false);
        }
        /* A benchmark tells its end to a database that may be this host's. */
        if (is_draining && !any_process(master) &&
            (clock_us() > master->stop_by_us || !bench_is_hosts(master->app->data_dir)))
            return;
        if (is_draining && clock_us() > master->stop_by_us)
            drain(master, true);
        supervise_kill_stuck(master);
        services_kill_stuck(master->services);
        start_due(master);
    }
}

/* Begin and end */

static bool open_master(struct master *master, struct acc_error *err)
{
    sigset_t set;

    master->lock = embedded_lock(master->app->data_dir, 10000, err);
    if (master->lock < 0)
        return false;
    master->page = page_create(master->app->run_dir, err);
    if (master->page == NULL)
        return false;
    master->board = board_create(master->app->run_dir, err);
    if (master->board == NULL)
        return false;
    master->services = services_new(master->app, master->page, master->board,
                                    master->options->embedded, become_service, master, err);
    if (master->services == NULL)
        return false;
    for (int i = 0; i < PAGE_SLOTS; i++) {
        master->wake[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (master->wake[i] < 0)
            return acc_fail_errno(err, "cannot make an eventfd");
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    master->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return master->signals >= 0 || acc_fail_errno(err, "cannot make a signalfd");
}

static void close_master(struct master *master)
{
    if (master->watching > 0) {
        kill(master->watching, SIGTERM);
        waitpid(master->watching, NULL, 0);
    }
    embedded_stop(master->embedded, master->app->settings.worker.grace_ms);
    if (master->page != NULL) {
        char path[256];
        snprintf(path, sizeof(path), "%s/page", master->app->run_dir);
        unlink(path);
    }
    page_close(master->page);
    services_free(master->services);
    board_close(master->board);
    for (int i = 0; i < PAGE_SLOTS; i++) {
        if (master->wake[i] > 0)
            close(master->wake[i]);
    }
    if (master->signals > 0)
        close(master->signals);
    if (master->lock >= 0)
        close(master->lock);
    free(master->conninfo);
}

/* The foreground process ends when the one in the background is ready, or with its error. */
static bool detach(int *ready, struct acc_error *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return acc_fail_errno(err, "cannot make a pipe");
    pid_t pid = fork();
    if (pid < 0)
        return acc_fail_errno(err, "cannot fork");
    if (pid > 0) {
        char answer;
        close(ends[1]);
        ssize_t n = read(ends[0], &answer, 1);
        _exit(n == 1 ? 0 : 1);
    }
    close(ends[0]);
    setsid();
    *ready = ends[1];
    return true;
}

static void report_ready(struct master *master, int ready)
{
    if (ready < 0)
        return;
    char *path = acc_format("%s/host.log", master->app->data_dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (write(ready, "+", 1) != 1)
        log_warn("supervise", "event=\"nobody waits for the start\"");
    close(ready);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log >= 0 ? log : null, 2);
    free(path);
}

int supervise_run(struct app *app, const struct supervise_options *options, struct acc_error *err)
{
    struct master master = {.app = app,
                            .options = options,
                            .lock = -1,
                            .quarantine = {.slot = -1},
                            .wants_quarantine = true};
    int ready = -1;
    bool ok = !options->detach || detach(&ready, err);

    ok = ok && open_master(&master, err) && start_database(&master, err);
    if (ok) {
        master.place_count = supervise_wanted_workers(&master);
        if (master.place_count > QUARANTINE_SLOT / 2)
            ok = acc_fail(err, ACC_ELIMIT, "worker.count: wanted at most %d on one machine, got %d",
                          QUARANTINE_SLOT / 2, master.place_count);
        master.page->worker_count = master.place_count;
    }
    for (int i = 0; i < PAGE_SLOTS; i++)
        master.places[i].slot = -1;
    ok = ok && supervise_prepare_and_wait(&master, err);
    if (ok) {
        report_ready(&master, ready);
        log_info("supervise", "event=running app=%s generation=%d workers=%d http=%s data=%s",
                 app->name, master.page->generation, master.place_count,
                 master.page->http_address[0] != '\0' ? master.page->http_address : "off",
                 log_quote(app->data_dir));
        run(&master);
    }
    close_master(&master);
    return ok ? master.exit_code : 1;
}
