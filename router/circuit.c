/*
 * Happy path: a SETUP was admitted -> circuit_setup takes a label on the next
 * link and sends the SETUP on -> the SETUP_REPLY comes back -> a label on the
 * dialer's link is taken, the reply goes on, the circuit is OPEN -> frames
 * (relay.c) -> a CLOSE comes from one side, is answered there and goes on to
 * the other, whose CLOSE comes back -> both labels are free, the circuit too.
 *
 * Failure modes:
 * - refused: the refusal goes back, nothing is left;
 * - no reply in WF_SETUP_MS: the dialer hears WEFT_ETIMEDOUT; the label on the
 *   host's link stays taken until the late reply comes (and is closed) or the
 *   link goes;
 * - a link goes: each of its circuits ends with WEFT_ELOST on the other side;
 * - the dialer's link goes before the reply: as after a timeout.
 */
#include "router/circuit.h"
#include "proto/base/clock.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pending {
    wf_node node;
    struct circuit *circuit; /* borrowed: owns us */
    uint64_t due;            /* monotonic ms */
};

/* Control that may be sent past the queues of a blocked link before SETUPs are refused. */
#define URGENT_SETUP_MAX (1024u * 1024u)
/* And before replies are; far below WF_OUTPUT_MAX, where the link itself is cut. */
#define URGENT_REPLY_MAX (2048u * 1024u)

void circuits_init(struct circuits *circuits, uint64_t budget, struct router_counters *counters,
                   const struct circuits_hooks *hooks, void *arg)
{
    *circuits = (struct circuits){
        .counters = counters, .hooks = hooks, .arg = arg, .labels_max = WF_CIRCUITS_PER_LINK};
    pool_init(&circuits->pool, budget);
    wf_list_init(&circuits->wires);
    wf_list_init(&circuits->pending);
}

void circuits_fini(struct circuits *circuits)
{
    assert(wf_list_is_empty(&circuits->wires) && wf_list_is_empty(&circuits->pending));
    pool_fini(&circuits->pool);
}

/* ---- one side */

void half_unqueue(struct circuits *circuits, struct half *half)
{
    if (half->queue == NULL)
        return;
    queue_free(half->queue, &half->wire->schedule, &circuits->pool);
    half->queue = NULL;
}

static void circuit_free(struct circuit *circuit)
{
    assert(circuit->pending == NULL && circuit->state == CIRCUIT_CLOSING);
    assert(circuit->half[DIALER].queue == NULL && circuit->half[HOST].queue == NULL);
    free(circuit->dialer_pin);
    free(circuit);
}

/* The side has nothing to do with its link any more. */
void half_release(struct circuits *circuits, struct half *half)
{
    assert(half->wire != NULL);
    half_unqueue(circuits, half);
    if (half->in != 0)
        labels_put(&half->wire->labels, half->in);
    half->wire = NULL;
    if (half_other(half)->wire == NULL)
        circuit_free(circuit_of(half));
}

void half_settle(struct circuits *circuits, struct half *half)
{
    if (half->wire != NULL && half->close_sent && half->close_received)
        half_release(circuits, half);
}

void half_end(struct circuits *circuits, struct half *half, weft_err code, bool drop)
{
    if (half->wire == NULL || half->close_sent || half->out == 0)
        return;
    if (half->queue != NULL && drop)
        half_unqueue(circuits, half);
    if (half->queue == NULL && wf_link_is_blocked(half->wire->link))
        half->queue = queue_new(&half->wire->schedule, &circuits->pool, half);
    if (half->queue != NULL) {
        if (!half->queue->close) {
            half->queue->close = true;
            half->queue->code = (uint16_t)code;
        }
        return;
    }
    half->close_sent = true;
    wf_link_send_close(half->wire->link, half->out, code);
    half_settle(circuits, half);
}

/* ---- the whole */

void circuit_move(struct circuits *circuits, struct circuit *circuit, enum circuit_state to)
{
    enum circuit_state from = circuit->state;

    assert(from < to && to <= CIRCUIT_CLOSING);
    if (from == CIRCUIT_SETUP) {
        wf_list_remove(&circuit->pending->node);
        free(circuit->pending);
        circuit->pending = NULL;
        circuit->half[DIALER].wire->pending--;
        circuits->counters->pending--;
    } else {
        circuits->counters->circuits--;
    }
    circuit->state = (uint8_t)to;
    if (to == CIRCUIT_OPEN) {
        circuits->counters->circuits++;
        circuits->counters->setups_opened++;
    } else {
        circuits->hooks->ended(circuits->arg, circuit);
    }
    circuits->hooks->changed(circuits->arg);
}

