/*
 * Two ends of a session in memory, with a hostile router between them. Each
 * end is an honest session or a liar: bare TLS that says whatever the test
 * wants it to say.
 */
#ifndef TESTS_SDK_TALK_H
#define TESTS_SDK_TALK_H

#include "sdk/session.h"
#include "tests/helpers/authority.h"

enum { DIALER, HOST };

struct message {
    struct message *next;
    bool is_ack;
    struct wf_ack ack;
    size_t len;
    uint8_t bytes[];
};

struct talk;

struct end {
    struct talk *talk;
    int side;
    wf_session *session;          /* NULL: a liar, or not made yet */
    pki_tls *liar;                /* NULL: an honest one */
    struct message *first, *last; /* what it has sent and the router still holds */
    uint64_t sent;                /* bytes of ciphertext, ever */
    wf_buf heard;                 /* DATA that the application took, or plaintext of a liar */
    size_t take;  /* how much of the next calls the application takes; SIZE_MAX: all */
    bool blocked; /* the hop has no room */
    unsigned verified, opened, ended, writable, over, datagrams, floors;
    size_t datagram_bytes;
    weft_err err;
    char why[WEFT_WHY_MAX];
    void (*on_data)(struct end *end); /* called from inside `data` */
};

struct talk {
    struct authority a;
    struct authority_node ci, host, other;
    pki_trust *trust[2];
    pki_tls_ctx *ctx[2];
    pki_tls_ctx *other_ctx; /* trusts as the dialer does */
    Weft__Wire__Signed *grant[2];
    struct wf_scratch *scratch;
    wf_id service, session, instance;
    wf_id asked; /* the instance that the dialer wants; zero: any */
    uint64_t window;
    bool datagram;
    bool apply_floors; /* that come with a HELLO */
    bool answered;
    bool is_lost; /* the circuit was closed: an end went over, and the other has heard of it */
    struct end end[2];
    /* Between the ends: changes bytes (of a direction, from this offset on); false: drops them. */
    bool (*meddle)(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len);
    void *meddle_arg;
    uint64_t offset[2]; /* of what was delivered */
};

/* Issuing takes time: one world serves many conversations. */
void talk_world_open(struct talk *t);
void talk_world_close(struct talk *t);

/* Two honest sessions, not started. The talk's ids, grants and window go in. */
void talk_open(struct talk *t);
void talk_open_end(struct talk *t, int side);
/* A liar in place of one of them; ctx NULL: the right identity. */
void talk_open_liar(struct talk *t, int side, pki_tls_ctx *ctx);
void talk_close(struct talk *t);

/* CMocka setups and teardowns, of the world named before; it is borrowed from then on. */
void talk_use(struct talk *t);
int open_world(void **state);
int close_world(void **state);
int close_talk(void **state);

/* Starts the dialer and delivers until nothing moves. */
void talk_start(struct talk *t);
void talk_settle(struct talk *t);
/* As talk_start; the host accepts; both are open. */
void talk_meet(struct talk *t);
/* The circuit ends: whoever isn't over hears that it is lost. */
void talk_cut(struct talk *t);

/* A HELLO as the liar wants it; NULL or zero fields stay out. */
void liar_hello(struct end *end, const struct wf_hello *hello);
/* One item with these bytes as content, or plain bytes without a header. */
void liar_item(struct end *end, enum wf_item_type type, const void *content, size_t len);
void liar_say(struct end *end, const void *bytes, size_t len);
/* What an honest end of that side would say. */
struct wf_hello talk_hello(const struct talk *t, int side);

/* Writes all of it, delivering in between; the other side must take it. */
void talk_write(struct talk *t, int side, const void *data, size_t len);

#endif
