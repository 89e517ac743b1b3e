/* Arrays that grow. Out of memory is a result here, never an end of the process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes room for count elements of size bytes in *array, which has room for *room. Contents stay,
 * new room is not set. False if out of memory; then nothing has changed.
 */
bool memory_reserve(void **array, size_t *room, size_t count, size_t size);
