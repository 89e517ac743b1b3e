/* Facts in: bodies are handed to the intake; the records of what was sent. Numbers of records are decimal, as strings. */
#include "api/handlers.h"
#include "api/rows.h"

#include "base/hash.h"
#include "ingest_record.h"
#include "tally.h"

#include <stdlib.h>
#include <strings.h>

#define PARTS_MAX 1000000000
#define NAME_MAX_BYTES 1000
#define PG_EPOCH_US INT64_C(946684800000000)

/* Answers */

static void add_number(struct buf *out, const char *name, int64_t value)
{
    char text[24];
    char *at = text + sizeof(text);
    uint64_t rest = (uint64_t)value;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    buf_text(out, name);
    buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

/* Written by hand: it is made for every fact that is sent. */
static void write_answer(const struct intake_answer *answer, struct buf *out)
{
    buf_reset(out);
    if (answer->ingest == 0) {
        buf_text(out, "{\"ingest\":null");
    } else {
        add_number(out, "{\"ingest\":\"", answer->ingest);
        buf_byte(out, '"');
    }
    if (answer->id != NULL) {
        char id[33];

        hex_encode(answer->id, 16, id);
        buf_text(out, ",\"id\":\"");
        buf_add(out, id, 32);
        buf_byte(out, '"');
    }
    add_number(out, ",\"lines\":", answer->lines);
    add_number(out, ",\"new\":", answer->fresh);
    add_number(out, ",\"repeats\":", answer->repeats);
    add_number(out, ",\"refused\":", answer->refused);
    buf_text(out, ",\"errors\":[");
    for (size_t i = 0; i < answer->error_count; i++) {
        const struct intake_error *error = &answer->errors[i];

        if (i > 0)
            buf_byte(out, ',');
        record_error_json(error->line, error->field, error->message, out);
    }
    buf_text(out, "]}");
}

static void answered(void *context, const struct intake_answer *answer)
{
    static struct buf out;
    struct http_request *request = context;
    char seconds[16];

    if (answer->retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%d", answer->retry_after_s);
        http_add_header(request, "Retry-After", seconds);
    }
    if (answer->status >= 400) {
        http_answer_error(request, answer->status, answer->code, answer->field, "%s",
                          answer->message);
        return;
    }
    write_answer(answer, &out);
    http_answer(request, answer->status, "application/json", out.data, out.size);
}

/* Requests */

/* Whether the header's value is word, but for what is behind a semicolon. */
static bool is_word(struct http_text value, const char *word)
{
    size_t size = strlen(word);

    return value.size >= size && strncasecmp(value.at, word, size) == 0 &&
           (value.size == size || value.at[size] == ';' || value.at[size] == ' ');
}

static bool take_format(struct api_call *call, struct intake_request *request)
{
    static const struct {
        const char *type;
        enum intake_format format;
    } types[] = {{"application/json", INTAKE_JSON},
                 {"application/x-ndjson", INTAKE_NDJSON},
                 {"text/csv", INTAKE_CSV},
                 {"text/plain", INTAKE_TEXT}};
    struct http_text type = http_header(call->request, "content-type");

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (is_word(type, types[i].type)) {
            request->format = types[i].format;
            return true;
        }
    }
    http_answer_error(call->request, 415, "bad_content_type", NULL,
                      "wanted Content-Type application/json, application/x-ndjson, text/csv or "
                      "text/plain, got \"%.*s\"",
                      (int)(type.size < 100 ? type.size : 100), type.at);
    return false;
}

static bool take_encoding(struct api_call *call, struct intake_request *request)
{
    struct http_text encoding = http_header(call->request, "content-encoding");

    if (encoding.size == 0 || is_word(encoding, "identity"))
        return true;
    if (is_word(encoding, "gzip") || is_word(encoding, "x-gzip")) {
        request->encoding = INTAKE_GZIP;
        return true;
    }
    http_add_header(call->request, "Accept-Encoding", "gzip, identity");
    http_answer_error(call->request, 415, "bad_content_encoding", NULL,
                      "wanted Content-Encoding gzip or identity, got \"%.*s\"",
                      (int)(encoding.size < 100 ? encoding.size : 100), encoding.at);
    return false;
}

static bool take_query(struct api_call *call, struct intake_request *request)
{
    if (http_raw_query(call->request).size == 0)
        return true;
    if (!api_bool(call, "check", &request->is_check) ||
        !api_int(call, "part", 1, PARTS_MAX, 0, &request->part) ||
        !api_int(call, "parts", 1, PARTS_MAX, 0, &request->parts))
        return false;
    request->name = rows_param(call, "name");
    if (request->name != NULL && strlen(request->name) > NAME_MAX_BYTES) {
        http_answer_error(call->request, 400, "bad_parameter", "name",
                          "name: wanted at most %d bytes", NAME_MAX_BYTES);
        return false;
    }
    if (request->part <= request->parts && (request->part > 0) == (request->parts > 0))
        return true;
    http_answer_error(call->request, 400, "bad_parameter", "part",
                      "wanted part and parts together, and part at most parts");
    return false;
}

