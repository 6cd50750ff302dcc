/*
 * The routers of an endpoint: which it knows, to which it is connected.
 *
 * Happy path: a dial awaits a router; the first known one is tried, the next
 * WF_RACE_MS later beside it; the first that is ready serves all who wait.
 *
 * - An attempt fails: the next is tried at once.
 * - A router's record has expired or was revoked: it is passed over.
 * - All have failed: those who wait are told. The uplinks keep trying while
 *   somebody needs them, and wf_routers_tidy closes them later.
 * - A listener wants more than one: wf_routers_open_all.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include <assert.h>
#include <string.h>

static struct wf_route *route_of(weft_endpoint *e, const wf_edge *edge)
{
    for (size_t i = 0; i < WF_EDGES_MAX; i++)
        if (e->routers.routes[i].edge == edge)
            return &e->routers.routes[i];
    return NULL;
}

static struct wf_route *route_to(weft_endpoint *e, const wf_id *router)
{
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        struct wf_route *route = &e->routers.routes[i];
        if (route->edge != NULL && !route->is_closing &&
            wf_id_equal(&wf_edge_router(route->edge)->router, router))
            return route;
    }
    return NULL;
}

/* ---- those who wait */

static void tell_waiting(weft_endpoint *e, weft_err err, const char *why)
{
    wf_node told;
    wf_list_init(&told);
    while (!wf_list_is_empty(&e->routers.waiting)) {
        wf_node *n = e->routers.waiting.next;
        wf_list_remove(n);
        wf_list_push(&told, n);
    }
    e->routers.racing = false;
    wf_timer_stop(e->routers.race);
    while (!wf_list_is_empty(&told)) {
        struct wf_wait *wait = wf_container_of(told.next, struct wf_wait, node);
        wf_list_remove(&wait->node);
        wait->done(wait, err, why);
    }
}

void wf_wait_cancel(struct wf_wait *wait)
{
    wf_list_remove(&wait->node);
}

/* ---- edges */

static void on_ready(void *arg, wf_edge *edge)
{
    weft_endpoint *e = arg;
    struct wf_route *route = route_of(e, edge);
    route->failed = false;
    route->key_number = e->key_number;
    tell_waiting(e, WEFT_OK, NULL);
    wf_listeners_edge_ready(e, edge);
}

static void on_up(void *arg, wf_edge *edge, const Weft__Wire__Hello *hello)
{
    weft_endpoint *e = arg;
    wf_link *link = wf_edge_link(edge);
    route_of(e, edge)->is_up = true;
    wf_endpoint_event(e, WEFT_EVENT_ROUTER_UP, WEFT_OK, wf_edge_router(edge)->name);
    if (hello->member != NULL)
        wf_endpoint_take_router(e, hello->member);
    wf_witness_take(e, hello->checkpoint, false);
    uint64_t have = pki_floors_version(pki_trust_floors(e->trust));
    if (hello->floors_version > have && link != NULL) {
        Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
        Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
        wanted.have = have;
        message.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
        message.floors_wanted = &wanted;
        (void)wf_link_send_control(link, &message);
    }
}

static void race_on(weft_endpoint *e);

static void on_down(void *arg, wf_edge *edge, weft_err err, const wf_why *why, uint64_t retry_ms)
{
    weft_endpoint *e = arg;
    (void)retry_ms;
    struct wf_route *route = route_of(e, edge);
    wf_why *last = &e->routers.last_why;
    (void)wf_fail(last, err, "router %s: %s", wf_edge_router(edge)->name,
                  why != NULL && why->text[0] != '\0' ? why->text : weft_err_sentence(err));
    bool was_failed = route->failed;
    route->failed = true;
    if (route->is_up || !was_failed)
        wf_log_info("%s", last->text);
    if (route->is_up) {
        route->is_up = false;
        wf_endpoint_event(e, WEFT_EVENT_ROUTER_DOWN, err, last->text);
    }
    wf_listeners_edge_lost(e, edge, last->text);
    if (e->routers.racing)
        race_on(e);
}

