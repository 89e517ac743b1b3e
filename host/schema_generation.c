/* Generations: made current, bound to, joined. */
#include "schema.h"

#include <stdio.h>
#include <string.h>

static bool queue_replay(struct pg *pg, int16_t id, const struct kind *kind, struct acc_error *err)
{
    struct pg_args bound = {0};
    struct pg_args rows = {0};
    struct buf sql = {0};

    pg_int2(&bound, id);
    pg_int2(&rows, id);
    buf_printf(
        &sql,
        "INSERT INTO replay SELECT $1, b, '00000000-0000-0000-0000-000000000000'::uuid "
        "FROM generate_series(0, (SELECT value::int4 FROM meta WHERE key = 'buckets') - 1) b "
        "WHERE EXISTS (SELECT FROM %s) ON CONFLICT (lifecycle, bucket) DO UPDATE SET cursor = "
        "excluded.cursor",
        kind->table);
    bool ok =
        pg_do(pg,
              "INSERT INTO replay_bound SELECT $1, (id >> 32)::int4, max(id) FROM batch GROUP BY 2 "
              "ON CONFLICT (lifecycle, epoch) DO UPDATE SET last_batch = excluded.last_batch",
              &bound, err) &&
        pg_do(pg, sql.data, &rows, err);
    buf_clear(&sql);
    return ok;
}

static void names_array(const struct lifecycle *lifecycle, bool finds, struct buf *out)
{
    size_t count = finds ? lifecycle->find_count : lifecycle->friend_count;

    pg_array_begin(out, PG_TEXT);
    for (size_t i = 0; i < count; i++) {
        const struct kind *kind = finds ? lifecycle->finds[i] : lifecycle->friends[i].kind;
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice |= (finds ? lifecycle->finds[k] : lifecycle->friends[k].kind) == kind;
        if (!twice)
            pg_array_add(out, kind->name, strlen(kind->name));
    }
    pg_array_end(out, 0);
}

static bool register_lifecycle(struct pg *pg, struct lifecycle *lifecycle, int32_t generation,
                               struct acc_error *err)
{
    struct pg_args find = {0};
    struct pg_args args = {0};
    struct buf friends = {0};
    struct buf finds = {0};
    bool is_new = true;
    bool ok = false;

    pg_text(&find, lifecycle->name);
    PGresult *res =
        pg_exec(pg, "SELECT id, kind, active FROM lifecycle WHERE name = $1", &find, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) > 0)
        is_new = !pg_get_bool(res, 0, 2) || pg_get_int4(res, 0, 1) != lifecycle->on->tag;
    PQclear(res);
    names_array(lifecycle, false, &friends);
    names_array(lifecycle, true, &finds);
    pg_text(&args, lifecycle->name);
    pg_int4(&args, lifecycle->on->tag);
    pg_int4(&args, lifecycle->priority);
    pg_int4(&args, generation);
    pg_text(&args, lifecycle->module_sha);
    pg_array(&args, PG_TEXT_ARRAY, &friends);
    pg_array(&args, PG_TEXT_ARRAY, &finds);
    res = pg_exec(
        pg,
        "INSERT INTO lifecycle AS l (id, name, kind, active, priority, generation, module, "
        "friends, finds) "
        "SELECT (SELECT coalesce(max(id), 0) + 1 FROM lifecycle), $1, $2, true, $3, $4, $5, $6, $7 "
        "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, active = true, priority = "
        "excluded.priority, "
        "generation = CASE WHEN l.module = excluded.module THEN l.generation ELSE "
        "excluded.generation END, "
        "module = excluded.module, friends = excluded.friends, finds = excluded.finds RETURNING id",
        &args, err);
    if (res != NULL) {
        lifecycle->id = pg_get_int2(res, 0, 0);
        PQclear(res);
        ok = !is_new || queue_replay(pg, lifecycle->id, lifecycle->on, err);
    }
    buf_clear(&friends);
    buf_clear(&finds);
    return ok;
}

static bool deactivate_others(struct pg *pg, const struct program *program, struct acc_error *err)
{
    struct pg_args args = {0};
    struct buf names = {0};

    pg_array_begin(&names, PG_TEXT);
    for (size_t i = 0; i < program->lifecycle_count; i++)
        pg_array_add(&names, program->lifecycles[i]->name, strlen(program->lifecycles[i]->name));
    pg_array_end(&names, 0);
    pg_array(&args, PG_TEXT_ARRAY, &names);
    bool ok = pg_do(pg, "UPDATE lifecycle SET active = false WHERE active AND name <> ALL($1)",
                    &args, err);
    buf_clear(&names);
    return ok;
}

static bool register_all(struct pg *pg, struct program *program, struct acc_error *err)
{
    struct pg_args args = {0};

    pg_text(&args, program->sha);
    pg_text(&args, program->files == NULL ? "" : program->files);
    PGresult *res = pg_exec(pg,
                            "INSERT INTO generation (id, sha, files) SELECT (SELECT "
                            "coalesce(max(id), 0) + 1 FROM generation), $1, $2 RETURNING id",
                            &args, err);
    if (res == NULL)
        return false;
    program->generation = pg_get_int4(res, 0, 0);
    PQclear(res);
    if (!deactivate_others(pg, program, err))
        return false;
    for (size_t i = 0; i < program->lifecycle_count; i++) {
        if (!register_lifecycle(pg, program->lifecycles[i], program->generation, err))
            return false;
    }
    return pg_do(pg, "UPDATE routing SET version = version + 1", NULL, err);
}

