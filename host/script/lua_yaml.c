/* accrete.yaml: libyaml's events into values. Strict: what readers of YAML disagree about is refused. */
#include "base/error.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"
#include "script/lua_value.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define READER_CLASS "accrete.yaml.reader"
#define DEPTH_MAX 1000
#define COPIED_MAX                                                                                 \
    100000        /* values that aliases may make, so that a short text stays a small value */
#define ANCHORS 2 /* stack index: values by their anchor's name; false while unfinished */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one being looked at; deleted is zeroed */
    int depth;
    int copied;
};

static int l_reader_gc(lua_State *L)
{
    struct reader *reader = lua_touserdata(L, 1);

    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
    return 0;
}

static int fail_at(lua_State *L, yaml_mark_t mark, enum acc_code code, const char *fmt, ...)
    ACC_PRINTF(4, 5);

static int fail_at(lua_State *L, yaml_mark_t mark, enum acc_code code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const char *text = lua_pushvfstring(L, fmt, args);
    va_end(args);
    return lua_raise_text(L, code, "YAML line %zu, column %zu: %s", mark.line + 1, mark.column + 1,
                          text);
}

static int fail_syntax(lua_State *L, const yaml_parser_t *parser)
{
    const char *problem = parser->problem == NULL ? "no YAML" : parser->problem;

    if (parser->error == YAML_READER_ERROR) /* bytes that are no text have an offset, no line */
        return lua_raise_text(L, ACC_EINPUT, "YAML byte %zu: %s", parser->problem_offset + 1,
                              problem);
    if (parser->context == NULL)
        return fail_at(L, parser->problem_mark, ACC_EINPUT, "%s", problem);
    return fail_at(L, parser->problem_mark, ACC_EINPUT, "%s %s, which begins in line %d", problem,
                   parser->context, (int)parser->context_mark.line + 1);
}

/* The next event. */
static void advance(lua_State *L, struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event))
        fail_syntax(L, &reader->parser);
}

/* Scalars */

static bool is_any(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* The core schema of YAML 1.2: yes, no, on and off are texts. */
static bool push_word(lua_State *L, const char *text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    static const char *const infinities[] = {".inf", ".Inf", ".INF", NULL};

    if (is_any(text, nulls))
        lua_push_null(L);
    else if (is_any(text, trues) || is_any(text, falses))
        lua_pushboolean(L, is_any(text, trues));
    else if (is_any(text, nans))
        lua_pushnumber(L, NAN);
    else if (is_any(text + (*text == '-' || *text == '+'), infinities))
        lua_pushnumber(L, *text == '-' ? -INFINITY : INFINITY);
    else
        return false;
    return true;
}

static int64_t check_int64(lua_State *L, const yaml_event_t *event, const char *digits, int base)
{
    errno = 0;
    long long value = strtoll(digits, NULL, base);

    if (errno == ERANGE)
        fail_at(L, event->start_mark, ACC_EINPUT, "wanted an integer of at most 64 bits, got %s",
                (const char *)event->data.scalar.value);
    return value;
}

static bool push_int(lua_State *L, const yaml_event_t *event, const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');

    if (strncmp(text, "0x", 2) == 0 && text[2] != '\0' &&
        strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text + 2)) {
        lua_push_int64(L, check_int64(L, event, text + 2, 16));
        return true;
    }
    if (strncmp(text, "0o", 2) == 0 && text[2] != '\0' &&
        strspn(text + 2, "01234567") == strlen(text + 2)) {
        lua_push_int64(L, check_int64(L, event, text + 2, 8));
        return true;
    }
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
        return false;
    if (digits[0] == '0' && digits[1] != '\0')
        fail_at(L, event->start_mark, ACC_EINPUT,
                "%s is an octal number for some readers: wanted it in quotes, without its zero, or "
                "with 0o in front",
                text);
    lua_push_int64(L, check_int64(L, event, text, 10));
    return true;
}

