/*
 * The session: its life, its handshake, and what goes through its TLS.
 *
 * Happy path, dialer: start makes the ClientHello; input takes the host's
 * flight and its HELLO, which is checked while our own last flight (Finished,
 * with our certificate) is still held; then that flight and our HELLO go out
 * together, ACCEPT comes, and items flow. Host: input takes the ClientHello
 * and answers with a flight and our HELLO; Finished and the dialer's HELLO
 * come and are checked; the application decides.
 *
 * - TLS fails, at any time: over, with what TLS said; an alert has gone out
 *   if there was one. Nothing is delivered after it.
 * - A check fails on the dialer: over, and our flight is never sent, so a
 *   stranger does not even learn who dialed. On the host: an authenticated REFUSE.
 * - A rule is broken later: RESET if there is room, over.
 * - The circuit goes away before both close_notify: over with WEFT_ELOST.
 */
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include "proto/wire/control.h"
#include "sdk/session_inside.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STATE(s) (1u << WF_SESSION_##s)

static const unsigned legal_moves[] = {
    [WF_SESSION_NEW] = STATE(FLIGHT) | STATE(HELLO) | STATE(OVER),
    [WF_SESSION_FLIGHT] = STATE(HELLO) | STATE(OVER),
    [WF_SESSION_HELLO] = STATE(ANSWER) | STATE(DECISION) | STATE(CLOSING) | STATE(OVER),
    [WF_SESSION_ANSWER] = STATE(OPEN) | STATE(CLOSING) | STATE(OVER),
    [WF_SESSION_DECISION] = STATE(OPEN) | STATE(CLOSING) | STATE(OVER),
    [WF_SESSION_OPEN] = STATE(CLOSING) | STATE(OVER),
    [WF_SESSION_CLOSING] = STATE(OVER),
    [WF_SESSION_OVER] = 0,
};

void wf_session_move(wf_session *s, enum wf_session_state to)
{
    assert(legal_moves[s->state] & (1u << to));
    s->state = to;
}

/* ---- what goes out */

/* TLS hands ciphertext over. During the handshake it is kept until somebody lets it go. */
static weft_err on_output(void *arg, const uint8_t *data, size_t len)
{
    wf_session *s = arg;
    if (s->state < WF_SESSION_HELLO || (s->state == WF_SESSION_HELLO && !s->host))
        return wf_buf_put(&s->flight, data, len);
    wf_flow_sent(&s->flow, len);
    return s->handler->output(s->arg, data, len);
}

weft_err wf_session_let_go(wf_session *s)
{
    if (s->flight.len == 0)
        return WEFT_OK;
    if (s->flight.len > wf_flow_room(&s->flow))
        return wf_fail(&s->why, WEFT_EPROTO, "the window is too small for a handshake");
    wf_flow_sent(&s->flow, s->flight.len);
    weft_err err = s->handler->output(s->arg, s->flight.data, s->flight.len);
    wf_buf_fini(&s->flight);
    return err;
}

/* Plaintext of any length, in records of one frame each. */
static weft_err put_plain(wf_session *s, const uint8_t *data, size_t len)
{
    weft_err err = WEFT_OK;
    while (len > 0 && err == WEFT_OK) {
        size_t n = len < WF_E2E_PLAINTEXT ? len : WF_E2E_PLAINTEXT;
        err = pki_tls_write(s->tls, data, n, &s->why);
        data += n;
        len -= n;
    }
    return err;
}

weft_err wf_session_put(wf_session *s, enum wf_item_type type, wf_span content)
{
    if (content.len > WF_ITEM_CONTROL_MAX)
        return WEFT_ELIMIT;
    /* The item of a datagram may be half sent: whatever comes now would be inside it. */
    if (wf_datagrams_is_open(&s->datagrams))
        return WEFT_EBUSY;
    size_t len = WF_ITEM_HEADER + content.len;
    if (len + 2 * WF_TLS_OVERHEAD > wf_flow_room(&s->flow))
        return WEFT_EBUSY;
    wf_item_put_header(s->scratch->item, type, (uint32_t)content.len);
    if (content.len > 0)
        memcpy(s->scratch->item + WF_ITEM_HEADER, content.data, content.len);
    return put_plain(s, s->scratch->item, len);
}

