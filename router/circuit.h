/*
 * Circuits: label-switched paths through this router, from the link of the
 * dialer's side to the link of the host's side. docs/protocol.md, "Circuits".
 * Whether a circuit may be is decided before (router/admission.h,
 * router/bind.h); from there on this module alone handles it.
 */
#ifndef ROUTER_CIRCUIT_H
#define ROUTER_CIRCUIT_H

#include "proto/base/list.h"
#include "proto/link/link.h"
#include "router/counters.h"
#include "router/label.h"
#include "router/schedule.h"

/* ---- a link on which circuits run: part of an edge, and of a peer router */

struct wire {
    wf_link *link;            /* borrowed: NULL once it is gone, or not yet there */
    wf_node node;             /* in circuits.wires */
    struct labels labels;     /* struct half: what the other side of the link sends to us */
    struct schedule schedule; /* struct queue: what waits for the link */
    uint32_t urgent;  /* bytes of control sent past the queues since the link was last unblocked */
    uint32_t pending; /* SETUPs from there that await their reply */
    bool is_router;
};

/* SETUPs that one link may have pending. */
#define PENDING_PER_EDGE 1024u
#define PENDING_PER_ROUTER 16384u

/* ---- a circuit */

enum { DIALER, HOST }; /* the two sides */

/* One side of a circuit: how it goes on over that side's link. */
struct half {
    struct wire *wire;   /* borrowed; NULL: the link is gone or both closes have crossed on it */
    struct queue *queue; /* owned; NULL while nothing waits */
    uint32_t in, out; /* labels: ours on what comes from there (0: none), theirs (0: not known) */
    uint64_t sent;    /* bytes of DATA handed to that side's link */
    uint64_t acked;   /* of those, received by the endpoint there, by its own word */
    uint64_t credit;  /* the endpoint there lets us send up to this offset */
    uint8_t side;
    bool close_sent, close_received;
};

/*
 *             reply                CLOSE, breach, budget, cut, loss
 *   SETUP ------------> OPEN ----------------------------------------> CLOSING -> freed
 *     |  refused, timed out, lost                                        ^
 *     +------------------------------------------------------------------+
 * SETUP expects the reply, OPEN frames, CLOSING the CLOSE (or the late reply) of the other sides.
 */
enum circuit_state { CIRCUIT_SETUP, CIRCUIT_OPEN, CIRCUIT_CLOSING };

struct pending;

struct circuit {
    struct half half[2];
    wf_id session, service, instance;
    wf_id dialer, host; /* identities; zero if this router only passes the circuit on */
    wf_id host_router;  /* where the terminator is; zero likewise */
    uint64_t dial_epoch, bind_epoch; /* of the grants; only where `dialer` is set */
    uint64_t until;                  /* wall ms: when the first of their windows closes */
    uint64_t started;                /* wall ms */
    pki_pin *dialer_pin;             /* owned; NULL: as dialer, or its link tells */
    struct pending *pending;         /* owned; NULL unless in SETUP */
    uint32_t window;                 /* what the SETUP that went on offered */
    uint8_t state;
    bool is_first; /* the dialer is our own edge: this router reports the session */
};

static inline struct circuit *circuit_of(struct half *half)
{
    return wf_container_of(half - half->side, struct circuit, half[0]);
}
static inline struct half *half_other(struct half *half)
{
    return &circuit_of(half)->half[1 - half->side];
}

/* ---- all of them */

struct circuits_hooks {
    /* A circuit opened, or one that was pending or open ended. */
    void (*changed)(void *arg);
    /* It is over as a session; it may live on while closes cross. */
    void (*ended)(void *arg, const struct circuit *circuit);
    /* The host's side said that nobody is there. */
    void (*host_missing)(void *arg, const struct circuit *circuit);
    /* The first pending circuit is due at `due` (monotonic ms). */
    void (*waits)(void *arg, uint64_t due);
    /* Rate limit for lines that a peer can cause at will. */
    bool (*may_log)(void *arg);
};

