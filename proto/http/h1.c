/*
 * HTTP/1.1 as a server's session (RFC 9112): one request after the other.
 *
 * Happy path: a head, a body, the handler is asked, its answer is drawn, the
 * next request is read.
 * - any doubt about a request: its status, Connection: close, nothing more read
 * - a request behind one that is not answered yet waits unread
 * - the head or the body takes too long: 408 and close; the answer isn't taken: cut
 * - no memory: the connection ends
 */
#include "proto/http/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 *   IDLE -> HEAD -> BODY -> ASKED -> IDLE
 *   any -> LAST: what is in `out` goes, then the connection ends
 */
enum h1_state { H1_IDLE, H1_HEAD, H1_BODY, H1_ASKED, H1_LAST };

struct h1 {
    wf_http_session base;
    enum h1_state state;
    bool last;               /* the request under way is the last: close behind its answer */
    unsigned minor;          /* of the request under way */
    unsigned refusal;        /* why a callback refused; 0: the parser did */
    uint64_t since;          /* mono ms: when this state began; of output, when it began to wait */
    wf_http_parser *parser;  /* owned; NULL while idle */
    wf_http_exchange *asked; /* the request under way; NULL: none */
    wf_buf out;              /* owned */
    size_t drawn;            /* of out */
};

static struct h1 *of(wf_http_session *s)
{
    return wf_container_of(s, struct h1, base);
}

static const struct h1 *of_const(const wf_http_session *s)
{
    return (const struct h1 *)((const char *)s - offsetof(struct h1, base));
}

static void move(struct h1 *h, enum h1_state to)
{
    h->state = to;
    h->since = h->base.now;
}

static bool has_output(const struct h1 *h)
{
    return h->out.len > h->drawn;
}

/* ---- answers */

static weft_err put_text_field(wf_buf *out, const char *name, wf_span value)
{
    weft_err err = wf_buf_printf(out, "%s: ", name);
    if (err == WEFT_OK)
        err = wf_buf_put(out, value.data, value.len);
    return err == WEFT_OK ? wf_buf_put(out, "\r\n", 2) : err;
}

static weft_err put_answer(struct h1 *h, bool is_head, unsigned status,
                           const struct wf_http_field *fields, size_t count, wf_span body)
{
    wf_buf *out = &h->out;
    bool bodiless = status == 204 || status == 304;
    weft_err err = wf_http_put_answer(out, status);
    if (err == WEFT_OK)
        err = wf_buf_printf(out, "Date: %s\r\n", wf_http_date(h->base.service));
    for (size_t i = 0; i < count && err == WEFT_OK; i++) {
        err = wf_buf_put(out, fields[i].name.data, fields[i].name.len);
        if (err == WEFT_OK)
            err = put_text_field(out, "", fields[i].value);
    }
    if (err == WEFT_OK && !bodiless)
        err = wf_buf_printf(out, "Content-Length: %zu\r\n", body.len);
    if (err == WEFT_OK && h->last)
        err = wf_buf_put_text(out, "Connection: close\r\n");
    else if (err == WEFT_OK && h->minor == 0)
        err = wf_buf_put_text(out, "Connection: keep-alive\r\n");
    if (err == WEFT_OK)
        err = wf_http_put_end(out);
    if (err == WEFT_OK && !bodiless && !is_head)
        err = wf_buf_put(out, body.data, body.len);
    return err;
}

static weft_err h1_answer(wf_http_session *s, wf_http_exchange *x, unsigned status,
                          const struct wf_http_field *fields, size_t count, wf_span body)
{
    struct h1 *h = of(s);
    assert(h->state == H1_ASKED && h->asked == x);
    h->asked = NULL;
    size_t before = h->out.len;
    weft_err err = put_answer(h, x->is_head, status, fields, count, body);
    if (err == WEFT_ELIMIT) { /* larger than any answer may be */
        h->out.len = before;
        err = put_answer(h, x->is_head, 500, NULL, 0, (wf_span){NULL, 0});
    }
    wf_http_exchange_free(x);
    move(h, h->last ? H1_LAST : H1_IDLE);
    return err;
}

/* The request is refused: that is said, and nothing more is read. */
static weft_err refuse(struct h1 *h, unsigned status)
{
    static const struct wf_http_field plain[] = {
        {{(const uint8_t *)"Content-Type", 12},
         {(const uint8_t *)"text/plain; charset=utf-8", 25}}};
    char text[64];
    int len = snprintf(text, sizeof text, "%s\n", wf_http_reason(status));
    h->last = true;
    h->base.service->counters.rejected++;
    wf_http_exchange_free(h->asked);
    h->asked = NULL;
    move(h, H1_LAST);
    return put_answer(h, false, status, plain, 1, wf_span_of(text, (size_t)len));
}

