/* accrete check: what is wrong with an app, with file, line and the way out. */
#include "cli/commands.h"
#include "indexes.h"
#include "native.h"
#include "schema_plan.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 1000 /* for a database that nobody asked for */

struct check {
    struct cli *cli;
    struct app app;
    struct session session;
    bool has_session;
    json_t *report;
    int64_t errors, warnings, not_sampled;
};

static json_t *problems_of(const struct check *check)
{
    return json_object_get(check->report, "problems");
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value == NULL ? "" : value;
}

/* Native code. The compiler speaks to stderr; its lines become problems. */

/* "/app/native/x.c:3:5: error: words" into problems; another line is passed over. */
static void take_line(const struct check *check, const char *line, json_t *problems)
{
    static const char mark[] = ": error: ";
    size_t prefix = strlen(check->app.dir);
    const char *words = strstr(line, mark);
    const char *colon = strchr(line, ':');

    if (strncmp(line, check->app.dir, prefix) != 0 || line[prefix] != '/' || words == NULL ||
        colon >= words)
        return;
    words += strlen(mark);
    char *file = acc_format("%.*s", (int)(colon - line - prefix - 1), line + prefix + 1);
    char *text = acc_format("%.*s", (int)strcspn(words, "\n"), words);
    json_array_append_new(
        problems,
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "level", "error", "rule", "native", "file",
                  file, "line", (json_int_t)strtol(colon + 1, NULL, 10), "text", text, "fix",
                  "C and the declarations between the ffi marks of the header must agree"));
    free(file);
    free(text);
}

static void add_native(json_t *problems, const char *words)
{
    json_array_append_new(problems,
                          json_pack("{s:s, s:s, s:s, s:i, s:s}", "level", "error", "rule", "native",
                                    "file", "native", "line", 1, "text", words));
}

/* Builds the app's C. What is wrong with it goes into problems; false: something is. */
static bool build_native(struct check *check, json_t *problems)
{
    struct acc_error err = {0};
    char *so_path = NULL;
    char *line = NULL;
    size_t size = 0;
    FILE *said = tmpfile();
    int kept = said == NULL ? -1 : dup(STDERR_FILENO);

    fflush(stderr);
    if (kept >= 0)
        dup2(fileno(said), STDERR_FILENO);
    bool ok = native_check(&check->app, &err) && native_build(&check->app, &so_path, &err);
    fflush(stderr);
    if (kept >= 0) {
        dup2(kept, STDERR_FILENO);
        close(kept);
        rewind(said);
        while (!ok && getline(&line, &size, said) > 0)
            take_line(check, line, problems);
    }
    if (!ok && json_array_size(problems) == 0)
        add_native(problems, err.text);
    free(line);
    if (said != NULL)
        fclose(said);
    free(so_path);
    return ok;
}

/* The look-ups that lifecycles declare against the database's indexes */

static bool has_table(const json_t *indexes, const char *kind)
{
    size_t i;
    json_t *one;

    json_array_foreach(indexes, i, one)
    {
        if (strcmp(text(one, "kind"), kind) == 0 && strcmp(text(one, "purpose"), "id") == 0)
            return true;
    }
    return false;
}

static const char *state_of(const json_t *indexes, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(indexes, i, one)
    {
        if (strcmp(text(one, "name"), name) == 0)
            return text(one, "state");
    }
    return "missing";
}

/* A hint when the index of the look-up is not there or no good: the app itself is not wrong. */
static void compare_index(const json_t *indexes, const struct kind *kind, const struct shape *shape,
                          json_t *problems)
{
    struct buf unused = {0};
    char name[64];

    if (schema_index(kind, shape, name, &unused) && strcmp(state_of(indexes, name), "valid") != 0) {
        struct buf fields = {0};

        for (size_t i = 0; i < shape->count; i++)
            buf_printf(&fields, "%s%s", i == 0 ? "" : ", ", kind->fields[shape->fields[i]].name);
        char *file = acc_format("kinds/%s.lua", kind->name);
        char *words = acc_format("in the database the index %s of look-ups by %s is %s: each of "
                                 "them reads all facts of the kind",
                                 name, fields.data, state_of(indexes, name));
        json_array_append_new(
            problems,
            json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "level", "hint", "rule", "index", "file",
                      file, "line", 1, "text", words, "fix",
                      "accrete schema apply builds it, and so does the next accrete run"));
        free(words);
        free(file);
        buf_clear(&fields);
    }
    buf_clear(&unused);
}

