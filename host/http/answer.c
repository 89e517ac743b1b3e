#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>

const struct http_pair answer_headers[] = {
    {"content-security-policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'"},
    {"x-content-type-options", "nosniff"},
    {"referrer-policy", "no-referrer"},
    {"cross-origin-opener-policy", "same-origin"},
    {"cross-origin-resource-policy", "same-origin"},
    {NULL, NULL}};

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {303, "See Other"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *answer_reason(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Other";
}

static void set_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_set_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, value,
                          strlen(value), 0);
}

void answer_add_headers(struct http_request *request)
{
    for (size_t i = 0; answer_headers[i].name != NULL; i++)
        set_header(request->req, answer_headers[i].name, answer_headers[i].value);
    set_header(request->req, "x-request-id", request->id);
}

/* A copy without control bytes: nobody begins a header of his own. */
static const char *clean(struct http_request *request, const char *text)
{
    size_t size = strlen(text);
    char *bytes = http_alloc(request, size + 1);

    for (size_t i = 0; i <= size; i++)
        bytes[i] = ((unsigned char)text[i] < ' ' || text[i] == 0x7f) && i < size ? ' ' : text[i];
    return bytes;
}

void http_add_header(struct http_request *request, const char *name, const char *value)
{
    h2o_req_t *req = request->req;
    char *lower = http_alloc(request, strlen(name) + 1);

    strcpy(lower, clean(request, name));
    h2o_strtolower(lower, strlen(lower));
    value = clean(request, value);
    h2o_add_header_by_str(&req->pool, &req->res.headers, lower, strlen(lower), 1, NULL, value,
                          strlen(value));
}

static bool is_head(const struct http_request *request)
{
    return h2o_memis(request->req->method.base, request->req->method.len, H2O_STRLIT("HEAD"));
}

/* A body that goes out piece by piece, so that a reader's progress is seen. */
struct answer {
    h2o_generator_t generator;
    const char *at;
    size_t left;
};

static void send_piece(h2o_generator_t *generator, h2o_req_t *req)
{
    struct answer *answer = H2O_STRUCT_FROM_MEMBER(struct answer, generator, generator);
    h2o_iovec_t piece = h2o_iovec_init(
        answer->at, answer->left < HTTP_PIECE_BYTES ? answer->left : HTTP_PIECE_BYTES);

    answer->at += piece.len;
    answer->left -= piece.len;
    h2o_send(req, &piece, piece.len > 0,
             answer->left > 0 ? H2O_SEND_STATE_IN_PROGRESS : H2O_SEND_STATE_FINAL);
}

static void start(struct http_request *request, int status, const char *content_type)
{
    h2o_res_t *res = &request->req->res;

    res->status = status;
    res->reason = answer_reason(status);
    if (content_type != NULL)
        http_add_header(request, "content-type", content_type);
}

void http_answer(struct http_request *request, int status, const char *content_type,
                 const void *body, size_t size)
{
    h2o_req_t *req = request->req;
    struct answer *answer = http_alloc(request, sizeof(*answer));

    *answer = (struct answer){.generator = {.proceed = send_piece}, .at = ""};
    start(request, status, content_type);
    if (status != 204 && status != 304)
        req->res.content_length = size;
    if (status != 204 && status != 304 && !is_head(request) && size > 0) {
        answer->left = size;
        answer->at = memcpy(http_alloc(request, size), body, size);
    }
    h2o_start_response(req, &answer->generator);
    send_piece(&answer->generator, req);
}

void http_answer_text(struct http_request *request, int status, const char *text)
{
    http_answer(request, status, "text/plain; charset=utf-8", text, strlen(text));
}

void http_answer_json(struct http_request *request, int status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    json_decref(body);
    if (text == NULL) { /* a body that nobody could build: a real that is no number, or no body */
        http_answer_error(request, 500, "internal", NULL, "the answer is no JSON");
        return;
    }
    http_answer(request, status, "application/json", text, strlen(text));
    free(text);
}

/* text, with a question mark for each byte that is not UTF-8. */
static json_t *json_of(const char *text)
{
    size_t size = strlen(text);
    char *valid = acc_strdup(text);
    json_t *value;

    for (size_t at = utf8_valid_prefix(valid, size); at < size;
         at += utf8_valid_prefix(valid + at, size - at))
        valid[at] = '?';
    value = json_string(valid);
    free(valid);
    return value;
}

char *answer_error_text(const char *code, const char *message, const char *field, const char *id)
{
    json_t *error = json_pack("{s:s,s:o}", "code", code, "message", json_of(message));
    json_t *body;
    char *text;

    if (field != NULL)
        json_object_set_new(error, "field", json_of(field));
    json_object_set_new(error, "request", json_string(id));
    body = json_pack("{s:o}", "error", error);
    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (text == NULL)
        abort(); /* out of memory */
    return text;
}

void http_answer_error(struct http_request *request, int status, const char *code,
                       const char *field, const char *format, ...)
{
    char message[2560], *text;
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    text = answer_error_text(code, message, field, request->id);
    http_answer(request, status, "application/json", text, strlen(text));
    free(text);
}

/* SQLSTATEs after which the same request may well succeed. */
static bool is_transient(const struct acc_error *err)
{
    static const char *const classes[] = {"08", "40", "53", "57", "55P03"};

    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(err->sqlstate, classes[i], strlen(classes[i])) == 0)
            return true;
    return err->code == ACC_ELOST || err->code == ACC_ECONFLICT || err->code == ACC_ESTALE;
}

static struct log_trouble away; /* the one database of this process */

void http_answers_again(const struct http_server *server)
{
    log_trouble_over(&away, server->name, "the database answers again");
}

void http_answer_failure(struct http_request *request, const struct acc_error *err)
{
    if (err->code == ACC_EINPUT) {
        http_answer_error(request, 400, "bad_request", NULL, "%s", err->text);
    } else if (err->code == ACC_ELIMIT) {
        http_answer_error(request, 503, "limit", NULL, "%s", err->text);
    } else if (strcmp(err->sqlstate, "57014") == 0) {
        http_answer_error(request, 503, "too_slow", NULL,
                          "the query took too long and was stopped");
    } else if (is_transient(err)) {
        if (err->code == ACC_ELOST)
            log_trouble(&away, clock_us(), request->server->name, "the database does not answer",
                        err->text);
        else
            log_warn(request->server->name, "request=%s error=%s", request->id,
                     log_quote(err->text));
        http_add_header(request, "retry-after", "1");
        http_answer_error(request, 503, "unavailable", NULL,
                          "the database does not answer now, try again");
    } else {
        log_error(request->server->name, "request=%s error=%s", request->id, log_quote(err->text));
        http_answer_error(request, 500, "internal", NULL,
                          "it failed; the log says more about request %s", request->id);
    }
}

/* Whether the list of an If-None-Match holds the quoted tag; weak ones count. */
static bool has_tag(struct http_text list, const char *quoted)
{
    return (list.size == 1 && list.at[0] == '*') ||
           (list.size > 0 && memmem(list.at, list.size, quoted, strlen(quoted)) != NULL);
}

bool http_is_known(struct http_request *request, const char *tag)
{
    char *quoted = http_alloc(request, strlen(tag) + 3);

    sprintf(quoted, "\"%s\"", tag);
    http_add_header(request, "etag", quoted);
    if (!has_tag(http_header(request, "if-none-match"), quoted))
        return false;
    http_answer(request, 304, NULL, NULL, 0);
    return true;
}
