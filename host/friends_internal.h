/* Look-ups: what friends.c and friends_mirror.c share. */
#pragma once

#include "base/buf.h"
#include "batch.h"

/*
 * The BEGIN of the read phase goes along with the first query: *sent unless a transaction is open
 * already. Its result is read first.
 */
bool friends_begin_send(struct batch *batch, bool *sent, struct acc_error *err) ACC_MUST_CHECK;
bool friends_begin_result(struct batch *batch, bool sent, struct acc_error *err) ACC_MUST_CHECK;
/* Ends a failed read transaction, which pg_finish rolls back. Returns false. */
bool friends_failed(struct batch *batch);
/* The ids that look-ups are restricted to, as an array of uuid. */
void friends_restrict_array(const struct batch *batch, struct buf *out);
