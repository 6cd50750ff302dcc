/*
 * The inside of pki/web.h, shared by web.c (what is shown), web_ca.c (the
 * authority for it) and web_tls.c (the connection). Inside pki only.
 */
#ifndef PKI_WEB_INSIDE_H
#define PKI_WEB_INSIDE_H

#include "pki/tls_inside.h"
#include "pki/web.h"

struct pki_web {
    unsigned refs;
    SSL_CTX *ssl_ctx;               /* owned */
    pki_trust *trust;               /* counted; NULL: no client is asked */
    uint64_t not_before, not_after; /* of the leaf, wall ms */
};

/*
 *   GREETING -> UP -> ENDED (close_notify came; writing goes on)
 *   each but FAILED -> FAILED
 */
enum web_state { WEB_GREETING, WEB_UP, WEB_ENDED, WEB_FAILED };

struct pki_web_tls {
    SSL *ssl;     /* owned */
    pki_web *web; /* counted */
    enum web_state state;
    bool close_sent;
    weft_err err;     /* in FAILED: why */
    weft_err refused; /* what a callback of libssl decided */
    enum pki_web_protocol protocol;
    struct pki_subject *peer; /* owned; NULL: none shown */
    struct pki_tls_pipe pipe;
};

int pki_web_on_verify(X509_STORE_CTX *store, void *arg);
void pki_web_on_message(int writing, int version, int type, const void *data, size_t len, SSL *ssl,
                        void *arg);

#endif
