/*
 * The blocking face: an endpoint on a thread of its own.
 *
 * Happy path: a caller says under the lock what it wants, wakes the loop's
 * thread, and waits on the object's condition; the loop's thread does it and
 * says so. Streams, listeners and the endpoint are touched by the loop's
 * thread alone; everything in the structs below is touched under the client's
 * one lock.
 *
 * - A wait times out: the caller takes back what it wanted.
 * - The stream ends: every wait on it ends with the reason.
 * - A connection is closed while its stream lives: the loop's thread closes
 *   the stream, and the caller waits for its last callback.
 */
#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/list.h"
#include "proto/base/text.h"
#include "proto/base/why.h"
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include <weft/weft.h>

#define IN_MAX (256u * 1024u) /* what waits for a reader before the stream is held back */
#define PENDING_MAX 128u      /* dialers that wait for weft_server_accept */

/* What the loop's thread is to do for an object. */
enum {
    DO_DIAL = 1,
    DO_WRITE = 2,
    DO_END = 4,
    DO_RESUME = 8,
    DO_CLOSE = 16,
    DO_LISTEN = 32,
    DO_ACCEPT = 64,
};

struct wish {
    wf_node node; /* in client->wishes */
    unsigned todo;
    void (*grant)(struct wish *wish, unsigned todo); /* on the loop's thread, under the lock */
};

struct weft_client {
    pthread_t thread;
    pthread_mutex_t lock;
    wf_node wishes;
    bool closing;
    uv_async_t wake;
    weft_endpoint *endpoint; /* the loop's thread's; gone when the thread ends */
};

struct weft_conn {
    weft_client *client; /* borrowed: outlives us */
    struct wish wish;
    pthread_cond_t changed;
    weft_stream *stream; /* the loop's thread's; NULL before and after */
    char *service;       /* owned: while dialing */
    unsigned timeout_ms;
    bool opened, closed;
    weft_err err; /* how it closed */
    wf_why why;
    wf_buf in; /* owned: bytes in[in_at..len) wait for a reader */
    size_t in_at;
    bool starved;       /* the stream holds bytes that did not fit */
    bool ended;         /* their end of stream */
    const uint8_t *out; /* borrowed from the writer that waits; NULL: none */
    size_t out_len, out_done;
    bool end_done;
    weft_err end_err;
    wf_node ready; /* in server->ready */
    struct weft_peer peer;
    char name[WF_NAME_MAX + 1], id[WF_ID_TEXT], spiffe[256], service_name[WF_NAME_MAX + 1];
    char session[WF_ID_TEXT];
};

struct pending {
    wf_node node;        /* in server->pending */
    weft_server *server; /* borrowed: outlives us */
    weft_stream *stream;
    const struct weft_peer *peer;
};

struct weft_server {
    weft_client *client; /* borrowed: outlives us */
    struct wish wish;
    pthread_cond_t changed;
    weft_listener *listener; /* the loop's thread's */
    char *service;           /* owned: until it listens */
    bool listening, closed;
    unsigned bound;
    unsigned wanted;  /* callers of weft_server_accept that nobody was accepted for yet */
    unsigned waiters; /* callers that are inside a function of this server */
    wf_node pending;  /* struct pending: offered, not accepted */
    unsigned pending_count;
    wf_node ready; /* struct weft_conn: accepted, for a caller */
    weft_err err;
    wf_why why;
};

/* ---- waiting */

static weft_err cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return WEFT_ENOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    return failed == 0 ? WEFT_OK : WEFT_ENOMEM;
}

static struct timespec deadline_in(unsigned ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000u);
    t.tv_nsec += (long)(ms % 1000u) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

/* Waits for a change; false once the deadline (NULL: none) has passed. */
static bool wait_for(weft_client *client, pthread_cond_t *changed, const struct timespec *deadline)
{
    if (deadline == NULL)
        return pthread_cond_wait(changed, &client->lock) == 0;
    return pthread_cond_timedwait(changed, &client->lock, deadline) == 0;
}

static void make_wish(weft_client *client, struct wish *wish, unsigned todo)
{
    wish->todo |= todo;
    if (!wf_node_is_linked(&wish->node))
        wf_list_push(&client->wishes, &wish->node);
    (void)uv_async_send(&client->wake);
}

