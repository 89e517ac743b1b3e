/*
 * The guard in front of h2o. It takes the place of h2o's own reader on a connection's socket, lets only sound requests
 * through, one at a time, and refuses the others itself; so every answer is ours, and h2o's lenient parser is never asked
 * to judge.
 */
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_ROOM 4096          /* h2o wants so much in a buffer before each read */
#define FITTED_BYTES (64 << 10) /* buffers of longer requests are made to measure */
#define SWEEP_MS_MAX 1000
#define SWEEP_DRAINING_MS 50
/*
 * A draining server lets a connection go on which nothing of a request has come for so long: since its answer, or since it
 * is there. Before that one may be on its way.
 */
#define NEXT_REQUEST_MS 250
#define FIRST_REQUEST_MS 1000

static void on_input(h2o_socket_t *socket, const char *error);
static void on_patience(h2o_timeout_entry_t *entry);

struct connection *connection_of(h2o_socket_t *socket)
{
    return socket->on_close.data;
}

/* Keeps the server's sum of what buffers hold. */
static void count_bytes(struct connection *connection)
{
    const h2o_buffer_t *input = connection->socket->input;
    int64_t bytes = (int64_t)connection->kept_size;

    if (input != NULL && input->bytes != NULL) /* without bytes it is everybody's empty buffer */
        bytes += (int64_t)input->capacity;
    connection->server->counts.body_bytes_now += bytes - connection->counted_bytes;
    connection->counted_bytes = bytes;
}

static void wait_anew(struct connection *connection)
{
    h2o_timeout_unlink(&connection->patience);
    h2o_timeout_link(connection->server->loop, &connection->server->patience,
                     &connection->patience);
}

static void on_close(void *data)
{
    struct connection *connection = data;
    struct http_server *server = connection->server;

    h2o_timeout_unlink(&connection->patience);
    h2o_linklist_unlink(&connection->all);
    if (h2o_linklist_is_linked(&connection->returned))
        h2o_linklist_unlink(&connection->returned);
    server->counts.body_bytes_now -= connection->counted_bytes;
    server->counts.connections--;
    connection_at_work(connection, false);
    SSL_CTX_free(connection->tls);
    free(connection->kept);
    free(connection->refusal);
    free(connection);
    listeners_update(server);
}

/* What h2o makes of the bytes in the socket's buffer, or of an error. The connection may be no more afterwards. */
static void give(struct connection *connection, const char *error)
{
    connection->server->read(connection->socket, error);
}

static void close_now(struct connection *connection)
{
    connection->state = CONNECTION_CLOSING;
    give(connection, h2o_socket_error_closed);
}

/* Reads from now on through the guard, from the first byte of a request. */
static void guard(struct connection *connection)
{
    connection->state = CONNECTION_HEAD;
    connection->silent_us = clock_us();
    connection->head = (struct http_head){0};
    connection->chunks = (struct http_chunks){0};
    connection->socket->_cb.read = on_input;
    wait_anew(connection);
}

static void take_back(struct connection *connection)
{
    if (!h2o_linklist_is_linked(&connection->returned))
        h2o_linklist_insert(&connection->server->returned, &connection->returned);
}

static void on_refused(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = connection_of(socket);

    if (error == NULL)
        linger_begin(connection->server, h2o_socket_get_fd(socket));
    close_now(connection);
}

static char *refusal_text(struct connection *connection, const struct http_refusal *refusal,
                          const char *id)
{
    char limit[80];
    struct buf text = {0};

    snprintf(limit, sizeof(limit), "the body is longer than %lld bytes",
             (long long)connection->server->options.body_bytes);
    char *body = answer_error_text(refusal->code, refusal->status == 413 ? limit : refusal->message,
                                   NULL, id);
    h2o_get_timestamp(&connection->server->context, NULL, NULL);
    buf_printf(&text, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
               refusal->status, answer_reason(refusal->status),
               connection->server->context._timestamp_cache.value->rfc1123, strlen(body));
    buf_printf(&text, "Server: accrete\r\ncontent-type: application/json\r\nx-request-id: %s\r\n",
               id);
    if (refusal->status == 503)
        buf_text(&text, "retry-after: 1\r\n");
    for (size_t i = 0; answer_headers[i].name != NULL; i++)
        buf_printf(&text, "%s: %s\r\n", answer_headers[i].name, answer_headers[i].value);
    buf_printf(&text, "\r\n%s", body);
    free(body);
    return text.data;
}

