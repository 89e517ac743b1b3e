#include "supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "generation.h"
#include "page.h"
#include "services.h"
#include "tokens.h"
#include "watch.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 50
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 30000
#define BACKOFF_POISON_MS 200
#define QUARANTINE_SLOT (PAGE_SLOTS - 1)

/* What the master knows of a slot's process beside the page. */
struct child {
    uint64_t beat;         /* as last seen */
    int64_t beat_us;       /* when it moved */
    int64_t killed_for_ms; /* it stood still so long; 0: not killed by us */
};

/* One place for a worker; a place outlives its processes. */
struct place {
    int slot;            /* -1: nobody now */
    int64_t start_at_us; /* not before */
    int64_t backoff_ms;
    int64_t started_us;
};

struct master {
    struct app *app;
    const struct supervise_options *options;
    struct page *page;
    struct board *board;
    struct services *services;
    struct embedded *embedded;
    char *conninfo;
    int lock;
    int signals;
    int wake[PAGE_SLOTS];
    struct child children[PAGE_SLOTS];
    struct place places[PAGE_SLOTS];
    int place_count;
    struct place quarantine;
    bool wants_quarantine;
    pid_t preparing, watching;
    struct settings before; /* what a reload that is being checked replaces */
    bool has_before, settings_changed;
    int prepare_pipe;
    bool is_stopping;
    int64_t stop_by_us;
    int exit_code;
    int64_t database_retry_us;
};

/* Children */

/* What every child does first: the master's signals and locks are not its own. */
static void become_child(struct master *master, pid_t parent)
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
    become_child(context, parent);
}

static struct page_slot *terminated_slot;

static void on_term(int signal_number)
{
    (void)signal_number;
    __atomic_store_n(&terminated_slot->retire, 1, __ATOMIC_RELEASE);
}

static int free_slot(const struct master *master)
{
    for (int i = 0; i < QUARANTINE_SLOT; i++) {
        if (master->page->slots[i].pid == 0)
            return i;
    }
    return -1;
}

static void start_worker(struct master *master, struct place *place, int slot, bool is_quarantine)
{
    struct page_slot *page_slot = &master->page->slots[slot];
    uint64_t deaths = page_slot->deaths;
    pid_t parent = getpid();

    memset(page_slot, 0, sizeof(*page_slot));
    page_slot->run.current = -1;
    page_slot->deaths = deaths;
    page_slot->generation = master->page->generation;
    page_slot->is_quarantine = is_quarantine;
    master->children[slot] = (struct child){.beat_us = clock_us()};
    pid_t pid = fork();
    if (pid == 0) {
        become_child(master, parent);
        terminated_slot = page_slot;
        signal(SIGTERM, on_term);
        char *modules = generation_dir(master->app, master->page->generation);
        char *native = generation_native_dir(master->app, master->page->generation);
        struct worker_options options = {.app = master->app,
                                         .conninfo = master->conninfo,
                                         .modules_dir = modules,
                                         .native_dir = native,
                                         .page = master->page,
                                         .slot = slot,
                                         .wake_fds = master->wake,
                                         .metrics = board_metrics(master->board),
                                         .is_quarantine = is_quarantine};
        int code = worker_main(&options);
        free(modules);
        free(native);
        exit(code);
    }
    if (pid < 0) {
        log_error("supervise", "event=\"cannot fork\" error=%s", log_quote(strerror(errno)));
        place->start_at_us = clock_us() + 1000000;
        return;
    }
    page_slot->pid = pid;
    place->slot = slot;
    place->started_us = clock_us();
}

/*
 * Crash loops back off: each start that did not live for five seconds doubles the wait. A death
 * that was blamed on a packet waits little: there are only so many before its event is dead, and
 * others wait for them.
 */
static void back_off(struct place *place, int64_t least_ms, int64_t most_ms)
{
    int64_t now_us = clock_us();

    if (now_us - place->started_us > 5000000)
        place->backoff_ms = 0;
    place->backoff_ms = place->backoff_ms == 0 ? least_ms : place->backoff_ms * 2;
    if (place->backoff_ms > most_ms)
        place->backoff_ms = most_ms;
    place->start_at_us = now_us + place->backoff_ms * 1000;
}

