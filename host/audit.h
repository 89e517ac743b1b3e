/* Audit: what people did to a running system, who and why. Rows are only added. */
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

/* "user@machine" of this process; caller frees. */
char *audit_who(void);
