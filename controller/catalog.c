#include "controller/catalog.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The borrowed fields of rules and things are owned here; nobody else writes through them. */
static void drop(const void *owned)
{
    union {
        const void *in;
        void *out;
    } u = {.in = owned};

    free(u.out);
}

void catalog_forget(struct catalog *c)
{
    for (size_t i = 0; i < c->service_count; i++)
        drop(c->services[i].thing.attributes);
    for (size_t i = 0; i < c->rule_count; i++) {
        drop(c->rules[i].name);
        drop(c->rules[i].identities.items);
        drop(c->rules[i].services.items);
    }
    free(c->services);
    free(c->rules);
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

static weft_err take_service(void *arg, const struct store_service *row)
{
    struct catalog *c = arg;
    struct catalog_service *to;
    void *items = c->services;
    bool failed = false;

    if (!grow(&items, &c->service_cap, c->service_count, sizeof *c->services))
        return WEFT_ENOMEM;
    c->services = items;
    to = &c->services[c->service_count++];
    to->thing = (struct policy_thing){.id = row->id, .attribute_count = row->roles.count};
    memcpy(to->name, row->name, sizeof to->name);
    to->thing.attributes =
        copy(row->roles.names, row->roles.count, sizeof row->roles.names[0], &failed);
    return failed ? WEFT_ENOMEM : WEFT_OK;
}

static weft_err take_policy(void *arg, const struct store_policy *row)
{
    struct catalog *c = arg;
    struct policy_rule *to;
    void *items = c->rules;
    bool failed = false;

    if (!grow(&items, &c->rule_cap, c->rule_count, sizeof *c->rules))
        return WEFT_ENOMEM;
    c->rules = items;
    to = &c->rules[c->rule_count++];
    *to = (struct policy_rule){.id = row->id, .type = row->type, .semantic = row->semantic};
    to->name = strdup(row->name);
    to->identities.count = row->identity_count;
    to->identities.items =
        copy(row->identities, row->identity_count, sizeof row->identities[0], &failed);
    to->services.count = row->service_count;
    to->services.items = copy(row->services, row->service_count, sizeof row->services[0], &failed);
    return failed || to->name == NULL ? WEFT_ENOMEM : WEFT_OK;
}

weft_err catalog_load(struct catalog *c, store *s)
{
    weft_err err;

    if (c->loaded)
        return WEFT_OK;
    err = store_service_each(s, NULL, take_service, c);
    if (err == WEFT_OK)
        err = store_policy_each(s, NULL, take_policy, c);
    if (err != WEFT_OK)
        catalog_forget(c);
    else
        c->loaded = true;
    return err;
}

const struct catalog_service *catalog_find(const struct catalog *c, const char *name)
{
    size_t low = 0, high = c->service_count;

    assert(c->loaded);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, c->services[middle].name);

        if (order == 0)
            return &c->services[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct catalog_service *catalog_get(const struct catalog *c, const wf_id *id)
{
    assert(c->loaded);
    for (size_t i = 0; i < c->service_count; i++)
        if (wf_id_equal(&c->services[i].thing.id, id))
            return &c->services[i];
    return NULL;
}

bool catalog_may(const struct catalog *c, const struct policy_thing *identity,
                 const struct catalog_service *service, enum policy_type type)
{
    assert(c->loaded);
    return policy_may(c->rules, c->rule_count, identity, &service->thing, type);
}

struct policy_decision catalog_decide(const struct catalog *c, const struct policy_thing *identity,
                                      const struct catalog_service *service, enum policy_type type)
{
    assert(c->loaded);
    return policy_decide(c->rules, c->rule_count, identity, &service->thing, type);
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
