/* The private cluster from inside: its files and the processes on them. Only embedded*.c see it. */
#pragma once

#include "conf/settings.h"
#include "embedded_child.h"

/* Where a cluster is, whose it is and what runs it. */
struct cluster {
    char *data_dir;     /* absolute, no symbolic links */
    char *pg_dir;       /* data_dir/pg */
    char *log_path;     /* data_dir/pg.log */
    char *socket_dir;   /* directory of the socket */
    char *bin_dir;      /* directory of postgres and initdb, of the cluster's major version */
    int major;          /* 15 */
    struct owner owner; /* who runs PostgreSQL */
    int log_fd;         /* log_path, for appending */
};

/*
 * Fills cluster: owner, directories (made when missing), binaries that fit, log. Clears away what
 * an earlier run that was killed left half made. On failure cluster_clear is due all the same.
 */
bool cluster_open(struct cluster *cluster, const struct settings *settings, const char *data_dir,
                  const char *run_dir, struct acc_error *err) ACC_MUST_CHECK;
void cluster_clear(struct cluster *cluster);

/*
 * Makes the cluster when there is none, with the database accrete in it: in a sibling directory,
 * renamed when complete.
 */
bool cluster_make(const struct cluster *cluster, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Writes postgresql.conf, pg_hba.conf and pg_ident.conf in pg_dir where they differ from what this
 * program wants.
 */
bool cluster_configure(const struct cluster *cluster, const char *pg_dir,
                       struct acc_error *err) ACC_MUST_CHECK;

/* Free on the disk of the cluster. */
int64_t cluster_free_bytes(const struct cluster *cluster);

/* Forks of this process need not hold the log open. */
void cluster_close_log(struct cluster *cluster);

/*
 * Bytes of the log now. Of what came after so many: the first complaint, else (or when wants_last)
 * the last line; valid until the next call.
 */
int64_t cluster_log_bytes(const struct cluster *cluster);
const char *cluster_log_words(const struct cluster *cluster, int64_t after_bytes, bool wants_last);

/* -- embedded_place.c: where it lies and whose it is -- */

/*
 * Fills owner: of the cluster that is there, else postgres when this process is root, else its
 * user.
 */
bool cluster_find_owner(struct cluster *cluster, struct acc_error *err) ACC_MUST_CHECK;

/*
 * The directory of the socket; caller frees. Making it checks that its path is short and nobody
 * else can replace it.
 */
char *cluster_socket_dir(const char *data_dir, const char *run_dir);
bool cluster_make_socket_dir(const struct cluster *cluster, const char *run_dir,
                             struct acc_error *err) ACC_MUST_CHECK;

/* Whether the owner can pass every directory on the way to the cluster and the socket. */
bool cluster_can_enter(const struct cluster *cluster, struct acc_error *err) ACC_MUST_CHECK;

/* A directory and its parents: 0755, the last one 0700 (as root 0711). */
bool make_directory(const char *path, struct acc_error *err) ACC_MUST_CHECK;

/* -- embedded_binaries.c: what runs it -- */

/*
 * Fills bin_dir and major. major != 0 on entry: of that version only. bin_dir: look nowhere else;
 * NULL: where they use to be.
 */
bool cluster_find_binaries(struct cluster *cluster, const char *bin_dir,
                           struct acc_error *err) ACC_MUST_CHECK;

/* Whether the server can compress its log of changes with lz4. The cluster must be there. */
bool cluster_has_lz4(const struct cluster *cluster);

/* -- embedded_orphans.c: who else is on it -- */

/*
 * Waits until no server of an earlier host works on the cluster and removes its pid files where
 * they name a stranger.
 */
bool cluster_wait_for_orphans(const struct cluster *cluster, struct acc_error *err) ACC_MUST_CHECK;

/* Sends the signal to every process of a server on pg_dir. */
bool cluster_kill_server(const struct owner *owner, const char *pg_dir, int number,
                         struct acc_error *err) ACC_MUST_CHECK;

/* What postmaster.pid says. */
struct postmaster_file {
    pid_t pid;           /* 0: no such file, or nothing in it */
    char status[16];     /* "starting", "ready", "stopping"; "" when not yet written */
    char data_dir[4096]; /* the cluster it is about */
};
void cluster_postmaster(const char *path, struct postmaster_file *file);

bool process_lives(pid_t pid); /* a zombie does not */
void sleep_ms(int64_t wait_ms);
bool is_stop_wanted(void); /* SIGINT or SIGTERM is blocked and pending */

/* The option that says where PostgreSQL opens dynamic shared memory on this machine; static. */
const char *cluster_dynamic_memory(void);
