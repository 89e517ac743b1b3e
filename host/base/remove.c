#include "base/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool remove_at(int at, const char *name, struct acc_error *err)
{
    bool ok = true;

    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return true;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        acc_fail_errno(err, "cannot remove \"%s\"", name);
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = remove_at(fd, entry->d_name, err);
    closedir(dir);
    return ok && (unlinkat(at, name, AT_REMOVEDIR) == 0 ||
                  acc_fail_errno(err, "cannot remove \"%s\"", name));
}
