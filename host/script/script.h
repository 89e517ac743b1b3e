/* The border to Lua: one lua_State that has loaded an app. Only script/ includes lua.h. */
#pragma once

#include "base/error.h"
#include "conf/settings.h"
#include "lifecycle.h"
#include "pg/pg.h"

struct script;
struct http_server;
struct reads;
struct intake;

/*
 * A Lua state with the modules of accrete. settings is borrowed. app_dir (NULL: none) is where
 * kinds/, lifecycles/, lua/ lie; native_dir (NULL: none) holds the compiled native libraries.
 */
struct script *script_new(const struct settings *settings, const char *app_dir,
                          const char *native_dir, struct acc_error *err) ACC_MUST_CHECK;
void script_free(struct script *script);
/* Whether LuaJIT is the snapshot of 2022-03, which compiles wrongly (iterate.lua): it only interprets. */
bool script_is_on_snapshot(const struct script *script);

/* What the Lua state holds now, in bytes; it costs next to nothing. */
uint64_t script_bytes(const struct script *script);

/* What `require "accrete.db"` connects to by default: borrowed, may be NULL. */
void script_set_database(struct script *script, const char *conninfo, const char *schema);

/*
 * Where `require "accrete.metrics"` counts: borrowed, comes before script_load. Without it the
 * script has a block of its own.
 */
struct metrics;
void script_set_metrics(struct script *script, struct metrics *metrics);

/*
 * Loads kinds/ and lifecycles/ of the app into program (valid until script_free). Errors name file,
 * line, what was wanted. kinds_only leaves the lifecycles alone.
 */
bool script_load(struct script *script, struct program *program, bool kinds_only,
                 struct acc_error *err) ACC_MUST_CHECK;

/*
 * Loads routes/ of the app, which may have none. Errors name file and line: syntax, a path that is
 * the host's own or that another route has taken.
 */
bool script_load_routes(struct script *script, struct acc_error *err) ACC_MUST_CHECK;

/* What an app's routes are served with. All borrowed, until script_serve_end. */
struct script_serve {
    struct http_server *server;
    struct reads *reads;
    struct intake *intake;
    int64_t memory_bytes;    /* of the Lua state; beyond it a handler fails */
    int64_t limit_ms;        /* of a handler with all it waits for; then it is answered with 504 */
    const bool *is_readonly; /* routes that change something are refused */
    uint64_t *beat;          /* counts up before and after each call into Lua */
};
/* Answers the server's requests with the routes that script_load_routes has loaded, each in a coroutine of its own. */
bool script_serve(struct script *script, const struct script_serve *serve,
                  struct acc_error *err) ACC_MUST_CHECK;
void script_serve_end(struct script *script);

/*
 * Runs a plain script: `accrete lua FILE ARGS...`. The global `arg` is set. ACC_ELUA with a
 * traceback.
 */
bool script_run(struct script *script, const char *path, int argc, char **argv,
                struct acc_error *err) ACC_MUST_CHECK;

/*
 * accrete check: reads the app's files, loads what can be loaded into program, runs it over its
 * examples and, with facts > 0, so many real facts a lifecycle (script_set_database comes first).
 * *report (caller frees) is JSON: {"problems": [{level, rule, file, line, text, fix}],
 * "lifecycles": [{name, examples, facts, steps, runs}]}. can_load false: files are read only.
 * false: the check itself failed.
 */
bool script_check(struct script *script, struct program *program, bool can_load, int facts,
                  char **report, struct acc_error *err) ACC_MUST_CHECK;

/*
 * What accrete lua evaluates without a script: script_prompt comes first, with the kinds that it
 * may look at. script_eval runs a whole text with arguments. script_take runs what was typed, when
 * it is complete, and prints results and errors. script_complete lists what a word may become
 * (caller frees the list and its texts). script_interrupt, from a signal handler, makes what
 * script_take runs raise: a query that is waited for, or the Lua code; script_calm takes that back.
 */
bool script_prompt(struct script *script, const struct catalog *catalog,
                   struct acc_error *err) ACC_MUST_CHECK;
bool script_eval(struct script *script, const char *text, int argc, char **argv,
                 struct acc_error *err) ACC_MUST_CHECK;
bool script_take(struct script *script, const char *text, bool *is_complete,
                 struct acc_error *err) ACC_MUST_CHECK;
char **script_complete(struct script *script, const char *word, size_t *count);
void script_interrupt(struct script *script);
void script_calm(struct script *script);
