#include "watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "control.h"
#include "queue.h"

#include <stdio.h>
#include <unistd.h>

#define POLL_MS 20
#define SHOW_MS 200
#define PAUSE_MS 1000
#define COUNTED_MS 1000

static uint64_t done_so_far(const struct page *page)
{
    uint64_t done = 0;

    for (int i = 0; i < PAGE_SLOTS; i++)
        done += page->slots[i].events;
    return done;
}

/* Says once that somebody has paused the queue: it will not come to its fixpoint. */
static bool tell_pause(struct pg *pg, bool *was_paused, struct acc_error *err)
{
    struct control control = {0};

    if (!control_read(&control, pg, err))
        return false;
    if (control.is_paused && !*was_paused)
        log_warn("watch", "event=\"the queue is paused\" who=%s reason=%s", log_quote(control.who),
                 log_quote(control.reason));
    *was_paused = control.is_paused;
    control_clear(&control);
    return true;
}

static int at_fixpoint(struct pg *pg, const struct queue_state *state)
{
    struct acc_error err;

    if (!queue_make_durable(pg, &err))
        return WATCH_AGAIN;
    if (state->dead > 0)
        log_error(
            "watch",
            "event=\"fixpoint, except dead events\" dead=%lld text=\"accrete status names them\"",
            (long long)state->dead);
    return state->dead > 0 ? 1 : 0;
}

/* Facts of all kinds; -1: nobody knows. */
static int64_t count_facts(struct pg *pg)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(sum(new), 0)::int8 FROM tally_kind"};
    struct acc_error err;
    PGresult *res = pg_query(pg, &stmt, NULL, &err);
    int64_t facts = res == NULL ? -1 : pg_get_int8(res, 0, 0);

    PQclear(res);
    return facts;
}

static bool is_counting(const struct page *page)
{
    for (int i = 0; i < PAGE_SLOTS; i++)
        if (page->slots[i].lifecycle != 0)
            return true;
    return false;
}

/* The run in one line: what has been done since the host began. */
static void tell_fixpoint(struct progress *progress, struct pg *pg, const struct page *page)
{
    int64_t until_us = clock_us() + COUNTED_MS * 1000;
    int64_t facts = count_facts(pg);

    /* A worker counts its last batch on the page just after the commit that made the fixpoint. */
    while (is_counting(page) && clock_us() < until_us)
        usleep(1000);
    if (facts >= 0)
        progress_end(progress, (int64_t)done_so_far(page), cli_counted(facts, "fact"));
}

int watch_main(struct app *app, const char *conninfo, const struct page *page,
               const struct supervise_options *options)
{
    struct progress progress;
    struct acc_error err;
    struct pg pg;
    uint64_t base = done_so_far(page);
    int64_t shown_us = 0;
    int64_t asked_us = 0;
    bool is_paused = false;
    int code = WATCH_AGAIN;

    if (!pg_open(&pg, conninfo, app->schema, app->settings.database.connect_timeout_ms, 30000,
                 &err))
        return WATCH_AGAIN;
    progress_begin(&progress, "events", options->progress);
    for (struct queue_state state; queue_state(&state, &pg, &err);) {
        uint64_t now = done_so_far(page);
        int64_t done = now > base ? (int64_t)(now - base) : 0;
        bool is_fixpoint = queue_is_fixpoint(&state);

        if (is_fixpoint && options->until_fixpoint) {
            code = at_fixpoint(&pg, &state);
            if (code != WATCH_AGAIN)
                tell_fixpoint(&progress, &pg, page);
            break;
        }
        if (clock_us() - asked_us > PAUSE_MS * 1000) {
            asked_us = clock_us();
            if (!tell_pause(&pg, &is_paused, &err))
                break;
        }
        if (clock_us() - shown_us > SHOW_MS * 1000) {
            shown_us = clock_us();
            progress.total = done + state.ready + state.delayed;
            if (is_fixpoint)
                progress_hide(&progress);
            else
                progress_show(&progress, done, done);
        }
        usleep(is_fixpoint ? 5 * POLL_MS * 1000 : POLL_MS * 1000);
    }
    progress_hide(&progress);
    pg_close(&pg);
    return code;
}
