/* C's side of measuring: hands lua/accrete/bench.lua and driver_bench.lua what they measure, and takes the figures. */
#include "script/script_bench.h"

#include "script/lua_error.h"
#include "script/script_internal.h"

#include <lauxlib.h>
#include <string.h>

size_t script_bench_parts(const struct lifecycle *lifecycle, const char *parts[BENCH_CALLBACKS])
{
    static const char *const names[BENCH_CALLBACKS] = {"load", "abort_early", "load_friends",
                                                       "abort_late", "process_data"};
    const struct script_lifecycle *side = lifecycle->script;
    lua_State *L = side->script->L;
    size_t count = 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, side->script->modules);
    lua_rawgeti(L, -1, (int)side->number + 1);
    for (size_t i = 0; i < BENCH_CALLBACKS; i++) {
        lua_getfield(L, -1, names[i]);
        if (!lua_isnil(L, -1))
            parts[count++] = names[i];
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return count;
}

int64_t script_bench_queries(const struct script *script)
{
    return script->query_count;
}

static const struct bench_sink *sink_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* begin(part) */
static int l_begin(lua_State *L)
{
    const struct bench_sink *sink = sink_of(L);

    sink->begin(sink->context, luaL_checkstring(L, 1));
    return 0;
}

/* result(part, ns, ci_ns, runs, samples, note, is_failed); ns nil: not measured */
static int l_result(lua_State *L)
{
    const struct bench_sink *sink = sink_of(L);
    struct bench_figures figures = {.ns = luaL_optnumber(L, 2, -1),
                                    .ci_ns = luaL_optnumber(L, 3, 0),
                                    .runs = (int)luaL_checkinteger(L, 4)};

    sink->result(sink->context, luaL_checkstring(L, 1), &figures, luaL_checkinteger(L, 5),
                 luaL_checkstring(L, 6), lua_toboolean(L, 7));
    return 0;
}

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_way(lua_State *L, const struct bench_way *way)
{
    lua_newtable(L);
    set_number(L, "runs", way->runs);
    set_number(L, "limit_ms", (double)way->part_ms);
}

static void push_report(lua_State *L, const struct bench_sink *sink)
{
    lua_newtable(L);
    lua_pushlightuserdata(L, (void *)sink);
    lua_pushcclosure(L, l_begin, 1);
    lua_setfield(L, -2, "begin");
    lua_pushlightuserdata(L, (void *)sink);
    lua_pushcclosure(L, l_result, 1);
    lua_setfield(L, -2, "result");
}

/* The function of the driver with that name, which has been bound to batch. */
static void push_of_driver(struct script *script, const char *name)
{
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, script->driver);
    lua_getfield(script->L, -1, name);
    lua_remove(script->L, -2);
}

bool script_bench(struct script *script, struct lifecycle *lifecycle, struct batch *batch,
                  const struct bench_way *way, int64_t queries, const struct bench_sink *sink,
                  struct acc_error *err)
{
    lua_State *L = script->L;

    if (!script_bind(script, batch, err))
        return false;
    push_of_driver(script, "bench");
    lua_pushstring(L, lifecycle->name);
    push_report(L, sink);
    push_way(L, way);
    set_number(L, "failed", (double)batch->error_count);
    set_number(L, "asks", (double)queries);
    if (batch->error_count > 0)
        set_text(L, "why", batch->errors[0].text);
    if (sink->note != NULL)
        set_text(L, "note", sink->note);
    return script_call(L, 3, 0, err);
}

bool script_bench_examples(struct script *script, const struct lifecycle *lifecycle,
                           struct batch *batch, struct acc_error *err)
{
    lua_State *L = script->L;

    if (!script_bind(script, batch, err))
        return false;
    push_of_driver(script, "bench_examples");
    lua_pushstring(L, lifecycle->name);
    return script_call(L, 1, 0, err);
}

/* Measuring a function of the host */

struct measured {
    bool (*run)(void *context, int64_t n, struct acc_error *err);
    void *context;
    struct acc_error err;
    bool has_failed;
};

/* calls(n) */
static int l_calls(lua_State *L)
{
    struct measured *measured = lua_touserdata(L, lua_upvalueindex(1));

    if (measured->run(measured->context, luaL_checkinteger(L, 1), &measured->err))
        return 0;
    measured->has_failed = true;
    return lua_raise(L, &measured->err);
}

static void push_clock(lua_State *L, bool by_clock)
{
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "batch");
    set_text(L, "clock", by_clock ? "wall" : "cpu");
}

/* Takes the result of measure from the top. */
static void take_figures(lua_State *L, struct bench_figures *figures)
{
    lua_getfield(L, -1, "ns");
    lua_getfield(L, -2, "ci_ns");
    lua_getfield(L, -3, "runs");
    *figures = (struct bench_figures){
        .ns = lua_tonumber(L, -3), .ci_ns = lua_tonumber(L, -2), .runs = (int)lua_tointeger(L, -1)};
    lua_pop(L, 4);
}

bool script_measure(struct script *script,
                    bool (*run)(void *context, int64_t n, struct acc_error *err), void *context,
                    bool by_clock, const struct bench_way *way, struct bench_figures *figures,
                    struct acc_error *err)
{
    lua_State *L = script->L;
    struct measured measured = {.run = run, .context = context};

    lua_getglobal(L, "require");
    lua_pushstring(L, "accrete.bench");
    if (!script_call(L, 1, 1, err))
        return false;
    lua_getfield(L, -1, "measure");
    lua_remove(L, -2);
    lua_pushlightuserdata(L, &measured);
    lua_pushcclosure(L, l_calls, 1);
    push_way(L, way);
    push_clock(L, by_clock);
    if (!script_call(L, 2, 1, err)) {
        if (measured.has_failed)
            *err = measured.err;
        return false;
    }
    take_figures(L, figures);
    return true;
}

bool script_bench_rows(struct script *script, const struct kind *kind, struct batch *batch,
                       const struct bench_way *way, struct bench_figures *figures,
                       struct acc_error *err)
{
    lua_State *L = script->L;

    if (!script_bind(script, batch, err))
        return false;
    push_of_driver(script, "bench_rows");
    lua_pushstring(L, kind->name);
    lua_pushinteger(L, batch->data[kind->index].count);
    push_way(L, way);
    push_clock(L, false);
    if (!script_call(L, 3, 1, err))
        return false;
    take_figures(L, figures);
    return true;
}
