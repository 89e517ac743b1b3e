/* accrete doctor: what is wrong with app, database, schema and machine, and the mend for each. */
#include "cli/doctor.h"

#include "cli/commands.h"
#include "native.h"
#include "page.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GENERATIONS_MANY 20

static const char *const grades[] = {
    [GRADE_OK] = "ok", [GRADE_WARN] = "warn", [GRADE_FAIL] = "fail"};

void doctor_say(struct doctor *doctor, const char *check, enum grade grade, const char *mend,
                const char *fmt, ...)
{
    char *finding;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&finding, fmt, args) < 0)
        abort();
    va_end(args);
    json_array_append_new(doctor->lines,
                          json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "grade", grades[grade],
                                    "finding", finding, "mend", mend));
    if (grade > doctor->worst)
        doctor->worst = grade;
    free(finding);
}

/* The app */

static void check_app(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    struct acc_error err;

    cli->overrides[cli->override_count] = cli->log_override;
    cli->overrides[cli->override_count + 1] = NULL;
    doctor->has_app = app_open(&doctor->app, cli->app_dir, cli->overrides, &err);
    if (!doctor->has_app) {
        doctor_say(doctor, "app", GRADE_FAIL,
                   "correct what the message names; accrete --help-config lists every setting",
                   "%s", err.text);
        return;
    }
    cli_quiet(cli, &doctor->app.settings);
    doctor_say(doctor, "app", GRADE_OK, NULL, "%s in %s, data in %s", doctor->app.name,
               doctor->app.dir, doctor->app.data_dir);
}

static bool has_native(const struct app *app)
{
    char *path = acc_format("%s/native", app->dir);
    DIR *dir = opendir(path);
    bool has = false;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t size = strlen(entry->d_name);
        has |= size > 2 && strcmp(entry->d_name + size - 2, ".c") == 0;
    }
    if (dir != NULL)
        closedir(dir);
    free(path);
    return has;
}

/* Whether a program of that name can be run. */
static bool is_runnable(const char *name)
{
    const char *path = getenv("PATH");

    if (strchr(name, '/') != NULL)
        return access(name, X_OK) == 0;
    for (const char *at = path == NULL ? "" : path; *at != '\0';) {
        size_t size = strcspn(at, ":");
        char *file = acc_format("%.*s/%s", (int)size, at, name);
        bool is = access(file, X_OK) == 0;

        free(file);
        if (is)
            return true;
        at += size + (at[size] == ':');
    }
    return false;
}

static void check_native(struct doctor *doctor)
{
    const char *set = getenv("CC");
    char *compiler = acc_format("%s", set == NULL || set[0] == '\0' ? "cc" : set);
    bool is_needed = has_native(&doctor->app);
    struct acc_error err;
    char *so_path = NULL;

    compiler[strcspn(compiler, " ")] = '\0'; /* CC may hold options */
    if (is_runnable(compiler))
        doctor_say(doctor, "compiler", GRADE_OK, NULL, "%s", compiler);
    else
        doctor_say(doctor, "compiler", is_needed ? GRADE_FAIL : GRADE_OK,
                   is_needed ? "install gcc or clang, or name one in CC" : NULL, "there is no %s%s",
                   compiler, is_needed ? "" : "; this app has no C and needs none");
    if (!is_needed)
        ;
    else if (native_build(&doctor->app, &so_path, &err))
        doctor_say(doctor, "native", GRADE_OK, NULL, "the app's C is compiled");
    else
        doctor_say(doctor, "native", GRADE_FAIL, "accrete build shows what the compiler says", "%s",
                   err.text);
    free(so_path);
    free(compiler);
}

