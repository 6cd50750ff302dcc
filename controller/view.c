#include "controller/view.h"
#include "controller/peer.h"
#include "controller/rights.h"
#include "proto/base/clock.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES_MAX (OPERATION_RESULT_MAX - 256u)
#define LIST_ITEMS_MAX 1000u
#define LIST_LOOKS_MAX                                                                             \
    4000u /* rows of which one call keeps what fits; the next goes on behind them */

static json_t *time_of(uint64_t wall_ms)
{
    char text[24];

    return wall_ms == 0 ? json_null() : json_string(wf_time_text(wall_ms, text));
}

static json_t *id_of(const wf_id *id)
{
    char text[WF_ID_TEXT];

    return json_string(wf_id_text(id, text));
}

static json_t *attributes_of(const struct store_roles *roles)
{
    json_t *list = json_array();

    for (size_t i = 0; i < roles->count; i++)
        json_array_append_new(list, json_sprintf("#%s", roles->names[i]));
    return list;
}

static const char *state_of(const struct store_node *node)
{
    return node->disabled ? "disabled" : node->enrolled ? "active" : "pending";
}

static const char *method_of(enum pki_enroll_method method)
{
    return method == PKI_ENROLL_OTTCA  ? "ottca"
           : method == PKI_ENROLL_CA   ? "ca"
           : method == PKI_ENROLL_OIDC ? "oidc"
                                       : "ott";
}

static json_int_t life_of(const struct store_node *node)
{
    return (json_int_t)((node->life != 0 ? node->life : WF_LEAF_LIFE_MS) / 1000);
}

json_t *view_identity(const struct store_node *node)
{
    return json_pack("{so ss so ss ss so so sI}", "id", id_of(&node->id), "name", node->name,
                     "roles", attributes_of(&node->roles), "enroll", method_of(node->enroll),
                     "state", state_of(node), "created", time_of(node->created), "expires",
                     time_of(node->enrolled ? node->expires : 0), "life_s", life_of(node));
}

/* Limits that are set, as service.* takes them. */
static json_t *limits_of(const struct store_limits *limits)
{
    json_t *object = json_object();

    if (limits->sessions != 0)
        json_object_set_new(object, "sessions", json_integer((json_int_t)limits->sessions));
    if (limits->sessions_per_identity != 0)
        json_object_set_new(object, "sessions_per_identity",
                            json_integer((json_int_t)limits->sessions_per_identity));
    if (limits->idle_ms != 0)
        json_object_set_new(object, "idle", json_integer((json_int_t)(limits->idle_ms / 1000)));
    if (limits->age_ms != 0)
        json_object_set_new(object, "max_age", json_integer((json_int_t)(limits->age_ms / 1000)));
    return object;
}

json_t *view_ca(const struct controller *c, const struct store_ca *ca, const char *subject,
                uint64_t ends)
{
    char nonce[2 * STORE_CA_NONCE + 1];
    json_t *object =
        json_pack("{so ss ss sb ss so so ss so}", "id", id_of(&ca->id), "name", ca->name, "state",
                  ca->verified ? "verified" : "unverified", "auto", (int)ca->automatic,
                  "name_template", ca->template, "roles", attributes_of(&ca->roles), "created",
                  time_of(ca->created), "subject", subject, "expires", time_of(ends));

    if (object != NULL && !ca->verified) /* what its key is to sign, docs/operations.md */
        json_object_set_new(object, "challenge",
                            json_sprintf("weft-ca-1 %s %s %s", c->home.domain, ca->name,
                                         wf_hex(ca->nonce, sizeof ca->nonce, nonce)));
    return object;
}

