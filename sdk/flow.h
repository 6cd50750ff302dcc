/*
 * Credit of one session, both directions, as pure arithmetic. Offsets count
 * the end-to-end ciphertext of a direction from the first byte of SETUP on.
 * docs/protocol.md, "Flow control".
 */
#ifndef SDK_FLOW_H
#define SDK_FLOW_H

#include "proto/base/why.h"
#include "proto/wire/frame.h"
#include <stdbool.h>
#include <stdint.h>

struct wf_flow {
    uint64_t sent;     /* what we sent */
    uint64_t acked;    /* of that, what the other side says it has */
    uint64_t credit;   /* we may send up to this offset */
    uint64_t received; /* what came */
    uint64_t granted;  /* the other side may send up to this offset */
    uint64_t window;   /* how far ahead of the application we let it run */
};

/* Both directions start with window bytes. */
void wf_flow_init(struct wf_flow *flow, uint64_t window);
/* The answer to our dial named the window of both directions; lowers only. Before any byte came. */
void wf_flow_limit(struct wf_flow *flow, uint64_t window);
/* How far we let the other side run from now on. Credit that was given stays given. */
void wf_flow_set_window(struct wf_flow *flow, uint64_t window);

/* Bytes of ciphertext that may go now: for any item; for DATA, which leaves WF_WINDOW_RESERVE. */
uint64_t wf_flow_room(const struct wf_flow *flow);
uint64_t wf_flow_data_room(const struct wf_flow *flow);
void wf_flow_sent(struct wf_flow *flow, size_t len);
/*
 * An ACK came. Acknowledging what was never sent is WEFT_EPROTO; credit or
 * acknowledgements that go back are ignored, and no credit lets us run more
 * than WF_WINDOW_MAX ahead of what is acknowledged.
 */
weft_err wf_flow_acked(struct wf_flow *flow, const struct wf_ack *ack, wf_why *why);

/* Ciphertext came: WEFT_EPROTO beyond what we granted. */
weft_err wf_flow_received(struct wf_flow *flow, size_t len, wf_why *why);
/*
 * Whether an ACK is due while the application has yet to take `held` bytes of
 * DATA. It is once a quarter of the window can be given; then *out is what to
 * send and counts as given.
 */
bool wf_flow_ack_due(struct wf_flow *flow, uint64_t held, struct wf_ack *out);

#endif