/* [-+]? ( . digits | digits [. digits] ) [ e [-+]? digits ] */
static bool is_float(const char *text)
{
    text += *text == '-' || *text == '+';
    size_t whole = strspn(text, "0123456789");
    text += whole;
    size_t part = 0;
    if (*text == '.') {
        part = strspn(text + 1, "0123456789");
        text += 1 + part;
    }
    if (whole + part == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '-' || text[1] == '+');
        size_t digits = strspn(text, "0123456789");
        if (digits == 0)
            return false;
        text += digits;
    }
    return *text == '\0';
}

static void push_scalar(lua_State *L, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strlen(text) == size;

    if (is_plain && (push_word(L, text) || push_int(L, event, text)))
        return;
    if (is_plain && is_float(text))
        lua_pushnumber(L, strtod(text, NULL));
    else
        lua_pushlstring(L, text, size);
}

/* Anchors and aliases */

/* Pushes a copy of the value at index, so that changing one of them leaves the others alone. */
static void push_copy(lua_State *L, struct reader *reader, int index)
{
    yaml_mark_t mark = reader->event.start_mark;

    if (++reader->copied > COPIED_MAX)
        fail_at(L, mark, ACC_ELIMIT, "aliases make more than %d values", COPIED_MAX);
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    if (++reader->depth > DEPTH_MAX)
        fail_at(L, mark, ACC_ELIMIT, "nested deeper than %d", DEPTH_MAX);
    luaL_checkstack(L, 8, "YAML nested too deep");
    lua_createtable(L, (int)lua_objlen(L, index), 0);
    int copy = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        push_copy(L, reader, copy + 2);
        lua_pushvalue(L, copy + 1);
        lua_insert(L, -2);
        lua_rawset(L, copy);
        lua_pop(L, 1);
    }
    if (lua_is_list(L, index))
        lua_mark_list(L, copy);
    reader->depth--;
}

static void push_alias(lua_State *L, struct reader *reader)
{
    const char *name = (const char *)reader->event.data.alias.anchor;
    yaml_mark_t mark = reader->event.start_mark;

    lua_getfield(L, ANCHORS, name);
    if (lua_isnil(L, -1))
        fail_at(L, mark, ACC_EINPUT, "there is no anchor &%s before this alias", name);
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
        fail_at(L, mark, ACC_EINPUT, "alias *%s stands inside of what it names", name);
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
    push_copy(L, reader, lua_gettop(L));
    lua_remove(L, -2);
}

/* Keeps the value on top of the stack under its anchor, in a table, since it may be false itself. */
static void keep_anchor(lua_State *L, const char *name)
{
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, ANCHORS, name);
}

/* Values */

static void push_value(lua_State *L, struct reader *reader);

static void refuse_tag(lua_State *L, const yaml_event_t *event, const yaml_char_t *tag)
{
    if (tag != NULL)
        fail_at(L, event->start_mark, ACC_EINPUT, "wanted a value without a tag, got %s",
                (const char *)tag);
}

static void push_list(lua_State *L, struct reader *reader)
{
    lua_newtable(L);
    for (int i = 1;; i++) {
        advance(L, reader);
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        push_value(L, reader);
        lua_rawseti(L, -2, i);
    }
    lua_mark_list(L, -1);
}

/* Pushes the text of a key: 200 and "200" are the same one. */
static void push_key(lua_State *L, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    bool is_scalar = event->type == YAML_SCALAR_EVENT;
    bool is_plain = is_scalar && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (!is_scalar)
        fail_at(L, event->start_mark, ACC_EINPUT, "wanted a text as key, got %s",
                event->type == YAML_ALIAS_EVENT            ? "an alias"
                : event->type == YAML_SEQUENCE_START_EVENT ? "a list"
                                                           : "a map");
    refuse_tag(L, event, event->data.scalar.tag);
    if (is_plain && *text == '\0')
        fail_at(L, event->start_mark, ACC_EINPUT, "wanted a text as key, got nothing");
    if (is_plain && strcmp(text, "<<") == 0)
        fail_at(L, event->start_mark, ACC_EINPUT,
                "merge keys are not read: wanted the members themselves, or \"<<\" in quotes");
    lua_pushlstring(L, text, event->data.scalar.length);
    if (event->data.scalar.anchor != NULL)
        keep_anchor(L, (const char *)event->data.scalar.anchor);
}