json_t *view_issuer(const struct store_issuer *issuer)
{
    json_t *conditions = json_array();

    for (size_t i = 0; i < issuer->condition_count; i++)
        json_array_append_new(conditions, json_string(issuer->conditions[i]));
    return json_pack("{so ss ss ss ss so ss so sI so so}", "id", id_of(&issuer->id), "name",
                     issuer->name, "issuer", issuer->issuer, "audience", issuer->audience,
                     "jwks_url", issuer->url, "claims", conditions, "name_template",
                     issuer->template, "roles", attributes_of(&issuer->roles), "life_s",
                     (json_int_t)(issuer->life_ms / 1000), "created", time_of(issuer->created),
                     "keys_since", time_of(issuer->fetched));
}

json_t *view_service(const struct store_service *service)
{
    static const char *const modes[] = {
        [STORE_MODE_STREAM] = "stream", [STORE_MODE_PARCEL] = "parcel", [STORE_MODE_BOTH] = "both"};

    return json_pack("{so ss so ss so}", "id", id_of(&service->id), "name", service->name, "roles",
                     attributes_of(&service->roles), "mode", modes[service->mode], "limits",
                     limits_of(&service->limits));
}

/* Texts that stand in one with a mark between them, as a list. */
static json_t *texts_of(const char *joined, char mark)
{
    const char marks[2] = {mark, '\0'};
    json_t *list = json_array();

    while (*joined != '\0') {
        size_t len = strcspn(joined, marks);

        json_array_append_new(list, json_stringn(joined, len));
        joined += len + (joined[len] == mark);
    }
    return list;
}

/* Conditions that are set; a policy without any shows none. */
static void add_conditions(json_t *object, const struct conditions *conditions)
{
    char text[CONDITIONS_TEXT];

    if (object == NULL)
        return;
    conditions_hours_text(conditions, text);
    if (text[0] != '\0')
        json_object_set_new(object, "windows", texts_of(text, ';'));
    conditions_sources_text(conditions, text);
    if (text[0] != '\0')
        json_object_set_new(object, "sources", texts_of(text, ';'));
    for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++) {
        const struct condition_row *row = condition_row((enum condition_attested)i);

        if (conditions->attested[i][0] != '\0')
            json_object_set_new(object, row->key,
                                row->how == CONDITION_ANY_OF
                                    ? texts_of(conditions->attested[i], ',')
                                    : json_string(conditions->attested[i]));
    }
}

static json_t *role_of(store *s, const struct policy_role *role, bool of_identities)
{
    struct store_service service;
    struct store_node node;

    switch (role->kind) {
    case POLICY_ROLE_ATTRIBUTE:
        return json_sprintf("#%s", role->attribute);
    case POLICY_ROLE_ID:
        if (of_identities ? store_node_get(s, PKI_IDENTITY, &role->id, &node) != WEFT_OK
                          : store_service_get(s, &role->id, &service) != WEFT_OK)
            return NULL;
        return json_sprintf("@%s", of_identities ? node.name : service.name);
    case POLICY_ROLE_ALL:
        break;
    }
    return json_string("#all");
}

static json_t *roles_of(store *s, const struct policy_role *roles, size_t count, bool of_identities)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, role_of(s, &roles[i], of_identities)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

json_t *view_policy(store *s, const struct store_policy *policy)
{
    json_t *object =
        json_pack("{so ss ss so so ss}", "id", id_of(&policy->id), "name", policy->name, "type",
                  policy_type_text(policy->type), "identity_roles",
                  roles_of(s, policy->identities, policy->identity_count, true), "service_roles",
                  roles_of(s, policy->services, policy->service_count, false), "semantic",
                  policy_semantic_text(policy->semantic));

    add_conditions(object, &policy->conditions);
    return object;
}

json_t *view_router(const struct controller *c, const struct store_node *node)
{
    json_t *addresses = json_array();
    char text[WF_ADDRESS_TEXT];

    for (size_t i = 0; i < node->address_count; i++)
        json_array_append_new(addresses, json_string(wf_address_text(&node->addresses[i], text)));
    return json_pack("{so ss ss so sb so so sI}", "id", id_of(&node->id), "name", node->name,
                     "state", state_of(node), "addresses", addresses, "online",
                     peer_is_online(c, PKI_ROUTER, &node->id), "created", time_of(node->created),
                     "expires", time_of(node->enrolled ? node->expires : 0), "life_s",
                     life_of(node));
}

