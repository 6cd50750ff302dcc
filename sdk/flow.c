/*
 * Credit. The bound that matters: a sender within its credit never makes the
 * receiver hold more than the largest window it was given, because credit is
 * what came, less what the application has not taken, plus the window.
 */
#include "sdk/flow.h"
#include <assert.h>

void wf_flow_init(struct wf_flow *flow, uint64_t window)
{
    assert(window <= WF_WINDOW_MAX);
    *flow = (struct wf_flow){.credit = window, .granted = window, .window = window};
}

void wf_flow_limit(struct wf_flow *flow, uint64_t window)
{
    /*
     * Only at the start, before any byte or ACK came. The host took the same
     * window for what it sends: believing in more than it has, we would wait
     * with our ACK until it has long stopped.
     */
    assert(flow->received == 0);
    if (window < flow->credit)
        flow->credit = window;
    if (window < flow->granted)
        flow->granted = window;
    wf_flow_set_window(flow, window);
}

void wf_flow_set_window(struct wf_flow *flow, uint64_t window)
{
    if (window > WF_WINDOW_MAX)
        window = WF_WINDOW_MAX;
    /* With less, a full record and the reserve might not fit: the sender would wait for ever. */
    flow->window = window < WF_WINDOW_MIN ? WF_WINDOW_MIN : window;
}

uint64_t wf_flow_room(const struct wf_flow *flow)
{
    uint64_t limit = flow->acked + WF_WINDOW_MAX;
    if (limit > flow->credit)
        limit = flow->credit;
    return limit > flow->sent ? limit - flow->sent : 0;
}

uint64_t wf_flow_data_room(const struct wf_flow *flow)
{
    uint64_t room = wf_flow_room(flow);
    return room > WF_WINDOW_RESERVE ? room - WF_WINDOW_RESERVE : 0;
}

void wf_flow_sent(struct wf_flow *flow, size_t len)
{
    flow->sent += len;
}

weft_err wf_flow_acked(struct wf_flow *flow, const struct wf_ack *ack, wf_why *why)
{
    if (ack->received > flow->sent)
        return wf_fail(why, WEFT_EPROTO, "an acknowledgement of bytes that were never sent");
    if (ack->received > flow->acked)
        flow->acked = ack->received;
    if (ack->credit > flow->credit)
        flow->credit = ack->credit;
    return WEFT_OK;
}

weft_err wf_flow_received(struct wf_flow *flow, size_t len, wf_why *why)
{
    if (len > flow->granted - flow->received)
        return wf_fail(why, WEFT_EPROTO, "more bytes than the credit that was given");
    flow->received += len;
    assert(flow->received <= flow->granted);
    return WEFT_OK;
}

bool wf_flow_ack_due(struct wf_flow *flow, uint64_t held, struct wf_ack *out)
{
    assert(held <= flow->received);
    uint64_t limit = flow->received - held + flow->window;
    if (limit < flow->granted + flow->window / 4)
        return false;
    flow->granted = limit;
    *out = (struct wf_ack){.received = flow->received, .credit = limit};
    return true;
}
