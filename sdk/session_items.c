/*
 * The items of a session: which may come when, what each does, and what of
 * our own waits for room.
 *
 * Happy path: DATA is offered to the application as it is decrypted; what it
 * leaves is held, within the window, and offered again at resume. END of
 * theirs is passed on once nothing is held. When both ENDs have crossed,
 * close_notify goes out. A dialer may write as soon as the host is verified;
 * the host holds that until it accepts.
 *
 * - An item that its state does not await is a breach: RESET, over.
 * - The application may write, end, reset from inside `data`; after each call
 *   to it the state is looked at again.
 */
#include "proto/base/secret.h"
#include "proto/wire/control.h"
#include "sdk/session_inside.h"
#include <assert.h>
#include <string.h>

#define ITEM(name) (1u << WF_ITEM_##name)

/* Which items a state awaits; once their END came, only those that may follow it. */
static const unsigned awaited[] = {
    [WF_SESSION_HELLO] = ITEM(HELLO),
    [WF_SESSION_ANSWER] = ITEM(ACCEPT) | ITEM(REFUSE) | ITEM(GRANT) | ITEM(RESET),
    [WF_SESSION_DECISION] = ITEM(DATA) | ITEM(END) | ITEM(GRANT) | ITEM(RESET),
    [WF_SESSION_OPEN] = ITEM(DATA) | ITEM(DATAGRAM) | ITEM(END) | ITEM(GRANT) | ITEM(RESET),
    [WF_SESSION_CLOSING] = ITEM(GRANT) | ITEM(RESET),
    [WF_SESSION_OVER] = 0,
};
#define AFTER_END (ITEM(GRANT) | ITEM(RESET))

/* A write smaller than this waits for more credit, so that a slow reader doesn't cause crumbs. */
#define CRUMB 4096u
#define RECORD_COST (WF_ITEM_HEADER + WF_TLS_OVERHEAD)

/* ---- theirs */

static size_t offer(wf_session *s, const uint8_t *data, size_t len)
{
    s->delivering = true;
    size_t taken = s->handler->data(s->arg, data, len);
    s->delivering = false;
    assert(taken <= len); /* the application's bug: it took more than it was given */
    return taken;
}

static void drop_held(wf_session *s)
{
    wf_buf_wipe(&s->held);
    s->held_at = 0;
}

/* Whether the application may still be called with what came. */
static bool may_deliver(const wf_session *s)
{
    return s->state == WF_SESSION_OPEN || s->verdict == WEFT_OK;
}

static weft_err on_data(wf_session *s, wf_span data)
{
    size_t taken = 0;
    if (wf_session_held(s) == 0 && s->state != WF_SESSION_DECISION)
        taken = offer(s, data.data, data.len);
    if (!may_deliver(s)) {
        drop_held(s);
        return WEFT_ECANCELED; /* the application gave the session up in there */
    }
    if (taken == data.len)
        return WEFT_OK;
    return wf_buf_put(&s->held, data.data + taken, data.len - taken);
}

/* Their END, once the application has everything before it. */
static void pass_end(wf_session *s)
{
    if (s->in != WF_HALF_ENDING || wf_session_held(s) > 0 || s->state == WF_SESSION_DECISION)
        return;
    s->in = WF_HALF_ENDED;
    s->handler->ended(s->arg);
}

static void shut_if_both_crossed(wf_session *s)
{
    if (s->state == WF_SESSION_OPEN && s->out == WF_HALF_ENDED && s->in != WF_HALF_OPEN)
        wf_session_shut(s, WEFT_OK);
}

void wf_session_resume(wf_session *s)
{
    if (s->delivering || (s->state != WF_SESSION_OPEN && s->verdict != WEFT_OK))
        return;
    while (wf_session_held(s) > 0) {
        size_t len = wf_session_held(s);
        size_t taken = offer(s, s->held.data + s->held_at, len);
        if (!may_deliver(s)) {
            drop_held(s);
            return;
        }
        s->held_at += taken;
        if (taken < len)
            break;
    }
    if (wf_session_held(s) == 0) {
        drop_held(s);
    } else if (s->held_at > s->held.len / 2) {
        wf_buf_drop(&s->held, s->held_at);
        s->held_at = 0;
    }
    pass_end(s);
    if (s->state == WF_SESSION_OPEN)
        wf_session_credit(s);
}

static weft_err on_hello(wf_session *s, wf_span content)
{
    Weft__Wire__ItemHello *item;
    weft_err err = wf_item_hello_decode(content.data, content.len, &item, &s->why);
    if (err != WEFT_OK)
        return err;
    wf_session_greeted(s, item);
    wf_item_hello_free(item);
    return WEFT_OK;
}

