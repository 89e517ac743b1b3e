/* The parts of accrete explain. */
#pragma once

#include "cli/cli.h"
#include "cli/work.h"
#include "provenance.h"

/* What was read from the root on, drawn. is_down: what came of it. */
struct explain_drawing {
    struct cli *cli;
    struct provenance *provenance;
    bool is_down;
    bool *is_drawn;  /* by node */
    struct buf line; /* scratch */
};

/* These print to stdout and return the exit code. */
int explain_text(struct explain_drawing *drawing);
int explain_json(struct explain_drawing *drawing);
int explain_dot(struct explain_drawing *drawing);

/* Runs the lifecycle on the fact without writing, and tells what happens. */
int explain_why_not(struct cli *cli, struct work *work, const char *lifecycle,
                    const struct kind *kind, const uint8_t *id);
