/* accrete graph: kinds and lifecycles with their cardinalities. */
#include "cli/commands.h"
#include "cli/work.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The shape comes from the modules, the figures from the tallies: {"kinds": [{name, facts,
 * ingested}], "lifecycles": [{name, on, friends, monotone, done, early, ..., finds: [{kind, new,
 * repeats, contradictions, per_event}]}]}
 */
struct graph {
    struct cli *cli;
    struct work *work;
    json_t *kinds;      /* by name */
    json_t *lifecycles; /* by name */
};

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void add_once(json_t *list, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        if (strcmp(json_string_value(one), name) == 0)
            return;
    }
    json_array_append_new(list, json_string(name));
}

static json_t *shape_of(const struct lifecycle *lifecycle)
{
    static const char *const figures[] = {"done", "early", "late", "empty", "found", "failed"};
    json_t *friends = json_array();
    json_t *finds = json_object();

    for (size_t i = 0; i < lifecycle->friend_count; i++)
        add_once(friends, lifecycle->friends[i].kind->name);
    for (size_t i = 0; i < lifecycle->find_count; i++)
        json_object_set_new(finds, lifecycle->finds[i]->name,
                            json_pack("{s:s, s:i, s:i, s:i, s:f}", "kind",
                                      lifecycle->finds[i]->name, "new", 0, "repeats", 0,
                                      "contradictions", 0, "per_event", 0.0));
    json_t *one =
        json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", lifecycle->name, "on", lifecycle->on->name,
                  "monotone", (int)lifecycle->is_monotone, "friends", friends, "finds", finds);
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
        json_object_set_new(one, figures[i], json_integer(0));
    return one;
}

static void read_shape(struct graph *graph)
{
    const struct program *program = &graph->work->program;

    graph->kinds = json_object();
    graph->lifecycles = json_object();
    for (size_t k = 0; k < program->catalog.count; k++) {
        const char *name = program->catalog.kinds[k]->name;

        json_object_set_new(graph->kinds, name,
                            json_pack("{s:s, s:i, s:i}", "name", name, "facts", 0, "ingested", 0));
    }
    for (size_t i = 0; i < program->lifecycle_count; i++)
        json_object_set_new(graph->lifecycles, program->lifecycles[i]->name,
                            shape_of(program->lifecycles[i]));
}

static bool read_kinds(struct graph *graph, int *exit_code)
{
    static const char sql[] =
        "SELECT k.name, coalesce(sum(t.new), 0)::int8, "
        "coalesce(sum(t.new) FILTER (WHERE t.lifecycle = 0), 0)::int8 "
        "FROM kind k LEFT JOIN tally_kind t ON t.kind = k.tag GROUP BY k.name";
    PGresult *res = work_query(graph->cli, graph->work, sql, NULL, exit_code);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        json_t *kind = json_object_get(graph->kinds, pg_get_text(res, r, 0));

        json_object_set_new(kind, "facts", json_integer(pg_get_int8(res, r, 1)));
        json_object_set_new(kind, "ingested", json_integer(pg_get_int8(res, r, 2)));
    }
    PQclear(res);
    return res != NULL;
}

static bool read_lifecycles(struct graph *graph, int *exit_code)
{
    static const char sql[] =
        "SELECT l.name, sum(early)::int8, sum(late)::int8, sum(empty)::int8, sum(found)::int8, "
        "sum(failed)::int8 "
        "FROM lifecycle l JOIN tally_lifecycle t ON t.lifecycle = l.id GROUP BY l.name";
    static const char *const figures[] = {"early", "late", "empty", "found", "failed"};
    PGresult *res = work_query(graph->cli, graph->work, sql, NULL, exit_code);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        json_t *lifecycle = json_object_get(graph->lifecycles, pg_get_text(res, r, 0));
        int64_t done = 0;

        for (int c = 0; c < 5; c++) {
            json_object_set_new(lifecycle, figures[c], json_integer(pg_get_int8(res, r, 1 + c)));
            done += c < 4 ? pg_get_int8(res, r, 1 + c) : 0;
        }
        json_object_set_new(lifecycle, "done", json_integer(done));
    }
    PQclear(res);
    return res != NULL;
}

