/* accrete.log: the host's log lines from Lua. */
#include "base/log.h"
#include "script/lua_tools.h"

#include <lauxlib.h>

static enum log_level check_level(lua_State *L, int index)
{
    enum log_level level = LOG_INFO;

    luaL_argcheck(L, log_level_of(luaL_checkstring(L, index), &level), index,
                  "wanted error, warn, info or debug");
    return level;
}

/* write(level, at, pairs) */
static int l_log_write(lua_State *L)
{
    log_line(check_level(L, 1), luaL_checkstring(L, 2), "%s", luaL_checkstring(L, 3));
    return 0;
}

/* enabled(level) -> boolean */
static int l_log_enabled(lua_State *L)
{
    lua_pushboolean(L, log_enabled(check_level(L, 1)));
    return 1;
}

/* quote(text) -> text in quotes, on one line */
static int l_log_quote(lua_State *L)
{
    lua_pushstring(L, log_quote(luaL_checkstring(L, 1)));
    return 1;
}

int luaopen_accrete_log_c(lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, l_log_write);
    lua_setfield(L, -2, "write");
    lua_pushcfunction(L, l_log_enabled);
    lua_setfield(L, -2, "enabled");
    lua_pushcfunction(L, l_log_quote);
    lua_setfield(L, -2, "quote");
    return 1;
}