/* ---- the loop's thread: wishes */

static void on_endpoint_closed(void *arg)
{
    weft_client *client = arg;
    client->endpoint = NULL;
}

static void on_wake(uv_async_t *wake)
{
    weft_client *client = wf_container_of(wake, weft_client, wake);
    pthread_mutex_lock(&client->lock);
    while (!wf_list_is_empty(&client->wishes)) {
        struct wish *wish = wf_container_of(client->wishes.next, struct wish, node);
        unsigned todo = wish->todo;
        wf_list_remove(&wish->node);
        wish->todo = 0;
        wish->grant(wish, todo);
    }
    bool closing = client->closing;
    pthread_mutex_unlock(&client->lock);
    if (closing && !uv_is_closing((uv_handle_t *)wake)) {
        uv_close((uv_handle_t *)wake, NULL);
        weft_endpoint_close(client->endpoint, on_endpoint_closed, client);
    }
}

static void *run_loop(void *arg)
{
    weft_client *client = arg;
    (void)weft_endpoint_run(client->endpoint);
    return NULL;
}

/* ---- the loop's thread: streams */

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    weft_conn *conn = arg;
    (void)stream;
    pthread_mutex_lock(&conn->client->lock);
    memcpy(conn->name, peer->name, strnlen(peer->name, sizeof conn->name - 1));
    memcpy(conn->id, peer->id, strnlen(peer->id, sizeof conn->id - 1));
    memcpy(conn->spiffe, peer->spiffe_id, strnlen(peer->spiffe_id, sizeof conn->spiffe - 1));
    memcpy(conn->service_name, peer->service,
           strnlen(peer->service, sizeof conn->service_name - 1));
    memcpy(conn->session, peer->session, strnlen(peer->session, sizeof conn->session - 1));
    conn->opened = true;
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->client->lock);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    weft_conn *conn = arg;
    (void)stream;
    pthread_mutex_lock(&conn->client->lock);
    if (conn->in_at > 0 && conn->in_at == conn->in.len) {
        wf_buf_clear(&conn->in);
        conn->in_at = 0;
    } else if (conn->in_at > IN_MAX / 2) {
        wf_buf_drop(&conn->in, conn->in_at);
        conn->in_at = 0;
    }
    size_t room = IN_MAX - conn->in.len;
    size_t n = len < room ? len : room;
    if (n > 0 && wf_buf_put(&conn->in, data, n) != WEFT_OK)
        n = 0; /* no memory now: it is offered again when the reader comes */
    conn->starved = n < len;
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->client->lock);
    return n;
}

static void on_ended(weft_stream *stream, void *arg)
{
    weft_conn *conn = arg;
    (void)stream;
    pthread_mutex_lock(&conn->client->lock);
    conn->ended = true;
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->client->lock);
}

/* Writes what a caller waits for; under the lock. */
static void write_on(weft_conn *conn)
{
    if (conn->out == NULL || conn->stream == NULL)
        return;
    size_t taken = 0;
    weft_err err = weft_stream_write(conn->stream, conn->out + conn->out_done,
                                     conn->out_len - conn->out_done, &taken);
    if (err == WEFT_OK)
        conn->out_done += taken;
    else
        conn->end_err = err;
    if (err != WEFT_OK || conn->out_done == conn->out_len)
        pthread_cond_broadcast(&conn->changed);
}

static void on_writable(weft_stream *stream, void *arg)
{
    weft_conn *conn = arg;
    (void)stream;
    pthread_mutex_lock(&conn->client->lock);
    write_on(conn);
    pthread_mutex_unlock(&conn->client->lock);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    weft_conn *conn = arg;
    (void)stream;
    pthread_mutex_lock(&conn->client->lock);
    conn->stream = NULL;
    conn->closed = true;
    conn->err = err;
    (void)wf_fail(&conn->why, err, "%s", why);
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->client->lock);
}

static const struct weft_stream_handler stream_handler = {
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .closed = on_closed,
};

static void conn_fail(weft_conn *conn, weft_err err)
{
    conn->closed = true;
    conn->err = err;
    pthread_cond_broadcast(&conn->changed);
}

