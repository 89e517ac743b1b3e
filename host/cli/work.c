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

/* Makes the app's modules the first generation, if there is none; replacing one that runs is the host's business. */
static bool activate_first(struct cli *cli, struct work *work, struct acc_error *err)
{
    static struct pg_stmt stmt = {.sql = "SELECT EXISTS (SELECT FROM generation)"};
    struct pg *pg = &work->session.pg;
    PGresult *res = pg_query(pg, &stmt, NULL, err);

    if (res == NULL)
        return false;
    bool has_generation = pg_get_bool(res, 0, 0);
    PQclear(res);
    if (!has_generation)
        return schema_activate(pg, &work->program, err);
    cli_note(cli, "the modules have changed: they become a generation by accrete reload or the "
                  "next accrete run");
    return true;
}

/* Makes what is missing for facts to be written. With the modules of the current generation nothing is. */
static bool make_tables(struct cli *cli, struct work *work, struct acc_error *err)
{
    struct pg *pg = &work->session.pg;

    if (work->has_tables) {
        if (schema_bind(pg, &work->program, err))
            return true;
        if (err->code != ACC_ESTALE)
            return false;
    }
    if (!schema_apply(pg, work->app.schema, &work->program, &work->app.settings, err))
        return false;
    work->has_tables = true;
    return activate_first(cli, work, err);
}

bool work_open(struct cli *cli, struct work *work, unsigned needs, int *exit_code)
{
    struct acc_error err;

    *work = (struct work){0};
    if (!cli_app(cli, &work->app, exit_code))
        return false;
    if ((needs & (WORK_KINDS | WORK_PROGRAM)) == 0 || load(work, (needs & WORK_PROGRAM) == 0, &err))
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
