/*
 * An uplink: a link that is wanted.
 *
 * Happy path: the first address answers, the link comes up and stays.
 *
 * - An attempt fails or the link is lost: each address has one more try at
 *   once, then tries come with jittered back-off. A link that was up for less
 *   than a second doesn't count as a success, so that a peer who throws us out
 *   isn't stormed.
 * - Calls made while it is down wait for `up`, each with its own deadline,
 *   and at most WF_CALLS_PER_LINK of them. One that waited in vain ends with
 *   the reason why the last attempt failed. Who hears that we are revoked waits no longer.
 * - Closed at any point: the link closes first, waiting calls end with
 *   WEFT_ECANCELED, then `closed` comes, later.
 */
#include "proto/link/uplink.h"
#include "proto/base/id.h"
#include "proto/link/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * DOWN -> TRYING -> UP
 * DOWN waits for the next attempt; TRYING has a link that isn't up yet.
 * Both fall back to DOWN; CLOSING follows each of them.
 */
enum uplink_state { UPLINK_DOWN, UPLINK_TRYING, UPLINK_UP, UPLINK_CLOSING };

static const unsigned may_follow[] = {
    [UPLINK_DOWN] = 1u << UPLINK_TRYING | 1u << UPLINK_DOWN | 1u << UPLINK_CLOSING,
    [UPLINK_TRYING] = 1u << UPLINK_UP | 1u << UPLINK_DOWN | 1u << UPLINK_CLOSING,
    [UPLINK_UP] = 1u << UPLINK_DOWN | 1u << UPLINK_CLOSING,
    [UPLINK_CLOSING] = 0,
};

struct waiting_call {
    wf_node node;
    wf_alarm alarm;
    wf_uplink *uplink; /* borrowed: calls end before their uplink */
    char operation[WF_NAME_MAX + 1];
    wf_buf arguments;
    uint64_t end;
    wf_call_fn done;
    void *arg;
};

struct wf_uplink {
    wf_net *net; /* counted */
    enum uplink_state state;
    struct wf_link_config config; /* tls counted; pins and id point below */
    wf_id peer_id;
    pki_pin *pins;         /* owned */
    wf_address *addresses; /* owned */
    size_t address_count, address_next;
    const struct wf_uplink_handler *handler;
    void *arg;
    wf_link *link; /* NULL while DOWN */
    bool is_secured;
    unsigned backoff_max_ms; /* 0: as long as any uplink of the net */
    unsigned failures;       /* since the last success */
    uint64_t up_since;
    weft_err down; /* why the last attempt failed; WEFT_OK: none did since the link was up */
    wf_why down_why;
    wf_alarm retry;
    struct wf_soon soon; /* the attempt that is made at once, or the end */
    wf_node calls;       /* struct waiting_call */
    unsigned call_count;
};

static void attempt(wf_uplink *uplink);

static void move(wf_uplink *uplink, enum uplink_state to)
{
    assert((may_follow[uplink->state] & 1u << to) != 0);
    uplink->state = to;
}

/* ---- calls that wait for `up` */

static void call_finish(struct waiting_call *call, weft_err code, const char *reason)
{
    wf_call_fn done = call->done;
    void *arg = call->arg;

    wf_list_remove(&call->node);
    wf_alarm_cancel(&call->alarm);
    call->uplink->call_count--;
    wf_buf_wipe(&call->arguments);
    free(call);
    if (code != WEFT_OK)
        done(arg, code, reason, wf_span_of(NULL, 0));
}

static void on_call_overdue(wf_alarm *alarm, uint64_t now)
{
    struct waiting_call *call = wf_container_of(alarm, struct waiting_call, alarm);
    const wf_uplink *uplink = call->uplink;
    wf_why why = {""};
    (void)now;
    if (uplink->down == WEFT_OK)
        (void)wf_fail(&why, WEFT_ETIMEDOUT, "not connected in time");
    else
        (void)wf_fail(&why, uplink->down, "%s: %s",
                      uplink->down == WEFT_EREVOKED ? "not let in" : "not connected in time",
                      uplink->down_why.text);
    call_finish(call, uplink->down != WEFT_OK ? uplink->down : WEFT_ETIMEDOUT, why.text);
}

