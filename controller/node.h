/* What identities and routers have in common as things that administrators create and withdraw. */
#ifndef CONTROLLER_NODE_H
#define CONTROLLER_NODE_H

#include "controller/operation.h"

struct json_t;

#define NODE_TOKEN_LIFE_S 86400u
#define NODE_TOKEN_LIFE_MAX_S (30u * 86400u)

/*
 * Whether this key is one of the enrolled node's: certified for it, and not withdrawn. There are
 * several while a change of key is under way.
 */
weft_err node_key_lives(store *s, const struct store_node *node, const pki_pin *pin, bool *out);
/* The node's living keys that pin it, this one first: how many were put (at most WF_PINS_MAX). */
weft_err node_pins(store *s, const wf_id *node, const pki_pin *first, uint64_t now,
                   pki_pin pins[WF_PINS_MAX], size_t *count);
/* "identity", "router". */
const char *node_word(enum pki_kind kind);
/* The node that `name` or `id` among the arguments names, if the call may touch it. */
weft_err node_find(struct call *call, struct args *args, enum pki_kind kind,
                   struct store_node *out);
/* The same where there must be no other argument. */
weft_err node_find_only(struct call *call, struct args *args, enum pki_kind kind,
                        struct store_node *out);
/* Whether the name is free: not taken, and no living certificate carries it. */
weft_err node_name_is_free(struct call *call, enum pki_kind kind, const char *name);
/* Adds the node (its id and created are filled here) with a token, as JSON text (the caller's). */
weft_err node_create(struct call *call, struct store_node *node, uint64_t token_life_s,
                     struct json_t **token);
/* A new token; older ones that nobody redeemed are void. */
weft_err node_token(struct call *call, const struct store_node *node, uint64_t token_life_s,
                    struct json_t **token);
/* Disables: a cut floor, its links are closed. */
weft_err node_disable(struct call *call, struct store_node *node);
/* Takes the cut away; grants of before stay dead. */
weft_err node_enable(struct call *call, struct store_node *node);
/* Deletes: a cut floor, its links are closed, its name rests as long as its certificate lives. */
weft_err node_delete(struct call *call, const struct store_node *node);

/*
 * Argument "life_s": seconds that a certificate lasts, WF_LEAF_LIFE_MIN_MS to
 * WF_LEAF_LIFE_MAX_MS; *out is 0 where it isn't given. WEFT_EINVAL: outside.
 */
weft_err node_args_life(struct args *args, uint64_t *out);
/* Certificates of the node last so long from its next one on. The node is in the store. */
weft_err node_set_life(struct call *call, struct store_node *node, uint64_t life_s);

#endif
