#include "formats/cells.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

void cells_clear(struct cells *cells)
{
    buf_clear(&cells->text);
    free(cells->list);
    *cells = (struct cells){.separator = cells->separator};
}

static struct cell *add_cell(struct cells *cells)
{
    if (cells->count == cells->capacity) {
        cells->capacity = cells->capacity * 2 + 16;
        cells->list = acc_realloc(cells->list, cells->capacity * sizeof(*cells->list));
    }
    struct cell *cell = &cells->list[cells->count++];
    *cell = (struct cell){.at = cells->text.size};
    return cell;
}

static void end_cell(struct cells *cells)
{
    struct cell *cell = &cells->list[cells->count - 1];

    cell->size = cells->text.size - cell->at;
}

/*
 * Text inside quotes from *at on, to the closing quote or the end of the line. True when it was
 * closed.
 */
static bool take_quoted(struct cells *cells, const char *line, size_t size, size_t *at)
{
    while (*at < size) {
        const char *quote = memchr(line + *at, '"', size - *at);
        size_t end = quote == NULL ? size : (size_t)(quote - line);

        buf_add(&cells->text, line + *at, end - *at);
        *at = end + 1;
        if (quote == NULL)
            return false;
        if (*at >= size || line[*at] != '"')
            return true;
        buf_byte(&cells->text, '"');
        (*at)++;
    }
    return false;
}

/* Text without quotes, to the separator or the end of the line. */
static bool take_plain(struct cells *cells, const char *line, size_t size, size_t *at,
                       struct acc_error *err)
{
    const char *separator = memchr(line + *at, cells->separator, size - *at);
    size_t end = separator == NULL ? size : (size_t)(separator - line);

    if (memchr(line + *at, '"', end - *at) != NULL)
        return acc_fail(err, ACC_EINPUT, "a quote inside a value that does not begin with one");
    buf_add(&cells->text, line + *at, end - *at);
    *at = end;
    return true;
}

static bool fail_behind_quote(const struct cells *cells, char got, struct acc_error *err)
{
    char separator[] = {cells->separator, '\0'};

    return acc_fail(err, ACC_EINPUT, "wanted a %s after the closing quote, got \"%c\"",
                    cells->separator == ',' ? "comma" : log_quote(separator), got);
}

/*
 * Cuts a line into cells. False with err when it is not CSV; cells->is_open when it ends inside
 * quotes.
 */
static bool split(struct cells *cells, const char *line, size_t size, struct acc_error *err)
{
    size_t plain_size =
        size > 0 && line[size - 1] == '\r' ? size - 1 : size; /* inside quotes \r is data */
    size_t at = 0;
    bool in_quotes = cells->is_open;

    for (;;) {
        if (!in_quotes) {
            struct cell *cell = add_cell(cells);

            cell->is_quoted = in_quotes = at < plain_size && line[at] == '"';
            at += in_quotes;
        }
        if (in_quotes) {
            cells->is_open = !take_quoted(cells, line, size, &at);
            if (cells->is_open)
                return true;
            in_quotes = false;
        } else if (!take_plain(cells, line, plain_size, &at, err)) {
            return false;
        }
        end_cell(cells);
        if (at >= plain_size)
            return true;
        if (line[at] != cells->separator)
            return fail_behind_quote(cells, line[at], err);
        at++;
    }
}

enum cells_result cells_line(struct cells *cells, const char *line, size_t size,
                             struct acc_error *err)
{
    if (cells->separator == 0)
        cells->separator = ',';
    if (cells->is_open) {
        buf_byte(&cells->text, '\n');
    } else {
        buf_reset(&cells->text);
        cells->count = 0;
        if (size == 0 || (size == 1 && line[0] == '\r'))
            return CELLS_NONE;
        buf_reserve(&cells->text, 1); /* data is never NULL, even when all values are empty */
    }
    if (!split(cells, line, size, err)) {
        cells->is_open = false;
        return CELLS_BAD;
    }
    return cells->is_open ? CELLS_MORE : CELLS_RECORD;
}
