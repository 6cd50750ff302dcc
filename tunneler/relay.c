/*
 * Happy path: begin -> bytes both ways -> TCP's end becomes the stream's end
 * and the stream's end a shutdown -> both seen -> both closed -> freed.
 * - the stream takes fewer bytes than TCP gave: the rest is kept, TCP is not
 *   read until `writable`
 * - TCP takes fewer bytes than the stream gave: they wait in `out`; once that
 *   is full the stream is told to hold back, and resumed when it is written
 * - the stream is closed with an error: TCP reset
 * - TCP fails: stream reset
 */
#include "tunneler/relay.h"
#include "proto/base/buf.h"
#include "proto/base/log.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_SIZE (4u * WEFT_PIECE)
#define OUT_MAX (128u * 1024u)
#define SOCKET_SEND (1024 * 1024)
#define SOCKET_RECEIVE (4 * 1024 * 1024)

struct relays {
    struct tunneler *tunneler; /* borrowed: outlives us */
    uv_prepare_t flush;        /* runs before the loop waits; active while `dirty` has members */
    wf_node dirty;             /* of relay.dirty */
    wf_node all;               /* of relay.node */
    size_t count;
    uint8_t *spare_out;      /* owned: one idle output buffer, to save the allocator's work */
    char scratch[READ_SIZE]; /* what TCP is read into */
};

/* Named by what it expects; only forward, OPEN may be left out. */
enum relay_state {
    RELAY_OPENING, /* TCP's connection and the stream's `opened` */
    RELAY_OPEN,    /* bytes */
    RELAY_CLOSING, /* TCP's close callback */
    RELAY_CLOSED,  /* the stream's `closed` */
};

/* The direction from the stream to TCP, likewise; only forward. */
enum to_tcp {
    TO_TCP_BYTES,    /* bytes, or the stream's end */
    TO_TCP_DRAIN,    /* the last byte to be written */
    TO_TCP_SHUTDOWN, /* the shutdown's callback */
    TO_TCP_SHUT,     /* nothing */
};

struct relay {
    wf_node node, dirty;
    enum relay_state state;
    enum to_tcp to_tcp;
    struct tunneler *tunneler;    /* borrowed: outlives us */
    const struct weft_peer *peer; /* borrowed: lives as long as the stream; NULL: not known yet */
    char service[WF_NAME_MAX + 1];
    uv_tcp_t tcp;
    weft_stream *stream; /* owned; NULL before it is known and after its `closed` */
    uint8_t *out;        /* owned: bytes for TCP, OUT_MAX large; NULL while empty */
    size_t out_len;
    uint8_t *sending; /* owned: under `write`; NULL while none is pending */
    size_t sending_len;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uint8_t *rest; /* owned: bytes from TCP that the stream did not take */
    size_t rest_len, rest_at;
    bool held;      /* the stream waits for weft_stream_resume */
    bool tcp_ended; /* TCP's end was read and passed on */
};

static void flush(relay *r);

static bool is_closing(const relay *r)
{
    return r->state >= RELAY_CLOSING;
}

static void move(relay *r, enum relay_state to)
{
    assert(to > r->state);
    r->state = to;
}

/* ---- all of them */

static void on_flush(uv_prepare_t *prepare)
{
    struct relays *all = prepare->data;
    while (!wf_list_is_empty(&all->dirty)) {
        relay *r = wf_container_of(all->dirty.next, relay, dirty);
        wf_list_remove(&r->dirty);
        flush(r);
    }
    uv_prepare_stop(prepare);
}

struct relays *relays_open(struct tunneler *tunneler)
{
    struct relays *all = calloc(1, sizeof *all);
    if (all == NULL)
        return NULL;
    all->tunneler = tunneler;
    wf_list_init(&all->dirty);
    wf_list_init(&all->all);
    uv_prepare_init(tunneler->loop, &all->flush);
    all->flush.data = all;
    return all;
}

static void on_relays_closed(uv_handle_t *handle)
{
    struct relays *all = handle->data;
    free(all->spare_out);
    free(all);
}

void relays_close(struct relays *all)
{
    uv_close((uv_handle_t *)&all->flush, on_relays_closed);
}

size_t relays_count(const struct relays *all)
{
    return all->count;
}

void relays_cut(struct relays *all)
{
    for (wf_node *n = all->all.next, *next; n != &all->all; n = next) {
        next = n->next;
        relay_cut(wf_container_of(n, relay, node), WEFT_ECANCELED, "the tunneler stops");
    }
}

/* ---- life and end of one */

relay *relay_new(struct tunneler *t, const char *service)
{
    if (t->relays->count >= t->sessions_max)
        return NULL;
    relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    if (uv_tcp_init(t->loop, &r->tcp) != 0) {
        free(r);
        return NULL;
    }
    r->tunneler = t;
    r->tcp.data = r;
    snprintf(r->service, sizeof r->service, "%s", service);
    r->dirty.next = r->dirty.prev = &r->dirty;
    wf_list_push(&t->relays->all, &r->node);
    t->relays->count++;
    t->counters.sessions_open = t->relays->count;
    return r;
}

