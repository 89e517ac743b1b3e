#include "cli/cli.h"

#include "base/buf.h"
#include "base/log.h"
#include "kinds.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMANDS_MAX 64
#define HELP_COLUMN 26
#define GETOPT_FIRST 1000 /* values of getopt_long's table: GETOPT_FIRST + number of the option */

enum common { COMMON_APP, COMMON_SET, COMMON_LOG, COMMON_HELP, COMMON_COUNT };

const struct cli_option cli_common[] = {
    [COMMON_APP] = {"app", 0, CLI_DIR, "DIR",
                    .help = "the app's folder; else ACCRETE_APP, else upward from here"},
    [COMMON_SET] = {"set", 0, CLI_TEXT, "NAME=VALUE",
                    .help = "sets an option, as in --set worker.count=4; may be repeated"},
    [COMMON_LOG] = {"log", 0, CLI_WORD, "LEVEL", .words = "error warn info debug",
                    .help = "the least that is logged"},
    [COMMON_HELP] = {"help", 'h', CLI_SWITCH, .help = "prints this help"},
    [COMMON_COUNT] = {0},
};

static const struct cli_option no_options[] = {{0}};

static const struct cli_option *own_options(const struct cli *cli)
{
    return cli->command == NULL || cli->command->options == NULL ? no_options
                                                                 : cli->command->options;
}

static size_t count_options(const struct cli_option *options)
{
    size_t n = 0;

    while (options[n].name != NULL)
        n++;
    return n;
}

static void say(const struct cli *cli, const char *text)
{
    bool has_name = cli->command != NULL;

    fprintf(stderr, "accrete%s%s: %s\n", has_name ? " " : "", has_name ? cli->command->name : "",
            text);
}

int cli_fail(const struct cli *cli, const struct acc_error *err)
{
    fflush(stdout);
    say(cli, err->text);
    return CLI_FAILED;
}

static char *words_of(const char *fmt, va_list args)
{
    char *words;

    if (vasprintf(&words, fmt, args) < 0)
        abort();
    return words;
}

int cli_misuse(const struct cli *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *words = words_of(fmt, args);
    va_end(args);
    say(cli, words);
    fprintf(stderr, "accrete%s%s --help says more\n", cli->command == NULL ? "" : " ",
            cli->command == NULL ? "" : cli->command->name);
    free(words);
    return CLI_MISUSE;
}

void cli_note(const struct cli *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *words = words_of(fmt, args);
    va_end(args);
    fflush(stdout);
    say(cli, words);
    free(words);
}

/* Parsing */

static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = words; size > 0 && *at != '\0'; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");

        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length;
    }
    return false;
}

/* "ndjson, csv or text" */
static void add_choice(struct buf *out, const char *words)
{
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        bool is_last = at[length] == '\0' || strchr(at + length + 1, ' ') == NULL;

        buf_add(out, at, length);
        at += length + strspn(at + length, " ");
        if (*at != '\0')
            buf_text(out, is_last ? " or " : ", ");
    }
}

static bool read_number(const char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return isdigit((uint8_t)text[0]) && *end == '\0' && errno == 0;
}

/* 500ms, 30s, 5m, 2h; in milliseconds. */
static bool read_time(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *out = value * units[i].ms;
            return isdigit((uint8_t)text[0]) && errno == 0 && value <= INT64_MAX / units[i].ms;
        }
    }
    return false;
}

/* What is wrong with the value of an option, as "wanted ..."; false: it is right. */
static bool is_wrong(const struct cli_option *option, const char *value, struct buf *wanted)
{
    int64_t number;

    switch (option->type) {
    case CLI_WORD:
        if (has_word(option->words, value))
            return false;
        add_choice(wanted, option->words);
        return true;
    case CLI_COUNT:
        if (read_number(value, &number) && number >= option->min && number <= option->max)
            return false;
        buf_printf(wanted, "%" PRId64 "..%" PRId64, option->min, option->max);
        return true;
    case CLI_TIME:
        if (read_time(value, &number))
            return false;
        buf_text(wanted, "a time like 500ms, 30s, 5m or 2h");
        return true;
    default:
        if (value[0] != '\0')
            return false;
        buf_text(wanted, option->value);
        return true;
    }
}

static bool check_value(const struct cli *cli, const struct cli_option *option, const char *value)
{
    struct buf wanted = {0};
    bool ok = !is_wrong(option, value, &wanted);

    if (!ok)
        cli_misuse(cli, "--%s: wanted %s, got \"%s\"", option->name, wanted.data, value);
    buf_clear(&wanted);
    return ok;
}

