/*
 * HTTP/2 as a server's session (RFC 9113), framing and HPACK by nghttp2. This
 * is the one file that names it.
 *
 * Happy path: settings, a stream's head and body, the handler is asked, its
 * answer is drawn as the peer's windows allow, the stream closes.
 * - any doubt about a request: its stream is refused by a status or reset;
 *   about the connection: GOAWAY
 * - frames without use (resets, pings, settings, priorities, empty data, window
 *   updates, requests that are refused) are counted: too many are a flood, GOAWAY
 * - answers that the peer doesn't take: no more requests are given to the
 *   handler, and when the rate is below its minimum the connection is cut
 * - a body too slow: 408 for its stream
 */
#include "proto/http/internal.h"
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASKED_MAX 32u                    /* requests of one connection that the handler has */
#define PENDING_MAX (4u * 1024u * 1024u) /* bytes of answers that wait; above, nothing is asked */
#define BODIES_MAX (4u * 1024u * 1024u)  /* bytes of bodies of one connection, or one whole body */
#define USELESS_BURST 200u               /* frames without use at once, and how long for another */
#define USELESS_EACH_MS 20u
#define UPDATES_FREE 1000 /* window updates; each answer's frame earns some more */
#define UPDATES_EARNED 4
#define CONTINUATIONS_MAX 8u
#define WINDOW 65535u

/* RUNNING -> DRAINING (GOAWAY is said) -> ENDED; RUNNING -> ENDED (refused as a whole) */
enum h2_state { H2_RUNNING, H2_DRAINING, H2_ENDED };

struct h2 {
    wf_http_session base;
    enum h2_state state;
    nghttp2_session *ng; /* owned */
    unsigned asked;      /* exchanges that the handler has */
    size_t pending;      /* bytes of answers not drawn yet */
    size_t bodies;       /* bytes of bodies in memory */
    uint64_t idle_since; /* mono ms: since when there is no exchange */
    uint64_t useless_full_at;
    int updates_left;
    bool flooded;
    unsigned continuations; /* of the head that comes in */
    /* of the head that comes in */
    wf_buf method, target, authority;
    bool scheme_fits, pseudo_put;
};

static struct h2 *of(wf_http_session *s)
{
    return wf_container_of(s, struct h2, base);
}

static const struct h2 *of_const(const wf_http_session *s)
{
    return (const struct h2 *)((const char *)s - offsetof(struct h2, base));
}

static void count_useless(struct h2 *h)
{
    if (wf_quota_draw(&h->useless_full_at, h->base.now, USELESS_BURST, USELESS_EACH_MS) != 0)
        h->flooded = true;
}

/* ---- answers */

static ssize_t read_answer(nghttp2_session *ng, int32_t stream, uint8_t *buf, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2 *h = arg;
    wf_http_exchange *x = source->ptr;
    size_t left = x->answer.len - x->sent, some = left < len ? left : len;
    (void)ng, (void)stream;
    memcpy(buf, x->answer.data + x->sent, some);
    x->sent += some;
    h->pending -= some;
    h->updates_left += UPDATES_EARNED;
    if (some == left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        wf_buf_fini(&x->answer);
        x->sent = 0;
    }
    return (ssize_t)some;
}

static nghttp2_nv nv(const char *name, const void *value, size_t len)
{
    /* nghttp2 copies both and doesn't write to them, whatever its types say. */
    union {
        const void *in;
        uint8_t *out;
    } n = {.in = name}, v = {.in = value};
    return (nghttp2_nv){n.out, v.out, strlen(name), len, NGHTTP2_NV_FLAG_NONE};
}

/* As nv, for a name without an end. */
static nghttp2_nv nv_of(const struct wf_http_field *field)
{
    nghttp2_nv one = nv("", field->value.data, field->value.len);
    union {
        const void *in;
        uint8_t *out;
    } n = {.in = field->name.data};
    one.name = n.out;
    one.namelen = field->name.len;
    return one;
}

