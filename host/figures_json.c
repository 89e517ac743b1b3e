/* Documents of the whole: status, workers, generations, database. */
#include "figures.h"

#include "base/clock.h"
#include "base/process.h"
#include "worker.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOTICES_MOST 4

const char *const figures_state_names[STATES] = {
    "empty", "paused", "stalled", "not_converging", "converging", "fixpoint_except", "fixpoint"};

json_t *figures_number(double value)
{
    if (!isfinite(value))
        return json_null();
    if (value == 0 || fabs(value) < 1e-4)
        return json_integer(0);
    double scale = pow(10, 3 - floor(log10(fabs(value))));
    double rounded = scale < 1 ? round(value) : round(value * scale) / scale;
    if (rounded == floor(rounded) && fabs(rounded) < 9e15)
        return json_integer((json_int_t)rounded);
    return json_real(rounded);
}

json_t *figures_time(int64_t wall_us)
{
    char text[40];
    struct tm tm;
    time_t s = wall_us / 1000000;

    if (wall_us == 0 || gmtime_r(&s, &tm) == NULL)
        return json_null();
    size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + size, sizeof(text) - size, ".%03dZ", (int)(wall_us / 1000 % 1000));
    return json_string(text);
}

/* Notices, the gravest first */

static void notice(json_t *list, const char *level, const char *href, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void notice(json_t *list, const char *level, const char *href, const char *format, ...)
{
    char text[512];
    va_list args;

    if (json_array_size(list) == NOTICES_MOST)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s}", "level", level, "text", text, "href", href));
}

static void add_throttled(const struct figures *figures, json_t *list)
{
    char href[80];

    for (size_t i = 0; i < figures->reading.life_count; i++) {
        const struct life *life = &figures->reading.lives[i];
        if (life->throttle_per_s <= 0 || life->in_packets == 0)
            continue;
        snprintf(href, sizeof(href), "/ui/lifecycles/%s", life->name);
        notice(list, "info", href, "%s is throttled to %g events a second", life->name,
               life->throttle_per_s);
    }
}

static json_t *notices(const struct figures *figures, const struct totals *totals)
{
    json_t *list = json_array();
    struct worker_counts workers;

    figures_workers(figures, &workers);
    if (!figures->has_database)
        notice(list, "error", "/ui/workers", "The database does not answer");
    if (totals->dead > 0)
        notice(list, "error", "/ui/events?state=dead", "%" PRId64 " %s dead", totals->dead,
               totals->dead == 1 ? "event is" : "events are");
    if (workers.alive < workers.want)
        notice(list, "warning", "/ui/workers", "%d of %d workers are missing",
               workers.want - workers.alive, workers.want);
    if (figures->page->refused_text[0] != '\0')
        notice(list, "warning", "/ui/workers", "The last reload was refused: %.200s",
               figures->page->refused_text);
    if (workers.old > 0)
        notice(list, "warning", "/ui/workers", "%d of %d workers run an older generation",
               workers.old, workers.alive);
    if (totals->orphaned > 0)
        notice(list, "warning", "/ui/events?state=ready",
               "%" PRId64 " %s of lifecycles that were removed", totals->orphaned,
               totals->orphaned == 1 ? "event is" : "events are");
    if (totals->contradictions > 0)
        notice(list, "warning", "/ui/facts", "%" PRId64 " %s came again with other values",
               totals->contradictions, totals->contradictions == 1 ? "fact" : "facts");
    add_throttled(figures, list);
    return list;
}

static json_t *cycle_json(const struct figures *figures)
{
    const struct todo *todo = &figures->todo;
    json_t *names = json_array();

    if (todo->settles || todo->cycle_count == 0) {
        json_decref(names);
        return json_null();
    }
    for (size_t i = 0; i < todo->cycle_count; i++)
        json_array_append_new(names, json_string(figures->reading.lives[todo->cycle[i]].name));
    return json_pack("{s:o, s:o}", "lifecycles", names, "gain", figures_number(todo->gain));
}

static double progress(const struct figures *figures, const struct totals *totals)
{
    double done = (double)(totals->done - figures->rates->run_began_done);

    if (!figures->todo.settles || totals->facts == 0)
        return NAN;
    if (figures->todo.events == 0)
        return 1;
    return done / (done + figures->todo.events);
}

