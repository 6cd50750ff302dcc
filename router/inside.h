/*
 * What the files that make up the running router share: its fields, and the
 * functions by which one file hands over to the next. The modules below
 * (label, schedule, path, circuit, bind, member, floors, state) don't see this.
 */
#ifndef ROUTER_INSIDE_H
#define ROUTER_INSIDE_H

#include "pki/checkpoint.h"
#include "proto/base/quota.h"
#include "proto/link/uplink.h"
#include "router/bind.h"
#include "router/circuit.h"
#include "router/floors.h"
#include "router/member.h"
#include "router/path.h"
#include "router/router.h"
#include <uv.h>

/* What a link has been answered to FLOORS_WANTED: each version once, and not too many. */
struct floors_told {
    uint64_t version; /* ours, when we last answered; 0: never */
    uint64_t full_at; /* wf_quota_draw */
};

/* ---- an edge: an endpoint's link to us (edge.c) */

struct edge {
    struct wire wire;      /* its link is set while it is up */
    struct router *router; /* borrowed: outlives us */
    wf_node node;          /* in router.edges */
    wf_node binds;         /* struct terminator */
    uint32_t bind_count;
    struct floors_told told;
    struct wf_quota *quota; /* borrowed: the identity's row */
    wf_link *link;          /* borrowed: valid until `closed` */
};

/* ---- a link with another router (peer.c) */

struct peer {
    struct wire wire;      /* its link is set while it is up */
    struct router *router; /* borrowed: outlives us */
    wf_node node;          /* in router.peers */
    wf_id id;              /* the router's */
    wf_uplink *uplink;     /* owned; NULL: it dialed us */
    wf_link *link;         /* accepted ones; borrowed: valid until `closed` */
    struct floors_told told;
    bool is_up;
};

/*
 *   RUNNING --- router_close ---> DRAINING --- no circuits, or late ---> CLOSING -> freed
 * RUNNING expects anything, DRAINING the end of circuits, CLOSING the close callbacks.
 */
enum router_state { ROUTER_RUNNING, ROUTER_DRAINING, ROUTER_CLOSING };

/* State files that must be written. */
enum { DIRTY_MEMBERS = 1, DIRTY_FLOORS = 2, DIRTY_BUNDLE = 4, DIRTY_CHECKPOINTS = 8 };

#define ROUTER_TIMERS 5
enum { TIMER_SETUP, TIMER_SAVE, TIMER_SWEEP, TIMER_REPORT, TIMER_DRAIN };

struct router {
    wf_net *net; /* borrowed: outlives us */
    enum router_state state;
    struct pki_identity identity; /* owned */
    pki_trust *trust;             /* counted */
    pki_tls_ctx *tls;             /* counted */
    const char *home;             /* borrowed; NULL: none */

    struct router_counters counters;
    struct circuits circuits;
    struct binds binds;
    struct paths *paths; /* owned */
    wf_map *link_states; /* router id -> struct link_state (linkstate.c) */
    uint64_t sequence;   /* of our own link state */
    struct members members;
    struct floor_log floors;
    struct pki_witness witness;
    Weft__Wire__Signed *shown; /* owned: the checkpoint in the last Hello; NULL: none */

    wf_node edges, peers;
    wf_map *quotas; /* owned; identity -> struct wf_quota: its edges */
    unsigned links_per_identity;
    wf_listener *listener;   /* owned; NULL once closed */
    wf_uplink *controller;   /* owned; NULL: none, or closed */
    bool is_syncing;         /* a "sync" awaits its answer */
    bool sync_again;         /* and another is wanted */
    bool is_reporting;       /* likewise for "sessions" */
    bool was_away;           /* the controller: said once in the log */
    struct renewal *renewal; /* owned; NULL unless our certificate is being renewed */
    uint64_t renew_again;    /* wall ms; not before */
    uint64_t renew_by;       /* wall ms: told to renew then; 0: not told */
    uint64_t asked_have;     /* the version at which we last asked for floors, and */
    uint64_t asked_at;       /* when (monotonic ms) */
    ProtobufCBinaryData hello_chain[WF_CHAIN_DEPTH]; /* views into identity.chain */

