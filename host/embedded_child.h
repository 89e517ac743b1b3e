/*
 * Programs and functions of the private PostgreSQL that run as the owner of the cluster, never as
 * root.
 */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* A user of the system. */
struct owner {
    uid_t uid;
    gid_t gid;
    char *name; /* owned by whoever filled it */
};

struct child_plan {
    const struct owner *owner; /* as root the child becomes this user */
    const char *const *argv;   /* argv[0] is the path of the program; ends with NULL */
    const char *input;         /* its stdin, at most 4 KiB; NULL: /dev/null */
    int output_fd;             /* its stdout and stderr */
    int death_signal;          /* what it gets when this process dies */
};

/*
 * Starts a program in a session of its own (a terminal's ^C does not reach it), with no descriptor
 * but the three, no signal blocked or ignored, umask 077 and an environment of three variables.
 * Fails when it cannot be executed.
 */
pid_t child_start(const struct child_plan *plan,
                  struct acc_error *err) ACC_MUST_CHECK; /* -1: failed */

/* Starts a program and waits for its end. Fails with ACC_EDB when it does not end with status 0. */
bool child_run(const struct child_plan *plan, struct acc_error *err) ACC_MUST_CHECK;

/*
 * waitpid for a child, over EINTR. block: waits for its end. True when it has ended; *status is -1
 * when nobody knows how.
 */
bool child_ended(pid_t pid, bool block, int *status);

/* "was killed by signal 9 (Killed)" or "ended with status 1"; valid until the next call. */
const char *child_end_text(int status);

/*
 * Runs work as owner: in a short child when this process is somebody else, in this process when
 * not.
 */
bool child_do(const struct owner *owner, bool (*work)(void *arg, struct acc_error *err), void *arg,
              struct acc_error *err) ACC_MUST_CHECK;
