/*
 * The driver's side of a batch: hands Lua the batch's memory and the few calls that wait, fail or
 * write.
 */
#include "script/script_internal.h"

#include "base/files.h"
#include "base/log.h"
#include "formats/dump_json.h"
#include "page.h"
#include "script/lua_error.h"

#include <jansson.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static struct script *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct acc_rows *rows_named(lua_State *L, struct batch *batch)
{
    size_t kind = (size_t)luaL_checkinteger(L, 1);
    const char *which = luaL_checkstring(L, 2);

    luaL_argcheck(L, kind < batch->program->catalog.count, 1, "no such kind");
    switch (which[0]) {
    case 'd':
        return &batch->data[kind];
    case 'm':
        return &batch->mirrors[kind].rows;
    default:
        return which[1] == 'r' ? &batch->friends[kind] : &batch->finds[kind];
    }
}

/* rows(kind, "data" | "friends" | "finds" | "mirror") -> address of row 0 */
static int l_rows(lua_State *L)
{
    lua_pushlightuserdata(L, rows_named(L, self(L)->batch)->base);
    return 1;
}

/* rows_struct(kind, which) -> address of the struct acc_rows */
static int l_rows_struct(lua_State *L)
{
    lua_pushlightuserdata(L, rows_named(L, self(L)->batch));
    return 1;
}

/* mirror_version(kind) -> number */
static int l_mirror_version(lua_State *L)
{
    struct batch *batch = self(L)->batch;
    lua_pushinteger(L, batch->mirrors[luaL_checkinteger(L, 1)].version);
    return 1;
}

/* Makes err the reason why the whole turn fails, and raises. */
static int fatal(lua_State *L, struct script *script, const struct acc_error *err)
{
    script->fatal = *err;
    script->is_fatal = true;
    return lua_raise(L, err);
}

/* fetch(): looks up all keys; raises what the database said */
static int l_fetch(lua_State *L)
{
    struct script *script = self(L);
    struct acc_error err;

    if (!friends_fetch(script->batch, &err))
        return fatal(L, script, &err);
    return 0;
}

/* full(): writes the finds so far, in the middle of an event */
static int l_full(lua_State *L)
{
    struct script *script = self(L);
    struct batch *batch = script->batch;
    struct acc_error err;
    uint32_t phase = batch->slot->phase;

    if (!batch->lifecycle->is_monotone) {
        /* One event of a lifecycle that reads inside its transaction must fit it. */
        if (batch->hot.find_count < 50 * (uint32_t)batch->settings->worker.batch_finds)
            return 0;
        acc_fail(&err, ACC_ELIMIT,
                 "more than %u finds in one event of a lifecycle that is not monotone",
                 batch->hot.find_count);
        return lua_raise(L, &err);
    }
    if (!batch->flush(batch, &err))
        return fatal(L, script, &err);
    batch->slot->phase = phase;
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->driver);
    lua_getfield(L, -1, "flushed");
    lua_call(L, 0, 0);
    return 0;
}

/* is_fatal() -> boolean */
static int l_is_fatal(lua_State *L)
{
    lua_pushboolean(L, self(L)->is_fatal);
    return 1;
}

/* park(event, text, trace) */
static int l_park(lua_State *L)
{
    struct batch *batch = self(L)->batch;
    lua_Integer event = luaL_checkinteger(L, 1);
    const char *text = luaL_checkstring(L, 2);

    luaL_argcheck(L, event >= 0 && event < (lua_Integer)batch->hot.event_count, 1, "no such event");
    log_warn("lifecycle", "lifecycle=%s event=failed error=%s", batch->lifecycle->name,
             log_quote(text));
    batch_park_event(batch, (uint32_t)event, text, luaL_checkstring(L, 3), false);
    return 0;
}

/* reason(outcome, value): counts why an event was aborted */
static int l_reason(lua_State *L)
{
    batch_reason(self(L)->batch, (enum outcome)luaL_checkinteger(L, 1), luaL_checkstring(L, 2));
    return 0;
}

int script_l_json(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    json_error_t problem;
    json_t *value =
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                   &problem); /* as ingest reads it */
    struct buf canonical = {0};

    if (value == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, problem.text);
        return 2;
    }
    dump_json_value(&canonical, value);
    json_decref(value);
    lua_pushlstring(L, canonical.data, canonical.size);
    buf_clear(&canonical);
    return 1;
}

/*
 * query(sql, ...) -> list of rows, tables by column name; texts, and numbers for int and float
 * columns
 */