/* Answers in h2o's place, then closes. */
static void refuse(struct connection *connection, const struct http_refusal *refusal)
{
    struct http_server *server = connection->server;
    char peer[HTTP_PEER_BYTES], id[17];
    h2o_iovec_t text;

    if (h2o_socket_is_writing(connection->socket)) { /* 100 Continue is still on its way */
        close_now(connection);
        return;
    }
    if (refusal->status == 413 || refusal->status == 503)
        server->counts.refused_bodies++;
    else
        server->counts.refused_heads++;
    server->counts.by_class[refusal->status / 100]++;
    request_make_id(server, id);
    connection_peer(connection, peer);
    connection->refusal = refusal_text(connection, refusal, id);
    text = h2o_iovec_init(connection->refusal, strlen(connection->refusal));
    access_refused(server, refusal, text.len, peer, id);
    connection->state = CONNECTION_REFUSED;
    wait_anew(connection);
    h2o_socket_read_stop(connection->socket);
    h2o_socket_write(connection->socket, &text, 1, on_refused);
}

static const struct http_refusal crowded = {503, "bodies_full",
                                            "too many bodies are being received, try again"};

static bool is_crowded(const struct http_server *server, int64_t more_bytes)
{
    return server->counts.body_bytes_now + more_bytes > server->options.bodies_bytes;
}

/* The head, as far as it is there. false: more is needed, or it was refused. */
static bool read_head(struct connection *connection)
{
    const h2o_buffer_t *input = connection->socket->input;
    bool is_first = connection->head.seen == 0 && input->size > 0;
    enum http_reading reading = http_head_read(&connection->head, input->bytes, input->size);

    if (is_first) {
        wait_anew(connection);
        connection_at_work(connection, true);
    }
    if (reading == HTTP_BAD)
        refuse(connection, &connection->head.refusal);
    if (reading != HTTP_DONE)
        return false;
    if (connection->head.body_bytes > connection->server->options.body_bytes) {
        refuse(connection, &(struct http_refusal){413, "body_too_large", "the body is too long"});
        return false;
    }
    if (connection->head.body_bytes > (int64_t)input->size &&
        is_crowded(connection->server, connection->head.body_bytes - (int64_t)input->size)) {
        refuse(connection, &crowded);
        return false;
    }
    connection->head_us = clock_us();
    connection->state = CONNECTION_BODY;
    return true;
}

/* The last size bytes of the buffer are new. false: refused. */
static bool read_chunks(struct connection *connection, size_t size)
{
    const h2o_buffer_t *input = connection->socket->input;
    size_t used;

    if (http_chunks_read(&connection->chunks, input->bytes + input->size - size, size,
                         connection->server->options.body_bytes, &used) != HTTP_BAD)
        return true;
    refuse(connection, &connection->chunks.refusal);
    return false;
}

/*
 * h2o doubles a buffer that is full, so that a body a little longer than a power of two would hold twice its bytes. One whose
 * length is known gets a buffer to measure, as soon as a third of it is there: who only says so does not get it.
 */
static void fit_buffer(struct connection *connection)
{
    h2o_buffer_t **input = &connection->socket->input, *fitting;
    size_t wanted = connection->head.size + (size_t)connection->head.body_bytes + READ_ROOM;
    size_t capacity = (*input)->capacity;

    if (wanted < FITTED_BYTES || wanted / 3 > capacity || wanted < (*input)->size + READ_ROOM ||
        (capacity >= wanted && capacity - wanted < wanted / 4))
        return;
    h2o_buffer_init(&fitting, &h2o_socket_buffer_prototype);
    memcpy(h2o_buffer_reserve(&fitting, wanted).base, (*input)->bytes, (*input)->size);
    fitting->size = (*input)->size;
    h2o_buffer_dispose(input);
    *input = fitting;
}

/* Looks at the socket's buffer, to which size bytes were added, and lets h2o have it when it is sound. */
static void receive(struct connection *connection, size_t size)
{
    int64_t before = connection->counted_bytes;

    if (connection->state == CONNECTION_BODY && connection->head.body_bytes > 0)
        fit_buffer(connection);
    count_bytes(connection);
    if (connection->counted_bytes > before && is_crowded(connection->server, 0)) {
        refuse(connection, &crowded); /* who needs no more room than it has may finish */
        return;
    }
    if (connection->state == CONNECTION_HEAD) {
        if (!read_head(connection))
            return;
        size = connection->socket->input->size - connection->head.size;
        if (connection->head.body_bytes > 0)
            fit_buffer(connection);
        count_bytes(connection);
    }
    if (connection->head.is_chunked && !read_chunks(connection, size))
        return;
    if (connection->head.has_expect)
        take_back(connection); /* h2o sets its own reader again when it has answered 100 */
    give(connection, NULL);
}

static void on_input(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = connection_of(socket);

    if (error != NULL)
        close_now(connection);
    else
        receive(connection, socket->bytes_read);
}

