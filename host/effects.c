#include "effects.h"

#include "explorer.h"
#include "identity.h"
#include "indexes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTS_MS 40          /* for the counts of a page's rows */
#define SMALL_BYTES (1 << 20) /* a kind that is searched in a few milliseconds */
#define SEARCH_BLOCKS 1000    /* of the table behind the cursor, before the index is asked */
#define SEARCH_SHARE 8 /* so many times SEARCH_BLOCKS are searched at most, where all hold some */

/* Sessions and ways */

/* An index is the only good way here, and the order in which it gives rows is used: no other plans. */
static bool begin(const struct effects *effects, int sample, int64_t timeout_ms,
                  struct acc_error *err)
{
    char *sql = acc_format("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
                           "SET max_parallel_workers_per_gather = 0; "
                           "SET gin_fuzzy_search_limit = %d; SET statement_timeout = %lld",
                           sample, (long long)timeout_ms);
    bool ok = pg_do(effects->pg, sql, NULL, err);

    free(sql);
    return ok;
}

/* The session as it was. Returns ok, or false when that fails. */
static bool end(const struct effects *effects, bool ok, struct acc_error *err)
{
    struct acc_error later;
    char *sql = acc_format("RESET plan_cache_mode; RESET enable_seqscan; "
                           "RESET max_parallel_workers_per_gather; RESET gin_fuzzy_search_limit; "
                           "SET statement_timeout = %lld",
                           (long long)effects->until_ms);

    ok = pg_do(effects->pg, sql, NULL, ok ? err : &later) && ok;
    free(sql);
    return ok;
}

static bool is_timeout(const struct acc_error *err)
{
    return strcmp(err->sqlstate, "57014") == 0;
}

static bool explain_timeout(struct acc_error *err)
{
    if (is_timeout(err))
        acc_fail(err, ACC_ELIMIT,
                 "the time was up before all facts were searched; accrete index explorer makes it "
                 "quick");
    return false;
}

/* How what came of a fact is found among the facts of a kind. */
struct way {
    const struct kind *kind;
    bool has_indexes;
    bool is_small;
};

/*
 * The kinds that lifecycle has found facts of, in the order of the catalog; ways has room for all kinds.
 */
static bool read_ways(const struct effects *effects, int16_t lifecycle, struct way *ways,
                      size_t *count, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT k.name, pg_relation_size(to_regclass('fact_' || k.name)) FROM kind k WHERE "
               "k.tag IN (SELECT kind FROM tally_kind WHERE lifecycle <> 0 AND ($1 = -1 OR "
               "lifecycle = $1) AND new > 0) ORDER BY k.name COLLATE \"C\""};
    const struct catalog *catalog = effects->catalog;
    struct explorer_indexes *indexes = acc_zalloc(catalog->count * sizeof(*indexes) + 1);
    struct pg_args args = {0};
    PGresult *res = NULL;

    *count = 0;
    pg_int2(&args, lifecycle);
    bool ok = indexes_of_explorer(effects->pg, catalog, indexes, err) &&
              (res = pg_query(effects->pg, &stmt, &args, err)) != NULL;
    for (int r = 0; ok && r < PQntuples(res); r++) {
        const struct kind *kind = catalog_find(catalog, pg_get_text(res, r, 0));

        if (kind == NULL)
            continue;
        ways[(*count)++] =
            (struct way){.kind = kind,
                         .has_indexes = indexes[kind->index].data && indexes[kind->index].friends,
                         .is_small = pg_get_int8(res, r, 1) <= SMALL_BYTES};
    }
    PQclear(res);
    free(indexes);
    return ok;
}

/* By lifecycle */

static struct effects_group *group_of(struct effects_group *groups, size_t room, size_t *count,
                                      const char *lifecycle)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(groups[i].lifecycle, lifecycle) == 0)
            return &groups[i];
    if (*count == room)
        return NULL;
    struct effects_group *group = &groups[(*count)++];
    *group = (struct effects_group){.is_exact = true};
    snprintf(group->lifecycle, sizeof(group->lifecycle), "%s", lifecycle);
    return group;
}

