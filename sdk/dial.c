/*
 * Dialing a service by name.
 *
 * Happy path: a grant is at hand, a router is connected: the SETUP leaves with
 * the ClientHello inside, its answer brings the host's flight and HELLO, and
 * ACCEPT ends the dial.
 *
 * - No grant, or no router known: the controller is asked, once.
 * - No router connected: all known ones are tried, each a little after the other.
 * - The router knows no host: others are asked, each once.
 * - The revocations that we remember cut us: the controller may have lifted that, so it is asked.
 * - It is outside of the grant's hours: the controller is asked for a newer one, once.
 * - Somebody finds our grant stale: it is fetched again, once, and the dial begins afresh.
 * - The circuit is lost before ACCEPT: afresh, ATTEMPTS_MAX times.
 * - The application has written already (the host is verified, it holds that until it accepts):
 *   never afresh, those bytes are not here any more.
 * - The deadline passes at any point: WEFT_ETIMEDOUT, or what was refused before.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/stream.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_MAX 3u
#define DIAL_DEFAULT_MS 15000u

void wf_dial_free(struct wf_dial *dial)
{
    if (dial == NULL)
        return;
    wf_wait_cancel(&dial->wait);
    free(dial);
}

static weft_stream *stream_of(struct wf_wait *wait)
{
    return wf_container_of(wait, struct wf_dial, wait)->stream;
}

/* ---- the SETUP */

static weft_err send_setup(weft_stream *s, wf_edge *edge, const struct wf_grant *grant, wf_why *why)
{
    struct wf_dial *dial = s->dial;
    uint64_t window = wf_stream_window(s, edge);
    dial->router = wf_edge_router(edge)->router;
    s->session_id = wf_id_random(); /* a dial afresh is another session */
    s->window_cap = window;
    wf_id service = grant->grant.service;
    weft_err err =
        wf_stream_open_session(s, &service, &dial->instance, dial->datagram, grant, window, why);
    if (err != WEFT_OK)
        return err;
    s->collecting = true;
    err = wf_session_start(s->session, why);
    s->collecting = false;
    if (err != WEFT_OK)
        return err;
    if (s->first.len > WF_SETUP_BYTES_MAX)
        return wf_fail(why, WEFT_ELIMIT, "the ClientHello does not fit into a SETUP");

    Weft__Wire__Setup setup;
    weft__wire__setup__init(&setup);
    setup.service_id = wf_pb_id(&service);
    setup.session = wf_pb_id(&s->session_id);
    if (!wf_id_is_zero(&dial->instance))
        setup.instance = wf_pb_id(&dial->instance);
    setup.window = window;
    setup.first = wf_pb_bytes(s->first.data, s->first.len);
    setup.grant = grant->record;
    err = wf_circuit_dial(edge, &setup, &wf_stream_circuit_handler, s, &s->circuit);
    wf_buf_fini(&s->first);
    if (err != WEFT_OK)
        return wf_fail(why, err, "no circuit to router %s: %s", wf_edge_router(edge)->name,
                       weft_err_sentence(err));
    return WEFT_OK;
}

static void on_router(struct wf_wait *wait, weft_err err, const char *why)
{
    weft_stream *s = stream_of(wait);
    if (err == WEFT_OK) {
        wf_stream_post(s, WF_DUE_STEP);
        return;
    }
    if (s->dial->refused != WEFT_OK) {
        wf_stream_close_with(s, s->dial->refused, s->dial->why.text);
        return;
    }
    /* The controller may know routers that we don't; nobody has been asked yet. */
    if (!s->dial->fetched) {
        wf_stream_move(s, WF_STREAM_GRANT);
        s->dial->refused = err;
        (void)wf_fail(&s->dial->why, err, "%s", why);
        wf_stream_post(s, WF_DUE_STEP);
        return;
    }
    wf_stream_close_with(s, err, why);
}

