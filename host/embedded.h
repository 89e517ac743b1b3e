/*
 * The private PostgreSQL of an app: a cluster in its data directory, unix socket only, a child of
 * this process.
 *
 *   data_dir/host.lock   who may touch the rest (embedded_lock)
 *   data_dir/pg/         the cluster; appears whole or not at all
 *   data_dir/pg.log      what PostgreSQL says; pg.log.old from 16 MiB on
 *   run_dir/pg.XXXXXXXX/ the socket, mode 0700; a hash of data_dir, so that apps may share run_dir
 *
 * All of it needs neither libpq nor a thread, so that the master stays a process from which it is
 * safe to fork.
 */
#pragma once

#include "base/error.h"
#include "conf/settings.h"

#include <sys/types.h>

#define EMBEDDED_ROLE "accrete"     /* superuser and owner of the cluster */
#define EMBEDDED_DATABASE "accrete" /* exists as soon as the cluster does */

/* A running cluster that this process started and must stop. */
struct embedded;

/*
 * Makes the cluster if there is none (initdb), starts PostgreSQL as a child in a session of its own
 * and waits until it takes connections; after a crash that includes recovery, up to ten minutes.
 * Processes of a server that an earlier host left behind are waited for up to 10 s (a minute when
 * it is writing its last checkpoint). SIGINT or SIGTERM that is blocked and pending ends the wait.
 * The caller holds the host lock (embedded_lock) and does not ignore SIGCHLD.
 * config/postgresql.conf is written anew at every start, ALTER SYSTEM is kept.
 *
 * As root, PostgreSQL runs as the owner of data_dir/pg, a new one as the user postgres; who may
 * connect: root, postgres, that owner and the user of this process. When this process dies, however
 * it does, PostgreSQL shuts down.
 *
 * Fails with ACC_ESYS, ACC_EDB or, for a setting, ACC_EINPUT; the text names what to do (package
 * missing, no postgres user, too little disk, data directory of another major version, log file to
 * look at).
 */
struct embedded *embedded_start(const struct settings *settings, const char *data_dir,
                                const char *run_dir, struct acc_error *err) ACC_MUST_CHECK;

/* conninfo for libpq (unix socket, user, database "accrete"); borrowed, valid until pg is freed. */
const char *embedded_conninfo(const struct embedded *pg);
pid_t embedded_pid(const struct embedded *pg);

/*
 * Tells whether the child still runs (waitpid without waiting): false when it has ended, and then
 * why. The master calls it when SIGCHLD names embedded_pid, and may call embedded_start again after
 * embedded_forget.
 */
bool embedded_alive(struct embedded *pg, struct acc_error *why);

/*
 * Fast shutdown, then after grace_ms an immediate one; frees pg. Never SIGKILL. NULL is fine. In a
 * fork of the process that started it the server is left alone.
 */
void embedded_stop(struct embedded *pg, int64_t grace_ms);

/*
 * Frees pg without touching the server: it has ended, or this process is a fork of the one that
 * started it.
 */
void embedded_forget(struct embedded *pg);

/*
 * Takes the host lock of data_dir (flock on data_dir/host.lock, close-on-exec); makes data_dir when
 * it is missing (0700, as root 0711 so that PostgreSQL's user can pass). While the host that holds
 * it lives the answer is no at once; only for children that a killed host left behind it waits, up
 * to wait_ms. Returns the descriptor, or -1 with a message that names the pid of the host that
 * holds it. The file holds that pid as text.
 */
int embedded_lock(const char *data_dir, int64_t wait_ms, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Every fork that does not exec calls this first: a lock lives as long as one process has its
 * descriptor open, and a worker that outlives a killed host must not keep the next one out.
 * (LOCK_UN in a child would unlock the host's own.)
 */
void embedded_lock_release_in_child(int fd);

/* The conninfo of the private cluster of data_dir/run_dir, whether it runs or not. Caller frees. */
char *embedded_conninfo_of(const char *data_dir, const char *run_dir);
