/*
 * The Lua modules of accrete that work without any lifecycle: what `require "accrete.NOUN"` finds.
 */
#pragma once

#include <lua.h>

/* Registry fields that the host sets, each may be missing. */
#define LUA_CONNINFO "accrete.conninfo"     /* string: what db.connect() takes by default */
#define LUA_SCHEMA "accrete.schema"         /* string: its schema */
#define LUA_SETTINGS "accrete.settings"     /* table of strings: the app's own settings */
#define LUA_ITERATION "accrete.iteration"   /* string: what iterate.lua returned */
#define LUA_APP_DIR "accrete.app_dir"       /* string: holds native/NAME.h */
#define LUA_METRICS "accrete.metrics"       /* light userdata: struct metrics of the host */
#define LUA_NATIVE_DIR "accrete.native_dir" /* string: holds NAME-*.so */

/* Makes every C part findable by require (package.preload). Loads nothing. */
void lua_tools_open(lua_State *L);
/*
 * Makes the Lua files that are built into the program findable by require, before any file on disk.
 */
void lua_files_open(lua_State *L);
/* Puts pairs and next in place that compiled code runs rightly (iterate.lua says why). */
void lua_iterate_open(lua_State *L);

/* Makes a class of userdata that gc ends. */
void lua_tools_class(lua_State *L, const char *name, lua_CFunction gc);

/* The C parts, "accrete.NOUN.c". */
int luaopen_accrete_csv_c(lua_State *L);
int luaopen_accrete_db_c(lua_State *L);
int luaopen_accrete_http_c(lua_State *L);
int luaopen_accrete_json_c(lua_State *L);
int luaopen_accrete_log_c(lua_State *L);
int luaopen_accrete_metrics_c(lua_State *L);
int luaopen_accrete_native_c(lua_State *L);
int luaopen_accrete_settings_c(lua_State *L);
int luaopen_accrete_text_c(lua_State *L);
int luaopen_accrete_yaml_c(lua_State *L);