void circuit_refuse(struct wire *in, uint32_t in_label, weft_err code, const char *reason)
{
    Weft__Wire__SetupReply reply;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    char text[WF_REASON_MAX + 1];

    assert(code != WEFT_OK);
    weft__wire__setup_reply__init(&reply);
    reply.to = in_label;
    reply.code = (uint32_t)code;
    if (reason != NULL) {
        size_t len = strnlen(reason, WF_REASON_MAX);

        memcpy(text, reason, len);
        text[len] = '\0';
        reply.reason = text;
    }
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
    control.setup_reply = &reply;
    wf_link_send_control(in->link, &control);
}

/* Ends one in SETUP: the dialer hears it; the host's label waits for the late reply. */
static void setup_fail(struct circuits *circuits, struct circuit *circuit, weft_err code,
                       const char *reason)
{
    struct half *dialer = &circuit->half[DIALER];

    assert(circuit->state == CIRCUIT_SETUP);
    circuit_move(circuits, circuit, CIRCUIT_CLOSING);
    if (dialer->wire == NULL)
        return;
    circuit_refuse(dialer->wire, dialer->out, code, reason);
    half_release(circuits, dialer);
}

void circuit_close(struct circuits *circuits, struct circuit *circuit, weft_err code)
{
    if (circuit->state == CIRCUIT_SETUP) {
        setup_fail(circuits, circuit, code, NULL);
    } else if (circuit->state == CIRCUIT_OPEN) {
        circuit_move(circuits, circuit, CIRCUIT_CLOSING);
        /* Open: no CLOSE has come from either side, so neither end frees the circuit. */
        half_end(circuits, &circuit->half[DIALER], code, true);
        half_end(circuits, &circuit->half[HOST], code, true);
    }
}

/* ---- links */

void circuits_wire_add(struct circuits *circuits, struct wire *wire, wf_link *link, bool is_router)
{
    wf_id random = wf_id_random();
    uint32_t start;

    memcpy(&start, random.b, sizeof start);
    assert(!wf_node_is_linked(&wire->node));
    *wire = (struct wire){.link = link, .is_router = is_router};
    labels_init(&wire->labels, start, circuits->labels_max);
    schedule_init(&wire->schedule);
    wf_list_push(&circuits->wires, &wire->node);
}

static void half_lost(struct circuits *circuits, struct half *half)
{
    struct circuit *circuit = circuit_of(half);
    struct half *other = half_other(half);
    bool other_lives = other->wire != NULL && other->wire != half->wire;

    if (circuit->state == CIRCUIT_SETUP && half->side == HOST && other_lives) {
        circuits->counters->setups_lost++;
        setup_fail(circuits, circuit, WEFT_ELOST, "the link towards the host was lost");
    } else if (circuit->state == CIRCUIT_SETUP) {
        circuit_move(circuits, circuit, CIRCUIT_CLOSING);
    } else if (circuit->state == CIRCUIT_OPEN) {
        circuits->counters->closed_lost++;
        circuit_move(circuits, circuit, CIRCUIT_CLOSING);
        if (other_lives)
            half_end(circuits, other, WEFT_ELOST, false);
    }
    half_release(circuits, half);
}

void circuits_wire_lost(struct circuits *circuits, struct wire *wire)
{
    struct half *half;
    uint32_t cursor;

    if (!wf_node_is_linked(&wire->node))
        return;
    /* Dialers whose SETUP awaits its reply hold no label of ours yet. */
    for (wf_node *n = circuits->pending.next, *next; n != &circuits->pending; n = next) {
        struct circuit *circuit = wf_container_of(n, struct pending, node)->circuit;

        next = n->next;
        if (circuit->half[DIALER].wire == wire)
            half_lost(circuits, &circuit->half[DIALER]);
    }
    while (cursor = 0, (half = labels_next(&wire->labels, &cursor)) != NULL)
        half_lost(circuits, half);
    assert(schedule_is_idle(&wire->schedule));
    labels_fini(&wire->labels);
    wf_list_remove(&wire->node);
    wire->link = NULL;
}

