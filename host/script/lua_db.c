/*
 * accrete.db: one connection for plain scripts. lua/accrete/db.lua puts transactions and inserts on
 * top.
 *
 * A statement with parameters is prepared and described when it is first used, so that each
 * parameter is sent as the type the server wants; afterwards it takes one round trip. Results come
 * as text, which is exact for every type.
 */
#include "base/clock.h"
#include "script/lua_db_link.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"
#include "script/lua_value.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SHARED_FIELD "accrete.db.shared"
#define CONNECT_TIMEOUT_MS 10000
#define NAME_BYTES 63 /* PostgreSQL cuts longer identifiers */

static int run_shape(lua_State *L, enum db_shape shape)
{
    struct db_link *link = db_check_link(L);
    struct acc_error err;

    db_run(L, link);
    if (!db_check_rows(link, shape, &err))
        return lua_raise(L, &err);
    return db_push_shape(L, link, shape);
}

/* link:query(sql, ...) -> rows, count */
static int l_link_query(lua_State *L)
{
    return run_shape(L, SHAPE_QUERY);
}

/* link:one(sql, ...) -> row or nil */
static int l_link_one(lua_State *L)
{
    return run_shape(L, SHAPE_ONE);
}

/* link:value(sql, ...) -> first column of the only row, or nil */
static int l_link_value(lua_State *L)
{
    return run_shape(L, SHAPE_VALUE);
}

/* link:db_run(sql): one or more statements, no results */
static int l_link_run(lua_State *L)
{
    struct db_link *link = db_check_link(L);
    const char *sql = luaL_checkstring(L, 2);

    db_ready(L, link);
    link->pg.round_trips++;
    link->res = PQexec(link->pg.conn, sql);
    db_refuse_copy(L, link);
    if (!db_is_good(link->res))
        return db_fail_result(L, link);
    db_drop_result(link);
    return 0;
}

/* link:db_prepare(sql): finds errors in sql now */
static int l_link_prepare(lua_State *L)
{
    struct db_link *link = db_check_link(L);

    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    db_ready(L, link);
    lua_pushinteger(L, db_prepare(L, link, 2)->param_count);
    return 1;
}

/* The iterator of link:stream; upvalues: link, number of the stream */
static int l_stream_next(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    struct db_link *link = db_check_link(L);
    unsigned stream = (unsigned)lua_tointeger(L, lua_upvalueindex(2));

    if (stream == 0)
        return 0;
    if (link->stream != stream)
        return lua_raise_text(L, ACC_EINPUT,
                              "these rows ended when the connection was used for something else");
    db_drop_result(link);
    link->res = db_get_result(link);
    if (PQresultStatus(link->res) == PGRES_SINGLE_TUPLE) {
        db_push_names(L, link->res);
        db_push_row(L, link, 0, 2);
        db_drop_result(link);
        return 1;
    }
    bool is_end = db_is_good(link->res);
    if (is_end) {
        db_end_stream(link);
        lua_pushinteger(L, 0);
        lua_replace(L, lua_upvalueindex(2));
        return 0;
    }
    PGresult *failed = link->res;
    link->res = NULL;
    db_end_stream(link);
    link->res = failed;
    return db_fail_result(L, link);
}

/* link:stream(sql, ...) -> iterator of rows, which come one by one */
static int l_link_stream(lua_State *L)
{
    struct db_link *link = db_check_link(L);
    struct db_call call = db_make_call(L, link);

    link->pg.round_trips++;
    if (!db_send_call(link, &call) || PQsetSingleRowMode(link->pg.conn) != 1)
        return db_fail_result(L, link);
    link->stream = ++link->streams;
    lua_pushvalue(L, 1);
    lua_pushinteger(L, (lua_Integer)link->stream);
    lua_pushcclosure(L, l_stream_next, 2);
    return 1;
}

/* Transactions and the rest */

/* link:commit(): raises the transaction's first error when a script caught it and went on. */
static int l_link_commit(lua_State *L)
{
    struct db_link *link = db_check_link(L);

    db_ready(L, link);
    if (PQtransactionStatus(link->pg.conn) == PQTRANS_INERROR) {
        struct acc_error err = link->error;
        if (err.code == ACC_OK)
            acc_fail(&err, ACC_EDB,
                     "a statement of the transaction failed, so nothing was committed");
        return lua_raise(L, &err);
    }
    if (PQtransactionStatus(link->pg.conn) != PQTRANS_INTRANS)
        return lua_raise_text(L, ACC_EINPUT, "the transaction was ended by a statement inside it");
    link->pg.round_trips++;
    link->res = PQexec(link->pg.conn, "COMMIT");
    if (db_is_good(link->res)) {
        db_drop_result(link);
        return 0;
    }
    struct acc_error err;
    pg_fail(&err, link->res, link->pg.conn);
    if (err.code == ACC_ELOST)
        acc_fail_prefix(&err, "the connection was lost at COMMIT, so its outcome is unknown");
    db_drop_result(link);
    return lua_raise(L, &err);
}

/*
 * link:rollback() -> SQLSTATE of the transaction's first error, or nil. Never raises: a lost
 * connection has rolled back.
 */
static int l_link_rollback(lua_State *L)
{
    struct db_link *link = db_check_link(L);

    if (link->is_unsettled)
        db_close_link(link);
    if (link->pg.conn == NULL)
        return 0;
    db_end_stream(link);
    db_drop_result(link);
    if (db_in_transaction(link)) {
        link->pg.round_trips++;
        PQclear(PQexec(link->pg.conn, "ROLLBACK"));
    }
    if (link->error.code == ACC_OK)
        return 0;
    link->error.code = ACC_OK;
    lua_pushstring(L, link->error.sqlstate);
    return 1;
}