static void on_control(void *arg, wf_edge *edge, Weft__Wire__Control *message)
{
    weft_endpoint *e = arg;
    wf_link *link = wf_edge_link(edge);
    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_BIND_REPLY:
        wf_listeners_bind_reply(e, edge, message->bind_reply);
        break;
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        for (size_t i = 0; i < message->floors->n_sets; i++)
            wf_endpoint_take_floors(e, message->floors->sets[i], link);
        break;
    case WEFT__WIRE__CONTROL__OF_NOTICE:
        if (message->notice->bundle != NULL)
            wf_endpoint_take_bundle(e, message->notice->bundle);
        break;
    default:
        break; /* nothing that an endpoint awaits from a router; harmless */
    }
}

static void on_setup(void *arg, wf_edge *edge, wf_circuit *circuit, const Weft__Wire__Setup *setup)
{
    wf_listeners_setup(arg, edge, circuit, setup);
}

static void on_closed(void *arg, wf_edge *edge)
{
    weft_endpoint *e = arg;
    wf_listeners_edge_lost(e, edge, "the connection to the router was closed");
    *route_of(e, edge) = (struct wf_route){.edge = NULL};
    wf_endpoint_go_on_closing(e);
}

static const struct wf_edge_handler edge_handler = {
    .ready = on_ready,
    .up = on_up,
    .down = on_down,
    .setup = on_setup,
    .control = on_control,
    .closed = on_closed,
};

/* An edge to this router, opened if there is none; NULL if it can't be. */
static struct wf_route *open_route(weft_endpoint *e, const struct pki_member *member)
{
    struct wf_route *route = route_to(e, &member->router);
    if (route != NULL)
        return route;
    route = route_of(e, NULL);
    if (route == NULL)
        return NULL; /* enough */
    const struct wf_edge_config config = {
        .net = e->net,
        .tls = e->tls,
        .router = member,
        .self = e->identity.name,
        .hello = wf_endpoint_hello,
        .hello_arg = e,
        .frame = e->scratch->frame,
        .handler = &edge_handler,
        .arg = e,
    };
    wf_edge *edge;
    weft_err err = wf_edge_open(&config, &edge);
    if (err != WEFT_OK) {
        (void)wf_fail(&e->routers.last_why, err, "router %s: %s", member->name,
                      weft_err_sentence(err));
        return NULL;
    }
    *route = (struct wf_route){.edge = edge};
    wf_endpoint_watch(e);
    return route;
}

/* ---- the race */

/* Attempts that may still come to something, and edges that stand. */
static void count_routes(const weft_endpoint *e, unsigned *pending, unsigned *ready)
{
    *pending = *ready = 0;
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &e->routers.routes[i];
        if (route->edge == NULL || route->is_closing)
            continue;
        if (wf_edge_is_ready(route->edge))
            (*ready)++;
        else if (!route->failed)
            (*pending)++;
    }
}

static void race_on(weft_endpoint *e)
{
    struct wf_routers *r = &e->routers;
    size_t known = e->grants.router_count;
    uint64_t now = wf_now_wall_ms();
    while (r->race_tried < known) {
        const struct pki_member *member = &e->grants.routers[r->race_next % known].member;
        r->race_next++;
        r->race_tried++;
        if (!wf_grants_is_good_router(&e->grants, member, now)) {
            (void)wf_fail(&r->last_why, WEFT_EEXPIRED, "router %s: its record has expired",
                          member->name);
            continue;
        }
        struct wf_route *route = open_route(e, member);
        if (route == NULL || wf_edge_is_ready(route->edge))
            continue;
        if (route->failed) {
            route->failed = false;
            wf_edge_retry_now(route->edge);
        }
        wf_timer_start(r->race, WF_RACE_MS);
        return;
    }
    unsigned pending, ready;
    count_routes(e, &pending, &ready);
    if (pending > 0)
        return;
    wf_why why = {""};
    if (ready > 0) {
        tell_waiting(e, WEFT_OK, NULL);
        return;
    }
    if (known == 0)
        (void)wf_fail(&why, WEFT_EUNREACHABLE, "no router is known");
    else if (known == 1) /* "router r1: why" */
        (void)wf_fail(&why, WEFT_EUNREACHABLE, "router %s can't be reached%s",
                      e->grants.routers[0].member.name,
                      r->last_why.text + strcspn(r->last_why.text, ":"));
    else
        (void)wf_fail(&why, WEFT_EUNREACHABLE, "none of %zu routers could be reached; %s", known,
                      r->last_why.text);
    tell_waiting(e, WEFT_EUNREACHABLE, why.text);
}

