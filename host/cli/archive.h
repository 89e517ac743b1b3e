/*
 * pg_dump and pg_restore as backup and restore run them: found, given their way to the database,
 * waited for.
 */
#pragma once

#include "base/buf.h"
#include "conf/settings.h"

/*
 * The path of the newest program of that name ("pg_dump"); caller frees. NULL with err: none is
 * installed.
 */
char *archive_program(const struct settings *settings, const char *name, struct acc_error *err);

/*
 * Runs argv (argv[0] is a path) with the parts of conninfo (NULL: none) in its environment, since a
 * password has no place in argv. What it prints goes to out, or nowhere; what it complains about to
 * stderr. SIGINT ends it, not us.
 */
bool archive_run(const char *const *argv, const char *conninfo, struct buf *out,
                 struct acc_error *err) ACC_MUST_CHECK;