static void on_patience(h2o_timeout_entry_t *entry)
{
    struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, patience, entry);

    switch (connection->state) {
    case CONNECTION_HANDSHAKE:
    case CONNECTION_CLOSING:
        connection_cut(connection);
        break;
    case CONNECTION_HEAD:
        if (connection->head.seen == 0) {
            close_now(connection);
            break;
        }
        /* fallthrough */
    case CONNECTION_BODY:
        refuse(connection,
               &(struct http_refusal){408, "too_slow", "the request took too long to arrive"});
        break;
    default:
        close_now(connection);
    }
}

/* Bytes behind the request that h2o has now are kept until it is answered. */
static void keep_rest(struct connection *connection)
{
    h2o_buffer_t *input = connection->socket->input;
    const h2o_req_t *req = connection->request->req;
    size_t end = connection->head.size;

    if (req->entity.base != NULL)
        end = (size_t)(req->entity.base + req->entity.len - input->bytes);
    if (input->size <= end)
        return;
    connection->kept_size = input->size - end;
    connection->kept_at = 0;
    connection->kept = acc_alloc(connection->kept_size);
    memcpy(connection->kept, input->bytes + end, connection->kept_size);
    input->size = end;
    count_bytes(connection);
}

void connection_request(struct connection *connection, struct http_request *request)
{
    connection->request = request;
    connection->state = CONNECTION_ANSWER;
    connection->server->counts.requests++;
    connection->server->has_happened = true;
    h2o_timeout_unlink(&connection->patience);
    if (connection->kept == NULL)
        keep_rest(connection);
}

void connection_answered(struct connection *connection)
{
    connection->request = NULL;
    connection->state = CONNECTION_ENDED;
    connection_at_work(connection, false);
    take_back(connection);
}

/* Gives h2o the next request of what was kept; all of it when the request's end cannot be told. */
static void give_kept(struct connection *connection)
{
    const char *data = connection->kept + connection->kept_at;
    size_t size = connection->kept_size - connection->kept_at, step = size;
    struct http_head head = {0};
    h2o_iovec_t space;

    if (http_head_read(&head, data, size) == HTTP_DONE && !head.is_chunked &&
        head.body_bytes < (int64_t)(size - head.size))
        step = head.size + (size_t)head.body_bytes;
    space = h2o_buffer_reserve(&connection->socket->input, step);
    memcpy(space.base, data, step);
    connection->socket->input->size += step;
    connection->kept_at += step;
    if (connection->kept_at == connection->kept_size) {
        free(connection->kept);
        connection->kept = NULL;
        connection->kept_at = connection->kept_size = 0;
    }
    receive(connection, step);
}

/* h2o has its own reader on the socket again, or none. */
static void take_up(struct connection *connection)
{
    h2o_socket_cb reader = connection->socket->_cb.read;

    if (connection->state == CONNECTION_BODY && reader == NULL) {
        take_back(connection); /* 100 Continue is still on its way */
    } else if (connection->state == CONNECTION_BODY) {
        if (reader == connection->server->read)
            connection->socket->_cb.read = on_input;
    } else if (connection->state == CONNECTION_ENDED && reader == connection->server->read) {
        guard(connection);
        count_bytes(connection);
        if (connection->kept != NULL)
            give_kept(connection);
    } else if (connection->state == CONNECTION_ENDED) {
        connection->state = CONNECTION_CLOSING;
        wait_anew(connection);
    }
}

void connections_return(struct http_server *server)
{
    h2o_linklist_t now;

    h2o_linklist_init_anchor(&now);
    h2o_linklist_insert_list(&now, &server->returned);
    while (!h2o_linklist_is_empty(&now)) {
        h2o_linklist_t *link = now.next;

        h2o_linklist_unlink(link);
        take_up(H2O_STRUCT_FROM_MEMBER(struct connection, returned, link));
    }
}

/* h2o makes a connection of the socket; what TLS has read already is held back until the guard stands. */
static void begin(struct connection *connection, struct timeval connected_at)
{
    h2o_socket_t *socket = connection->socket;
    h2o_buffer_t *early = socket->input;

    h2o_buffer_init(&socket->input, &h2o_socket_buffer_prototype);
    h2o_http1_accept(&connection->server->accept, socket, connected_at);
    connection->server->read = socket->_cb.read;
    socket->input = early;
    guard(connection);
    if (early->size > 0)
        receive(connection, early->size);
}

static void on_handshake(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = connection_of(socket);

    if (error != NULL) {
        connection->state = CONNECTION_CLOSING;
        h2o_socket_close(socket);
        return;
    }
    begin(connection, *h2o_get_timestamp(&connection->server->context, NULL, NULL));
}

