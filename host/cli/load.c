#include "cli/load.h"

#include "base/lines.h"
#include "formats/text.h"
#include "formats/unpack.h"
#include "ingest_body.h"
#include "ingest_record.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_BYTES (8 << 20) /* texts gathered before they are written */
#define REFUSALS_SHOWN 1000   /* the rest is only counted */

/* A file being read, or read. */
struct load_source {
    const char *name; /* borrowed; as messages call it */
    struct rejected own;
    struct rejected *rejected; /* own, or the shared one; NULL: its refused lines are not kept */

    /* For its record: */
    const char *format; /* NULL: nothing was read of it */
    int64_t bytes, lines, refused;
    int64_t fresh, repeats;
    int64_t pending; /* rows of it that are not written yet */
    bool is_ended;
    bool is_sent, is_recorded; /* its record: with the transaction under way; on disk */
    struct record_errors errors;
};

/* Where a row came from, so that a refusal when it is written can say so. */
struct origin {
    struct load_source *source;
    int64_t line;    /* 0: the whole file */
    size_t at, size; /* its text in the side's lines */
};

/* Origins of the rows of one kind. */
struct origins {
    struct origin *rows;
    size_t count, capacity;
};

/* Rows gathered for one write; while one is written the next is gathered. */
struct load_side {
    struct load *load;
    struct buf lines;
    struct origins origins[]; /* by the kind's index */
};

/* A line or record as it came. */
struct raw {
    struct load_source *source;
    int64_t line; /* where it began */
    const char *data;
    size_t size;
};

/* Refusals */

static void keep(struct load *load, const struct raw *raw)
{
    struct acc_error err;

    if (raw->data == NULL || raw->source->rejected == NULL ||
        rejected_keep(&load->out, raw->source->rejected, raw->data, raw->size, &err))
        return;
    progress_hide(&load->progress);
    cli_fail(load->cli, &err);
}

static void refuse(struct load *load, const struct raw *raw, const char *message)
{
    keep(load, raw);
    record_errors_add(&raw->source->errors, raw->line, message);
    raw->source->refused++;
    load->refused++;
    if (load->refused > REFUSALS_SHOWN + 1)
        return;
    progress_hide(&load->progress);
    if (load->refused == REFUSALS_SHOWN + 1)
        fprintf(stderr, "further refusals are only counted\n");
    else if (raw->line > 0)
        fprintf(stderr, "%s:%" PRId64 ": %s\n", raw->source->name, raw->line, message);
    else
        fprintf(stderr, "%s: %s\n", raw->source->name, message);
}

/* A row contradicts a fact that is there. */
static void refuse_row(void *context, const struct kind *kind, const struct acc_row *row,
                       uint32_t number, const char *message)
{
    const struct load_side *side = context;
    const struct origins *origins = &side->origins[kind->index];

    (void)row;
    if (number >= origins->count)
        return;
    const struct origin *origin = &origins->rows[number];
    struct raw raw = {
        .source = origin->source,
        .line = origin->line,
        .data = origin->line == 0 ? NULL : side->lines.data + origin->at,
        .size = origin->size,
    };
    refuse(side->load, &raw, message);
}

/* Records */

/* Whether nothing more becomes of a file, and its record is to be written. */
static bool is_due(const struct load_source *source)
{
    return source->is_ended && source->pending == 0 && !source->is_recorded;
}

static size_t due_count(const struct load *load)
{
    size_t count = 0;

    for (size_t i = 0; i < load->source_count; i++)
        count += is_due(load->sources[i]);
    return count;
}

/* Sends the records of files whose facts are written, along with those of others. */
static bool send_records(void *context, struct pg *pg, int64_t batch_id, struct acc_error *err)
{
    struct load *load = ((struct load_side *)context)->load;
    size_t due = due_count(load);
    size_t count = 0;

    if (due == 0)
        return true;
    struct ingest_record *records = acc_zalloc(due * sizeof(*records));
    struct buf *errors = acc_zalloc(due * sizeof(*errors));
    for (size_t i = 0; i < load->source_count; i++) {
        struct load_source *source = load->sources[i];

        source->is_sent = is_due(source);
        if (!source->is_sent)
            continue;
        if (source->errors.count > 0)
            record_errors_json(&source->errors, &errors[count]);
        records[count] = (struct ingest_record){
            .id = ingest_number(load->ingest),
            .who = load->who,
            .name = source->name,
            .format = source->format,
            .kind = load->kind == NULL ? "" : load->kind->name,
            .trace = "",
            .bytes = source->bytes,
            .lines = source->lines,
            .fresh = source->fresh,
            .repeats = source->repeats,
            .refused = source->refused,
            .errors = errors[count].data,
        };
        count++;
    }
    bool ok = ingest_records_send(pg, records, count, batch_id, err);
    for (size_t i = 0; i < due; i++)
        buf_clear(&errors[i]);
    free(errors);
    free(records);
    return ok;
}

