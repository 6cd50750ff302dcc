#include "controller/node.h"
#include "controller/issue.h"
#include "controller/view.h"
#include "proto/base/clock.h"
#include <jansson.h>
#include <string.h>

const char *node_word(enum pki_kind kind)
{
    return kind == PKI_ROUTER ? "router" : "identity";
}

weft_err node_key_lives(store *s, const struct store_node *node, const pki_pin *pin, bool *out)
{
    struct store_key key;
    weft_err err = store_key_get(s, pin, &key);

    *out = err == WEFT_OK && node->enrolled && !key.dead && wf_id_equal(&key.subject, &node->id);
    return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

struct pins {
    pki_pin *pins;
    size_t count;
};

static weft_err take_pin(void *arg, const struct store_key *key)
{
    struct pins *p = arg;

    if (p->count == WF_PINS_MAX)
        return WEFT_EEOF;
    if (!pki_pin_equal(&key->pin, &p->pins[0]))
        p->pins[p->count++] = key->pin;
    return WEFT_OK;
}

weft_err node_pins(store *s, const wf_id *node, const pki_pin *first, uint64_t now,
                   pki_pin pins[WF_PINS_MAX], size_t *count)
{
    struct pins p = {pins, 1};
    weft_err err;

    pins[0] = *first;
    err = store_key_each(s, node, now, take_pin, &p);
    *count = p.count;
    return err;
}

weft_err node_find(struct call *call, struct args *args, enum pki_kind kind, struct store_node *out)
{
    store *s = call->c->home.store;
    struct call_which which;
    weft_err err = call_which(call, args, &which);

    if (err != WEFT_OK)
        return err;
    err = which.by_id ? store_node_get(s, kind, &which.id, out)
                      : store_node_find(s, kind, which.name, out);
    if (err == WEFT_OK)
        err = call_may_touch(call, out);
    return call_found(call, err, node_word(kind), &which, out->name);
}

weft_err node_find_only(struct call *call, struct args *args, enum pki_kind kind,
                        struct store_node *out)
{
    weft_err err = node_find(call, args, kind, out);

    return err == WEFT_OK ? args_end(args) : err;
}

weft_err node_name_is_free(struct call *call, enum pki_kind kind, const char *name)
{
    store *s = call->c->home.store;
    struct store_node other;
    bool retired = false;
    uint64_t until;
    weft_err err = store_node_find(s, kind, name, &other);

    if (err == WEFT_OK)
        return call_fail(call, WEFT_EEXIST, node_word(kind), name);
    if (err != WEFT_ENOTFOUND)
        return err;
    err = store_name_is_retired(s, kind, name, call->now, &until, &retired);
    if (err == WEFT_OK && retired) {
        char end[24];

        return wf_fail(&call->why, WEFT_EEXIST,
                       "a certificate named '%s' lives until %s; take another name until then",
                       name, wf_time_text(until, end));
    }
    return err;
}

weft_err node_token(struct call *call, const struct store_node *node, uint64_t token_life_s,
                    json_t **token)
{
    const struct home *home = &call->c->home;
    struct store_token row;
    wf_buf jwt;
    weft_err err;

    if (node->enroll == PKI_ENROLL_CA || node->enroll == PKI_ENROLL_OIDC)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "'%s' enrolls with a join token (weft %s token), which is no one's own",
                       node->name, node->enroll == PKI_ENROLL_CA ? "ca" : "oidc");
    err = store_token_void(home->store, &node->id);
    if (err != WEFT_OK)
        return err;
    wf_buf_init(&jwt, WF_TOKEN_MAX);
    err = issue_token(home, node, call->now, token_life_s * 1000, &row, &jwt);
    if (err == WEFT_OK)
        err = store_token_add(home->store, &row);
    if (err == WEFT_OK) {
        *token = json_stringn((const char *)jwt.data, jwt.len);
        err = *token == NULL ? WEFT_ENOMEM : WEFT_OK;
    }
    wf_buf_wipe(&jwt);
    return err;
}

weft_err node_args_life(struct args *args, uint64_t *out)
{
    return args_number(args, "life_s", 0, WF_LEAF_LIFE_MIN_MS / 1000, WF_LEAF_LIFE_MAX_MS / 1000,
                       out);
}

weft_err node_set_life(struct call *call, struct store_node *node, uint64_t life_s)
{
    struct store_follow row;
    weft_err err = store_follow_get(call->c->home.store, &node->id, &row);

    if (err != WEFT_OK)
        return err;
    row.life = node->life = life_s * 1000;
    return store_follow_put(call->c->home.store, &row);
}

weft_err node_create(struct call *call, struct store_node *node, uint64_t token_life_s,
                     json_t **token)
{
    weft_err err = node_name_is_free(call, node->kind, node->name);

    if (err != WEFT_OK)
        return err;
    node->id = wf_id_random();
    node->created = call->now;
    if (node->enroll == 0)
        node->enroll = PKI_ENROLL_OTT;
    err = store_node_add(call->c->home.store, node);
    if (err == WEFT_OK)
        err = node_token(call, node, token_life_s, token);
    return call_fail(call, err, node_word(node->kind), node->name);
}

