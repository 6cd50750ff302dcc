/*
 * Key sets of other issuers: JWK sets (RFC 7517), of which only public keys
 * for signatures are taken, RSA, P-256 and Ed25519. docs/protocol.md,
 * "Enrollment".
 */
#ifndef PKI_JWKS_H
#define PKI_JWKS_H

#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>
#include <stddef.h>

#define PKI_JWKS_MAX (256u * 1024u) /* bytes of a set */
#define PKI_JWKS_KEYS_MAX 64u
#define PKI_KID_MAX 256u

typedef struct pki_jwks pki_jwks;

/*
 * Reads a set. Keys of other types or uses are passed over; one of our types
 * that is broken, weak (RSA below 2048 bits) or private makes the whole set
 * refused, and so do two keys with one name, and a set without a usable key.
 * WEFT_ECREDENTIAL, WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err pki_jwks_parse(wf_span json, pki_jwks **out, wf_why *why);
void pki_jwks_free(pki_jwks *set); /* NULL is fine */
size_t pki_jwks_count(const pki_jwks *set);
/*
 * One signature by the algorithm of this JWT name (RS256, ES256, EdDSA),
 * which pins the key's type. kid of length 0: the set's only key of that type.
 * WEFT_ENOTFOUND: no key of this name (the set may be old); WEFT_ECREDENTIAL.
 */
weft_err pki_jwks_verify(const pki_jwks *set, wf_span alg, wf_span kid, wf_span bytes,
                         wf_span signature, wf_why *why);

#endif
