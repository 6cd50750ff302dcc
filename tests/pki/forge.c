#include "tests/pki/forge.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            ERR_print_errors_fp(stderr);                                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define DAY_MS 86400000ull

struct forge forge_leaf(const pki_key *issuer_key, X509 *issuer, EVP_PKEY *key, const char *uri,
                        uint64_t now)
{
    return (struct forge){
        .issuer_key = issuer_key,
        .issuer = issuer,
        .key = key,
        .cn = "forged",
        .uri = uri,
        .constraints = "critical,CA:FALSE",
        .usage = "critical,digitalSignature",
        .extended = FORGE_IDENTITY_USE,
        .not_before = now - DAY_MS,
        .not_after = now + DAY_MS,
    };
}

struct forge forge_authority(const pki_key *issuer_key, X509 *issuer, EVP_PKEY *key, const char *cn,
                             const char *extended, uint64_t now)
{
    struct forge f = forge_leaf(issuer_key, issuer, key, NULL, now);
    f.cn = cn;
    f.constraints = "critical,CA:TRUE";
    f.usage = "critical,keyCertSign,cRLSign";
    f.extended = extended;
    return f;
}

static void add(X509 *x, X509 *issuer, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer == NULL ? x : issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    MUST(e != NULL);
    MUST(X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void push_name(GENERAL_NAMES *names, int type, const char *text, size_t len)
{
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    MUST(value != NULL && name != NULL && ASN1_STRING_set(value, text, (int)len) == 1);
    GENERAL_NAME_set0_value(name, type, value);
    MUST(sk_GENERAL_NAME_push(names, name) > 0);
}

static void add_names(X509 *x, const struct forge *f)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    push_name(names, GEN_URI, f->uri, f->uri_len > 0 ? f->uri_len : strlen(f->uri));
    if (f->dns != NULL)
        push_name(names, GEN_DNS, f->dns, strlen(f->dns));
    if (f->uri2 != NULL && f->two_extensions) {
        MUST(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1);
        GENERAL_NAMES_free(names);
        names = GENERAL_NAMES_new();
    }
    if (f->uri2 != NULL)
        push_name(names, GEN_URI, f->uri2, strlen(f->uri2));
    MUST(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1);
    GENERAL_NAMES_free(names);
}

static void add_cn(X509 *x, const char *cn)
{
    if (cn != NULL)
        MUST(X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                                        (const unsigned char *)cn, -1, -1, 0) == 1);
}

X509 *forge_make(const struct forge *f)
{
    static long serial = 1000;
    X509 *x = X509_new();
    MUST(x != NULL && X509_set_version(x, X509_VERSION_3) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial) == 1);
    add_cn(x, f->cn);
    add_cn(x, f->cn2);
    MUST(X509_set_issuer_name(x, X509_get_subject_name(f->issuer == NULL ? x : f->issuer)) == 1);
    MUST(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(f->not_before / 1000)) != NULL);
    MUST(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(f->not_after / 1000)) != NULL);
    MUST(X509_set_pubkey(x, f->key) == 1);
    if (f->constraints != NULL)
        add(x, f->issuer, NID_basic_constraints, f->constraints);
    if (f->usage != NULL)
        add(x, f->issuer, NID_key_usage, f->usage);
    if (f->extended != NULL)
        add(x, f->issuer, NID_ext_key_usage, f->extended);
    if (f->uri != NULL)
        add_names(x, f);
    if (f->comment != NULL)
        add(x, f->issuer, NID_netscape_comment, f->comment);
    if (f->unknown_critical)
        add(x, f->issuer, NID_netscape_base_url, "critical,ASN1:IA5STRING:x");
    if (!f->no_key_ids) {
        add(x, f->issuer, NID_subject_key_identifier, "hash");
        if (f->issuer != NULL)
            add(x, f->issuer, NID_authority_key_identifier, "keyid:always");
    }
    MUST(X509_sign(x, pki_key_evp(f->issuer_key), f->digest != NULL ? f->digest : EVP_sha256()) >
         0);
    return x;
}

X509 *forge_flip_s(X509 *x)
{
    const ASN1_BIT_STRING *old;
    X509_get0_signature(&old, NULL, x);
    const unsigned char *at = ASN1_STRING_get0_data(old);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, ASN1_STRING_length(old));
    BIGNUM *n = NULL, *r = NULL, *s = BN_new();
    MUST(sig != NULL && s != NULL);
    MUST(BN_hex2bn(&n, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551") > 0);
    r = BN_dup(ECDSA_SIG_get0_r(sig));
    MUST(BN_sub(s, n, ECDSA_SIG_get0_s(sig)) == 1);
    MUST(ECDSA_SIG_set0(sig, r, s) == 1);
    unsigned char *flipped = NULL, *der = NULL;
    int flipped_len = i2d_ECDSA_SIG(sig, &flipped);
    MUST(flipped_len > 0);

    /* SEQUENCE { tbs, algorithm, BIT STRING }: the first two stay as they are. */
    unsigned char *tbs = NULL, *algorithm = NULL;
    const X509_ALGOR *alg;
    X509_get0_signature(NULL, &alg, x);
    int tbs_len = i2d_re_X509_tbs(x, &tbs);
    int alg_len = i2d_X509_ALGOR(alg, &algorithm);
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    MUST(tbs_len > 0 && alg_len > 0 && ASN1_BIT_STRING_set(bits, flipped, flipped_len) == 1);
    bits->flags = ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits */
    unsigned char *bit_der = NULL;
    int bit_len = i2d_ASN1_BIT_STRING(bits, &bit_der);
    int content = tbs_len + alg_len + bit_len;
    MUST(bit_len > 0);
    int total = ASN1_object_size(1, content, V_ASN1_SEQUENCE);
    unsigned char *to = der = malloc((size_t)total);
    MUST(der != NULL);
    ASN1_put_object(&to, 1, content, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    memcpy(to, tbs, (size_t)tbs_len);
    memcpy(to + tbs_len, algorithm, (size_t)alg_len);
    memcpy(to + tbs_len + alg_len, bit_der, (size_t)bit_len);
    const unsigned char *again = der;
    X509 *out = d2i_X509(NULL, &again, total);
    MUST(out != NULL);
    free(der);
    OPENSSL_free(bit_der);
    OPENSSL_free(algorithm);
    OPENSSL_free(tbs);
    OPENSSL_free(flipped);
    ASN1_BIT_STRING_free(bits);
    ECDSA_SIG_free(sig);
    BN_free(n);
    return out;
}
