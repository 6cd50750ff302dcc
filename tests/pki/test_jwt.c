/* Tokens of other issuers: what holds, and each way in which one doesn't. */
#include "pki/internal.h"
#include "pki/jwt.h"
#include "proto/base/text.h"
#include "tests/helpers/test.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1800000000000ull
#define S (NOW / 1000)
#define ISSUER "https://issuer.example"
#define CLAIMS                                                                                     \
    "{\"iss\":\"" ISSUER "\",\"aud\":\"weft\",\"iat\":1799999990,\"nbf\":1799999980,"              \
    "\"exp\":1800000300,\"jti\":\"a1\",\"repository\":\"acme/shop\"}"

static EVP_PKEY *rsa, *p256, *ed25519;
static char set_text[4096];
static pki_jwks *set;
static wf_why why;

static char *base64url(const void *data, size_t len)
{
    static char kept[4][24576];
    static unsigned at;
    wf_buf out;
    char *text = kept[at++ % 4];

    wf_buf_init(&out, sizeof kept[0] - 1);
    assert_int_equal(wf_base64url_encode(data, len, &out), WEFT_OK);
    memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    wf_buf_fini(&out);
    return text;
}

static int make_keys(void **state)
{
    BIGNUM *n = NULL;
    uint8_t modulus[256], point[65], raw[32];
    size_t len = sizeof raw;

    (void)state;
    rsa = EVP_RSA_gen(2048);
    p256 = EVP_EC_gen("P-256");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(EVP_PKEY_get_bn_param(rsa, OSSL_PKEY_PARAM_RSA_N, &n), 1);
    assert_int_equal(BN_bn2binpad(n, modulus, sizeof modulus), sizeof modulus);
    BN_free(n);
    assert_int_equal(EVP_PKEY_get_raw_public_key(ed25519, raw, &len), 1);
    len = sizeof point;
    assert_int_equal(
        EVP_PKEY_get_octet_string_param(p256, OSSL_PKEY_PARAM_PUB_KEY, point, len, &len), 1);
    snprintf(set_text, sizeof set_text,
             "{\"keys\":[{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"r\",\"e\":"
             "\"AQAB\",\"n\":\"%s\",\"x5c\":[\"MII\"]},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":"
             "\"e\",\"x\":\"%s\",\"y\":\"%s\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d\","
             "\"x\":\"%s\"},{\"kty\":\"EC\",\"crv\":\"P-521\",\"kid\":\"other\"}]}",
             base64url(modulus, sizeof modulus), base64url(point + 1, 32),
             base64url(point + 33, 32), base64url(raw, 32));
    assert_int_equal(pki_jwks_parse(wf_span_of(set_text, strlen(set_text)), &set, &why), WEFT_OK);
    assert_int_equal(pki_jwks_count(set), 3);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    pki_jwks_free(set);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(ed25519);
    return 0;
}

/* header.claims.signature; ECDSA as r || s unless der. */
static const char *token_of(const char *header, const char *claims, EVP_PKEY *key, bool der)
{
    static char text[40000];
    uint8_t sig[1024], raw[64];
    size_t len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    snprintf(text, sizeof text, "%s.%s", base64url(header, strlen(header)),
             base64url(claims, strlen(claims)));
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, key == ed25519 ? NULL : EVP_sha256(), NULL, key),
                     1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    if (key == p256 && !der) {
        const unsigned char *at = sig;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)len);

        BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32);
        ECDSA_SIG_free(pair);
        memcpy(sig, raw, len = sizeof raw);
    }
    strcat(text, ".");
    strcat(text, base64url(sig, len));
    return text;
}

static weft_err verify(const char *text)
{
    const struct pki_jwt_rules rules = {ISSUER, "weft", NOW};
    pki_jwt *jwt = NULL;
    weft_err err = pki_jwt_verify(wf_span_of(text, strlen(text)), set, &rules, &jwt, &why);

    assert_true((err == WEFT_OK) == (jwt != NULL));
    pki_jwt_free(jwt);
    return err;
}