/* ---- requests */

static bool says(wf_span value, const char *text)
{
    return value.len == strlen(text) && strncasecmp((const char *)value.data, text, value.len) == 0;
}

static weft_err no(struct h1 *h, unsigned status)
{
    h->refusal = status;
    return WEFT_EPROTO;
}

/* What the parser leaves open: which targets and hosts a server of ours has. */
static weft_err take_target(struct h1 *h, const struct wf_http_head *head, wf_span *target)
{
    static const uint8_t root[] = "/";
    const char *scheme = h->base.peer.secure ? "https://" : "http://";
    *target = head->target;
    if (says(head->method, "CONNECT") || says(head->target, "*"))
        return no(h, 501);
    if (target->data[0] != '/') { /* absolute form; the parser found its host equal to Host */
        size_t len = strlen(scheme);
        if (target->len < len || strncasecmp((const char *)target->data, scheme, len) != 0)
            return no(h, 400);
        const uint8_t *slash = memchr(target->data + len, '/', target->len - len);
        *target = slash == NULL ? wf_span_of(root, 1)
                                : wf_span_of(slash, target->len - (size_t)(slash - target->data));
    }
    return wf_http_is_path(*target) ? WEFT_OK : no(h, 400);
}

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct h1 *h = arg;
    wf_span target, host = wf_http_find(head, "host");
    h->minor = head->minor;
    weft_err err = take_target(h, head, &target);
    if (err != WEFT_OK)
        return err;
    if (head->minor == 1 && host.len == 0)
        return no(h, 400);
    wf_span expect = wf_http_find(head, "expect");
    bool waits = expect.data != NULL && head->minor == 1 &&
                 (head->chunked || (head->has_length && head->length > 0));
    if (expect.data != NULL && !says(expect, "100-continue"))
        return no(h, 417);
    if ((head->chunked || (head->has_length && head->length > 0)) && h->base.service->body_max == 0)
        return no(h, 413);
    if (!head->keep_alive)
        h->last = true;
    err = wf_http_exchange_new(&h->base, h->base.now, &h->asked);
    const wf_span none = {NULL, 0};
    if (err == WEFT_OK)
        err = wf_http_exchange_put(h->asked, none, head->method);
    if (err == WEFT_OK)
        err = wf_http_exchange_put(h->asked, none, host);
    if (err == WEFT_OK)
        err = wf_http_exchange_put(h->asked, none, target);
    for (size_t i = 0; i < head->field_count && err == WEFT_OK; i++)
        err = wf_http_exchange_put(h->asked, head->fields[i].name, head->fields[i].value);
    if (err == WEFT_OK && waits)
        err = wf_buf_put_text(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
    if (err != WEFT_OK)
        return err;
    move(h, H1_BODY);
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    struct h1 *h = arg;
    weft_err err = wf_http_exchange_put_body(h->asked, data);
    if (err == WEFT_ELIMIT)
        return no(h, 413);
    if (err == WEFT_EBUSY)
        return no(h, 503);
    return err;
}

static weft_err on_end(void *arg)
{
    struct h1 *h = arg;
    move(h, H1_ASKED);
    return WEFT_OK;
}

static const struct wf_http_handler request_handler = {on_head, on_body, on_end};

static weft_err begin(struct h1 *h)
{
    weft_err err = wf_http_parser_new(WF_HTTP_REQUESTS, h->base.service->body_max, &request_handler,
                                      h, &h->parser);
    if (err != WEFT_OK)
        return err;
    h->minor = 1;
    h->refusal = 0;
    move(h, H1_HEAD);
    return WEFT_OK;
}

static weft_err ask(struct h1 *h)
{
    wf_http_parser_free(h->parser); /* an idle connection keeps none */
    h->parser = NULL;
    return wf_http_exchange_ask(h->asked, 1, h->base.now);
}

static bool h1_wants_input(const wf_http_session *s)
{
    const struct h1 *h = of_const(s);
    return h->state == H1_HEAD || h->state == H1_BODY || (h->state == H1_IDLE && !has_output(h));
}

