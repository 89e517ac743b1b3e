#include "ingest_record.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "formats/dump_json.h"

#include <stdlib.h>

#define PG_EPOCH_US INT64_C(946684800000000)

/* Errors */

bool record_field(const char *message, char *field, size_t size)
{
    const char *start = strstr(message, "field \"");

    if (start == NULL)
        return false;
    start += strlen("field \"");
    size_t length = strcspn(start, "\"");
    if (start[length] != '"' || length >= size)
        return false;
    memcpy(field, start, length);
    field[length] = '\0';
    return true;
}

/* text with a question mark for each byte that is no UTF-8. Caller frees. */
static char *mended(const char *text)
{
    char *copy = acc_strdup(text);
    size_t size = strlen(copy);

    for (size_t at = 0; (at += utf8_valid_prefix(copy + at, size - at)) < size;)
        copy[at] = '?';
    return copy;
}

void record_errors_add(struct record_errors *errors, int64_t line, const char *message)
{
    char field[64];

    errors->total++;
    if (errors->count == RECORD_ERRORS_MAX)
        return;
    if (errors->count == errors->capacity) {
        errors->capacity = 2 * errors->capacity + 4;
        errors->list = acc_realloc(errors->list, errors->capacity * sizeof(*errors->list));
    }
    errors->list[errors->count++] = (struct record_error){
        .line = line > 0 ? line : 1,
        .field = record_field(message, field, sizeof(field)) ? mended(field) : NULL,
        .message = mended(message),
    };
}

void record_errors_join(struct record_errors *errors, const struct record_errors *more)
{
    for (size_t i = 0; i < more->count; i++)
        record_errors_add(errors, more->list[i].line, more->list[i].message);
    errors->total += more->total - (int64_t)more->count; /* those it had not kept */
}

void record_errors_clear(struct record_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        free(errors->list[i].field);
        free(errors->list[i].message);
    }
    free(errors->list);
    *errors = (struct record_errors){0};
}

void record_error_json(int64_t line, const char *field, const char *message, struct buf *out)
{
    buf_printf(out, "{\"line\":%lld", (long long)line);
    if (field != NULL) {
        buf_text(out, ",\"field\":");
        dump_json_text(out, field, strlen(field));
    }
    buf_text(out, ",\"message\":");
    dump_json_text(out, message, strlen(message));
    buf_byte(out, '}');
}

void record_errors_json(const struct record_errors *errors, struct buf *out)
{
    for (size_t i = 0; i < errors->count; i++) {
        const struct record_error *error = &errors->list[i];

        buf_byte(out, i == 0 ? '[' : ',');
        record_error_json(error->line, error->field, error->message, out);
    }
    buf_text(out, errors->count == 0 ? "[]" : "]");
}

/* Rows */

enum { NUMBERS = 11, TEXTS = 6 };

static void add_text(struct buf *column, const char *text)
{
    char *copy;

    if (text == NULL) {
        pg_array_null(column);
        return;
    }
    copy = mended(text);
    pg_array_add(column, copy, strlen(copy));
    free(copy);
}

bool ingest_records_send(struct pg *pg, const struct ingest_record *records, size_t count,
                         struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql =
            "INSERT INTO ingest (at, id, batch, bytes, lines, new, repeats, refused, part, "
            "parts, first_batch, ended, who, name, format, kind, trace, errors) "
            "SELECT $1::timestamptz, u.id, u.batch, u.bytes, u.lines, u.new, u.repeats, "
            "u.refused, u.part, u.parts, nullif(u.first_batch, 0), u.open = 0, u.who, u.name, "
            "u.format, u.kind, u.trace, u.errors::jsonb "
            "FROM unnest($2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], "
            "$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::text[], "
            "$14::text[], $15::text[], $16::text[], $17::text[], $18::text[]) AS u(id, batch, "
            "bytes, lines, new, repeats, refused, part, parts, first_batch, open, who, name, "
            "format, kind, trace, errors) "
            "ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, lines = excluded.lines, "
            "new = excluded.new, repeats = excluded.repeats, refused = excluded.refused, "
            "ended = excluded.ended, errors = excluded.errors"};
    static struct buf column[NUMBERS + TEXTS];
    struct pg_args args = {0};

    for (size_t c = 0; c < NUMBERS + TEXTS; c++) {
        buf_reset(&column[c]);
        pg_array_begin(&column[c], c < NUMBERS ? PG_INT8 : PG_TEXT);
    }
    for (size_t i = 0; i < count; i++) {
        const struct ingest_record *r = &records[i];
        const int64_t numbers[NUMBERS] = {r->id,    r->batch,       r->bytes,   r->lines,
                                          r->fresh, r->repeats,     r->refused, r->part,
                                          r->parts, r->first_batch, r->is_open};
        const char *const texts[] = {r->who, r->name, r->format, r->kind, r->trace, r->errors};

        for (size_t c = 0; c < NUMBERS; c++)
            pg_array_int8(&column[c], numbers[c]);
        for (size_t c = 0; c < TEXTS; c++)
            add_text(&column[NUMBERS + c], texts[c]);
    }
    pg_int8(&args, clock_wall_us() - PG_EPOCH_US);
    args.types[args.count - 1] = PG_TIMESTAMPTZ;
    for (size_t c = 0; c < NUMBERS + TEXTS; c++) {
        pg_array_end(&column[c], 0);
        pg_array(&args, c < NUMBERS ? PG_INT8_ARRAY : PG_TEXT_ARRAY, &column[c]);
    }
    return pg_send(pg, &stmt, &args, err);
}
