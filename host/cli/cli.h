/*
 * The command line: one table a command says what it takes; parsing, --help, messages and, from the
 * same tables, man page and completion follow. Exit codes: 0 done, 1 failed, 2 misuse. Nothing but
 * results goes to stdout.
 */
#pragma once

#include "app.h"
#include "base/error.h"

#include <jansson.h>
#include <stdio.h>

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_MISUSE = 2 };

/* What a value is: checked when parsed, and offered by completion. */
enum cli_type {
    CLI_SWITCH, /* an option without a value */
    CLI_TEXT,
    CLI_WORD,  /* one of `words` */
    CLI_COUNT, /* a whole number, min..max */
    CLI_TIME,  /* a duration like 500ms, 30s, 5m, 2h */
    CLI_FILE,
    CLI_DIR,
    CLI_KIND, /* the name of a kind of the app */
};

struct cli_option {
    const char *name; /* long name; NULL ends a table */
    char letter;      /* short name, or 0 */
    enum cli_type type;
    const char *value; /* how help calls the value, "FILE"; NULL for a switch */
    const char *words; /* of CLI_WORD, "ndjson csv text" */
    int64_t min, max;  /* of CLI_COUNT */
    const char *help;  /* one sentence, no full stop */
};

struct cli_argument {
    const char *name; /* as in the usage line, "KIND"; NULL ends a table */
    enum cli_type type;
    const char *help;
};

struct cli_example {
    const char *line; /* the whole command line; NULL ends a table */
    const char *help;
};

struct cli;
struct buf;

struct cli_command {
    const char *name;
    const char *summary; /* one line, no full stop */
    const char *usage;   /* arguments as the synopsis shows them, "[KIND] [FILE...]"; "" for none */
    const char
        *help; /* what else is to be said; NULL: nothing. Paragraphs, lines below 80 characters */
    int argc_min, argc_max; /* arguments; -1: any number */
    bool is_hidden;         /* not listed, for scripts and packages */
    bool is_host;           /* logs at info; other commands at warn, unless told otherwise */
    bool stops_at_argument; /* what follows the first argument is not ours (lua SCRIPT ARGS) */
    const struct cli_argument *arguments;
    const struct cli_option *options;
    const struct cli_example *examples;
    int (*run)(struct cli *cli); /* returns an exit code */
};

#define CLI_VALUES_MAX 32
#define CLI_SETS_MAX 64
#define CLI_GIVEN_MAX 128

/* A parsed command line. Texts are borrowed from argv. */
struct cli {
    const struct cli_command *command; /* NULL: only common options so far */
    const char *app_dir;
    const char *overrides[CLI_SETS_MAX + 2]; /* of --set and its kin, ends with NULL */
    size_t override_count;
    char *log_override; /* "log.level=...", owned */
    bool wants_help;
    const char *values
        [CLI_VALUES_MAX]; /* [i]: of the command's option i; "" for a switch; NULL: not given */
    struct {
        size_t option;
        const char *value;
    } given[CLI_GIVEN_MAX]; /* each use of an option of the command, in order */
    size_t given_count;
    int argc; /* arguments that are left */
    char **argv;
};

/* Options that every command takes. */
extern const struct cli_option cli_common[];
/* All commands, sorted by name; ends with NULL. */
extern const struct cli_command *const cli_commands[];

/*
 * Parses argv after the command's name; argv[0] is not looked at. Permutes argv. command NULL:
 * common options up to the first argument. false: misuse, the message has been printed.
 */
bool cli_parse(struct cli *cli, const struct cli_command *command, int argc,
               char **argv) ACC_MUST_CHECK;
void cli_clear(struct cli *cli);

/*
 * Whether an option was given; its value; its value as a number (initial when not given). Names
 * that are not in the table end the process.
 */
bool cli_has(const struct cli *cli, const char *name);
const char *cli_value(const struct cli *cli, const char *name);
/* The n-th value of an option that may be repeated, from 0; NULL: there are no more. */
const char *cli_nth(const struct cli *cli, const char *name, size_t n);
int64_t cli_number(const struct cli *cli, const char *name,
                   int64_t initial); /* CLI_TIME: milliseconds */

/* Adds an override as --set does. text is borrowed and checked; false: misuse, printed. */
bool cli_set(struct cli *cli, const char *option, const char *text) ACC_MUST_CHECK;

/* Appends the words of CLI_WORD as a sentence has them: "ndjson, csv or text". */
void cli_add_choice(struct buf *out, const char *words);

void cli_help(const struct cli_command *command, FILE *out);
/* The list of commands and common options. */
void cli_help_all(FILE *out);
/* The command of that name, or NULL; *nearest is what was probably meant, or NULL. */
const struct cli_command *cli_find(const char *name, const char **nearest);

/* Prints `accrete COMMAND: text` to stderr; these return the exit codes 1 and 2. */
int cli_fail(const struct cli *cli, const struct acc_error *err);
int cli_misuse(const struct cli *cli, const char *fmt, ...) ACC_PRINTF(2, 3);
void cli_note(const struct cli *cli, const char *fmt, ...) ACC_PRINTF(2, 3);

/* Opens the app as the command line says. false: printed, and *exit_code set. */
bool cli_app(struct cli *cli, struct app *app, int *exit_code) ACC_MUST_CHECK;

/*
 * Raises the log level from info to warn where only a host should be that talkative. cli_app does
 * it.
 */
void cli_quiet(const struct cli *cli, const struct settings *settings);

/* Whether out is a terminal that may be coloured (NO_COLOR is not set). */
bool cli_is_coloured(FILE *out);
/* value with its digits in groups: "1,234,567". Valid until the eighth call from now. */
const char *cli_grouped(int64_t value);
/* As cli_grouped, with its noun: "1 event", "2,001 events". */
const char *cli_counted(int64_t count, const char *noun);
/* The first line of text, cut at size, with what could disturb a terminal replaced. */
void cli_first_line(const char *text, char *out, size_t size);
/*
 * Prints a value as JSON with a newline on stdout and releases it; the exit code, 1 when stdout
 * cannot be written.
 */
int cli_print_json(const struct cli *cli, json_t *value);
/* Flushes stdout; the exit code is 1 (with a message) when that fails, else code. */
int cli_flush(const struct cli *cli, int code);
