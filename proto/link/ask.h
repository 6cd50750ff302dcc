/*
 * One call to a controller over a link of its own, blocking, on a loop of its
 * own: what enrollment and renewal have in common. Internal to proto/link.
 */
#ifndef PROTO_LINK_ASK_H
#define PROTO_LINK_ASK_H

#include "proto/link/link.h"

struct wf_ask {
    pki_tls_ctx *tls; /* counted while it runs */
    enum pki_alpn alpn;
    const wf_address *controllers; /* tried in turn */
    size_t controller_count;
    const char *operation;
    /* Puts the arguments; the link is secured, so its exporter is there. */
    weft_err (*arguments)(void *arg, wf_link *link, wf_buf *out, wf_why *why);
    void *arg;
    unsigned timeout_ms; /* 0: 30 s */
};

/*
 * The result of the call, appended to result. A controller's refusal is
 * returned as its own code and reason, with *refused true; other errors tell
 * why none could be asked. WEFT_EUNREACHABLE, WEFT_ETIMEDOUT, WEFT_ECREDENTIAL ...
 */
weft_err wf_ask(const struct wf_ask *ask, wf_buf *result, bool *refused, wf_why *why);

#endif
