/*
 * Tokens of issuers. The first byte chooses: 0, a whole token; else the bytes
 * are a header, NUL, claims, under a signature that the set's key made, so
 * that claims are reached. Nothing but such a signature is ever believed.
 */
#include "pki/internal.h"
#include "pki/jwt.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pki_key *key;
static pki_jwks *set;

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            abort();                                                                               \
    } while (0)

/* The set holds an Ed25519 key whose SPKI ends with its 32 bytes. */
static void make(void)
{
    char text[256];
    wf_buf spki, x;
    wf_buf_init(&spki, 256);
    wf_buf_init(&x, 64);
    MUST(pki_key_new(PKI_KEY_ED25519, &key, NULL) == WEFT_OK);
    MUST(pki_key_put_spki(key, &spki) == WEFT_OK && spki.len == 44);
    MUST(wf_base64url_encode(spki.data + 12, 32, &x) == WEFT_OK);
    snprintf(text, sizeof text,
             "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"%.*s\"}]}",
             (int)x.len, (const char *)x.data);
    MUST(pki_jwks_parse(wf_span_of(text, strlen(text)), &set, NULL) == WEFT_OK);
    wf_buf_fini(&spki);
    wf_buf_fini(&x);
}

static void try_token(wf_span text, bool is_signed)
{
    const struct pki_jwt_rules rules = {"https://issuer.example", "weft", 1800000000000ull};
    pki_jwt *jwt = NULL;
    uint8_t digest[32];
    wf_why why;
    if (pki_jwt_verify(text, set, &rules, &jwt, &why) != WEFT_OK)
        return;
    MUST(is_signed);
    const char *claim = pki_jwt_text(jwt, "sub");
    MUST(claim == NULL || wf_is_printable(claim, strlen(claim)));
    MUST(pki_jwt_until(jwt) > rules.now);
    pki_jwt_digest(jwt, digest);
    pki_jwt_free(jwt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (key == NULL)
        make();
    if (size == 0 || size > 8192)
        return 0;
    if (data[0] == 0) {
        try_token(wf_span_of(data + 1, size - 1), false);
        return 0;
    }
    const uint8_t *split = memchr(data, 0, size);
    if (split == NULL)
        return 0;
    wf_buf text, signature;
    wf_buf_init(&text, 4 * WF_OIDC_TOKEN_MAX);
    wf_buf_init(&signature, 64);
    MUST(wf_base64url_encode(data, (size_t)(split - data), &text) == WEFT_OK);
    MUST(wf_buf_put_text(&text, ".") == WEFT_OK);
    MUST(wf_base64url_encode(split + 1, size - (size_t)(split - data) - 1, &text) == WEFT_OK);
    MUST(pki_sign_bare(key, wf_span_of(text.data, text.len), &signature) == WEFT_OK);
    MUST(wf_buf_put_text(&text, ".") == WEFT_OK);
    MUST(wf_base64url_encode(signature.data, signature.len, &text) == WEFT_OK);
    try_token(wf_span_of(text.data, text.len), true);
    wf_buf_fini(&signature);
    wf_buf_fini(&text);
    return 0;
}
