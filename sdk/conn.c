/*
 * Connections of the blocking face: a stream of the loop's thread, and what
 * callers have of it.
 *
 * Happy path: dialed or accepted; reads take from what came, writes wait until
 * all of theirs is on its way; both sides end; closed.
 *
 * - The stream ends: every wait on it ends with the reason.
 * - A wait times out: the caller takes back what it wanted.
 * - Closed while its stream lives: the loop's thread closes the stream, and the
 *   caller waits for its last callback.
 */
#include "sdk/client.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IN_MAX (256u * 1024u) /* what waits for a reader before the stream is held back */

/* ---- the loop's thread */

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    weft_conn *conn = arg;
    (void)stream;
    wf_client_lock(conn->client);
    memcpy(conn->name, peer->name, strnlen(peer->name, sizeof conn->name - 1));
    memcpy(conn->id, peer->id, strnlen(peer->id, sizeof conn->id - 1));
    memcpy(conn->spiffe, peer->spiffe_id, strnlen(peer->spiffe_id, sizeof conn->spiffe - 1));
    memcpy(conn->service_name, peer->service,
           strnlen(peer->service, sizeof conn->service_name - 1));
    memcpy(conn->session, peer->session, strnlen(peer->session, sizeof conn->session - 1));
    conn->opened = true;
    pthread_cond_broadcast(&conn->changed);
    wf_client_unlock(conn->client);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    weft_conn *conn = arg;
    (void)stream;
    wf_client_lock(conn->client);
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
    wf_client_unlock(conn->client);
    return n;
}

static void on_ended(weft_stream *stream, void *arg)
{
    weft_conn *conn = arg;
    (void)stream;
    wf_client_lock(conn->client);
    conn->ended = true;
    pthread_cond_broadcast(&conn->changed);
    wf_client_unlock(conn->client);
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
    wf_client_lock(conn->client);
    write_on(conn);
    wf_client_unlock(conn->client);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    weft_conn *conn = arg;
    (void)stream;
    wf_client_lock(conn->client);
    conn->stream = NULL;
    conn->closed = true;
    conn->err = err;
    (void)wf_fail(&conn->why, err, "%s", why);
    pthread_cond_broadcast(&conn->changed);
    wf_client_unlock(conn->client);
}

