/*
 * Happy path: a SETUP comes from an edge -> its grant admits it -> the nearest
 * terminator is chosen -> the SETUP goes on to the host's edge, or over other
 * routers with the path, the grant and the dialer's chain in it -> the last
 * router checks the grant once more and hands it to its own edge.
 *
 * Failure modes, each answered at once and never tried again here:
 * - no grant that fits, revoked, outside of its hours: WEFT_EREFUSED and nothing
 *   more; expired: WEFT_EEXPIRED; the rule goes to the log;
 * - not from an address that the grant is for: WEFT_EREFUSED, and which;
 * - nobody is bound: WEFT_ENOHOST; a router on the path isn't linked any more:
 *   WEFT_EUNREACHABLE;
 * - too many circuits, or too much that waits for the link: WEFT_ELIMIT, WEFT_EBUSY.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/admission.h"
#include "router/inside.h"
#include <string.h>

uint32_t dial_distance(void *arg, const wf_id *id)
{
    struct router *router = arg;

    if (members_find(&router->members, router->trust, id, wf_now_wall_ms()) == NULL)
        return UINT32_MAX;
    return paths_distance(router->paths, id);
}

static uint32_t only_here(void *arg, const wf_id *id)
{
    (void)arg;
    (void)id;
    return UINT32_MAX;
}

/* The terminator that a circuit goes to, if it is still there. */
static struct terminator *host_of(struct router *router, const struct circuit *circuit)
{
    struct bind_key key = {.service = circuit->service,
                           .subject = circuit->host,
                           .instance = circuit->instance,
                           .router = circuit->host_router};

    return binds_find(&router->binds, &key);
}

void dial_ended(void *arg, const struct circuit *circuit)
{
    struct router *router = arg;
    struct terminator *terminator;

    if (wf_id_is_zero(&circuit->host_router))
        return;
    terminator = host_of(router, circuit);
    if (terminator != NULL && terminator->circuits > 0)
        terminator->circuits--;
}

void dial_host_missing(void *arg, const struct circuit *circuit)
{
    struct router *router = arg;
    struct terminator *terminator;

    if (wf_id_is_zero(&circuit->host_router))
        return;
    terminator = host_of(router, circuit);
    if (terminator != NULL && terminator->wire == NULL)
        binds_remove(&router->binds, terminator);
}

static void refuse(struct router *router, struct wire *wire, wf_link *link, uint32_t label,
                   weft_err code, const char *reason, const wf_why *why)
{
    struct router_counters *counters = &router->counters;

    counters->dials_refused[code]++;
    switch (code) {
    case WEFT_EREFUSED:
        counters->setups_refused_policy++;
        break;
    case WEFT_EEXPIRED:
        counters->setups_refused_expired++;
        break;
    case WEFT_ENOHOST:
        counters->setups_refused_no_host++;
        break;
    case WEFT_EUNREACHABLE:
        counters->setups_refused_no_path++;
        break;
    default:
        counters->setups_refused_limit++;
    }
    if (router_may_log(router)) {
        const struct pki_subject *who = wf_link_peer(link);

        wf_log_info("dial refused: %s (%s): %s", who->name, wf_link_remote(link),
                    why != NULL && why->text[0] != '\0' ? why->text : reason);
    }
    circuit_refuse(wire, label, code, reason);
}

/* What goes on of a SETUP, whoever it goes to. */
static void carry_on(const Weft__Wire__Setup *setup, Weft__Wire__Setup *onward)
{
    weft__wire__setup__init(onward);
    onward->service_id = setup->service_id;
    onward->session = setup->session;
    onward->window = setup->window;
    onward->first = setup->first;
    onward->resume = setup->resume;
    onward->grant = setup->grant;
}

