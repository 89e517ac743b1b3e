/* An app's lifecycles/ folder: loaded, checked, turned into a program. */
#include "script/script_internal.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

static const char *near_kind(char text[SCRIPT_NEAR_MAX], const char *name,
                             const struct catalog *catalog)
{
    const char *names[CATALOG_KINDS_MAX];

    for (size_t i = 0; i < catalog->count; i++)
        names[i] = catalog->kinds[i]->name;
    return script_did_you_mean(text, name, names, catalog->count);
}

static struct kind *find_kind(const struct catalog *catalog, const char *name, const char *where,
                              const char *key, struct acc_error *err)
{
    struct kind *kind = name == NULL ? NULL : catalog_find(catalog, name);

    if (kind == NULL) {
        char near[SCRIPT_NEAR_MAX];
        acc_fail(err, ACC_EINPUT, "%s: %s: wanted the name of a kind, got \"%.60s\"%s", where, key,
                 name == NULL ? "nothing" : name, near_kind(near, name, catalog));
    }
    return kind;
}

/* One shape, a list of field names, at the top of the stack. */
static bool read_shape(lua_State *L, struct lifecycle *lifecycle, struct kind *kind,
                       const char *where, struct acc_error *err)
{
    struct shape shape = {0};
    char key[KIND_NAME_MAX + 16];
    uint64_t mask = 0;

    if (!lua_istable(L, -1))
        return acc_fail(err, ACC_EINPUT,
                        "%s: friends.%s: wanted a list of look-ups, each a list of field names: %s "
                        "= { { \"%s\" } }",
                        where, kind->name, kind->name, kind->fields[0].name);
    snprintf(key, sizeof(key), "friends.%s", kind->name);
    if (!script_check_list(L, where, key, err))
        return false;
    for (int i = 1; i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        const char *name = lua_tostring(L, -1);
        int f = name == NULL ? -1 : kind_field(kind, name);
        char near[SCRIPT_NEAR_MAX];
        if (f < 0)
            acc_fail(err, ACC_EINPUT, "%s: friends.%s: %s has no field \"%.60s\"%s", where,
                     kind->name, kind->name, name == NULL ? "?" : name,
                     script_near_field(near, name, kind));
        lua_pop(L, 1);
        if (f < 0)
            return false;
        mask |= UINT64_C(1) << f;
    }
    for (size_t f = 0; f < kind->field_count; f++) {
        if ((mask >> f & 1) == 0)
            continue;
        shape.has[shape.count] = kind->fields[f].is_array && mask != kind->unique_mask;
        shape.fields[shape.count++] = (uint8_t)f;
    }
    int number = kind_shape(kind, &shape, err);
    if (number < 0)
        return acc_fail_prefix(err, "%s: friends.%s", where, kind->name);
    if (lifecycle->friend_count == LIFECYCLE_FRIENDS_MAX)
        return acc_fail(err, ACC_ELIMIT, "%s: more than %d look-ups", where, LIFECYCLE_FRIENDS_MAX);
    lifecycle->friends[lifecycle->friend_count].kind = kind;
    lifecycle->friends[lifecycle->friend_count++].shape = number;
    if (shape.count == 0) {
        lifecycle->has_mirror = true;
        if (!lifecycle->is_monotone)
            return acc_fail(
                err, ACC_EINPUT,
                "%s: friends.%s = { {} } mirrors the whole kind, which wants monotone = true",
                where, kind->name);
    }
    return true;
}

