#include "script/lua_error.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERROR_CLASS "accrete.Error"

static const char *const code_names[] = {
    [ACC_OK] = "ok",        [ACC_EINPUT] = "input", [ACC_ECONFLICT] = "conflict",
    [ACC_ESTALE] = "stale", [ACC_ELOST] = "lost",   [ACC_EDB] = "database",
    [ACC_ELUA] = "lua",     [ACC_ELIMIT] = "limit", [ACC_ESYS] = "system",
};

#define CODE_COUNT ((int)(sizeof(code_names) / sizeof(code_names[0])))

static bool is_ours(const char *source)
{
    return strncmp(source, "@lua/accrete/", 13) == 0 || strncmp(source, "@host/script/", 13) == 0;
}

void lua_push_where(lua_State *L)
{
    lua_Debug frame;

    for (int level = 1; lua_getstack(L, level, &frame) == 1; level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline <= 0 || is_ours(frame.source))
            continue;
        lua_pushfstring(L, "%s:%d", frame.short_src, frame.currentline);
        return;
    }
    lua_pushliteral(L, "");
}

static int l_error_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "where");
    lua_getfield(L, 1, "message");
    const char *where = lua_tostring(L, -2);
    const char *message = lua_tostring(L, -1);

    if (message == NULL)
        message = "error";
    if (where == NULL || *where == '\0')
        lua_pushstring(L, message);
    else
        lua_pushfstring(L, "%s: %s", where, message);
    return 1;
}

static void push_class(lua_State *L)
{
    if (luaL_newmetatable(L, ERROR_CLASS)) {
        lua_pushcfunction(L, l_error_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushliteral(L, ERROR_CLASS);
        lua_setfield(L, -2, "__name");
    }
}

static void push_error(lua_State *L, const struct acc_error *err)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, (int)err->code < CODE_COUNT ? code_names[err->code] : "ok");
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err->text);
    lua_setfield(L, -2, "message");
    if (err->sqlstate[0] != '\0') {
        lua_pushstring(L, err->sqlstate);
        lua_setfield(L, -2, "sqlstate");
    }
    lua_push_where(L);
    lua_setfield(L, -2, "where");
    push_class(L);
    lua_setmetatable(L, -2);
}

int lua_raise(lua_State *L, const struct acc_error *err)
{
    push_error(L, err);
    return lua_error(L);
}

int lua_raise_text(lua_State *L, enum acc_code code, const char *fmt, ...)
{
    struct acc_error err = {.code = code};
    va_list args;

    va_start(args, fmt);
    vsnprintf(err.text, sizeof(err.text), fmt, args);
    va_end(args);
    return lua_raise(L, &err);
}

static bool is_error(lua_State *L, int index)
{
    bool is = false;

    if (lua_istable(L, index) && lua_getmetatable(L, index)) {
        luaL_getmetatable(L, ERROR_CLASS);
        is = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    return is;
}

static enum acc_code code_of(const char *name)
{
    for (int code = 0; name != NULL && code < CODE_COUNT; code++)
        if (strcmp(code_names[code], name) == 0)
            return (enum acc_code)code;
    return ACC_ELUA;
}

void lua_error_read(lua_State *L, int index, struct acc_error *err)
{
    if (!is_error(L, index)) {
        const char *text = lua_tostring(L, index);

        acc_fail(err, ACC_ELUA, "%s", text != NULL ? text : luaL_typename(L, index));
        return;
    }
    lua_pushvalue(L, index);
    lua_getfield(L, -1, "code");
    enum acc_code code = code_of(lua_tostring(L, -1));
    lua_getfield(L, -2, "sqlstate");
    const char *sqlstate = lua_tostring(L, -1);
    lua_pushcfunction(L, l_error_tostring);
    lua_pushvalue(L, -4);
    lua_call(L, 1, 1);
    acc_fail(err, code, "%s", lua_tostring(L, -1));
    snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate != NULL ? sqlstate : "");
    lua_pop(L, 4);
}

static int l_error_raise(lua_State *L)
{
    struct acc_error err = {.code = code_of(luaL_checkstring(L, 1))};

    snprintf(err.text, sizeof(err.text), "%s", luaL_checkstring(L, 2));
    snprintf(err.sqlstate, sizeof(err.sqlstate), "%s", luaL_optstring(L, 3, ""));
    return lua_raise(L, &err);
}

static int l_error_is(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushboolean(L, is_error(L, 1));
    return 1;
}

int luaopen_accrete_error_c(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_error_raise);
    lua_setfield(L, -2, "raise");
    lua_pushcfunction(L, l_error_is);
    lua_setfield(L, -2, "is");
    return 1;
}
