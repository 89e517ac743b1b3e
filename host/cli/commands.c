#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
    &cli_build,   &cli_count, &cli_dump,   &cli_explain, &cli_graph,  &cli_ingest,
    &cli_lua,     &cli_new,   &cli_reload, &cli_run,     &cli_status, &cli_stop,
    &cli_version, &cli_wait,  &cli_worker, NULL,
};
