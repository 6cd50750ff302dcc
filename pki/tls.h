/*
 * TLS 1.3 without I/O: ciphertext in, plaintext out, and back. Used by the
 * hop (proto/link) and by the end-to-end session (sdk). Mutual
 * authentication through pki/trust.h, tickets and early data off, KeyUpdate
 * every WF_REKEY_RECORDS records. There is no way to switch protection off.
 */
#ifndef PKI_TLS_H
#define PKI_TLS_H

#include "pki/trust.h"

/* Also used as a mask. */
enum pki_alpn {
    PKI_ALPN_LINK = 1,   /* "weft/1": certificates on both sides */
    PKI_ALPN_ENROLL = 2, /* "weft-enroll/1": the client has none */
    PKI_ALPN_RENEW = 4,  /* "weft-renew/1": forgives the client exactly "expired" */
    PKI_ALPN_E2E = 8,    /* "weft-e2e/1": inside the session */
};

/* What a node shows and whom it believes. Shared by its connections; counted. */
typedef struct pki_tls_ctx pki_tls_ctx;

struct pki_tls_identity {
    const pki_key *key;         /* copied (counted); NULL for a client that enrolls */
    const pki_chain *chain;     /* copied (counted) */
    pki_trust *trust;           /* counted; NULL for a client that enrolls */
    const pki_pin *server_pins; /* enrolling: the server's leaf key must be one of these; copied */
    size_t server_pin_count;
};
weft_err pki_tls_ctx_new(const struct pki_tls_identity *identity, pki_tls_ctx **out, wf_why *why);
pki_tls_ctx *pki_tls_ctx_ref(pki_tls_ctx *ctx);
void pki_tls_ctx_unref(pki_tls_ctx *ctx);
/* New connections use the new key and chain (renewal); old ones go on. */
weft_err pki_tls_ctx_replace(pki_tls_ctx *ctx, const pki_key *key, const pki_chain *chain,
                             wf_why *why);
pki_trust *pki_tls_ctx_trust(const pki_tls_ctx *ctx);

typedef struct pki_tls pki_tls; /* one connection */

struct pki_tls_config {
    enum pki_side side;
    unsigned alpn;            /* client: exactly one; server: mask of those it offers */
    unsigned kinds;           /* mask of pki_kind that the peer may be */
    const wf_id *peer_id;     /* the peer must be exactly this one; copied; NULL: any of kinds */
    const pki_pin *peer_pins; /* and its key one of these; copied; NULL: any */
    size_t peer_pin_count;
    bool half_rtt; /* server: application data may be written before the client's Finished */
    uint32_t rekey_records; /* records under one key before KeyUpdate; 0: WF_REKEY_RECORDS */
    /*
     * Takes ciphertext for the peer. data is borrowed for the call, in which no
     * function of this TLS may be called. An error makes the TLS fail.
     */
    weft_err (*output)(void *arg, const uint8_t *data, size_t len);
    void *arg;
};
weft_err pki_tls_new(pki_tls_ctx *ctx, const struct pki_tls_config *config, pki_tls **out);
void pki_tls_free(pki_tls *tls);

/*
 * Offers ciphertext. The bytes are borrowed until the next pki_tls_feed or
 * pki_tls_free, so call pki_tls_read until it says *got = 0 before they go away.
 */
void pki_tls_feed(pki_tls *tls, const uint8_t *data, size_t len);
/* Runs the handshake as far as the input goes; a client begins with it. Also done by read. */
weft_err pki_tls_handshake(pki_tls *tls, wf_why *why);
/*
 * Plaintext into buf. *got = 0 with WEFT_OK: wants more input. WEFT_EEOF:
 * close_notify came. Late alerts about our certificate are WEFT_ECREDENTIAL,
 * _EEXPIRED or _EREVOKED; a record that fails to open is WEFT_ETAMPERED.
 */
weft_err pki_tls_read(pki_tls *tls, uint8_t *buf, size_t cap, size_t *got, wf_why *why);
/*
 * Encrypts all len bytes (1..16,384 make one record) and hands the records
 * to output before it returns. Only when pki_tls_can_write.
 */
weft_err pki_tls_write(pki_tls *tls, const uint8_t *data, size_t len, wf_why *why);
bool pki_tls_can_write(const pki_tls *tls);
/* The handshake is complete on our side and the peer is verified. */
bool pki_tls_is_up(const pki_tls *tls);
/*
 * Sends close_notify, once; nothing is written afterwards. Within the handshake
 * it waits until the TLS is up. Reading goes on.
 */
weft_err pki_tls_shutdown(pki_tls *tls);

enum pki_alpn pki_tls_alpn(const pki_tls *tls); /* after the handshake; 0 before */
/* Who the peer is; NULL before the TLS is up, and if the peer has no certificate. */
const struct pki_subject *pki_tls_peer(const pki_tls *tls);
const pki_chain *pki_tls_peer_chain(const pki_tls *tls); /* borrowed: as long as tls */
/* RFC 8446 section 7.5; after the handshake. */
weft_err pki_tls_export(pki_tls *tls, const char *label, wf_span context, uint8_t *out, size_t len);

#endif