const struct weft_stream_handler wf_conn_handler = {
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

static void conn_grant(struct wf_wish *wish, unsigned todo)
{
    weft_conn *conn = wf_container_of(wish, weft_conn, wish);
    if (todo & WF_DO_DIAL) {
        weft_err err = weft_dial(wf_client_endpoint(conn->client), conn->service, &conn->options,
                                 &wf_conn_handler, conn, &conn->stream, &conn->why);
        if (err != WEFT_OK)
            conn_fail(conn, err);
    }
    if (todo & WF_DO_WRITE)
        write_on(conn);
    if ((todo & WF_DO_RESUME) && conn->stream != NULL)
        weft_stream_resume(conn->stream);
    if (todo & WF_DO_END) {
        conn->end_err = conn->stream != NULL   ? weft_stream_end(conn->stream)
                        : conn->err != WEFT_OK ? conn->err
                                               : WEFT_EINVAL;
        conn->end_done = true;
        pthread_cond_broadcast(&conn->changed);
    }
    if ((todo & WF_DO_CLOSE) && conn->stream != NULL)
        weft_stream_close(conn->stream);
}

weft_err wf_conn_new(weft_client *client, weft_conn **out)
{
    weft_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return WEFT_ENOMEM;
    if (wf_client_cond(&conn->changed) != WEFT_OK) {
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

void wf_conn_free(weft_conn *conn)
{
    assert(conn->stream == NULL);
    wf_list_remove(&conn->wish.node);
    wf_list_remove(&conn->ready);
    (void)pthread_cond_destroy(&conn->changed);
    wf_buf_wipe(&conn->in);
    free(conn->service);
    free(conn);
}

/* ---- the caller's thread */

weft_err weft_client_dial(weft_client *client, const char *service,
                          const struct weft_dial_options *options, weft_conn **out, weft_why *why)
{
    weft_conn *conn;
    if (options != NULL && options->datagram)
        return wf_fail(why, WEFT_EINVAL, "the blocking functions carry byte streams alone");
    weft_err err = wf_conn_new(client, &conn);
    if (err != WEFT_OK)
        return wf_fail(why, err, "no memory for a connection");
    conn->service = strdup(service);
    if (options != NULL)
        conn->options = *options;
    if (conn->service == NULL) {
        wf_conn_free(conn);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a connection");
    }
    wf_client_lock(client);
    wf_client_wish(client, &conn->wish, WF_DO_DIAL);
    while (!conn->opened && !conn->closed) /* the dial has a deadline of its own */
        (void)wf_client_wait(client, &conn->changed, NULL);
    if (!conn->opened) {
        err = wf_fail(why, conn->err != WEFT_OK ? conn->err : WEFT_EINTERNAL, "%s", conn->why.text);
        wf_conn_free(conn);
    } else {
        *out = conn;
    }
    wf_client_unlock(client);
    return err;
}

weft_err weft_conn_read(weft_conn *conn, void *buf, size_t cap, size_t *got, unsigned timeout_ms,
                        weft_why *why)
{
    weft_client *client = conn->client;
    struct timespec deadline = wf_client_deadline(timeout_ms);
    weft_err err = WEFT_OK;
    if (cap == 0)
        return wf_fail(why, WEFT_EINVAL, "a read of nothing");
    wf_client_lock(client);
    while (conn->in.len == conn->in_at && !conn->ended && !conn->closed)
        if (!wf_client_wait(client, &conn->changed, timeout_ms > 0 ? &deadline : NULL)) {
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
            wf_client_wish(client, &conn->wish, WF_DO_RESUME);
    } else if (conn->ended) {
        err = WEFT_OK;
        *got = 0;
    } else if (conn->closed) {
        err = wf_fail(why, conn->err != WEFT_OK ? conn->err : WEFT_ELOST, "%s", conn->why.text);
    }
    wf_client_unlock(client);
    return err;
}

weft_err weft_conn_write(weft_conn *conn, const void *data, size_t len, unsigned timeout_ms,
                         weft_why *why)
{
    weft_client *client = conn->client;
    struct timespec deadline = wf_client_deadline(timeout_ms);
    weft_err err = WEFT_OK;
    if (len == 0)
        return WEFT_OK;
    wf_client_lock(client);
    if (conn->out != NULL) {
        wf_client_unlock(client);
        return wf_fail(why, WEFT_EBUSY, "another thread writes to this connection");
    }
    conn->out = data;
    conn->out_len = len;
    conn->out_done = 0;
    conn->end_err = WEFT_OK;
    wf_client_wish(client, &conn->wish, WF_DO_WRITE);
    while (conn->out_done < len && conn->end_err == WEFT_OK && !conn->closed)
        if (!wf_client_wait(client, &conn->changed, timeout_ms > 0 ? &deadline : NULL)) {
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
    wf_client_unlock(client);
    return err;
}

weft_err weft_conn_end(weft_conn *conn, weft_why *why)
{
    weft_client *client = conn->client;
    weft_err err;
    wf_client_lock(client);
    conn->end_done = false;
    wf_client_wish(client, &conn->wish, WF_DO_END);
    while (!conn->end_done)
        (void)wf_client_wait(client, &conn->changed, NULL);
    err = conn->end_err;
    if (err != WEFT_OK)
        (void)wf_fail(why, err, "%s", conn->closed ? conn->why.text : weft_err_sentence((int)err));
    conn->end_err = WEFT_OK;
    wf_client_unlock(client);
    return err;
}

const struct weft_peer *weft_conn_peer(const weft_conn *conn)
{
    return &conn->peer;
}

void weft_conn_close(weft_conn *conn)
{
    weft_client *client = conn->client;
    wf_client_lock(client);
    /* A stream that both sides have ended says goodbye, any other is reset; in bounded time. */
    if (!conn->closed)
        wf_client_wish(client, &conn->wish, WF_DO_CLOSE);
    while (!conn->closed)
        (void)wf_client_wait(client, &conn->changed, NULL);
    wf_conn_free(conn);
    wf_client_unlock(client);
}
