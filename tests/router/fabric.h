/*
 * A whole fabric in one loop: real routers, and endpoints that speak raw
 * frames, so that a test can say anything an endpoint could, right or wrong.
 */
#ifndef TESTS_ROUTER_FABRIC_H
#define TESTS_ROUTER_FABRIC_H

#include "proto/base/clock.h"
#include "proto/link/link.h"
#include "router/router.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <string.h>
#include <uv.h>

struct fabric {
    uv_loop_t loop;
    wf_net *net;
    struct authority a;
    wf_id service;
    bool net_gone;
    char log[65536];
};

void fabric_init(struct fabric *f);
void fabric_fini(struct fabric *f);

/* Turns the loop until the condition holds; fails after ms. */
#define fabric_wait(f, ms, condition)                                                              \
    do {                                                                                           \
        uint64_t end_ = wf_now_mono_ms() + (ms);                                                   \
        while (!(condition) && wf_now_mono_ms() < end_) {                                          \
            (void)uv_run(&(f)->loop, UV_RUN_NOWAIT);                                               \
            if (!(condition))                                                                      \
                uv_sleep(1);                                                                       \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)
void fabric_run(struct fabric *f, unsigned ms);

/* ---- a router */

struct station {
    struct fabric *f;
    struct authority_node node;
    struct router *router; /* NULL once it is gone */
    wf_address address;
    const char *home;
    uint64_t memory;
    unsigned links_per_identity;
};

void station_init(struct station *s, struct fabric *f, const char *name);
void station_start(struct station *s); /* home and memory as set */
void station_stop(struct station *s);
void station_fini(struct station *s);
const struct router_counters *station_counters(struct station *s);
/* Each gets the other's member record, and they link. */
void stations_join(struct station *a, struct station *b);
/* Floors of this version, from nobody: {identity cut} and the like. previous NULL: a snapshot. */
void fabric_digest(const Weft__Wire__Signed *record, uint8_t out[32]);
Weft__Wire__Signed *fabric_floor(struct fabric *f, uint64_t version, const uint8_t *previous,
                                 Weft__Wire__Floor *floor);

struct raw;
/* Until released, the router's link to this endpoint takes nothing, as if its socket were full. */
void station_stall(struct station *s, const struct raw *r);
void station_release(struct station *s, const struct raw *r);

/* ---- an endpoint that speaks raw frames */

#define RAW_SEEN 64
#define RAW_LABELS 256

struct raw_setup {
    uint32_t label;
    wf_id service, session, instance;
    uint64_t window;
    size_t first_len, path_len, chain_len;
    bool has_grant;
    uint8_t first[256];
};

struct raw_reply {
    uint32_t to, label, code;
    uint64_t window;
    size_t first_len;
    uint8_t first[256];
    char reason[WF_REASON_MAX + 1];
};

struct raw {
    struct fabric *f;
    struct authority_node node;
    pki_trust *trust;
    pki_tls_ctx *tls;
    wf_link *link; /* NULL: closed */
    bool is_up;
    weft_err err; /* what the link ended with */
    wf_why why;
    uint64_t floors_version;       /* to say in our Hello */
    Weft__Wire__Signed *member;    /* owned; to show in our Hello */
    uint64_t bytes_of[RAW_LABELS]; /* DATA by label modulo RAW_LABELS */
    bool may_fail;                 /* its own sending may: memory is short */
    bool answers_close;            /* sends the CLOSE back, as an endpoint should (the default) */

    unsigned setup_count, reply_count, bind_count, close_count, ack_count, data_count, floors_count;
    struct raw_setup setups[RAW_SEEN];
    struct raw_reply replies[RAW_SEEN];
    uint32_t bind_code;
    uint32_t close_label, close_code;
    uint32_t closes[RAW_SEEN]; /* labels, in order */
    uint32_t data_label;
    uint64_t data_bytes;
    uint8_t data_last[256]; /* the beginning of the last frame's payload */
    uint64_t data_sum;      /* of all payload bytes */
    struct wf_ack ack;
    uint32_t out_label; /* what answers_close sends back on; set by the test */
};

void raw_init(struct raw *r, struct fabric *f, const char *name);
/* A second link of the same identity. */
void raw_init_same(struct raw *r, struct fabric *f, const struct raw *other);
/* As another kind of node; a router shows this member record (taken; NULL: none). */
void raw_init_as(struct raw *r, struct fabric *f, enum pki_kind kind, const char *name);
void raw_open(struct raw *r, struct station *s);  /* and waits until it is up */
void raw_start(struct raw *r, struct station *s); /* and doesn't wait */
void raw_pause(struct raw *r);                    /* doesn't read from its socket any more */
void raw_resume(struct raw *r);
void raw_fini(struct raw *r); /* closes the link if need be */

/* Binds with a right grant and waits for the answer; the instance. */
wf_id raw_bind(struct raw *r, struct station *s);
/* As it says; code of the answer. */
uint32_t raw_bind_with(struct raw *r, Weft__Wire__Signed *bind, Weft__Wire__Signed *grant);

/* What a SETUP says; zero fields get what is right. */
struct raw_dial {
    uint32_t label;
    uint64_t window;
    const void *first;
    size_t first_len;
    Weft__Wire__Signed *grant; /* borrowed; NULL: a right one */
    const wf_id *service, *session, *instance;
};
void raw_dial(struct raw *r, const struct raw_dial *dial);
void raw_answer(struct raw *r, uint32_t to, uint32_t label, uint64_t window, uint32_t code,
                const void *first, size_t first_len);
void raw_data(struct raw *r, uint32_t label, const void *data, size_t len);
void raw_zeros(struct raw *r, uint32_t label, size_t len); /* one frame of so many bytes */
void raw_ack(struct raw *r, uint32_t label, uint64_t received, uint64_t credit);
void raw_close(struct raw *r, uint32_t label, weft_err code);

/* A standing circuit: labels on which each of the two sends. */
struct raw_circuit {
    uint32_t dialer_out, host_out; /* router's labels: the dialer and the host put them on */
    uint32_t dialer_in, host_in;   /* the endpoints' own */
};
/* Dials, answers, waits; windows as given (0: the default). */
struct raw_circuit raw_connect(struct raw *dialer, struct raw *host, uint64_t window);

#endif
