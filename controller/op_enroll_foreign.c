/*
 * Enrollment and renewal of those for whom an authority of others vouches.
 * docs/protocol.md, "Enrollment".
 *
 * Happy path: the chain holds against the one authority that is meant, its key
 * has signed token, request and channel, the name follows from the node or
 * from the authority's template, and Weft issues a leaf that ends with the
 * foreign certificate at the latest.
 *
 * Failure modes:
 * - The authority is unverified, removed or expired: it vouches for nobody.
 * - The same foreign key again: the same identity. Another key that makes the
 *   same name: refused, whoever came first keeps it.
 */
#include "controller/enroll.h"
#include "controller/node.h"
#include "controller/template.h"
#include <string.h>

weft_err enroll_foreign(struct call *call, const struct enroll_foreign *ask, struct store_ca *ca,
                        struct pki_foreign_leaf *out)
{
    wf_span chain[WF_CHAIN_DEPTH];
    uint8_t exporter[32], body[PKI_FOREIGN_BODY];
    wf_buf der;
    weft_err err = store_ca_get(call->c->home.store, ask->authority, ca);

    if (err == WEFT_ENOTFOUND || (err == WEFT_OK && !ca->verified))
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "the authority that would vouch is %s; ask an administrator",
                       err == WEFT_OK ? "not verified" : "removed");
    if (err != WEFT_OK)
        return err;
    if (ask->chain_count > WF_CHAIN_DEPTH)
        return WEFT_ELIMIT;
    for (size_t i = 0; i < ask->chain_count; i++)
        chain[i] = wf_pb_span(ask->chain[i]);
    wf_buf_init(&der, WF_CERT_MAX);
    err = store_ca_certificate(call->c->home.store, &ca->id, &der);
    if (err == WEFT_OK)
        err = pki_foreign_check(wf_span_of(der.data, der.len), chain, ask->chain_count, call->now,
                                out, &call->why);
    if (err == WEFT_OK)
        err = call->exporter(call->exporter_arg, ask->exporter, exporter);
    if (err == WEFT_OK) {
        pki_foreign_body(ask->subject, ask->csr, exporter, body);
        err = pki_foreign_verify(chain[0], wf_span_of(body, sizeof body), wf_pb_span(ask->proof),
                                 NULL);
        if (err == WEFT_ECREDENTIAL)
            wf_fail(&call->why, err,
                    "the foreign proof doesn't hold: it was not made with the certificate's key "
                    "for this token and channel");
    }
    wf_buf_fini(&der);
    return err;
}

static weft_err check(struct enrolling *e, const wf_id *authority, struct store_ca *ca,
                      struct pki_foreign_leaf *out)
{
    const struct enroll_foreign ask = {
        .authority = authority,
        .exporter = "EXPORTER-weft-enroll",
        .subject = wf_span_of(e->ask->token, strlen(e->ask->token)),
        .csr = wf_pb_span(e->ask->csr),
        .chain = e->ask->foreign_chain,
        .chain_count = e->ask->n_foreign_chain,
        .proof = e->ask->foreign_proof,
    };

    return enroll_foreign(e->call, &ask, ca, out);
}

/* Notes the foreign certificate as the one that vouches for row->node. */
static weft_err note(struct call *call, struct store_federated *row,
                     const struct pki_foreign_leaf *leaf, const char *derived)
{
    weft_err err;

    row->shown = true;
    memcpy(row->certificate, leaf->certificate, sizeof row->certificate);
    row->pin = leaf->pin;
    row->ends = leaf->not_after;
    memcpy(row->derived, derived, strlen(derived) + 1);
    err = store_federated_put(call->c->home.store, row);
    if (err == WEFT_EEXIST || err == WEFT_ECONFLICT)
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "this foreign key vouches for another identity already");
    return err;
}

weft_err enroll_by_ottca(struct enrolling *e)
{
    struct pki_foreign_leaf leaf;
    struct store_federated row;
    struct store_token token;
    struct store_node node;
    struct store_ca ca;
    weft_err err = enroll_node(e, &token, &node);

    if (err != WEFT_OK)
        return err;
    err = store_federated_get(e->call->c->home.store, &node.id, &row);
    if (err == WEFT_ENOTFOUND)
        return wf_fail(&e->call->why, WEFT_ECREDENTIAL, "no authority is named for '%s'",
                       node.name);
    if (err == WEFT_OK)
        err = check(e, &row.authority, &ca, &leaf);
    if (err == WEFT_OK)
        err = note(e->call, &row, &leaf, "");
    return err == WEFT_OK ? enroll_once(e, leaf.not_after) : err;
}

/* ---- ca: the certificate makes the identity */

struct naming {
    const struct pki_foreign_leaf *leaf;
    const struct store_ca *ca;
};

static const char *value_of(void *arg, const char *placeholder)
{
    const struct naming *n = arg;

    return strcmp(placeholder, "cn") == 0        ? n->leaf->cn
           : strcmp(placeholder, "san.uri") == 0 ? n->leaf->san_uri
           : strcmp(placeholder, "san.dns") == 0 ? n->leaf->san_dns
           : strcmp(placeholder, "serial") == 0  ? n->leaf->serial
           : strcmp(placeholder, "ca") == 0      ? n->ca->name
                                                 : NULL;
}

