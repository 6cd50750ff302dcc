/* Two ends of a TLS in memory, with the bytes between them in the test's hands. */
#ifndef TESTS_PKI_PAIR_H
#define TESTS_PKI_PAIR_H

#include "pki/tls.h"

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

#endif