weft_err wf_session_put_refusal(wf_session *s, enum wf_item_type type, weft_err code,
                                const char *reason)
{
    char text[WF_REASON_MAX + 1];
    size_t len = reason != NULL ? strnlen(reason, WF_REASON_MAX) : 0;
    if (len > 0)
        memcpy(text, reason, len);
    text[len] = '\0';
    wf_make_printable(text, len);

    Weft__Wire__ItemRefuse item;
    weft__wire__item_refuse__init(&item);
    item.code = (uint32_t)code;
    item.reason = text;
    wf_buf buf;
    wf_buf_init(&buf, WF_ITEM_CONTROL_MAX);
    weft_err err = wf_message_put(&item.base, &buf);
    if (err == WEFT_OK)
        err = wf_session_put(s, type, wf_span_of(buf.data, buf.len));
    wf_buf_fini(&buf);
    return err;
}

/* ---- life */

weft_err wf_session_new(const struct wf_session_config *config, wf_session **out, wf_why *why)
{
    wf_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a session");
    s->host = config->host;
    s->handler = config->handler;
    s->arg = config->arg;
    s->scratch = config->scratch;
    s->trust = pki_trust_ref(pki_tls_ctx_trust(config->tls));
    s->datagram = config->self.datagram;
    wf_flow_init(&s->flow, config->window);
    wf_item_parser_init(&s->parser);
    wf_buf_init(&s->hello, WF_ITEM_HEADER + WF_ITEM_CONTROL_MAX);
    wf_buf_init(&s->flight, WF_HANDSHAKE_BYTES_MAX);
    wf_buf_init(&s->held, WF_WINDOW_MAX + WF_WINDOW_MIN);

    s->expected = config->self;
    s->expected.grant = s->expected.floors = NULL;
    s->expected.role = s->host ? WEFT__WIRE__ROLE__ROLE_DIAL : WEFT__WIRE__ROLE__ROLE_BIND;
    weft_err err = wf_hello_put(&config->self, &s->hello);
    if (err != WEFT_OK) {
        (void)wf_fail(why, err, "the HELLO does not fit: the grant is too long");
        goto fail;
    }
    const struct pki_tls_config tls = {
        .side = s->host ? PKI_SERVER : PKI_CLIENT,
        .alpn = PKI_ALPN_E2E,
        .kinds = PKI_IDENTITY,
        .half_rtt = s->host,
        .output = on_output,
        .arg = s,
    };
    err = pki_tls_new(config->tls, &tls, &s->tls);
    if (err != WEFT_OK) {
        (void)wf_fail(why, err, "no end-to-end TLS: %s", weft_err_sentence(err));
        goto fail;
    }
    *out = s;
    return WEFT_OK;

fail:
    wf_session_free(s);
    return err;
}

void wf_session_free(wf_session *s)
{
    if (s == NULL)
        return;
    assert(!s->delivering);
    pki_tls_free(s->tls);
    pki_trust_unref(s->trust);
    wf_item_parser_fini(&s->parser);
    wf_datagrams_clear(&s->datagrams);
    wf_buf_fini(&s->hello);
    wf_buf_fini(&s->flight);
    wf_buf_wipe(&s->held);
    free(s);
}

enum wf_session_state wf_session_state(const wf_session *s)
{
    return s->state;
}

const struct pki_subject *wf_session_peer(const wf_session *s)
{
    return &s->peer;
}

const struct pki_grant *wf_session_grant(const wf_session *s)
{
    return &s->grant;
}

bool wf_session_has_spoken(const wf_session *s)
{
    return s->spoke;
}

bool wf_session_is_datagram(const wf_session *s)
{
    return s->datagram;
}

const struct wf_flow *wf_session_flow(const wf_session *s)
{
    return &s->flow;
}

void wf_session_set_window(wf_session *s, uint64_t window)
{
    wf_flow_set_window(&s->flow, window);
}

/* ---- ends */

