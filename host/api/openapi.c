/* The OpenAPI document: made from the table of routes, the kinds, openapi.json and schemas.json. */
#include "api/openapi.h"

#include "api/handlers.h"
#include "base/files.h"
#include "filters.h"
#include "formats/text.h"

#include <stdlib.h>
#include <string.h>

/* A path of the document: a route over kinds has one for each, so that every field can be named. */
struct path {
    const struct api_route *route;
    const struct kind *kind; /* NULL: of none */
    const char *text;
};

/* A response of openapi.json; its name begins with the status. */
static json_t *response(const char *name)
{
    char *path = acc_format("#/components/responses/%s", name);
    json_t *reference = json_pack("{s:s}", "$ref", path);

    free(path);
    return reference;
}

static json_t *parameter(const char *name)
{
    char *path = acc_format("#/components/parameters/%s", name);
    json_t *reference = json_pack("{s:s}", "$ref", path);

    free(path);
    return reference;
}

static void add_header(json_t *headers, const char *name)
{
    char *path = acc_format("#/components/headers/%s", name);

    json_object_set_new(headers, name, json_pack("{s:s}", "$ref", path));
    free(path);
}

/* Parameters */

/* What stands in a variable part, by how the path begins. */
static json_t *part_parameter(const struct path *path, const char *name)
{
    static const struct {
        const char *begin, *help, *pattern;
    } parts[] = {
        {"/facts/", "Id of the fact, or 4 or more of its first digits", "^[0-9a-fA-F-]{4,36}$"},
        {"/ingests/", "Number of the record", "^[0-9]+$"},
        {"/events/", "LIFECYCLE:FACTID; the first digits will do", "^[a-z][a-z0-9_]*:"},
        {"", "Name of the lifecycle", "^[a-z][a-z0-9_]*$"}, /* anything else */
    };
    size_t i = 0;

    while (strncmp(path->text, parts[i].begin, strlen(parts[i].begin)) != 0)
        i++;
    return json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s}}", "name", name, "in", "path", "required",
                     1, "description", parts[i].help, "schema", "type", "string", "pattern",
                     parts[i].pattern);
}

static void add_part_parameters(json_t *list, const struct path *path)
{
    for (const char *at = strchr(path->text, '{'); at != NULL; at = strchr(at + 1, '{')) {
        char *name = acc_format("%.*s", (int)strcspn(at + 1, "}"), at + 1);

        json_array_append_new(list, part_parameter(path, name));
        free(name);
    }
}

/* FIELD~OP~VALUE with the fields of the kind and the operators that each has. */
static json_t *filter_schema(const struct kind *kind)
{
    struct buf pattern = {0};
    struct buf words = {0};

    for (size_t f = 0; f < kind->field_count; f++) {
        buf_reset(&words);
        filters_operators(&kind->fields[f], &words);
        for (char *blank = words.data; (blank = strchr(blank, ' ')) != NULL;)
            *blank = '|';
        buf_printf(&pattern, "%s%s~(%s)", f == 0 ? "^(" : "|", kind->fields[f].name, words.data);
    }
    buf_text(&pattern, ")(~|$)");
    json_t *schema = json_pack("{s:s, s:{s:s, s:s}, s:i}", "type", "array", "items", "type",
                               "string", "pattern", pattern.data, "maxItems", FILTERS_MAX);
    buf_clear(&pattern);
    buf_clear(&words);
    return schema;
}

