/* Manual page and shell completion, made from the tables of the commands. */
#pragma once

#include "cli/cli.h"

/* accrete(1) in roff. */
void manual_write(FILE *out);

/* Completion for "bash", "zsh" or "fish". */
void completion_write(const char *shell, FILE *out);
