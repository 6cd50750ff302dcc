/*
 * The endpoint's inside: what its streams, listeners, routers and controller
 * share. Only files of sdk/ include it.
 */
#ifndef SDK_ENDPOINT_H
#define SDK_ENDPOINT_H

#include "pki/identity.h"
#include "proto/link/uplink.h"
#include "sdk/edge.h"
#include "sdk/grants.h"
#include "sdk/jobs.h"
#include "sdk/lines.h"
#include "sdk/session.h"
#include "sdk/timer.h"
#include <weft/weft.h>

/* Edges of one endpoint, and how many of them a listener binds on. */
#define WF_EDGES_MAX 8u
#define WF_BINDS_MAX 4u

/* Dials that come in and have shown no certificate yet: what a router can make a host hold. */
#define WF_GREETINGS_MAX 4096u
/* Verified dials that the application has yet to answer: of all dialers, and of one identity. */
#define WF_DECISIONS_MAX 4096u
#define WF_DECISIONS_PER_PEER_MAX 1024u
/*
 * What all sessions together may make us hold: credit that was given and not
 * used, and bytes that the application has yet to take. Credit can't be taken
 * back, so above this every further session gets no more than WF_WINDOW_MIN.
 */
#define WF_PROMISE_MAX (256ull * 1024ull * 1024ull)

/* Nothing uses it any more for this long: it is closed. */
#define WF_IDLE_CLOSE_MS 60000u
/* A session older than this keeps a connection to the controller. */
#define WF_SESSION_OLD_MS 60000u
/* How long a session that was given up waits for the other side's close_notify. */
#define WF_LINGER_MS 5000u
#define WF_RACE_MS 300u          /* until the next router is tried beside the first */
#define WF_NOTICE_SPREAD_MS 500u /* over which a crowd that was told at once asks for grants */
#define WF_HOUSE_MS 15000u       /* between two looks at what changes with time */

struct wf_route {
    wf_edge *edge; /* NULL: the slot is free */
    bool is_closing;
    bool failed;         /* in the present race */
    bool is_up;          /* the application was told so */
    unsigned key_number; /* endpoint->key_number when its link was made */
    uint64_t idle_since; /* mono ms; 0: in use */
};

struct wf_routers {
    struct wf_route routes[WF_EDGES_MAX];
    wf_node waiting; /* streams (struct wf_wait) that need a router */
    wf_timer *race;  /* owned */
    bool racing;
    size_t race_next; /* of the known routers, the one to try next */
    size_t race_tried;
    wf_why last_why; /* of the last failure */
};

struct wf_controller {
    wf_uplink *uplink; /* NULL: not wanted now */
    bool is_closing;
    bool is_up;
    uint64_t used;   /* mono ms of the last use */
    size_t failures; /* since it was up, or wanted */
    size_t calls;    /* that await their answer */
    uint64_t due;    /* mono ms of the fetch that a notice led to; 0: none */
    wf_node fetches; /* struct wf_fetch */
};

enum wf_endpoint_state {
    WF_ENDPOINT_OPEN,
    WF_ENDPOINT_STREAMS,     /* closing: streams and listeners tell their users */
    WF_ENDPOINT_CONNECTIONS, /* closing: edges and the controller's uplink */
    WF_ENDPOINT_NET,         /* closing: the net and the timers */
    WF_ENDPOINT_CLOSED,
};

