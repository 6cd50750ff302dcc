/*
 * Streams: the session, its circuit and the application, brought together.
 *
 * Happy path: a dial (dial.c) or a listener (listener.c) opens the session;
 * bytes go from the circuit into the session and from there to the
 * application; both directions end, both close_notify cross, the session is
 * over, the circuit is closed, the application is told, the memory goes.
 *
 * - The session ends otherwise: the circuit is closed with the reason, the
 *   application is told when the loop next turns.
 * - The circuit is lost: the session says what that means.
 * - The application gives up: it is told at once; the session lingers for the
 *   other side's close_notify, at most WF_LINGER_MS.
 *
 * The application and the session may call in here from inside of each other,
 * so nothing is freed but from the stream's own job.
 */
#include "sdk/stream.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STATE(s) (1u << WF_STREAM_##s)

#define HELLO_REST 128u /* of a HELLO beside grant and floors: three ids, and what is around */

_Static_assert(WEFT_PIECE == WF_ITEM_DATA_FULL, "a piece fills one record, as weft.h says");

static const unsigned legal_moves[] = {
    [WF_STREAM_GRANT] = STATE(ROUTER) | STATE(ANSWER) | STATE(CLOSED),
    [WF_STREAM_ROUTER] = STATE(GRANT) | STATE(ANSWER) | STATE(CLOSED),
    [WF_STREAM_ANSWER] = STATE(GRANT) | STATE(OPEN) | STATE(CLOSED),
    [WF_STREAM_GREETING] = STATE(DECISION) | STATE(LINGER),
    [WF_STREAM_DECISION] = STATE(OPEN) | STATE(LINGER),
    [WF_STREAM_OPEN] = STATE(ENDING) | STATE(CLOSED),
    [WF_STREAM_ENDING] = STATE(CLOSED),
    [WF_STREAM_CLOSED] = STATE(LINGER),
    [WF_STREAM_LINGER] = 0,
};

void wf_stream_move(weft_stream *s, enum wf_stream_state to)
{
    assert(legal_moves[s->state] & (1u << to));
    s->endpoint->greetings -= s->state == WF_STREAM_GREETING;
    if (s->state == WF_STREAM_DECISION) {
        wf_list_remove(&s->deciding);
        s->endpoint->decisions--;
    } else if (to == WF_STREAM_DECISION) {
        wf_list_push(&s->endpoint->deciding, &s->deciding);
        s->endpoint->decisions++;
    }
    s->state = to;
}

/* ---- what the endpoint promises */

/* After whatever may have changed what the session can make us hold. */
static void count_promise(weft_stream *s)
{
    uint64_t promise = s->session != NULL ? wf_session_promise(s->session) : 0;
    s->endpoint->promised += promise - s->promised;
    s->promised = promise;
}

uint64_t wf_stream_window(const weft_stream *s, wf_edge *edge)
{
    const weft_endpoint *e = s->endpoint;
    uint64_t window = wf_edge_window(edge);
    uint64_t others = e->promised - s->promised;
    uint64_t left = others < e->promise_max ? e->promise_max - others : 0;
    if (window > left)
        window = left;
    return window < WF_WINDOW_MIN ? WF_WINDOW_MIN : window;
}

static void share_window(weft_stream *s)
{
    if (s->circuit == NULL)
        return;
    uint64_t share = wf_stream_window(s, wf_circuit_edge(s->circuit));
    wf_session_set_window(s->session, share < s->window_cap ? share : s->window_cap);
}

static bool is_dialing(const weft_stream *s)
{
    return s->state <= WF_STREAM_ANSWER;
}

/* ---- life */

static void run(struct wf_job *job);
static void on_writable(void *arg);

weft_stream *wf_stream_new(weft_endpoint *endpoint, enum wf_stream_state state)
{
    weft_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->endpoint = endpoint;
    s->state = state;
    s->host = state == WF_STREAM_GREETING;
    endpoint->greetings += s->host;
    s->job.run = run;
    s->session_id = wf_id_random();
    s->window_cap = WF_WINDOW_DEFAULT;
    s->peer = (struct weft_peer){.name = s->peer_name,
                                 .id = s->peer_id,
                                 .spiffe_id = s->peer_spiffe,
                                 .service = s->peer_service,
                                 .session = s->peer_session};
    wf_buf_init(&s->first, WF_HANDSHAKE_BYTES_MAX);
    wf_list_push(&endpoint->streams, &s->node);
    wf_endpoint_watch(endpoint);
    return s;
}

