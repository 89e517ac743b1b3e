#include "explorer.h"

#include "base/hash.h"
#include "identity.h"
#include "indexes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BATCHES                                                                              \
    16 /* the newest ones that are looked at first; then twice as many, and so on */
#define CHUNK_MAX 4096

/* Columns behind the fields: who found it and when. */
static const char about[] = ", l.name, coalesce(to_char(b.at AT TIME ZONE 'UTC', "
                            "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), ''), f._batch";
static const char joins[] =
    " LEFT JOIN batch b ON b.id = f._batch LEFT JOIN lifecycle l ON l.id = b.lifecycle";

bool explorer_begin(struct pg *pg, int64_t timeout_ms, struct acc_error *err)
{
    /* Compiling a query takes longer than running one of ours. */
    char *sql = acc_format("SET statement_timeout = %lld; SET jit = off", (long long)timeout_ms);
    bool ok = pg_do(pg, sql, NULL, err);

    free(sql);
    return ok;
}

bool explorer_has_table(struct pg *pg, const struct kind *kind, bool *has, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT to_regclass($1) IS NOT NULL"};
    struct pg_args args = {0};

    pg_text(&args, kind->table);
    PGresult *res = pg_query(pg, &stmt, &args, err);
    if (res == NULL)
        return false;
    *has = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
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

/* Whether keys are read from the small to the large. */
static bool is_ascending(const struct explorer_query *query)
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
    const char *way = is_ascending(query) ? "" : " DESC";

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
    const char *sign = is_ascending(query) ? ">" : "<";
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

/* batches: NULL, or a binary int8[]: facts of these only. */
static char *page_sql(const struct explorer_query *query, const struct buf *batches,
                      struct pg_args *args)
{
    struct buf sql = {0};

    /* Who found them, and the text of times, behind the LIMIT: for the facts of the page only. */
    buf_text(&sql, "SELECT ");
    facts_select_list(query->kind, &sql);
    buf_printf(&sql, "%s FROM (SELECT f.* FROM ", about);
    if (batches != NULL) { /* OFFSET 0: first these, or the planner might try batch by batch */
        pg_array(args, PG_INT8_ARRAY, batches);
        buf_printf(&sql, "(SELECT f.* FROM %s f WHERE f._batch = ANY ($%d) OFFSET 0) f",
                   query->kind->table, args->count);
    } else {
        buf_text(&sql, query->kind->table);
        buf_text(&sql, " f");
    }
    buf_printf(&sql, "%s WHERE true",
               query->order == ORDER_NEWEST ? " LEFT JOIN batch b ON b.id = f._batch" : "");
    if (query->filters != NULL)
        filters_sql(query->filters, &sql, args);
    if (query->cursor != NULL) {
        pg_uuid(args, query->cursor);
        add_cursor(query, args->count, &sql);
    }
    add_order(query, &sql);
    pg_int8(args, query->limit + 1);
    buf_printf(&sql, " LIMIT $%d) f%s", args->count, joins);
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

/* A statement that was cut off because it took too long says what would be quick. */
static bool explain_timeout(struct pg *pg, const struct kind *kind, struct acc_error *err)
{
    struct buf look_ups = {0};

    if (strcmp(err->sqlstate, "57014") != 0)
        return false;
    add_look_ups(pg, kind, &look_ups);
    acc_fail(err, ACC_ELIMIT,
             "kind \"%s\" was searched without an index and the time was up; there are indexes for "
             "_id%s%s: filter by one of them with eq, or take more time",
             kind->name, look_ups.size == 0 ? "" : "; ", look_ups.size == 0 ? "" : look_ups.data);
    buf_clear(&look_ups);
    return false;
}

/* Rows */

static bool visit_row(const struct kind *kind, const PGresult *res, int r, struct acc_heap *heap,
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

static bool visit_rows(const struct explorer_query *query, const PGresult *res,
                       struct acc_heap *heap, const struct explorer_visit *visit, bool *is_more,
                       struct acc_error *err)
{
    struct acc_row *row = acc_zalloc(query->kind->row_bytes);
    int count = PQntuples(res);
    bool ok = true;

    *is_more = count > query->limit;
    count -= *is_more;
    for (int i = 0; ok && i < count; i++)
        ok = visit_row(query->kind, res, query->is_before ? count - 1 - i : i, heap, row, visit,
                       err);
    free(row);
    return ok;
}

/* Newest first */

/*
 * The next batches in the order of time that may hold facts of the kind, as a binary int8[]; *count
 * of them. The one of the cursor is among the first.
 */
static bool next_batches(struct pg *pg, const struct explorer_query *query, int64_t skip,
                         int64_t limit, struct buf *batches, int *count, struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf sql = {0};
    const char *way = is_ascending(query) ? "" : " DESC";

    pg_int4(&args, query->kind->tag);
    pg_int8(&args, skip);
    pg_int8(&args, limit);
    buf_text(&sql, "SELECT b.id FROM batch b WHERE b.new > 0 AND b.lifecycle IN (SELECT lifecycle "
                   "FROM tally_kind WHERE kind = $1 AND new > 0)");
    if (query->cursor != NULL) {
        pg_uuid(&args, query->cursor);
        buf_printf(&sql,
                   " AND (b.at, b.id) %s= (SELECT cb.at, cb.id FROM %s c JOIN batch cb ON cb.id = "
                   "c._batch WHERE c._id = $4)",
                   is_ascending(query) ? ">" : "<", query->kind->table);
    }
    buf_printf(&sql, " ORDER BY b.at%s, b.id%s OFFSET $2 LIMIT $3", way, way);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    buf_clear(&sql);
    if (res == NULL)
        return false;
    buf_reset(batches);
    pg_array_begin(batches, PG_INT8);
    for (int r = 0; r < PQntuples(res); r++)
        pg_array_int8(batches, pg_get_int8(res, r, 0));
    pg_array_end(batches, 0);
    *count = PQntuples(res);
    PQclear(res);
    return true;
}

/* With the explorer's index: the newest batches, and more of them until they fill the page. */
static PGresult *read_newest(struct pg *pg, const struct explorer_query *query,
                             struct acc_error *err)
{
    struct buf batches = {0};
    PGresult *res = NULL;
    int got = 0;

    for (int64_t limit = CHUNK_BATCHES;; limit *= 8) {
        struct pg_args args = {0};

        PQclear(res);
        res = NULL;
        if (!next_batches(pg, query, 0, limit, &batches, &got, err))
            break;
        char *sql = page_sql(query, limit > CHUNK_MAX ? NULL : &batches, &args);
        res = pg_exec(pg, sql, &args, err);
        free(sql);
        if (res == NULL || PQntuples(res) > query->limit || got < limit || limit > CHUNK_MAX)
            break;
    }
    buf_clear(&batches);
    return res;
}

bool explorer_page(struct pg *pg, const struct explorer_query *query, struct acc_heap *heap,
                   const struct explorer_visit *visit, bool *is_more, struct acc_error *err)
{
    struct explorer_indexes has = {0};
    struct catalog one = {.kinds = (struct kind *[]){(struct kind *)query->kind}, .count = 1};
    PGresult *res = NULL;
    bool ok;

    if (query->order == ORDER_NEWEST && !indexes_of_explorer(pg, &one, &has, err))
        return false;
    if (has.batch) {
        res = read_newest(pg, query, err);
    } else {
        struct pg_args args = {0};
        char *sql = page_sql(query, NULL, &args);

        res = pg_exec(pg, sql, &args, err);
        free(sql);
    }
    if (res == NULL)
        return explain_timeout(pg, query->kind, err);
    ok = visit_rows(query, res, heap, visit, is_more, err);
    PQclear(res);
    return ok;
}

bool explorer_count(struct pg *pg, const struct filters *filters, int64_t bound, int64_t *count,
                    struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf sql = {0};

    buf_printf(&sql, "SELECT count(*)::int8 FROM (SELECT FROM %s f WHERE true",
               filters->kind->table);
    filters_sql(filters, &sql, &args);
    if (bound > 0) {
        pg_int8(&args, bound);
        buf_printf(&sql, " LIMIT $%d", args.count);
    }
    buf_text(&sql, ") n");
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    buf_clear(&sql);
    if (res == NULL)
        return explain_timeout(pg, filters->kind, err);
    *count = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

/* Ids */

bool id_range_read(const char *digits, struct id_range *range)
{
    char hex[2][33];
    size_t size = 0;

    for (; *digits != '\0' && size < 32; digits++) {
        if (*digits == '-') /* as a uuid is written */
            continue;
        if (!isxdigit((uint8_t)*digits))
            return false;
        hex[0][size] = hex[1][size] = *digits;
        size++;
    }
    if (*digits != '\0' || size < EXPLORER_PREFIX_MIN)
        return false;
    memset(hex[0] + size, '0', 32 - size);
    memset(hex[1] + size, 'f', 32 - size);
    return hex_decode(hex[0], 32, range->low) && hex_decode(hex[1], 32, range->high);
}

/*
 * The part of range that ids of kind can lie in: slot and tag are the first four bytes. false:
 * none.
 */
static bool range_of_kind(const struct kind *kind, const struct id_range *range,
                          struct id_range *out)
{
    uint8_t tag[2] = {(uint8_t)(kind->tag >> 8), (uint8_t)kind->tag};

    *out = *range;
    if (memcmp(tag, range->low + 2, 2) < 0 || memcmp(tag, range->high + 2, 2) > 0)
        return false;
    if (memcmp(range->low + 2, range->high + 2, 2) != 0) { /* the digits end before the tag does */
        memcpy(out->low + 2, tag, 2);
        memcpy(out->high + 2, tag, 2);
    }
    return true;
}

static bool find_in_kind(struct pg *pg, const struct kind *kind, const struct id_range *range,
                         size_t limit, uint8_t *ids, size_t *count, struct acc_error *err)
{
    struct pg_args args = {0};
    bool has;

    if (!explorer_has_table(pg, kind, &has, err))
        return false;
    if (!has)
        return true;
    pg_uuid(&args, range->low);
    pg_uuid(&args, range->high);
    pg_int8(&args, (int64_t)(limit - *count));
    char *sql = acc_format("SELECT _id FROM %s WHERE _id BETWEEN $1 AND $2 ORDER BY _id LIMIT $3",
                           kind->table);
    PGresult *res = pg_exec(pg, sql, &args, err);
    free(sql);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++)
        memcpy(ids + 16 * (*count)++, PQgetvalue(res, r, 0), 16);
    PQclear(res);
    return true;
}

bool explorer_find(struct pg *pg, const struct catalog *catalog, const struct id_range *range,
                   size_t limit, uint8_t *ids, size_t *count, struct acc_error *err)
{
    *count = 0;
    for (size_t k = 0; k < catalog->count && *count < limit; k++) {
        struct id_range of_kind;

        if (range_of_kind(catalog->kinds[k], range, &of_kind) &&
            !find_in_kind(pg, catalog->kinds[k], &of_kind, limit, ids, count, err))
            return false;
    }
    return true;
}

static bool get_of_kind(struct pg *pg, const struct kind *kind, const uint8_t *ids, size_t count,
                        struct acc_heap *heap, const struct explorer_visit *visit,
                        struct acc_error *err)
{
    struct acc_row *row = acc_zalloc(kind->row_bytes);
    struct pg_args args = {0};
    struct buf array = {0};
    struct buf sql = {0};
    bool ok;

    pg_array_begin(&array, PG_UUID);
    for (size_t i = 0; i < count; i++)
        pg_array_add(&array, ids + 16 * i, 16);
    pg_array_end(&array, 0);
    pg_array(&args, PG_UUID_ARRAY, &array);
    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(
        &sql,
        "%s FROM unnest($1) WITH ORDINALITY u(id, i) JOIN %s f ON f._id = u.id%s ORDER BY u.i",
        about, kind->table, joins);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    ok = res != NULL;
    for (int r = 0; ok && r < PQntuples(res); r++)
        ok = visit_row(kind, res, r, heap, row, visit, err);
    PQclear(res);
    buf_clear(&sql);
    buf_clear(&array);
    free(row);
    return ok;
}

bool explorer_get(struct pg *pg, const struct catalog *catalog, const uint8_t *ids, size_t count,
                  struct acc_heap *heap, const struct explorer_visit *visit, struct acc_error *err)
{
    for (size_t i = 0; i < count;) {
        const struct kind *kind = catalog_by_tag(catalog, id_tag(ids + 16 * i));
        size_t end = i + 1;

        while (end < count && id_tag(ids + 16 * end) == id_tag(ids + 16 * i))
            end++;
        if (kind != NULL && !get_of_kind(pg, kind, ids + 16 * i, end - i, heap, visit, err))
            return false;
        i = end;
    }
    return true;
}
