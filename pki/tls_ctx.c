/* What a node shows and whom it believes: libssl's settings and its callbacks. */
#include "pki/tls_inside.h"
#include "proto/base/clock.h"
#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* ---- ALPN */

static const struct {
    enum pki_alpn alpn;
    unsigned char len;
    const char *name;
} alpns[] = {
    {PKI_ALPN_LINK, 6, "weft/1"},
    {PKI_ALPN_E2E, 10, "weft-e2e/1"},
    {PKI_ALPN_ENROLL, 13, "weft-enroll/1"},
    {PKI_ALPN_RENEW, 12, "weft-renew/1"},
};
#define ALPN_COUNT (sizeof alpns / sizeof *alpns)

static enum pki_alpn alpn_find(const unsigned char *name, size_t len)
{
    for (size_t i = 0; i < ALPN_COUNT; i++)
        if (alpns[i].len == len && memcmp(alpns[i].name, name, len) == 0)
            return alpns[i].alpn;
    return 0;
}

bool pki_tls_offer(pki_tls *tls)
{
    for (size_t i = 0; i < ALPN_COUNT; i++) {
        unsigned char list[1 + 16];
        if (alpns[i].alpn != tls->alpn)
            continue;
        list[0] = alpns[i].len;
        memcpy(list + 1, alpns[i].name, alpns[i].len);
        return SSL_set_alpn_protos(tls->ssl, list, 1u + alpns[i].len) == 0; /* 0 is success here */
    }
    return false;
}

/* A client that offers no protocol at all never reaches the select callback: refused here. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *extension;
    size_t len;
    pki_tls *tls = SSL_get_app_data(ssl);
    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                                  &extension, &len) == 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    tls->verify_err =
        wf_fail(tls->pipe.why, WEFT_EVERSION, "the peer offers no protocol of ours (ALPN)");
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

/* The server's choice decides whether a certificate is asked for: each protocol but enrolment. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    pki_tls *tls = SSL_get_app_data(ssl);
    (void)arg;
    wf_reader r;
    wf_span name;
    uint8_t len;
    wf_reader_init(&r, in, in_len);
    while (wf_get_u8(&r, &len) && wf_get_span(&r, len, &name)) {
        enum pki_alpn alpn = alpn_find(name.data, name.len);
        if ((alpn & tls->alpn) == 0)
            continue;
        SSL_set_verify(ssl,
                       alpn == PKI_ALPN_ENROLL ? SSL_VERIFY_NONE
                                               : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
        tls->chosen = alpn;
        *out = name.data;
        *out_len = len;
        return SSL_TLSEXT_ERR_OK;
    }
    tls->verify_err = wf_fail(tls->pipe.why, WEFT_EVERSION,
                              "the peer offers no protocol that is served here (ALPN)");
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- the peer's certificate */

static bool pin_is_one_of(const pki_pin *pin, const pki_pin *pins, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pki_pin_equal(pin, &pins[i]))
            return true;
    return false;
}

static bool leaf_pin(X509 *leaf, pki_pin *out)
{
    uint8_t der[PKI_SPKI_MAX], *at = der;
    X509_PUBKEY *key = X509_get_X509_PUBKEY(leaf);
    int len = i2d_X509_PUBKEY(key, NULL);
    if (len <= 0 || len > PKI_SPKI_MAX || i2d_X509_PUBKEY(key, &at) != len)
        return false;
    pki_pin_of_spki(wf_span_of(der, (size_t)len), out);
    return true;
}

/* Enrolling: the token names the server's key, there is nothing else to go by yet. */
static weft_err check_server_pin(pki_tls *tls, X509 *leaf, int *x509_error)
{
    pki_pin pin;
    if (leaf_pin(leaf, &pin) &&
        pin_is_one_of(&pin, tls->ctx->server_pins, tls->ctx->server_pin_count))
        return WEFT_OK;
    *x509_error = X509_V_ERR_CERT_UNTRUSTED;
    return wf_fail(tls->pipe.why, WEFT_ECREDENTIAL,
                   "the controller's key is not one that the token names: nothing was sent to it");
}