static weft_err h1_feed(wf_http_session *s, const uint8_t *data, size_t len, uint64_t now,
                        size_t *taken)
{
    struct h1 *h = of(s);
    weft_err err = WEFT_OK;
    h->base.now = now;
    *taken = 0;
    while (*taken < len && err == WEFT_OK && h1_wants_input(s)) {
        size_t used = 0;
        if (h->state == H1_IDLE)
            err = begin(h);
        if (err != WEFT_OK)
            break;
        err = wf_http_parser_feed(h->parser, data + *taken, len - *taken, true, &used, NULL);
        *taken += used;
        if (err == WEFT_OK && h->state == H1_ASKED)
            err = ask(h);
        else if (err == WEFT_EPROTO || err == WEFT_ELIMIT)
            err = refuse(h, h->refusal != 0 ? h->refusal : wf_http_parser_refusal(h->parser));
    }
    if (h->state == H1_LAST)
        *taken = len; /* nobody reads it */
    return err;
}

/* ---- output and time */

static weft_err h1_draw(wf_http_session *s, wf_buf *out, uint64_t now)
{
    struct h1 *h = of(s);
    size_t some = h->out.len - h->drawn;
    h->base.now = now;
    if (some > WF_HTTP_DRAW)
        some = WF_HTTP_DRAW;
    if (some == 0)
        return WEFT_OK;
    weft_err err = wf_buf_put(out, h->out.data + h->drawn, some);
    if (err != WEFT_OK)
        return err;
    h->drawn += some;
    if (h->drawn == h->out.len) {
        wf_buf_fini(&h->out);
        h->drawn = 0;
        if (h->state == H1_IDLE)
            h->since = now;
    }
    return WEFT_OK;
}

static bool h1_is_done(const wf_http_session *s)
{
    const struct h1 *h = of_const(s);
    return h->state == H1_LAST && !has_output(h);
}

static uint64_t h1_deadline(const wf_http_session *s)
{
    const struct h1 *h = of_const(s);
    const struct wf_http_service *service = h->base.service;
    switch (h->state) {
    case H1_IDLE:
    case H1_LAST:
        return has_output(h) ? wf_http_due(service, h->since, h->out.len)
                             : h->since + service->limits.idle_ms;
    case H1_HEAD:
        return h->since + service->limits.head_ms;
    case H1_BODY:
        return wf_http_due(service, h->since, h->asked->body.len);
    case H1_ASKED:
        break;
    }
    return WF_HTTP_NEVER;
}

static weft_err h1_expire(wf_http_session *s, uint64_t now)
{
    struct h1 *h = of(s);
    h->base.now = now;
    switch (h->state) {
    case H1_HEAD:
    case H1_BODY:
        h->base.service->counters.late++;
        return refuse(h, 408);
    case H1_IDLE:
        if (!has_output(h)) {
            move(h, H1_LAST);
            return WEFT_OK;
        }
        break;
    case H1_LAST:
    case H1_ASKED:
        break;
    }
    h->base.service->counters.late++;
    return WEFT_ETIMEDOUT;
}

static void h1_drain(wf_http_session *s)
{
    struct h1 *h = of(s);
    h->last = true;
    if (h->state == H1_IDLE)
        move(h, H1_LAST);
}

static void h1_finish(wf_http_session *s)
{
    struct h1 *h = of(s);
    h1_drain(s);
    if (h->state == H1_HEAD || h->state == H1_BODY)
        move(h, H1_LAST); /* half a request is none */
}

static void h1_free(wf_http_session *s)
{
    struct h1 *h = of(s);
    wf_http_session_fini(s);
    wf_http_parser_free(h->parser);
    wf_buf_fini(&h->out);
    free(h);
}

static const struct wf_http_session_ops h1_ops = {
    .feed = h1_feed,
    .wants_input = h1_wants_input,
    .draw = h1_draw,
    .is_done = h1_is_done,
    .deadline = h1_deadline,
    .expire = h1_expire,
    .finish = h1_finish,
    .drain = h1_drain,
    .answer = h1_answer,
    .free = h1_free,
};

weft_err wf_http_h1_new(struct wf_http_service *service, const struct wf_http_peer *peer,
                        void (*wake)(void *arg), void *arg, uint64_t now, wf_http_session **out)
{
    struct h1 *h = calloc(1, sizeof *h);
    if (h == NULL)
        return WEFT_ENOMEM;
    wf_http_session_init(&h->base, &h1_ops, service, peer, wake, arg, now);
    wf_buf_init(&h->out, WF_HTTP_ANSWER_MAX + 65536u);
    move(h, H1_IDLE);
    *out = &h->base;
    return WEFT_OK;
}
