/*
 * The inside of pki/tls.h, shared by tls.c (the connection) and tls_ctx.c
 * (what it shows, whom it believes). Inside pki only.
 */
#ifndef PKI_TLS_INSIDE_H
#define PKI_TLS_INSIDE_H

#include "pki/tls.h"
#include "pki/tls_pipe.h"
#include "pki/trust_inside.h"
#include <openssl/ssl.h>

struct pki_tls_ctx {
    unsigned refs;
    SSL_CTX *ssl_ctx;     /* owned */
    bool has_key;         /* it shows a certificate */
    pki_trust *trust;     /* counted; NULL for a client that enrolls */
    pki_pin *server_pins; /* owned */
    size_t server_pin_count;
};

/*
 *   GREETING --(server with half_rtt: own flight is out)--> HALF
 *      |                                                     |
 *      +---------------------> UP <--------------------------+
 *                              |
 *                            ENDED (close_notify came; writing goes on)
 *   each but FAILED --> FAILED
 */
enum tls_state { TLS_GREETING, TLS_HALF, TLS_UP, TLS_ENDED, TLS_FAILED };

struct tls_peer {
    struct pki_subject subject;
    pki_chain *chain; /* owned; NULL until someone asks */
};

struct pki_tls {
    SSL *ssl;         /* owned */
    pki_tls_ctx *ctx; /* counted */
    enum tls_state state;
    enum pki_side side;
    bool half_rtt;
    bool close_wanted; /* shutdown was called; close_notify goes out once we are up */
    bool has_peer_id;
    weft_err err;        /* in FAILED: why */
    weft_err verify_err; /* what the verify callback refused with */
    unsigned alpn;       /* offered */
    enum pki_alpn chosen;
    unsigned kinds;
    wf_id peer_id;
    pki_pin *peer_pins; /* owned; NULL: any */
    size_t peer_pin_count;
    struct tls_peer *peer; /* owned; NULL until the chain is verified */
    struct pki_tls_pipe pipe;
    uint32_t rekey_records;
    uint32_t records; /* written under the present key */
};

/* Key exchange: the post-quantum hybrid where libssl has it, X25519, P-256. tls_ctx.c. */
bool pki_tls_set_groups(SSL_CTX *ctx);
/* A client's offer of its one protocol; false without memory. tls_ctx.c. */
bool pki_tls_offer(pki_tls *tls);
/* Counts what comes in, for the bounds that libssl does not have; tls.c. */
void pki_tls_on_message(int writing, int version, int type, const void *data, size_t len, SSL *ssl,
                        void *arg);

#endif
