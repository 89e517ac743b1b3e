/* accrete completion: what a shell may offer, from the tables of the commands. */
#include "base/buf.h"
#include "cli/commands.h"
#include "cli/manual.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/*
 * Words that stand for themselves in a usage line: "plan | apply", "[list | show EVENT]". Separated
 * by blanks; caller frees.
 */
static char *words_of_usage(const struct cli_command *command)
{
    struct buf words = {0};

    buf_text(&words, "");
    for (const char *at = command->usage; *at != '\0'; at += strcspn(at, "|"), at += *at == '|') {
        at += strspn(at, " [");
        size_t size = strspn(at, "abcdefghijklmnopqrstuvwxyz_");

        if (size > 0 && (at[size] == '\0' || strchr(" ]|", at[size]) != NULL)) {
            if (words.size > 0)
                buf_byte(&words, ' ');
            buf_add(&words, at, size);
        }
    }
    return words.data == NULL ? acc_strdup("") : words.data;
}

/* The type of a command's argument, the last one for all that follow; CLI_SWITCH: there is none. */
static enum cli_type type_of_argument(const struct cli_command *command, size_t number)
{
    const struct cli_argument *arguments = command->arguments;
    enum cli_type type = CLI_SWITCH;

    for (size_t i = 0; arguments != NULL && arguments[i].name != NULL; i++) {
        type = arguments[i].type;
        if (i == number)
            return type;
    }
    return command->argc_max < 0 ? type : CLI_SWITCH;
}

static size_t count_arguments(const struct cli_command *command)
{
    size_t n = 0;

    while (command->arguments != NULL && command->arguments[n].name != NULL)
        n++;
    return n;
}

/* Text with each of chars escaped by a backslash, for words that stand in quotes of a shell. */
static void put_escaped(const char *text, const char *chars, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
            continue;
        }
        if (strchr(chars, *text) != NULL)
            putc('\\', out);
        putc(*text, out);
    }
}

/* bash */

static const char *bash_words(enum cli_type type)
{
    switch (type) {
    case CLI_FILE:
        return "COMPREPLY=($(compgen -f -- \"$cur\"))";
    case CLI_DIR:
        return "COMPREPLY=($(compgen -d -- \"$cur\"))";
    case CLI_KIND:
        return "COMPREPLY=($(compgen -W \"$(_accrete_kinds)\" -- \"$cur\"))";
    default:
        return ":";
    }
}

static void bash_values(const struct cli_option *options, FILE *out)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (options->type == CLI_SWITCH)
            continue;
        fprintf(out, "            --%s", options->name);
        if (options->letter != 0)
            fprintf(out, " | -%c", options->letter);
        if (options->words != NULL)
            fprintf(out, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n",
                    options->words);
        else
            fprintf(out, ") %s; return ;;\n", bash_words(options->type));
    }
}

static void put_option_names(const struct cli_option *options, FILE *out)
{
    for (; options != NULL && options->name != NULL; options++) {
        fprintf(out, " --%s", options->name);
        if (options->letter != 0)
            fprintf(out, " -%c", options->letter);
    }
}

static void bash_arguments(const struct cli_command *command, FILE *out)
{
    char *words = words_of_usage(command);

    fputs("        case $at in\n", out);
    for (size_t i = 0; i <= count_arguments(command); i++) {
        bool is_last = i == count_arguments(command);
        const char *more = bash_words(type_of_argument(command, i));

        if (is_last)
            fputs("            *) ", out);
        else
            fprintf(out, "            %zu) ", i);
        fprintf(out, "%s", more);
        if (i == 0 && *words != '\0')
            fprintf(out, "; COMPREPLY+=($(compgen -W '%s' -- \"$cur\"))", words);
        fputs(" ;;\n", out);
    }
    fputs("        esac\n", out);
    free(words);
}

static void put_command_names(FILE *out)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (!cli_commands[i]->is_hidden)
            fprintf(out, "%s ", cli_commands[i]->name);
}

