/* JWTs of other issuers, read strictly: RFC 7515, 7519, 8725. */
#include "pki/jwt.h"
#include "pki/internal.h"
#include "pki/json.h"
#include "proto/base/text.h"
#include <stdlib.h>
#include <string.h>

#define TIME_MAX_S 253402300799 /* the last second of the year 9999 */
#define SIGNATURE_BYTES_MAX 1024u

struct pki_jwt {
    json_t *claims; /* owned */
    uint8_t digest[32];
    uint64_t until;
};

static weft_err decode(wf_span part, const char *what, size_t max, wf_buf *out, wf_why *why)
{
    weft_err err = part.len > max * 4 / 3 + 4
                       ? WEFT_ELIMIT
                       : wf_base64url_decode((const char *)part.data, part.len, out);
    if (err == WEFT_OK && (out->len == 0 || out->len > max))
        err = out->len == 0 ? WEFT_EINVAL : WEFT_ELIMIT;
    if (err == WEFT_OK || err == WEFT_ENOMEM)
        return err;
    if (err == WEFT_ELIMIT)
        return wf_fail(why, WEFT_ELIMIT, "the token's %s is longer than %zu bytes", what, max);
    return wf_fail(why, WEFT_ECREDENTIAL, "the token's %s is no canonical base64url", what);
}

/* "a.b.c", and no more dots. */
static bool split(wf_span text, wf_span parts[3])
{
    const uint8_t *at = text.data, *end = text.data + text.len;
    for (size_t i = 0; i < 3; i++) {
        const uint8_t *dot = memchr(at, '.', (size_t)(end - at));
        if ((dot == NULL) != (i == 2))
            return false;
        parts[i] = wf_span_of(at, (size_t)((dot != NULL ? dot : end) - at));
        at = dot != NULL ? dot + 1 : end;
    }
    return true;
}

/* ---- the header */

static weft_err read_header(wf_span json, json_t **out, wf_span *alg, wf_span *kid, wf_why *why)
{
    /* x5t names a certificate that we never ask for; what else there is, we'd have to obey. */
    static const char *const known[] = {"alg", "typ", "kid", "x5t", "x5t#S256"};
    static const char *const leading[] = {"jku", "x5u", "jwk", "x5c"};
    json_t *header;
    wf_span typ;
    weft_err err = pki_json_load(json, "token's header", &header, why);
    if (err != WEFT_OK)
        return err;
    *out = header;
    for (size_t i = 0; i < sizeof leading / sizeof *leading; i++)
        if (json_object_get(header, leading[i]) != NULL)
            return wf_fail(why, WEFT_ECREDENTIAL,
                           "the token brings its own key (\"%s\"); keys come from the issuer's "
                           "configuration alone",
                           leading[i]);
    err = pki_json_fields(header, known, sizeof known / sizeof *known, 1, "token's header", why);
    if (err == WEFT_OK)
        err = pki_json_text(header, "alg", 16, alg, why);
    if (err == WEFT_OK && json_object_get(header, "typ") != NULL) {
        err = pki_json_text(header, "typ", 16, &typ, why);
        if (err == WEFT_OK && strcmp((const char *)typ.data, "JWT") != 0)
            err = wf_fail(why, WEFT_ECREDENTIAL, "the token's \"typ\" is not JWT");
    }
    *kid = wf_span_of("", 0);
    if (err == WEFT_OK && json_object_get(header, "kid") != NULL)
        err = pki_json_text(header, "kid", PKI_KID_MAX, kid, why);
    return err;
}

/* ---- the claims */

static weft_err take_time(const json_t *claims, const char *name, bool required, uint64_t *ms,
                          wf_why *why)
{
    const json_t *value = json_object_get(claims, name);
    if (value == NULL && !required)
        return WEFT_OK;
    if (!json_is_integer(value) || json_integer_value(value) <= 0 ||
        json_integer_value(value) > TIME_MAX_S)
        return wf_fail(why, WEFT_ECREDENTIAL, "the token's \"%s\" is no time in whole seconds",
                       name);
    *ms = (uint64_t)json_integer_value(value) * 1000;
    return WEFT_OK;
}

static weft_err check_times(pki_jwt *jwt, uint64_t now, wf_why *why)
{
    uint64_t expiry = 0, issued = 0, from = 0;
    weft_err err = take_time(jwt->claims, "exp", true, &expiry, why);
    if (err == WEFT_OK)
        err = take_time(jwt->claims, "iat", true, &issued, why);
    if (err == WEFT_OK)
        err = take_time(jwt->claims, "nbf", false, &from, why);
    if (err != WEFT_OK)
        return err;
    if (now >= expiry + PKI_JWT_TOLERANCE_MS)
        return wf_fail(why, WEFT_EEXPIRED, "the issuer's token has expired; ask it for a new one");
    if (from > now + PKI_JWT_TOLERANCE_MS || issued > now + PKI_JWT_TOLERANCE_MS)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the issuer's token is not valid yet; check both clocks");
    if (now > issued && now - issued > PKI_JWT_AGE_MAX_MS + PKI_JWT_TOLERANCE_MS)
        return wf_fail(why, WEFT_EEXPIRED,
                       "the issuer's token was issued over an hour ago; ask it for a new one");
    jwt->until = expiry + PKI_JWT_TOLERANCE_MS;
    return WEFT_OK;
}

