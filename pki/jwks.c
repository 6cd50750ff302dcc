/*
 * JWK sets (RFC 7517, 7518, 8037). A key's type is what its own parameters
 * say, and a token's alg must be the one that goes with it: no text of a
 * token chooses how bytes are taken for a key.
 */
#include "pki/jwks.h"
#include "pki/internal.h"
#include "pki/json.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BYTES_MIN 256u
#define RSA_BYTES_MAX 1024u
#define RSA_EXPONENT_MIN 65537u
#define POINT_LEN 32u

enum type { TYPE_RSA, TYPE_P256, TYPE_ED25519 };

static const struct {
    const char *alg, *kty, *crv;
    size_t signature; /* bytes; 0: as many as the modulus */
} types[] = {
    [TYPE_RSA] = {"RS256", "RSA", NULL, 0},
    [TYPE_P256] = {"ES256", "EC", "P-256", 64},
    [TYPE_ED25519] = {"EdDSA", "OKP", "Ed25519", 64},
};
#define TYPES (sizeof types / sizeof *types)

struct key {
    enum type type;
    char kid[PKI_KID_MAX + 1]; /* "": none */
    EVP_PKEY *evp;             /* owned */
};

struct pki_jwks {
    size_t count;
    struct key keys[PKI_JWKS_KEYS_MAX];
};

static bool is_text(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* ---- parameters to keys */

/* A base64url parameter of min to max bytes. */
static weft_err take_bytes(json_t *jwk, const char *name, size_t min, size_t max, wf_buf *out,
                           wf_why *why)
{
    wf_span text;
    weft_err err = pki_json_text(jwk, name, max * 4 / 3 + 4, &text, why);
    if (err != WEFT_OK)
        return err;
    err = wf_base64url_decode((const char *)text.data, text.len, out);
    if (err == WEFT_ENOMEM)
        return err;
    if (err != WEFT_OK || out->len < min || out->len > max)
        return wf_fail(why, WEFT_ECREDENTIAL, "a key's \"%s\" is no base64url of %zu to %zu bytes",
                       name, min, max);
    return WEFT_OK;
}

static weft_err from_params(const char *name, OSSL_PARAM *params, EVP_PKEY **out, wf_why *why)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    weft_err err = WEFT_OK;
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, out, EVP_PKEY_PUBLIC_KEY, params) != 1)
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "a key of the set is none of %s", name);
    EVP_PKEY_CTX_free(ctx);
    return err;
}

static weft_err make_rsa(json_t *jwk, EVP_PKEY **out, wf_why *why)
{
    wf_buf n, e;
    BIGNUM *modulus = NULL, *exponent = NULL;
    OSSL_PARAM_BLD *build = NULL;
    OSSL_PARAM *params = NULL;
    wf_buf_init(&n, RSA_BYTES_MAX + 4);
    wf_buf_init(&e, 8);
    weft_err err = take_bytes(jwk, "n", RSA_BYTES_MIN, RSA_BYTES_MAX, &n, why);
    if (err == WEFT_OK)
        err = take_bytes(jwk, "e", 1, 4, &e, why);
    if (err != WEFT_OK)
        goto out;
    modulus = BN_bin2bn(n.data, (int)n.len, NULL);
    exponent = BN_bin2bn(e.data, (int)e.len, NULL);
    build = OSSL_PARAM_BLD_new();
    if (modulus == NULL || exponent == NULL || build == NULL) {
        err = pki_openssl_fail(why, WEFT_ENOMEM, "no memory for a key");
        goto out;
    }
    if (n.data[0] == 0 || BN_num_bits(modulus) < (int)(RSA_BYTES_MIN * 8) || !BN_is_odd(modulus) ||
        !BN_is_odd(exponent) || BN_get_word(exponent) < RSA_EXPONENT_MIN) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "an RSA key of the set is weaker than 2048 bits and exponent 65537");
        goto out;
    }
    if (OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) != 1 ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) != 1 ||
        (params = OSSL_PARAM_BLD_to_param(build)) == NULL) {
        err = pki_openssl_fail(why, WEFT_ENOMEM, "no memory for a key");
        goto out;
    }
    err = from_params("RSA", params, out, why);