static weft_err submit(struct h2 *h, wf_http_exchange *x, unsigned status,
                       const struct wf_http_field *fields, size_t count, wf_span body)
{
    nghttp2_nv list[WF_HTTP_FIELDS_MAX + 3];
    char digits[8], length[24];
    size_t n = 0;
    bool bodiless = status == 204 || status == 304;
    const char *date = wf_http_date(h->base.service);
    int len = snprintf(digits, sizeof digits, "%u", status);
    list[n++] = nv(":status", digits, (size_t)len);
    list[n++] = nv("date", date, strlen(date));
    for (size_t i = 0; i < count; i++)
        list[n++] = nv_of(&fields[i]);
    len = snprintf(length, sizeof length, "%zu", body.len);
    if (!bodiless)
        list[n++] = nv("content-length", length, (size_t)len);
    bool with_body = body.len > 0 && !bodiless && !x->is_head;
    if (with_body) {
        weft_err err = wf_buf_put(&x->answer, body.data, body.len);
        if (err != WEFT_OK)
            return err;
        h->pending += body.len;
    }
    const nghttp2_data_provider provider = {.source.ptr = x, .read_callback = read_answer};
    int rc = nghttp2_submit_response(h->ng, x->stream, list, n, with_body ? &provider : NULL);
    return rc == 0 ? WEFT_OK : rc == NGHTTP2_ERR_NOMEM ? WEFT_ENOMEM : WEFT_EINTERNAL;
}

static void answered(struct h2 *h, wf_http_exchange *x)
{
    x->stage = WF_HTTP_ANSWERED;
    x->since = h->base.now;
}

static weft_err h2_answer(wf_http_session *s, wf_http_exchange *x, unsigned status,
                          const struct wf_http_field *fields, size_t count, wf_span body)
{
    struct h2 *h = of(s);
    h->asked--;
    answered(h, x);
    weft_err err = submit(h, x, status, fields, count, body);
    if (err == WEFT_ELIMIT) /* larger than any answer may be */
        err = submit(h, x, 500, NULL, 0, (wf_span){NULL, 0});
    h->bodies -= x->body.len;
    wf_http_exchange_drop_body(x); /* not before: the answer may be made of it */
    return err;
}

/* Refuses a request by a status; what still comes of it is thrown away. */
static void refuse(struct h2 *h, wf_http_exchange *x, unsigned status)
{
    assert(x->stage == WF_HTTP_TAKING);
    bool whole = x->is_whole;
    h->base.service->counters.rejected++;
    count_useless(h);
    h->bodies -= x->body.len;
    wf_http_exchange_drop_body(x);
    answered(h, x);
    /* nghttp2 would drop the answer before a reset that is submitted now: see on_sent. */
    x->is_cut = !whole;
    if (submit(h, x, status, NULL, 0, (wf_span){NULL, 0}) != WEFT_OK)
        h->base.broken = true;
}

/* ---- requests */

static bool says(wf_span value, const char *text)
{
    return value.len == strlen(text) && memcmp(value.data, text, value.len) == 0;
}

