/*
 * The end-to-end session without I/O: ciphertext of the circuit in, items and
 * decisions out. Mutual TLS 1.3 with both permissions checked inside.
 * docs/protocol.md, "Session".
 *
 * The dialer:  NEW -> FLIGHT -> HELLO -> ANSWER -> OPEN -> CLOSING -> OVER
 * The host:    NEW -> HELLO -> DECISION -> OPEN -> CLOSING -> OVER
 *
 * A session calls its handler from inside wf_session_input, _acked, _drained
 * and _resume, and `output`, `ack` and `over` from any function; it is freed from
 * outside of all of these.
 */
#ifndef SDK_SESSION_H
#define SDK_SESSION_H

#include "pki/tls.h"
#include "proto/wire/item.h"
#include "sdk/flow.h"
#include "sdk/hello.h"

typedef struct wf_session wf_session;

/* States are named by what they expect. */
enum wf_session_state {
    WF_SESSION_NEW,      /* to be started; a host: the ClientHello */
    WF_SESSION_FLIGHT,   /* dialer: the host's flight */
    WF_SESSION_HELLO,    /* the other side's HELLO */
    WF_SESSION_ANSWER,   /* dialer: ACCEPT or REFUSE */
    WF_SESSION_DECISION, /* host: the application's accept or refuse */
    WF_SESSION_OPEN,     /* DATA and what else there is */
    WF_SESSION_CLOSING,  /* close_notify: ours is sent */
    WF_SESSION_OVER,     /* nothing */
};

/* What the sessions of one loop share: no session works while another does. */
struct wf_scratch {
    uint8_t plain[16384]; /* what one record opens to */
    uint8_t item[WF_ITEM_HEADER + WF_ITEM_CONTROL_MAX];
    uint8_t frame[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX]; /* for who puts ciphertext into frames */
};

struct wf_session_handler {
    /* Ciphertext for the circuit, within credit, borrowed for the call. An error ends it all. */
    weft_err (*output)(void *arg, const uint8_t *data, size_t len);
    /* Whether DATA must wait for the hop; after true, wf_session_drained comes once it has room. */
    bool (*blocked)(void *arg);
    void (*ack)(void *arg, const struct wf_ack *ack);
    /* A record of floors that came along; may be NULL. */
    void (*floors)(void *arg, const Weft__Wire__Signed *set);
    /* The other side is verified. Host: wf_session_accept or wf_session_refuse is due. */
    void (*verified)(void *arg);
    void (*opened)(void *arg);                                  /* dialer: the host accepted */
    size_t (*data)(void *arg, const uint8_t *data, size_t len); /* as weft_stream_handler.data */
    void (*datagram)(void *arg, const uint8_t *data, size_t len);
    void (*ended)(void *arg);    /* END, after its last byte was taken */
    void (*writable)(void *arg); /* there is room again after a write that took fewer */
    /*
     * The session is over, as far as the circuit goes; comes once. With
     * WEFT_OK there may be bytes left that the application has yet to take.
     */
    void (*over)(void *arg, weft_err err, const char *why);
};

struct wf_session_config {
    pki_tls_ctx *tls; /* counted by the session */
    bool host;
    struct wf_hello self;       /* our own HELLO; its grant and floors are borrowed for the call */
    uint64_t window;            /* both directions, at the start */
    struct wf_scratch *scratch; /* borrowed: outlives us */
    const struct wf_session_handler *handler; /* borrowed: static */
    void *arg;
};

weft_err wf_session_new(const struct wf_session_config *config, wf_session **out, wf_why *why);
void wf_session_free(wf_session *session); /* NULL is fine; no callback comes */

enum wf_session_state wf_session_state(const wf_session *session);
/* The peer and its grant; from `verified` on. */
const struct pki_subject *wf_session_peer(const wf_session *session);
const struct pki_grant *wf_session_grant(const wf_session *session);
bool wf_session_is_datagram(const wf_session *session);
/* Dialer: whether the host may have acted on something, though it has not accepted yet. */
bool wf_session_has_spoken(const wf_session *session);
const struct wf_flow *wf_session_flow(const wf_session *session);
/* How far ahead of the application the other side may run from now on. */
void wf_session_set_window(wf_session *session, uint64_t window);

/* Dialer: makes the ClientHello. The only function without `over` behind it: an error says all. */
weft_err wf_session_start(wf_session *session, wf_why *why);
/* Dialer: the outer dial was answered with our direction's window and the instance (0: unsaid). */
void wf_session_answered(wf_session *session, uint64_t window, const wf_id *instance);

/* Ciphertext from the circuit. now: wall clock, ms. */
void wf_session_input(wf_session *session, const uint8_t *data, size_t len, uint64_t now);
void wf_session_acked(wf_session *session, const struct wf_ack *ack);
void wf_session_drained(wf_session *session);
/* The circuit is gone: before both close_notify that is a loss. what: why, for people. */
void wf_session_lost(wf_session *session, weft_err code, const char *what);

/* Host, in WF_SESSION_DECISION. */
weft_err wf_session_accept(wf_session *session);
void wf_session_refuse(wf_session *session, weft_err code, const char *reason);

/*
 * One record of at most WF_ITEM_DATA_FULL bytes: *taken of len, 0 for want of
 * credit. In OPEN, and for a dialer already in ANSWER: the host is verified,
 * and holds what comes until it accepts. Else, or after wf_session_end:
 * WEFT_EINVAL or why it is over.
 */
weft_err wf_session_write(wf_session *session, const uint8_t *data, size_t len, size_t *taken);
weft_err wf_session_send_datagram(wf_session *session, const uint8_t *data, size_t len);
uint64_t wf_session_dropped_datagrams(const wf_session *session);
/* END, now or once there is room. */
weft_err wf_session_end(wf_session *session);
/* RESET, if it may be sent, and close_notify. `over` follows the other side's close_notify. */
void wf_session_reset(wf_session *session, weft_err code, const char *reason);
/* Ends it at once by a rule: `over` comes with err and why, the other side hears code and words. */
void wf_session_cut(wf_session *session, weft_err err, const char *why, weft_err code,
                    const char *words);
/* Offers again what `data` did not take. */
void wf_session_resume(wf_session *session);
/* Bytes of DATA that the application has yet to take. */
size_t wf_session_held(const wf_session *session);
/* Bytes that it may yet make us hold: held ones, and credit that the other side has not used. */
uint64_t wf_session_promise(const wf_session *session);
/* Both directions have ended: ours by wf_session_end, theirs by an END that the application saw. */
bool wf_session_both_ended(const wf_session *session);

/* A fresher grant of ours for the other side. WEFT_EBUSY: no room or not open; try again later. */
weft_err wf_session_send_grant(wf_session *session, const Weft__Wire__Signed *grant);
/*
 * Whether the peer may still be here, by what is known on this side: not
 * revoked, nothing withdrawn, a window of its grant open. For us that it may not
 * is WEFT_EREFUSED; *told is what it is for the peer itself. From `verified` on.
 */
weft_err wf_session_stands(const wf_session *session, uint64_t now, weft_err *told, wf_why *why);
/*
 * Looks again at what changes with time: the peer's certificate and grant,
 * floors, windows and expiry. grace_ms: how long the session may outlive the peer's
 * grant. A session that fails is reset, and `over` comes.
 */
void wf_session_check(wf_session *session, uint64_t now, uint64_t grace_ms);

#endif