static void wake_all(struct master *master)
{
    uint64_t one = 1;

    for (int i = 0; i < PAGE_SLOTS; i++) {
        if (master->page->slots[i].pid != 0 &&
            write(master->wake[i], &one, sizeof(one)) != sizeof(one))
            continue;
    }
}

/* Lists the packets a dead worker had in hand, for the quarantine worker. */
static void poison(struct master *master, int slot, int status)
{
    struct page_slot *dead = &master->page->slots[slot];
    uint32_t count = dead->packet_count < PAGE_PACKETS ? dead->packet_count : PAGE_PACKETS;
    int current = dead->run.current;

    for (uint32_t i = 0; i < count; i++) {
        const struct page_packet *packet = &dead->packets[i];
        bool is_last = i + 1 == count;
        bool holds = current >= packet->first_event &&
                     (is_last || current < dead->packets[i + 1].first_event);

        if (current >= 0 && !holds)
            continue; /* its callbacks were not the ones that ran */
        for (size_t p = 0; p < PAGE_POISON; p++) {
            struct page_poison *entry = &master->page->poison[p];
            if (__atomic_load_n(&entry->id, __ATOMIC_ACQUIRE) != 0)
                continue;
            entry->bucket = packet->bucket;
            entry->lifecycle = packet->lifecycle;
            entry->suspect = holds ? current - packet->first_event : -1;
            entry->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
            entry->status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
            entry->stuck_ms = master->children[slot].killed_for_ms;
            __atomic_store_n(&entry->id, packet->id, __ATOMIC_RELEASE);
            break;
        }
    }
    if (count > 0)
        master->wants_quarantine = true;
}

static void release_slot(struct master *master, int slot)
{
    for (int b = 0; b < 4096; b++) {
        if (master->page->bucket_slot[b] == slot)
            master->page->bucket_slot[b] = -1;
    }
    master->page->slots[slot].packet_count = 0;
    master->page->slots[slot].pid = 0;
}

static void worker_ended(struct master *master, struct place *place, int slot, int status)
{
    bool is_asked = master->page->slots[slot].retire != 0 || master->is_stopping;
    bool is_quarantine = slot == QUARANTINE_SLOT;
    bool in_turn = master->page->slots[slot].packet_count > 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    /*
     * The kernel's or an operator's SIGKILL says nothing against the packets; ours for standing
     * still does.
     */
    bool is_blamed =
        (WIFSIGNALED(status) &&
         (WTERMSIG(status) != SIGKILL || master->children[slot].killed_for_ms > 0)) ||
        (WIFEXITED(status) && in_turn); /* a worker that ends has laid its packets down */
    int64_t most_ms = is_blamed && in_turn ? BACKOFF_POISON_MS : BACKOFF_MAX_MS;

    if (WIFSIGNALED(status) || is_blamed) {
        master->page->slots[slot].deaths++;
        log_warn("supervise",
                 "event=\"worker died\" slot=%d pid=%d signal=%d exit=%d stuck_ms=%lld", slot,
                 master->page->slots[slot].pid, WIFSIGNALED(status) ? WTERMSIG(status) : 0, code,
                 (long long)master->children[slot].killed_for_ms);
    }
    if (is_blamed)
        poison(master, slot, status);
    release_slot(master, slot);
    place->slot = -1;
    wake_all(master);
    if (is_quarantine) {
        if (code != WORKER_DONE)
            master->wants_quarantine = true;
        else
            place->backoff_ms = 0;
        back_off(place, BACKOFF_MIN_MS, is_blamed && in_turn ? BACKOFF_MIN_MS : BACKOFF_MAX_MS);
        return;
    }
    if (is_asked)
        return;
    if (code == WORKER_AGAIN && master->app->settings.worker.batches_max > 0)
        place->start_at_us = 0; /* turns used up, as wanted */
    else if (code == WORKER_FAILED)
        back_off(place, 1000, BACKOFF_MAX_MS);
    else
        back_off(place, BACKOFF_MIN_MS, most_ms);
}

/* Generations */

static void refuse(struct master *master, const char *why)
{
    snprintf(master->page->refused_text, sizeof(master->page->refused_text), "%.1023s", why);
    __atomic_add_fetch(&master->page->refused, 1, __ATOMIC_RELEASE);
}