bool cli_set(struct cli *cli, const char *option, const char *text)
{
    const char *equals = strchr(text, '=');
    struct settings scratch;
    struct acc_error err;

    if (equals == NULL || equals == text) {
        cli_misuse(cli, "--%s: wanted NAME=VALUE, got \"%s\"", option, text);
        return false;
    }
    if (cli->override_count == CLI_SETS_MAX) {
        cli_misuse(cli, "--%s: more than %d of them", option, CLI_SETS_MAX);
        return false;
    }
    char *name = acc_format("%.*s", (int)(equals - text), text);
    settings_init(&scratch);
    bool ok = settings_set(&scratch, "--set", name, equals + 1, &err);
    settings_clear(&scratch);
    free(name);
    if (!ok)
        cli_misuse(cli, "%s", err.text);
    else
        cli->overrides[cli->override_count++] = text;
    return ok;
}

static bool take_common(struct cli *cli, int number, const char *value)
{
    struct stat st;

    if (number != COMMON_HELP && !check_value(cli, &cli_common[number], value))
        return false;
    switch ((enum common)number) {
    case COMMON_APP:
        if (stat(value, &st) != 0 || !S_ISDIR(st.st_mode)) {
            cli_misuse(cli, "--app: wanted the folder of an app, got \"%s\"", value);
            return false;
        }
        cli->app_dir = value;
        break;
    case COMMON_SET:
        return cli_set(cli, "set", value);
    case COMMON_LOG:
        free(cli->log_override);
        cli->log_override = acc_format("log.level=%s", value);
        break;
    case COMMON_HELP:
        cli->wants_help = true;
        break;
    case COMMON_COUNT:
        break;
    }
    return true;
}

static bool take_own(struct cli *cli, size_t number, const char *value)
{
    const struct cli_option *option = &own_options(cli)[number];

    if (option->type != CLI_SWITCH && !check_value(cli, option, value))
        return false;
    cli->values[number] = option->type == CLI_SWITCH ? "" : value;
    if (cli->given_count == CLI_GIVEN_MAX) {
        cli_misuse(cli, "more than %d options", CLI_GIVEN_MAX);
        return false;
    }
    cli->given[cli->given_count].option = number;
    cli->given[cli->given_count++].value = cli->values[number];
    return true;
}

/* getopt_long's tables: common options first. */
struct option_tables {
    struct option longs[CLI_VALUES_MAX + COMMON_COUNT + 1];
    char letters[3 * (CLI_VALUES_MAX + COMMON_COUNT) + 4];
};

static void fill_table(struct option_tables *tables, const struct cli_option *options, int first,
                       size_t at)
{
    char *letter = tables->letters + strlen(tables->letters);

    for (size_t i = 0; options[i].name != NULL; i++) {
        bool has_value = options[i].type != CLI_SWITCH;

        tables->longs[at + i] = (struct option){
            options[i].name, has_value ? required_argument : no_argument, NULL, first + (int)i};
        if (options[i].letter != 0) {
            *letter++ = options[i].letter;
            if (has_value)
                *letter++ = ':';
        }
    }
    *letter = '\0';
}

static void fill_tables(const struct cli *cli, struct option_tables *tables)
{
    bool stops = cli->command == NULL || cli->command->stops_at_argument;

    *tables = (struct option_tables){0};
    strcpy(tables->letters, stops ? "+:" : ":");
    fill_table(tables, cli_common, GETOPT_FIRST, 0);
    fill_table(tables, own_options(cli), GETOPT_FIRST + COMMON_COUNT, COMMON_COUNT);
}

/* The number of a short option in the order of the tables, or -1. */
static int by_letter(const struct cli *cli, int letter)
{
    for (int i = 0; i < COMMON_COUNT; i++)
        if (cli_common[i].letter == letter)
            return i;
    for (int i = 0; own_options(cli)[i].name != NULL; i++)
        if (own_options(cli)[i].letter == letter)
            return COMMON_COUNT + i;
    return -1;
}

