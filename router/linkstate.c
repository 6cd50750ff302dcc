/*
 * Link states: each router signs who its neighbours are, and everyone passes
 * each on once. Whether a link counts is router/path.h's word.
 *
 * Failure modes: not signed by the router's own key, its certificate is cut, not
 * newer than the one known: not taken and not passed on. Our own, newer than we
 * are (we restarted with a clock behind): we go on above it. That a router is a
 * member is asked by its neighbours when it links, and when a path to it is
 * chosen: its record may come here later than its links do.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"
#include <stdlib.h>

struct link_state {
    wf_id router;
    Weft__Wire__Signed *record; /* owned */
    pki_chain *chain;           /* counted */
};

weft_err link_states_init(struct router *router)
{
    router->link_states = wf_map_new(PATH_ROUTERS_MAX);
    return router->link_states == NULL ? WEFT_ENOMEM : WEFT_OK;
}

static void link_state_free(struct link_state *state)
{
    wf_signed_free(state->record);
    pki_chain_free(state->chain);
    free(state);
}

void link_states_fini(struct router *router)
{
    size_t cursor = 0;
    struct link_state *state;

    if (router->link_states == NULL)
        return;
    while ((state = wf_map_next(router->link_states, &cursor)) != NULL)
        link_state_free(state);
    wf_map_free(router->link_states);
    router->link_states = NULL;
}

void link_states_prune(struct router *router)
{
    const pki_floors *floors = pki_trust_floors(router->trust);
    size_t cursor = 0;
    struct link_state *state;

    while ((state = wf_map_next(router->link_states, &cursor)) != NULL) {
        if (!pki_floors_is_cut(floors, PKI_ROUTER, &state->router, NULL))
            continue;
        wf_map_remove(router->link_states, state->router.b, sizeof state->router.b);
        paths_remove(router->paths, &state->router);
        link_state_free(state);
    }
}

/* Keeps what was verified, so that it can be sent to routers that come later. */
static weft_err keep(struct router *router, const wf_id *id, const Weft__Wire__Signed *record,
                     const pki_chain *chain)
{
    struct link_state *state = wf_map_find(router->link_states, id->b, sizeof id->b);
    Weft__Wire__Signed *copy = signed_dup(record);
    weft_err err = WEFT_ENOMEM;

    if (copy == NULL)
        return err;
    if (state == NULL) {
        state = calloc(1, sizeof *state);
        if (state != NULL) {
            state->router = *id;
            err = wf_map_add(router->link_states, id->b, sizeof id->b, state);
        }
        if (err != WEFT_OK) {
            free(state);
            wf_signed_free(copy);
            return err;
        }
    }
    wf_signed_free(state->record);
    pki_chain_free(state->chain);
    state->record = copy;
    state->chain = pki_chain_dup(chain);
    return WEFT_OK;
}

static void send_state(struct router *router, Weft__Wire__Signed *record, const pki_chain *chain,
                       wf_link *link, const struct peer *except)
{
    Weft__Wire__LinkState message = WEFT__WIRE__LINK_STATE__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];

    message.state = record;
    message.chain = certs;
    for (size_t i = 0; i < pki_chain_count(chain) && i < WF_CHAIN_DEPTH; i++) {
        wf_span der = pki_chain_der(chain, i);

        certs[message.n_chain++] = wf_pb_bytes(der.data, der.len);
    }
    control.of_case = WEFT__WIRE__CONTROL__OF_LINK_STATE;
    control.link_state = &message;
    if (link != NULL)
        wf_link_send_control(link, &control);
    else
        peers_flood(router, &control, except);
}

void link_states_send(struct router *router, wf_link *link)
{
    size_t cursor = 0;
    struct link_state *state;

    while ((state = wf_map_next(router->link_states, &cursor)) != NULL)
        send_state(router, state->record, state->chain, link, NULL);
}

/* ---- our own */

static weft_err sign_own(struct router *router, const wf_id *ids, size_t count,
                         Weft__Wire__Signed **out)
{
    Weft__Wire__LinkStateBody body = WEFT__WIRE__LINK_STATE_BODY__INIT;
    ProtobufCBinaryData *views = calloc(count + 1, sizeof *views);
    wf_buf encoded;
    weft_err err;

    if (views == NULL)
        return WEFT_ENOMEM;
    for (size_t i = 0; i < count; i++)
        views[i] = wf_pb_id(&ids[i]);
    body.router_id = wf_pb_id(&router->identity.id);
    body.sequence = router->sequence;
    body.n_neighbours = count;
    body.neighbours = views;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    err = pki_record_seal(router->identity.key, PKI_LABEL_LINKS, &body.base, &encoded);
    if (err == WEFT_OK)
        err = wf_signed_decode(encoded.data, encoded.len, out, NULL);
    wf_buf_fini(&encoded);
    free(views);
    return err;
}

