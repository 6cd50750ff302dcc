/*
 * The enrollee's side of enrollment: a token becomes an identity file.
 * Blocking, on a loop of its own; used by `weft enroll`, by identities given
 * as a token file, and by `weft-router enroll`. docs/protocol.md, "Enrollment".
 */
#ifndef PROTO_LINK_ENROLL_H
#define PROTO_LINK_ENROLL_H

#include "pki/foreign.h"
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
    /* Who vouches, as the token's method asks for; all borrowed. */
    const struct wf_foreign *foreign; /* ottca, ca; NULL: none */
    const char *oidc_token;           /* oidc; NULL: none */
    unsigned timeout_ms;              /* 0: 30 s */
};

/* A certificate of another authority, and its key. */
struct wf_foreign {
    pki_foreign_key *key;         /* owned */
    wf_buf chain[WF_CHAIN_DEPTH]; /* owned: DER, leaf first */
    size_t count;
};
/* From PEM files: the certificate first, intermediates behind it. WEFT_ECREDENTIAL, WEFT_EIO... */
weft_err wf_foreign_load(const char *cert_path, const char *key_path, struct wf_foreign *out,
                         wf_why *why);
void wf_foreign_fini(struct wf_foreign *foreign); /* one that load filled, or zeros */
/*
 * Fills the two fields of an EnrollCall or RenewCall: certs (WF_CHAIN_DEPTH of them) get views of
 * the chain, proof the signature.
 */
weft_err wf_foreign_put(const struct wf_foreign *foreign, wf_span subject, wf_span csr,
                        const uint8_t exporter[32], ProtobufCBinaryData *certs, wf_buf *proof);

/*
 * Checks that out can be written, makes the key (kept in OUT.pending, reused
 * on a retry), checks the controller's key against the token before sending
 * anything, redeems the token, verifies the certificate and the bundle, and
 * writes OUT. members and floors that came along are put into *identity as
 * well (initialised by the caller; may be NULL).
 * With a join token the id and name are those of the answer. While the controller fetches an
 * issuer's keys (WEFT_EBUSY) it is asked again.
 * WEFT_EUSED, WEFT_EEXPIRED, WEFT_ECREDENTIAL, WEFT_EUNREACHABLE, WEFT_ETIMEDOUT, WEFT_EIO.
 */
weft_err wf_enroll(const struct wf_enroll_config *config, struct pki_identity *identity,
                   Weft__Wire__EnrollResult **result, wf_why *why);

#endif