static void refuse_unknown(const struct cli *cli, const char *word)
{
    const char *names[CLI_VALUES_MAX + COMMON_COUNT];
    size_t count = 0;
    char *name;

    if (strncmp(word, "--", 2) != 0) {
        cli_misuse(cli, "unknown option \"%s\"", word);
        return;
    }
    name = acc_format("%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (size_t i = 0; i < COMMON_COUNT; i++)
        names[count++] = cli_common[i].name;
    for (size_t i = 0; own_options(cli)[i].name != NULL; i++)
        names[count++] = own_options(cli)[i].name;
    const char *nearest = name_suggest(name, names, count);
    if (nearest != NULL)
        cli_misuse(cli, "unknown option \"--%s\", did you mean \"--%s\"?", name, nearest);
    else
        cli_misuse(cli, "unknown option \"--%s\"", name);
    free(name);
}

/* getopt_long said '?' or ':' about word. */
static void refuse(const struct cli *cli, int what, int number, const char *word)
{
    if (number >= GETOPT_FIRST)
        number -= GETOPT_FIRST;
    else
        number = number > 0 ? by_letter(cli, number) : -1;
    if (number < 0) {
        refuse_unknown(cli, word);
        return;
    }
    const struct cli_option *option =
        number < COMMON_COUNT ? &cli_common[number] : &own_options(cli)[number - COMMON_COUNT];
    if (what == ':')
        cli_misuse(cli, "--%s: wanted %s, got nothing", option->name, option->value);
    else
        cli_misuse(cli, "--%s takes no value, got \"%s\"", option->name, word);
}

static bool check_arguments(const struct cli *cli)
{
    const struct cli_command *command = cli->command;

    if (cli->wants_help || command == NULL)
        return true;
    if (cli->argc < command->argc_min) {
        cli_misuse(cli, "wanted %s", command->usage);
        return false;
    }
    if (command->argc_max >= 0 && cli->argc > command->argc_max) {
        cli_misuse(cli, "wanted %s, got also \"%s\"",
                   command->usage[0] == '\0' ? "no arguments" : command->usage,
                   cli->argv[command->argc_max]);
        return false;
    }
    return true;
}

bool cli_parse(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
    struct option_tables tables;
    int what;

    cli->command = command;
    fill_tables(cli, &tables);
    optind = 0; /* glibc: start anew */
    opterr = 0;
    for (;;) {
        int at = optind == 0 ? 1 : optind;

        what = getopt_long(argc, argv, tables.letters, tables.longs, NULL);
        if (what == -1)
            break;
        if (what == '?' || what == ':') {
            /* An option may have been found behind arguments: it is the word before optind then. */
            const char *word =
                optind > at && argv[optind - 1][0] == '-' ? argv[optind - 1] : argv[at];
            refuse(cli, what, optopt, word);
            return false;
        }
        int number = what >= GETOPT_FIRST ? what - GETOPT_FIRST : by_letter(cli, what);
        if (number < COMMON_COUNT ? !take_common(cli, number, optarg)
                                  : !take_own(cli, (size_t)(number - COMMON_COUNT), optarg))
            return false;
    }
    cli->argc = argc - optind;
    cli->argv = argv + optind;
    return check_arguments(cli);
}

void cli_clear(struct cli *cli)
{
    free(cli->log_override);
    *cli = (struct cli){0};
}

static size_t number_of(const struct cli *cli, const char *name)
{
    const struct cli_option *options = own_options(cli);

    for (size_t i = 0; options[i].name != NULL; i++)
        if (strcmp(options[i].name, name) == 0)
            return i;
    abort(); /* the command asks for an option it does not declare */
}

bool cli_has(const struct cli *cli, const char *name)
{
    return cli->values[number_of(cli, name)] != NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
    return cli->values[number_of(cli, name)];
}

const char *cli_nth(const struct cli *cli, const char *name, size_t n)
{
    size_t number = number_of(cli, name);

    for (size_t i = 0; i < cli->given_count; i++)
        if (cli->given[i].option == number && n-- == 0)
            return cli->given[i].value;
    return NULL;
}

int64_t cli_number(const struct cli *cli, const char *name, int64_t initial)
{
    const char *text = cli_value(cli, name);
    int64_t number = initial;

    if (text != NULL && !read_number(text, &number) && !read_time(text, &number))
        abort(); /* parsing has checked it */
    return number;
}

/* Help */

static void print_option(const struct cli_option *option, FILE *out)
{
    struct buf left = {0};
    struct buf words = {0};

    buf_printf(&left, option->letter == 0 ? "      " : "  -%c, ", option->letter);
    buf_printf(&left, "--%s", option->name);
    if (option->value != NULL)
        buf_printf(&left, " %s", option->value);
    if (option->words != NULL) {
        buf_text(&words, ": ");
        add_choice(&words, option->words);
    }
    if (left.size >= HELP_COLUMN)
        fprintf(out, "%s\n%*s", left.data, HELP_COLUMN, "");
    else
        fprintf(out, "%-*s", HELP_COLUMN, left.data);
    fprintf(out, "%s%s\n", option->help, words.size == 0 ? "" : words.data);
    buf_clear(&left);
    buf_clear(&words);
}

static void print_options(const char *title, const struct cli_option *options, FILE *out)
{
    if (count_options(options) == 0)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; options->name != NULL; options++)
        print_option(options, out);
}

