/* The prompt of accrete lua. */
#pragma once

#include "script/script.h"

/*
 * Reads lines from stdin until its end and runs them in script (script_prompt comes first). At a
 * terminal with editing, history (kept in the file history, NULL: not kept) and completion. Errors
 * of what was typed are shown and are no failure.
 */
bool prompt(struct script *script, const char *name, const char *history,
            struct acc_error *err) ACC_MUST_CHECK;
