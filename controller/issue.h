/*
 * What the controller signs: leaves, tokens, grants, member records, floors.
 * Each function takes what to say and hands back the signed bytes; what may
 * be said is decided by its callers. docs/protocol.md, "Certificates" and
 * "Signed records".
 */
#ifndef CONTROLLER_ISSUE_H
#define CONTROLLER_ISSUE_H

#include "controller/home.h"

/*
 * A leaf for the node's id and name over this public key: back-dated by the
 * clock tolerance, WF_LEAF_LIFE_MS long, never beyond its authority's end nor
 * beyond `latest` (0: no such bound; in the past: WEFT_EEXPIRED).
 */
weft_err issue_leaf(const struct home *home, const struct store_node *node, wf_span spki,
                    uint64_t now, uint64_t latest, pki_chain **out, wf_why *why);

/* A token of any use for who is vouched for: id and name are the authority's or issuer's. */
weft_err issue_join_token(const struct home *home, enum pki_enroll_method method, const wf_id *id,
                          const char *name, uint64_t expiry, wf_buf *jwt);

/* A one-time token for the node: its JWT is appended to jwt, *row is what the store keeps. */
weft_err issue_token(const struct home *home, const struct store_node *node, uint64_t now,
                     uint64_t life_ms, struct store_token *row, wf_buf *jwt);

struct issue_grant {
    wf_id service;
    const char *service_name; /* borrowed */
    enum policy_type role;
    const struct pki_subject *subject; /* borrowed: id */
    const pki_pin *pins;               /* borrowed: its living keys, 1 to WF_PINS_MAX */
    size_t pin_count;
    uint64_t not_before, expiry, epoch;
    const struct pki_terms *terms; /* borrowed; all zero: it is bound to nothing */
};
/* Appends the encoded Signed. */
weft_err issue_grant(const struct home *home, const struct issue_grant *grant, wf_buf *out);

/* The member record of an enrolled router, its pins those of its living keys: appended, encoded. */
weft_err issue_member(const struct home *home, const struct store_node *router, const pki_pin *pins,
                      size_t pin_count, uint64_t epoch, uint64_t expiry, wf_buf *out);

/* One record of floors. previous: NULL in a snapshot. count <= WF_FLOOR_COUNT_MAX. */
weft_err issue_floors(const struct home *home, uint64_t version, const uint8_t previous[32],
                      const struct store_floor *floors, size_t count, wf_buf *out);

#endif
