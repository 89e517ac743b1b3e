/* accrete: the commands, and the way into each of them. */
#include "cli/cli.h"
#include "cli/commands.h"

#include <string.h>

/* What stands in the place of a command. */
static bool run_alone(struct cli *cli, int argc, char **argv, int *exit_code)
{
    if (strcmp(argv[0], "--version") == 0) {
        *exit_code = cli_parse(cli, &cli_version, argc, argv) ? cli_version.run(cli) : CLI_MISUSE;
    } else if (strcmp(argv[0], "--help-config") == 0) {
        settings_write_help(stdout);
        *exit_code = cli_flush(cli, CLI_DONE);
    } else {
        return false;
    }
    return true;
}

static int help(const struct cli *cli, const struct cli_command *command)
{
    if (command == NULL)
        cli_help_all(stdout);
    else
        cli_help(command, stdout);
    return cli_flush(cli, CLI_DONE);
}

/* argv[0] is the command's name. */
static int run_command(struct cli *cli, int argc, char **argv)
{
    const char *nearest;
    const struct cli_command *command;

    if (strcmp(argv[0], "help") == 0) { /* accrete help [COMMAND] */
        if (argc == 1 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
            return help(cli, NULL);
        if (argc > 2)
            return cli_misuse(cli, "help: wanted one command, got also \"%s\"", argv[2]);
        argv++;
        cli->wants_help = true;
    }
    command = cli_find(argv[0], &nearest);
    if (command == NULL && nearest != NULL)
        return cli_misuse(cli, "unknown command \"%s\", did you mean \"%s\"?", argv[0], nearest);
    if (command == NULL)
        return cli_misuse(cli, "unknown command \"%s\"", argv[0]);
    if (cli->wants_help)
        return help(cli, command);
    if (!cli_parse(cli, command, argc, argv))
        return CLI_MISUSE;
    return cli->wants_help ? help(cli, command) : command->run(cli);
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    int exit_code;

    if (argc > 1 && run_alone(&cli, argc - 1, argv + 1, &exit_code))
        return exit_code;
    if (!cli_parse(&cli, NULL, argc, argv))
        exit_code = CLI_MISUSE;
    else if (cli.argc > 0)
        exit_code = run_command(&cli, cli.argc, cli.argv);
    else if (cli.wants_help)
        exit_code = help(&cli, NULL);
    else
        exit_code = cli_misuse(&cli, "wanted a command");
    cli_clear(&cli);
    return exit_code;
}
