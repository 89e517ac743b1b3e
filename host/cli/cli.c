/* What commands share: their messages, their app, how they print. */
#include "cli/cli.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 64

/* Messages */

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

/* The app */

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

/* Texts that are valid until the eighth one from now. */
static char *next_text(void)
{
    static char kept[8][TEXT_BYTES];
    static unsigned next;

    return kept[next++ % 8];
}

/* Writes value with its digits in groups, and a NUL; returns the size without it. */
static size_t group_digits(int64_t value, char *out)
{
    char digits[24];
    size_t size = (size_t)snprintf(digits, sizeof(digits), "%" PRId64, value);
    size_t sign = digits[0] == '-';
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        if (i > sign && (size - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = '\0';
    return n;
}

const char *cli_grouped(int64_t value)
{
    char *out = next_text();

    group_digits(value, out);
    return out;
}

const char *cli_counted(int64_t count, const char *noun)
{
    char *out = next_text();
    size_t n = group_digits(count, out);

    snprintf(out + n, TEXT_BYTES - n, " %s%s", noun, count == 1 ? "" : "s");
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