/* ---- setup */

uint32_t circuits_window(const struct circuits *circuits, uint64_t offered)
{
    const struct pool *pool = &circuits->pool;
    uint64_t left = pool->used < pool->budget ? pool->budget - pool->used : 0;
    uint64_t window = left / 16;

    if (window > WF_WINDOW_MAX)
        window = WF_WINDOW_MAX;
    if (window < WF_WINDOW_MIN)
        window = WF_WINDOW_MIN;
    return (uint32_t)(offered < window ? offered : window);
}

weft_err circuit_send_control(struct wire *wire, const Weft__Wire__Control *message, uint32_t size,
                              uint32_t cap)
{
    if (!wf_link_is_blocked(wire->link)) {
        wire->urgent = 0;
    } else {
        if (wire->urgent + size > cap)
            return WEFT_EBUSY;
        wire->urgent += size;
    }
    return wf_link_send_control(wire->link, message);
}

weft_err circuit_setup(struct circuits *circuits, struct wire *in, uint32_t in_label,
                       struct wire *out, const struct circuit_about *about,
                       Weft__Wire__Setup *onward, wf_why *why)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    struct circuit *circuit;
    struct half *host;
    weft_err err;

    assert(in->link != NULL && out->link != NULL && in_label != 0);
    if (in->pending >= (in->is_router ? PENDING_PER_ROUTER : PENDING_PER_EDGE) ||
        in->labels.count + in->pending >= circuits->labels_max)
        return wf_fail(why, WEFT_ELIMIT, "the dialer's link carries %u circuits and %u setups",
                       in->labels.count, in->pending);
    circuit = calloc(1, sizeof *circuit);
    if (circuit == NULL)
        return WEFT_ENOMEM;
    circuit->pending = calloc(1, sizeof *circuit->pending);
    if (circuit->pending == NULL) {
        err = WEFT_ENOMEM;
        goto fail;
    }
    if (about->dialer_pin != NULL) {
        circuit->dialer_pin = malloc(sizeof *circuit->dialer_pin);
        if (circuit->dialer_pin == NULL) {
            err = WEFT_ENOMEM;
            goto fail;
        }
        *circuit->dialer_pin = *about->dialer_pin;
    }
    circuit->window = circuits_window(circuits, onward->window);
    if (onward->first.len > circuit->window) {
        err = wf_fail(why, WEFT_EPROTO, "the first bytes go beyond the window of the setup");
        goto fail;
    }
    circuit->half[DIALER] =
        (struct half){.wire = in, .out = in_label, .credit = circuit->window, .side = DIALER};
    circuit->half[HOST] = (struct half){
        .wire = out, .sent = onward->first.len, .credit = circuit->window, .side = HOST};
    host = &circuit->half[HOST];
    err = labels_take(&out->labels, host, &host->in);
    if (err != WEFT_OK) {
        wf_fail(why, err, "the link towards the host carries %u circuits", out->labels.count);
        goto fail;
    }
    onward->label = host->in;
    onward->window = circuit->window;
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
    control.setup = onward;
    err =
        circuit_send_control(out, &control, 4096u + (uint32_t)onward->first.len, URGENT_SETUP_MAX);
    if (err != WEFT_OK) {
        wf_fail(why, err, "the link towards the host takes no more now");
        goto fail_label;
    }
    circuit->session = wf_pb_get_id(onward->session);
    circuit->service = wf_pb_get_id(onward->service_id);
    circuit->instance = about->instance;
    circuit->dialer = about->dialer;
    circuit->host = about->host;
    circuit->host_router = about->host_router;
    circuit->dial_epoch = about->dial_epoch;
    circuit->bind_epoch = about->bind_epoch;
    circuit->until = about->until;
    circuit->is_first = about->is_first;
    circuit->started = wf_now_wall_ms();
    circuit->state = CIRCUIT_SETUP;
    circuit->pending->circuit = circuit;
    circuit->pending->due = wf_now_mono_ms() + WF_SETUP_MS;
    circuits->counters->pending++;
    in->pending++;
    if (wf_list_is_empty(&circuits->pending))
        circuits->hooks->waits(circuits->arg, circuit->pending->due);
    wf_list_push(&circuits->pending, &circuit->pending->node);
    return WEFT_OK;
