/*
 * The stage: one loop with a router gone bad, a host and a dialer that embed
 * the real library, and Mallory, an enrolled identity with no rights. No
 * controller: both identities carry what they need.
 */
#ifndef TESTS_HOSTILE_STAGE_H
#define TESTS_HOSTILE_STAGE_H

#include "proto/base/clock.h"
#include "router/router.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/hostile/bad.h"
#include <uv.h>
#include <weft/weft.h>

#define TALK_MAX (1u << 20)

/* What one application says and hears. */
struct side {
    weft_endpoint *endpoint;
    weft_stream *stream; /* NULL: none yet, or closed */
    size_t to_say, said;
    size_t heard;
    bool is_host, opened, ended, closed;
    bool spoilt;  /* a byte that the other side never wrote there */
    weft_err err; /* of closed */
    char why[WEFT_WHY_MAX];
    char peer[65]; /* who the library says the other side is */
};

struct stage {
    uv_loop_t loop;
    uv_timer_t timer;
    wf_net *net;
    struct authority a;
    struct router *router;
    struct authority_node router_node, host_node, dialer_node, mallory;
    wf_id web, other;            /* two services; the host may bind and the dialer may dial both */
    struct side host, dialer;    /* of the conversation under way */
    weft_listener *listeners[2]; /* of "web" and "other"; NULL: closed */
    unsigned bound, incoming;
    bool web_is_bound;
    bool finished[3];
    wf_address address; /* of the router */
    /* What the grants for "web" and "other" are bound to, from stage_open on. */
    struct pki_terms terms[2]; /* of the dialer, of the host */
};

void stage_open(struct stage *s);
/* The same with grants that are bound to terms: the dialer's and the host's; NULL: to none. */
void stage_open_bound(struct stage *s, const struct pki_terms *dialer, const struct pki_terms *host,
                      const char *listen);
void stage_close(struct stage *s);
/* An endpoint of this node that carries a grant for each service and the router's record. */
weft_endpoint *stage_endpoint(struct stage *s, const struct authority_node *node,
                              Weft__Wire__Role role);
/* Binds "web" (again, after its listener was closed). */
weft_err stage_listen(struct stage *s);

#define stage_wait(s, ms, condition)                                                               \
    do {                                                                                           \
        uint64_t end_ = wf_now_mono_ms() + (ms);                                                   \
        while (!(condition) && wf_now_mono_ms() < end_)                                            \
            stage_turn(s);                                                                         \
    } while (0)
void stage_turn(struct stage *s); /* the loop once, for at most a few ms */

/*
 * One conversation over "web": the dialer says `up` bytes and ends, the host
 * `down` bytes and ends. Returns when both are closed or ms have passed; what
 * is left is given up then.
 */
void stage_talk(struct stage *s, size_t up, size_t down, unsigned ms);

/*
 * What must hold whatever the router did: what was heard was said, in order,
 * from the beginning; a clean end was only seen after the last byte; and a
 * side that closed cleanly had heard it all.
 */
void stage_assert_no_gain(const struct stage *s);
/* All of the above, and the conversation was whole and clean: the router was honest enough. */
void stage_assert_whole(const struct stage *s);

/* Whether a link of the router leads to this node. */
bool stage_is(const wf_link *link, const struct authority_node *node);

#endif
