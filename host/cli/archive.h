/*
 * pg_dump and pg_restore as backup and restore run them: found, given their way to the database,
 * waited for.
 */
#pragma once

#include "base/buf.h"
#include "conf/settings.h"
#include "pg/pg.h"

#include <jansson.h>

/*
 * The path of a program ("pg_dump", "pg_restore") that suits a server of this version (as
 * PQserverVersion says it): of the same major, else of the next newer one that is installed, since
 * a newer pg_restore sets what an older server does not know, and an older pg_restore does not read
 * what a newer pg_dump has written. Older than the server only pg_restore may be. Caller frees;
 * NULL with err: none is installed.
 */
char *archive_program(const struct settings *settings, const char *name, int server_version,
                      struct acc_error *err);

/*
 * Runs argv (argv[0] is a path) with the parts of conninfo (NULL: none) in its environment, since a
 * password has no place in argv. What it prints goes to out, or nowhere; what it complains about to
 * stderr. SIGINT ends it, not us.
 */
bool archive_run(const char *const *argv, const char *conninfo, struct buf *out,
                 struct acc_error *err) ACC_MUST_CHECK;

/* Adds to counts how many facts of each kind were counted when they came: { kind: facts }. */
bool archive_count(struct pg *pg, json_t *counts, struct acc_error *err) ACC_MUST_CHECK;

/* What a command tells of counts with --json: { file, schema, facts, kinds }; caller owns it. */
json_t *archive_summary(const char *file, const char *schema, json_t *counts);