static bool read_finds(struct graph *graph, int *exit_code)
{
    static const char sql[] =
        "SELECT l.name, k.name, sum(t.new)::int8, sum(t.repeats)::int8, "
        "sum(t.contradictions)::int8 "
        "FROM tally_kind t JOIN lifecycle l ON l.id = t.lifecycle JOIN kind k ON k.tag = t.kind "
        "GROUP BY l.name, k.name";
    PGresult *res = work_query(graph->cli, graph->work, sql, NULL, exit_code);

    for (int r = 0; res != NULL && r < PQntuples(res); r++) {
        json_t *lifecycle = json_object_get(graph->lifecycles, pg_get_text(res, r, 0));
        json_t *find = json_object_get(json_object_get(lifecycle, "finds"), pg_get_text(res, r, 1));
        int64_t done = number(lifecycle, "done");

        json_object_set_new(find, "new", json_integer(pg_get_int8(res, r, 2)));
        json_object_set_new(find, "repeats", json_integer(pg_get_int8(res, r, 3)));
        json_object_set_new(find, "contradictions", json_integer(pg_get_int8(res, r, 4)));
        json_object_set_new(
            find, "per_event",
            json_real(done == 0 ? 0 : (double)pg_get_int8(res, r, 2) / (double)done));
    }
    PQclear(res);
    return res != NULL;
}

/* Objects by name become lists, in the order of names. */
static json_t *values_of(json_t *object)
{
    json_t *list = json_array();
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        json_array_append(list, value);
    }
    return list;
}

static int print_json(struct graph *graph)
{
    const char *name;
    json_t *lifecycle;

    json_object_foreach(graph->lifecycles, name, lifecycle)
    {
        json_object_set_new(lifecycle, "finds", values_of(json_object_get(lifecycle, "finds")));
    }
    return cli_print_json(graph->cli, json_pack("{s:o, s:o}", "kinds", values_of(graph->kinds),
                                                "lifecycles", values_of(graph->lifecycles)));
}

/* Text: each kind, the lifecycles it wakes, what these find. */

static void print_outcomes(const json_t *lifecycle)
{
    static const char *const figures[] = {"found", "empty", "early", "late", "failed"};
    const char *comma = ": ";

    printf("%s done", cli_grouped(number(lifecycle, "done")));
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (number(lifecycle, figures[i]) == 0)
            continue;
        printf("%s%s %s", comma, cli_grouped(number(lifecycle, figures[i])), figures[i]);
        comma = ", ";
    }
    putchar('\n');
}

static void print_friends(const json_t *lifecycle)
{
    size_t i;
    json_t *friend;

    json_array_foreach(json_object_get(lifecycle, "friends"), i, friend)
    {
        printf("%s%s", i == 0 ? "  with " : ", ", json_string_value(friend));
    }
}

static void print_lifecycle(json_t *lifecycle, bool is_last)
{
    const char *bar = is_last ? " " : "│";
    json_t *finds = json_object_get(lifecycle, "finds");
    size_t left = json_object_size(finds);
    const char *name;
    json_t *find;

    printf("  %s %s", is_last ? "└─" : "├─", text(lifecycle, "name"));
    print_friends(lifecycle);
    printf("\n  %s  %s ", bar, left == 0 ? " " : "│");
    print_outcomes(lifecycle);
    json_object_foreach(finds, name, find)
    {
        printf("  %s  %s▶ %s  %s new, %s repeats, %.3g new an event\n", bar,
               --left == 0 ? "└─" : "├─", name, cli_grouped(number(find, "new")),
               cli_grouped(number(find, "repeats")),
               json_real_value(json_object_get(find, "per_event")));
    }
}

static void print_kind(struct graph *graph, const json_t *kind)
{
    const char *name;
    json_t *lifecycle;
    size_t left = 0;
    bool is_bold = cli_is_coloured(stdout);

    printf("%s%s%s  %s", is_bold ? "\033[1m" : "", text(kind, "name"), is_bold ? "\033[0m" : "",
           cli_counted(number(kind, "facts"), "fact"));
    if (number(kind, "ingested") > 0)
        printf(", %s ingested", cli_grouped(number(kind, "ingested")));
    putchar('\n');
    json_object_foreach(graph->lifecycles, name, lifecycle)
    {
        left += strcmp(text(lifecycle, "on"), text(kind, "name")) == 0;
    }
    json_object_foreach(graph->lifecycles, name, lifecycle)
    {
        if (strcmp(text(lifecycle, "on"), text(kind, "name")) == 0)
            print_lifecycle(lifecycle, --left == 0);
    }
}

static int print_text(struct graph *graph)
{
    const char *name;
    json_t *kind;

    json_object_foreach(graph->kinds, name, kind)
    {
        print_kind(graph, kind);
    }
    return cli_flush(graph->cli, CLI_DONE);
}

/* DOT. Names are [a-z0-9_], so nothing needs escaping. */

