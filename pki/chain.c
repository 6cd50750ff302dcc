/*
 * Which chains are believed. What a signature proves is proved once and
 * remembered; what time and revocations say is asked every time.
 */
#include "pki/trust_inside.h"
#include "proto/base/clock.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked every time */

static weft_err check_floors(const pki_trust *trust, const struct pki_subject *s, wf_why *why)
{
    if (!pki_floors_is_cut(trust->floors, s->kind, &s->id, &s->pin))
        return WEFT_OK;
    return wf_fail(why, WEFT_EREVOKED, "%s was disabled or its key revoked", s->name);
}

static weft_err check_times(const struct pki_verified *v, bool forgive_expired, uint64_t now,
                            wf_why *why)
{
    char text[24];
    const char *name = v->subject.name;
    if (now + WF_CLOCK_TOLERANCE_MS < v->subject.not_before)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the certificate of %s is valid from %s only: compare the clocks", name,
                       wf_time_text(v->subject.not_before, text));
    if (now > v->rest_until)
        return wf_fail(why, WEFT_EEXPIRED, "the authority above %s expired at %s", name,
                       wf_time_text(v->rest_until, text));
    if (now <= v->leaf_until || (forgive_expired && now - v->leaf_until <= WF_RENEW_GRACE_MS))
        return WEFT_OK;
    return wf_fail(why, WEFT_EEXPIRED, "the certificate of %s expired at %s", name,
                   wf_time_text(v->leaf_until, text));
}

static weft_err judge(const pki_trust *trust, const struct pki_verified *v, unsigned kinds,
                      bool forgive_expired, uint64_t now, struct pki_subject *out, int *x509_error,
                      wf_why *why)
{
    weft_err err;
    if ((v->subject.kind & kinds) == 0) {
        *x509_error = X509_V_ERR_CERT_REJECTED;
        return wf_fail(why, WEFT_ECREDENTIAL, "%s is no %s", v->subject.name,
                       kinds == PKI_ROUTER       ? "router"
                       : kinds == PKI_CONTROLLER ? "controller"
                       : kinds == PKI_IDENTITY   ? "identity"
                                                 : "node of a kind expected here");
    }
    err = check_floors(trust, &v->subject, why);
    if (err != WEFT_OK) {
        *x509_error = X509_V_ERR_CERT_REVOKED;
        return err;
    }
    err = check_times(v, forgive_expired, now, why);
    if (err != WEFT_OK) {
        *x509_error =
            err == WEFT_EEXPIRED ? X509_V_ERR_CERT_HAS_EXPIRED : X509_V_ERR_CERT_NOT_YET_VALID;
        return err;
    }
    *x509_error = X509_V_OK;
    *out = v->subject;
    return WEFT_OK;
}

weft_err pki_trust_check_again(const pki_trust *trust, const struct pki_subject *subject,
                               uint64_t now, wf_why *why)
{
    char text[24];
    weft_err err = check_floors(trust, subject, why);
    if (err != WEFT_OK)
        return err;
    if (now > subject->not_after)
        return wf_fail(why, WEFT_EEXPIRED, "the certificate of %s expired at %s", subject->name,
                       wf_time_text(subject->not_after, text));
    return WEFT_OK;
}

/* ---- what is proved once */

/* Every certificate above the leaf, up to the root: key, kind, times. */
static weft_err check_rest(STACK_OF(X509) * path, struct pki_verified *v, wf_why *why)
{
    int count = sk_X509_num(path);
    for (int i = 1; i < count; i++) {
        X509 *x = sk_X509_value(path, i);
        enum pki_kind kind;
        uint64_t from, until;
        if (i < count - 1 && (!pki_x509_kind(x, &kind) || kind != v->subject.kind))
            return wf_fail(why, WEFT_ECREDENTIAL,
                           "the authority above %s issues for another kind of node",
                           v->subject.name);
        if (!pki_x509_validity(x, &from, &until))
            return wf_fail(why, WEFT_ECREDENTIAL, "the validity of an authority can't be read");
        if (from > v->subject.not_before)
            v->subject.not_before = from;
        if (until < v->rest_until)
            v->rest_until = until;
    }
    if (v->rest_until < v->subject.not_after)
        v->subject.not_after = v->rest_until;
    return WEFT_OK;
}