/*
 * Counts those of kind in one role. The lifecycles that have found facts of the kind come along even with 0, so that
 * beyond the bound none is taken for one that found nothing.
 */
static bool count_role(const struct effects *effects, const struct kind *kind, bool is_friend,
                       const uint8_t *id, struct effects_group *groups, size_t room, size_t *count,
                       struct acc_error *err)
{
    struct pg_args args = {0};
    char *sql = acc_format(
        "WITH n AS MATERIALIZED (SELECT b.lifecycle, count(*)::int8 AS n FROM (SELECT _batch FROM "
        "%s WHERE %s LIMIT $2) f JOIN batch b ON b.id = f._batch GROUP BY 1) "
        "SELECT l.name, coalesce(n.n, 0), (SELECT sum(n)::int8 FROM n) FROM lifecycle l LEFT JOIN "
        "n ON n.lifecycle = l.id WHERE n.n > 0 OR EXISTS (SELECT FROM tally_kind t WHERE "
        "t.lifecycle = l.id AND t.kind = $3 AND t.new > 0) ORDER BY 1",
        kind->table,
        is_friend ? "_friends @> ARRAY[$1] AND _data IS DISTINCT FROM $1" : "_data = $1");

    pg_uuid(&args, id);
    pg_int8(&args, EFFECTS_BOUND + 1);
    pg_int4(&args, kind->tag);
    PGresult *res = pg_exec(effects->pg, sql, &args, err);
    free(sql);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        int64_t n = pg_get_int8(res, r, 1);
        bool is_full = !PQgetisnull(res, r, 2) && pg_get_int8(res, r, 2) > EFFECTS_BOUND;
        struct effects_group *group =
            n == 0 && !is_full ? NULL : group_of(groups, room, count, pg_get_text(res, r, 0));

        if (group == NULL)
            continue;
        *(is_friend ? &group->as_friend : &group->as_data) += n;
        group->is_exact &= !is_full;
    }
    PQclear(res);
    return true;
}

static int by_count(const void *a, const void *b)
{
    const struct effects_group *x = a;
    const struct effects_group *y = b;
    int64_t left = x->as_data + x->as_friend;
    int64_t right = y->as_data + y->as_friend;

    return left != right ? (left < right) - (left > right) : strcmp(x->lifecycle, y->lifecycle);
}

bool effects_groups(const struct effects *effects, const uint8_t *id, struct effects_group *groups,
                    size_t *count, struct acc_error *err)
{
    struct way ways[CATALOG_KINDS_MAX];
    size_t way_count;
    size_t room = *count;

    *count = 0;
    if (!read_ways(effects, EFFECTS_OF_ALL, ways, &way_count, err))
        return false;
    bool ok = begin(effects, 0, effects->until_ms, err);
    for (size_t i = 0; ok && i < way_count; i++)
        ok = count_role(effects, ways[i].kind, false, id, groups, room, count, err) &&
             count_role(effects, ways[i].kind, true, id, groups, room, count, err);
    if (!end(effects, ok, err))
        return explain_timeout(err);
    qsort(groups, *count, sizeof(*groups), by_count);
    return true;
}

/* Pages */

struct paging {
    const struct effects *effects;
    const uint8_t *id;
    int16_t lifecycle;
    size_t limit;
    struct effects_row *rows;
    size_t count;
    bool is_more;            /* than limit */
    const struct kind *kind; /* of the cursor; NULL: from the first */
    bool is_in_friends;      /* the cursor lies in the second part */
    uint8_t after[16];
    char tid[6]; /* the cursor's, binary */
};

/* So many more, with the one that tells whether there are more than that. */
static size_t rows_wanted(const struct paging *paging)
{
    return paging->limit + 1 - paging->count;
}

