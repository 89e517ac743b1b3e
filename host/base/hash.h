/* SHA-256 and hexadecimal. Not for passwords. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/*
 * SHA-256 of data. One context is kept for the process, so not from two threads at once. Ends the
 * process when libcrypto fails.
 */
void sha256(const void *data, size_t bytes, uint8_t out[SHA256_BYTES]);

/*
 * SipHash-2-4 with 128 bits of result, of whole words: without the key nobody can make two inputs
 * agree. For inputs that stay in this process; the result depends on the machine's byte order.
 */
void siphash128(const uint64_t key[2], const uint64_t *words, size_t count, uint64_t out[2]);

/* Writes 2 * bytes lower-case hex digits and a NUL to out. */
void hex_encode(const void *data, size_t bytes, char *out);

/*
 * Reads digits hex digits of either case, an even number, into digits / 2 bytes. false: not hex;
 * out is then undefined.
 */
bool hex_decode(const char *hex, size_t digits, void *out);
