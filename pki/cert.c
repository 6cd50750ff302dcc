/* Names and chains: what a certificate says. Whether it is believed: pki/trust.c. */
#include "pki/cert.h"
#include "pki/internal.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- names */

static const struct {
    enum pki_kind kind;
    const char *path;
} kinds[] = {
    {PKI_IDENTITY, "/identity/"},
    {PKI_ROUTER, "/router/"},
    {PKI_CONTROLLER, "/controller/"},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

static const char scheme[] = "spiffe://";

char *pki_spiffe_text(const char *domain, enum pki_kind kind, const wf_id *id,
                      char buf[PKI_SPIFFE_MAX])
{
    const char *path = NULL;
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (kinds[i].kind == kind)
            path = kinds[i].path;
    assert(path != NULL);
    assert(strlen(domain) <= PKI_DOMAIN_MAX);
    char text[WF_ID_TEXT];
    (void)snprintf(buf, PKI_SPIFFE_MAX, "%s%s%s%s", scheme, domain, path, wf_id_text(id, text));
    return buf;
}

weft_err pki_domain_check(const char *domain, size_t len, wf_why *why)
{
    if (len == 0 || len > PKI_DOMAIN_MAX)
        return wf_fail(why, WEFT_EINVAL, "a trust domain has 1 to %d bytes", PKI_DOMAIN_MAX);
    for (size_t i = 0; i < len; i++) {
        char c = domain[i];
        bool separator = c == '.' || c == '-';
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && !separator) {
            return wf_fail(why, WEFT_EINVAL,
                           "a trust domain is made of lower-case letters, digits, '.' and '-'");
        }
        if (separator && (i == 0 || i == len - 1))
            return wf_fail(why, WEFT_EINVAL, "a trust domain neither begins nor ends with '%c'", c);
    }
    return WEFT_OK;
}

weft_err pki_spiffe_parse(const char *text, size_t len, char domain[PKI_DOMAIN_MAX + 1],
                          enum pki_kind *kind, wf_id *id)
{
    const size_t scheme_len = strlen(scheme);
    if (len <= scheme_len || len >= PKI_SPIFFE_MAX || memcmp(text, scheme, scheme_len) != 0)
        return WEFT_EINVAL;
    const char *name = text + scheme_len;
    const char *slash = memchr(name, '/', len - scheme_len);
    if (slash == NULL || pki_domain_check(name, (size_t)(slash - name), NULL) != WEFT_OK)
        return WEFT_EINVAL;
    const size_t left = len - (size_t)(slash - text);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        const size_t path_len = strlen(kinds[i].path);
        wf_id found;
        if (left <= path_len || memcmp(slash, kinds[i].path, path_len) != 0)
            continue;
        if (!wf_id_parse(slash + path_len, left - path_len, &found) || wf_id_is_zero(&found))
            return WEFT_EINVAL;
        memcpy(domain, name, (size_t)(slash - name));
        domain[slash - name] = '\0';
        *kind = kinds[i].kind;
        *id = found;
        return WEFT_OK;
    }
    return WEFT_EINVAL;
}

/* ---- kinds as object identifiers */

/* The value of PKI_ARC_TEXT in DER; the kind's number follows. */
static const uint8_t arc[] = {0x69, 0x82, 0xbb, 0xf8, 0x9c, 0xeb, 0xe5, 0xef, 0xfa, 0x8b,
                              0xf7, 0x94, 0xbb, 0xa8, 0x9b, 0xc4, 0xb0, 0xde, 0x9c, 0x7c};

ASN1_OBJECT *pki_kind_object(enum pki_kind kind)
{
    /* The mask 1, 2, 4 is .1, .2, .3. */
    unsigned char oid[sizeof arc + 1];
    memcpy(oid, arc, sizeof arc);
    oid[sizeof arc] = kind == PKI_CONTROLLER ? 3 : (unsigned char)kind;
    return ASN1_OBJECT_create(NID_undef, oid, sizeof oid, NULL, NULL);
}

static bool object_is_kind(const ASN1_OBJECT *object, enum pki_kind *out)
{
    static const enum pki_kind by_number[] = {0, PKI_IDENTITY, PKI_ROUTER, PKI_CONTROLLER};
    const uint8_t *oid = OBJ_get0_data(object);
    if (OBJ_length(object) != sizeof arc + 1 || memcmp(oid, arc, sizeof arc) != 0 ||
        oid[sizeof arc] == 0 || oid[sizeof arc] > 3)
        return false;
    *out = by_number[oid[sizeof arc]];
    return true;
}

