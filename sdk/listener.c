/*
 * Listening: a service kept bound on every router within reach.
 *
 * Happy path: a bind grant is at hand or fetched; edges to the routers open;
 * each that is ready gets a bind, signed by us; dials come in, each a session
 * that is greeted and checked, and then offered to the application.
 *
 * - The controller is away and no grant is at hand: asked again, the user hears bound(0).
 * - It refuses: the listener closes.
 * - A router refuses the bind: the grant is fetched afresh; the user hears why.
 * - An edge is lost: its bind is gone; it is bound again when the edge is ready.
 * - Outside of the grant's hours: unbound until they come; the user hears bound(0) and the hours.
 * - The grant is withdrawn or runs out: unbound, fetched afresh.
 */
#include "sdk/listener.h"
#include "pki/record.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/stream.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RESEND_MS 200u
#define RETRY_MS 5000u
#define REFRESH_RETRY_MS 60000u
#define GREETING_MS 10000u /* for a dialer's Finished and HELLO */

static unsigned bound_count(const weft_listener *l)
{
    unsigned count = 0;
    for (size_t i = 0; i < WF_BINDS_MAX; i++)
        count += l->binds[i].state == WF_BIND_BOUND;
    return count;
}

static struct wf_bind *bind_on(weft_listener *l, const wf_edge *edge)
{
    for (size_t i = 0; i < WF_BINDS_MAX; i++)
        if (l->binds[i].edge == edge)
            return &l->binds[i];
    return NULL;
}

static void listener_free(weft_listener *l)
{
    wf_wait_cancel(&l->wait);
    wf_job_cancel(&l->job);
    wf_list_remove(&l->node);
    free(l);
}

static void tell(struct wf_job *job)
{
    weft_listener *l = wf_container_of(job, weft_listener, job);
    weft_endpoint *e = l->endpoint;
    if (!l->is_closed) {
        unsigned count = bound_count(l);
        if (l->was_told && count == l->told)
            return;
        l->was_told = true;
        l->told = count;
        if (l->handler->bound != NULL)
            l->handler->bound(l, l->arg, count, count > 0 ? NULL : l->why.text);
        return;
    }
    for (wf_node *n = e->streams.next; n != &e->streams; n = n->next) {
        weft_stream *s = wf_container_of(n, weft_stream, node);
        if (s->listener == l)
            s->listener = NULL;
    }
    if (l->handler->closed != NULL)
        l->handler->closed(l, l->arg, l->err, l->why.text);
    listener_free(l);
    wf_endpoint_go_on_closing(e);
}

static void unbind(weft_listener *l, struct wf_bind *bind)
{
    wf_link *link = bind->edge != NULL ? wf_edge_link(bind->edge) : NULL;
    if (link != NULL && bind->state != WF_BIND_NONE) {
        Weft__Wire__Unbind unbind = WEFT__WIRE__UNBIND__INIT;
        Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
        unbind.instance = wf_pb_id(&l->instance);
        message.of_case = WEFT__WIRE__CONTROL__OF_UNBIND;
        message.unbind = &unbind;
        (void)wf_link_send_control(link, &message);
    }
    bind->state = WF_BIND_NONE;
}

static void close_with(weft_listener *l, weft_err err, const char *why)
{
    if (l->is_closed)
        return;
    l->is_closed = true;
    l->err = err;
    (void)wf_fail(&l->why, err, "%s", why);
    wf_wait_cancel(&l->wait);
    for (size_t i = 0; i < WF_BINDS_MAX; i++)
        unbind(l, &l->binds[i]);
    wf_jobs_post(&l->endpoint->jobs, &l->job);
}

/* ---- the grant */

static const struct wf_grant *own_grant(const weft_listener *l, uint64_t now)
{
    return wf_grants_find(&l->endpoint->grants, l->service_name, WEFT__WIRE__ROLE__ROLE_BIND, now);
}

