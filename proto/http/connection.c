/*
 * One connection of the server: socket, TLS, session.
 *
 * Happy path: accepted, TLS comes up, its ALPN makes the session, bytes go
 * around (run), the session is done, close_notify, FIN, the peer closes.
 * - TLS fails: its alert goes out, then as above
 * - the socket takes no more: nothing is drawn and nothing read until it does
 * - the session waits for its handler: what came meanwhile is kept (one read's
 *   worth) and no more is read
 * - a deadline passes, the peer resets, an answer could not be given: closed
 */
#include "proto/http/internal.h"
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 *   GREETING -> SERVING -> ENDING (the last bytes go, then we wait for the peer) -> CLOSED
 *   any -> ENDING, any -> CLOSED
 */
enum connection_state { GREETING, SERVING, ENDING, CLOSED };

struct connection {
    wf_node node;
    wf_http_server *server; /* borrowed: outlives us */
    enum connection_state state;
    bool running;     /* within run: who wakes us meanwhile need not */
    bool reading;     /* the socket is read */
    bool input_ended; /* the peer sends no more */
    bool fin_sent;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned open_handles;
    uint64_t since;           /* mono ms: when the state began */
    uint64_t armed;           /* when the timer rings; WF_HTTP_NEVER: it doesn't */
    pki_web_tls *tls;         /* owned; NULL: clear text */
    wf_http_session *session; /* owned; NULL while GREETING */
    struct wf_quota *place;   /* borrowed: given back; NULL: not counted */
    wf_buf cipher_left;       /* owned: read and not taken yet */
    wf_buf plain_left;        /* owned: opened and not taken yet */
    wf_buf out;               /* owned: sealed, not given to the socket yet */
    wf_buf writing;           /* owned: the socket has it; empty: it has nothing */
    uint64_t writing_since;
    uv_write_t write;
    uv_shutdown_t shutdown;
    char remote[WF_HTTP_REMOTE_MAX];
};

static struct connection *at(wf_node *node)
{
    return wf_container_of(node, struct connection, node);
}

static uint64_t now_of(const struct connection *c)
{
    return uv_now(c->tcp.loop);
}

/* ---- the end */

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->open_handles != 0)
        return;
    wf_http_server *server = c->server;
    if (c->session != NULL)
        c->session->ops->free(c->session);
    pki_web_tls_free(c->tls);
    if (c->place != NULL)
        wf_quota_give(server->addresses, c->place, uv_now(server->tcp.loop));
    wf_list_remove(&c->node);
    server->service.counters.connections--;
    wf_buf_wipe(&c->plain_left);
    wf_buf_fini(&c->cipher_left);
    wf_buf_fini(&c->out);
    wf_buf_fini(&c->writing);
    free(c);
    wf_http_server_settle(server);
}

static void cut(struct connection *c)
{
    if (c->state == CLOSED)
        return;
    c->state = CLOSED;
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

void wf_http_connection_close(wf_node *node)
{
    cut(at(node));
}

/* ---- out */

static weft_err take_cipher(void *arg, const uint8_t *data, size_t len)
{
    struct connection *c = arg;
    return wf_buf_put(&c->out, data, len);
}

static void run(struct connection *c);
static void on_timer(uv_timer_t *timer);

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = wf_container_of(write, struct connection, write);
    wf_buf_fini(&c->writing);
    if (c->state == CLOSED)
        return;
    if (status != 0)
        cut(c);
    else
        run(c);
}

/* What is sealed goes to the socket; what that doesn't take at once, it has in flight. */
static void flush(struct connection *c)
{
    if (c->out.len == 0 || c->writing.len != 0)
        return;
    uv_buf_t all = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &all, 1);
    if (n < 0 && n != UV_EAGAIN) {
        cut(c);
        return;
    }
    size_t gone = n > 0 ? (size_t)n : 0;
    if (gone == c->out.len) {
        wf_buf_fini(&c->out);
        return;
    }
    wf_buf_drop(&c->out, gone);
    wf_buf was = c->writing;
    c->writing = c->out;
    c->out = was;
    c->writing_since = now_of(c);
    all = uv_buf_init((char *)c->writing.data, (unsigned)c->writing.len);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &all, 1, on_written) != 0)
        cut(c);
}