void link_state_announce(struct router *router)
{
    Weft__Wire__Signed *record = NULL;
    uint64_t now = wf_now_wall_ms();
    wf_id *ids = calloc(PATH_NEIGHBOURS_MAX, sizeof *ids);
    size_t count = 0;
    bool changed;
    weft_err err = WEFT_ENOMEM;

    if (ids == NULL)
        goto out;
    for (wf_node *n = router->peers.next; n != &router->peers && count < PATH_NEIGHBOURS_MAX;
         n = n->next) {
        const struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->is_up)
            ids[count++] = peer->id;
    }
    router->sequence = now > router->sequence ? now : router->sequence + 1;
    err = sign_own(router, ids, count, &record);
    if (err == WEFT_OK)
        err =
            paths_set(router->paths, &router->identity.id, router->sequence, ids, count, &changed);
    if (err == WEFT_OK)
        err = keep(router, &router->identity.id, record, router->identity.chain);
    if (err == WEFT_OK)
        send_state(router, record, router->identity.chain, NULL, NULL);
out:
    if (err != WEFT_OK)
        wf_log_error("can't announce our links: %s", weft_err_sentence((int)err));
    wf_signed_free(record);
    free(ids);
}

/* ---- others' */

static weft_err verify(struct router *router, const Weft__Wire__LinkState *message,
                       pki_chain **chain, Weft__Wire__LinkStateBody **body, wf_why *why)
{
    uint64_t now = wf_now_wall_ms();
    wf_span certs[WF_CHAIN_DEPTH], key;
    struct pki_subject who;
    struct member *member;
    wf_id id;
    weft_err err;

    for (size_t i = 0; i < message->n_chain && i < WF_CHAIN_DEPTH; i++)
        certs[i] = wf_pb_span(message->chain[i]);
    err = pki_chain_from_der(certs, message->n_chain, chain, why);
    if (err != WEFT_OK)
        return err;
    err =
        pki_trust_check_chain(router->trust, *chain, PKI_ROUTER, PKI_CLIENT, false, now, &who, why);
    if (err != WEFT_OK)
        return err;
    key = pki_chain_spki(*chain);
    err = pki_record_verify(message->state, PKI_LABEL_LINKS, &key, 1, why);
    if (err == WEFT_OK)
        err = wf_link_state_body_decode(message->state->body.data, message->state->body.len, body,
                                        why);
    if (err != WEFT_OK)
        return err;
    id = wf_pb_get_id((*body)->router_id);
    if (!wf_id_equal(&id, &who.id))
        return wf_fail(why, WEFT_ECREDENTIAL, "it names another router than its signer");
    member = members_find(&router->members, router->trust, &id, now);
    if (member != NULL && !member_has_pin(member, &who.pin))
        return wf_fail(why, WEFT_EREFUSED, "its router is a member with another key");
    return WEFT_OK;
}

void link_state_take(struct router *router, struct peer *from, Weft__Wire__LinkState *message)
{
    Weft__Wire__LinkStateBody *body = NULL;
    pki_chain *chain = NULL;
    wf_id id, *ids = NULL;
    wf_why why = {""};
    bool changed = false;
    weft_err err;

    err = verify(router, message, &chain, &body, &why);
    if (err != WEFT_OK)
        goto out;
    id = wf_pb_get_id(body->router_id);
    if (wf_id_equal(&id, &router->identity.id)) {
        if (body->sequence > router->sequence) {
            router->sequence = body->sequence;
            link_state_announce(router);
        }
        goto out;
    }
    ids = calloc(body->n_neighbours + 1, sizeof *ids);
    if (ids == NULL) {
        err = WEFT_ENOMEM;
        goto out;
    }
    for (size_t i = 0; i < body->n_neighbours; i++)
        ids[i] = wf_pb_get_id(body->neighbours[i]);
    err = paths_set(router->paths, &id, body->sequence, ids, body->n_neighbours, &changed);
    if (err == WEFT_OK && changed)
        err = keep(router, &id, message->state, chain);
    if (err == WEFT_OK && changed)
        send_state(router, message->state, chain, NULL, from);
out:
    if (err != WEFT_OK)
        wf_log_debug("link state from router %s not taken: %s", wf_link_remote(peer_link(from)),
                     why.text);
    free(ids);
    wf_link_state_body_free(body);
    pki_chain_free(chain);
}
