#include "pg/pg.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_TRIES 20
#define ALONE_TRIES 20

enum pending { PENDING_PREPARE, PENDING_EXEC };

struct pg_pending {
    enum pending what;
    struct pg_stmt *stmt;
    PGresult *res; /* received by pg_poll and not yet taken */
};

void pg_close(struct pg *pg)
{
    for (size_t i = pg->pending_at; i < pg->pending_count; i++)
        PQclear(pg->pending[i].res);
    PQclear(pg->sync);
    pg_open_forget(pg);
    PQfinish(pg->conn);
    free(pg->pending);
    *pg = (struct pg){0};
}

static void pause_before(int tries)
{
    usleep((useconds_t)(1000 * (tries + 1) + random() % 5000));
}

/* Pipelines */

static void expect(struct pg *pg, enum pending what, struct pg_stmt *stmt)
{
    if (pg->pending_count == pg->pending_capacity) {
        pg->pending_capacity = pg->pending_capacity * 2 + 16;
        pg->pending = acc_realloc(pg->pending, pg->pending_capacity * sizeof(*pg->pending));
    }
    pg->pending[pg->pending_count++] = (struct pg_pending){what, stmt, NULL};
}

static bool pipeline(struct pg *pg, struct acc_error *err)
{
    if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD)
        return acc_fail(err, ACC_ELOST, "no connection to the database");
    if (PQpipelineStatus(pg->conn) == PQ_PIPELINE_OFF && PQenterPipelineMode(pg->conn) != 1)
        return pg_fail(err, NULL, pg->conn);
    return true;
}

bool pg_send(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args, struct acc_error *err)
{
    static const struct pg_args none;

    if (args == NULL)
        args = &none;
    if (!pipeline(pg, err))
        return false;
    if (stmt->connection != pg->number) {
        snprintf(stmt->name, sizeof(stmt->name), "s%u", ++pg->statements);
        if (PQsendPrepare(pg->conn, stmt->name, stmt->sql, args->count, args->types) != 1)
            return pg_fail(err, NULL, pg->conn);
        stmt->connection = pg->number;
        expect(pg, PENDING_PREPARE, stmt);
    }
    if (PQsendQueryPrepared(pg->conn, stmt->name, args->count, args->values, args->lengths,
                            args->formats, 1) != 1)
        return pg_fail(err, NULL, pg->conn);
    expect(pg, PENDING_EXEC, stmt);
    return true;
}

bool pg_sync(struct pg *pg, struct acc_error *err)
{
    if (!pipeline(pg, err) || PQpipelineSync(pg->conn) != 1)
        return pg_fail(err, NULL, pg->conn);
    pg->wants_write = PQflush(pg->conn) == 1; /* what pg_poll waits for may not have gone out yet */
    pg->round_trips++;
    return true;
}

void pg_poll(struct pg *pg, bool *is_ready)
{
    PGconn *conn = pg->conn;

    if (conn == NULL) {
        *is_ready = true;
        return;
    }
    bool is_alive = PQconsumeInput(conn) == 1;
    pg->wants_write = is_alive && PQflush(conn) == 1;
    while (pg->received < pg->pending_count && !PQisBusy(conn)) {
        PGresult *res = PQgetResult(conn);

        /* A result, and a NULL that ends it. */
        if (!pg->is_half)
            pg->pending[pg->received].res = res;
        pg->is_half = !pg->is_half && res != NULL;
        if (!pg->is_half)
            pg->received++;
    }
    if (pg->received == pg->pending_count && !pg->is_synced && !PQisBusy(conn)) {
        pg->sync = PQgetResult(conn);
        pg->is_synced = true;
    }
    *is_ready = pg->is_synced || !is_alive || PQstatus(conn) == CONNECTION_BAD;
}

bool pg_is_alive(struct pg *pg)
{
    return pg->conn != NULL && PQconsumeInput(pg->conn) == 1 && PQstatus(pg->conn) == CONNECTION_OK;
}