static weft_err check_subject(pki_tls *tls, const struct pki_subject *s)
{
    if (tls->has_peer_id && !wf_id_equal(&tls->peer_id, &s->id)) {
        char text[WF_ID_TEXT];
        return wf_fail(tls->pipe.why, WEFT_ECREDENTIAL, "the peer is %s, not %s as expected",
                       s->name, wf_id_text(&tls->peer_id, text));
    }
    if (tls->peer_pins != NULL && !pin_is_one_of(&s->pin, tls->peer_pins, tls->peer_pin_count))
        return wf_fail(tls->pipe.why, WEFT_ECREDENTIAL, "%s shows another key than is known of it",
                       s->name);
    return WEFT_OK;
}

static weft_err check_peer(pki_tls *tls, X509_STORE_CTX *store, int *x509_error)
{
    STACK_OF(X509) *certs = X509_STORE_CTX_get0_untrusted(store);
    if (tls->side == PKI_CLIENT) {
        const unsigned char *name;
        unsigned len;
        SSL_get0_alpn_selected(tls->ssl, &name, &len);
        tls->chosen = alpn_find(name, len);
        if ((tls->chosen & tls->alpn) == 0) {
            *x509_error = X509_V_ERR_APPLICATION_VERIFICATION;
            return wf_fail(tls->pipe.why, WEFT_EVERSION,
                           "the peer speaks no protocol of ours (ALPN)");
        }
    }
    if (certs == NULL || sk_X509_num(certs) < 1)
        return wf_fail(tls->pipe.why, WEFT_ECREDENTIAL, "the peer shows no certificate");
    if (tls->ctx->server_pin_count > 0 && tls->side == PKI_CLIENT) {
        weft_err err = check_server_pin(tls, sk_X509_value(certs, 0), x509_error);
        if (err != WEFT_OK || tls->ctx->trust == NULL)
            return err;
    }

    struct tls_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        *x509_error = X509_V_ERR_OUT_OF_MEM;
        return wf_fail(tls->pipe.why, WEFT_ENOMEM, "no memory to verify a certificate");
    }
    bool forgive = tls->side == PKI_SERVER && tls->chosen == PKI_ALPN_RENEW;
    weft_err err = pki_trust_check_x509s(
        tls->ctx->trust, certs, tls->kinds, tls->side == PKI_CLIENT ? PKI_SERVER : PKI_CLIENT,
        forgive, wf_now_wall_ms(), &peer->subject, x509_error, tls->pipe.why);
    if (err == WEFT_OK) {
        err = check_subject(tls, &peer->subject);
        if (err != WEFT_OK)
            *x509_error = X509_V_ERR_CERT_REJECTED;
    }
    if (err != WEFT_OK) {
        free(peer);
        return err;
    }
    free(tls->peer);
    tls->peer = peer;
    return WEFT_OK;
}

static int on_verify(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    pki_tls *tls = SSL_get_app_data(ssl);
    int x509_error = X509_V_ERR_CERT_REJECTED;
    tls->verify_err = check_peer(tls, store, &x509_error);
    if (tls->verify_err == WEFT_OK) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    X509_STORE_CTX_set_error(store, x509_error);
    return 0;
}

/* ---- the context */

/*
 * The first list that the library at hand knows. OpenSSL 3.5 has the post-quantum hybrid and its
 * own marks: both shares are sent, so that an older peer needs no second hello, and the hybrid is
 * preferred. None is const, as libssl's macro casts that away.
 */
bool pki_tls_set_groups(SSL_CTX *ctx)
{
    static char lists[][40] = {"*X25519MLKEM768/*X25519:P-256", "X25519MLKEM768:X25519:P-256",
                               "X25519:P-256"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (SSL_CTX_set1_groups_list(ctx, lists[i]) == 1)
            return true;
    return false;
}

static weft_err show(SSL_CTX *ctx, const pki_key *key, const pki_chain *chain, wf_why *why)
{
    STACK_OF(X509) *rest = pki_chain_untrusted(chain);
    if (rest == NULL)
        return WEFT_ENOMEM;
    bool ok = SSL_CTX_use_certificate(ctx, pki_chain_x509(chain, 0)) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, pki_key_evp(key)) == 1 &&
              SSL_CTX_check_private_key(ctx) == 1 && SSL_CTX_set1_chain(ctx, rest) == 1;
    sk_X509_free(rest);
    return ok ? WEFT_OK
              : pki_openssl_fail(why, WEFT_ECREDENTIAL, "the key does not fit the certificate");
}

