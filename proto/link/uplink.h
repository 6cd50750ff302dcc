/*
 * An uplink: a link that is wanted. It dials the peer's addresses in turn,
 * dials again when the link is lost (the first time at once, then with jittered
 * back-off from WF_BACKOFF_MIN_MS to backoff_max_ms), and queues nothing:
 * calls made while it is down fail with WEFT_EUNREACHABLE once, or wait for the
 * next `up` if asked to.
 */
#ifndef PROTO_LINK_UPLINK_H
#define PROTO_LINK_UPLINK_H

#include "proto/link/link.h"

typedef struct wf_uplink wf_uplink;

struct wf_uplink_handler {
    void (*secured)(wf_uplink *uplink, void *arg, wf_link *link); /* may be NULL */
    void (*up)(wf_uplink *uplink, void *arg, wf_link *link, const Weft__Wire__Hello *hello);
    void (*control)(wf_uplink *uplink, void *arg, Weft__Wire__Control *message);
    void (*frame)(wf_uplink *uplink, void *arg, struct wf_frame *frame); /* may be NULL */
    void (*drained)(wf_uplink *uplink, void *arg);                       /* may be NULL */
    /* The link is gone or an attempt failed; another attempt comes in retry_ms. */
    void (*down)(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why, uint64_t retry_ms);
    void (*closed)(wf_uplink *uplink, void *arg); /* the last one, after wf_uplink_close */
};

struct wf_uplink_config {
    struct wf_link_config link;  /* its handler and arg are ignored */
    const wf_address *addresses; /* copied; 1..WF_ADDRESSES_MAX */
    size_t address_count;
    unsigned backoff_max_ms;                 /* 0: WF_BACKOFF_MAX_MS, which it never exceeds */
    const struct wf_uplink_handler *handler; /* borrowed: static */
    void *arg;
};

weft_err wf_uplink_open(wf_net *net, const struct wf_uplink_config *config, wf_uplink **out);
/* Changes where to dial from the next attempt on; copied. */
void wf_uplink_set_addresses(wf_uplink *uplink, const wf_address *addresses, size_t count);
/*
 * Changes whose key is let in from the next attempt on: a peer that has changed
 * its own; copied. A link that is up goes on. Without memory the old ones stay.
 */
void wf_uplink_set_pins(wf_uplink *uplink, const pki_pin *pins, size_t count);
wf_link *wf_uplink_link(const wf_uplink *uplink); /* NULL unless secured */
bool wf_uplink_is_up(const wf_uplink *uplink);
/* Forgets the back-off and dials now, if it is down. */
void wf_uplink_retry_now(wf_uplink *uplink);
/*
 * A call over the uplink, waiting up to timeout_ms for it to come up and for
 * the answer, together. `done` as in wf_link_call; if it never came up, with
 * the error of the last attempt (WEFT_ETIMEDOUT if none has failed).
 */
weft_err wf_uplink_call(wf_uplink *uplink, const char *operation, wf_span arguments,
                        unsigned timeout_ms, wf_call_fn done, void *arg);
void wf_uplink_close(wf_uplink *uplink);

#endif
