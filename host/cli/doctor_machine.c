/* The doctor's checks of this machine: limits, memory, disk. */
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1024.0 * 1024.0)
#define FILES_PER_WORKER 16
#define FILES_BASE 256
#define DISK_FAIL_MIB 512.0
#define DISK_WARN_MIB 4096.0
#define SHM_WARN_MIB 64.0

static int64_t workers_of(const struct settings *settings)
{
    return settings->worker.count > 0 ? settings->worker.count : sysconf(_SC_NPROCESSORS_ONLN);
}

static void check_files(struct doctor *doctor)
{
    struct rlimit limit;
    uint64_t wanted = FILES_BASE + FILES_PER_WORKER * (uint64_t)workers_of(&doctor->app.settings);

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    bool is_enough = limit.rlim_cur >= wanted;
    doctor_say(doctor, "open files", is_enough ? GRADE_OK : GRADE_WARN,
               is_enough ? NULL : "raise it: ulimit -n, or LimitNOFILE= of the service",
               "%llu may be open, %llu are wanted", (unsigned long long)limit.rlim_cur,
               (unsigned long long)wanted);
}

/* A value of /proc/meminfo in bytes, 0 when it is not there. */
static double memory(const char *name)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    size_t size = strlen(name);
    double bytes = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, size) == 0 && line[size] == ':')
            bytes = strtod(line + size + 1, NULL) * 1024.0;
    if (file != NULL)
        fclose(file);
    return bytes;
}

static void check_memory(struct doctor *doctor)
{
    const struct settings *s = &doctor->app.settings;
    double available = memory("MemAvailable");
    double most = (double)workers_of(s) *
                  (double)(s->worker.seen_bytes + s->worker.mirror_bytes + s->queue.hold_bytes);
    double all = memory("MemTotal");
    bool is_much = all > 0 && most > all * 0.6;

    if (available <= 0)
        return;
    doctor_say(
        doctor, "memory", is_much || available < 256 * MIB ? GRADE_WARN : GRADE_OK,
        is_much                 ? "lower worker.seen, worker.mirror, queue.hold or worker.count"
        : available < 256 * MIB ? "end something else, or lower worker.seen and worker.count"
                                : NULL,
        "%.0f MiB are free of %.0f; workers may grow to %.0f in filters, mirrors and packets",
        available / MIB, all / MIB, most / MIB);
}

static void check_shm(struct doctor *doctor)
{
    struct statvfs fs;

    if (statvfs("/dev/shm", &fs) != 0) {
        doctor_say(doctor, "shared memory", GRADE_WARN, "mount /dev/shm",
                   "/dev/shm is not there; the private cluster does without, a little slower");
        return;
    }
    double free_mib = (double)fs.f_bavail * (double)fs.f_frsize / MIB;
    bool is_closed = access("/dev/shm", W_OK | X_OK) != 0;
    bool is_small = free_mib < SHM_WARN_MIB;

    doctor_say(doctor, "shared memory", is_closed || is_small ? GRADE_WARN : GRADE_OK,
               is_closed  ? "chmod 1777 /dev/shm"
               : is_small ? "make /dev/shm larger (in a container: --shm-size)"
                          : NULL,
               "/dev/shm has %.0f MiB free%s", free_mib,
               is_closed ? ", but may not be written" : "");
}

static void check_disk(struct doctor *doctor)
{
    struct statvfs fs;

    if (statvfs(doctor->app.data_dir, &fs) != 0)
        return;
    double free_mib = (double)fs.f_bavail * (double)fs.f_frsize / MIB;
    double part = fs.f_blocks == 0 ? 1 : (double)fs.f_bavail / (double)fs.f_blocks;
    bool is_private =
        doctor->app.settings.database.url == NULL && doctor->app.settings.database.url_file == NULL;
    enum grade grade = free_mib < DISK_FAIL_MIB                  ? GRADE_FAIL
                       : free_mib < DISK_WARN_MIB || part < 0.05 ? GRADE_WARN
                                                                 : GRADE_OK;

    if (!is_private && grade == GRADE_FAIL)
        grade = GRADE_WARN; /* only modules and logs are here */
    doctor_say(doctor, "disk", grade,
               grade == GRADE_OK ? NULL : "make room, or move the data directory (data.dir)",
               "%.0f MiB (%.0f %%) are free under the data directory", free_mib, part * 100);
    if (fs.f_files > 0 && fs.f_favail < 10000)
        doctor_say(doctor, "inodes", GRADE_WARN, "remove small files",
                   "%llu more files can be made under the data directory",
                   (unsigned long long)fs.f_favail);
}

void doctor_machine(struct doctor *doctor)
{
    check_disk(doctor);
    check_memory(doctor);
    check_files(doctor);
    check_shm(doctor);
}
