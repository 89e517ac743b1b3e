/*
 * Watch: a process beside the workers that follows the queue: shows progress, and tells the master
 * when the fixpoint is there.
 */
#pragma once

#include "app.h"
#include "page.h"
#include "supervise.h"

/*
 * Exit code of a watcher that lost the database; the others are the run's own: 0 at the fixpoint, 1
 * with dead events.
 */
#define WATCH_AGAIN 75

int watch_main(struct app *app, const char *conninfo, const struct page *page,
               const struct supervise_options *options);
