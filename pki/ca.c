/* The authorities: root, intermediates, and the leaves they issue. */
#include "pki/cert.h"
#include "pki/internal.h"
#include <assert.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_LEN 16
#define SKI_LEN 20
#define TIME_MAX_MS (253402300799ull * 1000) /* the last second of the year 9999 */

/* Bits of keyUsage, RFC 5280 section 4.2.1.3. */
enum { BIT_DIGITAL_SIGNATURE = 0, BIT_KEY_CERT_SIGN = 5, BIT_CRL_SIGN = 6 };

struct pki_ca {
    pki_key *key;     /* owned */
    pki_chain *chain; /* owned; itself first */
    char domain[PKI_DOMAIN_MAX + 1];
};

/* What differs between the three sorts of certificate. */
struct plan {
    EVP_PKEY *subject;    /* borrowed: whose key */
    wf_span subject_spki; /* borrowed */
    const char *cn;
    const char *uri;
    bool is_ca;
    long path_len;      /* of a CA; -1: not limited */
    enum pki_kind kind; /* 0: none */
    uint64_t not_before, not_after;
    const pki_key *signer;
    X509 *issuer; /* NULL: itself */
};

static bool set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_LEN];
    bool done = false;
    BIGNUM *number = NULL;
    if (RAND_bytes(bytes, sizeof bytes) == 1) {
        bytes[0] |= 1; /* never zero */
        number = BN_bin2bn(bytes, sizeof bytes, NULL);
        done = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
    }
    BN_free(number);
    return done;
}

static bool add_constraints(X509 *x, const struct plan *plan)
{
    bool done = false;
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    if (constraints == NULL)
        return false;
    constraints->ca = plan->is_ca ? 0xff : 0;
    if (plan->is_ca && plan->path_len >= 0) {
        constraints->pathlen = ASN1_INTEGER_new();
        if (constraints->pathlen == NULL ||
            ASN1_INTEGER_set(constraints->pathlen, plan->path_len) != 1)
            goto out;
    }
    done = X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT) == 1;
out:
    BASIC_CONSTRAINTS_free(constraints);
    return done;
}

static bool add_usage(X509 *x, const struct plan *plan)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool done = bits != NULL;
    if (plan->is_ca) {
        done = done && ASN1_BIT_STRING_set_bit(bits, BIT_KEY_CERT_SIGN, 1) == 1 &&
               ASN1_BIT_STRING_set_bit(bits, BIT_CRL_SIGN, 1) == 1;
    } else {
        done = done && ASN1_BIT_STRING_set_bit(bits, BIT_DIGITAL_SIGNATURE, 1) == 1;
    }
    done = done && X509_add1_ext_i2d(x, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT) == 1;
    ASN1_BIT_STRING_free(bits);
    return done;
}

/* Takes object, also on failure. */
static bool push_use(EXTENDED_KEY_USAGE *uses, ASN1_OBJECT *object)
{
    if (object == NULL)
        return false;
    if (sk_ASN1_OBJECT_push(uses, object) <= 0) {
        ASN1_OBJECT_free(object);
        return false;
    }
    return true;
}

static bool add_kind(X509 *x, enum pki_kind kind)
{
    EXTENDED_KEY_USAGE *uses = sk_ASN1_OBJECT_new_null();
    bool done = uses != NULL && push_use(uses, OBJ_nid2obj(NID_client_auth)) &&
                push_use(uses, OBJ_nid2obj(NID_server_auth)) &&
                push_use(uses, pki_kind_object(kind)) &&
                X509_add1_ext_i2d(x, NID_ext_key_usage, uses, 0, X509V3_ADD_DEFAULT) == 1;
    EXTENDED_KEY_USAGE_free(uses);
    return done;
}

static bool add_uri(X509 *x, const char *uri)
{
    bool done = false;
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    if (text == NULL || name == NULL || names == NULL || ASN1_STRING_set(text, uri, -1) != 1)
        goto out;
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    text = NULL;
    if (sk_GENERAL_NAME_push(names, name) <= 0)
        goto out;
    name = NULL;
    done = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
out:
    GENERAL_NAMES_free(names);
    GENERAL_NAME_free(name);
    ASN1_IA5STRING_free(text);
    return done;
}

