/* accrete status: how far it is, what failed, who works. */
#include "cli/status.h"
#include "base/clock.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/held.h"
#include "cli/work.h"
#include "figures.h"
#include "page.h"
#include "queue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DEAD_SHOWN 20
#define NAME_WIDTH 20

static const char *const phases[] = {"none", "start", "idle", "claim", "friends", "lua", "write"};

/* Reading. The result is one JSON object, which the text is made from too. */

static bool add_facts(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    static const char sql[] =
        "SELECT k.name, coalesce(sum(t.new), 0)::int8, coalesce(sum(t.contradictions), 0)::int8 "
        "FROM kind k LEFT JOIN tally_kind t ON t.kind = k.tag GROUP BY k.name ORDER BY k.name";
    PGresult *res = work_query(cli, work, sql, NULL, exit_code);
    json_t *facts = json_object();
    int64_t contradictions = 0;

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        json_object_set_new(facts, pg_get_text(res, r, 0), json_integer(pg_get_int8(res, r, 1)));
        contradictions += pg_get_int8(res, r, 2);
    }
    json_object_set_new(status, "facts", facts);
    json_object_set_new(status, "contradictions", json_integer(contradictions));
    PQclear(res);
    return res != NULL;
}

static bool add_lifecycles(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    static const char sql[] =
        "SELECT l.name, coalesce(k.name, '?'), l.active, l.generation, coalesce(sum(t.early), "
        "0)::int8, "
        "coalesce(sum(t.late), 0)::int8, coalesce(sum(t.empty), 0)::int8, coalesce(sum(t.found), "
        "0)::int8, "
        "coalesce(sum(t.failed), 0)::int8, coalesce(sum(t.retries), 0)::int8, "
        "(SELECT coalesce(sum(n), 0)::int8 FROM packet p WHERE p.lifecycle = l.id) "
        "FROM lifecycle l LEFT JOIN kind k ON k.tag = l.kind LEFT JOIN tally_lifecycle t ON "
        "t.lifecycle = l.id "
        "GROUP BY l.id, k.name ORDER BY l.name";
    static const char *const columns[] = {"early",  "late",    "empty", "found",
                                          "failed", "retries", "queued"};
    PGresult *res = work_query(cli, work, sql, NULL, exit_code);
    json_t *list = json_array();

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        json_t *one = json_pack("{s:s, s:s, s:b, s:i}", "name", pg_get_text(res, r, 0), "on",
                                pg_get_text(res, r, 1), "active", (int)pg_get_bool(res, r, 2),
                                "generation", (int)pg_get_int4(res, r, 3));
        int64_t done = 0;

        for (int c = 0; c < 7; c++) {
            json_object_set_new(one, columns[c], json_integer(pg_get_int8(res, r, 4 + c)));
            done += c < 4 ? pg_get_int8(res, r, 4 + c) : 0;
        }
        json_object_set_new(one, "done", json_integer(done));
        json_array_append_new(list, one);
    }
    json_object_set_new(status, "lifecycles", list);
    PQclear(res);
    return res != NULL;
}

static bool add_queue(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    struct queue_state state;
    struct acc_error err;

    if (!queue_state(&state, &work->session.pg, &err)) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    json_object_set_new(
        status, "queue",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "packets", (json_int_t)state.packets,
                  "ready", (json_int_t)state.ready, "quarantined", (json_int_t)state.quarantined,
                  "delayed", (json_int_t)state.delayed, "dead", (json_int_t)state.dead, "discarded",
                  (json_int_t)state.discarded, "replays", (json_int_t)state.replays, "orphaned",
                  (json_int_t)state.orphaned));
    return true;
}

