/*
 * A throw-away authority in memory: root, intermediates, policy, enrollment
 * and audit keys, a signed bundle; it issues what a controller would. What
 * can't fail in a test aborts with the place.
 *
 *     struct authority a;
 *     struct authority_node ci, host;
 *     authority_init(&a, "test.weft", wf_now_wall_ms());
 *     authority_issue(&a, PKI_IDENTITY, "ci", &ci);
 *     Weft__Wire__Signed *grant = authority_grant(&a, &ci, &service, "web",
 * WEFT__WIRE__ROLE__ROLE_DIAL);
 *     ...
 *     wf_signed_free(grant);
 *     authority_node_fini(&ci);
 *     authority_fini(&a);
 */
#ifndef TESTS_HELPERS_AUTHORITY_H
#define TESTS_HELPERS_AUTHORITY_H

#include "pki/cert.h"
#include "pki/identity.h"
#include "pki/record.h"
#include "pki/token.h"
#include "pki/trust.h"

struct authority {
    char domain[PKI_DOMAIN_MAX + 1];
    uint64_t now; /* wall ms; may be moved by the test */
    pki_ca *root, *identities, *routers, *controllers;
    pki_key *policy, *enrollment, *audit; /* Ed25519 */
    wf_buf bundle;                        /* encoded Signed, version 1 */
    uint8_t bundle_digest[32];
};

/* A node with its certificate: 90 days from five minutes ago. */
struct authority_node {
    enum pki_kind kind;
    wf_id id;
    char name[WF_NAME_MAX + 1];
    pki_key *key;
    pki_chain *chain;
    pki_pin pin;
};

void authority_init(struct authority *a, const char *domain, uint64_t now);
void authority_fini(struct authority *a);

/* A fresh random id and P-256 key. */
void authority_issue(struct authority *a, enum pki_kind kind, const char *name,
                     struct authority_node *out);
/* A new chain for the same node and key, valid from not_before to not_after; frees the old one. */
void authority_renew(struct authority *a, struct authority_node *node, uint64_t not_before,
                     uint64_t not_after);
void authority_node_fini(struct authority_node *node);
/* What a verified chain of this node yields. */
void authority_subject(const struct authority *a, const struct authority_node *node,
                       struct pki_subject *out);

/* Bundle of a version, signed by the root; previous: 32 bytes or NULL. Appended to out. */
void authority_bundle(const struct authority *a, uint64_t version, const uint8_t *previous,
                      wf_buf *out);
/* Trust in this authority's bundle, without floors. The caller's to unref. */
pki_trust *authority_trust(const struct authority *a);
/* TLS of a node that trusts `trust`. The caller's to unref. */
pki_tls_ctx *authority_tls(const struct authority_node *node, pki_trust *trust);

/* Each is owned by the caller: wf_signed_free. */

/* Any body under any key and label: for what must be refused. */
Weft__Wire__Signed *authority_sign(const pki_key *key, const char *label,
                                   const ProtobufCMessage *body);
/* Valid 24 h from five minutes ago; its epoch is a->now. */
Weft__Wire__Signed *authority_grant(const struct authority *a, const struct authority_node *subject,
                                    const wf_id *service, const char *service_name,
                                    Weft__Wire__Role role);
/* The same, bound to terms; NULL: to none. */
Weft__Wire__Signed *authority_grant_bound(const struct authority *a,
                                          const struct authority_node *subject,
                                          const wf_id *service, const char *service_name,
                                          Weft__Wire__Role role, const struct pki_terms *terms);
/* 30 days; its epoch is a->now. */
Weft__Wire__Signed *authority_member(const struct authority *a, const struct authority_node *router,
                                     const char *const *addresses, size_t count);
/* A snapshot (previous NULL) or a delta behind the record with digest previous. */
Weft__Wire__Signed *authority_floors(const struct authority *a, uint64_t version,
                                     const uint8_t *previous, Weft__Wire__Floor **floors,
                                     size_t count);
/* Signed by the host itself; 24 h. */
Weft__Wire__Signed *authority_bind(const struct authority *a, const struct authority_node *host,
                                   const wf_id *service, const wf_id *instance,
                                   const wf_id *router);

/* A one-time token, an hour long, for a node to be; appended to out as text without NUL. */
void authority_token(const struct authority *a, enum pki_kind kind, const wf_id *id,
                     const char *name, const char *controller, const pki_pin *server, wf_buf *out);
/* An identity (key copied) without controllers; the caller adds, saves, and ends it with fini. */
void authority_identity(const struct authority *a, const struct authority_node *node,
                        struct pki_identity *out);
/* Adds a record to one of an identity's three arrays and says that it carries. */
void authority_carry(struct pki_identity *identity, wf_buf **array, size_t *count,
                     const Weft__Wire__Signed *record);

#endif
