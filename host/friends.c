/*
 * Look-ups of a batch: all keys of all events in one query per shape, all queries in one round
 * trip.
 */
#include "base/buf.h"
#include "friends_internal.h"
#include "identity.h"

#include <stdlib.h>
#include <xxhash.h>

static struct pg_stmt begin_read = {.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"};
static struct pg_stmt end_read = {.sql = "COMMIT"};

/* SQL: one row per (key, fact), the key by its number, so that nothing is hashed here again. */

static void condition(const struct kind *kind, const struct shape *shape, struct buf *sql)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &kind->fields[shape->fields[i]];

        buf_text(sql, i == 0 ? "" : " AND ");
        if (shape->has[i]) {
            buf_text(sql, "f.");
            pg_identifier(sql, field->name);
            buf_printf(sql, " @> ARRAY[u.c%zu]", i);
            continue;
        }
        const char *hash = field->type == FIELD_TEXT    ? "hashtextextended("
                           : field->type == FIELD_BYTES ? "sha256("
                                                        : NULL;
        if (hash != NULL) {
            const char *end = field->type == FIELD_TEXT ? ", 0)" : ")";
            buf_printf(sql, "%sf.", hash);
            pg_identifier(sql, field->name);
            buf_printf(sql, "%s = %su.c%zu%s AND ", end, hash, i, end);
        }
        buf_text(sql, "f.");
        pg_identifier(sql, field->name);
        buf_printf(sql, " = u.c%zu", i);
    }
}

static char *lookup_sql(const struct lookup *lookup, bool restricted)
{
    const struct kind *key = &lookup->key_kind;
    struct buf sql = {0};
    struct buf from = {0};
    struct buf names = {0};
    struct buf values = {0};
    int param = 0;

    buf_text(&sql, "SELECT u.i - 1, ");
    facts_select_list(lookup->kind, &sql);
    if (lookup->shape->by_id) {
        buf_printf(
            &sql, " FROM unnest($%d::uuid[]) WITH ORDINALITY AS u(id, i) JOIN %s f ON f._id = u.id",
            ++param, lookup->kind->table);
    } else {
        for (size_t f = 0; f < key->field_count; f++)
            facts_column_sql(key, f, &param, &from, &names, &values);
        buf_printf(&sql, " FROM unnest(%s) WITH ORDINALITY AS u(%s, i) JOIN %s f ON ",
                   from.data + 2, names.data + 2, lookup->kind->table);
        condition(lookup->kind, lookup->shape, &sql);
    }
    if (restricted)
        buf_printf(&sql, " AND f._id = ANY($%d::uuid[])", ++param);
    buf_printf(&sql, " LIMIT $%d::int8", ++param);
    buf_clear(&from);
    buf_clear(&names);
    buf_clear(&values);
    return sql.data;
}

/*
 * Distinct keys of the keys not yet fetched: unique[k] is a key row, number[i] the distinct key of
 * key fetched + i.
 */
struct distinct {
    struct acc_row **unique;
    uint32_t *number;
    uint32_t count;
};

static uint64_t key_hash(const struct kind *key, const struct acc_row *row)
{
    uint64_t hash = 0;

    for (size_t f = 0; f < key->field_count; f++) {
        size_t size;
        const void *value = row_value(key, row, f, &size);
        hash = XXH3_64bits_withSeed(value, size, hash + f);
    }
    return hash;
}

static void make_distinct(const struct lookup *lookup, struct distinct *out)
{
    uint32_t n = lookup->keys.count - lookup->fetched;
    uint32_t size = 16;

    while (size < 2 * n)
        size *= 2;
    uint32_t *table =
        acc_zalloc((uint64_t)size * sizeof(uint32_t)); /* 0: free, else distinct number + 1 */
    out->unique = acc_alloc((uint64_t)n * sizeof(struct acc_row *) + 1);
    out->number = acc_alloc((uint64_t)n * sizeof(uint32_t) + 1);
    out->count = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct acc_row *row = rows_at(&lookup->keys, lookup->fetched + i);
        uint32_t at = (uint32_t)key_hash(&lookup->key_kind, row) & (size - 1);

        while (table[at] != 0 &&
               !rows_equal(&lookup->key_kind, out->unique[table[at] - 1], row, UINT64_MAX))
            at = (at + 1) & (size - 1);
        if (table[at] == 0) {
            out->unique[out->count] = row;
            table[at] = ++out->count;
        }
        out->number[i] = table[at] - 1;
    }
    free(table);
}

struct fetch {
    struct lookup *lookup;
    struct distinct distinct;
    struct facts_scratch columns[KIND_FIELDS_MAX];
};

static void fetch_clear(struct fetch *fetch)
{
    free(fetch->distinct.unique);
    free(fetch->distinct.number);
    for (size_t f = 0; f < KIND_FIELDS_MAX; f++) {
        for (size_t p = 0; p < 3; p++)
            buf_clear(&fetch->columns[f].part[p]);
    }
}

