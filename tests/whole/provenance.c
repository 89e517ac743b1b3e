/*
 * Finds every found fact of an app once more: its lifecycle is run on its recorded data and may look at nothing but its recorded
 * friends. Says how many, and names those that process_data does not find again.
 *
 *   whole_provenance APP OPTION=VALUE...
 */
#include "app.h"
#include "batch.h"
#include "identity.h"
#include "native.h"
#include "schema.h"

#include <stdio.h>
#include <stdlib.h>

struct replay {
    struct app app;
    struct session session;
    struct script *script;
    struct program program;
    struct facts *facts;
    struct batch *batch;
    struct acc_slot slot;
    const uint8_t *wanted; /* id of the fact that is sought */
    bool is_found;
    long done, missing;
};

/* Whether the fact is among the finds so far. */
static void look(struct replay *replay)
{
    struct batch *batch = replay->batch;

    for (size_t k = 0; k < replay->program.catalog.count; k++) {
        const struct kind *kind = replay->program.catalog.kinds[k];
        for (uint32_t i = 0; i < batch->finds[k].count; i++) {
            struct acc_row *row = rows_at(&batch->finds[k], i);
            row_normalise(kind, row);
            identity_set(kind, row);
            replay->is_found |= id_compare(row->id, replay->wanted) == 0;
        }
    }
}

static bool forget(struct batch *batch, struct acc_error *err)
{
    struct replay *replay = batch->flush_context;

    (void)err;
    look(replay);
    for (size_t k = 0; k < replay->program.catalog.count; k++)
        rows_reset(&batch->finds[k]);
    batch->hot.find_count = 0;
    batch->hot.friend_id_count = 0;
    return true;
}

static bool find_again(struct replay *replay, struct lifecycle *lifecycle, const uint8_t *fact,
                       const uint8_t *data, const struct buf *friends, struct acc_error *err)
{
    struct batch *batch = replay->batch;
    struct acc_rows *rows = &batch->data[lifecycle->on->index];
    uint32_t next = 0;

    batch_start(batch, lifecycle);
    if (!facts_get(replay->facts, &replay->session.pg, lifecycle->on, data, 1, rows, &batch->heap,
                   err))
        return false;
    if (rows->count != 1)
        return acc_fail(err, ACC_EDB, "the data of a found fact is not there");
    batch->hot.event_count = 1;
    batch->hot.run_count = 1;
    batch_restart(batch);
    batch->hot.run_count = 1;
    batch->restrict_ids = (const uint8_t *)friends->data;
    batch->restrict_count = friends->size / 16;
    batch->flush = forget;
    batch->flush_context = replay;
    replay->wanted = fact;
    replay->is_found = false;
    if (lifecycle->has_mirror && !friends_mirrors(batch, err))
        return false;
    if (!lifecycle->gather(lifecycle, batch, err) || !friends_end(batch, err) ||
        !lifecycle->process(lifecycle, batch, &next, err))
        return false;
    look(replay);
    return true;
}

/* The ids of a uuid[] in binary form. */
static void add_ids(const PGresult *res, int row, int column, struct buf *out)
{
    const char *wire = PQgetvalue(res, row, column);

    if (PQgetisnull(res, row, column))
        return;
    for (int at = 20; at + 20 <= PQgetlength(res, row, column); at += 20)
        buf_add(out, wire + at + 4, 16);
}

static bool replay_kind(struct replay *replay, const struct kind *kind, struct acc_error *err)
{
    struct pg_args none = {0};
    struct buf sql = {0};
    struct buf friends = {0};
    bool ok = true;

    buf_printf(
        &sql,
        "SELECT f._id, b.lifecycle, f._data, f._friends FROM %s f JOIN batch b ON b.id = f._batch "
        "WHERE f._data IS NOT NULL ORDER BY f._id",
        kind->table);
    PGresult *res = pg_exec(&replay->session.pg, sql.data, &none, err);
    for (int r = 0; ok && res != NULL && r < PQntuples(res); r++) {
        struct lifecycle *lifecycle = program_by_id(&replay->program, pg_get_int2(res, r, 1));
        const uint8_t *fact = (const uint8_t *)PQgetvalue(res, r, 0);
        const uint8_t *data = (const uint8_t *)PQgetvalue(res, r, 2);

        if (lifecycle == NULL) {
            ok = acc_fail(err, ACC_EDB, "a %s was found by lifecycle %d, which is not loaded",
                          kind->name, pg_get_int2(res, r, 1));
            break;
        }
        buf_reset(&friends);
        buf_add(&friends, "", 0);
        add_ids(res, r, 3, &friends);
        if (friends.data == NULL) {
            buf_add(&friends, data, 16); /* an empty list would mean: no restriction */
            buf_reset(&friends);
        }
        ok = find_again(replay, lifecycle, fact, data, &friends, err);
        replay->done++;
        if (ok && !replay->is_found) {
            if (replay->missing++ < 10) {
                printf("not found again by %s: %s ", lifecycle->name, kind->name);
                for (size_t i = 0; i < 16; i++)
                    printf("%02x", fact[i]);
                printf(" with %zu friends\n", friends.size / 16);
            }
        }
    }
    ok = ok && res != NULL;
    PQclear(res);
    buf_clear(&sql);
    buf_clear(&friends);
    return ok;
}

int main(int argc, char **argv)
{
    static struct replay replay;
    struct acc_error err = {0};
    char *so_path = NULL;

    if (argc < 2)
        return 2;
    bool ok = app_open(&replay.app, argv[1], (const char *const *)argv + 2, &err) &&
              native_build(&replay.app, &so_path, &err);
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    char *native = native_dir(&replay.app);
    replay.script = script_new(&replay.app.settings, replay.app.dir, native, &err);
    ok = replay.script != NULL && session_open(&replay.session, &replay.app, &err);
    if (ok) {
        ok = script_load(replay.script, &replay.program, false, &err) &&
             schema_bind(&replay.session.pg, &replay.program, &err);
        replay.facts = facts_new(&replay.program.catalog);
        replay.batch = batch_new(&replay.app.settings, &replay.program, &replay.session.pg,
                                 replay.facts, NULL, &replay.slot);
        for (size_t k = 0; ok && k < replay.program.catalog.count; k++)
            ok = replay_kind(&replay, replay.program.catalog.kinds[k], &err);
        batch_free(replay.batch);
        facts_free(replay.facts);
        session_close(&replay.session);
    }
    script_free(replay.script);
    free(native);
    free(so_path);
    app_close(&replay.app);
    if (!ok) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    printf("%ld found again, %ld not\n", replay.done - replay.missing, replay.missing);
    return replay.missing == 0 && replay.done > 0 ? 0 : 1;
}