bool pki_x509_kind(X509 *x, enum pki_kind *out)
{
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    unsigned found = 0;
    for (int i = 0; i < sk_ASN1_OBJECT_num(uses); i++) {
        enum pki_kind kind;
        if (object_is_kind(sk_ASN1_OBJECT_value(uses, i), &kind)) {
            *out = kind;
            found++;
        }
    }
    EXTENDED_KEY_USAGE_free(uses);
    ERR_clear_error();
    return found == 1;
}

/* ---- what a leaf says of itself */

static bool time_to_ms(const ASN1_TIME *time, uint64_t *out)
{
    struct tm tm;
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    time_t seconds = timegm(&tm);
    if (seconds < 0)
        return false;
    *out = (uint64_t)seconds * 1000;
    return true;
}

bool pki_x509_validity(X509 *x, uint64_t *not_before, uint64_t *not_after)
{
    uint64_t from, to;
    bool read = time_to_ms(X509_get0_notBefore(x), &from) && time_to_ms(X509_get0_notAfter(x), &to);
    ERR_clear_error();
    if (!read || from > to)
        return false;
    *not_before = from;
    *not_after = to;
    return true;
}

static weft_err take_san(X509 *leaf, struct pki_subject *out, wf_why *why)
{
    weft_err err = WEFT_OK;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    if (names == NULL || sk_GENERAL_NAME_num(names) != 1) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the certificate does not have exactly one subject name");
        goto out;
    }
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
    if (type != GEN_URI) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate's subject name is no URI");
        goto out;
    }
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    if (pki_spiffe_parse(text, len, out->domain, &out->kind, &out->id) != WEFT_OK) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the certificate's subject name is not of the form "
                      "spiffe://DOMAIN/identity|router|controller/ID");
    }
out:
    GENERAL_NAMES_free(names);
    return err;
}

static weft_err take_cn(X509 *leaf, struct pki_subject *out, wf_why *why)
{
    const X509_NAME *name = X509_get_subject_name(leaf);
    const X509_NAME_ENTRY *entry =
        X509_NAME_entry_count(name) == 1 ? X509_NAME_get_entry(name, 0) : NULL;
    if (entry == NULL || OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != NID_commonName)
        return wf_fail(why, WEFT_ECREDENTIAL, "the certificate's subject is not one common name");
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    if (wf_name_check(text, len, "certificate's common name", why) != WEFT_OK)
        return WEFT_ECREDENTIAL;
    memcpy(out->name, text, len);
    out->name[len] = '\0';
    return WEFT_OK;
}

/* The key in DER into buf of PKI_SPKI_MAX bytes; only the three kinds fit and pass. */
static bool take_spki(X509 *x, uint8_t *buf, size_t *len)
{
    enum pki_key_kind kind;
    X509_PUBKEY *key = X509_get_X509_PUBKEY(x);
    int need = i2d_X509_PUBKEY(key, NULL);
    if (need <= 0 || need > PKI_SPKI_MAX)
        return false;
    unsigned char *at = buf;
    if (i2d_X509_PUBKEY(key, &at) != need || !pki_spki_kind(wf_span_of(buf, (size_t)need), &kind))
        return false;
    *len = (size_t)need;
    return true;
}

weft_err pki_x509_subject(X509 *leaf, struct pki_subject *out, wf_why *why)
{
    struct pki_subject found = {0};
    uint32_t flags = X509_get_extension_flags(leaf);
    if ((flags & EXFLAG_INVALID) != 0)
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "the certificate's extensions are broken");
    if ((flags & (EXFLAG_CA | EXFLAG_SS)) != 0 || (flags & EXFLAG_BCONS) == 0) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the certificate is that of an authority, not of a node");
    }
    weft_err err = take_san(leaf, &found, why);
    if (err != WEFT_OK)
        return err;
    err = take_cn(leaf, &found, why);
    if (err != WEFT_OK)
        return err;
    enum pki_kind kind;
    if (!pki_x509_kind(leaf, &kind) || kind != found.kind) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the kind in the certificate's key usage is not that of its subject name");
    }
    if (!pki_x509_validity(leaf, &found.not_before, &found.not_after))
        return wf_fail(why, WEFT_ECREDENTIAL, "the certificate's validity can't be read");
    uint8_t spki[PKI_SPKI_MAX];
    size_t spki_len;
    if (!take_spki(leaf, spki, &spki_len)) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the certificate's key is not P-256, P-384 or Ed25519");
    }
    pki_pin_of_spki(wf_span_of(spki, spki_len), &found.pin);
    *out = found;
    return WEFT_OK;
}