uv_tcp_t *relay_tcp(relay *r)
{
    return &r->tcp;
}

void relay_set_stream(relay *r, weft_stream *stream)
{
    r->stream = stream;
}

void relay_set_peer(relay *r, const struct weft_peer *peer)
{
    r->peer = peer;
}

static void drop_out(relay *r)
{
    struct relays *all = r->tunneler->relays;
    if (r->out != NULL && all->spare_out == NULL)
        all->spare_out = r->out;
    else
        free(r->out);
    r->out = NULL;
    r->out_len = 0;
}

static void maybe_free(relay *r)
{
    if (r->stream != NULL || r->state != RELAY_CLOSED)
        return;
    struct tunneler *t = r->tunneler;
    drop_out(r);
    wf_list_remove(&r->node);
    t->relays->count--;
    t->counters.sessions_open = t->relays->count;
    free(r->sending);
    free(r->rest);
    free(r);
}

static void on_tcp_closed(uv_handle_t *handle)
{
    relay *r = handle->data;
    move(r, RELAY_CLOSED);
    maybe_free(r);
}

/* Closes TCP: by FIN after a clean end, else by RST. */
static void close_tcp(relay *r, bool clean)
{
    if (is_closing(r))
        return;
    move(r, RELAY_CLOSING);
    wf_list_remove(&r->dirty);
    if (clean || uv_tcp_close_reset(&r->tcp, on_tcp_closed) != 0)
        uv_close((uv_handle_t *)&r->tcp, on_tcp_closed);
}

void relay_cut(relay *r, weft_err err, const char *why)
{
    if (r->stream != NULL)
        weft_stream_reset(r->stream, err, why); /* `closed` follows */
    close_tcp(r, false);
}

static void maybe_done(relay *r)
{
    if (r->to_tcp != TO_TCP_SHUT || !r->tcp_ended)
        return;
    close_tcp(r, true); /* the stream closes by itself once both ends crossed */
}

/* ---- stream to TCP */

static void on_shutdown(uv_shutdown_t *request, int status)
{
    relay *r = wf_container_of(request, relay, shutdown);
    if (is_closing(r))
        return;
    r->to_tcp = TO_TCP_SHUT;
    if (status != 0)
        relay_cut(r, WEFT_ERESET, uv_strerror(status));
    else
        maybe_done(r);
}

static void on_written(uv_write_t *write, int status)
{
    relay *r = wf_container_of(write, relay, write);
    free(r->sending);
    r->sending = NULL;
    if (is_closing(r))
        return;
    if (status != 0) {
        relay_cut(r, WEFT_ERESET, uv_strerror(status));
        return;
    }
    flush(r);
}

/* Sends what waits; what the socket doesn't take goes on under `write`. */
static void flush(relay *r)
{
    if (is_closing(r) || r->sending != NULL)
        return;
    if (r->out_len != 0) {
        uv_buf_t buf = uv_buf_init((char *)r->out, (unsigned)r->out_len);
        int n = uv_try_write((uv_stream_t *)&r->tcp, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            relay_cut(r, WEFT_ERESET, uv_strerror(n));
            return;
        }
        size_t sent = n > 0 ? (size_t)n : 0;
        if (sent == r->out_len) {
            drop_out(r);
        } else {
            r->sending = r->out;
            r->sending_len = r->out_len;
            r->out = NULL;
            r->out_len = 0;
            buf = uv_buf_init((char *)r->sending + sent, (unsigned)(r->sending_len - sent));
            n = uv_write(&r->write, (uv_stream_t *)&r->tcp, &buf, 1, on_written);
            if (n != 0) {
                free(r->sending);
                r->sending = NULL;
                relay_cut(r, WEFT_ENOMEM, uv_strerror(n));
                return;
            }
        }
    }
    if (r->held && r->stream != NULL && r->out_len < OUT_MAX) {
        r->held = false;
        weft_stream_resume(r->stream);
    }
    if (r->to_tcp == TO_TCP_DRAIN && r->out_len == 0 && r->sending == NULL) {
        r->to_tcp = TO_TCP_SHUTDOWN;
        int rc = uv_shutdown(&r->shutdown, (uv_stream_t *)&r->tcp, on_shutdown);
        if (rc != 0)
            relay_cut(r, WEFT_ERESET, uv_strerror(rc));
    }
}

static void make_dirty(relay *r)
{
    struct relays *all = r->tunneler->relays;
    if (wf_node_is_linked(&r->dirty) || r->sending != NULL)
        return;
    wf_list_push(&all->dirty, &r->dirty);
    uv_prepare_start(&all->flush, on_flush);
}

