/* Bytes of a file, unpacked when it is gzip or zstd: its first bytes say so, not its name. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct unpack;

/* fd is borrowed. */
struct unpack *unpack_new(int fd);
void unpack_free(struct unpack *unpack);

/*
 * Reads at most size unpacked bytes into data (a lines_read_fn, an unpack being its context): how
 * many, 0 at the end, -1 with err: ACC_ESYS when reading failed, ACC_EINPUT when the packed bytes
 * are damaged or cut. Parts packed one by one and put together are read as one.
 */
ptrdiff_t unpack_read(void *context, char *data, size_t size, struct acc_error *err) ACC_MUST_CHECK;

/* Bytes taken from the file so far, which tell how far it is. */
int64_t unpack_bytes(const struct unpack *unpack);
/* Whether what was read so far was packed. */
bool unpack_is_packed(const struct unpack *unpack);
