/* conn:pipeline(): several statements in one round trip. */
#include "script/lua_db_link.h"
#include "script/lua_tools.h"

#include <lauxlib.h>
#include <string.h>

static const char *const shape_names[] = {"query", "one", "value", NULL};

/* Prepares every statement with parameters among the requests at index 2, in one round trip. */
static void prepare_all(lua_State *L, struct db_link *link, int count)
{
    struct waiting {
        int request, place;
        bool is_replacing;
    } *waiting = lua_newuserdata(L, (size_t)(count + 1) * sizeof(*waiting));
    int waiting_count = 0;
    struct acc_error err = {0};

    lua_newtable(L); /* SQL that is being prepared */
    int seen = lua_gettop(L);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        lua_getfield(L, -1, "sql");
        lua_getfield(L, -2, "n");
        lua_pushvalue(L, -2);
        lua_rawget(L, seen);
        if (lua_tointeger(L, -2) > 0 && lua_isnil(L, -1) &&
            db_known(L, link, lua_gettop(L) - 2) == NULL) {
            if (waiting_count == 0)
                db_begin_pipeline(L, link);
            struct waiting *one = &waiting[waiting_count++];
            one->request = i;
            one->place = db_prepare_begin(L, link, lua_gettop(L) - 2, &one->is_replacing);
            lua_pushvalue(L, -3);
            lua_pushboolean(L, 1);
            lua_rawset(L, seen);
        }
        lua_pop(L, 4);
    }
    if (waiting_count == 0)
        return;
    db_sync_pipeline(L, link);
    for (int i = 0; i < waiting_count; i++) {
        lua_rawgeti(L, 2, waiting[i].request);
        lua_getfield(L, -1, "sql");
        db_prepare_end(L, link, lua_gettop(L), waiting[i].place, waiting[i].is_replacing, &err);
        lua_pop(L, 2);
    }
    db_end_pipeline(link, &err);
    if (err.code != ACC_OK)
        db_fail(L, link, &err);
}

static void encode_request(lua_State *L, struct db_link *link, int request)
{
    lua_rawgeti(L, 2, request);
    int table = lua_gettop(L);
    lua_getfield(L, table, "sql");
    lua_getfield(L, table, "n");
    const char *sql = luaL_checkstring(L, table + 1);
    int count = (int)lua_tointeger(L, table + 2);
    struct db_statement *statement = db_known(L, link, table + 1);

    luaL_checkstack(L, count + 4, "too many parameters");
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, table, i);
    struct db_call call = db_encode_call(L, link, statement, sql, table + 3, count);
    buf_add(&link->calls, &call, sizeof(call));
    lua_settop(L, table - 1);
}

/*
 * link:pipeline(requests) -> results. A request is { shape =, sql =, n =, ... }. All of them in one
 * round trip.
 */
int db_link_pipeline(lua_State *L)
{
    struct db_link *link = db_check_link(L);
    struct acc_error err = {0};

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    int count = (int)lua_objlen(L, 2);
    db_ready(L, link);
    prepare_all(L, link, count);
    for (int i = 1; i <= count; i++)
        encode_request(L, link, i);
    lua_settop(L, 2);
    lua_createtable(L, count, 0);
    if (count == 0)
        return 1;

    db_begin_pipeline(L, link);
    for (int i = 0; i < count; i++) {
        struct db_call call;

        memcpy(&call, link->calls.data + (size_t)i * sizeof(call), sizeof(call));
        if (!db_send_call(link, &call))
            return db_fail_result(L, link);
    }
    db_sync_pipeline(L, link);
    for (int i = 1; i <= count && err.code == ACC_OK; i++) {
        db_next_result(link);
        if (!db_is_good(link->res)) {
            pg_fail(&err, link->res, link->pg.conn);
            break;
        }
        lua_rawgeti(L, 2, i);
        lua_getfield(L, -1, "shape");
        int shape = luaL_checkoption(L, lua_gettop(L), "query", shape_names);
        lua_settop(L, 3);
        if (!db_check_rows(link, (enum db_shape)shape, &err))
            break;
        db_push_shape(L, link, (enum db_shape)shape);
        lua_settop(L, 4);
        lua_rawseti(L, 3, i);
    }
    db_end_pipeline(link, &err);
    if (err.code != ACC_OK)
        return db_fail(L, link, &err);
    return 1;
}
