/* policy.*, allow, disallow, explain: docs/operations.md. */
#include "controller/change.h"
#include "controller/view.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static weft_err take_type(struct call *call, struct args *args, bool required,
                          enum policy_type *out)
{
    char text[16];
    weft_err err = args_text(args, "type", required, text, sizeof text);

    if (err == WEFT_OK && text[0] != '\0' && !policy_type_parse(text, out))
        err = wf_fail(&call->why, WEFT_EINVAL, "type '%s' is neither dial nor bind", text);
    return err;
}

static weft_err take_semantic(struct call *call, struct args *args, enum policy_semantic *out)
{
    char text[16];
    weft_err err = args_text(args, "semantic", false, text, sizeof text);

    if (err == WEFT_OK && text[0] != '\0' && !policy_semantic_parse(text, out))
        err = wf_fail(&call->why, WEFT_EINVAL, "semantic '%s' is neither anyOf nor allOf", text);
    return err;
}

static weft_err take_lists(struct call *call, struct args *args, struct store_policy *policy)
{
    weft_err err = WEFT_OK;

    if (args_has(args, "identity_roles"))
        err = args_roles(args, "identity_roles", true, change_find_identity, call,
                         policy->identities, &policy->identity_count);
    if (err == WEFT_OK && args_has(args, "service_roles"))
        err = args_roles(args, "service_roles", true, change_find_service, call, policy->services,
                         &policy->service_count);
    return err;
}

/* ---- conditions: each list that is given takes the place of the one before, an empty one ends it
 */

static weft_err add_hours(void *arg, const char *text, wf_why *why)
{
    return condition_hours_add(arg, text, why);
}

static weft_err add_source(void *arg, const char *text, wf_why *why)
{
    return condition_source_add(arg, text, why);
}

struct attesting {
    struct conditions *to;
    enum condition_attested which;
};

static weft_err add_attested(void *arg, const char *text, wf_why *why)
{
    struct attesting *a = arg;

    return condition_attested_add(a->to, a->which, text, why);
}

static weft_err take_conditions(struct args *args, struct conditions *to)
{
    weft_err err = WEFT_OK;

    if (args_has(args, "windows")) {
        to->hours_count = to->window_count = 0;
        err = args_texts(args, "windows", CONDITION_HOURS_MAX, add_hours, to);
    }
    if (err == WEFT_OK && args_has(args, "sources")) {
        to->source_count = 0;
        err = args_texts(args, "sources", CONDITION_SOURCES_MAX, add_source, to);
    }
    for (unsigned i = 0; err == WEFT_OK && i < CONDITION_ATTESTED_COUNT; i++) {
        struct attesting a = {to, (enum condition_attested)i};
        const char *key = condition_row(a.which)->key;

        if (!args_has(args, key))
            continue;
        to->attested[i][0] = '\0';
        err = args_texts(args, key, CONDITION_SOURCES_MAX, add_attested, &a);
    }
    return err;
}

weft_err op_policy_create(struct call *call, struct args *args)
{
    struct store_policy policy = {
        .id = wf_id_random(), .created = call->now, .semantic = POLICY_ANY_OF};
    weft_err err = args_name(args, "name", true, policy.name);

    if (err == WEFT_OK)
        err = take_type(call, args, true, &policy.type);
    if (err == WEFT_OK)
        err = take_semantic(call, args, &policy.semantic);
    if (err == WEFT_OK)
        err = take_lists(call, args, &policy);
    if (err == WEFT_OK)
        err = take_conditions(args, &policy.conditions);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    wf_fail(&call->what, WEFT_OK, "%s", policy.name);
    err = change_policy_add(call, &policy);
    if (err != WEFT_OK)
        return call_fail(call, err, "policy", policy.name);
    return view_answer(call, view_policy(call->c->home.store, &policy));
}

static weft_err add_row(void *arg, const struct store_policy *policy)
{
    struct view_list *list = arg;

    return view_list_add(list, policy->name, view_policy(list->call->c->home.store, policy));
}

weft_err op_policy_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&list, store_policy_each(call->c->home.store, after, add_row, &list));
}

static weft_err find(struct call *call, struct args *args, struct store_policy *out)
{
    store *s = call->c->home.store;
    struct call_which which;
    weft_err err = call_which(call, args, &which);

    if (err != WEFT_OK)
        return err;
    err = which.by_id ? store_policy_get(s, &which.id, out) : store_policy_find(s, which.name, out);
    return call_found(call, err, "policy", &which, out->name);
}

weft_err op_policy_show(struct call *call, struct args *args)
{
    struct store_policy policy;
    weft_err err = find(call, args, &policy);

    if (err == WEFT_OK)
        err = args_end(args);
    return err == WEFT_OK ? view_answer(call, view_policy(call->c->home.store, &policy)) : err;
}

weft_err op_policy_update(struct call *call, struct args *args)
{
    struct store_policy before, after;
    weft_err err = find(call, args, &before);

    if (err != WEFT_OK)
        return err;
    after = before;
    err = take_type(call, args, false, &after.type);
    if (err == WEFT_OK)
        err = take_semantic(call, args, &after.semantic);
    if (err == WEFT_OK)
        err = take_lists(call, args, &after);
    if (err == WEFT_OK)
        err = take_conditions(args, &after.conditions);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = change_policy_put(call, &before, &after);
    if (err != WEFT_OK)
        return call_fail(call, err, "policy", before.name);
    return view_answer(call, view_policy(call->c->home.store, &after));
}

