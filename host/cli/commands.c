#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
    &cli_backup, &cli_bench,  &cli_build,   &cli_check, &cli_completion,   &cli_count,
    &cli_doctor, &cli_dump,   &cli_explain, &cli_facts, &cli_find_command, &cli_graph,
    &cli_index,  &cli_ingest, &cli_lua,     &cli_man,   &cli_new,          &cli_queue,
    &cli_reload, &cli_reset,  &cli_restore, &cli_run,   &cli_schema,       &cli_status,
    &cli_stop,   &cli_token,  &cli_top,     &cli_types, &cli_version,      &cli_wait,
    &cli_worker, NULL,
};