/* RFC 7093, section 2: the key's identifier is the head of its SHA-256, which is our pin. */
static bool add_key_ids(X509 *x, const struct plan *plan)
{
    pki_pin pin;
    pki_pin_of_spki(plan->subject_spki, &pin);
    bool done = false;
    AUTHORITY_KEYID *authority = NULL;
    ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
    if (own == NULL || ASN1_OCTET_STRING_set(own, pin.b, SKI_LEN) != 1 ||
        X509_add1_ext_i2d(x, NID_subject_key_identifier, own, 0, X509V3_ADD_DEFAULT) != 1)
        goto out;
    if (plan->issuer == NULL) {
        done = true; /* a root names no other */
        goto out;
    }
    const ASN1_OCTET_STRING *issuer = X509_get0_subject_key_id(plan->issuer);
    authority = AUTHORITY_KEYID_new();
    if (issuer == NULL || authority == NULL)
        goto out;
    authority->keyid = ASN1_OCTET_STRING_dup(issuer);
    done = authority->keyid != NULL && X509_add1_ext_i2d(x, NID_authority_key_identifier, authority,
                                                         0, X509V3_ADD_DEFAULT) == 1;
out:
    AUTHORITY_KEYID_free(authority);
    ASN1_OCTET_STRING_free(own);
    return done;
}

static bool fill(X509 *x, const struct plan *plan)
{
    X509_NAME *subject = X509_get_subject_name(x);
    if (X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
        X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)plan->cn, -1, -1, 0) != 1)
        return false;
    const X509_NAME *issuer =
        plan->issuer == NULL ? X509_get_subject_name(x) : X509_get_subject_name(plan->issuer);
    return X509_set_issuer_name(x, issuer) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(plan->not_before / 1000)) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(plan->not_after / 1000)) != NULL &&
           X509_set_pubkey(x, plan->subject) == 1 && add_constraints(x, plan) &&
           add_usage(x, plan) && (plan->kind == 0 || add_kind(x, plan->kind)) &&
           add_uri(x, plan->uri) && add_key_ids(x, plan) &&
           X509_sign(x, pki_key_evp(plan->signer), pki_digest_of(pki_key_kind_of(plan->signer))) >
               0;
}

/*
 * Signs the certificate that plan describes and puts it before the first
 * behind_count certificates of `behind` (NULL: none).
 */
static weft_err issue(const struct plan *plan, const pki_chain *behind, size_t behind_count,
                      pki_chain **out, wf_why *why)
{
    assert(behind_count < WF_CHAIN_DEPTH);
    if (plan->not_after > TIME_MAX_MS || plan->not_before >= plan->not_after)
        return wf_fail(why, WEFT_EINVAL, "a certificate must begin before it ends");
    weft_err err;
    unsigned char *der = NULL;
    X509 *x = X509_new();
    if (x == NULL || !fill(x, plan)) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "a certificate can't be made");
        goto out;
    }
    int len = i2d_X509(x, &der);
    if (len <= 0) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "a certificate can't be written");
        goto out;
    }
    wf_span certs[WF_CHAIN_DEPTH];
    certs[0] = wf_span_of(der, (size_t)len);
    for (size_t i = 0; i < behind_count; i++)
        certs[i + 1] = pki_chain_der(behind, i);
    err = pki_chain_from_der(certs, behind_count + 1, out, why);
out:
    OPENSSL_free(der);
    X509_free(x);
    return err;
}

static bool is_self_signed(const pki_chain *chain, size_t i)
{
    return (X509_get_extension_flags(pki_chain_x509(chain, i)) & EXFLAG_SS) != 0;
}

/* Takes key and chain, unless it fails. */
static weft_err ca_wrap(pki_key *key, pki_chain *chain, const char *domain, pki_ca **out)
{
    pki_ca *ca = calloc(1, sizeof *ca);
    if (ca == NULL)
        return WEFT_ENOMEM;
    ca->key = key;
    ca->chain = chain;
    memcpy(ca->domain, domain, strlen(domain) + 1);
    *out = ca;
    return WEFT_OK;
}

/* A distinct name for each authority, so that a rotated one is never taken for its forerunner. */
static void authority_name(const char *what, const pki_key *key, char cn[WF_NAME_MAX + 1])
{
    pki_pin pin;
    char digits[9];
    pki_key_pin(key, &pin);
    (void)snprintf(cn, WF_NAME_MAX + 1, "weft %s %s", what, wf_hex(pin.b, 4, digits));
}

