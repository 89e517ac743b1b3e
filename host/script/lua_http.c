/* accrete.http: requests of a server's loop into Lua, answers out of it. lua/accrete/http.lua puts coroutines on top. */
#include "script/lua_http.h"

#include "api/access.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/router.h"
#include "script/lua_error.h"
#include "script/lua_tools.h"
#include "script/script_internal.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HTTP_FIELD "accrete.http"
#define TURN_MS 250
#define DRAIN_MS 2000
#define ROOM_BYTES (4 << 20)

static struct lua_http *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* Requests */

struct http_request *lua_http_request(lua_State *L, int index)
{
    struct lua_handle *handle = luaL_checkudata(L, index, LUA_HTTP_REQUEST_CLASS);

    if (handle->request == NULL || handle->serving != self(L)->serving)
        lua_raise_text(L, ACC_EINPUT, "the request was answered already");
    return handle->request;
}

static int push_text(lua_State *L, struct http_text text)
{
    lua_pushlstring(L, text.at, text.size);
    return 1;
}

static int l_method(lua_State *L)
{
    return push_text(L, http_method(lua_http_request(L, 1)));
}

static int l_path(lua_State *L)
{
    return push_text(L, http_path(lua_http_request(L, 1)));
}

static int l_body(lua_State *L)
{
    return push_text(L, http_body(lua_http_request(L, 1)));
}

/* header(handle, name) -> value or nil */
static int l_header(lua_State *L)
{
    struct http_text text = http_header(lua_http_request(L, 1), luaL_checkstring(L, 2));

    return text.size == 0 ? 0 : push_text(L, text);
}

