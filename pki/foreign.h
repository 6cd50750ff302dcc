/*
 * Authorities of others and the certificates that they issued: what lets a
 * workload that has such a certificate enroll. RSA is taken here as well, of
 * 2048 bits at least. docs/protocol.md, "Enrollment".
 *
 * A foreign certificate is never a certificate of the fabric: it proves who
 * asks, once, and Weft issues its own leaf.
 */
#ifndef PKI_FOREIGN_H
#define PKI_FOREIGN_H

#include "pki/key.h"
#include "proto/wire/limits.h"
#include <stdint.h>

#define PKI_LABEL_FOREIGN "weft-foreign-1"
#define PKI_FOREIGN_NAME_MAX 256u

/* What an authority's certificate says. */
struct pki_foreign_ca {
    char subject[PKI_FOREIGN_NAME_MAX]; /* for display: printable, cut */
    uint64_t not_before, not_after;     /* wall ms */
};

/*
 * One PEM block, checked as an authority: version 3, CA flag, keyCertSign,
 * P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits, valid now. Its DER is
 * appended. WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_ELIMIT.
 */
weft_err pki_foreign_ca_from_pem(wf_span pem, uint64_t now, wf_buf *der, wf_why *why);
weft_err pki_foreign_ca_read(wf_span der, uint64_t now, struct pki_foreign_ca *out, wf_why *why);
/* Whether signature is one of these bytes by the key of this certificate. WEFT_ECREDENTIAL. */
weft_err pki_foreign_verify(wf_span der, wf_span bytes, wf_span signature, wf_why *why);

/* Who a foreign leaf speaks for. A name that is absent is ""; there is never more than one. */
struct pki_foreign_leaf {
    char cn[PKI_FOREIGN_NAME_MAX], san_uri[PKI_FOREIGN_NAME_MAX], san_dns[PKI_FOREIGN_NAME_MAX];
    char serial[2 * 20 + 1]; /* lower-case hex */
    uint8_t certificate[32]; /* SHA-256 over issuer and serial number */
    pki_pin pin;             /* of its key */
    uint64_t not_after;      /* the earliest end in the whole chain, wall ms */
};
/*
 * Checks a presented chain, leaf first, against one authority (its DER) and
 * nothing else: X509_STRICT, purpose TLS client, depth and sizes, times. Names
 * with bytes that aren't printable ASCII, two common names, or two SANs of one
 * kind are refused. WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_ELIMIT.
 */
weft_err pki_foreign_check(wf_span ca, const wf_span *chain, size_t count, uint64_t now,
                           struct pki_foreign_leaf *out, wf_why *why);

/*
 * What the leaf's key signs: label || 0 || SHA-256(subject) || SHA-256(csr) ||
 * exporter. subject is the token's text (enroll) or the CSR (renew), exporter
 * that of the channel.
 */
#define PKI_FOREIGN_BODY (sizeof PKI_LABEL_FOREIGN + 96)
void pki_foreign_body(wf_span subject, wf_span csr, const uint8_t exporter[32],
                      uint8_t out[PKI_FOREIGN_BODY]);

/* ---- who presents one */

typedef struct pki_foreign_key pki_foreign_key; /* private; wiped when freed */
/* PEM as OpenSSL writes it, unencrypted. WEFT_ECREDENTIAL. */
weft_err pki_foreign_key_from_pem(wf_span pem, pki_foreign_key **out, wf_why *why);
void pki_foreign_key_free(pki_foreign_key *key); /* NULL is fine */
/* SHA-256 with RSA PKCS#1 v1.5 or ECDSA (DER), or Ed25519; appended. */
weft_err pki_foreign_sign(const pki_foreign_key *key, wf_span bytes, wf_buf *signature);
/* 1 to WF_CHAIN_DEPTH certificates of PEM into ders (initialised), the first being key's. */
weft_err pki_foreign_chain_from_pem(wf_span pem, const pki_foreign_key *key,
                                    wf_buf ders[WF_CHAIN_DEPTH], size_t *count, wf_why *why);

#endif
