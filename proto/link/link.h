/*
 * A link: one TCP connection with TLS 1.3 and frames inside, between any two
 * nodes. It does the handshake, the Hello, heartbeats, deadlines and limits,
 * matches replies to calls, and hands everything else up.
 *
 * Life: connecting -> securing -> greeting -> up -> closing -> closed.
 * `secured` comes when TLS is complete and the peer is known: our own Hello is
 * already queued, and frames may be sent from then on. `up` comes with the
 * peer's Hello; before it no other frame is taken from the peer. `closed` is
 * the last callback and comes exactly once, later, never from inside a call.
 * After it the wf_link is gone. Its error: WEFT_OK after our own close,
 * WEFT_EEOF when the peer closed, WEFT_EUNREACHABLE when the connection was
 * refused or lost, WEFT_ETIMEDOUT for a deadline or silence, a credential's
 * error for either side's certificate, else the breach or limit that cut it.
 *
 * A link never stops reading: what a peer may make us hold is bounded above
 * by credit and by the caps here. Output: frames are encrypted at once and
 * their ciphertext is sent when the loop next turns (or wf_link_flush).
 * Senders of DATA stop while wf_link_is_blocked and go on at `drained`;
 * over WF_OUTPUT_MAX of queued output the link is cut (WEFT_ELIMIT).
 */
#ifndef PROTO_LINK_LINK_H
#define PROTO_LINK_LINK_H

#include "pki/tls.h"
#include "proto/base/address.h"
#include "proto/link/net.h"
#include "proto/wire/control.h"
#include "proto/wire/frame.h"

typedef struct wf_link wf_link;

struct wf_link_handler {
    void (*secured)(wf_link *link, void *arg); /* may be NULL */
    void (*up)(wf_link *link, void *arg, const Weft__Wire__Hello *hello);
    /* Any control message but Hello and replies to our calls. Borrowed for the call. */
    void (*control)(wf_link *link, void *arg, Weft__Wire__Control *message);
    /*
     * DATA, ACK or CLOSE. The bytes (header included) are borrowed and
     * writable for the call: a router sets the label and sends them on.
     * NULL: such a frame is a breach and cuts the link.
     */
    void (*frame)(wf_link *link, void *arg, struct wf_frame *frame);
    void (*drained)(wf_link *link, void *arg); /* may be NULL */
    void (*closed)(wf_link *link, void *arg, weft_err err, const wf_why *why);
};

/* Fills what we say in our Hello, when a link is secured; its memory is borrowed until encoded. */
typedef void (*wf_hello_fn)(void *arg, Weft__Wire__Hello *hello);

struct wf_link_config {
    pki_tls_ctx *tls; /* counted */
    enum pki_alpn alpn;
    unsigned kinds;       /* mask of pki_kind that the peer may be */
    const wf_id *peer_id; /* copied; NULL: any */
    const pki_pin *peer_pins;
    size_t peer_pin_count;
    wf_hello_fn hello; /* may be NULL */
    void *hello_arg;
    const struct wf_link_handler *handler; /* borrowed: static */
    void *arg;
};

/*
 * Dials host:port (a name is resolved off the loop's thread). OK means exactly
 * one `closed` later, with `up` before it if all went well.
 */
weft_err wf_link_dial(wf_net *net, const wf_address *address, const struct wf_link_config *config,
                      wf_link **out);
/* Graceful: sends what is queued (for at most 1 s), close_notify, then closes. Idempotent. */
void wf_link_close(wf_link *link);
/* At once, with this error for `closed`. */
void wf_link_cut(wf_link *link, weft_err err, const char *reason);