static void go(struct router *router, struct wire *in, wf_link *link,
               const Weft__Wire__Setup *setup, struct wire *out, const struct circuit_about *about,
               Weft__Wire__Setup *onward)
{
    struct terminator *terminator;
    struct bind_key key;
    wf_why why = {""};
    weft_err err;

    err = circuit_setup(&router->circuits, in, setup->label, out, about, onward, &why);
    if (err != WEFT_OK) {
        refuse(router, in, link, setup->label, err, weft_err_sentence((int)err), &why);
        return;
    }
    if (wf_id_is_zero(&about->host_router))
        return;
    key = (struct bind_key){.service = wf_pb_get_id(setup->service_id),
                            .subject = about->host,
                            .instance = about->instance,
                            .router = about->host_router};
    terminator = binds_find(&router->binds, &key);
    if (terminator != NULL)
        terminator->circuits++;
}

static void to_host(struct router *router, struct wire *in, wf_link *link,
                    const Weft__Wire__Setup *setup, const struct terminator *terminator,
                    struct circuit_about *about)
{
    Weft__Wire__Setup onward;

    carry_on(setup, &onward);
    onward.instance = wf_pb_id(&terminator->bind.instance);
    go(router, in, link, setup, terminator->wire, about, &onward);
}

static void to_router(struct edge *edge, const Weft__Wire__Setup *setup,
                      const struct terminator *terminator, struct circuit_about *about)
{
    struct router *router = edge->router;
    const pki_chain *chain = wf_link_peer_chain(edge->link);
    ProtobufCBinaryData ids[WF_PATH_MAX], certs[WF_CHAIN_DEPTH];
    wf_id path[WF_PATH_MAX];
    size_t hops = paths_find(router->paths, &terminator->bind.router, path);
    struct peer *next = hops == 0 ? NULL : peer_find(router, &path[0]);
    Weft__Wire__Setup onward;

    if (next == NULL) {
        refuse(router, &edge->wire, edge->link, setup->label, WEFT_EUNREACHABLE,
               "no path to the host's router", NULL);
        return;
    }
    carry_on(setup, &onward);
    onward.instance = wf_pb_id(&terminator->bind.instance);
    onward.n_path = hops - 1;
    onward.path = ids;
    for (size_t i = 1; i < hops; i++)
        ids[i - 1] = wf_pb_id(&path[i]);
    onward.n_chain =
        pki_chain_count(chain) < WF_CHAIN_DEPTH ? pki_chain_count(chain) : WF_CHAIN_DEPTH;
    onward.chain = certs;
    for (size_t i = 0; i < onward.n_chain; i++) {
        wf_span der = pki_chain_der(chain, i);

        certs[i] = wf_pb_bytes(der.data, der.len);
    }
    go(router, &edge->wire, edge->link, setup, &next->wire, about, &onward);
}

/* The terminator that a SETUP wants, or NULL and the dialer knows. */
static struct terminator *choose(struct router *router, struct wire *in, wf_link *link,
                                 const Weft__Wire__Setup *setup, const char *service_name,
                                 uint32_t (*distance)(void *arg, const wf_id *router))
{
    wf_id service = wf_pb_get_id(setup->service_id), instance;
    struct terminator *terminator;
    wf_why why;

    if (setup->instance.len > 0)
        instance = wf_pb_get_id(setup->instance);
    terminator = binds_choose(&router->binds, &service, setup->instance.len > 0 ? &instance : NULL,
                              wf_now_wall_ms(), distance, router);
    if (terminator == NULL) {
        wf_fail(&why, WEFT_ENOHOST, "no host is bound to %s%s within reach", service_name,
                setup->instance.len > 0 ? " with the instance asked for" : "");
        refuse(router, in, link, setup->label, WEFT_ENOHOST, weft_err_sentence((int)WEFT_ENOHOST),
               &why);
    }
    return terminator;
}

/* When the first of both grants' hours end; the sweep comes by then. */
static uint64_t open_until(struct router *router, const struct pki_grant *dial,
                           const struct pki_grant *bind)
{
    uint64_t now = wf_now_wall_ms();
    uint64_t dials = pki_terms_closes(&dial->terms, now),
             binds = pki_terms_closes(&bind->terms, now);
    uint64_t until = dials < binds ? dials : binds;

    if (until != UINT64_MAX)
        router_sweep_by(router, until);
    return until;
}

