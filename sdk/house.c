/*
 * What an endpoint looks after from time to time, and whenever floors change:
 * sessions whose peer lost its permission, grants at half life, connections
 * that nobody needs, the certificate, the state file.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include "sdk/stream.h"

#define SAVE_MS 200u
#define DAY_MS 86400000u
#define LOOK_MIN_MS 100u /* between two looks, however many rules are due */

static void start_house(weft_endpoint *e, uint64_t ms)
{
    e->house_due = wf_now_mono_ms() + ms;
    wf_timer_start(e->house, ms);
}

void wf_house_by(weft_endpoint *e, uint64_t mono)
{
    uint64_t now = wf_now_mono_ms();
    if (e->state != WF_ENDPOINT_OPEN || mono == UINT64_MAX ||
        (wf_timer_is_on(e->house) && e->house_due <= mono))
        return;
    uint64_t wait = mono > now ? mono - now : 0;
    start_house(e, wait > WF_HOUSE_MS ? WF_HOUSE_MS : wait < LOOK_MIN_MS ? LOOK_MIN_MS : wait);
}

/* Returns when a rule of some session is due next (mono ms). */
static uint64_t look_at_streams(weft_endpoint *e, uint64_t now, uint64_t mono, bool *has_old)
{
    uint64_t next = UINT64_MAX;
    /* Looking may end a session, but never frees its stream. */
    for (wf_node *n = e->streams.next; n != &e->streams; n = n->next) {
        weft_stream *s = wf_container_of(n, weft_stream, node);
        if (s->state == WF_STREAM_OPEN && mono - s->started > WF_SESSION_OLD_MS)
            *has_old = true;
        wf_stream_look(s, now, mono);
        uint64_t due = wf_stream_due(s, now, mono);
        next = due < next ? due : next;
    }
    return next;
}

/* Grants that live sessions stand on, or that were ever used here: refreshed at half life. */
static void refresh_grants(weft_endpoint *e, uint64_t now)
{
    if (!e->controller.is_up)
        return;
    for (wf_node *n = e->streams.next; n != &e->streams; n = n->next) {
        const weft_stream *s = wf_container_of(n, weft_stream, node);
        if (s->state != WF_STREAM_OPEN || s->host)
            continue; /* listeners see to theirs */
        const struct wf_grant *own = wf_grants_find_id(
            &e->grants, &wf_session_grant(s->session)->service, WEFT__WIRE__ROLE__ROLE_DIAL, now);
        if (own == NULL ||
            now - own->grant.not_before > (own->grant.expiry - own->grant.not_before) / 2) {
            (void)wf_controller_fetch(e, wf_session_grant(s->session)->service_name, NULL,
                                      WF_CALL_MS);
            return; /* one at a time */
        }
    }
}

/* The next look is no later than the certificate's renewal. */
static void look_by(weft_endpoint *e, uint64_t now, uint64_t mono)
{
    if (e->state == WF_ENDPOINT_OPEN && e->renewal == NULL && !wf_timer_is_on(e->house) &&
        e->renew_at < now + DAY_MS) /* nothing else wakes it, and it must not expire asleep */
        start_house(e, e->renew_at > now ? e->renew_at - now + 1 : LOOK_MIN_MS);
    else if (e->renewal == NULL && e->renew_at < now + WF_HOUSE_MS)
        wf_house_by(e, e->renew_at > now ? mono + (e->renew_at - now) + 1 : mono + 1);
}

static bool has_work(const weft_endpoint *e)
{
    return !wf_list_is_empty(&e->streams) || !wf_list_is_empty(&e->listeners) ||
           e->controller.uplink != NULL || !wf_routers_are_closed(e) || e->grants.dirty;
}

void wf_house_save(weft_endpoint *e)
{
    wf_why why = {""};
    if (e->state_path == NULL)
        e->grants.dirty = false; /* in memory: nothing is to be saved, nobody wakes for it */
    if (!e->grants.dirty)
        return;
    if (wf_grants_save(&e->grants, e->state_path, &why) != WEFT_OK)
        wf_log_warn("grants are not saved: %s", why.text);
    e->grants.dirty = false;
}

void wf_endpoint_watch(weft_endpoint *e)
{
    wf_house_by(e, wf_now_mono_ms() + (e->grants.dirty ? SAVE_MS : WF_HOUSE_MS));
}

void wf_house_look(void *arg)
{
    weft_endpoint *e = arg;
    uint64_t now = wf_now_wall_ms(), mono = wf_now_mono_ms();
    bool has_old = false;
    uint64_t next = look_at_streams(e, now, mono, &has_old);
    uint64_t fetch = wf_controller_look(e, mono);
    wf_routers_look(e, now);
    wf_listeners_look(e, now);
    refresh_grants(e, now);
    wf_renewal_look(e, now);
    wf_witness_look(e, mono);
    if (has_old || !wf_list_is_empty(&e->listeners))
        (void)wf_controller_want(e);
    else if (e->controller.calls == 0 && mono - e->controller.used >= WF_IDLE_CLOSE_MS)
        wf_controller_close(e);
    wf_routers_tidy(e, mono);
    wf_lines_look(&e->lines, mono);
    wf_house_save(e);
    if (has_work(e))
        wf_endpoint_watch(e);
    wf_house_by(e, next < fetch ? next : fetch);
    look_by(e, now, mono);
}

void wf_house_changed(struct wf_job *changed)
{
    weft_endpoint *e = wf_container_of(changed, weft_endpoint, changed);
    uint64_t now = wf_now_wall_ms(), mono = wf_now_mono_ms();
    bool has_old = false;
    wf_why why = {""};
    wf_grants_sweep(&e->grants, now);
    /* First of all: who is told by us why a session ends needn't guess. */
    uint64_t next = look_at_streams(e, now, mono, &has_old);
    uint64_t fetch = wf_controller_look(e, mono);
    weft_err err = pki_trust_check_again(e->trust, &e->self, now, &why);
    if (err == WEFT_EREVOKED)
        wf_endpoint_event(e, WEFT_EVENT_REVOKED, err, why.text);
    if (e->state != WF_ENDPOINT_OPEN)
        return; /* the application closed it over the news */
    wf_routers_look(e, now);
    wf_listeners_look(e, now);
    if (e->grants.dirty)
        start_house(e, SAVE_MS);
    wf_house_by(e, next < fetch ? next : fetch);
    look_by(e, now, mono);
}