out:
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(exponent);
    BN_free(modulus);
    wf_buf_fini(&e);
    wf_buf_fini(&n);
    return err;
}

static weft_err make_p256(json_t *jwk, EVP_PKEY **out, wf_why *why)
{
    static char group[] = "P-256";
    uint8_t point[1 + 2 * POINT_LEN] = {POINT_CONVERSION_UNCOMPRESSED};
    wf_buf x, y;
    wf_buf_init(&x, POINT_LEN + 4);
    wf_buf_init(&y, POINT_LEN + 4);
    weft_err err = take_bytes(jwk, "x", POINT_LEN, POINT_LEN, &x, why);
    if (err == WEFT_OK)
        err = take_bytes(jwk, "y", POINT_LEN, POINT_LEN, &y, why);
    if (err == WEFT_OK) {
        memcpy(point + 1, x.data, POINT_LEN);
        memcpy(point + 1 + POINT_LEN, y.data, POINT_LEN);
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
            OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
            OSSL_PARAM_construct_end(),
        };
        err = from_params("EC", params, out, why); /* off the curve is refused here */
    }
    wf_buf_fini(&y);
    wf_buf_fini(&x);
    return err;
}

static weft_err make_ed25519(json_t *jwk, EVP_PKEY **out, wf_why *why)
{
    wf_buf x;
    wf_buf_init(&x, POINT_LEN + 4);
    weft_err err = take_bytes(jwk, "x", POINT_LEN, POINT_LEN, &x, why);
    if (err == WEFT_OK) {
        *out = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len);
        if (*out == NULL)
            err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "a key of the set is none of Ed25519");
    }
    wf_buf_fini(&x);
    return err;
}

/* ---- the set */

/* Whether the key is one for signatures of ours; false: passed over. */
static bool is_ours(json_t *jwk, enum type *out)
{
    const json_t *use = json_object_get(jwk, "use"), *alg = json_object_get(jwk, "alg");
    for (size_t i = 0; i < TYPES; i++) {
        if (!is_text(json_object_get(jwk, "kty"), types[i].kty) ||
            (types[i].crv != NULL && !is_text(json_object_get(jwk, "crv"), types[i].crv)))
            continue;
        *out = (enum type)i;
        return (use == NULL || is_text(use, "sig")) && (alg == NULL || is_text(alg, types[i].alg));
    }
    return false;
}

static weft_err add(pki_jwks *set, json_t *jwk, wf_why *why)
{
    static weft_err (*const makers[])(json_t *, EVP_PKEY **, wf_why *) = {
        [TYPE_RSA] = make_rsa, [TYPE_P256] = make_p256, [TYPE_ED25519] = make_ed25519};
    struct key *key = &set->keys[set->count];
    wf_span kid = {0};
    if (!json_is_object(jwk))
        return wf_fail(why, WEFT_ECREDENTIAL, "an entry of \"keys\" is no JSON object");
    if (json_object_get(jwk, "d") != NULL || json_object_get(jwk, "k") != NULL)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the set holds a private or shared key: give the public ones alone");
    if (!is_ours(jwk, &key->type))
        return WEFT_OK;
    if (json_object_get(jwk, "kid") != NULL) {
        weft_err err = pki_json_text(jwk, "kid", PKI_KID_MAX, &kid, why);
        if (err != WEFT_OK)
            return err;
        for (size_t i = 0; i < set->count; i++)
            if (strcmp(set->keys[i].kid, (const char *)kid.data) == 0)
                return wf_fail(why, WEFT_ECREDENTIAL, "two keys of the set have one \"kid\"");
        memcpy(key->kid, kid.data, kid.len + 1); /* jansson's texts end with NUL and hold none */
    }
    weft_err err = makers[key->type](jwk, &key->evp, why);
    if (err == WEFT_OK)
        set->count++;
    return err;
}

