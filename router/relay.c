/*
 * Frames of standing circuits.
 *
 * Happy path: DATA comes with a label of ours -> its circuit is found -> the
 * other side's label is put in place -> the same bytes go to the other side's
 * link. Nothing is parsed, allocated or copied.
 *
 * When the other side's link is blocked, DATA waits in the circuit's queue, an
 * ACK is remembered (only the newest matters) and a CLOSE waits behind the
 * DATA; the link's `drained` takes them out by turns. Reading never stops: what
 * may wait is bounded by the credit that the endpoints give each other, and
 * over all circuits by the memory budget.
 *
 * Failure modes:
 * - a label that stands for no circuit: the link is cut;
 * - DATA beyond the credit, ACK beyond what was sent: the circuit is closed on
 *   both sides with WEFT_EPROTO;
 * - over the budget: circuits are closed with WEFT_ELIMIT until under it.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/circuit.h"
#include <assert.h>

#define COMPLAIN_MS 1000u

/* ---- out */

static struct queue *half_queue(struct circuits *circuits, struct half *half)
{
    if (half->queue == NULL)
        half->queue = queue_new(&half->wire->schedule, &circuits->pool, half);
    return half->queue;
}

static bool out_ack(void *arg, struct queue *queue)
{
    struct half *half = queue->owner, *from = half_other(half);
    struct wf_ack ack = {.received = from->acked, .credit = from->credit};

    (void)arg;
    wf_link_send_ack(half->wire->link, half->out, &ack);
    return !wf_link_is_blocked(half->wire->link);
}

static void count(struct circuits *circuits, struct half *to, uint32_t payload)
{
    to->sent += payload;
    circuits->counters->frames_forwarded++;
    circuits->counters->bytes_forwarded += payload;
}

static bool out_frame(void *arg, struct queue *queue, uint8_t *frame, uint32_t len,
                      uint32_t payload)
{
    struct half *half = queue->owner;

    wf_link_send_frame(half->wire->link, frame, len);
    count(arg, half, payload);
    return !wf_link_is_blocked(half->wire->link);
}

static bool out_close(void *arg, struct queue *queue)
{
    struct half *half = queue->owner;

    (void)arg;
    wf_link_send_close(half->wire->link, half->out, (weft_err)queue->code);
    return !wf_link_is_blocked(half->wire->link);
}

static void out_idle(void *arg, void *owner, bool closed)
{
    struct half *half = owner;

    half->queue = NULL;
    if (closed) {
        half->close_sent = true;
        half_settle(arg, half);
    }
}

static const struct schedule_out to_link = {
    .ack = out_ack, .frame = out_frame, .close = out_close, .idle = out_idle};

void circuits_drained(struct circuits *circuits, struct wire *wire)
{
    if (!wf_node_is_linked(&wire->node) || wf_link_is_blocked(wire->link))
        return;
    wire->urgent = 0;
    schedule_run(&wire->schedule, &circuits->pool, &to_link, circuits);
}

void half_forward(struct circuits *circuits, struct half *to, uint8_t *frame, uint32_t len)
{
    struct wire *wire = to->wire;
    uint32_t payload = len - WF_FRAME_HEADER;

    wf_frame_set_label(frame, to->out);
    if (schedule_is_idle(&wire->schedule) && !wf_link_is_blocked(wire->link)) {
        wf_link_send_frame(wire->link, frame, len);
        count(circuits, to, payload);
        return;
    }
    if (half_queue(circuits, to) == NULL ||
        queue_push(to->queue, &wire->schedule, &circuits->pool, frame, len, payload) != WEFT_OK) {
        wf_log_error("out of memory: a circuit is closed");
        circuit_close(circuits, circuit_of(to), WEFT_ENOMEM);
        return;
    }
    circuits->counters->frames_queued++;
    /* Unblocked, but others still wait: all take their turns now. */
    circuits_drained(circuits, wire);
    if (pool_is_over(&circuits->pool))
        circuits_relieve(circuits);
}

/* ---- the budget */

/* Whom to close: the largest of those above their window, before the largest of all. */
static struct half *find_largest(struct circuits *circuits)
{
    struct half *best = NULL;
    bool best_above = false;

    for (wf_node *w = circuits->wires.next; w != &circuits->wires; w = w->next) {
        struct wire *wire = wf_container_of(w, struct wire, node);

        for (wf_node *n = wire->schedule.ring.next; n != &wire->schedule.ring; n = n->next) {
            struct half *half = wf_container_of(n, struct queue, node)->owner;
            bool above = half->queue->bytes > circuit_of(half)->window;

            if (best == NULL || (above && !best_above) ||
                (above == best_above && half->queue->bytes > best->queue->bytes)) {
                best = half;
                best_above = above;
            }
        }
    }
    return best;
}

