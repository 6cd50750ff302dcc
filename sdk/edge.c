/*
 * Edges and circuits.
 *
 * Happy path: the uplink comes up; dial sends a SETUP with a label of ours,
 * the reply brings the router's label, DATA and ACK go both ways, each side
 * sends CLOSE once, and with the second one the label is free again.
 *
 * - The circuit is given up before the reply: it waits as CANCELED, because
 *   only the reply names the label that CLOSE must carry.
 * - The link goes down: all circuits are lost at once; nothing waits.
 * - A frame for a label that we don't know is dropped: it can only harm a
 *   circuit that is gone.
 * - drained: the circuits that met a full link go on in turn, each behind the
 *   others once it has had its go.
 */
#include "sdk/edge.h"
#include "proto/base/clock.h"
#include "proto/base/list.h"
#include "proto/base/log.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What all circuits of a path together may have under way, and when one counts as moving data. */
#define PATH_WINDOW (12u * 1024u * 1024u)
#define ACTIVE_MS 1000u
#define ACTIVE_BYTES (64u * 1024u)

/* A router that starts again is found this soon. */
#define BACKOFF_MAX_MS 5000u

enum circuit_state {
    CIRCUIT_ANSWER,   /* expects the answer to our SETUP */
    CIRCUIT_CANCELED, /* the same, but nobody wants it any more */
    CIRCUIT_OFFERED,  /* expects our own answer */
    CIRCUIT_UP,       /* expects frames */
    CIRCUIT_CLOSING,  /* expects their CLOSE, ours is sent */
};

struct wf_circuit {
    wf_node waiting; /* in edge->blocked */
    wf_edge *edge;   /* borrowed: outlives us */
    uint32_t label, theirs;
    enum circuit_state state;
    uint32_t epoch;                           /* the last one in which it counted as active */
    uint32_t epoch_bytes;                     /* that came since it was last counted */
    const struct wf_circuit_handler *handler; /* NULL once nobody listens */
    void *arg;
};

struct wf_edge {
    wf_uplink *uplink; /* owned */
    const char *self;  /* borrowed: outlives us */
    bool is_closing;
    bool is_cut_here; /* the fault for which the link goes is the router's */
    struct pki_member router;
    struct wf_circuit **slots; /* owned; by label - 1 */
    uint32_t slot_count, slot_hint;
    size_t circuits;
    wf_node blocked;
    uint64_t epoch_start; /* mono ms */
    uint32_t epoch, active_now, active_before;
    uint8_t *frame; /* borrowed: outlives us */
    const struct wf_edge_handler *handler;
    void *arg;
};

/* ---- labels */

static weft_err slot_take(wf_edge *edge, struct wf_circuit *circuit)
{
    if (edge->circuits == edge->slot_count) {
        uint32_t count = edge->slot_count > 0 ? 2 * edge->slot_count : 16;
        if (edge->slot_count >= WF_CIRCUITS_PER_LINK)
            return WEFT_ELIMIT;
        struct wf_circuit **slots = realloc(edge->slots, count * sizeof(struct wf_circuit *));
        if (slots == NULL)
            return WEFT_ENOMEM;
        for (uint32_t i = edge->slot_count; i < count; i++)
            slots[i] = NULL;
        edge->slot_hint = edge->slot_count;
        edge->slots = slots;
        edge->slot_count = count;
    }
    uint32_t i = edge->slot_hint;
    while (edge->slots[i] != NULL)
        i = (i + 1) % edge->slot_count;
    edge->slots[i] = circuit;
    edge->slot_hint = (i + 1) % edge->slot_count;
    edge->circuits++;
    circuit->label = i + 1;
    return WEFT_OK;
}

static struct wf_circuit *by_label(const wf_edge *edge, uint32_t label)
{
    return label >= 1 && label <= edge->slot_count ? edge->slots[label - 1] : NULL;
}

static weft_err circuit_new(wf_edge *edge, enum circuit_state state, struct wf_circuit **out)
{
    struct wf_circuit *circuit = calloc(1, sizeof *circuit);
    if (circuit == NULL)
        return WEFT_ENOMEM;
    circuit->edge = edge;
    circuit->state = state;
    weft_err err = slot_take(edge, circuit);
    if (err != WEFT_OK) {
        free(circuit);
        return err;
    }
    *out = circuit;
    return WEFT_OK;
}

