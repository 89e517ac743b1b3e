#include "script/lua_tools.h"

#include "script/lua_error.h"

#include <lauxlib.h>

/* require "accrete.settings.c": the app's own settings, or an empty table */
int luaopen_accrete_settings_c(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_SETTINGS);
    if (!lua_istable(L, -1))
        lua_newtable(L);
    return 1;
}

void lua_tools_class(lua_State *L, const char *name, lua_CFunction gc)
{
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
}

void lua_tools_open(lua_State *L)
{
    static const luaL_Reg modules[] = {
        {"accrete.csv.c", luaopen_accrete_csv_c},
        {"accrete.db.c", luaopen_accrete_db_c},
        {"accrete.error.c", luaopen_accrete_error_c},
        {"accrete.http.c", luaopen_accrete_http_c},
        {"accrete.json.c", luaopen_accrete_json_c},
        {"accrete.log.c", luaopen_accrete_log_c},
        {"accrete.metrics.c", luaopen_accrete_metrics_c},
        {"accrete.native.c", luaopen_accrete_native_c},
        {"accrete.settings.c", luaopen_accrete_settings_c},
        {"accrete.text.c", luaopen_accrete_text_c},
        {"accrete.yaml.c", luaopen_accrete_yaml_c},
    };

    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        lua_pushcfunction(L, modules[i].func);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_pop(L, 2);
}
