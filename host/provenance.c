#include "provenance.h"

#include "columns.h"
#include "facts.h"
#include "identity.h"
#include "indexes.h"

#include <stdlib.h>
#include <string.h>

static uint32_t place_of(const struct provenance *provenance, const uint8_t *id)
{
    uint32_t at;

    memcpy(&at, id + 4, sizeof(at)); /* of the SHA-256 in it */
    for (at &= provenance->table_mask; provenance->table[at] != 0;
         at = (at + 1) & provenance->table_mask)
        if (id_compare(provenance->nodes[provenance->table[at] - 1].id, id) == 0)
            break;
    return at;
}

int provenance_find(const struct provenance *provenance, const uint8_t *id)
{
    return provenance->table[place_of(provenance, id)] - 1;
}

static void add_node(struct provenance *provenance, const uint8_t *id, int parent, int depth)
{
    uint32_t at = place_of(provenance, id);

    if (provenance->table[at] != 0)
        return;
    if (provenance->count == provenance->limit) {
        provenance->is_full = true;
        return;
    }
    struct provenance_node *node = &provenance->nodes[provenance->count++];
    *node = (struct provenance_node){.parent = parent, .depth = depth};
    memcpy(node->id, id, sizeof(node->id));
    node->kind = catalog_by_tag(provenance->catalog, id_tag(id));
    provenance->table[at] = provenance->count;
}

/* SQL */

static char *read_sql(const struct kind *kind)
{
    struct buf sql = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(kind, &sql);
    buf_printf(&sql,
               ", f._data, f._friends[1:%d], coalesce(cardinality(f._friends), 0)::int8, l.name, "
               "b.generation, "
               "to_char(b.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), "
               "e.host || ':' || e.pid FROM %s f LEFT JOIN batch b ON b.id = f._batch LEFT JOIN "
               "lifecycle l ON l.id = b.lifecycle LEFT JOIN epoch e ON e.id = f._batch >> 32 WHERE "
               "f._id = ANY ($1)",
               PROVENANCE_FRIENDS, kind->table);
    return sql.data;
}

/*
 * What came of each of some facts among those of kind: at most $2, in the order of effects.h. _data
 * is bounded from both sides for the reason told at page_of_data in effects.c.
 */
static char *follow_sql(const struct kind *kind)
{
    return acc_format(
        "SELECT u.i - 1, c._id, c.as_data, c.as_friend FROM unnest($1) WITH ORDINALITY u(id, i) "
        "CROSS JOIN LATERAL ((SELECT _id, true AS as_data, coalesce(_friends @> ARRAY[u.id], "
        "false) AS as_friend FROM %s WHERE _data >= u.id AND _data <= u.id ORDER BY _data, _id "
        "LIMIT $2) UNION ALL (SELECT _id, false, true FROM %s WHERE _friends @> ARRAY[u.id] AND "
        "_data IS DISTINCT FROM u.id LIMIT $2) LIMIT $2) c",
        kind->table, kind->table);
}

void provenance_init(struct provenance *provenance, struct pg *pg, const struct catalog *catalog,
                     int limit)
{
    uint32_t size = 64;

    while (size < 2 * (uint32_t)limit)
        size *= 2;
    *provenance = (struct provenance){
        .pg = pg,
        .catalog = catalog,
        .limit = limit,
        .nodes = acc_zalloc((uint64_t)limit * sizeof(struct provenance_node) + 1),
        .table = acc_zalloc(size * sizeof(int)),
        .table_mask = size - 1,
        .read = acc_zalloc(catalog->count * sizeof(struct pg_stmt) + 1),
        .follow = acc_zalloc(catalog->count * sizeof(struct pg_stmt) + 1),
        .is_found = acc_zalloc(catalog->count + 1),
    };
    heap_init(&provenance->heap, 0);
    for (size_t k = 0; k < catalog->count; k++) {
        provenance->read[k].sql = read_sql(catalog->kinds[k]);
        provenance->follow[k].sql = follow_sql(catalog->kinds[k]);
    }
}

