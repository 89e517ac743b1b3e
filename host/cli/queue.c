/* accrete queue: what waits, what failed and why, and the two things to do about it. */
#include "cli/commands.h"
#include "cli/work.h"
#include "parked.h"
#include "schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_SHOWN 50
#define LIST_DEFAULT 100
#define TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value == NULL ? "" : value;
}

/*
 * One JSON object a row: names says the columns, each a text but for those that begin with #, which
 * are int8.
 */
static json_t *objects(const PGresult *res, const char *const *names)
{
    json_t *list = json_array();

    for (int r = 0; r < PQntuples(res); r++) {
        json_t *one = json_object();

        for (int c = 0; names[c] != NULL; c++) {
            bool is_number = names[c][0] == '#';
            json_t *value = PQgetisnull(res, r, c) ? json_null()
                            : is_number            ? json_integer(pg_get_int8(res, r, c))
                                                   : json_string(pg_get_text(res, r, c));
            json_object_set_new(one, names[c] + is_number, value);
        }
        json_array_append_new(list, one);
    }
    return list;
}

static bool read_list(struct cli *cli, struct work *work, const char *sql,
                      const struct pg_args *args, const char *const *names, json_t **list,
                      int *exit_code)
{
    PGresult *res = work_query(cli, work, sql, args, exit_code);

    if (res == NULL)
        return false;
    *list = objects(res, names);
    PQclear(res);
    return true;
}

static struct parked_filter filter_of(const struct cli *cli)
{
    return (struct parked_filter){.lifecycle = cli_value(cli, "lifecycle"),
                                  .state = cli_value(cli, "state"),
                                  .group = cli_value(cli, "group")};
}

/* Overview */

static bool read_overview(struct cli *cli, struct work *work, json_t *all, int *exit_code)
{
    static const char ready[] =
        "SELECT l.name, p.bucket::int8, count(*), sum(p.n)::int8, coalesce(sum(p.n) FILTER (WHERE "
        "p.tries > 0), 0)::int8, " TIME(
            "min(p.born)") ", CASE WHEN l.active THEN 'active' ELSE 'removed' END "
                           "FROM packet p JOIN lifecycle l ON l.id = p.lifecycle "
                           "WHERE ($1::text IS NULL OR l.name = $1) "
                           "GROUP BY l.name, l.active, p.bucket ORDER BY l.name, p.bucket";
    static const char *const ready_names[] = {"lifecycle",    "#bucket", "#packets", "#events",
                                              "#quarantined", "oldest",  "is",       NULL};
    static const char parked[] =
        "SELECT l.name, p.state, count(*), " TIME("min(p.ready_at)") ", " TIME(
            "max(p.last_at)") " FROM parked p JOIN lifecycle l ON l.id = p.lifecycle "
                              "WHERE " PARKED_WHERE
                              " GROUP BY l.name, p.state ORDER BY l.name, p.state";
    static const char *const parked_names[] = {"lifecycle",  "state", "#events",
                                               "next_retry", "last",  NULL};
    static const char groups[] =
        "SELECT " PARKED_GROUP ", l.name, p.state, " PARKED_SIGNATURE ", count(*), " TIME(
            "min(p.first_at)") ", " TIME("max(p.last_at)") ", (array_agg(replace(p.fact::text, "
                                                           "'-', '') ORDER BY p.fact))[1] "
                                                           "FROM parked p JOIN lifecycle l ON l.id "
                                                           "= p.lifecycle WHERE " PARKED_WHERE
                                                           " AND ($2::text IS NOT NULL OR p.state "
                                                           "= 'dead') "
                                                           "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, "
                                                           "1 LIMIT 1000";
    static const char *const group_names[] = {
        "group", "lifecycle", "state", "signature", "#events", "first", "last", "example", NULL};
    struct parked_filter filter = filter_of(cli);
    struct pg_args lifecycle = {0};
    struct pg_args args = {0};
    json_t *lists[3] = {NULL};

    pg_text(&lifecycle, filter.lifecycle);
    parked_args(&filter, &args, NULL, NULL);
    bool ok = read_list(cli, work, ready, &lifecycle, ready_names, &lists[0], exit_code) &&
              read_list(cli, work, parked, &args, parked_names, &lists[1], exit_code) &&
              read_list(cli, work, groups, &args, group_names, &lists[2], exit_code);
    json_object_set_new(all, "ready", lists[0] == NULL ? json_null() : lists[0]);
    json_object_set_new(all, "parked", lists[1] == NULL ? json_null() : lists[1]);
    json_object_set_new(all, "groups", lists[2] == NULL ? json_null() : lists[2]);
    return ok;
}

