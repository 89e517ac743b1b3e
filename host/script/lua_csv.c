/*
 * accrete.csv: records from a file (also packed) or a text by the scanner that ingest uses, rows
 * into records.
 */
#include "base/lines.h"
#include "formats/cells.h"
#include "formats/unpack.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"
#include "script/lua_value.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <math.h>
#include <unistd.h>

#define READER_CLASS "accrete.csv.reader"
#define WRITER_CLASS "accrete.csv.writer"
#define RECORD_MAX (64 << 20) /* bytes, so that a quote that is never closed does not take a file */

/* Reading */

/* The environment table of the userdata: 1: source (text or path), 2: names, 3: what NULL reads as. */
enum { ENV_SOURCE = 1, ENV_NAMES, ENV_NULL };

struct reader {
    struct lines lines;
    struct cells cells;
    struct unpack *unpack; /* NULL: a text is read */
    int fd;                /* -1: none, or standard input */
    const char *text;      /* the environment keeps it */
    size_t size, at;
    size_t columns;  /* of every record; 0: not known yet */
    int64_t first;   /* line in which the record begins */
    bool has_header; /* the first record holds the names */
    bool is_named;   /* rows by name; else lists */
    bool has_null;   /* NULL reads as something else than nothing */
};

static ptrdiff_t read_text(void *context, char *data, size_t size, struct acc_error *err)
{
    struct reader *reader = context;
    size_t left = reader->size - reader->at;
    size_t taken = left < size ? left : size;

    (void)err;
    memcpy(data, reader->text + reader->at, taken);
    reader->at += taken;
    return (ptrdiff_t)taken;
}

static void reader_close(struct reader *reader)
{
    lines_clear(&reader->lines);
    reader->lines.at = reader->lines.size = 0;
    reader->lines.is_end = true;
    cells_clear(&reader->cells);
    unpack_free(reader->unpack);
    reader->unpack = NULL;
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
}

static int l_reader_gc(lua_State *L)
{
    reader_close(lua_touserdata(L, 1));
    return 0;
}

static void open_file(lua_State *L, struct reader *reader, const char *path)
{
    struct acc_error err = {.code = ACC_ESYS};
    bool is_input = strcmp(path, "-") == 0;

    if (!is_input) {
        reader->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (reader->fd < 0) {
            acc_fail_errno(&err, "%s: cannot be opened", path);
            lua_raise(L, &err);
        }
    }
    reader->unpack = unpack_new(is_input ? STDIN_FILENO : reader->fd);
    lines_init_reader(&reader->lines, unpack_read, reader->unpack, RECORD_MAX);
}

/*
 * reader(is_path, source, separator, header, null) -> reader. header: true, false or a list of
 * names.
 */
static int l_csv_reader(lua_State *L)
{
    bool is_path = lua_toboolean(L, 1);
    size_t size;
    const char *source = luaL_checklstring(L, 2, &size);
    const char *separator = luaL_checkstring(L, 3);
    struct reader *reader = lua_newuserdata(L, sizeof(*reader));

    *reader = (struct reader){.fd = -1,
                              .cells = {.separator = *separator},
                              .is_named = lua_toboolean(L, 4),
                              .has_header = lua_isboolean(L, 4) && lua_toboolean(L, 4),
                              .has_null = !lua_isnoneornil(L, 5)};
    luaL_getmetatable(L, READER_CLASS);
    lua_setmetatable(L, -2);
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, ENV_SOURCE);
    if (lua_istable(L, 4)) {
        reader->columns = lua_objlen(L, 4);
        lua_pushvalue(L, 4);
        lua_rawseti(L, -2, ENV_NAMES);
    }
    lua_pushvalue(L, 5);
    lua_rawseti(L, -2, ENV_NULL);
    lua_setfenv(L, -2);
    if (is_path) {
        open_file(L, reader, source);
        return 1;
    }
    reader->text = source;
    reader->size = size;
    lines_init_reader(&reader->lines, read_text, reader, RECORD_MAX);
    return 1;
}

/* Raises "people.csv line 4, column 2: …"; 0 is left out. Closes the reader. */
static int fail(lua_State *L, struct reader *reader, int64_t line, size_t column,
                struct acc_error *err)
{
    char place[64] = "";

