#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(struct acc_error *err, enum acc_code code, const char *fmt, va_list args)
{
    err->code = code;
    err->sqlstate[0] = '\0';
    vsnprintf(err->text, sizeof(err->text), fmt, args);
}

bool acc_fail(struct acc_error *err, enum acc_code code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, code, fmt, args);
        va_end(args);
    }
    return false;
}

bool acc_fail_errno(struct acc_error *err, const char *fmt, ...)
{
    int saved = errno;

    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, ACC_ESYS, fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(saved));
    }
    return false;
}

bool acc_fail_prefix(struct acc_error *err, const char *fmt, ...)
{
    if (err != NULL) {
        char old[sizeof(err->text)];
        va_list args;

        memcpy(old, err->text, sizeof(old));
        va_start(args, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, ": %s", old);
    }
    return false;
}

static void *must(void *memory, uint64_t bytes)
{
    if (memory == NULL && bytes != 0) {
        fprintf(stderr, "accrete: out of memory: wanted %llu bytes\n", (unsigned long long)bytes);
        abort();
    }
    return memory;
}

void *acc_alloc(uint64_t bytes)
{
    return must(malloc(bytes), bytes);
}

void *acc_zalloc(uint64_t bytes)
{
    return must(calloc(1, bytes), bytes);
}

void *acc_realloc(void *old, uint64_t bytes)
{
    return must(realloc(old, bytes), bytes);
}

char *acc_strdup(const char *text)
{
    return must(strdup(text), 1);
}

char *acc_format(const char *fmt, ...)
{
    char *out = NULL;
    va_list args;

    va_start(args, fmt);
    int n = vasprintf(&out, fmt, args);
    va_end(args);
    return must(n < 0 ? NULL : out, 1);
}
