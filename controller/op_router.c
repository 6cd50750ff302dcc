/* router.*: docs/operations.md. */
#include "controller/node.h"
#include "controller/view.h"
#include <jansson.h>
#include <string.h>

static weft_err with_token(struct call *call, const struct store_node *node, json_t *token)
{
    json_t *object = view_router(call->c, node);

    if (object == NULL)
        json_decref(token);
    else
        json_object_set_new(object, "token", token);
    return view_answer(call, object);
}

weft_err op_router_create(struct call *call, struct args *args)
{
    struct store_node node = {.kind = PKI_ROUTER};
    json_t *token = NULL;
    uint64_t life = 0, leaf_life = 0;
    weft_err err = args_name(args, "name", true, node.name);

    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", NODE_TOKEN_LIFE_S, 1, NODE_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = node_args_life(args, &leaf_life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    wf_fail(&call->what, WEFT_OK, "%s", node.name);
    err = node_create(call, &node, life, &token);
    if (err == WEFT_OK && leaf_life != 0)
        err = node_set_life(call, &node, leaf_life);
    if (err != WEFT_OK) {
        json_decref(token);
        return err;
    }
    return with_token(call, &node, token);
}

static weft_err add_row(void *arg, const struct store_node *node)
{
    struct view_list *list = arg;

    return view_list_add(list, node->name, view_router(list->call->c, node));
}

weft_err op_router_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&list,
                           store_node_each(call->c->home.store, PKI_ROUTER, after, add_row, &list));
}

weft_err op_router_show(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_ROUTER, &node);

    return err == WEFT_OK ? view_answer(call, view_router(call->c, &node)) : err;
}

weft_err op_router_disable(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_ROUTER, &node);

    if (err == WEFT_OK)
        err = node_disable(call, &node);
    return err == WEFT_OK ? view_answer(call, view_router(call->c, &node)) : err;
}

weft_err op_router_enable(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_ROUTER, &node);

    if (err == WEFT_OK)
        err = node_enable(call, &node);
    return err == WEFT_OK ? view_answer(call, view_router(call->c, &node)) : err;
}

weft_err op_router_delete(struct call *call, struct args *args)
{
    struct store_node node;
    weft_err err = node_find_only(call, args, PKI_ROUTER, &node);

    if (err == WEFT_OK)
        err = node_delete(call, &node);
    return err == WEFT_OK ? view_answer(call, view_router(call->c, &node)) : err;
}

weft_err op_router_reissue(struct call *call, struct args *args)
{
    struct store_node node;
    json_t *token = NULL;
    uint64_t life = 0;
    weft_err err = node_find(call, args, PKI_ROUTER, &node);

    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", NODE_TOKEN_LIFE_S, 1, NODE_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = node_token(call, &node, life, &token);
    return err == WEFT_OK ? with_token(call, &node, token) : err;
}
