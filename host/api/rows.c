#include "api/rows.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static json_t *value_of(const PGresult *res, int row, int column, char form)
{
    if (PQgetisnull(res, row, column))
        return json_null();
    if (form == '#')
        return json_integer(pg_get_int8(res, row, column));
    if (form == '{')
        return json_loads(pg_get_text(res, row, column), JSON_DECODE_ANY, NULL);
    return json_string(pg_get_text(res, row, column));
}

json_t *rows_object(const PGresult *res, int row, const char *const *names)
{
    json_t *object = json_object();

    for (int c = 0; names[c] != NULL; c++) {
        bool has_form = names[c][0] == '#' || names[c][0] == '{';

        json_object_set_new(object, names[c] + has_form, value_of(res, row, c, names[c][0]));
    }
    return object;
}

json_t *rows_objects(const PGresult *res, const char *const *names)
{
    json_t *list = json_array();

    for (int r = 0; r < PQntuples(res); r++)
        json_array_append_new(list, rows_object(res, r, names));
    return list;
}

double rows_took_ms(const struct api_call *call)
{
    return (double)(clock_us() - http_started_us(call->request)) / 1000;
}

void rows_answer(struct api_call *call, json_t *rows, const char *before)
{
    http_answer_json(call->request, 200,
                     json_pack("{s:o, s:s?, s:n, s:f}", "rows", rows, "before", before, "after",
                               "took_ms", rows_took_ms(call)));
}

const char *rows_param(struct api_call *call, const char *name)
{
    size_t place = 0;

    return http_query(call->request, name, &place);
}

bool rows_number(const char **at, char end, int64_t *value)
{
    size_t digits = strspn(*at, "0123456789");

    if (digits == 0 || digits > 18 || (*at)[digits] != end)
        return false;
    *value = strtoll(*at, NULL, 10);
    *at += digits + (end != '\0');
    return true;
}