void circuits_relieve(struct circuits *circuits)
{
    uint64_t now = wf_now_mono_ms();

    while (pool_is_over(&circuits->pool)) {
        struct half *half = find_largest(circuits);
        uint64_t before = circuits->pool.used;
        struct circuit *circuit;

        if (half == NULL)
            break;
        circuit = circuit_of(half);
        circuits->counters->closed_budget++;
        circuits->uncomplained++;
        if (circuit->state == CIRCUIT_OPEN) {
            circuit_close(circuits, circuit, WEFT_ELIMIT);
        } else {
            /* Its other side closed it already: what still waited for this side is lost. */
            half_unqueue(circuits, half);
            half_end(circuits, half, WEFT_ELIMIT, true);
        }
        if (circuits->pool.used >= before)
            break; /* only what CLOSEs need is left: never spin */
    }
    if (circuits->complained != 0 && now - circuits->complained < COMPLAIN_MS)
        return;
    wf_log_warn("over the memory budget of %llu bytes: closed %llu circuits, largest backlog first",
                (unsigned long long)circuits->pool.budget,
                (unsigned long long)circuits->uncomplained);
    circuits->complained = now;
    circuits->uncomplained = 0;
}

/* ---- in */

static void breach(struct circuits *circuits, struct half *from, const char *what)
{
    if (circuits->hooks->may_log(circuits->arg))
        wf_log_info("%s: circuit closed: %s", wf_link_remote(from->wire->link), what);
    circuits->counters->closed_breach++;
    circuit_close(circuits, circuit_of(from), WEFT_EPROTO);
}

static void take_data(struct circuits *circuits, struct half *from, struct wf_frame *frame)
{
    struct half *to = half_other(from);
    uint64_t accepted = to->sent + (to->queue == NULL ? 0 : to->queue->bytes);

    if (frame->length > to->credit - accepted) {
        breach(circuits, from, "data beyond the credit");
        return;
    }
    half_forward(circuits, to, frame->bytes, WF_FRAME_HEADER + frame->length);
}

static void take_ack(struct circuits *circuits, struct half *from, const struct wf_frame *frame)
{
    struct half *to = half_other(from);
    struct wf_ack ack;

    if (!wf_ack_decode(frame->bytes + WF_FRAME_HEADER, frame->length, &ack) ||
        ack.received > from->sent || ack.credit - ack.received > WF_WINDOW_MAX) {
        breach(circuits, from, "acknowledgement beyond what was sent, or credit beyond any window");
        return;
    }
    /* Offsets only rise; where the first window was lowered on the way, the first ACKs may lag. */
    if (ack.received > from->acked)
        from->acked = ack.received;
    if (ack.credit > from->credit)
        from->credit = ack.credit;
    ack = (struct wf_ack){.received = from->acked, .credit = from->credit};
    if (to->queue == NULL && !wf_link_is_blocked(to->wire->link)) {
        wf_link_send_ack(to->wire->link, to->out, &ack);
    } else if (half_queue(circuits, to) != NULL) {
        to->queue->ack = true;
    } else {
        circuit_close(circuits, circuit_of(from), WEFT_ENOMEM);
    }
}

static void take_close(struct circuits *circuits, struct half *from, const struct wf_frame *frame)
{
    struct circuit *circuit = circuit_of(from);
    struct half *to = half_other(from);
    const uint8_t *code = frame->bytes + WF_FRAME_HEADER;
    weft_err err = (weft_err)(code[0] << 8 | code[1]);

    from->close_received = true;
    if (circuit->state == CIRCUIT_OPEN) {
        circuit_move(circuits, circuit, CIRCUIT_CLOSING);
        half_end(circuits, to, err, false);
        half_end(circuits, from, err, true);
        return;
    }
    half_settle(circuits, from);
}

void circuits_take_frame(struct circuits *circuits, struct wire *wire, struct wf_frame *frame)
{
    struct half *from = labels_find(&wire->labels, frame->label);

    if (from == NULL || from->close_received || from->out == 0) {
        wf_link_cut(wire->link, WEFT_EPROTO, "a frame for a label that stands for no circuit");
        return;
    }
    if (frame->type == WF_FRAME_CLOSE) {
        take_close(circuits, from, frame);
        return;
    }
    if (circuit_of(from)->state != CIRCUIT_OPEN)
        return; /* sent before our CLOSE came there */
    if (frame->type == WF_FRAME_DATA)
        take_data(circuits, from, frame);
    else
        take_ack(circuits, from, frame);
}
