/*
 * The life of a link.
 *
 * Happy path: the TCP connection stands, both sides finish the TLS handshake
 * and say Hello; with the peer's Hello the link is up and its frames go to
 * the handler. The side that is done closes: it sends what is queued,
 * close_notify and the end of its stream, and waits for the peer's.
 *
 * - Too slow at connect, handshake or Hello: an absolute deadline each.
 * - Any frame before the Hello, a second Hello, no version in common, a bad
 *   frame or message: the link is cut with a sentence.
 * - Silence: a ping after WF_PING_MS, the end after WF_SILENCE_MS. Time in
 *   which this process itself didn't run is not the peer's silence.
 * - The peer doesn't end its stream after ours: closed after a second.
 * - Cut: what the socket takes at once is sent (an alert says more than a
 *   reset), the rest is lost. `closed` comes from the close callback alone.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/link/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PINGS_PER_SECOND 16u
#define PING_LEN 8u
/* A process that was stopped, or a laptop that slept: alarms this late tell it. */
#define LATE_MS 2000u

static const unsigned may_follow[] = {
    [LINK_CONNECTING] = 1u << LINK_SECURING | 1u << LINK_CLOSED,
    [LINK_SECURING] = 1u << LINK_GREETING | 1u << LINK_CLOSED,
    [LINK_GREETING] = 1u << LINK_UP | 1u << LINK_CLOSING | 1u << LINK_CLOSED,
    [LINK_UP] = 1u << LINK_CLOSING | 1u << LINK_CLOSED,
    [LINK_CLOSING] = 1u << LINK_CLOSED,
    [LINK_CLOSED] = 0,
};

static void on_alarm(wf_alarm *alarm, uint64_t now);

void wf_link_move(wf_link *link, enum wf_link_state to)
{
    assert((may_follow[link->state] & 1u << to) != 0);
    link->state = to;
}

wf_link *wf_link_new(wf_net *net, enum pki_alpn alpn, pki_tls_ctx *ctx, weft_err *err)
{
    wf_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        *err = WEFT_ENOMEM;
        return NULL;
    }
    link->net = net;
    link->alpn = alpn;
    link->ctx = pki_tls_ctx_ref(ctx);
    link->state = LINK_CONNECTING;
    link->alarm.ring = on_alarm;
    link->started = wf_net_now();
    wf_calls_init(link);
    wf_net_hold(net);
    net->counters.handshakes_pending++;
    return link;
}

/* Neither up nor failed yet: counted among the handshakes. */
static void leave_handshakes(wf_link *link, bool failed)
{
    wf_net *net = link->net;
    assert(net->counters.handshakes_pending > 0);
    net->counters.handshakes_pending--;
    if (failed)
        net->counters.handshakes_failed++;
}

void wf_link_free(wf_link *link)
{
    wf_net *net = link->net;
    assert(link->alarm.net == NULL && link->call_count == 0 && link->writing == 0);
    if (link->state != LINK_CLOSED)
        leave_handshakes(link, false);
    wf_dialing_free(link);
    wf_output_drop(link);
    free(link->partial);
    if (link->tls != NULL)
        pki_tls_free(link->tls);
    pki_tls_ctx_unref(link->ctx);
    free(link);
    wf_net_drop(net);
}

void wf_link_handle_closed(uv_handle_t *handle)
{
    wf_link *link = wf_container_of((uv_tcp_t *)handle, wf_link, tcp);

    if (link->state == LINK_CONNECTING) {
        (void)uv_tcp_init(link->net->loop, &link->tcp); /* makes no socket, so it can't fail */
        wf_dialing_next(link);
        return;
    }
    assert(link->state == LINK_CLOSED);
    wf_calls_fail(link);
    if (link->handler != NULL)
        link->handler->closed(link, link->arg, link->err, &link->why);
    wf_link_free(link);
}

