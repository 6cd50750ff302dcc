/*
 * The trust bundle and the floors. Where certificates are judged: chain.c;
 * grants, member records and binds: grant.c.
 */
#include "pki/trust_inside.h"
#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* ---- the bundle */

static void bundle_fini(struct pki_bundle *bundle)
{
    X509_STORE_free(bundle->roots);
    bundle->roots = NULL;
    wf_bundle_body_free(bundle->body);
    bundle->body = NULL;
    wf_buf_fini(&bundle->encoded);
}

static weft_err add_root(struct pki_bundle *bundle, size_t i, wf_why *why)
{
    X509 *root = NULL;
    weft_err err = pki_x509_from_der(wf_pb_span(bundle->body->roots[i]), &root, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "root %zu of the trust bundle", i + 1);
    uint32_t flags = X509_get_extension_flags(root);
    if ((flags & EXFLAG_INVALID) != 0 || (flags & EXFLAG_CA) == 0 || (flags & EXFLAG_SS) == 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "root %zu of the trust bundle is not a self-signed authority", i + 1);
        goto out;
    }
    uint8_t *at = bundle->root_keys[i].der;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(root), NULL);
    if (len <= 0 || len > PKI_SPKI_MAX || i2d_X509_PUBKEY(X509_get_X509_PUBKEY(root), &at) != len) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "root %zu of the trust bundle has no key",
                               i + 1);
        goto out;
    }
    bundle->root_keys[i].len = (size_t)len;
    if (X509_STORE_add_cert(bundle->roots, root) != 1)
        err = pki_openssl_fail(why, WEFT_ENOMEM, "root %zu of the trust bundle", i + 1);
out:
    X509_free(root);
    return err;
}

static weft_err check_keys(const ProtobufCBinaryData *keys, size_t count, const char *sort,
                           wf_why *why)
{
    enum pki_key_kind kind;
    if (count > WF_BUNDLE_KEYS_MAX)
        return wf_fail(why, WEFT_ELIMIT, "the trust bundle has %zu %s keys, at most %u are allowed",
                       count, sort, WF_BUNDLE_KEYS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!pki_spki_kind(wf_pb_span(keys[i]), &kind))
            return wf_fail(why, WEFT_ECREDENTIAL, "%s key %zu of the trust bundle is not one", sort,
                           i + 1);
    return WEFT_OK;
}