static bool add_dead(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    static const char sql[] =
        "SELECT coalesce(l.name, p.lifecycle::text), coalesce(k.name, '?'), replace(p.fact::text, "
        "'-', ''), p.attempts, p.error, "
        "p.trace, to_char(p.last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
        "FROM parked p LEFT JOIN lifecycle l ON l.id = p.lifecycle LEFT JOIN kind k ON k.tag = "
        "l.kind "
        "WHERE p.state = 'dead' ORDER BY p.last_at DESC, p.lifecycle, p.fact LIMIT $1";
    struct pg_args args = {0};
    json_t *list = json_array();

    pg_int8(&args, DEAD_SHOWN);
    PGresult *res = work_query(cli, work, sql, &args, exit_code);
    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "lifecycle", pg_get_text(res, r, 0),
                      "kind", pg_get_text(res, r, 1), "fact", pg_get_text(res, r, 2), "attempts",
                      (int)pg_get_int4(res, r, 3), "error", pg_get_text(res, r, 4), "trace",
                      pg_get_text(res, r, 5), "last", pg_get_text(res, r, 6)));
    json_object_set_new(status, "dead", list);
    PQclear(res);
    return res != NULL;
}

static bool add_generation(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    PGresult *res =
        work_query(cli, work, "SELECT coalesce(max(id), 0) FROM generation", NULL, exit_code);

    if (res != NULL)
        json_object_set_new(status, "generation", json_integer(pg_get_int4(res, 0, 0)));
    PQclear(res);
    return res != NULL;
}

static bool add_tables(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    return add_generation(cli, work, status, exit_code) &&
           add_facts(cli, work, status, exit_code) &&
           add_lifecycles(cli, work, status, exit_code) &&
           add_queue(cli, work, status, exit_code) && add_dead(cli, work, status, exit_code);
}

/* Names of lifecycles by their numbers, which the shared page has. */
static json_t *read_names(struct cli *cli, struct work *work, int *exit_code)
{
    PGresult *res = work_query(cli, work, "SELECT id::text, name FROM lifecycle", NULL, exit_code);
    json_t *names = json_object();

    for (int r = 0; res != NULL && r < PQntuples(res); r++)
        json_object_set_new(names, pg_get_text(res, r, 0), json_string(pg_get_text(res, r, 1)));
    if (res == NULL) {
        json_decref(names);
        names = NULL;
    }
    PQclear(res);
    return names;
}

static json_t *name_of(json_t *names, int32_t id)
{
    char key[16];

    snprintf(key, sizeof(key), "%d", (int)id);
    json_t *name = json_object_get(names, key);
    return name == NULL ? json_null() : json_incref(name);
}

static json_t *worker_of(const struct page_slot *slot, json_t *names)
{
    uint32_t phase = slot->run.phase;
    int64_t now_us = clock_us();
    bool is_running = slot->lifecycle != 0;

    return json_pack("{s:i, s:i, s:b, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:f}",
                     "pid", (int)slot->pid, "generation", (int)slot->generation, "quarantine",
                     (int)(slot->is_quarantine != 0), "phase",
                     phase < sizeof(phases) / sizeof(phases[0]) ? phases[phase] : "?", "lifecycle",
                     name_of(names, slot->lifecycle), "events", (json_int_t)slot->events, "found",
                     (json_int_t)slot->found, "new", (json_int_t)slot->new_facts, "conflicts",
                     (json_int_t)slot->conflicts, "deaths", (json_int_t)slot->deaths, "last_exit",
                     figures_exit(&slot->last_exit), "rss_bytes",
                     (json_int_t)process_resident(slot->pid), "seen_bytes",
                     (json_int_t)slot->seen_bytes, "lua_bytes", (json_int_t)slot->lua_bytes,
                     "batch_s", is_running ? (double)(now_us - slot->batch_started_us) / 1e6 : 0.0);
}

static json_t *services_of(const struct page *page)
{
    json_t *list = json_array();

    for (size_t i = 0; page != NULL && i < PAGE_SERVICES; i++) {
        const struct page_service *service = &page->services[i];

        if (service->pid != 0)
            json_array_append_new(
                list, json_pack("{s:s, s:i, s:i, s:b, s:I}", "role", page_role_name(service->role),
                                "pid", (int)service->pid, "generation", (int)service->generation,
                                "ready", (int)service->is_ready, "rss_bytes",
                                (json_int_t)process_resident(service->pid)));
    }
    return list;
}

/* What a client on this machine calls; null when HTTP is off. */
static json_t *url_of(const struct app *app, const struct page *page)
{
    if (page == NULL || page->http_address[0] == '\0')
        return json_null();
    char *url = acc_format("%s://%s", app->settings.http.certificate == NULL ? "http" : "https",
                           page->http_address);
    json_t *value = json_string(url);
    free(url);
    return value;
}

