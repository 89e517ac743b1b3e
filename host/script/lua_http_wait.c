/*
 * What a route waits for: reads and facts in. Each binding takes a token; when what it asked for has come, the loop hands the
 * token back to http.lua, which resumes the coroutine that waits for it.
 */
#include "base/log.h"
#include "script/lua_db_link.h"
#include "script/lua_error.h"
#include "script/lua_http.h"
#include "script/lua_value.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* What has come for a token. */
struct lua_wake {
    struct lua_wake *next;
    struct lua_http *http;
    lua_Number token;
    bool is_description;
    PGresult *res; /* of a read */
    struct acc_error *err;
    struct lua_ingest *ingest;
};

/* An answer of the intake, copied: it is only lent. */
struct lua_ingest {
    struct intake_answer answer;
    char *texts[3 + 2 * INTAKE_ERRORS];
    size_t text_count;
    uint8_t id[16];
    char *kind, *body, *who, *trace; /* what was sent */
};

static struct lua_http *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static void free_ingest(struct lua_ingest *ingest)
{
    if (ingest == NULL)
        return;
    for (size_t i = 0; i < ingest->text_count; i++)
        free(ingest->texts[i]);
    free(ingest->kind);
    free(ingest->body);
    free(ingest->who);
    free(ingest->trace);
    free(ingest);
}

static void wake_free(struct lua_wake *wake)
{
    PQclear(wake->res);
    free(wake->err);
    free_ingest(wake->ingest);
    free(wake);
}

/* What was woken with */