/* Signed by a policy key that we have yet to hear of, in a rotation: the grant at hand goes on. */
static bool is_ahead_of_us(const pki_trust *trust, const Weft__Wire__Signed *record)
{
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    size_t count = pki_trust_policy_keys(trust, keys, WF_BUNDLE_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        pki_pin pin;
        pki_pin_of_spki(keys[i], &pin);
        if (record->signer.len == sizeof pin.b &&
            memcmp(record->signer.data, pin.b, sizeof pin.b) == 0)
            return false;
    }
    return true;
}

static weft_err on_grant(wf_session *s, wf_span content)
{
    Weft__Wire__ItemGrant *item;
    weft_err err = wf_item_grant_decode(content.data, content.len, &item, &s->why);
    if (err != WEFT_OK)
        return err;
    struct pki_grant fresh = s->grant;
    if (item->grant == NULL)
        err = wf_fail(&s->why, WEFT_EPROTO, "a GRANT without a grant");
    else if (!is_ahead_of_us(s->trust, item->grant))
        err = pki_trust_check_grant(s->trust, item->grant, &s->peer, &s->grant.service,
                                    s->grant.role, s->now, &fresh, &s->why);
    wf_item_grant_free(item);
    if (err == WEFT_OK && fresh.expiry > s->grant.expiry && fresh.epoch >= s->grant.epoch)
        s->grant = fresh;
    return err;
}

/* REFUSE and RESET: the other side's word, authenticated, is how this ends. */
static weft_err on_refusal(wf_session *s, enum wf_item_type type, wf_span content)
{
    Weft__Wire__ItemRefuse *item;
    weft_err err = wf_item_refuse_decode(content.data, content.len, &item, &s->why);
    if (err != WEFT_OK)
        return err;
    weft_err verdict = type == WF_ITEM_REFUSE ? WEFT_EREFUSED : WEFT_ERESET;
    if (item->code > 0 && item->code <= WEFT_EEOF)
        verdict = (weft_err)item->code;
    const char *reason = item->reason != NULL && item->reason[0] != '\0'
                             ? item->reason
                             : weft_err_sentence((int)verdict);
    (void)wf_fail(&s->why, verdict, "%s: %s",
                  type == WF_ITEM_REFUSE ? "the host refused" : "the other side reset the stream",
                  reason);
    wf_item_refuse_free(item);
    if (s->state == WF_SESSION_CLOSING)
        wf_session_finish(s, verdict);
    else
        wf_session_shut(s, verdict);
    return WEFT_ECANCELED;
}

weft_err wf_session_item(void *arg, enum wf_item_type type, wf_span content)
{
    wf_session *s = arg;
    assert(s->state >= WF_SESSION_HELLO || s->state == WF_SESSION_NEW);
    unsigned allowed = s->state >= WF_SESSION_HELLO ? awaited[s->state] : 0;
    if (s->in != WF_HALF_OPEN)
        allowed &= AFTER_END;
    allowed &= ~(s->datagram ? ITEM(DATA) : ITEM(DATAGRAM));
    if (((1u << type) & allowed) == 0)
        return wf_fail(&s->why, WEFT_EPROTO, "item %d at the wrong time", (int)type);

    switch (type) {
    case WF_ITEM_HELLO:
        return on_hello(s, content);
    case WF_ITEM_ACCEPT:
        wf_session_move(s, WF_SESSION_OPEN);
        s->handler->opened(s->arg);
        break;
    case WF_ITEM_DATA:
        return content.len > 0 ? on_data(s, content) : WEFT_OK;
    case WF_ITEM_DATAGRAM:
        s->handler->datagram(s->arg, content.data, content.len);
        break;
    case WF_ITEM_END:
        s->in = WF_HALF_ENDING;
        pass_end(s);
        shut_if_both_crossed(s);
        break;
    case WF_ITEM_GRANT:
        return on_grant(s, content);
    case WF_ITEM_REFUSE:
    case WF_ITEM_RESET:
        return on_refusal(s, type, content);
    }
    /* Whoever was called may have ended it: nothing behind this item counts then. */
    return s->state == WF_SESSION_OVER ? WEFT_ECANCELED : WEFT_OK;
}

void wf_session_credit(wf_session *s)
{
    struct wf_ack ack;
    if (wf_flow_ack_due(&s->flow, wf_session_held(s), &ack))
        s->handler->ack(s->arg, &ack);
}

size_t wf_session_held(const wf_session *s)
{
    return s->held.len - s->held_at;
}

uint64_t wf_session_promise(const wf_session *s)
{
    uint64_t unused = s->state != WF_SESSION_OVER ? s->flow.granted - s->flow.received : 0;
    return unused + wf_session_held(s);
}

bool wf_session_both_ended(const wf_session *s)
{
    return s->out != WF_HALF_OPEN && s->in == WF_HALF_ENDED;
}

