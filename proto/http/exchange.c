/* One request and its answer: what HTTP/1.1 and HTTP/2 have in common. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/http/internal.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Room for a head at its limit and what is said of each field of it. */
#define TEXT_MAX (WF_HTTP_HEAD_MAX + 512u)

struct wf_http_slot {
    uint32_t name, name_len, value_len; /* the value follows the name */
};

const char *wf_http_date(struct wf_http_service *service)
{
    uint64_t second = wf_now_wall_ms() / 1000;
    if (second != service->date_at) {
        struct tm tm;
        time_t t = (time_t)second;
        if (gmtime_r(&t, &tm) == NULL ||
            strftime(service->date, sizeof service->date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
            service->date[0] = '\0';
        service->date_at = second;
    }
    return service->date;
}

uint64_t wf_http_due(const struct wf_http_service *service, uint64_t since, uint64_t bytes)
{
    return since + service->limits.grace_ms + bytes * 1000 / service->limits.rate_min;
}

/* ---- sessions */

void wf_http_session_init(wf_http_session *s, const struct wf_http_session_ops *ops,
                          struct wf_http_service *service, const struct wf_http_peer *peer,
                          void (*wake)(void *arg), void *arg, uint64_t now)
{
    s->ops = ops;
    s->service = service;
    s->peer = *peer;
    s->wake = wake;
    s->arg = arg;
    s->now = now;
    wf_list_init(&s->exchanges);
}

/* The body of so many bytes goes, or is the handler's alone. */
static void uncount(const wf_http_exchange *x)
{
    struct wf_http_service *service = x->session->service;
    service->counters.body_bytes -= x->body.len;
    if (x->peer == NULL)
        service->strange_bytes -= x->body.len;
}

static void let_go(wf_http_exchange *x)
{
    uncount(x);
    x->session = NULL;
}

void wf_http_session_fini(wf_http_session *s)
{
    while (!wf_list_is_empty(&s->exchanges))
        wf_http_exchange_drop(wf_container_of(s->exchanges.next, wf_http_exchange, node));
}

/* ---- life */

weft_err wf_http_exchange_new(wf_http_session *s, uint64_t now, wf_http_exchange **out)
{
    wf_http_exchange *x = calloc(1, sizeof *x);
    if (x == NULL)
        return WEFT_ENOMEM;
    if (s->peer.subject != NULL) {
        x->peer = malloc(sizeof *x->peer);
        if (x->peer == NULL) {
            free(x);
            return WEFT_ENOMEM;
        }
        *x->peer = *s->peer.subject;
    }
    (void)snprintf(x->remote, sizeof x->remote, "%s", s->peer.remote);
    wf_buf_init(&x->text, TEXT_MAX);
    wf_buf_init(&x->slots, (WF_HTTP_FIELDS_MAX + WF_HTTP_PARTS) * sizeof(struct wf_http_slot));
    wf_buf_init(&x->body, s->service->body_max);
    wf_buf_init(&x->answer, WF_HTTP_ANSWER_MAX);
    x->session = s;
    x->since = now;
    wf_list_push(&s->exchanges, &x->node);
    *out = x;
    return WEFT_OK;
}

void wf_http_exchange_free(wf_http_exchange *x)
{
    if (x == NULL)
        return;
    wf_list_remove(&x->node);
    if (x->session != NULL)
        let_go(x);
    wf_buf_fini(&x->text);
    wf_buf_fini(&x->slots);
    wf_buf_wipe(&x->body);
    wf_buf_fini(&x->answer);
    free(x->fields);
    free(x->peer);
    free(x);
}

void wf_http_exchange_drop(wf_http_exchange *x)
{
    if (x->stage != WF_HTTP_ASKED) {
        wf_http_exchange_free(x);
        return;
    }
    wf_list_remove(&x->node);
    let_go(x);
    x->stage = WF_HTTP_ORPHAN;
}

void wf_http_exchange_drop_body(wf_http_exchange *x)
{
    uncount(x);
    wf_buf_wipe(&x->body);
}

/* ---- the request */

weft_err wf_http_exchange_put(wf_http_exchange *x, wf_span name, wf_span value)
{
    assert(x->stage == WF_HTTP_TAKING);
    const struct wf_http_slot slot = {(uint32_t)x->text.len, (uint32_t)name.len,
                                      (uint32_t)value.len};
    weft_err err = wf_buf_reserve(&x->slots, sizeof slot);
    if (err == WEFT_OK)
        err = wf_buf_reserve(&x->text, name.len + value.len);
    if (err != WEFT_OK)
        return err;
    (void)wf_buf_put(&x->slots, &slot, sizeof slot);
    (void)wf_buf_put(&x->text, name.data, name.len);
    (void)wf_buf_put(&x->text, value.data, value.len);
    return WEFT_OK;
}

weft_err wf_http_exchange_put_body(wf_http_exchange *x, wf_span data)
{
    struct wf_http_service *service = x->session->service;
    assert(x->stage == WF_HTTP_TAKING);
    if (data.len > service->body_max - x->body.len)
        return WEFT_ELIMIT;
    if (service->counters.body_bytes + data.len > service->limits.bodies)
        return WEFT_EBUSY;
    /* Half is for those who have shown who they are: strangers can't fill it all. */
    if (x->peer == NULL && service->may_know &&
        service->strange_bytes + data.len > service->limits.bodies / 2)
        return WEFT_EBUSY;
    weft_err err = wf_buf_put(&x->body, data.data, data.len);
    if (err != WEFT_OK)
        return err;
    service->counters.body_bytes += data.len;
    if (x->peer == NULL)
        service->strange_bytes += data.len;
    return WEFT_OK;
}

static struct wf_http_field field_at(const wf_http_exchange *x, size_t i)
{
    struct wf_http_slot slot;
    memcpy(&slot, x->slots.data + i * sizeof slot, sizeof slot);
    const uint8_t *name = x->text.data + slot.name;
    return (struct wf_http_field){wf_span_of(name, slot.name_len),
                                  wf_span_of(name + slot.name_len, slot.value_len)};
}

bool wf_http_exchange_field(const wf_http_exchange *x, size_t i, struct wf_http_field *out)
{
    if (i >= x->slots.len / sizeof(struct wf_http_slot))
        return false;
    *out = field_at(x, i);
    return true;
}

bool wf_http_is_path(wf_span target)
{
    static const char marks[] = "-._~!$&'()*+,;=:@/?%";
    if (target.len == 0 || target.data[0] != '/' || target.len > WF_HTTP_TARGET_MAX)
        return false;
    for (size_t i = 0; i < target.len; i++) {
        uint8_t c = target.data[i], low = c | 0x20;
        if ((c >= '0' && c <= '9') || (low >= 'a' && low <= 'z'))
            continue;
        if (c == 0 || strchr(marks, c) == NULL)
            return false;
        char byte;
        if (c == '%' && (target.len - i < 3))
            return false;
        if (c == '%') {
            char pair[2] = {(char)target.data[i + 1], (char)target.data[i + 2]};
            for (size_t k = 0; k < 2; k++) /* our hex is lower case alone; an address' is either */
                if (pair[k] >= 'A' && pair[k] <= 'F')
                    pair[k] = (char)(pair[k] | 0x20);
            if (!wf_unhex(pair, 2, &byte, 1) || byte == '\0')
                return false;
            i += 2;
        }
    }
    return true;
}

weft_err wf_http_exchange_ask(wf_http_exchange *x, unsigned version, uint64_t now)
{
    struct wf_http_service *service = x->session->service;
    struct wf_http_request *r = &x->request;
    size_t count = x->slots.len / sizeof(struct wf_http_slot);
    assert(x->stage == WF_HTTP_TAKING && count >= WF_HTTP_PARTS);
    if (count > WF_HTTP_PARTS) {
        x->fields = calloc(count - WF_HTTP_PARTS, sizeof *x->fields);
        if (x->fields == NULL)
            return WEFT_ENOMEM;
    }
    for (size_t i = WF_HTTP_PARTS; i < count; i++)
        x->fields[i - WF_HTTP_PARTS] = field_at(x, i);
    r->method = field_at(x, WF_HTTP_METHOD).value;
    r->host = field_at(x, WF_HTTP_HOST).value;
    wf_span target = field_at(x, WF_HTTP_TARGET).value;
    const uint8_t *mark = memchr(target.data, '?', target.len);
    r->path = target;
    if (mark != NULL) {
        r->path.len = (size_t)(mark - target.data);
        r->query = wf_span_of(mark + 1, target.len - r->path.len - 1);
    }
    r->fields = x->fields;
    r->field_count = count - WF_HTTP_PARTS;
    if (r->host.len == 0) /* HTTP/2 without :authority */
        r->host = wf_http_request_find(r, "host");
    r->body = wf_span_of(x->body.data, x->body.len);
    r->peer = x->peer;
    r->remote = x->remote;
    r->version = version;
    x->is_head = r->method.len == 4 && memcmp(r->method.data, "HEAD", 4) == 0;
    x->stage = WF_HTTP_ASKED;
    x->since = now;
    service->counters.requests++;
    service->request(service->arg, x, r);
    return WEFT_OK;
}

wf_span wf_http_request_find(const struct wf_http_request *request, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < request->field_count; i++) {
        wf_span n = request->fields[i].name;
        if (n.len == len && strncasecmp((const char *)n.data, name, len) == 0)
            return request->fields[i].value;
    }
    return (wf_span){NULL, 0};
}

/* ---- the answer */

static bool is_ours(wf_span name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection",
                                       "keep-alive",     "upgrade",           "date",
                                       "trailer"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (name.len == strlen(ours[i]) &&
            strncasecmp((const char *)name.data, ours[i], name.len) == 0)
            return true;
    return false;
}

static bool may_answer(const struct wf_http_field *fields, size_t count)
{
    if (count > WF_HTTP_FIELDS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!wf_http_is_token(fields[i].name) || is_ours(fields[i].name))
            return false;
        for (size_t k = 0; k < fields[i].value.len; k++) {
            uint8_t c = fields[i].value.data[k];
            if ((c < ' ' && c != '\t') || c == 0x7f)
                return false;
        }
    }
    return true;
}

void wf_http_answer(wf_http_exchange *x, unsigned status, const struct wf_http_field *fields,
                    size_t count, wf_span body)
{
    wf_http_session *s = x->session;
    assert(x->stage == WF_HTTP_ASKED || x->stage == WF_HTTP_ORPHAN); /* once, and not before */
    if (x->stage == WF_HTTP_ORPHAN) {
        wf_http_exchange_free(x);
        return;
    }
    assert(status >= 200 && status <= 599);
    if (!may_answer(fields, count)) {
        wf_log_error("an answer of ours with a field that HTTP doesn't allow was not sent");
        status = 500;
        count = 0;
        body = (wf_span){NULL, 0};
    }
    x->stage = WF_HTTP_ANSWERED;
    if (s->ops->answer(s, x, status, fields, count, body) != WEFT_OK)
        s->broken = true;
    s->wake(s->arg);
}
