#include "embedded.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "embedded_cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)
#define WAL_MIN_MIB 64
#define READY_POLL_MS 5
#define READY_WAIT_MS 600000 /* recovery replays up to max_wal_size */
#define READY_TELL_MS 10000
#define STOP_POLL_MS 2
#define IMMEDIATE_WAIT_MS 15000 /* PostgreSQL kills its own children after 5 s */

struct embedded {
    struct cluster cluster;
    char *conninfo;    /* NULL until it is ready */
    pid_t starter;     /* the process that called embedded_start */
    pid_t pid;         /* the postmaster */
    int64_t log_bytes; /* size of the log when it was started */
    bool has_ended;
    int status; /* as waitpid gives it, once it has ended */
};

static void add_quoted(struct buf *out, const char *text, char quote, char escape)
{
    buf_byte(out, (uint8_t)quote);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == quote || *c == escape)
            buf_byte(out, (uint8_t)escape);
        buf_byte(out, (uint8_t)*c);
    }
    buf_byte(out, (uint8_t)quote);
}

static char *conninfo_of(const char *socket_dir)
{
    struct buf out = {0};

    buf_text(&out, "host=");
    add_quoted(&out, socket_dir, '\'', '\\');
    buf_text(&out, " port=5432 user=" EMBEDDED_ROLE " dbname=" EMBEDDED_DATABASE
                   " sslmode=disable gssencmode=disable options='-c log_min_messages=fatal'");
    return out.data;
}

char *embedded_conninfo_of(const char *data_dir, const char *run_dir)
{
    char *socket_dir = cluster_socket_dir(data_dir, run_dir);
    char *conninfo = conninfo_of(socket_dir);

    free(socket_dir);
    return conninfo;
}