void wf_stream_drop(weft_stream *s)
{
    if (s->circuit != NULL)
        wf_circuit_close(s->circuit, WEFT_ECANCELED);
    s->circuit = NULL;
    wf_session_free(s->session);
    s->session = NULL;
    count_promise(s);
    wf_buf_fini(&s->first);
}

static void stream_free(weft_stream *s)
{
    weft_endpoint *endpoint = s->endpoint;
    wf_stream_drop(s);
    wf_dial_free(s->dial);
    wf_timer_free(s->timer);
    wf_job_cancel(&s->job);
    wf_list_remove(&s->node);
    free(s);
    wf_endpoint_go_on_closing(endpoint);
}

void wf_stream_post(weft_stream *s, unsigned due)
{
    s->due |= due;
    wf_jobs_post(&s->endpoint->jobs, &s->job);
}

static bool is_over(const weft_stream *s)
{
    return s->session == NULL || wf_session_state(s->session) == WF_SESSION_OVER;
}

/* Nobody is interested any more: the session may take its leave, but not for long. */
static void linger(weft_stream *s)
{
    wf_stream_move(s, WF_STREAM_LINGER);
    s->handler = NULL;
    s->listener = NULL;
    if (is_over(s) || s->endpoint->state != WF_ENDPOINT_OPEN ||
        wf_stream_set_timer(s, WF_LINGER_MS) != WEFT_OK)
        wf_stream_post(s, WF_DUE_FREE);
}

static void on_timer(void *arg)
{
    weft_stream *s = arg;
    if (is_dialing(s)) {
        if (s->dial->refused != WEFT_OK)
            wf_stream_close_with(s, s->dial->refused, s->dial->why.text);
        else
            wf_stream_close_with(s, WEFT_ETIMEDOUT,
                                 s->state == WF_STREAM_GRANT    ? "no answer from the controller"
                                 : s->state == WF_STREAM_ROUTER ? "no router could be reached"
                                                                : "the host did not answer");
        return;
    }
    if (s->session != NULL)
        wf_session_lost(s->session, WEFT_ETIMEDOUT, "the other side did not take its leave");
    else if (s->state == WF_STREAM_LINGER)
        wf_stream_post(s, WF_DUE_FREE);
}

weft_err wf_stream_set_timer(weft_stream *s, uint64_t ms)
{
    if (s->timer == NULL)
        s->timer = wf_timer_new(&s->endpoint->timers, on_timer, s);
    if (s->timer == NULL)
        return WEFT_ENOMEM;
    wf_timer_start(s->timer, ms);
    return WEFT_OK;
}

static void drop_timer(weft_stream *s)
{
    wf_timer_free(s->timer);
    s->timer = NULL;
}

void wf_stream_close_with(weft_stream *s, weft_err err, const char *why)
{
    if (s->dial != NULL) {
        wf_wait_cancel(&s->dial->wait);
        /* A session that greets nobody has nobody to take leave of. */
        if (s->circuit != NULL && is_dialing(s) && !is_over(s) &&
            wf_session_state(s->session) < WF_SESSION_ANSWER) {
            wf_circuit_close(s->circuit, WEFT_ECANCELED);
            s->circuit = NULL;
        }
    }
    if ((s->state == WF_STREAM_GRANT || s->state == WF_STREAM_ROUTER ||
         s->state == WF_STREAM_ANSWER) &&
        err != WEFT_ECANCELED)
        wf_facts_count(s->endpoint->dials_failed, err);
    wf_stream_move(s, WF_STREAM_CLOSED);
    s->err = err;
    (void)wf_fail(&s->why, err, "%s", why != NULL ? why : weft_err_sentence(err));
    if (s->timer != NULL)
        wf_timer_stop(s->timer);
    wf_stream_post(s, WF_DUE_CLOSED);
}