void wf_session_finish(wf_session *s, weft_err err)
{
    if (s->state == WF_SESSION_OVER)
        return;
    if (err == WEFT_OK)
        assert(s->out == WF_HALF_ENDED && s->in != WF_HALF_OPEN);
    wf_session_move(s, WF_SESSION_OVER);
    s->verdict = err;
    if (s->why.text[0] == '\0')
        (void)wf_fail(&s->why, err, "%s", weft_err_sentence(err));
    wf_datagrams_clear(&s->datagrams);
    wf_buf_fini(&s->flight);
    wf_buf_fini(&s->hello);
    if (err != WEFT_OK && !s->delivering) {
        wf_buf_wipe(&s->held);
        s->held_at = 0;
    }
    s->handler->over(s->arg, err, s->why.text);
}

void wf_session_shut(wf_session *s, weft_err verdict)
{
    wf_session_move(s, WF_SESSION_CLOSING);
    s->verdict = verdict;
    weft_err err = pki_tls_shutdown(s->tls);
    if (err != WEFT_OK)
        wf_session_finish(s, verdict != WEFT_OK ? verdict : err);
}

static void end_told(wf_session *s, weft_err err, weft_err code, const char *words)
{
    assert(err != WEFT_OK && code != WEFT_OK);
    if (s->state == WF_SESSION_OVER)
        return;
    /* Before the other side is verified the only word for it is silence. */
    bool may_tell = s->state > WF_SESSION_HELLO && s->state < WF_SESSION_CLOSING;
    if (may_tell && wf_session_put_refusal(s, WF_ITEM_RESET, code, words) == WEFT_OK)
        (void)pki_tls_shutdown(s->tls);
    wf_session_finish(s, err);
}

void wf_session_breach(wf_session *s, weft_err err)
{
    end_told(s, err, err, weft_err_sentence(err));
}

void wf_session_cut(wf_session *s, weft_err err, const char *why, weft_err code, const char *words)
{
    if (s->state == WF_SESSION_OVER)
        return;
    (void)wf_fail(&s->why, err, "%s", why);
    end_told(s, err, code, words);
}

/*
 * TLS failed. What it means depends on when: during the handshake the other
 * side's certificate may be to blame; later only tampering is left, unless
 * the other side complained about ours (a late alert).
 */
static void tls_failed(wf_session *s, weft_err err)
{
    bool late = s->state > WF_SESSION_HELLO;
    if (late && s->state == WF_SESSION_CLOSING && s->verdict != WEFT_OK)
        err = s->verdict;
    else if (err == WEFT_EPROTO || err == WEFT_EINTERNAL)
        err = WEFT_ETAMPERED;
    /* The alert, if there is one; a dialer's flight holds nothing else until TLS is up. */
    if (!late && !pki_tls_is_up(s->tls))
        (void)wf_session_let_go(s);
    if (s->why.text[0] == '\0')
        (void)wf_fail(&s->why, err, "end to end: %s", weft_err_sentence(err));
    wf_session_finish(s, err);
}

static void close_notify_came(wf_session *s)
{
    if (s->state == WF_SESSION_CLOSING) {
        wf_session_finish(s, s->verdict);
        return;
    }
    (void)wf_fail(&s->why, WEFT_ELOST, "the other side closed before the end of the stream");
    (void)pki_tls_shutdown(s->tls);
    wf_session_finish(s, WEFT_ELOST);
}

void wf_session_lost(wf_session *s, weft_err code, const char *what)
{
    if (s->state == WF_SESSION_OVER)
        return;
    if (s->state == WF_SESSION_CLOSING && s->verdict != WEFT_OK) {
        wf_session_finish(s, s->verdict);
        return;
    }
    /* A code of the circuit is nobody's signed word: before anything was said it helps, later it
     * is a loss, since the host may have acted on it. */
    weft_err err = WEFT_ELOST;
    if (code != WEFT_OK && s->state < WF_SESSION_OPEN && !s->spoke)
        err = code;
    (void)wf_fail(&s->why, err, "%s", what);
    wf_session_finish(s, err);
}