/* For --facts there is a session; else a database that runs is looked at, and none is started or waited for. */
static bool can_look(struct check *check)
{
    int64_t *timeout_ms = &check->app.settings.database.connect_timeout_ms;
    struct acc_error ignored;

    if (check->has_session)
        return true;
    if (!app_has_server(&check->app) && app_lock_holder(&check->app) == 0)
        return false;
    *timeout_ms = *timeout_ms > LOOK_MS ? LOOK_MS : *timeout_ms;
    check->has_session = session_open(&check->session, &check->app, &ignored);
    return check->has_session;
}

static void compare_indexes(struct check *check, const struct catalog *catalog, json_t *problems)
{
    struct acc_error ignored;

    if (catalog->count == 0 || !can_look(check))
        return;
    json_t *indexes = indexes_list(&check->session.pg, catalog, &ignored);
    for (size_t k = 0; indexes != NULL && k < catalog->count; k++) {
        const struct kind *kind = catalog->kinds[k];

        for (size_t s = 0; s < kind->shape_count && has_table(indexes, kind->name); s++)
            compare_index(indexes, kind, &kind->shapes[s], problems);
    }
    json_decref(indexes);
}

/* Running it */

static bool connect(struct check *check, int *exit_code)
{
    struct acc_error err;

    check->has_session = session_open(&check->session, &check->app, &err);
    if (!check->has_session)
        *exit_code = cli_fail(check->cli, &err);
    return check->has_session;
}

static void count(struct check *check)
{
    size_t i;
    json_t *one;

    json_array_foreach(problems_of(check), i, one)
    {
        check->errors += strcmp(text(one, "level"), "error") == 0;
        check->warnings += strcmp(text(one, "level"), "warning") == 0;
        check->not_sampled += strcmp(text(one, "level"), "note") == 0;
    }
}

static bool examine(struct check *check, int *exit_code)
{
    char *native = native_dir(&check->app);
    json_t *problems = json_array();
    bool can_load = build_native(check, problems);
    struct program program = {0};
    struct acc_error err;
    char *report = NULL;
    int facts = (int)cli_number(check->cli, "facts", 0);
    struct script *script = script_new(&check->app.settings, check->app.dir, native, &err);

    if (script != NULL && check->has_session)
        script_set_database(script, check->session.conninfo, check->app.schema);
    bool ok = script != NULL && script_check(script, &program, can_load, facts, &report, &err);
    if (ok) {
        check->report = json_loads(report, 0, NULL);
        json_array_extend(problems, problems_of(check));
        compare_indexes(check, &program.catalog, problems);
        json_object_set(check->report, "problems", problems);
        count(check);
    } else {
        *exit_code = cli_fail(check->cli, &err);
    }
    script_free(script);
    free(report);
    json_decref(problems);
    free(native);
    return ok;
}

/* Telling */

static void print_problem(const json_t *problem)
{
    bool is_coloured = cli_is_coloured(stdout);
    bool is_error = strcmp(text(problem, "level"), "error") == 0;
    const char *colour = is_error ? "\033[31m" : "\033[33m";

    printf("%s:%" JSON_INTEGER_FORMAT ": %s%s%s: %s\n", text(problem, "file"),
           json_integer_value(json_object_get(problem, "line")), is_coloured ? colour : "",
           text(problem, "level"), is_coloured ? "\033[0m" : "", text(problem, "text"));
    if (*text(problem, "fix") != '\0')
        printf("    %s\n", text(problem, "fix"));
}

