/* Which of the installed PostgreSQLs runs the private cluster. */
#include "embedded_cluster.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAJOR_MIN 14

/* Looks at one directory after the other until one fits. */
struct search {
    const struct cluster *cluster;
    int wanted;      /* major version; 0: any from MAJOR_MIN on */
    struct buf seen; /* what did not fit: " 13 (/usr/lib/postgresql/13/bin)" */
    char *bin_dir;   /* the one that fits */
    int major;       /* its version */
};

static bool run_captured(const struct cluster *cluster, const char *const *argv, char *text,
                         size_t size)
{
    int fd = memfd_create("output", MFD_CLOEXEC);
    struct child_plan plan = {&cluster->owner, argv, NULL, fd, SIGKILL};
    bool ok = fd >= 0 && child_run(&plan, NULL);
    ssize_t got = ok ? pread(fd, text, size - 1, 0) : -1;

    if (fd >= 0)
        close(fd);
    if (got < 0)
        return false;
    text[got] = '\0';
    return true;
}

/* Of "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)": 15. 0: not to be run. */
static int major_of(const struct cluster *cluster, const char *bin_dir)
{
    char text[256];
    char *path = acc_format("%s/postgres", bin_dir);
    const char *argv[] = {path, "-V", NULL};
    const char *number = NULL;

    if (run_captured(cluster, argv, text, sizeof(text)))
        number = strstr(text, "(PostgreSQL) ");
    free(path);
    return number == NULL ? 0 : (int)strtol(number + strlen("(PostgreSQL) "), NULL, 10);
}

static bool try_directory(struct search *search, const char *bin_dir)
{
    char *postgres = acc_format("%s/postgres", bin_dir);
    char *initdb = acc_format("%s/initdb", bin_dir);
    bool is_there = bin_dir[0] == '/' && access(postgres, X_OK) == 0 && access(initdb, X_OK) == 0;

    free(postgres);
    free(initdb);
    if (!is_there)
        return false;
    int major = major_of(search->cluster, bin_dir);
    if (major >= MAJOR_MIN && (search->wanted == 0 || search->wanted == major)) {
        search->bin_dir = acc_strdup(bin_dir);
        search->major = major;
        return true;
    }
    if (major == 0)
        buf_printf(&search->seen, "; \"%s/postgres\" cannot be run by user %s", bin_dir,
                   search->cluster->owner.name);
    else
        buf_printf(&search->seen, "; PostgreSQL %d in \"%s\" does not do", major, bin_dir);
    return false;
}

static int newer_first(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;

    return (int)strtol(*right + strlen("/usr/lib/postgresql/"), NULL, 10) -
           (int)strtol(*left + strlen("/usr/lib/postgresql/"), NULL, 10);
}

static bool try_debian(struct search *search)
{
    glob_t found;
    bool ok = false;

    if (glob("/usr/lib/postgresql/[1-9]*/bin", 0, NULL, &found) != 0)
        return false;
    qsort(found.gl_pathv, found.gl_pathc, sizeof(char *), newer_first);
    for (size_t i = 0; i < found.gl_pathc && !ok; i++)
        ok = try_directory(search, found.gl_pathv[i]);
    globfree(&found);
    return ok;
}

static bool try_path(struct search *search)
{
    const char *path = getenv("PATH");
    char *copy = acc_strdup(path == NULL ? "" : path);
    char *rest = copy, *entry;
    bool ok = false;

    while (!ok && (entry = strsep(&rest, ":")) != NULL)
        ok = try_directory(search, entry);
    free(copy);
    return ok;
}

bool cluster_find_binaries(struct cluster *cluster, const char *bin_dir, struct acc_error *err)
{
    struct search search = {.cluster = cluster, .wanted = cluster->major};

    if (bin_dir != NULL ? try_directory(&search, bin_dir)
                        : try_debian(&search) || try_path(&search)) {
        cluster->bin_dir = search.bin_dir;
        cluster->major = search.major;
    } else {
        char *looked =
            bin_dir != NULL
                ? acc_format("looked for postgres and initdb in postgres.bin_dir \"%s\"", bin_dir)
                : acc_strdup("looked in /usr/lib/postgresql/*/bin and PATH");
        const char *seen = search.seen.data == NULL ? "" : search.seen.data;
        if (cluster->major == 0)
            acc_fail(err, ACC_ESYS,
                     "found no PostgreSQL %d or newer (%s%s): install it (apt install postgresql), "
                     "set postgres.bin_dir, or name a running server with database.url",
                     MAJOR_MIN, looked, seen);
        else
            acc_fail(err, ACC_ESYS,
                     "cluster \"%s\" was made by PostgreSQL %d, and there is none of that version "
                     "(%s%s): install postgresql-%d or set postgres.bin_dir; to change versions "
                     "accrete backup with the old one, accrete reset, accrete restore with the new",
                     cluster->pg_dir, cluster->major, looked, seen, cluster->major);
        free(looked);
    }
    buf_clear(&search.seen);
    return search.bin_dir != NULL;
}

bool cluster_has_lz4(const struct cluster *cluster)
{
    char text[64];
    char *path = acc_format("%s/postgres", cluster->bin_dir);
    const char *argv[] = {
        path, "-D", cluster->pg_dir, "-c", "wal_compression=lz4", "-C", "wal_compression", NULL};
    bool has = run_captured(cluster, argv, text, sizeof(text)) && strncmp(text, "lz4", 3) == 0;

    free(path);
    return has;
}
