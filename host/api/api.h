/*
 * API: what the host answers over HTTP. One table of routes; each is answered by the front (the http process: ingest,
 * what the board has, the stream) or by a query process (whatever asks the database; its queries are short, and may block).
 * The OpenAPI document is made from the same table.
 */
#pragma once

#include "app.h"
#include "board.h"
#include "http/http.h"
#include "http/router.h"
#include "intake.h"
#include "page.h"
#include "tokens.h"

enum api_where { API_FRONT, API_QUERY };

/*
 * A parameter of the query. type: "text", "int", "bool", "filter" (repeats), "field" (of the kind), "series" (repeats), or words
 * "a|b|c"; with a "!" behind it the handler wants it.
 */
struct api_param {
    const char *name, *type, *help;
};
#define API_PARAMS_MAX 8

struct api;
struct api_call {
    struct api *api;
    struct http_request *request;
    const struct router_match *match;
    const struct api_route *route;
};
typedef void api_handler_fn(struct api_call *call);

struct api_route {
    const char *method, *pattern;
    enum api_where where;
    enum http_role role; /* the least that is wanted; HTTP_ROLE_NONE: anybody */
    api_handler_fn *run;
    const char *summary; /* one sentence, for the OpenAPI document */
    const char *body;    /* name of the body's schema in api/schemas.json; NULL: none */
    const char *answer;  /* of the answer's; "text", "ndjson", "csv", "stream" for others */
    struct api_param
        params[API_PARAMS_MAX]; /* the query's; others, and one twice, are refused with 400 */
};
extern const struct api_route api_routes[];
extern const size_t api_route_count;

/* What handlers work with. One a process. */
struct api {
    struct app *app;
    const struct program
        *program; /* declarations of the current generation, with numbers from the database */
    struct board *board;
    struct page *page;
    const char *conninfo;
    const char *native_dir, *modules_dir; /* of the generation */
    struct http_server *server;
    struct token_set *tokens; /* front only: as the board had them last */
    struct intake *intake;    /* front only */
    const char *query_socket,
        *routes_socket; /* front only; routes_socket NULL: the app has no routes */
    struct pg *
        pg; /* query only: read-only session of the reader role, statement_timeout http.read_timeout */
    struct acc_heap *heap; /* query only: reset before each call */
};

/*
 * The connection for reads, made when it is needed and again after a loss; NULL: answered with 503 already.
 * api_writer: a connection that may change things, open until api_writer_end; NULL likewise.
 */
struct pg *api_reader(struct api_call *call);
/* The same outside of a call: NULL with err, nothing is answered. */
struct pg *api_connect(struct api *api, struct acc_error *err);
struct pg *api_writer(struct api_call *call);
void api_writer_end(struct api_call *call, struct pg *pg);

/* The part of the path with that number, as NUL-terminated text of the request's memory. */
const char *api_part(struct api_call *call, size_t number);
/* The kind or lifecycle that a part of the path names; NULL: answered with 404 (and did you mean). */
const struct kind *api_kind(struct api_call *call, size_t number);
struct lifecycle *api_lifecycle(struct api_call *call, size_t number);
/*
 * Answers 422, unknown_WHAT: a name in the query or the body (field says where) that stands for nothing, and did you mean.
 * what: "lifecycle", "state", "series".
 */
void api_unknown(struct api_call *call, const char *what, const char *field, const char *name,
                 const char *const *names, size_t count);
/* Whether there is a lifecycle of that name in the current generation; false: answered with 422. */
bool api_is_lifecycle(struct api_call *call, const char *field, const char *name);
/* The number of the lifecycle that a field of query or body names, active or not; false: answered, with 422 when there is none. */
bool api_lifecycle_number(struct api_call *call, struct pg *pg, const char *field, const char *name,
                          int16_t *number);
/* An integer parameter of the query; initial when not given. false: answered with 400. */
bool api_int(struct api_call *call, const char *name, int64_t low, int64_t high, int64_t initial,
             int64_t *value);
bool api_bool(struct api_call *call, const char *name, bool *value);
/* The body as a JSON object without unknown members (names ends with NULL); NULL: answered with 400 or 415. Caller decrefs. */
json_t *api_body(struct api_call *call, const char *const *names);
/* Whether an object of the body has no other members than these (names ends with NULL); false: answered with 400. */
bool api_members(struct api_call *call, const json_t *object, const char *const *names);
/* A reason from the body: text of 1..500 bytes; NULL: answered with 400. */
const char *api_reason(struct api_call *call, const json_t *body);

/* Looks the request up in the table, checks role and parameters, and runs what belongs to where. The one handler of both. */
void api_handle(struct api *api, enum api_where where, struct http_request *request);

/* Front: adds what its server and intake have counted since the last call to the host's metrics. */
void api_meters(struct api *api);

/* Query: to be called about once a second; ends in the audit the benchmarks whose process is gone. */
void api_bench_tend(struct api *api);

/*
 * Front: an observer of its server (http_server_observe); context is the api. Requests are marked with the number of their route in
 * the table, or with one of these.
 */
#define API_MARK_APP ((int)api_route_count)      /* the app's routes */
#define API_MARK_NONE ((int)api_route_count + 1) /* nothing is there */
void api_observe(void *context, const struct http_request *request, int status, double seconds);

/* GET /openapi.json for this program. */
json_t *api_openapi(const struct program *program, const char *version);
