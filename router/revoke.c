/*
 * Happy path: a signed set of floors comes, from the controller, a router or an
 * edge -> trust applies it -> it is kept and sent on to everyone else, once ->
 * every link, terminator and circuit is looked at again, and what it withdraws
 * is closed, all in the same turn of the loop.
 *
 * Failure modes:
 * - not signed by a policy key: whoever sent it is cut;
 * - known already: nothing happens, so floods end;
 * - a gap: the sender is asked for what lies between.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"

#define ASK_AGAIN_MS 5000u

/* ---- taking and flooding */

static void send_floors(wf_link *link, const Weft__Wire__Control *message, const wf_link *except)
{
    if (link != NULL && link != except)
        wf_link_send_control(link, message);
}

static void flood(struct router *router, Weft__Wire__Signed *set, const wf_link *from)
{
    Weft__Wire__Floors floors = WEFT__WIRE__FLOORS__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    floors.n_sets = 1;
    floors.sets = &set;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
    control.floors = &floors;
    for (wf_node *n = router->circuits.wires.next; n != &router->circuits.wires; n = n->next)
        send_floors(wf_container_of(n, struct wire, node)->link, &control, from);
}

static void ask(struct router *router, wf_link *from)
{
    Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    uint64_t now = wf_now_mono_ms();

    wanted.have = pki_floors_version(pki_trust_floors(router->trust));
    /* Who can't help with one answer won't with the next. */
    if (from == NULL || (router->asked_at != 0 && router->asked_have == wanted.have &&
                         now - router->asked_at < ASK_AGAIN_MS))
        return;
    router->asked_have = wanted.have;
    router->asked_at = now;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted;
    wf_link_send_control(from, &control);
}

weft_err revoke_take(struct router *router, Weft__Wire__Signed *const *sets, size_t count,
                     wf_link *from, wf_why *why)
{
    uint64_t now = wf_now_wall_ms();
    weft_err err = WEFT_OK;
    bool any = false;

    for (size_t i = 0; i < count && err == WEFT_OK; i++) {
        bool changed = false;

        err = pki_trust_apply_floors(router->trust, sets[i], now, &changed, why);
        if (err != WEFT_OK || !changed)
            continue;
        any = true;
        router->counters.floors_applied++;
        if (floor_log_add(&router->floors, sets[i]) != WEFT_OK)
            wf_log_error("out of memory: a set of revocations can't be handed on after a restart");
        flood(router, sets[i], from);
    }
    if (err == WEFT_ECONFLICT) {
        ask(router, from);
        err = WEFT_OK;
    } else if (err != WEFT_OK) {
        router->counters.floors_refused++;
    }
    if (any) {
        router_set_dirty(router, DIRTY_FLOORS);
        revoke_check_all(router);
    }
    return err;
}

/* ---- looking again */

static void check_edges(struct router *router, uint64_t now)
{
    for (wf_node *n = router->edges.next; n != &router->edges; n = n->next) {
        struct edge *edge = wf_container_of(n, struct edge, node);
        const struct pki_subject *who = wf_link_peer(edge->link);
        wf_why why = {""};
        weft_err err = pki_trust_check_again(router->trust, who, now, &why);

        if (err == WEFT_OK) {
            router_sweep_by(router, who->not_after);
            continue;
        }
        router->counters.edges_cut++;
        wf_log_info("edge cut: %s (%s): %s", who->name, wf_link_remote(edge->link), why.text);
        wf_link_cut(edge->link, err, why.text); /* its `closed` comes later */
    }
}

static void check_peers(struct router *router, uint64_t now)
{
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);
        wf_link *link = peer_link(peer);
        const struct pki_subject *who = link == NULL ? NULL : wf_link_peer(link);
        wf_why why = {""};
        weft_err err;

        if (who == NULL)
            continue;
        err = pki_trust_check_again(router->trust, who, now, &why);
        if (err == WEFT_OK && peer->is_up &&
            members_find(&router->members, router->trust, &peer->id, now) == NULL)
            err = wf_fail(&why, WEFT_EREVOKED, "its member record holds no more");
        if (err == WEFT_OK) {
            router_sweep_by(router, who->not_after);
            continue;
        }
        router->counters.routers_cut++;
        wf_log_warn("router cut: %s (%s): %s", who->name, wf_link_remote(link), why.text);
        peer_cut(router, peer, err, why.text);
    }
}