static void conn_grant(struct wish *wish, unsigned todo)
{
    weft_conn *conn = wf_container_of(wish, weft_conn, wish);
    if (todo & DO_DIAL) {
        const struct weft_dial_options options = {.timeout_ms = conn->timeout_ms};
        weft_err err = weft_dial(conn->client->endpoint, conn->service, &options, &stream_handler,
                                 conn, &conn->stream, &conn->why);
        if (err != WEFT_OK)
            conn_fail(conn, err);
    }
    if (todo & DO_WRITE)
        write_on(conn);
    if ((todo & DO_RESUME) && conn->stream != NULL)
        weft_stream_resume(conn->stream);
    if (todo & DO_END) {
        conn->end_err = conn->stream != NULL   ? weft_stream_end(conn->stream)
                        : conn->err != WEFT_OK ? conn->err
                                               : WEFT_EINVAL;
        conn->end_done = true;
        pthread_cond_broadcast(&conn->changed);
    }
    if ((todo & DO_CLOSE) && conn->stream != NULL)
        weft_stream_close(conn->stream);
}

static weft_err conn_new(weft_client *client, weft_conn **out)
{
    weft_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return WEFT_ENOMEM;
    if (cond_init(&conn->changed) != WEFT_OK) {
        free(conn);
        return WEFT_ENOMEM;
    }
    conn->client = client;
    conn->wish.grant = conn_grant;
    wf_buf_init(&conn->in, IN_MAX);
    conn->peer = (struct weft_peer){.name = conn->name,
                                    .id = conn->id,
                                    .spiffe_id = conn->spiffe,
                                    .service = conn->service_name,
                                    .session = conn->session};
    *out = conn;
    return WEFT_OK;
}

/* Its stream is gone, or never was. */
static void conn_free(weft_conn *conn)
{
    assert(conn->stream == NULL);
    wf_list_remove(&conn->wish.node);
    wf_list_remove(&conn->ready);
    (void)pthread_cond_destroy(&conn->changed);
    wf_buf_wipe(&conn->in);
    free(conn->service);
    free(conn);
}

/* ---- the loop's thread: servers */

static void pending_free(struct pending *pending)
{
    wf_list_remove(&pending->node);
    pending->server->pending_count--;
    free(pending);
}

/* Matches dialers with callers; under the lock. */
static void accept_some(weft_server *server)
{
    while (server->wanted > 0 && !wf_list_is_empty(&server->pending)) {
        struct pending *pending = wf_container_of(server->pending.next, struct pending, node);
        weft_stream *stream = pending->stream;
        weft_conn *conn;
        pending_free(pending);
        if (conn_new(server->client, &conn) != WEFT_OK) {
            weft_stream_refuse(stream, WEFT_ENOMEM, "the host has no memory");
            continue;
        }
        weft_err err = weft_stream_accept(stream, &stream_handler, conn);
        if (err != WEFT_OK) { /* it went away meanwhile */
            weft_stream_refuse(stream, err, NULL);
            conn_free(conn);
            continue;
        }
        conn->stream = stream;
        server->wanted--;
        wf_list_push(&server->ready, &conn->ready);
        pthread_cond_broadcast(&server->changed);
    }
}

static void on_gone(void *arg)
{
    struct pending *pending = arg;
    weft_client *client = pending->server->client;
    weft_stream *stream = pending->stream;
    pthread_mutex_lock(&client->lock);
    pending_free(pending);
    pthread_mutex_unlock(&client->lock);
    weft_stream_refuse(stream, WEFT_ECANCELED, NULL);
}

static void on_incoming(weft_listener *listener, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    weft_server *server = arg;
    (void)listener;
    pthread_mutex_lock(&server->client->lock);
    struct pending *pending = NULL;
    if (server->pending_count < PENDING_MAX && !server->closed)
        pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        weft_stream_refuse(stream, WEFT_EBUSY, "the host takes no more connections now");
    } else {
        pending->server = server;
        pending->stream = stream;
        pending->peer = peer;
        server->pending_count++;
        wf_list_push(&server->pending, &pending->node);
        weft_stream_on_gone(stream, on_gone, pending);
        accept_some(server);
    }
    pthread_mutex_unlock(&server->client->lock);
}

static void on_bound(weft_listener *listener, void *arg, unsigned routers, const char *why)
{
    weft_server *server = arg;
    (void)listener;
    pthread_mutex_lock(&server->client->lock);
    server->bound = routers;
    (void)wf_fail(&server->why, WEFT_EUNREACHABLE, "%s", why != NULL ? why : "");
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->client->lock);
}

