/*
 * Enrollment tokens. The header has one spelling, compared byte by byte, so
 * there is no algorithm to choose and no key to be led to.
 */
#include "pki/token.h"
#include "pki/internal.h"
#include "pki/json.h"
#include "proto/base/clock.h"
#include <string.h>

/* base64url of {"alg":"EdDSA","typ":"JWT"} */
static const char header[] = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9";

#define ED25519_SIGNATURE_LEN 64
#define EXPIRY_MAX_S 253402300799 /* the last second of the year 9999 */
#define DIGEST_TEXT 43            /* base64url of 32 bytes */

static const struct {
    enum pki_enroll_method method;
    const char *name;
    bool once; /* has a jti */
} methods[] = {
    {PKI_ENROLL_OTT, "ott", true},
    {PKI_ENROLL_OTTCA, "ottca", true},
    {PKI_ENROLL_CA, "ca", false},
    {PKI_ENROLL_OIDC, "oidc", false},
};
#define METHOD_COUNT (sizeof methods / sizeof *methods)

/* ---- making */

static weft_err put_digest(const uint8_t digest[32], wf_buf *out)
{
    weft_err err = wf_buf_put_text(out, "\"");
    if (err == WEFT_OK)
        err = wf_base64url_encode(digest, 32, out);
    return err == WEFT_OK ? wf_buf_put_text(out, "\"") : err;
}

/* Each text in it has passed a rule that leaves nothing for JSON to escape. */
static weft_err put_claims(const struct pki_token *token, const char *method, bool once,
                           wf_buf *out)
{
    char id[WF_ID_TEXT], address[WF_ADDRESS_TEXT];
    weft_err err =
        wf_buf_printf(out, "{\"iss\":\"%s\",\"sub\":\"%s\",", token->issuer, token->subject);
    if (err == WEFT_OK && once)
        err = wf_buf_printf(out, "\"jti\":\"%s\",", wf_id_text(&token->jti, id));
    if (err == WEFT_OK) {
        err = wf_buf_printf(out, "\"exp\":%llu,\"em\":\"%s\",\"ctrl\":[",
                            (unsigned long long)(token->expiry / 1000), method);
    }
    for (size_t i = 0; err == WEFT_OK && i < token->controller_count; i++) {
        err = wf_buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",",
                            wf_address_text(&token->controllers[i], address));
    }
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, "],\"spki\":[");
    for (size_t i = 0; err == WEFT_OK && i < token->server_pin_count; i++) {
        if (i > 0)
            err = wf_buf_put_text(out, ",");
        if (err == WEFT_OK)
            err = put_digest(token->server_pins[i].b, out);
    }
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, "],\"bundle\":");
    if (err == WEFT_OK)
        err = put_digest(token->bundle, out);
    return err == WEFT_OK ? wf_buf_printf(out, ",\"name\":\"%s\"}", token->name) : err;
}

/* The rules that put_claims relies on; what else is wrong, reading back finds. */
static bool is_safe(const struct pki_token *token)
{
    char domain[PKI_DOMAIN_MAX + 1], address[WF_ADDRESS_TEXT];
    enum pki_kind kind;
    wf_id id;
    wf_address again;
    bool safe =
        memchr(token->subject, '\0', sizeof token->subject) != NULL &&
        memchr(token->issuer, '\0', sizeof token->issuer) != NULL &&
        memchr(token->name, '\0', sizeof token->name) != NULL &&
        pki_spiffe_parse(token->subject, strlen(token->subject), domain, &kind, &id) == WEFT_OK &&
        kind == token->kind && wf_id_equal(&id, &token->id) &&
        pki_domain_check(token->issuer, strlen(token->issuer), NULL) == WEFT_OK &&
        wf_name_check(token->name, strlen(token->name), "name", NULL) == WEFT_OK &&
        token->controller_count <= PKI_CONTROLLERS_MAX && token->server_pin_count <= WF_PINS_MAX;
    for (size_t i = 0; safe && i < token->controller_count; i++) {
        safe = wf_address_parse(wf_address_text(&token->controllers[i], address), 0, &again,
                                NULL) == WEFT_OK;
    }
    return safe;
}

