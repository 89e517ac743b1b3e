/* Errors: one shape, filled where the failure is understood, passed up untouched. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACC_MUST_CHECK __attribute__((warn_unused_result))
#define ACC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum acc_code {
    ACC_OK = 0,
    ACC_EINPUT, /* a value, file or argument from outside is wrong: say which and what was wanted */
    ACC_ECONFLICT, /* run the whole transaction again (SQLSTATE 40001, 40P01, 23505) */
    ACC_ESTALE, /* what we hold is out of date (routing changed, packets gone): drop it, read again */
    ACC_ELOST,  /* the connection to the database is gone, or its outcome unknown */
    ACC_EDB,    /* the database refused a statement */
    ACC_ELUA,   /* Lua code raised */
    ACC_ELIMIT, /* a stated limit was reached; the text holds the number */
    ACC_ESYS,   /* the operating system refused */
};

/* Filled once by acc_fail or its kin. Owned by the caller, usually on its stack. */
struct acc_error {
    enum acc_code code;
    char sqlstate[6]; /* "" unless the database spoke */
    char text[2048];  /* one sentence, lower case, no full stop */
};

/* Fills err (NULL is allowed) and returns false, so that `return acc_fail(...)` reads well. */
bool acc_fail(struct acc_error *err, enum acc_code code, const char *fmt, ...) ACC_PRINTF(3, 4);

/* As acc_fail with ACC_ESYS; appends ": " and the text of errno. */
bool acc_fail_errno(struct acc_error *err, const char *fmt, ...) ACC_PRINTF(2, 3);

/* Puts "prefix: " before the text of a filled err; returns false. */
bool acc_fail_prefix(struct acc_error *err, const char *fmt, ...) ACC_PRINTF(2, 3);

/* malloc, calloc, realloc, strdup that end the process with a message when memory is out. */
void *acc_alloc(uint64_t bytes);
void *acc_zalloc(uint64_t bytes);
void *acc_realloc(void *old, uint64_t bytes);
char *acc_strdup(const char *text);
char *acc_format(const char *fmt, ...) ACC_PRINTF(1, 2); /* caller frees */
