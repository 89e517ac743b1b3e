/* accrete.metrics: blocks, families and series; adding goes through the FFI (accrete/hot.h). */
#include "metrics.h"

#include "accrete/hot.h"
#include "base/clock.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"

#include <lauxlib.h>

#define BLOCK_CLASS "accrete.metrics.block"
#define SERIES_DEFAULT 1000

struct block {
    struct metrics *metrics;
    bool is_owned;
};

void acc_metric_add(struct acc_metric *metric, double value)
{
    metric_add((struct metric *)metric, value);
}

void acc_metric_set(struct acc_metric *metric, double value)
{
    metric_set((struct metric *)metric, value);
}

void acc_metric_observe(struct acc_metric *metric, double value)
{
    metric_observe((struct metric *)metric, value);
}

double acc_metric_value(const struct acc_metric *metric)
{
    return metric_value((const struct metric *)metric);
}

uint64_t acc_metric_count(const struct acc_metric *metric)
{
    return metric_count((const struct metric *)metric);
}

double acc_metric_quantile(const struct acc_metric *metric, double q)
{
    return metric_quantile((const struct metric *)metric, q);
}

static struct metrics *check_block(lua_State *L)
{
    const struct block *block = luaL_checkudata(L, 1, BLOCK_CLASS);

    return block->metrics;
}

static struct block *push_block(lua_State *L)
{
    struct block *block = lua_newuserdata(L, sizeof(*block));

    *block = (struct block){0};
    luaL_getmetatable(L, BLOCK_CLASS);
    lua_setmetatable(L, -2);
    return block;
}

static int l_block_gc(lua_State *L)
{
    struct block *block = lua_touserdata(L, 1);

    if (block->is_owned)
        metrics_free(block->metrics);
    *block = (struct block){0};
    return 0;
}

/* new([series]) -> block of its own */
static int l_metrics_new(lua_State *L)
{
    lua_Number series = luaL_optnumber(L, 1, SERIES_DEFAULT);

    luaL_argcheck(L, series >= 1 && series <= 1000000, 1, "wanted 1..1000000 series");
    struct block *block = push_block(L);
    *block = (struct block){metrics_new((size_t)series), true};
    return 1;
}

/* default() -> the host's block, else one of its own */
static int l_metrics_default(lua_State *L)
{
    lua_settop(L, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_METRICS);
    struct metrics *metrics = lua_touserdata(L, -1);
    if (metrics == NULL) {
        lua_settop(L, 0);
        return l_metrics_new(L);
    }
    *push_block(L) = (struct block){metrics, false};
    return 1;
}

/* Fills family from arguments 2 to 5: type, name, help, list of labels. Texts belong to Lua. */
static void check_family(lua_State *L, struct metric_family *family)
{
    static const char *const types[] = {"counter", "gauge", "histogram", NULL};

    *family = (struct metric_family){.type = (enum metric_type)luaL_checkoption(L, 2, NULL, types),
                                     .name = luaL_checkstring(L, 3),
                                     .help = luaL_checkstring(L, 4)};
    luaL_checktype(L, 5, LUA_TTABLE);
    for (int i = 0; i < METRICS_LABELS_MAX; i++) {
        lua_rawgeti(L, 5, i + 1);
        family->labels[i] = lua_tostring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
}

/*
 * declare(block, type, name, help, labels) -> true, or false and why it does not fit what is there;
 * raises when it fits nowhere
 */
static int l_metrics_declare(lua_State *L)
{
    struct metrics *metrics = check_block(L);
    struct metric_family family;
    struct acc_error err;

    check_family(L, &family);
    if (!metrics_check(&family, &err))
        return lua_raise(L, &err);
    bool ok = metrics_declare(metrics, &family, &err);
    lua_pushboolean(L, ok);
    if (ok)
        return 1;
    lua_pushstring(L, err.text);
    return 2;
}

/* series(block, type, name, help, labels, values...) -> pointer, whether it is one that is shown */
static int l_metrics_series(lua_State *L)
{
    struct metrics *metrics = check_block(L);
    const char *values[METRICS_LABELS_MAX] = {NULL};
    struct metric_family family;
    struct acc_error err = {0};

    check_family(L, &family);
    for (int i = 0; i < METRICS_LABELS_MAX && family.labels[i] != NULL; i++) {
        size_t size;

        values[i] = luaL_checklstring(L, 6 + i, &size);
        if (strlen(values[i]) != size)
            values[i] = "\xff"; /* a zero byte fits as little as this */
    }
    struct metric *metric = metrics_get(metrics, &family, values, &err);
    lua_pushlightuserdata(L, metric);
    lua_pushboolean(L, err.code == ACC_OK);
    return 2;
}

/* render(block) -> OpenMetrics text */
static int l_metrics_render(lua_State *L)
{
    const struct metrics *metrics = check_block(L);
    struct buf out = {0};

    metrics_render(metrics, true, &out);
    lua_pushlstring(L, out.data, out.size);
    buf_clear(&out);
    return 1;
}

/* now() -> seconds of a clock that only goes forward */
static int l_metrics_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_us() / 1e6);
    return 1;
}

int luaopen_accrete_metrics_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"new", l_metrics_new},
        {"default", l_metrics_default},
        {"declare", l_metrics_declare},
        {"series", l_metrics_series},
        {"render", l_metrics_render},
        {"now", l_metrics_now},
        {NULL, NULL},
    };

    if (luaL_newmetatable(L, BLOCK_CLASS)) {
        lua_pushcfunction(L, l_block_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