static void on_listener_closed(weft_listener *listener, void *arg, weft_err err, const char *why)
{
    weft_server *server = arg;
    (void)listener;
    pthread_mutex_lock(&server->client->lock);
    while (!wf_list_is_empty(&server->pending)) {
        struct pending *pending = wf_container_of(server->pending.next, struct pending, node);
        weft_stream *stream = pending->stream;
        pending_free(pending);
        weft_stream_refuse(stream, WEFT_ENOHOST, "the service is being unbound");
    }
    server->listener = NULL;
    server->closed = true;
    server->bound = 0;
    server->err = err != WEFT_OK ? err : WEFT_ECANCELED;
    (void)wf_fail(&server->why, err, "%s", why);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->client->lock);
}

static const struct weft_listener_handler listener_handler = {
    .bound = on_bound,
    .incoming = on_incoming,
    .closed = on_listener_closed,
};

static void server_grant(struct wish *wish, unsigned todo)
{
    weft_server *server = wf_container_of(wish, weft_server, wish);
    if (todo & DO_LISTEN) {
        weft_err err = weft_listen(server->client->endpoint, server->service, &listener_handler,
                                   server, &server->listener, &server->why);
        server->listening = err == WEFT_OK;
        if (err != WEFT_OK) {
            server->closed = true;
            server->err = err;
        }
        pthread_cond_broadcast(&server->changed);
    }
    if (todo & DO_ACCEPT)
        accept_some(server);
    if ((todo & DO_CLOSE) && server->listener != NULL)
        weft_listener_close(server->listener);
}

/* ---- the caller's thread: client */

weft_err weft_client_open(const char *identity, weft_client **out, weft_why *why)
{
    weft_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a client");
    wf_list_init(&client->wishes);
    const struct weft_options options = {.identity = identity};
    weft_err err = weft_endpoint_open(&options, &client->endpoint, why);
    if (err != WEFT_OK)
        goto fail;
    if (pthread_mutex_init(&client->lock, NULL) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no lock for a client");
        goto fail_endpoint;
    }
    if (uv_async_init(weft_endpoint_loop(client->endpoint), &client->wake, on_wake) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no handle for a client");
        goto fail_lock;
    }
    if (pthread_create(&client->thread, NULL, run_loop, client) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no thread for a client");
        goto fail_wake;
    }
    *out = client;
    return WEFT_OK;

fail_wake:
    uv_close((uv_handle_t *)&client->wake, NULL);
fail_lock:
    (void)pthread_mutex_destroy(&client->lock);
fail_endpoint:
    weft_endpoint_close(client->endpoint, NULL, NULL);
    (void)weft_endpoint_run(client->endpoint);
fail:
    free(client);
    return err;
}