/* query(handle) -> { name, value, name, value ... } */
static int l_query(lua_State *L)
{
    struct http_request *request = lua_http_request(L, 1);
    const char *name;
    const char *value;
    int n = 0;

    lua_newtable(L);
    for (size_t i = 0; http_query_at(request, i, &name, &value); i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++n);
        lua_pushstring(L, value);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int l_id(lua_State *L)
{
    lua_pushstring(L, http_request_id(lua_http_request(L, 1)));
    return 1;
}

static int l_who(lua_State *L)
{
    lua_pushstring(L, http_who(lua_http_request(L, 1)));
    return 1;
}

static int l_peer(lua_State *L)
{
    lua_pushstring(L, http_peer(lua_http_request(L, 1)));
    return 1;
}

static int l_trace(lua_State *L)
{
    lua_pushstring(L, http_trace(lua_http_request(L, 1)));
    return 1;
}

/* add_header(handle, name, value), before the answer */
static int l_add_header(lua_State *L)
{
    http_add_header(lua_http_request(L, 1), luaL_checkstring(L, 2), luaL_checkstring(L, 3));
    return 0;
}

/* Takes the request out of its handle: what follows answers it. */
static struct http_request *take_request(lua_State *L)
{
    struct http_request *request = lua_http_request(L, 1);
    struct lua_handle *handle = lua_touserdata(L, 1);

    if (handle->stream != NULL)
        lua_raise_text(L, ACC_EINPUT, "the request is being answered already");
    handle->request = NULL;
    return request;
}

/* answer(handle, status, type or nil, body) */
static int l_answer(lua_State *L)
{
    size_t size;
    int status = (int)luaL_checkinteger(L, 2);
    const char *type = luaL_optstring(L, 3, NULL);
    const char *body = luaL_checklstring(L, 4, &size);

    http_answer(take_request(L), status, type, body, size);
    return 0;
}

/* answer_error(handle, status, code, message [, field]) */
static int l_answer_error(lua_State *L)
{
    int status = (int)luaL_checkinteger(L, 2);
    const char *code = luaL_checkstring(L, 3);
    const char *message = luaL_checkstring(L, 4);
    const char *field = luaL_optstring(L, 5, NULL);

    http_answer_error(take_request(L), status, code, field, "%s", message);
    return 0;
}

/* Nobody has the handle any more: a streamed answer that is not at its end never gets there. */
static int l_forget(lua_State *L)
{
    const struct lua_handle *handle = lua_touserdata(L, 1);

    if (handle->stream != NULL && handle->serving == self(L)->serving)
        lua_http_cut(handle->stream);
    return 0;
}

/* From the loop */

static void beat(const struct lua_http *http)
{
    if (http->beat != NULL)
        __atomic_add_fetch(http->beat, 1, __ATOMIC_RELAXED);
}

/*
 * Lua was refused memory: what is garbage goes now, since outside of a protected call there is nobody to refuse. What is held
 * beyond that goes with the process: it ends when those who wait in it are answered, and has room for that.
 */
static void make_room(struct lua_http *http)
{
    struct lua_memory *memory = &http->memory;

    memory->limit += ROOM_BYTES;
    lua_gc(http->L, LUA_GCCOLLECT, 0);
    memory->was_full = false;
    if (memory->used < memory->limit / 2)
        memory->limit -= ROOM_BYTES;
    else
        raise(SIGTERM);
}

bool lua_http_call(struct lua_http *http, lua_CFunction function, void *what)
{
    lua_State *L = http->L;
    struct acc_error err;

    beat(http);
    http->depth++;
    lua_pushlightuserdata(L, http);
    lua_pushcclosure(L, function, 1);
    lua_pushlightuserdata(L, what);
    bool ok = script_call(L, 1, 0, &err);
    http->depth--;
    if (http->memory.was_full && http->depth == 0)
        make_room(http);
    beat(http);
    if (!ok)
        log_error("routes", "event=\"a callback of the loop raised\" error=%s",
                  log_quote(err.text));
    if (http->depth == 0)
        lua_http_wake_all(http);
    return ok;
}

struct arrival {
    struct http_request *request;
    struct router_match match;
    struct lua_handle *handle; /* NULL until Lua has it */
};

static int l_take(lua_State *L)
{
    struct arrival *arrival = lua_touserdata(L, 1);

    lua_settop(L, 0);
    arrival->handle = lua_newuserdata(
        L, sizeof(struct lua_handle)); /* stays on the stack: we look at it afterwards */
    *arrival->handle =
        (struct lua_handle){.request = arrival->request, .serving = self(L)->serving};
    luaL_getmetatable(L, LUA_HTTP_REQUEST_CLASS);
    lua_setmetatable(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, self(L)->take);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, arrival->match.route + 1);
    lua_createtable(L, (int)arrival->match.part_count, 0);
    for (size_t i = 0; i < arrival->match.part_count; i++) {
        push_text(L, arrival->match.parts[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_call(L, 3, 0);
    return 0;
}

static const char *pattern_at(const void *context, size_t index, const char **method)
{
    const struct lua_http *http = context;

    if (index >= http->route_count)
        return NULL;
    *method = http->routes[index].method;
    return http->routes[index].pattern;
}

/* Whether the request may use the route; else it is answered. */
static bool is_allowed(const struct lua_http *http, const struct lua_route *route,
                       struct http_request *request)
{
    static const char *const names[] = {"none", "read", "ingest", "admin"};

    if (http->is_readonly != NULL && *http->is_readonly && route->role > HTTP_ROLE_READ) {
        http_answer_error(request, 403, "read_only", NULL,
                          "http.readonly is set: nothing is changed over HTTP");
        return false;
    }
    if (!http->has_roles || http_role(request) >= route->role)
        return true;
    http_answer_error(request, 403, "forbidden", NULL, "this wants the role %s",
                      names[route->role]);
    return false;
}

static void on_request(void *context, struct http_request *request)
{
    struct lua_http *http = context;
    struct arrival arrival = {.request = request};
    const struct router_match *match = &arrival.match;

    router_find(pattern_at, http, http_method(request), http_path(request), &arrival.match);
    if (match->route < 0 && match->allow[0] != '\0') {
        http_add_header(request, "allow", match->allow);
        http_answer_error(request, 405, "method_not_allowed", NULL, "this path takes %s",
                          match->allow);
    } else if (match->route < 0) {
        struct http_text path = http_path(request);
        http_answer_error(request, 404, "not_found", NULL, "nothing is served at %.*s",
                          (int)(path.size < 200 ? path.size : 200), path.at);
    } else if (is_allowed(http, &http->routes[match->route], request) &&
               !lua_http_call(http, l_take, &arrival) &&
               (arrival.handle == NULL || arrival.handle->request != NULL)) {
        if (arrival.handle != NULL)
            arrival.handle->request = NULL;
        http_answer_error(request, 500, "route_failed", NULL, "the route failed");
    }
}

static int l_tick(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, self(L)->tick);
    lua_call(L, 0, 0);
    return 0;
}

static void on_timer(void *context)
{
    lua_http_call(context, l_tick, NULL);
}

void lua_http_begin(struct lua_http *http, lua_State *L, struct http_server *server)
{
    http->L = L;
    http->server = server;
    http->is_stopping = false;
    http->timer = http_timer_new(server, on_timer, http);
    http_server_handle(server, on_request, http);
}

void lua_http_end(struct lua_http *http)
{
    http_timer_free(http->timer);
    http->timer = NULL;
    http->server = NULL;
    http->serving++;
    lua_http_drop_wakes(http);
}

/* Routes */

/* add_route(method, pattern, role) -> its number */
static int l_add_route(lua_State *L)
{
    struct lua_http *http = self(L);
    const char *method = luaL_checkstring(L, 1);
    const char *pattern = luaL_checkstring(L, 2);

    http->routes = acc_realloc(http->routes, (http->route_count + 1) * sizeof(*http->routes));
    http->routes[http->route_count++] =
        (struct lua_route){.method = acc_strdup(method),
                           .pattern = acc_strdup(pattern),
                           .role = (enum http_role)luaL_checkinteger(L, 3)};
    lua_pushinteger(L, (lua_Integer)http->route_count);
    return 1;
}

/* is_app(): whether these are an app's routes, beside the host's own */
static int l_is_app(lua_State *L)
{
    lua_pushboolean(L, self(L)->is_app);
    return 1;
}

/* is_reserved(path): whether it lies below one of the host's own */
static int l_is_reserved(lua_State *L)
{
    struct http_text path = {.at = luaL_checklstring(L, 1, &path.size)};

    lua_pushboolean(L, api_is_reserved(path));
    return 1;
}

static int l_is_serving(lua_State *L)
{
    lua_pushboolean(L, self(L)->server != NULL);
    return 1;
}

/* bind{ take =, wake =, tick =, attach = }: what the loop calls */
static int l_bind(lua_State *L)
{
    struct lua_http *http = self(L);

    lua_getfield(L, 1, "take");
    http->take = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 1, "wake");
    http->wake = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 1, "tick");
    http->tick = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, 1, "attach");
    http->attach = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* now() -> milliseconds */
