/* The OpenAPI document: made from the table of routes, the kinds, and the shapes in schemas.json. */
#include "api/handlers.h"

#include "base/files.h"
#include "filters.h"

#include <stdlib.h>
#include <string.h>

static json_t *text(const char *value)
{
    return json_string(value);
}

static json_t *reference(const char *name)
{
    char *path = acc_format("#/components/schemas/%s", name);
    json_t *ref = json_pack("{s:s}", "$ref", path);

    free(path);
    return ref;
}

/* Kinds */

static json_t *value_schema(enum field_type type)
{
    switch (type) {
    case FIELD_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case FIELD_INT8:
        return json_pack("{s:s, s:s}", "type", "integer", "format", "int64");
    case FIELD_FLOAT8:
        return json_pack("{s:s, s:s}", "type", "number", "format", "double");
    case FIELD_TEXT:
        return json_pack("{s:s}", "type", "string");
    case FIELD_BYTES:
        return json_pack("{s:s, s:s, s:s}", "type", "string", "pattern", "^([0-9a-fA-F]{2})*$",
                         "description", "Hex digits");
    case FIELD_UUID:
        return json_pack("{s:s, s:s}", "type", "string", "format", "uuid");
    case FIELD_JSON:
        break;
    }
    return json_pack("{s:s}", "description", "Any JSON value");
}

static json_t *field_schema(const struct field *field)
{
    json_t *schema = value_schema(field->type);

    if (field->is_array)
        schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    if (field->is_nullable && json_object_get(schema, "type") != NULL)
        json_object_set_new(
            schema, "type",
            json_pack("[s, s]", json_string_value(json_object_get(schema, "type")), "null"));
    return schema;
}

/* The fields of a fact, as they are sent and shown. */
static json_t *kind_schema(const struct kind *kind)
{
    json_t *properties = json_object();
    json_t *required = json_array();

    for (size_t i = 0; i < kind->field_count; i++) {
        json_object_set_new(properties, kind->fields[i].name, field_schema(&kind->fields[i]));
        if (!kind->fields[i].is_nullable)
            json_array_append_new(required, text(kind->fields[i].name));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required",
                     required, "additionalProperties", 0);
}

static const struct field *only_text(const struct kind *kind)
{
    return kind->field_count == 1 && kind->fields[0].type == FIELD_TEXT && !kind->fields[0].is_array
               ? &kind->fields[0]
               : NULL;
}

/* What POST /facts/KIND takes. */
static json_t *facts_body(const struct kind *kind)
{
    char *name = acc_format("fact_%s", kind->name);
    json_t *any_of = json_pack("{s:[o, {s:s, s:o}]}", "oneOf", reference(name), "type", "array",
                               "items", reference(name));
    json_t *content = json_pack(
        "{s:{s:o}, s:{s:{s:s, s:s}}, s:{s:{s:s, s:s}}}", "application/json", "schema", any_of,
        "application/x-ndjson", "schema", "type", "string", "description", "One JSON object a line",
        "text/csv", "schema", "type", "string", "description", "The first line names the fields");

    if (only_text(kind) != NULL)
        json_object_set_new(content, "text/plain",
                            json_pack("{s:{s:s, s:s}}", "schema", "type", "string", "description",
                                      "The whole text is one fact"));
    free(name);
    return json_pack("{s:b, s:o}", "required", 1, "content", content);
}

/* The answer's schema, with the kind's own fields where a fact is shown. */
static json_t *answer_schema(const char *answer, const struct kind *kind)
{
    if (kind != NULL && (strcmp(answer, "facts_page") == 0 || strcmp(answer, "fact") == 0)) {
        char *name =
            acc_format(strcmp(answer, "fact") == 0 ? "fact_shown_%s" : "facts_page_%s", kind->name);
        json_t *schema = reference(name);

        free(name);
        return schema;
    }
    return reference(answer);
}