    if (line > 0)
        snprintf(place, sizeof(place), " line %lld", (long long)line);
    if (column > 0)
        snprintf(place + strlen(place), sizeof(place) - strlen(place), ", column %zu", column);
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, ENV_SOURCE);
    acc_fail_prefix(err, "%s%s", reader->text == NULL ? lua_tostring(L, -1) : "CSV", place);
    reader_close(reader);
    return lua_raise(L, err);
}

/* Takes lines until a record is whole; false at the end. */
static bool take_record(lua_State *L, struct reader *reader)
{
    struct acc_error err = {0};
    const char *line;
    size_t size;

    for (;;) {
        bool was_open = reader->cells.is_open;
        enum lines_result lines = lines_next(&reader->lines, &line, &size, &err);
        int64_t number = reader->lines.number;

        if (lines == LINES_END && was_open) {
            acc_fail(&err, ACC_EINPUT, "the quote is never closed");
            fail(L, reader, reader->first, reader->cells.count, &err);
        }
        if (lines == LINES_END)
            return false;
        if (lines == LINES_TOO_LONG)
            acc_fail(&err, ACC_ELIMIT, "wanted lines of at most %d bytes", RECORD_MAX);
        if (lines != LINES_ONE)
            fail(L, reader, lines == LINES_FAILED ? 0 : number, 0, &err);
        if (!was_open)
            reader->first = number;
        switch (cells_line(&reader->cells, line, size, &err)) {
        case CELLS_RECORD:
            return true;
        case CELLS_BAD:
            fail(L, reader, number, reader->cells.count, &err);
            break;
        case CELLS_MORE:
            if (reader->cells.text.size <= RECORD_MAX)
                break;
            acc_fail(&err, ACC_ELIMIT, "a quote is open for more than %d bytes", RECORD_MAX);
            fail(L, reader, reader->first, reader->cells.count, &err);
            break;
        case CELLS_NONE:
            break;
        }
    }
}

static void check_columns(lua_State *L, struct reader *reader)
{
    struct acc_error err;

    if (reader->columns == 0)
        reader->columns = reader->cells.count;
    if (reader->columns == reader->cells.count)
        return;
    acc_fail(&err, ACC_EINPUT, "wanted %zu values as in the %s, got %zu", reader->columns,
             reader->is_named ? "header" : "first record", reader->cells.count);
    fail(L, reader, reader->first, 0, &err);
}