/* Draws from the session as long as the socket takes it. */
static void pump_out(struct connection *c)
{
    wf_buf *drawn = &c->server->drawn;
    while (c->state == SERVING && c->session != NULL && c->writing.len == 0) {
        wf_buf_clear(drawn);
        weft_err err = c->session->ops->draw(c->session, drawn, now_of(c));
        if (c->state != SERVING || (err == WEFT_OK && drawn->len == 0))
            break; /* the handler may have closed the server meanwhile */
        if (err == WEFT_OK)
            err = c->tls != NULL ? pki_web_tls_write(c->tls, drawn->data, drawn->len, NULL)
                                 : wf_buf_put(&c->out, drawn->data, drawn->len);
        if (err != WEFT_OK) {
            cut(c);
            return;
        }
        flush(c);
    }
    if (c->state != CLOSED)
        flush(c);
}

/* Says what there is to be said, then ends as soon as the peer has taken it. */
static void end(struct connection *c)
{
    if (c->state >= ENDING)
        return;
    c->state = ENDING;
    c->since = now_of(c);
    if (c->tls != NULL)
        pki_web_tls_shutdown(c->tls);
    flush(c);
}

/* ---- in */

static void wake(void *arg)
{
    struct connection *c = arg;
    if (c->running || c->state == CLOSED)
        return;
    if (!c->server->running) {
        run(c);
        return;
    }
    /* From inside another one's request: that one's bytes lie in the buffers that all share. */
    c->armed = now_of(c);
    (void)uv_timer_start(&c->timer, on_timer, 0, 0);
}

static weft_err serve(struct connection *c)
{
    const struct wf_http_peer peer = {
        .subject = c->tls == NULL ? NULL : pki_web_tls_peer(c->tls),
        .remote = c->remote,
        .secure = c->tls != NULL,
    };
    bool is_h2 = c->tls != NULL && pki_web_tls_protocol(c->tls) == PKI_WEB_HTTP2;
    weft_err err = (is_h2 ? wf_http_h2_new : wf_http_h1_new)(&c->server->service, &peer, wake, c,
                                                             now_of(c), &c->session);
    if (err != WEFT_OK)
        return err;
    c->state = SERVING;
    c->since = now_of(c);
    if (c->server->state == WF_HTTP_DRAINING)
        c->session->ops->drain(c->session);
    return WEFT_OK;
}

/* Whether the session would take plaintext now, and the socket its answer. */
static bool may_feed(const struct connection *c)
{
    return c->state == GREETING ||
           (c->state == SERVING && c->writing.len == 0 && c->session->ops->wants_input(c->session));
}

/* False: the connection ends or waits. */
static bool feed(struct connection *c, const uint8_t *data, size_t len, size_t *taken)
{
    weft_err err = c->session->ops->feed(c->session, data, len, now_of(c), taken);
    pump_out(c);
    if (c->state == SERVING && (err != WEFT_OK || c->session->broken))
        end(c);
    return c->state == SERVING && *taken == len;
}

/* Opens the next plaintext. False: there is none. */
static bool open_some(struct connection *c, size_t *got)
{
    weft_err err = pki_web_tls_read(c->tls, c->server->plain, sizeof c->server->plain, got, NULL);
    if (c->state == GREETING && pki_web_tls_is_up(c->tls) && serve(c) != WEFT_OK) {
        cut(c);
        return false;
    }
    if (err == WEFT_EEOF) {
        c->input_ended = true;
        if (c->session != NULL)
            c->session->ops->finish(c->session);
    } else if (err != WEFT_OK) {
        if (c->state == GREETING)
            c->server->service.counters.handshakes_failed++;
        end(c);
    }
    return *got > 0;
}