static void check_modules(struct doctor *doctor)
{
    char *dir = native_dir(&doctor->app);
    struct acc_error err;

    doctor->script = script_new(&doctor->app.settings, doctor->app.dir, dir, &err);
    doctor->has_program =
        doctor->script != NULL && script_load(doctor->script, &doctor->program, false, &err);
    if (!doctor->has_program)
        doctor_say(doctor, "modules", GRADE_FAIL, "correct the module that the message names", "%s",
                   err.text);
    else if (doctor->program.catalog.count == 0)
        doctor_say(doctor, "modules", GRADE_FAIL, "write kinds/NAME.lua; accrete new shows how",
                   "the app has no kinds");
    else
        doctor_say(doctor, "modules", GRADE_OK, NULL, "%s and %s load",
                   cli_counted((int64_t)doctor->program.catalog.count, "kind"),
                   cli_counted((int64_t)doctor->program.lifecycle_count, "lifecycle"));
    if (doctor->script != NULL && script_is_on_snapshot(doctor->script))
        doctor_say(
            doctor, "LuaJIT", GRADE_WARN, "apt-get install libluajit2-5.1-2",
            "this one is of 2022-03 and compiles wrongly; Lua is only interpreted, which is slow");
    free(dir);
}

/* Snapshots of generations that are kept in the data directory. */
static void check_generations(struct doctor *doctor)
{
    char *path = acc_format("%s/generations", doctor->app.data_dir);
    DIR *dir = opendir(path);
    int count = 0;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
    if (dir != NULL)
        closedir(dir);
    if (count > GENERATIONS_MANY) {
        char *mend = acc_format("remove all but the newest folders in %s", path);
        doctor_say(doctor, "generations", GRADE_WARN, mend, "%d snapshots of modules are kept",
                   count);
        free(mend);
    }
    free(path);
}

static void check_host(struct doctor *doctor)
{
    pid_t host = app_host(&doctor->app);
    struct acc_error err;
    const struct page *page = host == 0 ? NULL : page_open(doctor->app.run_dir, &err);
    int workers = 0;
    int stale = 0;
    uint64_t deaths = 0;

    if (page == NULL) {
        doctor_say(doctor, "host", GRADE_OK, NULL, "none runs on this machine");
        return;
    }
    for (size_t i = 0; i < PAGE_SLOTS; i++) {
        deaths += page->slots[i].deaths;
        if (page->slots[i].pid == 0)
            continue;
        workers++;
        stale += page->slots[i].generation != page->generation;
    }
    doctor_say(doctor, "host", workers == 0 ? GRADE_FAIL : GRADE_OK,
               workers == 0 ? "look at host.log in the data directory: workers cannot start" : NULL,
               "pid %d, generation %d, %s", (int)host, (int)page->generation,
               cli_counted(workers, "worker"));
    if (page->refused_text[0] != '\0')
        doctor_say(doctor, "reload", GRADE_WARN, "correct the module, then accrete reload",
                   "the last one was refused: %.400s", page->refused_text);
    if (stale > 0)
        doctor_say(doctor, "stale workers", GRADE_WARN,
                   "they end after their batch; one that does not is killed after worker.stuck",
                   "%s of an older generation", cli_counted(stale, "worker"));
    if (deaths > 0)
        doctor_say(doctor, "deaths", GRADE_WARN,
                   "accrete queue shows what their events said; native code is a usual cause",
                   "%llu times a worker died", (unsigned long long)deaths);
    page_close(page);
}

/* The database */

/* What to do about a database that cannot be opened. */
static const char *mend_of(const char *text, bool is_private)
{
    static const char *const mends[][2] = {
        {"fsync off", "ALTER SYSTEM SET fsync = on, then SELECT pg_reload_conf()"},
        {"wanted postgresql://", "correct database.url; accrete --help-config says more"},
        {"MiB free", "make room, or move the data directory (data.dir)"},
        {"database locale is incompatible",
         "install that locale here, or make the database anew "
         "(accrete backup where it works, accrete restore here)"},
        {"password", "correct user or password: PGPASSWORD, ~/.pgpass or database.url_file"},
        {"no pg_hba.conf entry", "let this machine and user in: pg_hba.conf of the server"},
        {"too many", "raise max_connections (or the role's limit), or lower worker.count"},
        {"role \"", "correct the user in database.url, or CREATE ROLE ... LOGIN"},
        {"database \"", "correct the database in database.url, or CREATE DATABASE"},
    };

    for (size_t i = 0; i < sizeof(mends) / sizeof(*mends); i++)
        if (strstr(text, mends[i][0]) != NULL)
            return mends[i][1];
    return is_private ? "pg.log in the data directory says why; is PostgreSQL installed?"
                      : "check database.url, the server, its pg_hba.conf and the network";
}