static void circuit_free(struct wf_circuit *circuit)
{
    wf_edge *edge = circuit->edge;
    assert(edge->slots[circuit->label - 1] == circuit);
    wf_list_remove(&circuit->waiting);
    edge->slots[circuit->label - 1] = NULL;
    edge->circuits--;
    free(circuit);
}

/* Nobody listens on it any more; then its owner hears why. */
static void circuit_lose(struct wf_circuit *circuit, weft_err code, const char *what)
{
    const struct wf_circuit_handler *handler = circuit->handler;
    void *arg = circuit->arg;
    circuit_free(circuit);
    if (handler != NULL)
        handler->lost(arg, code, what);
}

/* ---- circuits */

weft_err wf_circuit_dial(wf_edge *edge, Weft__Wire__Setup *setup,
                         const struct wf_circuit_handler *handler, void *arg, wf_circuit **out)
{
    wf_link *link = wf_edge_link(edge);
    if (link == NULL)
        return WEFT_EUNREACHABLE;
    struct wf_circuit *circuit;
    weft_err err = circuit_new(edge, CIRCUIT_ANSWER, &circuit);
    if (err != WEFT_OK)
        return err;
    Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
    setup->label = circuit->label;
    message.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
    message.setup = setup;
    err = wf_link_send_control(link, &message);
    if (err != WEFT_OK) {
        circuit_free(circuit);
        return err;
    }
    circuit->handler = handler;
    circuit->arg = arg;
    *out = circuit;
    return WEFT_OK;
}

static weft_err send_reply(wf_edge *edge, Weft__Wire__SetupReply *reply)
{
    wf_link *link = wf_edge_link(edge);
    if (link == NULL)
        return WEFT_EUNREACHABLE;
    Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
    message.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
    message.setup_reply = reply;
    return wf_link_send_control(link, &message);
}

weft_err wf_circuit_answer(wf_circuit *circuit, uint64_t window, const wf_id *instance,
                           wf_span first, const struct wf_circuit_handler *handler, void *arg)
{
    assert(circuit->state == CIRCUIT_OFFERED);
    Weft__Wire__SetupReply reply;
    weft__wire__setup_reply__init(&reply);
    reply.to = circuit->theirs;
    reply.label = circuit->label;
    reply.window = window;
    reply.first = wf_pb_bytes(first.data, first.len);
    reply.instance = wf_pb_id(instance);
    weft_err err = send_reply(circuit->edge, &reply);
    if (err != WEFT_OK) {
        circuit_free(circuit);
        return err;
    }
    circuit->state = CIRCUIT_UP;
    circuit->handler = handler;
    circuit->arg = arg;
    return WEFT_OK;
}

void wf_circuit_turn_away(wf_circuit *circuit, weft_err code, const char *reason)
{
    assert(circuit->state == CIRCUIT_OFFERED && code != WEFT_OK);
    Weft__Wire__SetupReply reply;
    weft__wire__setup_reply__init(&reply);
    union {
        const char *in;
        char *out;
    } text = {.in = reason}; /* packing only reads */
    reply.to = circuit->theirs;
    reply.code = (uint32_t)code;
    reply.reason = text.out;
    (void)send_reply(circuit->edge, &reply); /* a failure cuts the link */
    circuit_free(circuit);
}

wf_edge *wf_circuit_edge(const wf_circuit *circuit)
{
    return circuit->edge;
}

weft_err wf_circuit_send(wf_circuit *circuit, const uint8_t *data, size_t len)
{
    wf_edge *edge = circuit->edge;
    assert(circuit->state == CIRCUIT_UP);
    while (len > 0) {
        wf_link *link = wf_edge_link(edge);
        if (link == NULL)
            return WEFT_ELOST;
        uint32_t n = len < WF_FRAME_PAYLOAD_MAX ? (uint32_t)len : WF_FRAME_PAYLOAD_MAX;
        wf_frame_put_header(edge->frame, WF_FRAME_DATA, 0, circuit->theirs, n);
        memcpy(edge->frame + WF_FRAME_HEADER, data, n);
        weft_err err = wf_link_send_frame(link, edge->frame, WF_FRAME_HEADER + n);
        if (err != WEFT_OK)
            return err;
        data += n;
        len -= n;
    }
    return WEFT_OK;
}

void wf_circuit_ack(wf_circuit *circuit, const struct wf_ack *ack)
{
    wf_link *link = wf_edge_link(circuit->edge);
    if (link != NULL && circuit->state == CIRCUIT_UP)
        (void)wf_link_send_ack(link, circuit->theirs, ack);
}

