/* Things as JSON objects, as docs/operations.md describes them. */
#ifndef CONTROLLER_VIEW_H
#define CONTROLLER_VIEW_H

#include "controller/operation.h"

/* New objects, the caller's; NULL without memory (or, for a policy, when the store fails). */
struct json_t *view_identity(const struct store_node *node);
/* subject and ends: of its certificate. An unverified one shows what its key is to sign. */
struct json_t *view_ca(const struct controller *c, const struct store_ca *ca, const char *subject,
                       uint64_t ends);
struct json_t *view_issuer(const struct store_issuer *issuer);
struct json_t *view_service(const struct store_service *service);
struct json_t *view_policy(store *s, const struct store_policy *policy);
struct json_t *view_router(const struct controller *c, const struct store_node *node);
struct json_t *view_admin(const struct store_node *node, unsigned rights);
struct json_t *view_session(struct controller *c, const struct session *session);

/* Takes object (NULL: out of memory) and appends its text. */
weft_err view_put(struct json_t *object, wf_buf *out);
/* Takes object (NULL: out of memory) and writes it as the call's result. */
weft_err view_answer(struct call *call, struct json_t *object);

/*
 * A listing: items as long as they fit into a reply; `next` is the name to go
 * on behind (argument `after`) when there is more.
 */
#define VIEW_FILTERS 8u
struct view_list {
    struct json_t *items; /* owned */
    size_t bytes;         /* of the items so far */
    size_t left;          /* items that may still come */
    size_t looked_at;     /* also at what didn't fit the filters */
    char last[WF_NAME_MAX + 1];
    char prefix[WF_NAME_MAX + 1];
    char filters[VIEW_FILTERS][WF_NAME_MAX + 2]; /* "": none. See view.c */
    bool more;
    struct call *call;
};
/*
 * Reads the arguments of a listing: `after` ("" if absent, also written to
 * `after`), `limit`, `prefix` and the filters (docs/operations.md); there must
 * be no other argument.
 */
weft_err view_list_open(struct view_list *list, struct call *call, struct args *args,
                        char after[WF_NAME_MAX + 1]);
/* Takes item, and keeps it if it fits the filters. WEFT_EEOF when there is no room for more. */
weft_err view_list_add(struct view_list *list, const char *name, struct json_t *item);
/* Writes the answer if err is WEFT_OK; frees. */
weft_err view_list_close(struct view_list *list, weft_err err);

#endif