    unsigned dirty; /* DIRTY_... */
    uv_timer_t timers[ROUTER_TIMERS];
    unsigned timers_open;
    uint64_t drain_end; /* monotonic ms */
    uint64_t log_second;
    unsigned log_lines; /* about refusals, in this second */

    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- router.c */
bool router_is_running(const struct router *router);
/* Rate limit for lines that a peer can cause at will. */
bool router_may_log(struct router *router);
void router_set_dirty(struct router *router, unsigned what);
/* Something with an end (wall ms) is there: sweep no later than that. */
void router_sweep_by(struct router *router, uint64_t wall);
/* A link, uplink or handle is gone; while CLOSING the last one ends the router. */
void router_part_gone(struct router *router);
void router_hello(void *arg, Weft__Wire__Hello *hello);
/* After a Hello: both sides get the floors they lack. */
void router_level_floors(struct router *router, wf_link *link, uint64_t theirs, bool may_ask);
/* To a FLOORS_WANTED of a peer; silent if this version was answered on this link already. */
void router_answer_floors(struct router *router, wf_link *link, struct floors_told *told,
                          uint64_t have);
/* The bundle to a link whose Hello told an older version; to all that are linked. */
void router_level_bundle(struct router *router, wf_link *link, uint64_t theirs);
void router_flood_bundle(struct router *router);
/* Members changed: dials those that are ours to dial. */
void router_after_members(struct router *router);

/* ---- edge.c */
const struct wf_link_handler *edge_accepted(struct router *router, wf_link *link, void **arg);
void edge_unbind(struct router *router, struct terminator *terminator);
void edges_close(struct router *router);

/* ---- peer.c */
const struct wf_link_handler *peer_accepted(struct router *router, wf_link *link, void **arg);
/* Dials the members that are ours to dial, with the addresses known now. */
void peers_dial(struct router *router);
void peers_close(struct router *router);
wf_link *peer_link(const struct peer *peer);
/* The peer that is up with this router; NULL: none. */
struct peer *peer_find(struct router *router, const wf_id *id);
/* To all that are up but `except`. */
void peers_flood(struct router *router, const Weft__Wire__Control *message,
                 const struct peer *except);
void peers_flood_bind(struct router *router, const struct terminator *terminator,
                      const struct peer *except);
void peers_flood_unbind(struct router *router, const struct bind_key *keys, size_t count);
void peer_cut(struct router *router, struct peer *peer, weft_err err, const char *reason);

/* ---- linkstate.c */
weft_err link_states_init(struct router *router);
void link_states_fini(struct router *router);
/* Our own links changed: says so to all. */
void link_state_announce(struct router *router);
void link_state_take(struct router *router, struct peer *from, Weft__Wire__LinkState *message);
/* All that is known, to one that came up. */
void link_states_send(struct router *router, wf_link *link);
/* Forgets those of routers that are cut. */
void link_states_prune(struct router *router);

/* ---- dial.c */
void dial_from_edge(struct edge *edge, Weft__Wire__Setup *setup);
void dial_from_peer(struct peer *peer, Weft__Wire__Setup *setup);
uint32_t dial_distance(void *router, const wf_id *id);
void dial_ended(void *router, const struct circuit *circuit);
void dial_host_missing(void *router, const struct circuit *circuit);

/* ---- revoke.c */
/* Applies sets from anyone, floods what is new, and closes whom it concerns. */
weft_err revoke_take(struct router *router, Weft__Wire__Signed *const *sets, size_t count,
                     wf_link *from, wf_why *why);
/* Looks at every link, bind and circuit again: after floors changed, and when something expires. */
void revoke_check_all(struct router *router);
void revoke_cut_sessions(struct router *router, const Weft__Wire__Notice *notice);

/* ---- sync.c */
/* Verifies; what is newer is kept, and sent to all that are linked. from: for the log. */
void router_take_bundle(struct router *router, const Weft__Wire__Signed *bundle, const char *from);
weft_err sync_open(struct router *router, const wf_address *controllers, size_t count);
void sync_now(struct router *router);
void sync_close(struct router *router);

/* ---- witness.c */
/* A checkpoint of the audit log that came from anyone; NULL is fine. */
void witness_take(struct router *router, const Weft__Wire__Signed *checkpoint,
                  bool from_controller);
void witness_save(struct router *router);
void witness_load(struct router *router);

/* ---- renew.c */
/* Has the sweep come by when our certificate is due. */
void renew_plan(struct router *router);
void renew_if_due(struct router *router);
/* Told to renew: by chance within spread_ms. */
void renew_told(struct router *router, uint64_t spread_ms);
void renew_close(struct router *router);

/* ---- report.c */
void report_changed(void *router);
void report_send(struct router *router);

#endif
