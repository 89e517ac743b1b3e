/* Packed files: whole, in parts, cut, damaged, followed by garbage, and far larger unpacked than packed. */
#include "check.h"

#include "base/buf.h"
#include "formats/unpack.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define SEVERAL_CHUNKS 700001 /* bytes; a chunk of unpack.c is 128 KiB */

enum packer { GZIP, ZSTD, PACKERS };

/* Appends data, packed as one part with a checksum. */
static void pack(enum packer packer, const void *data, size_t size, struct buf *out)
{
    size_t room = size + size / 100 + 1000;
    char *packed = acc_alloc(room);

    if (packer == GZIP) {
        z_stream gzip = {.next_in = (z_const Bytef *)data,
                         .avail_in = (uInt)size,
                         .next_out = (Bytef *)packed,
                         .avail_out = (uInt)room};
        assert_int_equal(deflateInit2(&gzip, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
        buf_add(out, packed, room - gzip.avail_out);
        deflateEnd(&gzip);
    } else {
        ZSTD_CCtx *zstd = ZSTD_createCCtx();
        assert_int_equal(ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1)), 0);
        size_t got = ZSTD_compress2(zstd, packed, room, data, size);
        assert_false(ZSTD_isError(got));
        buf_add(out, packed, got);
        ZSTD_freeCCtx(zstd);
    }
    free(packed);
}

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("unpack", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* Reads all of a file in pieces of step bytes; false with err. */
static bool unpack_all(const void *data, size_t size, size_t step, struct buf *out,
                       struct acc_error *err)
{
    int fd = file_of(data, size);
    struct unpack *unpack = unpack_new(fd);
    char *piece = acc_alloc(step);
    ptrdiff_t got;

    buf_reset(out);
    while ((got = unpack_read(unpack, piece, step, err)) > 0)
        buf_add(out, piece, (size_t)got);
    if (got == 0) {
        assert_int_equal(unpack_read(unpack, piece, step, err), 0); /* and it stays at the end */
        assert_int_equal(unpack_bytes(unpack), (int64_t)size);
    }
    unpack_free(unpack);
    free(piece);
    close(fd);
    return got == 0;
}

static void holds(const struct buf *packed, const void *data, size_t size)
{
    static const size_t steps[] = {1, 7, 4096, 1 << 20};
    struct buf out = {0};
    struct acc_error err;

    for (size_t i = size > 10000 ? 1 : 0; i < COUNT_OF(steps); i++) {
        if (!unpack_all(packed->data, packed->size, steps[i], &out, &err))
            fail_msg("%s", err.text);
        assert_int_equal(out.size, size);
        assert_memory_equal(size == 0 ? "" : out.data, size == 0 ? "" : data, size);
    }
    buf_clear(&out);
}

static void refused(const struct buf *packed, const char *words)
{
    struct buf out = {0};
    struct acc_error err;

    assert_false(unpack_all(packed->data, packed->size, 4096, &out, &err));
    assert_int_equal(err.code, ACC_EINPUT);
    if (strstr(err.text, words) == NULL)
        fail_msg("wanted \"%s\", got \"%s\"", words, err.text);
    buf_clear(&out);
}

/* Lines that pack neither to nothing nor not at all. Owned by the caller. */
static char *text_of(size_t size)
{
    char *text = acc_alloc(size + 40);
    uint32_t random = 1;

    for (size_t at = 0; at < size;) {
        random = random * 1664525 + 1013904223;
        at += (size_t)snprintf(text + at, 40, "{\"n\":%u}\n", random >> 8);
    }
    return text;
}

static void what_is_not_packed_comes_as_it_is(void **state)
{
    static const char *const texts[] = {"", "a", "\x1f\x8b", "\x28\xb5\x2f", "abcd", "{\"a\":1}\n"};
    char *text = text_of(SEVERAL_CHUNKS);
    struct buf plain = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        buf_reset(&plain);
        buf_text(&plain, texts[i]);
        holds(&plain, texts[i], strlen(texts[i]));
    }
    buf_reset(&plain);
    buf_add(&plain, text, SEVERAL_CHUNKS);
    holds(&plain, text, SEVERAL_CHUNKS);
    buf_clear(&plain);
    free(text);
}

static void packed_bytes_come_unpacked_whatever_the_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 9999, SEVERAL_CHUNKS};
    char *text = text_of(SEVERAL_CHUNKS);
    struct buf packed = {0};

    (void)state;
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            buf_reset(&packed);
            pack(packer, text, sizes[i], &packed);
            holds(&packed, text, sizes[i]);
        }
    }
    buf_clear(&packed);
    free(text);
}

static void parts_put_together_are_read_as_one(void **state)
{
    char *text = text_of(SEVERAL_CHUNKS);
    struct buf packed = {0};

    (void)state;
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        buf_reset(&packed);
        pack(packer, text, 0, &packed);
        pack(packer, text, 300000, &packed);
        pack(packer, text, 0, &packed);
        for (size_t at = 300000; at < 301000; at += 10)
            pack(packer, text + at, 10, &packed);
        pack(packer, text + 301000, SEVERAL_CHUNKS - 301000, &packed);
        pack(packer, text, 0, &packed);
        holds(&packed, text, SEVERAL_CHUNKS);
    }
    buf_clear(&packed);
    free(text);
}

