/* Results of accrete.db as Lua values. */
#include "script/lua_db_link.h"

#include <lauxlib.h>
#include <stdlib.h>

/* Pushes the names of the columns of res, each a string. */
void db_push_names(lua_State *L, const PGresult *res)
{
    int columns = PQnfields(res);

    luaL_checkstack(L, columns + 8, "too many columns");
    for (int column = 0; column < columns; column++)
        lua_pushstring(L, PQfname(res, column));
}

static void push_value(lua_State *L, struct db_link *link, int row, int column)
{
    const PGresult *res = link->res;

    if (PQgetisnull(res, row, column))
        lua_pushnil(L);
    else
        db_push(L, PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column),
                PQftype(res, column), &link->scratch);
}

/* Pushes the row as a table keyed by the names that lie at names .. on the stack. */
void db_push_row(lua_State *L, struct db_link *link, int row, int names)
{
    int columns = PQnfields(link->res);

    lua_createtable(L, 0, columns);
    for (int column = 0; column < columns; column++) {
        if (PQgetisnull(link->res, row, column))
            continue;
        lua_pushvalue(L, names + column);
        push_value(L, link, row, column);
        lua_rawset(L, -3);
    }
}

/* Pushes all rows, then how many rows were read or written. */
static int push_rows(lua_State *L, struct db_link *link)
{
    int rows = PQntuples(link->res);
    int names = lua_gettop(L) + 1;

    db_push_names(L, link->res);
    lua_createtable(L, rows, 0);
    for (int row = 0; row < rows; row++) {
        db_push_row(L, link, row, names);
        lua_rawseti(L, -2, row + 1);
    }
    lua_insert(L, names);
    lua_settop(L, names);
    lua_pushnumber(L, strtod(PQcmdTuples(link->res), NULL));
    return 2;
}

bool db_check_rows(const struct db_link *link, enum db_shape shape, struct acc_error *err)
{
    int rows = PQntuples(link->res);

    if (shape == SHAPE_QUERY || rows <= 1)
        return true;
    return acc_fail(err, ACC_EINPUT, "wanted at most one row, got %d", rows);
}

/* Pushes the rows of link->res in the shape that was asked for, and frees them. */
int db_push_shape(lua_State *L, struct db_link *link, enum db_shape shape)
{
    int rows = PQntuples(link->res);
    int results = 1;

    if (shape == SHAPE_QUERY) {
        results = push_rows(L, link);
    } else if (rows == 0) {
        lua_pushnil(L);
    } else if (shape == SHAPE_VALUE) {
        push_value(L, link, 0, 0);
    } else {
        int names = lua_gettop(L) + 1;
        db_push_names(L, link->res);
        db_push_row(L, link, 0, names);
        lua_insert(L, names);
        lua_settop(L, names);
    }
    db_drop_result(link);
    return results;
}