static void print_lifecycles(const struct check *check)
{
    size_t i;
    json_t *one;
    json_t *lifecycles = json_object_get(check->report, "lifecycles");

    json_array_foreach(lifecycles, i, one)
    {
        const char *comma = ": ";
        static const char *const figures[] = {"examples", "facts", "steps"};
        static const char *const words[] = {"examples", "real facts", "events that follow"};

        printf("%s", text(one, "name"));
        for (size_t f = 0; f < 3; f++) {
            json_int_t n = json_integer_value(json_object_get(one, figures[f]));
            if (n == 0)
                continue;
            printf("%s%" JSON_INTEGER_FORMAT " %s", comma, n, words[f]);
            comma = ", ";
        }
        bool is_broken = json_is_true(json_object_get(one, "errors"));
        puts(strcmp(comma, ": ") != 0 ? "" : is_broken ? ": see its errors" : ": not sampled");
    }
}

static int tell(struct check *check)
{
    bool is_strict = cli_has(check->cli, "strict");
    bool ok =
        check->errors == 0 && (!is_strict || (check->warnings == 0 && check->not_sampled == 0));
    size_t i;
    json_t *one;

    if (cli_has(check->cli, "json")) {
        json_object_set_new(check->report, "ok", json_boolean(ok));
        json_object_set_new(check->report, "errors", json_integer(check->errors));
        json_object_set_new(check->report, "warnings", json_integer(check->warnings));
        json_object_set_new(check->report, "not_sampled", json_integer(check->not_sampled));
        int exit_code = cli_print_json(check->cli, json_incref(check->report));
        return exit_code != CLI_DONE ? exit_code : ok ? CLI_DONE : CLI_FAILED;
    }
    json_array_foreach(problems_of(check), i, one)
    {
        print_problem(one);
    }
    print_lifecycles(check);
    printf("%s%s, %s, %s not sampled\n", ok ? "ok: " : "", cli_counted(check->errors, "error"),
           cli_counted(check->warnings, "warning"), cli_counted(check->not_sampled, "lifecycle"));
    return cli_flush(check->cli, ok ? CLI_DONE : CLI_FAILED);
}

static int run(struct cli *cli)
{
    struct check check = {.cli = cli};
    int exit_code = CLI_DONE;

    if (!cli_app(cli, &check.app, &exit_code))
        return exit_code;
    if ((cli_number(cli, "facts", 0) == 0 || connect(&check, &exit_code)) &&
        examine(&check, &exit_code))
        exit_code = tell(&check);
    json_decref(check.report);
    if (check.has_session)
        session_close(&check.session);
    app_close(&check.app);
    return exit_code;
}

const struct cli_command cli_check = {
    .name = "check",
    .summary = "says what is wrong with the app: file, line and the way out",
    .usage = "",
    .help =
        "Reads kinds, lifecycles and native code, then runs each lifecycle in memory over its\n"
        "M.examples, what follows from them and, with --facts, real facts: whether it finds what\n"
        "the examples say and only what `finds` declares, whether order and repetition change\n"
        "nothing, whether more friends never mean fewer finds (`monotone`), whether a cycle of\n"
        "lifecycles ends. Nothing is written. Errors exit with 1; warnings, and lifecycles that\n"
        "are not sampled, with --strict only. Where the app's database can be reached, hints say\n"
        "which look-ups have no valid index there.",
    .options =
        (const struct cli_option[]){
            {"facts", 0, CLI_COUNT, "N", .min = 0, .max = 10000,
             .help = "also samples N real facts for each lifecycle; 0"},
            {"strict", 0, CLI_SWITCH, .help = "fails on warnings and on what is not sampled, too"},
            {"json", 0, CLI_SWITCH, .help = "problems as objects"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete check", "needs no database"},
            {"accrete check --strict --facts 20", "before a release, with what is in the database"},
            {0},
        },
    .run = run,
};