static void on_fetched(struct wf_wait *wait, weft_err err, const char *why)
{
    weft_listener *l = wf_container_of(wait, weft_listener, wait);
    uint64_t now = wf_now_wall_ms();
    l->is_waiting = false;
    const struct wf_grant *grant = own_grant(l, now);
    if (err == WEFT_OK && grant == NULL) {
        wf_why text;
        err = wf_fail(&text, WEFT_EREFUSED,
                      "%s may not bind %s: no policy allows it, or there is no such service",
                      l->endpoint->identity.name, l->service_name);
        wf_facts_count(l->endpoint->binds_refused, err);
        close_with(l, err, text.text);
    } else if (err == WEFT_OK) {
        if (l->endpoint->grants.router_count == 0) {
            (void)wf_fail(&l->why, WEFT_EUNREACHABLE,
                          "the controller knows no router; an administrator makes one: weft router "
                          "create NAME; trying again");
            wf_jobs_post(&l->endpoint->jobs, &l->job);
        }
        wf_listeners_look(l->endpoint, now);
    } else if (err == WEFT_EREFUSED || err == WEFT_EREVOKED) {
        wf_facts_count(l->endpoint->binds_refused, err);
        close_with(l, err, why);
    } else {
        l->retry_at = now + RETRY_MS;
        if (grant == NULL) { /* with one at hand, what stands in its way is to be told */
            (void)wf_fail(&l->why, err, "no bind grant for %s; the controller: %s", l->service_name,
                          why);
            wf_jobs_post(&l->endpoint->jobs, &l->job);
        }
    }
}

static void fetch(weft_listener *l, uint64_t now)
{
    if (l->is_waiting || now < l->retry_at || l->is_closed)
        return;
    l->wait.done = on_fetched;
    l->is_waiting = true;
    l->retry_at = now + REFRESH_RETRY_MS;
    weft_err err = wf_controller_fetch(l->endpoint, l->service_name, &l->wait, WF_CALL_MS);
    if (err != WEFT_OK) {
        l->is_waiting = false;
        l->retry_at = now + RETRY_MS;
        if (own_grant(l, now) == NULL) {
            (void)wf_fail(&l->why, err, "no controller is known");
            wf_jobs_post(&l->endpoint->jobs, &l->job);
        }
    }
}

/* ---- binds */

static weft_err send_bind(weft_listener *l, struct wf_bind *bind, const struct wf_grant *grant,
                          uint64_t now)
{
    weft_endpoint *e = l->endpoint;
    wf_link *link = wf_edge_link(bind->edge);
    if (link == NULL)
        return WEFT_EUNREACHABLE;
    uint64_t expiry = now + WF_BIND_LIFE_MS;
    if (expiry > grant->grant.expiry)
        expiry = grant->grant.expiry;
    /* A higher number replaces a bind of the same instance, also across restarts of the clock. */
    l->sequence = now > l->sequence ? now : l->sequence + 1;

    Weft__Wire__BindBody body;
    weft__wire__bind_body__init(&body);
    body.trust_domain = e->identity.domain;
    body.service_id = wf_pb_id(&grant->grant.service);
    body.instance = wf_pb_id(&l->instance);
    body.router_id = wf_pb_id(&wf_edge_router(bind->edge)->router);
    body.subject = wf_pb_id(&e->identity.id);
    body.expiry = expiry;
    body.sequence = l->sequence;

    Weft__Wire__Signed *record = NULL;
    wf_buf encoded;
    wf_buf_init(&encoded, WF_SIGNED_MAX);
    weft_err err =
        pki_record_seal(wf_renewal_key_of(e, bind->edge), PKI_LABEL_BIND, &body.base, &encoded);
    if (err == WEFT_OK)
        err = wf_signed_decode(encoded.data, encoded.len, &record, NULL);
    if (err == WEFT_OK) {
        Weft__Wire__Bind ask = WEFT__WIRE__BIND__INIT;
        Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
        ask.request = ++e->next_request;
        ask.bind = record;
        ask.grant = grant->record;
        message.of_case = WEFT__WIRE__CONTROL__OF_BIND;
        message.bind = &ask;
        err = wf_link_send_control(link, &message);
        bind->request = ask.request;
    }
    wf_signed_free(record);
    wf_buf_fini(&encoded);
    if (err != WEFT_OK)
        return err;
    if (bind->state == WF_BIND_NONE)
        bind->state = WF_BIND_REPLY;
    bind->renew_at = now + (expiry - now) / 2;
    return WEFT_OK;
}

