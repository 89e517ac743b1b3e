/* accrete ingest: facts from files or stdin. */
#include "ingest.h"

#include "audit.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/work.h"
#include "formats/text.h"
#include "formats/values.h"

#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_BYTES (INT64_C(1) << 30) /* of ids that a check remembers: some 40 million facts */

/* Result */

static void print_json(const struct load *load, double seconds, bool is_check, bool is_asked)
{
    printf("{\"lines\":%" PRId64 ",\"new\":%" PRId64 ",\"repeats\":%" PRId64 ",\"refused\":%" PRId64
           ",\"contradictions\":%" PRId64 ",\"files_failed\":%" PRId64 ",\"seconds\":%.3f%s%s}\n",
           load->lines, load->counts.new_facts, load->counts.repeats, load->refused,
           load->counts.contradictions, load->files_failed, seconds,
           is_check ? ",\"check\":true" : "",
           !is_check  ? ""
           : is_asked ? ",\"database\":true"
                      : ",\"database\":false");
}

static void print_summary(const struct load *load, bool is_check, bool is_asked)
{
    double seconds = (double)(clock_us() - load->progress.started_us) / 1e6;
    int64_t rate = (int64_t)((double)load->lines / (seconds > 0 ? seconds : 1e-6));

    if (cli_has(load->cli, "json")) {
        print_json(load, seconds, is_check, is_asked);
        return;
    }
    if (cli_has(load->cli, "quiet"))
        return;
    fprintf(stderr, "%s line%s in %.1f s (%s/s): %s %s, %s repeats, %s refused%s\n",
            cli_grouped(load->lines), load->lines == 1 ? "" : "s", seconds, cli_grouped(rate),
            cli_grouped(load->counts.new_facts), is_check && !is_asked ? "different" : "new",
            cli_grouped(load->counts.repeats), cli_grouped(load->refused),
            is_check ? "; nothing is written" : "");
    if (is_check && !is_asked)
        fprintf(stderr, "there is no database to say which facts are known\n");
    const struct rejected *kept;
    for (size_t i = 0; (kept = load_kept(load, i)) != NULL; i++)
        fprintf(stderr, "%s refused line%s in \"%s\"\n", cli_grouped(kept->lines),
                kept->lines == 1 ? " is" : "s are", kept->path);
}

/* What was written before a failure stays, so the summary is told either way. */
static int load_all(struct load *load, char *const *files, size_t count, bool is_asked)
{
    bool is_check = cli_has(load->cli, "check");
    struct acc_error err;

    progress_begin(&load->progress, "lines", !cli_has(load->cli, "quiet"));
    bool ok = load_files(load, files, count, &err);
    progress_hide(&load->progress);
    if (!ok)
        cli_fail(load->cli, &err);
    print_summary(load, is_check, is_asked);
    return cli_flush(load->cli,
                     ok && load->refused + load->files_failed == 0 ? CLI_DONE : CLI_FAILED);
}

/* Arguments */

static bool is_pattern(const char *name)
{
    return strpbrk(name, "*?[") != NULL;
}

/*
 * Files to be read, in order; patterns that the shell has left as they are become the files they
 * stand for.
 */
struct files {
    char **names;
    size_t count;
};

static void add_file(struct files *files, const char *name)
{
    files->names = acc_realloc(files->names, (files->count + 1) * sizeof(char *));
    files->names[files->count++] = acc_strdup(name);
}

static bool expand(struct files *files, const struct cli *cli, struct acc_error *err)
{
    if (cli->argc == 0)
        add_file(files, "-");
    for (int i = 0; i < cli->argc; i++) {
        const char *name = cli->argv[i];
        glob_t found = {0};

        if (!is_pattern(name) || access(name, F_OK) == 0) {
            add_file(files, name);
            continue;
        }
        int result = glob(name, 0, NULL, &found);
        for (size_t k = 0; result == 0 && k < found.gl_pathc; k++)
            add_file(files, found.gl_pathv[k]);
        globfree(&found);
        if (result != 0)
            return acc_fail(err, ACC_EINPUT, "no file matches \"%s\"", name);
    }
    return true;
}

