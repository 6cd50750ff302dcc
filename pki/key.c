/* Keys, pins and signatures over label || 0 || exact bytes. */
#include "pki/key.h"
#include "pki/internal.h"
#include "proto/base/secret.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h> /* PKCS8_encrypt and PKCS8_decrypt live there */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

/* PBKDF2 with HMAC-SHA-256 for keys under a passphrase. */
#define KEY_PASSPHRASE_ROUNDS 600000
#define KEY_PEM_MAX 4096u /* DER of any PKCS#8 of ours is below 500 bytes */

struct pki_key {
    EVP_PKEY *evp; /* owned */
    enum pki_key_kind kind;
    uint8_t spki[PKI_SPKI_MAX];
    size_t spki_len;
    pki_pin pin;
};

bool pki_pin_equal(const pki_pin *a, const pki_pin *b)
{
    return wf_equal_ct(a->b, b->b, PKI_PIN_LEN);
}

void pki_sha256(const void *data, size_t len, uint8_t out[32])
{
    static const uint8_t nothing[1];
    /* The one-shot keeps its state on the stack: it can't fail. */
    SHA256(len == 0 ? nothing : data, len, out);
}

void pki_pin_of_spki(wf_span spki, pki_pin *out)
{
    pki_sha256(spki.data, spki.len, out->b);
}

/*
 * A key in DER has one form: each kind has a fixed head and a fixed length.
 * Explicit curve parameters, compressed points and other algorithms therefore
 * fall here, before anything is parsed.
 */
static const struct {
    enum pki_key_kind kind;
    size_t len;
    uint8_t head[27];
    size_t head_len;
} forms[] = {
    {PKI_KEY_P256,
     91,
     {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
      0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04},
     27},
    {PKI_KEY_P384,
     120,
     {0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
      0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04},
     24},
    {PKI_KEY_ED25519,
     44,
     {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00},
     12},
};

bool pki_spki_kind(wf_span spki, enum pki_key_kind *out)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (spki.len == forms[i].len && memcmp(spki.data, forms[i].head, forms[i].head_len) == 0) {
            *out = forms[i].kind;
            return true;
        }
    }
    return false;
}

weft_err pki_evp_from_spki(wf_span spki, EVP_PKEY **out, wf_why *why)
{
    enum pki_key_kind kind;
    if (!pki_spki_kind(spki, &kind))
        return wf_fail(why, WEFT_ECREDENTIAL, "the public key is not P-256, P-384 or Ed25519");
    const unsigned char *at = spki.data;
    EVP_PKEY *evp = d2i_PUBKEY(NULL, &at, (long)spki.len);
    if (evp == NULL || at != spki.data + spki.len) {
        EVP_PKEY_free(evp);
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "the public key can't be read");
    }
    ERR_clear_error();
    *out = evp;
    return WEFT_OK;
}

weft_err pki_key_wrap(EVP_PKEY *evp, pki_key **out, wf_why *why)
{
    weft_err err;
    pki_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(evp);
        return wf_fail(why, WEFT_ENOMEM, "no memory for a key");
    }
    key->evp = evp;
    int len = i2d_PUBKEY(evp, NULL);
    if (len <= 0 || len > PKI_SPKI_MAX) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the key is not P-256, P-384 or Ed25519");
        goto fail;
    }
    unsigned char *at = key->spki;
    len = i2d_PUBKEY(evp, &at);
    if (len <= 0) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "the public key can't be written");
        goto fail;
    }
    key->spki_len = (size_t)len;
    if (!pki_spki_kind(pki_key_spki(key), &key->kind)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the key is not P-256, P-384 or Ed25519");
        goto fail;
    }
    pki_pin_of_spki(pki_key_spki(key), &key->pin);
    *out = key;
    return WEFT_OK;
fail:
    pki_key_free(key);
    return err;
}

weft_err pki_key_new(enum pki_key_kind kind, pki_key **out, wf_why *why)
{
    EVP_PKEY *evp = NULL;
    switch (kind) {
    case PKI_KEY_P256:
        evp = EVP_EC_gen("P-256");
        break;
    case PKI_KEY_P384:
        evp = EVP_EC_gen("P-384");
        break;
    case PKI_KEY_ED25519:
        evp = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    if (evp == NULL)
        return pki_openssl_fail(why, WEFT_EINTERNAL, "a key can't be made");
    return pki_key_wrap(evp, out, why);
}

weft_err pki_key_dup(const pki_key *key, pki_key **out)
{
    pki_key *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return WEFT_ENOMEM;
    *copy = *key;
    if (EVP_PKEY_up_ref(copy->evp) != 1) {
        free(copy);
        return WEFT_EINTERNAL;
    }
    *out = copy;
    return WEFT_OK;
}

weft_err pki_key_agree(const pki_key *key, wf_span spki, wf_buf *secret, wf_why *why)
{
    enum pki_key_kind kind;
    EVP_PKEY *other = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    size_t len = 0;
    if (!pki_spki_kind(spki, &kind) || kind != key->kind || kind == PKI_KEY_ED25519)
        return wf_fail(why, WEFT_ECREDENTIAL, "only two keys of P-256 or of P-384 agree");
    weft_err err = pki_evp_from_spki(spki, &other, why);
    if (err != WEFT_OK)
        return err;
    ctx = EVP_PKEY_CTX_new(key->evp, NULL);
    if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 ||
        EVP_PKEY_derive_set_peer(ctx, other) != 1 || EVP_PKEY_derive(ctx, NULL, &len) != 1) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the key agrees on no secret");
        goto out;
    }
    err = wf_buf_reserve(secret, len);
    if (err != WEFT_OK)
        goto out;
    if (EVP_PKEY_derive(ctx, secret->data + secret->len, &len) != 1)
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the key agrees on no secret");
    else
        secret->len += len;
