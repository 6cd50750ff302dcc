/*
 * Signed records: {body, signature, signer}. The signature covers
 * label || 0 || body and is verified before the body is parsed.
 */
#ifndef PKI_RECORD_H
#define PKI_RECORD_H

#include "pki/key.h"
#include "proto/wire/control.h"

#define PKI_LABEL_BUNDLE "weft-bundle-1"
#define PKI_LABEL_GRANT "weft-grant-1"
#define PKI_LABEL_MEMBER "weft-member-1"
#define PKI_LABEL_FLOORS "weft-floors-1"
#define PKI_LABEL_BIND "weft-bind-1"
#define PKI_LABEL_LINKS "weft-links-1"
#define PKI_LABEL_CHECKPOINT "weft-checkpoint-1"
#define PKI_LABEL_ENROLL "weft-enroll-1"
#define PKI_LABEL_RENEW "weft-renew-1"

/* Encodes body, signs it and appends the encoded Signed to out. */
weft_err pki_record_seal(const pki_key *key, const char *label, const ProtobufCMessage *body,
                         wf_buf *out);
/* SHA-256 over the encoded Signed: how records name their predecessors. */
void pki_record_digest(wf_span encoded, uint8_t out[32]);
/*
 * Verifies s under the one of count public keys (SPKI DER) whose pin is
 * s->signer. WEFT_ECREDENTIAL if none or a bad signature.
 */
weft_err pki_record_verify(const Weft__Wire__Signed *s, const char *label, const wf_span *keys,
                           size_t count, wf_why *why);

#endif
