/* Generations and settings: checked in a process of their own, then taken up by all others. */
#include "supervise_internal.h"

#include "base/log.h"
#include "generation.h"
#include "tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void start_prepare(struct master *master, bool may_replace)
{
    int ends[2];
    pid_t parent = getpid();

    if (master->preparing != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        struct acc_error err = {0};
        int32_t generation = 0;

        supervise_become_child(master, parent);
        bool ok =
            generation_prepare(master->app, master->conninfo, may_replace, &generation, &err) &&
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
void supervise_reload(struct master *master)
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
    start_prepare(master, master->options->embedded);
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
    master->place_count = supervise_wanted_workers(master);
    master->page->worker_count = master->place_count;
    if (master->quarantine.slot >= 0)
        __atomic_store_n(&master->page->slots[QUARANTINE_SLOT].retire, 1, __ATOMIC_RELEASE);
    supervise_wake_all(master);
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

/* The first generation: nothing else can begin before it. Who lends workers takes what there is. */
bool supervise_prepare_and_wait(struct master *master, struct acc_error *err)
{
    int status = 0;

    start_prepare(master, master->options->embedded);
    if (master->preparing == 0)
        return acc_fail_errno(err, "cannot start a process");
    while (waitpid(master->preparing, &status, 0) < 0 && errno == EINTR)
        continue;
    if (prepare_ended(master, status))
        return true;
    return acc_fail(err, ACC_EINPUT, "%s", master->page->refused_text);
}

void supervise_reap_reload(struct master *master)
{
    int status;

    if (master->preparing == 0 || waitpid(master->preparing, &status, WNOHANG) != master->preparing)
        return;
    if (!prepare_ended(master, status))
        log_error("supervise", "event=\"reload refused, the old modules stay\" error=%s",
                  log_quote(master->page->refused_text));
    else
        log_info("supervise", "event=\"modules loaded\" generation=%d", master->page->generation);
}
