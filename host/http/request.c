#include "base/hash.h"
#include "http/internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct http_request *request_of(h2o_req_t *req)
{
    return connection_of(req->conn->callbacks->get_socket(req->conn))->request;
}

static struct http_text text_of(h2o_iovec_t bytes)
{
    return (struct http_text){bytes.base != NULL ? bytes.base : "", bytes.len};
}

static const char *copy(struct http_request *request, struct http_text text)
{
    char *bytes = http_alloc(request, text.size + 1);

    memcpy(bytes, text.at, text.size);
    bytes[text.size] = '\0';
    return bytes;
}

/* Ids need to differ, no more: a random start and a stride that visits every number. */
void request_make_id(struct http_server *server, char id[17])
{
    uint64_t number = server->next_id[0] ^ ((server->next_id[1] += UINT64_C(0x9e3779b97f4a7c15)));

    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    snprintf(id, 17, "%016" PRIx64, number ^ (number >> 31));
}

void connection_peer(struct connection *connection, char peer[HTTP_PEER_BYTES])
{
    struct sockaddr_storage address;
    char host[NI_MAXHOST] = "-"; /* it may have gone already */
    socklen_t size;

    if (connection->is_unix) {
        strcpy(peer, "unix");
        return;
    }
    size = h2o_socket_getpeername(connection->socket, (struct sockaddr *)&address);
    if (size > 0 && h2o_socket_getnumerichost((struct sockaddr *)&address, size, host) == SIZE_MAX)
        strcpy(host, "-");
    snprintf(peer, HTTP_PEER_BYTES, "%.*s", HTTP_PEER_BYTES - 1, host);
}

static bool is_id(struct http_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!isdigit((unsigned char)text.at[i]) && (text.at[i] < 'a' || text.at[i] > 'f'))
            return false;
    return text.size == 16;
}

static enum http_role role_of(struct http_text text)
{
    static const char *const names[] = {"none", "read", "ingest", "admin"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (text.size == strlen(names[i]) && memcmp(text.at, names[i], text.size) == 0)
            return (enum http_role)i;
    return HTTP_ROLE_NONE;
}

/* What only our own front may say. */
static void believe(struct http_request *request)
{
    struct http_text id = http_header(request, "x-request-id");
    struct http_text peer = http_header(request, "x-accrete-peer");
    struct http_text who = http_header(request, "x-accrete-who");

    if (is_id(id))
        memcpy(request->id, id.at, id.size);
    if (peer.size > 0 && peer.size < sizeof(request->peer))
        snprintf(request->peer, sizeof(request->peer), "%.*s", (int)peer.size, peer.at);
    if (who.size > 0)
        request->who = copy(request, who);
    request->role = role_of(http_header(request, "x-accrete-role"));
    request->is_tls = http_header(request, "x-accrete-tls").size > 0;
}

/* The trace, when exactly one came and is valid. */
static void read_trace(struct http_request *request)
{
    static const char name[] = "traceparent";
    const h2o_headers_t *headers = &request->req->headers;
    ssize_t at = h2o_find_header_by_str(headers, name, strlen(name), -1);
    struct http_text text;

    if (at < 0 || h2o_find_header_by_str(headers, name, strlen(name), at) >= 0)
        return;
    text = text_of(headers->entries[at].value);
    if (http_is_trace(text))
        memcpy(request->trace, text.at, 55);
}

static bool read_target(struct http_request *request)
{
    const h2o_req_t *req = request->req;
    const char *mark = memchr(req->path.base, '?', req->path.len);
    size_t size = mark == NULL ? req->path.len : (size_t)(mark - req->path.base);
    char *path = http_alloc(request, size + 1);
    const char *reason = NULL;

    if (mark != NULL)
        request->raw_query = (struct http_text){mark + 1, req->path.len - size - 1};
    request->path = (struct http_text){path, 0};
    if (http_decode_path(req->path.base, size, path, &request->path.size, &reason))
        return true;
    request->server->counts.refused_heads++;
    http_answer_error(request, 400, "bad_path", NULL, "the path is refused: %s", reason);
    return false;
}

static bool read_params(struct http_request *request)
{
    struct http_text query = request->raw_query;
    const char *at = query.at, *end = query.at + query.size, *reason = NULL;
    size_t count = 1;

    if (query.size == 0)
        return true;
    for (const char *byte = at; byte < end; byte++)
        count += *byte == '&';
    request->params = http_alloc(request, count * sizeof(request->params[0]));
    while (at <= end) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        const char *stop = amp == NULL ? end : amp;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *name_end = equals == NULL ? stop : equals;
        const char *value = equals == NULL ? stop : equals + 1;
        char *out[2] = {http_alloc(request, (size_t)(name_end - at) + 1),
                        http_alloc(request, (size_t)(stop - value) + 1)};

        if (!http_decode_query(at, (size_t)(name_end - at), out[0], &reason) ||
            !http_decode_query(value, (size_t)(stop - value), out[1], &reason)) {
            request->server->counts.refused_heads++;
            http_answer_error(request, 400, "bad_query", NULL, "the query is refused: %s", reason);
            return false;
        }
        if (stop > at)
            request->params[request->param_count++] = (struct http_param){out[0], out[1]};
        at = stop + 1;
    }
    return true;
}

