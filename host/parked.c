#include "parked.h"

#include "audit.h"
#include "retries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What each act may change. A queued event's retry is in a packet: nobody else touches it. */
#define CAN_RETRY "p.state IN ('dead', 'delayed', 'discarded') AND l.active"
#define CAN_DISCARD "p.state IN ('dead', 'delayed')"

void parked_args(const struct parked_filter *filter, struct pg_args *args, struct buf *lifecycles,
                 struct buf *facts)
{
    pg_text(args, filter->lifecycle);
    pg_text(args, filter->state);
    pg_text(args, filter->group);
    if (filter->key_count == 0) {
        pg_bytes(args, PG_INT2_ARRAY, NULL, 0);
        pg_bytes(args, PG_UUID_ARRAY, NULL, 0);
        return;
    }
    pg_array_begin(lifecycles, PG_INT2);
    pg_array_begin(facts, PG_UUID);
    for (size_t i = 0; i < filter->key_count; i++) {
        pg_array_int2(lifecycles, filter->keys[i].lifecycle);
        pg_array_add(facts, filter->keys[i].fact, 16);
    }
    pg_array_end(lifecycles, 0);
    pg_array_end(facts, 0);
    pg_array(args, PG_INT2_ARRAY, lifecycles);
    pg_array(args, PG_UUID_ARRAY, facts);
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*
 * The lowest and highest id that begin with these digits (dashes are skipped); false: no hex, or
 * too much of it.
 */
static bool read_range(const char *digits, uint8_t *low, uint8_t *high)
{
    size_t n = 0;

    memset(low, 0, 16);
    memset(high, 0xff, 16);
    for (; *digits != '\0'; digits++) {
        int value = digit_of(*digits);

        if (*digits == '-')
            continue;
        if (value < 0 || n == 32)
            return false;
        uint8_t shift = n % 2 == 0 ? 4 : 0;
        low[n / 2] = (uint8_t)((low[n / 2] & ~(15 << shift)) | value << shift);
        high[n / 2] = (uint8_t)((high[n / 2] & ~(15 << shift)) | value << shift);
        n++;
    }
    return n > 0;
}

bool parked_find(struct pg *pg, const char *text, struct parked_key *key, struct acc_error *err)
{
    static const char sql[] =
        "SELECT p.lifecycle, p.fact, l.name FROM parked p JOIN lifecycle l ON l.id = p.lifecycle "
        "WHERE p.fact BETWEEN $1 AND $2 AND ($3::text IS NULL OR l.name = $3) LIMIT 2";
    const char *colon = strchr(text, ':');
    char *lifecycle = colon == NULL ? NULL : acc_format("%.*s", (int)(colon - text), text);
    struct pg_args args = {0};
    uint8_t low[16];
    uint8_t high[16];
    bool ok = false;
    PGresult *res = NULL;

    if (!read_range(colon == NULL ? text : colon + 1, low, high)) {
        acc_fail(err, ACC_EINPUT, "\"%s\": wanted LIFECYCLE:FACTID, up to 32 hex digits", text);
        goto out;
    }
    pg_uuid(&args, low);
    pg_uuid(&args, high);
    pg_text(&args, lifecycle);
    res = pg_exec(pg, sql, &args, err);
    if (res == NULL)
        goto out;
    if (PQntuples(res) == 0) {
        acc_fail(err, ACC_EINPUT,
                 "\"%s\": no such event is parked: it is done, queued, or never was", text);
    } else if (PQntuples(res) > 1) {
        acc_fail(err, ACC_EINPUT, "\"%s\": several parked events begin so, give more", text);
    } else {
        key->lifecycle = pg_get_int2(res, 0, 0);
        memcpy(key->fact, PQgetvalue(res, 0, 1), 16);
        ok = true;
    }
out:
    PQclear(res);
    free(lifecycle);
    return ok;
}

/* Runs sql with the filter's parameters, and $6 when audit_id > 0; its first value is a number. */
static bool run_number(struct pg *pg, const char *sql, const struct parked_filter *filter,
                       int64_t audit_id, int64_t *number, struct acc_error *err)
{
    struct buf lifecycles = {0};
    struct buf facts = {0};
    struct pg_args args = {0};

    parked_args(filter, &args, &lifecycles, &facts);
    if (audit_id > 0)
        pg_int8(&args, audit_id);
    PGresult *res = pg_exec(pg, sql, &args, err);
    if (res != NULL)
        *number = pg_get_int8(res, 0, 0);
    PQclear(res);
    buf_clear(&lifecycles);
    buf_clear(&facts);
    return res != NULL;
}

#define COUNT_OF(can)                                                                              \
    "SELECT count(*) FROM parked p JOIN lifecycle l ON l.id = p.lifecycle WHERE " can              \
    " AND " PARKED_WHERE

bool parked_count(struct pg *pg, const struct parked_filter *filter, bool is_retry, int64_t *count,
                  struct acc_error *err)
{
    return run_number(pg, is_retry ? COUNT_OF(CAN_RETRY) : COUNT_OF(CAN_DISCARD), filter, 0, count,
                      err);
}

#define CHANGE_OF(set, can)                                                                        \
    "WITH u AS (UPDATE parked p SET " set " FROM lifecycle l WHERE l.id = p.lifecycle AND " can    \
    " AND " PARKED_WHERE " RETURNING 1) SELECT count(*) FROM u"

struct change {
    const struct parked_act *act;
    int64_t *count, *audit_id;
};

/* Retries that have not ended lose events to this one. */
static bool take_over(struct pg *pg, const struct parked_filter *filter, struct acc_error *err)
{
    static const char sql[] =
        "WITH u AS (UPDATE retry r SET taken = r.taken + k.n FROM (SELECT abs(p.retry) AS audit, "
        "count(*) AS n FROM parked p JOIN lifecycle l ON l.id = p.lifecycle WHERE EXISTS (SELECT "
        "FROM retry) AND p.retry IS NOT NULL AND " CAN_RETRY " AND " PARKED_WHERE
        " GROUP BY 1) k WHERE r.audit = k.audit RETURNING 1) SELECT count(*) FROM u";
    int64_t retries;

    return run_number(pg, sql, filter, 0, &retries, err);
}

static bool retry(struct pg *pg, const struct parked_filter *filter, int64_t audit_id,
                  int64_t *count, struct acc_error *err)
{
    return take_over(pg, filter, err) &&
           run_number(pg, CHANGE_OF("state = 'delayed', ready_at = now(), retry = $6", CAN_RETRY),
                      filter, audit_id, count, err) &&
           (*count == 0 || retries_add(pg, audit_id, *count, err)) &&
           pg_do(pg, "SELECT pg_notify(current_schema(), '')", NULL, err); /* wakes workers */
}

static bool discard(struct pg *pg, const struct parked_filter *filter, int64_t *count,
                    struct acc_error *err)
{
    return run_number(pg,
                      CHANGE_OF("state = 'discarded', ready_at = now(), retry = -abs(p.retry)",
                                CAN_DISCARD),
                      filter, 0, count, err) &&
           retries_write(pg, err); /* it may have been the last one of a retry */
}

static bool change(struct pg *pg, void *context, struct acc_error *err)
{
    const struct change *change = context;
    const struct parked_act *act = change->act;
    char result[64];
    struct audit audit = {.who = act->who,
                          .act = act->is_retry ? "queue retry" : "queue discard",
                          .what = act->what,
                          .reason = act->reason,
                          .result = ""};

    if (!audit_add(pg, &audit, change->audit_id, err) ||
        !(act->is_retry ? retry(pg, act->filter, *change->audit_id, change->count, err)
                        : discard(pg, act->filter, change->count, err)))
        return false;
    long long count = *change->count;
    if (act->expect >= 0 && count != act->expect)
        return acc_fail(err, ACC_EINPUT, "expected %lld event%s, found %lld: nothing was changed",
                        (long long)act->expect, act->expect == 1 ? "" : "s", count);
    snprintf(result, sizeof(result),
             act->is_retry ? "%lld queued"
             : count == 1  ? "%lld event"
                           : "%lld events",
             count);
    return audit_result(pg, *change->audit_id, result, err);
}

bool parked_change(struct pg *pg, const struct parked_act *act, int64_t *count, int64_t *audit_id,
                   struct acc_error *err)
{
    struct change it = {.act = act};

    it.count = count;
    it.audit_id = audit_id;
    return pg_write(pg, change, &it, err);
}