/* Copies a shape of schemas.json and puts the kind's fields where it says {"fields": {}}. */
static void add_kind_shapes(json_t *schemas, const struct kind *kind)
{
    char *fact = acc_format("fact_%s", kind->name);
    char *page = acc_format("facts_page_%s", kind->name);
    json_t *row = json_deep_copy(json_object_get(schemas, "facts_row"));
    json_t *rows = json_deep_copy(json_object_get(schemas, "facts_page"));
    json_t *shown = json_deep_copy(json_object_get(schemas, "fact"));
    char *shown_name = acc_format("fact_shown_%s", kind->name);

    /* A page may be asked for some fields only, so none of them is required there. */
    json_t *fields = kind_schema(kind);
    json_object_del(fields, "required");
    json_object_set_new(json_object_get(row, "properties"), "fields", fields);
    json_object_set_new(json_object_get(json_object_get(rows, "properties"), "rows"), "items", row);
    json_object_set_new(json_object_get(shown, "properties"), "fields", reference(fact));
    json_object_set_new(schemas, fact, kind_schema(kind));
    json_object_set_new(schemas, page, rows);
    json_object_set_new(schemas, shown_name, shown);
    free(fact);
    free(page);
    free(shown_name);
}

/* Routes */

static json_t *param_schema(const struct api_param *param)
{
    const char *type = param->type;

    if (strcmp(type, "int") == 0)
        return json_pack("{s:s}", "type", "integer");
    if (strcmp(type, "bool") == 0)
        return json_pack("{s:s, s:[i, i]}", "type", "integer", "enum", 0, 1);
    if (strcmp(type, "filter") == 0)
        return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    if (strchr(type, '|') == NULL)
        return json_pack("{s:s}", "type", "string");
    json_t *words = json_array();
    for (const char *at = type; *at != '\0'; at += strcspn(at, "|"), at += *at == '|')
        json_array_append_new(words, json_stringn(at, strcspn(at, "|")));
    return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static void add_path_params(json_t *params, const char *pattern)
{
    for (const char *at = strchr(pattern, '{'); at != NULL; at = strchr(at + 1, '{')) {
        char *name = acc_format("%.*s", (int)strcspn(at + 1, "}"), at + 1);

        json_array_append_new(params, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name", name, "in",
                                                "path", "required", 1, "schema", "type", "string"));
        free(name);
    }
}

static json_t *answers_of(const struct api_route *route, const struct kind *kind)
{
    static const struct {
        const char *answer, *type;
    } others[] = {{"text", "text/plain"},
                  {"ndjson", "application/x-ndjson"},
                  {"csv", "text/csv"},
                  {"stream", "text/event-stream"},
                  {"openmetrics", "application/openmetrics-text"}};
    const char *status = strncmp(route->answer, "audited", 7) == 0 ||
                                 strcmp(route->answer, "changed") == 0 ||
                                 strcmp(route->answer, "reloaded") == 0
                             ? "202"
                             : "200";
    const char *type = NULL;

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (strcmp(others[i].answer, route->answer) == 0)
            type = others[i].type;
    }
    json_t *schema =
        type != NULL ? json_pack("{s:s}", "type", "string") : answer_schema(route->answer, kind);
    json_t *content =
        json_pack("{s:{s:o}}", type != NULL ? type : "application/json", "schema", schema);
    json_t *answers = json_pack("{s:{s:s, s:o}, s:{s:s}}", status, "description", route->summary,
                                "content", content, "4XX", "$ref", "#/components/responses/error");
    json_object_set_new(answers, "5XX", json_pack("{s:s}", "$ref", "#/components/responses/error"));
    return answers;
}

