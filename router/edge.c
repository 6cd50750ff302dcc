/*
 * Happy path: an identity's link is secured -> its Hello comes, it is up, each
 * side gets the floors it lacks -> it binds services and dials -> it goes, and
 * its terminators and circuits with it.
 *
 * Failure modes:
 * - a message that only a router or the controller may send: the link is cut;
 * - a bind that the host may not make: refused with one answer, logged here;
 * - more than WF_BINDS_PER_LINK binds: refused;
 * - more links of one identity than links_per_identity: the new one is cut;
 * - its certificate is cut or expires: revoke.c cuts the link.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/admission.h"
#include "router/inside.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static void edge_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct edge *edge = arg;
    struct router *router = edge->router;
    const struct pki_subject *who = wf_link_peer(link);

    circuits_wire_add(&router->circuits, &edge->wire, link, false);
    router->counters.edges++;
    wf_log_debug("edge up: %s (%s), %s", who->name, wf_link_remote(link), hello->agent);
    router_sweep_by(router, who->not_after);
    router_level_floors(router, link, hello->floors_version, false);
    router_level_bundle(router, link, hello->bundle_version);
}

/* ---- binds */

static void bind_reply(struct edge *edge, uint64_t request, weft_err code, const char *reason)
{
    Weft__Wire__BindReply reply;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    char text[WF_REASON_MAX];

    (void)snprintf(text, sizeof text, "%s", reason);
    weft__wire__bind_reply__init(&reply);
    reply.request = request;
    reply.code = (uint32_t)code;
    reply.reason = text;
    control.of_case = WEFT__WIRE__CONTROL__OF_BIND_REPLY;
    control.bind_reply = &reply;
    wf_link_send_control(edge->link, &control);
}

static weft_err bind_check(struct edge *edge, const Weft__Wire__Bind *message,
                           struct pki_bind *bind, struct pki_subject *host, wf_why *why)
{
    struct router *router = edge->router;
    weft_err err;

    err = pki_trust_check_bind(router->trust, message->bind, message->grant,
                               wf_link_peer_chain(edge->link), wf_now_wall_ms(), bind, host, why);
    if (err != WEFT_OK)
        return err;
    assert(wf_id_equal(&host->id, &wf_link_peer(edge->link)->id)); /* it is the link's own chain */
    if (!wf_id_equal(&bind->router, &router->identity.id))
        return wf_fail(why, WEFT_EREFUSED, "the bind is for another router");
    return WEFT_OK;
}

static void take_bind(struct edge *edge, const Weft__Wire__Bind *message)
{
    struct router *router = edge->router;
    const struct pki_subject *who = wf_link_peer(edge->link);
    struct terminator *terminator, *old;
    struct pki_subject host;
    struct pki_bind bind;
    struct bind_key key;
    bool learned = false, is_news;
    wf_why why = {""};
    weft_err err;

    if (!router_is_running(router)) {
        bind_reply(edge, message->request, WEFT_EBUSY, "the router is going down");
        return;
    }
    err = bind_check(edge, message, &bind, &host, &why);
    if (err != WEFT_OK) {
        router->counters.binds_refused++;
        if (router_may_log(router))
            wf_log_info("bind refused: %s (%s): %s", who->name, wf_link_remote(edge->link),
                        why.text);
        router->counters.hosts_refused[err]++;
        err = admission_answer(err);
        bind_reply(edge, message->request, err, admission_sentence(err));
        return;
    }
    err = pki_terms_check_source(&bind.grant.terms, wf_link_remote(edge->link), &why);
    if (err != WEFT_OK) { /* the grant is its own: it may hear the rule */
        router->counters.binds_refused++;
        if (router_may_log(router))
            wf_log_info("bind refused: %s: %s", who->name, why.text);
        router->counters.hosts_refused[err]++;
        bind_reply(edge, message->request, err, why.text);
        return;
    }
    key = bind_key(&bind);
    old = binds_find(&router->binds, &key);
    /* The others have heard the same already; saying it again would let one link busy them all. */
    is_news = old == NULL || bind.sequence > old->bind.sequence;
    if (edge->bind_count >= WF_BINDS_PER_LINK && (old == NULL || old->wire != &edge->wire)) {
        router->counters.binds_refused++;
        router->counters.hosts_refused[WEFT_ELIMIT]++;
        bind_reply(edge, message->request, WEFT_ELIMIT, "too many binds on this link");
        return;
    }
    if (old != NULL) /* its place in its edge's list goes with it if it is replaced */
        wf_container_of(old->wire, struct edge, wire)->bind_count--;
    err = binds_add(&router->binds, &bind, &host, message->bind, message->grant,
                    wf_link_peer_chain(edge->link), BIND_EDGE, &edge->wire, &terminator, &learned);
    if (old != NULL && !learned)
        wf_container_of(old->wire, struct edge, wire)->bind_count++;
    if (err != WEFT_OK || !learned) {
        router->counters.binds_refused++;
        router->counters.hosts_refused[err != WEFT_OK ? err : WEFT_ECONFLICT]++;
        bind_reply(edge, message->request, err != WEFT_OK ? err : WEFT_ECONFLICT,
                   err != WEFT_OK ? weft_err_sentence((int)err) : "a newer bind is there already");
        return;
    }
    wf_list_push(&edge->binds, &terminator->in_edge);
    edge->bind_count++;
    router->counters.binds_accepted++;
    router_sweep_by(router, bind_ends(&bind));
    wf_log_debug("bound: %s by %s", bind.grant.service_name, who->name);
    bind_reply(edge, message->request, WEFT_OK, "");
    if (is_news)
        peers_flood_bind(router, terminator, NULL);
}

