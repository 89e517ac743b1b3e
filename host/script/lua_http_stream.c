/*
 * Answers that a route writes piece by piece. What is written is gathered until a piece is full or the route waits for
 * something; a route that is ahead of its reader waits for room. Held are one piece that is gathered and one on its way.
 */
#include "script/lua_error.h"
#include "script/lua_http.h"

#include <lauxlib.h>
#include <stdlib.h>

#define PIECE_BYTES (64 << 10)
#define SPARE_BYTES (1 << 20) /* a longer text than that does not leave its room behind */

struct lua_stream {
    struct lua_http *http;
    struct lua_handle *handle;  /* NULL: the route is done with it, or gone */
    struct http_stream *stream; /* until it is closed */
    struct http_timer *timer;   /* the last piece is gone */
    struct buf gathered;
    struct lua_wake *waiting; /* for room; NULL: nobody */
    bool is_finished;         /* what is gathered is the end */
};

static struct lua_http *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The stream of the handle at 1, which goes on; raises when its client has left. */
static struct lua_stream *stream_of(lua_State *L)
{
    const struct lua_handle *handle = luaL_checkudata(L, 1, LUA_HTTP_REQUEST_CLASS);

    if (handle->is_left)
        lua_raise_text(L, ACC_ELOST, "the client has left before the end of the answer");
    lua_http_request(L, 1);
    return handle->stream;
}

/* Hands over what is gathered, if the last piece is gone. The stream may be no more afterwards. */
static void send_gathered(struct lua_stream *stream)
{
    struct buf piece = stream->gathered;

    if (http_stream_is_busy(stream->stream) || (piece.size == 0 && !stream->is_finished))
        return;
    stream->gathered = (struct buf){0};
    if (piece.capacity <= SPARE_BYTES) { /* the other way round, so that nothing is touched behind the send */
        buf_reserve(&stream->gathered, PIECE_BYTES);
    }
    http_stream_send(stream->stream, piece.data == NULL ? "" : piece.data, piece.size,
                     stream->is_finished);
    buf_clear(&piece);
}
