/* What most commands work on: an app, its database and its modules. */
#pragma once

#include "cli/cli.h"

enum work_need {
    WORK_KINDS = 1,   /* the app's kinds */
    WORK_PROGRAM = 2, /* kinds and lifecycles; native code is built when it is stale */
    WORK_READ = 4, /* the session only reads, and outside of SERIALIZABLE: no worker is disturbed */
    WORK_LENIENT = 64, /* with WORK_PROGRAM: where the lifecycles are broken the kinds will do */
    WORK_TABLES = 8,   /* tables are made; the app's modules become the first generation */
};

struct work {
    struct app app;
    struct session session;
    struct script *script;
    struct program program;
    bool has_session;
    bool has_tables; /* the app has run before */
    bool is_broken;  /* the lifecycles do not load, why says it; only the kinds are there */
    struct acc_error why;
};

/*
 * Opens the app and, with WORK_KINDS or WORK_PROGRAM, its modules; the database comes later, so
 * that arguments can be checked before a cluster is started. false: the message is printed,
 * *exit_code set, nothing is left open.
 */
bool work_open(struct cli *cli, struct work *work, unsigned needs, int *exit_code) ACC_MUST_CHECK;
/* Opens the database. On false work_close is still due. */
bool work_connect(struct cli *cli, struct work *work, unsigned needs,
                  int *exit_code) ACC_MUST_CHECK;
void work_close(struct work *work);

/* A query with binary results; NULL: printed, and *exit_code set. */
PGresult *work_query(struct cli *cli, struct work *work, const char *sql,
                     const struct pg_args *args, int *exit_code);
