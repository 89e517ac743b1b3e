/* Workers as the master sees them: started, collected, killed when they stand still, their packets set aside. */
#include "supervise_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "generation.h"
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 30000
#define BACKOFF_POISON_MS 200

int supervise_wanted_workers(const struct master *master)
{
    int64_t count = master->app->settings.worker.count;
    return (int)(count > 0 ? count : sysconf(_SC_NPROCESSORS_ONLN));
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
    page_slot->last_exit = place->last_exit;
    page_slot->restarts = place->restarts;
    page_slot->generation = master->page->generation;
    page_slot->is_quarantine = is_quarantine;
    master->children[slot] = (struct child){.beat_us = clock_us()};
    pid_t pid = fork();
    if (pid == 0) {
        supervise_become_child(master, parent);
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

void supervise_wake_all(struct master *master)
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

    place->last_exit = (struct page_exit){.at_us = clock_wall_us(),
                                          .stuck_ms = master->children[slot].killed_for_ms,
                                          .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                                          .code = code};
    if (WIFSIGNALED(status) || is_blamed) {
        master->page->slots[slot].deaths++;
        place->restarts++;
        log_warn("supervise",
                 "event=\"worker died\" slot=%d pid=%d signal=%d exit=%d stuck_ms=%lld", slot,
                 master->page->slots[slot].pid, WIFSIGNALED(status) ? WTERMSIG(status) : 0, code,
                 (long long)master->children[slot].killed_for_ms);
    }
    if (is_blamed)
        poison(master, slot, status);
    release_slot(master, slot);
    place->slot = -1;
    supervise_wake_all(master);
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

void supervise_reap_workers(struct master *master)
{
    int status;

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
}

/* A callback that does not move can be stopped from outside only. */
void supervise_kill_stuck(struct master *master)
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

void supervise_start_workers(struct master *master)
{
    int64_t now_us = clock_us();

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
}