struct weft_endpoint {
    enum wf_endpoint_state state;
    struct uv_loop_s *loop; /* owned if own_loop, else borrowed: outlives us */
    bool own_loop;
    struct wf_keeper *keeper; /* owned: keeps an own loop alive */
    struct wf_timers timers;
    struct wf_jobs jobs;
    wf_net *net; /* owned */
    bool net_closed;
    Weft__Wire__Signed *shown; /* owned: the checkpoint in the last Hello; NULL: none */
    struct pki_identity identity;
    struct pki_subject self;
    char id_text[WF_ID_TEXT];
    pki_trust *trust; /* counted */
    pki_tls_ctx *tls; /* counted */
    struct wf_grants grants;
    char *state_path; /* owned; NULL: in memory */
    struct wf_controller controller;
    struct wf_routers routers;
    wf_node streams;
    unsigned greetings; /* streams whose dialer is not known yet */
    wf_node deciding;   /* streams that the application has yet to answer */
    unsigned decisions; /* how many these are */
    unsigned decisions_max, decisions_per_peer_max;
    uint64_t promised; /* bytes: the sum over all sessions of wf_session_promise */
    uint64_t promise_max;
    wf_node listeners;
    wf_timer *house;    /* owned */
    uint64_t house_due; /* mono ms, while it is on */
    struct wf_job closing;
    struct wf_job changed;      /* floors or bundle changed: look at everything again */
    struct wf_renewal *renewal; /* owned; NULL while none runs */
    uint64_t renew_at;          /* wall ms; UINT64_MAX: never */
    bool renew_key;             /* and the next renewal changes the key */
    pki_key
        *older_keys[WF_PINS_MAX]; /* owned; what links of before a change of key were made with */
    unsigned key_number;          /* changes of key so far */
    bool renew_told;              /* the controller wants it: what the file holds is not enough */
    bool renew_refused;           /* by the controller, and said so */
    uint64_t next_request;
    unsigned dial_timeout_ms;
    void (*event)(void *arg, const struct weft_event *event);
    void *event_arg;
    void (*closed)(void *arg);
    void *closed_arg;
    struct wf_scratch *scratch; /* owned */
    struct wf_lines lines;      /* of the log, on a peer's say-so */
    uint64_t renewals;          /* of the certificate, since it was opened; as what follows */
    uint64_t dials_failed[WEFT_FACTS_CODES], sessions_refused[WEFT_FACTS_CODES],
        binds_refused[WEFT_FACTS_CODES]; /* by weft_err; wf_facts_count */
};

/* ---- endpoint.c */

void wf_endpoint_event(weft_endpoint *endpoint, enum weft_event_kind kind, weft_err err,
                       const char *text);
/* Our Hello: wf_hello_fn with the endpoint as arg. */
void wf_endpoint_hello(void *arg, Weft__Wire__Hello *hello);
/* Records that came from anybody. The bundle may be NULL. */
void wf_endpoint_take_floors(weft_endpoint *endpoint, const Weft__Wire__Signed *record,
                             wf_link *from);
void wf_endpoint_take_router(weft_endpoint *endpoint, const Weft__Wire__Signed *record);
void wf_endpoint_take_bundle(weft_endpoint *endpoint, const Weft__Wire__Signed *record);
/* Starts the regular look at what changes with time, if it isn't on. */
void wf_endpoint_watch(weft_endpoint *endpoint);
/* Goes on with closing, when something that it waits for is gone. */
void wf_endpoint_go_on_closing(weft_endpoint *endpoint);

/* ---- facts.c */

/* Counts one more of a reason. */
void wf_facts_count(uint64_t counts[WEFT_FACTS_CODES], weft_err err);

/* ---- house.c */

void wf_house_look(void *endpoint); /* the timer's */
/* Has it look no later than this (mono ms): one timer for all sessions. UINT64_MAX: nothing. */
void wf_house_by(weft_endpoint *endpoint, uint64_t mono);
void wf_house_changed(struct wf_job *changed); /* floors or the bundle changed */
void wf_house_save(weft_endpoint *endpoint);   /* what is not on disk yet */

/* ---- witness.c */

/* A checkpoint of the audit log that came from anybody; NULL is fine. */
void wf_witness_take(weft_endpoint *endpoint, const Weft__Wire__Signed *checkpoint,
                     bool from_controller);
/* Asks the controller for a proof, if it is there and it is time. */
void wf_witness_look(weft_endpoint *endpoint, uint64_t mono);

/* ---- renewal.c */

/*
 * Checks our own certificate and fills endpoint->self and renew_at. One that
 * expired not too long ago is renewed on the spot (blocking).
 */
