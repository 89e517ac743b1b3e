/*
 * Parked events from outside: which there are, and the two things a person may do to them. Workers
 * park events (worker_turn, quarantine) and take up delayed ones (requeue); this file only moves
 * rows between states.
 */
#pragma once

#include "pg/pg.h"

/* One parked event. */
struct parked_key {
    int16_t lifecycle;
    uint8_t fact[16];
};

/* Which parked events are meant; NULL members mean any. */
struct parked_filter {
    const char *lifecycle;         /* name */
    const char *state;             /* delayed queued dead discarded */
    const char *group;             /* PARKED_GROUP below: 8 hex digits */
    const struct parked_key *keys; /* with key_count > 0: these only */
    size_t key_count;
};

/*
 * SQL over `parked p`, `lifecycle l`: an error with numbers, ids and quoted strings taken out (the
 * line of a file stays; schema.sql says how), and the 8 hex digits that name the group of all
 * events of a lifecycle that failed so.
 */
#define PARKED_SIGNATURE "p.signature"
#define PARKED_GROUP "left(md5(l.name || E'\\n' || " PARKED_SIGNATURE "), 8)"
/* Of a group of them: what the newest one really said, its first line. */
#define PARKED_MESSAGE                                                                             \
    "(array_agg(left(split_part(p.error, E'\\n', 1), 400) ORDER BY p.last_at DESC, p.fact))[1]"

/*
 * SQL of one attempt for the column history, and of a history that has it in front, at most PARKED_HISTORY long. worker may
 * be NULL, took_us too.
 */
#define PARKED_HISTORY "10"
#define PARKED_ATTEMPT(n, error, worker, generation, took_us)                                      \
    "jsonb_build_object('n', " n ", 'at', to_char(now() AT TIME ZONE 'UTC', "                      \
    "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'worker', " worker "::text, 'generation', " generation  \
    "::int4, 'took_ms', round(" took_us "::int8 / 1000.0, 3), 'error', left(" error                \
    "::text, 1000))"
#define PARKED_WITH(attempt, history)                                                              \
    "(jsonb_build_array(" attempt ") || " history ") - " PARKED_HISTORY

/*
 * SQL condition over p and l for parameters $1 .. $5, which parked_args adds. Buffers are the
 * caller's, cleared by it.
 */
#define PARKED_WHERE                                                                               \
    "($1::text IS NULL OR l.name = $1) AND ($2::text IS NULL OR p.state = $2) AND "                \
    "($3::text IS NULL OR " PARKED_GROUP " = $3) AND ($4::int2[] IS NULL OR "                      \
    "(p.lifecycle, p.fact) IN (SELECT * FROM unnest($4::int2[], $5::uuid[])))"
void parked_args(const struct parked_filter *filter, struct pg_args *args, struct buf *lifecycles,
                 struct buf *facts);

/*
 * The parked event that text names: LIFECYCLE:FACTID, where FACTID is 32 hex digits or the first of
 * them and LIFECYCLE: may be left out. ACC_EINPUT: no such event, or several.
 */
bool parked_find(struct pg *pg, const char *text, struct parked_key *key,
                 struct acc_error *err) ACC_MUST_CHECK;

/* How many events filter names that retry (or discard) would change. */
bool parked_count(struct pg *pg, const struct parked_filter *filter, bool is_retry, int64_t *count,
                  struct acc_error *err) ACC_MUST_CHECK;

/*
 * Retry: dead, delayed and discarded events are delayed until now, so that workers take them up;
 * they keep their attempts, so one that fails again is dead again at once; what becomes of them
 * is added to the audit (retries.h). Discard: dead and delayed ones are given up. In one transaction with the row of audit. ACC_EINPUT when expect >= 0
 * and another number of events would be changed; then nothing is.
 */
struct parked_act {
    const struct parked_filter *filter;
    bool is_retry;
    const char *who;    /* as in struct audit */
    const char *what;   /* the filter in words, for the audit */
    const char *reason; /* wanted */
    int64_t expect;     /* -1: any number */
};
bool parked_change(struct pg *pg, const struct parked_act *act, int64_t *count, int64_t *audit_id,
                   struct acc_error *err) ACC_MUST_CHECK;
