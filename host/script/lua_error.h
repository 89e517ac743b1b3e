/*
 * Errors across the border: an accrete.Error in Lua is a table { code, sqlstate, message, where };
 * tostring() gives "file:line: message". code is a word: "input", "conflict", "stale", "lost",
 * "database", "lua", "limit", "system".
 */
#pragma once

#include "base/error.h"

#include <lua.h>

/* Raises err as an accrete.Error whose `where` is the caller's file and line. Never returns. */
int lua_raise(lua_State *L, const struct acc_error *err);

/* The same from a sentence. */
int lua_raise_text(lua_State *L, enum acc_code code, const char *fmt, ...) ACC_PRINTF(3, 4);

/*
 * Pushes "file:line" of the innermost caller that is neither C nor a module of accrete, else "". So
 * an error names the app's line, not ours.
 */
void lua_push_where(lua_State *L);

/*
 * Fills err from any error value: an accrete.Error as it was raised, all others as ACC_ELUA. Pushes
 * nothing.
 */
void lua_error_read(lua_State *L, int index, struct acc_error *err);

/* require "accrete.error.c": raise(code, message [, sqlstate]), is(value). */
int luaopen_accrete_error_c(lua_State *L);