out:
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    return err;
}

void pki_key_free(pki_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->evp); /* clears the private part */
    wf_wipe(key, sizeof *key);
    free(key);
}

/* The private and the public half of an elliptic key are stored apart: they must fit. */
static bool halves_fit(EVP_PKEY *evp)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, evp, NULL);
    bool fit = ctx != NULL && EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return fit;
}

/* Reads PKCS#8, plain. */
static weft_err key_from_pkcs8(PKCS8_PRIV_KEY_INFO *info, pki_key **out, wf_why *why)
{
    EVP_PKEY *evp = EVP_PKCS82PKEY(info);
    if (evp == NULL)
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "the private key can't be read");
    pki_key *key = NULL;
    weft_err err = pki_key_wrap(evp, &key, why);
    if (err != WEFT_OK)
        return err;
    if (!halves_fit(key->evp)) {
        pki_key_free(key);
        return pki_openssl_fail(why, WEFT_ECREDENTIAL,
                                "the private key does not fit its own public half");
    }
    ERR_clear_error();
    *out = key;
    return WEFT_OK;
}

static weft_err key_from_plain(wf_span der, pki_key **out, wf_why *why)
{
    const unsigned char *at = der.data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
    weft_err err;
    if (info == NULL || at != der.data + der.len)
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the private key is no PKCS#8");
    else
        err = key_from_pkcs8(info, out, why);
    PKCS8_PRIV_KEY_INFO_free(info);
    return err;
}

static weft_err key_from_sealed(wf_span der, const char *passphrase, pki_key **out, wf_why *why)
{
    if (passphrase == NULL) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the private key is under a passphrase and none was given");
    }
    const unsigned char *at = der.data;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &at, (long)der.len);
    PKCS8_PRIV_KEY_INFO *info = NULL;
    weft_err err;
    if (sealed == NULL || at != der.data + der.len) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the private key is no encrypted PKCS#8");
        goto out;
    }
    info = PKCS8_decrypt(sealed, passphrase, (int)strlen(passphrase));
    if (info == NULL) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the passphrase does not open the key");
        goto out;
    }
    err = key_from_pkcs8(info, out, why);
out:
    PKCS8_PRIV_KEY_INFO_free(info);
    X509_SIG_free(sealed);
    return err;
}

weft_err pki_key_from_pem(wf_span pem, const char *passphrase, pki_key **out, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    wf_buf der, more;
    wf_buf_init(&der, KEY_PEM_MAX);
    wf_buf_init(&more, KEY_PEM_MAX);
    pki_key *key = NULL;

    weft_err err = pki_pem_next(&pem, label, &der, why);
    if (err != WEFT_OK) {
        err = err == WEFT_ENOMEM ? err : WEFT_ECREDENTIAL;
        goto out;
    }
    char another[PKI_PEM_LABEL_MAX];
    err = pki_pem_next(&pem, another, &more, NULL);
    if (err == WEFT_ENOMEM)
        goto out;
    if (err != WEFT_ENOTFOUND) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "a key file holds exactly one PEM block, this one holds more");
        goto out;
    }
    if (strcmp(label, "PRIVATE KEY") == 0) {
        err = key_from_plain(wf_span_of(der.data, der.len), &key, why);
    } else if (strcmp(label, "ENCRYPTED PRIVATE KEY") == 0) {
        err = key_from_sealed(wf_span_of(der.data, der.len), passphrase, &key, why);
    } else {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the PEM block is %s, wanted is PRIVATE KEY: convert with 'openssl pkcs8 "
                      "-topk8 -nocrypt'",
                      label);
    }
    if (err == WEFT_OK)
        *out = key;
out:
    wf_buf_wipe(&more);
    wf_buf_wipe(&der);
    return err;
}

/* Appends a DER structure that OpenSSL writes, as PEM. */
static weft_err put_pem_der(const char *label, unsigned char *der, int len, wf_buf *out)
{
    if (len <= 0)
        return pki_openssl_fail(NULL, WEFT_EINTERNAL, "the key can't be written");
    weft_err err = pki_pem_put(label, wf_span_of(der, (size_t)len), out);
    OPENSSL_clear_free(der, (size_t)len);
    return err;
}

