/*
 * A workbench for tests of links: one loop, one net, one authority, a router
 * that listens and a node that dials it, with what happened written down.
 */
#ifndef TESTS_LINK_BENCH_H
#define TESTS_LINK_BENCH_H

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/link/internal.h"
#include "proto/link/link.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

/* One end of a link and what it saw. */
struct end {
    struct bench *bench;
    wf_link *link; /* NULL once closed */
    unsigned secured, up, controls, frames, drained, closed;
    uint32_t last_label;
    size_t bytes;
    weft_err err;
    wf_why why;
    Weft__Wire__Control__OfCase last_control;
    uint64_t last_call;
    char agent[64];
    void (*on_frame)(struct end *end, struct wf_frame *frame);
    void (*on_control)(struct end *end, Weft__Wire__Control *message);
    void (*on_secured)(struct end *end);
    void (*on_up)(struct end *end);
    void (*on_closed)(struct end *end);
    void *extra;
};

struct bench {
    uv_loop_t loop;
    wf_net *net;
    bool net_closed;
    struct authority authority;
    struct authority_node router, ci;
    pki_trust *router_trust, *ci_trust;
    pki_tls_ctx *router_tls, *ci_tls;
    wf_listener *listener;
    wf_address address;
    struct end server, client; /* server: of the newest accepted link */
    bool refuse;
    bool crowd; /* accepted links are only counted, not written down in `server` */
    unsigned crowd_closed;
    unsigned accepted;
    char log[16384]; /* every line that was logged */
};

extern const struct wf_link_handler bench_handler;
const struct wf_link_handler *bench_accepted(void *arg, wf_link *link, void **link_arg);

/* A loop, a net and the authority's nodes; the log goes to bench.log. */
void bench_init(struct bench *b);
/* The router listens; NULL: for weft/1, with no cap that a test would notice. */
void bench_listen(struct bench *b, const struct wf_listener_config *config);
/* What `ci` dials the router with. */
struct wf_link_config bench_config(struct bench *b, struct end *end);
void bench_dial(struct bench *b);    /* b->client */
void bench_connect(struct bench *b); /* dials and waits until both ends are up */
/* Closes what is open, runs the loop to its end; what leaks, the sanitizer tells. */
void bench_fini(struct bench *b);

/* Turns the loop until the condition holds; fails after ms. */
#define bench_wait(b, ms, condition)                                                               \
    do {                                                                                           \
        uint64_t end_ = wf_now_mono_ms() + (ms);                                                   \
        while (!(condition) && wf_now_mono_ms() < end_) {                                          \
            (void)uv_run(&(b)->loop, UV_RUN_NOWAIT);                                               \
            if (!(condition))                                                                      \
                uv_sleep(1);                                                                       \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)
/* Turns the loop for ms. */
void bench_run(struct bench *b, unsigned ms);

/* ---- a peer that isn't ours: a plain socket, with TLS on it if asked for */

struct rogue {
    struct bench *bench;
    int fd;
    pki_tls *tls;         /* NULL: plain */
    weft_err err;         /* what TLS ended with */
    bool ended;           /* the other side closed */
    uint8_t got[1 << 17]; /* plaintext that came */
    size_t got_len;
};

void rogue_connect(struct rogue *r, struct bench *b); /* plain */
/* As a client with this TLS; returns at once, see rogue_pump. */
void rogue_secure(struct rogue *r, pki_tls_ctx *tls, enum pki_alpn alpn);
void rogue_pump(struct rogue *r); /* reads what there is */
bool rogue_is_up(struct rogue *r);
void rogue_send(struct rogue *r, const void *data, size_t len);
void rogue_send_control(struct rogue *r, const Weft__Wire__Control *message);
void rogue_send_hello(struct rogue *r, unsigned version_min, unsigned version_max);
void rogue_fini(struct rogue *r);

#define rogue_wait(r, ms, condition) bench_wait((r)->bench, ms, (rogue_pump(r), (condition)))

#endif