static int push_description(lua_State *L, const PGresult *res)
{
    int count = PQnparams(res);

    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushnumber(L, (lua_Number)PQparamtype(res, i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushinteger(L, PQnfields(res));
    return 2;
}

static int push_rows(lua_State *L, struct lua_wake *wake)
{
    struct db_link *link = lua_newuserdata(L, sizeof(*link)); /* its class frees what it holds */

    memset(link, 0, sizeof(*link));
    luaL_getmetatable(L, DB_LINK_CLASS);
    lua_setmetatable(L, -2);
    link->res = wake->res;
    wake->res = NULL;
    int count = db_push_shape(L, link, SHAPE_QUERY);
    db_close_link(link);
    return count;
}

static void set_number(lua_State *L, const char *name, int64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static int push_ingest(lua_State *L, const struct intake_answer *answer)
{
    lua_newtable(L);
    set_number(L, "status", answer->status);
    set_number(L, "ingest", answer->ingest);
    set_number(L, "lines", answer->lines);
    set_number(L, "new", answer->fresh);
    set_number(L, "repeats", answer->repeats);
    set_number(L, "refused", answer->refused);
    set_text(L, "code", answer->code);
    set_text(L, "message", answer->message);
    set_text(L, "field", answer->field);
    if (answer->retry_after_s > 0)
        set_number(L, "retry_after_s", answer->retry_after_s);
    lua_createtable(L, (int)answer->error_count, 0);
    for (size_t i = 0; i < answer->error_count; i++) {
        lua_newtable(L);
        set_number(L, "line", answer->errors[i].line);
        set_text(L, "field", answer->errors[i].field);
        set_text(L, "message", answer->errors[i].message);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_mark_list(L, -1);
    lua_setfield(L, -2, "errors");
    return 1;
}

static int push_error(lua_State *L, const struct acc_error *err)
{
    static const char *const codes[] = {
        [ACC_OK] = "ok",        [ACC_EINPUT] = "input", [ACC_ECONFLICT] = "conflict",
        [ACC_ESTALE] = "stale", [ACC_ELOST] = "lost",   [ACC_EDB] = "database",
        [ACC_ELUA] = "lua",     [ACC_ELIMIT] = "limit", [ACC_ESYS] = "system"};

    lua_pushstring(L, codes[err->code]);
    lua_pushstring(L, err->text);
    if (err->sqlstate[0] == '\0')
        return 2;
    lua_pushstring(L, err->sqlstate);
    return 3;
}

/* Protected; called with the wake. */
static int l_wake(lua_State *L)
{
    struct lua_wake *wake = lua_touserdata(L, 1);
    int count;

    lua_rawgeti(L, LUA_REGISTRYINDEX, self(L)->wake);
    lua_pushnumber(L, wake->token);
    lua_pushboolean(L, wake->err == NULL);
    if (wake->err != NULL)
        count = push_error(L, wake->err);
    else if (wake->ingest != NULL)
        count = push_ingest(L, &wake->ingest->answer);
    else if (wake->res == NULL)
        count = 0;
    else if (wake->is_description)
        count = push_description(L, wake->res);
    else {
        count = push_rows(L, wake);
        lua_remove(L, -1 - count); /* the link */
    }
    lua_call(L, 2 + count, 0);
    return 0;
}

void lua_http_wake_all(struct lua_http *http)
{
    if (http->is_waking || http->depth > 0)
        return;
    http->is_waking = true; /* the calls below come here again: one loop does for all of them */
    for (struct lua_wake *wake; (wake = http->first) != NULL;) {
        http->first = wake->next;
        if (http->first == NULL)
            http->last = &http->first;
        lua_http_call(http, l_wake, wake);
        wake_free(wake);
    }
    http->is_waking = false;
}

void lua_http_drop_wakes(struct lua_http *http)
{
    for (struct lua_wake *wake; (wake = http->first) != NULL;) {
        http->first = wake->next;
        wake_free(wake);
    }
    http->last = &http->first;
}

static void come(struct lua_wake *wake)
{
    struct lua_http *http = wake->http;

    *http->last = wake;
    http->last = &wake->next;
    lua_http_wake_all(http);
}

void lua_http_wake(struct lua_http *http, lua_Number token, const struct acc_error *err)
{
    struct lua_wake *wake = acc_zalloc(sizeof(*wake));

    wake->http = http;
    wake->token = token;
    if (err != NULL) {
        wake->err = acc_alloc(sizeof(*err));
        *wake->err = *err;
    }
    come(wake);
}

/* Reads */

static void on_read(void *context, PGresult *res, const struct acc_error *err)
{
    struct lua_wake *wake = context;

    wake->res = res;
    if (err != NULL) {
        wake->err = acc_alloc(sizeof(*err));
        *wake->err = *err;
    }
    come(wake);
}

static int submit(lua_State *L, struct reads_call *call)
{
    struct lua_http *http = self(L);
    struct lua_wake *wake = acc_zalloc(sizeof(*wake));
    struct acc_error err;

    *wake = (struct lua_wake){
        .http = http, .token = lua_tonumber(L, 1), .is_description = call->is_description};
    call->done = on_read;
    call->context = wake;
    if (reads_submit(http->reads, call, &err))
        return 0;
    free(wake);
    return lua_raise(L, &err);
}

/* describe(token, sql) -> list of the parameters' types, number of columns */
int lua_http_describe(lua_State *L)
{
    struct reads_call call = {.sql = luaL_checkstring(L, 2), .is_description = true};

    return submit(L, &call);
}

/* read(token, sql, number, types, ...) -> rows, count */
int lua_http_read(lua_State *L)
{
    int count = lua_gettop(L) - 4;
    struct reads_call call = {.sql = luaL_checkstring(L, 2),
                              .statement = (unsigned)luaL_checkinteger(L, 3),
                              .count = count};
    size_t each = sizeof(struct db_param) + sizeof(char *) + 2 * sizeof(int);

    luaL_checktype(L, 4, LUA_TTABLE);
    /* A link owns the buffers that Lua's errors must not leak. */
    struct db_link *link = lua_newuserdata(L, sizeof(*link));
    memset(link, 0, sizeof(*link));
    luaL_getmetatable(L, DB_LINK_CLASS);
    lua_setmetatable(L, -2);
    struct db_param *params = lua_newuserdata(L, (size_t)count * each + 1);
    const char **values = (const char **)(params + count);
    int *lengths = (int *)(values + count);
    int *formats = lengths + count;
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 4, i + 1);
        Oid type = (Oid)lua_tonumber(L, -1);
        lua_pop(L, 1);
        params[i] = db_encode(L, 5 + i, type, i + 1, &link->bytes);
    }
    for (int i = 0; i < count; i++) {
        values[i] = params[i].is_null ? NULL : link->bytes.data + params[i].at;
        lengths[i] = params[i].is_null ? 0 : params[i].bytes;
        formats[i] = params[i].format;
    }
    call.values = values;
    call.lengths = lengths;
    call.formats = formats;
    submit(L, &call);
    db_close_link(link);
    return 0;
}

/* Facts in */

static char *keep(struct lua_ingest *ingest, const char *text)
{
    if (text == NULL)
        return NULL;
    return ingest->texts[ingest->text_count++] = acc_strdup(text);
}

static void on_ingest(void *context, const struct intake_answer *answer)
{
    struct lua_wake *wake = context;
    struct lua_ingest *ingest = wake->ingest;

    ingest->answer = *answer;
    ingest->answer.code = keep(ingest, answer->code);
    ingest->answer.message = keep(ingest, answer->message);
    ingest->answer.field = keep(ingest, answer->field);
    for (size_t i = 0; i < answer->error_count; i++) {
        ingest->answer.errors[i].field = keep(ingest, answer->errors[i].field);
        ingest->answer.errors[i].message = keep(ingest, answer->errors[i].message);
    }
    come(wake);
}

/* ingest(token, handle, kind, format, body) -> answer */
int lua_http_ingest(lua_State *L)
{
    static const char *const formats[] = {"json", "ndjson", "csv", "text", NULL};
    struct lua_http *http = self(L);
    size_t size;
    struct http_request *request = lua_http_request(L, 2);
    const char *kind = luaL_checkstring(L, 3);
    int format = luaL_checkoption(L, 4, NULL, formats);
    const char *body = luaL_checklstring(L, 5, &size);
    struct lua_wake *wake = acc_zalloc(sizeof(*wake));
    struct lua_ingest *ingest = acc_zalloc(sizeof(*ingest));

    *wake = (struct lua_wake){.http = http, .token = lua_tonumber(L, 1), .ingest = ingest};
    ingest->kind = acc_strdup(kind);
    ingest->who = acc_strdup(http_who(request));
    ingest->trace = acc_strdup(http_trace(request));
    ingest->body = acc_alloc(size + 1);
    memcpy(ingest->body, body, size);
    intake_submit(http->intake, &(struct intake_request){.kind = ingest->kind,
                                                         .format = (enum intake_format)format,
                                                         .body = ingest->body,
                                                         .size = size,
                                                         .who = ingest->who,
                                                         .trace = ingest->trace,
                                                         .done = on_ingest,
                                                         .context = wake});
    return 0;
}
