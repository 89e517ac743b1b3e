/*
 * The connection behind accrete.db: statements, calls and rows. lua_db.c and lua_db_pipeline.c bind
 * them to Lua.
 *
 * A function that takes a lua_State may raise accrete.Error. The link is argument 1 of every
 * binding.
 */
#pragma once

#include "base/buf.h"
#include "pg/pg.h"
#include "script/lua_db_value.h"

#include <lua.h>

#define DB_LINK_CLASS "accrete.db.link"
#define DB_STATEMENTS_MAX 256 /* prepared at a time; the oldest makes room */

/*
 * A prepared statement. Its SQL is kept in the link's environment, both ways: env[sql] = place,
 * env[place] = sql.
 */
struct db_statement {
    char name[24]; /* "" when the place is free */
    int param_count;
    Oid *params;
    unsigned turn; /* of the call that used it last: such a one is not thrown out */
};

/* What one execution sends: a statement, or plain SQL without parameters. */
struct db_call {
    struct db_statement *statement; /* NULL: sql */
    const char *sql; /* borrowed from a Lua string that is on the stack or in a table on it */
    size_t first;    /* its parameters among link->params */
    int count;
};

/* What a script wants of a result. */
enum db_shape { SHAPE_QUERY, SHAPE_ONE, SHAPE_VALUE };

/* Everything is owned here, so that an error raised anywhere leaks nothing. */
struct db_link {
    struct pg pg;
    PGcancel *cancel;     /* ends what the server does for us; NULL: not connected */
    PGresult *res;        /* being read */
    struct buf bytes;     /* encoded parameters */
    struct buf params;    /* struct db_param */
    struct buf arguments; /* values, lengths and formats as libpq wants them */
    struct buf scratch;   /* for db_push */
    struct buf calls;     /* struct db_call */
    struct db_statement statements[DB_STATEMENTS_MAX];
    unsigned next_place;
    unsigned turn;
    unsigned names;         /* statements named so far */
    unsigned stream;        /* number of the stream that is being read, 0: none */
    unsigned streams;       /* streams so far */
    bool is_unsettled;      /* a pipeline was left in the middle by an error of ours */
    struct acc_error error; /* first error of the transaction that is open */
};

struct db_link *db_check_link(lua_State *L);
void db_close_link(struct db_link *link);
/* PQgetResult that db_interrupt can end. */
PGresult *db_get_result(struct db_link *link);
/*
 * From a signal handler: ends the statement that is waited for, which fails then. false: none is.
 */
bool db_interrupt(void);
void db_drop_result(struct db_link *link);
bool db_in_transaction(const struct db_link *link);
bool db_is_good(const PGresult *res);

/*
 * Makes the connection ready for the next statement: ends a stream, forgets the last call. Raises
 * when it is lost.
 */
void db_ready(lua_State *L, struct db_link *link);
/* Reads what is left of the stream, row by row. */
void db_end_stream(struct db_link *link);

/* Raise err, or the failed link->res. The first error of a transaction is kept for COMMIT. */
int db_fail(lua_State *L, struct db_link *link, const struct acc_error *err);
int db_fail_result(lua_State *L, struct db_link *link);

/* The statement of the SQL at index, prepared when it was not; db_known: NULL when it is not. */
struct db_statement *db_prepare(lua_State *L, struct db_link *link, int index);
struct db_statement *db_known(lua_State *L, struct db_link *link, int index);
/* Its two halves, for several in one pipeline: returns its place; the first failure goes to err. */
int db_prepare_begin(lua_State *L, struct db_link *link, int index, bool *is_replacing);
void db_prepare_end(lua_State *L, struct db_link *link, int index, int place, bool is_replacing,
                    struct acc_error *err);

/*
 * A pipeline: begin, send, sync, next_result for each, end. end reads to the sync; the first
 * failure goes to err.
 */
void db_begin_pipeline(lua_State *L, struct db_link *link);
void db_sync_pipeline(lua_State *L, struct db_link *link);
void db_next_result(struct db_link *link);
void db_end_pipeline(struct db_link *link, struct acc_error *err);

/* The call with count arguments from index first on. statement NULL: plain SQL, which has none. */
struct db_call db_encode_call(lua_State *L, struct db_link *link, struct db_statement *statement,
                              const char *sql, int first, int count);
/* The call of (link, sql, ...), the connection made ready. */
struct db_call db_make_call(lua_State *L, struct db_link *link);
bool db_send_call(struct db_link *link, const struct db_call *call);
/* Runs (link, sql, ...); leaves the result in link->res. */
void db_run(lua_State *L, struct db_link *link);
/* Raises when link->res is a COPY, which waits for data that we shall not send. */
void db_refuse_copy(lua_State *L, struct db_link *link);

/* Pushes the names of the columns of res. */
void db_push_names(lua_State *L, const PGresult *res);
/* Pushes a row of link->res as a table keyed by the names that lie from index names on. */
void db_push_row(lua_State *L, struct db_link *link, int row, int names);
/* Whether link->res has no more rows than shape wants. */
bool db_check_rows(const struct db_link *link, enum db_shape shape, struct acc_error *err);
/*
 * Pushes link->res in that shape and drops it; returns the number of values, two for SHAPE_QUERY.
 */
int db_push_shape(lua_State *L, struct db_link *link, enum db_shape shape);

/* link:pipeline(requests) */
int db_link_pipeline(lua_State *L);
