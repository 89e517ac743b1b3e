#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

bool memory_reserve(void **array, size_t *room, size_t count, size_t size)
{
    size_t wanted = *room < 16 ? 16 : *room;

    if (count <= *room)
        return true;
    while (wanted < count) {
        if (wanted > SIZE_MAX / 2)
            return false;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / size)
        return false;

    void *grown = realloc(*array, wanted * size);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = wanted;
    return true;
}