void wf_session_reset(wf_session *s, weft_err code, const char *reason)
{
    if (s->state == WF_SESSION_OVER || s->state == WF_SESSION_CLOSING)
        return;
    (void)wf_fail(&s->why, WEFT_ECANCELED, "given up on this side");
    weft_err err = WEFT_EBUSY;
    if (s->state > WF_SESSION_HELLO)
        err = wf_session_put_refusal(s, WF_ITEM_RESET, code, reason);
    if (s->state == WF_SESSION_OVER)
        return;
    if (err == WEFT_OK)
        wf_session_shut(s, WEFT_ECANCELED);
    else
        wf_session_finish(s, WEFT_ECANCELED);
}

/* ---- the handshake */

weft_err wf_session_start(wf_session *s, wf_why *why)
{
    assert(!s->host && s->state == WF_SESSION_NEW);
    wf_session_move(s, WF_SESSION_FLIGHT);
    weft_err err = pki_tls_handshake(s->tls, why);
    if (err == WEFT_OK)
        err = wf_session_let_go(s);
    if (err != WEFT_OK)
        wf_session_move(s, WF_SESSION_OVER);
    return err;
}

void wf_session_answered(wf_session *s, uint64_t window, const wf_id *instance)
{
    assert(!s->host && s->state == WF_SESSION_FLIGHT);
    wf_flow_limit(&s->flow, window);
    /* The router's word fills in what was left open; it never replaces what was asked for. */
    if (wf_id_is_zero(&s->expected.instance))
        s->expected.instance = *instance;
}

static weft_err put_hello(wf_session *s)
{
    weft_err err = put_plain(s, s->hello.data, s->hello.len);
    wf_buf_fini(&s->hello);
    return err;
}

/* After each turn of TLS: our part of the handshake, as far as it goes. */
static weft_err handshake_step(wf_session *s)
{
    weft_err err = WEFT_OK;
    if (s->host && s->state == WF_SESSION_NEW) {
        /* The HELLO rides behind our flight, before the dialer's Finished. */
        if (pki_tls_can_write(s->tls)) {
            err = put_hello(s);
            if (err == WEFT_OK)
                err = wf_session_let_go(s);
            if (err == WEFT_OK)
                wf_session_move(s, WF_SESSION_HELLO);
        } else {
            err = wf_session_let_go(s); /* a HelloRetryRequest */
        }
    } else if (s->state == WF_SESSION_FLIGHT) {
        if (pki_tls_is_up(s->tls))
            wf_session_move(
                s, WF_SESSION_HELLO); /* our Finished stays until the host's HELLO is checked */
        else
            err = wf_session_let_go(s); /* a second ClientHello */
    }
    return err;
}

/* The checks of docs/protocol.md, "HELLO", after those of TLS. Commits only on success. */
static weft_err check_hello(wf_session *s, const Weft__Wire__ItemHello *item)
{
    const struct pki_subject *peer = pki_tls_peer(s->tls);
    if (peer == NULL || !pki_tls_is_up(s->tls))
        return wf_fail(&s->why, WEFT_ETAMPERED, "a HELLO from nobody");
    if (s->handler->floors != NULL)
        for (size_t i = 0; i < item->n_floors; i++)
            s->handler->floors(s->arg, item->floors[i]);

    struct pki_grant grant;
    bool datagram;
    weft_err err = pki_trust_check_again(s->trust, peer, s->now, &s->why);
    if (err == WEFT_OK)
        err =
            wf_hello_check(s->trust, item, &s->expected, peer, s->now, &grant, &datagram, &s->why);
    if (err != WEFT_OK)
        return err;
    s->peer = *peer;
    s->grant = grant;
    if (s->host)
        s->datagram = datagram;
    return WEFT_OK;
}