void wf_link_finish(wf_link *link)
{
    assert(link->state != LINK_CLOSED);
    bool was_up = link->counted_up;

    if (link->state > LINK_CONNECTING)
        wf_output_last_try(link);
    wf_link_move(link, LINK_CLOSED);
    wf_alarm_cancel(&link->alarm);
    wf_list_remove(&link->dirty);
    wf_dialing_free(link);
    if (was_up)
        link->net->counters.links_open--;
    else
        leave_handshakes(link, link->err != WEFT_OK);
    if (link->listener != NULL)
        wf_listener_gone(link);
    if (!uv_is_closing((const uv_handle_t *)&link->tcp))
        uv_close((uv_handle_t *)&link->tcp, wf_link_handle_closed);
}

void wf_link_fail(wf_link *link, weft_err err, const char *format, ...)
{
    if (link->state == LINK_CLOSED)
        return;
    /* The first reason stands: what follows from it is noise. */
    if (link->err == WEFT_OK || link->state == LINK_CONNECTING) {
        va_list list;
        char text[WEFT_WHY_MAX];
        va_start(list, format);
        (void)vsnprintf(text, sizeof text, format, list);
        va_end(list);
        link->err = wf_fail(&link->why, err, "%s", text);
    }
    wf_link_finish(link);
}

void wf_link_cut(wf_link *link, weft_err err, const char *reason)
{
    wf_link_fail(link, err, "%s", reason != NULL ? reason : weft_err_sentence((int)err));
}

void wf_link_close(wf_link *link)
{
    if (link->state == LINK_CLOSED || link->state == LINK_CLOSING)
        return;
    if (!wf_link_is_secured(link) || link->is_broken) {
        link->err = WEFT_OK; /* one address may have failed before */
        link->why.text[0] = '\0';
        wf_link_finish(link);
        return;
    }
    wf_link_move(link, LINK_CLOSING);
    wf_link_set_deadline(link, wf_net_now() + link->net->times.close_ms);
    (void)pki_tls_shutdown(link->tls);
    if (link->state == LINK_CLOSING)
        wf_output_flush(link);
    if (link->state == LINK_CLOSING)
        wf_output_shut(link);
}

/* ---- times */

void wf_link_set_deadline(wf_link *link, uint64_t due)
{
    link->deadline = due;
    wf_alarm_set(link->net, &link->alarm, due);
}

/* The next moment at which this link wants to look at the clock. */
static void set_alarm(wf_link *link, uint64_t now)
{
    const struct wf_net_times *times = &link->net->times;
    uint64_t due = link->deadline;

    if (link->state == LINK_UP) {
        uint64_t last = link->pinged > link->heard ? link->pinged : link->heard;
        uint64_t next = last + times->ping_ms;
        if (next > link->heard + times->silence_ms)
            next = link->heard + times->silence_ms;
        if (due == 0 || next < due)
            due = next;
    }
    assert(due != 0);
    wf_alarm_set(link->net, &link->alarm, due > now ? due : now);
}

static void send_ping(wf_link *link, uint64_t now)
{
    uint8_t frame[WF_FRAME_HEADER + PING_LEN];
    wf_frame_put_header(frame, WF_FRAME_PING, 0, 0, PING_LEN);
    memcpy(frame + WF_FRAME_HEADER, &now, PING_LEN); /* comes back as it is; nobody reads it */
    link->pinged = now;
    (void)wf_link_send_frame(link, frame, sizeof frame);
}

static void overdue(wf_link *link, uint64_t now)
{
    const struct wf_net_times *times = &link->net->times;
    if (link->is_broken) {
        if (link->err == WEFT_OK && link->state != LINK_CLOSING)
            link->err = WEFT_EUNREACHABLE; /* output has said why */
        wf_link_finish(link);
        return;
    }
    switch (link->state) {
    case LINK_CONNECTING:
        wf_dialing_overdue(link, now);
        break;
    case LINK_SECURING:
        wf_link_fail(link, WEFT_ETIMEDOUT, "%s %u s",
                     link->is_waiting ? "no place for a handshake came free in"
                                      : "the TLS handshake took more than",
                     times->handshake_ms / 1000u);
        break;
    case LINK_GREETING:
        wf_link_fail(link, WEFT_ETIMEDOUT, "no Hello from the peer for %u s",
                     times->hello_ms / 1000u);
        break;
    case LINK_UP:
        wf_link_fail(link, WEFT_ETIMEDOUT, "it took more than %u s to enroll or renew",
                     (times->handshake_ms + times->hello_ms + times->call_ms) / 1000u);
        break;
    case LINK_CLOSING:
        wf_link_finish(link);
        break;
    case LINK_CLOSED:
        assert(false);
    }
}

