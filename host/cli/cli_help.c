/* What --help prints, from the tables of the commands. */
#include "cli/cli.h"

#include "base/buf.h"
#include "kinds.h"

#include <string.h>

#define COMMANDS_MAX 64
#define HELP_COLUMN 26

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
        cli_add_choice(&words, option->words);
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
    if (options == NULL || options->name == NULL)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; options->name != NULL; options++)
        print_option(options, out);
}

void cli_help(const struct cli_command *command, FILE *out)
{
    fprintf(out, "accrete %s: %s\n\nUsage: accrete %s [OPTIONS]%s%s\n", command->name,
            command->summary, command->name, command->usage[0] == '\0' ? "" : " ", command->usage);
    if (command->help != NULL)
        fprintf(out, "\n%s\n", command->help);
    if (command->arguments != NULL) {
        fprintf(out, "\nArguments:\n");
        for (const struct cli_argument *a = command->arguments; a->name != NULL; a++)
            fprintf(out, "  %-*s%s\n", HELP_COLUMN - 2, a->name, a->help);
    }
    print_options("Options", command->options, out);
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

/* The shortest command that begins with what was typed, or NULL. */
static const char *by_beginning(const char *name)
{
    const char *best = NULL;

    for (size_t i = 0; name[0] != '\0' && cli_commands[i] != NULL; i++) {
        const char *whole = cli_commands[i]->name;

        if (!cli_commands[i]->is_hidden && strncmp(whole, name, strlen(name)) == 0 &&
            (best == NULL || strlen(whole) < strlen(best)))
            best = whole;
    }
    return best;
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
    *nearest = by_beginning(name);
    if (*nearest == NULL)
        *nearest = name_suggest(name, names, count);
    return NULL;
}
