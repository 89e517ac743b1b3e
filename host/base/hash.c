#include "base/hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

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
