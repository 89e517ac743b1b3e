/*
 * An app's hot paths in C: the sources in native/ become one shared library that Lua loads through
 * the FFI.
 */
#pragma once

#include "app.h"

/*
 * Compiles the C files of the app's native/ into DATA/native/app-HASH.so, where HASH stands for
 * sources, headers, compiler and flags; does nothing when it is there. The compiler is $CC or cc,
 * and what it says goes to stderr. *so_path (caller frees) is NULL when the app has no C.
 * ACC_EINPUT: the sources do not compile; ACC_ESYS: there is no compiler.
 */
bool native_build(const struct app *app, char **so_path, struct acc_error *err) ACC_MUST_CHECK;

/*
 * Whether each native/NAME.c agrees with the declarations that Lua gets from native/NAME.h, also
 * where it does not include it. What the compiler says goes to stderr. ACC_EINPUT, ACC_ESYS as
 * above.
 */
bool native_check(const struct app *app, struct acc_error *err) ACC_MUST_CHECK;

/* DATA/native; caller frees. */
char *native_dir(const struct app *app);
