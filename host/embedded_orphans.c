#include "embedded_cluster.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ORPHAN_WAIT_MS 10000
#define ORPHAN_STOPPING_MS 60000
#define ORPHAN_POLL_MS 20

void sleep_ms(int64_t wait_ms)
{
    struct timespec time = {wait_ms / 1000, wait_ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

bool is_stop_wanted(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

bool process_lives(pid_t pid)
{
    char path[64], text[256] = "";
    FILE *file;

    if (pid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return kill(pid, 0) == 0 || errno == EPERM;
    size_t got = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[got] = '\0';
    const char *state = strrchr(text, ')'); /* "pid (name) state" */
    return state != NULL && strncmp(state, ") Z", 3) != 0;
}

/* Line 1 pid (negative: single user), 2 directory, 8 status; a socket's lock file begins alike. */
void cluster_postmaster(const char *path, struct postmaster_file *file)
{
    char line[sizeof(file->data_dir)];

    memset(file, 0, sizeof(*file));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
    if (in == NULL)
        return;
    for (int number = 1; fgets(line, sizeof(line), in) != NULL; number++) {
        line[strcspn(line, "\n")] = '\0';
        if (number == 1)
            file->pid = abs((int)strtol(line, NULL, 10));
        else if (number == 2)
            memcpy(file->data_dir, line, sizeof(line));
        else if (number == 8)
            sscanf(line, "%15s", file->status);
    }
    fclose(in);
}

enum work { WORKS_HERE, WORKS_ELSEWHERE, WORKS_UNSEEN };

/* Every process of a server is named so and has its cluster as working directory. */
static enum work works_in(pid_t pid, const char *pg_dir)
{
    char path[64], text[PATH_MAX] = "";

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return WORKS_UNSEEN;
    bool is_postgres = fgets(text, sizeof(text), in) != NULL && strncmp(text, "postgres", 8) == 0;
    fclose(in);
    if (!is_postgres)
        return WORKS_ELSEWHERE;

    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    ssize_t got = readlink(path, text, sizeof(text) - 1);
    if (got < 0)
        return WORKS_UNSEEN;
    text[got] = '\0';
    return strcmp(text, pg_dir) == 0 ? WORKS_HERE : WORKS_ELSEWHERE;
}

/*
 * Looking is done by a child that is the owner: root in a container may lack the right to see where
 * processes of others work. What it saw comes back in shared memory.
 */
struct survey {
    char pg_dir[PATH_MAX];
    char socket_lock[PATH_MAX];
    int number;         /* signal for every process; 0: none */
    bool spares_led;    /* no signal while the postmaster lives */
    bool removes_stale; /* when nobody works here */
    pid_t found;        /* some process that works here */
    pid_t leader;       /* the postmaster, if it works here */
    bool is_stopping;   /* it says so */
};

static void look(struct survey *survey, int number)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        pid_t pid = (int)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || works_in(pid, survey->pg_dir) != WORKS_HERE)
            continue;
        survey->found = pid;
        kill(pid, number);
    }
    if (dir != NULL)
        closedir(dir);
}

/*
 * PostgreSQL believes a pid file whose pid exists, even when that is somebody else's process by now
 * or a zombie that waits for its parent, and stumbles over an empty file. A process that cannot be
 * seen may be a server: then PostgreSQL decides.
 */
static void remove_stale(const char *path, const char *pg_dir)
{
    struct postmaster_file file;

    if (access(path, F_OK) != 0)
        return;
    cluster_postmaster(path, &file);
    if (process_lives(file.pid) && works_in(file.pid, pg_dir) != WORKS_ELSEWHERE)
        return;
    if (file.pid != 0 && kill(file.pid, 0) != 0 && errno == ESRCH)
        return; /* the usual trace of a crash, which PostgreSQL clears away itself */
    log_warn("embedded", "stale_pid_file=%s pid=%d", log_quote(path), (int)file.pid);
    unlink(path);
}

static bool survey_work(void *arg, struct acc_error *err)
{
    struct survey *survey = arg;
    struct postmaster_file file;
    char *pid_path = acc_format("%s/postmaster.pid", survey->pg_dir);

    (void)err;
    cluster_postmaster(pid_path, &file);
    if (file.pid != 0 && works_in(file.pid, survey->pg_dir) == WORKS_HERE)
        survey->leader = file.pid;
    survey->is_stopping = survey->leader != 0 && strcmp(file.status, "stopping") == 0;
    look(survey, survey->leader != 0 && survey->spares_led ? 0 : survey->number);
    if (survey->found == 0 && survey->removes_stale) {
        remove_stale(pid_path, survey->pg_dir);
        remove_stale(survey->socket_lock, survey->pg_dir);
    }
    free(pid_path);
    return true;
}

static struct survey *survey_new(const char *pg_dir)
{
    struct survey *survey =
        mmap(NULL, sizeof(*survey), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (survey == MAP_FAILED)
        abort(); /* out of memory, as in acc_alloc */
    snprintf(survey->pg_dir, sizeof(survey->pg_dir), "%s", pg_dir);
    return survey;
}

bool cluster_kill_server(const struct owner *owner, const char *pg_dir, int number,
                         struct acc_error *err)
{
    struct survey *survey = survey_new(pg_dir);

    survey->number = number;
    bool ok = child_do(owner, survey_work, survey, err);
    munmap(survey, sizeof(*survey));
    return ok;
}

/* Looks until nobody is there. */
static bool wait_until_alone(const struct cluster *cluster, struct survey *survey,
                             struct acc_error *err)
{
    int64_t began_us = clock_us();
    bool is_told = false;

    for (;;) {
        int64_t waited_ms = (clock_us() - began_us) / 1000;

        survey->found = survey->leader = 0;
        if (!child_do(&cluster->owner, survey_work, survey, err))
            return false;
        if (survey->found == 0)
            return true;
        int pid = survey->leader != 0 ? survey->leader : survey->found;
        if (!is_told)
            log_debug("embedded", "waiting_for_server_of_earlier_host=%d", pid);
        is_told = true;
        if (waited_ms > (survey->is_stopping ? ORPHAN_STOPPING_MS : ORPHAN_WAIT_MS))
            return acc_fail(
                err, ACC_ESYS,
                "a PostgreSQL server (pid %d) that this host did not start still runs on \"%s\" "
                "after %lld ms: wait for it to end, or stop it with kill -INT %d",
                pid, cluster->pg_dir, (long long)waited_ms, pid);
        if (is_stop_wanted())
            return acc_fail(err, ACC_ESYS,
                            "told to stop while waiting for the server of an earlier host (pid %d)",
                            pid);
        sleep_ms(ORPHAN_POLL_MS);
    }
}

bool cluster_wait_for_orphans(const struct cluster *cluster, struct acc_error *err)
{
    struct survey *survey = survey_new(cluster->pg_dir);

    snprintf(survey->socket_lock, sizeof(survey->socket_lock), "%s/.s.PGSQL.5432.lock",
             cluster->socket_dir);
    survey->number = SIGQUIT; /* as the dead postmaster would: they only hold its memory */
    survey->spares_led = true;
    survey->removes_stale = true;
    bool ok = wait_until_alone(cluster, survey, err);
    munmap(survey, sizeof(*survey));
    return ok;
}