/* The link is up: the calls that waited go out. */
static void calls_go(wf_uplink *uplink)
{
    uint64_t now = wf_net_now();

    while (uplink->state == UPLINK_UP && !wf_list_is_empty(&uplink->calls)) {
        struct waiting_call *call = wf_container_of(uplink->calls.next, struct waiting_call, node);
        unsigned left = call->end > now ? (unsigned)(call->end - now) : 1;
        weft_err err = wf_link_call(uplink->link, call->operation,
                                    wf_span_of(call->arguments.data, call->arguments.len), left,
                                    call->done, call->arg);
        if (err == WEFT_EUNREACHABLE)
            return; /* lost meanwhile: they wait on */
        call_finish(call, err, weft_err_sentence((int)err));
    }
}

/* No later attempt will be let in: each call ends at once, from the loop. */
static void calls_hurry(wf_uplink *uplink)
{
    uint64_t now = wf_net_now();

    for (wf_node *n = uplink->calls.next; n != &uplink->calls; n = n->next)
        wf_alarm_set(uplink->net, &wf_container_of(n, struct waiting_call, node)->alarm, now);
}

static void calls_fail(wf_uplink *uplink, weft_err err, const char *reason)
{
    while (!wf_list_is_empty(&uplink->calls))
        call_finish(wf_container_of(uplink->calls.next, struct waiting_call, node), err, reason);
}

weft_err wf_uplink_call(wf_uplink *uplink, const char *operation, wf_span arguments,
                        unsigned timeout_ms, wf_call_fn done, void *arg)
{
    if (timeout_ms == 0)
        timeout_ms = uplink->net->times.call_ms;
    if (uplink->state == UPLINK_CLOSING)
        return WEFT_ECANCELED;
    if (uplink->state == UPLINK_UP && wf_link_is_up(uplink->link))
        return wf_link_call(uplink->link, operation, arguments, timeout_ms, done, arg);
    size_t len = strlen(operation);
    if (uplink->call_count >= WF_CALLS_PER_LINK || len > WF_NAME_MAX ||
        arguments.len > WF_CONTROL_MAX - 256u)
        return WEFT_ELIMIT;
    struct waiting_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return WEFT_ENOMEM;
    wf_buf_init(&call->arguments, WF_CONTROL_MAX);
    weft_err err = wf_buf_put(&call->arguments, arguments.data, arguments.len);
    if (err != WEFT_OK) {
        free(call);
        return err;
    }
    memcpy(call->operation, operation, len + 1);
    call->uplink = uplink;
    call->done = done;
    call->arg = arg;
    call->end = wf_net_now() + timeout_ms;
    call->alarm.ring = on_call_overdue;
    wf_list_push(&uplink->calls, &call->node);
    uplink->call_count++;
    wf_alarm_set(uplink->net, &call->alarm, call->end);
    return WEFT_OK;
}

/* ---- attempts */

/* How long to wait after the last failure. */
static uint64_t retry_delay(const wf_uplink *uplink)
{
    const struct wf_net_times *times = &uplink->net->times;
    if (uplink->failures <= uplink->address_count)
        return 0;
    unsigned rounds =
        (uplink->failures - (unsigned)uplink->address_count - 1) / (unsigned)uplink->address_count;
    uint64_t base = (uint64_t)times->backoff_min_ms * 2, max = times->backoff_max_ms;
    if (uplink->backoff_max_ms != 0 && uplink->backoff_max_ms < max)
        max = uplink->backoff_max_ms;
    for (unsigned i = 0; i < rounds && base < max; i++)
        base *= 2;
    if (base > max)
        base = max;
    /* Half of it, and up to another half by chance, so that a crowd comes back spread out. */
    wf_id chance = wf_id_random();
    uint32_t r;
    memcpy(&r, chance.b, sizeof r);
    return base / 2 + r % (base / 2 + 1);
}

static void schedule(wf_uplink *uplink, uint64_t delay)
{
    if (delay == 0)
        wf_net_soon(uplink->net, &uplink->soon);
    else
        wf_alarm_set(uplink->net, &uplink->retry, wf_net_now() + delay);
}

static void unschedule(wf_uplink *uplink)
{
    wf_list_remove(&uplink->soon.node);
    wf_alarm_cancel(&uplink->retry);
}