/* Of a generation that an older version made the files are not known. Returns false. */
static bool say_stale(const struct program *program, const PGresult *res, struct acc_error *err)
{
    struct buf differences = {0};

    if (PQntuples(res) == 0)
        return acc_fail(err, ACC_ESTALE, "there is no generation yet");
    if (!PQgetisnull(res, 0, 2) && PQgetlength(res, 0, 2) > 0)
        program_say_differences(program, PQgetvalue(res, 0, 2), &differences);
    acc_fail(err, ACC_ESTALE,
             "the modules here (sha %.12s) are not those of generation %d (sha %.12s)%s%s",
             program->sha, pg_get_int4(res, 0, 0), PQgetvalue(res, 0, 1),
             differences.size > 0 ? ": " : "", differences.size > 0 ? differences.data : "");
    buf_clear(&differences);
    return false;
}

bool schema_bind(struct pg *pg, struct program *program, struct acc_error *err)
{
    static const char sql[] = "SELECT id, sha, to_jsonb(g) ->> 'files' FROM generation g "
                              "ORDER BY id DESC LIMIT 1"; /* tables of older versions lack it */
    struct pg_args none = {0};

    PGresult *res = pg_exec(pg, sql, &none, err);
    if (res == NULL)
        return false;
    if (PQntuples(res) == 0 || strcmp(PQgetvalue(res, 0, 1), program->sha) != 0) {
        say_stale(program, res, err);
        PQclear(res);
        return false;
    }
    program->generation = pg_get_int4(res, 0, 0);
    PQclear(res);
    res = pg_exec(pg, "SELECT id, name FROM lifecycle WHERE active", &none, err);
    if (res == NULL)
        return false;
    for (int r = 0; r < PQntuples(res); r++) {
        struct lifecycle *lifecycle = program_find(program, PQgetvalue(res, r, 1));
        if (lifecycle != NULL)
            lifecycle->id = pg_get_int2(res, r, 0);
    }
    PQclear(res);
    return true;
}

static bool has_generation(struct pg *pg, bool *has, struct acc_error *err)
{
    struct pg_args none = {0};
    PGresult *res = pg_exec(pg, "SELECT EXISTS (SELECT FROM generation)", &none, err);

    if (res == NULL)
        return false;
    *has = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
}

/* Behind the lock, where somebody may have been faster. */
static bool bind_or_register(struct pg *pg, struct program *program, bool may_replace,
                             struct acc_error *err)
{
    bool has = false;

    if (schema_bind(pg, program, err))
        return true;
    if (err->code != ACC_ESTALE)
        return false;
    if (!may_replace) {
        struct acc_error stale = *err;

        if (!has_generation(pg, &has, err))
            return false;
        if (has) {
            *err = stale;
            return false;
        }
    }
    return register_all(pg, program, err);
}

static bool activate(struct pg *pg, struct program *program, bool may_replace,
                     struct acc_error *err)
{
    struct acc_error later;

    if (schema_bind(pg, program, err))
        return true;
    /*
     * Writers hold ACCESS SHARE to their commit: behind this lock every fact is either routed as
     * before and committed, or not yet.
     */
    if (err->code != ACC_ESTALE || !pg_do(pg, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL, err))
        return false;
    if (pg_do(pg, "LOCK TABLE routing IN ACCESS EXCLUSIVE MODE", NULL, err) &&
        bind_or_register(pg, program, may_replace, err))
        return pg_do(pg, "COMMIT", NULL, err);
    (void)!pg_do(pg, "ROLLBACK", NULL, &later);
    return false;
}

bool schema_activate(struct pg *pg, struct program *program, struct acc_error *err)
{
    return activate(pg, program, true, err);
}

static bool say_way_out(struct acc_error *err)
{
    struct acc_error why = *err;

    return acc_fail(err, ACC_ESTALE,
                    "%.1800s; workers only join a generation: bring the same files here, or take "
                    "these to the host that runs and give it accrete reload",
                    why.text);
}

bool schema_join(struct pg *pg, const char *schema, struct program *program,
                 const struct settings *settings, struct acc_error *err)
{
    struct pg_args none = {0};
    bool has = false;

    PGresult *res = pg_exec(pg, "SELECT to_regclass('generation') IS NOT NULL", &none, err);
    if (res == NULL)
        return false;
    bool has_tables = pg_get_bool(res, 0, 0);
    PQclear(res);
    if (has_tables && !has_generation(pg, &has, err))
        return false;
    /* Another app's kinds must not become tables before it is refused. */
    if (has ? !schema_bind(pg, program, err)
            : !schema_apply(pg, schema, program, settings, err) ||
                  !activate(pg, program, false, err))
        return err->code == ACC_ESTALE ? say_way_out(err) : false;
    return !has || schema_apply(pg, schema, program, settings, err);
}