/* Both ENDs have crossed, both sides took their leave, and the application has it all. */
static void end_if_over(weft_stream *s)
{
    if (s->state != WF_STREAM_OPEN || !is_over(s) || s->err != WEFT_OK)
        return;
    if (wf_session_both_ended(s->session) && wf_session_held(s->session) == 0)
        wf_stream_close_with(s, WEFT_OK, NULL);
}

static void tell_closed(weft_stream *s)
{
    const struct weft_stream_handler *handler = s->handler;
    void *arg = s->arg;
    if (!is_over(s) && s->circuit != NULL)
        wf_session_reset(s->session, WEFT_ERESET, NULL); /* nothing if it is closing already */
    linger(s);
    if (handler != NULL && handler->closed != NULL)
        handler->closed(s, arg, s->err, s->why.text);
}

static void run(struct wf_job *job)
{
    weft_stream *s = wf_container_of(job, weft_stream, job);
    unsigned due = s->due;
    s->due = 0;
    if (due & WF_DUE_FREE) {
        stream_free(s);
        return;
    }
    if ((due & WF_DUE_STEP) && is_dialing(s))
        wf_dial_step(s);
    if ((due & WF_DUE_GONE) && s->state == WF_STREAM_DECISION && s->gone != NULL) {
        void (*gone)(void *) = s->gone;
        s->gone = NULL;
        gone(s->gone_arg);
        if (s->state == WF_STREAM_DECISION)
            linger(s);
    }
    if ((due & WF_DUE_OPENED) && s->state == WF_STREAM_OPEN)
        s->handler->opened(s, s->arg, &s->peer);
    if ((due & WF_DUE_RESUME) && s->state == WF_STREAM_OPEN) {
        share_window(s);
        wf_session_resume(s->session);
        count_promise(s);
        end_if_over(s);
    }
    if ((due & WF_DUE_WRITABLE) && s->state == WF_STREAM_OPEN)
        wf_session_drained(s->session);
    if ((due & WF_DUE_WRITABLE) && s->state == WF_STREAM_ANSWER)
        on_writable(s);
    /* What was done here may have closed it: that is told in this turn, too. */
    if (s->state == WF_STREAM_CLOSED)
        tell_closed(s);
}

/* ---- the session speaks */

static weft_err on_output(void *arg, const uint8_t *data, size_t len)
{
    weft_stream *s = arg;
    if (s->collecting)
        return wf_buf_put(&s->first, data, len);
    return s->circuit != NULL ? wf_circuit_send(s->circuit, data, len) : WEFT_ELOST;
}

static bool on_blocked(void *arg)
{
    weft_stream *s = arg;
    return s->circuit == NULL || wf_circuit_is_blocked(s->circuit);
}

static void on_ack(void *arg, const struct wf_ack *ack)
{
    weft_stream *s = arg;
    if (s->circuit != NULL)
        wf_circuit_ack(s->circuit, ack);
}

static void on_floors(void *arg, const Weft__Wire__Signed *record)
{
    weft_stream *s = arg;
    wf_endpoint_take_floors(s->endpoint, record, NULL);
}

static void name_peer(weft_stream *s)
{
    const struct pki_subject *peer = wf_session_peer(s->session);
    memcpy(s->peer_name, peer->name, sizeof s->peer_name);
    memcpy(s->peer_service, wf_session_grant(s->session)->service_name, sizeof s->peer_service);
    (void)wf_id_text(&peer->id, s->peer_id);
    (void)wf_id_text(&s->session_id, s->peer_session);
    (void)pki_spiffe_text(peer->domain, PKI_IDENTITY, &peer->id, s->peer_spiffe);
}

static void on_verified(void *arg)
{
    weft_stream *s = arg;
    name_peer(s);
    if (s->host)
        wf_listener_offer(s);
    else
        wf_stream_post(s, WF_DUE_WRITABLE); /* early bytes save a round trip */
}

