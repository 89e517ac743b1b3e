/* accrete man: the manual page, from the tables of the commands. */
#include "cli/commands.h"
#include "cli/manual.h"

#include <stdlib.h>
#include <string.h>

/* Text as roff takes it: no requests at the start of a line, a minus that can be copied. */
static void put(const char *text, FILE *out)
{
    bool is_start = true;

    for (const char *at = text; *at != '\0'; at++) {
        if (is_start && (*at == '.' || *at == '\''))
            fputs("\\&", out);
        if (*at == '\\')
            fputs("\\e", out);
        else if (*at == '-')
            fputs("\\-", out);
        else
            putc(*at, out);
        is_start = *at == '\n';
    }
}

static void put_line(const char *text, FILE *out)
{
    put(text, out);
    putc('\n', out);
}

/* Paragraphs are set off by empty lines. */
static void put_paragraphs(const char *text, FILE *out)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t size = end == NULL ? strlen(text) : (size_t)(end - text);
        char *part = acc_format("%.*s", (int)size, text);

        fputs(".PP\n", out);
        put_line(part, out);
        free(part);
        text += size + strspn(text + size, "\n");
    }
}

static void put_option(const struct cli_option *option, FILE *out)
{
    fputs(".TP\n", out);
    if (option->letter != 0)
        fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", out);
    put(option->name, out);
    fputs("\\fR", out);
    if (option->value != NULL) {
        fputs(" \\fI", out);
        put(option->value, out);
        fputs("\\fR", out);
    }
    putc('\n', out);
    put(option->help, out);
    if (option->words != NULL) {
        fputs(" (", out);
        put(option->words, out);
        putc(')', out);
    }
    putc('\n', out);
}

static void put_options(const struct cli_option *options, FILE *out)
{
    for (; options != NULL && options->name != NULL; options++)
        put_option(options, out);
}

static void put_command(const struct cli_command *command, FILE *out)
{
    fputs(".SS ", out);
    put(command->name, out);
    fputs("\n\\fBaccrete ", out);
    put(command->name, out);
    fputs("\\fR [\\fIOPTIONS\\fR] ", out);
    put_line(command->usage, out);
    fputs(".PP\n", out);
    put(command->summary, out);
    fputs(".\n", out);
    if (command->help != NULL)
        put_paragraphs(command->help, out);
    for (const struct cli_argument *a = command->arguments; a != NULL && a->name != NULL; a++) {
        fputs(".TP\n\\fI", out);
        put(a->name, out);
        fputs("\\fR\n", out);
        put_line(a->help, out);
    }
    put_options(command->options, out);
    for (const struct cli_example *e = command->examples; e != NULL && e->line != NULL; e++) {
        fputs(".PP\nExample: ", out);
        put(e->help, out);
        fputs(":\n.PP\n.RS\n.nf\n", out);
        put_line(e->line, out);
        fputs(".fi\n.RE\n", out);
    }
}

void manual_write(FILE *out)
{
    fputs(".TH ACCRETE 1 \"\" \"accrete " ACC_VERSION "\" \"User Commands\"\n"
          ".SH NAME\naccrete \\- dynamic programming at scale, over facts that are permanent and "
          "unique\n.SH SYNOPSIS\n\\fBaccrete\\fR [\\fICOMMON OPTIONS\\fR] \\fICOMMAND\\fR ...\n"
          ".SH DESCRIPTION\n"
          "An app is a folder with kinds of facts and with lifecycles, Lua modules that say what\n"
          "follows from a new fact and its friends. accrete finds all consequences, once each,\n"
          "until nothing is left to find. Facts lie in PostgreSQL, a private one unless\n"
          "\\fBdatabase.url\\fR names a server.\n"
          ".PP\n\\fBaccrete help\\fR \\fICOMMAND\\fR shows the part of one command.\n"
          ".SH COMMANDS\n",
          out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (!cli_commands[i]->is_hidden)
            put_command(cli_commands[i], out);
    fputs(".SH COMMON OPTIONS\n", out);
    put_options(cli_common, out);
    fputs(".TP\n\\fB\\-\\-version\\fR\nprints the version\n"
          ".TP\n\\fB\\-\\-help\\-config\\fR\nprints every setting: unit, range, default\n"
          ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed\n.TP\n2\nmisuse\n"
          ".SH ENVIRONMENT\n"
          ".TP\nACCRETE_APP\nthe app's folder\n"
          ".TP\nACCRETE_A__B\nthe setting a.b\n"
          ".TP\nNO_COLOR\nno colours, also at a terminal\n"
          ".SH FILES\n"
          ".TP\naccrete.yaml\nthe app's settings; its folder is the app\n"
          ".TP\n$XDG_STATE_HOME/accrete/APP, as root /var/lib/accrete/APP\n"
          "the app's data directory, with the private cluster\n",
          out);
}

static int run(struct cli *cli)
{
    manual_write(stdout);
    return cli_flush(cli, CLI_DONE);
}

const struct cli_command cli_man = {
    .name = "man",
    .summary = "prints the manual page in roff",
    .usage = "",
    .is_hidden = true,
    .options = (const struct cli_option[]){{0}},
    .examples =
        (const struct cli_example[]){
            {"accrete man | man -l -", "reads it"},
            {0},
        },
    .run = run,
};
