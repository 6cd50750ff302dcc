/*
 * Renewal.
 *
 * Happy path: a request for the same key, with a proof bound to this very
 * TLS connection, is answered with a new chain, which is verified before
 * anybody uses it.
 *
 * - The leaf has expired: weft-renew/1, whose server forgives exactly that.
 * - The chain that comes names another identity or another key, or ends no
 *   later than ours: refused, the old one stays.
 */
#include "proto/link/renew.h"
#include "proto/base/clock.h"
#include "proto/link/ask.h"
#include "proto/link/enroll.h"
#include <string.h>

struct renewal {
    const struct pki_identity *identity; /* borrowed */
    const struct wf_foreign *foreign;    /* borrowed; NULL: none */
    wf_buf csr;                          /* owned */
    const pki_key *new_key;              /* borrowed; NULL: the key stays */
    wf_buf new_csr;                      /* owned */
};

static weft_err put_call(void *arg, wf_link *link, wf_buf *out, wf_why *why)
{
    const struct renewal *renewal = arg;
    Weft__Wire__RenewCall call;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    uint8_t exporter[32];
    wf_buf proof, foreign, new_proof;

    weft__wire__renew_call__init(&call);
    wf_buf_init(&proof, 256);
    wf_buf_init(&foreign, 2 * WF_SIGNATURE_MAX);
    wf_buf_init(&new_proof, 256);
    weft_err err = wf_link_export(link, "EXPORTER-weft-renew", exporter);
    if (err == WEFT_OK)
        err = pki_proof_make(renewal->identity->key, PKI_LABEL_RENEW,
                             wf_span_of(renewal->csr.data, renewal->csr.len), exporter, &proof);
    if (err == WEFT_OK && renewal->foreign != NULL) {
        const wf_span csr = wf_span_of(renewal->csr.data, renewal->csr.len);

        err = wf_foreign_put(renewal->foreign, csr, csr, exporter, certs, &foreign);
        call.foreign_chain = certs;
        call.n_foreign_chain = renewal->foreign->count;
        call.foreign_proof = wf_pb_bytes(foreign.data, foreign.len);
    }
    if (err == WEFT_OK) {
        call.csr = wf_pb_bytes(renewal->csr.data, renewal->csr.len);
        call.proof = wf_pb_bytes(proof.data, proof.len);
    }
    if (err == WEFT_OK && renewal->new_key != NULL) {
        wf_span csr = wf_span_of(renewal->new_csr.data, renewal->new_csr.len);
        err = pki_proof_make(renewal->new_key, PKI_LABEL_RENEW, csr, exporter, &new_proof);
        call.new_csr = wf_pb_bytes(csr.data, csr.len);
        call.new_proof = wf_pb_bytes(new_proof.data, new_proof.len);
    }
    if (err == WEFT_OK) {
        err = wf_message_put(&call.base, out);
    }
    if (err != WEFT_OK)
        (void)wf_fail(why, err, "the request can't be made: %s", weft_err_sentence((int)err));
    wf_buf_wipe(&proof);
    wf_buf_fini(&foreign);
    wf_buf_wipe(&new_proof);
    return err;
}