static void went_down(wf_uplink *uplink, weft_err err, const wf_why *why)
{
    uint64_t now = wf_net_now();
    if (uplink->state == UPLINK_UP && now >= uplink->up_since + uplink->net->times.settled_ms) {
        uplink->failures = 0;
        uplink->address_next =
            uplink->address_next == 0 ? uplink->address_count - 1 : uplink->address_next - 1;
    }
    uplink->failures++;
    uplink->down = err == WEFT_EEOF ? WEFT_EUNREACHABLE : err; /* a peer that left isn't there */
    (void)wf_fail(&uplink->down_why, err, "%s",
                  why != NULL && why->text[0] != '\0' ? why->text : weft_err_sentence((int)err));
    if (err == WEFT_EREVOKED)
        calls_hurry(uplink);
    uint64_t delay = retry_delay(uplink);
    move(uplink, UPLINK_DOWN);
    schedule(uplink, delay);
    if (uplink->handler->down != NULL)
        uplink->handler->down(uplink, uplink->arg, err, why, delay);
}

static void uplink_free(wf_uplink *uplink)
{
    wf_net *net = uplink->net;
    assert(uplink->link == NULL && wf_list_is_empty(&uplink->calls));
    unschedule(uplink);
    pki_tls_ctx_unref(uplink->config.tls);
    free(uplink->addresses);
    free(uplink->pins);
    free(uplink);
    wf_net_drop(net);
}

static void end(wf_uplink *uplink)
{
    calls_fail(uplink, WEFT_ECANCELED, "the uplink was closed");
    if (uplink->handler->closed != NULL)
        uplink->handler->closed(uplink, uplink->arg);
    uplink_free(uplink);
}

static void on_retry(wf_alarm *alarm, uint64_t now)
{
    (void)now;
    attempt(wf_container_of(alarm, wf_uplink, retry));
}

static void on_soon(struct wf_soon *soon)
{
    wf_uplink *uplink = wf_container_of(soon, wf_uplink, soon);
    if (uplink->state == UPLINK_CLOSING)
        end(uplink);
    else
        attempt(uplink);
}

/* ---- what the link reports */

static void on_link_secured(wf_link *link, void *arg)
{
    wf_uplink *uplink = arg;
    uplink->is_secured = true;
    if (uplink->state != UPLINK_CLOSING && uplink->handler->secured != NULL)
        uplink->handler->secured(uplink, uplink->arg, link);
}

static void on_link_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    wf_uplink *uplink = arg;
    if (uplink->state == UPLINK_CLOSING)
        return;
    move(uplink, UPLINK_UP);
    uplink->up_since = wf_net_now();
    uplink->down = WEFT_OK;
    if (uplink->handler->up != NULL)
        uplink->handler->up(uplink, uplink->arg, link, hello);
    calls_go(uplink);
}

static void on_link_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    wf_uplink *uplink = arg;
    (void)link;
    if (uplink->handler->control != NULL)
        uplink->handler->control(uplink, uplink->arg, message);
}

static void on_link_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    wf_uplink *uplink = arg;
    if (uplink->handler->frame != NULL)
        uplink->handler->frame(uplink, uplink->arg, frame);
    else
        wf_link_cut(link, WEFT_EPROTO, "a frame of a circuit on a link that carries none");
}

static void on_link_drained(wf_link *link, void *arg)
{
    wf_uplink *uplink = arg;
    (void)link;
    if (uplink->handler->drained != NULL)
        uplink->handler->drained(uplink, uplink->arg);
}

static void on_link_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    wf_uplink *uplink = arg;
    assert(uplink->link == link);
    (void)link;
    uplink->link = NULL;
    uplink->is_secured = false;
    if (uplink->state == UPLINK_CLOSING)
        end(uplink);
    else
        went_down(uplink, err, why);
}

static const struct wf_link_handler link_handler = {
    .secured = on_link_secured,
    .up = on_link_up,
    .control = on_link_control,
    .frame = on_link_frame,
    .drained = on_link_drained,
    .closed = on_link_closed,
};

static void attempt(wf_uplink *uplink)
{
    const wf_address *address = &uplink->addresses[uplink->address_next % uplink->address_count];

    assert(uplink->state == UPLINK_DOWN && uplink->link == NULL);
    unschedule(uplink);
    uplink->address_next = (uplink->address_next + 1) % uplink->address_count;
    weft_err err = wf_link_dial(uplink->net, address, &uplink->config, &uplink->link);
    if (err != WEFT_OK) {
        wf_why why = {""};
        uplink->link = NULL;
        (void)wf_fail(&why, err, "%s: %s", address->host, weft_err_sentence((int)err));
        /* Not the network's fault, so not worth a storm: always with back-off. */
        uplink->failures += (unsigned)uplink->address_count;
        went_down(uplink, err, &why);
        return;
    }
    move(uplink, UPLINK_TRYING);
}

