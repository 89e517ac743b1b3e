#include "script/lua_db_value.h"

#include "base/hash.h"
#include "pg/pg.h"
#include "script/lua_error.h"
#include "script/lua_value.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 6 /* dimensions of an array; PostgreSQL's own limit */

enum {
    OID_FLOAT4 = 700,
    OID_JSON = 114,
    OID_JSONB = 3802,
    OID_OID = 26,
};

/* Array types and their elements. Arrays of other types travel as text. */
static const struct {
    Oid array, element;
} arrays[] = {
    {PG_BOOL_ARRAY, PG_BOOL},
    {PG_BYTEA_ARRAY, PG_BYTEA},
    {PG_INT2_ARRAY, PG_INT2},
    {PG_INT4_ARRAY, PG_INT4},
    {PG_INT8_ARRAY, PG_INT8},
    {PG_TEXT_ARRAY, PG_TEXT},
    {PG_FLOAT8_ARRAY, PG_FLOAT8},
    {PG_UUID_ARRAY, PG_UUID},
    {1021, OID_FLOAT4},
    {1028, OID_OID},
    {1015, 1043 /* varchar */},
    {1014, 1042 /* char */},
    {1003, 19 /* name */},
    {1231, 1700 /* numeric */},
    {199, OID_JSON},
    {3807, OID_JSONB},
    {1182, 1082 /* date */},
    {1183, 1083 /* time */},
    {1115, 1114 /* timestamp */},
    {1187, 1186 /* interval */},
    {PG_TIMESTAMPTZ_ARRAY, PG_TIMESTAMPTZ},
};

static Oid element_of(Oid array)
{
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        if (arrays[i].array == array)
            return arrays[i].element;
    return 0;
}

static bool is_integer(Oid type)
{
    return type == PG_INT8 || type == PG_INT4 || type == PG_INT2;
}

static bool is_float(Oid type)
{
    return type == PG_FLOAT8 || type == OID_FLOAT4;
}

/* Parameters */

static void add_number(lua_State *L, double number, Oid type, int place, struct buf *out)
{
    char text[LUA_NUMBER_TEXT];

    if (is_integer(type) && !lua_is_whole(number))
        lua_raise_text(L, ACC_EINPUT,
                       "parameter %d: wanted a whole number within 2^53 or int64 cdata, got %.17g",
                       place, number);
    if (isnan(number)) {
        buf_text(out, "NaN");
    } else if (isinf(number)) {
        buf_text(out, number < 0 ? "-Infinity" : "Infinity");
    } else {
        lua_number_text(number, text);
        buf_text(out, is_float(type) && number == 0 && signbit(number) ? "-0" : text);
    }
}

static void check_text(lua_State *L, const char *text, size_t bytes, int place)
{
    if (memchr(text, '\0', bytes) != NULL)
        lua_raise_text(
            L, ACC_EINPUT,
            "parameter %d: text may not hold a zero byte; for bytes use a bytea parameter", place);
}

static void add_hex(struct buf *out, const char *data, size_t bytes)
{
    buf_reserve(out, 2 * bytes + 1);
    hex_encode(data, bytes, out->data + out->size);
    out->size += 2 * bytes;
}

/* A string as an element of an array literal. */
static void add_quoted(struct buf *out, const char *text, size_t bytes)
{
    size_t from = 0;

    buf_byte(out, '"');
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != '"' && text[i] != '\\')
            continue;
        buf_add(out, text + from, i - from);
        buf_byte(out, '\\');
        from = i;
    }
    buf_add(out, text + from, bytes - from);
    buf_byte(out, '"');
}

static void add_list(lua_State *L, int index, Oid element, int place, int depth, struct buf *out);

static void add_element(lua_State *L, int index, Oid type, int place, int depth, struct buf *out)
{
    size_t bytes;
    const char *text;
    int64_t integer;

    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        add_number(L, lua_tonumber(L, index), type, place, out);
        return;
    case LUA_TBOOLEAN:
        buf_text(out, lua_toboolean(L, index) ? "true" : "false");
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &bytes);
        if (type == PG_BYTEA) {
            buf_text(out, "\"\\\\x");
            add_hex(out, text, bytes);
            buf_byte(out, '"');
            return;
        }
        check_text(L, text, bytes, place);
        add_quoted(out, text, bytes);
        return;
    case LUA_TTABLE:
        add_list(L, index, type, place, depth + 1, out);
        return;
    default:
        break;
    }
    if (lua_is_null(L, index))
        buf_text(out, "NULL");
    else if (lua_get_int64(L, index, &integer))
        buf_printf(out, "%" PRId64, integer);
    else
        lua_raise_text(L, ACC_EINPUT, "parameter %d: cannot send a %s in a list", place,
                       luaL_typename(L, index));
}

static void add_list(lua_State *L, int index, Oid element, int place, int depth, struct buf *out)
{
    size_t count = lua_objlen(L, index);

    if (depth > DEPTH_MAX)
        lua_raise_text(L, ACC_EINPUT, "parameter %d: a list nested deeper than %d", place,
                       DEPTH_MAX);
    if (count == 0) { /* an empty list, or one that is no list */
        lua_pushnil(L);
        if (lua_next(L, index) != 0)
            lua_raise_text(L, ACC_EINPUT,
                           "parameter %d: wanted a list 1..n, got a table with other keys", place);
    }
    luaL_checkstack(L, 4, "list nested too deep");
    buf_byte(out, '{');
    for (size_t i = 1; i <= count; i++) {
        if (i > 1)
            buf_byte(out, ',');
        lua_rawgeti(L, index, (int)i);
        if (lua_isnil(L, -1))
            lua_raise_text(L, ACC_EINPUT,
                           "parameter %d: nothing at %zu of a list; db.null stands for NULL", place,
                           i);
        add_element(L, lua_gettop(L), element, place, depth, out);
        lua_pop(L, 1);
    }
    buf_byte(out, '}');
}