weft_err pki_key_put_pem(const pki_key *key, const char *passphrase, wf_buf *out)
{
    weft_err err;
    unsigned char *der = NULL;
    X509_SIG *sealed = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key->evp);
    if (info == NULL)
        return pki_openssl_fail(NULL, WEFT_EINTERNAL, "the key can't be written");
    if (passphrase == NULL) {
        int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
        err = put_pem_der("PRIVATE KEY", der, len, out);
        goto out;
    }
    sealed = PKCS8_encrypt(-1, EVP_aes_256_cbc(), passphrase, (int)strlen(passphrase), NULL, 0,
                           KEY_PASSPHRASE_ROUNDS, info);
    if (sealed == NULL) {
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "the key can't be encrypted");
        goto out;
    }
    int len = i2d_X509_SIG(sealed, &der);
    err = put_pem_der("ENCRYPTED PRIVATE KEY", der, len, out);
out:
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(info); /* clears the key in it */
    return err;
}

enum pki_key_kind pki_key_kind_of(const pki_key *key)
{
    return key->kind;
}

void pki_key_pin(const pki_key *key, pki_pin *out)
{
    *out = key->pin;
}

EVP_PKEY *pki_key_evp(const pki_key *key)
{
    return key->evp;
}

wf_span pki_key_spki(const pki_key *key)
{
    return wf_span_of(key->spki, key->spki_len);
}

weft_err pki_key_put_spki(const pki_key *key, wf_buf *out)
{
    return wf_buf_put(out, key->spki, key->spki_len);
}

const EVP_MD *pki_digest_of(enum pki_key_kind kind)
{
    switch (kind) {
    case PKI_KEY_P256:
        return EVP_sha256();
    case PKI_KEY_P384:
        return EVP_sha384();
    case PKI_KEY_ED25519:
        break;
    }
    return NULL;
}

weft_err pki_sign_bare(const pki_key *key, wf_span bytes, wf_buf *signature)
{
    weft_err err;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 0;
    if (ctx == NULL ||
        EVP_DigestSignInit(ctx, NULL, pki_digest_of(key->kind), NULL, key->evp) != 1 ||
        EVP_DigestSign(ctx, NULL, &len, bytes.data, bytes.len) != 1) {
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "signing failed");
        goto out;
    }
    err = wf_buf_reserve(signature, len);
    if (err != WEFT_OK)
        goto out;
    if (EVP_DigestSign(ctx, signature->data + signature->len, &len, bytes.data, bytes.len) != 1) {
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "signing failed");
        goto out;
    }
    signature->len += len;
out:
    EVP_MD_CTX_free(ctx);
    return err;
}

weft_err pki_verify_bare(wf_span spki, wf_span bytes, wf_span signature)
{
    enum pki_key_kind kind;
    EVP_PKEY *evp = NULL;
    weft_err err = pki_evp_from_spki(spki, &evp, NULL);
    if (err != WEFT_OK)
        return err;
    bool known = pki_spki_kind(spki, &kind);
    assert(known);
    (void)known;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_DigestVerifyInit(ctx, NULL, pki_digest_of(kind), NULL, evp) != 1) {
        err = pki_openssl_fail(NULL, WEFT_EINTERNAL, "verifying failed");
        goto out;
    }
    if (EVP_DigestVerify(ctx, signature.data, signature.len, bytes.data, bytes.len) != 1)
        err = pki_openssl_fail(NULL, WEFT_ECREDENTIAL, "the signature is wrong");
out:
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(evp);
    return err;
}

/* label || 0 || body in one piece: Ed25519 takes its message whole. */
static weft_err labelled(const char *label, wf_span body, wf_buf *out)
{
    size_t label_len = strlen(label) + 1;
    assert(label_len > 1);
    if (body.len > SIZE_MAX - label_len)
        return WEFT_ELIMIT;
    wf_buf_init(out, label_len + body.len);
    weft_err err = wf_buf_put(out, label, label_len);
    if (err == WEFT_OK && body.len > 0)
        err = wf_buf_put(out, body.data, body.len);
    return err;
}

weft_err pki_key_sign(const pki_key *key, const char *label, wf_span body, wf_buf *signature)
{
    wf_buf message;
    weft_err err = labelled(label, body, &message);
    if (err == WEFT_OK)
        err = pki_sign_bare(key, wf_span_of(message.data, message.len), signature);
    wf_buf_fini(&message);
    return err;
}

weft_err pki_verify(wf_span spki, const char *label, wf_span body, wf_span signature)
{
    wf_buf message;
    weft_err err = labelled(label, body, &message);
    if (err == WEFT_OK)
        err = pki_verify_bare(spki, wf_span_of(message.data, message.len), signature);
    wf_buf_fini(&message);
    return err;
}
