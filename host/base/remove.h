/* Removing what lies in a directory, and never what a link in it points to. */
#pragma once

#include "base/error.h"

/*
 * Removes name in the directory that is open as at: a file, a link, or a folder with all that is in
 * it. That there is none is fine.
 */
bool remove_at(int at, const char *name, struct acc_error *err) ACC_MUST_CHECK;
