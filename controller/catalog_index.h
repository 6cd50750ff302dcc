/* The catalog's indexes of rules: by the ids, the attributes and the `#all` of one side. */
#ifndef CONTROLLER_CATALOG_INDEX_H
#define CONTROLLER_CATALOG_INDEX_H

#include "controller/catalog.h"

weft_err catalog_index_init(struct catalog_index *index);
void catalog_index_fini(struct catalog_index *index); /* also of one that is all zero */
/* roles: those of this rule on the index's side. On an error a part of it may be known. */
weft_err catalog_index_add(struct catalog_index *index, struct catalog_rule *rule,
                           const struct policy_roles *roles);
void catalog_index_remove(struct catalog_index *index, const struct catalog_rule *rule,
                          const struct policy_roles *roles);

/* Lists that together hold each rule which may match the thing, some of them twice. */
struct catalog_candidates {
    const struct catalog_list *lists[POLICY_ROLES_MAX + 2];
    size_t count, total; /* total: of rules */
};
void catalog_index_find(const struct catalog_index *index, const struct policy_thing *thing,
                        struct catalog_candidates *out);
/* The rules that name this id; NULL: none. */
const struct catalog_list *catalog_index_of_id(const struct catalog_index *index, const wf_id *id);

/* SHA-256 of what the conditions mean, whatever their spelling; zero of none. */
void conditions_digest(const struct conditions *conditions, uint8_t out[CATALOG_DIGEST]);

#endif