void api_facts_post(struct api_call *call)
{
    struct http_text body = http_body(call->request);
    struct intake_request request = {
        .kind = api_part(call, 0),
        .body = body.at,
        .size = body.size,
        .who = http_who(call->request),
        .trace = http_trace(call->request),
        .done = answered,
        .context = call->request,
    };

    if (take_format(call, &request) && take_encoding(call, &request) && take_query(call, &request))
        intake_submit(call->api->intake, &request);
}

/* Records */

/* Of a body that is not at its end: whether its writer is still there to go on. */
#define STATE                                                                                      \
    "CASE WHEN ended THEN 'ended' WHEN EXISTS (SELECT FROM pg_locks k WHERE k.locktype = "         \
    "'advisory' AND k.classid = current_schema()::regnamespace::oid AND k.objid = " EPOCH_OTHER    \
    " + (ingest.id >> 32)) THEN 'taken' ELSE 'cut' END"

#define RECORDS                                                                                    \
    "SELECT id::text, " ROWS_TIME("at") ", who, name, format, kind, bytes, lines, new, repeats, "  \
                                        "refused, nullif(part, 0), nullif(parts, 0), "             \
                                        "nullif(trace, ''), " STATE                                \
                                        ", " ROWS_US("at") "::text || '.' || id FROM ingest "
#define NEWEST "ORDER BY at DESC, id DESC LIMIT $1::int8"

/* The key of a page's last row, "TIME.NUMBER"; false: answered with 400. */
static bool take_key(struct api_call *call, const char *text, int64_t *at_us, int64_t *id)
{
    char *end;

    *at_us = strtoll(text, &end, 10);
    if (end != text && *end == '.') {
        const char *rest = end + 1;

        *id = strtoll(rest, &end, 10);
        if (end != rest && *end == '\0')
            return true;
    }
    http_answer_error(call->request, 400, "bad_parameter", "before",
                      "before: wanted what an earlier page had as \"before\", got \"%.60s\"", text);
    return false;
}

void api_ingests(struct api_call *call)
{
    static struct pg_stmt first = {.sql = RECORDS NEWEST};
    static struct pg_stmt further = {.sql = RECORDS
                                     "WHERE (at, id) < ($2::timestamptz, $3::int8) " NEWEST};
    static const char *const names[] = {
        "id",   "at",       "who",      "name",  "format", "kind",  "#bytes", "#lines",
        "#new", "#repeats", "#refused", "#part", "#parts", "trace", "state",  NULL};
    const char *before = rows_param(call, "before");
    struct pg_args args = {0};
    struct acc_error err;
    int64_t limit, at_us, id;

    if (!api_int(call, "limit", 1, 1000, 25, &limit) ||
        (before != NULL && !take_key(call, before, &at_us, &id)))
        return;
    struct pg *pg = api_reader(call);
    if (pg == NULL)
        return;
    pg_int8(&args, limit);
    if (before != NULL) {
        pg_int8(&args, at_us - PG_EPOCH_US);
        args.types[args.count - 1] = PG_TIMESTAMPTZ;
        pg_int8(&args, id);
    }
    PGresult *res = pg_query(pg, before == NULL ? &first : &further, &args, &err);
    if (res == NULL) {
        http_answer_failure(call->request, &err);
        return;
    }
    bool has_more = PQntuples(res) == limit;
    rows_answer(call, rows_objects(res, names),
                has_more ? pg_get_text(res, (int)limit - 1, 15) : NULL);
    PQclear(res);
}

void api_ingest_errors(struct api_call *call)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT coalesce(errors, '[]')::text FROM ingest WHERE id = $1::int8"};
    const char *number = api_part(call, 0);
    struct pg_args args = {0};
    struct acc_error err;
    char *end;
    int64_t id = strtoll(number, &end, 10);
    bool is_number = end != number && *end == '\0' && number[0] != '-' && number[0] != '+';
    struct pg *pg = is_number ? api_reader(call) : NULL;

    if (is_number && pg == NULL)
        return;
    pg_int8(&args, id);
    PGresult *res = is_number ? pg_query(pg, &stmt, &args, &err) : NULL;
    if (is_number && res == NULL)
        http_answer_failure(call->request, &err);
    else if (res == NULL || PQntuples(res) == 0)
        http_answer_error(call->request, 404, "not_found", NULL, "there is no ingest \"%.40s\"",
                          number);
    else
        rows_answer(call, json_loads(pg_get_text(res, 0, 0), 0, NULL), NULL);
    PQclear(res);
}