void dial_from_edge(struct edge *edge, Weft__Wire__Setup *setup)
{
    struct router *router = edge->router;
    const struct pki_subject *dialer = wf_link_peer(edge->link);
    struct circuit_about about = {.is_first = true};
    struct terminator *terminator;
    struct pki_grant grant;
    wf_why why = {""};
    weft_err err;

    if (!router_is_running(router)) {
        refuse(router, &edge->wire, edge->link, setup->label, WEFT_EBUSY,
               "the router is going down", NULL);
        return;
    }
    err = admission_check(router->trust, setup, dialer, wf_now_wall_ms(), &grant, &why);
    if (err != WEFT_OK) {
        err = admission_answer(err);
        refuse(router, &edge->wire, edge->link, setup->label, err, admission_sentence(err), &why);
        return;
    }
    /* Only here is the dialer's address known: the routers behind us see ours. The grant is its
     * own, so it may hear the rule. */
    err = pki_terms_check_source(&grant.terms, wf_link_remote(edge->link), &why);
    if (err != WEFT_OK) {
        refuse(router, &edge->wire, edge->link, setup->label, err, why.text, &why);
        return;
    }
    terminator = choose(router, &edge->wire, edge->link, setup, grant.service_name, dial_distance);
    if (terminator == NULL)
        return;
    about.instance = terminator->bind.instance;
    about.dialer = dialer->id;
    about.host = terminator->host.id;
    about.host_router = terminator->bind.router;
    about.dial_epoch = grant.epoch;
    about.bind_epoch = terminator->bind.grant.epoch;
    about.until = open_until(router, &grant, &terminator->bind.grant);
    if (terminator->wire != NULL)
        to_host(router, &edge->wire, edge->link, setup, terminator, &about);
    else
        to_router(edge, setup, terminator, &about);
}

/* We are on the way: pass it to the next router. The ends check. */
static void pass_on(struct peer *peer, Weft__Wire__Setup *setup)
{
    struct router *router = peer->router;
    wf_id next_id = wf_pb_get_id(setup->path[0]);
    struct peer *next = peer_find(router, &next_id);
    struct circuit_about about = {0};
    Weft__Wire__Setup onward = *setup;

    if (next == NULL || next == peer) {
        refuse(router, &peer->wire, peer_link(peer), setup->label, WEFT_EUNREACHABLE,
               "no link to the next router of the path", NULL);
        return;
    }
    onward.path = setup->path + 1;
    onward.n_path = setup->n_path - 1;
    go(router, &peer->wire, peer_link(peer), setup, &next->wire, &about, &onward);
}

void dial_from_peer(struct peer *peer, Weft__Wire__Setup *setup)
{
    struct router *router = peer->router;
    wf_link *link = peer_link(peer);
    struct circuit_about about = {0};
    struct terminator *terminator;
    struct pki_subject dialer;
    struct pki_grant grant;
    wf_why why = {""};
    weft_err err;

    if (!router_is_running(router)) {
        refuse(router, &peer->wire, link, setup->label, WEFT_EBUSY, "the router is going down",
               NULL);
        return;
    }
    if (setup->n_path > 0) {
        pass_on(peer, setup);
        return;
    }
    err = admission_check_far(router->trust, setup, wf_now_wall_ms(), &dialer, &grant, &why);
    if (err != WEFT_OK) {
        err = admission_answer(err);
        refuse(router, &peer->wire, link, setup->label, err, admission_sentence(err), &why);
        return;
    }
    terminator = choose(router, &peer->wire, link, setup, grant.service_name, only_here);
    if (terminator == NULL)
        return;
    about.instance = terminator->bind.instance;
    about.dialer = dialer.id;
    about.dialer_pin = &dialer.pin;
    about.host = terminator->host.id;
    about.host_router = terminator->bind.router;
    about.dial_epoch = grant.epoch;
    about.bind_epoch = terminator->bind.grant.epoch;
    about.until = open_until(router, &grant, &terminator->bind.grant);
    to_host(router, &peer->wire, link, setup, terminator, &about);
}