/* Appends what sql gives: id, as data, as friend. */
static bool take_rows(struct paging *paging, const char *sql, const struct pg_args *args,
                      struct acc_error *err)
{
    PGresult *res = pg_exec(paging->effects->pg, sql, args, err);

    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res) && !paging->is_more; r++) {
        if (paging->count == paging->limit) {
            paging->is_more = true;
            break;
        }
        struct effects_row *row = &paging->rows[paging->count++];
        memcpy(row->id, PQgetvalue(res, r, 0), 16);
        row->as_data = pg_get_bool(res, r, 1);
        row->as_friend = pg_get_bool(res, r, 2);
    }
    PQclear(res);
    return true;
}

#define FOUND_BY " AND (SELECT b.lifecycle FROM batch b WHERE b.id = f._batch) = $2"

static const char *found_by(const struct paging *paging)
{
    return paging->lifecycle == EFFECTS_OF_ALL ? "" : FOUND_BY;
}

/*
 * _data is bounded from both sides: were it said to be equal, the order would be that of _id alone, and the primary key
 * be searched where most facts of the kind have the same data.
 */
static bool page_of_data(struct paging *paging, const struct kind *kind, const uint8_t *after,
                         struct acc_error *err)
{
    static const uint8_t lowest[16];
    struct pg_args args = {0};
    char *sql = acc_format("SELECT f._id, true, coalesce(f._friends @> ARRAY[$1], false) FROM %s f "
                           "WHERE (f._data, f._id) > ($1, $3) AND f._data <= $1%s "
                           "ORDER BY f._data, f._id LIMIT $4",
                           kind->table, found_by(paging));

    pg_uuid(&args, paging->id);
    pg_int2(&args, paging->lifecycle);
    pg_uuid(&args, after == NULL ? lowest : after);
    pg_int8(&args, (int64_t)rows_wanted(paging));
    bool ok = take_rows(paging, sql, &args, err);
    free(sql);
    return ok;
}

/* where: about the place in the table, $3 and perhaps $4 (binary tids; NULL: none). */
static bool page_of_friends(struct paging *paging, const struct kind *kind, const char *where,
                            const char *from, const char *to, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_uuid(&args, paging->id);
    pg_int2(&args, paging->lifecycle);
    if (from != NULL)
        pg_bytes(&args, PG_TID, from, 6);
    if (to != NULL)
        pg_bytes(&args, PG_TID, to, 6);
    pg_int8(&args, (int64_t)rows_wanted(paging));
    char *sql = acc_format("SELECT f._id, false, true FROM %s f WHERE f._friends @> ARRAY[$1] AND "
                           "f._data IS DISTINCT FROM $1%s%s LIMIT $%d",
                           kind->table, where, found_by(paging), args.count);
    bool ok = take_rows(paging, sql, &args, err);
    free(sql);
    return ok;
}

static void set_block(char tid[6], uint32_t block)
{
    uint32_t wire = __builtin_bswap32(block);

    memset(tid, 0, 6);
    memcpy(tid, &wire, 4);
}

/*
 * Behind the cursor. Where very many came of the fact, the next ones lie near: some blocks are searched, and more as long as
 * they hold a good part of what is wanted. Else those before the cursor are few, or the next ones far: the index tells
 * all of them, and those before the cursor are skipped.
 */
static bool friends_behind(struct paging *paging, const struct kind *kind, struct acc_error *err)
{
    uint32_t block;
    int64_t blocks;
    size_t wanted = rows_wanted(paging);
    size_t before;
    char from[6];
    char to[6];

    if (!explorer_count_blocks(paging->effects->pg, kind, &blocks, err))
        return false;
    memcpy(&block, paging->tid, 4);
    block = __builtin_bswap32(block);
    memcpy(from, paging->tid, 6);
    do {
        const char *where = from[4] == 0 && from[5] == 0 ? " AND f.ctid >= $3 AND f.ctid < $4"
                                                         : " AND f.ctid > $3 AND f.ctid < $4";

        before = paging->count;
        block += SEARCH_BLOCKS;
        set_block(to, block);
        if (!page_of_friends(paging, kind, where, from, to, err))
            return false;
        memcpy(from, to, 6);
    } while (!paging->is_more && block < blocks &&
             paging->count - before >= wanted / SEARCH_SHARE + 1);
    return paging->is_more || block >= blocks ||
           page_of_friends(paging, kind, " AND f.ctid >= $3", to, NULL, err);
}

