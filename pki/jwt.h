/*
 * Tokens of other issuers (OpenID Connect ID tokens): JWT (RFC 7519) in
 * compact form, verified against keys that an administrator configured. What
 * a header says of keys or addresses (jku, x5u, jwk, x5c) is refused, as is
 * whatever else isn't understood there. docs/protocol.md, "Enrollment".
 */
#ifndef PKI_JWT_H
#define PKI_JWT_H

#include "pki/jwks.h"
#include "proto/wire/limits.h"
#include <stdint.h>

#define PKI_JWT_HEADER_MAX 1024u
#define PKI_JWT_TOLERANCE_MS 60000u        /* between the issuer's clock and ours */
#define PKI_JWT_AGE_MAX_MS (3600u * 1000u) /* since it was issued, however late its end */
#define PKI_JWT_TEXT_MAX 1024u

typedef struct pki_jwt pki_jwt;

struct pki_jwt_rules {
    const char *issuer;   /* exactly */
    const char *audience; /* exactly, and no other beside it */
    uint64_t now;         /* wall ms */
};

/*
 * Verifies all of it: form, header, signature, issuer, audience, times. The
 * caller frees *out. WEFT_ENOTFOUND: no key of its kid (the set may be old);
 * WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err pki_jwt_verify(wf_span text, const pki_jwks *keys, const struct pki_jwt_rules *rules,
                        pki_jwt **out, wf_why *why);
void pki_jwt_free(pki_jwt *jwt); /* NULL is fine */
/* A claim that is text, printable ASCII of 1 to PKI_JWT_TEXT_MAX bytes; else NULL. Borrowed. */
const char *pki_jwt_text(const pki_jwt *jwt, const char *claim);
/* What tells this token from all others of its issuer: of its jti, or else of its signed text. */
void pki_jwt_digest(const pki_jwt *jwt, uint8_t out[32]);
/* Until when it could be presented: its end and the tolerance, wall ms. */
uint64_t pki_jwt_until(const pki_jwt *jwt);

#endif
