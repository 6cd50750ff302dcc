/* admin.*, session.*, status: docs/operations.md. */
#include "controller/rights.h"
#include "controller/view.h"
#include "proto/base/clock.h"
#include "proto/base/map.h"
#include "proto/base/secret.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static weft_err find(struct call *call, struct args *args, struct store_node *out)
{
    struct call_which which = {.by_id = false};
    weft_err err = args_name(args, "identity", true, which.name);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    err = store_node_find(call->c->home.store, PKI_IDENTITY, which.name, out);
    return call_found(call, err, "identity", &which, which.name);
}

/* Somebody must be left who may everything. */
static weft_err is_full_one_left(struct call *call, const struct store_node *node)
{
    uint64_t able = 0;
    weft_err err = store_admin_count_able(call->c->home.store, &able);

    if (err == WEFT_OK && able == 0)
        err = wf_fail(&call->why, WEFT_ECONFLICT,
                      "'%s' is the last administrator with full rights; add another one first "
                      "(weft admin add)",
                      node->name);
    return err;
}

weft_err op_admin_add(struct call *call, struct args *args)
{
    struct store_node node;
    unsigned rights = 0;
    char text[128];
    weft_err err = args_rights(args, "rights", &rights);

    if (err == WEFT_OK)
        err = find(call, args, &node);
    if (err != WEFT_OK)
        return err;
    rights_text(rights, text, sizeof text);
    wf_fail(&call->what, WEFT_OK, "%s: %s", node.name, text);
    err = store_admin_put(call->c->home.store, &node.id, rights);
    /* Whoever had it reissued before holds a token that would take over these rights. */
    if (err == WEFT_OK && node.enrolled)
        err = store_token_void(call->c->home.store, &node.id);
    if (err == WEFT_OK)
        err = is_full_one_left(call, &node);
    return err == WEFT_OK ? view_answer(call, view_admin(&node, rights)) : err;
}

static weft_err add_row(void *arg, const struct store_node *node)
{
    struct view_list *list = arg;
    unsigned rights = 0;
    weft_err err = store_admin_get(list->call->c->home.store, &node->id, &rights);

    return err == WEFT_OK ? view_list_add(list, node->name, view_admin(node, rights)) : err;
}

weft_err op_admin_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&list, store_admin_each(call->c->home.store, after, add_row, &list));
}

weft_err op_admin_remove(struct call *call, struct args *args)
{
    store *s = call->c->home.store;
    struct store_node node;
    unsigned rights = 0;
    weft_err err = find(call, args, &node);

    if (err == WEFT_OK)
        err = store_admin_get(s, &node.id, &rights);
    if (err == WEFT_ENOTFOUND && call->why.text[0] == '\0')
        return wf_fail(&call->why, err, "'%s' is no administrator", node.name);
    if (err == WEFT_OK)
        err = store_admin_remove(s, &node.id);
    if (err == WEFT_OK)
        err = is_full_one_left(call, &node);
    return err == WEFT_OK ? view_answer(call, view_admin(&node, rights)) : err;
}

/* ---- sessions */

static int by_id_routers_first(const void *a, const void *b)
{
    const struct session *x = a, *y = b;
    int order = wf_id_compare(&x->id, &y->id);

    if (order != 0)
        return order;
    return (y->reporter_kind == PKI_ROUTER) - (x->reporter_kind == PKI_ROUTER);
}

weft_err op_session_list(struct call *call, struct args *args)
{
    struct sessions *all = &call->c->sessions;
    struct session *sorted = NULL;
    struct view_list list;
    char after[WF_NAME_MAX + 1], text[WF_ID_TEXT];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    if (all->count > 0) {
        sorted = malloc(all->count * sizeof *sorted);
        if (sorted == NULL)
            return view_list_close(&list, WEFT_ENOMEM);
        memcpy(sorted, all->items, all->count * sizeof *sorted);
        qsort(sorted, all->count, sizeof *sorted, by_id_routers_first);
    }
    for (size_t i = 0; err == WEFT_OK && i < all->count; i++) {
        if (i > 0 && wf_id_equal(&sorted[i].id, &sorted[i - 1].id))
            continue; /* several report it: a router's word first */
        if (strcmp(wf_id_text(&sorted[i].id, text), after) <= 0)
            continue;
        err = view_list_add(&list, text, view_session(call->c, &sorted[i]));
    }
    free(sorted);
    return view_list_close(&list, err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err op_session_cut(struct call *call, struct args *args)
{
    const struct sessions *all = &call->c->sessions;
    const struct session *found = NULL;
    char text[WF_ID_TEXT];
    wf_id id;
    weft_err err = args_text(args, "id", true, text, sizeof text);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    if (!wf_id_parse(text, strlen(text), &id))
        return wf_fail(&call->why, WEFT_EINVAL, "argument 'id' must be 32 lower-case hex digits");
    wf_fail(&call->what, WEFT_OK, "%s", text);
    for (size_t i = 0; i < all->count && found == NULL; i++)
        if (wf_id_equal(&all->items[i].id, &id))
            found = &all->items[i];
    if (found == NULL)
        return call_fail(call, WEFT_ENOTFOUND, "session", text);
    err = call_note(call, EFFECT_SESSION, PKI_IDENTITY, &id);
    return err == WEFT_OK ? view_answer(call, view_session(call->c, found)) : err;
}

/* ---- login */

weft_err op_login(struct call *call, struct args *args)
{
    char secret[LOGIN_TEXT], end[24];
    uint64_t expires;
    json_t *object;
    weft_err err = args_end(args);

    if (err != WEFT_OK)
        return err;
    /* Or one that was stolen would live for ever. */
    if (call->by_login)
        return wf_fail(&call->why, WEFT_EREFUSED,
                       "a login makes no other; show the administrator's certificate instead");
    err = logins_add(&call->c->logins, call->subject, call->now, secret, &expires);
    if (err != WEFT_OK)
        return call_fail(call, err, "login", "");
    object = json_pack("{ss ss}", "token", secret, "expires", wf_time_text(expires, end));
    wf_wipe(secret, sizeof secret);
    return view_answer(call, object);
}

/* ---- status */

weft_err op_status(struct call *call, struct args *args)
{
    const struct controller *c = call->c;
    store *s = c->home.store;
    uint64_t identities = 0, services = 0, policies = 0, routers = 0;
    weft_err err = args_end(args);

    if (err == WEFT_OK)
        err = store_node_count(s, PKI_IDENTITY, &identities);
    if (err == WEFT_OK)
        err = store_service_count(s, &services);
    if (err == WEFT_OK)
        err = store_policy_count(s, &policies);
    if (err == WEFT_OK)
        err = store_node_count(s, PKI_ROUTER, &routers);
    if (err != WEFT_OK)
        return err;
    return view_answer(call, json_pack("{ss ss sI sI sI sI sI}", "version", WEFT_VERSION, "domain",
                                       c->home.domain, "identities", (json_int_t)identities,
                                       "services", (json_int_t)services, "policies",
                                       (json_int_t)policies, "routers", (json_int_t)routers,
                                       "uptime_s", (json_int_t)((call->now - c->started) / 1000)));
}
