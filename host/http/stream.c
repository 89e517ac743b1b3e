#include "http/internal.h"

#include <assert.h>
#include <stdlib.h>

struct http_stream {
    h2o_generator_t generator;
    struct http_request *request;
    const struct http_stream_calls *calls;
    void *context;
    bool is_busy;    /* a piece is on its way */
    bool is_over;    /* nothing goes out any more */
    bool is_aborted; /* when the piece on its way is gone */
    struct buf piece;
    void (*released)(void *owner); /* of the shared piece on its way; NULL: none */
    void *owner;
    h2o_send_state_t last; /* of the end that is put off */
    h2o_timeout_entry_t end;
};

static void release(struct http_stream *stream)
{
    void (*released)(void *owner) = stream->released;

    stream->released = NULL;
    if (released != NULL)
        released(stream->owner);
}

static void on_gone(h2o_generator_t *generator, h2o_req_t *req)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, generator, generator);

    (void)req;
    stream->is_over = true; /* the request ends at once */
}

/* h2o may let the request go within h2o_send when it has nothing to write, so the caller's turn is over first. */
static void on_end_due(h2o_timeout_entry_t *entry)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, end, entry);

    if (stream->last == H2O_SEND_STATE_ERROR)
        connection_break(stream->request->connection);
    h2o_send(stream->request->req, NULL, 0, stream->last);
}

static void end(struct http_stream *stream, h2o_send_state_t state)
{
    struct http_server *server = stream->request->server;

    stream->is_over = true;
    stream->last = state;
    h2o_timeout_link(server->loop, &server->context.zero_timeout, &stream->end);
}

static void on_more(h2o_generator_t *generator, h2o_req_t *req)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, generator, generator);

    (void)req;
    stream->is_busy = false;
    stream->request->server->has_happened = true;
    connection_written(stream->request->connection);
    release(stream);
    if (stream->is_aborted)
        end(stream, H2O_SEND_STATE_ERROR);
    else if (!stream->is_over && stream->calls->more != NULL)
        stream->calls->more(stream->context, stream);
}

static void on_ended(void *context)
{
    struct http_stream *stream = context;

    h2o_timeout_unlink(&stream->end);
    release(stream);
    buf_clear(&stream->piece);
    stream->request->server->counts.streams--;
    stream->request->server->has_happened = true;
    if (stream->calls->closed != NULL)
        stream->calls->closed(stream->context);
}

struct http_stream *http_stream_begin(struct http_request *request, int status,
                                      const char *content_type,
                                      const struct http_stream_calls *calls, void *context)
{
    h2o_req_t *req = request->req;
    struct http_stream *stream = http_alloc(request, sizeof(*stream));

    *stream = (struct http_stream){.generator = {.proceed = on_more, .stop = on_gone},
                                   .request = request,
                                   .calls = calls,
                                   .context = context,
                                   .end = {.cb = on_end_due}};
    request->ended = on_ended;
    request->ended_context = stream;
    request->server->counts.streams++;
    connection_at_work(request->connection, false);
    req->res.status = status;
    req->res.reason = answer_reason(status);
    if (content_type != NULL)
        http_add_header(request, "content-type", content_type);
    if (req->version < 0x101)
        req->http1_is_persistent = 0; /* the connection's end is the body's */
    h2o_start_response(req, &stream->generator);
    if (h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")))
        end(stream, H2O_SEND_STATE_FINAL);
    return stream;
}

bool http_stream_is_busy(const struct http_stream *stream)
{
    return stream->is_busy;
}

static void send_bytes(struct http_stream *stream, const void *data, size_t size, bool is_last)
{
    h2o_iovec_t piece = h2o_iovec_init(data, size);

    assert(!stream->is_busy);
    stream->is_busy = true;
    stream->is_over = is_last;
    h2o_send(stream->request->req, &piece, 1,
             is_last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

void http_stream_send(struct http_stream *stream, const void *data, size_t size, bool is_last)
{
    if (stream->is_over)
        return;
    if (size == 0) {
        if (is_last)
            end(stream, H2O_SEND_STATE_FINAL);
        return;
    }
    buf_reset(&stream->piece);
    buf_add(&stream->piece, data, size);
    send_bytes(stream, stream->piece.data, size, is_last);
}

void http_stream_send_shared(struct http_stream *stream, const void *data, size_t size,
                             void (*released)(void *owner), void *owner)
{
    if (stream->is_over || size == 0) {
        released(owner);
        return;
    }
    stream->released = released;
    stream->owner = owner;
    send_bytes(stream, data, size, false);
}

void http_stream_abort(struct http_stream *stream)
{
    if (stream->is_over)
        return;
    stream->is_over = stream->is_aborted = true;
    if (!stream->is_busy)
        end(stream, H2O_SEND_STATE_ERROR);
}