bool wf_circuit_is_blocked(wf_circuit *circuit)
{
    wf_link *link = wf_edge_link(circuit->edge);
    if (link == NULL || circuit->state != CIRCUIT_UP)
        return true;
    if (!wf_link_is_blocked(link))
        return false;
    /* Asked is armed: whoever asks again without room is put back, credit or not. */
    if (!wf_node_is_linked(&circuit->waiting))
        wf_list_push(&circuit->edge->blocked, &circuit->waiting);
    return true;
}

static void send_close(struct wf_circuit *circuit, weft_err code)
{
    wf_link *link = wf_edge_link(circuit->edge);
    if (link != NULL)
        (void)wf_link_send_close(link, circuit->theirs, code);
}

void wf_circuit_close(wf_circuit *circuit, weft_err code)
{
    circuit->handler = NULL;
    circuit->arg = NULL;
    wf_list_remove(&circuit->waiting);
    switch (circuit->state) {
    case CIRCUIT_ANSWER:
        circuit->state = CIRCUIT_CANCELED;
        break;
    case CIRCUIT_UP:
        send_close(circuit, code);
        circuit->state = CIRCUIT_CLOSING;
        break;
    case CIRCUIT_OFFERED: /* must be answered */
    case CIRCUIT_CANCELED:
    case CIRCUIT_CLOSING:
        assert(!"a circuit is closed once");
        break;
    }
}

/* ---- what comes from the router */

static void on_setup(wf_edge *edge, const Weft__Wire__Setup *setup)
{
    struct wf_circuit *circuit;
    weft_err err = circuit_new(edge, CIRCUIT_OFFERED, &circuit);
    if (err != WEFT_OK) {
        Weft__Wire__SetupReply reply;
        weft__wire__setup_reply__init(&reply);
        reply.to = setup->label;
        reply.code = (uint32_t)err;
        (void)send_reply(edge, &reply);
        return;
    }
    circuit->theirs = setup->label;
    edge->handler->setup(edge->arg, edge, circuit, setup);
}

static void on_setup_reply(wf_edge *edge, const Weft__Wire__SetupReply *reply)
{
    struct wf_circuit *circuit = by_label(edge, reply->to);
    if (circuit == NULL ||
        (circuit->state != CIRCUIT_ANSWER && circuit->state != CIRCUIT_CANCELED)) {
        wf_link_cut(wf_edge_link(edge), WEFT_EPROTO, "an answer to a SETUP that nobody sent");
        return;
    }
    if (reply->code != 0) {
        weft_err code = reply->code <= WEFT_EEOF ? (weft_err)reply->code : WEFT_EINTERNAL;
        const char *reason = reply->reason != NULL && reply->reason[0] != '\0'
                                 ? reply->reason
                                 : weft_err_sentence((int)code);
        circuit_lose(circuit, code, reason);
        return;
    }
    if (reply->label == 0) {
        wf_link_cut(wf_edge_link(edge), WEFT_EPROTO, "a SETUP answered without a label");
        return;
    }
    circuit->theirs = reply->label;
    if (circuit->state == CIRCUIT_CANCELED) {
        send_close(circuit, WEFT_ECANCELED);
        circuit->state = CIRCUIT_CLOSING;
        return;
    }
    circuit->state = CIRCUIT_UP;
    circuit->handler->answered(circuit->arg, reply);
}

static void on_control(wf_uplink *uplink, void *arg, Weft__Wire__Control *message)
{
    (void)uplink;
    wf_edge *edge = arg;
    if (edge->is_closing)
        return;
    if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP)
        on_setup(edge, message->setup);
    else if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP_REPLY)
        on_setup_reply(edge, message->setup_reply);
    else
        edge->handler->control(edge->arg, edge, message);
}

/* Who moved data in the last second shares the path's window. */
static void count_active(struct wf_circuit *circuit, uint32_t len)
{
    wf_edge *edge = circuit->edge;
    if (circuit->epoch == edge->epoch)
        return;
    circuit->epoch_bytes += len;
    if (circuit->epoch_bytes < ACTIVE_BYTES)
        return;
    circuit->epoch_bytes = 0;
    circuit->epoch = edge->epoch;
    edge->active_now++;
}