static void want_router(weft_stream *s, const struct wf_grant *grant)
{
    wf_why why = {""};
    struct wf_dial *dial = s->dial;
    wf_edge *edge = wf_routers_ready(s->endpoint, dial->tried, dial->tried_count);
    if (edge == NULL && dial->searched) {
        wf_stream_close_with(s, dial->refused, dial->why.text);
        return;
    }
    if (edge == NULL) {
        dial->searched = dial->tried_count > 0;
        if (s->state != WF_STREAM_ROUTER)
            wf_stream_move(s, WF_STREAM_ROUTER);
        dial->wait.done = on_router;
        wf_routers_await(s->endpoint, &dial->wait);
        return;
    }
    dial->attempts++;
    weft_err err = send_setup(s, edge, grant, &why);
    if (err != WEFT_OK) {
        wf_stream_close_with(s, err, why.text);
        return;
    }
    wf_stream_move(s, WF_STREAM_ANSWER);
}

/* ---- the grant */

static void on_fetched(struct wf_wait *wait, weft_err err, const char *why)
{
    weft_stream *s = stream_of(wait);
    struct wf_dial *dial = s->dial;
    if (err == WEFT_OK) {
        dial->fetched = true;
        if (dial->attempts == 0)
            dial->refused = WEFT_OK; /* it was our own doubt, no answer */
        wf_stream_post(s, WF_DUE_STEP);
        return;
    }
    if (dial->refused != WEFT_OK) {
        /* The controller was only a hope: what went wrong first is what to mend. */
        wf_stream_close_with(s, dial->refused, dial->why.text);
        return;
    }
    if (err == WEFT_EUNREACHABLE || err == WEFT_ETIMEDOUT) {
        wf_why text;
        (void)wf_fail(&text, err, "no grant for %s at hand, and the controller: %s", dial->service,
                      why);
        wf_stream_close_with(s, err, text.text);
        return;
    }
    wf_stream_close_with(s, err, why);
}

/* Whether this refusal can mean that our grant is old, and a new one would help. */
static bool may_be_stale(weft_err err)
{
    return err == WEFT_EREVOKED || err == WEFT_EEXPIRED || err == WEFT_EREFUSED ||
           err == WEFT_ECREDENTIAL;
}

/* Whether there is a router to try. */
static bool knows_router(weft_endpoint *e)
{
    uint64_t now = wf_now_wall_ms();
    for (size_t i = 0; i < e->grants.router_count; i++)
        if (wf_grants_is_good_router(&e->grants, &e->grants.routers[i].member, now))
            return true;
    return wf_routers_ready(e, NULL, 0) != NULL;
}

void wf_dial_step(weft_stream *s)
{
    struct wf_dial *dial = s->dial;
    weft_endpoint *endpoint = s->endpoint;
    wf_stream_drop(s); /* of an attempt before */

    wf_why own = {""};
    if (!dial->fetched && dial->refused == WEFT_OK &&
        pki_trust_check_again(endpoint->trust, &endpoint->self, wf_now_wall_ms(), &own) ==
            WEFT_EREVOKED) {
        dial->refused = WEFT_EREVOKED;
        (void)wf_fail(&dial->why, WEFT_EREVOKED, "%s", own.text);
    }
    const struct wf_grant *grant = wf_grants_find(&endpoint->grants, dial->service,
                                                  WEFT__WIRE__ROLE__ROLE_DIAL, wf_now_wall_ms());
    /* Outside of its hours: a newer one may have others. */
    weft_err hours = grant != NULL ? pki_grant_check_window(&grant->grant, endpoint->identity.name,
                                                            wf_now_wall_ms(), &own)
                                   : WEFT_OK;
    if (hours != WEFT_OK && dial->fetched) {
        wf_stream_close_with(s, hours, own.text);
        return;
    }
    if (hours != WEFT_OK) {
        dial->refused = hours;
        (void)wf_fail(&dial->why, hours, "%s", own.text);
    }
    /* Either way the controller may have something newer: a grant, or a router. */
    bool stale =
        (may_be_stale(dial->refused) || dial->refused == WEFT_EUNREACHABLE) && !dial->fetched;
    if (grant != NULL && knows_router(endpoint) && !stale) {
        want_router(s, grant);
        return;
    }
    if (dial->fetched) {
        wf_why why;
        if (grant == NULL)
            (void)wf_fail(&why, WEFT_EREFUSED,
                          "%s may not dial %s: no policy allows it, or there is no such service",
                          endpoint->identity.name, dial->service);
        else
            (void)wf_fail(&why, WEFT_EUNREACHABLE, "the controller knows no router");
        wf_stream_close_with(s, grant == NULL ? WEFT_EREFUSED : WEFT_EUNREACHABLE, why.text);
        return;
    }
    if (s->state != WF_STREAM_GRANT)
        wf_stream_move(s, WF_STREAM_GRANT);
    dial->wait.done = on_fetched;
    weft_err err =
        wf_controller_fetch(endpoint, dial->service, &dial->wait, endpoint->dial_timeout_ms);
    if (err != WEFT_OK)
        on_fetched(&dial->wait, err, "none is known");
}

