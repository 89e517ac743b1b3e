/*
 * accrete.json: jansson reads (strict, exact integers), a small encoder of our own writes (sorted
 * keys, shortest numbers).
 */
#include "base/buf.h"
#include "base/utf8.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"
#include "script/lua_value.h"

#include <jansson.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TREE_CLASS "accrete.json.tree"
#define ENCODER_CLASS "accrete.json.encoder"
#define DEPTH_MAX 1000
#define KEPT_BYTES (1 << 20) /* larger output buffers are freed after the call */

/* Decoding */

struct tree {
    json_t *root; /* owned */
};

static void push_tree(lua_State *L, json_t *value);

static void push_array(lua_State *L, json_t *array)
{
    size_t count = json_array_size(array);

    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_tree(L, json_array_get(array, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_mark_list(L, -1);
}

static void push_object(lua_State *L, json_t *object)
{
    const char *key;
    json_t *value;

    lua_createtable(L, 0, (int)json_object_size(object));
    json_object_foreach(object, key, value)
    {
        lua_pushstring(L, key); /* jansson refuses zero bytes in keys */
        push_tree(L, value);
        lua_rawset(L, -3);
    }
}

static void push_tree(lua_State *L, json_t *value)
{
    luaL_checkstack(L, 8, "JSON nested too deep");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        push_object(L, value);
        break;
    case JSON_ARRAY:
        push_array(L, value);
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_push_int64(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    case JSON_NULL:
        lua_push_null(L);
        break;
    }
}

static int l_tree_gc(lua_State *L)
{
    struct tree *tree = lua_touserdata(L, 1);

    json_decref(tree->root);
    tree->root = NULL;
    return 0;
}

/* decode(text) -> value; raises accrete.Error with line and column */
static int l_json_decode(lua_State *L)
{
    size_t bytes;
    const char *text = luaL_checklstring(L, 1, &bytes);
    struct tree *tree =
        lua_newuserdata(L, sizeof(*tree)); /* owns what jansson made, whatever Lua raises */
    json_error_t where;

    tree->root = NULL;
    luaL_getmetatable(L, TREE_CLASS);
    lua_setmetatable(L, -2);
    tree->root =
        json_loadb(text, bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    if (tree->root == NULL)
        return lua_raise_text(L, ACC_EINPUT, "JSON line %d, column %d: %s", where.line,
                              where.column, where.text);
    push_tree(L, tree->root);
    json_decref(tree->root);
    tree->root = NULL;
    return 1;
}

/* Encoding */

struct key {
    const char *text; /* the table's own string */
    size_t bytes;
};

struct encoder {
    struct buf out;
    struct buf keys; /* struct key: those of every object that is open */
    int indent;      /* blanks a level; 0: compact */
    int depth;
};

static void encode_value(lua_State *L, struct encoder *encoder, int index);

static void encode_string(lua_State *L, struct encoder *encoder, const char *text, size_t bytes)
{
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char escaped[] = "\"\\bfnrt";
    struct buf *out = &encoder->out;

    if (utf8_valid_prefix(text, bytes) != bytes)
        lua_raise_text(L, ACC_EINPUT, "cannot encode a string as JSON: byte %zu is not UTF-8",
                       utf8_valid_prefix(text, bytes) + 1);
    buf_byte(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)text[i];

        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buf_add(out, text + from, i - from);
        from = i + 1;
        const char *at = byte == 0 ? NULL : strchr(plain, byte);
        if (at != NULL)
            buf_printf(out, "\\%c", escaped[at - plain]);
        else
            buf_printf(out, "\\u%04x", byte);
    }
    buf_add(out, text + from, bytes - from);
    buf_byte(out, '"');
}

static void new_line(struct encoder *encoder)
{
    if (encoder->indent == 0)
        return;
    buf_byte(&encoder->out, '\n');
    for (int i = 0; i < encoder->depth * encoder->indent; i++)
        buf_byte(&encoder->out, ' ');
}

static void encode_array(lua_State *L, struct encoder *encoder, int index, int count)
{
    buf_byte(&encoder->out, '[');
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            buf_byte(&encoder->out, ',');
        new_line(encoder);
        lua_rawgeti(L, index, i);
        encode_value(L, encoder, lua_gettop(L));
        lua_pop(L, 1);
    }
    encoder->depth--;
    if (count > 0)
        new_line(encoder);
    buf_byte(&encoder->out, ']');
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    int order = memcmp(a->text, b->text, a->bytes < b->bytes ? a->bytes : b->bytes);

    return order != 0 ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/*
 * Adds the keys of the table at index to encoder->keys, sorted; returns how many. All are strings.
 */
static size_t sort_keys(lua_State *L, struct encoder *encoder, int index)
{
    size_t start = encoder->keys.size;

    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct key key;

        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            lua_raise_text(
                L, ACC_EINPUT,
                "cannot encode a table as JSON: wanted keys 1..n or strings only, got a %s key",
                luaL_typename(L, -1));
        key.text = lua_tolstring(L, -1, &key.bytes);
        buf_add(&encoder->keys, &key, sizeof(key));
    }
    size_t count = (encoder->keys.size - start) / sizeof(struct key);
    if (count > 1)
        qsort(encoder->keys.data + start, count, sizeof(struct key), compare_keys);
    return count;
}

static void encode_object(lua_State *L, struct encoder *encoder, int index)
{
    size_t start = encoder->keys.size;
    size_t count = sort_keys(L, encoder, index);

    buf_byte(&encoder->out, '{');
    for (size_t i = 0; i < count; i++) {
        struct key key;

        memcpy(&key, encoder->keys.data + start + i * sizeof(key), sizeof(key));
        if (i > 0)
            buf_byte(&encoder->out, ',');
        new_line(encoder);
        encode_string(L, encoder, key.text, key.bytes);
        buf_text(&encoder->out, encoder->indent == 0 ? ":" : ": ");
        lua_pushlstring(L, key.text, key.bytes);
        lua_rawget(L, index);
        encode_value(L, encoder, lua_gettop(L));
        lua_pop(L, 1);
    }
    encoder->keys.size = start;
    encoder->depth--;
    if (count > 0)
        new_line(encoder);
    buf_byte(&encoder->out, '}');
}

/* Members of the table at index. */
static int count_members(lua_State *L, int index)
{
    int count = 0;

    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        lua_pop(L, 1);
        count++;
    }
    return count;
}