bool request_new(struct connection *connection, h2o_req_t *req)
{
    struct http_server *server = connection->server;
    struct http_request *request = h2o_mem_alloc_pool(&req->pool, sizeof(*request));

    *request = (struct http_request){.req = req,
                                     .connection = connection,
                                     .server = server,
                                     .raw_query = {"", 0},
                                     .mark = -1,
                                     .is_tls = connection->tls != NULL,
                                     .started_us = connection->head_us};
    connection_request(connection, request);
    connection_peer(connection, request->peer);
    request->who = request->peer;
    if (server->options.is_behind_front)
        believe(request);
    if (request->id[0] == '\0')
        request_make_id(server, request->id);
    read_trace(request);
    return read_target(request) && read_params(request);
}

void request_end(struct http_request *request)
{
    void (*ended)(void *context) = request->ended;
    void *context = request->ended_context;

    access_request(request);
    connection_answered(request->connection);
    if (ended != NULL)
        ended(context);
}

struct http_text http_method(const struct http_request *request)
{
    return text_of(request->req->method);
}

struct http_text http_path(const struct http_request *request)
{
    return request->path;
}

struct http_text http_raw_query(const struct http_request *request)
{
    return request->raw_query;
}

struct http_text http_body(const struct http_request *request)
{
    return text_of(request->req->entity);
}

struct http_text http_header(const struct http_request *request, const char *lower_case_name)
{
    const h2o_headers_t *headers = &request->req->headers;
    size_t size = strlen(lower_case_name);
    const h2o_token_t *token = h2o_lookup_token(lower_case_name, size);
    ssize_t at;

    if (token == H2O_TOKEN_HOST)
        return text_of(request->req->input.authority);
    at = token != NULL ? h2o_find_header(headers, token, -1)
                       : h2o_find_header_by_str(headers, lower_case_name, size, -1);
    return at < 0 ? (struct http_text){"", 0} : text_of(headers->entries[at].value);
}

const char *http_request_id(const struct http_request *request)
{
    return request->id;
}

const char *http_trace(const struct http_request *request)
{
    return request->trace;
}

const char *http_peer(const struct http_request *request)
{
    return request->peer;
}

bool http_is_tls(const struct http_request *request)
{
    return request->is_tls;
}

int64_t http_started_us(const struct http_request *request)
{
    return request->started_us;
}

const char *http_query(struct http_request *request, const char *name, size_t *place)
{
    for (; *place < request->param_count; (*place)++)
        if (strcmp(request->params[*place].name, name) == 0)
            return request->params[(*place)++].value;
    return NULL;
}

bool http_query_at(struct http_request *request, size_t index, const char **name,
                   const char **value)
{
    if (index >= request->param_count)
        return false;
    *name = request->params[index].name;
    *value = request->params[index].value;
    return true;
}

void *http_alloc(struct http_request *request, size_t size)
{
    return h2o_mem_alloc_pool(&request->req->pool, size);
}

void http_set_who(struct http_request *request, const char *who, enum http_role role)
{
    request->who = copy(request, (struct http_text){who, strlen(who)});
    request->role = role;
}

const char *http_who(const struct http_request *request)
{
    return request->who;
}

enum http_role http_role(const struct http_request *request)
{
    return request->role;
}

void http_set_mark(struct http_request *request, int mark)
{
    request->mark = mark;
}

int http_mark(const struct http_request *request)
{
    return request->mark;
}
