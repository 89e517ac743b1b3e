/* The command line, by the tables of the commands. */
#include "cli/cli.h"

#include "base/buf.h"
#include "kinds.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

void cli_add_choice(struct buf *out, const char *words)
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
        cli_add_choice(wanted, option->words);
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
