/* Requests: of a PKCS#10 only the public key is taken; possession is proved beside it. */
#include "pki/cert.h"
#include "pki/internal.h"
#include <openssl/err.h>
#include <string.h>

weft_err pki_csr_make(const pki_key *key, wf_buf *der, wf_why *why)
{
    weft_err err;
    unsigned char *bytes = NULL;
    X509_REQ *request = X509_REQ_new();
    if (request == NULL || X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_pubkey(request, pki_key_evp(key)) != 1 ||
        X509_REQ_sign(request, pki_key_evp(key), pki_digest_of(pki_key_kind_of(key))) <= 0) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "a certificate request can't be made");
        goto out;
    }
    int len = i2d_X509_REQ(request, &bytes);
    if (len <= 0) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "a certificate request can't be written");
        goto out;
    }
    err = wf_buf_put(der, bytes, (size_t)len);
out:
    OPENSSL_free(bytes);
    X509_REQ_free(request);
    return err;
}

weft_err pki_csr_open(wf_span der, wf_buf *spki, wf_why *why)
{
    if (der.len == 0 || der.len > WF_CSR_MAX) {
        return wf_fail(why, WEFT_ECREDENTIAL, "a certificate request has 1 to %u bytes, this %zu",
                       WF_CSR_MAX, der.len);
    }
    weft_err err;
    uint8_t bytes[PKI_SPKI_MAX];
    enum pki_key_kind kind;
    const unsigned char *at = der.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
    if (request == NULL || at != der.data + der.len) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the certificate request can't be read");
        goto out;
    }
    X509_PUBKEY *key = X509_REQ_get_X509_PUBKEY(request);
    int len = i2d_X509_PUBKEY(key, NULL);
    unsigned char *to = bytes;
    if (len <= 0 || len > PKI_SPKI_MAX || i2d_X509_PUBKEY(key, &to) != len ||
        !pki_spki_kind(wf_span_of(bytes, (size_t)len), &kind)) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the request's key is not P-256, P-384 or Ed25519");
        goto out;
    }
    EVP_PKEY *evp = X509_REQ_get0_pubkey(request);
    if (evp == NULL || X509_REQ_verify(request, evp) != 1) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the request is not signed by the key that it names");
        goto out;
    }
    ERR_clear_error();
    err = wf_buf_put(spki, bytes, (size_t)len);
out:
    X509_REQ_free(request);
    return err;
}

/* SHA-256(subject) || exporter */
static wf_span proof_body(wf_span subject, const uint8_t exporter[32], uint8_t body[64])
{
    pki_sha256(subject.data, subject.len, body);
    memcpy(body + 32, exporter, 32);
    return wf_span_of(body, 64);
}

weft_err pki_proof_make(const pki_key *key, const char *label, wf_span subject,
                        const uint8_t exporter[32], wf_buf *proof)
{
    uint8_t body[64];
    return pki_key_sign(key, label, proof_body(subject, exporter, body), proof);
}

weft_err pki_proof_check(wf_span spki, const char *label, wf_span subject,
                         const uint8_t exporter[32], wf_span proof)
{
    uint8_t body[64];
    return pki_verify(spki, label, proof_body(subject, exporter, body), proof);
}
