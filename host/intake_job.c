/* Reading the body of a request into rows. */
#include "base/log.h"
#include "formats/ndjson.h"
#include "formats/text.h"
#include "intake_internal.h"

#include <jansson.h>
#include <stdlib.h>

#define FLUSH_BYTES (8 << 20)  /* of texts, in one transaction */
#define UNPACK_BYTES (1 << 20) /* at a time */
#define UNPACK_LINES 500       /* what that counts for */
#define SEEN_BYTES (256 << 20) /* of ids that a check remembers: some 10 million facts */
#define GZIP_WINDOW (15 + 16)  /* zlib's way to say: gzip, and no other wrapping */

bool intake_has_room(const struct intake *intake)
{
    const struct acc_heap *heap = intake->target.heap;

    return (int64_t)intake->filling->rows < intake->settings->ingest.batch_lines &&
           heap->used - heap->start < FLUSH_BYTES;
}

/* Groups */

static struct intake_group *add_group(struct intake_side *side, struct intake_job *job,
                                      uint32_t first)
{
    if (side->count == side->capacity) {
        side->capacity = 2 * side->capacity + 64;
        side->groups = acc_realloc(side->groups, side->capacity * sizeof(*side->groups));
    }
    side->groups[side->count] = (struct intake_group){.job = job, .first = first};
    return &side->groups[side->count++];
}

/* A reader has added a row of the group. */
static void add_row(struct intake *intake, struct intake_group *group, const struct kind *kind,
                    int64_t line)
{
    struct intake_side *side = intake->filling;
    struct acc_rows *rows = ingest_rows(intake->ingest, kind);
    struct acc_row *row = rows_at(rows, rows->count - 1);

    ingest_identify(kind, row);
    row->event = (uint32_t)(side->count - 1);
    row->friend_count = (uint32_t)line;
    group->count++;
    side->rows++;
}

/* What the record of plain facts says of them all. */
static void add_plain(struct intake *intake, const struct intake_job *job)
{
    struct intake_side *side = intake->filling;
    const struct buf *who = &intake->who;

    if (side->plain++ == 0) {
        side->plain_kind = job->kind;
        buf_reset(&side->plain_who);
        buf_add(&side->plain_who, who->data, who->size);
    } else if (side->plain_kind != job->kind) {
        side->plain_kind = NULL;
    }
    if (side->plain_who.size != who->size ||
        memcmp(side->plain_who.data, who->data, who->size) != 0)
        buf_reset(&side->plain_who);
    side->plain_bytes += (int64_t)job->size;
}

/* Facts */

/* Whether a body is JSON at all, when its fact was refused. */
static bool is_json(const char *text, size_t size)
{
    json_error_t why;
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);

    json_decref(value);
    return value != NULL;
}

static void refuse_fact(struct intake *intake, struct intake_job *job, const char *text,
                        size_t size, const struct acc_error *why)
{
    char field[64];
    bool has_field = record_field(why->text, field, sizeof(field));

    if (why->code != ACC_EINPUT) {
        intake_refuse(intake, job, 503, "busy", NULL, "%s", why->text);
    } else if (!is_json(text, size)) {
        intake_refuse(intake, job, 400, "bad_json", NULL, "%s", why->text);
    } else if (job->more == NULL || job->is_check) {
        intake_refuse(intake, job, 422, "bad_fact", has_field ? field : NULL, "%s", why->text);
    } else { /* its record says so */
        record_errors_add(&intake_share(intake, intake->filling, job)->bad, 1, why->text);
        add_group(intake->filling, job, 0)->is_last = true;
    }
}

void intake_read_fact(struct intake *intake, struct intake_job *job)
{
    const char *text = job->more == NULL ? job->body : job->more->text;
    size_t size = job->more == NULL ? job->size : job->more->size;
    const struct kind *of;
    struct acc_error err;

    if (!ndjson_line(&intake->target, job->kind, text, size, &of, &err)) {
        refuse_fact(intake, job, text, size, &err);
        return;
    }
    uint32_t last = ingest_rows(intake->ingest, of)->count - 1;
    struct intake_group *group = add_group(intake->filling, job, last);

    group->is_last = true;
    add_row(intake, group, of, 1);
    if (job->more == NULL)
        add_plain(intake, job);
}

