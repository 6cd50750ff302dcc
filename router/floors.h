/*
 * The signed sets behind the floors that this router holds, kept so that it
 * can hand them to whoever knows less: the last snapshot it saw and the deltas
 * behind it. docs/protocol.md, "Floors". What they mean is pki/trust.h's
 * business.
 */
#ifndef ROUTER_FLOORS_H
#define ROUTER_FLOORS_H

#include "proto/link/link.h"
#include "router/state.h"

struct floor_log {
    struct records sets; /* in order of version */
    uint64_t *versions;  /* owned: of each; count as sets */
    size_t cap;
};

void floor_log_fini(struct floor_log *log);
/* Keeps a copy of a set that trust has just applied. WEFT_ENOMEM. */
weft_err floor_log_add(struct floor_log *log, const Weft__Wire__Signed *set);
/*
 * The first set to hand to a node that holds version `have`: the deltas that
 * it lacks, or everything from the snapshot on. sets.count: nothing helps.
 */
size_t floor_log_from(const struct floor_log *log, uint64_t have);
/* Sends the sets from the i-th on, in as many messages as they need. */
void floor_log_send(const struct floor_log *log, size_t i, wf_link *link);

#endif