/* A limit of this machine's or container's memory; the largest number when there is none. */
static int64_t limit_in(const char *path)
{
    FILE *in = fopen(path, "re");
    char text[32] = "";
    int64_t bytes = 0;

    if (in != NULL && fgets(text, sizeof(text), in) != NULL)
        bytes = strtoll(text, NULL, 10); /* "max" gives 0 */
    if (in != NULL)
        fclose(in);
    return bytes > 0 ? bytes : INT64_MAX;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t shared_buffers(const struct settings *settings)
{
    int64_t bytes = settings->postgres.shared_buffers_bytes;

    if (bytes != 0)
        return bytes;
    bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    bytes = least(bytes, limit_in("/sys/fs/cgroup/memory.max"));
    bytes = least(bytes, limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    bytes /= 4;
    return bytes < 128 * MIB ? 128 * MIB : least(bytes, 4 * GIB);
}

/* The log of changes may grow to this before a checkpoint; it must not fill a small disk. */
static int64_t max_wal_mib(const struct embedded *pg, const struct settings *settings)
{
    int64_t wanted = settings->postgres.max_wal_bytes / MIB;
    int64_t quarter = cluster_free_bytes(&pg->cluster) / MIB / 4;
    int64_t got = least(wanted, quarter);

    if (got < WAL_MIN_MIB)
        got = WAL_MIN_MIB;
    if (got < wanted)
        log_warn("embedded", "little_disk=%s max_wal_mib=%lld instead_of_mib=%lld",
                 log_quote(pg->cluster.data_dir), (long long)got, (long long)wanted);
    return got;
}

/* Options on the command line win over every file, ALTER SYSTEM included. */
static bool launch(struct embedded *pg, const struct settings *settings, struct acc_error *err)
{
    const struct cluster *cluster = &pg->cluster;
    struct buf sockets = {0};
    char *postgres = acc_format("%s/postgres", cluster->bin_dir);
    char *buffers =
        acc_format("-cshared_buffers=%lldkB", (long long)(shared_buffers(settings) / 1024));
    char *max_wal = acc_format("-cmax_wal_size=%lldMB", (long long)max_wal_mib(pg, settings));

    buf_text(&sockets, "-cunix_socket_directories=");
    add_quoted(&sockets, cluster->socket_dir, '"', '"');

    const char *wal_compression =
        cluster_has_lz4(cluster) ? "-cwal_compression=lz4" : "-cwal_compression=on";
    const char *argv[] = {postgres,
                          "-D",
                          cluster->pg_dir,
                          cluster_dynamic_memory(),
                          "-cfsync=on",
                          "-cfull_page_writes=on",
                          "-clisten_addresses=",
                          "-cport=5432",
                          "-cunix_socket_permissions=0700",
                          sockets.data,
                          buffers,
                          max_wal,
                          wal_compression,
                          NULL};
    struct child_plan plan = {&cluster->owner, argv, NULL, cluster->log_fd, SIGINT};

    pg->log_bytes = cluster_log_bytes(cluster);
    pg->starter = getpid();
    pg->pid = child_start(&plan, err);
    buf_clear(&sockets);
    free(postgres);
    free(buffers);
    free(max_wal);
    return pg->pid > 0;
}

static bool has_ended(struct embedded *pg, bool block)
{
    if (!pg->has_ended)
        pg->has_ended = child_ended(pg->pid, block, &pg->status);
    return pg->has_ended;
}

/*
 * Not by asking the socket: another server on it could answer, and each early question is a line in
 * the log.
 */
static bool wait_until_ready(struct embedded *pg, struct acc_error *err)
{
    char *path = acc_format("%s/postmaster.pid", pg->cluster.pg_dir);
    int64_t began_us = clock_us(), tell_ms = READY_TELL_MS;
    struct postmaster_file file;
    bool ok = false;

    for (;;) {
        int64_t waited_ms = (clock_us() - began_us) / 1000;

        cluster_postmaster(path, &file);
        if (file.pid == pg->pid && strcmp(file.status, "ready") == 0) {
            ok = true;
            break;
        }
        if (!embedded_alive(pg, err)) {
            acc_fail_prefix(err, "PostgreSQL did not start");
            break;
        }
        if (is_stop_wanted() || waited_ms > READY_WAIT_MS) {
            acc_fail(err, ACC_ESYS,
                     "PostgreSQL (pid %d) was not ready after %lld ms when it was %s; see \"%s\"",
                     (int)pg->pid, (long long)waited_ms,
                     is_stop_wanted() ? "told to stop" : "given up", pg->cluster.log_path);
            break;
        }
        if (waited_ms > tell_ms) {
            log_debug("embedded", "starting=%d waited_ms=%lld status=%s", (int)pg->pid,
                      (long long)waited_ms, file.status);
            tell_ms += READY_TELL_MS;
        }
        sleep_ms(READY_POLL_MS);
    }
    free(path);
    return ok;
}

struct embedded *embedded_start(const struct settings *settings, const char *data_dir,
                                const char *run_dir, struct acc_error *err)
{
    struct embedded *pg = acc_zalloc(sizeof(*pg));
    struct cluster *cluster = &pg->cluster;
    int64_t began_us = clock_us();

    if (!cluster_open(cluster, settings, data_dir, run_dir, err) || !cluster_make(cluster, err) ||
        !cluster_wait_for_orphans(cluster, err) ||
        !cluster_configure(cluster, cluster->pg_dir, err) || !launch(pg, settings, err)) {
        embedded_forget(pg);
        return NULL;
    }
    int64_t made_us = clock_us();
    if (!wait_until_ready(pg, err)) {
        embedded_stop(pg, 5000);
        return NULL;
    }
    pg->conninfo = conninfo_of(cluster->socket_dir);
    cluster_close_log(cluster);
    log_debug("embedded", "started=%d version=%d prepare_ms=%lld ready_ms=%lld", (int)pg->pid,
              cluster->major, (long long)(made_us - began_us) / 1000,
              (long long)(clock_us() - made_us) / 1000);
    return pg;
}

const char *embedded_conninfo(const struct embedded *pg)
{
    return pg->conninfo;
}

pid_t embedded_pid(const struct embedded *pg)
{
    return pg->pid;
}

bool embedded_alive(struct embedded *pg, struct acc_error *why)
{
    if (!has_ended(pg, false))
        return true;
    return acc_fail(why, ACC_EDB, "PostgreSQL (pid %d) %s: %s (see \"%s\")", (int)pg->pid,
                    child_end_text(pg->status),
                    cluster_log_words(&pg->cluster, pg->log_bytes, pg->conninfo != NULL),
                    pg->cluster.log_path);
}

static bool stop_with(struct embedded *pg, int number, int64_t wait_ms)
{
    int64_t until_us = clock_us() + wait_ms * 1000;

    if (has_ended(pg, false))
        return true;
    kill(pg->pid, number);
    while (!has_ended(pg, false) && clock_us() < until_us)
        sleep_ms(STOP_POLL_MS);
    return pg->has_ended;
}

void embedded_stop(struct embedded *pg, int64_t grace_ms)
{
    int64_t began_us = clock_us();

    if (pg == NULL)
        return;
    if (pg->pid > 0 && pg->starter == getpid() && !pg->has_ended) {
        bool is_stopped = stop_with(pg, SIGINT, grace_ms);
        if (!is_stopped) {
            log_warn("embedded", "stopping_at_once=%d after_ms=%lld", (int)pg->pid,
                     (long long)grace_ms);
            is_stopped = stop_with(pg, SIGQUIT, IMMEDIATE_WAIT_MS);
        }
        if (is_stopped)
            log_debug("embedded", "stopped=%d stop_ms=%lld", (int)pg->pid,
                      (long long)(clock_us() - began_us) / 1000);
        else
            log_error("embedded", "does_not_stop=%d log=%s", (int)pg->pid,
                      log_quote(pg->cluster.log_path));
    }
    embedded_forget(pg);
}

void embedded_forget(struct embedded *pg)
{
    if (pg == NULL)
        return;
    cluster_clear(&pg->cluster);
    free(pg->conninfo);
    free(pg);
}
