/*
 * The enrollee's side of enrollment: a token becomes an identity file.
 * Blocking, on a loop of its own; used by `weft enroll`, by identities given
 * as a token file, and by `weft-router enroll`. docs/protocol.md, "Enrollment".
 */
#ifndef PROTO_LINK_ENROLL_H
#define PROTO_LINK_ENROLL_H

#include "pki/identity.h"

struct wf_enroll_config {
    const char *token; /* the JWT's text */
    size_t token_len;
    const char *out;    /* the identity file to write */
    enum pki_kind kind; /* what the token must be for */
    enum pki_key_kind key_kind;
    /* "file:PATH": the key is there (made if absent); "pkcs11:...": in that token; NULL: inline. */
    const char *key_path;
    bool key_sealed; /* a key that is made here is kept under $WEFT_KEY_PASSPHRASE_FILE's passphrase
                      */
    const wf_address *addresses; /* routers: where they can be reached */
    size_t address_count;
    unsigned timeout_ms; /* 0: 30 s */
};

/*
 * Checks that out can be written, makes the key (kept in OUT.pending, reused
 * on a retry), checks the controller's key against the token before sending
 * anything, redeems the token, verifies the certificate and the bundle, and
 * writes OUT. members and floors that came along are put into *identity as
 * well (initialised by the caller; may be NULL).
 * WEFT_EUSED, WEFT_EEXPIRED, WEFT_ECREDENTIAL, WEFT_EUNREACHABLE, WEFT_ETIMEDOUT, WEFT_EIO.
 */
weft_err wf_enroll(const struct wf_enroll_config *config, struct pki_identity *identity,
                   Weft__Wire__EnrollResult **result, wf_why *why);

#endif
