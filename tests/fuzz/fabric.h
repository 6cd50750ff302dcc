/* The smallest fabric that trust can be asked about: a root, a policy key, a bundle. */
#ifndef TESTS_FUZZ_FABRIC_H
#define TESTS_FUZZ_FABRIC_H

#include "pki/cert.h"
#include "pki/record.h"
#include "pki/trust.h"
#include "tests/fuzz/check.h"
#include <string.h>

#define FABRIC_DOMAIN "fuzz.weft"
#define FABRIC_NOW 1800000000000ull

struct fabric {
    pki_ca *root;
    pki_key *policy;
    wf_buf policy_spki;
    wf_buf bundle; /* version 1 */
};

static inline wf_span fabric_root(const struct fabric *f)
{
    return pki_chain_der(pki_ca_chain(f->root), 0);
}

static inline void fabric_open(struct fabric *f)
{
    char domain[] = FABRIC_DOMAIN;
    Weft__Wire__BundleBody body;
    CHECK(pki_ca_new_root(FABRIC_DOMAIN, PKI_KEY_P256, FABRIC_NOW, WF_LEAF_LIFE_MS, &f->root,
                          NULL) == WEFT_OK);
    CHECK(pki_key_new(PKI_KEY_ED25519, &f->policy, NULL) == WEFT_OK);
    wf_buf_init(&f->policy_spki, 256);
    wf_buf_init(&f->bundle, WF_BUNDLE_MAX);
    CHECK(pki_key_put_spki(f->policy, &f->policy_spki) == WEFT_OK);
    wf_span root = fabric_root(f);
    ProtobufCBinaryData roots[] = {wf_pb_bytes(root.data, root.len)};
    ProtobufCBinaryData keys[] = {wf_pb_bytes(f->policy_spki.data, f->policy_spki.len)};
    weft__wire__bundle_body__init(&body);
    body.trust_domain = domain;
    body.version = 1;
    body.n_roots = 1;
    body.roots = roots;
    body.n_policy_keys = 1;
    body.policy_keys = keys;
    CHECK(pki_record_seal(pki_ca_key(f->root), PKI_LABEL_BUNDLE, &body.base, &f->bundle) ==
          WEFT_OK);
}

static inline pki_trust *fabric_trust(const struct fabric *f)
{
    pki_trust *trust;
    CHECK(pki_trust_new(wf_span_of(f->bundle.data, f->bundle.len), NULL, &trust, NULL) == WEFT_OK);
    return trust;
}

/* The bytes as body (borrowed) of a record that key signed; the signature goes to `signature`. */
static inline void fabric_sign(const pki_key *key, const char *label, const uint8_t *data,
                               size_t size, wf_buf *signature, pki_pin *pin,
                               Weft__Wire__Signed *out)
{
    wf_buf_init(signature, 256);
    CHECK(pki_key_sign(key, label, wf_span_of(data, size), signature) == WEFT_OK);
    pki_key_pin(key, pin);
    weft__wire__signed__init(out);
    out->body = wf_pb_bytes(data, size);
    out->signature = wf_pb_bytes(signature->data, signature->len);
    out->signer = wf_pb_bytes(pin->b, sizeof pin->b);
}

#endif
