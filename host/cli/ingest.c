/* accrete ingest: facts from files or stdin. */
#include "ingest.h"

#include "base/clock.h"
#include "base/lines.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/work.h"
#include "formats/csv.h"
#include "formats/ndjson.h"
#include "formats/text.h"

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

enum format { FORMAT_NONE, FORMAT_NDJSON, FORMAT_CSV, FORMAT_TEXT };

/* Where a row came from, so that a refusal at the flush can say so. */
struct origin {
    const char *file; /* borrowed */
    int64_t line;     /* 0: the whole file */
};

/* Origins of the rows of one kind since the last flush. */
struct origins {
    struct origin *rows;
    size_t count, capacity;
};

/* One run of the command. */
struct load {
    struct cli *cli;
    struct work *work;
    struct ingest *ingest;
    struct values_target target;
    const struct kind *kind; /* NULL: each line names it */
    enum format format;      /* NONE: by name and first bytes */
    const char *field;       /* of --field, or NULL */
    struct origins *origins; /* by the kind's index */
    size_t pending;          /* rows since the last flush */
    int64_t lines, refused, files_failed;
    bool is_broken; /* facts could not be written: no use to go on */
    struct ingest_counts counts;
    struct progress progress;
    int64_t bytes_before; /* of files that are done */
};

/* Refusals */

static void refuse(struct load *load, const char *file, int64_t line, const char *message)
{
    load->refused++;
    if (load->refused > REFUSALS_SHOWN + 1)
        return;
    progress_hide(&load->progress);
    if (load->refused == REFUSALS_SHOWN + 1)
        fprintf(stderr, "further refusals are only counted\n");
    else if (line > 0)
        fprintf(stderr, "%s:%" PRId64 ": %s\n", file, line, message);
    else
        fprintf(stderr, "%s: %s\n", file, message);
}

/* A row of the flush contradicts a fact that is there. */
static void refuse_row(void *context, const struct kind *kind, uint32_t row, const char *message)
{
    struct load *load = context;
    const struct origins *origins = &load->origins[kind->index];

    if (row < origins->count)
        refuse(load, origins->rows[row].file, origins->rows[row].line, message);
}

/* Rows on their way */

static struct acc_rows *rows_of(void *context, const struct kind *kind)
{
    struct load *load = context;

    return ingest_rows(load->ingest, kind);
}

static bool flush_rows(struct load *load, struct acc_error *err)
{
    if (load->pending == 0)
        return true;
    load->is_broken = !ingest_flush(load->ingest, &load->counts, refuse_row, load, err);
    if (load->is_broken)
        return false;
    for (size_t k = 0; k < load->work->program.catalog.count; k++)
        load->origins[k].count = 0;
    load->pending = 0;
    return true;
}

/* A reader has added a row. */
static bool added(struct load *load, const struct kind *kind, const char *file, int64_t line,
                  struct acc_error *err)
{
    struct origins *origins = &load->origins[kind->index];
    const struct acc_heap *heap = load->target.heap;

    if (origins->count == origins->capacity) {
        origins->capacity = 2 * origins->capacity + 256;
        origins->rows = acc_realloc(origins->rows, origins->capacity * sizeof(*origins->rows));
    }
    origins->rows[origins->count++] = (struct origin){file, line};
    load->pending++;
    if ((int64_t)load->pending >= load->work->app.settings.ingest.batch_lines ||
        heap->used - heap->start >= FLUSH_BYTES)
        return flush_rows(load, err);
    return true;
}

/* Files */

static bool read_text(struct load *load, const char *file, struct lines *lines,
                      struct acc_error *err)
{
    const char *slash = strrchr(file, '/');
    struct text_fields fields;
    struct acc_error why;
    const char *data;
    size_t size;

    if (load->kind == NULL)
        return acc_fail(err, ACC_EINPUT, "%s: a text file wants a kind: accrete ingest KIND %s",
                        file, file);
    if (!text_choose(load->kind, load->field, &fields, err))
        return false;
    load->lines++;
    if (lines_rest(lines, (size_t)load->target.value_bytes, &data, &size, &why) &&
        text_fact(&load->target, load->kind, &fields, slash == NULL ? file : slash + 1,
                  size == 0 ? "" : data, size, &why))
        return added(load, load->kind, file, 0, err);
    if (why.code != ACC_EINPUT) {
        *err = why;
        return acc_fail_prefix(err, "%s", file);
    }
    refuse(load, file, 0, why.text);
    return true;
}

