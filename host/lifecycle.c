#include "lifecycle.h"

#include <string.h>

struct lifecycle *program_find(const struct program *program, const char *name)
{
    for (size_t i = 0; i < program->lifecycle_count; i++) {
        if (strcmp(program->lifecycles[i]->name, name) == 0)
            return program->lifecycles[i];
    }
    return NULL;
}

struct lifecycle *program_by_id(const struct program *program, int16_t id)
{
    for (size_t i = 0; i < program->lifecycle_count; i++) {
        if (program->lifecycles[i]->id == id)
            return program->lifecycles[i];
    }
    return NULL;
}
