/* Mirrors: whole small kinds in RAM, made complete by what the tallies say is new. */
#include "friends_internal.h"

#include <stdlib.h>

static void mirror_drop(struct batch *batch, struct mirror *mirror)
{
    rows_reset(&mirror->rows);
    free(mirror->epochs);
    mirror->epochs = NULL;
    mirror->epoch_count = 0;
    mirror->total = 0;
    mirror->version++;
    (void)
        batch; /* texts of the old version stay in the heap until the worker ends: it happens when an epoch is folded */
}

static bool mirror_add(struct batch *batch, struct mirror *mirror, const PGresult *res,
                       struct acc_error *err)
{
    for (int r = 0; r < PQntuples(res); r++) {
        struct acc_row *row =
            mirror->rows.count < mirror->rows.capacity ? rows_add(&mirror->rows, err) : NULL;
        if (row == NULL || !facts_decode(mirror->kind, res, r, 0, &batch->mirror_heap, row, err) ||
            (int64_t)mirror->rows.count * mirror->rows.stride +
                    (int64_t)(batch->mirror_heap.used - batch->mirror_heap.start) >
                batch->settings->worker.mirror_bytes)
            return acc_fail(err, ACC_ELIMIT,
                            "kind \"%s\" is looked up whole and needs more than worker.mirror = "
                            "%lld bytes: raise it, or declare fields to look up by",
                            mirror->kind->name, (long long)batch->settings->worker.mirror_bytes);
    }
    return true;
}

static int64_t known_count(const struct mirror *mirror, int32_t epoch, int64_t *last)
{
    for (size_t i = 0; i < mirror->epoch_count; i++) {
        if (mirror->epochs[i].epoch == epoch) {
            *last = mirror->epochs[i].last_batch;
            return mirror->epochs[i].count;
        }
    }
    *last = (int64_t)epoch << 32;
    return 0;
}

static PGresult *mirror_query(struct batch *batch, struct mirror *mirror, const struct buf *lows,
                              const struct buf *highs, struct acc_error *err)
{
    struct buf sql = {0};
    struct buf ids = {0};
    struct pg_args args = {0};

    buf_text(&sql, "SELECT ");
    facts_select_list(mirror->kind, &sql);
    buf_printf(&sql, " FROM %s f", mirror->kind->table);
    if (batch->restrict_ids != NULL) {
        buf_text(&sql, " WHERE f._id = ANY($1::uuid[])");
        friends_restrict_array(batch, &ids);
        pg_array(&args, PG_UUID_ARRAY, &ids);
    } else if (lows != NULL) {
        buf_text(&sql, " JOIN unnest($1::int8[], $2::int8[]) AS u(lo, hi) ON f._batch > u.lo AND "
                       "f._batch <= u.hi");
        pg_array(&args, PG_INT8_ARRAY, lows);
        pg_array(&args, PG_INT8_ARRAY, highs);
    }
    buf_printf(&sql, " LIMIT %u", mirror->rows.capacity + 1);
    PGresult *res = pg_exec(batch->pg, sql.data, &args, err);
    buf_clear(&sql);
    buf_clear(&ids);
    return res;
}

/*
 * tally is what the snapshot says: per epoch, the facts of the kind and the last batch that found
 * one. An epoch writes one batch after the other, so what it has found since is what has a higher
 * batch number.
 */
static bool mirror_update(struct batch *batch, struct mirror *mirror, const PGresult *tally,
                          struct acc_error *err)
{
    struct buf lows = {0};
    struct buf highs = {0};
    int64_t total = 0;
    bool is_stale = batch->restrict_ids != NULL;
    bool is_whole = mirror->total == 0 || is_stale;
    PGresult *res = NULL;
    bool ok = false;

    pg_array_begin(&lows, PG_INT8);
    pg_array_begin(&highs, PG_INT8);
    for (int r = 0; r < PQntuples(tally); r++) {
        int32_t epoch = pg_get_int4(tally, r, 0);
        int64_t count = pg_get_int8(tally, r, 1);
        int64_t last;

        total += count;
        if (known_count(mirror, epoch, &last) == count)
            continue;
        is_stale = true;
        is_whole |= epoch == 0; /* folded: its batches have no order */
        pg_array_int8(&lows, last);
        pg_array_int8(&highs, pg_get_int8(tally, r, 2));
    }
    pg_array_end(&lows, 0);
    pg_array_end(&highs, 0);
    if (!is_stale && total == mirror->total) {
        ok = true;
        goto out;
    }
    if (!is_whole) {
        res = mirror_query(batch, mirror, &lows, &highs, err);
        if (res == NULL)
            goto out;
        is_whole = mirror->total + PQntuples(res) != total;
    }
    if (is_whole) {
        PQclear(res);
        mirror_drop(batch, mirror);
        res = mirror_query(batch, mirror, NULL, NULL, err);
        if (res == NULL)
            goto out;
    }
    if (!mirror_add(batch, mirror, res, err)) {
        mirror_drop(batch, mirror);
        goto out;
    }
    mirror->total = batch->restrict_ids != NULL ? 0 : mirror->rows.count;
    mirror->epochs =
        acc_realloc(mirror->epochs, (uint64_t)PQntuples(tally) * sizeof(*mirror->epochs) + 1);
    mirror->epoch_count = (size_t)PQntuples(tally);
    for (int r = 0; r < PQntuples(tally); r++) {
        mirror->epochs[r].epoch = pg_get_int4(tally, r, 0);
        mirror->epochs[r].count = pg_get_int8(tally, r, 1);
        mirror->epochs[r].last_batch = pg_get_int8(tally, r, 2);
    }
    ok = batch->restrict_ids != NULL || mirror->total == total ||
         acc_fail(err, ACC_EDB, "kind \"%s\" holds %lld facts, the tallies say %lld",
                  mirror->kind->name, (long long)mirror->total, (long long)total);
out:
    PQclear(res);
    buf_clear(&lows);
    buf_clear(&highs);
    return ok;
}

bool friends_mirrors(struct batch *batch, struct acc_error *err)
{
    static struct pg_stmt tally = {
        .sql =
            "SELECT epoch, sum(new)::int8, max(last_batch) FROM tally_kind WHERE kind = $1::int4 "
            "AND new > 0 GROUP BY epoch"};
    const struct lifecycle *lifecycle = batch->lifecycle;

    for (size_t i = 0; i < lifecycle->friend_count; i++) {
        const struct kind *kind = lifecycle->friends[i].kind;
        struct pg_args args = {0};
        bool begun;

        if (kind->shapes[lifecycle->friends[i].shape].count != 0)
            continue;
        pg_int4(&args, kind->tag);
        if (!friends_begin_send(batch, &begun, err) || !pg_send(batch->pg, &tally, &args, err) ||
            !pg_sync(batch->pg, err) || !friends_begin_result(batch, begun, err))
            return friends_failed(batch);
        PGresult *res = pg_result(batch->pg, err);
        if (res == NULL)
            return friends_failed(batch);
        bool ok = pg_finish(batch->pg, err) &&
                  mirror_update(batch, &batch->mirrors[kind->index], res, err);
        PQclear(res);
        if (!ok)
            return friends_failed(batch);
    }
    return true;
}