/* Another arg for the handler's callbacks from now on; borrowed until `closed`. */
void wf_link_set_arg(wf_link *link, void *arg);
bool wf_link_is_up(const wf_link *link);
bool wf_link_is_secured(const wf_link *link); /* frames may be sent */
enum pki_alpn wf_link_alpn(const wf_link *link);
/* NULL on weft-enroll/1's server side; valid as long as the link. */
const struct pki_subject *wf_link_peer(const wf_link *link);
const pki_chain *wf_link_peer_chain(const wf_link *link);
/* The other address as text, for the log; valid as long as the link. */
const char *wf_link_remote(const wf_link *link);
/* Exporter of this hop, for proofs of possession. label e.g. "EXPORTER-weft-enroll". */
weft_err wf_link_export(wf_link *link, const char *label, uint8_t out[32]);

/* Encodes and sends. WEFT_ELIMIT, WEFT_ENOMEM: each cuts the link too, so callers may ignore it. */
weft_err wf_link_send_control(wf_link *link, const Weft__Wire__Control *message);
/*
 * Sends one whole frame whose header is already in place: len =
 * WF_FRAME_HEADER + payload. The bytes are borrowed for the call.
 */
weft_err wf_link_send_frame(wf_link *link, const uint8_t *bytes, size_t len);
weft_err wf_link_send_ack(wf_link *link, uint32_t label, const struct wf_ack *ack);
weft_err wf_link_send_close(wf_link *link, uint32_t label, weft_err code);
bool wf_link_is_blocked(const wf_link *link); /* more than WF_OUTPUT_LOW waits for the socket */
/* Sends what is queued now, not when the loop next turns. */
void wf_link_flush(wf_link *link);

/*
 * A call to the peer (the controller). `done` comes exactly once, later:
 * with code WEFT_OK and the result, or with an error (also when the link
 * closes: WEFT_EUNREACHABLE, or after timeout_ms: WEFT_ETIMEDOUT).
 */
typedef void (*wf_call_fn)(void *arg, weft_err code, const char *reason, wf_span result);
weft_err wf_link_call(wf_link *link, const char *operation, wf_span arguments, unsigned timeout_ms,
                      wf_call_fn done, void *arg);
/* As wf_link_call with a protobuf message as arguments. */
weft_err wf_link_call_message(wf_link *link, const char *operation, const ProtobufCMessage *message,
                              unsigned timeout_ms, wf_call_fn done, void *arg);
/* The answer to a Call that `control` handed up. */
weft_err wf_link_reply(wf_link *link, uint64_t id, weft_err code, const char *reason,
                       wf_span result);

/* ---- accepting */

typedef struct wf_listener wf_listener;

struct wf_listener_config {
    pki_tls_ctx *tls; /* counted */
    unsigned alpn;    /* mask */
    unsigned kinds;
    /*
     * Places for connections that aren't up yet (0: 256), and how many of them one address may
     * have (0: 64). When none is free, the oldest that has had a second goes, or the new one
     * waits for it, unread; four times as many may wait, but of one address per_address_max fewer
     * than that. When wf_listener_open is called the limit of open files bounds all of these:
     * links have half of it, those who wait a quarter, places an eighth.
     */
    unsigned handshakes_max;
    unsigned per_address_max;
    unsigned links_max; /* links that are up; 0: 65,536 */
    wf_hello_fn hello;
    void *hello_arg;
    /*
     * A peer is secured. Returns the handler (NULL: refuse) and sets *arg for
     * it; the handler's `secured` isn't called for accepted links.
     */
    const struct wf_link_handler *(*accepted)(void *listener_arg, wf_link *link, void **arg);
    void *arg;
};
/*
 * Binds and listens on an IP address (no name). address.port 0 picks one: see
 * wf_listener_port. WEFT_EIO with the reason.
 */
weft_err wf_listener_open(wf_net *net, const wf_address *address,
                          const struct wf_listener_config *config, wf_listener **out, wf_why *why);
uint16_t wf_listener_port(const wf_listener *listener);
/* Stops accepting; links live on. Memory goes in its close callback. */
void wf_listener_close(wf_listener *listener);

#endif
