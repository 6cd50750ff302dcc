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

struct wire;
struct service;

struct terminator {
    wf_node in_service;      /* the one chosen last stands last */
    wf_node in_edge;         /* local ones: in the list that its edge holds */
    struct service *service; /* borrowed */
    struct wire *wire;       /* borrowed: the host's edge; NULL: it is at another router */
    struct pki_bind bind;    /* its expiry is the grant's if that is earlier */
    struct pki_subject host;
    Weft__Wire__Signed *record, *grant; /* owned */
    pki_chain *chain;                   /* counted */
    uint32_t circuits;                  /* from here to it */
};

struct binds {
    wf_map *by_key;     /* instance and router -> struct terminator */
    wf_map *by_service; /* service id -> struct service */
    size_t local, remote;
};

weft_err binds_init(struct binds *binds);
void binds_fini(struct binds *binds);

/*
 * Keeps a bind that pki_trust_check_bind let through, everything copied; wire
 * NULL: another router's. One with the same instance and router is replaced if
 * its sequence is lower (local: or equal) and its subject the same; *learned
 * says whether anything changed, *out is the terminator either way.
 * WEFT_EEXIST: the instance is another identity's. WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err binds_add(struct binds *binds, const struct pki_bind *bind, const struct pki_subject *host,
                   const Weft__Wire__Signed *record, const Weft__Wire__Signed *grant,
                   const pki_chain *chain, struct wire *wire, struct terminator **out,
                   bool *learned);
/* NULL if there is none. */
struct terminator *binds_find(const struct binds *binds, const wf_id *instance,
                              const wf_id *router);
/* Forgets it; it is out of its edge's list too. */
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