static void on_opened(void *arg)
{
    weft_stream *s = arg;
    if (s->state != WF_STREAM_ANSWER)
        return; /* given up meanwhile; the reset is on its way */
    wf_stream_move(s, WF_STREAM_OPEN);
    drop_timer(s);
    wf_dial_free(s->dial);
    s->dial = NULL;
    wf_stream_begin(s);
    s->handler->opened(s, s->arg, &s->peer);
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    weft_stream *s = arg;
    if (s->state != WF_STREAM_OPEN)
        return len; /* nobody wants it any more */
    wf_stream_note_active(s);
    if (s->due & WF_DUE_OPENED) {
        s->due &= ~(unsigned)WF_DUE_OPENED;
        s->handler->opened(s, s->arg, &s->peer);
        if (s->state != WF_STREAM_OPEN)
            return len;
    }
    return s->handler->data != NULL ? s->handler->data(s, s->arg, data, len) : len;
}

static void on_datagram(void *arg, const uint8_t *data, size_t len)
{
    weft_stream *s = arg;
    wf_stream_note_active(s);
    if (s->state == WF_STREAM_OPEN && s->handler->datagram != NULL)
        s->handler->datagram(s, s->arg, data, len);
}

static void on_ended(void *arg)
{
    weft_stream *s = arg;
    if (s->due & WF_DUE_OPENED) {
        s->due &= ~(unsigned)WF_DUE_OPENED;
        s->handler->opened(s, s->arg, &s->peer);
    }
    if (s->state == WF_STREAM_OPEN && s->handler->ended != NULL)
        s->handler->ended(s, s->arg);
}

static void on_writable(void *arg)
{
    weft_stream *s = arg;
    if ((s->state == WF_STREAM_OPEN || s->state == WF_STREAM_ANSWER) &&
        s->handler->writable != NULL)
        s->handler->writable(s, s->arg);
}

static void on_over(void *arg, weft_err err, const char *why)
{
    weft_stream *s = arg;
    wf_why own;
    if (s->state == WF_STREAM_OPEN || s->state == WF_STREAM_ENDING) {
        (void)wf_fail(&own, err, "%s", why != NULL ? why : weft_err_sentence(err));
        err = wf_stream_settle(s, err, &own);
        why = own.text;
    }
    if (s->circuit != NULL)
        wf_circuit_close(s->circuit, err);
    s->circuit = NULL;
    count_promise(s);
    switch (s->state) {
    case WF_STREAM_GRANT:
    case WF_STREAM_ROUTER:
        break; /* a session of an attempt that is given up already */
    case WF_STREAM_ANSWER:
        wf_dial_failed(s, err, why);
        break;
    case WF_STREAM_GREETING:
        wf_lines_put(&s->endpoint->lines, wf_now_mono_ms(), WF_LOG_INFO,
                     "a dialer was turned away: %s", why);
        wf_facts_count(s->endpoint->sessions_refused, err);
        linger(s);
        break;
    case WF_STREAM_DECISION:
        s->err = err;
        (void)wf_fail(&s->why, err, "%s", why);
        wf_stream_post(s, WF_DUE_GONE);
        break;
    case WF_STREAM_OPEN:
        if (err == WEFT_OK)
            wf_stream_post(s, WF_DUE_RESUME); /* the application may have bytes to take */
        else
            wf_stream_close_with(s, err, why);
        break;
    case WF_STREAM_ENDING:
        wf_stream_close_with(s, err, err == WEFT_OK ? NULL : why);
        break;
    case WF_STREAM_CLOSED:
        break; /* its job is on its way */
    case WF_STREAM_LINGER:
        wf_stream_post(s, WF_DUE_FREE);
        break;
    }
}

const struct wf_session_handler wf_stream_session_handler = {
    .output = on_output,
    .blocked = on_blocked,
    .ack = on_ack,
    .floors = on_floors,
    .verified = on_verified,
    .opened = on_opened,
    .data = on_data,
    .datagram = on_datagram,
    .ended = on_ended,
    .writable = on_writable,
    .over = on_over,
};