/* From the shared page of this machine's host; nothing when there is none. */
static void add_host(const struct app *app, json_t *names, json_t *status)
{
    pid_t pid = app_host(app);
    struct acc_error err;
    const struct page *page = pid == 0 ? NULL : page_open(app->run_dir, &err);
    json_t *workers = json_array();

    for (size_t i = 0; page != NULL && i < PAGE_SLOTS; i++)
        if (page->slots[i].pid != 0)
            json_array_append_new(workers, worker_of(&page->slots[i], names));
    json_object_set_new(status, "host", page == NULL ? json_null() : json_integer(pid));
    json_object_set_new(status, "http",
                        page == NULL || page->http_address[0] == '\0'
                            ? json_null()
                            : json_string(page->http_address));
    json_object_set_new(status, "url", url_of(app, page));
    json_object_set_new(status, "draining", json_boolean(page != NULL && page->draining != 0));
    json_object_set_new(status, "refused_reload",
                        page == NULL || page->refused_text[0] == '\0'
                            ? json_null()
                            : json_string(page->refused_text));
    json_object_set_new(status, "workers", workers);
    json_object_set_new(status, "services", services_of(page));
    if (page != NULL)
        page_close(page);
}

bool status_read(struct cli *cli, struct work *work, json_t *status, int *exit_code)
{
    json_t *names = work->has_tables ? read_names(cli, work, exit_code) : json_object();

    if (names == NULL)
        return false;
    json_object_set_new(status, "at", figures_time(clock_wall_us()));
    add_host(&work->app, names, status);
    json_decref(names);
    if (!held_read(cli, work, status, exit_code))
        return false;
    return !work->has_tables || add_tables(cli, work, status, exit_code);
}

/* Text */

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void print_title(const char *words)
{
    bool is_bold = cli_is_coloured(stdout);

    printf("\n%s%s%s\n", is_bold ? "\033[1m" : "", words, is_bold ? "\033[0m" : "");
}

static void print_host(const json_t *status)
{
    char refused[512];

    printf("app %s in %s\n", text(status, "app"), text(status, "dir"));
    if (json_is_null(json_object_get(status, "host")))
        printf("no host runs on this machine; generation %" PRId64 "\n",
               number(status, "generation"));
    else
        printf("host pid %" PRId64 ", generation %" PRId64 ", %s%s\n", number(status, "host"),
               number(status, "generation"),
               cli_counted((int64_t)json_array_size(json_object_get(status, "workers")), "worker"),
               json_is_true(json_object_get(status, "draining")) ? ", draining" : "");
    if (text(status, "http") != NULL)
        printf("http on %s\n", text(status, "url"));
    if (text(status, "refused_reload") != NULL) {
        cli_first_line(text(status, "refused_reload"), refused, sizeof(refused));
        printf("the last reload was refused: %s\n", refused);
    }
    held_print(status);
}

static void print_facts(const json_t *status)
{
    const char *name;
    json_t *count;

    print_title("facts");
    json_object_foreach(json_object_get(status, "facts"), name, count)
    {
        printf("  %-*s %15s\n", NAME_WIDTH, name, cli_grouped(json_integer_value(count)));
    }
    if (number(status, "contradictions") > 0)
        printf("  %s came again with other values outside their unique fields; the first "
               "stayed\n",
               cli_counted(number(status, "contradictions"), "fact"));
}

static void print_lifecycles(const json_t *status)
{
    size_t i;
    json_t *one;

    print_title("lifecycles");
    printf("  %-*s %12s %12s %12s %12s %12s %8s %12s\n", NAME_WIDTH, "", "done", "early", "late",
           "empty", "found", "failed", "queued");
    json_array_foreach(json_object_get(status, "lifecycles"), i, one)
    {
        printf("  %-*s %12s", NAME_WIDTH, text(one, "name"), cli_grouped(number(one, "done")));
        printf(" %12s %12s %12s %12s %8s %12s%s\n", cli_grouped(number(one, "early")),
               cli_grouped(number(one, "late")), cli_grouped(number(one, "empty")),
               cli_grouped(number(one, "found")), cli_grouped(number(one, "failed")),
               cli_grouped(number(one, "queued")),
               json_is_true(json_object_get(one, "active")) ? "" : "  removed");
    }
}