void cli_help(const struct cli_command *command, FILE *out)
{
    const struct cli_option *options = command->options == NULL ? no_options : command->options;

    fprintf(out, "accrete %s: %s\n\nUsage: accrete %s [OPTIONS]%s%s\n", command->name,
            command->summary, command->name, command->usage[0] == '\0' ? "" : " ", command->usage);
    if (command->help != NULL)
        fprintf(out, "\n%s\n", command->help);
    if (command->arguments != NULL) {
        fprintf(out, "\nArguments:\n");
        for (const struct cli_argument *a = command->arguments; a->name != NULL; a++)
            fprintf(out, "  %-*s%s\n", HELP_COLUMN - 2, a->name, a->help);
    }
    print_options("Options", options, out);
    print_options("Common options", cli_common, out);
    if (command->examples != NULL) {
        fprintf(out, "\nExamples:\n");
        for (const struct cli_example *e = command->examples; e->line != NULL; e++)
            fprintf(out, "  %s\n      %s\n", e->line, e->help);
    }
}

void cli_help_all(FILE *out)
{
    fprintf(out,
            "accrete: dynamic programming at scale, over facts that are permanent and unique\n\n"
            "Usage: accrete [COMMON OPTIONS] COMMAND ...\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (!cli_commands[i]->is_hidden)
            fprintf(out, "  %-*s%s\n", HELP_COLUMN - 2, cli_commands[i]->name,
                    cli_commands[i]->summary);
    print_options("Common options", cli_common, out);
    fprintf(out,
            "      %-*sprints the version\n      %-*sprints every setting: unit, range, default\n",
            HELP_COLUMN - 6, "--version", HELP_COLUMN - 6, "--help-config");
    fprintf(out, "\naccrete COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 misuse.\n");
}

const struct cli_command *cli_find(const char *name, const char **nearest)
{
    const char *names[COMMANDS_MAX];
    size_t count = 0;

    for (; cli_commands[count] != NULL && count < COMMANDS_MAX; count++) {
        if (strcmp(cli_commands[count]->name, name) == 0)
            return cli_commands[count];
        names[count] = cli_commands[count]->name;
    }
    *nearest = name_suggest(name, names, count);
    return NULL;
}

/* What commands share */

void cli_quiet(const struct cli *cli, const struct settings *settings)
{
    if (!cli->command->is_host && cli->log_override == NULL &&
        strcmp(settings->log.level, "info") == 0)
        log_setup(LOG_WARN, strcmp(settings->log.format, "json") == 0);
}

bool cli_app(struct cli *cli, struct app *app, int *exit_code)
{
    struct acc_error err;

    cli->overrides[cli->override_count] =
        cli->log_override; /* there is room for it, and for the NULL behind */
    cli->overrides[cli->override_count + 1] = NULL;
    if (!app_open(app, cli->app_dir, cli->overrides, &err)) {
        *exit_code = cli_fail(cli, &err);
        return false;
    }
    cli_quiet(cli, &app->settings);
    return true;
}

bool cli_is_coloured(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0 &&
           isatty(fileno(out));
}

const char *cli_grouped(int64_t value)
{
    static char kept[8][32];
    static unsigned next;
    char digits[24];
    char *out = kept[next++ % 8];
    size_t size = (size_t)snprintf(digits, sizeof(digits), "%" PRId64, value);
    size_t sign = digits[0] == '-';
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        if (i > sign && (size - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = '\0';
    return out;
}

void cli_first_line(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; n + 1 < size && text[n] != '\0' && text[n] != '\n'; n++)
        out[n] = (uint8_t)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    while (n > 0 && n + 1 == size && ((uint8_t)text[n] & 0xc0) == 0x80)
        n--; /* not in the middle of a character */
    out[n] = '\0';
}

int cli_flush(const struct cli *cli, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    cli_note(cli, "cannot write the result: %s", strerror(errno));
    return CLI_FAILED;
}

int cli_print_json(const struct cli *cli, json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(value);
    return cli_flush(cli, CLI_DONE);
}
