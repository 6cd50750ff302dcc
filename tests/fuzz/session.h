/* A server's session without a socket: bytes in as pieces, what it says out to nowhere. */
#ifndef TESTS_FUZZ_SESSION_H
#define TESTS_FUZZ_SESSION_H

#include "proto/http/internal.h"
#include "tests/fuzz/check.h"
#include <string.h>

typedef weft_err (*session_make)(struct wf_http_service *service, const struct wf_http_peer *peer,
                                 void (*wake)(void *arg), void *arg, uint64_t now,
                                 wf_http_session **out);

struct session_seen {
    wf_http_exchange *later; /* kept, to be answered when the next comes, or after the end */
    unsigned requests;
    uint64_t sum, drawn;
};

static void session_answer(wf_http_exchange *x, const struct wf_http_request *r)
{
    /* What a handler may rely on. */
    CHECK(r->path.len > 0 && r->path.data[0] == '/');
    CHECK(wf_http_is_token(r->method));
    CHECK(memchr(r->path.data, '?', r->path.len) == NULL);
    for (size_t i = 0; i < r->field_count; i++)
        CHECK(wf_http_is_token(r->fields[i].name));
    wf_http_answer(x, 200, NULL, 0, r->body);
}

static void session_request(void *arg, wf_http_exchange *x, const struct wf_http_request *r)
{
    struct session_seen *seen = arg;
    seen->requests++;
    seen->sum = seen->sum * 31 + r->path.len * 7 + r->body.len + r->field_count;
    if (r->query.len == 1 && seen->later == NULL) {
        seen->later = x;
        return;
    }
    session_answer(x, r);
}

static void session_wake(void *arg)
{
    (void)arg;
}

static void session_draw(wf_http_session *s, struct session_seen *seen, uint64_t now)
{
    wf_buf out;
    wf_buf_init(&out, 8u * WF_HTTP_DRAW);
    do {
        wf_buf_clear(&out);
        CHECK(s->ops->draw(s, &out, now) == WEFT_OK);
        seen->drawn += out.len;
        CHECK(seen->drawn < 64u * 1024 * 1024);
    } while (out.len > 0);
    wf_buf_fini(&out);
}

/* Feeds all of it in pieces; *sum is what the handler saw. */
static void session_run(session_make make, const uint8_t *data, size_t len, size_t piece,
                        struct session_seen *seen)
{
    struct wf_http_service service = {.request = session_request, .arg = seen, .body_max = 65536};
    service.limits = (struct wf_http_limits){.streams = 100,
                                             .handshake_ms = 1000,
                                             .head_ms = 1000,
                                             .idle_ms = 1000,
                                             .grace_ms = 1000,
                                             .rate_min = 1024,
                                             .bodies = 1u << 20};
    const struct wf_http_peer peer = {.remote = "fuzz", .secure = true};
    wf_http_session *s;
    weft_err err = WEFT_OK;
    memset(seen, 0, sizeof *seen);
    CHECK(make(&service, &peer, session_wake, NULL, 1, &s) == WEFT_OK);
    session_draw(s, seen, 1);
    for (size_t at = 0; at < len && err == WEFT_OK && !s->ops->is_done(s);) {
        size_t some = len - at < piece ? len - at : piece, taken = 0;
        err = s->ops->feed(s, data + at, some, 1, &taken);
        CHECK(taken <= some);
        session_draw(s, seen, 1);
        if (taken == 0 && seen->later != NULL) { /* it waits for the answer that we keep */
            wf_http_exchange *x = seen->later;
            seen->later = NULL;
            session_answer(x, &x->request);
            session_draw(s, seen, 1);
        } else if (taken == 0) {
            break;
        }
        at += taken;
    }
    uint64_t due = s->ops->deadline(s);
    if (due != WF_HTTP_NEVER) {
        (void)s->ops->expire(s, due);
        session_draw(s, seen, due);
    }
    s->ops->finish(s);
    s->ops->free(s);
    CHECK(service.counters.body_bytes == 0);
    if (seen->later != NULL) /* its connection has gone */
        session_answer(seen->later, &seen->later->request);
}

#endif
