/*
 * The HELLO item: what each side of a session says first, and what the other
 * side demands of it. docs/protocol.md, "HELLO".
 */
#ifndef SDK_HELLO_H
#define SDK_HELLO_H

#include "pki/trust.h"

struct wf_hello {
    wf_id service;
    wf_id session;
    wf_id instance; /* host: its own; dialer: the one asked for, or zero */
    Weft__Wire__Role role;
    bool datagram;
    const Weft__Wire__Signed *grant;  /* borrowed */
    const Weft__Wire__Signed *floors; /* borrowed; NULL: none */
};

/* Appends the encoded HELLO item, header included. WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err wf_hello_put(const struct wf_hello *hello, wf_buf *out);

/*
 * The checks after chain and pin: the grant (signature, subject, key,
 * service, role, times, floors), then that the HELLO says what the outer dial
 * said. `expected` holds what the outer dial said and the role that the peer
 * must have; its grant and floors are not looked at. An instance of zero in
 * `expected` means any; one of zero in a dialer's HELLO means any, too.
 * peer is the subject of the verified leaf. Verifies into locals; *grant and
 * *datagram are set on success alone.
 */
weft_err wf_hello_check(pki_trust *trust, const Weft__Wire__ItemHello *item,
                        const struct wf_hello *expected, const struct pki_subject *peer,
                        uint64_t now, struct pki_grant *grant, bool *datagram, wf_why *why);

#endif
