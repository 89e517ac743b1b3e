#include "pg/pg.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum pending { PENDING_PREPARE, PENDING_EXEC };

struct pg_pending {
    enum pending what;
    struct pg_stmt *stmt;
    PGresult *res; /* received by pg_poll and not yet taken */
};

/* A connection that is being made without waiting. */
struct pg_opening {
    char *setup;                     /* SQL of the session; owned */
    PostgresPollingStatusType waits; /* for what the connect waits */
    bool is_connected, is_on;        /* the setup is sent; the server answered fsync = on */
};

static unsigned connections;

/* Parameters */

static int next_arg(struct pg_args *args, Oid type, int format)
{
    int i = args->count++;

    args->types[i] = type;
    args->formats[i] = format;
    return i;
}

static void scalar(struct pg_args *args, Oid type, const void *bytes, int size)
{
    int i = next_arg(args, type, 1);

    memcpy(&args->scalars[i], bytes, (size_t)size);
    args->values[i] = (const char *)&args->scalars[i];
    args->lengths[i] = size;
}

void pg_int8(struct pg_args *args, int64_t value)
{
    uint64_t wire = __builtin_bswap64((uint64_t)value);
    scalar(args, PG_INT8, &wire, 8);
}

void pg_int4(struct pg_args *args, int32_t value)
{
    uint32_t wire = __builtin_bswap32((uint32_t)value);
    scalar(args, PG_INT4, &wire, 4);
}

void pg_int2(struct pg_args *args, int16_t value)
{
    uint16_t wire = __builtin_bswap16((uint16_t)value);
    scalar(args, PG_INT2, &wire, 2);
}

void pg_bool(struct pg_args *args, bool value)
{
    uint8_t wire = value;
    scalar(args, PG_BOOL, &wire, 1);
}

void pg_bytes(struct pg_args *args, Oid type, const void *data, size_t size)
{
    int i = next_arg(args, type, 1);

    args->values[i] = data;
    args->lengths[i] = (int)size;
}

void pg_text(struct pg_args *args, const char *text)
{
    pg_bytes(args, PG_TEXT, text, text == NULL ? 0 : strlen(text));
}

void pg_uuid(struct pg_args *args, const uint8_t *id)
{
    pg_bytes(args, PG_UUID, id, 16);
}

void pg_array(struct pg_args *args, Oid array_type, const struct buf *array)
{
    pg_bytes(args, array_type, array->data, array->size);
}

void pg_array_begin(struct buf *buf, Oid element_oid)
{
    buf_be32(buf, 1); /* dimensions */
    buf_be32(buf, 0); /* has no NULL */
    buf_be32(buf, element_oid);
    buf_be32(buf, 0); /* elements, set by end */
    buf_be32(buf, 1); /* lower bound */
}

/* The header's count is used as a counter while elements are added; begin is found by the end. */
void pg_array_add(struct buf *buf, const void *data, size_t size)
{
    buf_be32(buf, (uint32_t)size);
    buf_add(buf, data, size);
}

void pg_array_null(struct buf *buf)
{
    buf_be32(buf, UINT32_MAX);
}

void pg_array_int8(struct buf *buf, int64_t value)
{
    char wire[12];
    uint32_t size = __builtin_bswap32(8);
    uint64_t bits = __builtin_bswap64((uint64_t)value);

    memcpy(wire, &size, 4);
    memcpy(wire + 4, &bits, 8);
    buf_add(buf, wire, sizeof(wire));
}

void pg_array_int4(struct buf *buf, int32_t value)
{
    buf_be32(buf, 4);
    buf_be32(buf, (uint32_t)value);
}

void pg_array_int2(struct buf *buf, int16_t value)
{
    buf_be32(buf, 2);
    buf_be16(buf, (uint16_t)value);
}

void pg_array_end(struct buf *buf, size_t start)
{
    uint32_t count = 0;
    uint32_t nulls = 0;

    for (size_t at = start + 20; at < buf->size; count++) {
        uint32_t size;
        memcpy(&size, buf->data + at, 4);
        size = __builtin_bswap32(size);
        nulls |= size == UINT32_MAX;
        at += 4 + (size == UINT32_MAX ? 0 : size);
    }
    count = __builtin_bswap32(count);
    nulls = __builtin_bswap32(nulls);
    memcpy(buf->data + start + 12, &count, 4);
    memcpy(buf->data + start + 4, &nulls, 4);
}