static void print_dot_lifecycle(const json_t *lifecycle, FILE *out)
{
    const char *me = text(lifecycle, "name");
    const char *name;
    json_t *find;
    size_t i;
    json_t *friend;

    fprintf(out, "  \"l:%s\" [label=\"%s\\n%s done\", shape=box, style=rounded];\n", me, me,
            cli_grouped(number(lifecycle, "done")));
    fprintf(out, "  \"k:%s\" -> \"l:%s\";\n", text(lifecycle, "on"), me);
    json_array_foreach(json_object_get(lifecycle, "friends"), i, friend)
    {
        fprintf(out, "  \"k:%s\" -> \"l:%s\" [style=dashed];\n", json_string_value(friend), me);
    }
    json_object_foreach(json_object_get(lifecycle, "finds"), name, find)
    {
        fprintf(out, "  \"l:%s\" -> \"k:%s\" [label=\"%s new\\n%s repeats\"];\n", me, name,
                cli_grouped(number(find, "new")), cli_grouped(number(find, "repeats")));
    }
}

static void write_dot(struct graph *graph, FILE *out)
{
    const char *name;
    json_t *one;

    fprintf(out, "digraph %s {\n", graph->work->app.name);
    json_object_foreach(graph->kinds, name, one)
    {
        fprintf(out, "  \"k:%s\" [label=\"%s\\n%s\", shape=ellipse];\n", name, name,
                cli_grouped(number(one, "facts")));
    }
    json_object_foreach(graph->lifecycles, name, one)
    {
        print_dot_lifecycle(one, out);
    }
    fprintf(out, "}\n");
}

/* SVG, by Graphviz */

static bool has_program(const char *name)
{
    const char *path = getenv("PATH");
    bool has = false;

    for (const char *at = path == NULL ? "/usr/bin:/bin" : path; !has && at != NULL;) {
        size_t size = strcspn(at, ":");
        char *file = acc_format("%.*s/%s", (int)size, at, name);

        has = size > 0 && access(file, X_OK) == 0;
        free(file);
        at = at[size] == ':' ? at + size + 1 : NULL;
    }
    return has;
}

/* dot reads what we write and writes to our stdout. */
static int print_svg(struct graph *graph)
{
    struct acc_error err;
    FILE *dot;

    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);      /* one that dies at once is told by its exit code */
    dot = popen("dot -Tsvg", "w"); /* NOLINT(cert-env33-c): the command is fixed */
    if (dot == NULL) {
        acc_fail_errno(&err, "cannot start dot");
        return cli_fail(graph->cli, &err);
    }
    write_dot(graph, dot);
    int status = pclose(dot);
    if (status == 0)
        return CLI_DONE;
    acc_fail(&err, ACC_ESYS, "dot -Tsvg failed with exit code %d",
             WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return cli_fail(graph->cli, &err);
}

static int draw(struct graph *graph)
{
    int exit_code = CLI_DONE;

    if (graph->work->has_tables &&
        (!read_kinds(graph, &exit_code) || !read_lifecycles(graph, &exit_code) ||
         !read_finds(graph, &exit_code)))
        return exit_code;
    if (cli_has(graph->cli, "json"))
        return print_json(graph);
    if (cli_has(graph->cli, "svg"))
        return print_svg(graph);
    if (!cli_has(graph->cli, "dot"))
        return print_text(graph);
    write_dot(graph, stdout);
    return cli_flush(graph->cli, CLI_DONE);
}

static int run(struct cli *cli)
{
    struct work work;
    struct graph graph = {.cli = cli, .work = &work};
    int exit_code;

    if (cli_has(cli, "json") + cli_has(cli, "dot") + cli_has(cli, "svg") > 1)
        return cli_misuse(cli, "--json, --dot and --svg exclude each other");
    if (cli_has(cli, "svg") && !has_program("dot")) {
        struct acc_error err;

        acc_fail(&err, ACC_ESYS,
                 "--svg: there is no program \"dot\" here; the package graphviz brings it, and "
                 "--dot writes what it reads");
        return cli_fail(cli, &err);
    }
    if (!work_open(cli, &work, WORK_PROGRAM, &exit_code))
        return exit_code;
    read_shape(&graph);
    if (work_connect(cli, &work, WORK_READ, &exit_code))
        exit_code = draw(&graph);
    json_decref(graph.kinds);
    json_decref(graph.lifecycles);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_graph = {
    .name = "graph",
    .summary = "shows which lifecycles each kind wakes and what they find",
    .usage = "",
    .help =
        "The shape is that of the modules in the app's folder, the figures those of the database.",
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "kinds and lifecycles as objects"},
            {"dot", 0, CLI_SWITCH, .help = "for Graphviz"},
            {"svg", 0, CLI_SWITCH, .help = "a drawing, made by Graphviz's dot"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete graph", "as a picture in text"},
            {"accrete graph --svg > graph.svg", "as a drawing"},
            {0},
        },
    .run = run,
};
