/* An app's routes/ folder: loaded and checked, and served by the routes process. */
#include "base/files.h"
#include "formats/values.h"
#include "identity.h"
#include "script/lua_error.h"
#include "script/lua_http.h"
#include "script/script_internal.h"

#include <jansson.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* Runs routes/name: it declares what it serves. */
static bool load_file(struct script *script, const char *name, struct acc_error *err)
{
    char sha[65];

    return script_load_chunk(script, "routes", name, 0, sha, err);
}

bool script_load_routes(struct script *script, struct acc_error *err)
{
    static const char *const ends[] = {".lua", NULL};
    size_t count;
    char **names = script_list_files(script->app_dir, "routes", ends, &count);
    bool ok = true;

    lua_http_of(script->L)->is_app = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = load_file(script, names[i], err);
        if (!ok && script->on_problem != NULL) {
            script->on_problem(script, err);
            ok = true;
        }
    }
    script_free_files(names, count);
    return ok;
}

/* What routes.lua gets */

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_field(lua_State *L, const struct field *field)
{
    lua_newtable(L);
    set_text(L, "name", field->name);
    set_text(L, "type", field_type_name(field->type));
    lua_pushboolean(L, field->is_array);
    lua_setfield(L, -2, "is_array");
    lua_pushboolean(L, field->is_unique);
    lua_setfield(L, -2, "is_unique");
}

/* { { name, table, tag, index, fields = { { name, type, is_array, is_unique } } } } */
static void push_kinds(lua_State *L, const struct catalog *catalog)
{
    lua_createtable(L, (int)catalog->count, 0);
    for (size_t k = 0; k < catalog->count; k++) {
        const struct kind *kind = catalog->kinds[k];

        lua_newtable(L);
        set_text(L, "name", kind->name);
        set_text(L, "table", kind->table);
        lua_pushinteger(L, kind->tag);
        lua_setfield(L, -2, "tag");
        lua_pushinteger(L, (lua_Integer)k);
        lua_setfield(L, -2, "index");
        lua_createtable(L, (int)kind->field_count, 0);
        for (size_t f = 0; f < kind->field_count; f++) {
            push_field(L, &kind->fields[f]);
            lua_rawseti(L, -2, (int)f + 1);
        }
        lua_setfield(L, -2, "fields");
        lua_rawseti(L, -2, (int)k + 1);
    }
}

static struct lua_http *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The id of the fact whose unique fields object has. */
static bool identify(const struct catalog *catalog, const struct kind *kind, json_t *object,
                     uint8_t id[16], struct acc_error *err)
{
    struct acc_heap heap;
    struct acc_rows rows = {0};
    struct values_target target = {.catalog = catalog, .heap = &heap, .value_bytes = INT32_MAX};
    bool ok = true;

    heap_init(&heap, 1); /* the intake of this process has the other part */
    rows_init(&rows, kind, 1);
    struct acc_row *row = rows_add(&rows, err);
    for (size_t f = 0; ok && row != NULL && f < kind->field_count; f++) {
        if (kind->fields[f].is_unique)
            ok = values_set_json(&target, kind, f, json_object_get(object, kind->fields[f].name),
                                 row, err);
    }
    if (ok && row != NULL) {
        row_normalise(kind, row);
        identity_set(kind, row);
        memcpy(id, row->id, 16);
    }
    rows_clear(&rows);
    heap_reset(&heap);
    return ok && row != NULL;
}

/* identity(number of the kind, its unique fields as JSON) -> the fact's id */
int lua_http_identity(lua_State *L)
{
    size_t size;
    const struct catalog *catalog = self(L)->catalog;
    const struct kind *kind = catalog->kinds[luaL_checkinteger(L, 1)];
    const char *text = luaL_checklstring(L, 2, &size);
    struct acc_error err = {0};
    uint8_t id[16];
    json_t *object = json_loadb(text, size, JSON_ALLOW_NUL, NULL);
    bool ok = object != NULL && identify(catalog, kind, object, id, &err);

    json_decref(object);
    if (!ok)
        return lua_raise(L, &err);
    lua_pushlstring(L, (const char *)id, sizeof(id));
    return 1;
}

/* As the state's own allocator, up to the limit: one route that hoards must not take the whole machine. */
static void *allocate(void *context, void *old, size_t old_size, size_t size)
{
    struct lua_memory *memory = context;

    if (size > old_size && memory->used + (size - old_size) > memory->limit) {
        memory->was_full = true;
        return NULL;
    }
    void *new = memory->allocate(memory->context, old, old_size, size);
    if (new != NULL || size == 0)
        memory->used += size - old_size;
    return new;
}

static void limit_memory(lua_State *L, struct lua_memory *memory, int64_t bytes)
{
    memory->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024;
    memory->limit = (size_t)bytes;
    memory->allocate = lua_getallocf(L, &memory->context);
    lua_setallocf(L, allocate, memory);
}

bool script_serve(struct script *script, const struct script_serve *serve, struct acc_error *err)
{
    lua_State *L = script->L;
    struct lua_http *http = lua_http_of(L);
    size_t size;
    const char *text = files_get("host/script/routes.lua", &size);

    http->is_app = http->has_roles = true;
    http->is_readonly = serve->is_readonly;
    http->beat = serve->beat;
    http->reads = serve->reads;
    http->intake = serve->intake;
    http->limit_ms = serve->limit_ms;
    http->catalog = &script->program->catalog;
    if (http->attach == 0)
        return acc_fail(err, ACC_EINPUT,
                        "routes/: no route is declared: local http = require(\"accrete.http\")");
    lua_rawgeti(L, LUA_REGISTRYINDEX, http->attach);
    /* Called as a module of accrete, so that errors name the caller's line. */
    if (luaL_loadbuffer(L, text, size, "@lua/accrete/http_routes.lua") != 0) {
        acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
        lua_pop(L, 2);
        return false;
    }
    push_kinds(L, http->catalog);
    if (!script_call(L, 2, 0, err))
        return false;
    limit_memory(L, &http->memory, serve->memory_bytes);
    lua_http_begin(http, L, serve->server);
    return true;
}

void script_serve_end(struct script *script)
{
    if (script == NULL)
        return;
    struct lua_http *http = lua_http_of(script->L);
    if (http->memory.allocate != NULL)
        lua_setallocf(script->L, http->memory.allocate, http->memory.context);
    lua_http_end(http);
}