static void print_title(const char *words)
{
    bool is_bold = cli_is_coloured(stdout);

    printf("%s%s%s\n", is_bold ? "\033[1m" : "", words, is_bold ? "\033[0m" : "");
}

static void print_ready(const json_t *list)
{
    size_t i;
    json_t *one;

    if (json_array_size(list) == 0)
        return;
    print_title("ready: events in packets");
    printf("  %-24s %6s %9s %13s  %s\n", "lifecycle", "bucket", "packets", "events", "oldest");
    json_array_foreach(list, i, one)
    {
        printf("  %-24s %6" PRId64 " %9s %13s  %s%s", text(one, "lifecycle"), number(one, "bucket"),
               cli_grouped(number(one, "packets")), cli_grouped(number(one, "events")),
               text(one, "oldest"),
               strcmp(text(one, "is"), "removed") == 0 ? "  lifecycle removed" : "");
        if (number(one, "quarantined") > 0)
            printf("  %s in quarantine", cli_grouped(number(one, "quarantined")));
        putchar('\n');
    }
}

static void print_parked(const json_t *list)
{
    size_t i;
    json_t *one;

    if (json_array_size(list) == 0)
        return;
    print_title("parked: events that failed");
    printf("  %-24s %-10s %13s  %s\n", "lifecycle", "state", "events", "last");
    json_array_foreach(list, i, one)
    {
        bool waits = strcmp(text(one, "state"), "delayed") == 0;

        printf("  %-24s %-10s %13s  %s%s%s\n", text(one, "lifecycle"), text(one, "state"),
               cli_grouped(number(one, "events")), text(one, "last"),
               waits ? ", tried again at " : "", waits ? text(one, "next_retry") : "");
    }
}

static void print_groups(const json_t *list)
{
    char line[400];
    size_t i;
    json_t *one;

    if (json_array_size(list) == 0)
        return;
    print_title("why: groups of like errors (N a number, ID an id, * a text)");
    json_array_foreach(list, i, one)
    {
        if (i == GROUPS_SHOWN)
            break;
        cli_first_line(text(one, "signature"), line, sizeof(line));
        printf("  %s  %s %s %s, last %s\n    %s\n    as in %s:%s\n", text(one, "group"),
               text(one, "lifecycle"), cli_grouped(number(one, "events")), text(one, "state"),
               text(one, "last"), line, text(one, "lifecycle"), text(one, "example"));
    }
    if (json_array_size(list) > GROUPS_SHOWN)
        printf("  and %zu groups more: --json has them\n", json_array_size(list) - GROUPS_SHOWN);
}

static int overview(struct cli *cli, struct work *work)
{
    json_t *all = json_pack("{s:[], s:[], s:[]}", "ready", "parked", "groups");
    int exit_code;

    if (work->has_tables && !read_overview(cli, work, all, &exit_code)) {
        json_decref(all);
        return exit_code;
    }
    if (cli_has(cli, "json"))
        return cli_print_json(cli, all);
    print_ready(json_object_get(all, "ready"));
    print_parked(json_object_get(all, "parked"));
    print_groups(json_object_get(all, "groups"));
    if (json_array_size(json_object_get(all, "ready")) +
            json_array_size(json_object_get(all, "parked")) ==
        0)
        cli_note(cli, "nothing is queued and nothing parked");
    json_decref(all);
    return cli_flush(cli, CLI_DONE);
}

/* Events one by one */

#define EVENT_COLUMNS                                                                              \
    "l.name, replace(p.fact::text, '-', ''), coalesce(k.name, '?'), p.state, p.attempts::int8, "   \
    "p.generation::int8, p.bucket::int8, " TIME("p.first_at") ", " TIME("p.last_at") ", " TIME(    \
        "p.ready_at") ", " PARKED_GROUP ", p.error, p.trace "
