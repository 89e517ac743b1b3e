/*
 * A lifecycle as the worker sees it: declarations and function pointers. script/ fills it from Lua,
 * a unit test from C.
 */
#pragma once

#include "base/buf.h"
#include "kinds.h"

#include <stdint.h>

#define LIFECYCLES_MAX 1024 /* in one app */
#define LIFECYCLE_FINDS_MAX 32
#define LIFECYCLE_FRIENDS_MAX 32
#define LIFECYCLE_HOST "host" /* no lifecycle's name: the host is called so among them */

struct acc_row;
struct batch;

enum outcome {
    OUTCOME_NONE = 0, /* not run yet */
    OUTCOME_READY,    /* friends are known, process_data is next */
    OUTCOME_EARLY,
    OUTCOME_LATE,
    OUTCOME_EMPTY,
    OUTCOME_FOUND,
    OUTCOME_FAILED,
};

struct lifecycle {
    char name[KIND_NAME_MAX + 1];
    char *path;            /* the module's file, for messages */
    const struct kind *on; /* kind of its data */
    struct {
        const struct kind *kind;
        int shape;
    } friends[LIFECYCLE_FRIENDS_MAX];
    size_t friend_count;
    const struct kind *finds[LIFECYCLE_FINDS_MAX];
    size_t find_count;
    bool is_monotone;
    bool has_mirror; /* a friends shape without fields */
    bool has_priority_function;
    int32_t priority;    /* higher first; of the lifecycle when it is a number */
    double throttle;     /* events a second over all workers; 0: none */
    int16_t id;          /* number in the database; 0: not registered yet */
    char module_sha[65]; /* SHA-256 of the module's text, hex */
    void *script;        /* what the functions below need */

    /*
     * Runs load, abort_early and load_friends for events 0 .. run_count-1 of batch, calling
     * friends_fetch as often as look-ups need it. Sets outcomes EARLY, READY or FAILED
     * (batch_park_event). false: nothing was written.
     */
    bool (*gather)(struct lifecycle *lifecycle, struct batch *batch, struct acc_error *err);
    /*
     * Runs abort_late and process_data for the READY events from *next on; stops at the batch's
     * find limit. Sets outcomes LATE, EMPTY, FOUND or FAILED and *next to the first event not run.
     */
    bool (*process)(struct lifecycle *lifecycle, struct batch *batch, uint32_t *next,
                    struct acc_error *err);
    /*
     * Priority of one new fact (row of the kind `on`) when has_priority_function; 0 when the
     * function raises.
     */
    int32_t (*priority_of)(struct lifecycle *lifecycle, const struct acc_row *row);
};

/* The modules of an app, loaded. */
struct program {
    struct catalog catalog;
    struct lifecycle **lifecycles; /* sorted by name */
    size_t lifecycle_count;
    char sha[65];       /* SHA-256 over all files of the app that shape it */
    char *files;        /* each of them, sorted in its folder: a line "kinds/edge.lua SHA-256" */
    int32_t generation; /* 0 until registered */
};

/* name_check, and refuses LIFECYCLE_HOST. */
bool lifecycle_name_check(const char *what, const char *name, struct acc_error *err) ACC_MUST_CHECK;

struct lifecycle *program_find(const struct program *program, const char *name); /* NULL: none */
struct lifecycle *program_by_id(const struct program *program, int16_t id);      /* NULL: none */

/*
 * Says where the program's files differ from those of another, `theirs` (as program.files): "kinds/edge.lua
 * differs, lua/text.lua is only here, lifecycles/join.lua is not here", at most eight of them, then
 * how many more. Says nothing when no file differs. out gets more text.
 */
void program_say_differences(const struct program *program, const char *theirs, struct buf *out);
