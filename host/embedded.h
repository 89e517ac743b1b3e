/* The private PostgreSQL of an app: a cluster in its data directory, unix socket only, a child of this process. */
#pragma once

#include "base/error.h"
#include "conf/settings.h"

#include <sys/types.h>

/* A running cluster that this process started and must stop. */
struct embedded;

/*
 * Makes the cluster if there is none (initdb), starts PostgreSQL as a child in a session of its own and waits until it
 * takes connections. data_dir holds `pg/` (the cluster), `host.lock`; run_dir gets the socket. The caller holds
 * the host lock (embedded_lock). As root, PostgreSQL runs as the user postgres.
 *
 * Fails with ACC_ESYS or ACC_EDB; the text names what to do (package missing, no postgres user, too little disk,
 * data directory of another major version, log file to look at).
 */
struct embedded *embedded_start(const struct settings *settings, const char *data_dir, const char *run_dir,
                                struct acc_error *err) ACC_MUST_CHECK;

/* conninfo for libpq (unix socket, user, database "accrete"); borrowed, valid until embedded_stop. */
const char *embedded_conninfo(const struct embedded *pg);
pid_t embedded_pid(const struct embedded *pg);

/*
 * Tells whether the child still runs (waitpid without waiting): false when it has ended, and then why. The master calls
 * it when SIGCHLD names embedded_pid, and may call embedded_start again after embedded_forget.
 */
bool embedded_alive(struct embedded *pg, struct acc_error *why);

/* Fast shutdown, then after grace_ms an immediate one; frees pg. Never SIGKILL. NULL is fine. */
void embedded_stop(struct embedded *pg, int64_t grace_ms);

/* Frees pg without touching the server: it has ended, or this process is a fork of the one that started it. */
void embedded_forget(struct embedded *pg);

/*
 * Takes the host lock of data_dir (flock on data_dir/host.lock, close-on-exec, not inherited by meaning: children close
 * it), waiting up to wait_ms for orphans of a killed host to go. Returns the descriptor, or -1 with a message that names the
 * pid of the host that holds it. The file holds that pid as text.
 */
int embedded_lock(const char *data_dir, int64_t wait_ms, struct acc_error *err) ACC_MUST_CHECK;

/* The conninfo of the private cluster of data_dir/run_dir, whether it runs or not. Caller frees. */
char *embedded_conninfo_of(const char *data_dir, const char *run_dir);