static json_t *field_schema(const struct kind *kind)
{
    json_t *names = json_array();

    for (size_t f = 0; f < kind->field_count; f++)
        json_array_append_new(names, json_string(kind->fields[f].name));
    return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

static json_t *words_schema(const char *words)
{
    json_t *list = json_array();

    for (const char *at = words; *at != '\0'; at += strcspn(at, "|"), at += *at == '|')
        json_array_append_new(list, json_stringn(at, strcspn(at, "|")));
    return json_pack("{s:s, s:o}", "type", "string", "enum", list);
}

static json_t *parameter_schema(const char *type, const struct kind *kind)
{
    if (strcmp(type, "int") == 0)
        return json_pack("{s:s}", "type", "integer");
    if (strcmp(type, "bool") == 0)
        return json_pack("{s:s, s:[i, i]}", "type", "integer", "enum", 0, 1);
    if (strcmp(type, "filter") == 0)
        return filter_schema(kind);
    if (strcmp(type, "field") == 0)
        return field_schema(kind);
    if (strcmp(type, "series") == 0)
        return json_pack("{s:s, s:{s:s, s:o}, s:i}", "type", "array", "items", "type", "string",
                         "enum", openapi_series(), "minItems", 1);
    return strchr(type, '|') == NULL ? json_pack("{s:s}", "type", "string") : words_schema(type);
}

static json_t *query_parameter(const struct api_param *param, const struct kind *kind)
{
    size_t size = strcspn(param->type, "!");
    char *type = acc_format("%.*s", (int)size, param->type);
    json_t *one = json_pack("{s:s, s:s, s:s, s:b, s:o}", "name", param->name, "in", "query",
                            "description", param->help, "required", param->type[size] == '!',
                            "schema", parameter_schema(type, kind));

    free(type);
    return one;
}

static json_t *parameters(const struct path *path)
{
    const struct api_param *params = path->route->params;
    json_t *list = json_array();

    add_part_parameters(list, path);
    for (size_t i = 0; i < API_PARAMS_MAX && params[i].name != NULL; i++)
        json_array_append_new(list, query_parameter(&params[i], path->kind));
    return list;
}

/* Bodies */

static json_t *text_content(const char *help)
{
    return json_pack("{s:{s:s, s:s}}", "schema", "type", "string", "description", help);
}

/* What POST /facts/KIND takes. */
static json_t *facts_content(const struct kind *kind)
{
    struct text_fields fields;
    struct acc_error err;
    json_t *one_or_many = json_pack("{s:[o, {s:s, s:o}]}", "oneOf", openapi_schema(kind, "sent"),
                                    "type", "array", "items", openapi_schema(kind, "sent"));
    json_t *content = json_pack("{s:{s:o}, s:o, s:o}", "application/json", "schema", one_or_many,
                                "application/x-ndjson", text_content("One JSON object a line"),
                                "text/csv", text_content("The first line names the fields"));

    if (text_choose(kind, NULL, &fields, &err)) {
        char *help =
            fields.title < 0
                ? acc_format("The whole text is field \"%s\" of one fact",
                             kind->fields[fields.body].name)
                : acc_format("The whole text is field \"%s\" of one fact, the parameter name its "
                             "field \"%s\"",
                             kind->fields[fields.body].name, kind->fields[fields.title].name);
        json_object_set_new(content, "text/plain", text_content(help));
        free(help);
    }
    return content;
}

static json_t *request_body(const struct path *path)
{
    const char *body = path->route->body;
    json_t *content = strcmp(body, "facts") == 0 ? facts_content(path->kind)
                                                 : json_pack("{s:{s:o}}", "application/json",
                                                             "schema", openapi_schema(NULL, body));

    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

/* Answers */

/* Whether the board has the answer as a document: with an ETag. */
static bool is_document(const struct api_route *route)
{
    static api_handler_fn *const documents[] = {api_status,  api_kinds,   api_lifecycles,
                                                api_graph,   api_workers, api_generations,
                                                api_database};

    for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++)
        if (documents[i] == route->run)
            return true;
    return false;
}

/* "text" and the like are no names of schemas. NULL: the answer is JSON. */
static const char *media_type(const char *answer, const char **help)
{
    static const struct {
        const char *answer, *type, *help;
    } types[] = {
        {"text", "text/plain", "Lua"},
        {"ndjson", "application/x-ndjson",
         "One JSON object a line, as it may be sent again; when it breaks off the last line is "
         "{\"error\": {\"code\", \"message\"}}"},
        {"csv", "text/csv", "The first line names the fields; when it breaks off the body does"},
        {"stream", "text/event-stream",
         "One message a topic and second at most, with JSON: status and lifecycles with the "
         "members that have changed, facts, events, workers, reload, audit, lifecycle:NAME"},
        {"openmetrics", "application/openmetrics-text", "OpenMetrics 1.0"},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (strcmp(types[i].answer, answer) != 0)
            continue;
        *help = types[i].help;
        return types[i].type;
    }
    return NULL;
}

static json_t *content_of(const struct path *path)
{
    const char *answer = path->route->answer;
    const char *help;
    const char *type = media_type(answer, &help);
    bool is_page = strcmp(answer, "facts_page") == 0;
    bool is_fact = strcmp(answer, "fact") == 0;

    if (type != NULL)
        return json_pack("{s:o}", type, text_content(help));
    return json_pack("{s:{s:o}}", "application/json", "schema",
                     is_page   ? openapi_schema(path->kind, "page")
                     : is_fact ? openapi_schema(path->kind, "fact")
                               : openapi_schema(NULL, answer));
}

static json_t *success(const struct path *path)
{
    api_handler_fn *run = path->route->run;
    json_t *headers = json_object();

    add_header(headers, "X-Request-Id");
    if (is_document(path->route))
        add_header(headers, "ETag");
    if (run == api_facts_ndjson || run == api_facts_csv)
        add_header(headers, "Content-Disposition");
    if (run == api_stream)
        add_header(headers, "Cache-Control");
    return json_pack("{s:s, s:o, s:o}", "description", path->route->summary, "headers", headers,
                     "content", content_of(path));
}

/* What can go wrong here beyond what can everywhere: names of responses in openapi.json. */
static const char *own_refusals(const struct api_route *route)
{
    static const struct {
        api_handler_fn *run;
        const char *responses;
    } routes[] = {
        {api_facts_post, "409 422 429 500"},
        {api_ingest_errors, "404"},
        {api_facts, "404 409.ambiguous"},
        {api_fact, "404 409.ambiguous"},
        {api_fact_causes, "404 409.ambiguous"},
        {api_fact_effects, "404 409.ambiguous 422.name"},
        {api_fact_events, "404 409.ambiguous"},
        {api_fact_dry_run, "404 409.ambiguous 415 422.name"},
        {api_lifecycle_one, "404"},
        {api_lifecycle_source, "404"},
        {api_lifecycle_throttle, "404"},
        {api_events, "422.name"},
        {api_event_groups, "422.name"},
        {api_event, "404"},
        {api_events_retry, "409.other_count 422.name"},
        {api_events_discard, "409.other_count 422.name"},
        {api_reload, "422.modules"},
        {api_bench, "404"},
        {api_bench_post, "409.running 422.lifecycle"},
        {api_series, "422.name"},
        {api_stream, "422.name"},
        {api_ready, "503.ready"},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
        if (routes[i].run == route->run)
            return routes[i].responses;
    return "";
}

static void add_responses(json_t *responses, const char *names)
{
    for (const char *at = names; *at != '\0'; at += strcspn(at, " "), at += *at == ' ') {
        char *name = acc_format("%.*s", (int)strcspn(at, " "), at);
        char *status = acc_format("%.*s", (int)strcspn(name, "."), name);

        json_object_set_new(responses, status, response(name));
        free(status);
        free(name);
    }
}

static json_t *responses(const struct path *path)
{
    const struct api_route *route = path->route;
    bool is_change = strcmp(route->method, "POST") == 0 && strcmp(route->answer, "ingest") != 0 &&
                     route->body != NULL;
    json_t *all = json_object();

    json_object_set_new(all, is_change ? "202" : "200", success(path));
    if (is_document(route))
        add_responses(all, "304");
    add_responses(all, "400 401 403 503");
    if (route->body != NULL)
        add_responses(all, "413 415");
    if (route->where == API_QUERY)
        add_responses(all, "500 502 504");
    add_responses(all, own_refusals(route));
    add_responses(all, "default");
    return all;
}

/* Operations */

/* Unlike the names of kinds it has dashes, so that no two are the same. */
static char *operation_id(const struct path *path)
{
    struct buf id = {0};

    for (const char *at = path->route->method; *at != '\0'; at++)
        buf_byte(&id, *at | 0x20);
    for (const char *at = path->text; *at != '\0'; at++)
        if (*at != '{' && *at != '}')
            buf_byte(&id, *at == '/' || *at == '.' ? '-' : *at);
    return id.data;
}

static const char *tag_of(const struct path *path)
{
    static const struct {
        const char *begin, *tag;
    } tags[] = {{"/facts", "facts"},  {"/ingests", "facts"},    {"/kinds", "facts"},
                {"/find", "facts"},   {"/graph", "lifecycles"}, {"/lifecycles", "lifecycles"},
                {"/events", "queue"}, {"/queue", "queue"},      {"/reload", "queue"},
                {"/wait", "queue"}};

    for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++)
        if (strncmp(path->text, tags[i].begin, strlen(tags[i].begin)) == 0)
            return tags[i].tag;
    return "host";
}

static json_t *security(enum http_role role)
{
    return role == HTTP_ROLE_NONE ? json_array()
                                  : json_pack("[{}, {s:[s]}]", "bearer", token_role_name(role));
}

static json_t *operation(const struct path *path)
{
    const struct api_route *route = path->route;
    char *id = operation_id(path);
    char *about = route->role == HTTP_ROLE_NONE
                      ? acc_strdup("Open to anybody.")
                      : acc_format("Wants the role %s.", token_role_name(route->role));
    json_t *headers = parameters(path);
    json_t *one = json_pack("{s:s, s:[s], s:s, s:s, s:o, s:O}", "operationId", id, "tags",
                            tag_of(path), "summary", route->summary, "description", about,
                            "security", security(route->role), "parameters", headers);

    if (is_document(route))
        json_array_append_new(headers, parameter("if_none_match"));
    if (route->run == api_stream)
        json_array_append_new(headers, parameter("last_event_id"));
    if (route->run == api_facts_post) {
        json_array_append_new(headers, parameter("content_encoding"));
        json_array_append_new(headers, parameter("traceparent"));
    }
    json_decref(headers);
    if (route->body != NULL)
        json_object_set_new(one, "requestBody", request_body(path));
    json_object_set_new(one, "responses", responses(path));
    free(about);
    free(id);
    return one;
}

static void add_path(json_t *paths, const struct path *path)
{
    char method[8] = "";
    json_t *item = json_object_get(paths, path->text);

    if (item == NULL) {
        item = json_object();
        json_object_set_new(paths, path->text, item);
    }
    for (size_t i = 0; path->route->method[i] != '\0' && i + 1 < sizeof(method); i++)
        method[i] = (char)(path->route->method[i] | 0x20);
    json_object_set_new(item, method, operation(path));
}

static void add_route(json_t *paths, const struct api_route *route, const struct catalog *catalog)
{
    static const char part[] = "{kind}";
    const char *at = strstr(route->pattern, part);

    if (at == NULL) {
        add_path(paths, &(struct path){route, NULL, route->pattern});
        return;
    }
    for (size_t k = 0; k < catalog->count; k++) {
        char *text = acc_format("%.*s%s%s", (int)(at - route->pattern), route->pattern,
                                catalog->kinds[k]->name, at + sizeof(part) - 1);

        add_path(paths, &(struct path){route, catalog->kinds[k], text});
        free(text);
    }
}

json_t *api_openapi(const struct program *program, const char *version)
{
    size_t size;
    const char *frame = files_get("host/api/openapi.json", &size);
    json_t *document = json_loadb(frame, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *paths = json_object_get(document, "paths");

    json_object_set_new(json_object_get(document, "info"), "version", json_string(version));
    json_object_set_new(json_object_get(document, "components"), "schemas",
                        openapi_schemas(&program->catalog));
    for (size_t i = 0; i < api_route_count; i++)
        add_route(paths, &api_routes[i], &program->catalog);
    return document;
}

void api_openapi_get(struct api_call *call)
{
    http_answer_json(call->request, 200, api_openapi(call->api->program, ACC_VERSION));
}