void provenance_clear(struct provenance *provenance)
{
    for (int n = 0; n < provenance->count; n++) {
        free(provenance->nodes[n].fields);
        free(provenance->nodes[n].label);
        free(provenance->nodes[n].lifecycle);
        free(provenance->nodes[n].worker);
        free(provenance->nodes[n].at);
        free(provenance->nodes[n].friends);
        free(provenance->nodes[n].found);
    }
    for (size_t k = 0; k < provenance->catalog->count; k++) {
        free((char *)provenance->read[k].sql);
        free((char *)provenance->follow[k].sql);
    }
    free(provenance->nodes);
    free(provenance->table);
    free(provenance->read);
    free(provenance->follow);
    free(provenance->is_found);
    buf_clear(&provenance->line);
    buf_clear(&provenance->ids);
}

/* Reading facts */

static uint32_t be32(const char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return __builtin_bswap32(value);
}

/* A binary uuid[]: five words of head, then length and 16 bytes each. */
static void read_friends(struct provenance_node *node, const PGresult *res, int row, int column)
{
    const char *wire = PQgetvalue(res, row, column);
    int length = PQgetlength(res, row, column);

    if (PQgetisnull(res, row, column) || length < 20 || be32(wire) != 1)
        return;
    node->friend_count = (int)be32(wire + 12);
    if (node->friend_count > PROVENANCE_FRIENDS || length != 20 + 20 * node->friend_count)
        node->friend_count = 0;
    node->friends = acc_alloc((uint64_t)node->friend_count * 16 + 1);
    for (int i = 0; i < node->friend_count; i++)
        memcpy(node->friends + (size_t)i * 16, wire + 20 + (size_t)i * 20 + 4, 16);
}

static bool read_node(struct provenance *provenance, const struct kind *kind, const PGresult *res,
                      int row, struct acc_row *fact, struct acc_error *err)
{
    int column = (int)kind->field_count + 1;
    struct buf *line = &provenance->line;

    memset(fact, 0, kind->row_bytes);
    heap_reset(&provenance->heap);
    if (!facts_decode(kind, res, row, 0, &provenance->heap, fact, err))
        return false;
    int n = provenance_find(provenance, fact->id);
    if (n < 0)
        return true;
    struct provenance_node *node = &provenance->nodes[n];
    buf_reset(line);
    fact_json(kind, fact, line);
    node->fields = acc_strdup(line->data);
    buf_reset(line);
    fact_label(kind, fact, line);
    node->label = acc_strdup(line->data);
    node->is_read = true;
    node->has_data = !PQgetisnull(res, row, column);
    if (node->has_data)
        memcpy(node->data, PQgetvalue(res, row, column), 16);
    read_friends(node, res, row, column + 1);
    node->friend_total = pg_get_int8(res, row, column + 2);
    node->lifecycle =
        PQgetisnull(res, row, column + 3) ? NULL : acc_strdup(pg_get_text(res, row, column + 3));
    node->generation = PQgetisnull(res, row, column + 4) ? 0 : pg_get_int4(res, row, column + 4);
    node->at =
        acc_strdup(PQgetisnull(res, row, column + 5) ? "" : pg_get_text(res, row, column + 5));
    node->worker =
        acc_strdup(PQgetisnull(res, row, column + 6) ? "" : pg_get_text(res, row, column + 6));
    return true;
}

/* Reads the nodes first .. last-1 that are of kind. */
static bool read_kind(struct provenance *provenance, const struct kind *kind, int first, int last,
                      struct acc_error *err)
{
    struct buf *ids = &provenance->ids;
    struct pg_args args = {0};
    bool has = false;
    bool ok = true;

    buf_reset(ids);
    pg_array_begin(ids, PG_UUID);
    for (int n = first; n < last; n++) {
        if (provenance->nodes[n].kind != kind)
            continue;
        pg_array_add(ids, provenance->nodes[n].id, 16);
        has = true;
    }
    if (!has)
        return true;
    pg_array_end(ids, 0);
    pg_array(&args, PG_UUID_ARRAY, ids);
    PGresult *res = pg_query(provenance->pg, &provenance->read[kind->index], &args, err);
    if (res == NULL)
        return false;
    struct acc_row *fact = acc_zalloc(kind->row_bytes);
    for (int r = 0; ok && r < PQntuples(res); r++)
        ok = read_node(provenance, kind, res, r, fact, err);
    free(fact);
    PQclear(res);
    return ok;
}

