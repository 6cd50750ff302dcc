/*
 * Happy path: bound -> incoming -> resolve the target -> connect -> accept -> relay.
 * - the dialer gives up meanwhile: everything begun for it is dropped
 * - the target doesn't answer within CONNECT_MS, or not at all: an
 *   authenticated refusal, WEFT_EBACKEND
 * - too many sessions: WEFT_EBUSY
 * - hosting is refused, or the right to it withdrawn: said once, and tried again, as policy can
 * change
 */
#include "tunneler/host.h"
#include "proto/base/log.h"
#include "tunneler/relay.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 10000u
#define AGAIN_MIN_MS 1000u
#define AGAIN_MAX_MS 30000u

/* One dialer that waits for its backend. Freed when all its requests have come back. */
struct attempt {
    wf_node node;                 /* in tunneler->attempts, until it ends */
    struct tunneler *tunneler;    /* borrowed: outlives us */
    weft_stream *stream;          /* borrowed until it is answered; NULL once it is, or gone */
    const struct weft_peer *peer; /* borrowed: lives as long as the stream */
    relay *relay;                 /* owned until the stream owns it; then NULL */
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_timer_t deadline;
    bool resolving;   /* resolve is pending and may be canceled */
    unsigned pending; /* requests and handles that still come back */
    char target[WF_ADDRESS_TEXT];
};

weft_err host_parse(const char *rule, char service[WF_NAME_MAX + 1], wf_address *target,
                    wf_why *why)
{
    const char *equals = strchr(rule, '=');
    if (equals == NULL)
        return wf_fail(why, WEFT_EUSAGE, "\"%s\": say SERVICE=HOST:PORT", rule);
    size_t len = (size_t)(equals - rule), digits = strspn(equals + 1, "0123456789");
    if (digits > 0 && equals[1 + digits] == 0)
        return wf_fail(why, WEFT_EUSAGE, "\"%s\": the host is missing, write %.*s=127.0.0.1:%s",
                       rule, (int)len, rule, equals + 1);
    weft_err err = wf_name_check(rule, len, "service", why);
    if (err == WEFT_OK)
        err = wf_address_parse(equals + 1, 0, target, why);
    if (err != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "\"%s\"", rule);
    memcpy(service, rule, len);
    service[len] = 0;
    return WEFT_OK;
}

static void attempt_release(struct attempt *a)
{
    if (--a->pending == 0)
        free(a);
}

static void on_deadline_closed(uv_handle_t *handle)
{
    attempt_release(handle->data);
}

/* Ends the attempt: answers the dialer unless it is answered or gone. */
static void attempt_end(struct attempt *a, weft_err err, const char *reason)
{
    if (uv_is_closing((uv_handle_t *)&a->deadline))
        return;
    uv_close((uv_handle_t *)&a->deadline, on_deadline_closed);
    wf_list_remove(&a->node);
    if (a->resolving)
        uv_cancel((uv_req_t *)&a->resolve);
    if (a->stream != NULL && err != WEFT_OK) {
        char text[300];
        snprintf(text, sizeof text, "%s: %s", a->target, reason);
        a->tunneler->counters.refused_backend++;
        wf_log_warn("%s: refused session %s of %s: %s", a->peer->service, a->peer->session,
                    a->peer->name, text);
        /* the dialer learns that the server is away, not where it stands */
        weft_stream_refuse(a->stream, err, "the server behind the service does not answer");
    }
    a->stream = NULL;
    if (a->relay != NULL && err != WEFT_OK)
        relay_cut(a->relay, err, reason);
    a->relay = NULL;
}

void host_cut_attempts(struct tunneler *t)
{
    while (!wf_list_is_empty(&t->attempts))
        attempt_end(wf_container_of(t->attempts.next, struct attempt, node), WEFT_ECANCELED,
                    "the tunneler stops");
}

static void on_gone(void *arg)
{
    struct attempt *a = arg;
    a->stream = NULL;
    attempt_end(a, WEFT_ECANCELED, "the dialer left");
}

static void on_deadline(uv_timer_t *timer)
{
    attempt_end(timer->data, WEFT_EBACKEND, "no connection in time");
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct attempt *a = connect->data;
    if (a->stream == NULL) {
        attempt_end(a, WEFT_ECANCELED, "too late");
    } else if (status != 0) {
        attempt_end(a, WEFT_EBACKEND, uv_strerror(status));
    } else {
        weft_stream *stream = a->stream;
        relay_set_stream(a->relay, stream);
        weft_err err = weft_stream_accept(stream, &relay_stream_handler, a->relay);
        if (err != WEFT_OK) {
            relay_set_stream(a->relay, NULL);
            attempt_end(a, err, "the session could not be accepted");
        } else {
            a->tunneler->counters.sessions_hosted++;
            attempt_end(a, WEFT_OK, "");
        }
    }
    attempt_release(a);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct attempt *a = resolve->data;
    a->resolving = false;
    if (a->stream == NULL || uv_is_closing((uv_handle_t *)&a->deadline)) {
        /* nobody waits any more */
    } else if (status != 0) {
        attempt_end(a, WEFT_EBACKEND, uv_strerror(status));
    } else {
        int rc = uv_tcp_connect(&a->connect, relay_tcp(a->relay), found->ai_addr, on_connect);
        if (rc == 0)
            a->pending++;
        else
            attempt_end(a, WEFT_EBACKEND, uv_strerror(rc));
    }
    if (found != NULL)
        uv_freeaddrinfo(found);
    attempt_release(a);
}