static void check_database(struct doctor *doctor)
{
    static struct pg_stmt find = {.sql = "SELECT to_regclass('tally_reason') IS NOT NULL"};
    const struct settings *settings = &doctor->app.settings;
    bool is_private = settings->database.url == NULL && settings->database.url_file == NULL;
    struct acc_error err;

    doctor->has_session = session_open(&doctor->session, &doctor->app, &err);
    if (!doctor->has_session) {
        doctor_say(doctor, "database", GRADE_FAIL, mend_of(err.text, is_private), "%s", err.text);
        return;
    }
    int version = PQserverVersion(doctor->session.pg.conn);
    doctor_say(doctor, "database", GRADE_OK, NULL, "PostgreSQL %d.%d, %s, schema %s",
               version / 10000, version % 10000, is_private ? "private" : "a server",
               doctor->app.schema);
    PGresult *res = pg_query(&doctor->session.pg, &find, NULL, &err);
    doctor->has_tables = res != NULL && pg_get_bool(res, 0, 0);
    PQclear(res);
}

static void check_all(struct doctor *doctor)
{
    check_app(doctor);
    if (!doctor->has_app)
        return;
    check_native(doctor);
    check_modules(doctor);
    check_generations(doctor);
    check_host(doctor);
    doctor_machine(doctor);
    check_database(doctor);
    if (!doctor->has_session)
        return;
    doctor_server(doctor);
    doctor_tables(doctor);
}

/* Printing */

static void print(const struct doctor *doctor)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool is_coloured = cli_is_coloured(stdout);
    size_t i;
    json_t *line;

    json_array_foreach(doctor->lines, i, line)
    {
        const char *grade = json_string_value(json_object_get(line, "grade"));
        const char *mend = json_string_value(json_object_get(line, "mend"));
        int g = grade[0] == 'o' ? GRADE_OK : grade[0] == 'w' ? GRADE_WARN : GRADE_FAIL;

        printf("%s%-4s%s  %-14s %s\n", is_coloured ? colours[g] : "", grade,
               is_coloured ? "\033[0m" : "", json_string_value(json_object_get(line, "check")),
               json_string_value(json_object_get(line, "finding")));
        if (mend != NULL)
            printf("      %-14s mend: %s\n", "", mend);
    }
}

static int run(struct cli *cli)
{
    struct doctor doctor = {.cli = cli, .lines = json_array()};
    int exit_code = CLI_DONE;

    check_all(&doctor);
    if (cli_has(cli, "json"))
        exit_code = cli_print_json(
            cli, json_pack("{s:s, s:O}", "worst", grades[doctor.worst], "checks", doctor.lines));
    else
        print(&doctor);
    exit_code = cli_flush(cli, exit_code);
    if (doctor.worst == GRADE_FAIL)
        exit_code = CLI_FAILED;
    json_decref(doctor.lines);
    script_free(doctor.script);
    if (doctor.has_session)
        session_close(&doctor.session);
    if (doctor.has_app)
        app_close(&doctor.app);
    return exit_code;
}

const struct cli_command cli_doctor = {
    .name = "doctor",
    .summary = "says what is wrong with app, database and machine, and the mend",
    .usage = "",
    .help =
        "One line a check: ok, warn (it works, but will hurt) or fail (it does not work, or facts\n"
        "are in danger), with what to do about it. Changes nothing, but may compile the app's C "
        "and\n"
        "start the private cluster for the time of the check. Exits with 1 when a check fails.",
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "the checks as one object"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete doctor", "when something is odd, and before going live"},
            {"accrete doctor --json", "for a monitor"},
            {0},
        },
    .run = run,
};
