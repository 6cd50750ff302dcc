/*
 * Links with other routers.
 *
 * Happy path: a member record tells where a router is -> of two routers the
 * one with the lower id dials -> both show their member records in the Hello
 * -> the link is up, is announced, and each side sends what it knows: floors,
 * link states, terminators -> news is flooded over it as it comes.
 *
 * Failure modes:
 * - no member record, one of another key, expired or revoked: the link is cut;
 * - the router dials again before we noticed that its old link is dead: the
 *   new link takes its place, circuits of the old one are lost;
 * - the link is lost: its circuits too; who dialed dials again.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"
#include <assert.h>
#include <stdlib.h>

#define TERMINATORS_MESSAGE_MAX (40u * 1024u)

wf_link *peer_link(const struct peer *peer)
{
    if (peer->is_up)
        return peer->wire.link;
    return peer->uplink != NULL ? wf_uplink_link(peer->uplink) : peer->link;
}

struct peer *peer_find(struct router *router, const wf_id *id)
{
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->is_up && wf_id_equal(&peer->id, id))
            return peer;
    }
    return NULL;
}

/* ---- flooding */

void peers_flood(struct router *router, const Weft__Wire__Control *message,
                 const struct peer *except)
{
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->is_up && peer != except)
            wf_link_send_control(peer_link(peer), message);
    }
}

/* A view of a terminator as a message; certs is the caller's. */
static void view(const struct terminator *terminator, Weft__Wire__Terminator *out,
                 ProtobufCBinaryData certs[WF_CHAIN_DEPTH])
{
    weft__wire__terminator__init(out);
    out->bind = terminator->record;
    out->grant = terminator->grant;
    out->chain = certs;
    for (size_t i = 0; i < pki_chain_count(terminator->chain) && i < WF_CHAIN_DEPTH; i++) {
        wf_span der = pki_chain_der(terminator->chain, i);

        certs[out->n_chain++] = wf_pb_bytes(der.data, der.len);
    }
}

static void send_terminators(struct router *router, Weft__Wire__Terminators *message, wf_link *link,
                             const struct peer *except)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    control.of_case = WEFT__WIRE__CONTROL__OF_TERMINATORS;
    control.terminators = message;
    if (link != NULL)
        wf_link_send_control(link, &control);
    else
        peers_flood(router, &control, except);
}

void peers_flood_bind(struct router *router, const struct terminator *terminator,
                      const struct peer *except)
{
    Weft__Wire__Terminators message = WEFT__WIRE__TERMINATORS__INIT;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    Weft__Wire__Terminator one, *list[] = {&one};

    view(terminator, &one, certs);
    message.n_add = 1;
    message.add = list;
    send_terminators(router, &message, NULL, except);
}

void peers_flood_unbind(struct router *router, const struct bind_key *keys, size_t count)
{
    Weft__Wire__Terminators message = WEFT__WIRE__TERMINATORS__INIT;
    Weft__Wire__Withdrawal views[WF_TERMINATORS_MAX], *list[WF_TERMINATORS_MAX];

    assert(count > 0 && count <= WF_TERMINATORS_MAX);
    for (size_t i = 0; i < count; i++) {
        weft__wire__withdrawal__init(&views[i]);
        views[i].service_id = wf_pb_id(&keys[i].service);
        views[i].subject = wf_pb_id(&keys[i].subject);
        views[i].instance = wf_pb_id(&keys[i].instance);
        list[i] = &views[i];
    }
    message.n_remove = count;
    message.remove = list;
    send_terminators(router, &message, NULL, NULL);
}

/* Collects terminators into messages of a fair size. */
struct bundle {
    struct router *router;
    wf_link *link;
    size_t count, bytes;
    Weft__Wire__Terminator views[WF_TERMINATORS_MAX];
    Weft__Wire__Terminator *list[WF_TERMINATORS_MAX];
    ProtobufCBinaryData certs[WF_TERMINATORS_MAX][WF_CHAIN_DEPTH];
};

static void bundle_send(struct bundle *bundle)
{
    Weft__Wire__Terminators message = WEFT__WIRE__TERMINATORS__INIT;

    if (bundle->count == 0)
        return;
    message.n_add = bundle->count;
    message.add = bundle->list;
    send_terminators(bundle->router, &message, bundle->link, NULL);
    bundle->count = bundle->bytes = 0;
}

static void bundle_add(void *arg, struct terminator *terminator)
{
    struct bundle *bundle = arg;
    size_t bytes = 512 + terminator->record->body.len + terminator->grant->body.len, i;

    for (i = 0; i < pki_chain_count(terminator->chain); i++)
        bytes += pki_chain_der(terminator->chain, i).len;
    if (bundle->count == WF_TERMINATORS_MAX ||
        (bundle->count > 0 && bundle->bytes + bytes > TERMINATORS_MESSAGE_MAX))
        bundle_send(bundle);
    i = bundle->count++;
    bundle->bytes += bytes;
    view(terminator, &bundle->views[i], bundle->certs[i]);
    bundle->list[i] = &bundle->views[i];
}

