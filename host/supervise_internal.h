/* The master, between the files of supervise: workers, reloads, the loop. */
#pragma once

#include "services.h"
#include "supervise.h"

#include <sys/types.h>

#define QUARANTINE_SLOT (PAGE_SLOTS - 1)

/* What the master knows of a slot's process beside the page. */
struct child {
    uint64_t beat;         /* as last seen */
    int64_t beat_us;       /* when it moved */
    int64_t killed_for_ms; /* it stood still so long; 0: not killed by us */
};

/* One place for a worker; a place outlives its processes. */
struct place {
    int slot;            /* -1: nobody now */
    int64_t start_at_us; /* not before */
    int64_t backoff_ms;
    int64_t started_us;
    struct page_exit last_exit; /* of its last process */
    uint64_t restarts;          /* after deaths */
};

struct master {
    struct app *app;
    const struct supervise_options *options;
    struct page *page;
    struct board *board;
    struct services *services;
    struct embedded *embedded;
    char *conninfo;
    int lock;
    int signals;
    int wake[PAGE_SLOTS];
    struct child children[PAGE_SLOTS];
    struct place places[PAGE_SLOTS];
    int place_count;
    struct place quarantine;
    bool wants_quarantine;
    pid_t preparing, watching;
    struct settings before; /* what a reload that is being checked replaces */
    bool has_before, settings_changed;
    int prepare_pipe;
    bool is_stopping;
    int64_t stop_by_us;
    int exit_code;
    int64_t database_retry_us;
};

/* supervise.c: what every child does first. */
void supervise_become_child(struct master *master, pid_t parent);

/* supervise_workers.c: collects those that ended, starts those that are due, kills those that do not move. */
void supervise_reap_workers(struct master *master);
void supervise_start_workers(struct master *master);
void supervise_kill_stuck(struct master *master);
void supervise_wake_all(struct master *master);
int supervise_wanted_workers(const struct master *master);

/* supervise_reload.c: the first generation, nothing else can begin before it; reloads; what became of one. */
bool supervise_prepare_and_wait(struct master *master, struct acc_error *err) ACC_MUST_CHECK;
void supervise_reload(struct master *master);
void supervise_reap_reload(struct master *master);
