#include "controller/catalog.h"
#include "controller/catalog_index.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define THINGS_MAX ((size_t)1 << 24) /* of a kind; memory ends before */

/* The borrowed fields of rules and things are owned here; nobody else writes through them. */
static void drop(const void *owned)
{
    union {
        const void *in;
        void *out;
    } u = {.in = owned};

    free(u.out);
}

static void free_service(struct catalog_service *service)
{
    drop(service->thing.attributes);
    free(service);
}

static void free_rule(struct catalog_rule *rule)
{
    drop(rule->rule.name);
    drop(rule->rule.identities.items);
    drop(rule->rule.services.items);
    free(rule);
}

static void free_identities(struct catalog *c)
{
    size_t cursor = 0;
    struct policy_thing *thing;

    while (c->identities != NULL && (thing = wf_map_next(c->identities, &cursor)) != NULL) {
        drop(thing->attributes);
        free(thing);
    }
    wf_map_free(c->identities);
}

void catalog_forget(struct catalog *c)
{
    for (size_t i = 0; i < c->service_count; i++)
        free_service(c->services[i]);
    for (size_t i = 0; i < c->rule_count; i++)
        free_rule(c->rules[i]);
    free(c->services);
    free(c->rules);
    wf_map_free(c->service_ids);
    wf_map_free(c->rule_ids);
    free_identities(c);
    catalog_index_fini(&c->by_identity);
    catalog_index_fini(&c->by_service);
    *c = (struct catalog){.loaded = false};
}

/* A copy of count items, NULL with count 0 too: *failed tells the two apart. */
static void *copy(const void *items, size_t count, size_t size, bool *failed)
{
    void *out;

    if (count == 0)
        return NULL;
    out = malloc(count * size);
    if (out == NULL)
        *failed = true;
    else
        memcpy(out, items, count * size);
    return out;
}

static bool grow(void **items, size_t *cap, size_t count, size_t size)
{
    size_t want = *cap == 0 ? 16 : *cap * 2;
    void *bigger;

    if (count < *cap)
        return true;
    bigger = realloc(*items, want * size);
    if (bigger == NULL)
        return false;
    *items = bigger;
    *cap = want;
    return true;
}

/* ---- services */

