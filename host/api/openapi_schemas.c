#include "api/openapi.h"

#include "base/buf.h"
#include "base/files.h"
#include "figures.h"

#include <stdlib.h>
#include <string.h>

#define REFERENCE "#/components/schemas/"

json_t *openapi_schema(const struct kind *kind, const char *name)
{
    char *path = acc_format(REFERENCE "%s%s%s", kind == NULL ? "" : kind->name,
                            kind == NULL ? "" : ".", name);
    json_t *reference = json_pack("{s:s}", "$ref", path);

    free(path);
    return reference;
}

/* Fields */

/* A number may also be sent in quotes: not every reader of JSON has integers of 64 bits. */
static json_t *value_schema(enum field_type type, bool is_sent)
{
    switch (type) {
    case FIELD_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case FIELD_INT8:
        return is_sent ? json_pack("{s:[s, s], s:s, s:s}", "type", "integer", "string", "format",
                                   "int64", "pattern", "^-?[0-9]{1,19}$")
                       : json_pack("{s:s, s:s}", "type", "integer", "format", "int64");
    case FIELD_FLOAT8:
        return json_pack("{s:[s, s], s:s, s:s}", "type", "number", "string", "format", "double",
                         "pattern", "^(NaN|-?Infinity)$");
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

/* null as one more of its types. A schema without a type takes it anyway. */
static void allow_null(json_t *schema)
{
    json_t *type = json_object_get(schema, "type");

    if (json_is_string(type))
        json_object_set_new(schema, "type", json_pack("[O, s]", type, "null"));
    else if (json_is_array(type))
        json_array_append_new(type, json_string("null"));
}

static json_t *field_schema(const struct field *field, bool is_sent)
{
    json_t *schema = value_schema(field->type, is_sent);

    if (field->is_array)
        schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
    if (field->is_nullable)
        allow_null(schema);
    return schema;
}

static json_t *fields_schema(const struct kind *kind, bool is_sent)
{
    json_t *properties = json_object();

    for (size_t f = 0; f < kind->field_count; f++)
        json_object_set_new(properties, kind->fields[f].name,
                            field_schema(&kind->fields[f], is_sent));
    return json_pack("{s:s, s:b, s:o}", "type", "object", "additionalProperties", 0, "properties",
                     properties);
}

static json_t *field_names(const struct kind *kind, bool with_nullable)
{
    json_t *names = json_array();

    for (size_t f = 0; f < kind->field_count; f++)
        if (with_nullable || !kind->fields[f].is_nullable)
            json_array_append_new(names, json_string(kind->fields[f].name));
    return names;
}

static void add_schema(json_t *schemas, const struct kind *kind, const char *name, json_t *schema)
{
    char *full = acc_format("%s.%s", kind->name, name);

    json_object_set_new(schemas, full, schema);
    free(full);
}

static void add_fields(json_t *schemas, const struct kind *kind)
{
    json_t *sent = fields_schema(kind, true);
    json_t *all = openapi_schema(kind, "fields");

    json_object_set_new(sent, "required", field_names(kind, false));
    json_object_set_new(json_object_get(sent, "properties"), "kind",
                        json_pack("{s:s, s:s}", "const", kind->name, "description",
                                  "As the lines of a download have it"));
    json_object_set_new(all, "required", field_names(kind, true));
    add_schema(schemas, kind, "sent", sent);
    add_schema(schemas, kind, "fields", fields_schema(kind, false));
    add_schema(schemas, kind, "all_fields", all);
}

/* Shapes */

/* A copy with another word for each `word`, wherever it stands. */
static json_t *with_name(const json_t *shape, const char *word, const char *name)
{
    char *text = json_dumps(shape, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t size = strlen(word);
    struct buf out = {0};
    const char *at = text;

    for (const char *next; (next = strstr(at, word)) != NULL; at = next + size) {
        buf_add(&out, at, (size_t)(next - at));
        buf_text(&out, name);
    }
    buf_text(&out, at);
    json_t *copy = json_loadb(out.data, out.size, JSON_DECODE_ANY, NULL);
    buf_clear(&out);
    free(text);
    return copy;
}

/* Puts one member for each name in the place of the member `word`, here and further down. */
static void repeat(json_t *shape, const char *word, const json_t *names)
{
    json_t *one = json_incref(json_object_get(shape, word));
    const char *member;
    json_t *value;
    size_t i;

    if (one != NULL) {
        json_object_del(shape, word);
        json_array_foreach(names, i, value)
        {
            const char *name = json_string_value(value);
            json_object_set_new(shape, name, with_name(one, word, name));
        }
        json_decref(one);
        return;
    }
    json_object_foreach(shape, member, value)
    {
        repeat(value, word, names);
    }
    json_array_foreach(shape, i, value)
    {
        repeat(value, word, names);
    }
}

static void extend(const json_t *schemas, json_t *shape)
{
    const char *of = json_string_value(json_object_get(shape, "extends"));

    if (of == NULL)
        return;
    json_object_update_missing(json_object_get(shape, "properties"),
                               json_object_get(json_object_get(schemas, of), "properties"));
    json_object_del(shape, "extends");
}

json_t *openapi_series(void)
{
    json_t *names = json_object();
    json_t *list = json_array();
    const char *name;
    json_t *value;

    for (size_t i = 0; figures_series_names[i] != NULL; i++)
        json_object_set_new(names, figures_series_names[i], json_null());
    for (size_t i = 0; figures_lifecycle_series_names[i] != NULL; i++)
        json_object_set_new(names, figures_lifecycle_series_names[i], json_null());
    json_object_foreach(names, name, value)
    {
        json_array_append_new(list, json_string(name));
    }
    json_decref(names);
    return list;
}

static void add_shape(json_t *schemas, const struct catalog *catalog, const char *name,
                      const json_t *shape)
{
    static const char of_kind[] = "KIND.";

    if (strncmp(name, of_kind, sizeof(of_kind) - 1) != 0) {
        json_object_set_new(schemas, name, json_deep_copy(shape));
        return;
    }
    for (size_t k = 0; k < catalog->count; k++)
        add_schema(schemas, catalog->kinds[k], name + sizeof(of_kind) - 1,
                   with_name(shape, "KIND", catalog->kinds[k]->name));
}

json_t *openapi_schemas(const struct catalog *catalog)
{
    size_t size;
    const char *text = files_get("host/api/schemas.json", &size);
    json_t *shapes = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *schemas = json_object();
    json_t *kinds = json_array();
    json_t *series = openapi_series();
    const char *name;
    json_t *shape;

    for (size_t k = 0; k < catalog->count; k++)
        json_array_append_new(kinds, json_string(catalog->kinds[k]->name));
    json_object_foreach(shapes, name, shape)
    {
        extend(shapes, shape);
        add_shape(schemas, catalog, name, shape);
    }
    repeat(schemas, "KIND", kinds);
    repeat(schemas, "SERIES", series);
    for (size_t k = 0; k < catalog->count; k++)
        add_fields(schemas, catalog->kinds[k]);
    json_decref(kinds);
    json_decref(series);
    json_decref(shapes);
    return schemas;
}
