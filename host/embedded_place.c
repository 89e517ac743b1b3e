/* Where the private cluster lies and whose it is. */
#include "embedded_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool make_directory(const char *path, struct acc_error *err)
{
    mode_t old = umask(022);
    char *copy = acc_strdup(path);
    struct stat st;
    int result = 0;

    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0755); /* what goes wrong here shows below */
        *slash = '/';
    }
    result = mkdir(path, geteuid() == 0 ? 0711 : 0700);
    umask(old);
    free(copy);
    if (result != 0 && errno != EEXIST)
        return acc_fail_errno(err, "cannot make directory \"%s\"", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return acc_fail(err, ACC_ESYS, "\"%s\": wanted a directory", path);
    return true;
}

static char *absolute(const char *path)
{
    char here[PATH_MAX];

    if (path[0] == '/' || getcwd(here, sizeof(here)) == NULL)
        return acc_strdup(path);
    return acc_format("%s/%s", here, path);
}

char *cluster_socket_dir(const char *data_dir, const char *run_dir)
{
    char *data = realpath(data_dir, NULL);
    uint32_t hash = 2166136261u; /* FNV-1a */

    if (data == NULL)
        data = absolute(data_dir);
    for (const char *c = data; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    char *run = absolute(run_dir);
    char *out = acc_format("%s/pg.%08x", run, hash);
    free(run);
    free(data);
    return out;
}

/* Nobody but us, root and the owner may put something else in the place of what we make in it. */
static bool check_run_dir(const struct cluster *cluster, const char *run_dir, struct acc_error *err)
{
    struct stat st;

    if (stat(run_dir, &st) != 0)
        return acc_fail_errno(err, "run directory \"%s\"", run_dir);
    if (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != cluster->owner.uid)
        return acc_fail(
            err, ACC_ESYS,
            "run directory \"%s\" belongs to user id %d: choose one of your own (data.run_dir)",
            run_dir, (int)st.st_uid);
    if ((st.st_mode & 0022) != 0 && (st.st_mode & S_ISVTX) == 0)
        return acc_fail(err, ACC_ESYS,
                        "run directory \"%s\" can be written by others: chmod go-w it", run_dir);
    return true;
}

bool cluster_make_socket_dir(const struct cluster *cluster, const char *run_dir,
                             struct acc_error *err)
{
    const char *path = cluster->socket_dir;
    size_t bytes = strlen(path) + strlen("/.s.PGSQL.5432");
    struct stat st;

    if (bytes > 106)
        return acc_fail(err, ACC_EINPUT,
                        "the socket's path \"%s/.s.PGSQL.5432\" has %zu bytes, and the system "
                        "takes at most 106: choose a shorter run directory (data.run_dir)",
                        path, bytes);
    if (strchr(path, ',') != NULL)
        return acc_fail(err, ACC_EINPUT,
                        "run directory \"%s\": libpq takes no comma in it (data.run_dir)", run_dir);
    if (!make_directory(run_dir, err) || !check_run_dir(cluster, run_dir, err))
        return false;
    if (mkdir(path, 0700) == 0) {
        if (chown(path, cluster->owner.uid, cluster->owner.gid) != 0)
            return acc_fail_errno(err, "cannot give \"%s\" to user %s", path, cluster->owner.name);
        return true;
    }
    if (errno != EEXIST)
        return acc_fail_errno(err, "cannot make directory \"%s\"", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 &&
              (st.st_uid == cluster->owner.uid || st.st_uid == geteuid()) &&
              fchown(fd, cluster->owner.uid, cluster->owner.gid) == 0 && fchmod(fd, 0700) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok)
        acc_fail(err, ACC_ESYS, "\"%s\": wanted a directory of user %s: remove it", path,
                 cluster->owner.name);
    return ok;
}

/* As the owner: every directory on the way must let him pass. */
static bool pass_through(void *arg, struct acc_error *err)
{
    const char *path = arg;
    char *copy = acc_strdup(path);
    bool ok = true;

    for (char *slash = strchr(copy + 1, '/'); ok; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (access(copy, X_OK) != 0) {
            struct passwd *user = getpwuid(geteuid());
            ok = acc_fail(err, ACC_ESYS,
                          "user %s, as which PostgreSQL runs, cannot enter \"%s\" on the way to "
                          "\"%s\": chmod o+x it, choose a directory below /var/lib or /run "
                          "(data.dir, data.run_dir), or do not run as root",
                          user == NULL ? "?" : user->pw_name, copy, path);
        }
        if (slash == NULL)
            break;
        *slash = '/';
    }
    free(copy);
    return ok;
}

bool cluster_can_enter(const struct cluster *cluster, struct acc_error *err)
{
    return child_do(&cluster->owner, pass_through, cluster->data_dir, err) &&
           child_do(&cluster->owner, pass_through, cluster->socket_dir, err);
}

static bool take_user(struct owner *owner, const struct passwd *user)
{
    owner->uid = user->pw_uid;
    owner->gid = user->pw_gid;
    owner->name = acc_strdup(user->pw_name);
    return true;
}

bool cluster_find_owner(struct cluster *cluster, struct acc_error *err)
{
    struct stat st;
    bool is_made = lstat(cluster->pg_dir, &st) == 0;
    uid_t self = geteuid();
    struct passwd *user;

    if (is_made && !S_ISDIR(st.st_mode))
        return acc_fail(err, ACC_ESYS, "\"%s\": wanted a directory", cluster->pg_dir);
    if (self == 0 && is_made && st.st_uid == 0)
        return acc_fail(err, ACC_ESYS,
                        "cluster \"%s\" belongs to root, as which PostgreSQL does not run: chown "
                        "-R it to postgres",
                        cluster->pg_dir);
    if (self == 0 && !is_made) {
        user = getpwnam("postgres");
        if (user == NULL)
            return acc_fail(err, ACC_ESYS,
                            "as root PostgreSQL runs as the user postgres, and there is none: "
                            "install the package postgresql, or run as another user");
        return take_user(&cluster->owner, user);
    }
    if (self != 0 && is_made && st.st_uid != self) {
        user = getpwuid(st.st_uid);
        return acc_fail(err, ACC_ESYS,
                        "cluster \"%s\" belongs to user %s (id %d): run as that user or as root",
                        cluster->pg_dir, user == NULL ? "?" : user->pw_name, (int)st.st_uid);
    }
    uid_t wanted = is_made ? st.st_uid : self;
    user = getpwuid(wanted);
    if (user == NULL)
        return acc_fail(err, ACC_ESYS,
                        "user id %d has no name (/etc/passwd), and PostgreSQL wants one",
                        (int)wanted);
    return take_user(&cluster->owner, user);
}