/* Which part of which kind the cursor lies in. */
static bool read_cursor(struct paging *paging, const uint8_t *after, struct acc_error *err)
{
    const struct kind *kind = catalog_by_tag(paging->effects->catalog, id_tag(after));
    struct pg_args args = {0};
    PGresult *res = NULL;

    if (kind != NULL) {
        char *sql = acc_format("SELECT f._data IS NOT DISTINCT FROM $2, f.ctid FROM %s f WHERE "
                               "f._id = $1 AND (f._data = $2 OR f._friends @> ARRAY[$2])",
                               kind->table);

        pg_uuid(&args, after);
        pg_uuid(&args, paging->id);
        res = pg_exec(paging->effects->pg, sql, &args, err);
        free(sql);
        if (res == NULL)
            return false;
    }
    bool is_there = res != NULL && PQntuples(res) == 1;
    if (is_there) {
        paging->kind = kind;
        paging->is_in_friends = !pg_get_bool(res, 0, 0);
        memcpy(paging->tid, PQgetvalue(res, 0, 1), 6);
        memcpy(paging->after, after, 16);
    }
    PQclear(res);
    return is_there || acc_fail(err, ACC_EINPUT,
                                "nothing that came of the fact has the id given as the cursor");
}

static bool page_of_kind(struct paging *paging, const struct kind *kind, struct acc_error *err)
{
    bool has_cursor = paging->kind == kind;

    if (!(has_cursor && paging->is_in_friends) &&
        !page_of_data(paging, kind, has_cursor ? paging->after : NULL, err))
        return false;
    if (paging->is_more)
        return true;
    return has_cursor && paging->is_in_friends ? friends_behind(paging, kind, err)
                                               : page_of_friends(paging, kind, "", NULL, NULL, err);
}

bool effects_page(const struct effects *effects, const uint8_t *id, int16_t lifecycle,
                  const uint8_t *after, size_t limit, struct effects_row *rows, size_t *count,
                  bool *is_more, struct acc_error *err)
{
    struct way ways[CATALOG_KINDS_MAX];
    struct paging paging = {
        .effects = effects, .id = id, .lifecycle = lifecycle, .limit = limit, .rows = rows};
    size_t way_count;

    if (!read_ways(effects, lifecycle, ways, &way_count, err) ||
        (after != NULL && !read_cursor(&paging, after, err)))
        return false;
    bool ok = begin(effects, 0, effects->until_ms, err);
    for (size_t i = 0; ok && i < way_count && !paging.is_more; i++)
        if (paging.kind == NULL || ways[i].kind->index >= paging.kind->index)
            ok = page_of_kind(&paging, ways[i].kind, err);
    if (!end(effects, ok, err))
        return explain_timeout(err);
    *is_more = paging.is_more;
    *count = paging.count;
    return true;
}

/* Counts for rows of a list */

/* One search of a small kind tells it for all of them. */
#define COUNT_SMALL                                                                                \
    "SELECT e.i, count(*)::int8 FROM (SELECT u.i FROM %s f JOIN unnest($1) WITH ORDINALITY "       \
    "u(id, i) ON f._data = u.id UNION ALL SELECT u.i FROM (SELECT DISTINCT f._id, x.id FROM %s f " \
    "CROSS JOIN unnest(f._friends) x(id) WHERE x.id = ANY ($1) AND f._data IS DISTINCT FROM x.id)" \
    " d JOIN unnest($1) WITH ORDINALITY u(id, i) ON u.id = d.id) e WHERE $2 > 0 GROUP BY 1"