weft_err pki_token_make(const pki_key *enrollment_key, const struct pki_token *token, wf_buf *out)
{
    const size_t before = out->len;
    size_t m = 0;
    while (m < METHOD_COUNT && methods[m].method != token->method)
        m++;
    if (m == METHOD_COUNT || !is_safe(token) || pki_key_kind_of(enrollment_key) != PKI_KEY_ED25519)
        return WEFT_EINVAL;
    wf_buf claims, signature;
    wf_buf_init(&claims, WF_TOKEN_MAX);
    wf_buf_init(&signature, ED25519_SIGNATURE_LEN);
    weft_err err = put_claims(token, methods[m].name, methods[m].once, &claims);
    if (err != WEFT_OK)
        goto out;
    err = wf_buf_printf(out, "%s.", header);
    if (err != WEFT_OK)
        goto out;
    err = wf_base64url_encode(claims.data, claims.len, out);
    if (err != WEFT_OK)
        goto out;
    err = pki_sign_bare(enrollment_key, wf_span_of(out->data + before, out->len - before),
                        &signature);
    if (err != WEFT_OK)
        goto out;
    err = wf_buf_put_text(out, ".");
    if (err != WEFT_OK)
        goto out;
    err = wf_base64url_encode(signature.data, signature.len, out);
    if (err != WEFT_OK)
        goto out;
    /* What is made here must be readable there. */
    struct pki_token read_back;
    err = pki_token_read((const char *)out->data + before, out->len - before, &read_back, NULL);
    if (err == WEFT_ECREDENTIAL)
        err = WEFT_EINVAL;
out:
    if (err != WEFT_OK)
        out->len = before;
    wf_buf_fini(&signature);
    wf_buf_fini(&claims);
    return err;
}

/* ---- reading */

static weft_err take_digest(wf_span text, const char *name, uint8_t out[32], wf_why *why)
{
    wf_buf bytes;
    wf_buf_init(&bytes, 32);
    weft_err err = text.len == DIGEST_TEXT
                       ? wf_base64url_decode((const char *)text.data, text.len, &bytes)
                       : WEFT_EINVAL;
    if (err == WEFT_OK) {
        memcpy(out, bytes.data, 32);
    } else if (err != WEFT_ENOMEM) {
        err =
            wf_fail(why, WEFT_ECREDENTIAL, "the token's \"%s\" is no base64url of 32 bytes", name);
    }
    wf_buf_fini(&bytes);
    return err;
}

static weft_err take_who(json_t *claims, struct pki_token *out, wf_why *why)
{
    wf_span issuer, subject, name;
    char domain[PKI_DOMAIN_MAX + 1];
    weft_err err = pki_json_text(claims, "iss", PKI_DOMAIN_MAX, &issuer, why);
    if (err != WEFT_OK)
        return err;
    if (pki_domain_check((const char *)issuer.data, issuer.len, why) != WEFT_OK)
        return wf_wrap(why, WEFT_ECREDENTIAL, "the token's \"iss\"");
    err = pki_json_text(claims, "sub", PKI_SPIFFE_MAX - 1, &subject, why);
    if (err != WEFT_OK)
        return err;
    if (pki_spiffe_parse((const char *)subject.data, subject.len, domain, &out->kind, &out->id) !=
        WEFT_OK)
        return wf_fail(why, WEFT_ECREDENTIAL, "the token's \"sub\" is no SPIFFE id of Weft");
    if (strlen(domain) != issuer.len || memcmp(domain, issuer.data, issuer.len) != 0) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the token's \"sub\" belongs to another trust domain than its \"iss\"");
    }
    err = pki_json_text(claims, "name", WF_NAME_MAX, &name, why);
    if (err != WEFT_OK)
        return err;
    if (wf_name_check((const char *)name.data, name.len, "token's name", why) != WEFT_OK)
        return WEFT_ECREDENTIAL;
    memcpy(out->issuer, domain, issuer.len + 1);
    memcpy(out->subject, subject.data, subject.len);
    memcpy(out->name, name.data, name.len);
    return WEFT_OK;
}