static int l_query(lua_State *L)
{
    struct script *script = self(L);
    struct pg *pg = script->batch->pg;
    const char *values[32] = {0};
    struct acc_error err;
    int count = lua_gettop(L) - 1;
    const char *sql = luaL_checkstring(L, 1);

    luaL_argcheck(L, count <= 32, 34, "at most 32 parameters");
    script->query_count++;
    for (int i = 0; i < count; i++)
        values[i] = lua_isnil(L, i + 2) ? NULL : luaL_checkstring(L, i + 2);
    if (!script->batch->in_transaction && !script->batch->is_reading) {
        if (!pg_do(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, &err))
            return fatal(L, script, &err);
        script->batch->is_reading = true;
    }
    bool in_writer = script->batch->in_transaction; /* there a savepoint keeps it from writing */
    if (in_writer && !pg_do(pg, "SAVEPOINT query; SET TRANSACTION READ ONLY", NULL, &err))
        return fatal(L, script, &err);
    PGresult *res = PQexecParams(pg->conn, sql, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        if (PQresultStatus(res) == PGRES_FATAL_ERROR)
            pg_fail(&err, res, pg->conn);
        else
            acc_fail(&err, ACC_EDB, "db:query: wanted a statement that returns rows");
        if (err.code == ACC_ESTALE) /* a division by zero here is the app's, not a fence's */
            err.code = ACC_EDB;
        PQclear(res);
        return fatal(L, script, &err);
    }
    if (in_writer && !pg_do(pg, "ROLLBACK TO query; RELEASE query", NULL, &err)) {
        PQclear(res);
        return fatal(L, script, &err);
    }
    lua_createtable(L, PQntuples(res), 0);
    for (int r = 0; r < PQntuples(res); r++) {
        lua_createtable(L, 0, PQnfields(res));
        for (int c = 0; c < PQnfields(res); c++) {
            Oid type = PQftype(res, c);
            if (PQgetisnull(res, r, c))
                continue;
            lua_pushlstring(L, PQgetvalue(res, r, c), (size_t)PQgetlength(res, r, c));
            if (type == PG_INT2 || type == PG_INT4 || type == PG_INT8 || type == PG_FLOAT8) {
                lua_pushnumber(L, lua_tonumber(L, -1));
                lua_remove(L, -2);
            }
            lua_setfield(L, -2, PQfname(res, c));
        }
        lua_rawseti(L, -2, r + 1);
    }
    PQclear(res);
    return 1;
}

/* What the driver gets to know */

static void set_pointer(lua_State *L, const char *name, void *pointer)
{
    lua_pushlightuserdata(L, pointer);
    lua_setfield(L, -2, name);
}

static void push_host(lua_State *L, struct script *script)
{
    static const luaL_Reg functions[] = {
        {"rows", l_rows},
        {"rows_struct", l_rows_struct},
        {"mirror_version", l_mirror_version},
        {"fetch", l_fetch},
        {"full", l_full},
        {"is_fatal", l_is_fatal},
        {"park", l_park},
        {"reason", l_reason},
        {"suggest", script_l_suggest},
        {"json", script_l_json},
        {"query", l_query},
        {"part", script_l_part},
        {NULL, NULL},
    };
    struct batch *batch = script->batch;

    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, script);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    set_pointer(L, "batch", &batch->hot);
    set_pointer(L, "slot", batch->slot);
    set_pointer(L, "heap", &batch->heap);
    set_pointer(L, "outcomes", batch->outcomes);
    set_pointer(L, "handles", batch->handles);
    set_pointer(L, "index", batch->index);
    set_pointer(L, "friend_ids", batch->friend_ids);
}

static void set_boolean(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

static void push_kind(lua_State *L, const struct kind *kind)
{
    lua_newtable(L);
    lua_pushstring(L, kind->name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, (lua_Integer)kind->index);
    lua_setfield(L, -2, "index");
    lua_createtable(L, (int)kind->field_count, 0);
    for (size_t f = 0; f < kind->field_count; f++) {
        lua_newtable(L);
        lua_pushstring(L, kind->fields[f].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, field_type_name(kind->fields[f].type));
        lua_setfield(L, -2, "type");
        set_boolean(L, "is_array", kind->fields[f].is_array);
        set_boolean(L, "is_nullable", kind->fields[f].is_nullable);
        set_boolean(L, "is_unique", kind->fields[f].is_unique);
        lua_rawseti(L, -2, (int)f + 1);
    }
    lua_setfield(L, -2, "fields");
}

/* { kind, fields = {1-based}, has = {…}, keys = { rows_struct, base, number } } */
static void push_friend(lua_State *L, struct batch *batch, const struct kind *kind, int number)
{
    const struct shape *shape = &kind->shapes[number];
    struct lookup *lookup = batch_lookup(batch, kind, number);

    lua_newtable(L);
    lua_pushstring(L, kind->name);
    lua_setfield(L, -2, "kind");
    lua_newtable(L);
    lua_newtable(L);
    for (size_t i = 0; i < shape->count; i++) {
        lua_pushinteger(L, shape->fields[i] + 1);
        lua_rawseti(L, -3, (int)i + 1);
        lua_pushboolean(L, shape->has[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -3, "has");
    lua_setfield(L, -2, "fields");
    lua_newtable(L);
    set_pointer(L, "rows_struct", &lookup->keys);
    set_pointer(L, "base", lookup->keys.base);
    lua_pushinteger(L, (lua_Integer)(lookup - batch->lookups));
    lua_setfield(L, -2, "number");
    lua_setfield(L, -2, "keys");
}

static void push_lifecycle(lua_State *L, struct script *script, size_t number)
{
    struct lifecycle *lifecycle = script->program->lifecycles[number];

    lua_newtable(L);
    lua_pushstring(L, lifecycle->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, lifecycle->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, lifecycle->on->name);
    lua_setfield(L, -2, "on");
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->modules);
    lua_rawgeti(L, -1, (int)number + 1);
    lua_remove(L, -2);
    lua_setfield(L, -2, "module");
    lua_newtable(L);
    for (size_t i = 0; i < lifecycle->friend_count; i++) {
        push_friend(L, script->batch, lifecycle->friends[i].kind, lifecycle->friends[i].shape);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "friends");
    lua_newtable(L);
    for (size_t i = 0; i < lifecycle->find_count; i++) {
        lua_pushstring(L, lifecycle->finds[i]->name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "finds");
}

/* Takes gather, process, priority_of out of the lifecycle's table at the top. */
static void keep_functions(lua_State *L, struct script_lifecycle *side)
{
    lua_getfield(L, -1, "gather");
    side->gather = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "process");
    side->process = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "priority_of");
    side->priority_of =
        lua_isnil(L, -1) ? (lua_pop(L, 1), LUA_NOREF) : luaL_ref(L, LUA_REGISTRYINDEX);
}

static bool declare_hot(lua_State *L, struct acc_error *err)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, "accrete.native");
    if (!script_call(L, 1, 1, err))
        return false;
    lua_getfield(L, -1, "declare_hot");
    lua_remove(L, -2);
    return script_call(L, 0, 0, err);
}