static void files_clear(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->names[i]);
    free(files->names);
}

/* The first argument is a kind, unless it is the name of a file. */
static bool take_kind(struct load *load, int *exit_code)
{
    struct values_target names = {.catalog = load->catalog};
    struct cli *cli = load->cli;
    struct acc_error err;

    if (cli->argc == 0 || strcmp(cli->argv[0], "-") == 0)
        return true;
    load->kind = values_kind(&names, cli->argv[0], &err);
    if (load->kind != NULL) {
        cli->argc--;
        cli->argv++;
        return true;
    }
    if (access(cli->argv[0], F_OK) == 0 || is_pattern(cli->argv[0]))
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
    } else if (load->format != LOAD_AUTO && load->format != LOAD_TEXT) {
        *exit_code = cli_misuse(load->cli, "--field goes with --format text only");
    } else if (!text_choose(load->kind, load->field, &fields, &err)) {
        *exit_code = cli_misuse(load->cli, "--field: %s", err.text);
    } else {
        load->format = LOAD_TEXT;
        return true;
    }
    return false;
}

/* One --map COLUMN=FIELD. The last = parts them: no field has one in its name. */
static bool take_name(struct load *load, const char *text, int *exit_code)
{
    const char *equals = strrchr(text, '=');
    struct acc_error err;

    if (equals == NULL || equals == text) {
        *exit_code = cli_misuse(load->cli, "--map: wanted COLUMN=FIELD, got \"%s\"", text);
        return false;
    }
    if (equals[1] != '\0' && values_field(load->kind, equals + 1, &err) < 0) {
        *exit_code = cli_misuse(load->cli, "--map: %s", err.text);
        return false;
    }
    char *column = acc_strdup(text);
    column[equals - text] = '\0';
    load->names = acc_realloc(load->names, (load->name_count + 1) * sizeof(*load->names));
    load->names[load->name_count++] = (struct csv_name){.column = column, .field = equals + 1};
    return true;
}

/* --map means CSV. */
static bool take_names(struct load *load, int *exit_code)
{
    const char *text;

    if (load->kind == NULL) {
        *exit_code = cli_misuse(load->cli, "--map: wanted a kind too");
        return false;
    }
    if (load->format != LOAD_AUTO && load->format != LOAD_CSV) {
        *exit_code = cli_misuse(load->cli, "--map goes with --format csv only");
        return false;
    }
    load->format = LOAD_CSV;
    for (size_t n = 0; (text = cli_nth(load->cli, "map", n)) != NULL; n++)
        if (!take_name(load, text, exit_code))
            return false;
    return true;
}

static bool take_options(struct load *load, int *exit_code)
{
    static const char *const names[] = {"auto", "ndjson", "csv", "text"};
    const char *format = cli_value(load->cli, "format");

    load->field = cli_value(load->cli, "field");
    load->rejected = cli_value(load->cli, "rejected");
    load->keeps_rejected = load->rejected != NULL || !cli_has(load->cli, "check");
    for (int i = LOAD_AUTO; format != NULL && i <= LOAD_TEXT; i++)
        if (strcmp(format, names[i]) == 0)
            load->format = (enum load_format)i;
    if (!take_kind(load, exit_code))
        return false;
    if (load->kind == NULL && (load->format == LOAD_CSV || load->format == LOAD_TEXT)) {
        *exit_code = cli_misuse(load->cli, "--format %s: wanted a kind before the files", format);
        return false;
    }
    return (load->field == NULL || take_field(load, exit_code)) &&
           (!cli_has(load->cli, "map") || take_names(load, exit_code));
}

/* Whether the app has a database that can be asked without making one. */
static bool has_database(const struct app *app)
{
    char *path = acc_format("%s/pg/PG_VERSION", app->data_dir);
    bool is_there = app->settings.database.url != NULL || app->settings.database.url_file != NULL ||
                    access(path, F_OK) == 0;

    free(path);
    return is_there;
}