fail_label:
    labels_put(&out->labels, host->in);
fail:
    free(circuit->dialer_pin);
    free(circuit->pending);
    free(circuit);
    return err;
}

uint64_t circuits_expire(struct circuits *circuits, uint64_t now)
{
    while (!wf_list_is_empty(&circuits->pending)) {
        struct pending *pending = wf_container_of(circuits->pending.next, struct pending, node);

        if (pending->due > now)
            return pending->due;
        circuits->counters->setups_timed_out++;
        setup_fail(circuits, pending->circuit, WEFT_ETIMEDOUT, "the host's side did not answer");
    }
    return 0;
}

/* A reply for a circuit that was given up: a standing one is closed, a refused one is done. */
static void take_late_reply(struct circuits *circuits, struct half *host,
                            const Weft__Wire__SetupReply *reply)
{
    if (reply->code != 0) {
        half_release(circuits, host);
        return;
    }
    host->out = reply->label;
    half_end(circuits, host, WEFT_ECANCELED, true);
}

static void take_refusal(struct circuits *circuits, struct circuit *circuit,
                         const Weft__Wire__SetupReply *reply)
{
    weft_err code = (weft_err)reply->code;

    circuits->counters->setups_refused_by_host++;
    if (code == WEFT_ENOHOST)
        circuits->hooks->host_missing(circuits->arg, circuit);
    setup_fail(circuits, circuit, code, reply->reason);
}

void circuits_take_reply(struct circuits *circuits, struct wire *wire,
                         Weft__Wire__SetupReply *reply)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    struct half *host = labels_find(&wire->labels, reply->to), *dialer;
    struct circuit *circuit;
    weft_err err;

    if (host == NULL || host->side != HOST || host->out != 0 || host->close_received) {
        wf_link_cut(wire->link, WEFT_EPROTO, "a setup reply for no setup of ours");
        return;
    }
    circuit = circuit_of(host);
    dialer = &circuit->half[DIALER];
    if (circuit->state == CIRCUIT_CLOSING) {
        take_late_reply(circuits, host, reply);
        return;
    }
    assert(circuit->state == CIRCUIT_SETUP && dialer->wire != NULL);
    if (reply->code != 0) {
        take_refusal(circuits, circuit, reply);
        half_release(circuits, host);
        return;
    }
    host->out = reply->label;
    host->credit = reply->window;
    dialer->sent = reply->first.len;
    if (reply->window > circuit->window || reply->first.len > dialer->credit ||
        host->sent > host->credit) {
        circuits->counters->closed_breach++;
        setup_fail(circuits, circuit, WEFT_EPROTO, "the host's side broke the protocol");
        half_end(circuits, host, WEFT_EPROTO, true);
        return;
    }
    err = labels_take(&dialer->wire->labels, dialer, &dialer->in);
    if (err == WEFT_OK) {
        reply->to = dialer->out;
        reply->label = dialer->in;
        control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
        control.setup_reply = reply;
        err = circuit_send_control(dialer->wire, &control, 256u + (uint32_t)reply->first.len,
                                   URGENT_REPLY_MAX);
    }
    if (err != WEFT_OK) {
        circuits->counters->setups_refused_limit++;
        setup_fail(circuits, circuit, err, "the link of the dialer takes no more now");
        half_end(circuits, host, err, true);
        return;
    }
    circuit_move(circuits, circuit, CIRCUIT_OPEN);
}

/* ---- walking */

void circuits_each(struct circuits *circuits, void (*each)(void *arg, struct circuit *circuit),
                   void *arg)
{
    for (wf_node *n = circuits->wires.next; n != &circuits->wires; n = n->next) {
        struct wire *wire = wf_container_of(n, struct wire, node);
        uint32_t cursor = 0;
        struct half *half;

        /* Closing an open or pending one frees no label of the host, nor of an open dialer. */
        while ((half = labels_next(&wire->labels, &cursor)) != NULL)
            if (circuit_of(half)->state != CIRCUIT_CLOSING)
                each(arg, circuit_of(half));
    }
}
