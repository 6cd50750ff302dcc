/*
 * All times of a net on one timer: a wheel of coarse ticks.
 *
 * Happy path: an alarm goes into the slot of its tick; the timer is armed for
 * the first slot that holds one; at that tick every alarm of the slots that
 * have passed rings, once. A net without alarms has no timer running.
 *
 * - Due beyond the horizon: it waits in the last slot and goes round again.
 * - Set or cancelled by another alarm's ring: each is in exactly one list and
 *   is taken out of it, also out of the list that is ringing.
 * - The loop was late: the slots between are done in one go.
 */
#include "proto/link/internal.h"
#include <assert.h>

static void on_timer(uv_timer_t *timer);

weft_err wf_wheel_init(wf_net *net)
{
    struct wf_wheel *w = &net->wheel;
    for (size_t i = 0; i < WF_TICK_SLOTS; i++)
        wf_list_init(&w->slots[i]);
    w->tick = wf_net_now() / WF_TICK_MS;
    w->armed = 0;
    w->count = 0;
    return uv_timer_init(net->loop, &w->timer) == 0 ? WEFT_OK : WEFT_EIO;
}

static void arm(wf_net *net, uint64_t tick, uint64_t now)
{
    uint64_t at = tick * WF_TICK_MS;
    /* The loop's own idea of now may be old, and the timer counts from it. */
    uint64_t from = uv_now(net->loop);
    if (from > now)
        from = now;
    net->wheel.armed = tick;
    uv_timer_start(&net->wheel.timer, on_timer, at > from ? at - from : 0, 0);
}

void wf_alarm_cancel(wf_alarm *alarm)
{
    if (alarm->net == NULL)
        return;
    wf_list_remove(&alarm->node);
    assert(alarm->net->wheel.count > 0);
    struct wf_wheel *w = &alarm->net->wheel;
    alarm->net = NULL;
    if (--w->count == 0 && w->armed != UINT64_MAX) {
        uv_timer_stop(&w->timer); /* so that an empty loop ends */
        w->armed = 0;
    }
}

void wf_alarm_set(wf_net *net, wf_alarm *alarm, uint64_t due)
{
    struct wf_wheel *w = &net->wheel;
    assert(alarm->ring != NULL);
    if (net->is_closing && uv_is_closing((const uv_handle_t *)&w->timer))
        return; /* nothing rings any more; closes don't wait for alarms */
    wf_alarm_cancel(alarm);
    uint64_t now = wf_net_now();
    if (w->count == 0)
        w->tick = now / WF_TICK_MS;
    uint64_t tick = (due + WF_TICK_MS - 1) / WF_TICK_MS;
    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick >= w->tick + WF_TICK_SLOTS)
        tick = w->tick + WF_TICK_SLOTS - 1;
    alarm->net = net;
    alarm->due = due;
    wf_list_push(&w->slots[tick % WF_TICK_SLOTS], &alarm->node);
    w->count++;
    if (w->armed == 0 || tick < w->armed)
        arm(net, tick, now);
}

/* Rings what is due in one slot; what isn't yet goes round again. */
static void ring_slot(wf_net *net, wf_node *slot, uint64_t now)
{
    wf_node ringing;
    if (wf_list_is_empty(slot))
        return;
    ringing = *slot;
    ringing.next->prev = &ringing;
    ringing.prev->next = &ringing;
    wf_list_init(slot);
    while (!wf_list_is_empty(&ringing)) {
        wf_alarm *alarm = wf_container_of(ringing.next, wf_alarm, node);
        if (alarm->due > now) {
            wf_alarm_set(net, alarm, alarm->due);
            continue;
        }
        wf_alarm_cancel(alarm);
        alarm->ring(alarm, now);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct wf_wheel *w = wf_container_of(timer, struct wf_wheel, timer);
    wf_net *net = wf_container_of(w, wf_net, wheel);
    uint64_t now = wf_net_now();
    uint64_t to = now / WF_TICK_MS;
    uint64_t from = w->tick;

    if (to > from + WF_TICK_SLOTS)
        from = to - WF_TICK_SLOTS; /* every slot once is enough */
    w->tick = to;
    w->armed = UINT64_MAX; /* alarms set meanwhile don't arm: we do at the end */
    wf_net_hold(net);
    for (uint64_t tick = from + 1; tick <= to; tick++)
        ring_slot(net, &w->slots[tick % WF_TICK_SLOTS], now);
    w->armed = 0;
    for (uint64_t tick = to + 1; w->count > 0 && tick < to + WF_TICK_SLOTS; tick++) {
        if (wf_list_is_empty(&w->slots[tick % WF_TICK_SLOTS]))
            continue;
        if (!uv_is_closing((const uv_handle_t *)&w->timer))
            arm(net, tick, now);
        break;
    }
    wf_net_drop(net);
}