static bool read_ndjson_line(struct load *load, const char *file, int64_t number, const char *line,
                             size_t size, struct acc_error *err)
{
    const struct kind *kind;
    struct acc_error why;

    if (ndjson_line(&load->target, load->kind, line, size, &kind, &why)) {
        load->lines += kind != NULL;
        return kind == NULL || added(load, kind, file, number, err);
    }
    if (why.code != ACC_EINPUT) {
        *err = why;
        return acc_fail_prefix(err, "%s:%" PRId64, file, number);
    }
    load->lines++;
    refuse(load, file, number, why.text);
    return true;
}

/* first: the line where the record began. */
static bool take_csv(struct load *load, enum csv_result result, const char *file, int64_t first,
                     struct acc_error *why, struct acc_error *err)
{
    switch (result) {
    case CSV_FACT:
        load->lines++;
        return added(load, load->kind, file, first, err);
    case CSV_BAD:
        load->lines++;
        refuse(load, file, first, why->text);
        return true;
    case CSV_FAILED:
        *err = *why;
        return acc_fail_prefix(err, "%s:%" PRId64, file, first);
    case CSV_NONE:
    case CSV_MORE:
        break;
    }
    return true;
}

static void refuse_long(struct load *load, const char *file, const struct lines *lines)
{
    char text[96];

    snprintf(text, sizeof(text), "the line is longer than %zu bytes (ingest.value)",
             lines->line_max);
    load->lines++;
    refuse(load, file, lines->number, text);
}

/* Lines of NDJSON (csv NULL) or CSV. */
static bool read_lines(struct load *load, const char *file, struct lines *lines, struct csv *csv,
                       struct acc_error *err)
{
    const char *line;
    size_t size;
    int64_t first = 1;
    struct acc_error why;

    for (;;) {
        enum lines_result result = lines_next(lines, &line, &size, err);
        bool ok = true;

        if (result == LINES_FAILED)
            return acc_fail_prefix(err, "%s", file);
        if (result == LINES_END)
            break;
        if (result == LINES_TOO_LONG) {
            refuse_long(load, file, lines);
            if (csv != NULL)
                csv->is_open = false;
        } else if (csv == NULL) {
            ok = read_ndjson_line(load, file, lines->number, line, size, err);
        } else {
            first = csv->is_open ? first : lines->number;
            ok = take_csv(load, csv_line(csv, &load->target, line, size, &why), file, first, &why,
                          err);
        }
        if (!ok)
            return false;
        progress_show(&load->progress, load->lines, load->bytes_before + lines->bytes);
    }
    return csv == NULL || take_csv(load, csv_end(csv, &why), file, first, &why, err);
}

static bool read_csv(struct load *load, const char *file, struct lines *lines,
                     struct acc_error *err)
{
    struct csv csv = {.kind = load->kind};

    if (load->kind == NULL)
        return acc_fail(err, ACC_EINPUT, "%s: CSV wants a kind: accrete ingest KIND %s", file,
                        file);
    bool ok = read_lines(load, file, lines, &csv, err);
    csv_clear(&csv);
    return ok;
}

/* Formats */

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t end_size = strlen(end);

    return size > end_size && strcasecmp(name + size - end_size, end) == 0;
}

static enum format format_by_name(const char *file)
{
    static const struct {
        const char *end;
        enum format format;
    } ends[] = {{".ndjson", FORMAT_NDJSON}, {".jsonl", FORMAT_NDJSON}, {".json", FORMAT_NDJSON},
                {".csv", FORMAT_CSV},       {".txt", FORMAT_TEXT},     {".md", FORMAT_TEXT}};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends_with(file, ends[i].end))
            return ends[i].format;
    return FORMAT_NONE;
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

/* By the first bytes: an object is NDJSON, field names are CSV, all else is text where the kind can take it. */
static bool guess_format(const struct load *load, const char *file, struct lines *lines,
                         enum format *format, struct acc_error *err)
{
    struct text_fields fields;
    struct acc_error why;
    const char *data;
    size_t size;
    size_t blank = 0;

    *format = format_by_name(file);
    if (*format != FORMAT_NONE)
        return true;
    if (!lines_peek(lines, 4096, &data, &size, err))
        return acc_fail_prefix(err, "%s", file);
    while (blank < size && isspace((uint8_t)data[blank]))
        blank++;
    bool is_text = load->kind != NULL && text_choose(load->kind, NULL, &fields, &why);
    if (blank == size ? !is_text : data[blank] == '{')
        *format = FORMAT_NDJSON;
    else if (load->kind != NULL && is_header(load->kind, data, size))
        *format = FORMAT_CSV;
    else if (is_text)
        *format = FORMAT_TEXT;
    else
        return acc_fail(
            err, ACC_EINPUT,
            "%s: neither NDJSON nor CSV with a header of field names: name its --format", file);
    return true;
}

