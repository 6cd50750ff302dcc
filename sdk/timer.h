/*
 * One-shot timers on the loop, for code whose headers don't name libuv. All
 * timers of an endpoint belong to one wf_timers, which knows when the last
 * handle is really closed.
 */
#ifndef SDK_TIMER_H
#define SDK_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <weft/err.h>

struct uv_loop_s;
typedef struct wf_timer wf_timer;

struct wf_timers {
    struct uv_loop_s *loop; /* borrowed: outlives us */
    unsigned open;          /* handles that libuv still owns */
    /* Called when `open` falls to zero; may be NULL. */
    void (*none_left)(void *arg);
    void *arg;
};

/* NULL without memory. fire is called from the loop, never from inside a call. */
wf_timer *wf_timer_new(struct wf_timers *timers, void (*fire)(void *arg), void *arg);
/* Fires once after ms (0: when the loop next turns); starting again moves it. */
void wf_timer_start(wf_timer *timer, uint64_t ms);
void wf_timer_stop(wf_timer *timer);
bool wf_timer_is_on(const wf_timer *timer);
/* A timer that is on but unreferenced does not keep the loop alive. */
void wf_timer_unref(wf_timer *timer);
/* NULL is fine. It never fires again; the memory goes in libuv's close callback. */
void wf_timer_free(wf_timer *timer);

#endif