weft_err op_policy_delete(struct call *call, struct args *args)
{
    struct store_policy policy;
    json_t *object;
    weft_err err = find(call, args, &policy);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    object = view_policy(call->c->home.store, &policy);
    err = change_policy_remove(call, &policy);
    if (err != WEFT_OK) {
        json_decref(object);
        return call_fail(call, err, "policy", policy.name);
    }
    return view_answer(call, object);
}

/* ---- allow and disallow: policies of one role on each side */

struct pair {
    char who_text[WF_NAME_MAX + 2], what_text[WF_NAME_MAX + 2];
    struct policy_role who, what;
    enum policy_type type;
    struct store_policy found; /* the policy that says exactly this */
    bool is_found;
};

static weft_err take_pair(struct call *call, struct args *args, struct pair *pair)
{
    weft_err err = args_text(args, "who", true, pair->who_text, sizeof pair->who_text);

    if (err == WEFT_OK)
        err = take_type(call, args, true, &pair->type);
    if (err == WEFT_OK)
        err = args_text(args, "what", true, pair->what_text, sizeof pair->what_text);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = args_role(&call->why, "who", pair->who_text, change_find_identity, call, &pair->who);
    if (err == WEFT_OK)
        err =
            args_role(&call->why, "what", pair->what_text, change_find_service, call, &pair->what);
    wf_fail(&call->what, WEFT_OK, "%s %s %s", pair->who_text, policy_type_text(pair->type),
            pair->what_text);
    return err;
}

static bool same_role(const struct policy_role *a, const struct policy_role *b)
{
    return a->kind == b->kind && wf_id_equal(&a->id, &b->id) &&
           strcmp(a->attribute, b->attribute) == 0;
}

static weft_err match_pair(void *arg, const struct store_policy *policy)
{
    struct pair *pair = arg;

    if (policy->type != pair->type || policy->identity_count != 1 || policy->service_count != 1 ||
        !same_role(&policy->identities[0], &pair->who) ||
        !same_role(&policy->services[0], &pair->what) || !conditions_are_empty(&policy->conditions))
        return WEFT_OK;
    pair->found = *policy;
    pair->is_found = true;
    return WEFT_EEOF;
}

/* "role.ci-dial-jenkins", or with a piece of a digest when that is taken or too long. */
static weft_err name_pair(struct call *call, const struct pair *pair, char out[WF_NAME_MAX + 1])
{
    struct store_policy other;
    char text[3 * WF_NAME_MAX], hex[65];
    uint8_t digest[32];
    int len = snprintf(text, sizeof text, "%s%s-%s-%s%s", pair->who_text[0] == '#' ? "role." : "",
                       pair->who_text + 1, policy_type_text(pair->type),
                       pair->what_text[0] == '#' ? "role." : "", pair->what_text + 1);
    weft_err err = WEFT_OK;

    if (len <= WF_NAME_MAX) {
        memcpy(out, text, (size_t)len + 1);
        err = store_policy_find(call->c->home.store, out, &other);
        if (err != WEFT_OK)
            return err == WEFT_ENOTFOUND ? WEFT_OK : err;
    }
    pki_sha256(text, (size_t)len, digest);
    wf_hex(digest, sizeof digest, hex);
    snprintf(out, WF_NAME_MAX + 1, "%s-%.16s", policy_type_text(pair->type), hex);
    return err;
}

weft_err op_allow(struct call *call, struct args *args)
{
    store *s = call->c->home.store;
    struct store_policy policy = {.id = wf_id_random(), .created = call->now};
    struct pair pair = {.is_found = false};
    weft_err err = take_pair(call, args, &pair);

    if (err == WEFT_OK)
        err = store_policy_each(s, NULL, match_pair, &pair);
    if (err != WEFT_OK)
        return err;
    if (pair.is_found)
        return view_answer(call, view_policy(s, &pair.found));
    policy.type = pair.type;
    policy.identities[0] = pair.who;
    policy.services[0] = pair.what;
    policy.identity_count = policy.service_count = 1;
    err = name_pair(call, &pair, policy.name);
    if (err == WEFT_OK)
        err = change_policy_add(call, &policy);
    if (err != WEFT_OK)
        return call_fail(call, err, "policy", policy.name);
    return view_answer(call, view_policy(s, &policy));
}

weft_err op_disallow(struct call *call, struct args *args)
{
    store *s = call->c->home.store;
    struct pair pair = {.is_found = false};
    json_t *object;
    weft_err err = take_pair(call, args, &pair);

    if (err == WEFT_OK)
        err = store_policy_each(s, NULL, match_pair, &pair);
    if (err != WEFT_OK)
        return err;
    if (!pair.is_found)
        return wf_fail(&call->why, WEFT_ENOTFOUND,
                       "no policy says exactly '%s %s %s'; see: weft policy list", pair.who_text,
                       policy_type_text(pair.type), pair.what_text);
    object = view_policy(s, &pair.found);
    err = change_policy_remove(call, &pair.found);
    if (err != WEFT_OK) {
        json_decref(object);
        return call_fail(call, err, "policy", pair.found.name);
    }
    return view_answer(call, object);
}