static void on_race_timer(void *arg)
{
    weft_endpoint *e = arg;
    if (e->routers.racing)
        race_on(e);
}

weft_err wf_routers_init(weft_endpoint *e)
{
    wf_list_init(&e->routers.waiting);
    e->routers.race = wf_timer_new(&e->timers, on_race_timer, e);
    return e->routers.race != NULL ? WEFT_OK : WEFT_ENOMEM;
}

static bool is_among(const wf_id *id, const wf_id *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (wf_id_equal(id, &ids[i]))
            return true;
    return false;
}

wf_edge *wf_routers_ready(weft_endpoint *e, const wf_id *but, size_t count)
{
    const struct wf_route *best = NULL;
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &e->routers.routes[i];
        if (route->edge == NULL || route->is_closing || !wf_edge_is_ready(route->edge) ||
            is_among(&wf_edge_router(route->edge)->router, but, count))
            continue;
        /* One whose Hello came is known to work. */
        if (best == NULL || (route->is_up && !best->is_up))
            best = route;
    }
    return best != NULL ? best->edge : NULL;
}

void wf_routers_await(weft_endpoint *e, struct wf_wait *wait)
{
    struct wf_routers *r = &e->routers;
    wf_list_push(&r->waiting, &wait->node);
    if (r->racing)
        return;
    r->racing = true;
    r->race_tried = 0;
    r->race_next = 0;
    /* Later, because those who wait are never told from inside this call. */
    wf_timer_start(r->race, 0);
}

void wf_routers_open_all(weft_endpoint *e)
{
    uint64_t now = wf_now_wall_ms();
    size_t open = 0;
    for (size_t i = 0; i < e->grants.router_count && open < WF_BINDS_MAX; i++) {
        const struct pki_member *member = &e->grants.routers[i].member;
        if (wf_grants_is_good_router(&e->grants, member, now) && open_route(e, member) != NULL)
            open++;
    }
}

void wf_routers_look(weft_endpoint *e, uint64_t now)
{
    wf_why why = {""};
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &e->routers.routes[i];
        if (route->edge == NULL || route->is_closing || !wf_edge_is_ready(route->edge))
            continue;
        wf_link *link = wf_edge_link(route->edge);
        weft_err err = pki_trust_check_again(e->trust, wf_link_peer(link), now, &why);
        if (err != WEFT_OK)
            wf_edge_cut(route->edge, err, why.text);
    }
}

void wf_routers_tidy(weft_endpoint *e, uint64_t mono)
{
    bool needed = !wf_list_is_empty(&e->listeners) || e->routers.racing;
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        struct wf_route *route = &e->routers.routes[i];
        if (route->edge == NULL || route->is_closing)
            continue;
        if (needed || wf_edge_circuits(route->edge) > 0) {
            route->idle_since = 0;
        } else if (route->idle_since == 0) {
            route->idle_since = mono;
        } else if (mono - route->idle_since >= WF_IDLE_CLOSE_MS) {
            route->is_closing = true;
            wf_edge_close(route->edge);
        }
    }
}

void wf_routers_close(weft_endpoint *e)
{
    tell_waiting(e, WEFT_ECANCELED, "the endpoint is being closed");
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        struct wf_route *route = &e->routers.routes[i];
        if (route->edge != NULL && !route->is_closing) {
            route->is_closing = true;
            wf_edge_close(route->edge);
        }
    }
}

bool wf_routers_are_closed(const weft_endpoint *e)
{
    for (size_t i = 0; i < WF_EDGES_MAX; i++)
        if (e->routers.routes[i].edge != NULL)
            return false;
    return true;
}