static bool need_out(relay *r)
{
    struct relays *all = r->tunneler->relays;
    if (r->out == NULL) {
        r->out = all->spare_out;
        all->spare_out = NULL;
    }
    if (r->out == NULL)
        r->out = malloc(OUT_MAX);
    return r->out != NULL;
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    relay *r = arg;
    size_t taken = 0;
    (void)stream;
    while (taken < len && !is_closing(r) && (r->out_len < OUT_MAX || r->sending == NULL)) {
        if (!need_out(r)) {
            relay_cut(r, WEFT_ENOMEM, "out of memory");
            break;
        }
        size_t room = OUT_MAX - r->out_len, some = len - taken < room ? len - taken : room;
        memcpy(r->out + r->out_len, data + taken, some);
        r->out_len += some;
        taken += some;
        if (r->out_len == OUT_MAX && r->sending == NULL)
            flush(r);
    }
    if (is_closing(r))
        return len;
    r->tunneler->counters.bytes_to_tcp += taken;
    if (taken < len)
        r->held = true; /* a write is pending; its end flushes and resumes */
    else if (r->out_len != 0)
        make_dirty(r);
    return taken;
}

static void on_ended(weft_stream *stream, void *arg)
{
    relay *r = arg;
    (void)stream;
    if (is_closing(r))
        return;
    assert(r->to_tcp == TO_TCP_BYTES);
    r->to_tcp = TO_TCP_DRAIN;
    make_dirty(r);
}

/* ---- TCP to stream */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    relay *r = handle->data;
    (void)suggested;
    *out = uv_buf_init(r->tunneler->relays->scratch, READ_SIZE);
}

static void pass_end(relay *r)
{
    r->tcp_ended = true;
    if (r->stream != NULL)
        (void)weft_stream_end(r->stream);
    maybe_done(r);
}

/*
 * libuv tells a hang-up behind a short read as an end, also when it was a
 * reset that took the rest of the bytes. The socket knows the difference.
 */
static int reset_behind_end(const uv_stream_t *tcp)
{
    uv_os_fd_t fd;
    int err = 0;
    socklen_t len = sizeof err;
    if (uv_fileno((const uv_handle_t *)tcp, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return UV_EBADF;
    return uv_translate_sys_error(err);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
    relay *r = tcp->data;
    int lost;
    size_t taken = 0;
    if (n == 0 || is_closing(r))
        return;
    if (n == UV_EOF && (lost = reset_behind_end(tcp)) != 0)
        n = lost;
    if (n == UV_EOF) {
        uv_read_stop(tcp);
        pass_end(r);
        return;
    }
    if (n < 0) {
        relay_cut(r, WEFT_ERESET, uv_strerror((int)n));
        return;
    }
    size_t len = (size_t)n;
    if (r->stream == NULL)
        return;
    if (weft_stream_write(r->stream, buf->base, len, &taken) != WEFT_OK)
        return; /* `closed` follows */
    r->tunneler->counters.bytes_to_stream += taken;
    if (taken == len)
        return;
    uv_read_stop(tcp);
    r->rest = malloc(len - taken);
    if (r->rest == NULL) {
        relay_cut(r, WEFT_ENOMEM, "out of memory");
        return;
    }
    memcpy(r->rest, buf->base + taken, len - taken);
    r->rest_len = len - taken;
    r->rest_at = 0;
}

static void on_writable(weft_stream *stream, void *arg)
{
    relay *r = arg;
    size_t taken = 0;
    if (r->rest == NULL || is_closing(r))
        return;
    if (weft_stream_write(stream, r->rest + r->rest_at, r->rest_len - r->rest_at, &taken) !=
        WEFT_OK)
        return;
    r->rest_at += taken;
    r->tunneler->counters.bytes_to_stream += taken;
    if (r->rest_at < r->rest_len)
        return;
    free(r->rest);
    r->rest = NULL;
    uv_read_start((uv_stream_t *)&r->tcp, on_alloc, on_read);
}

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    (void)stream;
    wf_log_debug("session %s of %s with %s opened", peer->session, peer->service, peer->name);
    relay_set_peer(arg, peer);
    relay_begin(arg);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    relay *r = arg;
    (void)stream;
    r->stream = NULL;
    if (err != WEFT_OK && !is_closing(r)) {
        r->tunneler->counters.broken++;
        if (r->state == RELAY_OPENING)
            r->tunneler->counters.dial_failures++;
        if (why == NULL || *why == 0)
            why = weft_err_sentence(err);
        if (r->peer != NULL)
            wf_log_info("%s: session %s with %s did not end cleanly: %s", r->service,
                        r->peer->session, r->peer->name, why);
        else
            wf_log_info("%s: the dial failed: %s", r->service, why);
        close_tcp(r, false);
    }
    r->peer = NULL;
    maybe_free(r);
}

const struct weft_stream_handler relay_stream_handler = {
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .closed = on_closed,
};

void relay_begin(relay *r)
{
    int send = SOCKET_SEND, receive = SOCKET_RECEIVE;
    if (r->state != RELAY_OPENING)
        return;
    move(r, RELAY_OPEN);
    uv_tcp_nodelay(&r->tcp, 1);
    uv_send_buffer_size((uv_handle_t *)&r->tcp, &send);
    uv_recv_buffer_size((uv_handle_t *)&r->tcp, &receive);
    int rc = uv_read_start((uv_stream_t *)&r->tcp, on_alloc, on_read);
    if (rc != 0)
        relay_cut(r, WEFT_ERESET, uv_strerror(rc));
}
