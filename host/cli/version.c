/* accrete version: this program and what it is made with. */
#include "cli/commands.h"

#include "accrete/hot.h"

#include <libpq-fe.h>
#include <stdio.h>

static int run(struct cli *cli)
{
    char libpq[24];

    if (!cli_has(cli, "json")) {
        puts("accrete " ACC_VERSION);
        return cli_flush(cli, CLI_DONE);
    }
    snprintf(libpq, sizeof(libpq), "%d.%d", PQlibVersion() / 10000, PQlibVersion() % 10000);
    return cli_print_json(cli, json_pack("{s:s, s:i, s:s, s:s, s:s}", "version", ACC_VERSION,
                                         "hot_abi", ACC_HOT_ABI, "libpq", libpq, "jansson",
                                         jansson_version_str(), "compiler", __VERSION__));
}

const struct cli_command cli_version = {
    .name = "version",
    .summary = "prints the version",
    .usage = "",
    .options =
        (const struct cli_option[]){
            {"json", 0, CLI_SWITCH, .help = "also of what it is made with"},
            {0},
        },
    .examples =
        (const struct cli_example[]){
            {"accrete version --json", "with the versions of what it is made with"},
            {0},
        },
    .run = run,
};
