/*
 * Supervise: the master. Keeps workers and the private PostgreSQL alive; runs neither Lua nor libpq
 * itself.
 */
#pragma once

#include "app.h"

struct supervise_options {
    bool until_fixpoint; /* end when nothing is left to do */
    bool
        embedded; /* the host itself: starts a private PostgreSQL when there is no database.url, makes its modules
                            current; false: workers that join */
    bool progress; /* show it on stderr */
    bool detach;   /* go on in the background once everything runs */
};

/*
 * Runs until told to stop (SIGTERM, SIGINT: drain within worker.grace; a second one abandons), or
 * with until_fixpoint until there. Returns the exit code; 1 with err filled for what it has not
 * told itself.
 */
int supervise_run(struct app *app, const struct supervise_options *options, struct acc_error *err);