static int64_t rows_allowed(const struct batch *batch)
{
    const struct settings *s = batch->settings;
    int64_t most = batch->hot.run_count > 1 ? s->worker.batch_friends : s->worker.friends_max;
    return most - batch->friend_rows;
}

void friends_restrict_array(const struct batch *batch, struct buf *out)
{
    buf_reset(out);
    pg_array_begin(out, PG_UUID);
    for (size_t i = 0; i < batch->restrict_count; i++)
        pg_array_add(out, batch->restrict_ids + 16 * i, 16);
    pg_array_end(out, 0);
}

/* The ids of keys that are exactly the unique fields. */
static void by_id_array(const struct lookup *lookup, const struct distinct *distinct,
                        struct buf *out)
{
    const struct kind *kind = lookup->kind;
    struct acc_row *row = acc_zalloc(kind->row_bytes);

    buf_reset(out);
    pg_array_begin(out, PG_UUID);
    for (uint32_t k = 0; k < distinct->count; k++) {
        for (size_t i = 0; i < lookup->shape->count; i++)
            *row_int(row, lookup->shape->fields[i]) = *row_int(distinct->unique[k], i);
        row_normalise(kind, row);
        identity_set(kind, row);
        pg_array_add(out, row->id, 16);
    }
    pg_array_end(out, 0);
    free(row);
}

static bool fetch_send(struct batch *batch, struct fetch *fetch, struct acc_error *err)
{
    static struct buf restrict_ids;
    struct lookup *lookup = fetch->lookup;
    bool restricted = batch->restrict_ids != NULL;
    struct pg_stmt *stmt = restricted ? &lookup->restricted : &lookup->stmt;
    struct pg_args args = {0};

    if (stmt->sql == NULL)
        stmt->sql = lookup_sql(lookup, restricted);
    make_distinct(lookup, &fetch->distinct);
    if (lookup->shape->by_id) {
        by_id_array(lookup, &fetch->distinct, &fetch->columns[0].part[0]);
        pg_array(&args, PG_UUID_ARRAY, &fetch->columns[0].part[0]);
    } else {
        for (size_t f = 0; f < lookup->key_kind.field_count; f++)
            facts_column(&lookup->key_kind, f, fetch->distinct.unique, fetch->distinct.count,
                         &fetch->columns[f], &args);
    }
    if (restricted) {
        friends_restrict_array(batch, &restrict_ids);
        pg_array(&args, PG_UUID_ARRAY, &restrict_ids);
    }
    pg_int8(&args, rows_allowed(batch) + 1);
    return pg_send(batch->pg, stmt, &args, err);
}

/* Sorting row numbers by id. */
static const struct acc_rows *sort_rows;

static int by_id(const void *a, const void *b)
{
    return id_compare(rows_at(sort_rows, *(const uint32_t *)a)->id,
                      rows_at(sort_rows, *(const uint32_t *)b)->id);
}

static void sort_index(const struct acc_rows *rows, uint32_t *index, size_t count)
{
    sort_rows = rows;
    if (count > 1)
        qsort(index, count, sizeof(*index), by_id);
}

static bool index_room(struct batch *batch, uint64_t more, struct acc_error *err)
{
    if (batch->index_count + more <= batch->index_limit)
        return true;
    return acc_fail(err, ACC_ELIMIT, "look-ups of one batch give more than %u rows",
                    batch->index_limit);
}

/*
 * Points each handle with keys in this fetch at its rows: those of its one key, or the sorted union
 * of its keys'.
 */
static bool point_handles(struct batch *batch, struct fetch *fetch, const uint32_t *starts,
                          struct acc_error *err)
{
    struct lookup *lookup = fetch->lookup;
    struct acc_rows *rows = &batch->friends[lookup->kind->index];
    uint32_t n = lookup->keys.count - lookup->fetched;

    for (uint32_t i = 0; i < n;) {
        uint32_t handle_number = rows_at(&lookup->keys, lookup->fetched + i)->event;
        struct acc_handle *handle = &batch->handles[handle_number];
        uint32_t k = fetch->distinct.number[i];

        if (handle->key_count == 0) { /* its event raised while the keys were written */
            i++;
            continue;
        }
        if (handle->key_count == 1) {
            handle->b = starts[k];
            handle->e = starts[k + 1];
        } else {
            uint32_t b = batch->index_count;
            for (uint32_t j = 0; j < handle->key_count; j++) {
                uint32_t key = fetch->distinct.number[i + j];
                uint32_t size = starts[key + 1] - starts[key];
                if (!index_room(batch, size, err))
                    return false;
                memcpy(batch->index + batch->index_count, batch->index + starts[key],
                       size * sizeof(uint32_t));
                batch->index_count += size;
            }
            sort_index(rows, batch->index + b, batch->index_count - b);
            uint32_t e = b;
            for (uint32_t r = b; r < batch->index_count; r++) {
                if (e == b || id_compare(rows_at(rows, batch->index[e - 1])->id,
                                         rows_at(rows, batch->index[r])->id) != 0)
                    batch->index[e++] = batch->index[r];
            }
            batch->index_count = e;
            handle->b = b;
            handle->e = e;
        }
        handle->loaded = 1;
        i += handle->key_count;
    }
    return true;
}