static void add_value(lua_State *L, int index, Oid type, int place, struct buf *out)
{
    size_t bytes;
    const char *text;
    int64_t integer;

    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        add_number(L, lua_tonumber(L, index), type, place, out);
        return;
    case LUA_TBOOLEAN:
        buf_text(out, lua_toboolean(L, index) ? "true" : "false");
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &bytes);
        if (type != PG_BYTEA)
            check_text(L, text, bytes, place);
        buf_add(out, text, bytes);
        return;
    case LUA_TTABLE:
        if (type == OID_JSON || type == OID_JSONB)
            lua_raise_text(L, ACC_EINPUT,
                           "parameter %d: wanted JSON text (json.encode makes it), got a table",
                           place);
        add_list(L, index, element_of(type), place, 1, out);
        return;
    default:
        break;
    }
    if (lua_get_int64(L, index, &integer))
        buf_printf(out, "%" PRId64, integer);
    else
        lua_raise_text(L, ACC_EINPUT, "parameter %d: cannot send a %s%s", place,
                       luaL_typename(L, index),
                       lua_type(L, index) == LUA_TCDATA ? " that is no 64-bit integer" : "");
}

struct db_param db_encode(lua_State *L, int index, Oid type, int number, struct buf *out)
{
    struct db_param param = {.at = out->size};

    if (lua_isnoneornil(L, index) || lua_is_null(L, index)) {
        param.is_null = true;
        return param;
    }
    add_value(L, index, type, number, out);
    if (out->size - param.at > INT32_MAX)
        lua_raise_text(L, ACC_ELIMIT, "parameter %d: wanted at most 2 GiB", number);
    param.bytes = (int)(out->size - param.at);
    param.format = type == PG_BYTEA && lua_type(L, index) == LUA_TSTRING;
    buf_byte(out, '\0');
    return param;
}

/* Results */

/*
 * Pushes the bytes of "\\x" and hex digits. They are put into room first, which may be text itself.
 */
static void push_bytes(lua_State *L, const char *text, size_t bytes, char *room)
{
    if (bytes < 2 || text[0] != '\\' || text[1] != 'x')
        lua_raise_text(L, ACC_EDB, "bytea came in an unknown form; wanted bytea_output = hex");
    if (!hex_decode(text + 2, bytes - 2, room))
        lua_raise_text(L, ACC_EDB, "bytea came with digits that are not hexadecimal");
    lua_pushlstring(L, room, (bytes - 2) / 2);
}

/*
 * Reads one element of an array literal at text into scratch, unescaped; returns what follows it.
 */
static const char *read_element(const char *text, struct buf *scratch, bool *is_quoted)
{
    buf_reset(scratch);
    *is_quoted = *text == '"';
    if (!*is_quoted) {
        size_t bytes = strcspn(text, ",}");
        buf_add(scratch, text, bytes);
        return text + bytes;
    }
    for (text++; *text != '"' && *text != '\0'; text++) {
        if (*text == '\\' && text[1] != '\0')
            text++;
        buf_byte(scratch, (uint8_t)*text);
    }
    buf_add(scratch, "", 0);
    return *text == '"' ? text + 1 : text;
}

/* Pushes the list at text, which starts with a brace; returns what follows it. */
static const char *push_list(lua_State *L, const char *text, Oid element, struct buf *scratch)
{
    int count = 0;

    luaL_checkstack(L, 4, "array nested too deep");
    lua_newtable(L);
    for (text++; *text != '}' && *text != '\0'; text += *text == ',') {
        bool is_quoted;

        if (*text == '{') {
            text = push_list(L, text, element, scratch);
        } else {
            text = read_element(text, scratch, &is_quoted);
            if (!is_quoted && strcmp(scratch->data, "NULL") == 0)
                lua_push_null(L);
            else if (element == PG_BYTEA)
                push_bytes(L, scratch->data, scratch->size, scratch->data);
            else
                db_push(L, scratch->data, scratch->size, element, scratch);
        }
        lua_rawseti(L, -2, ++count);
    }
    lua_mark_list(L, -1);
    return *text == '}' ? text + 1 : text;
}

static void push_integer(lua_State *L, const char *text)
{
    lua_push_int64(L, strtoll(text, NULL, 10));
}

void db_push(lua_State *L, const char *text, size_t bytes, Oid type, struct buf *scratch)
{
    Oid element;

    switch (type) {
    case PG_BOOL:
        lua_pushboolean(L, text[0] == 't');
        return;
    case PG_INT2:
    case PG_INT4:
    case PG_INT8:
    case OID_OID:
        push_integer(L, text);
        return;
    case PG_FLOAT8:
    case OID_FLOAT4:
        lua_pushnumber(L, strtod(text, NULL));
        return;
    case PG_BYTEA:
        buf_reset(scratch);
        buf_reserve(scratch, bytes / 2 + 1);
        push_bytes(L, text, bytes, scratch->data);
        return;
    default:
        break;
    }
    element = element_of(type);
    if (element != 0) {
        const char *start = strchr(text, '{'); /* behind bounds like [0:2]= */
        if (start != NULL) {
            push_list(L, start, element, scratch);
            return;
        }
    }
    lua_pushlstring(L, text, bytes);
}
