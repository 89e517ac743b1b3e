#include "formats/ndjson.h"

#include "base/log.h"
#include "formats/flat.h"

#include <jansson.h>
#include <string.h>

static bool is_blank(const char *line, size_t size)
{
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\t' || line[size - 1] == '\r'))
        size--;
    return size == 0;
}

/* The kind of a line: as given, or as its member says; both must agree. */
static const struct kind *kind_of(const struct values_target *target, const struct kind *kind,
                                  const json_t *object, struct acc_error *err)
{
    const json_t *member = json_object_get(object, "kind");

    if (member == NULL && kind == NULL)
        acc_fail(err, ACC_EINPUT, "member \"kind\" is missing, and no kind was given");
    if (member == NULL)
        return kind;
    if (!json_is_string(member) ||
        strlen(json_string_value(member)) != json_string_length(member)) {
        acc_fail(err, ACC_EINPUT, "member \"kind\": wanted the name of a kind");
        return NULL;
    }
    if (kind == NULL)
        return values_kind(target, json_string_value(member), err);
    if (strcmp(kind->name, json_string_value(member)) == 0)
        return kind;
    acc_fail(err, ACC_EINPUT, "member \"kind\": wanted \"%s\", got %s", kind->name,
             log_quote(json_string_value(member)));
    return NULL;
}

static bool fill(const struct values_target *target, const struct kind *kind, json_t *object,
                 struct acc_row *row, struct acc_error *err)
{
    uint64_t given = 0;
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "kind") == 0)
            continue;
        int field = values_field(kind, name, err);
        if (field < 0 || !values_set_json(target, kind, (size_t)field, value, row, err))
            return false;
        given |= UINT64_C(1) << field;
    }
    return values_complete(kind, given, row, err);
}

static bool add(const struct values_target *target, const struct kind *kind, json_t *object,
                const struct kind **of, struct acc_error *err)
{
    if (!json_is_object(object))
        return acc_fail(err, ACC_EINPUT, "wanted an object with the fields of a fact");
    kind = kind_of(target, kind, object, err);
    if (kind == NULL)
        return false;

    struct acc_rows *rows = target->rows(target->context, kind);
    struct acc_row *row = rows_add(rows, err);
    if (row == NULL)
        return false;
    if (!fill(target, kind, object, row, err)) {
        rows->count--;
        return false;
    }
    *of = kind;
    return true;
}

bool ndjson_line_whole(const struct values_target *target, const struct kind *kind,
                       const char *line, size_t size, const struct kind **of, struct acc_error *err)
{
    json_error_t why;
    json_t *object =
        json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);

    if (object == NULL)
        return acc_fail(err, ACC_EINPUT, "not JSON: %s (column %d)", why.text, why.column);
    bool ok = add(target, kind, object, of, err);
    json_decref(object);
    return ok;
}

bool ndjson_line(const struct values_target *target, const struct kind *kind, const char *line,
                 size_t size, const struct kind **of, struct acc_error *err)
{
    if (is_blank(line, size)) {
        *of = NULL;
        return true;
    }
    if (!values_check_utf8("line", line, size, err))
        return false;
    const struct kind *flat = flat_line(target, kind, line, size);
    if (flat == NULL)
        return ndjson_line_whole(target, kind, line, size, of, err);
    *of = flat;
    return true;
}
