/*
 * Servers of the blocking face: a listener of the loop's thread, the dialers
 * that it offers, and the callers who wait for one.
 *
 * Happy path: bound; a dialer is offered and waits; a caller comes; the
 * dialer is accepted and becomes the caller's connection.
 *
 * - The dialer gives up before: it is forgotten.
 * - More wait than PENDING_MAX: the next one is refused.
 * - The server is closed: dialers are refused, callers hear WEFT_ECANCELED.
 */
#include "sdk/client.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_MAX 128u /* dialers that wait for weft_server_accept */

struct pending {
    wf_node node;        /* in server->pending */
    weft_server *server; /* borrowed: outlives us */
    weft_stream *stream;
    const struct weft_peer *peer;
};

struct weft_server {
    weft_client *client; /* borrowed: outlives us */
    struct wf_wish wish;
    pthread_cond_t changed;
    weft_listener *listener; /* the loop's thread's */
    char *service;           /* owned: until it listens */
    bool listening, closed;
    unsigned bound;
    unsigned accepting; /* callers that are inside weft_server_accept */
    unsigned ready_count;
    unsigned waiters; /* callers that are inside a function of this server */
    wf_node pending;  /* struct pending: offered, not accepted */
    unsigned pending_count;
    wf_node ready; /* struct weft_conn: accepted, for a caller */
    weft_err err;
    wf_why why;
};

/* ---- the loop's thread */

static void pending_free(struct pending *pending)
{
    wf_list_remove(&pending->node);
    pending->server->pending_count--;
    free(pending);
}

/* Matches dialers with callers; under the lock. */
static void accept_some(weft_server *server)
{
    while (server->accepting > server->ready_count && !wf_list_is_empty(&server->pending)) {
        struct pending *pending = wf_container_of(server->pending.next, struct pending, node);
        weft_stream *stream = pending->stream;
        weft_conn *conn;
        pending_free(pending);
        if (wf_conn_new(server->client, &conn) != WEFT_OK) {
            weft_stream_refuse(stream, WEFT_ENOMEM, "the host has no memory");
            continue;
        }
        weft_err err = weft_stream_accept(stream, &wf_conn_handler, conn);
        if (err != WEFT_OK) { /* it went away meanwhile */
            weft_stream_refuse(stream, err, NULL);
            wf_conn_free(conn);
            continue;
        }
        conn->stream = stream;
        server->ready_count++;
        wf_list_push(&server->ready, &conn->ready);
        pthread_cond_broadcast(&server->changed);
    }
}

static void on_gone(void *arg)
{
    struct pending *pending = arg;
    weft_client *client = pending->server->client;
    wf_client_lock(client);
    pending_free(pending);
    wf_client_unlock(client);
}

static void on_incoming(weft_listener *listener, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    weft_server *server = arg;
    (void)listener;
    wf_client_lock(server->client);
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
    wf_client_unlock(server->client);
}

static void on_bound(weft_listener *listener, void *arg, unsigned routers, const char *why)
{
    weft_server *server = arg;
    (void)listener;
    wf_client_lock(server->client);
    server->bound = routers;
    (void)wf_fail(&server->why, WEFT_EUNREACHABLE, "%s", why != NULL ? why : "");
    pthread_cond_broadcast(&server->changed);
    wf_client_unlock(server->client);
}

static void on_listener_closed(weft_listener *listener, void *arg, weft_err err, const char *why)
{
    weft_server *server = arg;
    (void)listener;
    wf_client_lock(server->client);
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
    wf_client_unlock(server->client);
}

static const struct weft_listener_handler listener_handler = {
    .bound = on_bound,
    .incoming = on_incoming,
    .closed = on_listener_closed,
};

static void server_grant(struct wf_wish *wish, unsigned todo)
{
    weft_server *server = wf_container_of(wish, weft_server, wish);
    if (todo & WF_DO_LISTEN) {
        weft_err err = weft_listen(wf_client_endpoint(server->client), server->service,
                                   &listener_handler, server, &server->listener, &server->why);
        server->listening = err == WEFT_OK;
        if (err != WEFT_OK) {
            server->closed = true;
            server->err = err;
        }
        pthread_cond_broadcast(&server->changed);
    }
    if (todo & WF_DO_ACCEPT)
        accept_some(server);
    if ((todo & WF_DO_CLOSE) && server->listener != NULL)
        weft_listener_close(server->listener);
}

/* ---- the caller's thread */

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
    if (wf_client_cond(&server->changed) != WEFT_OK) {
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
    wf_client_lock(client);
    wf_client_wish(client, &server->wish, WF_DO_LISTEN);
    while (!server->listening && !server->closed)
        (void)wf_client_wait(client, &server->changed, NULL);
    weft_err err = WEFT_OK;
    if (!server->listening) {
        err = wf_fail(why, server->err, "%s", server->why.text);
        server_free(server);
    } else {
        *out = server;
    }
    wf_client_unlock(client);
    return err;
}

/* A caller leaves; weft_server_close may wait for it. */
static void server_leave(weft_server *server)
{
    weft_client *client = server->client;
    server->waiters--;
    pthread_cond_broadcast(&server->changed);
    wf_client_unlock(client);
}

weft_err weft_server_wait_bound(weft_server *server, unsigned timeout_ms, weft_why *why)
{
    weft_client *client = server->client;
    struct timespec deadline = wf_client_deadline(timeout_ms);
    weft_err err = WEFT_OK;
    wf_client_lock(client);
    server->waiters++;
    while (server->bound == 0 && !server->closed && err == WEFT_OK)
        if (!wf_client_wait(client, &server->changed, timeout_ms > 0 ? &deadline : NULL) &&
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
    struct timespec deadline = wf_client_deadline(timeout_ms);
    weft_err err = WEFT_OK;
    wf_client_lock(client);
    server->waiters++;
    server->accepting++;
    while (wf_list_is_empty(&server->ready) && !server->closed && err == WEFT_OK) {
        /* Another caller may have taken the one that was accepted for us. */
        if (!wf_list_is_empty(&server->pending))
            wf_client_wish(client, &server->wish, WF_DO_ACCEPT);
        if (!wf_client_wait(client, &server->changed, timeout_ms > 0 ? &deadline : NULL) &&
            wf_list_is_empty(&server->ready))
            err = wf_fail(why, WEFT_ETIMEDOUT, "nobody dialed in %u ms", timeout_ms);
    }
    server->accepting--;
    if (!wf_list_is_empty(&server->ready)) {
        weft_conn *conn = wf_container_of(server->ready.next, weft_conn, ready);
        wf_list_remove(&conn->ready);
        server->ready_count--;
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
    wf_client_lock(client);
    if (!server->closed)
        wf_client_wish(client, &server->wish, WF_DO_CLOSE);
    while (!server->closed || server->waiters > 0)
        (void)wf_client_wait(client, &server->changed, NULL);
    /* Accepted, but nobody came for them. */
    while (!wf_list_is_empty(&server->ready)) {
        weft_conn *conn = wf_container_of(server->ready.next, weft_conn, ready);
        wf_list_remove(&conn->ready);
        wf_client_unlock(client);
        weft_conn_close(conn);
        wf_client_lock(client);
    }
    server_free(server);
    wf_client_unlock(client);
}
