/*
 * The routers of the fabric, as far as this one knows: their member records,
 * each verified. From the controller, from disk, and from the Hellos of routers
 * that link with us, so routers know each other with the controller dead.
 */
#ifndef ROUTER_MEMBER_H
#define ROUTER_MEMBER_H

#include "pki/trust.h"
#include "proto/base/map.h"
#include "router/record.h"
#include <stdbool.h>

#define MEMBERS_MAX 4096u

struct member {
    struct pki_member info;
    Weft__Wire__Signed *record; /* owned */
};

struct members {
    wf_map *by_id;
};

weft_err members_init(struct members *members);
void members_fini(struct members *members);

/*
 * Verifies a record and keeps a copy if it is newer (by epoch, then expiry)
 * than the one known. *out is what is known afterwards, valid until the next
 * change. The error of pki_trust_check_member, WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err members_learn(struct members *members, pki_trust *trust, const Weft__Wire__Signed *record,
                       uint64_t now, struct member **out, bool *changed, wf_why *why);
/* NULL if unknown, expired or revoked. */
struct member *members_find(const struct members *members, const pki_trust *trust,
                            const wf_id *router, uint64_t now);
/* Whether the member record names this key. */
bool member_has_pin(const struct member *member, const pki_pin *pin);
/* The trust bundle changed: forgets records that its keys don't sign any more. */
void members_recheck(struct members *members, pki_trust *trust, uint64_t now);
/* Forgets those that are expired or revoked; says whether there were any. */
bool members_prune(struct members *members, const pki_trust *trust, uint64_t now);

#endif