weft_err pki_jwks_parse(wf_span json, pki_jwks **out, wf_why *why)
{
    json_t *root = NULL, *list;
    pki_jwks *set = NULL;
    if (json.len > PKI_JWKS_MAX)
        return wf_fail(why, WEFT_ELIMIT, "a key set has at most %u bytes, this one %zu",
                       PKI_JWKS_MAX, json.len);
    weft_err err = pki_json_load(json, "key set", &root, why);
    if (err == WEFT_OK)
        err = pki_json_array(root, "keys", 1, PKI_JWKS_KEYS_MAX, &list, why);
    if (err != WEFT_OK)
        goto out;
    set = calloc(1, sizeof *set);
    if (set == NULL) {
        err = wf_fail(why, WEFT_ENOMEM, "no memory for a key set");
        goto out;
    }
    for (size_t i = 0; err == WEFT_OK && i < json_array_size(list); i++)
        err = add(set, json_array_get(list, i), why);
    if (err == WEFT_OK && set->count == 0)
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the set holds no public key for RS256, ES256 or EdDSA signatures");
    if (err == WEFT_OK) {
        *out = set;
        set = NULL;
    }
out:
    pki_jwks_free(set);
    json_decref(root);
    return err;
}

void pki_jwks_free(pki_jwks *set)
{
    for (size_t i = 0; set != NULL && i < set->count; i++)
        EVP_PKEY_free(set->keys[i].evp);
    free(set);
}

size_t pki_jwks_count(const pki_jwks *set)
{
    return set->count;
}

/* ---- signatures */

/* r || s as OpenSSL wants it; 64 bytes have one reading, so DER never passes for them. */
static weft_err ecdsa_der(wf_span raw, unsigned char **der, size_t *len)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.data, POINT_LEN, NULL);
    BIGNUM *s = BN_bin2bn(raw.data + POINT_LEN, POINT_LEN, NULL);
    int made = 0;
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL;
        made = i2d_ECDSA_SIG(sig, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    *len = made > 0 ? (size_t)made : 0;
    return made > 0 ? WEFT_OK : WEFT_ENOMEM;
}

static weft_err check(const struct key *key, wf_span bytes, wf_span signature, wf_why *why)
{
    unsigned char *der = NULL;
    EVP_MD_CTX *ctx = NULL;
    weft_err err = WEFT_OK;
    size_t want = types[key->type].signature;
    if (want == 0)
        want = (size_t)EVP_PKEY_get_size(key->evp);
    if (signature.len != want)
        return wf_fail(why, WEFT_ECREDENTIAL, "the token's signature is not one of %s with its key",
                       types[key->type].alg);
    if (key->type == TYPE_P256) {
        size_t len;
        err = ecdsa_der(signature, &der, &len);
        if (err != WEFT_OK)
            return err;
        signature = wf_span_of(der, len);
    }
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL ||
        EVP_DigestVerifyInit(ctx, NULL, key->type == TYPE_ED25519 ? NULL : EVP_sha256(), NULL,
                             key->evp) != 1) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "verifying failed");
        goto out;
    }
    if (EVP_DigestVerify(ctx, signature.data, signature.len, bytes.data, bytes.len) != 1) {
        ERR_clear_error();
        err = wf_fail(why, WEFT_ECREDENTIAL, "the token's signature is wrong");
    }
out:
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    return err;
}

weft_err pki_jwks_verify(const pki_jwks *set, wf_span alg, wf_span kid, wf_span bytes,
                         wf_span signature, wf_why *why)
{
    const struct key *found = NULL;
    size_t type = 0, fit = 0;
    while (type < TYPES &&
           !wf_span_equal(alg, wf_span_of(types[type].alg, strlen(types[type].alg))))
        type++;
    if (type == TYPES)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the token's \"alg\" is none of RS256, ES256 and EdDSA");
    for (size_t i = 0; i < set->count; i++) {
        const struct key *key = &set->keys[i];
        bool fits = kid.len == 0 ? key->type == (enum type)type
                                 : wf_span_equal(kid, wf_span_of(key->kid, strlen(key->kid)));
        if (!fits)
            continue;
        found = key;
        fit++;
    }
    if (fit == 0)
        return wf_fail(why, WEFT_ENOTFOUND, "the issuer has no key of the token's \"kid\"");
    if (fit > 1)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the token names no \"kid\" and the issuer has several keys");
    if (found->type != (enum type)type)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the token's \"alg\" is not the one of the key that it names");
    return check(found, bytes, signature, why);
}
