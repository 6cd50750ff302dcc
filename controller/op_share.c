/* share: a service of one's own in one step. docs/operations.md. */
#include "controller/change.h"
#include "controller/node.h"
#include "controller/view.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX_MAX 7 /* "-dialer" */

static weft_err add_service(struct call *call, const char *name, struct store_service *service)
{
    weft_err err;

    *service = (struct store_service){
        .id = wf_id_random(), .created = call->now, .mode = STORE_MODE_STREAM};
    memcpy(service->name, name, strlen(name) + 1);
    err = store_service_add(call->c->home.store, service);
    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_SERVICE, &service->id);
    return call_fail(call, err, "service", name);
}

static weft_err add_side(struct call *call, const struct store_service *service, const char *word,
                         enum policy_type type, struct store_node *node, json_t **token)
{
    struct store_policy policy = {
        .id = wf_id_random(), .created = call->now, .type = type, .semantic = POLICY_ANY_OF};
    weft_err err;

    *node = (struct store_node){.kind = PKI_IDENTITY};
    snprintf(node->name, sizeof node->name, "%.*s-%s", WF_NAME_MAX - SUFFIX_MAX, service->name,
             word);
    err = node_create(call, node, NODE_TOKEN_LIFE_S, token);
    if (err != WEFT_OK)
        return err;
    snprintf(policy.name, sizeof policy.name, "%.*s-%s", WF_NAME_MAX - SUFFIX_MAX, service->name,
             policy_type_text(type));
    policy.identities[0] = (struct policy_role){.kind = POLICY_ROLE_ID, .id = node->id};
    policy.services[0] = (struct policy_role){.kind = POLICY_ROLE_ID, .id = service->id};
    policy.identity_count = policy.service_count = 1;
    return call_fail(call, change_policy_add(call, &policy), "policy", policy.name);
}

weft_err op_share(struct call *call, struct args *args)
{
    struct store_service service;
    struct store_node host, dialer;
    json_t *host_token = NULL, *dial_token = NULL;
    char name[WF_NAME_MAX + 1];
    weft_err err = args_name(args, "name", true, name);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    if (strlen(name) > WF_NAME_MAX - SUFFIX_MAX)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "'%s' is too long: %d characters leave room for '-dialer'", name,
                       WF_NAME_MAX - SUFFIX_MAX);
    wf_fail(&call->what, WEFT_OK, "%s", name);
    err = add_service(call, name, &service);
    if (err == WEFT_OK)
        err = add_side(call, &service, "host", POLICY_BIND, &host, &host_token);
    if (err == WEFT_OK)
        err = add_side(call, &service, "dialer", POLICY_DIAL, &dialer, &dial_token);
    if (err != WEFT_OK) {
        json_decref(host_token);
        json_decref(dial_token);
        return err;
    }
    return view_answer(call,
                       json_pack("{so so so so so}", "service", view_service(&service), "host",
                                 view_identity(&host), "dialer", view_identity(&dialer),
                                 "host_token", host_token, "dial_token", dial_token));
}
