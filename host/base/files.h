/*
 * Files of the repository that are built into the program: Lua modules, SQL, accrete/hot.h. CMake
 * generates the table.
 */
#pragma once

#include <stddef.h>

struct embedded_file {
    const char *name; /* path from the repository's root, "lua/accrete/json.lua" */
    const char *data; /* followed by a NUL that size does not count */
    size_t size;
};

/* Every file, sorted by name; ends with a NULL name. */
extern const struct embedded_file embedded_files[];

/* The bytes of a file, or NULL when there is none of that name. size may be NULL. Never freed. */
const char *files_get(const char *name, size_t *size);
