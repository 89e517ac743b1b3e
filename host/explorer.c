#include "explorer.h"

#include "explorer_rows.h"
#include "indexes.h"

#include <stdlib.h>
#include <string.h>

/* A kind of at most so many bytes is sorted as a whole as quickly as an index is read. */
#define SMALL_BYTES (4 << 20)
#define FEW 2000 /* facts that an index finds and that are then sorted */

bool explorer_set_timeout(struct pg *pg, int64_t ms, struct acc_error *err)
{
    char *sql = acc_format("SET statement_timeout = %lld", (long long)ms);
    bool ok = pg_do(pg, sql, NULL, err);

    free(sql);
    return ok;
}

bool explorer_begin(struct pg *pg, int64_t timeout_ms, struct acc_error *err)
{
    /* Compiling a query takes longer than running one of ours. */
    char *sql = acc_format("SET statement_timeout = %lld; SET jit = off", (long long)timeout_ms);
    bool ok = pg_do(pg, sql, NULL, err);

    free(sql);
    return ok;
}

bool explorer_order(struct explorer_query *query, const char *text, struct acc_error *err)
{
    const char *names[KIND_FIELDS_MAX + 2] = {"newest", "id"};
    const char *tilde = strchr(text, '~');

    for (size_t f = 0; f < query->kind->field_count; f++)
        names[f + 2] = query->kind->fields[f].name;
    for (size_t i = 0; i < query->kind->field_count + 2; i++) {
        size_t size = tilde == NULL ? strlen(text) : (size_t)(tilde - text);

        if (strlen(names[i]) != size || memcmp(names[i], text, size) != 0)
            continue;
        query->is_descending = tilde != NULL && strcmp(tilde, "~desc") == 0;
        if (tilde != NULL && !query->is_descending && strcmp(tilde, "~asc") != 0)
            break;
        if (i >= 2 && (query->kind->fields[i - 2].is_array))
            return acc_fail(err, ACC_EINPUT, "field \"%s\" is an array and has no order", names[i]);
        query->order = i == 0 ? ORDER_NEWEST : i == 1 ? ORDER_ID : ORDER_FIELD;
        query->field = i < 2 ? 0 : i - 2;
        return true;
    }
    const char *nearest = name_suggest(text, names, query->kind->field_count + 2);
    return acc_fail(err, ACC_EINPUT,
                    nearest == NULL
                        ? "wanted newest, id, FIELD or FIELD~desc of kind \"%s\", got \"%s\""
                        : "wanted newest, id, FIELD or FIELD~desc of kind \"%s\", got \"%s\", did "
                          "you mean \"%s\"?",
                    query->kind->name, text, nearest);
}

/* SQL of a page */

static bool is_forward(const struct explorer_query *query)
{
    return !query->is_before;
}

bool explorer_is_ascending(const struct explorer_query *query)
{
    bool shown = query->order != ORDER_NEWEST && !query->is_descending;

    if (query->order == ORDER_NEWEST)
        shown = query->is_descending; /* newest~desc: the oldest first */
    return shown == is_forward(query);
}

/* The column of ORDER_FIELD; texts by their bytes. */
static void key_column(const struct explorer_query *query, const char *alias, struct buf *sql)
{
    const struct field *field = &query->kind->fields[query->field];

    buf_printf(sql, "%s.", alias);
    pg_identifier(sql, field->name);
    if (field->type == FIELD_TEXT || field->type == FIELD_JSON)
        buf_text(sql, " COLLATE \"C\"");
}

static void add_order(const struct explorer_query *query, struct buf *sql)
{
    const char *way = explorer_is_ascending(query) ? "" : " DESC";

    buf_text(sql, " ORDER BY ");
    if (query->order == ORDER_FIELD) {
        key_column(query, "f", sql);
        buf_printf(sql, "%s", way);
        if (query->kind->fields[query->field].is_nullable)
            buf_text(sql, is_forward(query) ? " NULLS LAST" : " NULLS FIRST");
        buf_text(sql, ", ");
    } else if (query->order == ORDER_NEWEST) {
        buf_printf(sql, "b.at%s, f._batch%s, ", way, way);
    }
    buf_printf(sql, "f._id%s", way);
}