json_t *figures_status(const struct figures *figures)
{
    const struct rates *rates = figures->rates;
    struct totals totals;
    struct worker_counts workers;
    double done = recent_done(figures, -1);
    double early = recent_count(figures, -1, COUNT_EARLY);
    double fresh = recent_new(figures, -1, -1);
    double repeats = recent_repeats(figures, -1, -1);
    double raised = recent_raised(figures);
    double retries = recent_count(figures, -1, COUNT_RETRIES);
    json_t *status = json_object();

    figures_totals(figures, &totals);
    figures_workers(figures, &workers);
    double done_per_s = rates_per_s(rates, done);
    int64_t oldest_us =
        totals.oldest_born_us == 0 ? 0 : figures->reading.at_us - totals.oldest_born_us;
    json_object_set_new(status, "at", figures_time(figures->reading.at_us));
    json_object_set_new(status, "state", json_string(figures_state_names[figures->state]));
    json_object_set_new(status, "state_since", figures_time(rates->state_since_us));
    json_object_set_new(status, "paused",
                        !figures->control.is_paused
                            ? json_null()
                            : json_pack("{s:s?, s:s?, s:o}", "by", figures->control.who, "reason",
                                        figures->control.reason, "since",
                                        figures_time(figures->control.since_us)));
    json_object_set_new(status, "database", json_boolean(figures->has_database));
    json_object_set_new(status, "facts", json_integer(totals.facts));
    json_object_set_new(status, "facts_new_per_s", figures_number(rates_per_s(rates, fresh)));
    json_object_set_new(status, "done", json_integer(totals.done));
    json_object_set_new(status, "failed", json_integer(totals.failed));
    json_object_set_new(status, "done_per_s", figures_number(done_per_s));
    json_object_set_new(status, "raised_per_s", figures_number(rates_per_s(rates, raised)));
    json_object_set_new(
        status, "branching",
        figures_number(run_done_per_s(figures) >= 1 ? run_branching(figures) : NAN));
    json_object_set_new(
        status, "queue",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ready", (json_int_t)totals.ready,
                  "claimed", (json_int_t)totals.claimed, "delayed", (json_int_t)totals.delayed,
                  "dead", (json_int_t)totals.dead, "discarded", (json_int_t)totals.discarded,
                  "unread", (json_int_t)totals.unread, "orphaned", (json_int_t)totals.orphaned));
    json_object_set_new(status, "oldest_ready_ms",
                        totals.oldest_born_us == 0
                            ? json_null()
                            : json_integer(oldest_us > 0 ? oldest_us / 1000 : 0));
    json_object_set_new(status, "repeats_share",
                        figures_number(rates_share(repeats, fresh + repeats, 1e-9)));
    json_object_set_new(status, "conflict_share",
                        figures_number(rates_share(retries, rates->commits, 1e-9)));
    json_object_set_new(status, "commits_per_s",
                        figures_number(rates_per_s(rates, rates->commits)));
    json_object_set_new(status, "abort_early_share",
                        figures_number(rates_share(early, done, 1e-9)));
    json_object_set_new(status, "abort_late_calls_per_s",
                        figures_number(rates_per_s(rates, done - early)));
    json_object_set_new(
        status, "abort_late_share",
        figures_number(rates_share(recent_count(figures, -1, COUNT_LATE), done - early, 1e-9)));
    json_object_set_new(status, "todo", figures_number(figures->todo.events));
    json_object_set_new(status, "todo_settles", json_boolean(figures->todo.settles));
    json_object_set_new(status, "eta_s", figures_number(figures->todo.eta_s));
    json_object_set_new(status, "eta_low_s", figures_number(figures->eta_low_s));
    json_object_set_new(status, "eta_high_s", figures_number(figures->eta_high_s));
    json_object_set_new(status, "progress", figures_number(progress(figures, &totals)));
    json_object_set_new(status, "cycle", cycle_json(figures));
    json_object_set_new(status, "generation", json_integer(figures->reading.generation));
    json_object_set_new(status, "workers",
                        json_pack("{s:i, s:i, s:i}", "alive", workers.alive, "want", workers.want,
                                  "old", workers.old));
    json_object_set_new(status, "notices", notices(figures, &totals));
    json_object_set_new(status, "readonly",
                        json_boolean(figures->options->app->settings.http.readonly));
    json_object_set_new(status, "version", json_string(ACC_VERSION));
    return status;
}

/* Workers */

