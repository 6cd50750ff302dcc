/* A listener's inside: one service that is kept bound. */
#ifndef SDK_LISTENER_H
#define SDK_LISTENER_H

#include "sdk/endpoint.h"

enum wf_bind_state {
    WF_BIND_NONE,  /* no bind stands on this router */
    WF_BIND_REPLY, /* expects its answer */
    WF_BIND_BOUND,
};

struct wf_bind {
    wf_edge *edge; /* borrowed: until it is lost or closed; NULL: the slot is free */
    enum wf_bind_state state;
    uint64_t request;
    uint64_t renew_at; /* wall ms: it is bound again then */
};

struct weft_listener {
    wf_node node;            /* in endpoint->listeners */
    weft_endpoint *endpoint; /* borrowed: outlives us */
    char service_name[WF_NAME_MAX + 1];
    wf_id service; /* zero until a grant names it */
    wf_id instance;
    char instance_text[WF_ID_TEXT];
    const struct weft_listener_handler *handler; /* borrowed: static */
    void *arg;
    struct wf_bind binds[WF_BINDS_MAX];
    struct wf_wait wait; /* for a grant */
    bool is_waiting;
    bool had_grant;    /* when last looked at */
    bool rests;        /* outside of the grant's hours */
    uint64_t retry_at; /* wall ms: not asked for a grant again before */
    uint64_t sequence;
    unsigned told; /* routers, as the user knows */
    bool was_told;
    bool is_closed;    /* `closed` is due */
    struct wf_job job; /* tells the user */
    weft_err err;
    wf_why why;
};

/* The controller is there (again): a listener that lacks its grant asks now. */
void wf_listeners_controller_up(weft_endpoint *e);

#endif
