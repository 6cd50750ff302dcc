/*
 * Timers.
 *
 * Happy path: new, start, fire, free; the handle's memory goes in its close
 * callback, which tells the owner once no handle is left.
 *
 * - free while on: the timer is stopped by uv_close and never fires.
 * - free from inside fire: allowed; fire is the last thing the callback does.
 */
#include "sdk/timer.h"
#include "proto/base/list.h"
#include <assert.h>
#include <stdlib.h>
#include <uv.h>

struct wf_timer {
    uv_timer_t handle;
    struct wf_timers *owner; /* borrowed: outlives us */
    void (*fire)(void *arg);
    void *arg;
};

wf_timer *wf_timer_new(struct wf_timers *timers, void (*fire)(void *arg), void *arg)
{
    assert(fire != NULL);
    wf_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return NULL;
    timer->owner = timers;
    timer->fire = fire;
    timer->arg = arg;
    (void)uv_timer_init(timers->loop, &timer->handle); /* can't fail: no allocation */
    timers->open++;
    return timer;
}

static void on_timer(uv_timer_t *handle)
{
    wf_timer *timer = wf_container_of(handle, wf_timer, handle);
    timer->fire(timer->arg);
}

void wf_timer_start(wf_timer *timer, uint64_t ms)
{
    /* Deadlines count from now, not from when the loop last looked at its clock. */
    if (ms > 0)
        uv_update_time(timer->handle.loop);
    (void)uv_timer_start(&timer->handle, on_timer, ms, 0);
}

void wf_timer_stop(wf_timer *timer)
{
    (void)uv_timer_stop(&timer->handle);
}

bool wf_timer_is_on(const wf_timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->handle) != 0;
}

void wf_timer_unref(wf_timer *timer)
{
    uv_unref((uv_handle_t *)&timer->handle);
}

static void on_closed(uv_handle_t *handle)
{
    /* container_of needs the member's own type; a uv_timer_t begins as a uv_handle_t (libuv). */
    wf_timer *timer = wf_container_of((uv_timer_t *)handle, wf_timer, handle);
    struct wf_timers *owner = timer->owner;
    free(timer);
    assert(owner->open > 0);
    if (--owner->open == 0 && owner->none_left != NULL)
        owner->none_left(owner->arg);
}

void wf_timer_free(wf_timer *timer)
{
    if (timer != NULL)
        uv_close((uv_handle_t *)&timer->handle, on_closed);
}