static wf_http_exchange *exchange_of(const struct h2 *h, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(h->ng, stream);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    wf_http_exchange *x;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        /* trailers: not taken */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (wf_http_exchange_new(&h->base, h->base.now, &x) != WEFT_OK)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    x->stream = frame->hd.stream_id;
    if (nghttp2_session_set_stream_user_data(ng, x->stream, x) != 0) {
        wf_http_exchange_free(x);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    wf_buf_clear(&h->method);
    wf_buf_clear(&h->target);
    wf_buf_clear(&h->authority);
    h->scheme_fits = h->pseudo_put = false;
    h->updates_left += UPDATES_EARNED;
    if (h->updates_left > 10 * UPDATES_FREE)
        h->updates_left = 10 * UPDATES_FREE;
    return 0;
}

/* The three parts come first, whatever order the peer sent its pseudo fields in. */
static weft_err put_pseudo(struct h2 *h, wf_http_exchange *x)
{
    const wf_span none = {NULL, 0};
    if (h->pseudo_put)
        return WEFT_OK;
    weft_err err = wf_http_exchange_put(x, none, wf_span_of(h->method.data, h->method.len));
    if (err == WEFT_OK)
        err = wf_http_exchange_put(x, none, wf_span_of(h->authority.data, h->authority.len));
    if (err == WEFT_OK)
        err = wf_http_exchange_put(x, none, wf_span_of(h->target.data, h->target.len));
    h->pseudo_put = err == WEFT_OK;
    return err;
}

static weft_err take_field(struct h2 *h, wf_http_exchange *x, wf_span name, wf_span value)
{
    if (says(name, ":method"))
        return wf_buf_put(&h->method, value.data, value.len);
    if (says(name, ":path"))
        return wf_buf_put(&h->target, value.data, value.len);
    if (says(name, ":authority"))
        return wf_buf_put(&h->authority, value.data, value.len);
    if (says(name, ":scheme")) {
        h->scheme_fits = says(value, h->base.peer.secure ? "https" : "http");
        return WEFT_OK;
    }
    if (name.len > 0 && name.data[0] == ':')
        return WEFT_EPROTO;
    weft_err err = put_pseudo(h, x);
    return err == WEFT_OK ? wf_http_exchange_put(x, name, value) : err;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2 *h = arg;
    wf_http_exchange *x = exchange_of(h, frame->hd.stream_id);
    (void)ng, (void)flags;
    if (x == NULL || x->stage != WF_HTTP_TAKING)
        return 0;
    switch (take_field(h, x, wf_span_of(name, name_len), wf_span_of(value, value_len))) {
    case WEFT_OK:
        return 0;
    case WEFT_ELIMIT:
        refuse(h, x, 431);
        return 0;
    case WEFT_EPROTO:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    default:
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
}

/* nghttp2 would only leave the field out. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *arg)
{
    (void)ng, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags;
    (void)arg;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Of the same rules as HTTP/1.1: what nghttp2 leaves open. 0: none is broken; else the status. */
static unsigned judge_head(struct h2 *h, wf_http_exchange *x)
{
    wf_span method = wf_span_of(h->method.data, h->method.len);
    wf_span target = wf_span_of(h->target.data, h->target.len);
    wf_span authority = wf_span_of(h->authority.data, h->authority.len);
    size_t hosts = 0;
    wf_span host = {NULL, 0}, expect = {NULL, 0};
    struct wf_http_field field;
    for (size_t i = WF_HTTP_PARTS; wf_http_exchange_field(x, i, &field); i++) {
        if (says(field.name, "host")) {
            host = field.value;
            hosts++;
        } else if (says(field.name, "expect")) {
            expect = field.value;
        } else if (says(field.name, "trailer")) {
            return 400;
        }
    }
    if (says(method, "CONNECT") || says(target, "*"))
        return 501;
    if (target.len > WF_HTTP_TARGET_MAX)
        return 414;
    if (!h->scheme_fits || method.len > 32 || !wf_http_is_token(method) || hosts > 1 ||
        !wf_http_is_path(target))
        return 400;
    if (authority.len == 0 ? hosts == 0 || !wf_http_is_host(host) : !wf_http_is_host(authority))
        return 400;
    if (authority.len != 0 && hosts == 1 &&
        (host.len != authority.len ||
         strncasecmp((const char *)host.data, (const char *)authority.data, host.len) != 0))
        return 400;
    if (expect.data != NULL && !says(expect, "100-continue"))
        return 417;
    return 0;
}

static void head_is_whole(struct h2 *h, wf_http_exchange *x, bool bodiless)
{
    if (x->stage != WF_HTTP_TAKING)
        return;
    weft_err err = put_pseudo(h, x);
    if (err != WEFT_OK) {
        refuse(h, x, err == WEFT_ELIMIT ? 431 : 503);
        return;
    }
    unsigned status = judge_head(h, x);
    if (status == 0 && !bodiless && h->base.service->body_max == 0)
        status = 413;
    x->is_whole = bodiless;
    if (status != 0) {
        refuse(h, x, status);
        return;
    }
    x->has_head = true;
    x->since = h->base.now;
    struct wf_http_field field;
    for (size_t i = WF_HTTP_PARTS; !bodiless && wf_http_exchange_field(x, i, &field); i++)
        if (says(field.name, "expect")) {
            const nghttp2_nv go_on = nv(":status", "100", 3);
            if (nghttp2_submit_headers(h->ng, NGHTTP2_FLAG_NONE, x->stream, NULL, &go_on, 1, NULL) <
                0)
                h->base.broken = true;
        }
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *arg)
{
    struct h2 *h = arg;
    wf_http_exchange *x = exchange_of(h, stream);
    (void)flags;
    if (x != NULL && x->stage == WF_HTTP_TAKING) {
        size_t most =
            h->base.service->body_max > BODIES_MAX ? h->base.service->body_max : BODIES_MAX;
        weft_err err = h->bodies + len > most ? WEFT_EBUSY
                                              : wf_http_exchange_put_body(x, wf_span_of(data, len));
        if (err == WEFT_OK)
            h->bodies += len;
        else
            refuse(h, x, err == WEFT_ELIMIT ? 413 : 503);
    }
    /* It is taken, or thrown away: the peer may send as much again. */
    return nghttp2_session_consume(ng, stream, len) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2 *h = arg;
    (void)ng;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        h->continuations = 0;
        break;
    case NGHTTP2_CONTINUATION:
        if (++h->continuations > CONTINUATIONS_MAX)
            h->flooded = true;
        break;
    case NGHTTP2_DATA:
        if (hd->length == 0 && (hd->flags & NGHTTP2_FLAG_END_STREAM) == 0)
            count_useless(h);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (--h->updates_left < 0)
            h->flooded = true;
        break;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        if ((hd->flags & NGHTTP2_FLAG_ACK) == 0)
            count_useless(h);
        break;
    default:
        count_useless(h);
        break;
    }
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    (void)ng;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    wf_http_exchange *x = exchange_of(h, frame->hd.stream_id);
    if (x == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        head_is_whole(h, x, last);
    else if (last && x->stage == WF_HTTP_TAKING)
        x->is_whole = true;
    return 0;
}

/* RFC 9113 section 8.1: who is answered before its request is whole need not send the rest. */
static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h = arg;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
        /* A stream's error: nghttp2 counts only the resets that come in. */
        h->base.service->counters.rejected++;
        count_useless(h);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    wf_http_exchange *x = exchange_of(h, frame->hd.stream_id);
    if (x == NULL || !x->is_cut)
        return 0;
    return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, x->stream, NGHTTP2_NO_ERROR) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream, uint32_t code, void *arg)
{
    struct h2 *h = arg;
    wf_http_exchange *x = exchange_of(h, stream);
    (void)ng, (void)code;
    if (x == NULL)
        return 0;
    h->pending -= x->answer.len - x->sent;
    if (x->stage == WF_HTTP_ASKED)
        h->asked--;
    h->bodies -= x->body.len;
    wf_http_exchange_drop(x);
    if (wf_list_is_empty(&h->base.exchanges))
        h->idle_since = h->base.now;
    return 0;
}