static void encode_table(lua_State *L, struct encoder *encoder, int index)
{
    int count = (int)lua_objlen(L, index);
    bool marked = lua_is_list(L, index);

    if (++encoder->depth > DEPTH_MAX)
        lua_raise_text(L, ACC_ELIMIT,
                       "cannot encode a table as JSON: nested deeper than %d, or within itself",
                       DEPTH_MAX);
    luaL_checkstack(L, 8, "JSON nested too deep");
    if (!marked && count == 0) {
        encode_object(L, encoder, index);
        return;
    }
    if (count_members(L, index) != count)
        lua_raise_text(
            L, ACC_EINPUT,
            "cannot encode a table as JSON: a list with holes or named members besides 1..%d; "
            "json.null fills a hole",
            count);
    encode_array(L, encoder, index, count);
}

static void encode_number(lua_State *L, struct encoder *encoder, double number)
{
    char text[LUA_NUMBER_TEXT];

    if (!isfinite(number))
        lua_raise_text(L, ACC_EINPUT, "cannot encode %s as JSON",
                       isnan(number) ? "NaN" : "an infinite number");
    lua_number_text(number, text);
    buf_text(&encoder->out, text);
}

static void encode_value(lua_State *L, struct encoder *encoder, int index)
{
    size_t bytes;
    const char *text;
    int64_t integer;

    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        buf_text(&encoder->out, lua_toboolean(L, index) ? "true" : "false");
        return;
    case LUA_TNUMBER:
        encode_number(L, encoder, lua_tonumber(L, index));
        return;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &bytes);
        encode_string(L, encoder, text, bytes);
        return;
    case LUA_TTABLE:
        encode_table(L, encoder, index);
        return;
    default:
        break;
    }
    if (lua_isnil(L, index) || lua_is_null(L, index))
        buf_text(&encoder->out, "null");
    else if (lua_get_int64(L, index, &integer))
        buf_printf(&encoder->out, "%lld", (long long)integer);
    else
        lua_raise_text(L, ACC_EINPUT, "cannot encode a %s as JSON", luaL_typename(L, index));
}

static int l_encoder_gc(lua_State *L)
{
    struct encoder *encoder = lua_touserdata(L, 1);

    buf_clear(&encoder->out);
    buf_clear(&encoder->keys);
    return 0;
}

/*
 * encode(value [, indent]) -> text; raises accrete.Error. Upvalue 1: the encoder, whose buffers are
 * kept.
 */
static int l_json_encode(lua_State *L)
{
    struct encoder *encoder = lua_touserdata(L, lua_upvalueindex(1));

    luaL_checkany(L, 1);
    encoder->indent = (int)luaL_optinteger(L, 2, 0);
    luaL_argcheck(L, encoder->indent >= 0 && encoder->indent <= 16, 2, "wanted 0..16 blanks");
    encoder->depth = 0;
    buf_reset(&encoder->out);
    buf_reset(&encoder->keys);
    encode_value(L, encoder, 1);
    lua_pushlstring(L, encoder->out.data, encoder->out.size);
    if (encoder->out.capacity > KEPT_BYTES)
        buf_clear(&encoder->out);
    return 1;
}

/* array(t) -> t, which encodes as [] even when empty */
static int l_json_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_mark_list(L, 1);
    return 1;
}

/* is_array(value): whether it was decoded from [] or made by array() */
static int l_json_is_array(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushboolean(L, lua_is_list(L, 1));
    return 1;
}

int luaopen_accrete_json_c(lua_State *L)
{
    lua_tools_class(L, TREE_CLASS, l_tree_gc);
    lua_tools_class(L, ENCODER_CLASS, l_encoder_gc);

    lua_createtable(L, 0, 5);
    lua_pushcfunction(L, l_json_decode);
    lua_setfield(L, -2, "decode");
    memset(lua_newuserdata(L, sizeof(struct encoder)), 0, sizeof(struct encoder));
    luaL_getmetatable(L, ENCODER_CLASS);
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, l_json_encode, 1);
    lua_setfield(L, -2, "encode");
    lua_pushcfunction(L, l_json_array);
    lua_setfield(L, -2, "array");
    lua_pushcfunction(L, l_json_is_array);
    lua_setfield(L, -2, "is_array");
    lua_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