void weft_client_close(weft_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    (void)uv_async_send(&client->wake);
    pthread_mutex_unlock(&client->lock);
    (void)pthread_join(client->thread, NULL);
    assert(wf_list_is_empty(&client->wishes)); /* connections and servers are closed before */
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

/* ---- the caller's thread: connections */

weft_err weft_client_dial(weft_client *client, const char *service, unsigned timeout_ms,
                          weft_conn **out, weft_why *why)
{
    weft_conn *conn;
    weft_err err = conn_new(client, &conn);
    if (err != WEFT_OK)
        return wf_fail(why, err, "no memory for a connection");
    conn->service = strdup(service);
    conn->timeout_ms = timeout_ms;
    if (conn->service == NULL) {
        conn_free(conn);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a connection");
    }
    pthread_mutex_lock(&client->lock);
    make_wish(client, &conn->wish, DO_DIAL);
    while (!conn->opened && !conn->closed) /* the dial has a deadline of its own */
        (void)wait_for(client, &conn->changed, NULL);
    if (!conn->opened) {
        err = wf_fail(why, conn->err != WEFT_OK ? conn->err : WEFT_EINTERNAL, "%s", conn->why.text);
        conn_free(conn);
    } else {
        *out = conn;
    }
    pthread_mutex_unlock(&client->lock);
    return err;
}

weft_err weft_conn_read(weft_conn *conn, void *buf, size_t cap, size_t *got, unsigned timeout_ms,
                        weft_why *why)
{
    weft_client *client = conn->client;
    struct timespec deadline = deadline_in(timeout_ms);
    weft_err err = WEFT_OK;
    if (cap == 0)
        return wf_fail(why, WEFT_EINVAL, "a read of nothing");
    pthread_mutex_lock(&client->lock);
    while (conn->in.len == conn->in_at && !conn->ended && !conn->closed)
        if (!wait_for(client, &conn->changed, timeout_ms > 0 ? &deadline : NULL)) {
            err = wf_fail(why, WEFT_ETIMEDOUT, "nothing came in %u ms", timeout_ms);
            break;
        }
    size_t left = conn->in.len - conn->in_at;
    if (left > 0) {
        err = WEFT_OK;
        *got = left < cap ? left : cap;
        memcpy(buf, conn->in.data + conn->in_at, *got);
        conn->in_at += *got;
        if (conn->starved && conn->in.len - conn->in_at <= IN_MAX / 2)
            make_wish(client, &conn->wish, DO_RESUME);
    } else if (conn->ended) {
        err = WEFT_OK;
        *got = 0;
    } else if (conn->closed) {
        err = wf_fail(why, conn->err != WEFT_OK ? conn->err : WEFT_ELOST, "%s", conn->why.text);
    }
    pthread_mutex_unlock(&client->lock);
    return err;
}

weft_err weft_conn_write(weft_conn *conn, const void *data, size_t len, unsigned timeout_ms,
                         weft_why *why)
{
    weft_client *client = conn->client;
    struct timespec deadline = deadline_in(timeout_ms);
    weft_err err = WEFT_OK;
    if (len == 0)
        return WEFT_OK;
    pthread_mutex_lock(&client->lock);
    if (conn->out != NULL) {
        pthread_mutex_unlock(&client->lock);
        return wf_fail(why, WEFT_EBUSY, "another thread writes to this connection");
    }
    conn->out = data;
    conn->out_len = len;
    conn->out_done = 0;
    conn->end_err = WEFT_OK;
    make_wish(client, &conn->wish, DO_WRITE);
    while (conn->out_done < len && conn->end_err == WEFT_OK && !conn->closed)
        if (!wait_for(client, &conn->changed, timeout_ms > 0 ? &deadline : NULL)) {
            if (conn->out_done < len)
                err = wf_fail(why, WEFT_ETIMEDOUT, "%zu of %zu bytes were written in %u ms",
                              conn->out_done, len, timeout_ms);
            break;
        }
    if (err == WEFT_OK && conn->out_done < len) {
        if (conn->closed)
            err =
                wf_fail(why, conn->err != WEFT_OK ? conn->err : WEFT_EINVAL, "%s", conn->why.text);
        else
            err = wf_fail(why, conn->end_err, "the connection takes no more data");
    }
    conn->out = NULL;
    pthread_mutex_unlock(&client->lock);
    return err;
}

weft_err weft_conn_end(weft_conn *conn, weft_why *why)
{
    weft_client *client = conn->client;
    weft_err err;
    pthread_mutex_lock(&client->lock);
    conn->end_done = false;
    make_wish(client, &conn->wish, DO_END);
    while (!conn->end_done)
        (void)wait_for(client, &conn->changed, NULL);
    err = conn->end_err;
    if (err != WEFT_OK)
        (void)wf_fail(why, err, "%s", conn->closed ? conn->why.text : weft_err_sentence((int)err));
    conn->end_err = WEFT_OK;
    pthread_mutex_unlock(&client->lock);
    return err;
}

const struct weft_peer *weft_conn_peer(const weft_conn *conn)
{
    return &conn->peer;
}

void weft_conn_close(weft_conn *conn)
{
    weft_client *client = conn->client;
    pthread_mutex_lock(&client->lock);
    /* A stream that both sides have ended says goodbye; any other is reset. Both are bounded in
     * time. */
    if (!conn->closed)
        make_wish(client, &conn->wish, DO_CLOSE);
    while (!conn->closed)
        (void)wait_for(client, &conn->changed, NULL);
    conn_free(conn);
    pthread_mutex_unlock(&client->lock);
}

/* ---- the caller's thread: servers */

static void server_free(weft_server *server)
{
    assert(server->listener == NULL && wf_list_is_empty(&server->pending));
    wf_list_remove(&server->wish.node);
    (void)pthread_cond_destroy(&server->changed);
    free(server->service);
    free(server);
}

weft_err weft_client_listen(weft_client *client, const char *service, weft_server **out,
                            weft_why *why)
{
    weft_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a server");
    if (cond_init(&server->changed) != WEFT_OK) {
        free(server);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a server");
    }
    server->client = client;
    server->wish.grant = server_grant;
    wf_list_init(&server->pending);
    wf_list_init(&server->ready);
    server->service = strdup(service);
    if (server->service == NULL) {
        server_free(server);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a server");
    }
    pthread_mutex_lock(&client->lock);
    make_wish(client, &server->wish, DO_LISTEN);
    while (!server->listening && !server->closed)
        (void)wait_for(client, &server->changed, NULL);
    weft_err err = WEFT_OK;
    if (!server->listening) {
        err = wf_fail(why, server->err, "%s", server->why.text);
        server_free(server);
    } else {
        *out = server;
    }
    pthread_mutex_unlock(&client->lock);
    return err;
}

/* A caller leaves; weft_server_close may wait for it. */
static void server_leave(weft_server *server)
{
    weft_client *client = server->client;
    server->waiters--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&client->lock);
}