void wf_session_greeted(wf_session *s, const Weft__Wire__ItemHello *item)
{
    assert(s->state == WF_SESSION_HELLO);
    weft_err err = check_hello(s, item);
    if (s->state == WF_SESSION_OVER)
        return; /* floors that came along cut this very session */
    if (err != WEFT_OK && s->host) {
        wf_session_turn_away(s, err, s->why.text);
        return;
    }
    if (err == WEFT_EREVOKED)
        err = WEFT_EREFUSED; /* the host's credential, not ours */
    if (err == WEFT_OK && !s->host) {
        /* Now we know whom we talk to: Finished (with our certificate) and our HELLO, in one go. */
        err = put_hello(s);
        if (err == WEFT_OK)
            err = wf_session_let_go(s);
    }
    if (err != WEFT_OK) {
        wf_session_finish(s, err);
        return;
    }
    wf_session_move(s, s->host ? WF_SESSION_DECISION : WF_SESSION_ANSWER);
    s->handler->verified(s->arg);
}

/* Host: an authenticated REFUSE; the other side answers with close_notify. */
void wf_session_turn_away(wf_session *s, weft_err code, const char *reason)
{
    wf_why told; /* reason may be our own why */
    (void)wf_fail(&told, code, "%s", reason != NULL ? reason : weft_err_sentence(code));
    weft_err err = wf_session_put_refusal(s, WF_ITEM_REFUSE, code, told.text);
    if (s->state == WF_SESSION_OVER)
        return;
    s->why = told;
    if (err == WEFT_OK)
        wf_session_shut(s, code);
    else
        wf_session_finish(s, code);
}

/* ---- the application's decision */

weft_err wf_session_accept(wf_session *s)
{
    if (s->state != WF_SESSION_DECISION)
        return s->state == WF_SESSION_OVER ? s->verdict : WEFT_EINVAL;
    weft_err err = wf_session_put(s, WF_ITEM_ACCEPT, wf_span_of(NULL, 0));
    if (s->state == WF_SESSION_OVER)
        return s->verdict;
    if (err != WEFT_OK) {
        wf_session_breach(s, err == WEFT_EBUSY ? WEFT_EPROTO : err);
        return err;
    }
    wf_session_move(s, WF_SESSION_OPEN);
    return WEFT_OK;
}

void wf_session_refuse(wf_session *s, weft_err code, const char *reason)
{
    if (s->state == WF_SESSION_DECISION)
        wf_session_turn_away(s, code != WEFT_OK ? code : WEFT_EREFUSED, reason);
}

/* ---- what comes in */

/*
 * TLS ignores the version in the header of its first record (RFC 8446 section
 * 5.1), the only bytes that nothing protects. We don't: 3.1 in the dialer's
 * first record, 3.3 in the host's.
 */
static bool begins_right(const wf_session *s, const uint8_t *data, size_t len)
{
    const uint8_t begin[3] = {22, 3, s->host ? 1 : 3};
    uint64_t at = s->flow.received - len;
    for (size_t i = 0; at + i < sizeof begin && i < len; i++)
        if (data[i] != begin[at + i])
            return false;
    return true;
}

void wf_session_input(wf_session *s, const uint8_t *data, size_t len, uint64_t now)
{
    if (s->state == WF_SESSION_OVER)
        return;
    s->now = now;
    if (wf_flow_received(&s->flow, len, &s->why) != WEFT_OK) {
        wf_session_breach(s, WEFT_EPROTO);
        return;
    }
    if (!begins_right(s, data, len)) {
        (void)wf_fail(&s->why, WEFT_ETAMPERED, "what came is no TLS");
        wf_session_finish(s, WEFT_ETAMPERED);
        return;
    }
    if (!pki_tls_is_up(s->tls)) {
        s->handshake_bytes += len;
        if (s->handshake_bytes > WF_HANDSHAKE_BYTES_MAX) {
            (void)wf_fail(&s->why, WEFT_ELIMIT, "the other side's handshake has no end");
            wf_session_finish(s, WEFT_ELIMIT);
            return;
        }
    }

    pki_tls_feed(s->tls, data, len);
    while (s->state != WF_SESSION_OVER) {
        size_t got = 0;
        weft_err err =
            pki_tls_read(s->tls, s->scratch->plain, sizeof s->scratch->plain, &got, &s->why);
        if (s->state == WF_SESSION_OVER)
            return; /* TLS wanted to answer, and the circuit did not take it */
        if (err == WEFT_OK && s->state < WF_SESSION_HELLO)
            err = handshake_step(s);
        if (err == WEFT_EEOF) {
            close_notify_came(s);
            return;
        }
        if (err != WEFT_OK) {
            tls_failed(s, err);
            return;
        }
        if (got == 0)
            break;
        /* What follows our RESET or REFUSE is read to its close_notify and no further. */
        if (s->state == WF_SESSION_CLOSING && s->verdict != WEFT_OK)
            continue;
        err = wf_item_parser_feed(&s->parser, s->scratch->plain, got, wf_session_item, s, &s->why);
        if (err != WEFT_OK && s->state != WF_SESSION_OVER &&
            !(s->state == WF_SESSION_CLOSING && s->verdict != WEFT_OK)) {
            wf_session_breach(s, err);
            return;
        }
    }
    if (s->state != WF_SESSION_OVER)
        wf_session_credit(s);
}