/* One router knows no host; another one may, if there is any that was not asked. */
static bool may_ask_another(weft_stream *s, weft_err err)
{
    struct wf_dial *dial = s->dial;
    if (err != WEFT_ENOHOST || dial->tried_count == WF_EDGES_MAX)
        return false;
    dial->tried[dial->tried_count++] = dial->router;
    return dial->tried_count < s->endpoint->grants.router_count;
}

void wf_dial_failed(weft_stream *s, weft_err err, const char *why)
{
    struct wf_dial *dial = s->dial;
    bool spoke = s->session != NULL && wf_session_has_spoken(s->session);
    bool stale = may_be_stale(err) && !dial->fetched;
    bool elsewhere = !spoke && may_ask_another(s, err);
    bool lost = err == WEFT_ELOST && dial->attempts < ATTEMPTS_MAX;
    if (spoke || !(stale || lost || elsewhere)) {
        wf_stream_close_with(s, err, why);
        return;
    }
    wf_log_info("dial of %s begins afresh: %s", dial->service, why);
    if (!lost) {
        dial->refused = err;
        (void)wf_fail(&dial->why, err, "%s", why);
    }
    wf_stream_move(s, WF_STREAM_GRANT);
    wf_stream_post(s, WF_DUE_STEP);
}

weft_err weft_dial(weft_endpoint *endpoint, const char *service,
                   const struct weft_dial_options *options,
                   const struct weft_stream_handler *handler, void *arg, weft_stream **out,
                   weft_why *why)
{
    assert(handler != NULL && handler->opened != NULL && handler->closed != NULL);
    static const struct weft_dial_options none;
    if (options == NULL)
        options = &none;
    if (endpoint->state != WF_ENDPOINT_OPEN)
        return wf_fail(why, WEFT_ECANCELED, "the endpoint is being closed");
    size_t len = strlen(service);
    weft_err err = wf_name_check(service, len, "service", why);
    if (err != WEFT_OK)
        return err;
    wf_id instance = {{0}};
    if (options->instance != NULL &&
        !wf_id_parse(options->instance, strlen(options->instance), &instance))
        return wf_fail(why, WEFT_EINVAL, "an instance is 32 lower-case hex digits");

    weft_stream *s = wf_stream_new(endpoint, WF_STREAM_GRANT);
    if (s == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a stream");
    s->dial = calloc(1, sizeof *s->dial);
    unsigned ms = options->timeout_ms;
    if (ms == 0)
        ms = endpoint->dial_timeout_ms > 0 ? endpoint->dial_timeout_ms : DIAL_DEFAULT_MS;
    if (s->dial == NULL || wf_stream_set_timer(s, ms) != WEFT_OK) {
        wf_stream_post(s, WF_DUE_FREE);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a dial");
    }
    s->handler = handler;
    s->arg = arg;
    s->dial->stream = s;
    memcpy(s->dial->service, service, len + 1);
    s->dial->instance = instance;
    s->dial->datagram = options->datagram != 0;
    wf_stream_post(s, WF_DUE_STEP);
    *out = s;
    return WEFT_OK;
}
