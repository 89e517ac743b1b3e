/*
 * Generation: a snapshot of an app's modules in the data directory, checked, registered, and from
 * then on what workers load.
 */
#pragma once

#include "app.h"

/*
 * In a process of its own: copies kinds/, lifecycles/, lua/, native/, routes/ and the compiled
 * library, loads and checks them, brings the schema up to date, makes them the current generation.
 * With may_replace false only when there is none yet: else they must be those of the current one (schema_join).
 * *generation is its number. Errors name file and line.
 */
bool generation_prepare(struct app *app, const char *conninfo, bool may_replace,
                        int32_t *generation, struct acc_error *err) ACC_MUST_CHECK;

/* DATA/generations/N and its native libraries; caller frees. */
char *generation_dir(const struct app *app, int32_t generation);
char *generation_native_dir(const struct app *app, int32_t generation);
