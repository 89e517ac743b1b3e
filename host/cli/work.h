/* What most commands work on: an app, its database and its modules. */
#pragma once

#include "cli/cli.h"

enum work_need {
    WORK_DATABASE = 1, /* a session; has_tables says whether the app has ever run */
    WORK_READ =
        2, /* the session reads only, outside of SERIALIZABLE, so that it never gets in a worker's way */
    WORK_KINDS = 4,   /* the app's kinds */
    WORK_PROGRAM = 8, /* kinds and lifecycles; native code is built when it is stale */
    WORK_TABLES =
        16, /* tables are made or brought up to date; without any generation the app's becomes the first */
};

struct work {
    struct app app;
    struct session session;
    struct script *script;
    struct program program;
    bool has_session;
    bool has_tables;
};

/* Opens what needs (work_need, or-ed) names. false: the message is printed, *exit_code set, nothing is left open. */
bool work_open(struct cli *cli, struct work *work, unsigned needs, int *exit_code) ACC_MUST_CHECK;
void work_close(struct work *work);

/* A query with binary results; NULL: printed, and *exit_code set. */
PGresult *work_query(struct cli *cli, struct work *work, const char *sql,
                     const struct pg_args *args, int *exit_code);