#define COUNT_INDEXED                                                                              \
    "SELECT u.i, (SELECT count(*) FROM (SELECT FROM %s WHERE _data = u.id LIMIT $2) d) + (SELECT " \
    "count(*) FROM (SELECT FROM %s WHERE _friends @> ARRAY[u.id] AND _data IS DISTINCT FROM u.id " \
    "LIMIT $2) e) FROM unnest($1) WITH ORDINALITY u(id, i)"

static bool count_kind(const struct effects *effects, const struct way *way, const struct buf *ids,
                       int64_t bound, int64_t *counts, struct acc_error *err)
{
    struct pg_args args = {0};
    char *sql = way->is_small ? acc_format(COUNT_SMALL, way->kind->table, way->kind->table)
                              : acc_format(COUNT_INDEXED, way->kind->table, way->kind->table);

    pg_array(&args, PG_UUID_ARRAY, ids);
    pg_int8(&args, bound);
    PGresult *res = pg_exec(effects->pg, sql, &args, err);
    free(sql);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++)
        counts[pg_get_int8(res, r, 0) - 1] += pg_get_int8(res, r, 1);
    PQclear(res);
    return true;
}

bool effects_counts(const struct effects *effects, const uint8_t *ids, size_t count, int64_t bound,
                    int64_t *counts, bool *is_known, struct acc_error *err)
{
    struct way ways[CATALOG_KINDS_MAX];
    struct buf array = {0};
    size_t way_count;

    memset(counts, 0, count * sizeof(*counts));
    *is_known = true;
    if (!read_ways(effects, EFFECTS_OF_ALL, ways, &way_count, err))
        return false;
    for (size_t i = 0; i < way_count; i++)
        *is_known &= ways[i].has_indexes || ways[i].is_small;
    if (count == 0 || !*is_known)
        return true;
    pg_array_begin(&array, PG_UUID);
    for (size_t i = 0; i < count; i++)
        pg_array_add(&array, ids + 16 * i, 16);
    pg_array_end(&array, 0);
    /* Of very many entries of a friend the index gives a sample, which is more than bound. */
    bool ok = begin(effects, 10 * EFFECTS_SHOWN, COUNTS_MS, err);
    for (size_t i = 0; ok && i < way_count; i++)
        ok = count_kind(effects, &ways[i], &array, bound, counts, err);
    buf_clear(&array);
    ok = end(effects, ok, err);
    for (size_t i = 0; i < count; i++)
        counts[i] = counts[i] > bound ? bound : counts[i];
    if (!ok && is_timeout(err)) {
        *is_known = false;
        return true;
    }
    return ok;
}

/* One event */

static bool batch_in_kind(const struct effects *effects, const struct kind *kind, const uint8_t *id,
                          int16_t lifecycle, bool *has, int64_t *batch, struct acc_error *err)
{
    struct pg_args args = {0};
    char *sql =
        acc_format("SELECT f._batch FROM %s f WHERE f._data = $1" FOUND_BY " LIMIT 1", kind->table);

    pg_uuid(&args, id);
    pg_int2(&args, lifecycle);
    PGresult *res = pg_exec(effects->pg, sql, &args, err);
    free(sql);
    if (res == NULL)
        return false;
    *has = PQntuples(res) > 0;
    if (*has)
        *batch = pg_get_int8(res, 0, 0);
    PQclear(res);
    return true;
}

bool effects_batch(const struct effects *effects, const uint8_t *id, int16_t lifecycle, bool *has,
                   int64_t *batch, bool *is_known, struct acc_error *err)
{
    struct way ways[CATALOG_KINDS_MAX];
    size_t way_count;

    *has = false;
    *is_known = true;
    if (!read_ways(effects, lifecycle, ways, &way_count, err))
        return false;
    bool ok = begin(effects, 0, COUNTS_MS, err);
    for (size_t i = 0; ok && i < way_count && !*has; i++)
        ok = batch_in_kind(effects, ways[i].kind, id, lifecycle, has, batch, err);
    ok = end(effects, ok, err);
    *is_known = ok;
    return ok || is_timeout(err);
}
