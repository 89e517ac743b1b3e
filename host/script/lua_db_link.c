#include "script/lua_db_link.h"

#include "script/lua_error.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES (1 << 20) /* larger parameter buffers are freed */

/* The connection that waits for an answer; signals know no context. */
static PGcancel *volatile awaited;

PGresult *db_get_result(struct db_link *link)
{
    awaited = link->cancel;
    PGresult *res = PQgetResult(link->pg.conn);
    awaited = NULL;
    return res;
}

bool db_interrupt(void)
{
    PGcancel *cancel = awaited;
    char why[256];

    return cancel != NULL && PQcancel(cancel, why, sizeof(why)) == 1;
}

struct db_link *db_check_link(lua_State *L)
{
    return luaL_checkudata(L, 1, DB_LINK_CLASS);
}

void db_drop_result(struct db_link *link)
{
    PQclear(link->res);
    link->res = NULL;
}

void db_close_link(struct db_link *link)
{
    db_drop_result(link);
    PQfreeCancel(link->cancel);
    link->cancel = NULL;
    pg_close(&link->pg);
    for (int i = 0; i < DB_STATEMENTS_MAX; i++)
        free(link->statements[i].params);
    memset(link->statements, 0, sizeof(link->statements));
    buf_clear(&link->bytes);
    buf_clear(&link->params);
    buf_clear(&link->arguments);
    buf_clear(&link->scratch);
    buf_clear(&link->calls);
    link->stream = 0;
}

bool db_in_transaction(const struct db_link *link)
{
    PGTransactionStatusType status = PQtransactionStatus(link->pg.conn);

    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

/* libpq speaks in several lines; an error is one sentence. */
static void make_one_line(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        char byte = *from == '\n' || *from == '\t' ? ' ' : *from;
        if (byte != ' ' || (to > text && to[-1] != ' '))
            *to++ = byte;
    }
    *to = '\0';
}

/* Remembers the first error of an open transaction: COMMIT tells it when a script has caught it. */
int db_fail(lua_State *L, struct db_link *link, const struct acc_error *err)
{
    struct acc_error ours = *err;

    make_one_line(ours.text);
    if (db_in_transaction(link) && link->error.code == ACC_OK)
        link->error = ours;
    return lua_raise(L, &ours);
}

/* The failed link->res as an error. */
int db_fail_result(lua_State *L, struct db_link *link)
{
    struct acc_error err;

    pg_fail(&err, link->res, link->pg.conn);
    db_drop_result(link);
    if (strcmp(err.sqlstate, "08P01") == 0) /* a statement with parameters that got none */
        err.code = ACC_EINPUT;
    else if (strcmp(err.sqlstate, "22012") ==
             0) /* a division by zero is a fence only where we write the SQL */
        err.code = ACC_EDB;
    return db_fail(L, link, &err);
}

bool db_is_good(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);

    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

/* Streams */

/* Reads what is left of the stream: the connection is free again. Rows are dropped one by one. */
void db_end_stream(struct db_link *link)
{
    if (link->stream == 0)
        return;
    db_drop_result(link);
    for (PGresult *res = db_get_result(link); res != NULL; res = db_get_result(link))
        PQclear(res);
    link->stream = 0;
}

/* Makes the connection ready for a statement, or raises. */
void db_ready(lua_State *L, struct db_link *link)
{
    if (link->is_unsettled)
        db_close_link(link);
    if (link->pg.conn == NULL)
        lua_raise_text(L, ACC_ELOST, "the connection is closed");
    db_end_stream(link);
    db_drop_result(link);
    if (PQstatus(link->pg.conn) == CONNECTION_BAD)
        lua_raise_text(L, ACC_ELOST, "the connection to the database is lost");
    if (!db_in_transaction(link))
        link->error.code = ACC_OK;
    if (link->bytes.capacity > KEPT_BYTES)
        buf_clear(&link->bytes);
    buf_reset(&link->bytes);
    buf_reset(&link->params);
    buf_reset(&link->calls);
    link->turn++;
}

/* Statements */

static void forget(lua_State *L, struct db_link *link, int place)
{
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, place);
    if (!lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_rawset(L, -3);
        lua_pushnil(L);
        lua_rawseti(L, -2, place);
    } else {
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    free(link->statements[place].params);
    link->statements[place] = (struct db_statement){0};
}

/* The statement of the SQL at index, or NULL when it is not prepared. */
struct db_statement *db_known(lua_State *L, struct db_link *link, int index)
{
    struct db_statement *statement = NULL;

    lua_pushvalue(L, index);
    lua_getfenv(L, 1);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    if (lua_isnumber(L, -1)) {
        statement = &link->statements[lua_tointeger(L, -1)];
        statement->turn = link->turn;
    }
    lua_pop(L, 2);
    return statement;
}