/* One pending result; the NULL that ends it is read too. */
static PGresult *next_pending(struct pg *pg, enum pending *what, struct pg_stmt **stmt)
{
    size_t at = pg->pending_at++;
    struct pg_pending *pending = &pg->pending[at];
    bool is_half = at == pg->received && pg->is_half;
    PGresult *res = at < pg->received || is_half ? pending->res : PQgetResult(pg->conn);

    *what = pending->what;
    *stmt = pending->stmt;
    pending->res = NULL;
    if (at < pg->received)
        return res;
    if (res != NULL) {
        PGresult *end = PQgetResult(pg->conn);
        if (end != NULL) /* cannot be: one statement gives one result */
            PQclear(end);
    }
    pg->received = at + 1;
    pg->is_half = false;
    return res;
}

static bool is_good(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

PGresult *pg_result(struct pg *pg, struct acc_error *err)
{
    while (pg->pending_at < pg->pending_count) {
        enum pending what;
        struct pg_stmt *stmt;
        PGresult *res = next_pending(pg, &what, &stmt);

        if (!is_good(res)) {
            if (what == PENDING_PREPARE)
                stmt->connection = 0;
            if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED)
                acc_fail(err, ACC_EDB, "an earlier statement of the pipeline failed");
            else
                pg_fail(err, res, pg->conn);
            PQclear(res);
            return NULL;
        }
        if (what == PENDING_EXEC)
            return res;
        PQclear(res);
    }
    acc_fail(err, ACC_EDB, "no result is pending");
    return NULL;
}

bool pg_must_rollback(const struct pg *pg)
{
    return PQtransactionStatus(pg->conn) == PQTRANS_INERROR;
}

static PGresult *take_sync(struct pg *pg)
{
    PGresult *sync = pg->is_synced ? pg->sync : PQgetResult(pg->conn);

    pg->sync = NULL;
    pg->is_synced = false;
    return sync;
}

bool pg_end(struct pg *pg, struct acc_error *err)
{
    bool ok = true;

    if (pg->conn == NULL)
        return acc_fail(err, ACC_ELOST, "no connection to the database");
    while (pg->pending_at < pg->pending_count) {
        enum pending what;
        struct pg_stmt *stmt;
        PGresult *res = next_pending(pg, &what, &stmt);

        if (!is_good(res)) {
            if (what == PENDING_PREPARE)
                stmt->connection = 0;
            if (ok && PQresultStatus(res) != PGRES_PIPELINE_ABORTED)
                ok = pg_fail(err, res, pg->conn);
        }
        PQclear(res);
    }
    pg->pending_at = 0;
    pg->pending_count = 0;
    pg->received = 0;
    if (PQpipelineStatus(pg->conn) != PQ_PIPELINE_OFF) {
        PGresult *sync = take_sync(pg);
        bool synced = sync != NULL && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;

        PQclear(sync);
        if (!synced || PQexitPipelineMode(pg->conn) != 1) {
            if (ok)
                acc_fail(err, ACC_ELOST, "the connection to the database is lost: %s",
                         PQerrorMessage(pg->conn));
            if (ok && err != NULL)
                pg_trim(err->text);
            return false;
        }
    }
    return ok;
}

bool pg_finish(struct pg *pg, struct acc_error *err)
{
    struct acc_error again;
    bool ok = pg_end(pg, err);

    if (pg->conn != NULL && pg_must_rollback(pg) && !pg_do(pg, "ROLLBACK", NULL, ok ? err : &again))
        return false;
    return ok;
}

/*
 * A statement alone is a transaction of its own: under SERIALIZABLE even one that only reads may be
 * refused, with nothing done, and is sent again.
 */
static bool is_alone(const struct pg *pg)
{
    return PQtransactionStatus(pg->conn) == PQTRANS_IDLE &&
           PQpipelineStatus(pg->conn) == PQ_PIPELINE_OFF;
}

/* One statement: prepared, or (stmt NULL) SQL text. */
struct statement {
    struct pg_stmt *stmt;
    const char *sql;
    const struct pg_args *args;
};