struct look {
    struct router *router;
    const pki_floors *floors;
    uint64_t now;
};

static void check_bind(void *arg, struct terminator *terminator)
{
    const struct look *look = arg;
    struct router *router = look->router;
    const struct pki_bind *bind = &terminator->bind;
    bool stands =
        bind->expiry > look->now && pki_terms_is_open(&bind->grant.terms, look->now) &&
        pki_trust_check_again(router->trust, &terminator->host, look->now, NULL) == WEFT_OK &&
        bind->grant.epoch >= pki_floors_for_grant(look->floors, &bind->subject, &bind->service,
                                                  WEFT__WIRE__ROLE__ROLE_BIND) &&
        !pki_floors_is_cut(look->floors, PKI_ROUTER, &bind->router, NULL);

    if (stands) {
        router_sweep_by(router, bind_ends(bind));
        return;
    }
    wf_log_info("bind ended: %s by %s", bind->grant.service_name, terminator->host.name);
    edge_unbind(router, terminator);
}

static void check_circuit(void *arg, struct circuit *circuit)
{
    const struct look *look = arg;
    struct router *router = look->router;
    const pki_floors *floors = look->floors;

    if (wf_id_is_zero(&circuit->dialer))
        return; /* we only pass it on */
    if (circuit->dial_epoch >= pki_floors_for_grant(floors, &circuit->dialer, &circuit->service,
                                                    WEFT__WIRE__ROLE__ROLE_DIAL) &&
        circuit->bind_epoch >= pki_floors_for_grant(floors, &circuit->host, &circuit->service,
                                                    WEFT__WIRE__ROLE__ROLE_BIND) &&
        !pki_floors_is_cut(floors, PKI_IDENTITY, &circuit->dialer, circuit->dialer_pin) &&
        !pki_floors_is_cut(floors, PKI_IDENTITY, &circuit->host, NULL)) {
        if (look->now < circuit->until) {
            if (circuit->until != UINT64_MAX)
                router_sweep_by(router, circuit->until);
            return;
        }
        router->counters.closed_revoked++;
        circuit_close(&router->circuits, circuit, WEFT_EREFUSED);
        return;
    }
    router->counters.closed_revoked++;
    circuit_close(&router->circuits, circuit, WEFT_EREVOKED);
}

void revoke_check_all(struct router *router)
{
    struct look look = {
        .router = router, .floors = pki_trust_floors(router->trust), .now = wf_now_wall_ms()};

    if (members_prune(&router->members, router->trust, look.now)) {
        router_set_dirty(router, DIRTY_MEMBERS);
        router_after_members(router);
    }
    link_states_prune(router);
    circuits_each(&router->circuits, check_circuit, &look);
    binds_each(&router->binds, check_bind, &look);
    check_edges(router, look.now);
    check_peers(router, look.now);
}

/* ---- the controller names sessions to end */

struct named {
    struct router *router;
    const Weft__Wire__Notice *notice;
};

static void cut_if_named(void *arg, struct circuit *circuit)
{
    const struct named *named = arg;

    for (size_t i = 0; i < named->notice->n_cut_sessions; i++) {
        wf_id id = wf_pb_get_id(named->notice->cut_sessions[i]);

        if (wf_id_equal(&id, &circuit->session)) {
            named->router->counters.closed_revoked++;
            circuit_close(&named->router->circuits, circuit, WEFT_ECANCELED);
            return;
        }
    }
}

void revoke_cut_sessions(struct router *router, const Weft__Wire__Notice *notice)
{
    struct named named = {.router = router, .notice = notice};

    if (notice->n_cut_sessions > 0)
        circuits_each(&router->circuits, cut_if_named, &named);
}