static void on_alarm(wf_alarm *alarm, uint64_t now)
{
    wf_link *link = wf_container_of(alarm, wf_link, alarm);
    const struct wf_net_times *times = &link->net->times;

    if (now > alarm->due + LATE_MS) {
        link->heard += now - alarm->due;
        if (link->heard > now)
            link->heard = now;
    }
    if (link->deadline != 0 && now >= link->deadline) {
        overdue(link, now);
        return;
    }
    if (link->state == LINK_UP) {
        uint64_t silent = now > link->heard ? now - link->heard : 0;
        if (silent >= times->silence_ms) {
            wf_link_fail(link, WEFT_ETIMEDOUT, "no byte from the peer for %u s",
                         times->silence_ms / 1000u);
            return;
        }
        uint64_t last = link->pinged > link->heard ? link->pinged : link->heard;
        if (now >= last + times->ping_ms)
            send_ping(link, now);
        if (link->state != LINK_UP)
            return;
    }
    set_alarm(link, now);
}

/* ---- handshake and Hello */

void wf_link_connected(wf_link *link)
{
    wf_dialing_free(link);
    if (link->state == LINK_CONNECTING)
        wf_link_move(link, LINK_SECURING);
    link->heard = wf_net_now();
    wf_link_set_deadline(link, link->heard + link->net->times.handshake_ms);
    if (wf_input_start(link) != WEFT_OK) {
        wf_link_fail(link, WEFT_EIO, "the socket can't be read");
        return;
    }
    wf_link_secure(link);
}

static weft_err send_hello(wf_link *link)
{
    Weft__Wire__Control control;
    Weft__Wire__Hello hello;
    char agent[] = "weft/" WEFT_VERSION;

    weft__wire__control__init(&control);
    weft__wire__hello__init(&hello);
    hello.version_min = WF_VERSION_MIN;
    hello.version_max = WF_VERSION_MAX;
    hello.agent = agent;
    hello.wall_clock = wf_now_wall_ms();
    if (link->hello != NULL)
        link->hello(link->hello_arg, &hello);
    control.of_case = WEFT__WIRE__CONTROL__OF_HELLO;
    control.hello = &hello;
    return wf_link_send_control(link, &control);
}

void wf_link_secure(wf_link *link)
{
    wf_why why = {""};

    weft_err err = pki_tls_handshake(link->tls, &why);
    if (link->state != LINK_SECURING)
        return;
    wf_output_flush(link); /* each step at once: the peer waits for it */
    if (err != WEFT_OK) {
        wf_link_fail(link, err, "TLS handshake: %s", why.text);
        return;
    }
    if (!pki_tls_is_up(link->tls))
        return;
    enum pki_alpn alpn = pki_tls_alpn(link->tls);
    if (alpn == 0 || (link->listener == NULL && alpn != link->alpn)) {
        wf_link_fail(link, WEFT_EPROTO, "TLS handshake: the peer speaks another protocol (ALPN)");
        return;
    }
    link->alpn = alpn;
    wf_link_move(link, LINK_GREETING);
    wf_link_set_deadline(link, wf_net_now() + link->net->times.hello_ms);
    if (send_hello(link) != WEFT_OK || link->state != LINK_GREETING)
        return;
    if (link->listener != NULL) {
        if (!wf_listener_secured(link))
            return;
    } else if (link->handler->secured != NULL) {
        link->handler->secured(link, link->arg);
    }
    /* The last flight, the Hello, and what `secured` has sent, in one. */
    if (wf_link_is_open(link))
        wf_output_flush(link);
}

