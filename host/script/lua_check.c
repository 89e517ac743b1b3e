/* The host's side of accrete check: hands check.lua the files, kinds and lifecycles of an app. */
#include "script/script_internal.h"

#include "base/files.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static struct script *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* files() -> list of the app's Lua files, as seen from its folder */
static int l_files(lua_State *L)
{
    static const char *const folders[] = {"kinds", "lifecycles", "lua", "routes"};
    static const char *const ends[] = {".lua", NULL};
    int n = 0;

    lua_newtable(L);
    for (size_t f = 0; f < sizeof(folders) / sizeof(folders[0]); f++) {
        size_t count;
        char **names = script_list_files(self(L)->app_dir, folders[f], ends, &count);

        for (size_t i = 0; i < count; i++) {
            lua_pushfstring(L, "%s/%s", folders[f], names[i]);
            lua_rawseti(L, -2, ++n);
        }
        script_free_files(names, count);
    }
    return 1;
}

static void push_host(lua_State *L, struct script *script, int facts)
{
    static const luaL_Reg functions[] = {{"files", l_files},
                                         {"suggest", script_l_suggest},
                                         {"json", script_l_json},
                                         {"part", script_l_part},
                                         {NULL, NULL}};

    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, script);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_pushstring(L, script->app_dir);
    lua_setfield(L, -2, "app_dir");
    lua_pushinteger(L, facts);
    lua_setfield(L, -2, "facts");
}

static void set_boolean(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

/* { name, fields = { { name, type, is_array, is_nullable, is_unique } } } */
static void push_kind(lua_State *L, const struct kind *kind)
{
    lua_newtable(L);
    set_text(L, "name", kind->name);
    lua_newtable(L);
    for (size_t f = 0; f < kind->field_count; f++) {
        const struct field *field = &kind->fields[f];

        lua_newtable(L);
        set_text(L, "name", field->name);
        set_text(L, "type", field_type_name(field->type));
        set_boolean(L, "is_array", field->is_array);
        set_boolean(L, "is_nullable", field->is_nullable);
        set_boolean(L, "is_unique", field->is_unique);
        lua_rawseti(L, -2, (int)f + 1);
    }
    lua_setfield(L, -2, "fields");
}

static void push_friends(lua_State *L, const struct lifecycle *lifecycle)
{
    lua_newtable(L);
    for (size_t i = 0; i < lifecycle->friend_count; i++) {
        const struct kind *kind = lifecycle->friends[i].kind;
        const struct shape *shape = &kind->shapes[lifecycle->friends[i].shape];

        lua_newtable(L);
        set_text(L, "kind", kind->name);
        lua_newtable(L);
        for (size_t f = 0; f < shape->count; f++) {
            lua_pushstring(L, kind->fields[shape->fields[f]].name);
            lua_rawseti(L, -2, (int)f + 1);
        }
        lua_setfield(L, -2, "fields");
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* { name, path, on, module, friends = { { kind, fields } }, finds } */
static void push_lifecycle(lua_State *L, struct script *script, size_t number)
{
    const struct lifecycle *lifecycle = script->program->lifecycles[number];

    lua_newtable(L);
    set_text(L, "name", lifecycle->name);
    set_text(L, "path", lifecycle->path);
    set_text(L, "on", lifecycle->on->name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->modules);
    lua_rawgeti(L, -1, (int)number + 1);
    lua_setfield(L, -3, "module");
    lua_pop(L, 1);
    push_friends(L, lifecycle);
    lua_setfield(L, -2, "friends");
    lua_newtable(L);
    for (size_t i = 0; i < lifecycle->find_count; i++) {
        lua_pushstring(L, lifecycle->finds[i]->name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "finds");
}

static void push_function(struct script *script, const char *name)
{
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, script->check);
    lua_getfield(script->L, -1, name);
    lua_remove(script->L, -2);
}

static void on_problem(struct script *script, const struct acc_error *err)
{
    struct acc_error own;

    push_function(script, "load_problem");
    lua_pushstring(script->L, err->text);
    if (!script_call(script->L, 1, 0, &own))
        abort(); /* ours: it only files the text */
}

static bool start(struct script *script, int facts, struct acc_error *err)
{
    lua_State *L = script->L;
    size_t size;
    const char *text = files_get("host/script/check.lua", &size);

    if (luaL_loadbuffer(L, text, size, "@host/script/check.lua") != 0)
        return acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
    push_host(L, script, facts);
    if (!script_call(L, 1, 1, err))
        return false;
    script->check = luaL_ref(L, LUA_REGISTRYINDEX);
    script->on_problem = on_problem;
    push_function(script, "static");
    return script_call(L, 0, 0, err);
}

static void push_lifecycles(struct script *script)
{
    lua_newtable(script->L);
    for (size_t i = 0; i < script->program->lifecycle_count; i++) {
        push_lifecycle(script->L, script, i);
        lua_rawseti(script->L, -2, (int)i + 1);
    }
}

/* Hands over what was loaded; leaves the list of lifecycles on the stack. */
static bool declare(struct script *script, struct acc_error *err)
{
    lua_State *L = script->L;

    push_lifecycles(script);
    push_function(script, "declared");
    lua_newtable(L);
    for (size_t i = 0; i < script->program->catalog.count; i++) {
        push_kind(L, script->program->catalog.kinds[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushvalue(L, -3);
    return script_call(L, 2, 0, err);
}

bool script_check(struct script *script, struct program *program, bool can_load, int facts,
                  char **report, struct acc_error *err)
{
    lua_State *L = script->L;

    if (!start(script, facts, err))
        return false;
    if (can_load && script_load(script, program, false, err)) {
        if (!declare(script, err) || !script_load_routes(script, err))
            return false;
    } else {
        if (can_load && !script->has_problem)
            on_problem(script, err);
        lua_newtable(L);
    }
    push_function(script, "report");
    lua_pushvalue(L, -2);
    if (!script_call(L, 1, 1, err))
        return false;
    *report = acc_strdup(lua_tostring(L, -1));
    lua_pop(L, 2);
    return true;
}