/* "killed by signal 9 (KILL)", "as asked" ... */
static void exit_text(const struct page_exit *exit, char *out, size_t size)
{
    const char *signal = sigabbrev_np(exit->signal);

    if (exit->stuck_ms > 0)
        snprintf(out, size, "stood still for %.1f s and was killed", (double)exit->stuck_ms / 1e3);
    else if (exit->signal != 0)
        snprintf(out, size, "killed by signal %d (%s)", (int)exit->signal,
                 signal == NULL ? "unknown" : signal);
    else if (exit->code == WORKER_DONE)
        snprintf(out, size, "as asked");
    else if (exit->code == WORKER_AGAIN)
        snprintf(out, size, "it lost its connection, or had done worker.batches_max batches");
    else if (exit->code == WORKER_STALE)
        snprintf(out, size, "its modules were no longer the current ones");
    else if (exit->code == WORKER_FAILED)
        snprintf(out, size, "it could not work, the log says why");
    else
        snprintf(out, size, "exit code %d", (int)exit->code);
}

json_t *figures_exit(const struct page_exit *exit)
{
    char text[120];

    if (exit->at_us == 0)
        return json_null();
    exit_text(exit, text, sizeof(text));
    return json_pack("{s:o, s:s, s:o}", "at", figures_time(exit->at_us), "text", text, "signal",
                     exit->signal == 0 ? json_null() : json_integer(exit->signal));
}

static double epoch_events_per_s(const struct figures *figures, const char *host, int32_t pid)
{
    const struct database *database = &figures->database;

    for (size_t w = 0; w < database->worker_count; w++) {
        if (database->workers[w].pid != pid || strcmp(database->workers[w].host, host) != 0)
            continue;
        for (size_t e = 0; e < RATES_EPOCHS; e++) {
            const struct rates_epoch *epoch = &figures->rates->epochs[e];
            if (epoch->id == database->workers[w].epoch && epoch->weight > 0)
                return epoch->events / epoch->weight;
        }
    }
    return NAN;
}

static json_t *batch_json(const struct figures *figures, const struct page_slot *slot)
{
    const struct life *life = figures_life(figures, (int16_t)slot->lifecycle);
    int64_t age_us = clock_us() - slot->batch_started_us;

    if (slot->packet_count == 0 || life == NULL)
        return json_null();
    return json_pack("{s:s, s:i, s:I}", "lifecycle", life->name, "size", (int)slot->batch_events,
                     "age_ms", (json_int_t)(age_us / 1000));
}

static json_t *local_worker(const struct figures *figures, size_t number, const char *host)
{
    static uint64_t beats[PAGE_SLOTS];
    static int64_t heard_us[PAGE_SLOTS];
    const struct page_slot *slot = &figures->page->slots[number];
    int64_t now_us = clock_us();
    bool is_old = figures_is_old(figures, slot);
    char id[80];

    if (beats[number] != slot->run.beat || heard_us[number] < slot->started_us) {
        beats[number] = slot->run.beat;
        heard_us[number] = now_us;
    }
    snprintf(id, sizeof(id), "%s-%zu", host, number);
    return json_pack("{s:s, s:s, s:i, s:s, s:i, s:b, s:o, s:o, s:I, s:o, s:o, s:o, s:I, s:I}", "id",
                     id, "host", host, "pid", (int)slot->pid, "state",
                     slot->retire != 0 || is_old      ? "draining"
                     : slot->is_paused != 0           ? "paused"
                     : slot->run.phase == PHASE_START ? "starting"
                     : slot->packet_count > 0         ? "working"
                                                      : "waiting",
                     "generation", (int)slot->generation, "quarantine",
                     (int)(slot->is_quarantine != 0), "batch", batch_json(figures, slot),
                     "events_per_s", figures_number(epoch_events_per_s(figures, host, slot->pid)),
                     "restarts", (json_int_t)slot->restarts, "last_exit",
                     figures_exit(&slot->last_exit), "rss_bytes",
                     json_integer(process_resident(slot->pid)), "lua_bytes",
                     slot->lua_bytes == 0 ? json_null() : json_integer((json_int_t)slot->lua_bytes),
                     "up_s", (json_int_t)((now_us - slot->started_us) / 1000000), "heard_ms",
                     (json_int_t)((now_us - heard_us[number]) / 1000));
}