uint64_t wf_edge_window(wf_edge *edge)
{
    uint64_t now = wf_now_mono_ms();
    if (now - edge->epoch_start >= ACTIVE_MS) {
        edge->active_before = now - edge->epoch_start < 2 * ACTIVE_MS ? edge->active_now : 0;
        edge->active_now = 0;
        edge->epoch++;
        edge->epoch_start = now;
    }
    uint32_t active =
        edge->active_now > edge->active_before ? edge->active_now : edge->active_before;
    uint64_t share = PATH_WINDOW / (active > 0 ? active : 1);
    if (share > WF_WINDOW_DEFAULT)
        share = WF_WINDOW_DEFAULT;
    return share < WF_WINDOW_MIN ? WF_WINDOW_MIN : share;
}

static void on_frame(wf_uplink *uplink, void *arg, struct wf_frame *frame)
{
    (void)uplink;
    wf_edge *edge = arg;
    struct wf_circuit *circuit = by_label(edge, frame->label);
    const uint8_t *payload = frame->bytes + WF_FRAME_HEADER;
    struct wf_ack ack;
    if (circuit == NULL || edge->is_closing)
        return;
    if (circuit->state == CIRCUIT_CLOSING) {
        if (frame->type == WF_FRAME_CLOSE)
            circuit_free(circuit);
        return;
    }
    if (circuit->state != CIRCUIT_UP) {
        wf_link_cut(wf_edge_link(edge), WEFT_EPROTO, "a frame on a circuit that isn't up");
        return;
    }
    switch (frame->type) {
    case WF_FRAME_DATA:
        count_active(circuit, frame->length);
        circuit->handler->data(circuit->arg, payload, frame->length);
        break;
    case WF_FRAME_ACK:
        if (wf_ack_decode(payload, frame->length, &ack))
            circuit->handler->acked(circuit->arg, &ack);
        break;
    case WF_FRAME_CLOSE: {
        wf_reader r;
        uint16_t number = 0;
        wf_reader_init(&r, payload, frame->length);
        (void)wf_get_u16(&r, &number); /* the frame's length was checked */
        weft_err code = number <= WEFT_EEOF ? (weft_err)number : WEFT_EINTERNAL;
        wf_why what;
        (void)wf_fail(&what, WEFT_ELOST, "the circuit was closed: %s",
                      code == WEFT_OK          ? "the other side is through"
                      : code == WEFT_ECANCELED ? "cut by an administrator, or given up"
                                               : weft_err_sentence(code));
        send_close(circuit, WEFT_OK);
        circuit_lose(circuit, code, what.text);
        break;
    }
    case WF_FRAME_CONTROL:
    case WF_FRAME_PING:
        break; /* the link's own */
    }
}

static void on_drained(wf_uplink *uplink, void *arg)
{
    (void)uplink;
    wf_edge *edge = arg;
    size_t turns = 0;
    for (const wf_node *n = edge->blocked.next; n != &edge->blocked; n = n->next)
        turns++;
    /* One go each; who meets a full link again stands behind all others. */
    for (; turns > 0 && !wf_list_is_empty(&edge->blocked); turns--) {
        wf_link *link = wf_edge_link(edge);
        if (link == NULL || wf_link_is_blocked(link))
            return;
        struct wf_circuit *circuit =
            wf_container_of(edge->blocked.next, struct wf_circuit, waiting);
        wf_list_remove(&circuit->waiting);
        circuit->handler->drained(circuit->arg); /* may free others, not this one */
    }
}

/* ---- the link */

static void lose_all(wf_edge *edge, weft_err err, const char *what)
{
    for (uint32_t i = 0; i < edge->slot_count; i++)
        if (edge->slots[i] != NULL)
            circuit_lose(edge->slots[i], err, what);
    assert(edge->circuits == 0 && wf_list_is_empty(&edge->blocked));
    free(edge->slots);
    edge->slots = NULL;
    edge->slot_count = edge->slot_hint = 0;
}

static void on_secured(wf_uplink *uplink, void *arg, wf_link *link)
{
    (void)uplink;
    (void)link;
    wf_edge *edge = arg;
    if (!edge->is_closing)
        edge->handler->ready(edge->arg, edge);
}

static void on_up(wf_uplink *uplink, void *arg, wf_link *link, const Weft__Wire__Hello *hello)
{
    (void)uplink;
    (void)link;
    wf_edge *edge = arg;
    if (!edge->is_closing)
        edge->handler->up(edge->arg, edge, hello);
}

