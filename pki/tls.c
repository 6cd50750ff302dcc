/*
 * TLS 1.3 over two spans of memory. libssl reads from the span that was fed
 * last and writes straight into the owner's output.
 *
 * Happy path of a client: new, handshake (its hello goes out), feed and read
 * until it is up, read and write, shutdown. Of a server: new, feed and read
 * until it is up. With half_rtt a server may write as soon as its own flight
 * is out.
 *
 * Failure modes:
 * - The peer's certificate is refused: the verify callback keeps the error,
 *   libssl sends the alert that tells the peer why, read returns the error.
 * - Our certificate is refused: the alert comes late, when a client believes
 *   itself up; read maps it to the error that the peer meant.
 * - A record does not open, or something impossible comes in it: ETAMPERED.
 * - The peer drowns us: bytes before the handshake is done and messages of
 *   the handshake after it are counted and bounded.
 * Any failure is final: the same error again from every call.
 */
#include "pki/tls_inside.h"
#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define TLS_RECORD_PLAINTEXT 16384u
void pki_tls_on_message(int writing, int version, int type, const void *data, size_t len, SSL *ssl,
                        void *arg)
{
    pki_tls *tls = SSL_get_app_data(ssl);
    (void)version;
    (void)data;
    (void)len;
    (void)arg;
    pki_tls_pipe_count(&tls->pipe, writing, type);
}

/* ---- errors */

/* What the peer's alert says of us. RFC 8446 section 6. */
static weft_err from_alert(const pki_tls *tls, int alert, wf_why *why)
{
    /* Once we are up, who complains of the form of our records did not get what we sent. */
    bool of_form = alert == SSL_AD_UNEXPECTED_MESSAGE || alert == SSL_AD_PROTOCOL_VERSION;
    if (of_form && tls->state >= TLS_UP)
        alert = SSL_AD_BAD_RECORD_MAC;
    switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
        return wf_fail(why, WEFT_EEXPIRED, "the peer says that our certificate expired: renew it");
    case SSL_AD_CERTIFICATE_REVOKED:
        return wf_fail(why, WEFT_EREVOKED,
                       "the peer says that we are disabled or our key is revoked");
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
        return wf_fail(why, WEFT_ECREDENTIAL, "the peer does not accept our certificate");
    case SSL_AD_UNKNOWN_CA:
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the peer does not know the authority behind our certificate");
    case SSL_AD_CERTIFICATE_REQUIRED:
        return wf_fail(why, WEFT_ECREDENTIAL, "the peer demands a certificate and we showed none");
    case SSL_AD_NO_APPLICATION_PROTOCOL:
    case SSL_AD_PROTOCOL_VERSION:
        return wf_fail(why, WEFT_EVERSION, "the peer speaks no protocol of ours");
    case SSL_AD_BAD_RECORD_MAC:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_DECODE_ERROR:
    case SSL_AD_RECORD_OVERFLOW:
        return wf_fail(why, WEFT_ETAMPERED, "the peer can't open what we sent: it was altered");
    default:
        return wf_fail(why, WEFT_EPROTO, "the peer gave TLS up (%s)",
                       SSL_alert_desc_string_long(alert));
    }
}

static weft_err from_queue(const pki_tls *tls, wf_why *why)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    const char *text = ERR_reason_error_string(code);
    if (text == NULL)
        text = "no reason given";
    if (reason == ERR_R_MALLOC_FAILURE)
        return wf_fail(why, WEFT_ENOMEM, "no memory for TLS");
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        return from_alert(tls, reason - SSL_AD_REASON_OFFSET, why);
    if (tls->state >= TLS_UP || reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
        reason == SSL_R_DIGEST_CHECK_FAILED || reason == SSL_R_BAD_SIGNATURE)
        return wf_fail(why, WEFT_ETAMPERED, "a record was altered on its way (%s)", text);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return wf_fail(why, WEFT_ECREDENTIAL, "the peer shows no certificate");
    if (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_NO_APPLICATION_PROTOCOL)
        return wf_fail(why, WEFT_EVERSION, "the peer speaks no protocol of ours (%s)", text);
    if (reason == SSL_R_EXCESSIVE_MESSAGE_SIZE)
        return wf_fail(why, WEFT_ELIMIT, "a message of the peer's handshake is too large");
    return wf_fail(why, WEFT_EPROTO, "the peer broke TLS (%s)", text);
}

