/*
 * Reads: a few connections to the database that only read, each with one statement at a time, driven by the loop of an HTTP
 * server. Nothing here waits: what finds no free connection stands in line.
 */
#pragma once

#include "http/http.h"

#include <libpq-fe.h>

#define READS_STATEMENTS 256 /* kept prepared on each connection */
#define READS_WAITING 10000  /* in line; more are refused */

struct reads;

struct reads_options {
    const char *conninfo, *schema; /* borrowed */
    const char *role;              /* its rights are taken where there is such a role; borrowed */
    int connections;               /* at most; made when they are needed */
    int64_t connect_ms;
    int64_t statement_ms; /* a statement that runs longer is cancelled (SQLSTATE 57014) */
};

/*
 * Called exactly once for each call, never before reads_submit returns. res, text results, belongs to the callee (PQclear);
 * NULL: err says why. It may submit more.
 */
typedef void reads_done_fn(void *context, PGresult *res, const struct acc_error *err);

/* One statement. Everything is copied. */
struct reads_call {
    const char *sql;
    unsigned
        statement; /* 1..READS_STATEMENTS: always this sql, kept prepared; 0: prepared for once */
    bool
        is_description; /* instead of running it: PQnparams, PQparamtype and PQnfields of res tell */
    int count;          /* parameters */
    const char *const *values; /* NULL: NULL */
    const int *lengths, *formats;
    reads_done_fn *done;
    void *context;
};

/* Connects when the first call comes, and again after a loss; a call that was running then is tried once more. */
struct reads *reads_new(struct http_server *server, const struct reads_options *options);
/* What is in line or running is never answered. */
void reads_free(struct reads *reads);
/* ACC_ELIMIT: too many are in line; done is not called then. */
bool reads_submit(struct reads *reads, const struct reads_call *call,
                  struct acc_error *err) ACC_MUST_CHECK;
bool reads_is_idle(const struct reads *reads);
