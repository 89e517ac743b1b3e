/* What people hold back: a paused queue and throttled lifecycles, as status, top, queue and doctor show it. */
#pragma once

#include "cli/work.h"

/*
 * Sets paused, {by, reason, since} or null, and throttles, [{lifecycle, per_s, by, reason, since}], in the object. false:
 * printed, and *exit_code set.
 */
bool held_read(struct cli *cli, struct work *work, json_t *object, int *exit_code) ACC_MUST_CHECK;
/* A line on stdout for each; nothing when nothing is held back. */
void held_print(const json_t *object);
