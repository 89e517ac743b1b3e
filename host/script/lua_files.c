#include "base/files.h"
#include "script/lua_tools.h"

#include <lauxlib.h>
#include <string.h>

/* "accrete.db" is "lua/accrete/db.lua", or "lua/accrete/db/init.lua". */
static const char *find(lua_State *L, const char *module, size_t *size, const char **name)
{
    static const char *const forms[] = {"lua/%s.lua", "lua/%s/init.lua"};
    const char *path = luaL_gsub(L, module, ".", "/");

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        *name = lua_pushfstring(L, forms[i], path);
        const char *data = files_get(*name, size);
        if (data != NULL)
            return data;
    }
    return NULL;
}

static int l_files_search(lua_State *L)
{
    size_t size = 0;
    const char *name = NULL;
    const char *module = luaL_checkstring(L, 1);
    const char *data = find(L, module, &size, &name);

    if (data == NULL) {
        lua_pushfstring(L, "\n\tno module '%s' in the program", module);
        return 1;
    }
    if (luaL_loadbuffer(L, data, size, lua_pushfstring(L, "@%s", name)) != 0)
        return lua_error(L);
    return 1;
}

void lua_files_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) { /* first is package.preload */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, l_files_search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}