static void print_queue(const json_t *status)
{
    static const char *const states[][2] = {
        {"ready", "events in packets"},
        {"quarantined", "of them after a worker died, run one by one"},
        {"delayed", "failed, tried again soon"},
        {"dead", "failed for good"},
        {"discarded", "given up by hand: results are incomplete"},
        {"replays", "parts of old facts that a new lifecycle has yet to see"},
        {"orphaned", "of lifecycles that were removed: they stay"},
    };
    const json_t *queue = json_object_get(status, "queue");

    print_title("queue");
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (i == 0 || number(queue, states[i][0]) != 0)
            printf("  %-*s %15s  %s\n", NAME_WIDTH, states[i][0],
                   cli_grouped(number(queue, states[i][0])), states[i][1]);
}

static void print_dead(const json_t *status)
{
    int64_t all = number(json_object_get(status, "queue"), "dead");
    char line[256];
    size_t i;
    json_t *one;

    if (all == 0)
        return;
    print_title("dead");
    json_array_foreach(json_object_get(status, "dead"), i, one)
    {
        cli_first_line(text(one, "error"), line, sizeof(line));
        printf("  %s:%s  %s, %s\n    %s\n", text(one, "lifecycle"), text(one, "fact"),
               text(one, "last"), cli_counted(number(one, "attempts"), "attempt"), line);
    }
    if (all > (int64_t)i)
        printf("  and %s more\n", cli_grouped(all - (int64_t)i));
}

static void print_workers(const json_t *status)
{
    size_t i;
    json_t *one;

    if (json_array_size(json_object_get(status, "workers")) == 0)
        return;
    print_title("workers");
    printf("  %-8s %-8s %15s %15s %15s %9s  %s\n", "pid", "phase", "events", "found", "new",
           "conflicts", "runs");
    json_array_foreach(json_object_get(status, "workers"), i, one)
    {
        const char *name = text(one, "lifecycle");

        printf("  %-8" PRId64 " %-8s %15s %15s %15s %9s  %s%s\n", number(one, "pid"),
               text(one, "phase"), cli_grouped(number(one, "events")),
               cli_grouped(number(one, "found")), cli_grouped(number(one, "new")),
               cli_grouped(number(one, "conflicts")), name == NULL ? "" : name,
               json_is_true(json_object_get(one, "quarantine")) ? " (quarantine)" : "");
    }
}

static void print_text(const json_t *status)
{
    print_host(status);
    if (!json_is_true(json_object_get(status, "has_tables"))) {
        printf("nothing is stored yet: accrete ingest loads facts, accrete run works on them\n");
        return;
    }
    print_facts(status);
    print_lifecycles(status);
    print_queue(status);
    print_dead(status);
    print_workers(status);
}

static int show(struct cli *cli, struct work *work)
{
    int exit_code = CLI_DONE;
    json_t *status = json_pack("{s:s, s:s, s:s, s:b}", "app", work->app.name, "dir", work->app.dir,
                               "schema", work->app.schema, "has_tables", (int)work->has_tables);

    if (!status_read(cli, work, status, &exit_code)) {
        json_decref(status);
        return exit_code;
    }
    if (cli_has(cli, "json"))
        return cli_print_json(cli, status);
    print_text(status);
    json_decref(status);
    return cli_flush(cli, CLI_DONE);
}

static int run(struct cli *cli)
{
    struct work work;
    int exit_code;

    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = show(cli, &work);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_status = {
    .name = "status",
    .summary = "shows facts, lifecycles, queue, dead events and workers",
    .usage = "",
    .help =
        "Works with a running host and without, and with an app whose modules are broken. An "
        "event\n"
        "is done early or late (an abort), empty or found; attempts that failed are counted apart.",
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "everything as one object"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete status", "how far it is"},
            {"accrete status --json", "the same for programs"},
            {0},
        },
    .run = run,
};
