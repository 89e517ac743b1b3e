#include "base/files.h"

#include <string.h>

const char *files_get(const char *name, size_t *size)
{
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        if (strcmp(file->name, name) == 0) {
            if (size != NULL)
                *size = file->size;
            return file->data;
        }
    }
    return NULL;
}
