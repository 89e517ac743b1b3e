#include "base/hash.h"

#include "accrete/hot.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static EVP_MD_CTX *
    context; /* keeps the fetched digest, so that a call need not look it up again (3 times faster) */

static EVP_MD_CTX *sha256_begin(void)
{
    if (context != NULL && EVP_DigestInit_ex2(context, NULL, NULL) == 1)
        return context;
    EVP_MD_CTX_free(context);
    context = EVP_MD_CTX_new();
    EVP_MD *digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool ok = context != NULL && digest != NULL && EVP_DigestInit_ex2(context, digest, NULL) == 1;
    EVP_MD_free(digest);
    return ok ? context : NULL;
}

void sha256(const void *data, size_t bytes, uint8_t out[SHA256_BYTES])
{
    EVP_MD_CTX *ctx = sha256_begin();

    if (ctx == NULL || EVP_DigestUpdate(ctx, data, bytes) != 1 ||
        EVP_DigestFinal_ex(ctx, out, NULL) != 1) {
        fputs("accrete: libcrypto has no SHA-256\n", stderr);
        abort();
    }
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline uint64_t sip_end(uint64_t v[4])
{
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void siphash128(const uint64_t key[2], const uint64_t *words, size_t count, uint64_t out[2])
{
    uint64_t v[4] = {UINT64_C(0x736f6d6570736575) ^ key[0],
                     UINT64_C(0x646f72616e646f6d) ^ key[1] ^ 0xee,
                     UINT64_C(0x6c7967656e657261) ^ key[0], UINT64_C(0x7465646279746573) ^ key[1]};

    for (size_t i = 0; i <= count; i++) {
        uint64_t word = i < count ? words[i] : (uint64_t)(8 * count) << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xee;
    out[0] = sip_end(v);
    v[1] ^= 0xdd;
    out[1] = sip_end(v);
}

void hex_encode(const void *data, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;

    for (size_t i = 0; i < bytes; i++) {
        *out++ = digits[from[i] >> 4];
        *out++ = digits[from[i] & 15];
    }
    *out = '\0';
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool hex_decode(const char *hex, size_t digits, void *out)
{
    uint8_t *to = out;

    if (digits % 2 != 0)
        return false;
    for (size_t i = 0; i < digits; i += 2) {
        int high = digit_value(hex[i]);
        int low = digit_value(hex[i + 1]);

        if (high < 0 || low < 0)
            return false;
        *to++ = (uint8_t)(high << 4 | low);
    }
    return true;
}

uint64_t acc_hash64(const void *data, uint64_t size)
{
    return XXH3_64bits(data, size);
}