static void on_incoming(weft_listener *listener, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    struct host *h = arg;
    struct tunneler *t = h->tunneler;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    (void)listener;
    /* Counted from here on: a name server that is slow must not let dialers pile up. */
    relay *r = relay_new(t, h->service);
    if (r == NULL) {
        t->counters.refused_limit++;
        wf_log_warn("%s: refused session %s of %s: too many sessions (--max-sessions)", h->service,
                    peer->session, peer->name);
        weft_stream_refuse(stream, WEFT_EBUSY, "too many sessions");
        return;
    }
    struct attempt *a = calloc(1, sizeof *a);
    if (a == NULL) {
        relay_cut(r, WEFT_ENOMEM, "out of memory");
        weft_stream_refuse(stream, WEFT_ENOMEM, "out of memory");
        return;
    }
    a->relay = r;
    a->peer = peer;
    relay_set_peer(r, peer);
    wf_log_debug("session %s from %s (%s)", peer->session, peer->name, peer->id);
    a->tunneler = t;
    a->stream = stream;
    a->resolve.data = a->connect.data = a->deadline.data = a;
    wf_address_text(&h->target, a->target);
    uv_timer_init(t->loop, &a->deadline);
    uv_timer_start(&a->deadline, on_deadline, CONNECT_MS, 0);
    a->pending = 1;
    wf_list_push(&t->attempts, &a->node);
    weft_stream_on_gone(stream, on_gone, a);
    snprintf(port, sizeof port, "%u", h->target.port);
    int rc = uv_getaddrinfo(t->loop, &a->resolve, on_resolved, h->target.host, port, &hints);
    if (rc != 0) {
        attempt_end(a, WEFT_EBACKEND, uv_strerror(rc));
        return;
    }
    a->resolving = true;
    a->pending++;
}

static void on_bound(weft_listener *listener, void *arg, unsigned routers, const char *why)
{
    struct host *h = arg;
    if (routers != 0)
        h->wait_ms = 0;
    if (routers != 0 && routers != h->routers)
        wf_log_info("%s is bound on %u router%s, as instance %s", h->service, routers,
                    routers == 1 ? "" : "s", weft_listener_instance(listener));
    else if (routers == 0)
        wf_log_warn("%s is bound nowhere: %s", h->service, why != NULL ? why : "");
    h->routers = routers;
}

static void on_again_closed(uv_handle_t *handle)
{
    struct host *h = handle->data;
    wf_list_remove(&h->node);
    free(h);
}

static void on_again(uv_timer_t *timer);

static void wait_for_another_try(struct host *h)
{
    h->wait_ms = h->wait_ms == 0 ? AGAIN_MIN_MS : h->wait_ms * 2;
    if (h->wait_ms > AGAIN_MAX_MS)
        h->wait_ms = AGAIN_MAX_MS;
    uv_timer_start(&h->again, on_again, h->wait_ms, 0);
}

static void on_listener_closed(weft_listener *listener, void *arg, weft_err err, const char *why)
{
    struct host *h = arg;
    (void)listener;
    h->listener = NULL;
    h->routers = 0;
    if (h->closing) {
        uv_close((uv_handle_t *)&h->again, on_again_closed);
        return;
    }
    if (h->wait_ms == 0)
        wf_log(err == WEFT_EREVOKED && h->tunneler->is_revoked ? WF_LOG_DEBUG : WF_LOG_ERROR,
               "%s can't be hosted: %s; trying again now and then", h->service,
               why != NULL && *why ? why : weft_err_sentence(err));
    wait_for_another_try(h);
}

static const struct weft_listener_handler listener_handler = {on_bound, on_incoming,
                                                              on_listener_closed};

static void on_again(uv_timer_t *timer)
{
    struct host *h = timer->data;
    wf_why why = {""};
    if (weft_listen(h->tunneler->endpoint, h->service, &listener_handler, h, &h->listener, &why) !=
        WEFT_OK)
        wait_for_another_try(h);
}

weft_err host_open(struct tunneler *t, const char *service, const wf_address *target, wf_why *why)
{
    struct host *h = calloc(1, sizeof *h);
    if (h == NULL)
        return WEFT_ENOMEM;
    h->tunneler = t;
    h->target = *target;
    snprintf(h->service, sizeof h->service, "%s", service);
    weft_err err = weft_listen(t->endpoint, service, &listener_handler, h, &h->listener, why);
    if (err != WEFT_OK) {
        free(h);
        return err;
    }
    uv_timer_init(t->loop, &h->again);
    h->again.data = h;
    wf_list_push(&t->hosts, &h->node);
    return WEFT_OK;
}

void host_close(struct host *h)
{
    if (h->closing)
        return;
    h->closing = true;
    if (h->listener != NULL)
        weft_listener_close(h->listener); /* its `closed` goes on */
    else
        uv_close((uv_handle_t *)&h->again, on_again_closed);
}