static void on_down(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why,
                    uint64_t retry_ms)
{
    (void)uplink;
    wf_edge *edge = arg;
    /* That our credential is not taken is no loss that another attempt could mend. */
    weft_err loss = err == WEFT_EREVOKED || err == WEFT_EEXPIRED ? err : WEFT_ELOST;
    wf_why what, ours;
    if (err == WEFT_EREVOKED && !edge->is_cut_here) {
        (void)wf_fail(&what, loss,
                      "router %s says that %s was disabled, or its key revoked: an administrator "
                      "can enable it",
                      edge->router.name, edge->self);
        (void)wf_fail(&ours, err, "it says that %s was disabled, or its key revoked", edge->self);
        why = &ours;
    } else {
        (void)wf_fail(&what, loss, "the connection to router %s was lost: %s", edge->router.name,
                      why != NULL && why->text[0] != '\0' ? why->text : weft_err_sentence(err));
    }
    edge->is_cut_here = false;
    lose_all(edge, loss, what.text);
    if (!edge->is_closing)
        edge->handler->down(edge->arg, edge, err, why, retry_ms);
}

static void on_closed(wf_uplink *uplink, void *arg)
{
    (void)uplink;
    wf_edge *edge = arg;
    lose_all(edge, WEFT_ELOST, "the connection to the router was closed");
    edge->handler->closed(edge->arg, edge);
    free(edge);
}

static const struct wf_uplink_handler uplink_handler = {
    .secured = on_secured,
    .up = on_up,
    .control = on_control,
    .frame = on_frame,
    .drained = on_drained,
    .down = on_down,
    .closed = on_closed,
};

weft_err wf_edge_open(const struct wf_edge_config *config, wf_edge **out)
{
    wf_edge *edge = calloc(1, sizeof *edge);
    if (edge == NULL)
        return WEFT_ENOMEM;
    edge->router = *config->router;
    edge->self = config->self;
    edge->frame = config->frame;
    edge->handler = config->handler;
    edge->arg = config->arg;
    edge->epoch = 1;
    wf_list_init(&edge->blocked);
    const struct wf_uplink_config uplink = {
        .link =
            {
                .tls = config->tls,
                .alpn = PKI_ALPN_LINK,
                .kinds = PKI_ROUTER,
                .peer_id = &edge->router.router,
                .peer_pins = edge->router.pins,
                .peer_pin_count = edge->router.pin_count,
                .hello = config->hello,
                .hello_arg = config->hello_arg,
            },
        .addresses = edge->router.addresses,
        .address_count = edge->router.address_count,
        .backoff_max_ms = BACKOFF_MAX_MS,
        .handler = &uplink_handler,
        .arg = edge,
    };
    weft_err err = wf_uplink_open(config->net, &uplink, &edge->uplink);
    if (err != WEFT_OK) {
        free(edge);
        return err;
    }
    *out = edge;
    return WEFT_OK;
}

void wf_edge_close(wf_edge *edge)
{
    if (edge->is_closing)
        return;
    edge->is_closing = true;
    lose_all(edge, WEFT_ELOST, "the connection to the router was closed");
    wf_uplink_close(edge->uplink);
}

void wf_edge_set_router(wf_edge *edge, const struct pki_member *router)
{
    assert(wf_id_equal(&edge->router.router, &router->router));
    edge->router = *router;
    wf_uplink_set_addresses(edge->uplink, router->addresses, router->address_count);
    wf_uplink_set_pins(edge->uplink, router->pins, router->pin_count);
}

const struct pki_member *wf_edge_router(const wf_edge *edge)
{
    return &edge->router;
}

bool wf_edge_is_ready(const wf_edge *edge)
{
    return wf_edge_link(edge) != NULL;
}

wf_link *wf_edge_link(const wf_edge *edge)
{
    return edge->is_closing ? NULL : wf_uplink_link(edge->uplink);
}

void wf_edge_cut(wf_edge *edge, weft_err err, const char *why)
{
    wf_link *link = wf_edge_link(edge);
    edge->is_cut_here = link != NULL;
    if (link != NULL)
        wf_link_cut(link, err, why);
}

void wf_edge_retry_now(wf_edge *edge)
{
    wf_uplink_retry_now(edge->uplink);
}

size_t wf_edge_circuits(const wf_edge *edge)
{
    return edge->circuits;
}