/* link:state() -> "idle", "transaction", "failed" or "closed". Ends a stream. */
static int l_link_state(lua_State *L)
{
    struct db_link *link = db_check_link(L);
    const char *state = "idle";

    db_end_stream(link);
    PGTransactionStatusType status = PQtransactionStatus(link->pg.conn);
    if (link->pg.conn == NULL || link->is_unsettled || PQstatus(link->pg.conn) == CONNECTION_BAD)
        state = "closed";
    else if (status == PQTRANS_INERROR)
        state = "failed";
    else if (status == PQTRANS_INTRANS)
        state = "transaction";
    lua_pushstring(L, state);
    return 1;
}

/* link:round_trips() -> so far */
static int l_link_round_trips(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)db_check_link(L)->pg.round_trips);
    return 1;
}

static int l_link_close(lua_State *L)
{
    db_close_link(db_check_link(L));
    return 0;
}

/* The string at index, else the registry's field, else NULL. It stays on the stack. */
static const char *option(lua_State *L, int index, const char *field)
{
    if (lua_isnoneornil(L, index))
        lua_getfield(L, LUA_REGISTRYINDEX, field);
    else
        lua_pushstring(L, luaL_checkstring(L, index));
    return lua_tostring(L, -1);
}

/* connect([conninfo [, schema]]) -> link. Without conninfo: what the host has set, schema too. */
static int l_db_connect(lua_State *L)
{
    struct acc_error err;

    lua_settop(L, 2);
    bool is_default = lua_isnil(L, 1);
    const char *conninfo = option(L, 1, LUA_CONNINFO);
    const char *schema = is_default ? option(L, 2, LUA_SCHEMA) : luaL_optstring(L, 2, NULL);
    if (conninfo == NULL)
        return lua_raise_text(
            L, ACC_EINPUT,
            "no database: a script passes a libpq URL to db.connect or runs inside an app; "
            "a lifecycle looks up by the first argument of load_friends");

    struct db_link *link = lua_newuserdata(L, sizeof(*link));
    memset(link, 0, sizeof(*link));
    luaL_getmetatable(L, DB_LINK_CLASS);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2);
    if (!pg_open(&link->pg, conninfo, schema, CONNECT_TIMEOUT_MS, 0, &err) ||
        !pg_do(&link->pg, "SET bytea_output = hex", NULL, &err))
        return lua_raise(L, &err);
    link->cancel = PQgetCancel(link->pg.conn);
    return 1;
}

/* pause(seconds) */
static int l_db_pause(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0 && seconds <= 3600, 1, "wanted 0..3600 seconds");
    struct timespec rest = {.tv_sec = (time_t)seconds};
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) != 0)
        continue;
    return 0;
}

/* random() -> a number in [0, 1), different in every process */
static int l_db_random(lua_State *L)
{
    uint32_t bits = 0;

    if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        bits = (uint32_t)clock_us();
    lua_pushnumber(L, (double)bits / 4294967296.0);
    return 1;
}

/* link:literal(value, oid) -> the value as text of that type */
static int l_link_literal(lua_State *L)
{
    struct db_link *link = db_check_link(L);

    lua_settop(L, 3);
    buf_reset(&link->bytes);
    struct db_param param = db_encode(L, 2, (Oid)luaL_checknumber(L, 3), 1, &link->bytes);
    if (param.is_null)
        lua_push_null(L);
    else
        lua_pushlstring(L, link->bytes.data + param.at, (size_t)param.bytes);
    return 1;
}

/* quote(name) -> the identifier in double quotes */
static int l_db_quote(lua_State *L)
{
    size_t bytes;
    const char *name = luaL_checklstring(L, 1, &bytes);

    if (bytes == 0 || bytes > NAME_BYTES || strlen(name) != bytes)
        return lua_raise_text(L, ACC_EINPUT, "wanted a name of 1..%d bytes, got %zu", NAME_BYTES,
                              bytes);
    char quoted[2 * NAME_BYTES + 2];
    size_t size = 0;
    quoted[size++] = '"';
    for (size_t i = 0; i < bytes; i++) {
        if (name[i] == '"')
            quoted[size++] = '"';
        quoted[size++] = name[i];
    }
    quoted[size++] = '"';
    lua_pushlstring(L, quoted, size);
    return 1;
}

static void make_class(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"query", l_link_query},        {"one", l_link_one},
        {"value", l_link_value},        {"run", l_link_run},
        {"prepare", l_link_prepare},    {"stream", l_link_stream},
        {"pipeline", db_link_pipeline}, {"commit", l_link_commit},
        {"rollback", l_link_rollback},  {"state", l_link_state},
        {"close", l_link_close},        {"round_trips", l_link_round_trips},
        {"literal", l_link_literal},    {NULL, NULL},
    };

    if (luaL_newmetatable(L, DB_LINK_CLASS)) {
        lua_pushcfunction(L, l_link_close);
        lua_setfield(L, -2, "__gc");
        lua_newtable(L);
        luaL_register(L, NULL, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

int luaopen_accrete_db_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"connect", l_db_connect}, {"pause", l_db_pause}, {"quote", l_db_quote},
        {"random", l_db_random},   {NULL, NULL},
    };

    make_class(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_push_null(L);
    lua_setfield(L, -2, "null");
    lua_getfield(L, LUA_REGISTRYINDEX,
                 SHARED_FIELD); /* what db.shared() keeps, across reloads of the module */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, SHARED_FIELD);
    }
    lua_setfield(L, -2, "shared");
    return 1;
}