static bool all_belong(const pki_chain *chain, STACK_OF(X509) * path)
{
    for (size_t i = 0; i < pki_chain_count(chain); i++) {
        bool found = false;
        for (int j = 0; j < sk_X509_num(path) && !found; j++)
            found = X509_cmp(pki_chain_x509(chain, i), sk_X509_value(path, j)) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* Signatures up to one of our roots, with every certificate that was shown and no other. */
static weft_err check_path(pki_trust *trust, const pki_chain *chain, enum pki_side peer_side,
                           struct pki_verified *v, int *x509_error, wf_why *why)
{
    weft_err err = WEFT_ENOMEM;
    STACK_OF(X509) *untrusted = pki_chain_untrusted(chain);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (untrusted == NULL || ctx == NULL ||
        X509_STORE_CTX_init(ctx, trust->bundle.roots, pki_chain_x509(chain, 0), untrusted) != 1)
        goto out;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_NO_CHECK_TIME) !=
            1 ||
        X509_VERIFY_PARAM_set_purpose(param, peer_side == PKI_CLIENT
                                                 ? X509_PURPOSE_SSL_CLIENT
                                                 : X509_PURPOSE_SSL_SERVER) != 1)
        goto out;
    X509_VERIFY_PARAM_set_depth(param, (int)WF_CHAIN_DEPTH - 1);
    X509_VERIFY_PARAM_set_auth_level(param, 2);

    if (X509_verify_cert(ctx) != 1) {
        int code = X509_STORE_CTX_get_error(ctx);
        if (code == X509_V_ERR_OUT_OF_MEM)
            goto out;
        *x509_error = code == X509_V_OK ? X509_V_ERR_UNSPECIFIED : code;
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate of %s does not lead to our roots: %s",
                      v->subject.name, X509_verify_cert_error_string(code));
        goto out;
    }
    STACK_OF(X509) *path = X509_STORE_CTX_get0_chain(ctx);
    *x509_error = X509_V_ERR_CERT_REJECTED;
    err =
        all_belong(chain, path)
            ? check_rest(path, v, why)
            : wf_fail(why, WEFT_ECREDENTIAL,
                      "the chain of %s has certificates that don't belong to it", v->subject.name);
out:
    if (err == WEFT_ENOMEM) {
        *x509_error = X509_V_ERR_OUT_OF_MEM;
        wf_fail(why, err, "no memory to verify a certificate");
    }
    ERR_clear_error();
    X509_STORE_CTX_free(ctx);
    sk_X509_free(untrusted);
    return err;
}

static weft_err verify(pki_trust *trust, const pki_chain *chain, enum pki_side peer_side,
                       struct pki_verified *out, int *x509_error, wf_why *why)
{
    struct pki_verified v = {.rest_until = UINT64_MAX};
    *x509_error = X509_V_ERR_CERT_REJECTED;
    weft_err err = pki_x509_subject(pki_chain_x509(chain, 0), &v.subject, why);
    if (err != WEFT_OK)
        return err;
    if (strcmp(v.subject.domain, pki_trust_domain(trust)) != 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "%s belongs to the trust domain %s, not to %s",
                       v.subject.name, v.subject.domain, pki_trust_domain(trust));
    v.leaf_until = v.subject.not_after;
    err = check_path(trust, chain, peer_side, &v, x509_error, why);
    if (err != WEFT_OK)
        return err;
    *out = v;
    return WEFT_OK;
}

/* ---- what was proved before: by side and by every byte of what was shown */

struct digest {
    EVP_MD_CTX *md;
    bool failed;
};

static void digest_start(struct digest *d, enum pki_side peer_side)
{
    uint8_t side = (uint8_t)peer_side;
    d->md = EVP_MD_CTX_new();
    d->failed = d->md == NULL || EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1 ||
                EVP_DigestUpdate(d->md, &side, 1) != 1;
}

/* Whole certificates in DER say their own length, so the row of them needs no other mark. */
static void digest_add(struct digest *d, const void *data, size_t len)
{
    if (!d->failed)
        d->failed = EVP_DigestUpdate(d->md, data, len) != 1;
}

static bool digest_end(struct digest *d, uint8_t out[32])
{
    bool ok = !d->failed && EVP_DigestFinal_ex(d->md, out, NULL) == 1;
    EVP_MD_CTX_free(d->md);
    return ok;
}

