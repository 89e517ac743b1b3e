/* Requests that another process of this machine answers. The answer goes through as it comes; when the client takes it slowly, no more of it is read. */
#include "http/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define READ_AHEAD_BYTES (64 << 10)

struct forward {
    h2o_generator_t generator;
    struct http_request *request;
    h2o_http1client_t *client; /* NULL: it is done */
    h2o_socket_cb reader;      /* its, while it is stopped; NULL: it reads */
    h2o_doublebuffer_t sending;
    h2o_buffer_t *rest; /* what came with the end */
    struct http_timer *silence;
    int64_t limit_ms;
    struct buf head; /* of the request */
    h2o_iovec_t parts[2];
    bool has_begun; /* the answer's head went out */
    bool is_broken, is_chunked, has_length;
};

static void hang_up(struct forward *forward)
{
    if (forward->client != NULL)
        h2o_http1client_cancel(forward->client);
    forward->client = NULL;
}

static void on_ended(void *context)
{
    struct forward *forward = context;

    hang_up(forward);
    http_timer_free(forward->silence);
    h2o_buffer_dispose(&forward->rest);
    h2o_doublebuffer_dispose(&forward->sending);
    buf_clear(&forward->head);
}

static void on_gone(h2o_generator_t *generator, h2o_req_t *req)
{
    (void)req;
    hang_up(H2O_STRUCT_FROM_MEMBER(struct forward, generator, generator));
}

static void fail(struct forward *forward, int status, const char *code, const char *message)
{
    http_timer_set(forward->silence, -1);
    if (status == 503)
        http_add_header(forward->request, "retry-after", "1");
    http_answer_error(forward->request, status, code, NULL, "%s", message);
}

static void send_more(struct forward *forward)
{
    h2o_buffer_t **source =
        forward->client != NULL ? &forward->client->sock->input : &forward->rest;
    h2o_iovec_t piece = h2o_doublebuffer_prepare(&forward->sending, source, HTTP_PIECE_BYTES);
    h2o_send_state_t state = H2O_SEND_STATE_IN_PROGRESS;

    if (forward->client == NULL && piece.len == forward->sending.buf->size &&
        forward->rest->size == 0)
        state = forward->is_broken ? H2O_SEND_STATE_ERROR : H2O_SEND_STATE_FINAL;
    if (state == H2O_SEND_STATE_IN_PROGRESS && piece.len == 0)
        return;
    if (state == H2O_SEND_STATE_ERROR)
        connection_break(forward->request->connection);
    h2o_send(forward->request->req, &piece, piece.len > 0, state);
}

static void on_more(h2o_generator_t *generator, h2o_req_t *req)
{
    struct forward *forward = H2O_STRUCT_FROM_MEMBER(struct forward, generator, generator);

    (void)req;
    h2o_doublebuffer_consume(&forward->sending);
    connection_written(forward->request->connection);
    if (forward->client != NULL && forward->reader != NULL) {
        h2o_socket_read_start(forward->client->sock, forward->reader);
        forward->reader = NULL;
        http_timer_set(forward->silence, forward->limit_ms);
    }
    send_more(forward);
}

static void on_silence(void *context)
{
    struct forward *forward = context;

    hang_up(forward);
    if (!forward->has_begun) {
        fail(forward, 504, "upstream_silent", "the process that answers this took too long");
        return;
    }
    forward->is_broken = true;
    if (forward->sending.bytes_inflight == 0)
        send_more(forward);
}

/* Nothing was read and yet it is the end: the peer closed between two chunks, which the client takes for a good end. */
static bool is_cut(const struct forward *forward, const char *error)
{
    return error != h2o_http1client_error_is_eos ||
           (forward->is_chunked && forward->client->sock->bytes_read == 0);
}

static int on_body(h2o_http1client_t *client, const char *error)
{
    struct forward *forward = client->data;

    http_timer_set(forward->silence, error == NULL ? forward->limit_ms : -1);
    if (error != NULL) {
        forward->is_broken = is_cut(forward, error);
        if (!forward->is_broken) { /* else it may hold what is no body */
            forward->rest = client->sock->input;
            h2o_buffer_init(&client->sock->input, &h2o_socket_buffer_prototype);
        }
        forward->client = NULL;
    }
    if (forward->sending.bytes_inflight == 0) {
        send_more(forward); /* with the end, the request may be no more */
    } else if (error == NULL && client->sock->input->size > READ_AHEAD_BYTES) {
        forward->reader = client->sock->_cb.read;
        h2o_socket_read_stop(client->sock);
        http_timer_set(forward->silence, -1);
    }
    return 0;
}

static bool is_ours(const h2o_header_t *header)
{
    static const char *const names[] = {"x-request-id", "server",     "date",
                                        "connection",   "keep-alive", "transfer-encoding"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (h2o_memis(header->name->base, header->name->len, names[i], strlen(names[i])))
            return true;
    return false;
}

/* The answer's head, copied: it lies in the client's buffer. */
static void take_head(struct forward *forward, int status, h2o_iovec_t reason,
                      const h2o_header_t *headers, size_t count)
{
    h2o_req_t *req = forward->request->req;

    req->res.status = status;
    req->res.reason = h2o_strdup(&req->pool, reason.base, reason.len).base;
    for (size_t i = 0; i < count; i++) {
        h2o_iovec_t name = *headers[i].name, value = headers[i].value;

        if (headers[i].name == &H2O_TOKEN_CONTENT_LENGTH->buf) {
            req->res.content_length = h2o_strtosize(value.base, value.len);
        } else if (headers[i].name == &H2O_TOKEN_TRANSFER_ENCODING->buf) {
            forward->is_chunked = true;
        } else if (!is_ours(&headers[i])) {
            name = h2o_strdup(&req->pool, name.base, name.len);
            value = h2o_strdup(&req->pool, value.base, value.len);
            h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 1, NULL,
                                  value.base, value.len);
        }
    }
    if (req->version < 0x101 && req->res.content_length == SIZE_MAX)
        req->http1_is_persistent = 0;
}