/* Outside of the grant's hours: unbound until they come, or a grant with others does. */
static void rest(weft_listener *l, const struct wf_grant *grant, const wf_why *hours, uint64_t now)
{
    bool is_news = !l->rests;
    l->rests = true;
    for (size_t i = 0; i < WF_BINDS_MAX; i++)
        unbind(l, &l->binds[i]);
    if (is_news)
        l->retry_at = 0;
    if (is_news ||
        now - grant->grant.not_before > (grant->grant.expiry - grant->grant.not_before) / 2)
        fetch(l, now);
    if (is_news) {
        l->was_told = false;
        (void)wf_fail(&l->why, WEFT_EREFUSED, "%s", hours->text);
        wf_jobs_post(&l->endpoint->jobs, &l->job);
    }
}

static void look(weft_listener *l, uint64_t now)
{
    if (l->is_closed)
        return;
    const struct wf_grant *grant = own_grant(l, now);
    if (grant == NULL) {
        unsigned before = bound_count(l);
        for (size_t i = 0; i < WF_BINDS_MAX; i++)
            unbind(l, &l->binds[i]);
        if (before > 0) {
            (void)wf_fail(&l->why, WEFT_EREVOKED, "the bind grant for %s was withdrawn",
                          l->service_name);
            wf_jobs_post(&l->endpoint->jobs, &l->job);
        }
        /* The binds may have been lost before: what counts is that it is news. */
        if (l->had_grant)
            l->retry_at = 0;
        l->had_grant = false;
        fetch(l, now);
        return;
    }
    l->had_grant = true;
    wf_why hours = {.text = ""};
    if (pki_grant_check_window(&grant->grant, l->endpoint->identity.name, now, &hours) != WEFT_OK) {
        rest(l, grant, &hours, now);
        return;
    }
    l->rests = false;
    if (!wf_id_equal(&l->service, &grant->grant.service)) {
        /* The first one; or the service was deleted and another of its name is meant now. */
        for (size_t i = 0; i < WF_BINDS_MAX; i++)
            unbind(l, &l->binds[i]);
        l->service = grant->grant.service;
    }
    if (now - grant->grant.not_before > (grant->grant.expiry - grant->grant.not_before) / 2)
        fetch(l, now);
    if (l->endpoint->grants.router_count == 0)
        fetch(l, now);
    wf_routers_open_all(l->endpoint);
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &l->endpoint->routers.routes[i];
        if (route->edge == NULL || route->is_closing || !wf_edge_is_ready(route->edge))
            continue;
        struct wf_bind *bind = bind_on(l, route->edge);
        if (bind == NULL) {
            bind = bind_on(l, NULL);
            if (bind == NULL)
                continue;
            *bind = (struct wf_bind){.edge = route->edge};
        }
        /* What couldn't be sent now is tried again soon, not when the house is looked at anyway. */
        if ((bind->state == WF_BIND_NONE || now >= bind->renew_at) &&
            send_bind(l, bind, grant, now) != WEFT_OK)
            wf_house_by(l->endpoint, wf_now_mono_ms() + RESEND_MS);
    }
}

void wf_listeners_look(weft_endpoint *e, uint64_t now)
{
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next)
        look(wf_container_of(n, weft_listener, node), now);
}

void wf_listeners_controller_up(weft_endpoint *e)
{
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next)
        if (!wf_container_of(n, weft_listener, node)->had_grant)
            wf_container_of(n, weft_listener, node)->retry_at = 0;
    wf_jobs_post(&e->jobs, &e->changed);
}

void wf_listeners_edge_ready(weft_endpoint *e, wf_edge *edge)
{
    (void)edge;
    wf_listeners_look(e, wf_now_wall_ms());
}

void wf_listeners_edge_lost(weft_endpoint *e, wf_edge *edge, const char *why)
{
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next) {
        weft_listener *l = wf_container_of(n, weft_listener, node);
        struct wf_bind *bind = bind_on(l, edge);
        if (bind != NULL)
            *bind = (struct wf_bind){.edge = NULL};
        if (bound_count(l) == 0) {
            (void)wf_fail(&l->why, WEFT_EUNREACHABLE, "%s", why);
            wf_jobs_post(&e->jobs, &l->job);
        } else if (bind != NULL) {
            wf_jobs_post(&e->jobs, &l->job);
        }
    }
}

