/* What `accrete status` knows, for those who show it otherwise. */
#pragma once

#include "cli/work.h"

/*
 * Adds to status (an object): host, draining, refused_reload, workers and, when the app has tables,
 * generation, facts, contradictions, lifecycles, queue, dead. false: printed, and *exit_code set.
 */
bool status_read(struct cli *cli, struct work *work, json_t *status, int *exit_code);
