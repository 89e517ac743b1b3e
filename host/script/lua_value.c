#include "script/lua_value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAKE_FIELD "accrete.int64.make"
#define KIND_FIELD "accrete.int64.kind"
#define LIST_CLASS "accrete.list" /* an empty metatable */

/*
 * LuaJIT's C API cannot make cdata; its FFI library can. Both functions are kept in the registry.
 */
static const char source[] =
    "local ffi = require('ffi')\n"
    "local signed, unsigned = ffi.typeof('int64_t'), ffi.typeof('uint64_t')\n"
    "return signed, function(value)\n"
    "  return ffi.istype(signed, value) and 1 or ffi.istype(unsigned, value) and 2 or 0\n"
    "end\n";

static void push_function(lua_State *L, const char *field)
{
    lua_getfield(L, LUA_REGISTRYINDEX, field);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    if (luaL_loadbuffer(L, source, sizeof(source) - 1, "=accrete.int64") != 0)
        lua_error(L);
    lua_call(L, 0, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, KIND_FIELD);
    lua_setfield(L, LUA_REGISTRYINDEX, MAKE_FIELD);
    lua_getfield(L, LUA_REGISTRYINDEX, field);
}

void lua_push_int64(lua_State *L, int64_t value)
{
    if (value >= -LUA_WHOLE_MAX && value <= LUA_WHOLE_MAX) {
        lua_pushnumber(L, (lua_Number)value);
        return;
    }
    push_function(L, MAKE_FIELD);
    lua_call(L, 0, 1);
    memcpy((void *)lua_topointer(L, -1), &value, sizeof(value)); /* the cdata's own bytes */
}

bool lua_get_int64(lua_State *L, int index, int64_t *value)
{
    if (lua_type(L, index) != LUA_TCDATA)
        return false;
    lua_pushvalue(L, index);
    push_function(L, KIND_FIELD);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    int kind = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (kind == 0)
        return false;
    int64_t bits;
    memcpy(&bits, lua_topointer(L, index), sizeof(bits));
    if (kind == 2 && bits < 0)
        return false;
    *value = bits;
    return true;
}

void lua_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

bool lua_is_null(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

void lua_mark_list(lua_State *L, int index)
{
    lua_pushvalue(L, index);
    luaL_newmetatable(L, LIST_CLASS);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

bool lua_is_list(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return false;
    luaL_newmetatable(L, LIST_CLASS);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

bool lua_is_whole(double number)
{
    return fabs(number) <= (double)LUA_WHOLE_MAX && number == floor(number);
}

void lua_number_text(double number, char text[LUA_NUMBER_TEXT])
{
    if (lua_is_whole(number)) {
        snprintf(text, LUA_NUMBER_TEXT, "%.0f", number == 0 ? 0.0 : number);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, LUA_NUMBER_TEXT, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return;
    }
}
