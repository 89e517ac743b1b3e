/*
 * accrete.http between Lua and the loop of an HTTP server: one of these for each lua_State that has required it.
 * lua_http.c has the server's side, lua_http_stream.c answers in pieces, lua_http_wait.c what a route waits for, lua_routes.c an
 * app's routes.
 */
#pragma once

#include "http/http.h"
#include "intake.h"
#include "kinds.h"
#include "reads.h"

#include <lua.h>

struct lua_wake;
struct lua_stream;

/* Memory of a state: what it may take in all. */
struct lua_memory {
    lua_Alloc allocate; /* the state's own */
    void *context;
    size_t used, limit;
    bool was_full; /* more was asked for since it was looked at last */
};

struct lua_route {
    char *method, *pattern;
    enum http_role role; /* the least that is wanted */
};

struct lua_http {
    lua_State *L;               /* through which the loop calls; only while it serves */
    struct http_server *server; /* NULL: routes are only declared */
    struct http_timer *timer;
    struct lua_route *routes;
    size_t route_count;
    int take, wake, tick, attach;   /* references to http.lua's functions */
    int64_t limit_ms;               /* of a handler, with all it waits for */
    unsigned serving;               /* counts servers */
    int depth;                      /* how deep we are in Lua: nothing is woken from there */
    bool is_waking;                 /* ... nor from a wake */
    struct lua_wake *first, **last; /* to be woken when we are out of it */
    /* Of an app */
    bool is_app;    /* some paths are the host's */
    bool has_roles; /* requests come with roles, from the front */
    const bool *is_readonly;
    uint64_t *beat; /* of this process; NULL: nobody looks */
    struct reads *reads;
    struct intake *intake;
    const struct catalog *catalog;
    struct lua_memory memory;
    /* Of a plain script */
    bool is_stopping;
};

/* Of this state; loads the module when it was not required yet. */
struct lua_http *lua_http_of(lua_State *L);

/* Sets up what serving wants; the server's requests are answered from here on. L: see above. */
void lua_http_begin(struct lua_http *http, lua_State *L, struct http_server *server);
void lua_http_end(struct lua_http *http);

/*
 * Calls the C function with what from the loop, protected, then wakes what was to wait. false: it raised, and that was
 * logged.
 */
bool lua_http_call(struct lua_http *http, lua_CFunction function, void *what);

/* A request as Lua has it: a userdata of this class. */
#define LUA_HTTP_REQUEST_CLASS "accrete.http.request"
struct lua_handle {
    struct http_request *request; /* NULL: answered */
    struct lua_stream *stream;    /* NULL: the answer is not streamed, or it is at its end */
    bool is_left;                 /* its client has left while it was streamed */
    unsigned serving;             /* of which server: a request dies with it */
};

/* The request of the handle at index; raises when it was answered. */
struct http_request *lua_http_request(lua_State *L, int index);

/* lua_http_wait.c: bindings that take (token, ...) and end in a wake of it. Upvalue 1: struct lua_http. */
int lua_http_describe(lua_State *L); /* (token, sql) -> types, columns */
int lua_http_read(lua_State *L);     /* (token, sql, number, types, ...) -> rows */
int lua_http_ingest(lua_State *L);   /* (token, handle, kind, format, body) -> answer */
/* Wakes who waits with the token: with nothing, or err. */
void lua_http_wake(struct lua_http *http, lua_Number token, const struct acc_error *err);

/* lua_http_stream.c: bindings with a handle. Upvalue 1: struct lua_http. */
int lua_http_stream(lua_State *L);  /* (handle, status, type): begins the answer */
int lua_http_write(lua_State *L);   /* (handle, text) -> whether there is room for more */
int lua_http_room(lua_State *L);    /* (token, handle): waits for it */
int lua_http_flush(lua_State *L);   /* (handle): what is written goes out now */
int lua_http_finish(lua_State *L);  /* (handle): the answer is whole */
int lua_http_cut_off(lua_State *L); /* (handle): it is not, and its client shall see that */
int lua_http_is_left(lua_State *L); /* (handle) -> whether its client has left */
/* Cuts off an answer whose handle is no more. */
void lua_http_cut(struct lua_stream *stream);

/* lua_routes.c */
int lua_http_identity(lua_State *L); /* (number of the kind, JSON) -> id */
/* Wakes what stands in line; the loop's side of them. */
void lua_http_wake_all(struct lua_http *http);
void lua_http_drop_wakes(struct lua_http *http);