weft_err wf_renewal_check_self(weft_endpoint *endpoint, uint64_t now, wf_why *why);
/* Keeps the newest trust bundle in the identity, and in its file: the next start begins there. */
void wf_renewal_repin(weft_endpoint *endpoint);
/* Told to renew: by chance within spread_ms. */
void wf_renewal_told(weft_endpoint *endpoint, uint64_t spread_ms);
/* Renews in the background if it is time. */
void wf_renewal_look(weft_endpoint *endpoint, uint64_t now);
/* endpoint->renewal is NULL soon. */
void wf_renewal_cancel(weft_endpoint *endpoint);

/* The key that the link of this edge was made with: what it sends is signed by that one. */
const pki_key *wf_renewal_key_of(const weft_endpoint *endpoint, const wf_edge *edge);

/* ---- rekey.c */

/*
 * The key that is to follow this identity's: kept in PATH.newkey until it is in use, so that a
 * change of key that was cut short goes on with the same one. WEFT_EUSAGE: the key is elsewhere,
 * or the identity carries grants for it.
 */
weft_err wf_rekey_begin(const struct pki_identity *identity, pki_key **out, wf_why *why);
void wf_rekey_end(const struct pki_identity *identity);

/* ---- controller.c */

/* Connects if it isn't; it stays while something needs it. WEFT_EUNREACHABLE: none is known. */
weft_err wf_controller_want(weft_endpoint *endpoint);
void wf_controller_close(weft_endpoint *endpoint);
/* One call; `done` comes exactly once, later. */
weft_err wf_controller_call(weft_endpoint *endpoint, const char *operation, wf_span arguments,
                            unsigned timeout_ms, wf_call_fn done, void *arg);

/* A wait for fresh grants. Embedded in who waits; gone when `done` is called or wf_fetch_cancel. */
struct wf_wait {
    wf_node node;
    void (*done)(struct wf_wait *wait, weft_err err, const char *why);
};
/*
 * Asks for the grants of one service, with routers and floors (NULL: all
 * services), and puts them into endpoint->grants. Who asks for the same at the
 * same time shares the answer. wait may be NULL.
 */
weft_err wf_controller_fetch(weft_endpoint *endpoint, const char *service, struct wf_wait *wait,
                             unsigned timeout_ms);
/* Fetches what a notice spoke of, if its time has come. Returns when it does; UINT64_MAX: never. */
uint64_t wf_controller_look(weft_endpoint *endpoint, uint64_t mono);
/* Tells the controller, if it is there, which trust bundle we hold. */
void wf_controller_say_bundle(weft_endpoint *endpoint);
void wf_wait_cancel(struct wf_wait *wait); /* also if it waits for nothing */

/* ---- routers.c */

weft_err wf_routers_init(weft_endpoint *endpoint);
/* An edge that is ready, to none of these routers; NULL: none is. */
wf_edge *wf_routers_ready(weft_endpoint *endpoint, const wf_id *but, size_t count);
/*
 * Waits for another one: done with WEFT_OK when there is one, or when every
 * known router was tried and one was ready before; with an error if none is.
 */
void wf_routers_await(weft_endpoint *endpoint, struct wf_wait *wait);
/* Opens edges to as many routers as a listener binds on. */
void wf_routers_open_all(weft_endpoint *endpoint);
/* Cuts connections to routers that were revoked. */
void wf_routers_look(weft_endpoint *endpoint, uint64_t now);
/* Closes what nothing has used for a while. */
void wf_routers_tidy(weft_endpoint *endpoint, uint64_t mono);
void wf_routers_close(weft_endpoint *endpoint);
bool wf_routers_are_closed(const weft_endpoint *endpoint);

/* ---- listener.c, as told by routers.c and house.c */

void wf_listeners_edge_ready(weft_endpoint *endpoint, wf_edge *edge);
void wf_listeners_edge_lost(weft_endpoint *endpoint, wf_edge *edge, const char *why);
void wf_listeners_bind_reply(weft_endpoint *endpoint, wf_edge *edge,
                             const Weft__Wire__BindReply *reply);
void wf_listeners_setup(weft_endpoint *endpoint, wf_edge *edge, wf_circuit *circuit,
                        const Weft__Wire__Setup *setup);
/* Grants or floors changed, or time went by. */
void wf_listeners_look(weft_endpoint *endpoint, uint64_t now);

#endif
