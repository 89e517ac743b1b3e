#include "embedded.h"

#include "base/clock.h"
#include "embedded_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_POLL_MS 10

static pid_t read_pid(int fd)
{
    char text[32];
    ssize_t got = pread(fd, text, sizeof(text) - 1, 0);

    if (got <= 0)
        return 0;
    text[got] = '\0';
    return (int)strtol(text, NULL, 10);
}

static bool write_pid(int fd, struct acc_error *err)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length)
        return acc_fail_errno(err, "cannot write the host's pid");
    return true;
}

/* Waits while the lock is held by children of a host that is gone. */
static bool take(int fd, const char *data_dir, int64_t wait_ms, struct acc_error *err)
{
    int64_t until_us = clock_us() + wait_ms * 1000;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return acc_fail_errno(err, "flock");
        pid_t holder = read_pid(fd);
        if (holder > 0 && process_lives(holder))
            return acc_fail(err, ACC_ESYS,
                            "another host (pid %d) runs on data directory \"%s\": stop it, or "
                            "choose another one (data.dir)",
                            (int)holder, data_dir);
        if (clock_us() >= until_us)
            return acc_fail(
                err, ACC_ESYS,
                "the host (pid %d) of data directory \"%s\" is gone, but a process that it left "
                "behind still holds host.lock after %lld ms: end it (fuser %s/host.lock names it)",
                (int)holder, data_dir, (long long)wait_ms, data_dir);
        sleep_ms(LOCK_POLL_MS);
    }
    return write_pid(fd, err);
}

int embedded_lock(const char *data_dir, int64_t wait_ms, struct acc_error *err)
{
    if (!make_directory(data_dir, err))
        return -1;

    char *path = acc_format("%s/host.lock", data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0) {
        acc_fail_errno(err, "cannot open \"%s\"", path);
    } else if (!take(fd, data_dir, wait_ms, err)) {
        close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

void embedded_lock_release_in_child(int fd)
{
    close(fd);
}
