#include "explorer_rows.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_FIRST 256 /* blocks of 8 KiB that are counted first */
#define CHUNK_US 20000  /* one that takes less than half of it makes the next twice as large */
#define BOUND_FIRST 10000

bool explorer_total(struct pg *pg, const struct kind *kind, int64_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT coalesce(sum(new), 0)::int8 FROM tally_kind WHERE kind = $1"};
    struct pg_args args = {0};

    pg_int4(&args, kind->tag);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *count = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

/* How many rows inner has. Clears it. */
static bool run_count(struct pg *pg, struct buf *inner, const struct pg_args *args, int64_t *count,
                      struct acc_error *err)
{
    char *sql = acc_format("SELECT count(*)::int8 FROM (%s) n", inner->data);
    PGresult *res = pg_exec(pg, sql, args, err);

    free(sql);
    buf_clear(inner);
    if (res == NULL)
        return false;
    *count = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

static bool count_up_to(struct pg *pg, const struct filters *filters, int64_t bound, int64_t *count,
                        struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf sql = {0};

    buf_printf(&sql, "SELECT FROM %s f WHERE true", filters->kind->table);
    filters_sql(filters, &sql, &args);
    if (bound > 0) {
        pg_int8(&args, bound);
        buf_printf(&sql, " LIMIT $%d", args.count);
    }
    return run_count(pg, &sql, &args, count, err);
}

bool explorer_count(struct pg *pg, const struct filters *filters, int64_t bound, int64_t *count,
                    struct acc_error *err)
{
    return count_up_to(pg, filters, bound, count, err) ||
           explorer_explain_timeout(pg, filters->kind, err);
}

/* In bounded time */

struct counting {
    struct pg *pg;
    const struct filters *filters;
    int64_t end_us; /* of the time for it */
    int64_t count;
    bool is_exact;
};

/* What is left of the time bounds the next statement; *is_over: nothing is. */
static bool begin_part(struct counting *counting, bool *is_over, struct acc_error *err)
{
    int64_t left_ms = (counting->end_us - clock_us()) / 1000;

    *is_over = left_ms < 1;
    return *is_over || explorer_set_timeout(counting->pg, left_ms, err);
}

/* A part that the time was too short for is no failure. */
static bool was_cut(const struct acc_error *err)
{
    return strcmp(err->sqlstate, "57014") == 0;
}

/* By an index: up to a bound, which grows while there is time. */
static bool count_by_index(struct counting *counting, struct acc_error *err)
{
    bool is_over = false;

    for (int64_t bound = BOUND_FIRST; !counting->is_exact; bound *= 4) {
        int64_t count;

        if (!begin_part(counting, &is_over, err))
            return false;
        if (is_over)
            return true;
        if (!count_up_to(counting->pg, counting->filters, bound, &count, err))
            return was_cut(err);
        counting->count = count;
        counting->is_exact = count < bound;
    }
    return true;
}

static bool count_blocks(struct counting *counting, int64_t first, int64_t last, int64_t *count,
                         struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf sql = {0};
    struct explorer_blocks blocks;

    buf_printf(&sql, "SELECT FROM %s f WHERE true", counting->filters->kind->table);
    explorer_in_blocks(&blocks, first, last, &sql, &args);
    filters_sql(counting->filters, &sql, &args);
    return run_count(counting->pg, &sql, &args, count, err);
}

/* By searching the table, some blocks at a time, so that what was counted stays when the time is up. */
static bool count_by_search(struct counting *counting, struct acc_error *err)
{
    int64_t chunk = CHUNK_FIRST;
    int64_t blocks;
    bool is_over = false;

    if (!explorer_count_blocks(counting->pg, counting->filters->kind, &blocks, err))
        return false;
    for (int64_t at = 0; at < blocks;) {
        int64_t started_us = clock_us();
        int64_t count;

        if (!begin_part(counting, &is_over, err))
            return false;
        if (is_over)
            return true;
        if (!count_blocks(counting, at, at + chunk, &count, err))
            return was_cut(err);
        counting->count += count;
        at += chunk;
        if (clock_us() - started_us < CHUNK_US / 2)
            chunk *= 2;
    }
    counting->is_exact = true;
    return true;
}

bool explorer_count_within(struct pg *pg, const struct filters *filters, int64_t limit_ms,
                           int64_t until_ms, int64_t *count, bool *is_exact, struct acc_error *err)
{
    struct counting counting = {
        .pg = pg, .filters = filters, .end_us = clock_us() + limit_ms * 1000};
    struct acc_error later;
    bool ok = explorer_is_indexed(filters) ? count_by_index(&counting, err)
                                           : count_by_search(&counting, err);

    ok = explorer_set_timeout(pg, until_ms, ok ? err : &later) && ok;
    *count = counting.count;
    *is_exact = counting.is_exact;
    return ok;
}
