/*
 * One turn of the loop: what has to happen once its calls are durable.
 * Handlers write to the store and note effects here; when the turn ends, the
 * store commits, and only then do the effects take place, in order. A call
 * that fails takes its effects back together with its savepoint.
 */
#ifndef CONTROLLER_TURN_H
#define CONTROLLER_TURN_H

#include "pki/cert.h"
#include "proto/base/list.h"

struct api_reply;
struct peer;

struct effect {
    wf_node node;
    enum effect_kind {
        EFFECT_REPLY,   /* peer, call, code, why, bytes: the result */
        EFFECT_FLOORS,  /* version, bytes: an encoded Signed to apply and to push to all */
        EFFECT_GRANTS,  /* peer, or subject: tell this identity that its grants changed */
        EFFECT_MEMBERS, /* tell all that the routers changed */
        EFFECT_DROP,    /* kind, subject: close this node's links, it is cut */
        EFFECT_SESSION, /* subject: the session to cut */
        EFFECT_HTTP,    /* reply: of the HTTPS API */
        EFFECT_LOG,     /* bytes: a line about an act of an administrator */
    } kind;
    struct api_reply *reply; /* owned; answered when it goes, if not before */
    struct peer *peer;       /* borrowed; NULL once it has gone, or for none */
    uint64_t call;
    weft_err code;
    wf_why why;
    enum pki_kind of;
    wf_id subject;
    uint64_t version;
    wf_buf bytes; /* owned */
};

struct turn {
    wf_node effects;
    size_t count;
};

void turn_init(struct turn *turn);
void turn_fini(struct turn *turn);
/* Adds an effect to be filled; NULL without memory. max: of its bytes. */
struct effect *turn_add(struct turn *turn, enum effect_kind kind, size_t max);
/* Where we are now, for turn_undo: takes back what was added since. */
size_t turn_mark(const struct turn *turn);
void turn_undo(struct turn *turn, size_t mark);
/* Takes the first one out, the caller frees it; NULL: none. */
struct effect *turn_take(struct turn *turn);
void effect_free(struct effect *effect);
/* The peer's link has gone: nobody is there to be answered. */
void turn_forget_peer(struct turn *turn, const struct peer *peer);

#endif
