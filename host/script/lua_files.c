#include "base/files.h"
#include "base/log.h"
#include "kinds.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The module of the program that is probably meant, or NULL; valid until the next call. */
static const char *near_module(const char *module)
{
    static char names[64][64];
    const char *list[64];
    char full[64];
    size_t count = 0;

    for (const struct embedded_file *file = embedded_files; file->name != NULL && count < 64;
         file++) {
        size_t length = strlen(file->name);
        if (strncmp(file->name, "lua/accrete/", 12) != 0 || file->name[12] == '_' || length < 16)
            continue;
        snprintf(names[count], sizeof(names[count]), "accrete.%.*s", (int)(length - 16),
                 file->name + 12);
        list[count] = names[count];
        count++;
    }
    const char *near = name_suggest(module, list, count);
    if (near != NULL || strchr(module, '.') != NULL)
        return near;
    snprintf(full, sizeof(full), "accrete.%s", module); /* "json" */
    return name_suggest(full, list, count);
}

/* The last of package.loaders: nobody has the module. */
static int l_not_found(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    const char *near = near_module(module);

    lua_getfield(L, LUA_REGISTRYINDEX, LUA_APP_DIR);
    const char *in_app = lua_isnil(L, -1) ? ""
                                          : lua_pushfstring(L, ", in lua/%s.lua of the app",
                                                            luaL_gsub(L, module, ".", "/"));
    return lua_raise_text(L, ACC_EINPUT,
                          "no module \"%s\" in the program%s, or in package.path%s%s%s", module,
                          in_app, near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
                          near == NULL ? "" : "\"?");
}

void lua_iterate_open(lua_State *L)
{
    static const char name[] = "host/script/iterate.lua";
    size_t size = 0;
    const char *data = files_get(name, &size);

    if (luaL_loadbuffer(L, data, size, "@host/script/iterate.lua") != 0 ||
        lua_pcall(L, 0, 1, 0) != 0) {
        log_error("lua", "event=\"process ends\" error=%s", log_quote(lua_tostring(L, -1)));
        abort();
    }
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_ITERATION);
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
    lua_pushcfunction(L, l_not_found);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 2);
}