static void refused(const char *text, weft_err err, const char *words)
{
    weft_err got = verify(text);

    if (got != err || strstr(why.text, words) == NULL)
        fail_msg("%s: %s, wanted %s '%s'", weft_err_name((int)got), why.text,
                 weft_err_name((int)err), words);
}

static void each_algorithm_holds_with_its_own_key(void **state)
{
    (void)state;
    assert_int_equal(verify(token_of("{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS, rsa, false)),
                     WEFT_OK);
    assert_int_equal(verify(token_of("{\"alg\":\"ES256\",\"kid\":\"e\"}", CLAIMS, p256, false)),
                     WEFT_OK);
    assert_int_equal(verify(token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", CLAIMS, ed25519, false)),
                     WEFT_OK);
    assert_int_equal(verify(token_of("{\"alg\":\"EdDSA\"}", CLAIMS, ed25519, false)), WEFT_OK);
    refused(token_of("{\"alg\":\"ES256\",\"kid\":\"e\"}", CLAIMS, p256, true), WEFT_ECREDENTIAL,
            "is not one of ES256"); /* DER-shaped */
}

static void a_header_chooses_neither_key_nor_algorithm(void **state)
{
    static const struct {
        const char *header, *words;
    } rows[] = {
        {"{\"alg\":\"none\",\"kid\":\"d\"}", "\"alg\" is none"},
        {"{\"alg\":\"HS256\",\"kid\":\"r\"}", "\"alg\" is none"},
        {"{\"alg\":\"RS256\",\"kid\":\"d\"}", "is not the one of the key"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"r\"}", "is not the one of the key"},
        {"{\"alg\":[\"EdDSA\"],\"kid\":\"d\"}", "no text"},
        {"{\"kid\":\"d\"}", "lacks the field \"alg\""},
        {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"d\"}", "not strict JSON"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"jku\":\"https://x\"}", "its own key (\"jku\")"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"x5u\":\"https://x\"}", "its own key (\"x5u\")"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"jwk\":{}}", "its own key (\"jwk\")"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"x5c\":[]}", "its own key (\"x5c\")"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"crit\":[\"exp\"]}", "unknown field \"crit\""},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"b64\":false}", "unknown field \"b64\""},
        {"{\"alg\":\"EdDSA\",\"kid\":\"d\",\"typ\":\"JWE\"}", "\"typ\" is not JWT"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"../d\"}", "no key of the token"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"other\"}", "no key of the token"},
        {"{\"alg\":\"EdDSA\",\"kid\":7}", "no text"},
        {"[]", "no JSON object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        weft_err err =
            strstr(rows[i].words, "no key of") != NULL ? WEFT_ENOTFOUND : WEFT_ECREDENTIAL;

        refused(token_of(rows[i].header, CLAIMS, ed25519, false), err, rows[i].words);
    }
}

static void the_form_is_exact(void **state)
{
    char text[40000], header[2000];
    const char *good = token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", CLAIMS, ed25519, false);

    (void)state;
    snprintf(text, sizeof text, "%s.", good);
    refused(text, WEFT_ECREDENTIAL, "three parts");
    snprintf(text, sizeof text, "%s=", good);
    refused(text, WEFT_ECREDENTIAL, "canonical base64url");
    snprintf(text, sizeof text, " %s", good);
    refused(text, WEFT_ECREDENTIAL, "canonical base64url");
    snprintf(text, sizeof text, "%s", good);
    *strrchr(text, '.') = '\0';
    refused(text, WEFT_ECREDENTIAL, "three parts");
    strcat(text, ".");
    refused(text, WEFT_ECREDENTIAL, "canonical base64url"); /* no signature */
    refused("", WEFT_ELIMIT, "1 to");
    refused("..", WEFT_ECREDENTIAL, "header");
    snprintf(text, sizeof text, "%s", good);
    text[strlen(text) - 1] = text[strlen(text) - 1] == 'A' ? 'Q' : 'A'; /* another last byte */
    refused(text, WEFT_ECREDENTIAL, "signature is wrong");
    memset(header, 'k', sizeof header);
    memcpy(header, "{\"alg\":\"EdDSA\",\"kid\":\"", 22);
    memcpy(header + sizeof header - 3, "\"}", 3);
    refused(token_of(header, CLAIMS, ed25519, false), WEFT_ELIMIT, "header is longer");
    memset(text, 'a', 17000);
    text[17000] = '\0';
    refused(text, WEFT_ELIMIT, "1 to 16384");
}

static void claims_are_judged_as_they_stand(void **state)
{
    static const char head[] = "{\"iss\":\"" ISSUER "\",\"aud\":\"weft\",\"iat\":1799999990,";
    static const struct {
        const char *claims;
        weft_err err;
        const char *words;
    } rows[] = {
        {"{\"iss\":\"" ISSUER "/\",\"aud\":\"weft\",\"iat\":1799999990,\"exp\":1800000300}",
         WEFT_ECREDENTIAL, "not from the issuer"},
        {"{\"iss\":[\"" ISSUER "\"],\"aud\":\"weft\",\"iat\":1799999990,\"exp\":1800000300}",
         WEFT_ECREDENTIAL, "not from the issuer"},
        {"{\"aud\":\"weft\",\"iat\":1799999990,\"exp\":1800000300}", WEFT_ECREDENTIAL,
         "not from the issuer"},
        {"{\"iss\":\"" ISSUER "\",\"aud\":\"\",\"iat\":1799999990,\"exp\":1800000300}",
         WEFT_ECREDENTIAL, "not for the audience"},
        {"{\"iss\":\"" ISSUER "\",\"aud\":[],\"iat\":1799999990,\"exp\":1800000300}",
         WEFT_ECREDENTIAL, "not for the audience"},
        {"{\"iss\":\"" ISSUER "\",\"aud\":[\"weft\",\"x\"],\"iat\":1799999990,\"exp\":1800000300}",
         WEFT_ECREDENTIAL, "not for the audience"},
        {"{\"iss\":\"" ISSUER "\",\"iat\":1799999990,\"exp\":1800000300}", WEFT_ECREDENTIAL,
         "not for the audience"},
        {"{\"iss\":\"" ISSUER "\",\"iss\":\"" ISSUER "\",\"aud\":\"weft\"}", WEFT_ECREDENTIAL,
         "not strict JSON"},
        {"{\"iss\":\"" ISSUER "\",\"aud\":\"weft\",\"exp\":1800000300}", WEFT_ECREDENTIAL,
         "\"iat\" is no time"},
    };
    static const struct {
        const char *rest;
        weft_err err;
        const char *words;
    } times[] = {
        {"\"nbf\":1}", WEFT_ECREDENTIAL, "\"exp\" is no time"},
        {"\"exp\":\"1800000300\"}", WEFT_ECREDENTIAL, "\"exp\" is no time"},
        {"\"exp\":1800000300.5}", WEFT_ECREDENTIAL, "\"exp\" is no time"},
        {"\"exp\":-1}", WEFT_ECREDENTIAL, "\"exp\" is no time"},
        {"\"exp\":9223372036854775807}", WEFT_ECREDENTIAL, "\"exp\" is no time"},
        {"\"exp\":1799999940}", WEFT_EEXPIRED, "has expired"},
        {"\"exp\":1799999941}", WEFT_OK, ""},
        {"\"exp\":1800000300,\"nbf\":1800000061}", WEFT_ECREDENTIAL, "not valid yet"},
        {"\"exp\":1800000300,\"nbf\":1800000060}", WEFT_OK, ""},
        {"\"exp\":1800000300,\"nbf\":\"x\"}", WEFT_ECREDENTIAL, "\"nbf\" is no time"},
        {"\"exp\":1800000300,\"jti\":7}", WEFT_ECREDENTIAL, "no text"},
    };
    char claims[2048];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", rows[i].claims, ed25519, false),
                rows[i].err, rows[i].words);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        snprintf(claims, sizeof claims, "%s%s", head, times[i].rest);
        why.text[0] = '\0';
        refused(token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims, ed25519, false), times[i].err,
                times[i].words);
    }
    snprintf(claims, sizeof claims,
             "{\"iss\":\"" ISSUER "\",\"aud\":\"weft\",\"iat\":%llu,\"exp\":1800000300}",
             (unsigned long long)(S - 3661));
    refused(token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims, ed25519, false), WEFT_EEXPIRED,
            "over an hour ago");
    snprintf(claims, sizeof claims,
             "{\"iss\":\"" ISSUER "\",\"aud\":[\"weft\"],\"iat\":%llu,\"exp\":1800000300}",
             (unsigned long long)(S - 3660));
    assert_int_equal(verify(token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", claims, ed25519, false)),
                     WEFT_OK);
}

