/*
 * All services and policies, in memory, in the form that policy_decide wants.
 * Read from the store when first asked for, forgotten whenever a call changed
 * them or was taken back.
 */
#ifndef CONTROLLER_CATALOG_H
#define CONTROLLER_CATALOG_H

#include "controller/store.h"

struct catalog_service {
    struct policy_thing thing; /* attributes are owned */
    char name[WF_NAME_MAX + 1];
};

struct catalog {
    bool loaded;
    struct catalog_service *services; /* owned, by name */
    size_t service_count, service_cap;
    struct policy_rule *rules; /* owned, with what they point to; by name */
    size_t rule_count, rule_cap;
};

/* Loads if need be. WEFT_EIO, WEFT_ENOMEM. */
weft_err catalog_load(struct catalog *catalog, store *s);
void catalog_forget(struct catalog *catalog);
/* NULL if absent; valid until the catalog is forgotten. */
const struct catalog_service *catalog_find(const struct catalog *catalog, const char *name);
const struct catalog_service *catalog_get(const struct catalog *catalog, const wf_id *id);
bool catalog_may(const struct catalog *catalog, const struct policy_thing *identity,
                 const struct catalog_service *service, enum policy_type type);
struct policy_decision catalog_decide(const struct catalog *catalog,
                                      const struct policy_thing *identity,
                                      const struct catalog_service *service, enum policy_type type);

/* An identity as policy sees it; borrows from node. */
struct policy_thing catalog_thing(const struct store_node *node);

#endif