static void wherever_it_is_cut_that_is_an_error(void **state)
{
    char *text = text_of(2000);
    struct buf whole = {0};
    struct buf cut = {0};
    size_t second;

    (void)state;
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        buf_reset(&whole);
        pack(packer, text, 1000, &whole);
        second = whole.size;
        pack(packer, text + 1000, 1000, &whole);
        for (size_t size = 4; size < whole.size; size++) {
            buf_reset(&cut);
            buf_add(&cut, whole.data, size);
            if (size == second)
                holds(&cut, text, 1000);
            else
                refused(&cut, "the packed data is cut");
        }
    }
    buf_clear(&whole);
    buf_clear(&cut);
    free(text);
}

static void garbage_behind_the_end_is_an_error(void **state)
{
    static const char *const garbage[] = {"\n", "x", "garbage, and more of it", "{\"n\":1}\n"};
    static const char zeros[100];
    struct buf packed = {0};
    size_t size;

    (void)state;
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        buf_reset(&packed);
        pack(packer, "text\n", 5, &packed);
        size = packed.size;
        for (size_t i = 0; i < COUNT_OF(garbage); i++) {
            packed.size = size;
            buf_text(&packed, garbage[i]);
            refused(&packed, strlen(garbage[i]) > 4 ? "damaged" : "");
        }
        packed.size = size;
        buf_add(&packed, zeros, sizeof(zeros));
        refused(&packed, "damaged");
        packed.size = size;
        pack(packer == GZIP ? ZSTD : GZIP, "text\n", 5, &packed);
        refused(&packed, "damaged");
    }
    buf_clear(&packed);
}

/* What the checksum does not cover (a time, a window's size) may change, the text may not. */
static void no_changed_bit_changes_the_text_in_silence(void **state)
{
    char *text = text_of(500);
    struct buf packed = {0};
    struct buf out = {0};
    struct acc_error err;
    size_t noticed = 0;

    (void)state;
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        buf_reset(&packed);
        pack(packer, text, 500, &packed);
        for (size_t bit = 32; bit < 8 * packed.size; bit++) {
            packed.data[bit / 8] ^= (char)(1 << bit % 8);
            if (!unpack_all(packed.data, packed.size, 4096, &out, &err)) {
                assert_int_equal(err.code, ACC_EINPUT);
                noticed++;
            } else {
                assert_int_equal(out.size, 500);
                assert_memory_equal(out.data, text, 500);
            }
            packed.data[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    assert_true(noticed > 1000);
    buf_clear(&packed);
    buf_clear(&out);
    free(text);
}

/* 256 MB of zeros; every read keeps to the room it was given, and what is held stays small. */
static void a_bomb_comes_piece_by_piece(void **state)
{
    const size_t size = 256 << 20;
    char *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char piece[65536 + 1];
    struct acc_error err;

    (void)state;
    assert_ptr_not_equal(zeros, MAP_FAILED);
    for (enum packer packer = GZIP; packer < PACKERS; packer++) {
        struct buf packed = {0};
        size_t total = 0;
        ptrdiff_t got;

        pack(packer, zeros, size, &packed);
        assert_true(packed.size < size / 500);
        int fd = file_of(packed.data, packed.size);
        struct mallinfo2 before = mallinfo2();
        struct unpack *unpack = unpack_new(fd);
        piece[sizeof(piece) - 1] = 'x';
        while ((got = unpack_read(unpack, piece, sizeof(piece) - 1, &err)) > 0) {
            struct mallinfo2 now = mallinfo2();

            assert_true(got < (ptrdiff_t)sizeof(piece));
            assert_int_equal(piece[sizeof(piece) - 1], 'x');
            assert_true(now.uordblks + now.hblkhd < before.uordblks + before.hblkhd + (16 << 20));
            total += (size_t)got;
        }
        assert_int_equal(got, 0);
        assert_int_equal(total, size);
        assert_true(unpack_is_packed(unpack));
        unpack_free(unpack);
        close(fd);
        buf_clear(&packed);
    }
    munmap(zeros, size);
}

static void a_frame_that_wants_very_much_memory_is_refused(void **state)
{
    /* Magic, no checksum, a window of 2 GiB, then one empty block. */
    static const char frame[] = {'\x28', '\xb5', '\x2f', '\xfd', 0, '\xa8', 1, 0, 0};
    struct buf packed = {0};

    (void)state;
    buf_add(&packed, frame, sizeof(frame));
    refused(&packed, "memory");
    packed.data[5] = '\x50'; /* 1 MiB */
    holds(&packed, "", 0);
    buf_clear(&packed);
}

static void what_cannot_be_read_is_said(void **state)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct unpack *unpack = unpack_new(fd);
    struct acc_error err;
    char byte;

    (void)state;
    assert_int_equal(unpack_read(unpack, &byte, 1, &err), -1);
    assert_int_equal(err.code, ACC_ESYS);
    unpack_free(unpack);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_packed_comes_as_it_is),
        cmocka_unit_test(packed_bytes_come_unpacked_whatever_the_sizes),
        cmocka_unit_test(parts_put_together_are_read_as_one),
        cmocka_unit_test(wherever_it_is_cut_that_is_an_error),
        cmocka_unit_test(garbage_behind_the_end_is_an_error),
        cmocka_unit_test(no_changed_bit_changes_the_text_in_silence),
        cmocka_unit_test(a_bomb_comes_piece_by_piece),
        cmocka_unit_test(a_frame_that_wants_very_much_memory_is_refused),
        cmocka_unit_test(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
