/*
 * The one place where trust is decided: which chains, grants, member records
 * and binds a node believes. It holds the trust bundle and the floors; every
 * program, on every connection, asks here and nowhere else.
 */
#ifndef PKI_TRUST_H
#define PKI_TRUST_H

#include "pki/cert.h"
#include "pki/floors.h"
#include "pki/record.h"
#include "pki/terms.h"
#include "proto/base/address.h"

typedef struct pki_trust pki_trust; /* counted; one loop's thread only */

/*
 * From an encoded, signed bundle. pin: SHA-256 of the encoded Signed that the
 * token or identity file names; NULL only for a bundle from our own disk.
 * The root's signature is checked before the body is parsed.
 */
weft_err pki_trust_new(wf_span bundle, const uint8_t pin[32], pki_trust **out, wf_why *why);
pki_trust *pki_trust_ref(pki_trust *trust);
void pki_trust_unref(pki_trust *trust);
const char *pki_trust_domain(const pki_trust *trust);
wf_span
pki_trust_bundle(const pki_trust *trust); /* the encoded Signed, valid until the next update */
uint64_t pki_trust_version(const pki_trust *trust); /* of the bundle */
/*
 * SHA-256 of the bundle's body: what the next one names in `previous`. Not of the Signed: whoever
 * hands it on can change that (a field more, the other form of an ECDSA signature) and it verifies.
 */
void pki_trust_digest(const pki_trust *trust, uint8_t out[32]);
/*
 * A newer bundle, signed by a root that the present one holds; the next one names the present one's
 * body (pki_trust_digest). An older one, or the same: nothing happens. WEFT_ECONFLICT: another one
 * of the same version, or a next one that follows on another; WEFT_ECREDENTIAL.
 */
weft_err pki_trust_update(pki_trust *trust, wf_span bundle, bool *changed, wf_why *why);
/* A row of them, one update after the other, up to the first that fails. changed may be NULL. */
weft_err pki_trust_follow(pki_trust *trust, Weft__Wire__Signed *const *bundles, size_t count,
                          bool *changed, wf_why *why);
/* SPKIs, valid until the next update: how many of them were put. */
size_t pki_trust_enrollment_keys(const pki_trust *trust, wf_span *out, size_t max);
size_t pki_trust_policy_keys(const pki_trust *trust, wf_span *out, size_t max);

/* ---- certificates */

enum pki_side { PKI_CLIENT, PKI_SERVER };

/*
 * Checks a presented chain: roots of the bundle, X509_STRICT, depth, sizes,
 * kind OID equal down the chain and equal to the one URI SAN's path, purpose
 * for the side the *peer* plays, validity at now (tolerance: none for the
 * leaf's end), floors. `kinds` is a mask of pki_kind. Verified chains are
 * remembered by digest; validity and floors are checked every time.
 * forgive_expired: exactly "expired" at depth 0, at most renew grace ago (ALPN weft-renew/1 only).
 * WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_EREVOKED.
 */
weft_err pki_trust_check_chain(pki_trust *trust, const pki_chain *chain, unsigned kinds,
                               enum pki_side peer_side, bool forgive_expired, uint64_t now,
                               struct pki_subject *out, wf_why *why);
/* Only the part that changes with time: floors and expiry. For live links and sessions. */
weft_err pki_trust_check_again(const pki_trust *trust, const struct pki_subject *subject,
                               uint64_t now, wf_why *why);

/* ---- grants */

struct pki_grant {
    wf_id service;
    char service_name[WF_NAME_MAX + 1];
    Weft__Wire__Role role;
    wf_id subject;
    uint64_t not_before, expiry, epoch; /* wall ms */
    struct pki_terms terms;
};

/*
 * Signature by a policy key, then: trust domain, subject is `who` and one pin
 * is who's key, service (NULL: any), role, times (with clock tolerance on
 * not_before), floors, and that one of its windows is open (pki_terms_check_window).
 * Its other terms are the caller's to hold to: out->terms. Nothing that depends
 * on the time is remembered. WEFT_EREFUSED, WEFT_EEXPIRED, WEFT_EREVOKED, WEFT_ECREDENTIAL.
 */
weft_err pki_trust_check_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                               const struct pki_subject *who, const wf_id *service,
                               Weft__Wire__Role role, uint64_t now, struct pki_grant *out,
                               wf_why *why);
/* The same but for the windows: for an own grant, to be kept until one opens. */
weft_err pki_trust_read_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                              const struct pki_subject *who, const wf_id *service,
                              Weft__Wire__Role role, uint64_t now, struct pki_grant *out,
                              wf_why *why);
/* Names what a grant of who permits, and says whether a window is open: WEFT_EREFUSED. */
weft_err pki_grant_check_window(const struct pki_grant *grant, const char *who, uint64_t now,
                                wf_why *why);

/* ---- routers and binds */

struct pki_member {
    wf_id router;
    char name[WF_NAME_MAX + 1];
    pki_pin pins[WF_PINS_MAX];
    size_t pin_count;
    wf_address addresses[WF_ADDRESSES_MAX];
    size_t address_count;
    uint64_t epoch, expiry;
};
/* A member record by itself. WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_EREVOKED. */
weft_err pki_trust_check_member(pki_trust *trust, const Weft__Wire__Signed *record, uint64_t now,
                                struct pki_member *out, wf_why *why);

struct pki_bind {
    wf_id service, instance, router, subject;
    uint64_t expiry, sequence;
    struct pki_grant grant;
};
/*
 * A host's bind: chain of an identity, signature by its key, subject equal,
 * grant for bind of the same service, expiry. `host` gets the subject.
 */
weft_err pki_trust_check_bind(pki_trust *trust, const Weft__Wire__Signed *bind,
                              const Weft__Wire__Signed *grant, const pki_chain *chain, uint64_t now,
                              struct pki_bind *out, struct pki_subject *host, wf_why *why);

/* ---- floors */

/* Verifies and applies one encoded FloorsBody record. *changed as pki_floors_apply. */
weft_err pki_trust_apply_floors(pki_trust *trust, const Weft__Wire__Signed *set, uint64_t now,
                                bool *changed, wf_why *why);
const pki_floors *pki_trust_floors(const pki_trust *trust);

#endif
