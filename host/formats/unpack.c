#include "formats/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define CHUNK_BYTES (128 << 10)
#define MAGIC_BYTES 4
#define GZIP_WINDOW (15 + 16) /* zlib's way to say: gzip, and no other wrapping */

enum packing { UNKNOWN, PLAIN, GZIP, ZSTD };

struct unpack {
    int fd;
    enum packing packing;
    int64_t bytes;   /* read from fd */
    bool is_end;     /* fd has no more */
    bool is_between; /* a packed part has ended, none has begun */
    z_stream gzip;
    ZSTD_DStream *zstd;
    size_t at, count; /* what is left in chunk */
    char chunk[CHUNK_BYTES];
};

struct unpack *unpack_new(int fd)
{
    struct unpack *unpack = acc_zalloc(sizeof(*unpack));

    unpack->fd = fd;
    unpack->is_between = true;
    return unpack;
}

void unpack_free(struct unpack *unpack)
{
    if (unpack == NULL)
        return;
    if (unpack->packing == GZIP)
        inflateEnd(&unpack->gzip);
    ZSTD_freeDStream(unpack->zstd);
    free(unpack);
}

int64_t unpack_bytes(const struct unpack *unpack)
{
    return unpack->bytes;
}

bool unpack_is_packed(const struct unpack *unpack)
{
    return unpack->packing > PLAIN;
}

/* Reads on behind what is left in the chunk. */
static bool fill(struct unpack *unpack, struct acc_error *err)
{
    ssize_t got;

    memmove(unpack->chunk, unpack->chunk + unpack->at, unpack->count);
    unpack->at = 0;
    do {
        got = read(unpack->fd, unpack->chunk + unpack->count, CHUNK_BYTES - unpack->count);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return acc_fail_errno(err, "cannot read");
    unpack->is_end = got == 0;
    unpack->bytes += got;
    unpack->count += (size_t)got;
    return true;
}

/* By the first bytes of the file, and then it is set up. */
static bool find_packing(struct unpack *unpack, struct acc_error *err)
{
    while (unpack->count < MAGIC_BYTES && !unpack->is_end)
        if (!fill(unpack, err))
            return false;
    if (unpack->count >= 3 && memcmp(unpack->chunk, "\x1f\x8b\x08", 3) == 0) {
        unpack->packing = GZIP;
        if (inflateInit2(&unpack->gzip, GZIP_WINDOW) != Z_OK)
            abort(); /* out of memory, or another zlib than we were built with */
    } else if (unpack->count >= 4 && memcmp(unpack->chunk, "\x28\xb5\x2f\xfd", 4) == 0) {
        unpack->packing = ZSTD;
        unpack->zstd = ZSTD_createDStream();
        if (unpack->zstd == NULL)
            abort();
    } else {
        unpack->packing = PLAIN;
    }
    return true;
}

static ptrdiff_t take_plain(struct unpack *unpack, char *data, size_t size)
{
    size_t taken = unpack->count < size ? unpack->count : size;

    memcpy(data, unpack->chunk + unpack->at, taken);
    unpack->at += taken;
    unpack->count -= taken;
    return (ptrdiff_t)taken;
}

/* Unpacks what is in the chunk: how many bytes came of it, perhaps none yet. */
static ptrdiff_t take_gzip(struct unpack *unpack, char *data, size_t size, struct acc_error *err)
{
    z_stream *gzip = &unpack->gzip;

    if (unpack->is_between)
        inflateReset(gzip);
    gzip->next_in = (Bytef *)unpack->chunk + unpack->at;
    gzip->avail_in = (uInt)unpack->count;
    gzip->next_out = (Bytef *)data;
    gzip->avail_out = (uInt)size;
    int result = inflate(gzip, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        acc_fail(err, ACC_EINPUT, "damaged gzip data: %s",
                 gzip->msg == NULL ? "unknown" : gzip->msg);
        return -1;
    }
    unpack->is_between = result == Z_STREAM_END;
    unpack->at += unpack->count - gzip->avail_in;
    unpack->count = gzip->avail_in;
    return (ptrdiff_t)(size - gzip->avail_out);
}

static ptrdiff_t take_zstd(struct unpack *unpack, void *data, size_t size, struct acc_error *err)
{
    ZSTD_inBuffer in = {unpack->chunk + unpack->at, unpack->count, 0};
    ZSTD_outBuffer out = {data, size, 0};
    size_t result = ZSTD_decompressStream(unpack->zstd, &out, &in);

    if (ZSTD_isError(result)) {
        acc_fail(err, ACC_EINPUT, "damaged zstd data: %s", ZSTD_getErrorName(result));
        return -1;
    }
    unpack->is_between = result == 0;
    unpack->at += in.pos;
    unpack->count -= in.pos;
    return (ptrdiff_t)out.pos;
}

ptrdiff_t unpack_read(void *context, char *data, size_t size, struct acc_error *err)
{
    struct unpack *unpack = context;

    size = size > INT32_MAX ? INT32_MAX : size;
    if (unpack->packing == UNKNOWN && !find_packing(unpack, err))
        return -1;
    for (;;) {
        ptrdiff_t got = 0;

        /* At the end it is tried once more without input: the last bytes may still wait inside. */
        if (unpack->packing == PLAIN)
            got = take_plain(unpack, data, size);
        else if (unpack->count > 0 || !unpack->is_between)
            got = unpack->packing == GZIP ? take_gzip(unpack, data, size, err)
                                          : take_zstd(unpack, data, size, err);
        if (got != 0)
            return got;
        if (unpack->is_end && unpack->count == 0 &&
            (unpack->is_between || unpack->packing == PLAIN))
            return 0;
        if (unpack->is_end && unpack->count == 0) {
            acc_fail(err, ACC_EINPUT, "the packed data is cut: it ends in the middle");
            return -1;
        }
        if (unpack->count < CHUNK_BYTES && !unpack->is_end && !fill(unpack, err))
            return -1;
    }
}