/* The rows of a side are written: the records sent with them are, and its files know their facts. */
static void account(void *context)
{
    struct load_side *side = context;
    struct load *load = side->load;

    for (size_t i = 0; i < load->source_count; i++) {
        struct load_source *source = load->sources[i];

        if (!source->is_sent)
            continue;
        source->is_sent = false;
        source->is_recorded = true;
        record_errors_clear(&source->errors);
    }
    for (size_t k = 0; k < load->catalog->count; k++) {
        const struct acc_rows *rows = ingest_started(load->ingest, load->catalog->kinds[k]);

        for (uint32_t i = 0; i < rows->count; i++) {
            struct load_source *source = side->origins[k].rows[i].source;

            source->pending--;
            source->fresh += rows_at(rows, i)->flags == INGEST_NEW;
            source->repeats += rows_at(rows, i)->flags == INGEST_REPEAT;
        }
    }
}

/* Rows on their way */

static struct acc_rows *rows_of(void *context, const struct kind *kind)
{
    struct load *load = context;

    return ingest_rows(load->ingest, kind);
}

static bool write_rows(struct load *load, struct acc_error *err)
{
    struct ingest_calls calls = {
        .refused = refuse_row,
        .with = load->seen == NULL ? send_records : NULL,
        .done = account,
        .context = load->filling,
        .seen = load->seen,
    };

    if (load->pending == 0 && (load->seen != NULL || due_count(load) == 0))
        return true;
    load->is_broken = !ingest_start(load->ingest, &load->counts, &calls, err);
    if (load->is_broken)
        return false;
    load->filling = load->filling == load->sides[0] ? load->sides[1] : load->sides[0];
    for (size_t k = 0; k < load->catalog->count; k++)
        load->filling->origins[k].count = 0;
    buf_reset(&load->filling->lines);
    load->target.heap = ingest_heap(load->ingest);
    load->pending = 0;
    return true;
}

/* A reader has added a row. */
static bool added(struct load *load, const struct kind *kind, const struct raw *raw,
                  struct acc_error *err)
{
    struct load_side *side = load->filling;
    struct origins *origins = &side->origins[kind->index];
    const struct acc_heap *heap = load->target.heap;

    if (origins->count == origins->capacity) {
        origins->capacity = 2 * origins->capacity + 256;
        origins->rows = acc_realloc(origins->rows, origins->capacity * sizeof(*origins->rows));
    }
    origins->rows[origins->count++] =
        (struct origin){raw->source, raw->line, side->lines.size, raw->size};
    if (raw->data != NULL)
        buf_add(&side->lines, raw->data, raw->size);
    load->pending++;
    raw->source->pending++;
    if ((int64_t)load->pending >= load->batch_lines || heap->used - heap->start >= FLUSH_BYTES ||
        side->lines.size >= FLUSH_BYTES)
        return write_rows(load, err);
    return true;
}

/* Reading cannot go on. */
static bool failed(const struct raw *raw, const struct acc_error *why, struct acc_error *err)
{
    *err = *why;
    return raw->line == 0 ? acc_fail_prefix(err, "%s", raw->source->name)
                          : acc_fail_prefix(err, "%s:%" PRId64, raw->source->name, raw->line);
}

/* A file whose text is one fact, and was not taken: refused when it is the text's fault. */
static bool not_added(struct load *load, const struct raw *raw, const struct acc_error *why,
                      struct acc_error *err)
{
    if (why->code != ACC_EINPUT)
        return failed(raw, why, err);
    refuse(load, raw, why->text);
    return true;
}

/* Formats */

/* The name of the file in its folder, without what it is packed with. */
static char *title_of(const char *file, bool is_packed)
{
    const char *slash = strrchr(file, '/');
    char *title = acc_strdup(slash == NULL ? file : slash + 1);
    char *dot = strrchr(title, '.');

    if (is_packed && dot != NULL && dot != title)
        *dot = '\0';
    return title;
}