static void send_all_terminators(struct router *router, wf_link *link)
{
    struct bundle *bundle = calloc(1, sizeof *bundle);

    if (bundle == NULL) {
        wf_link_cut(link, WEFT_ENOMEM, NULL);
        return;
    }
    bundle->router = router;
    bundle->link = link;
    binds_each(&router->binds, bundle_add, bundle);
    bundle_send(bundle);
    free(bundle);
}

/*
 * ---- terminators that come. Whether the router that holds one is a member is
 * asked when it is chosen: its record may be known here only later.
 */

static void take_one(struct router *router, struct peer *from,
                     const Weft__Wire__Terminator *message)
{
    uint64_t now = wf_now_wall_ms();
    wf_span certs[WF_CHAIN_DEPTH];
    pki_chain *chain = NULL;
    struct terminator *terminator;
    struct pki_subject host;
    struct pki_bind bind;
    wf_why why = {""};
    bool learned;
    weft_err err;

    for (size_t i = 0; i < message->n_chain && i < WF_CHAIN_DEPTH; i++)
        certs[i] = wf_pb_span(message->chain[i]);
    err = pki_chain_from_der(certs, message->n_chain, &chain, &why);
    if (err == WEFT_OK)
        err = pki_trust_check_bind(router->trust, message->bind, message->grant, chain, now, &bind,
                                   &host, &why);
    if (err == WEFT_OK && wf_id_equal(&bind.router, &router->identity.id))
        err = wf_fail(&why, WEFT_EREFUSED, "it is bound here, or was");
    if (err == WEFT_OK)
        err = binds_add(&router->binds, &bind, &host, message->bind, message->grant, chain,
                        wf_id_equal(&bind.router, &from->id) ? BIND_HOLDER : BIND_OTHER, NULL,
                        &terminator, &learned);
    pki_chain_free(chain);
    if (err != WEFT_OK) {
        /* It may just have been withdrawn; a lie would look the same and does as little. */
        wf_log_debug("terminator from router %s not taken: %s", wf_link_remote(peer_link(from)),
                     why.text);
        return;
    }
    if (!learned)
        return;
    router_sweep_by(router, bind_ends(&bind));
    peers_flood_bind(router, terminator, from);
}

static void take_terminators(struct router *router, struct peer *from,
                             const Weft__Wire__Terminators *message)
{
    for (size_t i = 0; i < message->n_remove; i++) {
        /* Only from the router that holds it. Others notice when it refuses a dial. */
        struct bind_key key = {.service = wf_pb_get_id(message->remove[i]->service_id),
                               .subject = wf_pb_get_id(message->remove[i]->subject),
                               .instance = wf_pb_get_id(message->remove[i]->instance),
                               .router = from->id};
        struct terminator *terminator = binds_find(&router->binds, &key);

        if (terminator != NULL && terminator->wire == NULL)
            binds_remove(&router->binds, terminator);
    }
    for (size_t i = 0; i < message->n_add; i++)
        take_one(router, from, message->add[i]);
}

struct held {
    struct router *router;
    const wf_id *id;
};

static void drop_held(void *arg, struct terminator *terminator)
{
    struct held *held = arg;

    if (terminator->wire == NULL && wf_id_equal(&terminator->bind.router, held->id))
        binds_remove(&held->router->binds, terminator);
}

/* ---- life */

static void peer_down(struct peer *peer, weft_err err, const wf_why *why)
{
    struct router *router = peer->router;

    if (!peer->is_up)
        return;
    peer->is_up = false;
    router->counters.routers--;
    circuits_wire_lost(&router->circuits, &peer->wire);
    if (err != WEFT_OK)
        wf_log_info("router link lost: %s", why != NULL ? why->text : weft_err_sentence((int)err));
    if (router->state != ROUTER_CLOSING)
        link_state_announce(router);
}

void peer_cut(struct router *router, struct peer *peer, weft_err err, const char *reason)
{
    wf_link *link = peer_link(peer);
    wf_why why;

    (void)router;
    wf_fail(&why, err, "%s", reason);
    peer_down(peer, err, &why);
    if (link != NULL)
        wf_link_cut(link, err, reason);
}