static void push_map(lua_State *L, struct reader *reader)
{
    lua_newtable(L);
    for (;;) {
        advance(L, reader);
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            return;
        push_key(L, &reader->event);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (!lua_isnil(L, -1))
            fail_at(L, reader->event.start_mark, ACC_EINPUT,
                    "wanted the key \"%s\" once, got it again", lua_tostring(L, -2));
        lua_pop(L, 1);
        advance(L, reader);
        push_value(L, reader);
        lua_rawset(L, -3);
    }
}

/* A list or map; the anchor's name outlives the event. */
static void push_collection(lua_State *L, struct reader *reader, const yaml_char_t *anchor)
{
    bool is_map = reader->event.type == YAML_MAPPING_START_EVENT;

    if (++reader->depth > DEPTH_MAX)
        fail_at(L, reader->event.start_mark, ACC_ELIMIT, "nested deeper than %d", DEPTH_MAX);
    luaL_checkstack(L, 8, "YAML nested too deep");
    lua_pushstring(L, (const char *)anchor); /* NULL: nil */
    if (anchor != NULL) {
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 0);
        lua_rawset(L, ANCHORS);
    }
    if (is_map)
        push_map(L, reader);
    else
        push_list(L, reader);
    if (!lua_isnil(L, -2))
        keep_anchor(L, lua_tostring(L, -2));
    lua_remove(L, -2);
    reader->depth--;
}

/* Pushes the value that begins with the event being looked at, and looks at its last event. */
static void push_value(lua_State *L, struct reader *reader)
{
    const yaml_event_t *event = &reader->event;

    switch (event->type) {
    case YAML_ALIAS_EVENT:
        push_alias(L, reader);
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_tag(L, event, event->data.sequence_start.tag);
        push_collection(L, reader, event->data.sequence_start.anchor);
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_tag(L, event, event->data.mapping_start.tag);
        push_collection(L, reader, event->data.mapping_start.anchor);
        break;
    default:
        refuse_tag(L, event, event->data.scalar.tag);
        push_scalar(L, event);
        if (event->data.scalar.anchor != NULL)
            keep_anchor(L, (const char *)event->data.scalar.anchor);
        break;
    }
}

/* parse(text, most) -> list of the values of at most so many documents */
static int l_yaml_parse(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_Number most = luaL_checknumber(L, 2);

    lua_settop(L, 1);
    lua_newtable(L); /* ANCHORS */
    lua_newtable(L);
    struct reader *reader = lua_newuserdata(L, sizeof(*reader));
    *reader = (struct reader){0};
    if (!yaml_parser_initialize(&reader->parser))
        return luaL_error(L, "out of memory");
    luaL_getmetatable(L, READER_CLASS);
    lua_setmetatable(L, -2);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, size);
    advance(L, reader); /* the stream's start */
    for (int i = 1;; i++) {
        advance(L, reader);
        if (reader->event.type == YAML_STREAM_END_EVENT)
            break;
        if (i > most)
            fail_at(L, reader->event.start_mark, ACC_EINPUT,
                    "wanted one document, got a second one; yaml.parse_all reads them all");
        advance(L, reader);
        push_value(L, reader);
        lua_rawseti(L, 3, i);
        advance(L, reader); /* the document's end */
        lua_newtable(L);
        lua_replace(L, ANCHORS); /* anchors are the document's own */
    }
    lua_pushvalue(L, 3);
    return 1;
}

int luaopen_accrete_yaml_c(lua_State *L)
{
    if (luaL_newmetatable(L, READER_CLASS)) {
        lua_pushcfunction(L, l_reader_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushcfunction(L, l_yaml_parse);
    lua_setfield(L, -2, "parse");
    return 1;
}
