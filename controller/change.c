#include "controller/change.h"
#include "controller/peer.h"

weft_err change_find_identity(void *arg, const char *name, wf_id *id)
{
    struct call *call = arg;
    struct store_node node;
    weft_err err = store_node_find(call->c->home.store, PKI_IDENTITY, name, &node);

    if (err == WEFT_OK)
        *id = node.id;
    return err;
}

weft_err change_find_service(void *arg, const char *name, wf_id *id)
{
    struct call *call = arg;
    struct store_service service;
    weft_err err = store_service_find(call->c->home.store, name, &service);

    if (err == WEFT_OK)
        *id = service.id;
    return err;
}

/* ---- notices */

struct noticing {
    struct call *call;
    const struct catalog_service *service; /* or */
    const struct store_policy *policy;
};

static weft_err notice_one(void *arg, struct peer *peer)
{
    struct noticing *n = arg;
    struct controller *c = n->call->c;
    struct policy_roles roles;
    struct policy_thing thing;
    struct store_node node;
    struct effect *effect;
    bool concerned;
    weft_err err = store_node_get(c->home.store, PKI_IDENTITY, &peer->subject.id, &node);

    if (err != WEFT_OK)
        return err == WEFT_ENOTFOUND ? WEFT_OK : err;
    thing = catalog_thing(&node);
    if (n->policy != NULL) {
        roles = (struct policy_roles){n->policy->identities, n->policy->identity_count};
        concerned = policy_roles_match(&roles, n->policy->semantic, &thing);
    } else {
        concerned = catalog_may(&c->catalog, &thing, n->service, POLICY_DIAL) ||
                    catalog_may(&c->catalog, &thing, n->service, POLICY_BIND);
    }
    if (!concerned)
        return WEFT_OK;
    effect = turn_add(&c->turn, EFFECT_GRANTS, 0);
    if (effect == NULL)
        return WEFT_ENOMEM;
    effect->peer = peer;
    return WEFT_OK;
}

weft_err change_notice_service(struct call *call, const wf_id *service)
{
    struct noticing n = {.call = call};
    weft_err err = catalog_load(&call->c->catalog, call->c->home.store);

    if (err != WEFT_OK)
        return err;
    n.service = catalog_get(&call->c->catalog, service);
    return n.service == NULL ? WEFT_OK : peer_each_identity(call->c, notice_one, &n);
}

weft_err change_notice_policy(struct call *call, const struct store_policy *policy)
{
    struct noticing n = {.call = call, .policy = policy};

    return peer_each_identity(call->c, notice_one, &n);
}

/* ---- policies */

static weft_err withdraw(struct call *call)
{
    struct controller *c = call->c;
    size_t withdrawn = 0;

    return floors_withdraw(&c->home, &c->catalog, &c->turn, NULL, NULL, call->now, &withdrawn);
}

weft_err change_policy_add(struct call *call, const struct store_policy *policy)
{
    weft_err err;

    call_touch(call);
    err = store_policy_add(call->c->home.store, policy);
    /* Policies only allow, so a new one withdraws nothing. */
    return err == WEFT_OK ? change_notice_policy(call, policy) : err;
}

weft_err change_policy_put(struct call *call, const struct store_policy *before,
                           const struct store_policy *after)
{
    weft_err err;

    call_touch(call);
    err = store_policy_put(call->c->home.store, after);
    if (err == WEFT_OK)
        err = withdraw(call);
    if (err == WEFT_OK)
        err = change_notice_policy(call, before);
    return err == WEFT_OK ? change_notice_policy(call, after) : err;
}

weft_err change_policy_remove(struct call *call, const struct store_policy *policy)
{
    weft_err err;

    call_touch(call);
    err = store_policy_remove(call->c->home.store, &policy->id);
    if (err == WEFT_OK)
        err = withdraw(call);
    return err == WEFT_OK ? change_notice_policy(call, policy) : err;
}