static bool is_exactly(const json_t *value, const char *text)
{
    return json_is_string(value) && json_string_length(value) == strlen(text) &&
           strcmp(json_string_value(value), text) == 0;
}

static weft_err check_parties(const json_t *claims, const struct pki_jwt_rules *rules, wf_why *why)
{
    const json_t *audience = json_object_get(claims, "aud");
    if (!is_exactly(json_object_get(claims, "iss"), rules->issuer))
        return wf_fail(why, WEFT_ECREDENTIAL, "the token is not from the issuer %.120s",
                       rules->issuer);
    if (json_is_array(audience) && json_array_size(audience) == 1)
        audience = json_array_get(audience, 0);
    /* One that names others too could be presented by any of them. */
    if (rules->audience[0] == '\0' || !is_exactly(audience, rules->audience))
        return wf_fail(why, WEFT_ECREDENTIAL, "the token is not for the audience %.120s alone",
                       rules->audience);
    return WEFT_OK;
}

static weft_err take_digest(pki_jwt *jwt, wf_span signed_text, wf_why *why)
{
    wf_span jti;
    if (json_object_get(jwt->claims, "jti") == NULL) {
        pki_sha256(signed_text.data, signed_text.len, jwt->digest);
        return WEFT_OK;
    }
    weft_err err = pki_json_text(jwt->claims, "jti", PKI_JWT_TEXT_MAX, &jti, why);
    if (err == WEFT_OK)
        pki_sha256(jti.data, jti.len, jwt->digest);
    return err;
}

weft_err pki_jwt_verify(wf_span text, const pki_jwks *keys, const struct pki_jwt_rules *rules,
                        pki_jwt **out, wf_why *why)
{
    wf_span parts[3], alg, kid, signed_text;
    wf_buf header, claims, signature;
    json_t *head = NULL;
    pki_jwt *jwt = NULL;
    weft_err err;
    if (text.len == 0 || text.len > WF_OIDC_TOKEN_MAX)
        return wf_fail(why, WEFT_ELIMIT, "an issuer's token has 1 to %u characters, this has %zu",
                       WF_OIDC_TOKEN_MAX, text.len);
    wf_buf_init(&header, PKI_JWT_HEADER_MAX + 4);
    wf_buf_init(&claims, WF_OIDC_TOKEN_MAX);
    wf_buf_init(&signature, SIGNATURE_BYTES_MAX + 4);
    if (!split(text, parts)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the issuer's token does not have three parts");
        goto out;
    }
    err = decode(parts[0], "header", PKI_JWT_HEADER_MAX, &header, why);
    if (err == WEFT_OK)
        err = decode(parts[2], "signature", SIGNATURE_BYTES_MAX, &signature, why);
    if (err == WEFT_OK)
        err = read_header(wf_span_of(header.data, header.len), &head, &alg, &kid, why);
    if (err != WEFT_OK)
        goto out;
    signed_text = wf_span_of(text.data, parts[0].len + 1 + parts[1].len);
    err = pki_jwks_verify(keys, alg, kid, signed_text, wf_span_of(signature.data, signature.len),
                          why);
    if (err == WEFT_OK)
        err = decode(parts[1], "claims", WF_OIDC_TOKEN_MAX - 4, &claims, why);
    if (err != WEFT_OK)
        goto out;
    jwt = calloc(1, sizeof *jwt);
    if (jwt == NULL) {
        err = wf_fail(why, WEFT_ENOMEM, "no memory for a token");
        goto out;
    }
    err = pki_json_load(wf_span_of(claims.data, claims.len), "token", &jwt->claims, why);
    if (err == WEFT_OK)
        err = check_parties(jwt->claims, rules, why);
    if (err == WEFT_OK)
        err = check_times(jwt, rules->now, why);
    if (err == WEFT_OK)
        err = take_digest(jwt, signed_text, why);
    if (err == WEFT_OK) {
        *out = jwt;
        jwt = NULL;
    }
out:
    pki_jwt_free(jwt);
    json_decref(head);
    wf_buf_wipe(&signature);
    wf_buf_wipe(&claims);
    wf_buf_fini(&header);
    return err;
}

void pki_jwt_free(pki_jwt *jwt)
{
    if (jwt == NULL)
        return;
    json_decref(jwt->claims);
    free(jwt);
}

const char *pki_jwt_text(const pki_jwt *jwt, const char *claim)
{
    const json_t *value = json_object_get(jwt->claims, claim);
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > PKI_JWT_TEXT_MAX ||
        !wf_is_printable(json_string_value(value), json_string_length(value)))
        return NULL;
    return json_string_value(value);
}

void pki_jwt_digest(const pki_jwt *jwt, uint8_t out[32])
{
    memcpy(out, jwt->digest, sizeof jwt->digest);
}

uint64_t pki_jwt_until(const pki_jwt *jwt)
{
    return jwt->until;
}
