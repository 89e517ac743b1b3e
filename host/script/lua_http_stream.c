/*
 * Answers that a route writes piece by piece. What is written is gathered until a piece is full or the route waits for
 * something; a route that is ahead of its reader waits for room. Held are one piece that is gathered and one on its way.
 */
#include "script/lua_error.h"
#include "script/lua_http.h"

#include <lauxlib.h>
#include <stdlib.h>

#define PIECE_BYTES (64 << 10)

struct lua_stream {
    struct lua_http *http;
    struct lua_handle *handle;  /* NULL: the route is done with it, or gone */
    struct http_stream *stream; /* until it is closed */
    struct http_timer *timer;   /* the last piece is gone */
    struct buf gathered;
    lua_Number token; /* of who waits for room; 0: nobody */
    bool is_finished; /* what is gathered is the end */
};

static struct lua_http *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static const struct acc_error left = {.code = ACC_ELOST,
                                      .text = "the client has left before the end of the answer"};

/* The handle at 1 of a stream that goes on; raises when its client has left. */
static struct lua_handle *streaming(lua_State *L)
{
    struct lua_handle *handle = luaL_checkudata(L, 1, LUA_HTTP_REQUEST_CLASS);

    if (handle->is_left)
        lua_raise(L, &left);
    if (handle->stream == NULL || handle->serving != self(L)->serving)
        lua_raise_text(L, ACC_EINPUT, "the request was answered already");
    return handle;
}

/* Hands over what is gathered when the last piece is gone. The stream may be no more afterwards. */
static void send_gathered(struct lua_stream *stream)
{
    struct buf piece = stream->gathered;

    if (http_stream_is_busy(stream->stream) || (piece.size == 0 && !stream->is_finished))
        return;
    stream->gathered = (struct buf){0};
    http_stream_send(stream->stream, piece.data == NULL ? "" : piece.data, piece.size,
                     stream->is_finished);
    buf_clear(&piece);
}

/* From the loop */

static void wake(struct lua_stream *stream, const struct acc_error *err)
{
    lua_Number token = stream->token;

    stream->token = 0;
    if (token != 0 && stream->http->server != NULL)
        lua_http_wake(stream->http, token, err);
}

/* Not from on_more: a reader that takes all as quickly as it comes must not keep the loop from others. */
static void on_room(void *context)
{
    struct lua_stream *stream = context;
    struct lua_http *http = stream->http;
    lua_Number token = stream->token;

    stream->token = 0;
    send_gathered(stream);
    if (token != 0)
        lua_http_wake(http, token, NULL);
}

static void on_more(void *context, struct http_stream *unused)
{
    struct lua_stream *stream = context;

    (void)unused;
    http_timer_set(stream->timer, 0);
}

static void on_closed(void *context)
{
    struct lua_stream *stream = context;

    if (stream->handle != NULL) {
        stream->handle->stream = NULL;
        stream->handle->request = NULL;
        stream->handle->is_left = true;
    }
    wake(stream, &left);
    http_timer_free(stream->timer);
    buf_clear(&stream->gathered);
    free(stream);
}

/* What the route does */

/* stream(handle, status, type): begins the answer; what is written becomes its body */
int lua_http_stream(lua_State *L)
{
    static const struct http_stream_calls calls = {on_more, on_closed};
    struct lua_http *http = self(L);
    struct http_request *request = lua_http_request(L, 1);
    int status = (int)luaL_checkinteger(L, 2);
    const char *type = luaL_checkstring(L, 3);
    struct lua_handle *handle = lua_touserdata(L, 1);
    struct lua_stream *stream = acc_zalloc(sizeof(*stream));

    stream->http = http;
    stream->handle = handle;
    handle->stream = stream;
    stream->timer = http_timer_new(http->server, on_room, stream);
    stream->stream = http_stream_begin(request, status, type, &calls, stream);
    return 0;
}

/* write(handle, text) -> whether there is room for more */
int lua_http_write(lua_State *L)
{
    struct lua_handle *handle = streaming(L);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);

    buf_add(&handle->stream->gathered, text, size);
    if (handle->stream->gathered.size >= PIECE_BYTES)
        send_gathered(handle->stream);
    lua_pushboolean(L, handle->stream != NULL && handle->stream->gathered.size < PIECE_BYTES);
    return 1;
}

/* room(token, handle): waits until the last piece is gone */
int lua_http_room(lua_State *L)
{
    lua_Number token = luaL_checknumber(L, 1);

    lua_remove(L, 1);
    streaming(L)->stream->token = token;
    return 0;
}

/* flush(handle): what is written so far need not wait for more; nothing when the client has left */
int lua_http_flush(lua_State *L)
{
    struct lua_handle *handle = luaL_checkudata(L, 1, LUA_HTTP_REQUEST_CLASS);

    if (handle->stream != NULL)
        send_gathered(handle->stream);
    return 0;
}

/* The route has no more to do with its answer. NULL: the client has left. */
static struct lua_stream *take_stream(lua_State *L)
{
    struct lua_handle *handle = luaL_checkudata(L, 1, LUA_HTTP_REQUEST_CLASS);
    struct lua_stream *stream = handle->stream;

    handle->stream = NULL;
    handle->request = NULL;
    if (stream != NULL)
        stream->handle = NULL;
    return stream;
}

/* finish(handle): the answer is whole */
int lua_http_finish(lua_State *L)
{
    struct lua_stream *stream = take_stream(L);

    if (stream != NULL) {
        stream->is_finished = true;
        send_gathered(stream);
    }
    return 0;
}

void lua_http_cut(struct lua_stream *stream)
{
    stream->handle = NULL;
    http_stream_abort(stream->stream);
}

/* cut(handle): it is not, and its client shall see that */
int lua_http_cut_off(lua_State *L)
{
    struct lua_stream *stream = take_stream(L);

    if (stream != NULL)
        lua_http_cut(stream);
    return 0;
}

/* is_left(handle): whether the client of a streamed answer has left */
int lua_http_is_left(lua_State *L)
{
    const struct lua_handle *handle = luaL_checkudata(L, 1, LUA_HTTP_REQUEST_CLASS);

    lua_pushboolean(L, handle->is_left);
    return 1;
}