static json_t *operation(const struct api_route *route, const char *path, const struct kind *kind)
{
    json_t *params = json_array();
    struct buf id = {0};

    add_path_params(params, path);
    for (size_t i = 0; i < API_PARAMS_MAX && route->params[i].name != NULL; i++)
        json_array_append_new(params,
                              json_pack("{s:s, s:s, s:s, s:o}", "name", route->params[i].name, "in",
                                        "query", "description", route->params[i].help, "schema",
                                        param_schema(&route->params[i])));
    buf_text(&id, strcmp(route->method, "GET") == 0    ? "get"
                  : strcmp(route->method, "POST") == 0 ? "post"
                                                       : "put");
    for (const char *at = path; *at != '\0'; at++) {
        char c = *at == '/' || *at == '.' || *at == '-' ? '_' : *at;
        if (c != '{' && c != '}')
            buf_add(&id, &c, 1);
    }
    buf_text(&id, "");
    json_t *op =
        json_pack("{s:s, s:s, s:o, s:o}", "operationId", id.data, "summary", route->summary,
                  "parameters", params, "responses", answers_of(route, kind));
    buf_clear(&id);
    if (route->body != NULL && kind != NULL && strcmp(route->body, "facts") == 0)
        json_object_set_new(op, "requestBody", facts_body(kind));
    else if (route->body != NULL)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content",
                                      "application/json", "schema", reference(route->body)));
    if (route->role == HTTP_ROLE_NONE)
        json_object_set_new(op, "security", json_array());
    return op;
}

static void add_path(json_t *paths, const struct api_route *route, const char *path,
                     const struct kind *kind)
{
    char method[8] = "";
    json_t *item = json_object_get(paths, path);

    if (item == NULL) {
        item = json_object();
        json_object_set_new(paths, path, item);
    }
    for (size_t i = 0; route->method[i] != '\0' && i + 1 < sizeof(method); i++)
        method[i] = (char)(route->method[i] | 0x20);
    json_object_set_new(item, method, operation(route, path, kind));
}

/* A route over kinds becomes one path a kind, so that every field can be named. */
static void add_route(json_t *paths, const struct api_route *route, const struct catalog *catalog)
{
    static const char part[] = "{kind}";
    const char *at = strstr(route->pattern, part);

    if (at == NULL) {
        add_path(paths, route, route->pattern, NULL);
        return;
    }
    for (size_t k = 0; k < catalog->count; k++) {
        char *path = acc_format("%.*s%s%s", (int)(at - route->pattern), route->pattern,
                                catalog->kinds[k]->name, at + sizeof(part) - 1);
        add_path(paths, route, path, catalog->kinds[k]);
        free(path);
    }
}

json_t *api_openapi(const struct program *program, const char *version)
{
    size_t size;
    const char *shapes = files_get("host/api/schemas.json", &size);
    json_t *schemas = json_loadb(shapes, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *paths = json_object();

    for (size_t k = 0; k < program->catalog.count; k++)
        add_kind_shapes(schemas, program->catalog.kinds[k]);
    json_object_del(schemas, "facts_page");
    json_object_del(schemas, "fact");
    json_object_del(schemas, "facts_row");
    for (size_t i = 0; i < api_route_count; i++)
        add_route(paths, &api_routes[i], &program->catalog);
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:[{}, {s:[]}], s:o, s:{s:o, s:{s:{s:s, "
        "s:{s:{s:{s:s}}}}}, s:{s:{s:s, s:s}}}}",
        "openapi", "3.1.0", "info", "title", "accrete", "version", version, "summary",
        "Facts in and out of one app, and what its lifecycles do", "license", "name", "MIT",
        "identifier", "MIT", "servers", "url", "/", "security", "bearer", "paths", paths,
        "components", "schemas", schemas, "responses", "error", "description", "What was wrong",
        "content", "application/json", "schema", "$ref", "#/components/schemas/error",
        "securitySchemes", "bearer", "type", "http", "scheme", "bearer");
}

void api_openapi_get(struct api_call *call)
{
    http_answer_json(call->request, 200, api_openapi(call->api->program, ACC_VERSION));
}