static weft_err name_of(struct call *call, const struct store_ca *ca,
                        const struct pki_foreign_leaf *leaf, char out[WF_NAME_MAX + 1])
{
    struct naming naming = {leaf, ca};

    return template_fill(ca->template, value_of, &naming, out, &call->why);
}

/* A new identity with this name and the authority's roles. */
static weft_err make(struct call *call, const struct store_ca *ca, const char *name,
                     struct store_node *node)
{
    weft_err err = node_name_is_free(call, PKI_IDENTITY, name);

    if (err == WEFT_EEXIST) {
        wf_fail(&call->logged, err, "the name '%s' is taken", name);
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "the name that this certificate makes is another identity's; ask an "
                       "administrator");
    }
    if (err != WEFT_OK)
        return err;
    *node = (struct store_node){.id = wf_id_random(),
                                .kind = PKI_IDENTITY,
                                .enroll = PKI_ENROLL_CA,
                                .created = call->now,
                                .roles = ca->roles};
    memcpy(node->name, name, strlen(name) + 1);
    return store_node_add(call->c->home.store, node);
}

weft_err enroll_by_ca(struct enrolling *e)
{
    struct call *call = e->call;
    store *s = call->c->home.store;
    char name[WF_NAME_MAX + 1];
    struct pki_foreign_leaf leaf;
    struct store_federated row;
    struct store_node node;
    struct store_ca ca;
    weft_err err = check(e, &e->token.id, &ca, &leaf);

    if (err == WEFT_OK && !ca.automatic)
        err = wf_fail(&call->why, WEFT_ECREDENTIAL, "this authority makes no identities by itself");
    if (err == WEFT_OK)
        err = name_of(call, &ca, &leaf, name);
    if (err != WEFT_OK)
        return err;
    err = store_federated_find(s, &ca.id, &leaf.pin, &row);
    if (err == WEFT_OK) {
        if (strcmp(row.derived, name) != 0)
            return wf_fail(&call->why, WEFT_ECREDENTIAL,
                           "this foreign key enrolled under another name before");
        err = store_node_get(s, PKI_IDENTITY, &row.node, &node);
        if (err == WEFT_OK && node.disabled)
            return wf_fail(&call->why, WEFT_EREVOKED,
                           "identity '%s' is disabled; ask an "
                           "administrator",
                           node.name);
    } else if (err == WEFT_ENOTFOUND) {
        err = make(call, &ca, name, &node);
        row = (struct store_federated){.node = node.id, .authority = ca.id};
    }
    if (err == WEFT_OK)
        err = note(call, &row, &leaf, name);
    return err == WEFT_OK ? enroll_admit(e, &node, leaf.not_after) : err;
}

/* ---- renewal */

weft_err enroll_renewal(struct call *call, const Weft__Wire__RenewCall *ask,
                        const struct store_node *node, uint64_t *until)
{
    struct enroll_foreign foreign = {
        .exporter = "EXPORTER-weft-renew",
        .subject = wf_pb_span(ask->csr),
        .csr = wf_pb_span(ask->csr),
        .chain = ask->foreign_chain,
        .chain_count = ask->n_foreign_chain,
        .proof = ask->foreign_proof,
    };
    char name[WF_NAME_MAX + 1] = "";
    struct pki_foreign_leaf leaf;
    struct store_federated row;
    struct store_ca ca;
    weft_err err;

    if (node->enroll == PKI_ENROLL_OIDC)
        return wf_fail(&call->why, WEFT_EREFUSED,
                       "an identity by OIDC isn't renewed: enroll again with a new token of its "
                       "issuer");
    err = store_federated_get(call->c->home.store, &node->id, &row);
    if (err == WEFT_ENOTFOUND) {
        *until = 0;
        return ask->n_foreign_chain == 0 ? WEFT_OK
                                         : wf_fail(&call->why, WEFT_ECREDENTIAL,
                                                   "no authority vouches for this identity");
    }
    if (err != WEFT_OK)
        return err;
    if (ask->n_foreign_chain == 0) {
        err = store_ca_get(call->c->home.store, &row.authority, &ca);
        if (err == WEFT_ENOTFOUND || (err == WEFT_OK && !ca.verified))
            return wf_fail(&call->why, WEFT_ECREDENTIAL,
                           "the authority that vouched for this identity was removed");
        if (err == WEFT_OK && row.ends <= call->now)
            return wf_fail(&call->why, WEFT_EEXPIRED,
                           "the foreign certificate that vouched for this identity has expired; "
                           "enroll or renew with the new one (--ca-cert, --ca-key)");
        *until = row.ends;
        return err;
    }
    foreign.authority = &row.authority;
    err = enroll_foreign(call, &foreign, &ca, &leaf);
    if (err == WEFT_OK && row.derived[0] != '\0') {
        err = name_of(call, &ca, &leaf, name);
        if (err == WEFT_OK && strcmp(name, row.derived) != 0)
            err = wf_fail(&call->why, WEFT_ECREDENTIAL,
                          "the new foreign certificate makes another name");
    }
    if (err == WEFT_OK)
        err = note(call, &row, &leaf, row.derived[0] != '\0' ? name : "");
    *until = err == WEFT_OK ? leaf.not_after : 0;
    return err;
}