/* Unpacking */

/* A piece of it. false: refused. */
static bool unpack(struct intake *intake, struct intake_job *job)
{
    struct intake_more *more = job->more;
    z_stream *gzip = &more->gzip;

    if (!more->is_open) {
        gzip->next_in = (Bytef *)job->body;
        gzip->avail_in = (uInt)job->size;
        if (inflateInit2(gzip, GZIP_WINDOW) != Z_OK)
            abort(); /* out of memory, or another zlib than we were built with */
        more->is_open = true;
    }
    buf_reserve(&more->unpacked, UNPACK_BYTES);
    gzip->next_out = (Bytef *)more->unpacked.data + more->unpacked.size;
    gzip->avail_out = UNPACK_BYTES;
    int result = inflate(gzip, Z_NO_FLUSH);
    more->unpacked.size += UNPACK_BYTES - gzip->avail_out;
    more->unpacked.data[more->unpacked.size] = '\0';
    if ((int64_t)more->unpacked.size > intake->limits.unpacked_bytes) {
        intake_refuse(intake, job, 413, "too_large", NULL,
                      "unpacked the body is longer than %lld bytes (http.unpacked)",
                      (long long)intake->limits.unpacked_bytes);
        return false;
    }
    if (result == Z_STREAM_END && gzip->avail_in > 0) {
        inflateReset(gzip);
        return true;
    }
    if (result == Z_STREAM_END) {
        more->text = more->unpacked.data;
        more->size = more->unpacked.size;
        more->is_gzip = false;
        return true;
    }
    if (result == Z_OK && (gzip->avail_in > 0 || gzip->avail_out == 0))
        return true;
    bool is_cut = result == Z_OK || result == Z_BUF_ERROR;
    intake_refuse(intake, job, 400, "bad_gzip", NULL,
                  is_cut ? "the gzip data is cut" : "damaged gzip data: %s",
                  gzip->msg == NULL ? "unknown" : gzip->msg);
    return false;
}

/* Bodies */

static size_t blanks(const char *text, size_t size)
{
    size_t n = 0;

    while (n < size && strchr(" \t\r\n", text[n]) != NULL && text[n] != '\0')
        n++;
    return n;
}

/* false: refused. */
static bool open_json(struct intake *intake, struct intake_job *job)
{
    struct intake_more *more = job->more;
    size_t skip = blanks(more->text, more->size);
    char first = skip < more->size ? more->text[skip] : '\0';
    struct acc_error err;

    if (first == '{') {
        job->is_fact = true;
        return true;
    }
    if (first != '[') {
        intake_refuse(intake, job, 400, "bad_json", NULL,
                      "wanted a JSON object or an array of objects%s",
                      skip == more->size ? ", got nothing" : "");
        return false;
    }
    if (!body_check_array(more->text, more->size, &err)) {
        intake_refuse(intake, job, 400, "bad_json", NULL, "%s", err.text);
        return false;
    }
    body_init_array(&more->body, &intake->target, job->kind, more->text, more->size);
    return true;
}

static void open_lines(struct intake *intake, struct intake_job *job)
{
    struct intake_more *more = job->more;
    bool is_csv = job->format == INTAKE_CSV;

    more->memory = (struct body_memory){.data = more->text, .size = more->size};
    lines_init_reader(&more->lines, body_memory_read, &more->memory,
                      2 * (size_t)intake->settings->ingest.value_bytes + 65536);
    body_init_lines(&more->body, is_csv ? BODY_CSV : BODY_NDJSON, &intake->target, job->kind,
                    &more->lines, NULL, 0);
}