#define EVENT_FROM                                                                                 \
    "FROM parked p JOIN lifecycle l ON l.id = p.lifecycle LEFT JOIN kind k ON k.tag = l.kind "
static const char *const event_names[] = {"lifecycle",   "fact",    "kind",  "state", "#attempts",
                                          "#generation", "#bucket", "first", "last",  "ready_at",
                                          "group",       "error",   "trace", NULL};

static int list(struct cli *cli, struct work *work)
{
    static const char sql[] = "SELECT " EVENT_COLUMNS EVENT_FROM "WHERE " PARKED_WHERE
                              " ORDER BY p.last_at DESC, p.lifecycle, p.fact LIMIT $6";
    struct parked_filter filter = filter_of(cli);
    struct pg_args args = {0};
    json_t *events = NULL;
    char line[200];
    int exit_code;
    size_t i;
    json_t *one;

    parked_args(&filter, &args, NULL, NULL);
    pg_int8(&args, cli_number(cli, "limit", LIST_DEFAULT));
    if (!work->has_tables)
        events = json_array();
    else if (!read_list(cli, work, sql, &args, event_names, &events, &exit_code))
        return exit_code;
    if (cli_has(cli, "json"))
        return cli_print_json(cli, events);
    json_array_foreach(events, i, one)
    {
        cli_first_line(text(one, "error"), line, sizeof(line));
        printf("%s:%s  %s  %s  %s\n", text(one, "lifecycle"), text(one, "fact"), text(one, "state"),
               text(one, "last"), line);
    }
    json_decref(events);
    return cli_flush(cli, CLI_DONE);
}

/*
 * The fact of an event as JSON, or null: facts are permanent, but the module of its kind may be
 * gone.
 */
static json_t *fact_of(struct cli *cli, struct work *work, const char *kind, const uint8_t *id)
{
    struct buf sql = {0};
    struct pg_args args = {0};
    char *table = acc_format("fact_%s", kind);
    struct acc_error err;
    json_t *fact = json_null();

    (void)cli;
    buf_text(&sql, "SELECT (to_jsonb(f) - '{_id,_batch,_data,_friends}'::text[])::text FROM ");
    pg_identifier(&sql, table);
    buf_text(&sql, " f WHERE _id = $1");
    pg_uuid(&args, id);
    PGresult *res = pg_exec(&work->session.pg, sql.data, &args, &err);
    if (res != NULL && PQntuples(res) > 0)
        fact = json_loads(pg_get_text(res, 0, 0), JSON_DECODE_ANY, NULL);
    PQclear(res);
    free(table);
    buf_clear(&sql);
    return fact;
}

static void print_event(const json_t *event)
{
    static const struct {
        const char *title, *name;
        bool is_number;
    } lines[] = {{"state", "state", false},      {"attempts", "attempts", true},
                 {"kind", "kind", false},        {"generation", "generation", true},
                 {"bucket", "bucket", true},     {"first failed", "first", false},
                 {"last failed", "last", false}, {"ready at", "ready_at", false},
                 {"group", "group", false}};
    char *fact = json_dumps(json_object_get(event, "data"), JSON_COMPACT | JSON_ENCODE_ANY);

    printf("%s:%s\n", text(event, "lifecycle"), text(event, "fact"));
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        if (lines[i].is_number)
            printf("  %-13s %" PRId64 "\n", lines[i].title, number(event, lines[i].name));
        else
            printf("  %-13s %s\n", lines[i].title, text(event, lines[i].name));
    }
    printf("  %-13s %s\nerror\n%s\ntraceback\n%s\n", "fact", fact == NULL ? "?" : fact,
           text(event, "error"), text(event, "trace"));
    free(fact);
}

