/*
 * What accrete lua evaluates: code of -e, lines of the prompt, completions. Logic is in prompt.lua.
 */
#include "script/script_internal.h"

#include "base/files.h"
#include "script/lua_db_link.h"

#include <lauxlib.h>
#include <luajit.h>
#include <stdlib.h>
#include <string.h>

static void push_kinds(lua_State *L, const struct catalog *catalog)
{
    lua_newtable(L);
    for (size_t k = 0; k < catalog->count; k++) {
        lua_newtable(L);
        lua_pushstring(L, catalog->kinds[k]->name);
        lua_setfield(L, -2, "name");
        lua_newtable(L);
        for (size_t f = 0; f < catalog->kinds[k]->field_count; f++) {
            lua_pushstring(L, catalog->kinds[k]->fields[f].name);
            lua_rawseti(L, -2, (int)f + 1);
        }
        lua_setfield(L, -2, "fields");
        lua_rawseti(L, -2, (int)k + 1);
    }
}

bool script_prompt(struct script *script, const struct catalog *catalog, struct acc_error *err)
{
    lua_State *L = script->L;
    size_t size;
    const char *text = files_get("host/script/prompt.lua", &size);

    if (luaL_loadbuffer(L, text, size, "@host/script/prompt.lua") != 0)
        return acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
    lua_newtable(L);
    push_kinds(L, catalog);
    lua_setfield(L, -2, "kinds");
    lua_pushcfunction(L, script_l_suggest);
    lua_setfield(L, -2, "suggest");
    if (!script_call(L, 1, 1, err))
        return false;
    script->prompt = luaL_ref(L, LUA_REGISTRYINDEX);
    return true;
}

static void push_function(struct script *script, const char *name)
{
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, script->prompt);
    lua_getfield(script->L, -1, name);
    lua_remove(script->L, -2);
}

bool script_eval(struct script *script, const char *text, int argc, char **argv,
                 struct acc_error *err)
{
    script_set_arguments(script, "-e", argc, argv);
    push_function(script, "chunk");
    lua_pushstring(script->L, text);
    if (!script_call(script->L, 1, 2, err))
        return false;
    if (lua_isnil(script->L, -2)) /* no traceback: nothing has run */
        return acc_fail(err, ACC_ELUA, "%s", lua_tostring(script->L, -1));
    lua_pop(script->L, 1);
    for (int i = 0; i < argc; i++)
        lua_pushstring(script->L, argv[i]);
    return script_call(script->L, argc, 0, err);
}

bool script_take(struct script *script, const char *text, bool *is_complete, struct acc_error *err)
{
    luaJIT_setmode(script->L, 0,
                   LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* compiled loops know no hook */
    push_function(script, "take");
    lua_pushstring(script->L, text);
    if (!script_call(script->L, 1, 1, err))
        return false;
    *is_complete = strcmp(lua_tostring(script->L, -1), "more") != 0;
    lua_pop(script->L, 1);
    return true;
}

char **script_complete(struct script *script, const char *word, size_t *count)
{
    lua_State *L = script->L;
    struct acc_error err;
    char **list = NULL;

    *count = 0;
    push_function(script, "complete");
    lua_pushstring(L, word);
    if (!script_call(L, 1, 1, &err))
        return NULL; /* what stands before the word raised when it was looked at */
    *count = lua_objlen(L, -1);
    list = acc_zalloc((*count + 1) * sizeof(*list));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        list[i] = acc_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return list;
}

static void interrupted(lua_State *L, lua_Debug *frame)
{
    (void)frame;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

void script_interrupt(struct script *script)
{
    if (db_interrupt())
        return;
    lua_sethook(script->L, interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

void script_calm(struct script *script)
{
    lua_sethook(script->L, NULL, 0, 0);
}