static weft_err check(pki_trust *trust, const uint8_t key[32], const pki_chain *chain,
                      unsigned kinds, enum pki_side peer_side, bool forgive_expired, uint64_t now,
                      struct pki_subject *out, int *x509_error, wf_why *why)
{
    struct pki_verified v;
    weft_err err = verify(trust, chain, peer_side, &v, x509_error, why);
    if (err != WEFT_OK)
        return err;
    pki_seen_add(trust->chains, key, &v);
    return judge(trust, &v, kinds, forgive_expired, now, out, x509_error, why);
}

weft_err pki_trust_check_chain(pki_trust *trust, const pki_chain *chain, unsigned kinds,
                               enum pki_side peer_side, bool forgive_expired, uint64_t now,
                               struct pki_subject *out, wf_why *why)
{
    uint8_t key[32];
    struct pki_verified v;
    struct digest d;
    int x509_error;
    digest_start(&d, peer_side);
    for (size_t i = 0; i < pki_chain_count(chain); i++) {
        wf_span der = pki_chain_der(chain, i);
        digest_add(&d, der.data, der.len);
    }
    if (!digest_end(&d, key))
        return wf_fail(why, WEFT_ENOMEM, "no memory to verify a certificate");
    if (pki_seen_find(trust->chains, key, &v))
        return judge(trust, &v, kinds, forgive_expired, now, out, &x509_error, why);
    return check(trust, key, chain, kinds, peer_side, forgive_expired, now, out, &x509_error, why);
}

/* Bounds come before anything is copied: libssl has read the certificates, but under its own. */
static weft_err check_sizes(STACK_OF(X509) * certs, wf_why *why)
{
    int count = sk_X509_num(certs);
    size_t total = 0;
    if (count < 1 || count > (int)WF_CHAIN_DEPTH)
        return wf_fail(why, WEFT_ELIMIT, "a chain has 1 to %u certificates, this one %d",
                       WF_CHAIN_DEPTH, count);
    for (int i = 0; i < count; i++) {
        int len = i2d_X509(sk_X509_value(certs, i), NULL);
        if (len <= 0 || len > (int)WF_CERT_MAX)
            return wf_fail(why, WEFT_ELIMIT, "a certificate has at most %u bytes, this one %d",
                           WF_CERT_MAX, len);
        total += (size_t)len;
    }
    if (total > WF_CHAIN_MAX)
        return wf_fail(why, WEFT_ELIMIT, "a chain has at most %u bytes, this one %zu", WF_CHAIN_MAX,
                       total);
    return WEFT_OK;
}

weft_err pki_trust_check_x509s(pki_trust *trust, STACK_OF(X509) * certs, unsigned kinds,
                               enum pki_side peer_side, bool forgive_expired, uint64_t now,
                               struct pki_subject *out, int *x509_error, wf_why *why)
{
    uint8_t key[32];
    struct pki_verified v;
    struct digest d;
    *x509_error = X509_V_ERR_CERT_REJECTED;
    weft_err err = check_sizes(certs, why);
    if (err != WEFT_OK)
        return err;
    digest_start(&d, peer_side);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(certs, i), &der);
        if (len > 0)
            digest_add(&d, der, (size_t)len);
        else
            d.failed = true;
        OPENSSL_free(der);
    }
    if (!digest_end(&d, key)) {
        *x509_error = X509_V_ERR_OUT_OF_MEM;
        return wf_fail(why, WEFT_ENOMEM, "no memory to verify a certificate");
    }
    if (pki_seen_find(trust->chains, key, &v))
        return judge(trust, &v, kinds, forgive_expired, now, out, x509_error, why);

    pki_chain *chain = NULL;
    STACK_OF(X509) *rest = sk_X509_dup(certs);
    if (rest == NULL) {
        *x509_error = X509_V_ERR_OUT_OF_MEM;
        return wf_fail(why, WEFT_ENOMEM, "no memory to verify a certificate");
    }
    X509 *leaf = sk_X509_shift(rest);
    err = pki_chain_from_x509s(leaf, rest, &chain, why);
    if (err == WEFT_OK)
        err =
            check(trust, key, chain, kinds, peer_side, forgive_expired, now, out, x509_error, why);
    pki_chain_free(chain);
    sk_X509_free(rest);
    return err;
}
