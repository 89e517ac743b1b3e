/*
 * libpq, thinly: one connection, prepared statements, binary parameters, pipelines. Knows nothing
 * of facts.
 *
 * A pipeline is: pg_send ... pg_send, pg_sync, then pg_result once per pg_send, then pg_finish. One
 * round trip.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#include <libpq-fe.h>
#include <stdint.h>

#define PG_ARGS_MAX 112

/* Oids that binary parameters name. */
enum pg_oid {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_TID = 27,
    PG_FLOAT8 = 701,
    PG_TIMESTAMPTZ = 1184,
    PG_UUID = 2950,
    PG_BOOL_ARRAY = 1000,
    PG_BYTEA_ARRAY = 1001,
    PG_INT2_ARRAY = 1005,
    PG_INT4_ARRAY = 1007,
    PG_TEXT_ARRAY = 1009,
    PG_TID_ARRAY = 1010,
    PG_INT8_ARRAY = 1016,
    PG_FLOAT8_ARRAY = 1022,
    PG_TIMESTAMPTZ_ARRAY = 1185,
    PG_UUID_ARRAY = 2951,
};

struct pg_pending;
struct pg_opening;

struct pg {
    PGconn *conn; /* NULL: not connected */
    unsigned
        number; /* counts connections of the process, so that statements know where they are prepared */
    unsigned statements;        /* statements named so far */
    struct pg_pending *pending; /* results to come */
    size_t pending_at, pending_count, pending_capacity;
    uint64_t round_trips; /* syncs so far */
    /* Without waiting: */
    struct pg_opening *opening; /* a connect under way, else NULL */
    size_t received;            /* pending results that pg_poll has taken in */
    bool is_half;               /* of the next one the result is here, its end is not */
    bool is_synced;             /* the end of the pipeline is here, as sync */
    bool wants_write;           /* bytes wait until the socket takes them */
    PGresult *sync;
};

/*
 * One statement of the program; static or owned by whoever made its SQL. Zero but for sql. Prepared
 * where first used.
 */
struct pg_stmt {
    const char *sql;
    unsigned connection; /* pg.number it is prepared on */
    char name[16];
};

/* Binary parameters. Values are borrowed until pg_send returns; scalars are copied. */
struct pg_args {
    int count;
    const char *values[PG_ARGS_MAX];
    int lengths[PG_ARGS_MAX];
    int formats[PG_ARGS_MAX];
    Oid types[PG_ARGS_MAX];
    uint64_t scalars[PG_ARGS_MAX];
};

void pg_int8(struct pg_args *args, int64_t value);
void pg_int4(struct pg_args *args, int32_t value);
void pg_int2(struct pg_args *args, int16_t value);
void pg_bool(struct pg_args *args, bool value);
void pg_text(struct pg_args *args, const char *text); /* NULL: NULL */
void pg_bytes(struct pg_args *args, Oid type, const void *data, size_t size);
void pg_uuid(struct pg_args *args, const uint8_t *id);
void pg_array(struct pg_args *args, Oid array_type,
              const struct buf *array); /* made by pg_array_begin .. */

/*
 * Builds a one-dimensional binary array in buf: begin, elements, end. element_oid is the element's
 * type.
 */
void pg_array_begin(struct buf *buf, Oid element_oid);
void pg_array_add(struct buf *buf, const void *data, size_t size);
void pg_array_null(struct buf *buf);
void pg_array_int8(struct buf *buf, int64_t value);
void pg_array_int4(struct buf *buf, int32_t value);
void pg_array_int2(struct buf *buf, int16_t value);
void pg_array_end(struct buf *buf, size_t start); /* start: buf->size before begin */

/* Reads of a binary result. */
int64_t pg_get_int8(const PGresult *res, int row, int column);
int32_t pg_get_int4(const PGresult *res, int row, int column);
int16_t pg_get_int2(const PGresult *res, int row, int column);
bool pg_get_bool(const PGresult *res, int row, int column);
const char *pg_get_text(const PGresult *res, int row, int column); /* NUL-terminated */

/*
 * Connects, sets the session (search_path = schema when not NULL, SERIALIZABLE as default, UTC,
 * UTF8, statement_timeout_ms when > 0) and checks the server: 14 or newer, fsync on. ACC_ELOST:
 * unreachable (the text never holds a password); ACC_EDB: refused.
 */
bool pg_open(struct pg *pg, const char *conninfo, const char *schema, int64_t connect_timeout_ms,
             int64_t statement_timeout_ms, struct acc_error *err) ACC_MUST_CHECK;
