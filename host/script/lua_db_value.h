/*
 * Values between Lua and SQL, as text: parameters by the type the server wants, results by the type
 * it says.
 */
#pragma once

#include "base/buf.h"

#include <libpq-fe.h>
#include <lua.h>

/* One parameter; its bytes lie in the buffer they were encoded into, NUL-terminated. */
struct db_param {
    size_t at;
    int bytes;
    int format; /* 1: binary */
    bool is_null;
};

/*
 * Encodes the Lua value at index as a parameter of type into out. number is its place in the
 * statement, for messages. Raises accrete.Error.
 */
struct db_param db_encode(lua_State *L, int index, Oid type, int number, struct buf *out);

/* Pushes a value that came as text. scratch is for what it needs on the way. */
void db_push(lua_State *L, const char *text, size_t bytes, Oid type, struct buf *scratch);