/* ---- the caller's side */

static weft_err copy_addresses(const wf_address *addresses, size_t count, wf_address **out)
{
    wf_address *copy = calloc(count, sizeof *copy);
    if (copy == NULL)
        return WEFT_ENOMEM;
    memcpy(copy, addresses, count * sizeof *copy);
    *out = copy;
    return WEFT_OK;
}

weft_err wf_uplink_open(wf_net *net, const struct wf_uplink_config *config, wf_uplink **out)
{
    assert(config->handler != NULL && config->link.tls != NULL);
    if (config->address_count == 0 || config->address_count > WF_ADDRESSES_MAX)
        return WEFT_EINVAL;
    wf_uplink *uplink = calloc(1, sizeof *uplink);
    if (uplink == NULL)
        return WEFT_ENOMEM;
    uplink->net = net;
    uplink->backoff_max_ms = config->backoff_max_ms;
    uplink->config = config->link;
    uplink->config.handler = &link_handler;
    uplink->config.arg = uplink;
    uplink->handler = config->handler;
    uplink->arg = config->arg;
    uplink->retry.ring = on_retry;
    uplink->soon.run = on_soon;
    wf_list_init(&uplink->calls);
    if (config->link.peer_id != NULL) {
        uplink->peer_id = *config->link.peer_id;
        uplink->config.peer_id = &uplink->peer_id;
    }
    if (config->link.peer_pin_count > 0) {
        size_t size = config->link.peer_pin_count * sizeof *uplink->pins;
        uplink->pins = malloc(size);
        if (uplink->pins == NULL)
            goto fail;
        memcpy(uplink->pins, config->link.peer_pins, size);
        uplink->config.peer_pins = uplink->pins;
    }
    if (copy_addresses(config->addresses, config->address_count, &uplink->addresses) != WEFT_OK)
        goto fail;
    uplink->address_count = config->address_count;
    uplink->config.tls = pki_tls_ctx_ref(config->link.tls);
    wf_net_hold(net);
    schedule(uplink, 0);
    *out = uplink;
    return WEFT_OK;
fail:
    free(uplink->pins);
    free(uplink);
    return WEFT_ENOMEM;
}

void wf_uplink_set_addresses(wf_uplink *uplink, const wf_address *addresses, size_t count)
{
    wf_address *copy;
    if (count == 0 || count > WF_ADDRESSES_MAX)
        return;
    if (count == uplink->address_count &&
        memcmp(addresses, uplink->addresses, count * sizeof *addresses) == 0)
        return;
    if (copy_addresses(addresses, count, &copy) != WEFT_OK)
        return; /* the old ones stay */
    free(uplink->addresses);
    uplink->addresses = copy;
    uplink->address_count = count;
    uplink->address_next = 0;
}

void wf_uplink_set_pins(wf_uplink *uplink, const pki_pin *pins, size_t count)
{
    if (count == 0) /* would let in any key */
        return;
    pki_pin *copy = malloc(count * sizeof *copy);
    if (copy == NULL)
        return;
    memcpy(copy, pins, count * sizeof *copy);
    free(uplink->pins); /* an attempt that is under way has its own copy */
    uplink->pins = copy;
    uplink->config.peer_pins = copy;
    uplink->config.peer_pin_count = count;
}

wf_link *wf_uplink_link(const wf_uplink *uplink)
{
    return uplink->is_secured && wf_link_is_secured(uplink->link) ? uplink->link : NULL;
}

bool wf_uplink_is_up(const wf_uplink *uplink)
{
    return uplink->state == UPLINK_UP && wf_link_is_up(uplink->link);
}

void wf_uplink_retry_now(wf_uplink *uplink)
{
    uplink->failures = 0;
    if (uplink->state == UPLINK_DOWN) {
        unschedule(uplink);
        schedule(uplink, 0);
    }
}

void wf_uplink_close(wf_uplink *uplink)
{
    if (uplink->state == UPLINK_CLOSING)
        return;
    unschedule(uplink);
    move(uplink, UPLINK_CLOSING);
    if (uplink->link != NULL)
        wf_link_close(uplink->link);
    else
        wf_net_soon(uplink->net, &uplink->soon);
}