static int free_place(lua_State *L, struct db_link *link)
{
    for (int i = 0; i < DB_STATEMENTS_MAX; i++) {
        int place = (int)(link->next_place++ % DB_STATEMENTS_MAX);
        if (link->statements[place].name[0] == '\0' || link->statements[place].turn != link->turn)
            return place;
    }
    return lua_raise_text(L, ACC_ELIMIT, "a pipeline of more than %d different statements",
                          DB_STATEMENTS_MAX);
}

/* The next result of a pipeline into link->res; the NULL behind it is read too. */
void db_next_result(struct db_link *link)
{
    db_drop_result(link);
    link->res = db_get_result(link);
    if (link->res != NULL && PQresultStatus(link->res) != PGRES_PIPELINE_SYNC)
        PQclear(db_get_result(link));
}

void db_begin_pipeline(lua_State *L, struct db_link *link)
{
    if (PQenterPipelineMode(link->pg.conn) != 1)
        lua_raise_text(L, ACC_EDB, "%s", PQerrorMessage(link->pg.conn));
    link->is_unsettled = true;
}

void db_sync_pipeline(lua_State *L, struct db_link *link)
{
    if (PQpipelineSync(link->pg.conn) != 1)
        db_fail_result(L, link);
    link->pg.round_trips++;
}

/* Reads to the sync. The first failure among the results is in err when it was empty. */
void db_end_pipeline(struct db_link *link, struct acc_error *err)
{
    for (db_next_result(link); link->res != NULL; db_next_result(link)) {
        ExecStatusType status = PQresultStatus(link->res);

        if (status == PGRES_PIPELINE_SYNC)
            break;
        if (!db_is_good(link->res) && status != PGRES_PIPELINE_ABORTED && err->code == ACC_OK)
            pg_fail(err, link->res, link->pg.conn);
        if (PQstatus(link->pg.conn) == CONNECTION_BAD)
            break;
    }
    db_drop_result(link);
    if (PQexitPipelineMode(link->pg.conn) != 1 && err->code == ACC_OK)
        acc_fail(err, ACC_ELOST, "the connection to the database is lost: %s",
                 PQerrorMessage(link->pg.conn));
    link->is_unsettled = PQpipelineStatus(link->pg.conn) != PQ_PIPELINE_OFF;
}

/* Puts the statement's parameter types, which link->res describes, in its place. */
static void describe(lua_State *L, struct db_link *link, int place, int sql)
{
    struct db_statement *statement = &link->statements[place];

    statement->param_count = PQnparams(link->res);
    statement->params = acc_alloc(((uint64_t)statement->param_count + 1) * sizeof(Oid));
    for (int i = 0; i < statement->param_count; i++)
        statement->params[i] = PQparamtype(link->res, i);
    lua_getfenv(L, 1);
    lua_pushvalue(L, sql);
    lua_pushinteger(L, place);
    lua_rawset(L, -3);
    lua_pushvalue(L, sql);
    lua_rawseti(L, -2, place);
    lua_pop(L, 1);
}

/* Sends what prepares the SQL at index; returns its place. prepare_end reads the answer. */
int db_prepare_begin(lua_State *L, struct db_link *link, int index, bool *is_replacing)
{
    int place = free_place(L, link);
    struct db_statement *statement = &link->statements[place];
    PGconn *conn = link->pg.conn;
    char close[48];
    bool ok = true;

    *is_replacing = statement->name[0] != '\0';
    if (*is_replacing) {
        snprintf(close, sizeof(close), "DEALLOCATE %s", statement->name);
        ok = PQsendQueryParams(conn, close, 0, NULL, NULL, NULL, NULL, 0) == 1;
        forget(L, link, place);
    }
    snprintf(statement->name, sizeof(statement->name), "lua%u", ++link->names);
    statement->turn = link->turn;
    if (!ok || PQsendPrepare(conn, statement->name, lua_tostring(L, index), 0, NULL) != 1 ||
        PQsendDescribePrepared(conn, statement->name) != 1)
        db_fail_result(L, link);
    return place;
}

/*
 * Reads the results of prepare_begin: replaced, prepared, described. The first failure goes to err.
 */
void db_prepare_end(lua_State *L, struct db_link *link, int index, int place, bool is_replacing,
                    struct acc_error *err)
{
    for (int i = is_replacing ? 0 : 1; i < 3; i++) {
        db_next_result(link);
        if (!db_is_good(link->res)) {
            if (err->code == ACC_OK && PQresultStatus(link->res) != PGRES_PIPELINE_ABORTED)
                pg_fail(err, link->res, link->pg.conn);
            link->statements[place].name[0] = '\0'; /* free again */
            continue;
        }
        if (i == 2)
            describe(L, link, place, index);
    }
}

