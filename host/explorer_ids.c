#include "explorer.h"

#include "base/hash.h"
#include "explorer_rows.h"
#include "identity.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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
    buf_printf(&sql,
               EXPLORER_ABOUT
               " FROM unnest($1) WITH ORDINALITY u(id, i) JOIN %s f ON f._id = u.id" EXPLORER_JOINS
               " ORDER BY u.i",
               kind->table);
    PGresult *res = pg_exec(pg, sql.data, &args, err);
    ok = res != NULL;
    for (int r = 0; ok && r < PQntuples(res); r++)
        ok = explorer_visit_row(kind, res, r, heap, row, visit, err);
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
