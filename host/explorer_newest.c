#include "explorer_rows.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_FIRST 16 /* batches that are looked at first; then eight times as many, and so on */
#define WINDOW_MOST 8192

/* Some batches that follow each other in the order of time. */
struct window {
    struct buf ids, times; /* binary int8[] and timestamptz[] */
    int64_t limit;
    int count;
    bool has_last;   /* the last one of the window before; this one begins behind it */
    char last_id[8]; /* binary */
    char last_at[8];
};

/* Which lifecycles (0: ingest) have found facts of the kind, as a binary int2[]. */
static bool read_finders(struct pg *pg, const struct kind *kind, struct buf *finders,
                         struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT DISTINCT lifecycle FROM tally_kind WHERE kind = $1 AND new > 0"};
    struct pg_args args = {0};

    pg_int4(&args, kind->tag);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    pg_array_begin(finders, PG_INT2);
    for (int r = 0; r < PQntuples(res); r++)
        pg_array_int2(finders, pg_get_int2(res, r, 0));
    pg_array_end(finders, 0);
    PQclear(res);
    return true;
}

/* Where the next batches begin: behind the window before, or with the cursor's. */
static void add_start(const struct explorer_query *query, const struct window *window,
                      struct pg_args *args, struct buf *sql)
{
    const char *sign = explorer_is_ascending(query) ? ">" : "<";

    if (window->has_last) {
        pg_bytes(args, PG_TIMESTAMPTZ, window->last_at, 8);
        pg_bytes(args, PG_INT8, window->last_id, 8);
        buf_printf(sql, " AND (at, id) %s ($%d, $%d)", sign, args->count - 1, args->count);
    } else if (query->cursor != NULL) {
        pg_uuid(args, query->cursor);
        buf_printf(sql,
                   " AND (at, id) %s= (SELECT cb.at, cb.id FROM %s c JOIN batch cb ON cb.id = "
                   "c._batch WHERE c._id = $%d)",
                   sign, query->kind->table, args->count);
    }
}

static void read_window(struct window *window, const PGresult *res)
{
    int count = PQntuples(res);

    buf_reset(&window->ids);
    buf_reset(&window->times);
    pg_array_begin(&window->ids, PG_INT8);
    pg_array_begin(&window->times, PG_TIMESTAMPTZ);
    for (int r = 0; r < count; r++) {
        pg_array_add(&window->ids, PQgetvalue(res, r, 0), 8);
        pg_array_add(&window->times, PQgetvalue(res, r, 1), 8);
    }
    pg_array_end(&window->ids, 0);
    pg_array_end(&window->times, 0);
    window->count = count;
    if (count > 0) {
        memcpy(window->last_id, PQgetvalue(res, count - 1, 0), 8);
        memcpy(window->last_at, PQgetvalue(res, count - 1, 1), 8);
        window->has_last = true;
    }
}

/* Each lifecycle's next batches by the index on (lifecycle, at, id); of these the first ones. */
static bool next_window(struct pg *pg, const struct explorer_query *query,
                        const struct buf *finders, struct window *window, struct acc_error *err)
{
    const char *way = explorer_is_ascending(query) ? "" : " DESC";
    struct pg_args args = {0};
    struct buf sql = {0};

    pg_array(&args, PG_INT2_ARRAY, finders);
    pg_int8(&args, window->limit);
    buf_text(&sql, "SELECT b.id, b.at FROM unnest($1) l(id) CROSS JOIN LATERAL (SELECT id, at FROM "
                   "batch WHERE lifecycle = l.id AND new > 0");
    add_start(query, window, &args, &sql);
    buf_printf(&sql, " ORDER BY at%s, id%s LIMIT $2) b ORDER BY b.at%s, b.id%s LIMIT $2", way, way,
               way, way);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    buf_clear(&sql);
    if (res == NULL)
        return false;
    read_window(window, res);
    PQclear(res);
    return true;
}

/* Batch by batch, by the index on _batch: OFFSET 0 keeps the planner from any other way. */
static PGresult *read_facts(struct pg *pg, const struct explorer_query *query,
                            const struct window *window, int64_t limit, struct acc_error *err)
{
    const char *way = explorer_is_ascending(query) ? "" : " DESC";
    const char *sign = explorer_is_ascending(query) ? ">" : "<";
    const char *table = query->kind->table;
    struct pg_args args = {0};
    struct buf sql = {0};

    pg_array(&args, PG_INT8_ARRAY, &window->ids);
    pg_array(&args, PG_TIMESTAMPTZ_ARRAY, &window->times);
    buf_text(&sql, "SELECT ");
    facts_select_list(query->kind, &sql);
    buf_printf(&sql,
               EXPLORER_ABOUT " FROM (SELECT f.*, u.at FROM unnest($1, $2) u(id, at) CROSS JOIN "
                              "LATERAL (SELECT f.* FROM %s f WHERE f._batch = u.id OFFSET 0) f "
                              "WHERE true",
               table);
    if (query->filters != NULL)
        filters_sql(query->filters, &sql, &args);
    if (query->cursor != NULL) {
        pg_uuid(&args, query->cursor);
        buf_printf(&sql,
                   " AND (u.at, u.id, f._id) %s (SELECT cb.at, cb.id, c._id FROM %s c JOIN batch "
                   "cb ON cb.id = c._batch WHERE c._id = $%d)",
                   sign, table, args.count);
    }
    pg_int8(&args, limit);
    buf_printf(&sql, " ORDER BY u.at%s, u.id%s, f._id%s LIMIT $%d) f" EXPLORER_JOINS, way, way, way,
               args.count);
    buf_printf(&sql, " ORDER BY f.at%s, f._batch%s, f._id%s", way, way, way);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    buf_clear(&sql);
    return res;
}

/* As if the statement had been cut off. */
static bool is_late(const struct explorer_query *query, int64_t started_us, struct acc_error *err)
{
    if (query->limit_ms == 0 || clock_us() - started_us < query->limit_ms * 1000)
        return false;
    acc_fail(err, ACC_EDB, "the time is up");
    memcpy(err->sqlstate, "57014", 6);
    return true;
}

bool explorer_read_newest(struct pg *pg, const struct explorer_query *query,
                          struct explorer_pieces *pieces, struct acc_error *err)
{
    struct window window = {.limit = WINDOW_FIRST};
    struct buf finders = {0};
    int64_t started_us = clock_us();
    bool ok = read_finders(pg, query->kind, &finders, err);

    while (ok && pieces->row_count <= query->limit) {
        PGresult *res = NULL;

        ok = !is_late(query, started_us, err) && next_window(pg, query, &finders, &window, err);
        if (ok && window.count > 0) {
            res = read_facts(pg, query, &window, query->limit + 1 - pieces->row_count, err);
            ok = res != NULL;
        }
        if (res != NULL && PQntuples(res) > 0)
            explorer_add_piece(pieces, res);
        else
            PQclear(res);
        if (window.count < window.limit)
            break;
        window.limit = window.limit * 8 > WINDOW_MOST ? WINDOW_MOST : window.limit * 8;
    }
    buf_clear(&finders);
    buf_clear(&window.ids);
    buf_clear(&window.times);
    return ok;
}
