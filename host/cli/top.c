/* accrete top: what happens, live. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "cli/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS 1000
#define NAME_WIDTH 24
#define ROWS_UNBOUND 10000

enum order { BY_NAME, BY_RATE, BY_QUEUED, ORDER_COUNT };
static const char *const orders[] = {"name", "rate", "queued"};

struct top {
    struct cli *cli;
    struct work work;
    bool is_live;
    bool is_paused;
    enum order order;
    json_t *now, *before; /* snapshots with their rates; before may be NULL */
    int64_t now_us;
    char waits_for[256]; /* why there is no snapshot; "" when there is one */
};

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value == NULL ? "" : value;
}

/* Snapshots */

/* The one of list whose member is the same as in one, or NULL. */
static const json_t *same_in(const json_t *list, const json_t *one, const char *member)
{
    size_t i;
    json_t *other;

    json_array_foreach(list, i, other)
    {
        if (json_equal(json_object_get(other, member), json_object_get(one, member)))
            return other;
    }
    return NULL;
}

/* Sets rate of each in list: how much its count has grown a second. */
static double add_rates(json_t *list, const json_t *before, const char *key, const char *count,
                        double seconds)
{
    double sum = 0;
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        const json_t *was = same_in(before, one, key);
        int64_t grown = was == NULL ? 0 : number(one, count) - number(was, count);
        double rate = seconds > 0 && grown > 0 ? (double)grown / seconds : 0;

        json_object_set_new(one, "rate", json_real(rate));
        sum += rate;
    }
    return sum;
}

static int64_t facts_of(const json_t *status)
{
    const char *name;
    json_t *count;
    int64_t sum = 0;

    json_object_foreach(json_object_get(status, "facts"), name, count)
    {
        sum += json_integer_value(count);
    }
    return sum;
}

static void add_all_rates(json_t *now, const json_t *before, double seconds)
{
    double events = add_rates(json_object_get(now, "lifecycles"),
                              json_object_get(before, "lifecycles"), "name", "done", seconds);
    int64_t grown = before == NULL ? 0 : facts_of(now) - facts_of(before);

    add_rates(json_object_get(now, "workers"), json_object_get(before, "workers"), "pid", "events",
              seconds);
    json_object_set_new(now, "events_per_s", json_real(events));
    json_object_set_new(now, "facts_per_s",
                        json_real(seconds > 0 && grown > 0 ? (double)grown / seconds : 0));
}

static void disconnect(struct top *top)
{
    if (top->work.has_session)
        session_close(&top->work.session);
    top->work.has_session = false;
}

/*
 * In the live view the private cluster is never started, since a host that wants to start would
 * have to wait for us; nor is one looked at that a command has started, since it waits for its
 * guests. Only a host's.
 */
static bool connect(struct top *top, int *exit_code)
{
    const struct settings *settings = &top->work.app.settings;
    bool is_private = settings->database.url == NULL && settings->database.url_file == NULL;

    if (top->is_live && is_private && app_host(&top->work.app) == 0) {
        disconnect(top);
        snprintf(top->waits_for, sizeof(top->waits_for),
                 "no host runs on this machine; waiting for accrete run");
        return false;
    }
    if (top->work.has_session && PQstatus(top->work.session.pg.conn) != CONNECTION_BAD)
        return true;
    disconnect(top);
    snprintf(top->waits_for, sizeof(top->waits_for),
             "the database cannot be reached; trying again");
    return work_connect(top->cli, &top->work, WORK_READ, exit_code);
}

static bool find_tables(struct top *top)
{
    static struct pg_stmt stmt = {.sql = "SELECT to_regclass('tally_reason') IS NOT NULL"};
    struct acc_error err;
    PGresult *res = pg_query(&top->work.session.pg, &stmt, NULL, &err);

    top->work.has_tables = res != NULL && pg_get_bool(res, 0, 0);
    PQclear(res);
    return res != NULL;
}