static bool read_level(struct provenance *provenance, int first, int last, struct acc_error *err)
{
    for (size_t k = 0; k < provenance->catalog->count; k++)
        if (!read_kind(provenance, provenance->catalog->kinds[k], first, last, err))
            return false;
    return true;
}

/*
 * Hundreds of levels run the same few statements: planned once, and by the indexes, whatever the
 * first of them asks for.
 */
static bool plan_once(struct provenance *provenance, struct acc_error *err)
{
    return pg_do(provenance->pg,
                 "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
                 "SET max_parallel_workers_per_gather = 0",
                 NULL, err);
}

/* Other statements of the session are planned as they come. Returns ok, or false when that fails. */
static bool plan_again(struct provenance *provenance, bool ok, struct acc_error *err)
{
    struct acc_error later;

    return pg_do(provenance->pg,
                 "RESET plan_cache_mode; RESET enable_seqscan; "
                 "RESET max_parallel_workers_per_gather",
                 NULL, ok ? err : &later) &&
           ok;
}

static bool read_up(struct provenance *provenance, const uint8_t *id, int depth,
                    struct acc_error *err)
{
    int first = 0;

    add_node(provenance, id, -1, 0);
    for (int level = 0; level <= depth && first < provenance->count; level++) {
        int last = provenance->count;

        if (!read_level(provenance, first, last, err))
            return false;
        for (int n = first; n < last && level < depth; n++) {
            struct provenance_node *node = &provenance->nodes[n];

            node->is_followed = true;
            if (node->has_data)
                add_node(provenance, node->data, n, level + 1);
            for (int i = 0; i < node->friend_count; i++)
                add_node(provenance, node->friends + (size_t)i * 16, n, level + 1);
        }
        first = last;
    }
    return true;
}

bool provenance_up(struct provenance *provenance, const uint8_t *id, int depth,
                   struct acc_error *err)
{
    return plan_once(provenance, err) &&
           plan_again(provenance, read_up(provenance, id, depth, err), err);
}

/* Down */

/* Only of kinds that lifecycles have found facts of can something have come. */
static bool read_found_kinds(struct provenance *provenance, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT DISTINCT kind FROM tally_kind WHERE lifecycle <> 0 AND new > 0"};
    PGresult *res = pg_query(provenance->pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        const struct kind *kind =
            catalog_by_tag(provenance->catalog, (uint16_t)pg_get_int4(res, r, 0));

        if (kind != NULL)
            provenance->is_found[kind->index] = true;
    }
    PQclear(res);
    return true;
}

bool provenance_has_indexes(struct provenance *provenance, bool *has, struct acc_error *err)
{
    const struct catalog *catalog = provenance->catalog;
    struct explorer_indexes *indexes = acc_zalloc(catalog->count * sizeof(*indexes) + 1);
    bool ok = read_found_kinds(provenance, err) &&
              indexes_of_explorer(provenance->pg, catalog, indexes, err);

    *has = ok;
    for (size_t k = 0; k < catalog->count; k++)
        if (provenance->is_found[k])
            *has &= indexes[k].data && indexes[k].friends;
    free(indexes);
    return ok;
}

static void add_link(struct provenance_node *node, int page, const PGresult *res, int row)
{
    if (node->found_count == page) {
        node->has_more = true;
        return;
    }
    if (node->found == NULL)
        node->found = acc_alloc((uint64_t)page * sizeof(*node->found));
    struct effects_row *link = &node->found[node->found_count++];
    memcpy(link->id, PQgetvalue(res, row, 1), 16);
    link->as_data = pg_get_bool(res, row, 2);
    link->as_friend = pg_get_bool(res, row, 3);
}

