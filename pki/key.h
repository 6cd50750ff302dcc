/*
 * Keys: private keys of nodes and authorities, pins of public keys, and
 * signatures over label || 0 || exact bytes (docs/protocol.md, "Signed records").
 */
#ifndef PKI_KEY_H
#define PKI_KEY_H

#include "proto/base/buf.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>

typedef struct pki_key pki_key; /* a private key; wiped when freed */

enum pki_key_kind { PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_ED25519 };

/* SHA-256 over the DER of a SubjectPublicKeyInfo. */
#define PKI_PIN_LEN 32
typedef struct pki_pin {
    uint8_t b[PKI_PIN_LEN];
} pki_pin;

bool pki_pin_equal(const pki_pin *a, const pki_pin *b);
/* The pin of a SubjectPublicKeyInfo in DER (not parsed, only hashed). */
void pki_pin_of_spki(wf_span spki, pki_pin *out);
/* SHA-256 of any bytes. */
void pki_sha256(const void *data, size_t len, uint8_t out[32]);

weft_err pki_key_new(enum pki_key_kind kind, pki_key **out, wf_why *why);
void pki_key_free(pki_key *key); /* NULL is fine */
/* The same key once more, for another thread: it can be used and freed apart from the first. */
weft_err pki_key_dup(const pki_key *key, pki_key **out);
/*
 * A key that stays in its PKCS#11 token (RFC 7512, pki/pkcs11.h): P-256 or P-384. The PIN is
 * in the file of the URI's pin-source, or of $WEFT_PKCS11_PIN_FILE; nobody is asked. It signs
 * and agrees as any other, and can't be written. WEFT_EINVAL: the URI; WEFT_ECREDENTIAL: no
 * engine, module, token or key, a wrong PIN.
 */
weft_err pki_key_from_token(const char *uri, pki_key **out, wf_why *why);
/* Appends the ECDH secret with another public key (DER) of the same kind. WEFT_ECREDENTIAL. */
weft_err pki_key_agree(const pki_key *key, wf_span spki, wf_buf *secret, wf_why *why);
/*
 * One block of PKCS#8 PEM and nothing else; passphrase NULL for an unencrypted
 * one, and never asked for. Only the three kinds are accepted, and only if both
 * halves fit. WEFT_ECREDENTIAL.
 */
weft_err pki_key_from_pem(wf_span pem, const char *passphrase, pki_key **out, wf_why *why);
/*
 * Appends PKCS#8 PEM, under a passphrase if there is one (slow by intent: half a second).
 * WEFT_EINVAL for a key that stays in its token.
 */
weft_err pki_key_put_pem(const pki_key *key, const char *passphrase, wf_buf *out);
enum pki_key_kind pki_key_kind_of(const pki_key *key);
void pki_key_pin(const pki_key *key, pki_pin *out);
weft_err pki_key_put_spki(const pki_key *key, wf_buf *out); /* DER */

/* Signs label || 0 || body and appends the signature. ECDSA is DER; Ed25519 is 64 bytes. */
weft_err pki_key_sign(const pki_key *key, const char *label, wf_span body, wf_buf *signature);
/* WEFT_OK or WEFT_ECREDENTIAL. spki is DER of one of the three kinds. */
weft_err pki_verify(wf_span spki, const char *label, wf_span body, wf_span signature);

#endif
