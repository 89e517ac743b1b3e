/* accrete lua: a plain script, code or a prompt with the tools, inside an app or without any. */
#include "cli/commands.h"
#include "cli/prompt.h"
#include "native.h"
#include "script/script.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the script may use of an app. */
struct place {
    struct app app;
    struct session session;
    struct settings settings; /* without an app */
    char *native_dir;
    char *script_app;       /* the app the script lies in; cli borrows it */
    struct program program; /* its kinds; lives as long as the script */
    bool has_app, has_session;
};

/* Defaults and the command line's. */
static bool own_settings(struct cli *cli, struct place *place, int *exit_code)
{
    struct acc_error err;

    settings_init(&place->settings);
    for (size_t i = 0; i < cli->override_count; i++) {
        char *name = acc_strdup(cli->overrides[i]);
        char *value = strchr(name, '=');

        *value++ = '\0';
        bool ok = settings_set(&place->settings, "--set", name, value, &err);
        free(name);
        if (!ok) {
            *exit_code = cli_fail(cli, &err);
            return false;
        }
    }
    return true;
}

/* Whether the first argument is a script: with -e, and at the prompt, there is none. */
static bool is_script(const struct cli *cli)
{
    return cli_value(cli, "eval") == NULL && cli->argc > 0;
}

/*
 * The app around us, if there is one; a wrong --app or a broken accrete.yaml is an error all the
 * same.
 */
static bool find_app(struct cli *cli, struct place *place, int *exit_code)
{
    const char *env = getenv("ACCRETE_APP");
    struct acc_error err;

    /* A script that lies in an app is that app's, wherever it is called from. */
    if (cli->app_dir == NULL && (env == NULL || env[0] == '\0') && !app_is_here())
        cli->app_dir = place->script_app = app_of_file(cli->argv[0]);
    cli->overrides[cli->override_count] = cli->log_override;
    cli->overrides[cli->override_count + 1] = NULL;
    place->has_app = app_open(&place->app, cli->app_dir, cli->overrides, &err);
    if (place->has_app) {
        cli_quiet(cli, &place->app.settings);
        return true;
    }
    if (cli->app_dir == NULL && (env == NULL || env[0] == '\0') && !app_is_here())
        return own_settings(cli, place, exit_code);
    *exit_code = cli_fail(cli, &err);
    return false;
}

static bool open_place(struct cli *cli, struct place *place, int *exit_code)
{
    struct acc_error err;
    char *so_path = NULL;

    *place = (struct place){0};
    if (!find_app(cli, place, exit_code))
        return false;
    if (!place->has_app)
        return true;
    place->native_dir = native_dir(&place->app);
    bool ok = native_build(&place->app, &so_path, &err);
    free(so_path);
    if (!ok) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    place->has_session = session_open(&place->session, &place->app, &err);
    if (!place->has_session)
        cli_note(cli, "%s; the script goes on without", err.text);
    return true;
}

static void close_place(struct place *place)
{
    fflush(stdout);
    if (place->has_session)
        session_close(&place->session);
    if (place->has_app)
        app_close(&place->app);
    else
        settings_clear(&place->settings);
    free(place->native_dir);
    free(place->script_app);
}

/* Kinds that -e and the prompt may look at; what is wrong with them is no reason not to go on. */
static void load_kinds(struct cli *cli, struct place *place, struct script *script)
{
    struct acc_error err;

    if (place->has_app && !script_load(script, &place->program, true, &err))
        cli_note(cli, "without the app's kinds: %s", err.text);
}

static bool evaluate(struct cli *cli, struct place *place, struct script *script,
                     struct acc_error *err)
{
    const char *code = cli_value(cli, "eval");

    if (is_script(cli))
        return script_run(script, cli->argv[0], cli->argc - 1, cli->argv + 1, err);
    load_kinds(cli, place, script);
    if (!script_prompt(script, &place->program.catalog, err))
        return false;
    if (code != NULL)
        return script_eval(script, code, cli->argc, cli->argv, err);
    char *history = place->has_app ? acc_format("%s/lua_history", place->app.data_dir) : NULL;
    bool ok = prompt(script, place->has_app ? place->app.name : "accrete", history, err);
    free(history);
    return ok;
}

static int run_script(struct cli *cli, struct place *place)
{
    const struct settings *settings = place->has_app ? &place->app.settings : &place->settings;
    struct acc_error err;
    struct script *script =
        script_new(settings, place->has_app ? place->app.dir : NULL, place->native_dir, &err);
    int exit_code = CLI_DONE;

    if (script == NULL)
        return cli_fail(cli, &err);
    if (place->has_session)
        script_set_database(script, place->session.conninfo, place->app.schema);
    if (!evaluate(cli, place, script, &err))
        exit_code = cli_fail(cli, &err);
    script_free(script); /* ends its connections */
    return cli_flush(cli, exit_code);
}

static int run(struct cli *cli)
{
    struct place place;
    int exit_code;

    if (is_script(cli) && access(cli->argv[0], R_OK) != 0)
        return cli_misuse(cli, "SCRIPT: cannot read \"%s\"", cli->argv[0]);
    if (open_place(cli, &place, &exit_code))
        exit_code = run_script(cli, &place);
    close_place(&place);
    return exit_code;
}

const struct cli_command cli_lua = {
    .name = "lua",
    .summary = "runs a plain Lua script with the tools, or a prompt",
    .usage = "[SCRIPT [ARGUMENT]...]",
    .help =
        "The script may require \"accrete.db\", .bench, .csv, .error, .http, .json, .log,\n"
        ".metrics, .native, .queue, .ram, .settings, .text and .yaml; what follows its name is\n"
        "in the global arg. Inside an app its database is the default of accrete.db.\n"
        "\n"
        "Without a script lines are read and run, and what they return is shown: at a terminal\n"
        "with history and completion by Tab. There and with -e the tools are globals (db, json,\n"
        "queue ...), and kinds.NAME:where({ field = value }) and kinds.NAME:count() look at facts.",
    .argc_min = 0,
    .argc_max = -1,
    .stops_at_argument = true,
    .arguments =
        (const struct cli_argument[]){
            {"SCRIPT", CLI_FILE, "a Lua file"},
            {"ARGUMENT", CLI_TEXT, "for the script, or for the code of -e"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"eval", 'e', CLI_TEXT, "CODE", .help = "runs this code instead of a script"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete lua examples/fold/dump.lua", "the canonical dump of an example"},
            {"accrete lua -e 'print(db.value(\"SELECT count(*) FROM fact_path\"))'", "one line"},
            {"accrete lua", "a prompt"},
            {0},
        },
    .run = run,
};