/* A new authority: key and certificate by issuer (NULL: a root), as far as plan says. */
static weft_err authority_new(const pki_ca *issuer, enum pki_key_kind key_kind, const char *what,
                              struct plan *plan, const char *domain, pki_ca **out, wf_why *why)
{
    char uri[9 + PKI_DOMAIN_MAX + 1];
    char cn[WF_NAME_MAX + 1];
    pki_key *key = NULL;
    pki_chain *chain = NULL;
    weft_err err = pki_key_new(key_kind, &key, why);
    if (err != WEFT_OK)
        return err;
    (void)snprintf(uri, sizeof uri, "spiffe://%s", domain);
    authority_name(what, key, cn);
    plan->subject = pki_key_evp(key);
    plan->subject_spki = pki_key_spki(key);
    plan->cn = cn;
    plan->uri = uri;
    plan->is_ca = true;
    plan->signer = issuer == NULL ? key : issuer->key;
    plan->issuer = issuer == NULL ? NULL : pki_chain_x509(issuer->chain, 0);
    err = issue(plan, issuer == NULL ? NULL : issuer->chain,
                issuer == NULL ? 0 : pki_chain_count(issuer->chain), &chain, why);
    if (err != WEFT_OK)
        goto fail;
    err = ca_wrap(key, chain, domain, out);
    if (err != WEFT_OK)
        goto fail;
    return WEFT_OK;
fail:
    pki_chain_free(chain);
    pki_key_free(key);
    return err;
}

static uint64_t back_dated(uint64_t now)
{
    return now > WF_CLOCK_TOLERANCE_MS ? now - WF_CLOCK_TOLERANCE_MS : 0;
}

static uint64_t end_of_life(uint64_t now, uint64_t life_ms)
{
    return life_ms < TIME_MAX_MS && now < TIME_MAX_MS - life_ms ? now + life_ms : TIME_MAX_MS;
}

weft_err pki_ca_new_root(const char *domain, enum pki_key_kind kind, uint64_t now, uint64_t life_ms,
                         pki_ca **out, wf_why *why)
{
    weft_err err = pki_domain_check(domain, strlen(domain), why);
    if (err != WEFT_OK)
        return err;
    struct plan plan = {
        .path_len = -1,
        .not_before = back_dated(now),
        .not_after = end_of_life(now, life_ms),
    };
    return authority_new(NULL, kind, "root", &plan, domain, out, why);
}

weft_err pki_ca_new_intermediate(const pki_ca *root, enum pki_kind kind, uint64_t now,
                                 uint64_t life_ms, pki_ca **out, wf_why *why)
{
    uint64_t from, to;
    pki_chain_validity(root->chain, &from, &to);
    if (!is_self_signed(root->chain, 0))
        return wf_fail(why, WEFT_EINVAL, "only a root issues intermediates");
    if (now >= to)
        return wf_fail(why, WEFT_EEXPIRED, "the root certificate has expired: rotate it");
    struct plan plan = {
        .path_len = 0,
        .kind = kind,
        .not_before = back_dated(now),
        .not_after = end_of_life(now, life_ms),
    };
    if (plan.not_before < from)
        plan.not_before = from;
    if (plan.not_after > to)
        plan.not_after = to;
    const char *what = kind == PKI_IDENTITY ? "identities"
                       : kind == PKI_ROUTER ? "routers"
                                            : "controllers";
    return authority_new(root, pki_key_kind_of(root->key), what, &plan, root->domain, out, why);
}

/* The trust domain that an authority was made for stands in its one URI. */
static bool authority_domain(X509 *x, char domain[PKI_DOMAIN_MAX + 1])
{
    static const char scheme[] = "spiffe://";
    const size_t scheme_len = sizeof scheme - 1;
    bool found = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    if (names == NULL || sk_GENERAL_NAME_num(names) != 1)
        goto out;
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), &type);
    if (type != GEN_URI)
        goto out;
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);
    if (len <= scheme_len || memcmp(text, scheme, scheme_len) != 0 ||
        pki_domain_check(text + scheme_len, len - scheme_len, NULL) != WEFT_OK)
        goto out;
    memcpy(domain, text + scheme_len, len - scheme_len);
    domain[len - scheme_len] = '\0';
    found = true;
out:
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return found;
}

