/* Certificates of other authorities, judged by OpenSSL under our own bounds. */
#include "pki/foreign.h"
#include "pki/internal.h"
#include "proto/base/text.h"
#include <assert.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define AUTH_LEVEL 2 /* 112 bits: no SHA-1, no RSA below 2048 */
#define SERIAL_MAX 20

static bool is_usable(EVP_PKEY *key)
{
    char group[32] = "";
    size_t len;
    if (key == NULL)
        return false;
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN && EVP_PKEY_get_bits(key) <= RSA_BITS_MAX;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
               (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
    case EVP_PKEY_ED25519:
        return true;
    default:
        return false;
    }
}

static weft_err parse(wf_span der, X509 **out, wf_why *why)
{
    if (der.len == 0 || der.len > WF_CERT_MAX)
        return wf_fail(why, WEFT_ELIMIT, "a certificate has 1 to %u bytes, this one %zu",
                       WF_CERT_MAX, der.len);
    const unsigned char *at = der.data;
    weft_err err;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);
    if (x == NULL || at != der.data + der.len) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the foreign certificate can't be read");
        goto fail;
    }
    if (X509_get_version(x) != X509_VERSION_3 ||
        (X509_get_extension_flags(x) & EXFLAG_INVALID) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the foreign certificate is not of X.509 version 3, or its extensions are "
                      "broken");
        goto fail;
    }
    if (!is_usable(X509_get0_pubkey(x))) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the foreign certificate's key is not P-256, P-384, Ed25519 or RSA of 2048 "
                      "to 8192 bits");
        goto fail;
    }
    ERR_clear_error();
    *out = x;
    return WEFT_OK;
fail:
    ERR_clear_error();
    X509_free(x);
    return err;
}

/* ---- authorities */

weft_err pki_foreign_ca_read(wf_span der, uint64_t now, struct pki_foreign_ca *out, wf_why *why)
{
    struct pki_foreign_ca ca = {.subject = ""};
    X509 *x = NULL;
    weft_err err = parse(der, &x, why);
    if (err != WEFT_OK)
        return err;
    if ((X509_get_extension_flags(x) & (EXFLAG_CA | EXFLAG_BCONS)) != (EXFLAG_CA | EXFLAG_BCONS)) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "this certificate is no authority: basicConstraints doesn't say CA:TRUE");
    } else if ((X509_get_extension_flags(x) & EXFLAG_KUSAGE) == 0 ||
               (X509_get_key_usage(x) & KU_KEY_CERT_SIGN) == 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "this certificate may not sign others: keyUsage lacks keyCertSign");
    } else if (!pki_x509_validity(x, &ca.not_before, &ca.not_after)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the authority's validity can't be read");
    } else if (now < ca.not_before || now >= ca.not_after) {
        err = wf_fail(why, WEFT_EEXPIRED,
                      "the authority's certificate has expired, or isn't "
                      "valid yet");
    }
    if (err == WEFT_OK) {
        (void)X509_NAME_oneline(X509_get_subject_name(x), ca.subject, sizeof ca.subject);
        wf_make_printable(ca.subject, strlen(ca.subject));
        *out = ca;
    }
    ERR_clear_error();
    X509_free(x);
    return err;
}

weft_err pki_foreign_ca_from_pem(wf_span pem, uint64_t now, wf_buf *der, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    struct pki_foreign_ca ca;
    wf_buf one, more;
    wf_buf_init(&one, WF_CERT_MAX);
    wf_buf_init(&more, WF_CERT_MAX);
    weft_err err = pki_pem_next(&pem, label, &one, why);
    if (err == WEFT_OK && strcmp(label, "CERTIFICATE") != 0)
        err = wf_fail(why, WEFT_ECREDENTIAL, "the PEM block is %s, wanted is CERTIFICATE", label);
    if (err == WEFT_OK && pki_pem_next(&pem, label, &more, NULL) != WEFT_ENOTFOUND)
        err = wf_fail(why, WEFT_ECREDENTIAL, "one certificate is wanted, there is more");
    if (err == WEFT_OK)
        err = pki_foreign_ca_read(wf_span_of(one.data, one.len), now, &ca, why);
    if (err == WEFT_OK)
        err = wf_buf_put(der, one.data, one.len);
    wf_buf_wipe(&more);
    wf_buf_wipe(&one);
    return err == WEFT_ENOTFOUND ? WEFT_ECREDENTIAL : err;
}

