/* accrete wait: until every consequence has been found. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/work.h"
#include "control.h"
#include "queue.h"
#include "tally.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#define POLL_MIN_MS 5
#define POLL_MAX_MS 100
#define NOBODY_MS 10000 /* without a worker: a reload or a crash loop takes less */

/* Whether a worker of any machine is connected. */
static bool count_workers(struct pg *pg, int64_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 "
               "AND classid = current_schema()::regnamespace::oid "
               "AND objid >= " EPOCH_WORKER " AND objid < " EPOCH_OTHER};
    PGresult *res = pg_query(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    *count = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

static int tell(struct cli *cli, const struct queue_state *state)
{
    if (state->dead == 0)
        return CLI_DONE;
    cli_note(cli, "nothing is left to do, but %s %s dead: accrete status names them",
             cli_counted(state->dead, "event"), state->dead == 1 ? "is" : "are");
    return CLI_FAILED;
}

/* Events that were finished so far; 0 when nobody knows. */
static int64_t count_done(struct pg *pg)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(sum(early + late + empty + found + "
                                         "failed), 0)::int8 FROM tally_lifecycle"};
    struct acc_error err;
    PGresult *res = pg_query(pg, &stmt, NULL, &err);
    int64_t done = res == NULL ? 0 : pg_get_int8(res, 0, 0);

    PQclear(res);
    return done;
}

static void show(struct progress *progress, struct pg *pg, int64_t done_before,
                 const struct queue_state *state)
{
    int64_t done = count_done(pg) - done_before;

    progress->total = done + state->ready + state->delayed;
    progress_show(progress, done, done);
}

static void pause_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

/* Fails when nothing can progress. *seen_us: when a worker was seen last. */
static bool check_workers(struct work *work, int64_t *seen_us, struct acc_error *err)
{
    int64_t count;

    if (!count_workers(&work->session.pg, &count, err))
        return false;
    if (count > 0)
        *seen_us = clock_us();
    if (work->session.embedded != NULL)
        return acc_fail(err, ACC_ESYS,
                        "work is left, but no host is running: start one (accrete run)");
    if (clock_us() - *seen_us > NOBODY_MS * INT64_C(1000))
        return acc_fail(
            err, ACC_ESYS,
            "work is left, but no worker is connected: start one (accrete run or accrete worker)");
    return true;
}

/* Says once that somebody has paused the queue: nothing progresses until it is resumed. */
static bool tell_pause(struct cli *cli, struct pg *pg, bool *was_paused, struct acc_error *err)
{
    struct control control = {0};

    if (!control_read(&control, pg, err))
        return false;
    if (control.is_paused && !*was_paused)
        cli_note(cli, "the queue is paused by %s: %s (accrete queue resume)", control.who,
                 control.reason);
    *was_paused = control.is_paused;
    control_clear(&control);
    return true;
}

static int wait_for_fixpoint(struct cli *cli, struct work *work)
{
    int64_t timeout_ms = cli_number(cli, "timeout", 0);
    int64_t started_us = clock_us();
    int64_t seen_us = started_us;
    int64_t poll_ms = POLL_MIN_MS;
    int64_t done_before = count_done(&work->session.pg);
    struct progress progress;
    struct queue_state state;
    struct acc_error err;
    bool is_paused = false;

    progress_begin(&progress, "events", !cli_has(cli, "quiet"));
    for (;;) {
        if (!queue_state(&state, &work->session.pg, &err))
            break;
        if (queue_is_fixpoint(&state)) {
            progress_hide(&progress);
            return queue_make_durable(&work->session.pg, &err) ? tell(cli, &state)
                                                               : cli_fail(cli, &err);
        }
        if (!check_workers(work, &seen_us, &err) ||
            !tell_pause(cli, &work->session.pg, &is_paused, &err))
            break;
        if (timeout_ms > 0 && clock_us() - started_us > timeout_ms * 1000) {
            acc_fail(&err, ACC_ELIMIT, "after %s %s %s left (%s delayed, %s of replays)",
                     cli_value(cli, "timeout"), cli_counted(state.ready, "event"),
                     state.ready == 1 ? "is" : "are", cli_grouped(state.delayed),
                     cli_counted(state.replays, "part"));
            break;
        }
        show(&progress, &work->session.pg, done_before, &state);
        pause_ms(poll_ms);
        poll_ms = poll_ms * 2 < POLL_MAX_MS ? poll_ms * 2 : POLL_MAX_MS;
    }
    progress_hide(&progress);
    return cli_fail(cli, &err);
}

static int run(struct cli *cli)
{
    struct work work;
    int exit_code = CLI_DONE;

    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, 0, &exit_code) && work.has_tables) /* else no fact has ever come */
        exit_code = wait_for_fixpoint(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_wait = {
    .name = "wait",
    .summary = "waits until nothing is queued and nothing in flight",
    .usage = "",
    .help =
        "Then every consequence of the facts so far has been found, and the answer is on disk.\n"
        "Exit code 1: events are dead, the time is over, or nobody works.",
    .options =
        (const struct cli_option[]){
            {"timeout", 't', CLI_TIME, "TIME",
             .help = "waits no longer than this, as in 30s; else for ever"},
            {"quiet", 'q', CLI_SWITCH, .help = "no progress"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete ingest edge edges.csv && accrete wait && accrete dump",
             "from facts to the fixpoint"},
            {0},
        },
    .run = run,
};
