/* What an HTTPS server shows: the operator's PEM, and libssl's settings for it. */
#include "pki/web_inside.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include <assert.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define WEB_CERT_MAX                                                                               \
    16384u /* DER of one certificate: public ones carry many names and receipts                    \
            */
#define WEB_CHAIN_MAX 8u
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

/* ---- the chain and its key, as an operator's files hold them */

static weft_err take_cert(wf_span der, X509 **out, wf_why *why)
{
    const unsigned char *at = der.data;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);
    if (x == NULL || at != der.data + der.len) {
        X509_free(x);
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "a certificate of the chain can't be read");
    }
    *out = x;
    return WEFT_OK;
}

/* Leaf first; the stack and what is in it are the caller's. */
static weft_err take_chain(wf_span pem, STACK_OF(X509) * *out, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    wf_buf der;
    X509 *x = NULL;
    weft_err err;
    STACK_OF(X509) *chain = sk_X509_new_null();
    wf_buf_init(&der, WEB_CERT_MAX);
    if (chain == NULL) {
        err = WEFT_ENOMEM;
        goto fail;
    }
    while ((err = pki_pem_next(&pem, label, &der, why)) == WEFT_OK) {
        if (strcmp(label, "CERTIFICATE") != 0) {
            err = wf_fail(why, WEFT_ECREDENTIAL,
                          "the certificate chain holds a PEM block %s: give only certificates",
                          label);
            goto fail;
        }
        if (sk_X509_num(chain) == (int)WEB_CHAIN_MAX) {
            err = wf_fail(why, WEFT_ELIMIT, "the chain has over %u certificates", WEB_CHAIN_MAX);
            goto fail;
        }
        err = take_cert(wf_span_of(der.data, der.len), &x, why);
        if (err != WEFT_OK)
            goto fail;
        if (sk_X509_push(chain, x) <= 0) {
            X509_free(x);
            err = WEFT_ENOMEM;
            goto fail;
        }
    }
    if (err != WEFT_ENOTFOUND)
        goto fail;
    if (sk_X509_num(chain) == 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate chain is empty");
        goto fail;
    }
    wf_buf_fini(&der);
    *out = chain;
    return WEFT_OK;
fail:
    wf_buf_fini(&der);
    sk_X509_pop_free(chain, X509_free);
    return err;
}

static bool is_private_key(const char *label)
{
    return strcmp(label, "PRIVATE KEY") == 0 || strcmp(label, "EC PRIVATE KEY") == 0 ||
           strcmp(label, "RSA PRIVATE KEY") == 0;
}

static weft_err check_key(EVP_PKEY *key, wf_why *why)
{
    char group[32] = "";
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return WEFT_OK;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
            (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0))
            return WEFT_OK;
        break;
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) >= RSA_BITS_MIN && EVP_PKEY_get_bits(key) <= RSA_BITS_MAX)
            return WEFT_OK;
        break;
    default:
        break;
    }
    return wf_fail(
        why, WEFT_ECREDENTIAL,
        "the private key is none of P-256, P-384, Ed25519 and RSA of %d to %d bits: use another",
        RSA_BITS_MIN, RSA_BITS_MAX);
}

static weft_err take_key(wf_span pem, EVP_PKEY **out, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    wf_buf der;
    EVP_PKEY *key = NULL;
    weft_err err;
    wf_buf_init(&der, WEB_CERT_MAX);
    /* Some tools write a block with the curve's name before the key. */
    do
        err = pki_pem_next(&pem, label, &der, why);
    while (err == WEFT_OK && strcmp(label, "EC PARAMETERS") == 0);
    if (err == WEFT_ENOTFOUND || (err == WEFT_OK && !is_private_key(label)))
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "there is no private key without a passphrase in the PEM of the key");
    if (err != WEFT_OK)
        goto out;
    const unsigned char *at = der.data;
    key = d2i_AutoPrivateKey(NULL, &at, (long)der.len);
    if (key == NULL) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the private key can't be read");
        goto out;
    }
    err = check_key(key, why);
    if (err == WEFT_OK) {
        *out = key;
        key = NULL;
    }
out:
    EVP_PKEY_free(key);
    wf_buf_wipe(&der);
    return err;
}