static void take_hello(wf_link *link, const Weft__Wire__Hello *hello)
{
    uint32_t low = hello->version_min > WF_VERSION_MIN ? hello->version_min : WF_VERSION_MIN;
    uint32_t high = hello->version_max < WF_VERSION_MAX ? hello->version_max : WF_VERSION_MAX;

    if (link->state != LINK_GREETING) {
        wf_link_fail(link, WEFT_EPROTO, "a second Hello from the peer");
        return;
    }
    if (low > high) {
        wf_log_warn("link %s: no protocol version in common: the peer speaks %u to %u, we speak %u "
                    "to %u; update the older side",
                    link->remote, hello->version_min, hello->version_max, WF_VERSION_MIN,
                    WF_VERSION_MAX);
        wf_link_fail(link, WEFT_EVERSION,
                     "no protocol version in common: the peer speaks %u to %u, we speak %u to %u",
                     hello->version_min, hello->version_max, WF_VERSION_MIN, WF_VERSION_MAX);
        return;
    }
    wf_link_move(link, LINK_UP);
    link->counted_up = true;
    leave_handshakes(link, false);
    link->net->counters.links_open++;
    /* Whoever enrolls or renews does one thing and goes. */
    link->deadline = 0;
    if (link->listener != NULL) {
        if (link->alpn != PKI_ALPN_LINK)
            link->deadline = link->started + link->net->times.hello_ms +
                             link->net->times.handshake_ms + link->net->times.call_ms;
        wf_listener_up(link);
    }
    set_alarm(link, wf_net_now());
    link->handler->up(link, link->arg, hello);
}

/* ---- frames in */

static void take_ping(wf_link *link, struct wf_frame *frame)
{
    if ((frame->flags & WF_FRAME_FLAG_REPLY) != 0)
        return; /* heard: that was its purpose */
    uint64_t second = uv_now(link->net->loop) / 1000u;
    if (second != link->ping_second) {
        link->ping_second = second;
        link->ping_count = 0;
    }
    if (++link->ping_count > PINGS_PER_SECOND) {
        wf_link_fail(link, WEFT_ELIMIT, "more than %u pings in a second", PINGS_PER_SECOND);
        return;
    }
    wf_frame_put_header(frame->bytes, WF_FRAME_PING, WF_FRAME_FLAG_REPLY, 0, frame->length);
    (void)wf_link_send_frame(link, frame->bytes, WF_FRAME_HEADER + frame->length);
}

static void take_control(wf_link *link, const struct wf_frame *frame)
{
    Weft__Wire__Control *control;
    wf_why why = {""};

    weft_err err = wf_control_decode(frame->bytes + WF_FRAME_HEADER, frame->length, &control, &why);
    if (err != WEFT_OK) {
        wf_link_fail(link, err, "bad control message: %s", why.text);
        return;
    }
    if (control->of_case == WEFT__WIRE__CONTROL__OF_HELLO)
        take_hello(link, control->hello);
    else if (link->state == LINK_GREETING)
        wf_link_fail(link, WEFT_EPROTO, "a message before the peer's Hello");
    else if (control->of_case == WEFT__WIRE__CONTROL__OF_REPLY)
        wf_calls_take_reply(link, control->reply);
    else
        link->handler->control(link, link->arg, control);
    wf_control_free(control);
}

void wf_link_take(wf_link *link, struct wf_frame *frame)
{
    link->net->counters.frames_in++;
    if (frame->type == WF_FRAME_CONTROL) {
        take_control(link, frame);
        return;
    }
    if (link->state == LINK_GREETING) {
        wf_link_fail(link, WEFT_EPROTO, "a frame before the peer's Hello");
        return;
    }
    if (frame->type == WF_FRAME_PING)
        take_ping(link, frame);
    else if (link->handler->frame != NULL)
        link->handler->frame(link, link->arg, frame);
    else
        wf_link_fail(link, WEFT_EPROTO, "a frame of a circuit on a link that carries none");
}

