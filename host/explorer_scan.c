#include "explorer_rows.h"

#include <stdlib.h>
#include <string.h>

static void set_tid(char tid[6], int64_t block)
{
    uint32_t wire = __builtin_bswap32((uint32_t)block);

    memset(tid, 0, 6);
    memcpy(tid, &wire, 4);
}

void explorer_in_blocks(struct explorer_blocks *blocks, int64_t first, int64_t last,
                        struct buf *sql, struct pg_args *args)
{
    set_tid(blocks->from, first);
    set_tid(blocks->to, last);
    pg_bytes(args, PG_TID, blocks->from, 6);
    pg_bytes(args, PG_TID, blocks->to, 6);
    buf_printf(sql, " AND f.ctid >= $%d AND f.ctid < $%d", args->count - 1, args->count);
}

bool explorer_count_blocks(struct pg *pg, const struct kind *kind, int64_t *blocks,
                           struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0) / "
                                         "current_setting('block_size')::int8"};
    struct pg_args args = {0};

    pg_text(&args, kind->table);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *blocks = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

bool explorer_scan(struct pg *pg, const struct filters *filters, int64_t first, int64_t last,
                   struct acc_heap *heap, const struct explorer_visit *visit, struct acc_error *err)
{
    const struct kind *kind = filters->kind;
    struct acc_row *row = acc_zalloc(kind->row_bytes);
    struct explorer_blocks blocks;
    struct pg_args args = {0};
    struct buf sql = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(&sql, EXPLORER_ABOUT " FROM (SELECT f.* FROM %s f WHERE true", kind->table);
    explorer_in_blocks(&blocks, first, last, &sql, &args);
    filters_sql(filters, &sql, &args);
    buf_text(&sql, ") f" EXPLORER_JOINS);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    bool ok = res != NULL;
    buf_clear(&sql);
    for (int r = 0; ok && r < PQntuples(res); r++)
        ok = explorer_visit_row(kind, res, r, heap, row, visit, err);
    PQclear(res);
    free(row);
    return ok;
}

bool explorer_fit(struct pg *pg, const struct kind *kind, int64_t bytes, int64_t limit,
                  int64_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT coalesce(pg_table_size(to_regclass($1)), 0) / greatest(1, (SELECT "
               "coalesce(sum(new), 0)::int8 FROM tally_kind WHERE kind = $2))"};
    struct pg_args args = {0};

    pg_text(&args, kind->table);
    pg_int4(&args, kind->tag);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    int64_t each = pg_get_int8(res, 0, 0);
    PQclear(res);
    *count = each == 0 || bytes / each > limit ? limit : bytes / each < 1 ? 1 : bytes / each;
    return true;
}
