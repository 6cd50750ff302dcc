/*
 * The HTTP server: its listener and its limits.
 *
 * Happy path: open, accept connections (connection.c serves them), drain,
 * close; the last close callback frees.
 * - no room for another connection: it is accepted and closed at once
 * - no memory even for that: one spare handle takes it and closes it
 */
#include "proto/http/internal.h"
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void wf_http_server_settle(wf_http_server *s)
{
    if (s->state != WF_HTTP_CLOSING || s->tcp_open || s->spare_state != SPARE_FREE ||
        !wf_list_is_empty(&s->connections))
        return;
    pki_web_unref(s->tls);
    wf_quota_free(s->addresses);
    wf_buf_wipe(&s->drawn);
    free(s);
}

/* ---- accepting */

static void on_connection(uv_stream_t *listener, int status);

static void on_spare_closed(uv_handle_t *handle)
{
    wf_http_server *s = handle->data;
    bool wanted = s->spare_state == SPARE_WANTED;
    s->spare_state = SPARE_FREE;
    if (wanted && s->state != WF_HTTP_CLOSING)
        on_connection((uv_stream_t *)&s->tcp, 0);
    wf_http_server_settle(s);
}

/* libuv asks for no more connections until this one is accepted: it is, and closed. */
static void refuse(wf_http_server *s)
{
    s->service.counters.refused++;
    if (s->spare_state != SPARE_FREE) {
        s->spare_state = SPARE_WANTED;
        return;
    }
    if (uv_tcp_init(s->tcp.loop, &s->spare) != 0)
        return;
    s->spare.data = s;
    s->spare_state = SPARE_BUSY;
    (void)uv_accept((uv_stream_t *)&s->tcp, (uv_stream_t *)&s->spare);
    uv_close((uv_handle_t *)&s->spare, on_spare_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    wf_http_server *s = listener->data;
    if (status == 0 && !wf_http_connection_accept(s))
        refuse(s);
}

/* ---- life */

static void take_defaults(struct wf_http_limits *l)
{
    static const struct wf_http_limits defaults = {
        .connections = 1024,
        .connections_per_address = 256,
        .streams = 100,
        .handshake_ms = 10000,
        .head_ms = 10000,
        .idle_ms = 60000,
        .grace_ms = 10000,
        .rate_min = 1024,
        .linger_ms = 1000,
        .bodies = 64u * 1024 * 1024,
    };
    l->connections = l->connections != 0 ? l->connections : defaults.connections;
    l->connections_per_address = l->connections_per_address != 0 ? l->connections_per_address
                                                                 : defaults.connections_per_address;
    l->streams = l->streams != 0 ? l->streams : defaults.streams;
    l->handshake_ms = l->handshake_ms != 0 ? l->handshake_ms : defaults.handshake_ms;
    l->head_ms = l->head_ms != 0 ? l->head_ms : defaults.head_ms;
    l->idle_ms = l->idle_ms != 0 ? l->idle_ms : defaults.idle_ms;
    l->grace_ms = l->grace_ms != 0 ? l->grace_ms : defaults.grace_ms;
    l->rate_min = l->rate_min != 0 ? l->rate_min : defaults.rate_min;
    l->linger_ms = l->linger_ms != 0 ? l->linger_ms : defaults.linger_ms;
    l->bodies = l->bodies != 0 ? l->bodies : defaults.bodies;
}

static bool is_loopback(const struct sockaddr_storage *sa)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    if (sa->ss_family == AF_INET) {
        memcpy(&in, sa, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    memcpy(&in6, sa, sizeof in6);
    return sa->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

/* A write to a connection that the peer has reset must be an error, not a signal. */
static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

weft_err wf_http_server_open(uv_loop_t *loop, const struct wf_http_server_config *config,
                             wf_http_server **out, wf_why *why)
{
    struct sockaddr_storage sa;
    char text[WF_ADDRESS_TEXT];
    weft_err err = wf_address_get_listen(config->address, &sa, why);
    if (err != WEFT_OK)
        return err;
    if (config->tls == NULL && !config->clear_anywhere && !is_loopback(&sa))
        return wf_fail(why, WEFT_EUSAGE, "HTTP without TLS is served on loopback only, not on %s",
                       wf_address_text(config->address, text));
    wf_http_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return WEFT_ENOMEM;
    wf_list_init(&s->connections);
    wf_buf_init(&s->drawn, 4 * WF_HTTP_DRAW);
    s->service.request = config->request;
    s->service.arg = config->arg;
    s->service.body_max = config->body_max;
    s->service.may_know = config->tls != NULL;
    s->service.limits = config->limits;
    take_defaults(&s->service.limits);
    s->addresses = wf_map_new(s->service.limits.connections);
    if (s->addresses == NULL || wf_buf_reserve(&s->drawn, 2 * WF_HTTP_DRAW) != WEFT_OK) {
        err = WEFT_ENOMEM;
        goto fail;
    }
    int rc = uv_tcp_init(loop, &s->tcp);
    if (rc != 0) {
        err = wf_fail(why, WEFT_EIO, "socket: %s", uv_strerror(rc));
        goto fail;
    }
    ignore_sigpipe();
    s->tcp.data = s;
    s->tcp_open = true;
    if (config->tls != NULL)
        s->tls = pki_web_ref(config->tls);
    rc = uv_tcp_bind(&s->tcp, (struct sockaddr *)&sa, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->tcp, 128, on_connection);
    if (rc != 0) {
        wf_http_server_close(s);
        return wf_fail(why, WEFT_EIO, "can't listen on %s: %s%s",
                       wf_address_text(config->address, text), uv_strerror(rc),
                       rc == UV_EADDRINUSE ? " (another program listens there: stop it or "
                                             "choose another port)"
                       : rc == UV_EACCES   ? " (ports below 1024 need the right to: choose "
                                             "another port)"
                                           : "");
    }
    *out = s;
    return WEFT_OK;
fail:
    wf_quota_free(s->addresses);
    wf_buf_fini(&s->drawn);
    free(s);
    return err;
}

uint16_t wf_http_server_port(const wf_http_server *s)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return wf_sockaddr_port(&sa);
}

static void on_listener_closed(uv_handle_t *handle)
{
    wf_http_server *s = handle->data;
    s->tcp_open = false;
    wf_http_server_settle(s);
}

static void shut_listener(wf_http_server *s)
{
    if (!uv_is_closing((uv_handle_t *)&s->tcp))
        uv_close((uv_handle_t *)&s->tcp, on_listener_closed);
}

void wf_http_server_drain(wf_http_server *s)
{
    if (s->state != WF_HTTP_OPEN)
        return;
    s->state = WF_HTTP_DRAINING;
    shut_listener(s);
    for (wf_node *n = s->connections.next, *next; n != &s->connections; n = next) {
        next = n->next; /* close callbacks come later: n stays, and so does next */
        wf_http_connection_drain(n);
    }
}

void wf_http_server_close(wf_http_server *s)
{
    if (s->state == WF_HTTP_CLOSING)
        return;
    s->state = WF_HTTP_CLOSING;
    shut_listener(s);
    for (wf_node *n = s->connections.next; n != &s->connections; n = n->next)
        wf_http_connection_close(n);
    wf_http_server_settle(s);
}

const struct wf_http_counters *wf_http_server_counters(const wf_http_server *s)
{
    return &s->service.counters;
}