/* Results */

int64_t pg_get_int8(const PGresult *res, int row, int column)
{
    uint64_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 8);
    return (int64_t)__builtin_bswap64(wire);
}

int32_t pg_get_int4(const PGresult *res, int row, int column)
{
    uint32_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 4);
    return (int32_t)__builtin_bswap32(wire);
}

int16_t pg_get_int2(const PGresult *res, int row, int column)
{
    uint16_t wire;
    memcpy(&wire, PQgetvalue(res, row, column), 2);
    return (int16_t)__builtin_bswap16(wire);
}

bool pg_get_bool(const PGresult *res, int row, int column)
{
    return *PQgetvalue(res, row, column) != 0;
}

const char *pg_get_text(const PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column);
}

/* Errors */

static void trim(char *text)
{
    size_t n = strlen(text);

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    for (char *at = text; (at = strpbrk(at, "\n\t")) != NULL;)
        *at = ' '; /* libpq writes several lines; a message of ours is one */
}

bool pg_fail(struct acc_error *err, const PGresult *res, const PGconn *conn)
{
    const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *primary = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    enum acc_code code = ACC_EDB;

    if (state == NULL)
        code = conn == NULL || PQstatus(conn) == CONNECTION_BAD ? ACC_ELOST : ACC_EDB;
    else if (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 ||
             strcmp(state, "23505") == 0)
        code = ACC_ECONFLICT;
    else if (strcmp(state, "22012") == 0)
        code = ACC_ESTALE;
    else if (strncmp(state, "57P", 3) == 0 || strncmp(state, "08", 2) == 0)
        code = ACC_ELOST;
    acc_fail(err, code, "%s%s%s",
             primary != NULL ? primary
             : conn != NULL  ? PQerrorMessage(conn)
                             : "no connection",
             detail != NULL && code != ACC_ECONFLICT ? ": " : "",
             detail != NULL && code != ACC_ECONFLICT ? detail : "");
    if (err != NULL) {
        trim(err->text);
        snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state == NULL ? "" : state);
    }
    return false;
}

bool pg_is_transient(const struct acc_error *err)
{
    static const char *const classes[] = {"40", "08", "53", "57"};

    if (err->code == ACC_ECONFLICT || err->code == ACC_ESTALE || err->code == ACC_ELOST)
        return true;
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        if (strncmp(err->sqlstate, classes[i], 2) == 0)
            return true;
    }
    return strcmp(err->sqlstate, "23505") == 0;
}

void pg_identifier(struct buf *out, const char *name)
{
    buf_byte(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buf_byte(out, '"');
        buf_byte(out, (uint8_t)*name);
    }
    buf_byte(out, '"');
}

/* Connection */

bool pg_version_check(int server_version, struct acc_error *err)
{
    if (server_version >= 140000)
        return true;
    return acc_fail(err, ACC_EDB, "wanted PostgreSQL 14 or newer, the server is %d.%d",
                    server_version / 10000, server_version % 10000);
}

/* What every session begins with; its last result is the server's fsync. Caller frees. */
static char *setup_sql(const char *schema, int64_t statement_timeout_ms)
{
    struct buf sql = {0};

    buf_printf(
        &sql,
        "SET default_transaction_isolation = serializable; SET TimeZone = 'UTC'; "
        "SET DateStyle = ISO; SET client_min_messages = warning; SET extra_float_digits = 1; "
        "SET statement_timeout = %lld; SET tcp_user_timeout = 20000; ",
        (long long)statement_timeout_ms);
    if (schema != NULL) {
        buf_text(&sql, "SET search_path = ");
        pg_identifier(&sql, schema);
        buf_text(&sql, "; ");
    }
    buf_text(&sql, "SELECT current_setting('fsync')");
    return sql.data;
}

