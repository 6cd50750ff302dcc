/*
 * Terminators: which host answers for a service, and at which router. Each is
 * the host's own signed bind with its bind grant, verified before it is kept,
 * be it bound here or flooded by another router. docs/protocol.md, "Binds and
 * terminators".
 */
#ifndef ROUTER_BIND_H
#define ROUTER_BIND_H

#include "pki/trust.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "router/record.h"
#include <stdbool.h>

#define TERMINATORS_MAX 65536u
#define TERMINATORS_PER_SUBJECT 4096u /* of one identity, here and at other routers together */

struct wire;
struct service;
struct owner;

/* What a terminator is known by: two identities never meet in one. Used as bytes. */
struct bind_key {
    wf_id service, subject, instance, router;
};
_Static_assert(sizeof(struct bind_key) == 4 * WF_ID_LEN, "no padding");

struct terminator {
    wf_node in_service;      /* the one chosen last stands last */
    wf_node in_edge;         /* local ones: in the list that its edge holds */
    struct service *service; /* borrowed */
    struct owner *owner;     /* borrowed: what its identity holds in all */
    struct wire *wire;       /* borrowed: the host's edge; NULL: it is at another router */
    struct pki_bind bind;    /* its expiry is the grant's if that is earlier */
    struct pki_subject host;
    Weft__Wire__Signed *record, *grant; /* owned */
    pki_chain *chain;                   /* counted */
    uint32_t circuits;                  /* from here to it */
};

struct binds {
    wf_map *by_key;     /* struct bind_key -> struct terminator */
    wf_map *by_service; /* service id -> struct service */
    wf_map *by_owner;   /* subject -> struct owner */
    wf_map *graves;     /* struct bind_key -> struct grave: remote ones that are gone */
    wf_node gone;       /* struct grave, the oldest first */
    size_t local, remote;
};

weft_err binds_init(struct binds *binds);
void binds_fini(struct binds *binds);

/* How a bind came here. */
enum bind_from {
    BIND_EDGE,   /* from its host's own link */
    BIND_HOLDER, /* from the router that holds it */
    BIND_OTHER,  /* from a router that passes it on */
};

/*
 * Keeps a bind that pki_trust_check_bind let through, everything copied; wire
 * is the host's edge (BIND_EDGE) or NULL. One with the same key is replaced if
 * its sequence is lower (BIND_EDGE: or equal). What another router held and
 * then no longer did comes back only with a higher sequence than it had, from
 * that router itself also with the same: nobody else can repeat it.
 * *learned says whether anything changed, *out is the terminator or, if there
 * is none, NULL. WEFT_ELIMIT: too many, in all or of this subject; WEFT_ENOMEM.
 */
weft_err binds_add(struct binds *binds, const struct pki_bind *bind, const struct pki_subject *host,
                   const Weft__Wire__Signed *record, const Weft__Wire__Signed *grant,
                   const pki_chain *chain, enum bind_from from, struct wire *wire,
                   struct terminator **out, bool *learned);
/* When it ends by itself: it expires, or its hours are over; wall ms. */
uint64_t bind_ends(const struct pki_bind *bind);
struct bind_key bind_key(const struct pki_bind *bind);
/* NULL if there is none. */
struct terminator *binds_find(const struct binds *binds, const struct bind_key *key);
/* Forgets it, but of a remote one its sequence; it is out of its edge's list too. */
void binds_remove(struct binds *binds, struct terminator *terminator);

/*
 * The terminator to use: the nearest (distance answers 0 for this router and
 * UINT32_MAX for out of reach), of those the one with the fewest circuits from
 * here, of those the one not chosen for longest. instance NULL: any. Expired
 * ones never. NULL: none.
 */
struct terminator *binds_choose(struct binds *binds, const wf_id *service, const wf_id *instance,
                                uint64_t now, uint32_t (*distance)(void *arg, const wf_id *router),
                                void *arg);

/* Walks all; `each` may remove the one it is given. */
void binds_each(struct binds *binds, void (*each)(void *arg, struct terminator *terminator),
                void *arg);

#endif
