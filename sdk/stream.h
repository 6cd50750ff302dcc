/* A stream's inside: a dial or an incoming session, from its first step to its last callback. */
#ifndef SDK_STREAM_H
#define SDK_STREAM_H

#include "sdk/endpoint.h"

enum wf_stream_state {
    WF_STREAM_GRANT,    /* dialer: expects a grant */
    WF_STREAM_ROUTER,   /* dialer: expects a router */
    WF_STREAM_ANSWER,   /* dialer: expects the router's answer, then the host's */
    WF_STREAM_GREETING, /* host: expects the dialer's HELLO */
    WF_STREAM_DECISION, /* host: expects the application's answer */
    WF_STREAM_OPEN,     /* expects bytes */
    WF_STREAM_ENDING,   /* given up after both ends: expects close_notify, then tells the user */
    WF_STREAM_CLOSED,   /* the user is to be told */
    WF_STREAM_LINGER,   /* nobody is interested any more: expects close_notify */
};

/* What is to be done when the loop next turns. */
enum {
    WF_DUE_STEP = 1, /* dialer: go on, or begin afresh */
    WF_DUE_OPENED = 2,
    WF_DUE_RESUME = 4,
    WF_DUE_WRITABLE = 8,
    WF_DUE_CLOSED = 16,
    WF_DUE_FREE = 32,
    WF_DUE_GONE = 64, /* host: tells who was asked to decide */
};

struct wf_dial {
    weft_stream *stream; /* borrowed: owns us */
    char service[WF_NAME_MAX + 1];
    wf_id instance;
    bool datagram;
    bool fetched;              /* the grant came fresh from the controller */
    bool searched;             /* for a router that knows a host, when one did not */
    wf_id router;              /* of the present attempt */
    wf_id tried[WF_EDGES_MAX]; /* routers that said WEFT_ENOHOST */
    size_t tried_count;
    unsigned attempts;
    struct wf_wait wait; /* for a grant or a router */
    weft_err refused;    /* why it begins afresh */
    wf_why why;
};

struct weft_stream {
    wf_node node;            /* in endpoint->streams */
    wf_node deciding;        /* in endpoint->deciding, while in WF_STREAM_DECISION */
    weft_endpoint *endpoint; /* borrowed: outlives us */
    enum wf_stream_state state;
    unsigned due;
    struct wf_job job;
    wf_session *session;  /* owned; NULL while there is none */
    wf_circuit *circuit;  /* NULL when it is gone */
    struct wf_dial *dial; /* owned; NULL unless dialing */
    wf_timer *timer;      /* owned: the dial's deadline, or lingering; NULL while off */
    wf_buf first;         /* owned: what goes into SETUP or its reply */
    bool collecting;      /* ciphertext goes into `first` */
    bool host;
    const struct weft_stream_handler *handler; /* borrowed: static; NULL: nobody listens */
    void *arg;
    weft_listener *listener; /* host: borrowed, NULL once it was closed or answered */
    void (*gone)(void *arg);
    void *gone_arg;
    uint64_t started;       /* mono ms, when it opened */
    uint64_t closing_since; /* mono ms, when only close_notify was left to come; 0: not yet */
    uint64_t window_cap;    /* a router may have lowered it */
    uint64_t promised;      /* of the session, as counted in the endpoint */
    uint64_t grant_expiry;  /* of ours, as the other side knows it */
    uint64_t grant_epoch;   /* the same grant's */
    struct pki_terms terms; /* the same grant's */
    uint64_t idle_ms;       /* by both grants: without a byte of data; 0: any */
    uint64_t active;        /* mono ms of the last byte of data; kept while idle_ms isn't 0 */
    wf_id session_id;
    weft_err err; /* how it ended */
    wf_why why;
    struct weft_peer peer;
    char peer_name[WF_NAME_MAX + 1], peer_id[WF_ID_TEXT], peer_spiffe[PKI_SPIFFE_MAX];
    char peer_service[WF_NAME_MAX + 1], peer_session[WF_ID_TEXT];
};

/* ---- stream.c */

/* A stream in its first state, on the endpoint's list; NULL without memory. */
weft_stream *wf_stream_new(weft_endpoint *endpoint, enum wf_stream_state state);
void wf_stream_move(weft_stream *stream, enum wf_stream_state to);
void wf_stream_post(weft_stream *stream, unsigned due);
/* Ends it for the user, who hears of it soon. Session and circuit may live on for a while. */
void wf_stream_close_with(weft_stream *stream, weft_err err, const char *why);
/* Starts or moves its timer; without memory for one, WEFT_ENOMEM. */
weft_err wf_stream_set_timer(weft_stream *stream, uint64_t ms);
/* Drops session and circuit at once, silently. Not from inside the session. */
void wf_stream_drop(weft_stream *stream);
extern const struct wf_session_handler wf_stream_session_handler;
extern const struct wf_circuit_handler wf_stream_circuit_handler;
/* How far the other side may run ahead of us: the edge's share, within what the endpoint may
 * promise. */
uint64_t wf_stream_window(const weft_stream *stream, wf_edge *edge);
/* What a session of the stream is made of. */
weft_err wf_stream_open_session(weft_stream *stream, const wf_id *service, const wf_id *instance,
                                bool datagram, const struct wf_grant *grant, uint64_t window,
                                wf_why *why);
/* For the endpoint: resets and closes it, whatever it does. */
void wf_stream_shut(weft_stream *stream);

/* ---- standing.c */

/* From now on this is the grant that the other side knows of us. */
void wf_stream_use_grant(weft_stream *stream, const struct pki_grant *grant);
/* It is open from now on: its limits count. */
void wf_stream_begin(weft_stream *stream);
/* Host: whether its service may have one session more. WEFT_EBUSY names the limit. */
weft_err wf_stream_check_room(const weft_stream *stream, wf_why *why);
/* A byte of data went either way. */
void wf_stream_note_active(weft_stream *stream);
/*
 * Why an open session that ended with err really ended: what we know ourselves
 * decides, whichever word of it came first, so that the answer is always the
 * same. *why holds the words of err, and then the rule.
 */
weft_err wf_stream_settle(const weft_stream *stream, weft_err err, wf_why *why);
/* For the house: looks again at what changes with time. */
void wf_stream_look(weft_stream *stream, uint64_t now, uint64_t mono);
/* When a rule of its grants may end it next (mono ms): look then. UINT64_MAX: none does. */
uint64_t wf_stream_due(const weft_stream *stream, uint64_t now, uint64_t mono);

/* ---- dial.c */

void wf_dial_step(weft_stream *stream);
/* The session or its circuit ended before the host accepted: begins afresh, or ends. */
void wf_dial_failed(weft_stream *stream, weft_err err, const char *why);
void wf_dial_free(struct wf_dial *dial); /* NULL is fine */

/* ---- listener.c */

/* The dialer is verified: offers it to the application. */
void wf_listener_offer(weft_stream *stream);

#endif