/* ---- frames out */

weft_err wf_link_send_frame(wf_link *link, const uint8_t *bytes, size_t len)
{
    wf_why why = {""};
    assert(len >= WF_FRAME_HEADER && len <= WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX);

    if (!wf_link_is_secured(link))
        return WEFT_EUNREACHABLE;
    link->net->counters.frames_out++;
    weft_err err = pki_tls_write(link->tls, bytes, len, &why);
    if (err != WEFT_OK)
        wf_link_fail(link, err, "TLS: %s", why.text); /* does nothing if output has cut it */
    return err;
}

weft_err wf_link_send_control(wf_link *link, const Weft__Wire__Control *message)
{
    wf_buf *out = &link->net->control;
    const uint8_t header[WF_FRAME_HEADER] = {0};

    if (!wf_link_is_secured(link))
        return WEFT_EUNREACHABLE;
    wf_buf_clear(out);
    weft_err err = wf_buf_put(out, header, sizeof header);
    if (err == WEFT_OK)
        err = wf_message_put(&message->base, out);
    if (err != WEFT_OK) {
        wf_link_fail(link, err, "a control message of ours can't be encoded: %s",
                     weft_err_sentence((int)err));
        return err;
    }
    wf_frame_put_header(out->data, WF_FRAME_CONTROL, 0, 0, (uint32_t)(out->len - WF_FRAME_HEADER));
    err = wf_link_send_frame(link, out->data, out->len);
    wf_buf_wipe(out); /* a token or a proof may have been in it */
    return err;
}

weft_err wf_link_send_ack(wf_link *link, uint32_t label, const struct wf_ack *ack)
{
    uint8_t frame[WF_FRAME_HEADER + WF_ACK_LEN];
    wf_frame_put_header(frame, WF_FRAME_ACK, 0, label, WF_ACK_LEN);
    wf_ack_encode(ack, frame + WF_FRAME_HEADER);
    return wf_link_send_frame(link, frame, sizeof frame);
}

weft_err wf_link_send_close(wf_link *link, uint32_t label, weft_err code)
{
    uint8_t frame[WF_FRAME_HEADER + 2];
    wf_frame_put_header(frame, WF_FRAME_CLOSE, 0, label, 2);
    frame[WF_FRAME_HEADER] = (uint8_t)((unsigned)code >> 8);
    frame[WF_FRAME_HEADER + 1] = (uint8_t)((unsigned)code & 0xffu);
    return wf_link_send_frame(link, frame, sizeof frame);
}

/* ---- what others ask */

void wf_link_flush(wf_link *link)
{
    wf_output_flush(link);
}
void wf_link_set_arg(wf_link *link, void *arg)
{
    link->arg = arg;
}
bool wf_link_is_up(const wf_link *link)
{
    return link->state == LINK_UP;
}
bool wf_link_is_secured(const wf_link *link)
{
    return link->state == LINK_GREETING || link->state == LINK_UP;
}
bool wf_link_is_blocked(const wf_link *link)
{
    return link->is_blocked;
}
enum pki_alpn wf_link_alpn(const wf_link *link)
{
    return link->alpn;
}
const char *wf_link_remote(const wf_link *link)
{
    return link->remote;
}
const struct pki_subject *wf_link_peer(const wf_link *link)
{
    return link->tls != NULL ? pki_tls_peer(link->tls) : NULL;
}
const pki_chain *wf_link_peer_chain(const wf_link *link)
{
    return link->tls != NULL ? pki_tls_peer_chain(link->tls) : NULL;
}

weft_err wf_link_export(wf_link *link, const char *label, uint8_t out[32])
{
    if (!wf_link_is_secured(link))
        return WEFT_EUNREACHABLE;
    return pki_tls_export(link->tls, label, wf_span_of(NULL, 0), out, 32);
}