static weft_err fail(pki_tls *tls, weft_err err)
{
    tls->state = TLS_FAILED;
    tls->err = err;
    ERR_clear_error();
    return err;
}

static weft_err failed(const pki_tls *tls, wf_why *why)
{
    assert(tls->state == TLS_FAILED);
    return wf_fail(why, tls->err, "this TLS failed before: %s", weft_err_sentence(tls->err));
}

/*
 * After libssl returned without success: WEFT_OK if it only wants more input,
 * WEFT_EEOF on close_notify, else the connection has failed.
 */
static weft_err judge(pki_tls *tls, int ret, wf_why *why)
{
    int error = SSL_get_error(tls->ssl, ret);
    /* What our own callbacks decided says more than what libssl made of it. */
    if (tls->pipe.err != WEFT_OK)
        return fail(tls, tls->pipe.err);
    if (tls->verify_err != WEFT_OK)
        return fail(tls, tls->verify_err);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return WEFT_OK;
    case SSL_ERROR_ZERO_RETURN:
        if (tls->state < TLS_UP)
            return fail(tls, wf_fail(why, WEFT_EPROTO, "the peer closed within the handshake"));
        tls->state = TLS_ENDED;
        return WEFT_EEOF;
    case SSL_ERROR_SSL:
        return fail(tls, from_queue(tls, why));
    default:
        return fail(tls, wf_fail(why, WEFT_EINTERNAL, "TLS failed without a reason (%d)", error));
    }
}

/* ---- life */