static h2o_http1client_body_cb on_head(h2o_http1client_t *client, const char *error,
                                       int minor_version, int status, h2o_iovec_t reason,
                                       h2o_header_t *headers, size_t count, int size)
{
    struct forward *forward = client->data;
    bool is_end = error == h2o_http1client_error_is_eos;

    (void)minor_version;
    (void)size;
    if ((error != NULL && !is_end) || status < 200 || status > 599) {
        forward->client = NULL;
        fail(forward, 502, "upstream_broken", "the process that answers this broke off, try again");
        return NULL;
    }
    forward->has_begun = true;
    take_head(forward, status, reason, headers, count);
    h2o_start_response(forward->request->req, &forward->generator);
    if (is_end) {
        forward->client = NULL;
        http_timer_set(forward->silence, -1);
        h2o_send(forward->request->req, NULL, 0, H2O_SEND_STATE_FINAL);
        return NULL;
    }
    http_timer_set(forward->silence, forward->limit_ms);
    return on_body;
}

static h2o_http1client_head_cb on_connect(h2o_http1client_t *client, const char *error,
                                          h2o_iovec_t **parts, size_t *part_count, int *is_head)
{
    struct forward *forward = client->data;
    const h2o_req_t *req = forward->request->req;

    if (error != NULL) {
        forward->client = NULL;
        fail(forward, 503, "upstream_absent",
             "the process that answers this is not there, try again");
        return NULL;
    }
    *parts = forward->parts;
    *part_count = forward->parts[1].len > 0 ? 2 : 1;
    *is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    return on_head;
}

/* Headers that belong to this hop, and those by which we speak to our own. */
static bool is_dropped(const h2o_iovec_t *name)
{
    static const char *const names[] = {
        "connection",    "keep-alive",     "te",      "proxy-connection", "proxy-authorization",
        "authorization", "http2-settings", "upgrade", "x-request-id",     "traceparent"};
    static const char prefix[] = "x-accrete-";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (h2o_memis(name->base, name->len, names[i], strlen(names[i])))
            return true;
    return name->len >= strlen(prefix) && memcmp(name->base, prefix, strlen(prefix)) == 0;
}

static void add_header(struct buf *head, const char *name, const char *value)
{
    buf_printf(head, "%s: ", name);
    for (; *value != '\0'; value++)
        buf_byte(head, (unsigned char)*value < ' ' || *value == 0x7f ? '?' : (uint8_t)*value);
    buf_text(head, "\r\n");
}

static void write_head(struct buf *head, const struct http_request *request)
{
    static const char *const roles[] = {"none", "read", "ingest", "admin"};
    const h2o_req_t *req = request->req;

    buf_add(head, req->method.base, req->method.len);
    buf_byte(head, ' ');
    buf_add(head, req->path.base, req->path.len);
    buf_printf(head, " HTTP/1.1\r\nhost: %.*s\r\nconnection: close\r\n", (int)req->authority.len,
               req->authority.base);
    if (req->entity.base != NULL)
        buf_printf(head, "content-length: %zu\r\n", req->entity.len);
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *header = &req->headers.entries[i];

        if (is_dropped(header->name))
            continue;
        buf_add(head, header->name->base, header->name->len);
        buf_text(head, ": ");
        buf_add(head, header->value.base, header->value.len);
        buf_text(head, "\r\n");
    }
    add_header(head, "x-request-id", request->id);
    if (request->trace[0] != '\0')
        add_header(head, "traceparent", request->trace);
    add_header(head, "x-accrete-peer", request->peer);
    add_header(head, "x-accrete-who", request->who);
    add_header(head, "x-accrete-role", roles[request->role]);
    if (request->is_tls)
        add_header(head, "x-accrete-tls", "1");
    buf_text(head, "\r\n");
}

void http_forward(struct http_request *request, const char *socket_path, int64_t limit_ms)
{
    h2o_req_t *req = request->req;
    struct forward *forward = http_alloc(request, sizeof(*forward));
    char host[128];
    int size = snprintf(host, sizeof(host), "unix:%s", socket_path);

    *forward = (struct forward){.generator = {.proceed = on_more, .stop = on_gone},
                                .request = request,
                                .limit_ms = limit_ms};
    h2o_doublebuffer_init(&forward->sending, &h2o_socket_buffer_prototype);
    h2o_buffer_init(&forward->rest, &h2o_socket_buffer_prototype);
    forward->silence = http_timer_new(request->server, on_silence, forward);
    http_timer_set(forward->silence, limit_ms);
    write_head(&forward->head, request);
    forward->parts[0] = h2o_iovec_init(forward->head.data, forward->head.size);
    forward->parts[1] = req->entity;
    request->ended = on_ended;
    request->ended_context = forward;
    h2o_http1client_connect(&forward->client, forward, &request->server->client,
                            h2o_iovec_init(host, (size_t)size), 0, 0, on_connect);
}
