#include "watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/progress.h"
#include "queue.h"

#include <stdio.h>
#include <unistd.h>

#define POLL_MS 20
#define SHOW_MS 200

static uint64_t done_so_far(const struct page *page)
{
    uint64_t done = 0;

    for (int i = 0; i < PAGE_SLOTS; i++)
        done += page->slots[i].events;
    return done;
}

/* The answer is on disk with a commit that waits for it. */
static bool make_durable(struct pg *pg, struct acc_error *err)
{
    return pg_do(pg,
                 "INSERT INTO meta VALUES ('waited', now()::text) ON CONFLICT (key) DO UPDATE SET "
                 "value = excluded.value",
                 NULL, err);
}

static int at_fixpoint(struct pg *pg, const struct queue_state *state)
{
    struct acc_error err;

    if (!make_durable(pg, &err))
        return WATCH_AGAIN;
    if (state->dead > 0)
        log_error(
            "watch",
            "event=\"fixpoint, except dead events\" dead=%lld text=\"accrete status names them\"",
            (long long)state->dead);
    return state->dead > 0 ? 1 : 0;
}

int watch_main(struct app *app, const char *conninfo, const struct page *page,
               const struct supervise_options *options)
{
    struct progress progress;
    struct acc_error err;
    struct pg pg;
    uint64_t base = done_so_far(page);
    int64_t shown_us = 0;
    int code = WATCH_AGAIN;

    if (!pg_open(&pg, conninfo, app->schema, app->settings.database.connect_timeout_ms, 30000,
                 &err))
        return WATCH_AGAIN;
    progress_begin(&progress, "events", options->progress);
    for (struct queue_state state; queue_state(&state, &pg, &err);) {
        uint64_t now = done_so_far(page);
        int64_t done = now > base ? (int64_t)(now - base) : 0;
        bool is_fixpoint = state.ready == 0 && state.delayed == 0 && state.replays == 0;

        if (is_fixpoint && options->until_fixpoint) {
            code = at_fixpoint(&pg, &state);
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