/* The whole text as one fact. true: it is gathered, or answered. */
static bool read_text(struct intake *intake, struct intake_job *job)
{
    struct intake_more *more = job->more;
    struct text_fields fields;
    struct acc_error err;

    if (!text_choose(job->kind, NULL, &fields, &err)) {
        intake_refuse(intake, job, 415, "bad_type", NULL,
                      "kind \"%s\" takes no text/plain: wanted a kind with one text field (and "
                      "perhaps another for the name), and no other that is not nullable",
                      job->kind->name);
        return true;
    }
    if (fields.title >= 0 && more->name[0] == '\0') {
        intake_refuse(intake, job, 400, "bad_parameter", "name",
                      "wanted the parameter name=, for field \"%s\"",
                      job->kind->fields[fields.title].name);
        return true;
    }
    if (more->parts > 1) {
        intake_refuse(intake, job, 400, "bad_parameter", "parts",
                      "text is one fact, and cannot be sent in parts");
        return true;
    }
    struct intake_group *group = add_group(intake->filling, job, 0);
    group->is_last = true;
    if (text_fact(&intake->target, job->kind, &fields, more->name, more->text, more->size, &err)) {
        group->first = ingest_rows(intake->ingest, job->kind)->count - 1;
        add_row(intake, group, job->kind, 1);
    } else {
        record_errors_add(&intake_share(intake, intake->filling, job)->bad, 1, err.text);
    }
    return true;
}

/* Sets the reader up. true: the request is ended already. */
static bool begin(struct intake *intake, struct intake_job *job)
{
    struct intake_more *more = job->more;

    more->is_reading = true;
    if (job->is_check && more->seen == NULL)
        more->seen = seen_new(SEEN_BYTES);
    if (job->format == INTAKE_TEXT)
        return read_text(intake, job);
    if (job->format != INTAKE_JSON) {
        open_lines(intake, job);
        return false;
    }
    if (!open_json(intake, job))
        return true;
    if (job->is_fact)
        intake_read_fact(intake, job);
    return job->is_fact;
}

/* Takes facts of a body. true: it is ended. */
static bool read_on(struct intake *intake, struct intake_job *job, int64_t *lines_left)
{
    struct intake_more *more = job->more;
    const struct acc_rows *rows = ingest_rows(intake->ingest, job->kind);
    struct intake_group *group = add_group(intake->filling, job, rows->count);
    struct record_errors *bad = &intake_share(intake, intake->filling, job)->bad;
    int64_t bad_before = bad->total;
    struct acc_error err;

    while (*lines_left > 0 && intake_has_room(intake)) {
        enum body_result result = body_next(&more->body, &err);

        --*lines_left;
        if (result == BODY_FACT) {
            add_row(intake, group, job->kind, more->body.line);
        } else if (result == BODY_BAD) {
            record_errors_add(bad, more->body.line, err.text);
        } else if (result == BODY_END) {
            group->is_last = true;
            buf_clear(&more->unpacked);
            return true;
        } else if (result == BODY_FAILED) { /* no usable header: nothing of it was gathered */
            intake->filling->count--;
            intake_refuse(intake, job, 400, "bad_csv", NULL, "%s", err.text);
            return true;
        }
    }
    if (group->count == 0 && bad->total == bad_before)
        intake->filling->count--;
    return false;
}

bool intake_read_bulk(struct intake *intake, struct intake_job *job, int64_t *lines_left)
{
    while (job->more->is_gzip) {
        if (*lines_left <= 0)
            return false;
        *lines_left -= UNPACK_LINES;
        if (!unpack(intake, job))
            return true;
    }
    if (!job->more->is_reading && begin(intake, job))
        return true;
    return read_on(intake, job, lines_left);
}

void intake_more_free(struct intake_more *more)
{
    if (more == NULL)
        return;
    if (more->is_open)
        inflateEnd(&more->gzip);
    body_clear(&more->body);
    lines_clear(&more->lines);
    buf_clear(&more->unpacked);
    seen_free(more->seen);
    record_errors_clear(&more->errors);
    for (int i = 0; i < 2; i++)
        record_errors_clear(&more->shares[i].bad);
    free(more->who);
    free(more->name);
    free(more->trace);
    free(more);
}
