#include "ingest_body.h"

#include "formats/ndjson.h"

#include <stdio.h>
#include <string.h>

void body_init_lines(struct body *body, enum body_format format, const struct values_target *target,
                     const struct kind *kind, struct lines *lines, struct csv_name *names,
                     size_t name_count)
{
    *body = (struct body){.format = format,
                          .target = target,
                          .kind = kind,
                          .lines = lines,
                          .csv = {.kind = kind, .names = names, .name_count = name_count},
                          .line = 1};
}

void body_init_array(struct body *body, const struct values_target *target, const struct kind *kind,
                     const char *text, size_t size)
{
    const char *start = memchr(text, '[', size);

    *body = (struct body){
        .format = BODY_ARRAY, .target = target, .kind = kind, .at = start + 1, .end = text + size};
}

void body_clear(struct body *body)
{
    csv_clear(&body->csv);
    buf_clear(&body->record);
}

/* Arrays */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

/* Behind the string whose opening quote is at; NULL: it is never closed. */
static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : NULL;
}

/* Behind the value at, by brackets and quotes alone; NULL: it is cut. */
static const char *value_end(const char *at, const char *end)
{
    int64_t depth = 0;

    while (at < end) {
        char c = *at;

        if (c == '"') {
            at = string_end(at, end);
            if (at == NULL)
                return NULL;
            if (depth == 0)
                return at;
            continue;
        }
        if (depth == 0 && (c == ',' || c == ']' || c == '}' || is_blank(c)))
            return at;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
        if (depth == 0 && (c == '}' || c == ']'))
            return at;
    }
    return NULL;
}

bool body_check_array(const char *text, size_t size, struct acc_error *err)
{
    const char *end = text + size;
    const char *at = skip_blanks(text, end);
    int64_t count = 0;

    at = skip_blanks(at + 1, end);
    bool is_empty = at < end && *at == ']';
    while (!is_empty) {
        const char *value = at;

        count++;
        at = value_end(at, end);
        if (at == NULL)
            return acc_fail(err, ACC_EINPUT, "not JSON: element %lld of the array is cut",
                            (long long)count);
        if (at == value)
            return acc_fail(err, ACC_EINPUT, "not JSON: element %lld of the array is empty",
                            (long long)count);
        at = skip_blanks(at, end);
        if (at == end)
            return acc_fail(err, ACC_EINPUT, "not JSON: the array is never closed");
        if (*at == ']')
            break;
        if (*at != ',')
            return acc_fail(err, ACC_EINPUT,
                            "not JSON: wanted a comma or ] behind element %lld of the array",
                            (long long)count);
        at = skip_blanks(at + 1, end);
    }
    if (skip_blanks(at + 1, end) != end)
        return acc_fail(err, ACC_EINPUT, "not JSON: there is more behind the array");
    return true;
}

static enum body_result next_element(struct body *body, struct acc_error *err)
{
    const char *at = skip_blanks(body->at, body->end);

    if (*at == ',')
        at = skip_blanks(at + 1, body->end);
    if (*at == ']')
        return BODY_END;
    const char *end = value_end(at, body->end);
    body->at = end;
    body->line = ++body->elements;
    body->text = at;
    body->size = (size_t)(end - at);
    if (ndjson_line(body->target, body->kind, at, body->size, &body->of, err))
        return BODY_FACT;
    return err->code == ACC_EINPUT ? BODY_BAD : BODY_FAILED;
}

/* Lines */

static enum body_result ndjson_next(struct body *body, struct acc_error *err)
{
    if (ndjson_line(body->target, body->kind, body->text, body->size, &body->of, err))
        return body->of != NULL ? BODY_FACT : BODY_NONE;
    return err->code == ACC_EINPUT ? BODY_BAD : BODY_FAILED;
}

static enum body_result of_csv(struct body *body, enum csv_result result)
{
    body->of = body->kind;
    switch (result) {
    case CSV_FACT:
        return BODY_FACT;
    case CSV_BAD:
        return BODY_BAD;
    case CSV_FAILED:
        return BODY_FAILED;
    case CSV_NONE:
    case CSV_MORE:
        break;
    }
    return BODY_NONE;
}

/* One line of CSV. A record of several is kept together, and begins where its first line does. */
static enum body_result csv_next(struct body *body, const char *line, size_t size,
                                 struct acc_error *err)
{
    struct csv *csv = &body->csv;
    bool was_open = csv->cells.is_open;
    bool had_header = csv->column_count > 0;
    enum csv_result result = csv_line(csv, body->target, line, size, err);

    if (!was_open) {
        body->line = body->lines->number;
        buf_reset(&body->record);
    }
    body->text = line;
    body->size = size;
    if (was_open || result == CSV_MORE) {
        if (was_open)
            buf_byte(&body->record, '\n');
        buf_add(&body->record, line, size);
        body->text = body->record.data;
        body->size = body->record.size;
    }
    enum body_result is = of_csv(body, result);
    return is == BODY_NONE && !had_header && csv->column_count > 0 ? BODY_HEADER : is;
}

static enum body_result next_line(struct body *body, struct acc_error *err)
{
    const char *line;
    size_t size;

    switch (lines_next(body->lines, &line, &size, err)) {
    case LINES_FAILED:
        body->line = 0;
        return BODY_FAILED;
    case LINES_END:
        return BODY_END;
    case LINES_TOO_LONG:
        body->csv.cells.is_open = false;
        body->line = body->lines->number;
        body->text = NULL;
        body->size = 0;
        acc_fail(err, ACC_EINPUT, "the line is longer than %zu bytes (ingest.value)",
                 body->lines->line_max);
        return BODY_BAD;
    case LINES_ONE:
        break;
    }
    if (body->format == BODY_CSV)
        return csv_next(body, line, size, err);
    body->line = body->lines->number;
    body->text = line;
    body->size = size;
    return ndjson_next(body, err);
}

enum body_result body_next(struct body *body, struct acc_error *err)
{
    if (body->format == BODY_ARRAY)
        return next_element(body, err);
    enum body_result result = next_line(body, err);
    if (result != BODY_END || body->format != BODY_CSV)
        return result;
    enum csv_result end = csv_end(&body->csv, err);
    body->csv.cells.is_open = false; /* told once */
    return end == CSV_NONE ? BODY_END : of_csv(body, end);
}

ptrdiff_t body_memory_read(void *context, char *data, size_t size, struct acc_error *err)
{
    struct body_memory *memory = context;
    size_t left = memory->size - memory->at;
    size_t taken = left < size ? left : size;

    (void)err;
    memcpy(data, memory->data + memory->at, taken);
    memory->at += taken;
    return (ptrdiff_t)taken;
}