void edge_unbind(struct router *router, struct terminator *terminator)
{
    struct bind_key key = bind_key(&terminator->bind);

    if (terminator->wire != NULL) {
        wf_container_of(terminator->wire, struct edge, wire)->bind_count--;
        peers_flood_unbind(router, &key, 1);
    }
    binds_remove(&router->binds, terminator);
}

static void take_unbind(struct edge *edge, const Weft__Wire__Unbind *message)
{
    wf_id instance = wf_pb_get_id(message->instance);

    /* Only its own; one that went by itself meanwhile is no breach. */
    for (wf_node *n = edge->binds.next, *next; n != &edge->binds; n = next) {
        struct terminator *terminator = wf_container_of(n, struct terminator, in_edge);

        next = n->next;
        if (wf_id_equal(&terminator->bind.instance, &instance))
            edge_unbind(edge->router, terminator);
    }
}

/* ---- what comes */

static void edge_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct edge *edge = arg;
    struct router *router = edge->router;
    wf_why why = {""};
    weft_err err;

    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_SETUP:
        dial_from_edge(edge, message->setup);
        return;
    case WEFT__WIRE__CONTROL__OF_SETUP_REPLY:
        circuits_take_reply(&router->circuits, &edge->wire, message->setup_reply);
        return;
    case WEFT__WIRE__CONTROL__OF_BIND:
        take_bind(edge, message->bind);
        return;
    case WEFT__WIRE__CONTROL__OF_UNBIND:
        take_unbind(edge, message->unbind);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        router_answer_floors(router, link, &edge->told, message->floors_wanted->have);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        err = revoke_take(router, message->floors->sets, message->floors->n_sets, link, &why);
        if (err != WEFT_OK)
            wf_link_cut(link, err, why.text);
        return;
    default:
        wf_link_cut(link, WEFT_EPROTO, "a message that an endpoint doesn't send");
    }
}

static void edge_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct edge *edge = arg;

    (void)link;
    circuits_take_frame(&edge->router->circuits, &edge->wire, frame);
}

static void edge_drained(wf_link *link, void *arg)
{
    struct edge *edge = arg;

    (void)link;
    circuits_drained(&edge->router->circuits, &edge->wire);
}

/* All binds of an edge that goes. */
static void drop_binds(struct edge *edge)
{
    struct bind_key keys[WF_TERMINATORS_MAX];
    size_t count = 0;

    while (!wf_list_is_empty(&edge->binds)) {
        struct terminator *terminator =
            wf_container_of(edge->binds.next, struct terminator, in_edge);

        keys[count++] = bind_key(&terminator->bind);
        binds_remove(&edge->router->binds, terminator);
        if (count == WF_TERMINATORS_MAX || wf_list_is_empty(&edge->binds)) {
            peers_flood_unbind(edge->router, keys, count);
            count = 0;
        }
    }
    edge->bind_count = 0;
}

static void edge_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct edge *edge = arg;
    struct router *router = edge->router;

    if (wf_node_is_linked(&edge->wire.node)) {
        const struct pki_subject *who = wf_link_peer(link);

        router->counters.edges--;
        if (err != WEFT_OK && err != WEFT_EEOF && router_may_log(router))
            wf_log_info("edge lost: %s (%s): %s", who->name, wf_link_remote(link), why->text);
        else
            wf_log_debug("edge down: %s (%s)", who->name, wf_link_remote(link));
    }
    drop_binds(edge);
    circuits_wire_lost(&router->circuits, &edge->wire);
    wf_list_remove(&edge->node);
    wf_quota_give(router->quotas, edge->quota, wf_now_mono_ms());
    free(edge);
    router_part_gone(router);
}

static const struct wf_link_handler edge_handler = {
    .up = edge_up,
    .control = edge_control,
    .frame = edge_frame,
    .drained = edge_drained,
    .closed = edge_closed,
};

const struct wf_link_handler *edge_accepted(struct router *router, wf_link *link, void **arg)
{
    const struct pki_subject *who = wf_link_peer(link);
    struct edge *edge = calloc(1, sizeof *edge);
    weft_err err = edge == NULL ? WEFT_ENOMEM
                                : wf_quota_take(router->quotas, who->id.b, sizeof who->id.b,
                                                router->links_per_identity, &edge->quota);

    if (err != WEFT_OK) {
        free(edge);
        router->counters.links_refused[err]++;
        wf_link_cut(link, err, err == WEFT_ELIMIT ? "too many links of this identity" : NULL);
        return NULL;
    }
    edge->router = router;
    edge->link = link;
    wf_list_init(&edge->binds);
    wf_list_push(&router->edges, &edge->node);
    *arg = edge;
    return &edge_handler;
}

void edges_close(struct router *router)
{
    for (wf_node *n = router->edges.next; n != &router->edges; n = n->next)
        wf_link_close(wf_container_of(n, struct edge, node)->link);
}
