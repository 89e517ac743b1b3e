/* An app's kinds/ and lifecycles/ folders: loaded, checked, turned into a program. */
#include "script/script_internal.h"

#include "base/hash.h"
#include "script/lua_error.h"

#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * Sorted names in dir/folder that end in one of ends (NULL-terminated); a missing folder has none.
 */
char **script_list_files(const char *dir, const char *folder, const char *const *ends,
                         size_t *count)
{
    char *path = acc_format("%s/%s", dir, folder);
    DIR *d = opendir(path);
    char **names = NULL;

    *count = 0;
    free(path);
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        size_t length = strlen(entry->d_name);
        bool fits = false;
        for (const char *const *end = ends; *end != NULL; end++)
            fits |=
                length > strlen(*end) && strcmp(entry->d_name + length - strlen(*end), *end) == 0;
        if (!fits || entry->d_name[0] == '.')
            continue;
        names = acc_realloc(names, (*count + 1) * sizeof(char *));
        names[(*count)++] = acc_strdup(entry->d_name);
    }
    if (d != NULL)
        closedir(d);
    if (names != NULL)
        qsort(names, *count, sizeof(char *), by_name);
    return names;
}

void script_free_files(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static bool read_file(const char *path, struct buf *out, struct acc_error *err)
{
    char chunk[65536];
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return acc_fail_errno(err, "cannot read %s", path);
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        buf_add(out, chunk, n);
    bool ok = ferror(file) == 0;
    fclose(file);
    return ok || acc_fail_errno(err, "cannot read %s", path);
}

static void hex_sha(const struct buf *data, char hex[65])
{
    uint8_t digest[32];

    sha256(data->data == NULL ? "" : data->data, data->size, digest);
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

bool script_program_sha(const char *app_dir, char sha[65], struct acc_error *err)
{
    static const char *const folders[] = {"kinds", "lifecycles", "lua", "native"};
    static const char *const lua[] = {".lua", NULL};
    static const char *const native[] = {".c", ".h", NULL};
    struct buf all = {0};
    bool ok = true;

    for (size_t f = 0; f < 4; f++) {
        size_t count;
        char **names = script_list_files(app_dir, folders[f], f == 3 ? native : lua, &count);
        for (size_t i = 0; ok && i < count; i++) {
            struct buf text = {0};
            char *path = acc_format("%s/%s/%s", app_dir, folders[f], names[i]);
            ok = read_file(path, &text, err);
            buf_printf(&all, "%s/%s %zu\n", folders[f], names[i], text.size);
            buf_add(&all, text.data == NULL ? "" : text.data, text.size);
            buf_clear(&text);
            free(path);
        }
        script_free_files(names, count);
    }
    hex_sha(&all, sha);
    buf_clear(&all);
    return ok;
}

/* Runs folder/name of the app; its result, a table, is left on the stack. */
static bool load_module(struct script *script, const char *folder, const char *name, char sha[65],
                        struct acc_error *err)
{
    lua_State *L = script->L;
    struct buf text = {0};
    char *path = acc_format("%s/%s/%s", script->app_dir, folder, name);
    char *chunk = acc_format("@%s/%s", folder, name);
    bool ok = read_file(path, &text, err);

    if (ok) {
        hex_sha(&text, sha);
        if (luaL_loadbuffer(L, text.data == NULL ? "" : text.data, text.size, chunk) != 0) {
            ok = acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
            lua_pop(L, 1);
        } else if (text.size > 0 && text.data[0] == '\033') {
            ok = acc_fail(err, ACC_ELUA, "%s: wanted Lua source, got bytecode", chunk + 1);
            lua_pop(L, 1);
        } else {
            ok = script_call(L, 0, 1, err);
        }
    }
    if (ok && !lua_istable(L, -1)) {
        ok = acc_fail(err, ACC_EINPUT, "%s: wanted a module that returns a table, got %s",
                      chunk + 1, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    buf_clear(&text);
    free(path);
    free(chunk);
    return ok;
}

/* The part of name before ".lua". */
static void stem(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)(strlen(name) - 4), name);
}

/* Whether the table on top has only the keys of known (NULL-terminated). */
static bool check_keys(lua_State *L, const char *const *known, const char *where,
                       struct acc_error *err)
{
    size_t count = 0;

    while (known[count] != NULL)
        count++;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        bool ok = false;
        lua_pop(L, 1);
        const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        for (size_t i = 0; key != NULL && i < count; i++)
            ok |= strcmp(known[i], key) == 0;
        if (!ok) {
            const char *near = key == NULL ? NULL : name_suggest(key, known, count);
            acc_fail(err, ACC_EINPUT, "%s: unknown key \"%s\"%s%s%s", where,
                     key == NULL ? "(not a name)" : key, near == NULL ? "" : ", did you mean \"",
                     near == NULL ? "" : near, near == NULL ? "" : "\"");
            lua_pop(L, 1);
            return false;
        }
    }
    return true;
}

/* Whether loading goes on after a module that failed: when somebody collects what is wrong. */
static bool go_on(struct script *script, const struct acc_error *err)
{
    if (script->on_problem == NULL)
        return false;
    script->on_problem(script, err);
    script->has_problem = true;
    return true;
}

/* Kinds */

/* { "name", "type" } at the top of the stack into the kind's next field. */
static bool read_field(lua_State *L, struct kind *kind, int number, bool is_nullable,
                       const char *where, struct acc_error *err)
{
    char what[128];

    if (!lua_istable(L, -1))
        return acc_fail(err, ACC_EINPUT, "%s: field %d: wanted { \"name\", \"type\" }, got %s",
                        where, number, luaL_typename(L, -1));
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    const char *name = lua_tostring(L, -2);
    const char *type = lua_tostring(L, -1);
    snprintf(what, sizeof(what), "%s: field %d", where, number);
    bool ok = true;
    if (name == NULL || type == NULL)
        ok = acc_fail(err, ACC_EINPUT, "%s: wanted { \"name\", \"type\" }", what);
    ok = ok && name_check(what, name, err);
    if (ok && kind->field_count == KIND_FIELDS_MAX)
        ok = acc_fail(err, ACC_ELIMIT, "%s: more than %d fields", where, KIND_FIELDS_MAX);
    if (ok && kind_field(kind, name) >= 0)
        ok = acc_fail(err, ACC_EINPUT, "%s: field \"%s\" is declared twice", where, name);
    if (ok) {
        struct field *field = &kind->fields[kind->field_count];
        snprintf(field->name, sizeof(field->name), "%s", name);
        field->is_nullable = is_nullable;
        field->is_unique = !is_nullable;
        if (!field_type_of(type, &field->type, &field->is_array)) {
            ok = acc_fail(err, ACC_EINPUT,
                          "%s \"%s\": wanted a type of bool int8 float8 text bytes json uuid or an "
                          "array of one, got \"%.40s\"",
                          what, name, type);
        } else {
            kind->field_count++;
        }
    }
    lua_pop(L, 2);
    return ok;
}

/* The list of field names in key of the table on top; calls each with the index. */
static bool read_names(lua_State *L, const struct kind *kind, const char *key, const char *where,
                       uint8_t *out, size_t *count, struct acc_error *err)
{
    bool ok = true;

    *count = 0;
    lua_getfield(L, -1, key);
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        ok = acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list of field names, got %s", where, key,
                      luaL_typename(L, -1));
    for (int i = 1; ok && lua_istable(L, -1) && i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        const char *name = lua_tostring(L, -1);
        int f = name == NULL ? -1 : kind_field(kind, name);
        if (f < 0) {
            const char *names[KIND_FIELDS_MAX];
            for (size_t k = 0; k < kind->field_count; k++)
                names[k] = kind->fields[k].name;
            const char *near = name == NULL ? NULL : name_suggest(name, names, kind->field_count);
            ok = acc_fail(err, ACC_EINPUT, "%s: %s: no field \"%s\"%s%s%s", where, key,
                          name == NULL ? "?" : name, near == NULL ? "" : ", did you mean \"",
                          near == NULL ? "" : near, near == NULL ? "" : "\"");
        } else {
            out[(*count)++] = (uint8_t)f;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return ok;
}

static bool read_fields(lua_State *L, struct kind *kind, const char *key, bool is_nullable,
                        const char *where, struct acc_error *err)
{
    bool ok = true;

    lua_getfield(L, -1, key);
    if (!lua_istable(L, -1) && !(is_nullable && lua_isnil(L, -1)))
        ok = acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list of { \"name\", \"type\" }, got %s",
                      where, key, luaL_typename(L, -1));
    for (int i = 1; ok && lua_istable(L, -1) && i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        ok = read_field(L, kind, i, is_nullable, where, err);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return ok;
}

static bool read_kind(lua_State *L, struct kind *kind, const char *where, struct acc_error *err)
{
    static const char *const keys[] = {"fields", "nullable", "unique", "shard", "doc", NULL};
    uint8_t unique[KIND_FIELDS_MAX];
    size_t unique_count;

    if (!check_keys(L, keys, where, err) || !read_fields(L, kind, "fields", false, where, err) ||
        !read_fields(L, kind, "nullable", true, where, err) ||
        !read_names(L, kind, "unique", where, unique, &unique_count, err) ||
        !read_names(L, kind, "shard", where, kind->shard, &kind->shard_count, err))
        return false;
    for (size_t f = 0; unique_count > 0 && f < kind->field_count; f++)
        kind->fields[f].is_unique = false;
    for (size_t i = 0; i < unique_count; i++)
        kind->fields[unique[i]].is_unique = true;
    if (unique_count == 0) { /* json cannot be unique: it is left out of the default */
        for (size_t f = 0; f < kind->field_count; f++)
            kind->fields[f].is_unique &= kind->fields[f].type != FIELD_JSON;
    }
    if (!kind_finish(kind, err))
        return acc_fail_prefix(err, "%s", where);
    return true;
}

bool script_load_kinds(struct script *script, struct program *program, struct acc_error *err)
{
    static const char *const ends[] = {".lua", NULL};
    size_t count;
    char **names = script_list_files(script->app_dir, "kinds", ends, &count);
    bool ok = count > 0 ||
              acc_fail(err, ACC_EINPUT, "%s/kinds: wanted at least one kind, a file NAME.lua",
                       script->app_dir);

    for (size_t i = 0; ok && i < count; i++) {
        struct kind *kind = acc_zalloc(sizeof(*kind));
        char name[KIND_NAME_MAX * 2];
        char where[128];
        char sha[65];

        stem(names[i], name, sizeof(name));
        snprintf(where, sizeof(where), "kinds/%.100s", names[i]);
        ok = name_check(where, name, err) && load_module(script, "kinds", names[i], sha, err);
        if (ok) {
            snprintf(kind->name, sizeof(kind->name), "%.41s", name);
            ok = read_kind(script->L, kind, where, err);
            lua_pop(script->L, 1);
        }
        if (!ok || !catalog_add(&program->catalog, kind, err)) {
            free(kind);
            ok = go_on(script, err);
        }
    }
    script_free_files(names, count);
    return ok && !script->has_problem;
}

/* Lifecycles */

static const char *kind_near(const struct catalog *catalog, const char *name)
{
    const char *names[CATALOG_KINDS_MAX];

    for (size_t i = 0; i < catalog->count; i++)
        names[i] = catalog->kinds[i]->name;
    return name_suggest(name, names, catalog->count);
}

static struct kind *find_kind(const struct catalog *catalog, const char *name, const char *where,
                              const char *key, struct acc_error *err)
{
    struct kind *kind = name == NULL ? NULL : catalog_find(catalog, name);

    if (kind == NULL) {
        const char *near = name == NULL ? NULL : kind_near(catalog, name);
        acc_fail(err, ACC_EINPUT, "%s: %s: wanted the name of a kind, got \"%.60s\"%s%s%s", where,
                 key, name == NULL ? "nothing" : name, near == NULL ? "" : ", did you mean \"",
                 near == NULL ? "" : near, near == NULL ? "" : "\"");
    }
    return kind;
}

/* One shape, a list of field names, at the top of the stack. */
static bool read_shape(lua_State *L, struct lifecycle *lifecycle, struct kind *kind,
                       const char *where, struct acc_error *err)
{
    struct shape shape = {0};
    uint64_t mask = 0;

    if (!lua_istable(L, -1))
        return acc_fail(err, ACC_EINPUT,
                        "%s: friends.%s: wanted a list of look-ups, each a list of field names: %s "
                        "= { { \"%s\" } }",
                        where, kind->name, kind->name, kind->fields[0].name);
    for (int i = 1; i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        const char *name = lua_tostring(L, -1);
        int f = name == NULL ? -1 : kind_field(kind, name);
        const char *names[KIND_FIELDS_MAX];
        for (size_t k = 0; k < kind->field_count; k++)
            names[k] = kind->fields[k].name;
        const char *near = name == NULL ? NULL : name_suggest(name, names, kind->field_count);
        if (f < 0)
            acc_fail(err, ACC_EINPUT, "%s: friends.%s: %s has no field \"%.60s\"%s%s%s", where,
                     kind->name, kind->name, name == NULL ? "?" : name,
                     near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
                     near == NULL ? "" : "\"");
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
        ok = acc_fail(err, ACC_EINPUT, "%s: finds: wanted a list of kinds, got %s", where,
                      luaL_typename(L, -1));
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

    if (!check_keys(L, keys, where, err))
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
        "local near = ... setmetatable(_G, { __newindex = function(_, k) error('global \"' .. "
        "tostring(k) .. '\": write local ' .. tostring(k), 2) end, __index = function(_, k) local "
        "n "
        "= near(tostring(k)) error('no global \"' .. tostring(k) .. '\"' .. (n and ', did you mean "
        "\"' .. n .. '\"' or ''), 2) end })";

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
    stem(file, name, sizeof(name));
    snprintf(where, sizeof(where), "lifecycles/%.100s", file);
    lifecycle->path = acc_strdup(where);
    if (!name_check(where, name, err) ||
        !load_module(script, "lifecycles", file, lifecycle->module_sha, err))
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
    bool ok = true;

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
        } else if (go_on(script, err)) {
            free_lifecycle(program->lifecycles[--program->lifecycle_count]);
            ok = true;
        }
    }
    script_free_files(names, count);
    return ok;
}
