/* The border to Lua: one lua_State that has loaded an app. Only script/ includes lua.h. */
#pragma once

#include "base/error.h"
#include "conf/settings.h"
#include "lifecycle.h"
#include "pg/pg.h"

struct script;

/*
 * A Lua state with the modules of accrete. settings is borrowed. app_dir (NULL: none) is where kinds/, lifecycles/, lua/ lie;
 * native_dir (NULL: none) holds the compiled native libraries.
 */
struct script *script_new(const struct settings *settings, const char *app_dir,
                          const char *native_dir, struct acc_error *err) ACC_MUST_CHECK;
void script_free(struct script *script);

/* What `require "accrete.db"` connects to by default: borrowed, may be NULL. */
void script_set_database(struct script *script, const char *conninfo, const char *schema);

/*
 * Loads kinds/ and lifecycles/ of the app into program (valid until script_free). Errors name file, line, what was wanted.
 * kinds_only leaves the lifecycles alone.
 */
bool script_load(struct script *script, struct program *program, bool kinds_only,
                 struct acc_error *err) ACC_MUST_CHECK;

/* Runs a plain script: `accrete lua FILE ARGS...`. The global `arg` is set. ACC_ELUA with a traceback. */
bool script_run(struct script *script, const char *path, int argc, char **argv,
                struct acc_error *err) ACC_MUST_CHECK;
