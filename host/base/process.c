#include "base/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int64_t process_resident(pid_t pid)
{
    char path[40];
    char text[128];
    char *at = text;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    strtoll(text, &at, 10); /* all of it, mapped or not */
    return strtoll(at, NULL, 10) * sysconf(_SC_PAGESIZE);
}