static bool read_text(struct load *load, struct load_source *source, struct lines *lines,
                      struct acc_error *err)
{
    struct raw raw = {.source = source};
    struct text_fields fields;
    struct acc_error why;
    const char *data;
    size_t size;

    if (load->kind == NULL)
        return acc_fail(err, ACC_EINPUT, "%s: a text file wants a kind: accrete ingest KIND %s",
                        source->name, source->name);
    if (!text_choose(load->kind, load->field, &fields, err))
        return false;
    load->lines++;
    source->lines++;
    if (!lines_rest(lines, (size_t)load->value_bytes, &data, &size, &why))
        return not_added(load, &raw, &why, err);
    char *title = title_of(source->name, unpack_is_packed(lines->context));
    bool ok =
        text_fact(&load->target, load->kind, &fields, title, size == 0 ? "" : data, size, &why);
    free(title);
    return ok ? added(load, load->kind, &raw, err) : not_added(load, &raw, &why, err);
}

/* Refused lines of several CSV files go into one only when their columns agree. */
static void set_header(struct load *load, struct load_source *source, const struct raw *raw)
{
    struct rejected *rejected = source->rejected;

    if (rejected == NULL)
        return;
    if (!rejected->has_header)
        buf_add(&rejected->header, raw->data, raw->size);
    rejected->has_header = true;
    if (rejected->header.size == raw->size &&
        memcmp(rejected->header.data, raw->data, raw->size) == 0)
        return;
    cli_note(load->cli, "%s: refused lines are not kept, its header is not that of \"%s\"",
             source->name, rejected->path);
    source->rejected = NULL;
}

/* What came last of a body, as it came. */
static struct raw raw_of(struct load_source *source, const struct body *body)
{
    return (struct raw){source, body->line, body->text, body->size};
}

static bool read_body(struct load *load, struct load_source *source, struct body *body,
                      struct acc_error *err)
{
    struct acc_error why;

    for (;;) {
        enum body_result result = body_next(body, &why);
        struct raw raw = raw_of(source, body);
        bool ok = true;

        if (result == BODY_END)
            return true;
        source->lines += result == BODY_FACT || result == BODY_BAD;
        load->lines += result == BODY_FACT || result == BODY_BAD;
        if (result == BODY_FACT)
            ok = added(load, body->of, &raw, err);
        else if (result == BODY_BAD)
            refuse(load, &raw, why.text);
        else if (result == BODY_HEADER)
            set_header(load, source, &raw);
        else if (result == BODY_FAILED)
            return failed(&raw, &why, err);
        if (!ok)
            return false;
        progress_show(&load->progress, load->lines,
                      load->bytes_before + unpack_bytes(body->lines->context));
    }
}

static bool read_lines(struct load *load, struct load_source *source, struct lines *lines,
                       enum body_format format, struct acc_error *err)
{
    struct body body;

    if (format == BODY_CSV && load->kind == NULL)
        return acc_fail(err, ACC_EINPUT, "%s: CSV wants a kind: accrete ingest KIND %s",
                        source->name, source->name);
    body_init_lines(&body, format, &load->target, load->kind, lines, load->names, load->name_count);
    bool ok = read_body(load, source, &body, err);
    body_clear(&body);
    return ok;
}

/* Which format */

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

/*
 * By the first bytes: an object is NDJSON, field names are CSV, all else is text where the kind can
 * take it.
 */
