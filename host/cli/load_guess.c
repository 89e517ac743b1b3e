/* Which format a file has, when nobody says. */
#include "cli/load_internal.h"
#include "formats/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t end_size = strlen(end);

    return size > end_size && strcasecmp(name + size - end_size, end) == 0;
}

static enum load_format format_by_name(const char *file)
{
    static const struct {
        const char *end;
        enum load_format format;
    } ends[] = {{".ndjson", LOAD_NDJSON}, {".jsonl", LOAD_NDJSON}, {".json", LOAD_NDJSON},
                {".csv", LOAD_CSV},       {".txt", LOAD_TEXT},     {".md", LOAD_TEXT}};

    static const char *const wraps[] = {".rejected", ".gz", ".zst"};
    char *name = acc_strdup(file);
    enum load_format format = LOAD_AUTO;

    for (size_t i = 0; i < sizeof(wraps) / sizeof(wraps[0]); i++)
        if (ends_with(name, wraps[i]))
            name[strlen(name) - strlen(wraps[i])] = '\0';
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends_with(name, ends[i].end))
            format = ends[i].format;
    free(name);
    return format;
}

/* Whether the first line is made of names of fields. */
static bool is_header(const struct kind *kind, const char *data, size_t size)
{
    const char *end = memchr(data, '\n', size);
    size_t left = end == NULL ? size : (size_t)(end - data);
    char name[KIND_NAME_MAX + 1];

    while (left > 0 && data[left - 1] == '\r')
        left--;
    for (;;) {
        const char *comma = memchr(data, ',', left);
        size_t length = comma == NULL ? left : (size_t)(comma - data);
        size_t quote = length >= 2 && data[0] == '"' && data[length - 1] == '"';

        if (length - 2 * quote >= sizeof(name))
            return false;
        memcpy(name, data + quote, length - 2 * quote);
        name[length - 2 * quote] = '\0';
        if (kind_field(kind, name) < 0)
            return false;
        if (comma == NULL)
            return true;
        data += length + 1;
        left -= length + 1;
    }
}

bool load_guess_format(const struct load *load, const char *file, struct lines *lines,
                       enum load_format *format, struct acc_error *err)
{
    struct text_fields fields;
    struct acc_error why;
    const char *data;
    size_t size;
    size_t blank = 0;

    *format = format_by_name(file);
    if (*format != LOAD_AUTO)
        return true;
    if (!lines_peek(lines, 4096, &data, &size, err))
        return acc_fail_prefix(err, "%s", file);
    while (blank < size && isspace((uint8_t)data[blank]))
        blank++;
    bool is_text = load->kind != NULL && text_choose(load->kind, NULL, &fields, &why);
    if (blank == size ? !is_text : data[blank] == '{')
        *format = LOAD_NDJSON;
    else if (load->kind != NULL && is_header(load->kind, data, size))
        *format = LOAD_CSV;
    else if (is_text)
        *format = LOAD_TEXT;
    else
        return acc_fail(
            err, ACC_EINPUT,
            "%s: neither NDJSON nor CSV with a header of field names: name its --format", file);
    return true;
}
