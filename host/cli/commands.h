/* The table of each command; each is in the file of its name, commands.c lists them. */
#pragma once

#include "cli/cli.h"

extern const struct cli_command cli_build, cli_count, cli_dump, cli_explain, cli_graph, cli_ingest,
    cli_lua, cli_new, cli_reload, cli_run, cli_status, cli_stop, cli_version, cli_wait, cli_worker;