/* ---- signatures */

static const EVP_MD *digest_for(EVP_PKEY *key)
{
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

weft_err pki_foreign_verify(wf_span der, wf_span bytes, wf_span signature, wf_why *why)
{
    X509 *x = NULL;
    weft_err err = parse(der, &x, why);
    if (err != WEFT_OK)
        return err;
    EVP_PKEY *key = X509_get0_pubkey(x);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_DigestVerifyInit(ctx, NULL, digest_for(key), NULL, key) != 1)
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "verifying failed");
    else if (EVP_DigestVerify(ctx, signature.data, signature.len, bytes.data, bytes.len) != 1)
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the signature is not one of the certificate's key over what was asked");
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    X509_free(x);
    return err;
}

void pki_foreign_body(wf_span subject, wf_span csr, const uint8_t exporter[32],
                      uint8_t out[PKI_FOREIGN_BODY])
{
    const size_t label = sizeof PKI_LABEL_FOREIGN; /* with its NUL */
    memcpy(out, PKI_LABEL_FOREIGN, label);
    pki_sha256(subject.data, subject.len, out + label);
    pki_sha256(csr.data, csr.len, out + label + 32);
    memcpy(out + label + 64, exporter, 32);
}

/* ---- leaves */

/* Text of a name: an ASCII type, printable, so no NUL and nothing that only looks like a letter. */
static weft_err take_text(const ASN1_STRING *value, const char *what,
                          char out[PKI_FOREIGN_NAME_MAX], wf_why *why)
{
    const int type = ASN1_STRING_type(value);
    const char *text = (const char *)ASN1_STRING_get0_data(value);
    const size_t len = (size_t)ASN1_STRING_length(value);
    if (out[0] != '\0')
        return wf_fail(why, WEFT_ECREDENTIAL, "the foreign certificate has two %s", what);
    if ((type != V_ASN1_UTF8STRING && type != V_ASN1_PRINTABLESTRING && type != V_ASN1_IA5STRING) ||
        len == 0 || len >= PKI_FOREIGN_NAME_MAX || !wf_is_printable(text, len))
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the foreign certificate's %s is not 1 to %u printable ASCII characters",
                       what, PKI_FOREIGN_NAME_MAX - 1);
    memcpy(out, text, len);
    out[len] = '\0';
    return WEFT_OK;
}

static weft_err take_names(X509 *x, struct pki_foreign_leaf *out, wf_why *why)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    weft_err err = WEFT_OK;
    for (int i = 0; err == WEFT_OK && i < X509_NAME_entry_count(subject); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) == NID_commonName)
            err = take_text(X509_NAME_ENTRY_get_data(entry), "common names", out->cn, why);
    }
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);
    if (names == NULL && critical != -1) /* there, but broken or twice */
        err = wf_fail(why, WEFT_ECREDENTIAL, "the foreign certificate's SANs can't be read");
    for (int i = 0; err == WEFT_OK && i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_URI)
            err = take_text(value, "SAN URIs", out->san_uri, why);
        else if (type == GEN_DNS)
            err = take_text(value, "SAN DNS names", out->san_dns, why);
    }
    GENERAL_NAMES_free(names);
    return err;
}