static int l_now(lua_State *L)
{
    int64_t now_ms = clock_us() / 1000;

    lua_pushnumber(L, (lua_Number)now_ms);
    return 1;
}

static int l_limit_ms(lua_State *L)
{
    lua_pushnumber(L, (double)self(L)->limit_ms);
    return 1;
}

/* set_timer(ms): tick is called then */
static int l_set_timer(lua_State *L)
{
    if (self(L)->timer != NULL)
        http_timer_set(self(L)->timer, (int64_t)luaL_checknumber(L, 1) + 1);
    return 0;
}

/* A plain script's server */

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
}

static bool open_server(struct lua_http *http, lua_State *L, const struct http_options *options,
                        const char *listen, struct acc_error *err)
{
    int fd = http_listen(listen, err);

    if (fd < 0)
        return false;
    struct http_server *server = http_server_new(options, err);
    bool ok = server != NULL && http_server_listen(server, fd, NULL, err);
    if (ok) {
        char *name = http_listen_name(fd);
        lua_pushstring(L, name);
        free(name);
        lua_http_begin(http, L, server);
    } else {
        http_server_free(server);
        close(fd);
    }
    return ok;
}

/* open(listen, is_open, limit_ms, body_bytes, connections) -> address as it is bound */
static int l_open(lua_State *L)
{
    struct lua_http *http = self(L);
    const char *listen = luaL_checkstring(L, 1);
    struct http_options options = {.name = "script",
                                   .body_bytes = (int64_t)luaL_checknumber(L, 4),
                                   .connections = (int64_t)luaL_checknumber(L, 5),
                                   .request_ms = 30000,
                                   .write_ms = 30000,
                                   .access_log = "off"};
    struct acc_error err;

    if (http->server != NULL)
        return lua_raise_text(L, ACC_EINPUT, "http.serve: one is running already");
    if (!http_is_loopback(listen) && !lua_toboolean(L, 2))
        return lua_raise_text(L, ACC_EINPUT,
                              "http.serve: %s can be reached from other machines, by anybody: "
                              "open = true if that is wanted",
                              listen);
    options.bodies_bytes = 4 * options.body_bytes;
    http->limit_ms = (int64_t)luaL_checknumber(L, 3);
    if (!open_server(http, L, &options, listen, &err))
        return lua_raise(L, &err);
    return 1;
}