/* Gives whole requests to the handler, as many as the peer takes answers of. */
static weft_err ask(struct h2 *h)
{
    wf_node *n = h->base.exchanges.next;
    while (n != &h->base.exchanges && h->asked < ASKED_MAX && h->pending < PENDING_MAX) {
        wf_http_exchange *x = wf_container_of(n, wf_http_exchange, node);
        if (x->stage == WF_HTTP_TAKING && x->is_whole) {
            h->asked++;
            weft_err err = wf_http_exchange_ask(x, 2, h->base.now);
            if (err != WEFT_OK) {
                h->asked--;
                return err;
            }
        }
        n = n->next; /* an answer frees nothing before it is drawn */
    }
    return WEFT_OK;
}

/* Refuses the connection as a whole. */
static weft_err give_up(struct h2 *h, uint32_t code)
{
    h->state = H2_ENDED;
    return nghttp2_session_terminate_session(h->ng, code) == 0 ? WEFT_OK : WEFT_ENOMEM;
}

/* A flood ends the connection; else the handler gets what is whole. */
static weft_err calm(struct h2 *h)
{
    if (h->state == H2_ENDED)
        return WEFT_OK;
    if (!h->flooded)
        return ask(h);
    h->base.service->counters.floods++;
    return give_up(h, NGHTTP2_ENHANCE_YOUR_CALM);
}

