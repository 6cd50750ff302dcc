#include "controller/catalog_index.h"
#include "pki/key.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX ((size_t)1 << 24)

static void free_lists(wf_map *map)
{
    size_t cursor = 0;
    struct catalog_list *list;

    while (map != NULL && (list = wf_map_next(map, &cursor)) != NULL) {
        free(list->rules);
        free(list);
    }
    wf_map_free(map);
}

weft_err catalog_index_init(struct catalog_index *index)
{
    *index = (struct catalog_index){.ids = wf_map_new(KEYS_MAX)};
    index->attributes = wf_map_new(KEYS_MAX);
    return index->ids != NULL && index->attributes != NULL ? WEFT_OK : WEFT_ENOMEM;
}

void catalog_index_fini(struct catalog_index *index)
{
    free_lists(index->ids);
    free_lists(index->attributes);
    free(index->all.rules);
    *index = (struct catalog_index){.ids = NULL};
}

/* ---- lists */

static weft_err push(struct catalog_list *list, struct catalog_rule *rule)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 4 : list->cap * 2;
        struct catalog_rule **bigger = realloc(list->rules, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        list->rules = bigger;
        list->cap = cap;
    }
    list->rules[list->count++] = rule;
    return WEFT_OK;
}

/* Once: a rule that says a role twice stands there twice. */
static void pull(struct catalog_list *list, const struct catalog_rule *rule)
{
    for (size_t i = list->count; i-- > 0;)
        if (list->rules[i] == rule) {
            list->rules[i] = list->rules[--list->count];
            return;
        }
}

static weft_err push_under(wf_map *map, const void *key, size_t len, struct catalog_rule *rule)
{
    struct catalog_list *list = wf_map_find(map, key, len);
    weft_err err;

    if (list != NULL)
        return push(list, rule);
    list = calloc(1, sizeof *list);
    if (list == NULL)
        return WEFT_ENOMEM;
    err = push(list, rule);
    if (err == WEFT_OK)
        err = wf_map_add(map, key, len, list);
    if (err != WEFT_OK) {
        free(list->rules);
        free(list);
    }
    return err;
}

static void pull_from(wf_map *map, const void *key, size_t len, const struct catalog_rule *rule)
{
    struct catalog_list *list = wf_map_find(map, key, len);

    if (list == NULL)
        return;
    pull(list, rule);
    if (list->count > 0)
        return;
    (void)wf_map_remove(map, key, len);
    free(list->rules);
    free(list);
}

/* ---- rules */

/* Of attributes that must all be there, one is enough to find the rule by. */
static bool is_skipped(const struct catalog_rule *rule, const struct policy_role *role,
                       bool *has_attribute)
{
    bool skipped = role->kind == POLICY_ROLE_ATTRIBUTE && *has_attribute &&
                   rule->rule.semantic == POLICY_ALL_OF;

    *has_attribute = *has_attribute || role->kind == POLICY_ROLE_ATTRIBUTE;
    return skipped;
}

weft_err catalog_index_add(struct catalog_index *index, struct catalog_rule *rule,
                           const struct policy_roles *roles)
{
    bool has_attribute = false;
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < roles->count; i++) {
        const struct policy_role *role = &roles->items[i];

        if (is_skipped(rule, role, &has_attribute))
            continue;
        switch (role->kind) {
        case POLICY_ROLE_ALL:
            err = push(&index->all, rule);
            break;
        case POLICY_ROLE_ID:
            err = push_under(index->ids, role->id.b, sizeof role->id.b, rule);
            break;
        case POLICY_ROLE_ATTRIBUTE:
            err = push_under(index->attributes, role->attribute, strlen(role->attribute), rule);
            break;
        }
    }
    return err;
}

void catalog_index_remove(struct catalog_index *index, const struct catalog_rule *rule,
                          const struct policy_roles *roles)
{
    bool has_attribute = false;

    for (size_t i = 0; i < roles->count; i++) {
        const struct policy_role *role = &roles->items[i];

        if (is_skipped(rule, role, &has_attribute))
            continue;
        switch (role->kind) {
        case POLICY_ROLE_ALL:
            pull(&index->all, rule);
            break;
        case POLICY_ROLE_ID:
            pull_from(index->ids, role->id.b, sizeof role->id.b, rule);
            break;
        case POLICY_ROLE_ATTRIBUTE:
            pull_from(index->attributes, role->attribute, strlen(role->attribute), rule);
            break;
        }
    }
}

static void add_list(struct catalog_candidates *to, const struct catalog_list *list)
{
    if (list == NULL || list->count == 0)
        return;
    assert(to->count < sizeof to->lists / sizeof *to->lists);
    to->lists[to->count++] = list;
    to->total += list->count;
}

void catalog_index_find(const struct catalog_index *index, const struct policy_thing *thing,
                        struct catalog_candidates *out)
{
    out->count = out->total = 0;
    assert(thing->attribute_count <= POLICY_ROLES_MAX);
    add_list(out, &index->all);
    add_list(out, catalog_index_of_id(index, &thing->id));
    for (size_t i = 0; i < thing->attribute_count; i++)
        add_list(out, wf_map_find(index->attributes, thing->attributes[i],
                                  strlen(thing->attributes[i])));
}

const struct catalog_list *catalog_index_of_id(const struct catalog_index *index, const wf_id *id)
{
    return wf_map_find(index->ids, id->b, sizeof id->b);
}

/* ---- digests */

static size_t put(uint8_t *out, size_t at, const void *data, size_t len)
{
    memcpy(out + at, data, len);
    return at + len;
}

void conditions_digest(const struct conditions *c, uint8_t out[CATALOG_DIGEST])
{
    uint8_t bytes[2 + sizeof c->windows + sizeof c->sources + sizeof c->attested];
    size_t at = 0;

    memset(out, 0, CATALOG_DIGEST);
    if (conditions_are_empty(c))
        return;
    bytes[at++] = (uint8_t)c->window_count;
    bytes[at++] = (uint8_t)c->source_count;
    for (size_t i = 0; i < c->window_count; i++) {
        uint8_t minutes[4] = {(uint8_t)(c->windows[i].from >> 8), (uint8_t)c->windows[i].from,
                              (uint8_t)(c->windows[i].to >> 8), (uint8_t)c->windows[i].to};

        at = put(bytes, at, minutes, sizeof minutes);
    }
    for (size_t i = 0; i < c->source_count; i++) {
        at = put(bytes, at, &c->sources[i].bits, 1);
        at = put(bytes, at, &c->sources[i].len, 1);
        at = put(bytes, at, c->sources[i].address, sizeof c->sources[i].address);
    }
    for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++)
        at = put(bytes, at, c->attested[i], strlen(c->attested[i]) + 1);
    assert(at <= sizeof bytes);
    pki_sha256(bytes, at, out);
}