static bool fetch_read(struct batch *batch, struct fetch *fetch, struct acc_error *err)
{
    struct lookup *lookup = fetch->lookup;
    struct acc_rows *rows = &batch->friends[lookup->kind->index];
    int64_t allowed = rows_allowed(batch);
    uint32_t *starts = NULL;
    uint32_t *fill = NULL;
    bool ok = false;

    PGresult *res = pg_result(batch->pg, err);
    if (res == NULL)
        return false;
    int count = PQntuples(res);
    if (count > allowed) {
        if (batch->hot.run_count > 1) {
            batch->too_many_friends = true;
            acc_fail(err, ACC_ELIMIT, "more than %lld friends in one batch", (long long)allowed);
        } else {
            acc_fail(err, ACC_ELIMIT, "one event has more than worker.friends_max = %lld friends",
                     (long long)batch->settings->worker.friends_max);
        }
        goto out;
    }
    batch->friend_rows += count;
    /* Counting sort by key, then by id within a key. */
    starts = acc_zalloc((uint64_t)(fetch->distinct.count + 2) * sizeof(uint32_t));
    for (int r = 0; r < count; r++)
        starts[pg_get_int8(res, r, 0) + 1]++;
    if (!index_room(batch, (uint64_t)count, err))
        goto out;
    starts[0] = batch->index_count;
    for (uint32_t k = 0; k < fetch->distinct.count; k++)
        starts[k + 1] += starts[k];
    fill = acc_alloc((uint64_t)(fetch->distinct.count + 1) * sizeof(uint32_t));
    memcpy(fill, starts, (uint64_t)fetch->distinct.count * sizeof(uint32_t));
    for (int r = 0; r < count; r++) {
        struct acc_row *row = rows_add(rows, err);
        if (row == NULL || !facts_decode(lookup->kind, res, r, 1, &batch->heap, row, err))
            goto out;
        batch->index[fill[pg_get_int8(res, r, 0)]++] = rows->count - 1;
    }
    batch->index_count += (uint32_t)count;
    for (uint32_t k = 0; k < fetch->distinct.count; k++)
        sort_index(rows, batch->index + starts[k], starts[k + 1] - starts[k]);
    ok = point_handles(batch, fetch, starts, err);
    lookup->fetched = lookup->keys.count;
out:
    free(starts);
    free(fill);
    PQclear(res);
    return ok;
}

bool friends_begin_send(struct batch *batch, bool *sent, struct acc_error *err)
{
    *sent = !batch->in_transaction && !batch->is_reading;
    return !*sent || pg_send(batch->pg, &begin_read, NULL, err);
}

bool friends_begin_result(struct batch *batch, bool sent, struct acc_error *err)
{
    if (!sent)
        return true;
    PGresult *res = pg_result(batch->pg, err);
    PQclear(res);
    batch->is_reading = res != NULL;
    return res != NULL;
}

bool friends_failed(struct batch *batch)
{
    struct acc_error later;

    (void)!pg_finish(batch->pg, &later);
    if (batch->pg->conn == NULL || PQtransactionStatus(batch->pg->conn) == PQTRANS_IDLE)
        batch->is_reading = false;
    return false;
}

bool friends_fetch(struct batch *batch, struct acc_error *err)
{
    struct fetch *fetches = acc_zalloc(batch->lookup_count * sizeof(struct fetch) + 1);
    size_t count = 0;
    bool begun;
    bool ok = false;

    batch->slot->phase = 4;
    batch->slot->beat++;
    for (size_t i = 0; i < batch->lookup_count; i++) {
        if (batch->lookups[i].keys.count > batch->lookups[i].fetched)
            fetches[count++].lookup = &batch->lookups[i];
    }
    if (count == 0) {
        free(fetches);
        return true;
    }
    /*
     * Without a transaction open this round of look-ups is one of its own, in the same round trip.
     * The next round may then see a later snapshot, never an earlier one, which is what a monotone
     * lifecycle needs.
     */
    bool good = friends_begin_send(batch, &begun, err);
    for (size_t i = 0; good && i < count; i++)
        good = fetch_send(batch, &fetches[i], err);
    good = good && (!begun || pg_send(batch->pg, &end_read, NULL, err));
    good = good && pg_sync(batch->pg, err) && friends_begin_result(batch, begun, err);
    if (begun)
        batch->is_reading = false;
    for (size_t i = 0; good && i < count; i++)
        good = fetch_read(batch, &fetches[i], err);
    if (!good)
        ok = friends_failed(batch);
    else
        ok = pg_finish(batch->pg, err);
    for (size_t i = 0; i < count; i++)
        fetch_clear(&fetches[i]);
    free(fetches);
    batch->slot->beat++;
    return ok;
}

bool friends_end(struct batch *batch, struct acc_error *err)
{
    if (!batch->is_reading)
        return true;
    batch->is_reading = false;
    PGresult *res = pg_query(batch->pg, &end_read, NULL, err);
    PQclear(res);
    return res != NULL;
}
