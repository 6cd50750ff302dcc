/*
 * What the ways to enroll share. One table in op_enroll.c says for each method
 * what must be presented and who redeems it; nothing else may be presented,
 * and what stands in no row enrolls nobody. docs/protocol.md, "Enrollment".
 */
#ifndef CONTROLLER_ENROLL_H
#define CONTROLLER_ENROLL_H

#include "controller/operation.h"
#include "pki/foreign.h"

/* One call for enrollment, its token verified and the new key's possession proved. */
struct enrolling {
    struct call *call;                 /* borrowed */
    const Weft__Wire__EnrollCall *ask; /* borrowed */
    struct pki_token token;
    wf_span spki; /* of the new key */
};

/* The methods' own parts, by what they are called in a token's "em". */
weft_err enroll_by_ott(struct enrolling *e);
weft_err enroll_by_ottca(struct enrolling *e);
weft_err enroll_by_ca(struct enrolling *e);
weft_err enroll_by_oidc(struct enrolling *e);

/*
 * Certifies spki for node and writes what changes with it, the token aside.
 * until: the end of the certificate at the latest, 0: as the node's life says.
 */
weft_err enroll_certify(struct call *call, struct store_node *node, wf_span spki, uint64_t until,
                        pki_chain **out);
/* The certificate for this node, and the answer that carries it; counts. */
weft_err enroll_admit(struct enrolling *e, struct store_node *node, uint64_t until);
/* A node with a token of one use, of this method: WEFT_EUSED and so on by the same rules for all.
 */
weft_err enroll_once(struct enrolling *e, uint64_t until);
/* The node that a one-time token is for, before it is redeemed. */
weft_err enroll_node(struct enrolling *e, struct store_token *row, struct store_node *out);

/* What a foreign certificate and its proof, in a call to enroll or renew, come to. */
struct enroll_foreign {
    const wf_id *authority;     /* that must have issued it */
    const char *exporter;       /* label of the channel's */
    wf_span subject, csr;       /* pki_foreign_body */
    ProtobufCBinaryData *chain; /* borrowed */
    size_t chain_count;
    ProtobufCBinaryData proof;
};
/* Checks all of it against the authority, which must be verified and still there. */
weft_err enroll_foreign(struct call *call, const struct enroll_foreign *ask, struct store_ca *ca,
                        struct pki_foreign_leaf *out);
/*
 * Until when a certificate that renews this node's may last; 0: nobody vouched
 * for it. Takes the foreign certificate of the call, if there is one, and
 * refuses what its authority no longer vouches for.
 */
weft_err enroll_renewal(struct call *call, const Weft__Wire__RenewCall *ask,
                        const struct store_node *node, uint64_t *until);

#endif
