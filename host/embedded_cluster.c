#include "embedded_cluster.h"

#include "base/clock.h"
#include "base/files.h"
#include "base/log.h"
#include "embedded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)
#define MAKE_FREE_BYTES (256 * MIB) /* a new cluster takes 47 MiB, and then it grows */
#define START_FREE_BYTES (48 * MIB) /* three files of the log of changes */
#define REMOVE_WAIT_MS 5000
#define LOG_OLD_BYTES (16 * MIB)
#define MAKING "pg.new." /* then six characters: a cluster in the making */

static const char hba_text[] =
    "# Written by accrete at every start: the users in pg_ident.conf, through the socket.\n"
    "local all all peer map=accrete\n"
    "local replication all peer map=accrete\n";

static bool open_log(struct cluster *cluster, struct acc_error *err)
{
    struct stat st;

    if (lstat(cluster->log_path, &st) == 0 && st.st_size > LOG_OLD_BYTES) {
        char *old = acc_format("%s.old", cluster->log_path);
        rename(cluster->log_path, old);
        free(old);
    }
    cluster->log_fd =
        open(cluster->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (cluster->log_fd < 0)
        return acc_fail_errno(err, "cannot open \"%s\"", cluster->log_path);
    return true;
}

void cluster_close_log(struct cluster *cluster)
{
    if (cluster->log_fd >= 0)
        close(cluster->log_fd);
    cluster->log_fd = -1;
}

int64_t cluster_log_bytes(const struct cluster *cluster)
{
    struct stat st;

    return fstat(cluster->log_fd, &st) == 0 ? st.st_size : 0;
}

const char *cluster_log_words(const struct cluster *cluster, int64_t after_bytes, bool wants_last)
{
    static const char *const marks[] = {"PANIC:", "FATAL:", "ERROR:", "error:"};
    static char words[512];
    char line[512];
    bool is_marked = false;
    FILE *in = fopen(cluster->log_path, "re");

    snprintf(words, sizeof(words), "it said nothing");
    if (in != NULL && fseeko(in, after_bytes, SEEK_SET) != 0)
        rewind(in);
    while (in != NULL && !is_marked && fgets(line, sizeof(line), in) != NULL) {
        const char *at = line[0] == '\n' ? NULL : line;
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]) && !is_marked && !wants_last; i++) {
            const char *mark = strstr(line, marks[i]);
            if (mark != NULL) {
                at = mark;
                is_marked = true;
            }
        }
        if (at != NULL)
            snprintf(words, sizeof(words), "%.*s", (int)strcspn(at, "\n"), at);
    }
    if (in != NULL)
        fclose(in);
    return words;
}

