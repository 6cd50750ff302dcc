/*
 * The inside of pki/trust.h, shared by trust.c (bundle and floors), chain.c
 * (certificates) and grant.c (signed records), and the door that tls.c takes
 * to certificates that OpenSSL has parsed. Inside pki only.
 */
#ifndef PKI_TRUST_INSIDE_H
#define PKI_TRUST_INSIDE_H

#include "pki/internal.h"
#include "pki/seen.h"
#include "pki/trust.h"

#define PKI_SEEN_CHAINS 4096u
#define PKI_SEEN_GRANTS 4096u

/* A bundle that was verified and parsed. */
struct pki_bundle {
    wf_buf encoded;               /* owned: the Signed */
    Weft__Wire__BundleBody *body; /* owned */
    uint8_t digest[32];           /* of the body's bytes */
    X509_STORE *roots;            /* owned */
    struct {
        uint8_t der[PKI_SPKI_MAX];
        size_t len;
    } root_keys[WF_BUNDLE_KEYS_MAX];
};

struct pki_trust {
    unsigned refs;
    struct pki_bundle bundle;
    wf_span policy_keys[WF_BUNDLE_KEYS_MAX]; /* into bundle.body */
    pki_floors *floors;                      /* owned */
    pki_seen *chains;                        /* owned: struct pki_verified by digest */
    pki_seen *grants;                        /* owned: digests of records that verify */
};

/* What stays true of a chain as long as the bundle does. */
struct pki_verified {
    struct pki_subject subject; /* not_before and not_after: when the whole chain is valid */
    uint64_t leaf_until;        /* wall ms */
    uint64_t rest_until;        /* the earliest end of the certificates above the leaf */
};

/*
 * As pki_trust_check_chain for certificates as OpenSSL hands them over in a
 * handshake: leaf first, count of them. *x509_error gets the X509_V_ERR_ code
 * whose TLS alert tells the peer what was wrong; X509_V_OK with WEFT_OK.
 */
weft_err pki_trust_check_x509s(pki_trust *trust, STACK_OF(X509) * certs, unsigned kinds,
                               enum pki_side peer_side, bool forgive_expired, uint64_t now,
                               struct pki_subject *out, int *x509_error, wf_why *why);

/* Verifies under the policy keys; remembers what verified. WEFT_ECREDENTIAL, WEFT_ENOMEM. */
weft_err pki_trust_check_policy(pki_trust *trust, const Weft__Wire__Signed *record,
                                const char *label, wf_why *why);

#endif