/* run(): until a signal or stop */
static int l_run(lua_State *L)
{
    struct lua_http *http = self(L);
    struct sigaction stop = {.sa_handler = on_signal};
    struct sigaction term;
    struct sigaction interrupt;
    int64_t end_us = 0;
    bool is_good = true;

    asked_to_stop = 0;
    http->L = L;
    sigaction(SIGTERM, &stop, &term);
    sigaction(SIGINT, &stop, &interrupt);
    while (is_good &&
           (end_us == 0 || (!http_server_is_empty(http->server) && clock_us() < end_us))) {
        is_good = http_server_turn(http->server, end_us == 0 ? TURN_MS : 20);
        if (end_us == 0 && (asked_to_stop != 0 || http->is_stopping)) {
            end_us = clock_us() + DRAIN_MS * 1000;
            http_server_drain(http->server);
        }
    }
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGINT, &interrupt, NULL);
    if (!is_good)
        return lua_raise_text(L, ACC_ESYS, "http.serve: the loop is broken");
    return 0;
}

/* close(): what open has made */
static int l_close(lua_State *L)
{
    struct lua_http *http = self(L);
    struct http_server *server = http->server;

    lua_http_end(http);
    http_server_free(server);
    return 0;
}

static int l_stop(lua_State *L)
{
    self(L)->is_stopping = true;
    return 0;
}

/* The module */

static int l_gc(lua_State *L)
{
    struct lua_http *http = lua_touserdata(L, 1);

    for (size_t i = 0; i < http->route_count; i++) {
        free(http->routes[i].method);
        free(http->routes[i].pattern);
    }
    free(http->routes);
    http->routes = NULL;
    http->route_count = 0;
    lua_http_drop_wakes(http);
    return 0;
}

struct lua_http *lua_http_of(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, HTTP_FIELD);
    struct lua_http *http = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (http != NULL)
        return http;
    http = lua_newuserdata(L, sizeof(*http));
    *http = (struct lua_http){.last = &http->first, .limit_ms = 10000};
    lua_newtable(L);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, HTTP_FIELD);
    return http;
}

int luaopen_accrete_http_c(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"method", l_method},
        {"path", l_path},
        {"body", l_body},
        {"header", l_header},
        {"query", l_query},
        {"id", l_id},
        {"who", l_who},
        {"peer", l_peer},
        {"trace", l_trace},
        {"add_header", l_add_header},
        {"answer", l_answer},
        {"answer_error", l_answer_error},
        {"stream", lua_http_stream},
        {"write", lua_http_write},
        {"room", lua_http_room},
        {"flush", lua_http_flush},
        {"finish", lua_http_finish},
        {"cut_off", lua_http_cut_off},
        {"is_left", lua_http_is_left},
        {"add_route", l_add_route},
        {"is_app", l_is_app},
        {"is_reserved", l_is_reserved},
        {"is_serving", l_is_serving},
        {"bind", l_bind},
        {"now", l_now},
        {"limit_ms", l_limit_ms},
        {"set_timer", l_set_timer},
        {"open", l_open},
        {"run", l_run},
        {"close", l_close},
        {"stop", l_stop},
        {"describe", lua_http_describe},
        {"read", lua_http_read},
        {"ingest", lua_http_ingest},
        {"identity", lua_http_identity},
        {"suggest", script_l_suggest},
        {NULL, NULL},
    };
    struct lua_http *http = lua_http_of(L);

    luaL_newmetatable(L, LUA_HTTP_REQUEST_CLASS);
    lua_pushlightuserdata(L, http);
    lua_pushcclosure(L, l_forget, 1);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushlightuserdata(L, http);
        lua_pushcclosure(L, f->func, 1);
        lua_setfield(L, -2, f->name);
    }
    lua_pushinteger(L, ROUTER_PARTS_MAX);
    lua_setfield(L, -2, "parts_max");
    lua_pushinteger(L, READS_STATEMENTS);
    lua_setfield(L, -2, "statements_max");
    return 1;
}
