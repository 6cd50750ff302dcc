/*
 * Certificates of the fabric: names, chains, requests and their issue.
 * Whether a chain is to be believed is pki/trust.h's word alone.
 * docs/protocol.md, "Certificates".
 */
#ifndef PKI_CERT_H
#define PKI_CERT_H

#include "pki/key.h"
#include "proto/base/id.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

enum pki_kind { PKI_IDENTITY = 1, PKI_ROUTER = 2, PKI_CONTROLLER = 4 }; /* also used as a mask */

#define PKI_DOMAIN_MAX 128 /* bytes of a trust domain */
#define PKI_SPIFFE_MAX (9 + PKI_DOMAIN_MAX + 12 + WF_ID_TEXT)

/* Who a verified leaf speaks for. Filled by pki_trust_check_chain only. */
struct pki_subject {
    enum pki_kind kind;
    wf_id id;
    char domain[PKI_DOMAIN_MAX + 1];
    char name[WF_NAME_MAX + 1];     /* CN, for display */
    pki_pin pin;                    /* of the leaf's key */
    uint64_t not_before, not_after; /* wall ms */
};

/* "spiffe://domain/identity/<32 hex>"; returns buf. */
char *pki_spiffe_text(const char *domain, enum pki_kind kind, const wf_id *id,
                      char buf[PKI_SPIFFE_MAX]);
/* Exact form only: lower case, one kind, 32 hex digits, nothing behind. */
weft_err pki_spiffe_parse(const char *text, size_t len, char domain[PKI_DOMAIN_MAX + 1],
                          enum pki_kind *kind, wf_id *id);
/* 1..128 bytes of [a-z0-9.-], no leading or trailing separator. */
weft_err pki_domain_check(const char *domain, size_t len, wf_why *why);

/* A parsed chain: the leaf and its intermediates, unverified until trust says so. */
typedef struct pki_chain pki_chain;
/* Sizes and count are capped before parsing. WEFT_ECREDENTIAL, WEFT_ELIMIT. */
weft_err pki_chain_from_der(const wf_span *certs, size_t count, pki_chain **out, wf_why *why);
weft_err pki_chain_from_pem(wf_span pem, pki_chain **out, wf_why *why);
pki_chain *pki_chain_dup(const pki_chain *chain); /* shares, counted; not thread safe */
void pki_chain_free(pki_chain *chain);
size_t pki_chain_count(const pki_chain *chain);
wf_span pki_chain_der(const pki_chain *chain, size_t i); /* valid as long as the chain */
weft_err pki_chain_put_pem(const pki_chain *chain, wf_buf *out);
/* The leaf's key, DER, valid as long as the chain. */
wf_span pki_chain_spki(const pki_chain *chain);
void pki_chain_pin(const pki_chain *chain, pki_pin *out);
/* Of the key of the authority that issued the leaf, if the chain shows it; else all zero. */
void pki_chain_issuer_pin(const pki_chain *chain, pki_pin *out);
/* Validity of the leaf as written, for display and renewal timing. */
void pki_chain_validity(const pki_chain *chain, uint64_t *not_before, uint64_t *not_after);

/* ---- issue (controller and tests) */

typedef struct pki_ca pki_ca; /* a CA's key and chain (itself first, root last or absent) */

/*
 * Authorities name their trust domain (URI spiffe://domain) and are back-dated
 * by the clock tolerance; an intermediate ends with its root at the latest.
 * WEFT_EINVAL, WEFT_EEXPIRED (the issuer has ended).
 */

weft_err pki_ca_new_root(const char *domain, enum pki_key_kind kind, uint64_t now, uint64_t life_ms,
                         pki_ca **out, wf_why *why);
/* An intermediate for one kind of leaf; it carries that kind's OID. */
weft_err pki_ca_new_intermediate(const pki_ca *root, enum pki_kind kind, uint64_t now,
                                 uint64_t life_ms, pki_ca **out, wf_why *why);
/* The key under passphrase (NULL: none), the chain as pki_ca_chain gave it. WEFT_ECREDENTIAL. */
weft_err pki_ca_from_pem(wf_span key_pem, const char *passphrase, wf_span chain_pem, pki_ca **out,
                         wf_why *why);
const pki_key *pki_ca_key(const pki_ca *ca);
const pki_chain *pki_ca_chain(const pki_ca *ca);
void pki_ca_free(pki_ca *ca);

struct pki_leaf {
    enum pki_kind kind;
    const char *domain;
    wf_id id;
    const char *name; /* CN */
    wf_span spki;     /* the subject's public key, DER */
    uint64_t not_before, not_after;
};
/*
 * Issues a leaf: the chain is the leaf and the intermediate, without the root.
 * It ends with its issuer at the latest: read the end from the chain.
 * WEFT_EINVAL: a kind or domain that is not the authority's, a bad name, no
 * time between; WEFT_ECREDENTIAL: the key; WEFT_EEXPIRED: the issuer.
 */
weft_err pki_ca_issue(const pki_ca *ca, const struct pki_leaf *leaf, pki_chain **out, wf_why *why);

/* ---- requests: PKCS#10 of which only the public key is taken */

weft_err pki_csr_make(const pki_key *key, wf_buf *der, wf_why *why);
/* Checks the self-signature and appends the public key's SPKI. WEFT_ECREDENTIAL. */
weft_err pki_csr_open(wf_span der, wf_buf *spki, wf_why *why);
/*
 * Proof of possession bound to a TLS channel: the signature over
 * SHA-256(subject) || exporter, label "weft-enroll-1" or "weft-renew-1".
 * subject is the token's text (enroll) or the CSR (renew).
 */
weft_err pki_proof_make(const pki_key *key, const char *label, wf_span subject,
                        const uint8_t exporter[32], wf_buf *proof);
weft_err pki_proof_check(wf_span spki, const char *label, wf_span subject,
                         const uint8_t exporter[32], wf_span proof);

#endif
