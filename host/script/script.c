#include "script/script_internal.h"

#include "base/files.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int traceback(lua_State *L)
{
    if (!lua_isstring(L, 1)) /* an accrete.Error has its own place */
        return 1;
    lua_getglobal(L, "debug");
    lua_getfield(L, -1, "traceback");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 2);
    lua_call(L, 2, 1);
    return 1;
}

bool script_call(lua_State *L, int args, int results, struct acc_error *err)
{
    int base = lua_gettop(L) - args;

    lua_pushcfunction(L, traceback);
    lua_insert(L, base);
    int status = lua_pcall(L, args, results, base);
    lua_remove(L, base);
    if (status == 0)
        return true;
    lua_error_read(L, -1, err);
    lua_pop(L, 1);
    return false;
}

/* package.loaders: lua/NAME.lua of the app, called so in messages wherever the app lies. */
static int l_app_search(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    const char *name = lua_pushfstring(L, "lua/%s.lua", luaL_gsub(L, module, ".", "/"));
    const char *path = lua_pushfstring(L, "%s/%s", lua_tostring(L, lua_upvalueindex(1)), name);
    FILE *file = fopen(path, "rbe");
    luaL_Buffer text;

    if (file == NULL) {
        lua_pushfstring(L, "\n\tno file '%s'", path);
        return 1;
    }
    luaL_buffinit(L, &text);
    for (size_t n = 1; n > 0; luaL_addsize(&text, n))
        n = fread(luaL_prepbuffer(&text), 1, LUAL_BUFFERSIZE, file);
    bool ok = ferror(file) == 0;
    fclose(file);
    luaL_pushresult(&text);
    if (!ok)
        return luaL_error(L, "cannot read %s", path);
    size_t size;
    const char *data = lua_tolstring(L, -1, &size);
    if (luaL_loadbuffer(L, data, size, lua_pushfstring(L, "@%s", name)) != 0)
        return lua_error(L);
    return 1;
}

static void add_app_search(lua_State *L, const char *app_dir)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    for (int i = (int)lua_objlen(L, -1); i >= 3; i--) { /* behind preload and the program's own */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushstring(L, app_dir);
    lua_pushcclosure(L, l_app_search, 1);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 2);
}

/* Lua modules of the app: its lua/ folder, then nothing else on disk but Debian's. */
static void set_path(lua_State *L, const char *app_dir)
{
    lua_getglobal(L, "package");
    if (app_dir != NULL) {
        lua_pushfstring(L, "%s/lua/?.lua;", app_dir);
        lua_getfield(L, -2, "path");
        lua_concat(L, 2);
        lua_setfield(L, -2, "path");
        add_app_search(L, app_dir);
    }
    lua_pop(L, 1);
}

static void set_registry(lua_State *L, const struct settings *settings, const char *app_dir,
                         const char *native_dir)
{
    if (app_dir != NULL) {
        lua_pushstring(L, app_dir);
        lua_setfield(L, LUA_REGISTRYINDEX, LUA_APP_DIR);
    }
    if (native_dir != NULL) {
        lua_pushstring(L, native_dir);
        lua_setfield(L, LUA_REGISTRYINDEX, LUA_NATIVE_DIR);
    }
    lua_createtable(L, 0, (int)settings->app_count);
    for (size_t i = 0; i < settings->app_count; i++) {
        lua_pushstring(L, settings->app[i].value);
        lua_setfield(L, -2, settings->app[i].name);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_SETTINGS);
}

struct script *script_new(const struct settings *settings, const char *app_dir,
                          const char *native_dir, struct acc_error *err)
{
    lua_State *L = luaL_newstate();

    if (L == NULL) {
        acc_fail(err, ACC_ELUA, "cannot make a Lua state");
        return NULL;
    }
    struct script *script = acc_zalloc(sizeof(*script));
    script->L = L;
    script->settings = settings;
    script->app_dir = app_dir == NULL ? NULL : acc_strdup(app_dir);
    script->driver = LUA_NOREF;
    script->modules = LUA_NOREF;
    script->check = LUA_NOREF;
    script->prompt = LUA_NOREF;
    luaL_openlibs(L);
    lua_iterate_open(L); /* before anything keeps LuaJIT's own pairs */
    if (!settings->worker.jit || script_is_on_snapshot(script))
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_tools_open(L);
    lua_files_open(L);
    set_path(L, app_dir);
    set_registry(L, settings, app_dir, native_dir);
    return script;
}

void script_free(struct script *script)
{
    if (script == NULL)
        return;
    if (script->program != NULL) {
        for (size_t i = 0; i < script->program->lifecycle_count; i++) {
            free(script->program->lifecycles[i]->script);
            free(script->program->lifecycles[i]->path);
            free(script->program->lifecycles[i]);
        }
        free(script->program->lifecycles);
        free(script->program->files);
        catalog_clear(&script->program->catalog);
        *script->program = (struct program){0};
    }
    lua_close(script->L);
    free(script->app_dir);
    free(script);
}

uint64_t script_bytes(const struct script *script)
{
    return (uint64_t)lua_gc(script->L, LUA_GCCOUNT, 0) * 1024 +
           (uint64_t)lua_gc(script->L, LUA_GCCOUNTB, 0);
}

bool script_is_on_snapshot(const struct script *script)
{
    lua_getfield(script->L, LUA_REGISTRYINDEX, LUA_ITERATION);
    bool is_snapshot = strcmp(lua_tostring(script->L, -1), "snapshot") == 0;
    lua_pop(script->L, 1);
    return is_snapshot;
}

void script_set_database(struct script *script, const char *conninfo, const char *schema)
{
    lua_pushstring(script->L, conninfo);
    lua_setfield(script->L, LUA_REGISTRYINDEX, LUA_CONNINFO);
    lua_pushstring(script->L, schema);
    lua_setfield(script->L, LUA_REGISTRYINDEX, LUA_SCHEMA);
}

void script_set_metrics(struct script *script, struct metrics *metrics)
{
    lua_pushlightuserdata(script->L, metrics);
    lua_setfield(script->L, LUA_REGISTRYINDEX, LUA_METRICS);
}

bool script_load(struct script *script, struct program *program, bool kinds_only,
                 struct acc_error *err)
{
    *program = (struct program){0};
    script->program = program;
    if (script->app_dir == NULL)
        return acc_fail(err, ACC_EINPUT, "no app is given");
    if (!script_read_files(script->app_dir, program, err) ||
        !script_load_kinds(script, program, err))
        return false;
    return kinds_only || script_load_lifecycles(script, program, err);
}

void script_set_arguments(struct script *script, const char *name, int argc, char **argv)
{
    lua_State *L = script->L;

    lua_createtable(L, argc, 1);
    lua_pushstring(L, name);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
}

bool script_run(struct script *script, const char *path, int argc, char **argv,
                struct acc_error *err)
{
    lua_State *L = script->L;

    script_set_arguments(script, path, argc, argv);
    if (luaL_loadfile(L, path) != 0) {
        acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        return false;
    }
    for (int i = 0; i < argc; i++)
        lua_pushstring(L, argv[i]);
    return script_call(L, argc, 0, err);
}