/* Workers of other machines, as far as the database knows them. */
static void add_remote(const struct figures *figures, const char *host, json_t *list)
{
    const struct database *database = &figures->database;
    char id[80];

    for (size_t w = 0; w < database->worker_count; w++) {
        const struct database_worker *worker = &database->workers[w];
        if (strcmp(worker->host, host) == 0)
            continue;
        snprintf(id, sizeof(id), "%s-%d", worker->host, (int)worker->pid);
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:i, s:s, s:i, s:b, s:n, s:o, s:n, s:n, s:n, s:n, s:I, s:n}",
                      "id", id, "host", worker->host, "pid", (int)worker->pid, "state",
                      worker->generation == figures->reading.generation ? "working" : "draining",
                      "generation", (int)worker->generation, "quarantine", 0, "batch",
                      "events_per_s",
                      figures_number(epoch_events_per_s(figures, worker->host, worker->pid)),
                      "restarts", "last_exit", "rss_bytes", "lua_bytes", "up_s",
                      (json_int_t)((clock_wall_us() - worker->started_us) / 1000000), "heard_ms"));
    }
}

json_t *figures_workers_json(const struct figures *figures)
{
    char host[65] = "";
    json_t *list = json_array();

    gethostname(host, sizeof(host) - 1);
    for (size_t s = 0; s < PAGE_SLOTS; s++) {
        if (figures->page->slots[s].pid != 0)
            json_array_append_new(list, local_worker(figures, s, host));
    }
    add_remote(figures, host, list);
    return list;
}

/* Generations, newest first; a refused reload stands on top of them. */
json_t *figures_generations(const struct figures *figures)
{
    const struct page *page = figures->page;
    json_t *list = json_array();

    if (page->refused_text[0] != '\0')
        json_array_append_new(list, json_pack("{s:n, s:s, s:n, s:i, s:s, s:n}", "generation",
                                              "state", "refused", "at", "workers", 0, "error",
                                              page->refused_text, "sha256"));
    for (size_t g = 0; g < figures->generation_count; g++) {
        const struct generation_row *row = &figures->generations[g];
        int workers = 0;

        for (size_t s = 0; s < PAGE_SLOTS; s++)
            workers += page->slots[s].pid != 0 && page->slots[s].generation == row->id;
        json_array_append_new(list, json_pack("{s:i, s:s, s:o, s:i, s:n, s:s}", "generation",
                                              (int)row->id, "state",
                                              row->id == figures->reading.generation ? "current"
                                              : workers > 0                          ? "draining"
                                                                                     : "past",
                                              "at", figures_time(row->at_us), "workers", workers,
                                              "error", "sha256", row->sha));
    }
    return list;
}

json_t *figures_database(const struct figures *figures)
{
    const struct database *database = &figures->database;
    json_t *tables = json_array();

    for (size_t t = 0; t < database->table_count; t++) {
        const struct database_table *table = &database->tables[t];
        json_array_append_new(tables, json_pack("{s:s, s:I, s:I, s:I}", "name", table->name, "rows",
                                                (json_int_t)table->live, "dead_rows",
                                                (json_int_t)table->dead, "bytes",
                                                (json_int_t)table->bytes));
    }
    return json_pack(
        "{s:b, s:s, s:{s:I, s:I}, s:I, s:o, s:I, s:I, s:o, s:o, s:I, s:o, s:{s:I, s:I}, s:I, s:o}",
        "connected", (int)figures->has_database, "version", database->version, "connections",
        "used", (json_int_t)database->connections, "most", (json_int_t)database->connections_most,
        "longest_transaction_ms", (json_int_t)(database->oldest_us / 1000), "commits_per_s",
        figures_number(database->is_read ? database->commits_per_s : NAN), "rollbacks",
        (json_int_t)database->rollbacks, "deadlocks", (json_int_t)database->deadlocks,
        "serialization_failures_per_s",
        figures_number(rates_per_s(figures->rates, recent_count(figures, -1, COUNT_RETRIES))),
        "cache_share",
        figures_number(rates_share((double)database->blocks_hit,
                                   (double)(database->blocks_hit + database->blocks_read), 1)),
        "wal_bytes", (json_int_t)database->wal_bytes, "wal_bytes_per_s",
        figures_number(database->is_read ? database->wal_per_s : NAN), "buckets", "all",
        (json_int_t)database->buckets, "owned", (json_int_t)database->buckets_owned, "bytes",
        (json_int_t)database->bytes, "tables", tables);
}
