/*
 * A server's side of one HTTPS connection over spans of memory, as pki/tls.c.
 *
 * Happy path: new, feed and read until it is up, read and write, shutdown.
 *
 * Failure modes:
 * - The client's certificate is refused: the verify callback keeps the error,
 *   libssl sends the alert that tells why, read returns the error.
 * - The client drowns us: bytes before the handshake is done and messages of
 *   the handshake after it are counted and bounded.
 * Any failure is final: the same error again from every call.
 */
#include "pki/web_inside.h"
#include "proto/base/clock.h"
#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>

#define WEB_GREETING_MAX 32768u /* bytes of a client's part of the handshake */
#define WEB_RECORD 16384u

/* ---- callbacks of libssl */

void pki_web_on_message(int writing, int version, int type, const void *data, size_t len, SSL *ssl,
                        void *arg)
{
    pki_web_tls *tls = SSL_get_app_data(ssl);
    (void)version, (void)data, (void)len, (void)arg;
    pki_tls_pipe_count(&tls->pipe, writing, type);
}

static weft_err check_client(pki_web_tls *tls, X509_STORE_CTX *store, int *x509_error)
{
    STACK_OF(X509) *certs = X509_STORE_CTX_get0_untrusted(store);
    struct pki_subject subject;
    if (tls->web->trust == NULL || certs == NULL || sk_X509_num(certs) < 1)
        return wf_fail(tls->pipe.why, WEFT_ECREDENTIAL,
                       "a client certificate that nobody asked for");
    weft_err err = pki_trust_check_x509s(tls->web->trust, certs, PKI_IDENTITY, PKI_CLIENT, false,
                                         wf_now_wall_ms(), &subject, x509_error, tls->pipe.why);
    if (err != WEFT_OK)
        return err;
    struct pki_subject *peer = malloc(sizeof *peer);
    if (peer == NULL) {
        *x509_error = X509_V_ERR_OUT_OF_MEM;
        return wf_fail(tls->pipe.why, WEFT_ENOMEM, "no memory to verify a certificate");
    }
    *peer = subject;
    free(tls->peer);
    tls->peer = peer;
    return WEFT_OK;
}

int pki_web_on_verify(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    pki_web_tls *tls = SSL_get_app_data(ssl);
    int x509_error = X509_V_ERR_CERT_REJECTED;
    weft_err err = check_client(tls, store, &x509_error);
    if (err == WEFT_OK) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    tls->refused = err;
    X509_STORE_CTX_set_error(store, x509_error);
    return 0;
}

/* ---- life */

weft_err pki_web_tls_new(pki_web *web, weft_err (*output)(void *arg, const uint8_t *, size_t),
                         void *arg, pki_web_tls **out)
{
    pki_web_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return WEFT_ENOMEM;
    tls->web = pki_web_ref(web);
    tls->pipe.output = output;
    tls->pipe.arg = arg;
    tls->pipe.other = "client";
    tls->pipe.greeting_max = WEB_GREETING_MAX;
    tls->protocol = PKI_WEB_HTTP1;
    tls->ssl = SSL_new(web->ssl_ctx);
    if (tls->ssl == NULL || !pki_tls_pipe_attach(&tls->pipe, tls->ssl)) {
        ERR_clear_error();
        pki_web_tls_free(tls);
        return WEFT_ENOMEM;
    }
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_accept_state(tls->ssl);
    *out = tls;
    return WEFT_OK;
}

void pki_web_tls_free(pki_web_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    ERR_clear_error();
    pki_web_unref(tls->web);
    free(tls->peer);
    free(tls);
}

void pki_web_tls_feed(pki_web_tls *tls, const uint8_t *data, size_t len)
{
    tls->pipe.in = data;
    tls->pipe.in_len = len;
}

wf_span pki_web_tls_left(const pki_web_tls *tls)
{
    return wf_span_of(tls->pipe.in, tls->pipe.in_len);
}

/* ---- errors */

static weft_err fail(pki_web_tls *tls, weft_err err)
{
    tls->state = WEB_FAILED;
    tls->err = err;
    tls->pipe.in_len = 0;
    ERR_clear_error();
    return err;
}