/* Parses what was verified (or is named by a digest that was). */
static weft_err bundle_parse(struct pki_bundle *bundle, wf_span encoded, wf_span body, wf_why *why)
{
    wf_buf_init(&bundle->encoded, WF_BUNDLE_MAX);
    pki_sha256(body.data, body.len, bundle->digest);
    bundle->roots = NULL;
    bundle->body = NULL;
    weft_err err = wf_bundle_body_decode(body.data, body.len, &bundle->body, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the trust bundle");
    const Weft__Wire__BundleBody *b = bundle->body;

    err = pki_domain_check(b->trust_domain, strlen(b->trust_domain), why);
    if (err == WEFT_OK)
        err = check_keys(b->policy_keys, b->n_policy_keys, "policy", why);
    if (err == WEFT_OK)
        err = check_keys(b->audit_keys, b->n_audit_keys, "audit", why);
    if (err == WEFT_OK)
        err = check_keys(b->enrollment_keys, b->n_enrollment_keys, "enrollment", why);
    if (err == WEFT_OK && (b->n_roots == 0 || b->n_roots > WF_BUNDLE_KEYS_MAX))
        err = wf_fail(why, WEFT_ELIMIT, "the trust bundle has %zu roots, 1 to %u are allowed",
                      b->n_roots, WF_BUNDLE_KEYS_MAX);
    if (err == WEFT_OK && (bundle->roots = X509_STORE_new()) == NULL)
        err = pki_openssl_fail(why, WEFT_ENOMEM, "the trust bundle");
    for (size_t i = 0; err == WEFT_OK && i < b->n_roots; i++)
        err = add_root(bundle, i, why);
    if (err == WEFT_OK)
        err = wf_buf_put(&bundle->encoded, encoded.data, encoded.len);
    if (err != WEFT_OK)
        bundle_fini(bundle);
    return err;
}

static weft_err bundle_verify(const struct pki_bundle *under, const Weft__Wire__Signed *s,
                              wf_why *why)
{
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    size_t count = under->body->n_roots;
    for (size_t i = 0; i < count; i++)
        keys[i] = wf_span_of(under->root_keys[i].der, under->root_keys[i].len);
    weft_err err = pki_record_verify(s, PKI_LABEL_BUNDLE, keys, count, why);
    return err == WEFT_OK ? err
                          : wf_wrap(why, err, "the trust bundle is signed by none of its roots");
}

static void take_policy_keys(pki_trust *trust)
{
    const Weft__Wire__BundleBody *b = trust->bundle.body;
    for (size_t i = 0; i < b->n_policy_keys; i++)
        trust->policy_keys[i] = wf_pb_span(b->policy_keys[i]);
}

weft_err pki_trust_new(wf_span bundle, const uint8_t pin[32], pki_trust **out, wf_why *why)
{
    uint8_t digest[32];
    Weft__Wire__Signed *s = NULL;
    if (bundle.len > WF_BUNDLE_MAX)
        return wf_fail(why, WEFT_ELIMIT, "the trust bundle has %zu bytes, at most %u are allowed",
                       bundle.len, WF_BUNDLE_MAX);
    pki_sha256(bundle.data, bundle.len, digest);
    if (pin != NULL && memcmp(digest, pin, sizeof digest) != 0)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the trust bundle is not the one that the token or identity file names");

    pki_trust *trust = calloc(1, sizeof *trust);
    if (trust == NULL)
        return WEFT_ENOMEM;
    trust->refs = 1;
    wf_buf_init(&trust->bundle.encoded, WF_BUNDLE_MAX);
    weft_err err = wf_signed_decode(bundle.data, bundle.len, &s, why);
    if (err != WEFT_OK) {
        wf_wrap(why, err, "the trust bundle");
        goto fail;
    }
    /*
     * The first bundle brings the roots that sign it: what makes it ours is the
     * digest above (or our own disk). The signature shows that it is whole.
     */
    err = bundle_parse(&trust->bundle, bundle, wf_pb_span(s->body), why);
    if (err == WEFT_OK)
        err = bundle_verify(&trust->bundle, s, why);
    if (err != WEFT_OK)
        goto fail;
    take_policy_keys(trust);
    trust->floors = pki_floors_new();
    trust->chains = pki_seen_new(PKI_SEEN_CHAINS, sizeof(struct pki_verified));
    trust->grants = pki_seen_new(PKI_SEEN_GRANTS, 0);
    if (trust->floors == NULL || trust->chains == NULL || trust->grants == NULL) {
        err = WEFT_ENOMEM;
        goto fail;
    }
    wf_signed_free(s);
    *out = trust;
    return WEFT_OK;
fail:
    wf_signed_free(s);
    pki_trust_unref(trust);
    return err;
}

pki_trust *pki_trust_ref(pki_trust *trust)
{
    assert(trust->refs > 0);
    trust->refs++;
    return trust;
}

void pki_trust_unref(pki_trust *trust)
{
    if (trust == NULL)
        return;
    assert(trust->refs > 0);
    if (--trust->refs > 0)
        return;
    bundle_fini(&trust->bundle);
    pki_floors_free(trust->floors);
    pki_seen_free(trust->chains);
    pki_seen_free(trust->grants);
    free(trust);
}

const char *pki_trust_domain(const pki_trust *trust)
{
    return trust->bundle.body->trust_domain;
}

wf_span pki_trust_bundle(const pki_trust *trust)
{
    return wf_span_of(trust->bundle.encoded.data, trust->bundle.encoded.len);
}

uint64_t pki_trust_version(const pki_trust *trust)
{
    return trust->bundle.body->version;
}

void pki_trust_digest(const pki_trust *trust, uint8_t out[32])
{
    memcpy(out, trust->bundle.digest, sizeof trust->bundle.digest);
}

static bool is_same_content(const pki_trust *trust, const Weft__Wire__BundleBody *next)
{
    wf_buf a, b;
    wf_buf_init(&a, WF_BUNDLE_MAX);
    wf_buf_init(&b, WF_BUNDLE_MAX);
    bool same = wf_message_put(&trust->bundle.body->base, &a) == WEFT_OK &&
                wf_message_put(&next->base, &b) == WEFT_OK && a.len == b.len &&
                memcmp(a.data, b.data, a.len) == 0;
    wf_buf_fini(&a);
    wf_buf_fini(&b);
    return same;
}

/* Two bundles under one number, or one that follows on another, are a fork: somebody signed twice.
 */
static weft_err follows(const pki_trust *trust, const Weft__Wire__BundleBody *next, wf_why *why)
{
    const unsigned long long ours = pki_trust_version(trust);
    uint8_t digest[32];
    if (next->version < ours)
        return WEFT_OK;
    if (next->version == ours) {
        if (is_same_content(trust, next))
            return WEFT_OK;
        return wf_fail(why, WEFT_ECONFLICT,
                       "there are two trust bundles of version %llu: the root signed twice; the "
                       "one held is kept",
                       ours);
    }
    pki_trust_digest(trust, digest);
    if (next->version == ours + 1 && (next->previous.len != sizeof digest ||
                                      memcmp(next->previous.data, digest, sizeof digest) != 0))
        return wf_fail(why, WEFT_ECONFLICT,
                       "the trust bundle of version %llu follows on another than ours of version "
                       "%llu; the one held is kept",
                       ours + 1, ours);
    return WEFT_OK;
}

weft_err pki_trust_update(pki_trust *trust, wf_span bundle, bool *changed, wf_why *why)
{
    Weft__Wire__Signed *s = NULL;
    struct pki_bundle next = {.roots = NULL};
    *changed = false;
    if (wf_span_equal(bundle, pki_trust_bundle(trust)))
        return WEFT_OK;
    weft_err err = wf_signed_decode(bundle.data, bundle.len, &s, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the trust bundle");
    err = bundle_verify(&trust->bundle, s, why);
    if (err == WEFT_OK)
        err = bundle_parse(&next, bundle, wf_pb_span(s->body), why);
    wf_signed_free(s);
    if (err != WEFT_OK)
        return err;
    if (strcmp(next.body->trust_domain, pki_trust_domain(trust)) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the trust bundle is of the trust domain %s, not %s",
                      next.body->trust_domain, pki_trust_domain(trust));
        bundle_fini(&next);
        return err;
    }
    err = follows(trust, next.body, why);
    if (err != WEFT_OK || next.body->version <= trust->bundle.body->version) {
        bundle_fini(&next);
        return err;
    }
    /* What was verified under the old keys is to be verified anew. */
    pki_seen_clear(trust->chains);
    pki_seen_clear(trust->grants);
    bundle_fini(&trust->bundle);
    trust->bundle = next;
    take_policy_keys(trust);
    *changed = true;
    return WEFT_OK;
}

weft_err pki_trust_follow(pki_trust *trust, Weft__Wire__Signed *const *bundles, size_t count,
                          bool *changed, wf_why *why)
{
    weft_err err = WEFT_OK;
    bool any = false;
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        bool one = false;
        wf_buf_clear(&encoded);
        err = wf_signed_encode(bundles[i], &encoded);
        if (err == WEFT_OK)
            err = pki_trust_update(trust, wf_span_of(encoded.data, encoded.len), &one, why);
        any = any || one;
    }
    wf_buf_fini(&encoded);
    if (changed != NULL)
        *changed = any;
    return err;
}

