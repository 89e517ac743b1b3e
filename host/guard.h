/*
 * Guard: work that may loop, crash or take all memory, since an app's code is in it, in a child process of its own. Time and memory
 * are bounded; the parent reads what the child says, and hears how it ended.
 */
#pragma once

#include "base/buf.h"

#include <sys/types.h>

struct guard_order {
    /*
     * What the child does; what it writes to fd the parent reads, what it prints goes to stderr. The child has a copy of the
     * parent's memory and no other descriptor; it ends when this returns, and nothing needs to be freed.
     */
    void (*run)(void *context, int fd);
    void *context;
    int64_t limit_ms, memory_bytes; /* beyond them it is ended */
};

/* One that runs. The descriptor becomes readable when it has said something, and at its end. */
struct guard_child {
    int64_t limit_ms, memory_bytes;
    pid_t pid;
    int fd;
    struct buf said; /* so far */
};

/* Longer than the limit before it is ended from outside: its own guard should have done it. */
#define GUARD_GRACE_MS 1000

bool guard_start(struct guard_child *child, const struct guard_order *order,
                 struct acc_error *err) ACC_MUST_CHECK;
/* Takes what can be read without waiting; false: it has ended, or closed its end. */
bool guard_read(struct guard_child *child);
/*
 * Ends it, if it has not ended, and takes what is left to read. NULL: it ran to its end; else why not, as a sentence ("it ran longer
 * than 5000 ms and was stopped"); caller frees. What it said stays in child->said until buf_clear.
 */
char *guard_end(struct guard_child *child);
/* Waits until the child has something to read, at most wait_ms. */
void guard_wait(const struct guard_child *child, int64_t wait_ms);

/* For the child: writes all of it, or ends the process. */
void guard_say(int fd, const char *data, size_t size);

/*
 * For a process that is forked to outlive a request: closes all descriptors but standard error and keep[] (count of them, ascending),
 * stdin reads nothing, stdout is stderr; signals are as at the start of a program.
 */
void guard_leave(const int *keep, size_t count);