static void a_claim_is_text_or_nothing(void **state)
{
    const struct pki_jwt_rules rules = {ISSUER, "weft", NOW};
    const char *text =
        token_of("{\"alg\":\"EdDSA\",\"kid\":\"d\"}",
                 "{\"iss\":\"" ISSUER
                 "\",\"aud\":\"weft\",\"iat\":1799999990,\"exp\":1800000300,\"s\":\"x\","
                 "\"l\":[\"x\"],\"n\":1,\"t\":true,\"e\":\"\",\"u\":\"\\u00e9\",\"c\":\"a\\nb\"}",
                 ed25519, false);
    pki_jwt *jwt = NULL;

    (void)state;
    assert_int_equal(pki_jwt_verify(wf_span_of(text, strlen(text)), set, &rules, &jwt, &why),
                     WEFT_OK);
    assert_string_equal(pki_jwt_text(jwt, "s"), "x");
    for (const char *name = "lnteucz"; *name != '\0'; name++) {
        const char one[2] = {*name, '\0'};

        assert_null(pki_jwt_text(jwt, one));
    }
    assert_int_equal(pki_jwt_until(jwt), 1800000300000ull + PKI_JWT_TOLERANCE_MS);
    pki_jwt_free(jwt);
}

static void a_key_set_that_is_broken_weak_or_private_is_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "not strict JSON"},
        {"[]", "no JSON object"},
        {"{}", "no list"},
        {"{\"keys\":[]}", "entries"},
        {"{\"keys\":[7]}", "no JSON object"},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "private or shared"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\",\"d\":\"AA\"}]}",
         "private or shared"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "256 to"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}", "32 to 32"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
         "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
         "AAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         "none of EC"}, /* not on the curve */
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\"}]}", "no public key for"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":\"AA\"}]}",
         "no public key for"},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"11qYAYKxCrfVS_"
         "7TyWQHOg7h"
         "cvPapiMlrwIaaPcHURo\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":"
         "\"11qYAYKxCrfVS"
         "_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
         "one \"kid\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pki_jwks *out = NULL;
        weft_err err = pki_jwks_parse(wf_span_of(rows[i].text, strlen(rows[i].text)), &out, &why);

        if (err != WEFT_ECREDENTIAL || out != NULL || strstr(why.text, rows[i].words) == NULL)
            fail_msg("%s: %s: %s", rows[i].text, weft_err_name((int)err), why.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm_holds_with_its_own_key),
        cmocka_unit_test(a_header_chooses_neither_key_nor_algorithm),
        cmocka_unit_test(the_form_is_exact),
        cmocka_unit_test(claims_are_judged_as_they_stand),
        cmocka_unit_test(a_claim_is_text_or_nothing),
        cmocka_unit_test(a_key_set_that_is_broken_weak_or_private_is_refused),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