/* What comes behind the cursor, in the direction that is read. $param is its id. */
static void add_cursor(const struct explorer_query *query, int param, struct buf *sql)
{
    const char *sign = explorer_is_ascending(query) ? ">" : "<";
    const char *table = query->kind->table;
    struct buf key = {0};
    struct buf at = {0};

    if (query->order == ORDER_ID) {
        buf_printf(sql, " AND f._id %s $%d", sign, param);
    } else if (query->order == ORDER_NEWEST) {
        buf_printf(sql,
                   " AND (b.at, f._batch, f._id) %s (SELECT cb.at, cb.id, c._id FROM %s c JOIN "
                   "batch cb ON cb.id = c._batch WHERE c._id = $%d)",
                   sign, table, param);
    } else {
        key_column(query, "f", &key);
        buf_text(&at, "(SELECT ");
        key_column(query, "c", &at);
        buf_printf(&at, " FROM %s c WHERE c._id = $%d)", table, param);
        if (!query->kind->fields[query->field].is_nullable)
            buf_printf(sql, " AND (%s, f._id) %s (%s, $%d)", key.data, sign, at.data, param);
        else if (is_forward(query))
            buf_printf(sql,
                       " AND CASE WHEN %s IS NULL THEN %s IS NULL AND f._id %s $%d ELSE %s IS NULL "
                       "OR (%s, f._id) %s (%s, $%d) END",
                       at.data, key.data, sign, param, key.data, key.data, sign, at.data, param);
        else
            buf_printf(sql,
                       " AND CASE WHEN %s IS NULL THEN %s IS NOT NULL OR f._id %s $%d ELSE (%s, "
                       "f._id) %s (%s, $%d) END",
                       at.data, key.data, sign, param, key.data, sign, at.data, param);
    }
    buf_clear(&key);
    buf_clear(&at);
}

static char *page_sql(const struct explorer_query *query, struct pg_args *args)
{
    struct buf sql = {0};

    /* Who found them, and the text of times, behind the LIMIT: for the facts of the page only. */
    buf_text(&sql, "SELECT ");
    facts_select_list(query->kind, &sql);
    buf_printf(&sql, EXPLORER_ABOUT " FROM (SELECT f.* FROM %s f%s WHERE true", query->kind->table,
               query->order == ORDER_NEWEST ? " LEFT JOIN batch b ON b.id = f._batch" : "");
    if (query->filters != NULL)
        filters_sql(query->filters, &sql, args);
    if (query->cursor != NULL) {
        pg_uuid(args, query->cursor);
        add_cursor(query, args->count, &sql);
    }
    add_order(query, &sql);
    pg_int8(args, query->limit + 1);
    buf_printf(&sql, " LIMIT $%d) f" EXPLORER_JOINS, args->count);
    add_order(query, &sql);
    return sql.data;
}

/* The look-ups that have an index, for whoever was too slow: "from; to, kind". */
static void add_look_ups(struct pg *pg, const struct kind *kind, struct buf *out)
{
    struct catalog one = {.kinds = (struct kind *[]){(struct kind *)kind}, .count = 1};
    struct acc_error err;
    json_t *list = indexes_list(pg, &one, &err);
    json_t *index;
    size_t i;

    json_array_foreach(list, i, index)
    {
        json_t *columns = json_object_get(index, "columns");
        json_t *column;
        size_t c;

        if (strcmp(json_string_value(json_object_get(index, "purpose")), "look-up") != 0)
            continue;
        buf_text(out, out->size == 0 ? "" : "; ");
        json_array_foreach(columns, c, column)
        {
            buf_printf(out, "%s%s", c == 0 ? "" : ", ", json_string_value(column));
        }
    }
    json_decref(list);
}

static bool has_batch_index(struct pg *pg, const struct kind *kind, bool *has,
                            struct acc_error *err)
{
    struct explorer_indexes indexes = {0};
    struct catalog one = {.kinds = (struct kind *[]){(struct kind *)kind}, .count = 1};
    bool ok = indexes_of_explorer(pg, &one, &indexes, err);

    *has = indexes.batch;
    return ok;
}

bool explorer_explain_timeout(struct pg *pg, const struct kind *kind, struct acc_error *err)
{
    struct buf look_ups = {0};
    struct acc_error later;
    bool has_index = true;

    if (strcmp(err->sqlstate, "57014") != 0)
        return false;
    add_look_ups(pg, kind, &look_ups);
    (void)!has_batch_index(pg, kind, &has_index, &later);
    acc_fail(err, ACC_ELIMIT,
             "kind \"%s\" was searched without an index and the time was up; there are indexes for "
             "_id%s%s: filter by one of them with eq, or take more time%s",
             kind->name, look_ups.size == 0 ? "" : "; ", look_ups.size == 0 ? "" : look_ups.data,
             has_index ? "" : "; accrete index explorer makes newest first quick");
    buf_clear(&look_ups);
    return false;
}

bool explorer_is_indexed(const struct filters *filters)
{
    const struct kind *kind = filters->kind;

    for (size_t s = 0; s < kind->shape_count; s++) {
        const struct shape *shape = &kind->shapes[s];
        bool is_given = shape->count > 0 && !shape->by_id;

        for (size_t i = 0; i < shape->count; i++)
            is_given &= !shape->has[i] && (filters->given >> shape->fields[i] & 1) != 0;
        if (is_given)
            return true;
    }
    return filters->has_id;
}

