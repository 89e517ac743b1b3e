#include "lifecycle.h"

#include <string.h>

bool lifecycle_name_check(const char *what, const char *name, struct acc_error *err)
{
    if (!name_check(what, name, err))
        return false;
    return strcmp(name, LIFECYCLE_HOST) != 0 ||
           acc_fail(err, ACC_EINPUT,
                    "%s: \"%s\" names the host's own parts in benchmarks, choose another name",
                    what, name);
}

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

#define SAID_MAX 8

/* The line of text that names the same file, or NULL. */
static const char *line_of(const char *text, const char *line)
{
    size_t name = strcspn(line, " ") + 1;

    for (const char *at = text; *at != '\0'; at += strcspn(at, "\n") + 1) {
        if (strncmp(at, line, name) == 0)
            return at;
    }
    return NULL;
}

static void say(struct buf *out, size_t *said, const char *line, const char *what)
{
    if ((*said)++ < SAID_MAX)
        buf_printf(out, "%s%.*s %s", *said > 1 ? ", " : "", (int)strcspn(line, " "), line, what);
}

void program_say_differences(const struct program *program, const char *theirs, struct buf *out)
{
    const char *ours = program->files == NULL ? "" : program->files;
    size_t said = 0;

    for (const char *at = ours; *at != '\0'; at += strcspn(at, "\n") + 1) {
        const char *other = line_of(theirs, at);

        if (other == NULL)
            say(out, &said, at, "is only here");
        else if (strncmp(at, other, strcspn(at, "\n") + 1) != 0)
            say(out, &said, at, "differs");
    }
    for (const char *at = theirs; *at != '\0'; at += strcspn(at, "\n") + 1) {
        if (line_of(ours, at) == NULL)
            say(out, &said, at, "is not here");
    }
    if (said > SAID_MAX)
        buf_printf(out, " and %zu more", said - SAID_MAX);
}
