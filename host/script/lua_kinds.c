/* An app's kinds/ folder: loaded, checked, put into the catalog. */
#include "script/script_internal.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Refuses what else a field { "name", "type" } at the top of the stack says: its author means something by it. */
static bool check_field_keys(lua_State *L, const char *name, const char *type, const char *where,
                             struct acc_error *err)
{
    static const char *const lists[] = {"nullable", "unique", "shard"};
    char place[SCRIPT_PLACE_MAX];
    char near[SCRIPT_NEAR_MAX];
    char way[200] = "";

    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        bool is_named = lua_type(L, -2) == LUA_TSTRING;
        if (lua_isnumber(L, -2) && (lua_tonumber(L, -2) == 1 || lua_tonumber(L, -2) == 2)) {
            lua_pop(L, 1);
            continue;
        }
        const char *word = is_named                         ? lua_tostring(L, -2)
                           : lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                            : luaL_typename(L, -1);
        const char *list = name_suggest(word, lists, sizeof(lists) / sizeof(*lists));
        if (list == lists[0])
            snprintf(way, sizeof(way),
                     "; nullable fields stand in a list of the kind: nullable = { { \"%s\", "
                     "\"%.40s\" } }",
                     name, type);
        else if (list != NULL)
            snprintf(way, sizeof(way), "; the kind itself says: %s = { \"%s\" }", list, name);
        bool is_right = list == NULL || strcmp(list, word) == 0;
        acc_fail(err, ACC_EINPUT,
                 "%s: field \"%s\": unknown %s \"%.60s\"%s (wanted { \"name\", \"type\" } alone%s)",
                 script_place(L, place, where, name, is_named ? word : NULL), name,
                 is_named ? "key" : "value", word,
                 is_right ? "" : script_did_you_mean(near, word, &list, 1), way);
        lua_pop(L, 2);
        return false;
    }
    return true;
}

/* { "name", "type" } at the top of the stack into the kind's next field. */
static bool read_field(lua_State *L, struct kind *kind, int number, bool is_nullable,
                       const char *where, struct acc_error *err)
{
    char what[128];
    int top = lua_gettop(L);

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
    if (ok) {
        lua_pushvalue(L, top);
        ok = check_field_keys(L, name, type, where, err);
        lua_pop(L, 1);
    }
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
            const char *near = field_type_near(type);
            ok = acc_fail(err, ACC_EINPUT,
                          "%s \"%s\": wanted a type of bool int8 float8 text bytes json uuid or an "
                          "array of one, got \"%.40s\"%s%s%s",
                          what, name, type, near == NULL ? "" : ", did you mean \"",
                          near == NULL ? "" : near, near == NULL ? "" : "\"?");
        } else {
            kind->field_count++;
        }
    }
    lua_pop(L, 2);
    return ok;
}

/*
 * The list of field names in key of the table on top. A list that is there and empty is refused:
 * who writes one may well mean "no field", and would get the default.
 */
static bool read_names(lua_State *L, const struct kind *kind, const char *key, const char *where,
                       uint8_t *out, size_t *count, struct acc_error *err)
{
    bool ok = true;

    *count = 0;
    lua_getfield(L, -1, key);
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        ok = acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list of field names, got %s", where, key,
                      luaL_typename(L, -1));
    if (ok && lua_istable(L, -1) && lua_objlen(L, -1) == 0)
        ok = acc_fail(err, ACC_EINPUT, "%s: %s: wanted at least one unique field, got none", where,
                      key);
    ok = ok && (!lua_istable(L, -1) || script_check_list(L, where, key, err));
    for (int i = 1; ok && lua_istable(L, -1) && i <= (int)lua_objlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        const char *name = lua_tostring(L, -1);
        int f = name == NULL ? -1 : kind_field(kind, name);
        if (f < 0) {
            char near[SCRIPT_NEAR_MAX];
            ok = acc_fail(err, ACC_EINPUT, "%s: %s: no field \"%s\"%s", where, key,
                          name == NULL ? "?" : name, script_near_field(near, name, kind));
        } else {
            out[(*count)++] = (uint8_t)f;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return ok;
}

/* The table on top is a list: refuses { text = "int8" }, which says the same to a reader. */
static bool check_list(lua_State *L, const char *key, const char *where, struct acc_error *err)
{
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list, { \"%s\", \"%s\" }, got %s = …", where,
                 key, lua_tostring(L, -2),
                 lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "type",
                 lua_tostring(L, -2));
        lua_pop(L, 2);
        return false;
    }
    return true;
}

static bool read_fields(lua_State *L, struct kind *kind, const char *key, bool is_nullable,
                        const char *where, struct acc_error *err)
{
    bool ok = true;

    lua_getfield(L, -1, key);
    if (!lua_istable(L, -1) && !(is_nullable && lua_isnil(L, -1)))
        ok = acc_fail(err, ACC_EINPUT, "%s: %s: wanted a list of { \"name\", \"type\" }, got %s",
                      where, key, luaL_typename(L, -1));
    ok = ok && (!lua_istable(L, -1) || check_list(L, key, where, err));
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

    if (!script_check_keys(L, keys, where, "", err) ||
        !read_fields(L, kind, "fields", false, where, err) ||
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

        script_stem(names[i], name, sizeof(name));
        snprintf(where, sizeof(where), "kinds/%.100s", names[i]);
        ok =
            name_check(where, name, err) && script_load_module(script, "kinds", names[i], sha, err);
        if (ok) {
            snprintf(kind->name, sizeof(kind->name), "%.41s", name);
            ok = read_kind(script->L, kind, where, err);
            lua_pop(script->L, 1);
        }
        if (!ok || !catalog_add(&program->catalog, kind, err)) {
            free(kind);
            ok = script_go_on(script, err);
        }
    }
    script_free_files(names, count);
    return ok && !script->has_problem;
}