static bool is_durable(const PGresult *res, struct acc_error *err)
{
    if (strcmp(PQgetvalue(res, 0, 0), "on") == 0)
        return true;
    return acc_fail(
        err, ACC_EDB,
        "the server runs with fsync off: facts would not be durable; wanted fsync = on");
}

static bool session_setup(struct pg *pg, const char *schema, int64_t statement_timeout_ms,
                          struct acc_error *err)
{
    char *sql = setup_sql(schema, statement_timeout_ms);
    PGresult *res = pg_exec(pg, sql, NULL, err);
    bool ok = res != NULL && is_durable(res, err);

    PQclear(res);
    free(sql);
    return ok;
}

/*
 * What libpq says of a failed connect, without anything that could be a password (libpq never
 * prints one).
 */
static bool connect_failed(PGconn *conn, struct acc_error *err)
{
    acc_fail(err, ACC_ELOST, "cannot reach the database: %s",
             conn == NULL ? "out of memory" : PQerrorMessage(conn));
    if (err != NULL)
        trim(err->text);
    return false;
}

static void quiet(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

#define CONNECT_KEYS 8

/* How we connect, as libpq wants it. timeout: room for the text of a number. */
static void connect_params(const char *conninfo, int64_t connect_timeout_ms, char timeout[24],
                           const char **keys, const char **values)
{
    static const char *const names[CONNECT_KEYS] = {
        "dbname",          "connect_timeout",     "fallback_application_name", "client_encoding",
        "keepalives_idle", "keepalives_interval", "keepalives_count",          NULL};

    snprintf(timeout, 24, "%lld", (long long)((connect_timeout_ms + 999) / 1000));
    const char *const texts[CONNECT_KEYS] = {
        conninfo, connect_timeout_ms > 0 ? timeout : "", "accrete", "UTF8", "10", "5", "3", NULL};
    memcpy(keys, names, sizeof(names));
    memcpy(values, texts, sizeof(texts));
}

bool pg_open(struct pg *pg, const char *conninfo, const char *schema, int64_t connect_timeout_ms,
             int64_t statement_timeout_ms, struct acc_error *err)
{
    char timeout[24];
    const char *keys[CONNECT_KEYS];
    const char *values[CONNECT_KEYS];

    *pg = (struct pg){0};
    /* A name alone would be taken as a database name: refuse what is no conninfo. */
    connect_params(conninfo, connect_timeout_ms, timeout, keys, values);
    PGconn *conn = PQconnectdbParams(keys, values, 1);

    if (conn == NULL || PQstatus(conn) != CONNECTION_OK) {
        connect_failed(conn, err);
        PQfinish(conn);
        return false;
    }
    pg->conn = conn;
    pg->number = ++connections;
    PQsetNoticeProcessor(conn, quiet, NULL);
    if (!pg_version_check(PQserverVersion(conn), err) ||
        !session_setup(pg, schema, statement_timeout_ms, err)) {
        pg_close(pg);
        return false;
    }
    return true;
}

bool pg_open_start(struct pg *pg, const char *conninfo, const char *schema,
                   int64_t statement_timeout_ms, struct acc_error *err)
{
    char timeout[24];
    const char *keys[CONNECT_KEYS];
    const char *values[CONNECT_KEYS];

    *pg = (struct pg){0};
    connect_params(conninfo, 0, timeout, keys, values);
    PGconn *conn = PQconnectStartParams(keys, values, 1);

    if (conn == NULL || PQstatus(conn) == CONNECTION_BAD) {
        connect_failed(conn, err);
        PQfinish(conn);
        return false;
    }
    pg->conn = conn;
    pg->number = ++connections;
    PQsetNoticeProcessor(conn, quiet, NULL);
    pg->opening = acc_zalloc(sizeof(*pg->opening));
    pg->opening->setup = setup_sql(schema, statement_timeout_ms);
    pg->opening->waits = PGRES_POLLING_WRITING;
    return true;
}

/* Whether the socket is ready for what the connect waits for; PQconnectPoll may only be called then. */
static bool is_ready_now(const PGconn *conn, PostgresPollingStatusType waits)
{
    struct pollfd fd = {.fd = PQsocket(conn),
                        .events = waits == PGRES_POLLING_READING ? POLLIN : POLLOUT};

    return poll(&fd, 1, 0) != 0;
}

/* One step of the connect; true when it is there and the setup is sent. */
static bool connect_step(struct pg *pg, bool *is_connected, struct acc_error *err)
{
    struct pg_opening *opening = pg->opening;

    *is_connected = false;
    while (is_ready_now(pg->conn, opening->waits)) {
        opening->waits = PQconnectPoll(pg->conn);
        if (opening->waits == PGRES_POLLING_FAILED)
            return connect_failed(pg->conn, err);
        if (opening->waits != PGRES_POLLING_OK)
            continue;
        if (!pg_version_check(PQserverVersion(pg->conn), err))
            return false;
        if (PQsetnonblocking(pg->conn, 1) != 0 || PQsendQuery(pg->conn, opening->setup) != 1)
            return pg_fail(err, NULL, pg->conn);
        *is_connected = true;
        return true;
    }
    return true;
}

/* Takes the results of the setup that are there. */
static bool setup_step(struct pg *pg, bool *is_ready, struct acc_error *err)
{
    bool is_alive = PQconsumeInput(pg->conn) == 1 && PQflush(pg->conn) >= 0;

    while (!PQisBusy(pg->conn)) {
        PGresult *res = PQgetResult(pg->conn);

        if (res == NULL) {
            *is_ready = true;
            return pg->opening->is_on || acc_fail(err, ACC_EDB, "the session could not be set up");
        }
        bool ok = PQresultStatus(res) == PGRES_COMMAND_OK;
        if (PQresultStatus(res) == PGRES_TUPLES_OK)
            ok = pg->opening->is_on = is_durable(res, err);
        else if (!ok)
            pg_fail(err, res, pg->conn);
        PQclear(res);
        if (!ok)
            return false;
    }
    return is_alive || pg_fail(err, NULL, pg->conn);
}

static void opening_free(struct pg *pg)
{
    if (pg->opening != NULL)
        free(pg->opening->setup);
    free(pg->opening);
    pg->opening = NULL;
}

bool pg_open_poll(struct pg *pg, bool *is_ready, struct acc_error *err)
{
    bool ok = true;

    *is_ready = pg->opening == NULL;
    if (*is_ready)
        return true;
    if (!pg->opening->is_connected)
        ok = connect_step(pg, &pg->opening->is_connected, err);
    if (ok && pg->opening->is_connected)
        ok = setup_step(pg, is_ready, err);
    if (!ok)
        pg_close(pg);
    else if (*is_ready)
        opening_free(pg);
    return ok;
}

void pg_close(struct pg *pg)
{
    for (size_t i = pg->pending_at; i < pg->pending_count; i++)
        PQclear(pg->pending[i].res);
    PQclear(pg->sync);
    opening_free(pg);
    PQfinish(pg->conn);
    free(pg->pending);
    *pg = (struct pg){0};
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
                trim(err->text);
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

PGresult *pg_query(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
                   struct acc_error *err)
{
    if (!pg_send(pg, stmt, args, err) || !pg_sync(pg, err))
        return NULL;
    PGresult *res = pg_result(pg, err);
    struct acc_error later;
    if (!pg_finish(pg, res == NULL ? &later : err)) {
        PQclear(res);
        return NULL;
    }
    return res;
}

PGresult *pg_exec(struct pg *pg, const char *sql, const struct pg_args *args, struct acc_error *err)
{
    if (pg->conn == NULL) {
        acc_fail(err, ACC_ELOST, "no connection to the database");
        return NULL;
    }
    PGresult *res = args == NULL ? PQexec(pg->conn, sql)
                                 : PQexecParams(pg->conn, sql, args->count, args->types,
                                                args->values, args->lengths, args->formats, 1);
    pg->round_trips++;
    if (!is_good(res)) {
        pg_fail(err, res, pg->conn);
        PQclear(res);
        return NULL;
    }
    return res;
}

bool pg_do(struct pg *pg, const char *sql, const struct pg_args *args, struct acc_error *err)
{
    PGresult *res = pg_exec(pg, sql, args, err);

    if (res == NULL)
        return false;
    PQclear(res);
    return true;
}