static weft_err take_terms(json_t *claims, struct pki_token *out, wf_why *why)
{
    wf_span method, jti;
    const json_t *expiry = json_object_get(claims, "exp");
    if (!json_is_integer(expiry) || json_integer_value(expiry) <= 0 ||
        json_integer_value(expiry) > EXPIRY_MAX_S)
        return wf_fail(why, WEFT_ECREDENTIAL, "the token's \"exp\" is no time in whole seconds");
    out->expiry = (uint64_t)json_integer_value(expiry) * 1000;

    weft_err err = pki_json_text(claims, "em", 16, &method, why);
    if (err != WEFT_OK)
        return err;
    size_t m = 0;
    while (m < METHOD_COUNT && (strlen(methods[m].name) != method.len ||
                                memcmp(methods[m].name, method.data, method.len) != 0))
        m++;
    if (m == METHOD_COUNT) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the token's \"em\" is none of ott, ottca, ca and oidc");
    }
    out->method = methods[m].method;
    if (!methods[m].once) {
        return json_object_get(claims, "jti") == NULL
                   ? WEFT_OK
                   : wf_fail(why, WEFT_ECREDENTIAL, "a join token has no \"jti\"");
    }
    err = pki_json_text(claims, "jti", WF_ID_TEXT - 1, &jti, why);
    if (err != WEFT_OK)
        return err;
    if (!wf_id_parse((const char *)jti.data, jti.len, &out->jti) || wf_id_is_zero(&out->jti))
        return wf_fail(why, WEFT_ECREDENTIAL, "the token's \"jti\" is no id of 32 hex digits");
    return WEFT_OK;
}

static weft_err take_where(json_t *claims, struct pki_token *out, wf_why *why)
{
    json_t *list;
    wf_span text;
    weft_err err = pki_json_array(claims, "ctrl", 1, PKI_CONTROLLERS_MAX, &list, why);
    for (size_t i = 0; err == WEFT_OK && i < json_array_size(list); i++) {
        err = pki_json_entry(list, i, "ctrl", WF_ADDRESS_TEXT - 1, &text, why);
        if (err == WEFT_OK &&
            wf_address_parse((const char *)text.data, 0, &out->controllers[i], why) != WEFT_OK)
            err = wf_wrap(why, WEFT_ECREDENTIAL, "the token's \"ctrl\"");
        out->controller_count = i + 1;
    }
    if (err != WEFT_OK)
        return err;
    err = pki_json_array(claims, "spki", 1, WF_PINS_MAX, &list, why);
    for (size_t i = 0; err == WEFT_OK && i < json_array_size(list); i++) {
        err = pki_json_entry(list, i, "spki", DIGEST_TEXT, &text, why);
        if (err == WEFT_OK)
            err = take_digest(text, "spki", out->server_pins[i].b, why);
        out->server_pin_count = i + 1;
    }
    if (err != WEFT_OK)
        return err;
    err = pki_json_text(claims, "bundle", DIGEST_TEXT, &text, why);
    return err == WEFT_OK ? take_digest(text, "bundle", out->bundle, why) : err;
}

static weft_err take_claims(wf_span json, struct pki_token *out, wf_why *why)
{
    static const char *const names[] = {"iss",  "sub",    "exp",  "em", "ctrl",
                                        "spki", "bundle", "name", "jti"};
    const size_t count = sizeof names / sizeof *names;
    struct pki_token token = {0};
    json_t *claims = NULL;
    weft_err err = pki_json_load(json, "token", &claims, why);
    if (err != WEFT_OK)
        return err;
    err = pki_json_fields(claims, names, count, count - 1, "token", why);
    if (err == WEFT_OK)
        err = take_who(claims, &token, why);
    if (err == WEFT_OK)
        err = take_terms(claims, &token, why);
    if (err == WEFT_OK)
        err = take_where(claims, &token, why);
    json_decref(claims);
    if (err == WEFT_OK)
        *out = token;
    return err;
}