static weft_err from_queue(const pki_web_tls *tls, wf_why *why)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    const char *text = ERR_reason_error_string(code);
    if (text == NULL)
        text = "no reason given";
    if (reason == ERR_R_MALLOC_FAILURE)
        return wf_fail(why, WEFT_ENOMEM, "no memory for TLS");
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_APPLICATION_PROTOCOL)
        return wf_fail(why, WEFT_EVERSION, "the client has no TLS 1.3 (%s)", text);
    if (reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC)
        return wf_fail(why, WEFT_ETAMPERED, "a record was altered on its way (%s)", text);
    return wf_fail(why, WEFT_EPROTO, "TLS %s: %s",
                   tls->state == WEB_GREETING ? "did not come up" : "broke", text);
}

static weft_err judge(pki_web_tls *tls, int ret, wf_why *why)
{
    int error = SSL_get_error(tls->ssl, ret);
    if (tls->pipe.err != WEFT_OK)
        return fail(tls, tls->pipe.err);
    if (tls->refused != WEFT_OK)
        return fail(tls, tls->refused);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return WEFT_OK;
    case SSL_ERROR_ZERO_RETURN:
        if (tls->state == WEB_GREETING)
            return fail(tls, wf_fail(why, WEFT_EPROTO, "the client closed within the handshake"));
        tls->state = WEB_ENDED;
        return WEFT_EEOF;
    case SSL_ERROR_SSL:
        return fail(tls, from_queue(tls, why));
    default:
        return fail(tls, wf_fail(why, WEFT_EINTERNAL, "TLS failed without a reason (%d)", error));
    }
}

/* ---- data */

static weft_err greet(pki_web_tls *tls, wf_why *why)
{
    int ret = SSL_do_handshake(tls->ssl);
    if (ret != 1)
        return judge(tls, ret, why);
    /* Believed already; asked again because everything rests on it. */
    if (SSL_version(tls->ssl) != TLS1_3_VERSION || tls->refused != WEFT_OK ||
        (SSL_get0_peer_certificate(tls->ssl) != NULL) != (tls->peer != NULL))
        return fail(tls, wf_fail(why, WEFT_ECREDENTIAL, "TLS came up without proof of the client"));
    tls->state = WEB_UP;
    tls->pipe.is_up = true;
    return WEFT_OK;
}

weft_err pki_web_tls_read(pki_web_tls *tls, uint8_t *buf, size_t cap, size_t *got, wf_why *why)
{
    assert(cap > 0);
    weft_err err = WEFT_OK;
    *got = 0;
    if (tls->state == WEB_FAILED)
        return wf_fail(why, tls->err, "this TLS failed before");
    if (tls->state == WEB_ENDED)
        return WEFT_EEOF;
    ERR_clear_error();
    tls->pipe.why = why;
    if (tls->state == WEB_GREETING)
        err = greet(tls, why);
    if (err == WEFT_OK && tls->state == WEB_UP) {
        size_t n = 0;
        int ret = SSL_read_ex(tls->ssl, buf, cap, &n);
        if (ret == 1)
            *got = n;
        else
            err = judge(tls, ret, why);
    }
    tls->pipe.why = NULL;
    return err;
}

weft_err pki_web_tls_write(pki_web_tls *tls, const uint8_t *data, size_t len, wf_why *why)
{
    if (tls->state == WEB_FAILED)
        return wf_fail(why, tls->err, "this TLS failed before");
    if (tls->state == WEB_GREETING || tls->close_sent)
        return wf_fail(why, WEFT_EINVAL, "this TLS can't be written to now");
    ERR_clear_error();
    while (len > 0) {
        size_t written = 0, part = len < WEB_RECORD ? len : WEB_RECORD;
        if (SSL_write_ex(tls->ssl, data, part, &written) != 1 || written == 0) {
            weft_err err = tls->pipe.err != WEFT_OK
                               ? wf_fail(why, tls->pipe.err, "what TLS has to send was not taken")
                               : pki_openssl_fail(why, WEFT_EINTERNAL, "TLS could not seal");
            return fail(tls, err);
        }
        data += written;
        len -= written;
    }
    return WEFT_OK;
}

bool pki_web_tls_is_up(const pki_web_tls *tls)
{
    return tls->state == WEB_UP || tls->state == WEB_ENDED;
}

void pki_web_tls_shutdown(pki_web_tls *tls)
{
    if (!pki_web_tls_is_up(tls) || tls->close_sent)
        return;
    tls->close_sent = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

enum pki_web_protocol pki_web_tls_protocol(const pki_web_tls *tls)
{
    return tls->protocol;
}

const struct pki_subject *pki_web_tls_peer(const pki_web_tls *tls)
{
    return pki_web_tls_is_up(tls) ? tls->peer : NULL;
}
