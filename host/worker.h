/*
 * Worker: one process, one connection, one lua_State. Takes packets, runs lifecycles, writes what
 * they found.
 */
#pragma once

#include "app.h"
#include "metrics.h"
#include "page.h"

/* How a worker's process ends; the master acts on it. */
enum worker_exit {
    WORKER_DONE = 0,   /* retired or drained: as asked */
    WORKER_FAILED = 1, /* it cannot work (message logged) */
    WORKER_AGAIN = 75, /* connection lost or turns used up: start a new one */
    WORKER_STALE = 76, /* its modules are not the current generation */
};

struct worker_options {
    struct app *app;
    const char *conninfo;
    const char *modules_dir; /* the generation's snapshot of the app */
    const char *native_dir;
    struct page *page;
    int slot;
    const int *wake_fds;     /* eventfd of each slot */
    struct metrics *metrics; /* the board's, which all processes of the host share; NULL: none */
    bool is_quarantine;
};

/* Runs until page.slots[slot].retire is set. Returns an enum worker_exit. */
int worker_main(const struct worker_options *options);