json_t *view_admin(const struct store_node *node, unsigned rights)
{
    json_t *words = json_array();
    char word[RIGHTS_WORD_MAX];

    for (size_t i = 0; rights_word(rights, i, word); i++)
        json_array_append_new(words, json_string(word));
    return json_pack("{so ss ss so}", "id", id_of(&node->id), "name", node->name, "state",
                     state_of(node), "rights", words);
}

/* The name of a node, or its id where it has none any more. */
static json_t *name_of(store *s, enum pki_kind kind, const wf_id *id)
{
    struct store_node node;

    if (wf_id_is_zero(id))
        return json_null();
    return store_node_get(s, kind, id, &node) == WEFT_OK ? json_string(node.name) : id_of(id);
}

json_t *view_session(struct controller *c, const struct session *session)
{
    store *s = c->home.store;
    const struct catalog_service *service = NULL;
    bool by_router = session->reporter_kind == PKI_ROUTER;

    if (catalog_load(&c->catalog, s) == WEFT_OK)
        service = catalog_get(&c->catalog, &session->service);
    return json_pack("{so so so so so so sI sI}", "id", id_of(&session->id), "service",
                     service != NULL ? json_string(service->name) : id_of(&session->service),
                     "dialer", name_of(s, PKI_IDENTITY, &session->dialer), "host",
                     name_of(s, PKI_IDENTITY, &session->host), "router",
                     by_router ? name_of(s, PKI_ROUTER, &session->reporter) : json_null(),
                     "started", time_of(session->started), "bytes_to_host",
                     (json_int_t)session->bytes_to_host, "bytes_to_dialer",
                     (json_int_t)session->bytes_to_dialer);
}

/* What a dry run would have done, beside the object; a token of it is worth nothing. */
static weft_err add_dry_run(const struct call *call, json_t *object)
{
    static const char *const secrets[] = {"token", "host_token", "dial_token"};
    const struct withdrawn *withdrawn = &call->withdrawn;
    json_t *items = json_array();

    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        (void)json_object_del(object, secrets[i]);
    for (size_t i = 0; i < withdrawn->count && i < WITHDRAWN_ITEMS_MAX; i++)
        json_array_append_new(items,
                              json_pack("{ss ss ss}", "identity", withdrawn->items[i].identity,
                                        "service", withdrawn->items[i].service, "type",
                                        policy_type_text(withdrawn->items[i].type)));
    if (json_object_set_new(object, "dry_run", json_true()) != 0 ||
        json_object_set_new(
            object, "withdraws",
            json_pack("{sI so}", "count", (json_int_t)withdrawn->count, "items", items)) != 0)
        return WEFT_ENOMEM;
    if (call->counts_gains)
        json_object_set_new(object, call->gains_are_fewer ? "allows_at_most" : "allows",
                            json_integer((json_int_t)call->gains));
    return WEFT_OK;
}

weft_err view_put(json_t *object, wf_buf *out)
{
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    weft_err err = text == NULL ? WEFT_ENOMEM : wf_buf_put(out, text, strlen(text));

    free(text);
    json_decref(object);
    return err;
}

weft_err view_answer(struct call *call, json_t *object)
{
    weft_err err;

    if (object == NULL)
        return wf_fail(&call->why, WEFT_ENOMEM, "out of memory");
    if (call->dry_run && add_dry_run(call, object) != WEFT_OK) {
        json_decref(object);
        return wf_fail(&call->why, WEFT_ENOMEM, "out of memory");
    }
    err = view_put(object, &call->result);
    return err == WEFT_OK ? err : wf_fail(&call->why, err, "the answer doesn't fit into a reply");
}