static weft_err h2_feed(wf_http_session *s, const uint8_t *data, size_t len, uint64_t now,
                        size_t *taken)
{
    struct h2 *h = of(s);
    h->base.now = now;
    *taken = len;
    if (h->state == H2_ENDED)
        return WEFT_OK;
    ssize_t n = nghttp2_session_mem_recv(h->ng, data, len);
    if (n == NGHTTP2_ERR_NOMEM || n == NGHTTP2_ERR_CALLBACK_FAILURE)
        return WEFT_ENOMEM;
    if (n == NGHTTP2_ERR_FLOODED)
        h->flooded = true;
    if (n < 0)
        h->base.service->counters.floods += h->flooded;
    return n < 0 ? WEFT_EPROTO : calm(h);
}

static bool h2_wants_input(const wf_http_session *s)
{
    (void)s;
    return true;
}

static bool h2_is_done(const wf_http_session *s)
{
    const struct h2 *h = of_const(s);
    return nghttp2_session_want_write(h->ng) == 0 &&
           (h->state == H2_ENDED || nghttp2_session_want_read(h->ng) == 0);
}

static weft_err h2_draw(wf_http_session *s, wf_buf *out, uint64_t now)
{
    struct h2 *h = of(s);
    h->base.now = now;
    weft_err err = calm(h); /* those that waited for answers to be drawn are asked */
    while (err == WEFT_OK && out->len < WF_HTTP_DRAW) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->ng, &data);
        if (n == 0)
            break;
        err = n < 0 ? WEFT_ENOMEM : wf_buf_put(out, data, (size_t)n);
        if (err == WEFT_OK && h->flooded)
            err = calm(h);
    }
    return err;
}

/* ---- time */

static uint64_t due_of(const struct h2 *h, const wf_http_exchange *x)
{
    const struct wf_http_service *service = h->base.service;
    if (x->stage == WF_HTTP_TAKING && !x->has_head)
        return x->since + service->limits.head_ms;
    if (x->stage == WF_HTTP_TAKING && !x->is_whole)
        return wf_http_due(service, x->since, x->body.len);
    if (x->stage == WF_HTTP_ANSWERED)
        return wf_http_due(service, x->since, x->answer.len);
    return WF_HTTP_NEVER;
}

static uint64_t h2_deadline(const wf_http_session *s)
{
    const struct h2 *h = of_const(s);
    uint64_t due = WF_HTTP_NEVER;
    if (wf_list_is_empty(&h->base.exchanges))
        return h->idle_since + h->base.service->limits.idle_ms;
    for (wf_node *n = h->base.exchanges.next; n != &h->base.exchanges; n = n->next) {
        uint64_t one = due_of(h, wf_container_of(n, wf_http_exchange, node));
        if (one < due)
            due = one;
    }
    return due;
}