static bool read_friends(lua_State *L, const struct catalog *catalog, struct lifecycle *lifecycle,
                         const char *where, struct acc_error *err)
{
    bool ok = true;

    lua_getfield(L, -1, "friends");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        ok = acc_fail(err, ACC_EINPUT, "%s: friends: wanted { KIND = { { \"field\" } } }, got %s",
                      where, luaL_typename(L, -1));
    /* In the catalog's order, so that shape numbers do not depend on Lua's. */
    for (size_t k = 0; ok && lua_istable(L, -1) && k < catalog->count; k++) {
        lua_getfield(L, -1, catalog->kinds[k]->name);
        if (!lua_isnil(L, -1) && !lua_istable(L, -1))
            ok = acc_fail(err, ACC_EINPUT, "%s: friends.%s: wanted a list of look-ups, got %s",
                          where, catalog->kinds[k]->name, luaL_typename(L, -1));
        if (ok && lua_istable(L, -1)) {
            char key[KIND_NAME_MAX + 16];
            snprintf(key, sizeof(key), "friends.%s", catalog->kinds[k]->name);
            ok = script_check_list(L, where, key, err);
        }
        for (int i = 1; ok && lua_istable(L, -1) && i <= (int)lua_objlen(L, -1); i++) {
            lua_rawgeti(L, -1, i);
            ok = read_shape(L, lifecycle, catalog->kinds[k], where, err);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    if (ok && lua_istable(L, -1)) {
        lua_pushnil(L);
        while (ok && lua_next(L, -2) != 0) {
            lua_pop(L, 1);
            const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
            ok = find_kind(catalog, name, where, "friends", err) != NULL;
            if (!ok)
                lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return ok;
}

static bool read_finds(lua_State *L, const struct catalog *catalog, struct lifecycle *lifecycle,
                       const char *where, struct acc_error *err)
{
    bool ok = true;

    lua_getfield(L, -1, "finds");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        ok = acc_fail(err, ACC_EINPUT,
                      "%s: finds: wanted a list of kinds, finds = { \"KIND\" }, got a %s", where,
                      luaL_typename(L, -1));
    ok = ok && (!lua_istable(L, -1) || script_check_list(L, where, "finds", err));
    for (int i = 1; ok && lua_istable(L, -1) && i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        struct kind *kind = find_kind(catalog, lua_tostring(L, -1), where, "finds", err);
        lua_pop(L, 1);
        if (kind == NULL)
            ok = false;
        else if (lifecycle->find_count == LIFECYCLE_FINDS_MAX)
            ok = acc_fail(err, ACC_ELIMIT, "%s: finds more than %d kinds", where,
                          LIFECYCLE_FINDS_MAX);
        else
            lifecycle->finds[lifecycle->find_count++] = kind;
    }
    lua_pop(L, 1);
    return ok;
}

static bool check_functions(lua_State *L, const char *where, struct acc_error *err)
{
    static const char *const functions[] = {"process_data", "load",       "abort_early",
                                            "load_friends", "abort_late", NULL};
    bool ok = true;

    for (size_t i = 0; ok && functions[i] != NULL; i++) {
        lua_getfield(L, -1, functions[i]);
        if (!lua_isfunction(L, -1) && (i == 0 || !lua_isnil(L, -1)))
            ok = acc_fail(err, ACC_EINPUT, "%s: wanted a function %s, got %s", where, functions[i],
                          luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    return ok;
}

static bool read_numbers(lua_State *L, struct lifecycle *lifecycle, const char *where,
                         struct acc_error *err)
{
    bool ok = true;

    lua_getfield(L, -1, "priority");
    if (lua_isfunction(L, -1))
        lifecycle->has_priority_function = true;
    else if (lua_isnumber(L, -1) && lua_tonumber(L, -1) >= -1e6 && lua_tonumber(L, -1) <= 1e6)
        lifecycle->priority = (int32_t)lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        ok = acc_fail(
            err, ACC_EINPUT,
            "%s: priority: wanted a number within a million or a function of the data, got %s",
            where, luaL_typename(L, -1));
    lua_pop(L, 1);
    lua_getfield(L, -1, "throttle");
    if (lua_isfunction(L, -1)) { /* asked once, when the module is loaded */
        lua_pushvalue(L, -1);
        ok = ok && script_call(L, 0, 1, err);
        if (ok)
            lua_replace(L, -2);
    }
    if (ok && lua_isnumber(L, -1) && lua_tonumber(L, -1) > 0)
        lifecycle->throttle = lua_tonumber(L, -1);
    else if (ok && !lua_isnil(L, -1))
        ok = acc_fail(err, ACC_EINPUT, "%s: throttle: wanted events a second above 0, or nil",
                      where);
    lua_pop(L, 1);
    return ok;
}

static bool read_lifecycle(struct script *script, const struct catalog *catalog,
                           struct lifecycle *lifecycle, const char *where, struct acc_error *err)
{
    static const char *const keys[] = {"on",           "friends",     "finds",        "monotone",
                                       "load",         "abort_early", "load_friends", "abort_late",
                                       "process_data", "throttle",    "priority",     "examples",
                                       "doc",          NULL};
    lua_State *L = script->L;

    if (!script_check_keys(L, keys, where, "; what else the module has is local", err))
        return false;
    lua_getfield(L, -1, "on");
    lifecycle->on = find_kind(catalog, lua_tostring(L, -1), where, "on", err);
    lua_pop(L, 1);
    lua_getfield(L, -1, "monotone");
    lifecycle->is_monotone = lua_toboolean(L, -1);
    bool is_bool = lua_isboolean(L, -1) || lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!is_bool)
        return acc_fail(err, ACC_EINPUT, "%s: monotone: wanted true or false", where);
    return lifecycle->on != NULL && check_functions(L, where, err) &&
           read_numbers(L, lifecycle, where, err) &&
           read_friends(L, catalog, lifecycle, where, err) &&
           read_finds(L, catalog, lifecycle, where, err);
}

/* near(name) -> the global that is probably meant, or nil */
static int l_near(lua_State *L)
{
    const char *names[256];
    size_t count = 0;
    const char *name = luaL_checkstring(L, 1);

    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        if (count < 256 && lua_type(L, -1) == LUA_TSTRING)
            names[count++] = lua_tostring(L, -1); /* the table keeps it */
    }
    lua_pushstring(L, name_suggest(name, names, count));
    return 1;
}

/* A global that a module makes or misspells is an error that names its line. */
static bool forbid_globals(lua_State *L, struct acc_error *err)
{
    static const char code[] =
        "local near = ...\n"
        "setmetatable(_G, {\n"
        "  __newindex = function(_, k)\n"
        "    error(('global \"%s\": write local %s'):format(tostring(k), tostring(k)), 2)\n"
        "  end,\n"
        "  __index = function(_, k)\n"
        "    local n = near(tostring(k))\n"
        "    n = n and (', did you mean \"%s\"?'):format(n) or ''\n"
        "    error(('no global \"%s\"%s'):format(tostring(k), n), 2)\n"
        "  end })";

    if (luaL_loadbuffer(L, code, sizeof(code) - 1, "=globals") != 0)
        return acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
    lua_pushcfunction(L, l_near);
    return script_call(L, 1, 0, err);
}

/* Fills lifecycle number from its file; its module is left on the stack. */
static bool load_lifecycle(struct script *script, struct program *program, size_t number,
                           const char *file, struct acc_error *err)
{
    struct lifecycle *lifecycle = program->lifecycles[number];
    struct script_lifecycle *side = acc_zalloc(sizeof(*side));
    int top = lua_gettop(script->L);
    char name[KIND_NAME_MAX * 2];
    char where[128];

    *side = (struct script_lifecycle){script, number, LUA_NOREF, LUA_NOREF, LUA_NOREF};
    lifecycle->script = side;
    script_stem(file, name, sizeof(name));
    snprintf(where, sizeof(where), "lifecycles/%.100s", file);
    lifecycle->path = acc_strdup(where);
    if (!lifecycle_name_check(where, name, err) ||
        !script_load_module(script, "lifecycles", file, lifecycle->module_sha, err))
        return false;
    snprintf(lifecycle->name, sizeof(lifecycle->name), "%.41s", name);
    lifecycle->gather = script_gather;
    lifecycle->process = script_process;
    lifecycle->priority_of = script_priority_of;
    if (read_lifecycle(script, &program->catalog, lifecycle, where, err))
        return true;
    lua_settop(script->L, top);
    return false;
}

static void free_lifecycle(struct lifecycle *lifecycle)
{
    free(lifecycle->script);
    free(lifecycle->path);
    free(lifecycle);
}

bool script_load_lifecycles(struct script *script, struct program *program, struct acc_error *err)
{
    static const char *const ends[] = {".lua", NULL};
    size_t count;

    if (!forbid_globals(script->L, err))
        return false;
    char **names = script_list_files(script->app_dir, "lifecycles", ends, &count);
    bool ok = count <= LIFECYCLES_MAX ||
              acc_fail(err, ACC_ELIMIT, "lifecycles/ has %zu modules, wanted at most %d", count,
                       LIFECYCLES_MAX);

    lua_newtable(script->L);
    script->modules = luaL_ref(script->L, LUA_REGISTRYINDEX);
    program->lifecycles = acc_zalloc((count + 1) * sizeof(struct lifecycle *));
    for (size_t i = 0; ok && i < count; i++) {
        size_t number = program->lifecycle_count++;

        program->lifecycles[number] = acc_zalloc(sizeof(struct lifecycle));
        ok = load_lifecycle(script, program, number, names[i], err);
        if (ok) {
            lua_rawgeti(script->L, LUA_REGISTRYINDEX, script->modules);
            lua_pushvalue(script->L, -2);
            lua_rawseti(script->L, -2, (int)number + 1);
            lua_pop(script->L, 2);
        } else if (script_go_on(script, err)) {
            free_lifecycle(program->lifecycles[--program->lifecycle_count]);
            ok = true;
        }
    }
    script_free_files(names, count);
    return ok;
}
