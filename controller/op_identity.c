/* identity.*: docs/operations.md. */
#include "controller/ca.h"
#include "controller/node.h"
#include "controller/rights.h"
#include "controller/view.h"
#include <jansson.h>
#include <string.h>

weft_err op_identity_create(struct call *call, struct args *args)
{
    struct store_node node = {.kind = PKI_IDENTITY};
    json_t *token = NULL, *object;
    char enroll[16], ca_name[WF_NAME_MAX + 1];
    struct store_ca ca;
    uint64_t life = 0, leaf_life = 0;
    weft_err err = args_name(args, "name", true, node.name);

    if (err == WEFT_OK)
        err = args_attributes(args, "roles", &node.roles);
    if (err == WEFT_OK)
        err = args_text(args, "enroll", false, enroll, sizeof enroll);
    if (err == WEFT_OK)
        err = args_name(args, "ca", false, ca_name);
    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", NODE_TOKEN_LIFE_S, 1, NODE_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = node_args_life(args, &leaf_life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    node.enroll = PKI_ENROLL_OTT;
    if (strcmp(enroll, "ottca") == 0)
        node.enroll = PKI_ENROLL_OTTCA;
    else if (enroll[0] != '\0' && strcmp(enroll, "ott") != 0)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "an identity is created to enroll by 'ott' or 'ottca', not by '%s'%s",
                       enroll,
                       strcmp(enroll, "ca") == 0 || strcmp(enroll, "oidc") == 0
                           ? ": such ones make themselves (weft ca add --auto, weft oidc add)"
                           : "");
    if ((node.enroll == PKI_ENROLL_OTTCA) != (ca_name[0] != '\0'))
        return wf_fail(
            &call->why, WEFT_EINVAL,
            node.enroll == PKI_ENROLL_OTTCA
                ? "enroll 'ottca' needs 'ca': the name of a verified authority (weft ca list)"
                : "'ca' is there for enroll 'ottca' alone: say that too, or leave 'ca'");
    wf_fail(&call->what, WEFT_OK, "%s", node.name);
    if (node.enroll == PKI_ENROLL_OTTCA)
        err = ca_find_verified(call, ca_name, &ca);
    if (err == WEFT_OK)
        err = node_create(call, &node, life, &token);
    if (err == WEFT_OK && leaf_life != 0)
        err = node_set_life(call, &node, leaf_life);
    if (err == WEFT_OK && node.enroll == PKI_ENROLL_OTTCA) {
        const struct store_federated row = {.node = node.id, .authority = ca.id};

        err = store_federated_put(call->c->home.store, &row);
    }
    if (err != WEFT_OK) {
        json_decref(token);
        return err;
    }
    object = view_identity(&node);
    if (object == NULL)
        json_decref(token);
    else
        json_object_set_new(object, "token", token);
    return view_answer(call, object);
}

static weft_err add_row(void *arg, const struct store_node *node)
{
    return view_list_add(arg, node->name, view_identity(node));
}

weft_err op_identity_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(
        &list, store_node_each(call->c->home.store, PKI_IDENTITY, after, add_row, &list));
}

weft_err op_identity_show(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_IDENTITY, &node);

    return err == WEFT_OK ? view_answer(call, view_identity(&node)) : err;
}

/* Somebody must be left who can administer. */
static weft_err is_not_last_admin(struct call *call, const struct store_node *node)
{
    store *s = call->c->home.store;
    unsigned rights = 0;
    uint64_t able = 0;
    weft_err err = store_admin_get(s, &node->id, &rights);

    if (err == WEFT_OK || err == WEFT_ENOTFOUND)
        err = store_admin_count_able(s, &able);
    if (err == WEFT_OK && (rights & RIGHTS_FULL) != 0 && !node->disabled && able <= 1)
        err = wf_fail(&call->why, WEFT_ECONFLICT,
                      "'%s' is the last administrator with full rights; add another one first "
                      "(weft admin add)",
                      node->name);
    return err;
}

weft_err op_identity_update(struct call *call, struct args *args)
{
    store *s = call->c->home.store;
    struct store_node node;
    struct store_roles roles;
    char new_name[WF_NAME_MAX + 1];
    uint64_t leaf_life = 0;
    bool has_roles;
    weft_err err = node_find(call, args, PKI_IDENTITY, &node);

    if (err != WEFT_OK)
        return err;
    has_roles = args_has(args, "roles");
    err = args_attributes(args, "roles", &roles);
    if (err == WEFT_OK)
        err = args_name(args, "new_name", false, new_name);
    if (err == WEFT_OK)
        err = node_args_life(args, &leaf_life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    if (!has_roles && new_name[0] == '\0' && leaf_life == 0)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "nothing to change: give 'roles', 'life_s' or 'new_name'");
    if (new_name[0] != '\0' && strcmp(new_name, node.name) != 0) {
        err = node_name_is_free(call, PKI_IDENTITY, new_name);
        if (err == WEFT_OK && node.enrolled && node.expires > call->now)
            err = store_name_retire(s, PKI_IDENTITY, node.name, node.expires);
        memcpy(node.name, new_name, sizeof node.name);
    }
    if (has_roles)
        node.roles = roles;
    if (err == WEFT_OK)
        err = store_node_put(s, &node);
    if (err == WEFT_OK && leaf_life != 0)
        err = node_set_life(call, &node, leaf_life);
    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_IDENTITY, &node.id);
    if (err == WEFT_OK && has_roles)
        err = floors_withdraw(&call->c->home, &call->c->catalog, &call->c->turn,
                              (struct floors_scope){.identity = &node.id}, call->now,
                              &call->withdrawn);
    if (err == WEFT_OK && has_roles)
        err = call_note(call, EFFECT_GRANTS, PKI_IDENTITY, &node.id);
    if (err != WEFT_OK)
        return call_fail(call, err, "identity", node.name);
    return view_answer(call, view_identity(&node));
}

weft_err op_identity_disable(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_IDENTITY, &node);

    if (err == WEFT_OK)
        err = is_not_last_admin(call, &node);
    if (err == WEFT_OK)
        err = node_disable(call, &node);
    return err == WEFT_OK ? view_answer(call, view_identity(&node)) : err;
}

weft_err op_identity_enable(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_IDENTITY, &node);

    if (err == WEFT_OK)
        err = node_enable(call, &node);
    return err == WEFT_OK ? view_answer(call, view_identity(&node)) : err;
}

weft_err op_identity_delete(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_IDENTITY, &node);

    if (err == WEFT_OK)
        err = is_not_last_admin(call, &node);
    if (err == WEFT_OK)
        err = node_delete(call, &node);
    return err == WEFT_OK ? view_answer(call, view_identity(&node)) : err;
}

weft_err op_identity_reissue(struct call *call, struct args *args)
{
    struct store_node node;
    json_t *token = NULL, *object;
    uint64_t life = 0;
    weft_err err = node_find(call, args, PKI_IDENTITY, &node);

    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", NODE_TOKEN_LIFE_S, 1, NODE_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = node_token(call, &node, life, &token);
    if (err != WEFT_OK)
        return err;
    object = view_identity(&node);
    if (object == NULL)
        json_decref(token);
    else
        json_object_set_new(object, "token", token);
    return view_answer(call, object);
}