/* The database, to be written or, for a check, to be asked when there is one. */
static bool open_database(struct load *load, struct work *work, bool *is_asked, int *exit_code)
{
    *is_asked = true;
    if (!cli_has(load->cli, "check"))
        return work_connect(load->cli, work, WORK_TABLES, exit_code);
    *is_asked = has_database(&work->app);
    return !*is_asked || work_connect(load->cli, work, WORK_READ, exit_code);
}

static int load_with(struct load *load, struct work *work)
{
    const struct settings *settings = &work->app.settings;
    bool is_asked;
    int exit_code;
    struct files files = {0};
    struct acc_error err;

    if (!expand(&files, load->cli, &err)) {
        exit_code = cli_fail(load->cli, &err);
    } else if (open_database(load, work, &is_asked, &exit_code)) {
        struct pg *pg = is_asked ? &work->session.pg : NULL;

        load->seen = cli_has(load->cli, "check") ? seen_new(CHECK_BYTES) : NULL;
        load->ingest = load->seen != NULL ? ingest_new_check(pg, &work->program, settings, &err)
                                          : ingest_new(pg, &work->program, settings, &err);
        exit_code = load->ingest == NULL ? cli_fail(load->cli, &err)
                                         : load_all(load, files.names, files.count, is_asked);
    }
    files_clear(&files);
    return exit_code;
}

static int run(struct cli *cli)
{
    struct work work;
    char *who = audit_who();
    struct load load = {.cli = cli, .catalog = &work.program.catalog, .who = who};
    int exit_code;

    if (!work_open(cli, &work, cli_has(cli, "check") ? WORK_KINDS : WORK_PROGRAM | WORK_LENIENT,
                   &exit_code)) {
        free(who);
        return exit_code;
    }
    load.batch_lines = work.app.settings.ingest.batch_lines;
    load.value_bytes = work.app.settings.ingest.value_bytes;
    if (take_options(&load, &exit_code))
        exit_code = load_with(&load, &work);
    load_clear(&load);
    ingest_free(load.ingest);
    seen_free(load.seen);
    free(who);
    for (size_t i = 0; i < load.name_count; i++)
        free((char *)load.names[i].column);
    free(load.names);
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
        "the file's name. Files packed by gzip or zstd are unpacked on the way.\n\n"
        "Facts that are there already are repeats and change nothing, so loading again after a\n"
        "cut is safe. Lines that do not fit are named on stderr with their reason and kept in\n"
        "FILE.rejected, the others are loaded; then the exit code is 1. What is counted as new or\n"
        "repeat is on disk.",
    .argc_max = -1,
    .arguments =
        (const struct cli_argument[]){
            {"KIND", CLI_KIND, "the kind of all facts"},
            {"FILE", CLI_FILE, "files, or patterns in quotes; - or none: stdin"},
            {0},
        },
    .options =
        (const struct cli_option[]){
            {"format", 'f', CLI_WORD, "FORMAT", .words = "auto ndjson csv text",
             .help = "how the files are written; auto goes by name and first bytes"},
            {"map", 'm', CLI_TEXT, "COLUMN=FIELD",
             .help = "a column of the CSV header that is not called like its field; without FIELD "
                     "it is left out; may be repeated"},
            {"field", 0, CLI_TEXT, "FIELD", .help = "the field that gets the text of a text file"},
            {"check", 'n', CLI_SWITCH,
             .help =
                 "reads and counts, writes no fact; asks the database what is known if there is "
                 "one"},
            {"rejected", 0, CLI_FILE, "FILE",
             .help = "where lines that were refused are kept, instead of FILE.rejected"},
            {"quiet", 'q', CLI_SWITCH, .help = "no progress and no summary, only what was refused"},
            {"json", 0, CLI_SWITCH, .help = "the summary as JSON on stdout"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete ingest edge edges.csv", "loads edges; the first line names the fields"},
            {"accrete ingest edge 'data/*.csv.gz' --map Source=from --map Target=to --map Note=",
             "many packed files whose columns have other names"},
            {"accrete ingest --check edge edges.csv", "says what loading it would do"},
            {"accrete ingest book /usr/share/common-licenses/GPL-2", "loads a text as one fact"},
            {"accrete dump --app old | accrete ingest --app new", "copies facts"},
            {0},
        },
    .run = run,
};