static bool is_switch_somewhere(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        for (const struct cli_option *o = cli_commands[i]->options; o != NULL && o->name != NULL;
             o++)
            if (o->type == CLI_SWITCH && strcmp(o->name, name) == 0)
                return true;
    return false;
}

/* " | --kind | -k": options whose next word is their value. */
static void put_value_options(FILE *out)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        for (const struct cli_option *o = cli_commands[i]->options; o != NULL && o->name != NULL;
             o++)
            if (o->type != CLI_SWITCH && !is_switch_somewhere(o->name))
                fprintf(out, " | --%s", o->name);
}

static void write_bash(FILE *out)
{
    fputs("# bash completion of accrete, made by accrete completion bash\n\n"
          "_accrete_kinds()\n{\n    local i app=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        [ \"${COMP_WORDS[i]}\" != --app ] || app=(--app \"${COMP_WORDS[i + 1]}\")\n"
          "    done\n    accrete completion \"${app[@]}\" kinds 2>/dev/null\n}\n\n"
          "_accrete()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i "
          "at=0\n\n    COMPREPLY=()\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        --app | --set | --log",
          out);
    put_value_options(out);
    fputs(") ((i++)) ;;\n"
          "        -*) ;;\n"
          "        *) if [ -z \"$command\" ]; then command=${COMP_WORDS[i]}; else ((at++)); fi ;;\n"
          "        esac\n    done\n    case $prev in\n",
          out);
    bash_values(cli_common, out);
    fputs("    esac\n    case $command in\n    '' | help)\n"
          "        if [[ $cur == -* ]]; then\n            COMPREPLY=($(compgen -W '--version "
          "--help-config",
          out);
    put_option_names(cli_common, out);
    fputs("' -- \"$cur\"))\n        else\n            COMPREPLY=($(compgen -W '", out);
    put_command_names(out);
    fputs("help' -- \"$cur\"))\n        fi\n        ;;\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *command = cli_commands[i];

        if (command->is_hidden)
            continue;
        fprintf(out, "    %s)\n        case $prev in\n", command->name);
        bash_values(command->options, out);
        fputs("        esac\n        if [[ $cur == -* ]]; then\n            COMPREPLY=($(compgen "
              "-W '",
              out);
        put_option_names(command->options, out);
        put_option_names(cli_common, out);
        fputs("' -- \"$cur\"))\n            return\n        fi\n", out);
        bash_arguments(command, out);
        fputs("        ;;\n", out);
    }
    fputs("    esac\n}\n\ncomplete -o filenames -F _accrete accrete\n", out);
}

/* zsh */

static const char *zsh_action(enum cli_type type)
{
    switch (type) {
    case CLI_FILE:
        return "_files";
    case CLI_DIR:
        return "_files -/";
    case CLI_KIND:
        return "_accrete_kinds";
    default:
        return " ";
    }
}

static void zsh_option(const struct cli_option *option, FILE *out)
{
    fputs("            '", out);
    if (option->letter != 0)
        fprintf(out, "(-%c --%s)'{-%c,--%s}'", option->letter, option->name, option->letter,
                option->name);
    else
        fprintf(out, "*--%s", option->name);
    putc('[', out);
    put_escaped(option->help, "[]:\\", out);
    putc(']', out);
    if (option->type != CLI_SWITCH) {
        putc(':', out);
        put_escaped(option->value, "[]:\\", out);
        if (option->words != NULL)
            fprintf(out, ":(%s)", option->words);
        else
            fprintf(out, ":%s", zsh_action(option->type));
    }
    fputs("' \\\n", out);
}

static void zsh_options(const struct cli_option *options, FILE *out)
{
    for (; options != NULL && options->name != NULL; options++)
        zsh_option(options, out);
}