/* ---- libssl's settings */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const struct {
        enum pki_web_protocol protocol;
        const char *name;
        unsigned char len;
    } offers[] = {{PKI_WEB_HTTP2, "h2", 2}, {PKI_WEB_HTTP1, "http/1.1", 8}};
    pki_web_tls *tls = SSL_get_app_data(ssl);
    (void)arg;
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        wf_reader r;
        wf_span name;
        uint8_t len;
        wf_reader_init(&r, in, in_len);
        while (wf_get_u8(&r, &len) && wf_get_span(&r, len, &name)) {
            if (len != offers[i].len || memcmp(name.data, offers[i].name, len) != 0)
                continue;
            tls->protocol = offers[i].protocol;
            *out = name.data;
            *out_len = len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    tls->refused =
        wf_fail(tls->pipe.why, WEFT_EVERSION, "the client offers neither h2 nor http/1.1 (ALPN)");
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static weft_err web_ctx_make(wf_span chain_pem, wf_span key_pem, const pki_trust *trust,
                             SSL_CTX **out, wf_why *why)
{
    static const char ciphers[] =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    static char own[] = "ed25519:ECDSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA256:RSA-PSS+SHA384";
    static char theirs[] = "ed25519:ECDSA+SHA256:ECDSA+SHA384"; /* identities have no other keys */
    if (chain_pem.len > PKI_WEB_PEM_MAX || key_pem.len > PKI_WEB_PEM_MAX)
        return wf_fail(why, WEFT_ELIMIT, "a PEM file of over %u bytes", PKI_WEB_PEM_MAX);
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    SSL_CTX *ctx = NULL;
    X509 *leaf = NULL;
    weft_err err = take_chain(chain_pem, &chain, why);
    if (err == WEFT_OK)
        err = take_key(key_pem, &key, why);
    if (err != WEFT_OK)
        goto out;
    leaf = sk_X509_shift(chain);
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        err = pki_openssl_fail(why, WEFT_ENOMEM, "TLS");
        goto out;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, WF_CHAIN_MAX + 64);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_msg_callback(ctx, pki_web_on_message);
    /* Optional: who shows none is nobody; who shows one must be what it says. */
    SSL_CTX_set_verify(ctx, trust != NULL ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, pki_web_on_verify, NULL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set_recv_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, ciphers) != 1 || !pki_tls_set_groups(ctx) ||
        SSL_CTX_set1_sigalgs_list(ctx, own) != 1 ||
        SSL_CTX_set1_client_sigalgs_list(ctx, theirs) != 1)
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "this OpenSSL can't do TLS as Weft needs it");
    else if (SSL_CTX_use_certificate(ctx, leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1 ||
             SSL_CTX_check_private_key(ctx) != 1 || SSL_CTX_set1_chain(ctx, chain) != 1)
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the private key is not that of the chain's "
                               "first certificate");
    if (err == WEFT_OK) {
        *out = ctx;
        ctx = NULL;
    }
out:
    ERR_clear_error();
    SSL_CTX_free(ctx);
    X509_free(leaf);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return err;
}

/* ---- life */

static weft_err show(pki_web *web, wf_span chain_pem, wf_span key_pem, wf_why *why)
{
    SSL_CTX *next = NULL;
    uint64_t from, to;
    weft_err err = web_ctx_make(chain_pem, key_pem, web->trust, &next, why);
    if (err != WEFT_OK)
        return err;
    if (!pki_x509_validity(SSL_CTX_get0_certificate(next), &from, &to)) {
        SSL_CTX_free(next);
        return wf_fail(why, WEFT_ECREDENTIAL, "the certificate's times can't be read");
    }
    SSL_CTX_free(web->ssl_ctx); /* counted: connections that run keep it */
    web->ssl_ctx = next;
    web->not_before = from;
    web->not_after = to;
    return WEFT_OK;
}

weft_err pki_web_new(wf_span chain_pem, wf_span key_pem, pki_trust *trust, pki_web **out,
                     wf_why *why)
{
    pki_web *web = calloc(1, sizeof *web);
    if (web == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for TLS");
    web->refs = 1;
    if (trust != NULL)
        web->trust = pki_trust_ref(trust);
    weft_err err = show(web, chain_pem, key_pem, why);
    if (err != WEFT_OK) {
        pki_web_unref(web);
        return err;
    }
    *out = web;
    return WEFT_OK;
}

pki_web *pki_web_ref(pki_web *web)
{
    assert(web->refs > 0);
    web->refs++;
    return web;
}

void pki_web_unref(pki_web *web)
{
    if (web == NULL)
        return;
    assert(web->refs > 0);
    if (--web->refs > 0)
        return;
    SSL_CTX_free(web->ssl_ctx);
    pki_trust_unref(web->trust);
    free(web);
}

weft_err pki_web_replace(pki_web *web, wf_span chain_pem, wf_span key_pem, wf_why *why)
{
    return show(web, chain_pem, key_pem, why);
}

uint64_t pki_web_not_before(const pki_web *web)
{
    return web->not_before;
}

uint64_t pki_web_not_after(const pki_web *web)
{
    return web->not_after;
}