static bool read_all(struct load *load, const char *file, int fd, struct acc_error *err)
{
    struct lines lines;
    enum format format = load->format;
    size_t value_bytes = (size_t)load->target.value_bytes;
    bool ok;

    lines_init(&lines, fd, 2 * value_bytes + 65536); /* escapes make a value longer */
    ok = format != FORMAT_NONE || guess_format(load, file, &lines, &format, err);
    if (ok && format == FORMAT_TEXT)
        ok = read_text(load, file, &lines, err);
    else if (ok && format == FORMAT_CSV)
        ok = read_csv(load, file, &lines, err);
    else if (ok)
        ok = read_lines(load, file, &lines, NULL, err);
    load->bytes_before += lines.bytes;
    lines_clear(&lines);
    return ok;
}

static bool read_file(struct load *load, const char *file, struct acc_error *err)
{
    struct stat st;

    if (strcmp(file, "-") == 0)
        return read_all(load, "stdin", STDIN_FILENO, err);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return acc_fail_errno(err, "cannot read \"%s\"", file);
    bool ok = fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode)
                  ? read_all(load, file, fd, err)
                  : acc_fail(err, ACC_EINPUT, "\"%s\": wanted a file, got a folder", file);
    close(fd);
    return ok;
}

/* Bytes of all files together, or 0 when one of them is no plain file. */
static int64_t total_bytes(int argc, char **argv)
{
    int64_t total = 0;

    for (int i = 0; i < argc; i++) {
        struct stat st;

        if ((strcmp(argv[i], "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(argv[i], &st)) != 0 ||
            !S_ISREG(st.st_mode))
            return 0;
        total += st.st_size;
    }
    return total;
}

static bool read_files(struct load *load, int argc, char **argv, struct acc_error *err)
{
    static char *standard_input[] = {"-"};

    if (argc == 0) {
        argc = 1;
        argv = standard_input;
    }
    load->progress.total = total_bytes(argc, argv);
    for (int i = 0; i < argc; i++) {
        if (read_file(load, argv[i], err))
            continue;
        if (load->is_broken)
            return false;
        progress_hide(&load->progress);
        cli_fail(load->cli, err); /* the other files are read all the same */
        load->files_failed++;
    }
    return flush_rows(load, err);
}

/* Result */

static void print_summary(const struct load *load)
{
    double seconds = (double)(clock_us() - load->progress.started_us) / 1e6;
    int64_t rate = (int64_t)((double)load->lines / (seconds > 0 ? seconds : 1e-6));

    if (cli_has(load->cli, "json"))
        printf("{\"lines\":%" PRId64 ",\"new\":%" PRId64 ",\"repeats\":%" PRId64
               ",\"refused\":%" PRId64 ",\"contradictions\":%" PRId64 ",\"files_failed\":%" PRId64
               ",\"seconds\":%.3f}\n",
               load->lines, load->counts.new_facts, load->counts.repeats, load->refused,
               load->counts.contradictions, load->files_failed, seconds);
    else if (!cli_has(load->cli, "quiet"))
        fprintf(stderr, "%s line%s in %.1f s (%s/s): %s new, %s repeats, %s refused\n",
                cli_grouped(load->lines), load->lines == 1 ? "" : "s", seconds, cli_grouped(rate),
                cli_grouped(load->counts.new_facts), cli_grouped(load->counts.repeats),
                cli_grouped(load->refused));
}

/* What was flushed before a failure stays, so the summary is told either way. */
static int ingest_all(struct load *load)
{
    struct acc_error err;

    progress_begin(&load->progress, "lines", !cli_has(load->cli, "quiet"));
    bool ok = read_files(load, load->cli->argc, load->cli->argv, &err);
    progress_hide(&load->progress);
    if (!ok)
        cli_fail(load->cli, &err);
    print_summary(load);
    return cli_flush(load->cli,
                     ok && load->refused + load->files_failed == 0 ? CLI_DONE : CLI_FAILED);
}

/* The first argument is a kind, unless it is the name of a file. */
static bool take_kind(struct load *load, int *exit_code)
{
    struct cli *cli = load->cli;
    struct acc_error err;

    if (cli->argc == 0 || strcmp(cli->argv[0], "-") == 0)
        return true;
    load->kind = values_kind(&load->target, cli->argv[0], &err);
    if (load->kind != NULL) {
        cli->argc--;
        cli->argv++;
        return true;
    }
    if (access(cli->argv[0], F_OK) == 0)
        return true;
    *exit_code = cli_misuse(cli, "%s (and there is no file of that name)", err.text);
    return false;
}

/* --field means text, and must name a field that a text file can fill. */
static bool take_field(struct load *load, int *exit_code)
{
    struct text_fields fields;
    struct acc_error err;

    if (load->kind == NULL) {
        *exit_code = cli_misuse(load->cli, "--field: wanted a kind too");
    } else if (load->format != FORMAT_NONE && load->format != FORMAT_TEXT) {
        *exit_code = cli_misuse(load->cli, "--field goes with --format text only");
    } else if (!text_choose(load->kind, load->field, &fields, &err)) {
        *exit_code = cli_misuse(load->cli, "--field: %s", err.text);
    } else {
        load->format = FORMAT_TEXT;
        return true;
    }
    return false;
}

static bool take_options(struct load *load, int *exit_code)
{
    static const char *const names[] = {"auto", "ndjson", "csv", "text"};
    const char *format = cli_value(load->cli, "format");

    load->field = cli_value(load->cli, "field");
    for (int i = FORMAT_NONE; format != NULL && i <= FORMAT_TEXT; i++)
        if (strcmp(format, names[i]) == 0)
            load->format = (enum format)i;
    if (!take_kind(load, exit_code))
        return false;
    if (load->kind == NULL && (load->format == FORMAT_CSV || load->format == FORMAT_TEXT)) {
        *exit_code = cli_misuse(load->cli, "--format %s: wanted a kind before the files", format);
        return false;
    }
    return load->field == NULL || take_field(load, exit_code);
}

static void clear(struct load *load)
{
    for (size_t k = 0; load->origins != NULL && k < load->work->program.catalog.count; k++)
        free(load->origins[k].rows);
    free(load->origins);
    ingest_free(load->ingest);
}

static int ingest_with(struct load *load)
{
    struct work *work = load->work;
    struct acc_error err;

    load->origins = acc_zalloc((work->program.catalog.count + 1) * sizeof(*load->origins));
    load->ingest = ingest_new(&work->session.pg, &work->program, &work->app.settings, &err);
    if (load->ingest == NULL)
        return cli_fail(load->cli, &err);
    load->target.heap = ingest_heap(load->ingest);
    return ingest_all(load);
}

static int run(struct cli *cli)
{
    struct work work;
    struct load load = {.cli = cli, .work = &work};
    int exit_code;

    if (!work_open(cli, &work, WORK_PROGRAM, &exit_code))
        return exit_code;
    load.target = (struct values_target){
        .catalog = &work.program.catalog,
        .rows = rows_of,
        .context = &load,
        .value_bytes = work.app.settings.ingest.value_bytes,
    };
    if (take_options(&load, &exit_code) && work_connect(cli, &work, WORK_TABLES, &exit_code))
        exit_code = ingest_with(&load);
    clear(&load);
    work_close(&work);
    return exit_code;
}

const struct cli_command cli_ingest = {
    .name = "ingest",
    .summary = "loads facts from files or stdin",
    .usage = "[KIND] [FILE|-]...",
    .help =
        "NDJSON: one object a line, the fields by name; with a member \"kind\" in each line KIND\n"
        "may be left out, so that accrete dump | accrete ingest works. CSV: a line of field "
        "names,\n"
        "then one fact a line. Text: a whole file is one fact; of two text fields the first gets\n"
        "the file's name.\n\n"
        "Facts that are there already are repeats and change nothing, so loading again after a\n"
        "cut is safe. Lines that do not fit are named on stderr, the others are loaded; then the\n"
        "exit code is 1. What is counted as new or repeat is on disk.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "the kind of all facts"},
            {"FILE", CLI_FILE, "files; - or none: stdin"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"format", 'f', CLI_WORD, "FORMAT", .words = "auto ndjson csv text",
             .help = "how the files are written; auto goes by name and first bytes"},
            {"field", 0, CLI_TEXT, "FIELD", .help = "the field that gets the text of a text file"},
            {"quiet", 'q', CLI_SWITCH, .help = "no progress and no summary, only what was refused"},
            {"json", 0, CLI_SWITCH, .help = "the summary as JSON on stdout"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete ingest edge edges.csv", "loads edges; the first line names the fields"},
            {"accrete ingest book /usr/share/common-licenses/GPL-2", "loads a text as one fact"},
            {"accrete dump --app old | accrete ingest --app new", "copies facts"},
            {0},
        },
    .run = run,
};
