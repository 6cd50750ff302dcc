/*
 * An edge: our connection to one router, and the circuits on it.
 * docs/protocol.md, "Circuits".
 */
#ifndef SDK_EDGE_H
#define SDK_EDGE_H

#include "pki/trust.h"
#include "proto/link/uplink.h"

typedef struct wf_edge wf_edge;
typedef struct wf_circuit wf_circuit;

struct wf_edge_handler {
    /* SETUPs and binds may be sent. */
    void (*ready)(void *arg, wf_edge *edge);
    /* The other side's Hello came. */
    void (*up)(void *arg, wf_edge *edge, const Weft__Wire__Hello *hello);
    /* The link is gone, its circuits lost already, or none was made; tried again in retry_ms. */
    void (*down)(void *arg, wf_edge *edge, weft_err err, const wf_why *why, uint64_t retry_ms);
    /*
     * A dialer wants in: wf_circuit_answer or wf_circuit_turn_away is due
     * before this returns.
     */
    void (*setup)(void *arg, wf_edge *edge, wf_circuit *circuit, const Weft__Wire__Setup *setup);
    /* Any other control message. */
    void (*control)(void *arg, wf_edge *edge, Weft__Wire__Control *message);
    void (*closed)(void *arg, wf_edge *edge); /* the last one; its memory goes when this returns */
};

struct wf_edge_config {
    wf_net *net;
    pki_tls_ctx *tls;
    const struct pki_member *router; /* copied */
    const char *self;                /* our own name, for what is told; borrowed: outlives us */
    wf_hello_fn hello;
    void *hello_arg;
    uint8_t
        *frame; /* borrowed: outlives us; WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX bytes of scratch */
    const struct wf_edge_handler *handler; /* borrowed: static */
    void *arg;
};

weft_err wf_edge_open(const struct wf_edge_config *config, wf_edge **out);
/* Circuits are lost at once; `closed` follows, later. Idempotent. */
void wf_edge_close(wf_edge *edge);
/* A newer member record of the same router: addresses for the next attempt. */
void wf_edge_set_router(wf_edge *edge, const struct pki_member *router);
const struct pki_member *wf_edge_router(const wf_edge *edge);
bool wf_edge_is_ready(const wf_edge *edge);
wf_link *wf_edge_link(const wf_edge *edge); /* NULL unless ready */
/* Ends the link for a fault that we found in the router; it is dialed again. */
void wf_edge_cut(wf_edge *edge, weft_err err, const char *why);
void wf_edge_retry_now(wf_edge *edge);
size_t wf_edge_circuits(const wf_edge *edge);
/*
 * How large a window one circuit gets now: what the path may hold, shared by
 * the circuits that moved data lately.
 */
uint64_t wf_edge_window(wf_edge *edge);

struct wf_circuit_handler {
    /* Our SETUP was answered with OK. */
    void (*answered)(void *arg, const Weft__Wire__SetupReply *reply);
    void (*data)(void *arg, const uint8_t *data, size_t len);
    void (*acked)(void *arg, const struct wf_ack *ack);
    /* The link has room again, after wf_circuit_is_blocked said no. */
    void (*drained)(void *arg);
    /*
     * The circuit is gone: refused, closed by the other side, or its link was
     * lost (WEFT_ELOST). The last callback.
     */
    void (*lost)(void *arg, weft_err code, const char *what);
};

/* Sends the SETUP with a label of ours. WEFT_EUNREACHABLE (not ready), WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err wf_circuit_dial(wf_edge *edge, Weft__Wire__Setup *setup,
                         const struct wf_circuit_handler *handler, void *arg, wf_circuit **out);
/* Answers a SETUP that came in with OK. `first` may be empty. */
weft_err wf_circuit_answer(wf_circuit *circuit, uint64_t window, const wf_id *instance,
                           wf_span first, const struct wf_circuit_handler *handler, void *arg);
/* Answers with an error; the circuit is gone. */
void wf_circuit_turn_away(wf_circuit *circuit, weft_err code, const char *reason);
wf_edge *wf_circuit_edge(const wf_circuit *circuit);

/* Ciphertext, in as many frames as it takes. */
weft_err wf_circuit_send(wf_circuit *circuit, const uint8_t *data, size_t len);
void wf_circuit_ack(wf_circuit *circuit, const struct wf_ack *ack);
/* Whether DATA must wait; if so, `drained` comes. */
bool wf_circuit_is_blocked(wf_circuit *circuit);
/* Sends CLOSE (WEFT_OK: both close_notify were seen). No callback comes any more. */
void wf_circuit_close(wf_circuit *circuit, weft_err code);

#endif
