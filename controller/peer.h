/*
 * Peers: the nodes that are connected at this moment, their calls in, replies
 * and pushes out.
 */
#ifndef CONTROLLER_PEER_H
#define CONTROLLER_PEER_H

#include "controller/controller.h"

struct peer {
    wf_node node; /* in controller.peers */
    wf_node owed; /* in controller.owed, while a notice is to go to it: notice.h */
    bool is_owed_grants, is_owed_members;
    struct controller *c; /* borrowed: outlives us */
    wf_link *link;        /* borrowed: until its `closed` */
    unsigned who;         /* operation_who, without WHO_ADMIN */
    bool is_known;        /* subject is filled: all but anonymous ones */
    struct pki_subject subject;
    uint64_t floors_version;  /* what its Hello said */
    uint64_t bundle_version;  /* likewise; 0: it didn't */
    bool is_told;             /* of the last rotation: see follow.h */
    unsigned pending;         /* calls whose replies wait for the commit */
    unsigned calls;           /* in all */
    uint64_t since;           /* monotonic ms */
    struct wf_quota *quota;   /* borrowed: the node's row; NULL: anonymous */
    uint64_t answered;        /* newest version when a FLOORS_WANTED was answered; 0: never */
    uint64_t answers_full_at; /* wf_quota_draw of those answers */
};

/* For wf_listener_config.accepted; its arg is the controller. */
const struct wf_link_handler *peer_accept(void *controller, wf_link *link, void **arg);
/* Lets an effect of a committed turn happen. */
void peer_apply(struct controller *c, struct effect *effect);
bool peer_is_online(const struct controller *c, enum pki_kind kind, const wf_id *id);
/* Closes anonymous links that stay too long, and links whose certificates have ended. */
void peer_sweep(struct controller *c, uint64_t now_mono, uint64_t now_wall);
void peer_close_all(struct controller *c);

/* Walks the links of connected identities. */
typedef weft_err (*peer_identity_fn)(void *arg, struct peer *peer);
weft_err peer_each_identity(const struct controller *c, peer_identity_fn row, void *arg);

#endif
