/* accrete.text: what bytes alone can tell. */
#include "base/hash.h"
#include "base/utf8.h"
#include "script/lua_tools.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* valid_prefix(s) -> bytes at the start that are whole UTF-8 characters */
static int l_text_valid_prefix(lua_State *L)
{
    size_t bytes;
    const char *s = luaL_checklstring(L, 1, &bytes);

    lua_pushinteger(L, (lua_Integer)utf8_valid_prefix(s, bytes));
    return 1;
}

/* sha256(s) -> 64 hex digits */
static int l_text_sha256(lua_State *L)
{
    size_t bytes;
    const char *s = luaL_checklstring(L, 1, &bytes);
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    sha256(s, bytes, digest);
    hex_encode(digest, sizeof(digest), hex);
    lua_pushlstring(L, hex, 2 * sizeof(digest));
    return 1;
}

/* hex(s) -> hex digits of its bytes */
static int l_text_hex(lua_State *L)
{
    size_t bytes;
    const char *s = luaL_checklstring(L, 1, &bytes);
    char *hex = lua_newuserdata(L, 2 * bytes + 1);

    hex_encode(s, bytes, hex);
    lua_pushlstring(L, hex, 2 * bytes);
    return 1;
}

/* unhex(digits) -> bytes, or nil when they are no hex digits */
static int l_text_unhex(lua_State *L)
{
    size_t digits;
    const char *hex = luaL_checklstring(L, 1, &digits);
    char *bytes = lua_newuserdata(L, digits / 2 + 1);

    if (!hex_decode(hex, digits, bytes))
        return 0;
    lua_pushlstring(L, bytes, digits / 2);
    return 1;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * distance(a, b) -> single byte edits (put in, take out, change, swap neighbours) that turn a into
 * b
 */
static int l_text_distance(lua_State *L)
{
    size_t rows, columns;
    const char *a = luaL_checklstring(L, 1, &rows);
    const char *b = luaL_checklstring(L, 2, &columns);

    luaL_argcheck(L, rows <= 1000, 1, "wanted at most 1,000 bytes");
    luaL_argcheck(L, columns <= 1000, 2, "wanted at most 1,000 bytes");
    size_t width = columns + 1;
    size_t *line = lua_newuserdata(L, 3 * width * sizeof(size_t)); /* the last three rows */
    for (size_t j = 0; j <= columns; j++)
        line[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        const size_t *above = line + (i - 1) % 3 * width;
        const size_t *two_above = line + (i + 1) % 3 * width;
        size_t *now = line + i % 3 * width;

        now[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            now[j] = least(least(above[j], now[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], two_above[j - 2] + 1);
        }
    }
    lua_pushinteger(L, (lua_Integer)line[rows % 3 * width + columns]);
    return 1;
}

int luaopen_accrete_text_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"valid_prefix", l_text_valid_prefix},
        {"sha256", l_text_sha256},
        {"hex", l_text_hex},
        {"unhex", l_text_unhex},
        {"distance", l_text_distance},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
