/*
 * The trust bundle on its way to those who can't reach the controller: a link
 * whose Hello tells an older version gets ours, and all get a newer one when
 * it comes. Whoever takes it verifies it: it is signed by a root.
 */
#include "router/inside.h"

static Weft__Wire__Signed *own_bundle(const struct router *router)
{
    wf_span encoded = pki_trust_bundle(router->trust);
    Weft__Wire__Signed *bundle = NULL;

    return wf_signed_decode(encoded.data, encoded.len, &bundle, NULL) == WEFT_OK ? bundle : NULL;
}

static void send_bundle(wf_link *link, Weft__Wire__Signed *bundle)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    Weft__Wire__Notice notice = WEFT__WIRE__NOTICE__INIT;

    notice.bundle = bundle;
    control.of_case = WEFT__WIRE__CONTROL__OF_NOTICE;
    control.notice = &notice;
    wf_link_send_control(link, &control);
}

void router_level_bundle(struct router *router, wf_link *link, uint64_t theirs)
{
    Weft__Wire__Signed *bundle;

    /* 0: it comes from before versions were told, and takes no bundle from a router either. */
    if (theirs == 0 || theirs >= pki_trust_version(router->trust))
        return;
    bundle = own_bundle(router);
    if (bundle != NULL)
        send_bundle(link, bundle);
    wf_signed_free(bundle);
}

void router_flood_bundle(struct router *router)
{
    Weft__Wire__Signed *bundle = own_bundle(router);

    if (bundle == NULL)
        return;
    for (wf_node *n = router->edges.next; n != &router->edges; n = n->next) {
        struct edge *edge = wf_container_of(n, struct edge, node);

        if (wf_node_is_linked(&edge->wire.node))
            send_bundle(edge->link, bundle);
    }
    for (wf_node *n = router->peers.next; n != &router->peers; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->is_up)
            send_bundle(peer_link(peer), bundle);
    }
    wf_signed_free(bundle);
}