static weft_err take_serial(X509 *x, struct pki_foreign_leaf *out, wf_why *why)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    uint8_t bytes[SERIAL_MAX];
    unsigned char *issuer = NULL;
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    weft_err err = WEFT_OK;
    wf_buf both;
    wf_buf_init(&both, 2 * WF_CERT_MAX);
    int len = i2d_X509_NAME(X509_get_issuer_name(x), &issuer);
    if (number == NULL || len <= 0) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the foreign certificate can't be read");
        goto out;
    }
    if (BN_is_negative(number) || BN_is_zero(number) || BN_num_bytes(number) > SERIAL_MAX) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the foreign certificate's serial number is not 1 to %d bytes", SERIAL_MAX);
        goto out;
    }
    size_t n = (size_t)BN_bn2bin(number, bytes);
    (void)wf_hex(bytes, n, out->serial);
    err = wf_buf_put(&both, issuer, (size_t)len); /* DER: it tells its own length */
    if (err == WEFT_OK)
        err = wf_buf_put(&both, bytes, n);
    if (err == WEFT_OK)
        pki_sha256(both.data, both.len, out->certificate);
out:
    OPENSSL_free(issuer);
    BN_free(number);
    wf_buf_fini(&both);
    return err;
}

static weft_err take_pin(X509 *x, pki_pin *out, wf_why *why)
{
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    if (len <= 0)
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "the foreign key can't be read");
    pki_pin_of_spki(wf_span_of(spki, (size_t)len), out);
    OPENSSL_free(spki);
    return WEFT_OK;
}

static weft_err verify(X509 *ca, X509 *leaf, STACK_OF(X509) * rest, uint64_t now,
                       struct pki_foreign_leaf *out, wf_why *why)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    weft_err err = WEFT_OK;
    if (store == NULL || ctx == NULL || X509_STORE_add_cert(store, ca) != 1 ||
        X509_STORE_CTX_init(ctx, store, leaf, rest) != 1 ||
        X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1) {
        err = pki_openssl_fail(why, WEFT_ENOMEM, "no memory to check a chain");
        goto out;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_depth(param, (int)WF_CHAIN_DEPTH);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now / 1000));
    if (X509_verify_cert(ctx) != 1) {
        int code = X509_STORE_CTX_get_error(ctx);
        err = code == X509_V_ERR_CERT_HAS_EXPIRED ? WEFT_EEXPIRED : WEFT_ECREDENTIAL;
        err = wf_fail(why, err, "the foreign certificate is refused: %s",
                      X509_verify_cert_error_string(code));
        goto out;
    }
    STACK_OF(X509) *used = X509_STORE_CTX_get0_chain(ctx);
    out->not_after = UINT64_MAX;
    for (int i = 0; i < sk_X509_num(used); i++) {
        uint64_t from, until;
        if (!pki_x509_validity(sk_X509_value(used, i), &from, &until)) {
            err = wf_fail(why, WEFT_ECREDENTIAL, "a foreign certificate's validity can't be read");
            goto out;
        }
        if (until < out->not_after)
            out->not_after = until;
    }
out:
    ERR_clear_error();
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return err;
}

weft_err pki_foreign_check(wf_span ca, const wf_span *chain, size_t count, uint64_t now,
                           struct pki_foreign_leaf *out, wf_why *why)
{
    struct pki_foreign_leaf leaf = {.cn = ""};
    struct pki_foreign_ca authority;
    X509 *certs[WF_CHAIN_DEPTH] = {NULL}, *root = NULL;
    STACK_OF(X509) *rest = NULL;
    weft_err err;
    if (count == 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "there is no foreign certificate");
    if (count > WF_CHAIN_DEPTH)
        return wf_fail(why, WEFT_ELIMIT, "a foreign chain has at most %u certificates, this %zu",
                       WF_CHAIN_DEPTH, count);
    err = pki_foreign_ca_read(ca, now, &authority, why);
    if (err == WEFT_OK)
        err = parse(ca, &root, why);
    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = parse(chain[i], &certs[i], why);
    if (err != WEFT_OK)
        goto out;
    if ((X509_get_extension_flags(certs[0]) & EXFLAG_CA) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the foreign certificate is an authority's, not a workload's");
        goto out;
    }
    rest = sk_X509_new_reserve(NULL, WF_CHAIN_DEPTH);
    if (rest == NULL) {
        err = wf_fail(why, WEFT_ENOMEM, "no memory to check a chain");
        goto out;
    }
    for (size_t i = 1; i < count; i++)
        (void)sk_X509_push(rest, certs[i]); /* into reserved room */
    err = verify(root, certs[0], rest, now, &leaf, why);
    if (err == WEFT_OK)
        err = take_names(certs[0], &leaf, why);
    if (err == WEFT_OK)
        err = take_serial(certs[0], &leaf, why);
    if (err == WEFT_OK)
        err = take_pin(certs[0], &leaf.pin, why);
    if (err == WEFT_OK)
        *out = leaf;
out:
    sk_X509_free(rest);
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        X509_free(certs[i]);
    X509_free(root);
    ERR_clear_error();
    return err;
}