/* Where this name stands, or would stand. */
static size_t place_of_service(const struct catalog *c, const char *name)
{
    size_t low = 0, high = c->service_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(c->services[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_service(struct catalog *c, const wf_id *id)
{
    struct catalog_service *old = wf_map_remove(c->service_ids, id->b, sizeof id->b);
    size_t at;

    if (old == NULL)
        return;
    at = place_of_service(c, old->name);
    assert(at < c->service_count && c->services[at] == old);
    memmove(&c->services[at], &c->services[at + 1],
            (--c->service_count - at) * sizeof *c->services);
    free_service(old);
}

static weft_err take_service(void *arg, const struct store_service *row)
{
    struct catalog *c = arg;
    struct catalog_service *new = calloc(1, sizeof *new);
    void *items = c->services;
    bool failed = new == NULL;
    size_t at;

    if (failed)
        return WEFT_ENOMEM;
    new->thing = (struct policy_thing){.id = row->id, .attribute_count = row->roles.count};
    memcpy(new->name, row->name, sizeof new->name);
    new->limits = row->limits;
    new->thing.attributes =
        copy(row->roles.names, row->roles.count, sizeof row->roles.names[0], &failed);
    if (!grow(&items, &c->service_cap, c->service_count, sizeof *c->services))
        failed = true;
    c->services = items;
    if (failed || wf_map_add(c->service_ids, row->id.b, sizeof row->id.b, new) != WEFT_OK) {
        free_service(new);
        return WEFT_ENOMEM;
    }
    at = place_of_service(c, new->name);
    memmove(&c->services[at + 1], &c->services[at],
            (c->service_count++ - at) * sizeof *c->services);
    c->services[at] = new;
    return WEFT_OK;
}

/* ---- policies */

static size_t place_of_rule(const struct catalog *c, const char *name)
{
    size_t low = 0, high = c->rule_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(c->rules[middle]->rule.name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_rule(struct catalog *c, const wf_id *id)
{
    struct catalog_rule *old = wf_map_remove(c->rule_ids, id->b, sizeof id->b);
    size_t at;

    if (old == NULL)
        return;
    catalog_index_remove(&c->by_identity, old, &old->rule.identities);
    catalog_index_remove(&c->by_service, old, &old->rule.services);
    at = place_of_rule(c, old->rule.name);
    assert(at < c->rule_count && c->rules[at] == old);
    memmove(&c->rules[at], &c->rules[at + 1], (--c->rule_count - at) * sizeof *c->rules);
    free_rule(old);
}

static weft_err make_rule(const struct store_policy *row, struct catalog_rule **out)
{
    struct catalog_rule *new = calloc(1, sizeof *new);
    struct policy_rule *to;
    bool failed = false;

    if (new == NULL)
        return WEFT_ENOMEM;
    new->conditions = row->conditions;
    conditions_digest(&new->conditions, new->digest);
    to = &new->rule;
    *to = (struct policy_rule){.id = row->id, .type = row->type, .semantic = row->semantic};
    to->conditions = conditions_are_empty(&new->conditions) ? NULL : &new->conditions;
    to->name = strdup(row->name);
    to->identities.count = row->identity_count;
    to->identities.items =
        copy(row->identities, row->identity_count, sizeof row->identities[0], &failed);
    to->services.count = row->service_count;
    to->services.items = copy(row->services, row->service_count, sizeof row->services[0], &failed);
    if (failed || to->name == NULL) {
        free_rule(new);
        return WEFT_ENOMEM;
    }
    *out = new;
    return WEFT_OK;
}

/* On an error the indexes may know a part of it: the catalog has to be forgotten. */
static weft_err take_policy(void *arg, const struct store_policy *row)
{
    struct catalog *c = arg;
    struct catalog_rule *new = NULL;
    void *items = c->rules;
    size_t at;
    weft_err err;

    if (!grow(&items, &c->rule_cap, c->rule_count, sizeof *c->rules))
        return WEFT_ENOMEM;
    c->rules = items;
    err = make_rule(row, &new);
    if (err != WEFT_OK)
        return err;
    err = wf_map_add(c->rule_ids, row->id.b, sizeof row->id.b, new);
    if (err != WEFT_OK) {
        free_rule(new);
        return err;
    }
    at = place_of_rule(c, new->rule.name);
    memmove(&c->rules[at + 1], &c->rules[at], (c->rule_count++ - at) * sizeof *c->rules);
    c->rules[at] = new;
    err = catalog_index_add(&c->by_identity, new, &new->rule.identities);
    return err == WEFT_OK ? catalog_index_add(&c->by_service, new, &new->rule.services) : err;
}

/* ---- all of it */

weft_err catalog_load(struct catalog *c, store *s)
{
    weft_err err = WEFT_ENOMEM;

    if (c->loaded)
        return WEFT_OK;
    catalog_forget(c);
    c->service_ids = wf_map_new(THINGS_MAX);
    c->rule_ids = wf_map_new(THINGS_MAX);
    c->identities = wf_map_new(THINGS_MAX);
    if (c->service_ids != NULL && c->rule_ids != NULL && c->identities != NULL)
        err = catalog_index_init(&c->by_identity);
    if (err == WEFT_OK)
        err = catalog_index_init(&c->by_service);
    if (err == WEFT_OK)
        err = store_service_each(s, NULL, take_service, c);
    if (err == WEFT_OK)
        err = store_policy_each(s, NULL, take_policy, c);
    if (err != WEFT_OK)
        catalog_forget(c);
    else
        c->loaded = true;
    return err;
}

weft_err catalog_sync(struct catalog *c, store *s, enum catalog_kind kind, const wf_id *id)
{
    struct store_service service;
    struct store_policy policy;
    struct policy_thing *thing;
    weft_err err = WEFT_ENOTFOUND;

    if (!c->loaded)
        return WEFT_OK;
    switch (kind) {
    case CATALOG_SERVICE:
        remove_service(c, id);
        err = store_service_get(s, id, &service);
        if (err == WEFT_OK)
            err = take_service(c, &service);
        break;
    case CATALOG_POLICY:
        remove_rule(c, id);
        err = store_policy_get(s, id, &policy);
        if (err == WEFT_OK)
            err = take_policy(c, &policy);
        break;
    case CATALOG_IDENTITY: /* read again when it is next asked for */
        thing = wf_map_remove(c->identities, id->b, sizeof id->b);
        if (thing != NULL)
            drop(thing->attributes);
        free(thing);
        break;
    }
    if (err == WEFT_OK || err == WEFT_ENOTFOUND)
        return WEFT_OK;
    catalog_forget(c);
    return err;
}

size_t catalog_naming(const struct catalog *c, enum catalog_kind kind, const wf_id *id, wf_id *out,
                      size_t max)
{
    const struct catalog_list *list =
        catalog_index_of_id(kind == CATALOG_IDENTITY ? &c->by_identity : &c->by_service, id);

    assert(c->loaded && kind != CATALOG_POLICY);
    for (size_t i = 0; list != NULL && i < list->count && i < max; i++)
        out[i] = list->rules[i]->rule.id;
    return list != NULL ? list->count : 0;
}

const struct catalog_service *catalog_find(const struct catalog *c, const char *name)
{
    size_t at = place_of_service(c, name);

    assert(c->loaded);
    return at < c->service_count && strcmp(c->services[at]->name, name) == 0 ? c->services[at]
                                                                             : NULL;
}

const struct catalog_service *catalog_get(const struct catalog *c, const wf_id *id)
{
    assert(c->loaded);
    return wf_map_find(c->service_ids, id->b, sizeof id->b);
}

const struct catalog_rule *catalog_rule(const struct catalog *c, const wf_id *id)
{
    assert(c->loaded);
    return wf_map_find(c->rule_ids, id->b, sizeof id->b);
}

weft_err catalog_identity(struct catalog *c, store *s, const wf_id *id,
                          const struct policy_thing **out)
{
    struct policy_thing *thing;
    struct store_node node;
    bool failed = false;
    weft_err err;

    assert(c->loaded);
    *out = wf_map_find(c->identities, id->b, sizeof id->b);
    if (*out != NULL)
        return WEFT_OK;
    err = store_node_get(s, PKI_IDENTITY, id, &node);
    if (err != WEFT_OK)
        return err;
    thing = malloc(sizeof *thing);
    if (thing == NULL)
        return WEFT_ENOMEM;
    *thing = catalog_thing(&node);
    thing->attributes =
        copy(node.roles.names, node.roles.count, sizeof node.roles.names[0], &failed);
    err = failed ? WEFT_ENOMEM : wf_map_add(c->identities, id->b, sizeof id->b, thing);
    if (err != WEFT_OK) {
        drop(thing->attributes);
        free(thing);
        return err;
    }
    *out = thing;
    return WEFT_OK;
}

struct policy_thing catalog_thing(const struct store_node *node)
{
    return (struct policy_thing){
        .id = node->id,
        .disabled = node->disabled,
        .attributes = node->roles.names,
        .attribute_count = node->roles.count,
    };
}

/* ---- deciding */

/* Rules that may concern both: those that may concern the side with fewer of them. */
static void candidates(const struct catalog *c, const struct policy_thing *identity,
                       const struct catalog_service *service, struct catalog_candidates *out)
{
    struct catalog_candidates other;

    assert(c->loaded);
    catalog_index_find(&c->by_identity, identity, out);
    catalog_index_find(&c->by_service, &service->thing, &other);
    if (other.total < out->total)
        *out = other;
}

bool catalog_may(const struct catalog *c, const struct policy_thing *identity,
                 const struct catalog_service *service, enum policy_type type, const wf_id *except)
{
    struct catalog_candidates some;

    if (identity->disabled)
        return false;
    candidates(c, identity, service, &some);
    for (size_t i = 0; i < some.count; i++)
        for (size_t k = 0; k < some.lists[i]->count; k++) {
            const struct catalog_rule *rule = some.lists[i]->rules[k];

            if (policy_rule_fits(&rule->rule, identity, &service->thing, type) &&
                (except == NULL || !wf_id_equal(&rule->rule.id, except)))
                return true;
        }
    return false;
}

const struct catalog_rule *catalog_allows(const struct catalog *c,
                                          const struct policy_thing *identity,
                                          const struct catalog_service *service,
                                          enum policy_type type, const struct policy_facts *facts)
{
    const struct catalog_rule *best = NULL;
    const struct condition_row *row;
    struct catalog_candidates some;

    if (identity->disabled)
        return NULL;
    candidates(c, identity, service, &some);
    for (size_t i = 0; i < some.count; i++)
        for (size_t k = 0; k < some.lists[i]->count; k++) {
            const struct catalog_rule *one = some.lists[i]->rules[k];
            const struct policy_rule *rule = &one->rule;

            if (policy_rule_fits(rule, identity, &service->thing, type) &&
                (rule->conditions == NULL ||
                 conditions_check(rule->conditions, facts, &row) == CONDITION_HOLDS) &&
                policy_prefer(best != NULL ? &best->rule : NULL, rule) == rule)
                best = one;
        }
    return best;
}

weft_err catalog_mine(const struct catalog *c, const struct policy_thing *identity,
                      const struct policy_facts *facts, struct catalog_mine *out)
{
    const struct condition_row *row;
    struct catalog_candidates some;

    assert(c->loaded);
    *out = (struct catalog_mine){.rules = NULL};
    catalog_index_find(&c->by_identity, identity, &some);
    if (identity->disabled || some.total == 0)
        return WEFT_OK;
    out->rules = malloc(some.total * sizeof *out->rules);
    if (out->rules == NULL)
        return WEFT_ENOMEM;
    for (size_t i = 0; i < some.count; i++)
        for (size_t k = 0; k < some.lists[i]->count; k++) {
            const struct catalog_rule *rule = some.lists[i]->rules[k];

            if (policy_roles_match(&rule->rule.identities, rule->rule.semantic, identity) &&
                (rule->rule.conditions == NULL ||
                 conditions_check(rule->rule.conditions, facts, &row) == CONDITION_HOLDS))
                out->rules[out->count++] = rule;
        }
    return WEFT_OK;
}

const struct catalog_rule *catalog_mine_allows(const struct catalog_mine *mine,
                                               const struct catalog_service *service,
                                               enum policy_type type)
{
    const struct catalog_rule *best = NULL;

    for (size_t i = 0; i < mine->count; i++) {
        const struct policy_rule *rule = &mine->rules[i]->rule;

        if (rule->type == type &&
            policy_roles_match(&rule->services, rule->semantic, &service->thing) &&
            policy_prefer(best != NULL ? &best->rule : NULL, rule) == rule)
            best = mine->rules[i];
    }
    return best;
}

void catalog_mine_free(struct catalog_mine *mine)
{
    free(mine->rules);
    mine->rules = NULL;
}

const struct catalog_rule *catalog_stands(const struct catalog *c,
                                          const struct policy_thing *identity,
                                          const struct catalog_service *service,
                                          enum policy_type type,
                                          const uint8_t digest[CATALOG_DIGEST])
{
    struct catalog_candidates some;

    if (identity->disabled)
        return NULL;
    candidates(c, identity, service, &some);
    for (size_t i = 0; i < some.count; i++)
        for (size_t k = 0; k < some.lists[i]->count; k++) {
            const struct catalog_rule *rule = some.lists[i]->rules[k];

            if ((rule->rule.conditions == NULL ||
                 memcmp(rule->digest, digest, CATALOG_DIGEST) == 0) &&
                policy_rule_fits(&rule->rule, identity, &service->thing, type))
                return rule;
        }
    return NULL;
}

/* All rules in chunks: the nearest of a denial may be any of them. */
struct policy_decision catalog_decide(const struct catalog *c, const struct policy_thing *identity,
                                      const struct catalog_service *service, enum policy_type type,
                                      const struct policy_facts *facts)
{
    struct policy_decision decision = {.verdict = POLICY_DISABLED};
    const struct policy_rule **all;

    assert(c->loaded);
    all = malloc((c->rule_count + 1) * sizeof *all);
    if (all == NULL)
        return decision; /* out of memory: nothing is allowed */
    for (size_t i = 0; i < c->rule_count; i++)
        all[i] = &c->rules[i]->rule;
    decision = policy_decide(all, c->rule_count, identity, &service->thing, type, facts);
    free(all);
    return decision;
}