/* The peer's member record, from its Hello or as known; its key must be the one the peer shows. */
static weft_err check_membership(struct router *router, wf_link *link,
                                 const Weft__Wire__Hello *hello, wf_why *why)
{
    const struct pki_subject *who = wf_link_peer(link);
    uint64_t now = wf_now_wall_ms();
    struct member *member = NULL;
    bool changed = false;
    weft_err err;

    if (hello->member != NULL) {
        err = members_learn(&router->members, router->trust, hello->member, now, &member, &changed,
                            why);
        if (err != WEFT_OK)
            return err;
        if (changed)
            router_set_dirty(router, DIRTY_MEMBERS);
    }
    member = members_find(&router->members, router->trust, &who->id, now);
    if (member == NULL)
        return wf_fail(why, WEFT_EREFUSED, "router %s shows no member record that holds",
                       who->name);
    if (!member_has_pin(member, &who->pin))
        return wf_fail(why, WEFT_ECREDENTIAL, "router %s has another key than its member record",
                       who->name);
    return WEFT_OK;
}

static void peer_up(struct peer *peer, wf_link *link, const Weft__Wire__Hello *hello)
{
    struct router *router = peer->router;
    struct held held = {.router = router, .id = &peer->id};
    struct peer *old;
    wf_why why = {""};
    weft_err err;

    err = check_membership(router, link, hello, &why);
    if (err != WEFT_OK) {
        if (router_may_log(router))
            wf_log_warn("router link with %s refused: %s", wf_link_remote(link), why.text);
        router->counters.links_refused[err]++;
        wf_link_cut(link, err, why.text);
        return;
    }
    old = peer_find(router, &peer->id);
    if (old != NULL)
        peer_cut(router, old, WEFT_ELOST, "the router linked again");
    peer->is_up = true;
    peer->told = (struct floors_told){0};
    router->counters.routers++;
    circuits_wire_add(&router->circuits, &peer->wire, link, true);
    wf_log_info("linked with router %s (%s)", wf_link_peer(link)->name, wf_link_remote(link));
    /* What it held before it came back it says anew, if it still does. */
    binds_each(&router->binds, drop_held, &held);
    router_level_floors(router, link, hello->floors_version, true);
    witness_take(router, hello->checkpoint, false);
    router_level_bundle(router, link, hello->bundle_version);
    link_state_announce(router);
    link_states_send(router, link);
    send_all_terminators(router, link);
    peers_dial(router);
}

static void peer_control(struct peer *peer, wf_link *link, Weft__Wire__Control *message)
{
    struct router *router = peer->router;
    wf_why why = {""};
    weft_err err;

    if (!peer->is_up)
        return; /* it was refused or replaced, and is going */
    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_SETUP:
        dial_from_peer(peer, message->setup);
        return;
    case WEFT__WIRE__CONTROL__OF_SETUP_REPLY:
        circuits_take_reply(&router->circuits, &peer->wire, message->setup_reply);
        return;
    case WEFT__WIRE__CONTROL__OF_TERMINATORS:
        take_terminators(router, peer, message->terminators);
        return;
    case WEFT__WIRE__CONTROL__OF_LINK_STATE:
        link_state_take(router, peer, message->link_state);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        router_answer_floors(router, link, &peer->told, message->floors_wanted->have);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        err = revoke_take(router, message->floors->sets, message->floors->n_sets, link, &why);
        if (err != WEFT_OK)
            peer_cut(router, peer, err, why.text);
        return;
    case WEFT__WIRE__CONTROL__OF_NOTICE: /* a newer bundle, and nothing else, is its to send */
        router_take_bundle(router, message->notice->bundle, "a router");
        return;
    default:
        peer_cut(router, peer, WEFT_EPROTO, "a message that a router doesn't send to another");
    }
}

/* ---- links that came to us */

static void accepted_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    peer_up(arg, link, hello);
}

static void accepted_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    peer_control(arg, link, message);
}

static void accepted_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct peer *peer = arg;

    (void)link;
    if (peer->is_up)
        circuits_take_frame(&peer->router->circuits, &peer->wire, frame);
}

static void accepted_drained(wf_link *link, void *arg)
{
    struct peer *peer = arg;

    (void)link;
    circuits_drained(&peer->router->circuits, &peer->wire);
}

static void peer_free(struct peer *peer)
{
    struct router *router = peer->router;

    assert(!peer->is_up);
    wf_list_remove(&peer->node);
    free(peer);
    router_part_gone(router);
}

static void accepted_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct peer *peer = arg;

    (void)link;
    peer_down(peer, err, why);
    peer_free(peer);
}

static const struct wf_link_handler accepted_handler = {
    .up = accepted_up,
    .control = accepted_control,
    .frame = accepted_frame,
    .drained = accepted_drained,
    .closed = accepted_closed,
};

static struct peer *peer_new(struct router *router, const wf_id *id)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer == NULL)
        return NULL;
    peer->router = router;
    peer->id = *id;
    wf_list_push(&router->peers, &peer->node);
    return peer;
}