/* Takes what was kept of earlier reads, then what TLS still has. */
static void pump_in(struct connection *c)
{
    while (c->state < ENDING) {
        size_t got = 0, taken = 0;
        if (!may_feed(c))
            return;
        if (c->plain_left.len > 0) {
            bool all = feed(c, c->plain_left.data, c->plain_left.len, &taken);
            wf_buf_drop(&c->plain_left, taken);
            if (!all && taken == 0)
                return;
            continue;
        }
        if (c->plain_left.data != NULL)
            wf_buf_fini(&c->plain_left);
        if (c->tls == NULL || !open_some(c, &got))
            return;
        if (!feed(c, c->server->plain, got, &taken) && c->state == SERVING &&
            wf_buf_put(&c->plain_left, c->server->plain + taken, got - taken) != WEFT_OK)
            cut(c);
    }
}

/* ---- time */

static uint64_t deadline(const struct connection *c)
{
    const struct wf_http_service *service = &c->server->service;
    uint64_t due = WF_HTTP_NEVER;
    switch (c->state) {
    case GREETING:
        return c->since + service->limits.handshake_ms;
    case SERVING:
        due = c->session->ops->deadline(c->session);
        if (c->writing.len > 0) {
            uint64_t written = wf_http_due(service, c->writing_since, c->writing.len);
            if (written < due)
                due = written;
        }
        return due;
    case ENDING:
        return c->since + service->limits.linger_ms;
    case CLOSED:
        break;
    }
    return due;
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    uint64_t now = now_of(c);
    c->armed = WF_HTTP_NEVER;
    if (deadline(c) <= now) {
        bool session_late = c->state == SERVING && c->session->ops->deadline(c->session) <= now;
        if (!session_late) {
            if (c->state != ENDING)
                c->server->service.counters.late++;
            cut(c);
            return;
        }
        c->running = c->server->running = true;
        weft_err err = c->session->ops->expire(c->session, now);
        c->running = c->server->running = false;
        if (err != WEFT_OK) {
            cut(c);
            return;
        }
    }
    run(c);
}

/* A deadline that moves away needs no timer of its own: the present one rings and looks again. */
static void arm(struct connection *c)
{
    uint64_t due = deadline(c), now = now_of(c);
    if (due == WF_HTTP_NEVER || due >= c->armed)
        return;
    c->armed = due;
    (void)uv_timer_start(&c->timer, on_timer, due > now ? due - now : 0, 0);
}

/* ---- the socket */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *c = handle->data;
    (void)suggested;
    *out = uv_buf_init((char *)c->server->cipher, sizeof c->server->cipher);
}

static weft_err keep_left(struct connection *c)
{
    wf_span left = pki_web_tls_left(c->tls);
    wf_buf kept;
    if (left.len == 0 || left.data == c->cipher_left.data)
        return WEFT_OK;
    wf_buf_init(&kept, WF_HTTP_DRAW);
    weft_err err = wf_buf_put(&kept, left.data, left.len);
    if (err != WEFT_OK)
        return err;
    wf_buf_fini(&c->cipher_left);
    c->cipher_left = kept;
    pki_web_tls_feed(c->tls, kept.data, kept.len);
    return WEFT_OK;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n == 0)
        return;
    if (n < 0) {
        if (n != UV_EOF || c->state != SERVING) {
            cut(c);
            return;
        }
        c->input_ended = true;
        c->session->ops->finish(c->session);
        run(c);
        return;
    }
    if (c->state == ENDING) /* only so that our last word is not lost in a reset */
        return;
    wf_span data = wf_span_of(buf->base, (size_t)n);
    if (c->tls != NULL)
        pki_web_tls_feed(c->tls, data.data, data.len);
    else if (wf_buf_put(&c->plain_left, data.data, data.len) != WEFT_OK) {
        cut(c);
        return;
    }
    run(c);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown, (void)status;
}

static bool has_left(const struct connection *c)
{
    return c->plain_left.len > 0 || (c->tls != NULL && pki_web_tls_left(c->tls).len > 0);
}