static int show(struct cli *cli, struct work *work)
{
    static const char sql[] = "SELECT " EVENT_COLUMNS EVENT_FROM "WHERE " PARKED_WHERE;
    struct parked_key key;
    struct parked_filter filter = {.keys = &key, .key_count = 1};
    struct buf lifecycles = {0};
    struct buf facts = {0};
    struct pg_args args = {0};
    struct acc_error err;
    json_t *events = NULL;
    int exit_code = CLI_FAILED;

    if (!parked_find(&work->session.pg, cli->argv[1], &key, &err))
        return cli_fail(cli, &err);
    parked_args(&filter, &args, &lifecycles, &facts);
    bool ok = read_list(cli, work, sql, &args, event_names, &events, &exit_code);
    buf_clear(&lifecycles);
    buf_clear(&facts);
    if (!ok)
        return exit_code;
    json_t *event = json_incref(json_array_get(events, 0));
    json_decref(events);
    if (event == NULL) {
        acc_fail(&err, ACC_EINPUT, "\"%s\": it has just been done", cli->argv[1]);
        return cli_fail(cli, &err);
    }
    json_object_set_new(event, "data", fact_of(cli, work, text(event, "kind"), key.fact));
    if (cli_has(cli, "json"))
        return cli_print_json(cli, event);
    print_event(event);
    json_decref(event);
    return cli_flush(cli, CLI_DONE);
}

static int log_of(struct cli *cli, struct work *work)
{
    static const char there[] = "SELECT to_regclass('audit') IS NOT NULL";
    static const char sql[] = "SELECT id, " TIME(
        "at") ", who, act, what, reason, result FROM audit ORDER BY id DESC LIMIT $1";
    static const char *const names[] = {"#id",  "at",     "who",    "act",
                                        "what", "reason", "result", NULL};
    struct pg_args args = {0};
    json_t *rows = NULL;
    int exit_code;
    size_t i;
    json_t *one;

    PGresult *res = work_query(cli, work, there, NULL, &exit_code);
    if (res == NULL)
        return exit_code;
    bool has_audit = pg_get_bool(res, 0, 0);
    PQclear(res);
    pg_int8(&args, cli_number(cli, "limit", LIST_DEFAULT));
    if (!has_audit)
        rows = json_array();
    else if (!read_list(cli, work, sql, &args, names, &rows, &exit_code))
        return exit_code;
    if (cli_has(cli, "json"))
        return cli_print_json(cli, rows);
    json_array_foreach(rows, i, one)
    {
        printf("%" PRId64 "  %s  %s  %s %s: %s, because %s\n", number(one, "id"), text(one, "at"),
               text(one, "who"), text(one, "act"), text(one, "what"), text(one, "result"),
               text(one, "reason"));
    }
    json_decref(rows);
    return cli_flush(cli, CLI_DONE);
}

/* Retry and discard */

/* The choice in words, for the audit. */
static char *words_of(struct cli *cli)
{
    static const char *const options[] = {"lifecycle", "state", "group"};
    struct buf words = {0};

    for (int i = 1; i < cli->argc; i++)
        buf_printf(&words, "%s%s", words.size == 0 ? "" : " ", cli->argv[i]);
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (cli_value(cli, options[i]) != NULL)
            buf_printf(&words, "%s%s=%s", words.size == 0 ? "" : " ", options[i],
                       cli_value(cli, options[i]));
    return words.data;
}

static int change(struct cli *cli, struct work *work, struct parked_act *act)
{
    int64_t count = 0;
    int64_t audit_id = 0;
    struct acc_error err;
    const char *verb = act->is_retry ? "retried" : "discarded";

    if (!parked_change(&work->session.pg, act, &count, &audit_id, &err))
        return cli_fail(cli, &err);
    if (!act->is_retry)
        cli_note(cli, "discarded events are never run: what would have followed from their facts "
                      "is missing, and results are incomplete until they are retried");
    if (act->is_retry && app_host(&work->app) == 0)
        cli_note(cli, "no host of this app runs on this machine: accrete run takes them up");
    if (cli_has(cli, "json"))
        return cli_print_json(cli, json_pack("{s:s, s:I, s:I}", "act",
                                             act->is_retry ? "retry" : "discard", "events",
                                             (json_int_t)count, "audit", (json_int_t)audit_id));
    printf("%s event%s %s, audit %" PRId64 "\n", cli_grouped(count), count == 1 ? "" : "s", verb,
           audit_id);
    return cli_flush(cli, CLI_DONE);
}

