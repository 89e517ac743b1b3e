/* Files, one after the other, and the bodies in them. */
#include "cli/load.h"

#include "cli/load_internal.h"
#include "formats/text.h"
#include "formats/unpack.h"
#include "ingest_body.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Formats */

/* Reading cannot go on. */
static bool failed(const struct load_raw *raw, const struct acc_error *why, struct acc_error *err)
{
    *err = *why;
    return raw->line == 0 ? acc_fail_prefix(err, "%s", raw->source->name)
                          : acc_fail_prefix(err, "%s:%" PRId64, raw->source->name, raw->line);
}

/* A file whose text is one fact, and was not taken: refused when it is the text's fault. */
static bool not_added(struct load *load, const struct load_raw *raw, const struct acc_error *why,
                      struct acc_error *err)
{
    if (why->code != ACC_EINPUT)
        return failed(raw, why, err);
    load_refuse(load, raw, why->text);
    return true;
}

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
    struct load_raw raw = {.source = source};
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
    return ok ? load_added(load, load->kind, &raw, err) : not_added(load, &raw, &why, err);
}

/* Refused lines of several CSV files go into one only when their columns agree. */
static void set_header(struct load *load, struct load_source *source, const struct load_raw *raw)
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
static struct load_raw raw_of(struct load_source *source, const struct body *body)
{
    return (struct load_raw){source, body->line, body->text, body->size};
}

static bool read_body(struct load *load, struct load_source *source, struct body *body,
                      struct acc_error *err)
{
    struct acc_error why;

    for (;;) {
        enum body_result result = body_next(body, &why);
        struct load_raw raw = raw_of(source, body);
        bool ok = true;

        if (result == BODY_END)
            return true;
        source->lines += result == BODY_FACT || result == BODY_BAD;
        load->lines += result == BODY_FACT || result == BODY_BAD;
        if (result == BODY_FACT)
            ok = load_added(load, body->of, &raw, err);
        else if (result == BODY_BAD)
            load_refuse(load, &raw, why.text);
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
    ok = format != LOAD_AUTO || load_guess_format(load, source->name, &lines, &format, err);
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
    source->first_batch = ingest_next_batch(load->ingest);
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
        load->sides[i] = acc_zalloc(sizeof(struct load_side) +
                                    load->catalog->count * sizeof(struct load_origins));
        load->sides[i]->load = load;
    }
    load->filling = load->sides[0];
    if (load->rejected != NULL)
        load->shared.path = acc_strdup(load->rejected);
    load->target = (struct values_target){
        .catalog = load->catalog,
        .heap = ingest_heap(load->ingest),
        .rows = load_rows_of,
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
        if (!load_write_rows(load, err) || !ingest_finish(load->ingest, &load->counts, err))
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