static PGresult *query_once(struct pg *pg, const struct statement *one, struct acc_error *err)
{
    if (!pg_send(pg, one->stmt, one->args, err) || !pg_sync(pg, err))
        return NULL;
    PGresult *res = pg_result(pg, err);
    struct acc_error later;
    if (!pg_finish(pg, res == NULL ? &later : err)) {
        PQclear(res);
        return NULL;
    }
    return res;
}

static PGresult *exec_once(struct pg *pg, const struct statement *one, struct acc_error *err)
{
    const struct pg_args *args = one->args;
    PGresult *res = args == NULL ? PQexec(pg->conn, one->sql)
                                 : PQexecParams(pg->conn, one->sql, args->count, args->types,
                                                args->values, args->lengths, args->formats, 1);
    pg->round_trips++;
    if (is_good(res))
        return res;
    pg_fail(err, res, pg->conn);
    PQclear(res);
    return NULL;
}

static bool is_refused_for_others(const struct acc_error *err)
{
    return strcmp(err->sqlstate, "40001") == 0 || strcmp(err->sqlstate, "40P01") == 0;
}

static PGresult *run_alone(struct pg *pg, const struct statement *one, struct acc_error *err)
{
    struct acc_error why;

    if (pg->conn == NULL) {
        acc_fail(err, ACC_ELOST, "no connection to the database");
        return NULL;
    }
    bool was_alone = is_alone(pg);
    for (int tries = 0;; tries++) {
        PGresult *res = one->stmt != NULL ? query_once(pg, one, &why) : exec_once(pg, one, &why);
        if (res != NULL)
            return res;
        if (!was_alone || !is_alone(pg) || !is_refused_for_others(&why) || tries == ALONE_TRIES)
            break;
        pause_before(tries);
    }
    if (err != NULL)
        *err = why;
    return NULL;
}

PGresult *pg_query(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
                   struct acc_error *err)
{
    const struct statement one = {.stmt = stmt, .args = args};
    return run_alone(pg, &one, err);
}

PGresult *pg_exec(struct pg *pg, const char *sql, const struct pg_args *args, struct acc_error *err)
{
    const struct statement one = {.sql = sql, .args = args};
    return run_alone(pg, &one, err);
}

bool pg_do(struct pg *pg, const char *sql, const struct pg_args *args, struct acc_error *err)
{
    PGresult *res = pg_exec(pg, sql, args, err);

    if (res == NULL)
        return false;
    PQclear(res);
    return true;
}

PGresult *pg_look(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
                  struct acc_error *err)
{
    static struct pg_stmt begin = {.sql = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"};
    static struct pg_stmt commit = {.sql = "COMMIT"};
    struct acc_error later = {0};

    if (!pg_send(pg, &begin, NULL, err) || !pg_send(pg, stmt, args, err) ||
        !pg_send(pg, &commit, NULL, err) || !pg_sync(pg, err))
        return NULL;
    PGresult *begun = pg_result(pg, err);
    PGresult *res = begun == NULL ? NULL : pg_result(pg, err);
    bool is_whole = pg_finish(pg, res == NULL ? &later : err);

    if (res == NULL && later.code == ACC_ELOST)
        *err = later;
    PQclear(begun);
    if (is_whole)
        return res;
    PQclear(res);
    return NULL;
}

bool pg_lacks_table(const struct acc_error *err)
{
    return strcmp(err->sqlstate, "42P01") == 0;
}

bool pg_write(struct pg *pg, bool (*body)(struct pg *pg, void *context, struct acc_error *err),
              void *context, struct acc_error *err)
{
    for (int tries = 0;; tries++) {
        struct acc_error later;

        if (!pg_do(pg, "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE", NULL, err))
            return false;
        if (body(pg, context, err)) {
            if (pg_do(pg, "COMMIT", NULL, err))
                return true;
        } else {
            (void)!pg_do(pg, "ROLLBACK", NULL, &later);
        }
        if (err->code != ACC_ECONFLICT || tries == WRITE_TRIES)
            return false;
        pause_before(tries);
    }
}