/* Takes the answer apart and believes nothing in it before it is verified. */
static weft_err verify(const struct wf_renew_config *config, pki_trust *trust, const wf_buf *answer,
                       pki_chain **chain, wf_buf *bundle, wf_why *why)
{
    const struct pki_identity *identity = config->identity;
    pki_trust *keep = config->trust;
    Weft__Wire__RenewResult *result = NULL;
    wf_span certs[WF_CHAIN_DEPTH];
    struct pki_subject subject;
    pki_chain *fresh = NULL;
    pki_pin pin;
    wf_buf newer;
    uint64_t from, until, old_until;
    bool changed = false;

    wf_buf_init(&newer, WF_BUNDLE_MAX);
    weft_err err = wf_renew_result_decode(answer->data, answer->len, &result, why);
    if (err != WEFT_OK)
        goto done;
    const uint64_t before = pki_trust_version(trust);
    err = pki_trust_follow(trust, result->bundles, result->n_bundles, NULL, why);
    if (err == WEFT_OK && result->bundle != NULL)
        err = pki_trust_follow(trust, &result->bundle, 1, NULL, why);
    if (err == WEFT_OK && keep != NULL) {
        err = pki_trust_follow(keep, result->bundles, result->n_bundles, NULL, why);
        if (err == WEFT_OK && result->bundle != NULL)
            err = pki_trust_follow(keep, &result->bundle, 1, NULL, why);
    }
    if (err == WEFT_OK && pki_trust_version(trust) > before) {
        changed = true;
        err = wf_buf_put(&newer, pki_trust_bundle(trust).data, pki_trust_bundle(trust).len);
    }
    if (err != WEFT_OK)
        goto done;
    if (result->n_chain == 0 || result->n_chain > WF_CHAIN_DEPTH) {
        err = wf_fail(why, WEFT_EPROTO, "%zu certificates came", result->n_chain);
        goto done;
    }
    for (size_t i = 0; i < result->n_chain; i++)
        certs[i] = wf_pb_span(result->chain[i]);
    err = pki_chain_from_der(certs, result->n_chain, &fresh, why);
    if (err == WEFT_OK)
        err = pki_trust_check_chain(trust, fresh, (unsigned)identity->kind, PKI_CLIENT, false,
                                    wf_now_wall_ms(), &subject, why);
    if (err != WEFT_OK)
        goto done;
    pki_key_pin(config->new_key != NULL ? config->new_key : identity->key, &pin);
    pki_chain_validity(fresh, &from, &until);
    pki_chain_validity(identity->chain, &from, &old_until);
    if (!wf_id_equal(&subject.id, &identity->id) || !pki_pin_equal(&subject.pin, &pin)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate that came is not for our id and key");
        goto done;
    }
    if (until < old_until) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate that came ends before ours");
        goto done;
    }
    if (changed && bundle != NULL) {
        err = wf_buf_put(bundle, newer.data, newer.len);
        if (err != WEFT_OK)
            goto done;
    }
    *chain = fresh;
    fresh = NULL;
done:
    if (err != WEFT_OK)
        (void)wf_wrap(why, err, "the controller's answer is refused");
    if (fresh != NULL)
        pki_chain_free(fresh);
    if (result != NULL)
        wf_renew_result_free(result);
    wf_buf_fini(&newer);
    return err;
}

weft_err wf_renew(const struct wf_renew_config *config, pki_chain **chain, wf_buf *bundle,
                  wf_why *why_out)
{
    const struct pki_identity *identity = config->identity;
    struct renewal renewal = {
        .identity = identity, .foreign = config->foreign, .new_key = config->new_key};
    uint64_t now = wf_now_wall_ms(), not_before, not_after;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    wf_buf answer;
    bool refused = false;
    wf_why text = {""}, *why = &text;

    size_t count =
        config->controllers != NULL ? config->controller_count : identity->controller_count;
    if (count == 0)
        return wf_fail(why_out, WEFT_EINVAL, "the identity names no controller to renew at");
    wf_buf_init(&renewal.csr, WF_CSR_MAX);
    wf_buf_init(&renewal.new_csr, WF_CSR_MAX);
    wf_buf_init(&answer, WF_CONTROL_MAX);
    weft_err err = pki_identity_open(identity, now, &trust, &tls, why);
    if (err != WEFT_OK)
        goto done;
    err = pki_csr_make(identity->key, &renewal.csr, why);
    if (err == WEFT_OK && config->new_key != NULL)
        err = pki_csr_make(config->new_key, &renewal.new_csr, why);
    if (err != WEFT_OK)
        goto done;
    pki_chain_validity(identity->chain, &not_before, &not_after);
    const struct wf_ask ask = {
        .tls = tls,
        .alpn = now < not_after ? PKI_ALPN_LINK : PKI_ALPN_RENEW,
        .controllers = config->controllers != NULL ? config->controllers : identity->controllers,
        .controller_count = count,
        .operation = "renew",
        .arguments = put_call,
        .arg = &renewal,
        .timeout_ms = config->timeout_ms,
    };
    err = wf_ask(&ask, &answer, &refused, why);
    if (err == WEFT_OK)
        err = verify(config, trust, &answer, chain, bundle, why);
    else if (err == WEFT_EEXPIRED)
        (void)wf_wrap(why, err, "the certificate expired too long ago, enroll again");
done:
    wf_buf_fini(&answer);
    wf_buf_fini(&renewal.csr);
    wf_buf_fini(&renewal.new_csr);
    if (tls != NULL)
        pki_tls_ctx_unref(tls);
    if (trust != NULL)
        pki_trust_unref(trust);
    if (err != WEFT_OK) /* memory fails without words */
        (void)wf_fail(why_out, err, "%s",
                      text.text[0] != '\0' ? text.text : weft_err_sentence((int)err));
    return err;
}