static void zsh_arguments(const struct cli_command *command, FILE *out)
{
    char *words = words_of_usage(command);
    size_t count = count_arguments(command);

    for (size_t i = 0; i < count || (i == 0 && *words != '\0'); i++) {
        bool is_last = command->argc_max < 0 && i + 1 >= count && *words == '\0';

        if (is_last)
            fputs("            '*:", out);
        else
            fprintf(out, "            '%zu:", i + 1);
        put_escaped(i < count ? command->arguments[i].name : "WORD", "[]:\\", out);
        if (i == 0 && *words != '\0')
            fprintf(out, ":(%s)", words);
        else
            fprintf(out, ":%s", zsh_action(type_of_argument(command, i)));
        fputs("' \\\n", out);
    }
    free(words);
}

static void write_zsh(FILE *out)
{
    fputs(
        "#compdef accrete\n# zsh completion of accrete, made by accrete completion zsh\n\n"
        "_accrete_kinds()\n{\n    local -a kinds\n"
        "    app=${opt_args[--app]:-$app}\n"
        "    kinds=(${(f)\"$(accrete completion ${app:+--app} $app kinds 2>/dev/null)\"})\n"
        "    compadd -a kinds\n}\n\n"
        "_accrete()\n{\n    local curcontext=$curcontext state line app\n    typeset -A opt_args\n"
        "    local -a commands\n    commands=(\n",
        out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (cli_commands[i]->is_hidden)
            continue;
        fprintf(out, "        '%s:", cli_commands[i]->name);
        put_escaped(cli_commands[i]->summary, ":\\", out);
        fputs("'\n", out);
    }
    fputs("        'help:shows the help of a command'\n    )\n    _arguments -C -A '-*' \\\n", out);
    zsh_options(cli_common, out);
    fputs("            '--version[prints the version]' \\\n"
          "            '--help-config[prints every setting]' \\\n"
          "            '1:command:->command' '*::argument:->argument'\n"
          "    case $state in\n"
          "    command) _describe command commands ;;\n    argument)\n"
          "        app=${opt_args[--app]} # behind the command there are others\n"
          "        case $line[1] in\n"
          "        help) _describe command commands ;;\n",
          out);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *command = cli_commands[i];

        if (command->is_hidden)
            continue;
        fprintf(out, "        %s)\n            _arguments \\\n", command->name);
        zsh_options(command->options, out);
        zsh_options(cli_common, out);
        zsh_arguments(command, out);
        fputs("            && return\n            ;;\n", out);
    }
    /* found in fpath the file is the function; sourced it says which function is meant */
    fputs("        esac\n        ;;\n    esac\n}\n\n"
          "if [[ ${funcstack[1]} = _accrete ]]; then\n    _accrete \"$@\"\n"
          "else\n    compdef _accrete accrete\nfi\n",
          out);
}

/* fish */

#define FISH_KINDS "'(__accrete_kinds)'"

static void fish_option(const struct cli_option *option, const char *condition, FILE *out)
{
    fprintf(out, "complete -c accrete%s -l %s", condition, option->name);
    if (option->letter != 0)
        fprintf(out, " -s %c", option->letter);
    if (option->words != NULL)
        fprintf(out, " -x -a '%s'", option->words);
    else if (option->type == CLI_KIND)
        fputs(" -x -a " FISH_KINDS, out);
    else if (option->type == CLI_FILE)
        fputs(" -r -F", out);
    else if (option->type == CLI_DIR)
        fputs(" -x -a '(__fish_complete_directories)'", out);
    else if (option->type != CLI_SWITCH)
        fputs(" -x", out);
    fputs(" -d '", out);
    for (const char *at = option->help; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\')
            putc('\\', out);
        putc(*at, out);
    }
    fputs("'\n", out);
}