weft_err wf_stream_open_session(weft_stream *s, const wf_id *service, const wf_id *instance,
                                bool datagram, const struct wf_grant *grant, uint64_t window,
                                wf_why *why)
{
    const Weft__Wire__Signed *ours = grant->record;
    size_t taken = ours->body.len + ours->signature.len + ours->signer.len + HELLO_REST;
    Weft__Wire__Signed *floors = wf_grants_newest_floors(
        &s->endpoint->grants, taken < WF_ITEM_CONTROL_MAX ? WF_ITEM_CONTROL_MAX - taken : 0);
    const struct wf_session_config config = {
        .tls = s->endpoint->tls,
        .host = s->host,
        .self =
            {
                .service = *service,
                .session = s->session_id,
                .instance = *instance,
                .role = s->host ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL,
                .datagram = datagram,
                .grant = grant->record,
                .floors = floors,
            },
        .window = window,
        .scratch = s->endpoint->scratch,
        .handler = &wf_stream_session_handler,
        .arg = s,
    };
    weft_err err = wf_session_new(&config, &s->session, why);
    wf_signed_free(floors);
    count_promise(s);
    if (err == WEFT_OK)
        wf_stream_use_grant(s, &grant->grant);
    return err;
}

/* ---- the circuit speaks */

static void on_circuit_data(void *arg, const uint8_t *data, size_t len)
{
    weft_stream *s = arg;
    share_window(s);
    wf_session_input(s->session, data, len, wf_now_wall_ms());
    count_promise(s);
    end_if_over(s);
}

static void on_answered(void *arg, const Weft__Wire__SetupReply *reply)
{
    weft_stream *s = arg;
    wf_id instance = {{0}};
    if (reply->instance.len > 0)
        instance = wf_pb_get_id(reply->instance);
    if (reply->window < s->window_cap)
        s->window_cap = reply->window;
    wf_session_answered(s->session, reply->window, &instance);
    count_promise(s);
    if (reply->first.len > 0)
        on_circuit_data(s, reply->first.data, reply->first.len);
}

static void on_acked(void *arg, const struct wf_ack *ack)
{
    weft_stream *s = arg;
    wf_session_acked(s->session, ack);
}

static void on_drained(void *arg)
{
    weft_stream *s = arg;
    wf_session_drained(s->session);
}

static void on_lost(void *arg, weft_err code, const char *what)
{
    weft_stream *s = arg;
    s->circuit = NULL;
    wf_session_lost(s->session, code, what);
}

const struct wf_circuit_handler wf_stream_circuit_handler = {
    .answered = on_answered,
    .data = on_circuit_data,
    .acked = on_acked,
    .drained = on_drained,
    .lost = on_lost,
};

/* ---- the application speaks */

/* WEFT_EBUSY: not yet, `writable` will say. */
static weft_err may_write(const weft_stream *s)
{
    if (s->state == WF_STREAM_OPEN)
        return WEFT_OK;
    if (is_dialing(s))
        return s->session != NULL && wf_session_state(s->session) == WF_SESSION_ANSWER ? WEFT_OK
                                                                                       : WEFT_EBUSY;
    return s->state == WF_STREAM_CLOSED && s->err != WEFT_OK ? s->err : WEFT_EINVAL;
}

weft_err weft_stream_write(weft_stream *s, const void *data, size_t len, size_t *taken)
{
    const uint8_t *at = data;
    size_t done = 0;
    *taken = 0;
    weft_err err = may_write(s);
    if (err == WEFT_EBUSY)
        return WEFT_OK;
    if (err != WEFT_OK)
        return err;
    do {
        size_t n = 0;
        err = wf_session_write(s->session, at + done, len - done, &n);
        if (err != WEFT_OK || n == 0)
            break;
        done += n;
    } while (done < len);
    if (done > 0)
        wf_stream_note_active(s);
    *taken = done; /* with an error, too: the records before it have left */
    return err;
}

weft_err weft_stream_send_datagram(weft_stream *s, const void *data, size_t len)
{
    if (s->state != WF_STREAM_OPEN)
        return s->state == WF_STREAM_CLOSED && s->err != WEFT_OK ? s->err : WEFT_EINVAL;
    wf_stream_note_active(s);
    return wf_session_send_datagram(s->session, data, len);
}

void weft_stream_resume(weft_stream *s)
{
    if (s->state == WF_STREAM_OPEN)
        wf_stream_post(s, WF_DUE_RESUME);
}

weft_err weft_stream_end(weft_stream *s)
{
    weft_err err = may_write(s);
    if (err == WEFT_OK)
        err = wf_session_end(s->session);
    end_if_over(s);
    return err;
}