/* Without --expect the number is asked for on a terminal, and wanted elsewhere. */
static bool agree(struct cli *cli, const struct parked_act *act, int64_t count, int *exit_code)
{
    char answer[16] = "";
    struct acc_error err;

    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
        fprintf(stderr, "%s %s events of %s? [y/N] ", act->is_retry ? "retry" : "discard",
                cli_grouped(count), act->what);
        if (fgets(answer, sizeof(answer), stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
            return true;
        acc_fail(&err, ACC_EINPUT, "nothing was changed");
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    *exit_code =
        cli_misuse(cli, "%s events would be changed; say --expect %" PRId64 " if that is right",
                   cli_grouped(count), count);
    return false;
}

static int choose_and_change(struct cli *cli, struct work *work, bool is_retry, char *words)
{
    struct parked_key *keys = acc_alloc((uint64_t)cli->argc * sizeof(*keys));
    struct parked_filter filter = filter_of(cli);
    struct parked_act act = {.filter = &filter,
                             .is_retry = is_retry,
                             .what = words,
                             .reason = cli_value(cli, "reason"),
                             .expect = cli_number(cli, "expect", -1)};
    struct acc_error err;
    int exit_code = CLI_FAILED;
    bool ok = true;
    int64_t count;

    for (int i = 1; ok && i < cli->argc; i++)
        ok = parked_find(&work->session.pg, cli->argv[i], &keys[filter.key_count++], &err);
    filter.keys = keys;
    if (filter.key_count == 0 && filter.state == NULL)
        filter.state = "dead";
    if (!ok || !parked_count(&work->session.pg, &filter, is_retry, &count, &err))
        exit_code = cli_fail(cli, &err);
    else if (count == 0 && act.expect != 0) {
        acc_fail(&err, ACC_EINPUT, "no event of %s can be %s%s", words,
                 is_retry ? "retried" : "discarded",
                 is_retry ? ": wanted dead, delayed or discarded ones of a lifecycle that is there"
                          : ": wanted dead or delayed ones");
        exit_code = cli_fail(cli, &err);
    } else if (act.expect >= 0)
        exit_code = change(cli, work, &act);
    else if (filter.key_count > 0 || agree(cli, &act, count, &exit_code)) {
        act.expect = count;
        exit_code = change(cli, work, &act);
    }
    free(keys);
    return exit_code;
}

static int act(struct cli *cli, struct work *work, bool is_retry)
{
    struct acc_error err;
    char *words = words_of(cli);
    int exit_code;

    if (!schema_base(&work->session.pg, work->app.schema, &err)) /* an older one has no audit */
        exit_code = cli_fail(cli, &err);
    else
        exit_code = choose_and_change(cli, work, is_retry, words);
    free(words);
    return exit_code;
}

/* The command */

enum verb { VERB_OVERVIEW, VERB_LIST, VERB_SHOW, VERB_RETRY, VERB_DISCARD, VERB_LOG, VERB_COUNT };

static const struct {
    const char *name;
    int argc_min, argc_max; /* with the verb itself; -1: any number */
} verbs[] = {[VERB_OVERVIEW] = {"overview", 1, 1}, [VERB_LIST] = {"list", 1, 1},
             [VERB_SHOW] = {"show", 2, 2},         [VERB_RETRY] = {"retry", 1, -1},
             [VERB_DISCARD] = {"discard", 1, -1},  [VERB_LOG] = {"log", 1, 1}};

static bool check_change(struct cli *cli)
{
    bool has_filter = cli_has(cli, "lifecycle") || cli_has(cli, "state") || cli_has(cli, "group");

    if (!cli_has(cli, "reason"))
        cli_misuse(cli, "wanted --reason: it is kept with your name");
    else if (cli->argc == 1 && !has_filter)
        cli_misuse(cli, "wanted events, --group, --lifecycle or --state");
    else if (cli->argc > 1 && has_filter)
        cli_misuse(cli, "wanted events or --group, --lifecycle, --state, got both");
    else
        return true;
    return false;
}

/* Which verb the arguments begin with; VERB_COUNT: misuse, printed. */
static enum verb verb_of(struct cli *cli)
{
    enum verb verb = VERB_OVERVIEW;

    if (cli->argc == 0)
        return verb;
    while (verb < VERB_COUNT && strcmp(verbs[verb].name, cli->argv[0]) != 0)
        verb++;
    if (verb == VERB_COUNT)
        cli_misuse(cli, "wanted list, show, retry, discard or log, got \"%s\"", cli->argv[0]);
    else if (cli->argc < verbs[verb].argc_min)
        cli_misuse(cli, "%s: wanted an event as LIFECYCLE:FACTID", verbs[verb].name);
    else if (verbs[verb].argc_max >= 0 && cli->argc > verbs[verb].argc_max)
        cli_misuse(cli, "%s: got also \"%s\"", verbs[verb].name, cli->argv[verbs[verb].argc_max]);
    else if ((verb != VERB_RETRY && verb != VERB_DISCARD) || check_change(cli))
        return verb;
    return VERB_COUNT;
}

static int without_tables(struct cli *cli)
{
    struct acc_error err;

    acc_fail(&err, ACC_EINPUT, "nothing is stored yet, so no event is parked");
    return cli_fail(cli, &err);
}

static int run_verb(struct cli *cli, struct work *work, enum verb verb)
{
    switch (verb) {
    case VERB_LIST:
        return list(cli, work);
    case VERB_SHOW:
        return work->has_tables ? show(cli, work) : without_tables(cli);
    case VERB_RETRY:
    case VERB_DISCARD:
        return work->has_tables ? act(cli, work, verb == VERB_RETRY) : without_tables(cli);
    case VERB_LOG:
        return log_of(cli, work);
    default:
        return overview(cli, work);
    }
}

static int run(struct cli *cli)
{
    enum verb verb = verb_of(cli);
    bool writes = verb == VERB_RETRY || verb == VERB_DISCARD;
    struct work work;
    int exit_code;

    if (verb == VERB_COUNT)
        return CLI_MISUSE;
    if (!work_open(cli, &work, 0, &exit_code))
        return exit_code;
    if (work_connect(cli, &work, writes ? 0 : WORK_READ, &exit_code))
        exit_code = run_verb(cli, &work, verb);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_queue = {
    .name = "queue",
    .summary = "shows what waits and what failed; retries and discards",
    .usage = "[list | show EVENT | retry [EVENT...] | discard [EVENT...] | log]",
    .help =
        "Without a verb: packets by lifecycle and bucket, parked events by state, dead ones by\n"
        "like errors. An EVENT is LIFECYCLE:FACTID; the first digits will do when no other parked\n"
        "event begins so. A failed event is delayed and tried again until it is dead.\n"
        "\n"
        "retry gives events one more try now; discard gives them up, so that results stay\n"
        "incomplete. Both take events, or a choice by --group, --lifecycle and --state (dead "
        "ones,\n"
        "unless told otherwise), and want a --reason, which is kept with your name (log). A\n"
        "choice also wants its number confirmed: by --expect, or asked on a terminal.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"list", CLI_TEXT, "parked events one by one, newest first"},
            {"show EVENT", CLI_TEXT, "one event: error, traceback, attempts, times, its fact"},
            {"retry", CLI_TEXT, "tries events again now"},
            {"discard", CLI_TEXT, "gives events up"},
            {"log", CLI_TEXT, "who changed what, and why"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"lifecycle", 'l', CLI_TEXT, "NAME", .help = "of this lifecycle only"},
            {"state", 's', CLI_WORD, "STATE", .words = "delayed queued dead discarded",
             .help = "parked events in this state only"},
            {"group", 'g', CLI_TEXT, "GROUP", .help = "of this group of like errors only"},
            {"limit", 'n', CLI_COUNT, "N", .min = 1, .max = 1000000,
             .help = "list and log: no more than these, 100 by default"},
            {"reason", 'r', CLI_TEXT, "TEXT", .help = "retry and discard: why"},
            {"expect", 0, CLI_COUNT, "N", .min = 0, .max = INT64_MAX,
             .help = "retry and discard: changes nothing unless it is N events"},
            {"json", 0, CLI_SWITCH, .help = "the same for programs"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete queue", "what waits, what failed and why"},
            {"accrete queue show fold_up:3f5a12", "one failed event with its traceback"},
            {"accrete queue retry --group 9c1f03ab --expect 12 --reason \"fixed in generation 4\"",
             "the twelve that failed alike"},
            {"accrete queue discard fold_up:3f5a12 --reason \"a broken line of the input\"",
             "gives one up"},
            {0},
        },
    .run = run,
};
