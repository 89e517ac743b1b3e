#include "http/internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

struct http_tls {
    SSL_CTX *context;
    char *certificate_file, *key_file;
};

static bool fail_ssl(struct acc_error *err, const char *file, const char *wanted)
{
    unsigned long code = ERR_get_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    ERR_clear_error();
    return acc_fail(err, ACC_EINPUT, "%s: wanted %s: %s", file, wanted,
                    reason != NULL ? reason : "unknown error");
}

static bool context_read(SSL_CTX *context, const struct http_tls *tls, struct acc_error *err)
{
    static const h2o_iovec_t http11[] = {{H2O_STRLIT("http/1.1")}, {NULL, 0}};

    ERR_clear_error();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* idle connections keep none */
    if (SSL_CTX_use_certificate_chain_file(context, tls->certificate_file) != 1)
        return fail_ssl(err, tls->certificate_file, "a PEM certificate chain");
    if (SSL_CTX_use_PrivateKey_file(context, tls->key_file, SSL_FILETYPE_PEM) != 1)
        return fail_ssl(err, tls->key_file, "the PEM key of the certificate");
    if (SSL_CTX_check_private_key(context) != 1)
        return fail_ssl(err, tls->key_file, "the key of the certificate");
    h2o_ssl_register_alpn_protocols(context, http11);
    return true;
}

bool http_tls_reload(struct http_tls *tls, struct acc_error *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        return acc_fail(err, ACC_ESYS, "cannot make a TLS context");
    if (!context_read(context, tls, err)) {
        SSL_CTX_free(context);
        return false;
    }
    SSL_CTX_free(tls->context);
    tls->context = context;
    return true;
}

struct http_tls *http_tls_new(const char *certificate_file, const char *key_file,
                              struct acc_error *err)
{
    struct http_tls *tls = acc_zalloc(sizeof(*tls));

    tls->certificate_file = acc_strdup(certificate_file);
    tls->key_file = acc_strdup(key_file);
    if (http_tls_reload(tls, err))
        return tls;
    http_tls_free(tls);
    return NULL;
}

void http_tls_free(struct http_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls->certificate_file);
    free(tls->key_file);
    free(tls);
}

SSL_CTX *tls_context(const struct http_tls *tls)
{
    return tls->context;
}