static void give_up(weft_stream *s, weft_err code, const char *reason)
{
    switch (s->state) {
    case WF_STREAM_GRANT:
    case WF_STREAM_ROUTER:
    case WF_STREAM_ANSWER:
        wf_stream_close_with(s, WEFT_ECANCELED, "given up on this side");
        break;
    case WF_STREAM_DECISION:
        weft_stream_refuse(s, code, reason);
        break;
    case WF_STREAM_OPEN:
        if (wf_session_both_ended(s->session)) {
            if (is_over(s)) {
                wf_stream_close_with(s, WEFT_OK, NULL);
            } else {
                wf_stream_move(s, WF_STREAM_ENDING);
                if (wf_stream_set_timer(s, WF_LINGER_MS) != WEFT_OK)
                    wf_session_lost(s->session, WEFT_ENOMEM, "no memory to wait for its end");
            }
            break;
        }
        wf_session_reset(s->session, code, reason);
        if (s->state == WF_STREAM_OPEN)
            wf_stream_close_with(s, WEFT_ECANCELED, "given up on this side");
        break;
    case WF_STREAM_GREETING:
    case WF_STREAM_ENDING:
    case WF_STREAM_CLOSED:
    case WF_STREAM_LINGER:
        break;
    }
}

void weft_stream_close(weft_stream *s)
{
    give_up(s, WEFT_ERESET, "closed before the end of the stream");
}

void weft_stream_reset(weft_stream *s, weft_err err, const char *reason)
{
    give_up(s, err != WEFT_OK ? err : WEFT_ERESET, reason);
}

void *weft_stream_arg(const weft_stream *s)
{
    return s->arg;
}

uint64_t weft_stream_unacked(const weft_stream *s)
{
    if (s->session == NULL)
        return 0;
    const struct wf_flow *flow = wf_session_flow(s->session);
    return flow->sent - flow->acked;
}

weft_err weft_stream_accept(weft_stream *s, const struct weft_stream_handler *handler, void *arg)
{
    if (s->state != WF_STREAM_DECISION)
        return WEFT_EINVAL;
    if (is_over(s))
        return s->err;
    weft_err err = wf_session_accept(s->session);
    if (err != WEFT_OK)
        return err;
    wf_stream_move(s, WF_STREAM_OPEN);
    s->handler = handler;
    s->arg = arg;
    s->listener = NULL;
    s->gone = NULL;
    wf_stream_begin(s);
    wf_stream_post(s, WF_DUE_OPENED | WF_DUE_RESUME); /* the dialer may have spoken already */
    return WEFT_OK;
}

void weft_stream_refuse(weft_stream *s, weft_err err, const char *reason)
{
    if (s->state != WF_STREAM_DECISION)
        return;
    s->gone = NULL;
    wf_facts_count(s->endpoint->sessions_refused, err);
    wf_session_refuse(s->session, err, reason);
    linger(s);
}

void weft_stream_on_gone(weft_stream *s, void (*gone)(void *arg), void *arg)
{
    s->gone = gone;
    s->gone_arg = arg;
    if (s->state == WF_STREAM_DECISION && is_over(s))
        wf_stream_post(s, WF_DUE_GONE);
}

/* ---- the endpoint speaks */

void wf_stream_shut(weft_stream *s)
{
    if (s->state == WF_STREAM_LINGER) {
        wf_stream_post(s, WF_DUE_FREE);
    } else if (s->state == WF_STREAM_GREETING || s->state == WF_STREAM_DECISION) {
        /* In DECISION the application holds it, but the endpoint goes away with all its streams. */
        if (s->state == WF_STREAM_DECISION && !is_over(s))
            wf_session_refuse(s->session, WEFT_EUNREACHABLE, "the host is going away");
        s->gone = NULL;
        linger(s);
        wf_stream_post(s, WF_DUE_FREE);
    } else if (s->state == WF_STREAM_ENDING) {
        wf_session_lost(s->session, WEFT_ECANCELED, "the endpoint was closed");
    } else {
        give_up(s, WEFT_ERESET, "the other side's endpoint was closed");
    }
}