weft_err pki_tls_new(pki_tls_ctx *ctx, const struct pki_tls_config *config, pki_tls **out)
{
    bool one = config->alpn != 0 && (config->alpn & (config->alpn - 1)) == 0;
    bool enrolls = config->alpn == PKI_ALPN_ENROLL;
    if (config->output == NULL || config->alpn == 0 || (config->alpn & ~15u) != 0 ||
        (config->side == PKI_CLIENT && !one) ||
        (ctx->trust == NULL && (config->side == PKI_SERVER || !enrolls)) ||
        (!ctx->has_key && (config->side == PKI_SERVER || !enrolls)))
        return WEFT_EINVAL;
    pki_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return WEFT_ENOMEM;
    tls->ctx = pki_tls_ctx_ref(ctx);
    tls->state = TLS_GREETING;
    tls->side = config->side;
    tls->half_rtt = config->half_rtt && config->side == PKI_SERVER;
    tls->alpn = config->alpn;
    tls->kinds = config->kinds;
    tls->rekey_records = config->rekey_records > 0 ? config->rekey_records : WF_REKEY_RECORDS;
    tls->pipe.output = config->output;
    tls->pipe.arg = config->arg;
    tls->pipe.other = "peer";
    tls->pipe.greeting_max = WF_HANDSHAKE_BYTES_MAX;
    if (config->peer_id != NULL) {
        tls->has_peer_id = true;
        tls->peer_id = *config->peer_id;
    }
    if (config->peer_pins != NULL) {
        tls->peer_pins = calloc(config->peer_pin_count + 1, sizeof *tls->peer_pins);
        if (tls->peer_pins == NULL)
            goto fail;
        memcpy(tls->peer_pins, config->peer_pins, config->peer_pin_count * sizeof *tls->peer_pins);
        tls->peer_pin_count = config->peer_pin_count;
    }
    tls->ssl = SSL_new(ctx->ssl_ctx);
    if (tls->ssl == NULL || !pki_tls_pipe_attach(&tls->pipe, tls->ssl))
        goto fail;
    SSL_set_app_data(tls->ssl, tls);
    /* Nothing between two ends of a session looks at TLS: no need to disguise it as 1.2. */
    if (config->alpn == PKI_ALPN_E2E)
        SSL_clear_options(tls->ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    if (config->side == PKI_SERVER) {
        SSL_set_accept_state(tls->ssl);
    } else {
        if (!pki_tls_offer(tls))
            goto fail;
        SSL_set_connect_state(tls->ssl);
    }
    *out = tls;
    return WEFT_OK;
fail:
    ERR_clear_error();
    pki_tls_free(tls);
    return WEFT_ENOMEM;
}

void pki_tls_free(pki_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    ERR_clear_error();
    if (tls->peer != NULL)
        pki_chain_free(tls->peer->chain);
    free(tls->peer);
    free(tls->peer_pins);
    pki_tls_ctx_unref(tls->ctx);
    free(tls);
}

void pki_tls_feed(pki_tls *tls, const uint8_t *data, size_t len)
{
    assert(tls->pipe.in_len == 0 || tls->state == TLS_FAILED || tls->state == TLS_ENDED);
    tls->pipe.in = data;
    tls->pipe.in_len = len;
}

/* ---- the handshake */

static weft_err send_close(pki_tls *tls)
{
    ERR_clear_error();
    int ret = SSL_shutdown(tls->ssl);
    if (ret < 0 && tls->pipe.err != WEFT_OK)
        return fail(tls, tls->pipe.err);
    ERR_clear_error();
    return WEFT_OK;
}

static weft_err come_up(pki_tls *tls, wf_why *why)
{
    bool must_know =
        tls->ctx->trust != NULL && (tls->side == PKI_CLIENT || tls->chosen != PKI_ALPN_ENROLL);
    /* Believed already, by the callbacks; asked again because everything rests on it. */
    if (SSL_version(tls->ssl) != TLS1_3_VERSION || tls->chosen == 0 ||
        (must_know && tls->peer == NULL))
        return fail(tls, wf_fail(why, WEFT_ECREDENTIAL, "TLS came up without proof of the peer"));
    tls->state = TLS_UP;
    tls->pipe.is_up = true;
    free(tls->peer_pins);
    tls->peer_pins = NULL;
    return tls->close_wanted ? send_close(tls) : WEFT_OK;
}

/* RFC 8446 section 4.2.10 turned round: libssl lets a server write early only after it has looked
 * for early data, of which there is none. */
static weft_err greet_half(pki_tls *tls, wf_why *why)
{
    uint8_t none[1];
    size_t got = 0;
    switch (SSL_read_early_data(tls->ssl, none, sizeof none, &got)) {
    case SSL_READ_EARLY_DATA_FINISH:
        tls->state = TLS_HALF;
        return WEFT_OK;
    case SSL_READ_EARLY_DATA_ERROR:
        return judge(tls, 0, why);
    default:
        return fail(tls, wf_fail(why, WEFT_EPROTO, "the peer sent early data"));
    }
}

static weft_err run_handshake(pki_tls *tls, wf_why *why)
{
    if (tls->state == TLS_GREETING && tls->half_rtt) {
        weft_err err = greet_half(tls, why);
        /* The owner may write now, before the rest of the handshake comes. */
        if (err != WEFT_OK || tls->state != TLS_HALF || tls->pipe.in_len == 0)
            return err;
    }
    int ret = SSL_do_handshake(tls->ssl);
    return ret == 1 ? come_up(tls, why) : judge(tls, ret, why);
}

weft_err pki_tls_handshake(pki_tls *tls, wf_why *why)
{
    if (tls->state == TLS_FAILED)
        return failed(tls, why);
    if (tls->state >= TLS_UP)
        return WEFT_OK;
    ERR_clear_error();
    tls->pipe.why = why;
    weft_err err = run_handshake(tls, why);
    tls->pipe.why = NULL;
    return err;
}

/* ---- data */

weft_err pki_tls_read(pki_tls *tls, uint8_t *buf, size_t cap, size_t *got, wf_why *why)
{
    assert(cap > 0);
    *got = 0;
    if (tls->state == TLS_ENDED)
        return WEFT_EEOF;
    weft_err err = pki_tls_handshake(tls, why);
    if (err != WEFT_OK || tls->state < TLS_UP)
        return err;
    size_t n = 0;
    ERR_clear_error();
    tls->pipe.why = why;
    int ret = SSL_read_ex(tls->ssl, buf, cap, &n);
    if (ret == 1)
        *got = n;
    else
        err = judge(tls, ret, why);
    tls->pipe.why = NULL;
    return err;
}

static bool write_record(pki_tls *tls, const uint8_t *data, size_t len, size_t *written)
{
    if (tls->state == TLS_HALF)
        return SSL_write_early_data(tls->ssl, data, len, written) == 1;
    if (tls->records >= tls->rekey_records) {
        if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
            return false;
        tls->records = 0;
    }
    tls->records++;
    return SSL_write_ex(tls->ssl, data, len, written) == 1;
}

/* Nothing that a peer can do: output refused, or libssl could not seal. */
static weft_err write_failed(const pki_tls *tls, wf_why *why)
{
    if (tls->pipe.err != WEFT_OK)
        return wf_fail(why, tls->pipe.err, "what TLS has to send was not taken");
    return pki_openssl_fail(why, WEFT_EINTERNAL, "TLS could not seal a record");
}

weft_err pki_tls_write(pki_tls *tls, const uint8_t *data, size_t len, wf_why *why)
{
    if (tls->state == TLS_FAILED)
        return failed(tls, why);
    if (!pki_tls_can_write(tls))
        return wf_fail(why, WEFT_EINVAL, "this TLS can't be written to now");
    ERR_clear_error();
    while (len > 0) {
        size_t written = 0, part = len < TLS_RECORD_PLAINTEXT ? len : TLS_RECORD_PLAINTEXT;
        if (!write_record(tls, data, part, &written) || written == 0)
            return fail(tls, write_failed(tls, why));
        data += written;
        len -= written;
    }
    return WEFT_OK;
}

bool pki_tls_can_write(const pki_tls *tls)
{
    return !tls->close_wanted &&
           (tls->state == TLS_HALF || tls->state == TLS_UP || tls->state == TLS_ENDED);
}

bool pki_tls_is_up(const pki_tls *tls)
{
    return tls->state == TLS_UP || tls->state == TLS_ENDED;
}

weft_err pki_tls_shutdown(pki_tls *tls)
{
    if (tls->state == TLS_FAILED)
        return tls->err;
    if (tls->close_wanted)
        return WEFT_OK;
    tls->close_wanted = true;
    /* libssl refuses within the handshake: then it goes out as soon as we are up. */
    return pki_tls_is_up(tls) ? send_close(tls) : WEFT_OK;
}

/* ---- what was agreed */

enum pki_alpn pki_tls_alpn(const pki_tls *tls)
{
    return pki_tls_is_up(tls) ? tls->chosen : 0;
}

const struct pki_subject *pki_tls_peer(const pki_tls *tls)
{
    /* Before we are up the chain may be verified, but not that the peer holds its key. */
    return pki_tls_is_up(tls) && tls->peer != NULL ? &tls->peer->subject : NULL;
}

const pki_chain *pki_tls_peer_chain(const pki_tls *tls)
{
    if (pki_tls_peer(tls) == NULL)
        return NULL;
    if (tls->peer->chain != NULL)
        return tls->peer->chain;
    /* libssl keeps the parsed certificates; a chain of ours is made for the few who ask. A client
     * finds the leaf among them, a server doesn't. */
    X509 *leaf = SSL_get0_peer_certificate(tls->ssl);
    STACK_OF(X509) *shown = SSL_get_peer_cert_chain(tls->ssl);
    STACK_OF(X509) *rest = shown == NULL ? NULL : sk_X509_dup(shown);
    if (rest != NULL && tls->side == PKI_CLIENT)
        (void)sk_X509_shift(rest);
    if (leaf != NULL && (rest != NULL || shown == NULL))
        (void)pki_chain_from_x509s(leaf, rest, &tls->peer->chain, NULL);
    sk_X509_free(rest);
    return tls->peer->chain;
}

weft_err pki_tls_export(pki_tls *tls, const char *label, wf_span context, uint8_t *out, size_t len)
{
    if (!pki_tls_is_up(tls))
        return WEFT_EINVAL;
    int ret = SSL_export_keying_material(tls->ssl, out, len, label, strlen(label), context.data,
                                         context.len, 1);
    ERR_clear_error();
    return ret == 1 ? WEFT_OK : WEFT_EINTERNAL;
}
