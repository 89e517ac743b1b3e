/*
 * Values across the border that Lua's own C API does not know: 64-bit integers, exact number text,
 * null.
 */
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#define LUA_TCDATA 10 /* LuaJIT's type tag of FFI values; its headers keep it to themselves */
#define LUA_WHOLE_MAX                                                                              \
    INT64_C(9007199254740992) /* 2^53: whole numbers up to here are exact in a Lua number */
#define LUA_NUMBER_TEXT 32    /* bytes that lua_number_text may need */

/* Pushes a number within 2^53, else int64 cdata. */
void lua_push_int64(lua_State *L, int64_t value);
/* Reads int64 cdata, or uint64 cdata that fits. false: it is something else. */
bool lua_get_int64(lua_State *L, int index, int64_t *value);
/*
 * The value that stands for NULL inside lists and rows: a light userdata of NULL, as lua-cjson and
 * LuaJIT have it.
 */
void lua_push_null(lua_State *L);
bool lua_is_null(lua_State *L, int index);
/* Marks the table at index as a list: accrete.json writes it as [] even when it is empty. */
void lua_mark_list(lua_State *L, int index);
bool lua_is_list(lua_State *L, int index);
/* Whether number is whole and within 2^53. */
bool lua_is_whole(double number);
/*
 * The shortest decimal text that reads back as number; whole numbers within 2^53 without exponent.
 * Must be finite.
 */
void lua_number_text(double number, char text[LUA_NUMBER_TEXT]);
