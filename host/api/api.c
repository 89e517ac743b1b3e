#include "api/api.h"

#include "api/access.h"
#include "base/clock.h"
#include "explorer.h"
#include "schema.h"

#include <stdlib.h>
#include <string.h>

#define FORWARD_MS 15000
#define REASON_MAX 500

/* Looking up */

static const char *pattern_at(const void *context, size_t index, const char **method)
{
    (void)context;
    if (index >= api_route_count)
        return NULL;
    *method = api_routes[index].method;
    return api_routes[index].pattern;
}

/* Whether the first segment of path is one of the host's: no app route lies below it. */
bool api_is_reserved(struct http_text path)
{
    size_t end = 1;

    while (end < path.size && path.at[end] != '/' && path.at[end] != '.')
        end++;
    if (end == 3 && memcmp(path.at, "/ui", 3) == 0)
        return true;
    for (size_t i = 0; i < api_route_count; i++) {
        const char *pattern = api_routes[i].pattern;

        if (strncmp(pattern, path.at, end) == 0 &&
            (pattern[end] == '\0' || pattern[end] == '/' || pattern[end] == '.'))
            return true;
    }
    return false;
}

static bool is_change(const struct http_request *request)
{
    struct http_text method = http_method(request);

    return !(method.size == 3 && memcmp(method.at, "GET", 3) == 0) &&
           !(method.size == 4 && memcmp(method.at, "HEAD", 4) == 0);
}

/* Parameters */

static const struct api_param *find_param(const struct api_route *route, const char *name)
{
    for (size_t i = 0; i < API_PARAMS_MAX && route->params[i].name != NULL; i++) {
        if (strcmp(route->params[i].name, name) == 0)
            return &route->params[i];
    }
    return NULL;
}

/* Whether the query has the parameter once, or it may repeat. false: answered. */
static bool check_once(struct api_call *call, const struct api_param *param)
{
    bool repeats = strcmp(param->type, "filter") == 0 || strncmp(param->type, "series", 6) == 0;
    size_t place = 0;

    if (repeats || http_query(call->request, param->name, &place) == NULL ||
        http_query(call->request, param->name, &place) == NULL)
        return true;
    http_answer_error(call->request, 400, "bad_parameter", param->name,
                      "%s: wanted once, is given more often", param->name);
    return false;
}

static bool check_params(struct api_call *call)
{
    const char *name;
    const char *value;

    for (size_t i = 0; http_query_at(call->request, i, &name, &value); i++) {
        const char *known[API_PARAMS_MAX];
        size_t count = 0;

        const struct api_param *param = find_param(call->route, name);
        if (param != NULL && !check_once(call, param))
            return false;
        if (param != NULL)
            continue;
        while (count < API_PARAMS_MAX && call->route->params[count].name != NULL) {
            known[count] = call->route->params[count].name;
            count++;
        }
        const char *near = name_suggest(name, known, count);
        http_answer_error(call->request, 400, "bad_parameter", name,
                          "%s %s has no parameter \"%.60s\"%s%s%s", call->route->method,
                          call->route->pattern, name, near != NULL ? "; did you mean \"" : "",
                          near != NULL ? near : "", near != NULL ? "\"?" : "");
        return false;
    }
    return true;
}

const char *api_part(struct api_call *call, size_t number)
{
    const struct http_text *part = &call->match->parts[number];
    char *text = http_alloc(call->request, part->size + 1);

    memcpy(text, part->at, part->size);
    text[part->size] = '\0';
    return text;
}

static void answer_unknown(struct api_call *call, int status, const char *code, const char *what,
                           const char *field, const char *name, const char *const *names,
                           size_t count)
{
    const char *near = name_suggest(name, names, count);

    http_answer_error(call->request, status, code, field, "there is no %s \"%.60s\"%s%s%s", what,
                      name, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                      near != NULL ? "\"?" : "");
}

static void unknown(struct api_call *call, const char *what, const char *name,
                    const char *const *names, size_t count)
{
    answer_unknown(call, 404, "not_found", what, what, name, names, count);
}

void api_unknown(struct api_call *call, const char *what, const char *field, const char *name,
                 const char *const *names, size_t count)
{
    char code[32];

    snprintf(code, sizeof(code), "unknown_%s", what);
    answer_unknown(call, 422, code, what, field, name, names, count);
}

bool api_lifecycle_number(struct api_call *call, struct pg *pg, const char *field, const char *name,
                          int16_t *number)
{
    static struct pg_stmt stmt = {.sql = "SELECT name, id FROM lifecycle ORDER BY name"};
    struct acc_error err;
    PGresult *res = pg_query(pg, &stmt, NULL, &err);
    int count = res == NULL ? 0 : PQntuples(res);
    int at = 0;

    if (res == NULL) {
        http_answer_failure(call->request, &err);
        return false;
    }
    while (at < count && strcmp(pg_get_text(res, at, 0), name) != 0)
        at++;
    if (at < count) {
        *number = pg_get_int2(res, at, 1);
    } else {
        const char **names = acc_alloc((size_t)count * sizeof(*names) + 1);

        for (int r = 0; r < count; r++)
            names[r] = pg_get_text(res, r, 0);
        api_unknown(call, "lifecycle", field, name, names, (size_t)count);
        free(names);
    }
    PQclear(res);
    return at < count;
}

