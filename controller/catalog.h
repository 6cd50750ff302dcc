/*
 * All services and policies, in memory, in the form that policy_decide wants,
 * with indexes: what concerns one identity and one service is found without
 * a walk over all rules.
 *
 * Read from the store when first asked for. After each change the thing that
 * changed is read again by its id (catalog_sync), and so it is after a change
 * was taken back: one function, whichever way the store went.
 */
#ifndef CONTROLLER_CATALOG_H
#define CONTROLLER_CATALOG_H

#include "controller/store.h"
#include "proto/base/map.h"

struct catalog_service {
    struct policy_thing thing; /* attributes are owned */
    char name[WF_NAME_MAX + 1];
    struct store_limits limits;
};

#define CATALOG_DIGEST 32

struct catalog_rule {
    struct policy_rule rule; /* owned, with what it points to */
    struct conditions conditions;
    uint8_t digest[CATALOG_DIGEST]; /* of the conditions, however they were written; zero: none */
};

/* Rules by one side of them: what names an id, what names an attribute, what names all. */
struct catalog_list {
    struct catalog_rule **rules; /* owned; not what it points to */
    size_t count, cap;
};
struct catalog_index {
    wf_map *ids, *attributes; /* owned: struct catalog_list */
    struct catalog_list all;
};

struct catalog {
    bool loaded;
    struct catalog_service **services; /* owned, by name */
    size_t service_count, service_cap;
    struct catalog_rule **rules; /* owned, by name */
    size_t rule_count, rule_cap;
    wf_map *service_ids, *rule_ids; /* owned; values are the above */
    wf_map *identities;             /* owned: those that were asked for */
    struct catalog_index by_identity, by_service;
};

/* Loads if need be. WEFT_EIO, WEFT_ENOMEM. */
weft_err catalog_load(struct catalog *catalog, store *s);
void catalog_forget(struct catalog *catalog);

enum catalog_kind { CATALOG_SERVICE, CATALOG_POLICY, CATALOG_IDENTITY };
/* The thing as the store holds it now; gone there, gone here. On an error all is forgotten. */
weft_err catalog_sync(struct catalog *catalog, store *s, enum catalog_kind kind, const wf_id *id);
/* The policies that name this identity or service by its id: at most max; how many there are. */
size_t catalog_naming(const struct catalog *catalog, enum catalog_kind kind, const wf_id *id,
                      wf_id *out, size_t max);

/* NULL if absent. What these give is valid until the next sync or forget. */
const struct catalog_service *catalog_find(const struct catalog *catalog, const char *name);
const struct catalog_service *catalog_get(const struct catalog *catalog, const wf_id *id);
const struct catalog_rule *catalog_rule(const struct catalog *catalog, const wf_id *id);
/* The identity as policy sees it. WEFT_ENOTFOUND. */
weft_err catalog_identity(struct catalog *catalog, store *s, const wf_id *id,
                          const struct policy_thing **out);

/* By roles alone: whether some rule fits, whatever its conditions; except: not this one. */
bool catalog_may(const struct catalog *catalog, const struct policy_thing *identity,
                 const struct catalog_service *service, enum policy_type type, const wf_id *except);
/* The rule that decides in favour; NULL: none does, or the identity is disabled. */
const struct catalog_rule *catalog_allows(const struct catalog *catalog,
                                          const struct policy_thing *identity,
                                          const struct catalog_service *service,
                                          enum policy_type type, const struct policy_facts *facts);
/*
 * catalog_allows for one identity and many services: the rules that match the
 * identity, and whose conditions hold, are found once. Valid as long as they are.
 */
struct catalog_mine {
    const struct catalog_rule **rules; /* owned */
    size_t count;
};
weft_err catalog_mine(const struct catalog *catalog, const struct policy_thing *identity,
                      const struct policy_facts *facts, struct catalog_mine *out);
const struct catalog_rule *catalog_mine_allows(const struct catalog_mine *mine,
                                               const struct catalog_service *service,
                                               enum policy_type type);
void catalog_mine_free(struct catalog_mine *mine);
/* A rule that fits by roles and asks for exactly this, or for nothing. NULL: none. */
const struct catalog_rule *catalog_stands(const struct catalog *catalog,
                                          const struct policy_thing *identity,
                                          const struct catalog_service *service,
                                          enum policy_type type,
                                          const uint8_t digest[CATALOG_DIGEST]);
/* policy_decide over all rules: the same, with the nearest one where it denies. */
struct policy_decision catalog_decide(const struct catalog *catalog,
                                      const struct policy_thing *identity,
                                      const struct catalog_service *service, enum policy_type type,
                                      const struct policy_facts *facts);

/* An identity as policy sees it; borrows from node. */
struct policy_thing catalog_thing(const struct store_node *node);

#endif