/* ---- who presents one */

struct pki_foreign_key {
    EVP_PKEY *evp; /* owned */
};

/* A key under a passphrase is refused, never asked for. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

weft_err pki_foreign_key_from_pem(wf_span pem, pki_foreign_key **out, wf_why *why)
{
    weft_err err = WEFT_OK;
    EVP_PKEY *evp = NULL;
    pki_foreign_key *key = malloc(sizeof *key);
    BIO *bio = pem.len > 0 && pem.len < 65536 ? BIO_new_mem_buf(pem.data, (int)pem.len) : NULL;
    if (bio != NULL)
        evp = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (key == NULL)
        err = wf_fail(why, WEFT_ENOMEM, "no memory for a key");
    else if (!is_usable(evp))
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "this is no unencrypted private key in PEM of P-256, P-384, Ed25519 or RSA "
                      "of 2048 to 8192 bits");
    BIO_free(bio);
    if (err != WEFT_OK) {
        EVP_PKEY_free(evp);
        free(key);
        return err;
    }
    key->evp = evp;
    *out = key;
    return WEFT_OK;
}

void pki_foreign_key_free(pki_foreign_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->evp);
    free(key);
}

weft_err pki_foreign_sign(const pki_foreign_key *key, wf_span bytes, wf_buf *signature)
{
    weft_err err = WEFT_OK;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 0;
    if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, digest_for(key->evp), NULL, key->evp) != 1 ||
        EVP_DigestSign(ctx, NULL, &len, bytes.data, bytes.len) != 1)
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "signing failed");
    if (err == WEFT_OK)
        err = wf_buf_reserve(signature, len);
    if (err == WEFT_OK &&
        EVP_DigestSign(ctx, signature->data + signature->len, &len, bytes.data, bytes.len) != 1)
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "signing failed");
    if (err == WEFT_OK)
        signature->len += len;
    EVP_MD_CTX_free(ctx);
    return err;
}

weft_err pki_foreign_chain_from_pem(wf_span pem, const pki_foreign_key *key,
                                    wf_buf ders[WF_CHAIN_DEPTH], size_t *count, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    X509 *leaf = NULL;
    size_t n = 0;
    wf_buf one;
    weft_err err;
    wf_buf_init(&one, WF_CERT_MAX);
    while ((err = pki_pem_next(&pem, label, &one, why)) == WEFT_OK) {
        if (strcmp(label, "CERTIFICATE") != 0)
            err =
                wf_fail(why, WEFT_ECREDENTIAL, "the PEM block is %s, wanted is CERTIFICATE", label);
        else if (n == WF_CHAIN_DEPTH)
            err = wf_fail(why, WEFT_ELIMIT, "a foreign chain has at most %u certificates",
                          WF_CHAIN_DEPTH);
        else
            err = wf_buf_put(&ders[n++], one.data, one.len);
        if (err != WEFT_OK)
            goto out;
    }
    if (err != WEFT_ENOTFOUND)
        goto out;
    err = n > 0 ? parse(wf_span_of(ders[0].data, ders[0].len), &leaf, why)
                : wf_fail(why, WEFT_ECREDENTIAL, "there is no certificate");
    if (err == WEFT_OK && EVP_PKEY_eq(X509_get0_pubkey(leaf), key->evp) != 1)
        err = wf_fail(why, WEFT_ECREDENTIAL, "the first certificate is not this key's");
    if (err == WEFT_OK)
        *count = n;
out:
    ERR_clear_error();
    X509_free(leaf);
    wf_buf_fini(&one);
    return err;
}