static weft_err ssl_ctx_make(const pki_key *key, const pki_chain *chain, SSL_CTX **out, wf_why *why)
{
    static const char ciphers[] =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    static char signatures[] = "ed25519:ECDSA+SHA256:ECDSA+SHA384";
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (ctx == NULL)
        return pki_openssl_fail(why, WEFT_ENOMEM, "TLS");
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_cert_list(ctx, WF_CHAIN_MAX + 64);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_msg_callback(ctx, pki_tls_on_message);
    weft_err err = WEFT_OK;
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set_recv_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, ciphers) != 1 || !pki_tls_set_groups(ctx) ||
        SSL_CTX_set1_sigalgs_list(ctx, signatures) != 1 ||
        SSL_CTX_set1_client_sigalgs_list(ctx, signatures) != 1)
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "this OpenSSL can't do TLS as Weft needs it");
    else if (key != NULL)
        err = show(ctx, key, chain, why);
    ERR_clear_error();
    if (err != WEFT_OK) {
        SSL_CTX_free(ctx);
        return err;
    }
    *out = ctx;
    return WEFT_OK;
}

weft_err pki_tls_ctx_new(const struct pki_tls_identity *identity, pki_tls_ctx **out, wf_why *why)
{
    if ((identity->key == NULL) != (identity->chain == NULL) ||
        (identity->trust == NULL && identity->server_pin_count == 0))
        return wf_fail(why, WEFT_EINVAL, "TLS needs a key with its chain, and something to trust");
    pki_tls_ctx *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for TLS");
    ctx->refs = 1;
    weft_err err = ssl_ctx_make(identity->key, identity->chain, &ctx->ssl_ctx, why);
    if (err != WEFT_OK)
        goto fail;
    ctx->has_key = identity->key != NULL;
    if (identity->server_pin_count > 0) {
        ctx->server_pins = calloc(identity->server_pin_count, sizeof *ctx->server_pins);
        if (ctx->server_pins == NULL) {
            err = WEFT_ENOMEM;
            goto fail;
        }
        memcpy(ctx->server_pins, identity->server_pins,
               identity->server_pin_count * sizeof *ctx->server_pins);
        ctx->server_pin_count = identity->server_pin_count;
    }
    if (identity->trust != NULL)
        ctx->trust = pki_trust_ref(identity->trust);
    *out = ctx;
    return WEFT_OK;
fail:
    pki_tls_ctx_unref(ctx);
    return err;
}

pki_tls_ctx *pki_tls_ctx_ref(pki_tls_ctx *ctx)
{
    assert(ctx->refs > 0);
    ctx->refs++;
    return ctx;
}

void pki_tls_ctx_unref(pki_tls_ctx *ctx)
{
    if (ctx == NULL)
        return;
    assert(ctx->refs > 0);
    if (--ctx->refs > 0)
        return;
    SSL_CTX_free(ctx->ssl_ctx);
    free(ctx->server_pins);
    pki_trust_unref(ctx->trust);
    free(ctx);
}

weft_err pki_tls_ctx_replace(pki_tls_ctx *ctx, const pki_key *key, const pki_chain *chain,
                             wf_why *why)
{
    SSL_CTX *next;
    weft_err err = ssl_ctx_make(key, chain, &next, why);
    if (err != WEFT_OK)
        return err;
    SSL_CTX_free(ctx->ssl_ctx); /* counted: connections that run keep it */
    ctx->ssl_ctx = next;
    ctx->has_key = true;
    return WEFT_OK;
}

pki_trust *pki_tls_ctx_trust(const pki_tls_ctx *ctx)
{
    return ctx->trust;
}