/* ---- chains */

struct pki_chain {
    unsigned refs;
    struct pki_chain *self; /* the same chain, writable: dup counts on a const one */
    size_t count;
    struct {
        X509 *x;     /* owned */
        wf_span der; /* into bytes */
    } certs[WF_CHAIN_DEPTH];
    uint8_t spki[PKI_SPKI_MAX]; /* the leaf's */
    size_t spki_len;
    uint64_t not_before, not_after; /* the leaf's */
    uint8_t bytes[];                /* the certificates, one behind the other */
};

/* True if OpenSSL would write the certificate exactly as it came: DER has one form. */
static bool is_canonical(X509 *x, wf_span der)
{
    unsigned char *again = NULL;
    int len = i2d_X509(x, &again);
    bool same = len > 0 && (size_t)len == der.len && memcmp(again, der.data, der.len) == 0;
    OPENSSL_free(again);
    return same;
}

weft_err pki_x509_from_der(wf_span der, X509 **out, wf_why *why)
{
    if (der.len == 0 || der.len > WF_CERT_MAX) {
        return wf_fail(why, WEFT_ELIMIT, "a certificate has 1 to %u bytes, this one %zu",
                       WF_CERT_MAX, der.len);
    }
    const unsigned char *at = der.data;
    uint8_t spki[PKI_SPKI_MAX];
    size_t spki_len;
    uint64_t from, to;
    weft_err err;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);
    if (x == NULL || at != der.data + der.len || !is_canonical(x, der)) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the certificate can't be read");
        goto fail;
    }
    if (X509_get_version(x) != X509_VERSION_3) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate is not of X.509 version 3");
        goto fail;
    }
    if (!take_spki(x, spki, &spki_len)) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the certificate's key is not P-256, P-384 or Ed25519");
        goto fail;
    }
    if (!pki_x509_validity(x, &from, &to)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate's validity can't be read");
        goto fail;
    }
    ERR_clear_error();
    *out = x;
    return WEFT_OK;
fail:
    X509_free(x);
    return err;
}

weft_err pki_chain_from_der(const wf_span *certs, size_t count, pki_chain **out, wf_why *why)
{
    size_t total = 0;
    if (count == 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "there is no certificate");
    if (count > WF_CHAIN_DEPTH) {
        return wf_fail(why, WEFT_ELIMIT, "a chain has at most %u certificates, this one %zu",
                       WF_CHAIN_DEPTH, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (certs[i].len == 0 || certs[i].len > WF_CERT_MAX) {
            return wf_fail(why, WEFT_ELIMIT, "a certificate has 1 to %u bytes, this one %zu",
                           WF_CERT_MAX, certs[i].len);
        }
        total += certs[i].len;
    }
    assert(total <= WF_CHAIN_MAX);

    pki_chain *chain = calloc(1, sizeof *chain + total);
    if (chain == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a chain");
    chain->refs = 1;
    chain->self = chain;
    weft_err err = WEFT_OK;
    uint8_t *at = chain->bytes;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, certs[i].data, certs[i].len);
        chain->certs[i].der = wf_span_of(at, certs[i].len);
        at += certs[i].len;
        err = pki_x509_from_der(chain->certs[i].der, &chain->certs[i].x, why);
        if (err != WEFT_OK)
            goto fail;
        chain->count = i + 1;
    }
    if (!take_spki(chain->certs[0].x, chain->spki, &chain->spki_len) ||
        !pki_x509_validity(chain->certs[0].x, &chain->not_before, &chain->not_after)) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the certificate can't be read");
        goto fail;
    }
    *out = chain;
    return WEFT_OK;
fail:
    pki_chain_free(chain);
    return err;
}