const struct kind *api_kind(struct api_call *call, size_t number)
{
    const struct catalog *catalog = &call->api->program->catalog;
    const char *name = api_part(call, number);
    const struct kind *kind = catalog_find(catalog, name);
    const char *names[CATALOG_KINDS_MAX];

    if (kind != NULL)
        return kind;
    for (size_t i = 0; i < catalog->count; i++)
        names[i] = catalog->kinds[i]->name;
    unknown(call, "kind", name, names, catalog->count);
    return NULL;
}

/* Of the current generation, as many as it has. Caller frees. */
static const char **lifecycle_names(const struct program *program)
{
    const char **names = acc_alloc(program->lifecycle_count * sizeof(*names) + 1);

    for (size_t i = 0; i < program->lifecycle_count; i++)
        names[i] = program->lifecycles[i]->name;
    return names;
}

struct lifecycle *api_lifecycle(struct api_call *call, size_t number)
{
    const struct program *program = call->api->program;
    const char *name = api_part(call, number);
    struct lifecycle *lifecycle = program_find(program, name);

    if (lifecycle != NULL)
        return lifecycle;
    const char **names = lifecycle_names(program);
    unknown(call, "lifecycle", name, names, program->lifecycle_count);
    free(names);
    return NULL;
}

bool api_is_lifecycle(struct api_call *call, const char *field, const char *name)
{
    const struct program *program = call->api->program;

    if (program_find(program, name) != NULL)
        return true;
    const char **names = lifecycle_names(program);
    api_unknown(call, "lifecycle", field, name, names, program->lifecycle_count);
    free(names);
    return false;
}

bool api_int(struct api_call *call, const char *name, int64_t low, int64_t high, int64_t initial,
             int64_t *value)
{
    size_t place = 0;
    const char *text = http_query(call->request, name, &place);
    char *end;

    *value = initial;
    if (text == NULL)
        return true;
    long long read = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && strlen(text) <= 18 && read >= low && read <= high) {
        *value = read;
        return true;
    }
    http_answer_error(call->request, 400, "bad_parameter", name,
                      "%s: wanted %lld..%lld, got \"%.40s\"", name, (long long)low, (long long)high,
                      text);
    return false;
}

