/*
 * Trust bundles. The first byte chooses: 0, a whole signed record; else a body
 * that our root signs, in which the first root is made ours, so that it is as
 * good as it can be. It is offered as the first bundle and as an update.
 */
#include "tests/fuzz/fabric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fabric fabric;

static void offer(wf_span bundle)
{
    pki_trust *first = NULL, *held = fabric_trust(&fabric);
    bool changed;
    wf_why why;
    if (pki_trust_new(bundle, NULL, &first, &why) == WEFT_OK) {
        wf_span keys[8];
        CHECK(wf_span_equal(pki_trust_bundle(first), bundle));
        CHECK(pki_domain_check(pki_trust_domain(first), strlen(pki_trust_domain(first)), NULL) ==
              WEFT_OK);
        CHECK(pki_trust_enrollment_keys(first, keys, 8) <= 8);
    }
    if (pki_trust_update(held, bundle, &changed, &why) == WEFT_OK && changed)
        CHECK(wf_span_equal(pki_trust_bundle(held), bundle));
    else
        CHECK(!changed && pki_trust_bundle(held).len == fabric.bundle.len);
    CHECK(strcmp(pki_trust_domain(held), FABRIC_DOMAIN) == 0);
    pki_trust_unref(first);
    pki_trust_unref(held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fabric.root == NULL)
        fabric_open(&fabric);
    if (size == 0)
        return 0;
    if (data[0] == 0) {
        offer(wf_span_of(data + 1, size - 1));
        return 0;
    }
    Weft__Wire__BundleBody *body;
    wf_why why;
    if (wf_bundle_body_decode(data + 1, size - 1, &body, &why) != WEFT_OK)
        return 0;
    wf_buf bundle;
    wf_span root = fabric_root(&fabric);
    ProtobufCBinaryData theirs = body->roots[0]; /* one at least, or it were not decoded */
    body->roots[0] = wf_pb_bytes(root.data, root.len);
    wf_buf_init(&bundle, WF_BUNDLE_MAX);
    if (pki_record_seal(pki_ca_key(fabric.root), PKI_LABEL_BUNDLE, &body->base, &bundle) == WEFT_OK)
        offer(wf_span_of(bundle.data, bundle.len));
    wf_buf_fini(&bundle);
    body->roots[0] = theirs;
    wf_bundle_body_free(body);
    return 0;
}