/* What may be asked of an item: the field says exactly this (`role`: it is among its roles). */
static const char *const filter_keys[VIEW_FILTERS] = {"role",    "state",  "mode", "type",
                                                      "service", "dialer", "host", "router"};

static void skip_to(const char *prefix, char after[WF_NAME_MAX + 1])
{
    size_t len = strlen(prefix);

    memcpy(after, prefix, len);
    after[len - 1]--;
    after[len] = '~';
    after[len + 1] = '\0';
}

weft_err view_list_open(struct view_list *list, struct call *call, struct args *args,
                        char after[WF_NAME_MAX + 1])
{
    uint64_t limit = 0;
    weft_err err = args_name(args, "after", false, after);

    *list = (struct view_list){.call = call};
    if (err == WEFT_OK)
        err = args_number(args, "limit", LIST_ITEMS_MAX, 1, LIST_ITEMS_MAX, &limit);
    if (err == WEFT_OK)
        err = args_name(args, "prefix", false, list->prefix);
    for (size_t i = 0; err == WEFT_OK && i < VIEW_FILTERS; i++)
        err = args_text(args, filter_keys[i], false, list->filters[i], sizeof list->filters[i]);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    /* A name begins with no less than its prefix: start right before, as '~' is in no name. */
    if (list->prefix[0] != '\0' && strcmp(after, list->prefix) < 0 &&
        strlen(list->prefix) < WF_NAME_MAX)
        skip_to(list->prefix, after);
    list->left = (size_t)limit;
    list->items = json_array();
    return list->items == NULL ? WEFT_ENOMEM : WEFT_OK;
}

static bool has_role(const json_t *item, const char *role)
{
    const json_t *roles = json_object_get(item, "roles"), *one;
    size_t i;

    role += role[0] == '#';
    json_array_foreach(roles, i, one)
    {
        const char *text = json_string_value(one);

        if (text != NULL && strcmp(text + (text[0] == '#'), role) == 0)
            return true;
    }
    return false;
}

static bool fits(const struct view_list *list, const char *name, const json_t *item)
{
    if (strncmp(name, list->prefix, strlen(list->prefix)) != 0)
        return false;
    for (size_t i = 0; i < VIEW_FILTERS; i++) {
        const char *wanted = list->filters[i], *is;

        if (wanted[0] == '\0')
            continue;
        is = json_string_value(json_object_get(item, filter_keys[i]));
        if (i == 0 ? !has_role(item, wanted) : is == NULL || strcmp(is, wanted) != 0)
            return false;
    }
    return true;
}

weft_err view_list_add(struct view_list *list, const char *name, json_t *item)
{
    size_t bytes;

    if (item == NULL)
        return WEFT_ENOMEM;
    /* In order of name: nothing behind this one begins so. */
    if (strncmp(name, list->prefix, strlen(list->prefix)) > 0) {
        json_decref(item);
        return WEFT_EEOF;
    }
    bytes = json_dumpb(item, NULL, 0, JSON_COMPACT) + 1;
    if (list->bytes + bytes > LIST_BYTES_MAX || list->left == 0 ||
        list->looked_at == LIST_LOOKS_MAX) {
        json_decref(item);
        list->more = true;
        return WEFT_EEOF;
    }
    list->looked_at++;
    memcpy(list->last, name, strlen(name) + 1);
    if (!fits(list, name, item)) {
        json_decref(item);
        return WEFT_OK;
    }
    list->left--;
    list->bytes += bytes;
    return json_array_append_new(list->items, item) == 0 ? WEFT_OK : WEFT_ENOMEM;
}

weft_err view_list_close(struct view_list *list, weft_err err)
{
    json_t *items = list->items;

    list->items = NULL;
    if (err != WEFT_OK) {
        json_decref(items);
        return err;
    }
    return view_answer(list->call, list->more
                                       ? json_pack("{so ss}", "items", items, "next", list->last)
                                       : json_pack("{so}", "items", items));
}