bool api_bool(struct api_call *call, const char *name, bool *value)
{
    size_t place = 0;
    const char *text = http_query(call->request, name, &place);

    *value = text != NULL && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (text == NULL || *value || strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        return true;
    http_answer_error(call->request, 400, "bad_parameter", name, "%s: wanted 0 or 1, got \"%.40s\"",
                      name, text);
    return false;
}

/* Bodies */

static bool is_json(const struct http_request *request)
{
    struct http_text type = http_header(request, "content-type");
    static const char wanted[] = "application/json";
    size_t size = sizeof(wanted) - 1;

    return type.size >= size && strncasecmp(type.at, wanted, size) == 0 &&
           (type.size == size || type.at[size] == ';' || type.at[size] == ' ');
}

/* "reason, lifecycles" */
static void list_names(const char *const *names, struct buf *out)
{
    if (names[0] == NULL)
        buf_text(out, "no members");
    for (size_t i = 0; names[i] != NULL; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : ", ", names[i]);
}

json_t *api_body(struct api_call *call, const char *const *names)
{
    struct http_text body = http_body(call->request);
    struct buf wanted = {0};
    json_error_t why;

    list_names(names, &wanted);
    if (!is_json(call->request)) {
        http_answer_error(call->request, 415, "bad_content_type", NULL,
                          "wanted Content-Type: application/json, an object of %s", wanted.data);
        buf_clear(&wanted);
        return NULL;
    }
    json_t *json = json_loadb(body.at, body.size, JSON_REJECT_DUPLICATES, &why);
    bool is_object = json_is_object(json);
    if (!is_object)
        http_answer_error(call->request, 400, "bad_body", NULL, "wanted a JSON object of %s%s%s",
                          wanted.data, json == NULL ? ": " : "", json == NULL ? why.text : "");
    buf_clear(&wanted);
    if (is_object && api_members(call, json, names))
        return json;
    json_decref(json);
    return NULL;
}

bool api_members(struct api_call *call, const json_t *object, const char *const *names)
{
    const char *member;
    json_t *value;

    json_object_foreach((json_t *)object, member, value)
    {
        size_t i = 0;

        while (names[i] != NULL && strcmp(names[i], member) != 0)
            i++;
        if (names[i] != NULL)
            continue;
        const char *near = name_suggest(member, names, i);
        struct buf wanted = {0};
        list_names(names, &wanted);
        http_answer_error(call->request, 400, "bad_body", member,
                          "there is no member \"%.60s\" here, wanted %s%s%s%s", member, wanted.data,
                          near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                          near != NULL ? "\"?" : "");
        buf_clear(&wanted);
        return false;
    }
    return true;
}

const char *api_reason(struct api_call *call, const json_t *body)
{
    const json_t *reason = json_object_get(body, "reason");
    size_t size = json_string_length(reason);

    if (json_is_string(reason) && size >= 1 && size <= REASON_MAX)
        return json_string_value(reason);
    http_answer_error(call->request, 400, "bad_body", "reason",
                      "reason: wanted a text of 1..%d bytes", REASON_MAX);
    return NULL;
}

/* Of a route that takes none: nothing, or an object without members. false: answered. */
static bool check_no_body(struct api_call *call)
{
    static const char *const none[] = {NULL};

    if (call->route->body != NULL || http_body(call->request).size == 0)
        return true;
    json_t *body = api_body(call, none);
    json_decref(body);
    return body != NULL;
}

/* Connections */

static bool open_session(struct api *api, struct pg *pg, const char *role, int64_t timeout_ms,
                         struct acc_error *err)
{
    if (!pg_open(pg, api->conninfo, api->app->schema,
                 api->app->settings.database.connect_timeout_ms, timeout_ms, err))
        return false;
    if (role == NULL || (schema_become(pg, api->app->schema, role, err) &&
                         pg_do(pg,
                               "SET default_transaction_read_only = on; "
                               "SET default_transaction_isolation = 'repeatable read'",
                               NULL, err) &&
                         explorer_begin(pg, timeout_ms, err))) {
        http_answers_again(api->server);
        return true;
    }
    pg_close(pg);
    return false;
}

struct pg *api_connect(struct api *api, struct acc_error *err)
{
    /* A read need not fail for a loss of long ago. Twice: what the server said last comes before its end. */
    bool is_alive = pg_is_alive(api->pg);
    if (is_alive && pg_is_alive(api->pg))
        return api->pg;
    pg_close(api->pg);
    *api->pg = (struct pg){0};
    return open_session(api, api->pg, "reader", api->app->settings.http.read_timeout_ms, err)
               ? api->pg
               : NULL;
}

struct pg *api_reader(struct api_call *call)
{
    struct acc_error err;
    struct pg *pg = api_connect(call->api, &err);

    if (pg == NULL)
        http_answer_failure(call->request, &err);
    return pg;
}

struct pg *api_writer(struct api_call *call)
{
    struct pg *pg = acc_zalloc(sizeof(*pg));
    struct acc_error err;

    if (open_session(call->api, pg, NULL, call->api->app->settings.database.statement_timeout_ms,
                     &err))
        return pg;
    free(pg);
    http_answer_failure(call->request, &err);
    return NULL;
}

void api_writer_end(struct api_call *call, struct pg *pg)
{
    (void)call;
    if (pg != NULL)
        pg_close(pg);
    free(pg);
}

/* Dispatch */

/* Only this process's answers may take long: a wait says how long itself. */
static int64_t forward_ms(struct http_request *request)
{
    size_t place = 0;
    const char *wait = http_query(request, "timeout_s", &place);
    long long seconds = wait != NULL ? strtoll(wait, NULL, 10) : 0;

    if (wait == NULL)
        seconds = 60; /* of GET /wait without one; more than any other answer takes */
    return FORWARD_MS + (seconds < 0 ? 0 : seconds > 3600 ? 3600 : seconds) * 1000;
}

static void nothing_here(struct api *api, enum api_where where, struct http_request *request,
                         const struct router_match *match)
{
    struct http_text path = http_path(request);

    if (where == API_FRONT && api->routes_socket != NULL && !api_is_reserved(path)) {
        http_set_mark(request, API_MARK_APP);
        if (!access_allows(api, request, HTTP_ROLE_READ, is_change(request)))
            return;
        http_forward(request, api->routes_socket, api->app->settings.http.route_ms + 1000);
        return;
    }
    if (match->allow[0] != '\0') {
        http_add_header(request, "Allow", match->allow);
        http_answer_error(request, 405, "method_not_allowed", NULL, "this path takes %s",
                          match->allow);
        return;
    }
    http_answer_error(request, 404, "not_found", NULL,
                      "there is nothing at this path; /openapi.json names what is here");
}

void api_handle(struct api *api, enum api_where where, struct http_request *request)
{
    struct router_match match;

    router_find(pattern_at, NULL, http_method(request), http_path(request), &match);
    if (match.route < 0) {
        nothing_here(api, where, request, &match);
        return;
    }
    http_set_mark(request, match.route);
    const struct api_route *route = &api_routes[match.route];
    struct api_call call = {.api = api, .request = request, .match = &match, .route = route};
    bool changes = is_change(request) && route->role != HTTP_ROLE_READ;

    if (where == API_FRONT && !access_allows(api, request, route->role, changes))
        return;
    if (where == API_QUERY && (route->where != API_QUERY || http_role(request) < route->role)) {
        http_answer_error(request, 404, "not_found", NULL, "this is not answered here");
        return;
    }
    if (!check_params(&call) || !check_no_body(&call))
        return;
    if (where == API_FRONT && route->where == API_QUERY) {
        http_forward(request, api->query_socket, forward_ms(request));
        return;
    }
    if (api->heap != NULL)
        heap_reset(api->heap);
    route->run(&call);
}