/* The three parts of a token, as they stand in its text. */
struct parts {
    wf_span signed_text; /* header, dot, claims */
    wf_span claims;
    wf_span signature;
};

static weft_err split(const char *text, size_t len, struct parts *out, wf_why *why)
{
    const size_t header_len = sizeof header - 1;
    if (len == 0 || len > WF_TOKEN_MAX) {
        return wf_fail(why, WEFT_ECREDENTIAL, "a token has 1 to %u characters, this has %zu",
                       WF_TOKEN_MAX, len);
    }
    if (len <= header_len || memcmp(text, header, header_len) != 0 || text[header_len] != '.') {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "this is no enrollment token: its header is not exactly alg EdDSA, typ JWT");
    }
    const char *claims = text + header_len + 1;
    const char *dot = memchr(claims, '.', len - header_len - 1);
    if (dot == NULL)
        return wf_fail(why, WEFT_ECREDENTIAL, "the token does not have three parts");
    out->signed_text = wf_span_of(text, (size_t)(dot - text));
    out->claims = wf_span_of(claims, (size_t)(dot - claims));
    out->signature = wf_span_of(dot + 1, len - (size_t)(dot + 1 - text));
    return WEFT_OK;
}

/* base64url that must be canonical; a second dot is no base64url either. */
static weft_err decode_part(wf_span part, const char *what, wf_buf *out, wf_why *why)
{
    weft_err err = wf_base64url_decode((const char *)part.data, part.len, out);
    if (err == WEFT_OK || err == WEFT_ENOMEM)
        return err;
    return wf_fail(why, WEFT_ECREDENTIAL, "the token's %s is no canonical base64url", what);
}

static weft_err read_token(const char *text, size_t len, const wf_span *keys, size_t count,
                           bool verify, struct pki_token *out, wf_why *why)
{
    struct parts parts;
    wf_buf claims, signature;
    wf_buf_init(&claims, WF_TOKEN_MAX);
    wf_buf_init(&signature, WF_TOKEN_MAX);
    weft_err err = split(text, len, &parts, why);
    if (err != WEFT_OK)
        goto out;
    err = decode_part(parts.signature, "signature", &signature, why);
    if (err != WEFT_OK)
        goto out;
    if (signature.len != ED25519_SIGNATURE_LEN) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the token's signature is not one of Ed25519");
        goto out;
    }
    bool verified = !verify;
    for (size_t i = 0; !verified && i < count; i++) {
        enum pki_key_kind kind;
        if (!pki_spki_kind(keys[i], &kind) || kind != PKI_KEY_ED25519)
            continue;
        err =
            pki_verify_bare(keys[i], parts.signed_text, wf_span_of(signature.data, signature.len));
        if (err == WEFT_ENOMEM)
            goto out;
        verified = err == WEFT_OK;
    }
    if (!verified) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the token is not signed by an enrollment key of this fabric");
        goto out;
    }
    err = decode_part(parts.claims, "claims", &claims, why);
    if (err != WEFT_OK)
        goto out;
    err = take_claims(wf_span_of(claims.data, claims.len), out, why);
out:
    wf_buf_wipe(&signature);
    wf_buf_wipe(&claims);
    return err;
}

weft_err pki_token_read(const char *text, size_t len, struct pki_token *out, wf_why *why)
{
    return read_token(text, len, NULL, 0, false, out, why);
}

weft_err pki_token_verify(const char *text, size_t len, const wf_span *keys, size_t count,
                          uint64_t now, struct pki_token *out, wf_why *why)
{
    struct pki_token token;
    weft_err err = read_token(text, len, keys, count, true, &token, why);
    if (err != WEFT_OK)
        return err;
    if (now >= token.expiry) {
        char when[24];
        return wf_fail(why, WEFT_EEXPIRED,
                       "the token expired at %s: ask for a new one (weft identity reissue)",
                       wf_time_text(token.expiry, when));
    }
    *out = token;
    return WEFT_OK;
}
