/*
 * Control: what people set while it runs. It stands in the database, so that workers of every machine obey it; they read
 * it a few times a second, and a NOTIFY wakes those that sleep. Each change is a row of the audit.
 *
 * Paused: no batch begins, retries and replays wait; running batches end, ingest goes on. A throttle set here beats the
 * module's.
 */
#pragma once

#include "pg/pg.h"

/* Payload of the NOTIFY: control is to be read again now. */
#define CONTROL_NOTE "control"

struct control_throttle {
    int16_t lifecycle; /* number */
    double per_s;      /* events a second over all workers, above 0 */
    char *who, *reason;
    int64_t since_us; /* wall clock */
};

struct control {
    bool is_paused;
    char *who, *reason;                 /* of the pause; NULL when it is not paused */
    int64_t since_us;                   /* wall clock */
    struct control_throttle *throttles; /* by lifecycle */
    size_t throttle_count;
};

/*
 * Replaces what is in control by what holds now; zero it at first. Tables of an older version hold nothing. One round
 * trip, which takes no predicate locks.
 */
bool control_read(struct control *control, struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
void control_clear(struct control *control);
/* The throttle that holds for a lifecycle whose module says per_s; 0: none. */
double control_per_s(const struct control *control, int16_t lifecycle, double per_s);

/* Who changes it, and why; both go to the audit. */
struct control_act {
    const char *who;    /* NULL: the user and machine of this process */
    const char *reason; /* wanted */
};
/*
 * Pauses or resumes. *audit_id is the number of its row. What is paused already has who and why anew; what is not paused
 * cannot be resumed: nothing is written down, and *audit_id is 0.
 */
bool control_pause(struct pg *pg, bool is_paused, const struct control_act *act, int64_t *audit_id,
                   struct acc_error *err) ACC_MUST_CHECK;
/* Sets the throttle of a lifecycle, 0: the module's holds again. ACC_EINPUT: no such lifecycle, or no such rate. */
bool control_throttle(struct pg *pg, const char *lifecycle, double per_s,
                      const struct control_act *act, int64_t *audit_id,
                      struct acc_error *err) ACC_MUST_CHECK;