void wf_session_acked(wf_session *s, const struct wf_ack *ack)
{
    if (s->state == WF_SESSION_OVER)
        return;
    if (wf_flow_acked(&s->flow, ack, &s->why) != WEFT_OK) {
        wf_session_breach(s, WEFT_EPROTO);
        return;
    }
    wf_session_pump(s);
}

void wf_session_drained(wf_session *s)
{
    if (s->state != WF_SESSION_OVER)
        wf_session_pump(s);
}

/* ---- what changes with time */

weft_err wf_session_send_grant(wf_session *s, const Weft__Wire__Signed *grant)
{
    if (s->state < WF_SESSION_ANSWER || s->state > WF_SESSION_OPEN)
        return WEFT_EBUSY;
    Weft__Wire__ItemGrant item = WEFT__WIRE__ITEM_GRANT__INIT;
    union {
        const Weft__Wire__Signed *in;
        Weft__Wire__Signed *out;
    } borrowed = {.in = grant}; /* packing only reads */
    item.grant = borrowed.out;
    wf_buf buf;
    wf_buf_init(&buf, WF_ITEM_CONTROL_MAX);
    weft_err err = wf_message_put(&item.base, &buf);
    if (err == WEFT_OK)
        err = wf_session_put(s, WF_ITEM_GRANT, wf_span_of(buf.data, buf.len));
    wf_buf_fini(&buf);
    return err;
}

weft_err wf_session_stands(const wf_session *s, uint64_t now, weft_err *told, wf_why *why)
{
    const struct pki_grant *g = &s->grant;
    const char *does = s->host ? "dial" : "host";
    uint64_t floor =
        pki_floors_for_grant(pki_trust_floors(s->trust), &g->subject, &g->service, g->role);
    *told = WEFT_EREFUSED;
    weft_err err = pki_trust_check_again(s->trust, &s->peer, now, why);
    if (err == WEFT_EREVOKED) {
        /* Its credential, its permission to be here: each says what it is to itself. */
        *told = WEFT_EREVOKED;
        return wf_fail(why, WEFT_EREFUSED, "cut: %s was disabled or its key revoked", s->peer.name);
    }
    if (err != WEFT_OK) {
        *told = err;
        return err;
    }
    if (g->epoch < floor)
        return wf_fail(why, WEFT_EREFUSED, "cut: the permission of %s to %s %s was withdrawn",
                       s->peer.name, does, g->service_name);
    /* No grace for hours: they are part of what was permitted. */
    return pki_grant_check_window(g, s->peer.name, now, why);
}

void wf_session_check(wf_session *s, uint64_t now, uint64_t grace_ms)
{
    if (s->state < WF_SESSION_ANSWER || s->state > WF_SESSION_OPEN)
        return;
    const struct pki_grant *g = &s->grant;
    weft_err told;
    wf_why why = {.text = ""};
    weft_err err = wf_session_stands(s, now, &told, &why);
    if (err == WEFT_OK && now > g->expiry && now - g->expiry > WF_CLOCK_TOLERANCE_MS + grace_ms)
        told = err = wf_fail(&why, WEFT_EEXPIRED, "the grant of %s for %s expired", s->peer.name,
                             g->service_name);
    if (err != WEFT_OK)
        wf_session_cut(s, err, why.text, told, why.text);
}
