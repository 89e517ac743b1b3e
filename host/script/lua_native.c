/*
 * accrete.native: where the app's compiled libraries and their headers are. The loading is Lua's.
 */
#include "base/files.h"
#include "script/lua_tools.h"

#include <dirent.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOADED_FIELD "accrete.native.loaded"

/* directories() -> app_dir or nil, native_dir or nil */
static int l_native_directories(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_APP_DIR);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_NATIVE_DIR);
    return 2;
}

/* Whether file is NAME-VERSION.so. */
static bool is_version_of(const char *file, const char *name)
{
    size_t bytes = strlen(file);
    size_t start = strlen(name);

    return bytes > start + 4 && strncmp(file, name, start) == 0 && file[start] == '-' &&
           strcmp(file + bytes - 3, ".so") == 0;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* newest(dir, name) -> file name of the NAME-*.so that was written last, or nil */
static int l_native_newest(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const char *name = luaL_checkstring(L, 2);
    DIR *dir = opendir(path);
    struct timespec newest = {0};
    char best[sizeof(((struct dirent *)NULL)->d_name)] = "";

    if (dir == NULL)
        return 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat stat;

        if (!is_version_of(entry->d_name, name) ||
            fstatat(dirfd(dir), entry->d_name, &stat, 0) != 0)
            continue;
        if (*best == '\0' || is_later(&stat.st_mtim, &newest)) {
            newest = stat.st_mtim;
            memcpy(best, entry->d_name, strlen(entry->d_name) + 1);
        }
    }
    closedir(dir);
    if (*best == '\0')
        return 0;
    lua_pushstring(L, best);
    return 1;
}

/* loaded() -> table of the libraries that this state has loaded, by name */
static int l_native_loaded(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LOADED_FIELD);
    if (lua_isnil(L, -1)) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, LOADED_FIELD);
    }
    return 1;
}

/* hot_header() -> text of accrete/hot.h as it was when the program was built */
static int l_native_hot_header(lua_State *L)
{
    size_t size;
    const char *text = files_get("host/include/accrete/hot.h", &size);

    if (text == NULL)
        return luaL_error(L, "accrete/hot.h is not in the program");
    lua_pushlstring(L, text, size);
    return 1;
}

int luaopen_accrete_native_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"directories", l_native_directories},
        {"newest", l_native_newest},
        {"loaded", l_native_loaded},
        {"hot_header", l_native_hot_header},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