/* In the child that prepares: nobody may come in from outside without a token. */
static bool check_access(struct master *master, struct acc_error *err)
{
    const struct settings *settings = &master->app->settings;
    struct token_set *tokens = acc_zalloc(sizeof(*tokens));
    struct pg pg = {0};
    bool ok = true;

    if (master->options->embedded && !services_check(master->app, false, err))
        ok = pg_open(&pg, master->conninfo, master->app->schema,
                     settings->database.connect_timeout_ms, 0, err) &&
             tokens_load(tokens, &pg, err) && services_check(master->app, tokens->count > 0, err);
    pg_close(&pg);
    free(tokens);
    return ok;
}

static void start_prepare(struct master *master)
{
    int ends[2];
    pid_t parent = getpid();

    if (master->preparing != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        struct acc_error err = {0};
        int32_t generation = 0;

        become_child(master, parent);
        bool ok = generation_prepare(master->app, master->conninfo, &generation, &err) &&
                  check_access(master, &err);
        const void *answer = ok ? (const void *)&generation : (const void *)err.text;
        size_t size = ok ? sizeof(generation) : strlen(err.text) + 1;
        exit(write(ends[1], answer, size) == (ssize_t)size && ok ? 0 : 1);
    }
    close(ends[1]);
    master->prepare_pipe = ends[0];
    master->preparing = pid > 0 ? pid : 0;
}

/* SIGHUP: settings are read here, modules in a process of its own; both are taken or neither. */
static void start_reload(struct master *master)
{
    struct acc_error err;

    if (master->preparing != 0)
        return;
    if (!app_reload(master->app, &master->before, &master->settings_changed, &err)) {
        log_error("supervise", "event=\"reload refused, the old settings stay\" error=%s",
                  log_quote(err.text));
        refuse(master, err.text);
        return;
    }
    master->has_before = true;
    start_prepare(master);
}

/* Ends what start_reload began: the new settings stay, or the old ones come back. */
static void settle_settings(struct master *master, bool is_taken)
{
    if (!master->has_before)
        return;
    if (!is_taken) {
        struct settings refused = master->app->settings;
        master->app->settings = master->before;
        master->before = refused;
        master->settings_changed = false;
    }
    settings_clear(&master->before);
    master->has_before = false;
}

static int wanted_workers(const struct master *master)
{
    int64_t count = master->app->settings.worker.count;
    return (int)(count > 0 ? count : sysconf(_SC_NPROCESSORS_ONLN));
}

/*
 * The new generation's workers take the places; the old ones end after their batch. So do new
 * settings.
 */
static void change_generation(struct master *master, int32_t generation)
{
    if (generation == master->page->generation && !master->settings_changed)
        return;
    master->settings_changed = false;
    master->page->generation = generation;
    for (int i = 0; i < PAGE_SLOTS; i++) {
        struct place *place = &master->places[i];
        if (place->slot >= 0)
            __atomic_store_n(&master->page->slots[place->slot].retire, 1, __ATOMIC_RELEASE);
        *place = (struct place){.slot = -1};
    }
    master->place_count = wanted_workers(master);
    master->page->worker_count = master->place_count;
    if (master->quarantine.slot >= 0)
        __atomic_store_n(&master->page->slots[QUARANTINE_SLOT].retire, 1, __ATOMIC_RELEASE);
    wake_all(master);
    services_renew(master->services);
}

/* true: the modules are current. false: refused, the reason is in the page. */
static bool prepare_ended(struct master *master, int status)
{
    char answer[1024] = "";
    ssize_t n = read(master->prepare_pipe, answer, sizeof(answer) - 1);
    int32_t generation;

    close(master->prepare_pipe);
    master->preparing = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && n == sizeof(generation)) {
        memcpy(&generation, answer, sizeof(generation));
        master->page->refused_text[0] = '\0';
        settle_settings(master, true);
        change_generation(master, generation);
        __atomic_add_fetch(&master->page->reloads, 1, __ATOMIC_RELEASE);
        return true;
    }
    settle_settings(master, false);
    refuse(master, n > 0 ? answer : "the process that checks the modules died");
    return false;
}