static weft_err h2_expire(wf_http_session *s, uint64_t now)
{
    struct h2 *h = of(s);
    h->base.now = now;
    if (wf_list_is_empty(&h->base.exchanges)) {
        if (h->state == H2_ENDED)
            return WEFT_ETIMEDOUT;
        return give_up(h, NGHTTP2_NO_ERROR);
    }
    h->base.service->counters.late++;
    for (wf_node *n = h->base.exchanges.next; n != &h->base.exchanges; n = n->next) {
        wf_http_exchange *x = wf_container_of(n, wf_http_exchange, node);
        if (due_of(h, x) > now)
            continue;
        if (x->stage != WF_HTTP_TAKING || !x->has_head)
            return WEFT_ETIMEDOUT; /* a head that stops blocks all streams */
        refuse(h, x, 408);
    }
    return WEFT_OK;
}

static void h2_drain(wf_http_session *s)
{
    struct h2 *h = of(s);
    if (h->state != H2_RUNNING)
        return;
    h->state = H2_DRAINING;
    if (nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(h->ng), NGHTTP2_NO_ERROR,
                              NULL, 0) != 0)
        h->base.broken = true;
}

static void h2_finish(wf_http_session *s)
{
    struct h2 *h = of(s);
    h2_drain(s);
    for (wf_node *n = h->base.exchanges.next; n != &h->base.exchanges; n = n->next) {
        wf_http_exchange *x = wf_container_of(n, wf_http_exchange, node);
        if (x->stage == WF_HTTP_TAKING && !x->is_whole &&
            nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, x->stream, NGHTTP2_CANCEL) != 0)
            h->base.broken = true;
    }
}

/* ---- life */

static void h2_free(wf_http_session *s)
{
    struct h2 *h = of(s);
    nghttp2_session_del(h->ng);
    wf_http_session_fini(s);
    wf_buf_fini(&h->method);
    wf_buf_fini(&h->target);
    wf_buf_fini(&h->authority);
    free(h);
}

static const struct wf_http_session_ops h2_ops = {
    .feed = h2_feed,
    .wants_input = h2_wants_input,
    .draw = h2_draw,
    .is_done = h2_is_done,
    .deadline = h2_deadline,
    .expire = h2_expire,
    .finish = h2_finish,
    .drain = h2_drain,
    .answer = h2_answer,
    .free = h2_free,
};

/* Frames of types that nobody knows: counted in on_begin_frame, which nghttp2 calls for no others.
 */
static int on_unknown_frame(nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd,
                            void *arg)
{
    (void)ng, (void)payload, (void)hd, (void)arg;
    return NGHTTP2_ERR_CANCEL;
}

static int open_session(struct h2 *h)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int rc = nghttp2_session_callbacks_new(&callbacks);
    if (rc == 0)
        rc = nghttp2_option_new(&option);
    if (rc != 0)
        goto out;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, on_unknown_frame);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_settings(option, 32);
    /* It counts a frame whose header comes in pieces once for each piece: ours is the exact one. */
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX * 16);
    nghttp2_option_set_stream_reset_rate_limit(option, USELESS_BURST, 1000 / USELESS_EACH_MS);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096);
    rc = nghttp2_session_server_new2(&h->ng, callbacks, h, option);
    if (rc != 0)
        goto out;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->base.service->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, WF_HTTP_HEAD_MAX},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 0},
    };
    rc = nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings,
                                 sizeof settings / sizeof *settings);
out:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc;
}

weft_err wf_http_h2_new(struct wf_http_service *service, const struct wf_http_peer *peer,
                        void (*wake)(void *arg), void *arg, uint64_t now, wf_http_session **out)
{
    struct h2 *h = calloc(1, sizeof *h);
    if (h == NULL)
        return WEFT_ENOMEM;
    wf_http_session_init(&h->base, &h2_ops, service, peer, wake, arg, now);
    h->idle_since = now;
    h->updates_left = UPDATES_FREE;
    wf_buf_init(&h->method, WF_HTTP_HEAD_MAX);
    wf_buf_init(&h->target, WF_HTTP_HEAD_MAX);
    wf_buf_init(&h->authority, WF_HTTP_HEAD_MAX);
    if (open_session(h) != 0) {
        h2_free(&h->base);
        return WEFT_ENOMEM;
    }
    *out = &h->base;
    return WEFT_OK;
}