/* ---- ours */

/* Whether items of the stream may go: it is open, or the host is verified and will hold them. */
static bool may_speak(const wf_session *s)
{
    return s->state == WF_SESSION_OPEN || (s->state == WF_SESSION_ANSWER && !s->datagram);
}

/* Why nothing can be written, WEFT_OK if it can. */
static weft_err may_write(const wf_session *s)
{
    if (may_speak(s))
        return s->out == WF_HALF_OPEN ? WEFT_OK : WEFT_EINVAL;
    if (s->state >= WF_SESSION_CLOSING && s->verdict != WEFT_OK)
        return s->verdict;
    return WEFT_EINVAL;
}

weft_err wf_session_write(wf_session *s, const uint8_t *data, size_t len, size_t *taken)
{
    weft_err err = may_write(s);
    if (err != WEFT_OK)
        return err;
    if (s->datagram)
        return WEFT_EINVAL;
    *taken = 0;
    if (len == 0)
        return WEFT_OK;
    size_t n = len < WF_ITEM_DATA_FULL ? len : WF_ITEM_DATA_FULL;
    uint64_t room = wf_flow_data_room(&s->flow);
    if (room < RECORD_COST + (n < CRUMB ? n : CRUMB) || s->handler->blocked(s->arg)) {
        s->wants = true;
        return WEFT_OK;
    }
    if (n > room - RECORD_COST)
        n = (size_t)(room - RECORD_COST);

    s->spoke |= s->state == WF_SESSION_ANSWER;
    uint8_t *item = s->scratch->item;
    wf_item_put_header(item, WF_ITEM_DATA, (uint32_t)n);
    memcpy(item + WF_ITEM_HEADER, data, n);
    err = pki_tls_write(s->tls, item, WF_ITEM_HEADER + n, &s->why);
    if (err != WEFT_OK) {
        wf_session_finish(s, err);
        return err;
    }
    *taken = n;
    return WEFT_OK;
}

/* Datagrams go as far as credit and the hop allow; one may stop in its middle. */
static void pump_datagrams(wf_session *s)
{
    while (s->state == WF_SESSION_OPEN) {
        wf_span next = wf_datagrams_next(&s->datagrams);
        if (next.len == 0)
            return;
        size_t n = next.len < WF_E2E_PLAINTEXT ? next.len : WF_E2E_PLAINTEXT;
        uint64_t room = wf_flow_data_room(&s->flow);
        if (room < WF_TLS_OVERHEAD + (n < CRUMB ? n : CRUMB) || s->handler->blocked(s->arg))
            return;
        if (n > room - WF_TLS_OVERHEAD)
            n = (size_t)(room - WF_TLS_OVERHEAD);
        weft_err err = pki_tls_write(s->tls, next.data, n, &s->why);
        if (err != WEFT_OK) {
            wf_session_finish(s, err);
            return;
        }
        wf_datagrams_sent(&s->datagrams, n);
    }
}

static void pump_end(wf_session *s)
{
    if (s->out != WF_HALF_ENDING || s->datagrams.first != NULL)
        return;
    s->spoke |= s->state == WF_SESSION_ANSWER;
    weft_err err = wf_session_put(s, WF_ITEM_END, wf_span_of(NULL, 0));
    if (s->state == WF_SESSION_OVER || err == WEFT_EBUSY)
        return;
    if (err != WEFT_OK) {
        wf_session_finish(s, err);
        return;
    }
    s->out = WF_HALF_ENDED;
    shut_if_both_crossed(s);
}

void wf_session_pump(wf_session *s)
{
    if (!may_speak(s))
        return;
    pump_datagrams(s);
    if (may_speak(s))
        pump_end(s);
    if (may_speak(s) && s->wants && wf_flow_data_room(&s->flow) >= RECORD_COST + CRUMB &&
        !s->handler->blocked(s->arg)) {
        s->wants = false;
        s->handler->writable(s->arg);
    }
}

weft_err wf_session_end(wf_session *s)
{
    if (s->out != WF_HALF_OPEN)
        return WEFT_OK;
    weft_err err = may_write(s);
    if (err != WEFT_OK)
        return err;
    s->out = WF_HALF_ENDING;
    s->wants = false;
    pump_end(s);
    return WEFT_OK;
}

weft_err wf_session_send_datagram(wf_session *s, const uint8_t *data, size_t len)
{
    weft_err err = may_write(s);
    if (err != WEFT_OK)
        return err;
    if (!s->datagram)
        return WEFT_EINVAL;
    err = wf_datagrams_push(&s->datagrams, data, len);
    if (err == WEFT_OK)
        pump_datagrams(s);
    return err;
}

uint64_t wf_session_dropped_datagrams(const wf_session *s)
{
    return s->datagrams.dropped;
}
