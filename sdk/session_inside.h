/* What the files of the session share: session.c (life, handshake) and session_items.c (items). */
#ifndef SDK_SESSION_INSIDE_H
#define SDK_SESSION_INSIDE_H

#include "sdk/datagrams.h"
#include "sdk/session.h"

/* One direction of the stream. */
enum wf_half {
    WF_HALF_OPEN,
    WF_HALF_ENDING, /* ours: END waits for room; theirs: END came, bytes are left to take */
    WF_HALF_ENDED,
};

struct wf_session {
    enum wf_session_state state;
    enum wf_half out, in;
    bool host;
    bool datagram;
    bool wants;                               /* a write took fewer than asked */
    bool spoke;                               /* dialer: DATA or END went out before ACCEPT */
    bool delivering;                          /* inside the application's data callback */
    pki_tls *tls;                             /* owned */
    pki_trust *trust;                         /* counted */
    const struct wf_session_handler *handler; /* borrowed: static */
    void *arg;
    struct wf_scratch *scratch; /* borrowed: outlives us */
    struct wf_hello expected;   /* what the peer's HELLO must say */
    struct wf_flow flow;
    struct wf_item_parser parser;
    size_t handshake_bytes; /* of the other side's flights */
    wf_buf hello;           /* owned: our HELLO item until it is sent */
    wf_buf flight;          /* owned: ciphertext of the handshake that is not let go yet */
    wf_buf held;            /* owned: DATA that the application did not take, from held_at on */
    size_t held_at;
    struct wf_datagrams datagrams;
    struct pki_subject peer; /* from `verified` on */
    struct pki_grant grant;
    uint64_t now;     /* wall clock of the input that is being worked on */
    weft_err verdict; /* how it ends, while CLOSING and OVER */
    wf_why why;
};

void wf_session_move(wf_session *s, enum wf_session_state to);
/* Ends the session as far as the circuit goes. The why is s->why. */
void wf_session_finish(wf_session *s, weft_err err);
/* The other side broke a rule, or failed a check after TLS: tells it s->why if it may, and ends. */
void wf_session_breach(wf_session *s, weft_err err);
/* close_notify, then waits for the other side's; it will have ended with verdict. */
void wf_session_shut(wf_session *s, weft_err verdict);
/* Sends one control item (not DATA). WEFT_EBUSY: no room now. */
weft_err wf_session_put(wf_session *s, enum wf_item_type type, wf_span content);
weft_err wf_session_put_refusal(wf_session *s, enum wf_item_type type, weft_err code,
                                const char *reason);
/* Lets go what the handshake made so far. */
weft_err wf_session_let_go(wf_session *s);

/* The other side's HELLO came: checks it, answers, goes on. */
void wf_session_greeted(wf_session *s, const Weft__Wire__ItemHello *item);
/* Host: an authenticated REFUSE, then close_notify. */
void wf_session_turn_away(wf_session *s, weft_err code, const char *reason);

/* wf_item_fn: one item of the other side. */
weft_err wf_session_item(void *arg, enum wf_item_type type, wf_span content);
/* Sends what waited for room. */
void wf_session_pump(wf_session *s);
/* Sends an ACK if one is due. */
void wf_session_credit(wf_session *s);

#endif
