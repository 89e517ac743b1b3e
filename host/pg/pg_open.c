/* Connecting, with and without waiting, and what every session begins with. */
#include "pg/pg.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* A connection that is being made without waiting. */
struct pg_opening {
    char *setup;                     /* SQL of the session; owned */
    PostgresPollingStatusType waits; /* for what the connect waits */
    bool is_connected, is_on;        /* the setup is sent; the server answered fsync = on */
};

static unsigned connections;

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

    buf_printf(&sql,
               "SET default_transaction_isolation = serializable; SET TimeZone = 'UTC'; "
               "SET DateStyle = ISO; SET standard_conforming_strings = on; "
               "SET client_min_messages = warning; SET extra_float_digits = 1; "
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
        pg_trim(err->text);
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

void pg_open_forget(struct pg *pg)
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
        pg_open_forget(pg);
    return ok;
}