weft_err pki_chain_from_pem(wf_span pem, pki_chain **out, wf_why *why)
{
    wf_span certs[WF_CHAIN_DEPTH];
    size_t count = 0;
    wf_buf one, all;
    wf_buf_init(&one, WF_CERT_MAX);
    wf_buf_init(&all, WF_CHAIN_MAX);
    weft_err err = wf_buf_reserve(&all, WF_CHAIN_MAX); /* so that the spans stay */
    if (err != WEFT_OK)
        return wf_fail(why, err, "no memory for a chain");
    while (err == WEFT_OK) {
        char label[PKI_PEM_LABEL_MAX];
        err = pki_pem_next(&pem, label, &one, why);
        if (err == WEFT_ENOTFOUND)
            break;
        if (err != WEFT_OK)
            goto out;
        if (strcmp(label, "CERTIFICATE") != 0) {
            err =
                wf_fail(why, WEFT_ECREDENTIAL, "the PEM block is %s, wanted is CERTIFICATE", label);
            goto out;
        }
        if (count == WF_CHAIN_DEPTH) {
            err = wf_fail(why, WEFT_ELIMIT, "a chain has at most %u certificates", WF_CHAIN_DEPTH);
            goto out;
        }
        const uint8_t *start = all.data + all.len;
        err = wf_buf_put(&all, one.data, one.len);
        certs[count++] = wf_span_of(start, one.len);
    }
    if (err == WEFT_ENOTFOUND)
        err = pki_chain_from_der(certs, count, out, why);
out:
    wf_buf_fini(&all);
    wf_buf_fini(&one);
    return err;
}

weft_err pki_chain_from_x509s(X509 *leaf, STACK_OF(X509) * rest, pki_chain **out, wf_why *why)
{
    unsigned char *der[WF_CHAIN_DEPTH] = {NULL};
    wf_span certs[WF_CHAIN_DEPTH];
    weft_err err = WEFT_OK;
    size_t count = 0;
    int more = sk_X509_num(rest); /* -1 for NULL */
    if (more >= (int)WF_CHAIN_DEPTH)
        return wf_fail(why, WEFT_ELIMIT, "a chain has at most %u certificates", WF_CHAIN_DEPTH);
    for (int i = -1; i < more; i++) {
        X509 *x = i < 0 ? leaf : sk_X509_value(rest, i);
        int len = i2d_X509(x, &der[count]);
        if (len <= 0) {
            err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the certificate can't be read");
            goto out;
        }
        certs[count] = wf_span_of(der[count], (size_t)len);
        count++;
    }
    err = pki_chain_from_der(certs, count, out, why);
out:
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        OPENSSL_free(der[i]);
    return err;
}

pki_chain *pki_chain_dup(const pki_chain *chain)
{
    assert(chain->refs > 0);
    chain->self->refs++;
    return chain->self;
}

void pki_chain_free(pki_chain *chain)
{
    if (chain == NULL || --chain->refs > 0)
        return;
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        X509_free(chain->certs[i].x);
    free(chain);
}

size_t pki_chain_count(const pki_chain *chain)
{
    return chain->count;
}

wf_span pki_chain_der(const pki_chain *chain, size_t i)
{
    assert(i < chain->count);
    return chain->certs[i].der;
}

X509 *pki_chain_x509(const pki_chain *chain, size_t i)
{
    assert(i < chain->count);
    return chain->certs[i].x;
}

STACK_OF(X509) * pki_chain_untrusted(const pki_chain *chain)
{
    STACK_OF(X509) *stack = sk_X509_new_reserve(NULL, WF_CHAIN_DEPTH);
    for (size_t i = 1; stack != NULL && i < chain->count; i++)
        (void)sk_X509_push(stack, chain->certs[i].x); /* into reserved room */
    return stack;
}

weft_err pki_chain_put_pem(const pki_chain *chain, wf_buf *out)
{
    const size_t before = out->len;
    for (size_t i = 0; i < chain->count; i++) {
        weft_err err = pki_pem_put("CERTIFICATE", chain->certs[i].der, out);
        if (err != WEFT_OK) {
            out->len = before;
            return err;
        }
    }
    return WEFT_OK;
}

wf_span pki_chain_spki(const pki_chain *chain)
{
    return wf_span_of(chain->spki, chain->spki_len);
}

void pki_chain_pin(const pki_chain *chain, pki_pin *out)
{
    pki_pin_of_spki(pki_chain_spki(chain), out);
}

void pki_chain_issuer_pin(const pki_chain *chain, pki_pin *out)
{
    uint8_t der[PKI_SPKI_MAX], *at = der;
    memset(out, 0, sizeof *out);
    if (pki_chain_count(chain) < 2)
        return;
    X509_PUBKEY *key = X509_get_X509_PUBKEY(pki_chain_x509(chain, 1));
    int len = i2d_X509_PUBKEY(key, NULL);
    if (len > 0 && len <= PKI_SPKI_MAX && i2d_X509_PUBKEY(key, &at) == len)
        pki_pin_of_spki(wf_span_of(der, (size_t)len), out);
}

void pki_chain_validity(const pki_chain *chain, uint64_t *not_before, uint64_t *not_after)
{
    *not_before = chain->not_before;
    *not_after = chain->not_after;
}
