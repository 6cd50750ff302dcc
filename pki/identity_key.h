/*
 * Where an identity's key lies: in the identity file (in clear, or under a
 * passphrase), in a file of its own, or in a PKCS#11 token. docs/protocol.md, "Identity file".
 */
#ifndef PKI_IDENTITY_KEY_H
#define PKI_IDENTITY_KEY_H

#include "pki/identity.h"

/* Fills key, key_ref and key_sealed from the file's field "key". path: the file's; NULL: none. */
weft_err pki_identity_take_key(wf_span text, const char *path, struct pki_identity *out,
                               wf_why *why);
/* Appends what the field "key" holds: a secret unless it is a reference. */
weft_err pki_identity_put_key(const struct pki_identity *identity, wf_buf *out, wf_why *why);
/*
 * Appends the first line of the file that $WEFT_KEY_PASSPHRASE_FILE names; the caller wipes it.
 * WEFT_ECREDENTIAL: there is no such variable or file, or it is too short (4 characters).
 */
weft_err pki_passphrase(wf_buf *out, wf_why *why);
#define PKI_PASSPHRASE_MAX 1024u
/* A private key's PEM, with the passphrase asked for only if it is under one: *sealed. */
weft_err pki_key_open_pem(wf_span pem, pki_key **out, bool *sealed, wf_why *why);

#endif
