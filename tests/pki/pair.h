/* Two ends of a TLS in memory, with the bytes between them in the test's hands. */
#ifndef TESTS_PKI_PAIR_H
#define TESTS_PKI_PAIR_H

#include "pki/tls.h"
#include "tests/helpers/authority.h"

struct end {
    pki_tls *tls; /* owned */
    wf_buf out;   /* ciphertext on its way to the other end */
    wf_buf in;    /* what the last feed lent */
    wf_buf heard; /* plaintext that came */
    weft_err err; /* the first error of handshake or read; WEFT_OK so far */
    wf_why why;
    size_t outputs;         /* calls of the output function */
    weft_err refuse_output; /* what the output function answers */
};

struct pair {
    struct end client, server;
};

/* Default sides and outputs are filled in. Aborts if either can't be made. */
void pair_open(struct pair *p, pki_tls_ctx *client, struct pki_tls_config client_config,
               pki_tls_ctx *server, struct pki_tls_config server_config);
void pair_close(struct pair *p);
/* Everything that `from` has put out goes to `to`, in pieces of step bytes (0: all at once). */
void pair_carry(struct end *from, struct end *to, size_t step);
/* Feeds bytes and reads until the TLS wants more. */
void pair_feed(struct end *to, const void *data, size_t len);
/* Carries both ways until nothing moves. */
void pair_settle(struct pair *p);

/* ---- who meets in the tests */

/* A router that serves, an identity and a host that dial; each end with a trust of its own. */
struct world {
    struct authority a;
    struct authority_node router, ci, host;
    pki_trust *near, *far; /* what the clients and what the servers believe */
    pki_tls_ctx *router_ctx, *ci_ctx, *host_ctx;
};

/* A CMocka setup and its teardown. */
int open_world(void **state);
int close_world(void **state);

extern const struct pki_tls_config link_to_router, link_from_identity, e2e_to_host, e2e_from_dialer;

/* The identity and the router, up on both sides. */
void meet(struct pair *p, const struct world *w);
/* Writes, and asserts that it may. */
void say(struct end *end, const void *data, size_t len);
void assert_heard(const struct end *end, const void *data, size_t len);

#endif
