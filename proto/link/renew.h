/*
 * Renewal: the same key, a new certificate. Blocking, on a loop of its own, as
 * enrollment is. docs/protocol.md, "Enrollment".
 */
#ifndef PROTO_LINK_RENEW_H
#define PROTO_LINK_RENEW_H

#include "pki/identity.h"

struct wf_foreign;

struct wf_renew_config {
    const struct pki_identity *identity; /* borrowed for the call */
    const wf_address *controllers;       /* NULL: the identity's own */
    size_t controller_count;
    const pki_key *new_key; /* NULL: the key stays; else the certificate is asked for this one */
    pki_trust *trust;       /* follows newer bundles along; NULL: none to be kept in step */
    const struct wf_foreign *foreign; /* a newer certificate of who vouches; NULL: none. enroll.h */
    unsigned timeout_ms;              /* 0: 30 s */
};

/*
 * Asks for a new certificate: over weft/1 while the present one is valid, else
 * over weft-renew/1, which forgives expiry for a while. *chain (the caller's to
 * free) is verified: same key, same id, from an authority that the identity's
 * bundle, or the newer one that came along, trusts. bundle (may be NULL) gets
 * that newer encoded Signed, or nothing if ours is still the newest. Nothing is written to disk.
 * WEFT_EREVOKED, WEFT_EEXPIRED (too long ago: enroll again), WEFT_ECREDENTIAL, WEFT_EUNREACHABLE,
 * WEFT_ETIMEDOUT.
 */
weft_err wf_renew(const struct wf_renew_config *config, pki_chain **chain, wf_buf *bundle,
                  wf_why *why);

#endif
