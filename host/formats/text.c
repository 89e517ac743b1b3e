#include "formats/text.h"

#include <string.h>

static bool is_text(const struct field *field)
{
    return field->type == FIELD_TEXT && !field->is_array;
}

static bool choose_body(const struct kind *kind, const char *body, struct text_fields *fields,
                        struct acc_error *err)
{
    size_t count = 0;

    if (body != NULL) {
        fields->body = values_field(kind, body, err);
        if (fields->body < 0)
            return false;
        if (!is_text(&kind->fields[fields->body]))
            return acc_fail(err, ACC_EINPUT,
                            "field \"%s\" of kind \"%s\": wanted a text field for the file's text",
                            body, kind->name);
        return true;
    }
    for (size_t f = 0; f < kind->field_count; f++) {
        if (is_text(&kind->fields[f]) && !kind->fields[f].is_nullable) {
            fields->body = (int)f;
            count++;
        }
    }
    if (count == 1 || count == 2)
        return true;
    return acc_fail(err, ACC_EINPUT,
                    "kind \"%s\" has %zu text fields, wanted one for the file's text (and one more "
                    "for its name): name it by --field",
                    kind->name, count);
}

bool text_choose(const struct kind *kind, const char *body, struct text_fields *fields,
                 struct acc_error *err)
{
    fields->title = -1;
    if (!choose_body(kind, body, fields, err))
        return false;
    for (size_t f = 0; f < kind->field_count; f++) {
        if ((int)f == fields->body || kind->fields[f].is_nullable)
            continue;
        if (!is_text(&kind->fields[f]) || fields->title >= 0)
            return acc_fail(err, ACC_EINPUT, "a text file cannot fill field \"%s\" of kind \"%s\"",
                            kind->fields[f].name, kind->name);
        fields->title = (int)f;
    }
    return true;
}

static bool fill(const struct values_target *target, const struct kind *kind,
                 const struct text_fields *fields, const char *name, const char *data, size_t size,
                 struct acc_row *row, struct acc_error *err)
{
    uint64_t given = UINT64_C(1) << fields->body;

    if (fields->title >= 0) {
        given |= UINT64_C(1) << fields->title;
        if (!values_set_text(target, kind, (size_t)fields->title, name, strlen(name), row, err))
            return false;
    }
    return values_set_text(target, kind, (size_t)fields->body, data, size, row, err) &&
           values_complete(kind, given, row, err);
}

bool text_fact(const struct values_target *target, const struct kind *kind,
               const struct text_fields *fields, const char *name, const char *data, size_t size,
               struct acc_error *err)
{
    struct acc_rows *rows = target->rows(target->context, kind);
    struct acc_row *row = rows_add(rows, err);

    if (row == NULL)
        return false;
    if (fill(target, kind, fields, name, data, size, row, err))
        return true;
    rows->count--;
    return false;
}