int64_t cluster_free_bytes(const struct cluster *cluster)
{
    struct statvfs fs;

    if (statvfs(cluster->data_dir, &fs) != 0)
        return INT64_MAX;
    return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

static bool check_disk(const struct cluster *cluster, int64_t wanted_bytes, struct acc_error *err)
{
    int64_t free_bytes = cluster_free_bytes(cluster);

    if (free_bytes < wanted_bytes)
        return acc_fail(err, ACC_ESYS,
                        "the disk of \"%s\" has %lld MiB free, and PostgreSQL wants at least %lld: "
                        "free some, or choose another data directory (data.dir)",
                        cluster->data_dir, (long long)(free_bytes / MIB),
                        (long long)(wanted_bytes / MIB));
    return true;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

static bool remove_tree(void *arg, struct acc_error *err)
{
    (void)err;
    nftw(arg, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    return true;
}

/*
 * Its content as the owner, so that root follows nobody's links; the directory itself lies in ours.
 * More than once, because a server that initdb started and left may still write there.
 */
static void remove_making(const struct cluster *cluster, char *path)
{
    int64_t until_us = clock_us() + REMOVE_WAIT_MS * 1000;

    for (;;) {
        if (cluster_kill_server(&cluster->owner, path, SIGKILL, NULL) &&
            child_do(&cluster->owner, remove_tree, path, NULL) &&
            (rmdir(path) == 0 || errno == ENOENT))
            return;
        if (clock_us() > until_us)
            break;
        sleep_ms(20);
    }
    log_warn("embedded", "left_over=%s", log_quote(path));
}

static void remove_left_over(const struct cluster *cluster)
{
    DIR *dir = opendir(cluster->data_dir);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, MAKING, strlen(MAKING)) != 0)
            continue;
        char *path = acc_format("%s/%s", cluster->data_dir, entry->d_name);
        remove_making(cluster, path);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
}

/* Runs a program of PostgreSQL; what it says goes to the log and, when it fails, into err. */
static bool run_logged(const struct cluster *cluster, const char *const *argv, const char *input,
                       struct acc_error *err)
{
    struct child_plan plan = {&cluster->owner, argv, input, cluster->log_fd, SIGKILL};
    int64_t before = cluster_log_bytes(cluster);

    if (child_run(&plan, err))
        return true;
    if (err != NULL && err->code == ACC_EDB)
        return acc_fail_prefix(err, "%s (see \"%s\")", cluster_log_words(cluster, before, false),
                               cluster->log_path);
    return false;
}

/*
 * Parallel workers are not used here, but PostgreSQL opens a segment for them all the same: in
 * /dev/shm where its user may write there (a bare chroot has no such place), else in a file of the
 * cluster.
 */
const char *cluster_dynamic_memory(void)
{
    struct stat st;
    bool is_open = stat("/dev/shm", &st) == 0 && (st.st_mode & S_IWOTH) != 0;

    return is_open ? "-cdynamic_shared_memory_type=posix" : "-cdynamic_shared_memory_type=mmap";
}

static bool fill(const struct cluster *cluster, const char *pg_dir, struct acc_error *err)
{
    char *initdb = acc_format("%s/initdb", cluster->bin_dir);
    char *postgres = acc_format("%s/postgres", cluster->bin_dir);
    const char *make[] = {initdb,
                          "-D",
                          pg_dir,
                          "-U",
                          EMBEDDED_ROLE,
                          "-EUTF8",
                          "--locale=C",
                          "--auth-local=peer",
                          "--auth-host=reject",
                          "--data-checksums",
                          "--no-instructions",
                          NULL};
    const char *single[] = {
        postgres,    "--single", "-D", pg_dir, "-cexit_on_error=on", cluster_dynamic_memory(),
        "template1", NULL};
    bool ok = run_logged(cluster, make, NULL, err) && cluster_configure(cluster, pg_dir, err) &&
              run_logged(cluster, single, "CREATE DATABASE " EMBEDDED_DATABASE "\n", err);

    free(initdb);
    free(postgres);
    return ok;
}

static bool sync_directory(const char *path, struct acc_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok)
        acc_fail_errno(err, "cannot sync \"%s\"", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool cluster_make(const struct cluster *cluster, struct acc_error *err)
{
    char *making;
    bool ok = false;

    if (access(cluster->pg_dir, F_OK) == 0)
        return check_disk(cluster, START_FREE_BYTES, err);
    if (!check_disk(cluster, MAKE_FREE_BYTES, err))
        return false;

    making = acc_format("%s/" MAKING "XXXXXX", cluster->data_dir);
    if (mkdtemp(making) == NULL) {
        acc_fail_errno(err, "cannot make \"%s\"", making);
        goto out;
    }
    if (chown(making, cluster->owner.uid, cluster->owner.gid) != 0) {
        acc_fail_errno(err, "cannot give \"%s\" to user %s", making, cluster->owner.name);
        goto out;
    }
    if (!fill(cluster, making, err))
        goto out;
    if (rename(making, cluster->pg_dir) != 0) {
        acc_fail_errno(err, "cannot rename \"%s\" to \"%s\"", making, cluster->pg_dir);
        goto out;
    }
    ok = sync_directory(cluster->data_dir, err);
out:
    if (!ok && access(making, F_OK) == 0)
        remove_making(cluster, making);
    free(making);
    return ok;
}

struct configuration {
    const char *pg_dir;
    char *ident;
};

static bool holds(const char *path, const char *text, size_t size)
{
    char *old = acc_alloc(size + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_same =
        fd >= 0 && read(fd, old, size + 1) == (ssize_t)size && memcmp(old, text, size) == 0;

    if (fd >= 0)
        close(fd);
    free(old);
    return is_same;
}

/* Whole or not at all, also over a power cut. */
static bool write_file(const char *dir, const char *name, const char *text, size_t size,
                       struct acc_error *err)
{
    char *path = acc_format("%s/%s", dir, name);
    char *fresh = acc_format("%s.new", path);
    bool ok = holds(path, text, size);

    if (!ok) {
        int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ok = fd >= 0 && write(fd, text, size) == (ssize_t)size && fsync(fd) == 0 &&
             rename(fresh, path) == 0;
        if (!ok)
            acc_fail_errno(err, "cannot write \"%s\"", path);
        if (fd >= 0)
            close(fd);
        ok = ok && sync_directory(dir, err);
    }
    free(fresh);
    free(path);
    return ok;
}

static bool write_configuration(void *arg, struct acc_error *err)
{
    const struct configuration *want = arg;
    size_t size = 0;
    const char *text = files_get("config/postgresql.conf", &size);

    if (text == NULL)
        return acc_fail(err, ACC_ESYS, "config/postgresql.conf is not built into this program");
    return write_file(want->pg_dir, "postgresql.conf", text, size, err) &&
           write_file(want->pg_dir, "pg_hba.conf", hba_text, strlen(hba_text), err) &&
           write_file(want->pg_dir, "pg_ident.conf", want->ident, strlen(want->ident), err);
}

bool cluster_configure(const struct cluster *cluster, const char *pg_dir, struct acc_error *err)
{
    struct passwd *user = getpwuid(getuid());
    struct configuration want = {pg_dir, NULL};

    want.ident = acc_format(
        "# Written by accrete at every start: who may connect as \"" EMBEDDED_ROLE "\".\n"
        "accrete \"root\" " EMBEDDED_ROLE "\n"
        "accrete \"postgres\" " EMBEDDED_ROLE "\n"
        "accrete \"%s\" " EMBEDDED_ROLE "\n"
        "accrete \"%s\" " EMBEDDED_ROLE "\n",
        cluster->owner.name, user == NULL ? cluster->owner.name : user->pw_name);
    bool ok = child_do(&cluster->owner, write_configuration, &want, err);
    free(want.ident);
    return ok;
}

/* The version of a cluster that is there; 0 when there is none yet. */
static bool read_major(struct cluster *cluster, struct acc_error *err)
{
    char *path = acc_format("%s/PG_VERSION", cluster->pg_dir);
    bool ok = true;

    if (access(cluster->pg_dir, F_OK) == 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        char text[16] = "";
        if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
            cluster->major = (int)strtol(text, NULL, 10);
        if (fd >= 0)
            close(fd);
        if (cluster->major == 0)
            ok = acc_fail(
                err, ACC_ESYS,
                "\"%s\" is no PostgreSQL cluster (no PG_VERSION in it): move it away or remove it",
                cluster->pg_dir);
    }
    free(path);
    return ok;
}

bool cluster_open(struct cluster *cluster, const struct settings *settings, const char *data_dir,
                  const char *run_dir, struct acc_error *err)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->log_fd = -1;
    cluster->data_dir = realpath(data_dir, NULL);
    if (cluster->data_dir == NULL)
        return acc_fail_errno(err, "data directory \"%s\"", data_dir);
    cluster->pg_dir = acc_format("%s/pg", cluster->data_dir);
    cluster->log_path = acc_format("%s/pg.log", cluster->data_dir);
    cluster->socket_dir = cluster_socket_dir(data_dir, run_dir);
    rmdir(cluster->pg_dir); /* goes only when it is empty */

    if (!cluster_find_owner(cluster, err) || !cluster_make_socket_dir(cluster, run_dir, err) ||
        !cluster_can_enter(cluster, err))
        return false;
    remove_left_over(cluster);
    return read_major(cluster, err) &&
           cluster_find_binaries(cluster, settings->postgres.bin_dir, err) &&
           open_log(cluster, err);
}

void cluster_clear(struct cluster *cluster)
{
    cluster_close_log(cluster);
    free(cluster->data_dir);
    free(cluster->pg_dir);
    free(cluster->log_path);
    free(cluster->socket_dir);
    free(cluster->bin_dir);
    free(cluster->owner.name);
    memset(cluster, 0, sizeof(*cluster));
    cluster->log_fd = -1;
}