/* The statement of the SQL at index, prepared when it was not. Raises. */
struct db_statement *db_prepare(lua_State *L, struct db_link *link, int index)
{
    struct db_statement *statement = db_known(L, link, index);
    struct acc_error err = {0};
    bool is_replacing;

    if (statement != NULL)
        return statement;
    db_begin_pipeline(L, link);
    int place = db_prepare_begin(L, link, index, &is_replacing);
    db_sync_pipeline(L, link);
    db_prepare_end(L, link, index, place, is_replacing, &err);
    db_end_pipeline(link, &err);
    if (err.code != ACC_OK)
        db_fail(L, link, &err);
    return &link->statements[place];
}

/* Calls */

/* Encodes count arguments from index first on for the statement; NULL stands for plain SQL. */
struct db_call db_encode_call(lua_State *L, struct db_link *link, struct db_statement *statement,
                              const char *sql, int first, int count)
{
    struct db_call call = {.statement = statement,
                           .sql = sql,
                           .first = link->params.size / sizeof(struct db_param),
                           .count = count};

    if (statement != NULL && statement->param_count != count)
        lua_raise_text(L, ACC_EINPUT, "wanted %d parameters, got %d", statement->param_count,
                       count);
    for (int i = 0; i < count; i++) {
        struct db_param param = db_encode(L, first + i, statement->params[i], i + 1, &link->bytes);
        buf_add(&link->params, &param, sizeof(param));
    }
    return call;
}

/* What libpq wants for a call: three arrays in link->arguments. */
struct arguments {
    const char **values;
    int *lengths;
    int *formats;
};

static struct arguments arguments_of(struct db_link *link, const struct db_call *call)
{
    size_t count = (size_t)call->count;

    buf_reset(&link->arguments);
    buf_reserve(&link->arguments, (count + 1) * (sizeof(char *) + 2 * sizeof(int)));
    struct arguments args = {.values = (const char **)(void *)link->arguments.data};
    args.lengths = (int *)(void *)(args.values + count);
    args.formats = args.lengths + count;
    for (size_t i = 0; i < count; i++) {
        struct db_param param;

        memcpy(&param, link->params.data + (call->first + i) * sizeof(param), sizeof(param));
        args.values[i] = param.is_null ? NULL : link->bytes.data + param.at;
        args.lengths[i] = param.bytes;
        args.formats[i] = param.format;
    }
    return args;
}

bool db_send_call(struct db_link *link, const struct db_call *call)
{
    PGconn *conn = link->pg.conn;

    if (call->statement == NULL)
        return PQsendQueryParams(conn, call->sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
    struct arguments args = arguments_of(link, call);
    return PQsendQueryPrepared(conn, call->statement->name, call->count, args.values, args.lengths,
                               args.formats, 0) == 1;
}

/*
 * The call of (self, sql, ...). A statement without parameters is not prepared: DDL would only fill
 * the places.
 */
struct db_call db_make_call(lua_State *L, struct db_link *link)
{
    size_t bytes;
    int count = lua_gettop(L) - 2;
    const char *sql = luaL_checklstring(L, 2, &bytes);

    luaL_argcheck(L, strlen(sql) == bytes, 2, "SQL may not hold a zero byte");
    db_ready(L, link);
    struct db_statement *statement = count > 0 ? db_prepare(L, link, 2) : db_known(L, link, 2);
    return db_encode_call(L, link, statement, sql, 3, count);
}

/* A prepared statement whose result columns have changed since (0A000). */
static bool is_outdated(const struct db_link *link)
{
    const char *state = PQresultErrorField(link->res, PG_DIAG_SQLSTATE);

    return state != NULL && strcmp(state, "0A000") == 0 && !db_in_transaction(link);
}

/* COPY waits for data that we shall not send: give the connection up. */
void db_refuse_copy(lua_State *L, struct db_link *link)
{
    ExecStatusType status = PQresultStatus(link->res);

    if (status != PGRES_COPY_IN && status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH)
        return;
    db_close_link(link);
    lua_raise_text(
        L, ACC_EINPUT,
        "COPY does not work here and closed the connection; conn:insert() is the bulk way");
}

/* Runs (self, sql, ...); leaves the result in link->res. */
void db_run(lua_State *L, struct db_link *link)
{
    for (int attempt = 1;; attempt++) {
        struct db_call call = db_make_call(L, link);

        link->pg.round_trips++;
        if (!db_send_call(link, &call))
            db_fail_result(L, link);
        for (PGresult *res = db_get_result(link); res != NULL; res = db_get_result(link)) {
            db_drop_result(link);
            link->res = res;
            db_refuse_copy(L, link);
        }
        if (db_is_good(link->res))
            return;
        if (attempt > 1 || call.statement == NULL || !is_outdated(link))
            db_fail_result(L, link);
        forget(L, link,
               (int)(call.statement -
                     link->statements)); /* its name stays taken on the server, unused */
    }
}