static void fish_command(const struct cli_command *command, FILE *out)
{
    char *condition = acc_format(" -n '__fish_seen_subcommand_from %s'", command->name);
    char *words = words_of_usage(command);
    bool has_kind = false;
    bool has_file = false;

    fprintf(out, "complete -c accrete -n __fish_use_subcommand -a %s -d '", command->name);
    for (const char *at = command->summary; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\')
            putc('\\', out);
        putc(*at, out);
    }
    fputs("'\n", out);
    for (const struct cli_option *o = command->options; o != NULL && o->name != NULL; o++)
        fish_option(o, condition, out);
    for (size_t i = 0; i < count_arguments(command); i++) {
        has_kind |= command->arguments[i].type == CLI_KIND;
        has_file |= command->arguments[i].type == CLI_FILE;
    }
    if (has_kind)
        fprintf(out, "complete -c accrete%s -a " FISH_KINDS "\n", condition);
    if (has_file)
        fprintf(out, "complete -c accrete%s -F\n", condition);
    if (*words != '\0')
        fprintf(out, "complete -c accrete%s -a '%s'\n", condition, words);
    free(words);
    free(condition);
}

static void write_fish(FILE *out)
{
    fputs("# fish completion of accrete, made by accrete completion fish\n\n"
          "function __accrete_kinds\n"
          "    set -l words (commandline -opc)\n"
          "    set -l app\n"
          "    for i in (seq 2 (count $words))\n"
          "        test $words[$i] != --app; or set app --app $words[(math $i + 1)]\n"
          "    end\n"
          "    accrete completion $app kinds 2>/dev/null\n"
          "end\n\ncomplete -c accrete -f\n",
          out);
    for (const struct cli_option *o = cli_common; o->name != NULL; o++)
        fish_option(o, "", out);
    fputs("complete -c accrete -n __fish_use_subcommand -l version -d 'prints the version'\n"
          "complete -c accrete -n __fish_use_subcommand -l help-config -d 'prints every setting'\n"
          "complete -c accrete -n __fish_use_subcommand -a help -d 'shows the help of a command'\n"
          "complete -c accrete -n '__fish_seen_subcommand_from help' -a '",
          out);
    put_command_names(out);
    fputs("'\n", out);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (!cli_commands[i]->is_hidden)
            fish_command(cli_commands[i], out);
}

void completion_write(const char *shell, FILE *out)
{
    if (strcmp(shell, "bash") == 0)
        write_bash(out);
    else if (strcmp(shell, "zsh") == 0)
        write_zsh(out);
    else
        write_fish(out);
}

/*
 * The kinds of the app, by the names of their files: no module is run because somebody pressed Tab.
 */
static int print_kinds(struct cli *cli)
{
    struct app app;
    int exit_code;

    if (!cli_app(cli, &app, &exit_code))
        return exit_code;
    char *path = acc_format("%s/kinds", app.dir);
    DIR *dir = opendir(path);

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);

        if (length > 4 && strcmp(entry->d_name + length - 4, ".lua") == 0 &&
            islower((uint8_t)entry->d_name[0]))
            printf("%.*s\n", (int)length - 4, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    free(path);
    app_close(&app);
    return cli_flush(cli, CLI_DONE);
}

static int run(struct cli *cli)
{
    const char *what = cli->argv[0];

    if (strcmp(what, "kinds") == 0)
        return print_kinds(cli);
    if (strcmp(what, "bash") != 0 && strcmp(what, "zsh") != 0 && strcmp(what, "fish") != 0)
        return cli_misuse(cli, "wanted bash, zsh, fish or kinds, got \"%s\"", what);
    completion_write(what, stdout);
    return cli_flush(cli, CLI_DONE);
}

const struct cli_command cli_completion = {
    .name = "completion",
    .summary = "prints completion for a shell",
    .usage = "bash | zsh | fish | kinds",
    .is_hidden = true,
    .argc_min = 1,
    .argc_max = 1,
    .options = (const struct cli_option[]){{0}},
    .examples =
        (const struct cli_example[]){
            {"source <(accrete completion bash)", "in ~/.bashrc, where it is not installed"},
            {"source <(accrete completion zsh)", "in ~/.zshrc, behind compinit"},
            {"accrete completion fish | source", "in ~/.config/fish/config.fish"},
            {0},
        },
    .run = run,
};