const struct wf_link_handler *peer_accepted(struct router *router, wf_link *link, void **arg)
{
    const struct pki_subject *who = wf_link_peer(link);
    struct peer *peer;

    if (wf_id_compare(&who->id, &router->identity.id) >= 0) {
        if (router_may_log(router))
            wf_log_warn("router %s (%s) dialed us, though it is ours to dial: refused", who->name,
                        wf_link_remote(link));
        return NULL;
    }
    peer = peer_new(router, &who->id);
    if (peer == NULL)
        return NULL;
    peer->link = link;
    *arg = peer;
    return &accepted_handler;
}

/* ---- links that we dial */

static void dialed_up(wf_uplink *uplink, void *arg, wf_link *link, const Weft__Wire__Hello *hello)
{
    (void)uplink;
    peer_up(arg, link, hello);
}

static void dialed_control(wf_uplink *uplink, void *arg, Weft__Wire__Control *message)
{
    peer_control(arg, wf_uplink_link(uplink), message);
}

static void dialed_frame(wf_uplink *uplink, void *arg, struct wf_frame *frame)
{
    struct peer *peer = arg;

    (void)uplink;
    if (peer->is_up)
        circuits_take_frame(&peer->router->circuits, &peer->wire, frame);
}

static void dialed_drained(wf_uplink *uplink, void *arg)
{
    struct peer *peer = arg;

    (void)uplink;
    circuits_drained(&peer->router->circuits, &peer->wire);
}

static void dialed_down(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why,
                        uint64_t retry_ms)
{
    struct peer *peer = arg;

    (void)uplink;
    if (!peer->is_up && retry_ms == 0)
        wf_log_debug("router link not there yet, again at once: %s", why->text);
    else if (!peer->is_up)
        wf_log_debug("router link not there yet, again in %llu ms: %s",
                     (unsigned long long)retry_ms, why->text);
    peer_down(peer, err, why);
}

static void dialed_closed(wf_uplink *uplink, void *arg)
{
    struct peer *peer = arg;
    struct router *router = peer->router;
    bool is_running = router_is_running(router);

    (void)uplink;
    peer_down(peer, WEFT_OK, NULL);
    peer->uplink = NULL;
    peer_free(peer);
    if (is_running) /* it may be a member again */
        peers_dial(router);
}

static const struct wf_uplink_handler dialed_handler = {
    .up = dialed_up,
    .control = dialed_control,
    .frame = dialed_frame,
    .drained = dialed_drained,
    .down = dialed_down,
    .closed = dialed_closed,
};

static void dial_member(struct router *router, const struct member *member)
{
    struct wf_uplink_config config = {
        .link =
            {
                .tls = router->tls,
                .alpn = PKI_ALPN_LINK,
                .kinds = PKI_ROUTER,
                .peer_id = &member->info.router,
                .peer_pins = member->info.pins,
                .peer_pin_count = member->info.pin_count,
                .hello = router_hello,
                .hello_arg = router,
            },
        .addresses = member->info.addresses,
        .address_count = member->info.address_count,
        .handler = &dialed_handler,
    };
    struct peer *peer = peer_new(router, &member->info.router);
    weft_err err;

    if (peer == NULL)
        return;
    config.arg = peer;
    err = wf_uplink_open(router->net, &config, &peer->uplink);
    if (err != WEFT_OK) {
        wf_log_error("can't dial router %s: %s", member->info.name, weft_err_sentence((int)err));
        peer->uplink = NULL;
        wf_list_remove(&peer->node);
        free(peer);
    }
}

static struct peer *find_dialed(struct router *router, const wf_id *id)
{
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->uplink != NULL && wf_id_equal(&peer->id, id))
            return peer;
    }
    return NULL;
}

void peers_dial(struct router *router)
{
    uint64_t now = wf_now_wall_ms();
    size_t cursor = 0;
    struct member *member;

    if (!router_is_running(router))
        return;
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->uplink != NULL &&
            members_find(&router->members, router->trust, &peer->id, now) == NULL)
            wf_uplink_close(peer->uplink); /* no member any more */
    }
    while ((member = wf_map_next(router->members.by_id, &cursor)) != NULL) {
        const struct pki_member *info = &member->info;
        struct peer *peer;

        if (wf_id_compare(&info->router, &router->identity.id) <= 0 || info->address_count == 0 ||
            members_find(&router->members, router->trust, &info->router, now) == NULL)
            continue;
        peer = find_dialed(router, &info->router);
        if (peer == NULL) {
            dial_member(router, member);
            continue;
        }
        wf_uplink_set_addresses(peer->uplink, info->addresses, info->address_count);
        wf_uplink_set_pins(peer->uplink, info->pins, info->pin_count);
    }
}

void peers_close(struct router *router)
{
    for (wf_node *n = router->peers.next, *next; n != &router->peers; n = next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        next = n->next;
        if (peer->uplink != NULL)
            wf_uplink_close(peer->uplink);
        else
            wf_link_close(peer->link);
    }
}