weft_err pki_ca_from_pem(wf_span key_pem, const char *passphrase, wf_span chain_pem, pki_ca **out,
                         wf_why *why)
{
    pki_key *key = NULL;
    pki_chain *chain = NULL;
    pki_pin of_key, of_chain;
    char domain[PKI_DOMAIN_MAX + 1];
    weft_err err = pki_key_from_pem(key_pem, passphrase, &key, why);
    if (err != WEFT_OK)
        return err;
    err = pki_chain_from_pem(chain_pem, &chain, why);
    if (err != WEFT_OK)
        goto fail;
    pki_key_pin(key, &of_key);
    pki_chain_pin(chain, &of_chain);
    if (!pki_pin_equal(&of_key, &of_chain)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the authority's key is not that of its certificate");
        goto fail;
    }
    X509 *x = pki_chain_x509(chain, 0);
    if (X509_check_ca(x) != 1 || !authority_domain(x, domain)) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the certificate is not that of an authority of a trust domain");
        goto fail;
    }
    err = ca_wrap(key, chain, domain, out);
    if (err != WEFT_OK)
        goto fail;
    return WEFT_OK;
fail:
    pki_chain_free(chain);
    pki_key_free(key);
    return err;
}

const pki_key *pki_ca_key(const pki_ca *ca)
{
    return ca->key;
}

const pki_chain *pki_ca_chain(const pki_ca *ca)
{
    return ca->chain;
}

void pki_ca_free(pki_ca *ca)
{
    if (ca == NULL)
        return;
    pki_chain_free(ca->chain);
    pki_key_free(ca->key);
    free(ca);
}

/* An authority signs only what it was made for, whatever its caller believes. */
static weft_err may_issue(const pki_ca *ca, const struct pki_leaf *leaf, wf_why *why)
{
    enum pki_kind kind;
    uint64_t from, to;
    if (is_self_signed(ca->chain, 0) || !pki_x509_kind(pki_chain_x509(ca->chain, 0), &kind) ||
        kind != leaf->kind)
        return wf_fail(why, WEFT_EINVAL, "this authority does not issue certificates of that kind");
    if (strcmp(ca->domain, leaf->domain) != 0) {
        return wf_fail(why, WEFT_EINVAL, "this authority issues for %s, not for %s", ca->domain,
                       leaf->domain);
    }
    if (wf_id_is_zero(&leaf->id))
        return wf_fail(why, WEFT_EINVAL, "a certificate needs an id");
    pki_chain_validity(ca->chain, &from, &to);
    if (leaf->not_before >= to)
        return wf_fail(why, WEFT_EEXPIRED, "the issuing authority has expired: rotate it");
    return wf_name_check(leaf->name, strlen(leaf->name), "subject's name", why);
}

weft_err pki_ca_issue(const pki_ca *ca, const struct pki_leaf *leaf, pki_chain **out, wf_why *why)
{
    weft_err err = may_issue(ca, leaf, why);
    if (err != WEFT_OK)
        return err;
    EVP_PKEY *subject = NULL;
    err = pki_evp_from_spki(leaf->spki, &subject, why);
    if (err != WEFT_OK)
        return err;
    /* The root stays at home: every node has it in its bundle. */
    size_t behind = 0;
    while (behind < pki_chain_count(ca->chain) && !is_self_signed(ca->chain, behind))
        behind++;
    char uri[PKI_SPIFFE_MAX];
    uint64_t from, to;
    pki_chain_validity(ca->chain, &from, &to);
    const struct plan plan = {
        .subject = subject,
        .subject_spki = leaf->spki,
        .cn = leaf->name,
        .uri = pki_spiffe_text(leaf->domain, leaf->kind, &leaf->id, uri),
        .kind = leaf->kind,
        .not_before = leaf->not_before,
        .not_after = leaf->not_after < to ? leaf->not_after : to,
        .signer = ca->key,
        .issuer = pki_chain_x509(ca->chain, 0),
    };
    pki_chain *chain = NULL;
    err = issue(&plan, ca->chain, behind, &chain, why);
    if (err != WEFT_OK)
        goto out;
    struct pki_subject read_back;
    err = pki_x509_subject(pki_chain_x509(chain, 0), &read_back, why);
    if (err != WEFT_OK) {
        /* What we issue is what we accept; anything else stays here. */
        pki_chain_free(chain);
        goto out;
    }
    *out = chain;
out:
    EVP_PKEY_free(subject);
    return err;
}