void wf_listeners_bind_reply(weft_endpoint *e, wf_edge *edge, const Weft__Wire__BindReply *reply)
{
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next) {
        weft_listener *l = wf_container_of(n, weft_listener, node);
        struct wf_bind *bind = bind_on(l, edge);
        if (bind == NULL || bind->request != reply->request || bind->state == WF_BIND_NONE)
            continue;
        if (reply->code == 0) {
            bind->state = WF_BIND_BOUND;
            wf_log_debug("%s is bound on router %s", l->service_name, wf_edge_router(edge)->name);
        } else {
            weft_err code = reply->code <= WEFT_EEOF ? (weft_err)reply->code : WEFT_EINTERNAL;
            bind->state = WF_BIND_NONE;
            bind->renew_at = 0;
            wf_facts_count(e->binds_refused, code);
            (void)wf_fail(&l->why, code, "router %s refused to bind %s: %s",
                          wf_edge_router(edge)->name, l->service_name,
                          reply->reason != NULL && reply->reason[0] != '\0'
                              ? reply->reason
                              : weft_err_sentence((int)code));
            wf_log_warn("%s", l->why.text);
            /* Perhaps our grant is stale. The next look binds again. */
            fetch(l, wf_now_wall_ms());
        }
        wf_jobs_post(&e->jobs, &l->job);
        return;
    }
}

/* ---- dials that come in */

static weft_listener *listener_for(weft_endpoint *e, const Weft__Wire__Setup *setup)
{
    wf_id service = wf_pb_get_id(setup->service_id);
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next) {
        weft_listener *l = wf_container_of(n, weft_listener, node);
        if (l->is_closed || !wf_id_equal(&l->service, &service))
            continue;
        if (setup->instance.len > 0) {
            wf_id instance = wf_pb_get_id(setup->instance);
            if (!wf_id_equal(&instance, &l->instance))
                continue;
        }
        return l;
    }
    return NULL;
}

static void turn_away(weft_endpoint *e, wf_circuit *circuit, weft_err err, const char *why)
{
    wf_facts_count(e->sessions_refused, err);
    wf_circuit_turn_away(circuit, err, why);
}

void wf_listeners_setup(weft_endpoint *e, wf_edge *edge, wf_circuit *circuit,
                        const Weft__Wire__Setup *setup)
{
    wf_why why = {""};
    uint64_t now = wf_now_wall_ms();
    weft_listener *l = listener_for(e, setup);
    const struct wf_grant *grant =
        l != NULL ? wf_grants_find_id(&e->grants, &l->service, WEFT__WIRE__ROLE__ROLE_BIND, now)
                  : NULL;
    if (grant == NULL || !pki_terms_is_open(&grant->grant.terms, now)) {
        turn_away(e, circuit, WEFT_ENOHOST, "no such bind here");
        return;
    }
    if (setup->resume != NULL) {
        turn_away(e, circuit, WEFT_ELOST, "sessions can't be resumed here");
        return;
    }
    if (setup->first.len == 0) {
        turn_away(e, circuit, WEFT_EPROTO, "a SETUP without a ClientHello");
        return;
    }
    if (e->greetings >= WF_GREETINGS_MAX) {
        turn_away(e, circuit, WEFT_EBUSY, "too many dials at once");
        return;
    }
    weft_stream *s = wf_stream_new(e, WF_STREAM_GREETING);
    if (s == NULL) {
        turn_away(e, circuit, WEFT_ENOMEM, "the host has no memory");
        return;
    }
    s->listener = l;
    s->session_id = wf_pb_get_id(setup->session);
    uint64_t window = wf_stream_window(s, edge);
    if (setup->window < window)
        window = setup->window;
    s->window_cap = setup->window < WF_WINDOW_DEFAULT ? setup->window : WF_WINDOW_DEFAULT;

    weft_err err = wf_stream_open_session(s, &l->service, &l->instance, false, grant, window, &why);
    if (err == WEFT_OK)
        err = wf_stream_set_timer(s, GREETING_MS);
    if (err == WEFT_OK) {
        s->collecting = true;
        wf_session_input(s->session, setup->first.data, setup->first.len, now);
        s->collecting = false;
        if (s->state != WF_STREAM_GREETING) {
            err = WEFT_ECREDENTIAL; /* the session is over already, and has said why to the log */
            (void)wf_fail(&why, err, "the host did not take the ClientHello");
        }
    }
    if (err != WEFT_OK)
        goto turn_away;

    size_t len = s->first.len < WF_SETUP_BYTES_MAX ? s->first.len : WF_SETUP_BYTES_MAX;
    err = wf_circuit_answer(circuit, window, &l->instance, wf_span_of(s->first.data, len),
                            &wf_stream_circuit_handler, s);
    if (err == WEFT_OK) {
        s->circuit = circuit;
        if (s->first.len > len)
            err = wf_circuit_send(circuit, s->first.data + len, s->first.len - len);
    }
    if (err != WEFT_OK) /* the link is being cut: what is left goes with it */
        wf_session_lost(s->session, err, "the link to the router is gone");
    wf_buf_fini(&s->first);
    return;

turn_away:
    turn_away(e, circuit, err, why.text);
    if (s->state == WF_STREAM_GREETING)
        wf_stream_move(s, WF_STREAM_LINGER);
    wf_stream_post(s, WF_DUE_FREE);
}

