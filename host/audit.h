/* Audit: what people did to a running system, who and why. Rows are only added; only a result may come later. */
#pragma once

#include "pg/pg.h"

struct audit {
    const char *who;    /* NULL: the user and machine of this process */
    const char *act;    /* "queue retry" */
    const char *what;   /* to what it was done: an event, a filter, a file */
    const char *reason; /* in the person's own words */
    const char *result; /* "5 events" */
};

/*
 * Adds a row, in the caller's transaction if there is one. *id (may be NULL) is its number.
 * ACC_ECONFLICT: run it again.
 */
bool audit_add(struct pg *pg, const struct audit *audit, int64_t *id,
               struct acc_error *err) ACC_MUST_CHECK;

/*
 * Tells the result of an act that was added before it was known. In the caller's transaction if there is one.
 * ACC_ECONFLICT: run it again.
 */
bool audit_result(struct pg *pg, int64_t id, const char *result,
                  struct acc_error *err) ACC_MUST_CHECK;

/* Every act that is written: "queue retry", "reload" ... NULL ends. */
extern const char *const audit_acts[];

/* The act that a word stands for: itself ("queue retry") or its last word ("retry"). NULL: none. */
const char *audit_act_of(const char *word);

/* "user@machine" of this process; caller frees. */
char *audit_who(void);