/* Rows */

bool explorer_visit_row(const struct kind *kind, const PGresult *res, int r, struct acc_heap *heap,
                        struct acc_row *row, const struct explorer_visit *visit,
                        struct acc_error *err)
{
    int column = (int)kind->field_count + 1;

    memset(row, 0, kind->row_bytes);
    heap_reset(heap);
    if (!facts_decode(kind, res, r, 0, heap, row, err))
        return false;
    struct explorer_fact fact = {
        .kind = kind,
        .row = row,
        .lifecycle = PQgetisnull(res, r, column) ? NULL : pg_get_text(res, r, column),
        .at = pg_get_text(res, r, column + 1),
        .batch = pg_get_int8(res, r, column + 2),
    };
    return visit->fact(visit->context, &fact, err);
}

/* The page's rows, which may lie in several results, in the order they are shown. */
static bool visit_rows(const struct explorer_query *query, const struct explorer_pieces *pieces,
                       struct acc_heap *heap, const struct explorer_visit *visit, bool *is_more,
                       struct acc_error *err)
{
    struct acc_row *row = acc_zalloc(query->kind->row_bytes);
    int64_t count = pieces->row_count > query->limit ? query->limit : pieces->row_count;
    bool ok = true;

    *is_more = pieces->row_count > query->limit;
    for (int64_t i = 0; ok && i < count; i++) {
        int64_t r = query->is_before ? count - 1 - i : i;
        size_t piece = 0;

        while (r >= PQntuples(pieces->list[piece]))
            r -= PQntuples(pieces->list[piece++]);
        ok = explorer_visit_row(query->kind, pieces->list[piece], (int)r, heap, row, visit, err);
    }
    free(row);
    return ok;
}

/* Takes res. */
void explorer_add_piece(struct explorer_pieces *pieces, PGresult *res)
{
    pieces->list = acc_realloc(pieces->list, (pieces->count + 1) * sizeof(*pieces->list));
    pieces->list[pieces->count++] = res;
    pieces->row_count += PQntuples(res);
}

static void clear_pieces(struct explorer_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++)
        PQclear(pieces->list[i]);
    free(pieces->list);
}

static bool read_plain(struct pg *pg, const struct explorer_query *query,
                       struct explorer_pieces *pieces, struct acc_error *err)
{
    struct pg_args args = {0};
    char *sql = page_sql(query, &args);
    PGresult *res = pg_exec(pg, sql, &args, err);

    free(sql);
    if (res == NULL)
        return false;
    explorer_add_piece(pieces, res);
    return true;
}

/* Which way */

static bool is_small(struct pg *pg, const struct kind *kind, bool *small, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0)"};
    struct pg_args args = {0};

    pg_text(&args, kind->table);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *small = pg_get_int8(res, 0, 0) <= SMALL_BYTES;
    PQclear(res);
    return true;
}

bool explorer_is_newest_quick(struct pg *pg, const struct kind *kind, bool *is_quick,
                              struct acc_error *err)
{
    return is_small(pg, kind, is_quick, err) &&
           (*is_quick || has_batch_index(pg, kind, is_quick, err));
}

/* Whether the newest batches are read one after the other, instead of all that passes being sorted. */
static bool goes_by_batches(struct pg *pg, const struct explorer_query *query, bool *by_batches,
                            struct acc_error *err)
{
    int64_t count = FEW + 1;
    bool small = true;

    *by_batches = false;
    if (query->order == ORDER_NEWEST && !is_small(pg, query->kind, &small, err))
        return false;
    if (small)
        return true;
    if (query->filters != NULL && explorer_is_indexed(query->filters) &&
        !explorer_count(pg, query->filters, FEW + 1, &count, err))
        return false;
    return count <= FEW || has_batch_index(pg, query->kind, by_batches, err);
}

bool explorer_page(struct pg *pg, const struct explorer_query *query, struct acc_heap *heap,
                   const struct explorer_visit *visit, bool *is_more, struct acc_error *err)
{
    struct explorer_pieces pieces = {0};
    bool by_batches;
    bool ok = goes_by_batches(pg, query, &by_batches, err) &&
              (by_batches ? explorer_read_newest(pg, query, &pieces, err)
                          : read_plain(pg, query, &pieces, err));

    ok = ok ? visit_rows(query, &pieces, heap, visit, is_more, err)
            : explorer_explain_timeout(pg, query->kind, err);
    clear_pieces(&pieces);
    return ok;
}
