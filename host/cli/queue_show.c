/* accrete queue: what waits, what failed and why, and who changed what. */
#include "cli/queue_verbs.h"

#include "cli/held.h"
#include "schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

/*
 * Tables of an older version have no signatures: for this session a view stands in front of them, in which like errors
 * are equal ones. Reading changes no tables.
 */
bool queue_bridge(struct cli *cli, struct work *work, int *exit_code)
{
    static const char there[] = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = "
                                "to_regclass('parked') AND attname = 'signature')";
    struct pg_args none = {0};
    struct buf sql = {0};
    struct acc_error err;

    PGresult *res = work_query(cli, work, there, &none, exit_code);
    if (res == NULL)
        return false;
    bool has_signature = pg_get_bool(res, 0, 0);
    PQclear(res);
    if (has_signature)
        return true;
    buf_text(&sql, "BEGIN READ WRITE; CREATE TEMP VIEW parked AS SELECT *, "
                   "left(split_part(error, E'\\n', 1), 400) AS signature FROM ");
    pg_identifier(&sql, work->app.schema);
    buf_text(&sql, ".parked; COMMIT");
    bool ok = pg_do(&work->session.pg, sql.data, NULL, &err);
    buf_clear(&sql);
    if (!ok)
        *exit_code = cli_fail(cli, &err);
    return ok;
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
    static const char groups[] = "SELECT " PARKED_GROUP ", l.name, p.state, " PARKED_SIGNATURE
                                 ", count(*), " TIME("min(p.first_at)") ", " TIME(
                                     "max(p.last_at)") ", (array_agg(replace(p.fact::text, "
                                                       "'-', '') ORDER BY p.last_at DESC, "
                                                       "p.fact))[1], " PARKED_MESSAGE
                                                       " FROM parked p JOIN lifecycle l ON l.id "
                                                       "= p.lifecycle WHERE " PARKED_WHERE
                                                       " AND ($2::text IS NOT NULL OR p.state "
                                                       "= 'dead') "
                                                       "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, "
                                                       "1 LIMIT 1000";
    static const char *const group_names[] = {"group",   "lifecycle", "state", "signature",
                                              "#events", "first",     "last",  "example",
                                              "message", NULL};
    struct parked_filter filter = queue_filter(cli);
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
    char message[400];
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
        cli_first_line(text(one, "message"), message, sizeof(message));
        printf("  %s  %s %s %s, last %s\n    %s\n    as in %s:%s: %s\n", text(one, "group"),
               text(one, "lifecycle"), cli_grouped(number(one, "events")), text(one, "state"),
               text(one, "last"), line, text(one, "lifecycle"), text(one, "example"), message);
    }
    if (json_array_size(list) > GROUPS_SHOWN)
        printf("  and %s more: --json has them\n",
               cli_counted((int64_t)json_array_size(list) - GROUPS_SHOWN, "group"));
}

int queue_overview(struct cli *cli, struct work *work)
{
    json_t *all = json_pack("{s:n, s:[], s:[], s:[], s:[]}", "paused", "throttles", "ready",
                            "parked", "groups");
    int exit_code;

    if (!held_read(cli, work, all, &exit_code) ||
        (work->has_tables && !read_overview(cli, work, all, &exit_code))) {
        json_decref(all);
        return exit_code;
    }
    if (cli_has(cli, "json"))
        return cli_print_json(cli, all);
    held_print(all);
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

int queue_list(struct cli *cli, struct work *work)
{
    static const char sql[] = "SELECT " EVENT_COLUMNS EVENT_FROM "WHERE " PARKED_WHERE
                              " ORDER BY p.last_at DESC, p.lifecycle, p.fact LIMIT $6";
    struct parked_filter filter = queue_filter(cli);
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

int queue_show(struct cli *cli, struct work *work)
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

int queue_log(struct cli *cli, struct work *work)
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
        const char *what = text(one, "what");
        size_t size = strlen(what);
        bool has_what = size > 0 && strncmp(text(one, "act"), what, size) != 0; /* queue pause */
        bool has_reason = text(one, "reason")[0] != '\0';

        printf("%" PRId64 "  %s  %s  %s%s%s: %s%s%s\n", number(one, "id"), text(one, "at"),
               text(one, "who"), text(one, "act"), has_what ? " " : "", has_what ? what : "",
               text(one, "result"), has_reason ? ", because " : "", text(one, "reason"));
    }
    json_decref(rows);
    return cli_flush(cli, CLI_DONE);
}