/* The first generation: nothing else can begin before it. */
static bool prepare_and_wait(struct master *master, struct acc_error *err)
{
    int status = 0;

    start_prepare(master);
    if (master->preparing == 0)
        return acc_fail_errno(err, "cannot start a process");
    while (waitpid(master->preparing, &status, 0) < 0 && errno == EINTR)
        continue;
    if (prepare_ended(master, status))
        return true;
    return acc_fail(err, ACC_EINPUT, "%s", master->page->refused_text);
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

    for (int i = 0; i < PAGE_SLOTS; i++) {
        struct page_slot *slot = &master->page->slots[i];
        if (slot->pid == 0 || waitpid(slot->pid, &status, WNOHANG) != slot->pid)
            continue;
        struct place orphan = {.slot = i};
        struct place *place = i == QUARANTINE_SLOT ? &master->quarantine : &orphan;
        for (int p = 0; p < master->place_count; p++) {
            if (master->places[p].slot == i)
                place = &master->places[p];
        }
        worker_ended(master, place, i, status);
    }
    if (master->preparing != 0 &&
        (pid = waitpid(master->preparing, &status, WNOHANG)) == master->preparing) {
        if (!prepare_ended(master, status))
            log_error("supervise", "event=\"reload refused, the old modules stay\" error=%s",
                      log_quote(master->page->refused_text));
        else
            log_info("supervise", "event=\"modules loaded\" generation=%d",
                     master->page->generation);
    }
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

/* A callback that does not move can be stopped from outside only. */
static void kill_stuck(struct master *master)
{
    int64_t limit_us = master->app->settings.worker.stuck_ms * 1000;
    int64_t now_us = clock_us();

    for (int i = 0; i < PAGE_SLOTS; i++) {
        struct page_slot *slot = &master->page->slots[i];
        struct child *child = &master->children[i];
        uint64_t beat = __atomic_load_n(&slot->run.beat, __ATOMIC_RELAXED);

        if (slot->pid == 0)
            continue;
        if (beat != child->beat || slot->run.phase != PHASE_LUA) {
            child->beat = beat;
            child->beat_us = now_us;
            continue;
        }
        if (now_us - child->beat_us < limit_us || child->killed_for_ms > 0)
            continue;
        child->killed_for_ms = (now_us - child->beat_us) / 1000;
        log_warn("supervise", "event=\"worker stands still, killed\" slot=%d pid=%d", i, slot->pid);
        kill(slot->pid, SIGKILL);
    }
}

static bool has_poison(const struct page *page)
{
    for (size_t i = 0; i < PAGE_POISON; i++) {
        if (page->poison[i].id != 0)
            return true;
    }
    return false;
}

static void start_due(struct master *master)
{
    int64_t now_us = clock_us();

    if (master->is_stopping || (!app_has_server(master->app) && master->embedded == NULL))
        return;
    for (int i = 0; i < master->place_count; i++) {
        int slot = master->places[i].slot < 0 && now_us >= master->places[i].start_at_us
                       ? free_slot(master)
                       : -1;
        if (slot >= 0)
            start_worker(master, &master->places[i], slot, false);
    }
    if (master->page->slots[QUARANTINE_SLOT].pid == 0 && now_us >= master->quarantine.start_at_us &&
        (master->wants_quarantine || has_poison(master->page))) {
        master->wants_quarantine = false;
        start_worker(master, &master->quarantine, QUARANTINE_SLOT, true);
    }
    if (master->watching == 0 && (master->options->until_fixpoint || master->options->progress)) {
        pid_t parent = getpid();
        pid_t pid = fork();
        if (pid == 0) {
            become_child(master, parent);
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
    wake_all(master);
    services_drain(master->services, at_once);
}

static void on_signal(struct master *master, const struct signalfd_siginfo *info)
{
    switch (info->ssi_signo) {
    case SIGHUP:
        start_reload(master);
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
        if (is_draining && !any_process(master))
            return;
        if (is_draining && clock_us() > master->stop_by_us)
            drain(master, true);
        kill_stuck(master);
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
        master.place_count = wanted_workers(&master);
        if (master.place_count > QUARANTINE_SLOT / 2)
            ok = acc_fail(err, ACC_ELIMIT, "worker.count: wanted at most %d on one machine, got %d",
                          QUARANTINE_SLOT / 2, master.place_count);
        master.page->worker_count = master.place_count;
    }
    for (int i = 0; i < PAGE_SLOTS; i++)
        master.places[i].slot = -1;
    ok = ok && prepare_and_wait(&master, err);
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