void pg_close(struct pg *pg);
/* Gives up what pg_open_start began; pg_close does it too. */
void pg_open_forget(struct pg *pg);

/*
 * The same without waiting (but for the look-up of a host's name): pg_open_start, then pg_open_poll
 * now and then until it is ready or has failed, which closes it. The caller bounds the time. What
 * is sent on such a connection never waits either: pg_poll sends the rest.
 */
bool pg_open_start(struct pg *pg, const char *conninfo, const char *schema,
                   int64_t statement_timeout_ms, struct acc_error *err) ACC_MUST_CHECK;
bool pg_open_poll(struct pg *pg, bool *is_ready, struct acc_error *err) ACC_MUST_CHECK;
/* "14.2" for 140002; and whether it is new enough (pure, so that the gate has a unit test). */
bool pg_version_check(int server_version, struct acc_error *err) ACC_MUST_CHECK;

/* Sends one statement of a pipeline; it is prepared on first use. ACC_ELOST only. */
bool pg_send(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
             struct acc_error *err) ACC_MUST_CHECK;
/* Ends the pipeline and flushes it. */
bool pg_sync(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/*
 * The result of the next pg_send, in order; caller clears it. NULL when it failed: ACC_ECONFLICT
 * (40001, 40P01, 23505), ACC_ESTALE (22012, our fences raise it), ACC_ELOST, ACC_EDB; the rest of
 * the pipeline is skipped by pg_finish.
 */
PGresult *pg_result(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
/*
 * Reads the pipeline to its sync; rolls back a transaction that failed. false with the first error
 * met, if any.
 */
bool pg_finish(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Takes in what has come of a pipeline that is sent and synced. When *is_ready, all of it is here
 * or the connection is lost: then pg_result and pg_end do not wait. Else call again when the socket
 * is readable, or writable while pg->wants_write.
 */
void pg_poll(struct pg *pg, bool *is_ready);
/* Between pipelines: takes in what came unasked; whether the connection is still there. */
bool pg_is_alive(struct pg *pg);
/* pg_finish without the rollback, and whether one is to be sent. */
bool pg_end(struct pg *pg, struct acc_error *err) ACC_MUST_CHECK;
bool pg_must_rollback(const struct pg *pg);

/*
 * One statement, one round trip: send, sync, result, finish. Outside a transaction it is sent again
 * when the server refuses it for what others do at the same time (SQLSTATE 40001, 40P01).
 */
PGresult *pg_query(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
                   struct acc_error *err) ACC_MUST_CHECK;
/*
 * The same for SQL text that is used once; not prepared by name. args NULL: several statements may
 * stand in sql, text results; one that ends its own transactions has them end the text.
 */
PGresult *pg_exec(struct pg *pg, const char *sql, const struct pg_args *args,
                  struct acc_error *err) ACC_MUST_CHECK;
/* pg_exec for statements whose result does not matter. */
bool pg_do(struct pg *pg, const char *sql, const struct pg_args *args,
           struct acc_error *err) ACC_MUST_CHECK;

/*
 * One statement that only reads, in a transaction of its own that takes no predicate locks and so
 * conflicts with nobody. One round trip.
 */
PGresult *pg_look(struct pg *pg, struct pg_stmt *stmt, const struct pg_args *args,
                  struct acc_error *err) ACC_MUST_CHECK;
/* Whether err says that a table is not there; the connection still is. */
bool pg_lacks_table(const struct acc_error *err);
/*
 * Runs body in a transaction that writes; when it or the commit fails with ACC_ECONFLICT, from its
 * beginning again: a bounded number of times, with a growing pause.
 */
bool pg_write(struct pg *pg, bool (*body)(struct pg *pg, void *context, struct acc_error *err),
              void *context, struct acc_error *err) ACC_MUST_CHECK;

/* Fills err from a failed result, by its SQLSTATE; returns false. */
bool pg_fail(struct acc_error *err, const PGresult *res, const PGconn *conn);
/* What libpq says, in several lines, becomes one. */
void pg_trim(char *text);
/*
 * Whether the transient SQLSTATE classes 40, 08, 53, 57 or 23505 stand in err: try again for as
 * long as it takes.
 */
bool pg_is_transient(const struct acc_error *err);
/* name in double quotes, for identifiers that come from checked names. Appended to out. */
void pg_identifier(struct buf *out, const char *name);