/* Dials of this identity that the application has yet to answer. */
static unsigned decisions_of(const weft_endpoint *e, const wf_id *peer)
{
    unsigned count = 0;
    for (wf_node *n = e->deciding.next; n != &e->deciding; n = n->next) {
        const weft_stream *s = wf_container_of(n, weft_stream, deciding);
        count += wf_id_equal(&wf_session_peer(s->session)->id, peer);
    }
    return count;
}

void wf_listener_offer(weft_stream *s)
{
    weft_endpoint *e = s->endpoint;
    weft_listener *l = s->listener;
    if (s->timer != NULL)
        wf_timer_stop(s->timer);
    wf_stream_move(s, WF_STREAM_DECISION);
    if (l == NULL || l->is_closed) {
        weft_stream_refuse(s, WEFT_ENOHOST, "the service is being unbound");
        return;
    }
    /* A backend that answers slowly, and dialers that don't wait for each other. */
    if (e->decisions > e->decisions_max ||
        (e->decisions > e->decisions_per_peer_max &&
         decisions_of(e, &wf_session_peer(s->session)->id) > e->decisions_per_peer_max)) {
        weft_stream_refuse(s, WEFT_EBUSY, "too many dials wait for an answer here");
        return;
    }
    wf_why why = {.text = ""};
    weft_err err = wf_stream_check_room(s, &why);
    if (err != WEFT_OK) {
        wf_lines_put(&e->lines, wf_now_mono_ms(), WF_LOG_INFO, "a dialer was turned away: %s",
                     why.text);
        weft_stream_refuse(s, err, why.text);
        return;
    }
    l->handler->incoming(l, l->arg, s, &s->peer);
}

/* ---- public */

weft_err weft_listen(weft_endpoint *e, const char *service,
                     const struct weft_listener_handler *handler, void *arg, weft_listener **out,
                     weft_why *why)
{
    assert(handler != NULL && handler->incoming != NULL);
    if (e->state != WF_ENDPOINT_OPEN)
        return wf_fail(why, WEFT_ECANCELED, "the endpoint is being closed");
    size_t len = strlen(service);
    weft_err err = wf_name_check(service, len, "service", why);
    if (err != WEFT_OK)
        return err;
    weft_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a listener");
    l->endpoint = e;
    l->handler = handler;
    l->arg = arg;
    l->job.run = tell;
    l->instance = wf_id_random();
    (void)wf_id_text(&l->instance, l->instance_text);
    memcpy(l->service_name, service, len + 1);
    wf_list_push(&e->listeners, &l->node);
    wf_endpoint_watch(e);
    (void)wf_controller_want(e); /* hosts keep a direct connection where they can */
    wf_jobs_post(&e->jobs, &e->changed);
    *out = l;
    return WEFT_OK;
}

const char *weft_listener_instance(const weft_listener *l)
{
    return l->instance_text;
}

void weft_listener_close(weft_listener *l)
{
    close_with(l, WEFT_OK, "closed on this side");
}
