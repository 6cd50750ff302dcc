/*
 * Mallory: an enrolled identity that speaks to the router in raw frames and
 * runs the library's own end-to-end session over them, with whatever
 * certificate, grant and HELLO the test gives her.
 */
#ifndef TESTS_HOSTILE_MALLORY_H
#define TESTS_HOSTILE_MALLORY_H

#include "sdk/session.h"
#include "tests/hostile/stage.h"

/* What she pretends. Pointers are borrowed as long as she is at work. */
struct pretence {
    const struct authority_node *who; /* whose certificate and key she shows end to end */
    pki_trust *trust;                 /* what she believes herself; NULL: the fabric's */
    struct wf_hello hello;            /* zero ids: what is right */
};

struct mallory {
    struct stage *stage;
    struct pretence pretence;
    pki_trust *trust;
    pki_tls_ctx *hop, *end_to_end;
    wf_link *link; /* NULL: closed */
    wf_session *session;
    struct wf_scratch *scratch;
    wf_id instance, session_id;
    wf_buf first;       /* what the session said before the circuit stood */
    uint32_t out_label; /* 0: no circuit */
    bool up, collecting;
    unsigned bind_replies, setups, setup_replies, verified, opened, heard, over;
    weft_err err, setup_code;
    uint8_t evil[64];
};

void mallory_open(struct mallory *m, struct stage *stage);
/* Binds the stage's "web" on a router that believes her. */
void mallory_bind(struct mallory *m, const Weft__Wire__Signed *grant);
/* Dials the stage's host through a router that believes her; waits for what comes of it. */
void mallory_dial(struct mallory *m, const Weft__Wire__Signed *outer_grant);
/* Sends bytes that were recorded elsewhere as a SETUP, and more of them as DATA. */
void mallory_replay(struct mallory *m, const Weft__Wire__Signed *outer_grant, wf_span first,
                    wf_span rest);
void mallory_close(struct mallory *m);

/* A grant with every field as the test wants it, signed by `key`. The caller's to free. */
struct mint {
    const char *domain; /* NULL: the right one */
    wf_id service, subject;
    pki_pin pin;
    Weft__Wire__Role role;
    uint64_t not_before, expiry, epoch;
    const pki_key *key; /* NULL: the policy key */
};
/* What is right for this node, service and role. */
struct mint mint_of(const struct stage *stage, const struct authority_node *node,
                    const wf_id *service, Weft__Wire__Role role);
Weft__Wire__Signed *mint(const struct stage *stage, const struct mint *m);

#endif