void connection_new(struct http_listener *listener, h2o_socket_t *socket)
{
    struct http_server *server = listener->server;
    struct connection *connection = acc_zalloc(sizeof(*connection));

    connection->server = server;
    connection->socket = socket;
    connection->is_unix = listener->is_unix;
    connection->patience.cb = on_patience;
    connection->written_us = connection->silent_us = clock_us();
    h2o_linklist_insert(&server->connections, &connection->all);
    socket->on_close.cb = on_close;
    socket->on_close.data = connection;
    server->counts.accepted++;
    server->counts.connections++;
    if (server->counts.connections == 1)
        connections_sweep(server);
    connection_at_work(connection, server->is_one_at_a_time);
    if (listener->tls == NULL) {
        begin(connection, *h2o_get_timestamp(&server->context, NULL, NULL));
        return;
    }
    connection->tls = tls_context(listener->tls);
    SSL_CTX_up_ref(connection->tls); /* files may be read anew before the handshake begins */
    wait_anew(connection);
    h2o_socket_ssl_handshake(socket, connection->tls, NULL, on_handshake);
}

/*
 * A write that is finished at once behind one that was not leaves the socket polled for writing; when it has room, and
 * nobody writes, h2o's assertion ends the process. It looks at what is to be polled when reading changes; here nobody reads.
 */
void connection_written(struct connection *connection)
{
    if (connection->socket->_cb.read == NULL)
        h2o_socket_read_stop(connection->socket);
}

void connection_break(struct connection *connection)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setsockopt(h2o_socket_get_fd(connection->socket), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (connection->tls != NULL)
        connection_cut(connection); /* else TLS would say a proper goodbye */
}

void connection_cut(struct connection *connection)
{
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

/*
 * Drops who takes nothing of an answer, but the front: it looks after its clients itself. A connection that says nothing at
 * first does not keep others waiting.
 */
static void look_at(struct connection *connection, int64_t now_us)
{
    struct http_server *server = connection->server;
    h2o_socket_t *socket = connection->socket;

    if (connection->state == CONNECTION_HEAD && connection->head.seen == 0)
        connection_at_work(connection, false);
    if (!h2o_socket_is_writing(socket) || socket->bytes_written != connection->written_bytes) {
        connection->written_bytes = socket->bytes_written;
        connection->written_us = now_us;
    } else if (!server->options.is_behind_front &&
               now_us - connection->written_us > server->options.write_ms * 1000) {
        server->counts.dropped_writers++;
        connection->written_us = now_us;
        connection_break(connection);
        connection_cut(connection);
    }
}

static void close_each(struct http_server *server, bool (*is_chosen)(const struct connection *))
{
    h2o_linklist_t *link = server->connections.next, *next;

    for (; link != &server->connections; link = next) {
        struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, all, link);

        next = link->next;
        if (is_chosen(connection))
            close_now(connection);
    }
}

/* Nothing has come for so long, and nothing is there that was not read yet. */
static bool is_quiet(const struct connection *connection, int64_t for_ms)
{
    char byte;

    return clock_us() - connection->silent_us >= for_ms * 1000 &&
           recv(h2o_socket_get_fd(connection->socket), &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static bool is_silent(const struct connection *connection)
{
    bool has_asked = connection->head_us != 0;

    return connection->state == CONNECTION_HEAD && connection->head.seen == 0 &&
           is_quiet(connection, has_asked ? NEXT_REQUEST_MS : FIRST_REQUEST_MS);
}

/* Of a server that drains: who has not begun a request, or not even made his way through TLS. */
static void close_silent(struct http_server *server)
{
    close_each(server, is_silent);
    for (h2o_linklist_t *link = server->connections.next; link != &server->connections;
         link = link->next) {
        struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, all, link);

        if (connection->state == CONNECTION_HANDSHAKE && is_quiet(connection, FIRST_REQUEST_MS))
            connection_cut(connection);
    }
}

void connections_sweep(void *context)
{
    struct http_server *server = context;
    int64_t now_us = clock_us(), wait_ms = server->options.write_ms / 4;

    for (h2o_linklist_t *link = server->connections.next; link != &server->connections;
         link = link->next)
        look_at(H2O_STRUCT_FROM_MEMBER(struct connection, all, link), now_us);
    server->is_out_of_descriptors = false;
    listeners_update(server);
    if (server->is_draining) {
        close_silent(server);
        wait_ms = SWEEP_DRAINING_MS;
    }
    if (server->counts.connections > 0)
        http_timer_set(server->sweep, wait_ms < SWEEP_MS_MAX ? wait_ms : SWEEP_MS_MAX);
}

/* h2o, not TLS, has it. */
static bool is_open(const struct connection *connection)
{
    return connection->state != CONNECTION_HANDSHAKE && connection->state != CONNECTION_CLOSING;
}

void connections_close_all(struct http_server *server)
{
    connections_return(server);
    for (h2o_linklist_t *link = server->connections.next; link != &server->connections;
         link = link->next) {
        struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, all, link);

        if (connection->state != CONNECTION_ANSWER)
            connection_cut(connection);
    }
    close_each(server, is_open);
}