/* Sends the question what of kind came of the nodes whose ids are in provenance->ids. */
static bool follow_send(struct provenance *provenance, const struct kind *kind, int page,
                        struct acc_error *err)
{
    struct pg_args args = {0};

    pg_array(&args, PG_UUID_ARRAY, &provenance->ids);
    pg_int8(&args, page + 1);
    return pg_send(provenance->pg, &provenance->follow[kind->index], &args, err);
}

static bool follow_read(struct provenance *provenance, int first, int page, struct acc_error *err)
{
    PGresult *res = pg_result(provenance->pg, err);

    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++)
        add_link(&provenance->nodes[first + (int)pg_get_int8(res, r, 0)], page, res, r);
    PQclear(res);
    return true;
}

/* What came of the nodes first .. last-1, in one round trip. */
static bool follow_level(struct provenance *provenance, int first, int last, int page,
                         struct acc_error *err)
{
    const struct catalog *catalog = provenance->catalog;
    struct acc_error later;
    bool ok = true;

    buf_reset(&provenance->ids);
    pg_array_begin(&provenance->ids, PG_UUID);
    for (int n = first; n < last; n++)
        pg_array_add(&provenance->ids, provenance->nodes[n].id, 16);
    pg_array_end(&provenance->ids, 0);
    for (size_t k = 0; ok && k < catalog->count; k++)
        if (provenance->is_found[k])
            ok = follow_send(provenance, catalog->kinds[k], page, err);
    ok = ok && pg_sync(provenance->pg, err);
    for (size_t k = 0; ok && k < catalog->count; k++)
        if (provenance->is_found[k])
            ok = follow_read(provenance, first, page, err);
    return pg_finish(provenance->pg, ok ? err : &later) && ok;
}

static bool follow_root(struct provenance *provenance, int page, const uint8_t *after,
                        int64_t until_ms, struct acc_error *err)
{
    struct effects effects = {provenance->pg, provenance->catalog, until_ms};
    struct provenance_node *root = &provenance->nodes[0];
    size_t count;

    root->found = acc_alloc((uint64_t)page * sizeof(*root->found));
    if (!effects_page(&effects, root->id, EFFECTS_OF_ALL, after, (size_t)page, root->found, &count,
                      &root->has_more, err))
        return false;
    root->found_count = (int)count;
    return true;
}

/* What was found of the nodes first .. last-1 becomes nodes where there is room. */
static void add_found(struct provenance *provenance, int first, int last)
{
    for (int n = first; n < last; n++) {
        struct provenance_node *node = &provenance->nodes[n];

        node->is_followed = true;
        provenance->link_count += node->found_count;
        for (int i = 0; i < node->found_count; i++)
            add_node(provenance, node->found[i].id, n, node->depth + 1);
    }
}

/* How many of each of some nodes the answer has room for. */
static int page_below(const struct provenance *provenance, int nodes, int page)
{
    int fit = (PROVENANCE_LINKS - provenance->link_count) / nodes;

    return fit < 1 ? 1 : fit < page ? fit : page;
}

/* The levels behind the root's. */
static bool read_below(struct provenance *provenance, int depth, int page, struct acc_error *err)
{
    int first = 1;

    for (int level = 1; level <= depth && first < provenance->count; level++) {
        int last = provenance->count;

        if (!read_level(provenance, first, last, err))
            return false;
        if (level < depth) {
            if (!follow_level(provenance, first, last, page_below(provenance, last - first, page),
                              err))
                return false;
            add_found(provenance, first, last);
        }
        first = last;
    }
    return true;
}

bool provenance_down(struct provenance *provenance, const uint8_t *id, int depth, int page,
                     const uint8_t *after, int64_t until_ms, struct acc_error *err)
{
    add_node(provenance, id, -1, 0);
    if (!read_found_kinds(provenance, err) || !read_level(provenance, 0, 1, err))
        return false;
    if (depth == 0)
        return true;
    if (!follow_root(provenance, page, after, until_ms, err))
        return false;
    add_found(provenance, 0, 1);
    return plan_once(provenance, err) &&
           plan_again(provenance, read_below(provenance, depth, page, err), err);
}