/* The record that was taken as the names of the columns. */
static void take_names(lua_State *L, struct reader *reader)
{
    struct acc_error err;

    check_columns(L, reader);
    lua_getfenv(L, 1);
    lua_createtable(L, (int)reader->columns, 0);
    lua_newtable(L); /* names met */
    for (size_t i = 0; i < reader->columns; i++) {
        lua_pushlstring(L, cells_text(&reader->cells, i), reader->cells.list[i].size);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (!lua_isnil(L, -1)) {
            acc_fail(&err, ACC_EINPUT, "the header has \"%.80s\" twice", lua_tostring(L, -2));
            fail(L, reader, reader->first, i + 1, &err);
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, (int)i + 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    lua_rawseti(L, -2, ENV_NAMES);
    lua_pop(L, 1);
}

/* The next record into the cells; false at the end. */
static bool next_record(lua_State *L, struct reader *reader)
{
    if (reader->has_header) {
        if (!take_record(L, reader))
            return false;
        reader->has_header = false;
        take_names(L, reader);
    }
    if (!take_record(L, reader)) {
        reader_close(reader);
        return false;
    }
    check_columns(L, reader);
    return true;
}

/* Pushes the record as a row; the environment is at index env. */
static void push_row(lua_State *L, const struct reader *reader, int env)
{
    int count = (int)reader->columns;

    lua_createtable(L, reader->is_named ? 0 : count, reader->is_named ? count : 0);
    lua_rawgeti(L, env, ENV_NAMES);
    for (int i = 0; i < count; i++) {
        const struct cell *cell = &reader->cells.list[i];
        bool is_null = cell->size == 0 && !cell->is_quoted;

        if (reader->is_named)
            lua_rawgeti(L, -1, i + 1);
        if (!is_null)
            lua_pushlstring(L, cells_text(&reader->cells, (size_t)i), cell->size);
        else if (reader->has_null)
            lua_rawgeti(L, env, ENV_NULL);
        else if (reader->is_named)
            lua_pushnil(L);
        else
            lua_push_null(L);
        if (reader->is_named)
            lua_rawset(L, -4);
        else
            lua_rawseti(L, -3, i + 1);
    }
    lua_pop(L, 1);
}

/* next(reader) -> row, line in which it begins; nothing at the end */
static int l_csv_next(lua_State *L)
{
    struct reader *reader = luaL_checkudata(L, 1, READER_CLASS);

    lua_settop(L, 1);
    if (!next_record(L, reader))
        return 0;
    lua_getfenv(L, 1);
    push_row(L, reader, 2);
    lua_pushinteger(L, (lua_Integer)reader->first);
    return 2;
}

/* all(reader) -> rows, names or nil */
static int l_csv_all(lua_State *L)
{
    struct reader *reader = luaL_checkudata(L, 1, READER_CLASS);

    lua_settop(L, 1);
    lua_getfenv(L, 1);
    lua_newtable(L);
    for (int i = 1; next_record(L, reader); i++) {
        push_row(L, reader, 2);
        lua_rawseti(L, 3, i);
    }
    lua_rawgeti(L, 2, ENV_NAMES);
    return 2;
}

/* Writing */

static void add_text(struct buf *out, const char *text, size_t size, char separator)
{
    bool is_plain = size > 0 && memchr(text, separator, size) == NULL &&
                    memchr(text, '"', size) == NULL && memchr(text, '\n', size) == NULL &&
                    memchr(text, '\r', size) == NULL;

    if (is_plain) {
        buf_add(out, text, size);
        return;
    }
    buf_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            buf_byte(out, '"');
        buf_byte(out, (uint8_t)text[i]);
    }
    buf_byte(out, '"');
}

static void add_number(struct buf *out, double number)
{
    char text[LUA_NUMBER_TEXT];

    if (isnan(number)) {
        buf_text(out, "NaN");
    } else if (isinf(number)) {
        buf_text(out, number > 0 ? "Infinity" : "-Infinity");
    } else {
        lua_number_text(number, text);
        buf_text(out, text);
    }
}

/* Adds the value on top of the stack; false when CSV has nothing for it. */
static bool add_value(lua_State *L, struct buf *out, char separator)
{
    int64_t integer;
    size_t size;
    const char *text;

    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &size);
        add_text(out, text, size, separator);
        return true;
    case LUA_TNUMBER:
        add_number(out, lua_tonumber(L, -1));
        return true;
    case LUA_TBOOLEAN:
        buf_text(out, lua_toboolean(L, -1) ? "true" : "false");
        return true;
    default:
        break;
    }
    if (lua_get_int64(L, -1, &integer)) {
        buf_printf(out, "%lld", (long long)integer);
        return true;
    }
    return lua_isnil(L, -1) || lua_is_null(L, -1);
}

/*
 * line(row, names or number of values, separator, number of the row) -> text without a newline.
 * Upvalue 1: the buffer.
 */
static int l_csv_line(lua_State *L)
{
    struct buf *out = lua_touserdata(L, lua_upvalueindex(1));
    char separator = *luaL_checkstring(L, 3);
    bool is_named = lua_istable(L, 2);
    int count = is_named ? (int)lua_objlen(L, 2) : (int)luaL_checkinteger(L, 2);

    buf_reset(out);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            buf_byte(out, (uint8_t)separator);
        if (is_named)
            lua_rawgeti(L, 2, i);
        else
            lua_pushinteger(L, i);
        lua_gettable(L, 1);
        if (!add_value(L, out, separator))
            return lua_raise_text(L, ACC_EINPUT, "CSV row %d, column %d: cannot write a %s",
                                  (int)luaL_checkinteger(L, 4), i, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    if (out->size == 0)
        return lua_raise_text(
            L, ACC_EINPUT,
            "CSV row %d: cannot write a row whose only value is NULL: it would be "
            "an empty line, which readers skip",
            (int)luaL_checkinteger(L, 4));
    lua_pushlstring(L, out->data, out->size);
    return 1;
}

static int l_writer_gc(lua_State *L)
{
    buf_clear(lua_touserdata(L, 1));
    return 0;
}

int luaopen_accrete_csv_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"reader", l_csv_reader},
        {"next", l_csv_next},
        {"all", l_csv_all},
        {NULL, NULL},
    };

    lua_tools_class(L, READER_CLASS, l_reader_gc);
    lua_tools_class(L, WRITER_CLASS, l_writer_gc);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    memset(lua_newuserdata(L, sizeof(struct buf)), 0, sizeof(struct buf));
    luaL_getmetatable(L, WRITER_CLASS);
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, l_csv_line, 1);
    lua_setfield(L, -2, "line");
    lua_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
