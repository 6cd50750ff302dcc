/*
 * What an endpoint holds so that it can dial with the controller dead: its
 * grants, the routers' member records, and the floors, each verified before it
 * is kept. docs/protocol.md, "Signed records" and "Floors".
 */
#ifndef SDK_GRANTS_H
#define SDK_GRANTS_H

#include "pki/checkpoint.h"
#include "pki/trust.h"
#include "proto/base/list.h"

/* Router records that one endpoint keeps. */
#define WF_GRANTS_ROUTERS 32u

struct wf_grant {
    wf_node node;
    struct pki_grant grant;
    Weft__Wire__Signed *record; /* owned */
};

struct wf_router_entry {
    struct pki_member member;
    wf_buf record; /* owned: encoded Signed */
};

struct wf_grants {
    pki_trust *trust;               /* counted */
    const struct pki_subject *self; /* borrowed: outlives us */
    wf_node list;                   /* owned: struct wf_grant */
    size_t count;
    struct wf_router_entry *routers; /* owned */
    size_t router_count;
    wf_buf *floors; /* owned: the encoded records that make up the present set, oldest first */
    size_t floors_count, floors_bytes;
    struct pki_witness witness; /* checkpoints of the controller's audit log */
    bool dirty;                 /* something is not on disk yet */
};

void wf_grants_init(struct wf_grants *grants, pki_trust *trust, const struct pki_subject *self);
void wf_grants_fini(struct wf_grants *grants);

/* Verifies and keeps (copies) one record. A newer grant or router replaces the one that is kept. */
weft_err wf_grants_add(struct wf_grants *grants, const Weft__Wire__Signed *record, uint64_t now,
                       wf_why *why);
weft_err wf_grants_add_router(struct wf_grants *grants, const Weft__Wire__Signed *record,
                              uint64_t now, bool *changed, wf_why *why);
/* *changed: something was learned. WEFT_ECONFLICT: records between are missing; ask a snapshot. */
weft_err wf_grants_add_floors(struct wf_grants *grants, const Weft__Wire__Signed *record,
                              uint64_t now, bool *changed, wf_why *why);
/*
 * The newest record of floors, for a HELLO, if it has at most `room` bytes;
 * NULL: it is larger, or there is none. The caller's, by wf_signed_free.
 */
Weft__Wire__Signed *wf_grants_newest_floors(const struct wf_grants *grants, size_t room);

/*
 * The grant for a service by name (or by id) that is good now: not expired,
 * above its floors. NULL: none. Valid until the next add, or drop.
 */
const struct wf_grant *wf_grants_find(const struct wf_grants *grants, const char *service,
                                      Weft__Wire__Role role, uint64_t now);
const struct wf_grant *wf_grants_find_id(const struct wf_grants *grants, const wf_id *service,
                                         Weft__Wire__Role role, uint64_t now);
/* How many grants of a role are good now. */
size_t wf_grants_good(const struct wf_grants *grants, Weft__Wire__Role role, uint64_t now);
/* The trust bundle changed: forgets what its keys don't sign any more. */
void wf_grants_recheck(struct wf_grants *grants, uint64_t now);
/* Whether a grant is kept that another than the newest policy key has signed. */
bool wf_grants_are_outdated(const struct wf_grants *grants);
/* Forgets what is expired or below its floor. */
void wf_grants_sweep(struct wf_grants *grants, uint64_t now);
/* Whether its record still counts: neither expired nor revoked. */
bool wf_grants_is_good_router(const struct wf_grants *grants, const struct pki_member *member,
                              uint64_t now);

/* The state file: JSON, 0600, replaced atomically. What no longer verifies is left out silently. */
weft_err wf_grants_load(struct wf_grants *grants, const char *path, uint64_t now, wf_why *why);
weft_err wf_grants_save(struct wf_grants *grants, const char *path, wf_why *why);

#endif
