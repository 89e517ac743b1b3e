/* SHA-256 and hexadecimal. Not for passwords. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* SHA-256 of data. One context is kept for the process, so not from two threads at once. Ends the process when libcrypto fails. */
void sha256(const void *data, size_t bytes, uint8_t out[SHA256_BYTES]);

/* Writes 2 * bytes lower-case hex digits and a NUL to out. */
void hex_encode(const void *data, size_t bytes, char *out);

/* Reads digits hex digits of either case, an even number, into digits / 2 bytes. false: not hex; out is then undefined. */
bool hex_decode(const char *hex, size_t digits, void *out);
