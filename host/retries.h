/*
 * Retries: what became of the events that a person had tried again, added to the audit's result when all of them have ended:
 * "5 queued; 3 done, 2 dead again after 12 s".
 *
 * An event that is tried again carries the audit's number in parked.retry until it ends. Done, its row goes; failed or discarded,
 * the number turns negative; tried again by a person once more, it carries the new number, and the old retry notes that it was
 * taken. So a retry has ended when no row carries its number, which one look at an index shows, and those that are
 * not there any more are done. Events of a lifecycle that was removed do not hold it up: they are told apart. Nothing is counted while batches run, however many events there are, and the death of a worker
 * cannot lose count. The table retry has a row for each that has not ended.
 *
 * Workers look: as they begin and end, and between, those that took up parked events until no retry is open.
 */
#pragma once

#include "pg/pg.h"

/* Makes the row of a retry of so many events. In the caller's transaction. */
bool retries_add(struct pg *pg, int64_t audit_id, int64_t count,
                 struct acc_error *err) ACC_MUST_CHECK;

/* Writes what became of the retries that have ended, in the caller's transaction. */
bool retries_write(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The same in a transaction of its own when a look shows that one has ended. *is_open: there is one that has not.
 */
bool retries_settle(struct pg *pg, bool *is_open, struct acc_error *err) ACC_MUST_CHECK;
