/* Who runs the one benchmark of a machine and data directory: a locked file that says "PROCESS AUDIT HOST". */
#include "bench.h"

#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* What the file says; zeros for what it does not. */
struct signature {
    int pid;
    int64_t audit;
    int host;
};

static int open_lock(const char *data_dir, int flags)
{
    char *path = acc_format("%s/bench.lock", data_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);

    free(path);
    return fd;
}

static bool take(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static struct signature read_signature(int fd)
{
    struct signature signature = {0};
    char text[64] = "";
    char *at = text;

    if (pread(fd, text, sizeof(text) - 1, 0) > 0) {
        signature.pid = (int)strtol(at, &at, 10);
        signature.audit = strtoll(at, &at, 10);
        signature.host = (int)strtol(at, &at, 10);
    }
    return signature;
}

int bench_lock(const char *data_dir, struct acc_error *err)
{
    int fd = open_lock(data_dir, O_CREAT);

    if (fd < 0) {
        acc_fail_errno(err, "cannot open %s/bench.lock", data_dir);
        return -1;
    }
    if (take(fd))
        return fd;
    bool is_taken = errno == EWOULDBLOCK;
    int pid = read_signature(fd).pid;
    if (!is_taken)
        acc_fail_errno(err, "cannot lock bench.lock");
    else if (pid > 0)
        acc_fail(err, ACC_ESTALE, "a benchmark is running already, process %d", pid);
    else
        acc_fail(err, ACC_ESTALE, "a benchmark is running already");
    close(fd);
    return -1;
}

void bench_lock_sign(int fd, int64_t audit, pid_t host)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%d %" PRId64 " %d\n", (int)getpid(), audit, (int)host);

    if (pwrite(fd, text, (size_t)size, 0) == size)
        (void)!ftruncate(fd, size);
}

int bench_lock_left(const char *data_dir)
{
    int fd = open_lock(data_dir, 0);

    if (fd < 0 || (read_signature(fd).audit != 0 && take(fd) && read_signature(fd).audit != 0))
        return fd;
    close(fd);
    return -1;
}

bool bench_is_hosts(const char *data_dir)
{
    int fd = open_lock(data_dir, 0);

    if (fd < 0)
        return false;
    bool is = read_signature(fd).audit != 0 && !take(fd);
    close(fd);
    return is;
}

struct settling {
    int64_t audit;
    const char *result;
};

static bool settle(struct pg *pg, void *context, struct acc_error *err)
{
    const struct settling *settling = context;
    struct pg_args args = {0};

    pg_int8(&args, settling->audit);
    pg_text(&args, BENCH_RUNNING);
    pg_text(&args, settling->result);
    return pg_do(pg,
                 "UPDATE audit SET result = $3 WHERE id = $1::int8 AND act = 'bench' "
                 "AND result = $2",
                 &args, err);
}

bool bench_settle(struct pg *pg, int fd, pid_t host, struct acc_error *err)
{
    struct signature left = read_signature(fd);
    struct settling settling = {left.audit,
                                left.host == host ? "its process was killed" : BENCH_STOPPED};

    if (left.audit != 0 && !pg_write(pg, settle, &settling, err) && !pg_lacks_table(err))
        return false;
    bench_lock_sign(fd, 0, 0);
    return true;
}