static weft_err take_later(void *arg, const struct store_key *key)
{
    uint64_t *until = arg;

    if (key->not_after > *until)
        *until = key->not_after;
    return WEFT_OK;
}

/* The floor that refuses this node everywhere, if it has anything that could be refused. */
static weft_err cut(struct call *call, const struct store_node *node)
{
    struct store_floor floor = {
        .kind = node->kind == PKI_ROUTER ? STORE_FLOOR_ROUTER : STORE_FLOOR_IDENTITY, .cut = true};
    uint64_t grants = 0;
    weft_err err = WEFT_OK;

    if (node->kind == PKI_ROUTER)
        floor.router = node->id;
    else
        floor.identity = node->id;
    if (node->kind == PKI_IDENTITY)
        err = store_issued_end(call->c->home.store, &node->id, &grants);
    if (err != WEFT_OK || !node->enrolled)
        return err;
    floor.expires = node->expires; /* of the newest certificate: an older one may end later */
    err = store_key_each(call->c->home.store, &node->id, call->now, take_later, &floor.expires);
    if (err != WEFT_OK)
        return err;
    if (grants > floor.expires)
        floor.expires = grants;
    if (node->member_expires > floor.expires)
        floor.expires = node->member_expires;
    floor.expires += WF_CLOCK_TOLERANCE_MS;
    if (floor.expires > call->now)
        err = floors_raise(&call->c->home, &call->c->turn, &floor, 1, call->now);
    if (err == WEFT_OK)
        err = call_note(call, EFFECT_DROP, node->kind, &node->id);
    return err;
}

/* What memory holds, and what the cut withdraws, before a node is cut. */
static weft_err changing(struct call *call, const struct store_node *node)
{
    if (node->kind == PKI_IDENTITY)
        return floors_note_identity(&call->c->home, &call->c->catalog, &node->id, call->now,
                                    &call->withdrawn);
    call_touch(call);
    return WEFT_OK;
}

weft_err node_disable(struct call *call, struct store_node *node)
{
    store *s = call->c->home.store;
    weft_err err;

    if (node->disabled)
        return WEFT_OK;
    err = changing(call, node);
    if (err == WEFT_OK)
        err = cut(call, node);
    if (err == WEFT_OK && node->kind == PKI_IDENTITY)
        err = store_issued_forget(s, &node->id); /* the identity's floor covers them */
    node->disabled = true;
    if (err == WEFT_OK)
        err = store_node_put(s, node);
    if (err == WEFT_OK && node->kind == PKI_IDENTITY)
        err = call_changed(call, CATALOG_IDENTITY, &node->id);
    if (err == WEFT_OK && node->kind == PKI_ROUTER)
        err = call_note(call, EFFECT_MEMBERS, node->kind, &node->id);
    return err;
}

weft_err node_enable(struct call *call, struct store_node *node)
{
    const struct home *home = &call->c->home;
    struct store_floor floor = {.kind = node->kind == PKI_ROUTER ? STORE_FLOOR_ROUTER
                                                                 : STORE_FLOOR_IDENTITY};
    weft_err err;

    if (!node->disabled)
        return WEFT_OK;
    if (node->kind == PKI_ROUTER)
        call_touch(call);
    if (node->kind == PKI_ROUTER)
        floor.router = node->id;
    else
        floor.identity = node->id;
    err = store_floor_get(home->store, &floor);
    if (err == WEFT_OK) {
        /* The epoch stays: what was granted before the cut is dead for good. */
        floor.cut = false;
        err = floors_raise(home, &call->c->turn, &floor, 1, call->now);
    } else if (err == WEFT_ENOTFOUND) {
        err = WEFT_OK;
    }
    node->disabled = false;
    if (err == WEFT_OK)
        err = store_node_put(home->store, node);
    if (err == WEFT_OK && node->kind == PKI_IDENTITY)
        err = call_changed(call, CATALOG_IDENTITY, &node->id);
    if (err == WEFT_OK && node->kind == PKI_ROUTER && node->enrolled) {
        err = members_sign(home, node, call->now);
        if (err == WEFT_ECONFLICT)
            err = WEFT_OK; /* its certificate has ended: it comes back by reissue */
        if (err == WEFT_OK)
            err = call_note(call, EFFECT_MEMBERS, node->kind, &node->id);
    }
    return err;
}

weft_err node_delete(struct call *call, const struct store_node *node)
{
    store *s = call->c->home.store;
    weft_err err;

    err = changing(call, node);
    if (err == WEFT_OK)
        err = cut(call, node);
    if (err == WEFT_OK && node->enrolled && node->expires > call->now)
        err = store_name_retire(s, node->kind, node->name, node->expires);
    if (err == WEFT_OK)
        err = node->kind == PKI_IDENTITY
                  ? call_removing(call, CATALOG_IDENTITY, &node->id, store_node_remove)
                  : store_node_remove(s, &node->id);
    if (err == WEFT_OK && node->kind == PKI_ROUTER)
        err = call_note(call, EFFECT_MEMBERS, node->kind, &node->id);
    return err;
}
