#include "controller/change.h"
#include "controller/peer.h"
#include <stdlib.h>

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
    const struct policy_thing *thing;
    struct policy_roles roles;
    struct effect *effect;
    bool concerned;
    weft_err err = catalog_identity(&c->catalog, c->home.store, &peer->subject.id, &thing);

    if (err != WEFT_OK)
        return err == WEFT_ENOTFOUND ? WEFT_OK : err;
    if (n->policy != NULL) {
        roles = (struct policy_roles){n->policy->identities, n->policy->identity_count};
        concerned = policy_roles_match(&roles, n->policy->semantic, thing);
    } else {
        concerned = catalog_may(&c->catalog, thing, n->service, POLICY_DIAL, NULL) ||
                    catalog_may(&c->catalog, thing, n->service, POLICY_BIND, NULL);
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
    weft_err err = catalog_load(&call->c->catalog, call->c->home.store);

    return err == WEFT_OK ? peer_each_identity(call->c, notice_one, &n) : err;
}

/* ---- who gains by a policy: for a dry run */

#define GAINS_LOOKED_AT 2000000u /* pairs; more are only counted */

struct gaining {
    struct call *call;
    const struct store_policy *before; /* NULL: it is new */
    struct policy_rule was, is;
    const struct catalog_service **services; /* owned: that it fits now */
    size_t service_count, looked_at;
};

static struct policy_rule rule_of(const struct store_policy *policy)
{
    return (struct policy_rule){.type = policy->type,
                                .semantic = policy->semantic,
                                .identities = {policy->identities, policy->identity_count},
                                .services = {policy->services, policy->service_count}};
}

static weft_err gain_of_one(void *arg, const struct store_node *row)
{
    struct gaining *g = arg;
    struct call *call = g->call;
    struct policy_thing thing = catalog_thing(row);

    if (thing.disabled || !policy_roles_match(&g->is.identities, g->is.semantic, &thing))
        return WEFT_OK;
    if (g->looked_at + g->service_count > GAINS_LOOKED_AT) {
        call->gains += g->service_count;
        call->gains_are_fewer = true;
        return WEFT_OK;
    }
    g->looked_at += g->service_count;
    for (size_t i = 0; i < g->service_count; i++)
        if ((g->before == NULL ||
             !policy_rule_fits(&g->was, &thing, &g->services[i]->thing, g->is.type)) &&
            !catalog_may(&call->c->catalog, &thing, g->services[i], g->is.type, &g->is.id))
            call->gains++;
    return WEFT_OK;
}

/* The catalog holds `after` already. */
static weft_err count_gains(struct call *call, const struct store_policy *before,
                            const struct store_policy *after)
{
    const struct catalog *catalog = &call->c->catalog;
    struct gaining g = {.call = call, .before = before, .is = rule_of(after)};
    weft_err err;

    if (!call->dry_run)
        return WEFT_OK;
    err = catalog_load(&call->c->catalog, call->c->home.store);
    if (err != WEFT_OK)
        return err;
    g.is.id = after->id;
    if (before != NULL)
        g.was = rule_of(before);
    g.services = calloc(catalog->service_count + 1, sizeof *g.services);
    if (g.services == NULL)
        return WEFT_ENOMEM;
    for (size_t i = 0; i < catalog->service_count; i++)
        if (policy_roles_match(&g.is.services, g.is.semantic, &catalog->services[i]->thing))
            g.services[g.service_count++] = catalog->services[i];
    call->counts_gains = true;
    if (g.service_count > 0)
        err = store_node_each(call->c->home.store, PKI_IDENTITY, NULL, gain_of_one, &g);
    free(g.services);
    return err;
}

/* ---- policies */

static weft_err withdraw(struct call *call, const wf_id *policy)
{
    struct controller *c = call->c;

    return floors_withdraw(&c->home, &c->catalog, &c->turn, (struct floors_scope){.rule = policy},
                           call->now, &call->withdrawn);
}

weft_err change_policy_add(struct call *call, const struct store_policy *policy)
{
    weft_err err = store_policy_add(call->c->home.store, policy);

    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_POLICY, &policy->id);
    if (err == WEFT_OK)
        err = count_gains(call, NULL, policy);
    /* Policies only allow, so a new one withdraws nothing. */
    return err == WEFT_OK ? change_notice_policy(call, policy) : err;
}

weft_err change_policy_put(struct call *call, const struct store_policy *before,
                           const struct store_policy *after)
{
    weft_err err = store_policy_put(call->c->home.store, after);

    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_POLICY, &after->id);
    if (err == WEFT_OK)
        err = withdraw(call, &after->id);
    if (err == WEFT_OK)
        err = count_gains(call, before, after);
    if (err == WEFT_OK)
        err = change_notice_policy(call, before);
    return err == WEFT_OK ? change_notice_policy(call, after) : err;
}

weft_err change_policy_remove(struct call *call, const struct store_policy *policy)
{
    weft_err err = store_policy_remove(call->c->home.store, &policy->id);

    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_POLICY, &policy->id);
    if (err == WEFT_OK)
        err = withdraw(call, &policy->id);
    if (err == WEFT_OK && call->dry_run)
        call->counts_gains = true;
    return err == WEFT_OK ? change_notice_policy(call, policy) : err;
}