/* After anything happened: moves all that can move, then waits for the right things. */
static void run(struct connection *c)
{
    assert(!c->running && !c->server->running);
    c->running = c->server->running = true;
    pump_out(c);
    pump_in(c);
    pump_out(c);
    if (c->state == SERVING && c->writing.len == 0 &&
        (c->session->broken || c->session->ops->is_done(c->session)))
        end(c);
    if (c->state < ENDING && c->tls != NULL && keep_left(c) != WEFT_OK)
        cut(c);
    c->running = c->server->running = false;
    if (c->state == ENDING && c->writing.len == 0 && c->out.len == 0) {
        if (c->input_ended) {
            cut(c);
        } else if (!c->fin_sent) {
            c->fin_sent = true;
            if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut) != 0)
                cut(c);
        }
    }
    if (c->state == CLOSED)
        return;
    bool read = c->state == ENDING || (!c->input_ended && !has_left(c) && may_feed(c));
    if (read && c->input_ended)
        read = false;
    if (read && !c->reading && uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        cut(c);
        return;
    }
    if (!read && c->reading)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = read;
    arm(c);
}

void wf_http_connection_drain(wf_node *node)
{
    struct connection *c = at(node);
    if (c->state == GREETING) {
        cut(c);
    } else if (c->state == SERVING) {
        c->session->ops->drain(c->session);
        wake(c);
    }
}

/* ---- the beginning */

/* The peer's address as text, and what of it is counted: an IPv4 address or an IPv6 /64. */
static size_t name_peer(struct connection *c, uint8_t key[9])
{
    struct sockaddr_storage sa;
    char host[INET6_ADDRSTRLEN] = "?";
    int len = sizeof sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memset(&sa, 0, sizeof sa);
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len) != 0) {
        (void)snprintf(c->remote, sizeof c->remote, "?");
        key[0] = 0;
        return 1;
    }
    key[0] = sa.ss_family == AF_INET6 ? 6 : 4;
    if (sa.ss_family == AF_INET6) {
        memcpy(&in6, &sa, sizeof in6);
        (void)uv_ip6_name(&in6, host, sizeof host);
        (void)snprintf(c->remote, sizeof c->remote, "[%s]:%u", host, ntohs(in6.sin6_port));
        memcpy(key + 1, &in6.sin6_addr, 8);
        return 9;
    }
    memcpy(&in, &sa, sizeof in);
    (void)uv_ip4_name(&in, host, sizeof host);
    (void)snprintf(c->remote, sizeof c->remote, "%s:%u", host, ntohs(in.sin_port));
    memcpy(key + 1, &in.sin_addr, 4);
    return 5;
}

static weft_err admit(struct connection *c)
{
    wf_http_server *server = c->server;
    const struct wf_http_limits *limits = &server->service.limits;
    uint8_t key[9];
    size_t len = name_peer(c, key);
    if (server->state != WF_HTTP_OPEN || server->service.counters.connections > limits->connections)
        return WEFT_ELIMIT;
    if (server->tls == NULL)
        return serve(c);
    weft_err err =
        wf_quota_take(server->addresses, key, len, limits->connections_per_address, &c->place);
    return err == WEFT_OK ? pki_web_tls_new(server->tls, take_cipher, c, &c->tls) : err;
}

bool wf_http_connection_accept(wf_http_server *server)
{
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return false;
    c->server = server;
    c->tcp.data = c->timer.data = c;
    c->armed = WF_HTTP_NEVER;
    wf_buf_init(&c->cipher_left, WF_HTTP_DRAW);
    wf_buf_init(&c->plain_left, WF_HTTP_DRAW);
    wf_buf_init(&c->out, 8 * WF_HTTP_DRAW);
    wf_buf_init(&c->writing, 8 * WF_HTTP_DRAW);
    wf_list_push(&server->connections, &c->node);
    server->service.counters.connections++;
    (void)uv_tcp_init(server->tcp.loop, &c->tcp); /* these two can't fail in libuv */
    (void)uv_timer_init(server->tcp.loop, &c->timer);
    c->open_handles = 2;
    c->since = now_of(c);
    weft_err err = WEFT_OK;
    if (uv_accept((uv_stream_t *)&server->tcp, (uv_stream_t *)&c->tcp) != 0)
        err = WEFT_EIO;
    if (err == WEFT_OK)
        err = admit(c);
    if (err != WEFT_OK) {
        server->service.counters.refused++;
        cut(c);
        return true;
    }
    server->service.counters.accepted++;
    (void)uv_tcp_nodelay(&c->tcp, 1);
    run(c);
    return true;
}