struct circuits {
    struct pool pool;
    wf_node wires;                      /* struct wire */
    wf_node pending;                    /* struct pending, the oldest first */
    struct router_counters *counters;   /* borrowed */
    const struct circuits_hooks *hooks; /* borrowed: static */
    void *arg;
    uint32_t labels_max;   /* circuits of one link */
    uint64_t complained;   /* when the last line about the budget was logged, and */
    uint64_t uncomplained; /* how many closures none was logged for */
};

void circuits_init(struct circuits *circuits, uint64_t budget, struct router_counters *counters,
                   const struct circuits_hooks *hooks, void *arg);
/* All wires must be lost. */
void circuits_fini(struct circuits *circuits);

/* The link is up: circuits may run on it. */
void circuits_wire_add(struct circuits *circuits, struct wire *wire, wf_link *link, bool is_router);
/* The link is gone: so are its circuits (WEFT_ELOST on the other side). Also if it wasn't added. */
void circuits_wire_lost(struct circuits *circuits, struct wire *wire);

/* The window that this router's memory allows a new circuit, at most `offered`. */
uint32_t circuits_window(const struct circuits *circuits, uint64_t offered);

/* Who and what a new circuit is for. All copied. */
struct circuit_about {
    wf_id instance, dialer, host, host_router;
    uint64_t dial_epoch, bind_epoch;
    uint64_t until;            /* wall ms; only where `dialer` is set */
    const pki_pin *dialer_pin; /* NULL: its link tells */
    bool is_first;
};
/*
 * Sends a SETUP on: `onward` as it shall go, without label and window, which
 * this puts in. `in_label` is what the SETUP that came announced. OK means
 * that the dialer's side will hear: the reply, or a refusal after WF_SETUP_MS.
 * On an error nothing happened: WEFT_ELIMIT, WEFT_EBUSY, WEFT_EPROTO, WEFT_ENOMEM.
 */
weft_err circuit_setup(struct circuits *circuits, struct wire *in, uint32_t in_label,
                       struct wire *out, const struct circuit_about *about,
                       Weft__Wire__Setup *onward, wf_why *why);
/* Answers a SETUP for which there is no circuit. */
void circuit_refuse(struct wire *in, uint32_t in_label, weft_err code, const char *reason);
/* Ends a circuit at once on both sides with this code. */
void circuit_close(struct circuits *circuits, struct circuit *circuit, weft_err code);
/* Ends those pending that are due; returns when the next one is, 0: none. now: monotonic ms. */
uint64_t circuits_expire(struct circuits *circuits, uint64_t now);

/* What came over the wire. A breach of the link itself cuts the link. */
void circuits_take_reply(struct circuits *circuits, struct wire *wire,
                         Weft__Wire__SetupReply *reply);
void circuits_take_frame(struct circuits *circuits, struct wire *wire, struct wf_frame *frame);
void circuits_drained(struct circuits *circuits, struct wire *wire);

/*
 * Walks all circuits that aren't closing; a circuit may be met twice. `each`
 * may close circuits.
 */
void circuits_each(struct circuits *circuits, void (*each)(void *arg, struct circuit *circuit),
                   void *arg);

/* ---- between circuit.c and relay.c */

weft_err circuit_send_control(struct wire *wire, const Weft__Wire__Control *message, uint32_t size,
                              uint32_t cap);
/* A CLOSE with this code is due to that side, behind what waits or (drop) instead of it. */
void half_end(struct circuits *circuits, struct half *half, weft_err code, bool drop);
/* If both closes have crossed the side is done; with both sides done the circuit is freed. */
void half_settle(struct circuits *circuits, struct half *half);
void half_release(struct circuits *circuits, struct half *half);
void half_unqueue(struct circuits *circuits, struct half *half);
void circuit_move(struct circuits *circuits, struct circuit *circuit, enum circuit_state to);
/* Accepts bytes for that side: sends or queues them. */
void half_forward(struct circuits *circuits, struct half *to, uint8_t *frame, uint32_t len);
/* Closes the circuits with the largest backlog until the memory is under the budget. */
void circuits_relieve(struct circuits *circuits);

#endif
