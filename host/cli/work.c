#include "cli/work.h"

#include "native.h"
#include "schema.h"

#include <stdlib.h>

static bool load(struct work *work, bool kinds_only, struct acc_error *err)
{
    char *dir = native_dir(&work->app);
    char *so_path = NULL;
    bool ok = kinds_only || native_build(&work->app, &so_path, err);

    if (ok) {
        work->script = script_new(&work->app.settings, work->app.dir, dir, err);
        ok = work->script != NULL && script_load(work->script, &work->program, kinds_only, err);
    }
    free(so_path);
    free(dir);
    return ok;
}

/* The modules, or where the lifecycles or the native code are broken, the kinds alone. */
static bool load_or_kinds(struct work *work, struct acc_error *err)
{
    if (load(work, false, &work->why))
        return true;
    script_free(work->script);
    work->script = NULL;
    work->is_broken = true;
    if (load(work, true, err))
        return true;
    *err = work->why;
    return false;
}

static bool find_tables(struct work *work, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT to_regclass('tally_reason') IS NOT NULL"}; /* the last one to be made */
    PGresult *res = pg_query(&work->session.pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    work->has_tables = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
}

static bool has_generation(struct pg *pg, bool *has, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT EXISTS (SELECT FROM generation)"};
    PGresult *res = pg_query(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    *has = pg_get_bool(res, 0, 0);
    PQclear(res);
    return true;
}

/*
 * Workers of a running host read the rows of packets as their own kinds say. A kind can only have
 * got fields since (schema_apply refuses all else), so comparing how many there are is enough.
 */
static bool check_kinds(struct work *work, struct acc_error *err)
{
    static struct pg_stmt stmt = {
        .sql = "SELECT name, array_length(string_to_array(declaration, E'\\n'), 1) - 2 FROM kind"};
    PGresult *res = pg_query(&work->session.pg, &stmt, NULL, err);
    bool ok = res != NULL;

    for (int r = 0; ok && r < PQntuples(res); r++) {
        const struct kind *kind = catalog_find(&work->program.catalog, pg_get_text(res, r, 0));

        int fields = kind == NULL ? 0 : (int)kind->field_count;

        if (kind != NULL && fields < pg_get_int4(res, r, 1))
            ok = acc_fail(err, ACC_EINPUT,
                          "kinds/%s.lua: the database is newer than this app, it has %d fields of "
                          "the kind and the module %d: use the app's version that added them",
                          kind->name, pg_get_int4(res, r, 1), fields);
        else if (kind != NULL && fields > pg_get_int4(res, r, 1))
            ok = acc_fail(
                err, ACC_EINPUT,
                "kinds/%s.lua has changed: accrete reload makes the running host take it up",
                kind->name);
    }
    PQclear(res);
    return ok;
}

/* Somebody else may work on the database: a generation is activated only when there is none. */
static bool share_tables(struct cli *cli, struct work *work, struct acc_error *err)
{
    struct pg *pg = &work->session.pg;
    bool has = false;

    if (work->has_tables) {
        if (!schema_base(pg, work->app.schema, err)) /* what we write is of this version */
            return false;
        if (schema_bind(pg, &work->program, err))
            return true;
        if (err->code != ACC_ESTALE || !has_generation(pg, &has, err) ||
            (has && !check_kinds(work, err)))
            return false;
    }
    if (!schema_apply(pg, work->app.schema, &work->program, &work->app.settings, err) ||
        !has_generation(pg, &has, err))
        return false;
    if (!has)
        return schema_activate(pg, &work->program, err);
    if (schema_bind(pg, &work->program, err)) /* a host that was just starting did it meanwhile */
        return true;
    if (err->code == ACC_ESTALE)
        cli_note(cli,
                 "the modules have changed: accrete reload makes the running host take them up");
    return err->code == ACC_ESTALE;
}

/*
 * Bad code hurts only itself: facts for kinds that the database knows are taken in all the same, and
 * wait for the lifecycles of the current generation.
 */
static bool tables_of_broken(struct cli *cli, struct work *work, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT coalesce(max(id), 0)::int4 FROM generation"};
    struct pg *pg = &work->session.pg;
    PGresult *res = work->has_tables && schema_base(pg, work->app.schema, err)
                        ? pg_query(pg, &stmt, NULL, err)
                        : NULL;

    if (res != NULL)
        work->program.generation = pg_get_int4(res, 0, 0);
    PQclear(res);
    if (work->program.generation == 0) {
        *err = work->why;
        return false;
    }
    if (!check_kinds(work, err))
        return false;
    cli_note(cli, "%s; facts are taken in all the same", work->why.text);
    return true;
}

/* Makes what is missing for facts to be written. */
static bool make_tables(struct cli *cli, struct work *work, struct acc_error *err)
{
    struct pg *pg = &work->session.pg;
    bool is_ours = work->session.lock >= 0; /* nobody else works on it */

    if (work->is_broken)
        return tables_of_broken(cli, work, err);
    if (is_ours ? !schema_apply(pg, work->app.schema, &work->program, &work->app.settings, err) ||
                      !schema_activate(pg, &work->program, err)
                : !share_tables(cli, work, err))
        return false;
    work->has_tables = true;
    return true;
}

bool work_open(struct cli *cli, struct work *work, unsigned needs, int *exit_code)
{
    struct acc_error err;

    *work = (struct work){0};
    if (!cli_app(cli, &work->app, exit_code))
        return false;
    bool ok = true;
    if ((needs & WORK_LENIENT) != 0)
        ok = load_or_kinds(work, &err);
    else if ((needs & (WORK_KINDS | WORK_PROGRAM)) != 0)
        ok = load(work, (needs & WORK_PROGRAM) == 0, &err);
    if (ok)
        return true;
    *exit_code = cli_fail(cli, &err);
    work_close(work);
    return false;
}

static bool connect(struct cli *cli, struct work *work, unsigned needs, struct acc_error *err)
{
    static const char read_only[] =
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

    if (!session_open(&work->session, &work->app, err))
        return false;
    work->has_session = true;
    if (!find_tables(work, err) ||
        ((needs & WORK_READ) != 0 && !pg_do(&work->session.pg, read_only, NULL, err)))
        return false;
    return (needs & WORK_TABLES) == 0 || make_tables(cli, work, err);
}

bool work_connect(struct cli *cli, struct work *work, unsigned needs, int *exit_code)
{
    struct acc_error err;

    if (connect(cli, work, needs, &err))
        return true;
    *exit_code = cli_fail(cli, &err);
    return false;
}

void work_close(struct work *work)
{
    fflush(stdout);            /* who reads our output need not wait for the database to stop */
    script_free(work->script); /* its connections end before the session waits for others to */
    if (work->has_session)
        session_close(&work->session);
    app_close(&work->app);
    *work = (struct work){0};
}

PGresult *work_query(struct cli *cli, struct work *work, const char *sql,
                     const struct pg_args *args, int *exit_code)
{
    static const struct pg_args none;
    struct acc_error err;
    PGresult *res = pg_exec(&work->session.pg, sql, args == NULL ? &none : args, &err);

    if (res == NULL)
        *exit_code = cli_fail(cli, &err);
    return res;
}
