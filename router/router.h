/*
 * The router as a whole: one port for edges and links, circuits between them.
 * Opened by main.c and, in one loop with others, by tests.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "pki/identity.h"
#include "proto/link/link.h"
#include "router/counters.h"

struct router;

struct router_options {
    const char *home;            /* borrowed: outlives the router; NULL: nothing is kept on disk */
    wf_address listen;           /* port 0 picks one */
    uint64_t memory;             /* budget for what waits, bytes; 0: ROUTER_MEMORY */
    unsigned links_per_identity; /* 0: ROUTER_LINKS_PER_IDENTITY */
    /* Where the controllers are, instead of those in the identity; borrowed for the call. */
    const wf_address *controllers;
    size_t controller_count;
    /* What the operator thinks that others reach it by, to be compared; borrowed for the call. */
    const wf_address *advertise;
    size_t advertise_count; /* 0: nothing said */
    bool no_controller;     /* doesn't look for one at all (tests) */
};

/*
 * Takes what *identity holds (it is empty afterwards, also on failure), reads
 * the state under home, listens, and begins to look for the controller and for
 * other routers. The net and its loop are borrowed: they outlive the router.
 * WEFT_ECREDENTIAL, WEFT_EEXPIRED, WEFT_EIO, WEFT_ENOMEM.
 */
weft_err router_open(wf_net *net, struct pki_identity *identity,
                     const struct router_options *options, struct router **out, wf_why *why);

/* A record that the router shall know at once (its own member record, others'), as if from disk. */
weft_err router_add_member(struct router *router, const Weft__Wire__Signed *record, wf_why *why);
/* A set of floors, as if from the controller. */
weft_err router_add_floors(struct router *router, const Weft__Wire__Signed *set, wf_why *why);

uint16_t router_port(const struct router *router);
const wf_id *router_id(const struct router *router);
const struct router_counters *router_counters(struct router *router);
/* Its certificate, bundle and newest checkpoint, for the metrics. */
struct wf_metrics_standing;
void router_standing(const struct router *router, struct wf_metrics_standing *out);
/* Whether it serves: it listens and knows its own member record; otherwise why not. */
bool router_is_ready(struct router *router, wf_why *why);

/*
 * Stops taking in new links, binds and dials, and waits up to drain_ms for
 * circuits to end; then closes all. `closed` (may be NULL) is the last
 * callback: the router is gone. Idempotent; a second call with 0 shortens the wait.
 */
void router_close(struct router *router, unsigned drain_ms, void (*closed)(void *arg), void *arg);

#endif
