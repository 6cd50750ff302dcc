/*
 * Enrollment tokens: JWT (RFC 7519) in compact form, EdDSA by an enrollment
 * key. One strict file: alg pinned, headers that name keys never obeyed,
 * duplicate claims, non-canonical base64 and extra fields in the header refused.
 */
#ifndef PKI_TOKEN_H
#define PKI_TOKEN_H

#include "pki/cert.h"
#include "proto/base/address.h"

enum pki_enroll_method { PKI_ENROLL_OTT = 1, PKI_ENROLL_OTTCA, PKI_ENROLL_CA, PKI_ENROLL_OIDC };

#define PKI_CONTROLLERS_MAX 8

struct pki_token {
    char issuer[PKI_DOMAIN_MAX + 1]; /* trust domain */
    char subject[PKI_SPIFFE_MAX];    /* the SPIFFE id to be */
    enum pki_kind kind;
    wf_id id;
    wf_id jti;       /* zero for join tokens */
    uint64_t expiry; /* wall ms */
    enum pki_enroll_method method;
    wf_address controllers[PKI_CONTROLLERS_MAX];
    size_t controller_count;
    pki_pin server_pins[WF_PINS_MAX];
    size_t server_pin_count;
    uint8_t bundle[32]; /* digest of the signed bundle */
    char name[WF_NAME_MAX + 1];
};

/* Appends the token's text. WEFT_EINVAL: no Ed25519 key, or what pki_token_read would refuse. */
weft_err pki_token_make(const pki_key *enrollment_key, const struct pki_token *token, wf_buf *out);
/*
 * Reads a token without checking its signature or its end: what the enrollee
 * does, who has no key yet. The text is exact: a file's last line end is the
 * caller's to cut off. WEFT_ECREDENTIAL.
 */
weft_err pki_token_read(const char *text, size_t len, struct pki_token *out, wf_why *why);
/*
 * Verifies, then reads: what the controller does. keys are the enrollment keys
 * (SPKI DER); others than Ed25519 are passed over. WEFT_ECREDENTIAL, WEFT_EEXPIRED.
 */
weft_err pki_token_verify(const char *text, size_t len, const wf_span *keys, size_t count,
                          uint64_t now, struct pki_token *out, wf_why *why);

#endif
