/*
 * Enrollment tokens. The first byte chooses: 0, a whole token; else the bytes
 * are the claims of one, under the one header and an empty signature. What is
 * read must be made into a token that reads the same.
 */
#include "pki/token.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pki_key *key;

static void again(const struct pki_token *token)
{
    wf_buf text;
    struct pki_token back;
    wf_buf_init(&text, WF_TOKEN_MAX);
    if (pki_token_make(key, token, &text) != WEFT_OK ||
        pki_token_read((const char *)text.data, text.len, &back, NULL) != WEFT_OK ||
        memcmp(&back.id, &token->id, sizeof back.id) != 0 ||
        memcmp(&back.jti, &token->jti, sizeof back.jti) != 0 || back.kind != token->kind ||
        back.method != token->method || back.expiry != token->expiry ||
        strcmp(back.subject, token->subject) != 0 || strcmp(back.issuer, token->issuer) != 0 ||
        strcmp(back.name, token->name) != 0 || memcmp(back.bundle, token->bundle, 32) != 0 ||
        back.controller_count != token->controller_count ||
        back.server_pin_count != token->server_pin_count)
        abort();
    wf_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char header[] = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.";
    static const uint8_t zeros[64];
    struct pki_token token;
    wf_why why;
    if (key == NULL && pki_key_new(PKI_KEY_ED25519, &key, NULL) != WEFT_OK)
        abort();
    if (size == 0 || size > WF_TOKEN_MAX)
        return 0;
    if (data[0] == 0) {
        if (pki_token_read((const char *)data + 1, size - 1, &token, &why) == WEFT_OK)
            again(&token);
        return 0;
    }
    wf_buf text;
    wf_buf_init(&text, 4 * WF_TOKEN_MAX);
    if (wf_buf_put_text(&text, header) != WEFT_OK ||
        wf_base64url_encode(data + 1, size - 1, &text) != WEFT_OK ||
        wf_buf_put_text(&text, ".") != WEFT_OK ||
        wf_base64url_encode(zeros, sizeof zeros, &text) != WEFT_OK)
        abort();
    if (pki_token_read((const char *)text.data, text.len, &token, &why) == WEFT_OK)
        again(&token);
    /* Nobody signed it. */
    wf_buf spki;
    wf_buf_init(&spki, 256);
    if (pki_key_put_spki(key, &spki) != WEFT_OK)
        abort();
    wf_span keys[] = {wf_span_of(spki.data, spki.len)};
    if (pki_token_verify((const char *)text.data, text.len, keys, 1, 0, &token, &why) == WEFT_OK)
        abort();
    wf_buf_fini(&spki);
    wf_buf_fini(&text);
    return 0;
}