weft_err weft_server_wait_bound(weft_server *server, unsigned timeout_ms, weft_why *why)
{
    weft_client *client = server->client;
    struct timespec deadline = deadline_in(timeout_ms);
    weft_err err = WEFT_OK;
    pthread_mutex_lock(&client->lock);
    server->waiters++;
    while (server->bound == 0 && !server->closed && err == WEFT_OK)
        if (!wait_for(client, &server->changed, timeout_ms > 0 ? &deadline : NULL) &&
            server->bound == 0 && !server->closed)
            err = wf_fail(why, WEFT_ETIMEDOUT, "not bound in %u ms%s%s", timeout_ms,
                          server->why.text[0] != '\0' ? ": " : "", server->why.text);
    if (err == WEFT_OK && server->closed)
        err = wf_fail(why, server->err, "%s", server->why.text);
    server_leave(server);
    return err;
}

weft_err weft_server_accept(weft_server *server, unsigned timeout_ms, weft_conn **out,
                            weft_why *why)
{
    weft_client *client = server->client;
    struct timespec deadline = deadline_in(timeout_ms);
    weft_err err = WEFT_OK;
    pthread_mutex_lock(&client->lock);
    server->waiters++;
    if (wf_list_is_empty(&server->ready) && !server->closed) {
        server->wanted++;
        make_wish(client, &server->wish, DO_ACCEPT);
    }
    while (wf_list_is_empty(&server->ready) && !server->closed && err == WEFT_OK)
        if (!wait_for(client, &server->changed, timeout_ms > 0 ? &deadline : NULL) &&
            wf_list_is_empty(&server->ready)) {
            err = wf_fail(why, WEFT_ETIMEDOUT, "nobody dialed in %u ms", timeout_ms);
            if (server->wanted > 0)
                server->wanted--;
        }
    if (!wf_list_is_empty(&server->ready)) {
        weft_conn *conn = wf_container_of(server->ready.next, weft_conn, ready);
        wf_list_remove(&conn->ready);
        *out = conn;
        err = WEFT_OK;
    } else if (err == WEFT_OK) {
        err = wf_fail(why, server->err, "%s", server->why.text);
    }
    server_leave(server);
    return err;
}

void weft_server_close(weft_server *server)
{
    weft_client *client = server->client;
    pthread_mutex_lock(&client->lock);
    if (!server->closed)
        make_wish(client, &server->wish, DO_CLOSE);
    while (!server->closed || server->waiters > 0)
        (void)wait_for(client, &server->changed, NULL);
    /* Accepted, but nobody came for them. */
    while (!wf_list_is_empty(&server->ready)) {
        weft_conn *conn = wf_container_of(server->ready.next, weft_conn, ready);
        wf_list_remove(&conn->ready);
        pthread_mutex_unlock(&client->lock);
        weft_conn_close(conn);
        pthread_mutex_lock(&client->lock);
    }
    server_free(server);
    pthread_mutex_unlock(&client->lock);
}