bool script_bind(struct script *script, struct batch *batch, struct acc_error *err)
{
    lua_State *L = script->L;
    size_t size;
    const char *text = files_get("host/script/driver.lua", &size);

    if (script->batch == batch)
        return true;
    script->batch = batch;
    if (!declare_hot(L, err))
        return false;
    if (luaL_loadbuffer(L, text, size, "@host/script/driver.lua") != 0)
        return acc_fail(err, ACC_ELUA, "%s", lua_tostring(L, -1));
    push_host(L, script);
    if (!script_call(L, 1, 1, err))
        return false;
    lua_pushvalue(L, -1);
    script->driver = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "setup");
    lua_newtable(L);
    for (size_t i = 0; i < script->program->catalog.count; i++) {
        push_kind(L, script->program->catalog.kinds[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_newtable(L);
    lua_pushvalue(L, -1);
    int list = luaL_ref(L, LUA_REGISTRYINDEX);
    for (size_t i = 0; i < script->program->lifecycle_count; i++) {
        push_lifecycle(L, script, i);
        lua_rawseti(L, -2, (int)i + 1);
    }
    bool ok = script_call(L, 2, 0, err);
    lua_pop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, list);
    for (size_t i = 0; ok && i < script->program->lifecycle_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        keep_functions(L, script->program->lifecycles[i]->script);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, list);
    return ok;
}

/* After a failed call: the database's reason if there is one, else Lua's. */
static bool failed(struct script *script, struct batch *batch, struct acc_error *err)
{
    if (script->is_fatal)
        *err = script->fatal;
    batch->slot->current = -1;
    return false;
}

bool script_gather(struct lifecycle *lifecycle, struct batch *batch, struct acc_error *err)
{
    struct script_lifecycle *side = lifecycle->script;
    struct script *script = side->script;

    if (!script_bind(script, batch, err))
        return false;
    script->is_fatal = false;
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, side->gather);
    lua_pushinteger(script->L, (lua_Integer)batch->hot.run_count);
    return script_call(script->L, 1, 0, err) || failed(script, batch, err);
}

bool script_process(struct lifecycle *lifecycle, struct batch *batch, uint32_t *next,
                    struct acc_error *err)
{
    struct script_lifecycle *side = lifecycle->script;
    struct script *script = side->script;

    script->is_fatal = false;
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, side->process);
    lua_pushinteger(script->L, (lua_Integer)*next);
    lua_pushinteger(script->L, (lua_Integer)batch->hot.run_count);
    if (!script_call(script->L, 2, 1, err))
        return failed(script, batch, err);
    *next = (uint32_t)lua_tointeger(script->L, -1);
    lua_pop(script->L, 1);
    batch->slot->phase = PHASE_WRITE;
    return true;
}

int32_t script_priority_of(struct lifecycle *lifecycle, const struct acc_row *row)
{
    struct script_lifecycle *side = lifecycle->script;
    struct script *script = side->script;
    struct acc_error err;

    if (side->priority_of == LUA_NOREF) /* outside a worker: the priority is set by none */
        return 0;
    struct acc_slot *slot = script->batch->slot;
    uint32_t phase = slot->phase;
    slot->phase = PHASE_LUA; /* it may loop for ever like any callback */
    slot->beat++;
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, side->priority_of);
    lua_pushlightuserdata(script->L, (void *)row);
    bool ok = script_call(script->L, 1, 1, &err);
    slot->phase = phase;
    if (!ok) {
        log_warn("lifecycle", "lifecycle=%s event=\"priority failed\" error=%s", lifecycle->name,
                 log_quote(err.text));
        return 0;
    }
    int32_t value = (int32_t)lua_tointeger(script->L, -1);
    lua_pop(script->L, 1);
    return value;
}