size_t pki_trust_enrollment_keys(const pki_trust *trust, wf_span *out, size_t max)
{
    const Weft__Wire__BundleBody *b = trust->bundle.body;
    size_t count = b->n_enrollment_keys < max ? b->n_enrollment_keys : max;
    for (size_t i = 0; i < count; i++)
        out[i] = wf_pb_span(b->enrollment_keys[i]);
    return count;
}

size_t pki_trust_policy_keys(const pki_trust *trust, wf_span *out, size_t max)
{
    const Weft__Wire__BundleBody *b = trust->bundle.body;
    size_t count = b->n_policy_keys < max ? b->n_policy_keys : max;
    for (size_t i = 0; i < count; i++)
        out[i] = wf_pb_span(b->policy_keys[i]);
    return count;
}

/* ---- floors */

weft_err pki_trust_apply_floors(pki_trust *trust, const Weft__Wire__Signed *set, uint64_t now,
                                bool *changed, wf_why *why)
{
    Weft__Wire__FloorsBody *body = NULL;
    wf_buf encoded;
    *changed = false;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    weft_err err = pki_record_verify(set, PKI_LABEL_FLOORS, trust->policy_keys,
                                     trust->bundle.body->n_policy_keys, why);
    if (err == WEFT_OK)
        err = wf_floors_body_decode(set->body.data, set->body.len, &body, why);
    if (err != WEFT_OK) {
        wf_wrap(why, err, "revocations");
        goto out;
    }
    if (strcmp(body->trust_domain, pki_trust_domain(trust)) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "revocations of another trust domain, %s",
                      body->trust_domain);
        goto out;
    }
    /* The digest is over the three fields alone: what a forwarder adds doesn't break the row. */
    Weft__Wire__Signed bare = WEFT__WIRE__SIGNED__INIT;
    bare.body = set->body;
    bare.signature = set->signature;
    bare.signer = set->signer;
    err = wf_signed_encode(&bare, &encoded);
    if (err != WEFT_OK)
        goto out;
    uint8_t digest[32];
    pki_record_digest(wf_span_of(encoded.data, encoded.len), digest);
    err = pki_floors_apply(trust->floors, body, digest, now, changed);
    if (err == WEFT_ECONFLICT)
        wf_fail(why, err, "revocations of version %llu don't follow on version %llu",
                (unsigned long long)body->version,
                (unsigned long long)pki_floors_version(trust->floors));
    else if (err != WEFT_OK)
        wf_fail(why, err, "revocations can't be taken: %s", weft_err_sentence(err));
out:
    wf_floors_body_free(body);
    wf_buf_fini(&encoded);
    return err;
}

const pki_floors *pki_trust_floors(const pki_trust *trust)
{
    return trust->floors;
}