static bool guess_format(const struct load *load, const char *file, struct lines *lines,
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

/* Files */

static const char *const format_names[] = {"", "ndjson", "csv", "text"};

static bool read_all(struct load *load, struct load_source *source, int fd, struct acc_error *err)
{
    struct unpack *unpack = unpack_new(fd);
    struct lines lines;
    enum load_format format = load->format;
    bool ok;

    /* Escapes make a value longer. */
    lines_init_reader(&lines, unpack_read, unpack, 2 * (size_t)load->value_bytes + 65536);
    ok = format != LOAD_AUTO || guess_format(load, source->name, &lines, &format, err);
    source->format = ok ? format_names[format] : NULL;
    if (ok && format == LOAD_TEXT)
        ok = read_text(load, source, &lines, err);
    else if (ok && format == LOAD_CSV)
        ok = read_lines(load, source, &lines, BODY_CSV, err);
    else if (ok)
        ok = read_lines(load, source, &lines, BODY_NDJSON, err);
    if (!ok && !load->is_broken)
        record_errors_add(&source->errors, lines.number, err->text);
    source->bytes = unpack_bytes(unpack);
    source->is_ended = source->format != NULL;
    load->bytes_before += source->bytes;
    lines_clear(&lines);
    unpack_free(unpack);
    return ok;
}

static struct load_source *add_source(struct load *load, const char *file)
{
    struct load_source *source = acc_zalloc(sizeof(*source));
    bool is_stdin = strcmp(file, "-") == 0;
    struct buf path = {0};

    source->name = is_stdin ? "stdin" : file;
    if (load->keeps_rejected && load->rejected != NULL) {
        source->rejected = &load->shared;
    } else if (load->keeps_rejected && !is_stdin) {
        buf_printf(&path, "%s.rejected", file);
        source->own.path = path.data;
        source->rejected = &source->own;
    }
    load->sources =
        acc_realloc(load->sources, (load->source_count + 1) * sizeof(struct load_source *));
    load->sources[load->source_count++] = source;
    return source;
}

static bool is_same_file(const struct stat *st, const char *path)
{
    struct stat other;

    return stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

static bool read_file(struct load *load, const char *file, struct acc_error *err)
{
    struct load_source *source = add_source(load, file);
    bool is_stdin = strcmp(file, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return acc_fail_errno(err, "cannot read \"%s\"", file);
    bool is_known = fstat(fd, &st) == 0;
    bool ok;
    if (is_known && S_ISDIR(st.st_mode))
        ok = acc_fail(err, ACC_EINPUT, "\"%s\": wanted a file, got a folder", file);
    else if (is_known && source->rejected != NULL && is_same_file(&st, source->rejected->path))
        ok = acc_fail(err, ACC_EINPUT, "\"%s\": refused lines would overwrite it", file);
    else
        ok = read_all(load, source, fd, err);
    if (!is_stdin)
        close(fd);
    return ok;
}

/* Bytes of all files together, or 0 when one of them is no plain file. */
static int64_t total_bytes(char *const *files, size_t count)
{
    int64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        struct stat st;

        if ((strcmp(files[i], "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(files[i], &st)) != 0 ||
            !S_ISREG(st.st_mode))
            return 0;
        total += st.st_size;
    }
    return total;
}

static void prepare(struct load *load)
{
    for (int i = 0; i < 2; i++) {
        load->sides[i] =
            acc_zalloc(sizeof(struct load_side) + load->catalog->count * sizeof(struct origins));
        load->sides[i]->load = load;
    }
    load->filling = load->sides[0];
    if (load->rejected != NULL)
        load->shared.path = acc_strdup(load->rejected);
    load->target = (struct values_target){
        .catalog = load->catalog,
        .heap = ingest_heap(load->ingest),
        .rows = rows_of,
        .context = load,
        .value_bytes = load->value_bytes,
    };
}

bool load_files(struct load *load, char *const *files, size_t count, struct acc_error *err)
{
    prepare(load);
    load->progress.total = total_bytes(files, count);
    for (size_t i = 0; i < count; i++) {
        if (read_file(load, files[i], err))
            continue;
        if (load->is_broken)
            return false;
        progress_hide(&load->progress);
        cli_fail(load->cli, err); /* the other files are read all the same */
        load->files_failed++;
    }
    /* The second time for the records of files whose facts came with the first. */
    for (int i = 0; i < 2; i++) {
        if (!write_rows(load, err) || !ingest_finish(load->ingest, &load->counts, err))
            return false;
    }
    return rejected_close(&load->out, err);
}

const struct rejected *load_kept(const struct load *load, size_t n)
{
    if (load->shared.lines > 0)
        return n == 0 ? &load->shared : NULL;
    for (size_t i = 0; i < load->source_count; i++)
        if (load->sources[i]->own.lines > 0 && n-- == 0)
            return &load->sources[i]->own;
    return NULL;
}

static void free_side(const struct load *load, struct load_side *side)
{
    if (side == NULL)
        return;
    for (size_t k = 0; k < load->catalog->count; k++)
        free(side->origins[k].rows);
    buf_clear(&side->lines);
    free(side);
}

void load_clear(struct load *load)
{
    struct acc_error ignored;

    (void)!rejected_close(&load->out, &ignored);
    for (int i = 0; i < 2; i++)
        free_side(load, load->sides[i]);
    for (size_t i = 0; i < load->source_count; i++) {
        rejected_clear(&load->sources[i]->own);
        record_errors_clear(&load->sources[i]->errors);
        free(load->sources[i]);
    }
    free(load->sources);
    rejected_clear(&load->shared);
    buf_clear(&load->record);
}
