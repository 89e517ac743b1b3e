/*
 * Ownership: which buckets this worker runs. Session advisory locks, free again as soon as a
 * connection dies. It saves work only; that no event is done twice is the fence's doing
 * (queue_done_send).
 */
#pragma once

#include "pg/pg.h"

struct ownership {
    int32_t schema_oid;
    int32_t generation; /* of this worker's modules */
    int32_t newest;     /* of the live workers', when the balance was last looked at */
    int buckets;
    bool *owned; /* by bucket */
    int count;
};

bool ownership_init(struct ownership *own, struct pg *pg, int buckets, int32_t generation,
                    struct acc_error *err) ACC_MUST_CHECK;
void ownership_clear(struct ownership *own);
/*
 * Takes free buckets up to a fair share (buckets / live workers, rounded up), gives back what is
 * more. While workers of a newer generation live, all is theirs: they alone know every lifecycle
 * that has events. One round trip when nothing changes. *changed tells whether owned is different
 * now.
 */
bool ownership_balance(struct ownership *own, struct pg *pg, bool *changed,
                       struct acc_error *err) ACC_MUST_CHECK;