static bool take(struct top *top, int *exit_code)
{
    int64_t now_us = clock_us();
    json_t *now;

    if (!connect(top, exit_code))
        return false;
    now = json_pack("{s:s}", "app", top->work.app.name);
    if (!find_tables(top) || !status_read(top->cli, &top->work, now, exit_code)) {
        json_decref(now);
        if (top->is_live)
            disconnect(top);
        return false;
    }
    json_decref(top->before);
    top->before = top->now;
    top->now = now;
    add_all_rates(now, top->before, top->before == NULL ? 0 : (double)(now_us - top->now_us) / 1e6);
    top->now_us = now_us;
    top->waits_for[0] = '\0';
    return true;
}

/* "2 m 5 s"; valid until the next call. */
static const char *seconds_text(double seconds)
{
    static char words[48];
    int64_t s = seconds > 8e15 ? INT64_C(8000000000000000) : (int64_t)seconds;

    if (s >= 3600)
        snprintf(words, sizeof(words), "%" PRId64 " h %" PRId64 " m", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(words, sizeof(words), "%" PRId64 " m %" PRId64 " s", s / 60, s % 60);
    else
        snprintf(words, sizeof(words), "%" PRId64 " s", s);
    return words;
}

/* A lifecycle of a snapshot, to be sorted. */
struct line {
    const json_t *one;
};

/* Drawing: one text, a line each; the screen cuts what does not fit. */

static int by_name(const void *a, const void *b)
{
    return strcmp(text(((const struct line *)a)->one, "name"),
                  text(((const struct line *)b)->one, "name"));
}

static int by_rate(const void *a, const void *b)
{
    double left = json_real_value(json_object_get(((const struct line *)a)->one, "rate"));
    double right = json_real_value(json_object_get(((const struct line *)b)->one, "rate"));

    return left != right ? (left < right) - (left > right) : by_name(a, b);
}

static int by_queued(const void *a, const void *b)
{
    int64_t left = number(((const struct line *)a)->one, "queued");
    int64_t right = number(((const struct line *)b)->one, "queued");

    return left != right ? (left < right) - (left > right) : by_name(a, b);
}

static const char *rate_of(const json_t *one, const char *name)
{
    return cli_grouped((int64_t)(json_real_value(json_object_get(one, name)) + 0.5));
}

static void draw_head(struct top *top, struct screen *screen)
{
    const json_t *now = top->now;
    const json_t *queue = json_object_get(now, "queue");
    const json_t *paused = json_object_get(now, "paused");
    bool has_host = !json_is_null(json_object_get(now, "host"));
    time_t seconds = time(NULL);
    struct tm tm;
    char when[16] = "";
    double rate = json_real_value(json_object_get(now, "events_per_s"));

    if (localtime_r(&seconds, &tm) != NULL)
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
    screen_bold(screen);
    if (has_host)
        screen_line(
            screen, "%s  generation %" PRId64 "  host %" PRId64 "  %s%s  %s%s", text(now, "app"),
            number(now, "generation"), number(now, "host"),
            cli_counted((int64_t)json_array_size(json_object_get(now, "workers")), "worker"),
            json_is_true(json_object_get(now, "draining")) ? "  draining" : "", when,
            top->is_paused ? "  PAUSED" : "");
    else
        screen_line(screen, "%s  no host on this machine  %s%s", text(now, "app"), when,
                    top->is_paused ? "  PAUSED" : "");
    screen_line(screen, "%s events/s  %s new facts/s  %s", rate_of(now, "events_per_s"),
                rate_of(now, "facts_per_s"), cli_counted(facts_of(now), "fact"));
    screen_line(screen, "queue: %s ready  %s delayed  %s replays  %s%s",
                cli_grouped(number(queue, "ready")), cli_grouped(number(queue, "delayed")),
                cli_grouped(number(queue, "replays")),
                number(queue, "ready") + number(queue, "delayed") + number(queue, "replays") == 0
                    ? "fixpoint"
                : json_is_object(paused) ? "paused"
                : rate >= 1              ? "at least "
                                         : "working",
                number(queue, "ready") > 0 && rate >= 1 && !json_is_object(paused)
                    ? seconds_text((double)number(queue, "ready") / rate)
                    : "");
    if (json_is_object(paused)) {
        screen_alarm(screen);
        screen_line(screen, "the queue is paused by %s: %s", text(paused, "by"),
                    text(paused, "reason"));
    }
    if (number(queue, "dead") + number(queue, "discarded") > 0) {
        screen_alarm(screen);
        screen_line(screen, "%s dead, %s discarded: accrete queue says why",
                    cli_grouped(number(queue, "dead")), cli_grouped(number(queue, "discarded")));
    }
    if (text(now, "refused_reload")[0] != '\0') {
        screen_alarm(screen);
        screen_line(screen, "the last reload was refused: %s", text(now, "refused_reload"));
    }
}

static void draw_lifecycles(struct top *top, struct screen *screen, size_t most)
{
    static int (*const compare[])(const void *, const void *) = {by_name, by_rate, by_queued};
    const json_t *list = json_object_get(top->now, "lifecycles");
    size_t count = json_array_size(list);
    struct line *sorted = acc_alloc(count * sizeof(*sorted) + 1);

    for (size_t i = 0; i < count; i++)
        sorted[i].one = json_array_get(list, i);
    qsort(sorted, count, sizeof(*sorted), compare[top->order]);
    screen_line(screen, "%s", "");
    screen_bold(screen);
    screen_line(screen, "%-*s %9s %11s %11s %11s %11s %11s %7s", NAME_WIDTH, "lifecycle",
                "events/s", "queued", "found", "empty", "early", "late", "failed");
    for (size_t i = 0; i < count && i < most; i++) {
        const json_t *one = sorted[i].one;
        char numbers[6][32];
        static const char *const columns[] = {"queued", "found", "empty",
                                              "early",  "late",  "failed"};

        for (size_t c = 0; c < 6; c++)
            snprintf(numbers[c], sizeof(numbers[c]), "%s", cli_grouped(number(one, columns[c])));
        screen_line(screen, "%-*.*s %9s %11s %11s %11s %11s %11s %7s%s", NAME_WIDTH, NAME_WIDTH,
                    text(one, "name"), rate_of(one, "rate"), numbers[0], numbers[1], numbers[2],
                    numbers[3], numbers[4], numbers[5],
                    json_is_true(json_object_get(one, "active")) ? "" : "  removed");
    }
    if (count > most)
        screen_line(screen, "and %zu more", count - most);
    free(sorted);
}

static void draw_workers(struct top *top, struct screen *screen)
{
    const json_t *list = json_object_get(top->now, "workers");
    size_t i;
    json_t *one;

    if (json_array_size(list) == 0)
        return;
    screen_line(screen, "%s", "");
    screen_bold(screen);
    screen_line(screen, "%-8s %-8s %9s %11s %9s %8s %9s %7s  %s", "worker", "phase", "events/s",
                "new", "conflicts", "batch", "Lua", "deaths", "lifecycle");
    json_array_foreach(list, i, one)
    {
        screen_line(screen, "%-8" PRId64 " %-8s %9s %11s %9s %6.2f s %5.1f MiB %7s  %s%s",
                    number(one, "pid"), text(one, "phase"), rate_of(one, "rate"),
                    cli_grouped(number(one, "new")), cli_grouped(number(one, "conflicts")),
                    json_real_value(json_object_get(one, "batch_s")),
                    (double)number(one, "lua_bytes") / (1024 * 1024),
                    cli_grouped(number(one, "deaths")), text(one, "lifecycle"),
                    json_is_true(json_object_get(one, "quarantine")) ? " (quarantine)" : "");
    }
}

static void draw(struct top *top, struct screen *screen)
{
    size_t workers = json_array_size(json_object_get(top->now, "workers"));
    size_t rows = top->is_live ? screen_rows(screen) : ROWS_UNBOUND;
    /* Lifecycles give way to workers, but not below three. */
    size_t taken = 10 + workers;

    if (top->waits_for[0] != '\0' || top->now == NULL) {
        screen_bold(screen);
        screen_line(screen, "%s  %s", top->work.app.name, top->waits_for);
        return;
    }
    draw_head(top, screen);
    if (!top->work.has_tables) {
        screen_line(screen, "nothing is stored yet: accrete ingest loads facts");
        return;
    }
    draw_lifecycles(top, screen, rows > taken + 3 ? rows - taken : 3);
    draw_workers(top, screen);
}

/* Live and plain */

/* false: the person wants to go. */
static bool on_key(struct top *top, int key)
{
    if (key == 'q' || key == 'Q' || key == 3)
        return false;
    if (key == 'p' || key == 'P' || key == ' ')
        top->is_paused = !top->is_paused;
    if (key == 's' || key == 'S')
        top->order = (enum order)((top->order + 1) % ORDER_COUNT);
    return true;
}

static int live(struct top *top, int64_t interval_ms)
{
    struct screen screen;
    struct acc_error err;
    int64_t next_us = 0;
    int exit_code = CLI_DONE;
    int key = SCREEN_TIME;

    if (!screen_open(&screen, &err))
        return cli_fail(top->cli, &err);
    while (key != SCREEN_END && (key < 0 || on_key(top, key))) {
        if (clock_us() >= next_us) {
            if (!top->is_paused)
                (void)!take(top, &exit_code);
            next_us = clock_us() + interval_ms * 1000;
        }
        screen_begin(&screen);
        draw(top, &screen);
        screen_foot(&screen, "q ends  p %s  s sorts by %s", top->is_paused ? "goes on" : "pauses",
                    orders[top->order]);
        screen_show(&screen);
        key = screen_wait(&screen, (next_us - clock_us()) / 1000 + 1);
    }
    screen_close(&screen); /* a signal that ended us is raised again in here */
    return CLI_DONE;
}

static int plain(struct top *top, int64_t interval_ms, int64_t count)
{
    bool is_json = cli_has(top->cli, "json");
    struct timespec pause = {interval_ms / 1000, interval_ms % 1000 * 1000000};
    int exit_code = CLI_DONE;

    /* The first one has no rates: it is only there for the next. */
    if (!take(top, &exit_code))
        return exit_code;
    for (int64_t i = 0; count == 0 || i < count; i++) {
        nanosleep(&pause, NULL);
        if (!take(top, &exit_code))
            return exit_code;
        if (is_json) {
            exit_code = cli_print_json(top->cli, json_incref(top->now));
        } else {
            struct screen screen;
            screen_plain(&screen);
            draw(top, &screen);
            screen_line(&screen, "%s", "");
            screen_show(&screen);
            screen_close(&screen);
            exit_code = cli_flush(top->cli, CLI_DONE);
        }
        if (exit_code != CLI_DONE)
            return exit_code;
    }
    return CLI_DONE;
}

static int run(struct cli *cli)
{
    struct top top = {.cli = cli};
    int64_t interval_ms = cli_number(cli, "interval", INTERVAL_MS);
    int64_t count = cli_has(cli, "once") ? 1 : cli_number(cli, "count", 0);
    int exit_code;

    if (interval_ms < 50)
        return cli_misuse(cli, "--interval: wanted 50ms or more");
    if (!work_open(cli, &top.work, 0, &exit_code))
        return exit_code;
    top.is_live = count == 0 && !cli_has(cli, "json") && screen_is_terminal();
    exit_code = top.is_live ? live(&top, interval_ms) : plain(&top, interval_ms, count);
    json_decref(top.now);
    json_decref(top.before);
    work_close(&top.work);
    return exit_code;
}

const struct cli_command cli_top = {
    .name = "top",
    .summary = "shows rates, lifecycles, queue and workers live",
    .usage = "",
    .help =
        "Keys: q ends, p pauses, s sorts by name, rate or queue. Where stdout is no terminal,\n"
        "snapshots are printed one below the other. Without a host the live view waits for one.",
    .options =
        (const struct cli_option[]){
            {"once", '1', CLI_SWITCH, .help = "one snapshot, and out"},
            {"count", 'n', CLI_COUNT, "N", .min = 1, .max = INT64_MAX,
             .help = "as many snapshots, and out"},
            {"interval", 'i', CLI_TIME, "TIME", .help = "between two looks, 1s by default"},
            {"json", 0, CLI_SWITCH, .help = "a snapshot is one object on one line"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete top", "watch it"},
            {"accrete top --once", "how fast it is just now"},
            {"accrete top --json --interval 10s >> rates.ndjson", "for a plot"},
            {0},
        },
    .run = run,
};
