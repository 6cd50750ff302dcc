/* Enrollment tokens, and what comes in their place. */
#include "pki/internal.h"
#include "pki/token.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include "tests/pki/memory.h"
#include <stdio.h>
#include <string.h>

#define NOW 1800000000000ull
#define ID "0123456789abcdef0123456789abcdef"
#define JTI "fedcba9876543210fedcba9876543210"
#define D32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\"}"

/* The claims of a good token, apart, so that each can be spoilt. */
#define ISS "\"iss\":\"test.weft\""
#define SUB "\"sub\":\"spiffe://test.weft/identity/" ID "\""
#define JTI_ "\"jti\":\"" JTI "\""
#define EXP "\"exp\":1800000060"
#define EM "\"em\":\"ott\""
#define CTRL "\"ctrl\":[\"127.0.0.1:9338\"]"
#define SPKI "\"spki\":[\"" D32 "\"]"
#define BUNDLE "\"bundle\":\"" D32 "\""
#define NAME "\"name\":\"ci\""
#define REST CTRL "," SPKI "," BUNDLE "," NAME
#define GOOD "{" ISS "," SUB "," JTI_ "," EXP "," EM "," REST "}"

static pki_key *key, *stranger;

static int start(void **state)
{
    (void)state;
    return pki_key_new(PKI_KEY_ED25519, &key, NULL) == WEFT_OK &&
                   pki_key_new(PKI_KEY_ED25519, &stranger, NULL) == WEFT_OK
               ? 0
               : -1;
}

static int stop(void **state)
{
    (void)state;
    pki_key_free(stranger);
    pki_key_free(key);
    return 0;
}

/* Any header and any claims, honestly signed. */
static void forge(const char *header, const char *claims, size_t claims_len, wf_buf *out)
{
    wf_buf signature;
    wf_buf_init(&signature, 64);
    wf_buf_clear(out);
    assert_int_equal(wf_base64url_encode(header, strlen(header), out), WEFT_OK);
    assert_int_equal(wf_buf_put_text(out, "."), WEFT_OK);
    assert_int_equal(wf_base64url_encode(claims, claims_len, out), WEFT_OK);
    assert_int_equal(pki_sign_bare(key, wf_span_of(out->data, out->len), &signature), WEFT_OK);
    assert_int_equal(wf_buf_put_text(out, "."), WEFT_OK);
    assert_int_equal(wf_base64url_encode(signature.data, signature.len, out), WEFT_OK);
    wf_buf_fini(&signature);
}

static weft_err verify_at(const wf_buf *text, uint64_t now)
{
    const wf_span keys[] = {pki_key_spki(key)};
    struct pki_token token;
    memset(&token, 0x5a, sizeof token);
    wf_why why = {.text = ""};
    weft_err err =
        pki_token_verify((const char *)text->data, text->len, keys, 1, now, &token, &why);
    if (err != WEFT_OK) {
        assert_true(why.text[0] != '\0');
        assert_int_equal(token.kind, 0x5a5a5a5a); /* untouched */
    }
    return err;
}

/* Signed or not, it is read by nobody. */
static void refused(const wf_buf *text)
{
    struct pki_token token;
    wf_why why = {.text = ""};
    assert_int_equal(verify_at(text, NOW), WEFT_ECREDENTIAL);
    assert_int_equal(pki_token_read((const char *)text->data, text->len, &token, &why),
                     WEFT_ECREDENTIAL);
    assert_true(why.text[0] != '\0');
}

static struct pki_token good_token(void)
{
    struct pki_token token = {
        .issuer = "test.weft",
        .subject = "spiffe://test.weft/identity/" ID,
        .kind = PKI_IDENTITY,
        .expiry = NOW + 60000,
        .method = PKI_ENROLL_OTT,
        .controllers = {{.host = "ctl.test", .port = 9338}, {.host = "::1", .port = 1}},
        .controller_count = 2,
        .server_pins = {{{1}}, {{2}}},
        .server_pin_count = 2,
        .bundle = {3},
        .name = "ci",
    };
    assert_true(wf_id_parse(ID, 32, &token.id));
    assert_true(wf_id_parse(JTI, 32, &token.jti));
    return token;
}

static void a_token_says_what_was_put_into_it(void **state)
{
    (void)state;
    static const enum pki_enroll_method methods[] = {PKI_ENROLL_OTT, PKI_ENROLL_OTTCA,
                                                     PKI_ENROLL_CA, PKI_ENROLL_OIDC};
    for (size_t i = 0; i < 4; i++) {
        wf_buf text;
        const wf_span keys[] = {pki_key_spki(stranger), pki_key_spki(key)};
        struct pki_token token = good_token(), found;
        bool once = methods[i] == PKI_ENROLL_OTT || methods[i] == PKI_ENROLL_OTTCA;
        token.method = methods[i];
        wf_buf_init(&text, WF_TOKEN_MAX);
        assert_int_equal(pki_token_make(key, &token, &text), WEFT_OK);
        assert_int_equal(
            pki_token_verify((const char *)text.data, text.len, keys, 2, NOW, &found, NULL),
            WEFT_OK);
        assert_string_equal(found.issuer, token.issuer);
        assert_string_equal(found.subject, token.subject);
        assert_int_equal(found.kind, token.kind);
        assert_true(wf_id_equal(&found.id, &token.id));
        assert_int_equal(wf_id_is_zero(&found.jti), !once);
        assert_int_equal(wf_id_equal(&found.jti, &token.jti), once);
        assert_int_equal(found.expiry, token.expiry);
        assert_int_equal(found.method, token.method);
        assert_int_equal(found.controller_count, 2);
        assert_string_equal(found.controllers[1].host, "::1");
        assert_int_equal(found.controllers[0].port, 9338);
        assert_int_equal(found.server_pin_count, 2);
        assert_int_equal(found.server_pins[1].b[0], 2);
        assert_memory_equal(found.bundle, token.bundle, 32);
        assert_string_equal(found.name, "ci");
        wf_buf_fini(&text);
    }
}

static void the_forged_good_one_is_good(void **state)
{
    (void)state;
    wf_buf text;
    wf_buf_init(&text, 65536);
    forge(HEADER, GOOD, strlen(GOOD), &text);
    assert_int_equal(verify_at(&text, NOW), WEFT_OK); /* so it is the spoilt part that is refused */
    wf_buf_fini(&text);
}

static void what_can_not_be_read_is_not_made(void **state)
{
    (void)state;
    wf_buf text;
    pki_key *p256;
    struct pki_token bad[12];
    size_t n = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = good_token();
    bad[n++].controller_count = 0;
    bad[n++].server_pin_count = 0;
    bad[n++].jti = (wf_id){{0}};
    bad[n++].method = 0;
    bad[n++].kind = PKI_ROUTER;
    bad[n++].id = (wf_id){{9}};
    (void)snprintf(bad[n++].name, WF_NAME_MAX, "%s", "a\",\"em\":\"ca");
    (void)snprintf(bad[n++].issuer, PKI_DOMAIN_MAX, "%s", "other.weft");
    (void)snprintf(bad[n++].controllers[0].host, WF_HOST_MAX, "%s", "a\"],\"x\":[\"b");
    (void)snprintf(bad[n++].subject, PKI_SPIFFE_MAX, "%s", "spiffe://test.weft/identity/");
    bad[n++].expiry = 0;
    bad[n++].expiry = UINT64_MAX;
    assert_int_equal(n, sizeof bad / sizeof *bad);
    wf_buf_init(&text, WF_TOKEN_MAX);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pki_token_make(key, &bad[i], &text), WEFT_EINVAL);
        assert_int_equal(text.len, 0);
    }
    struct pki_token token = good_token();
    assert_int_equal(pki_key_new(PKI_KEY_P256, &p256, NULL), WEFT_OK);
    assert_int_equal(pki_token_make(p256, &token, &text), WEFT_EINVAL);
    pki_key_free(p256);
    wf_buf_fini(&text);
}

static void a_token_ends_when_it_says(void **state)
{
    (void)state;
    wf_buf text;
    wf_buf_init(&text, 65536);
    forge(HEADER, GOOD, strlen(GOOD), &text);
    assert_int_equal(verify_at(&text, NOW + 59999), WEFT_OK);
    assert_int_equal(verify_at(&text, NOW + 60000), WEFT_EEXPIRED);
    assert_int_equal(verify_at(&text, UINT64_MAX), WEFT_EEXPIRED);
    wf_buf_fini(&text);
}

static void a_header_with_anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"typ\":\"JWT\"}",
        "{\"alg\":\"None\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"eddsa\",\"typ\":\"JWT\"}",
        "{\"alg\":\"EdDSA\"}",
        "{\"typ\":\"JWT\"}",
        "{\"typ\":\"JWT\",\"alg\":\"EdDSA\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"jwt\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"1\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"jku\":\"https://evil.example/keys\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"x5u\":\"https://evil.example/cert\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"x5c\":[\"AAAA\"]}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"jwk\":{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"zip\":\"DEF\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"b64\":false}",
        "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"typ\":\"JWT\"}",
        "{\"alg\":[\"EdDSA\"],\"typ\":\"JWT\"}",
        "{\"alg\": \"EdDSA\",\"typ\":\"JWT\"}",
        "{}",
        "[]",
        "",
    };
    wf_buf text;
    wf_buf_init(&text, 65536);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        forge(headers[i], GOOD, strlen(GOOD), &text);
        refused(&text);
    }
    wf_buf_fini(&text);
}

static void claims_of_another_shape_are_refused(void **state)
{
    (void)state;
#define HEAD "{" ISS "," SUB "," JTI_ "," EXP "," EM ","
    static const char *const claims[] = {
        "",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "1",
        "{" ISS,
        GOOD " x",
        GOOD GOOD,
        GOOD "\xff",
        "\xef\xbb\xbf" GOOD,
        /* one absent */
        "{" SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS "," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS "," SUB "," EXP "," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ "," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP "," REST "}",
        HEAD SPKI "," BUNDLE "," NAME "}",
        HEAD CTRL "," BUNDLE "," NAME "}",
        HEAD CTRL "," SPKI "," NAME "}",
        HEAD CTRL "," SPKI "," BUNDLE "}",
        /* one twice, one unknown, one in other letters */
        HEAD EXP "," REST "}",
        HEAD EM "," REST "}",
        HEAD "\"em\":\"ca\"," REST "}",
        HEAD "\"aud\":\"\"," REST "}",
        HEAD "\"aud\":\"x\"," REST "}",
        HEAD "\"nbf\":1," REST "}",
        HEAD "\"\":1," REST "}",
        HEAD "\"EXP\":1," REST "}",
        /* iss and sub */
        "{\"iss\":\"\"," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":\"Test.weft\"," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":\"other.weft\"," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":\"test.wef\"," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":\"test.weft\\u0000\"," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":[\"test.weft\"]," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{\"iss\":null," SUB "," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS ",\"sub\":\"\"," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS ",\"sub\":\"" ID "\"," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS ",\"sub\":\"spiffe://test.weft/admin/" ID "\"," JTI_ "," EXP "," EM "," REST "}",
        "{" ISS ",\"sub\":\"spiffe://test.weft/identity/" ID "\\n\"," JTI_ "," EXP "," EM "," REST
        "}",
        /* jti */
        "{" ISS "," SUB ",\"jti\":\"\"," EXP "," EM "," REST "}",
        "{" ISS "," SUB ",\"jti\":\"0\"," EXP "," EM "," REST "}",
        "{" ISS "," SUB ",\"jti\":7," EXP "," EM "," REST "}",
        "{" ISS "," SUB ",\"jti\":null," EXP "," EM "," REST "}",
        "{" ISS "," SUB ",\"jti\":\"00000000000000000000000000000000\"," EXP "," EM "," REST "}",
        "{" ISS "," SUB ",\"jti\":\"FEDCBA9876543210FEDCBA9876543210\"," EXP "," EM "," REST "}",
        /* exp */
        "{" ISS "," SUB "," JTI_ ",\"exp\":0," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":-1," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":1800000060.0," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":18e8," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":\"1800000060\"," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":true," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":253402300800," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":9223372036854775807," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":9223372036854775808," EM "," REST "}",
        "{" ISS "," SUB "," JTI_ ",\"exp\":99999999999999999999999999," EM "," REST "}",
        /* em: also a join token with a jti, and a one-time one without */
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":\"\"," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":\"OTT\"," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":\"ott \"," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":1," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":\"ca\"," REST "}",
        "{" ISS "," SUB "," JTI_ "," EXP ",\"em\":\"oidc\"," REST "}",
        "{" ISS "," SUB "," EXP ",\"em\":\"ottca\"," REST "}",
        /* ctrl */
        HEAD "\"ctrl\":[]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":\"127.0.0.1:9338\"," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[\"\"]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[\"127.0.0.1\"]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[\"127.0.0.1:99999\"]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[\"a b:1\"]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[7]," SPKI "," BUNDLE "," NAME "}",
        HEAD "\"ctrl\":[[\"a:1\"]]," SPKI "," BUNDLE "," NAME "}",
        HEAD
        "\"ctrl\":[\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\"]," SPKI
        "," BUNDLE "," NAME "}",
        /* spki and bundle */
        HEAD CTRL ",\"spki\":[]," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":\"" D32 "\"," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":[\"\"]," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":[\"AAAA\"]," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":[\"" D32 "A\"]," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":[\"" D32 "=\"]," BUNDLE "," NAME "}",
        HEAD CTRL ",\"spki\":[\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\"]," BUNDLE "," NAME
                  "}", /* stray bits at the end */
        HEAD CTRL ",\"spki\":[\"+AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]," BUNDLE "," NAME
                  "}",
        HEAD CTRL ",\"spki\":[\"" D32 "\",\"" D32 "\",\"" D32 "\",\"" D32 "\",\"" D32 "\"]," BUNDLE
                  "," NAME "}",
        HEAD CTRL "," SPKI ",\"bundle\":\"\"," NAME "}",
        HEAD CTRL "," SPKI ",\"bundle\":\"AAAA\"," NAME "}",
        HEAD CTRL "," SPKI ",\"bundle\":null," NAME "}",
        /* name */
        HEAD CTRL "," SPKI "," BUNDLE ",\"name\":\"\"}",
        HEAD CTRL "," SPKI "," BUNDLE ",\"name\":\"a b\"}",
        HEAD CTRL "," SPKI "," BUNDLE ",\"name\":\"../x\"}",
        HEAD CTRL "," SPKI "," BUNDLE ",\"name\":\"a\\u0000b\"}",
        HEAD CTRL "," SPKI "," BUNDLE ",\"name\":{}}",
    };
#undef HEAD
    wf_buf text;
    wf_buf_init(&text, 65536);
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        forge(HEADER, claims[i], strlen(claims[i]), &text);
        refused(&text);
    }
    forge(HEADER, GOOD, sizeof GOOD, &text); /* a NUL behind */
    refused(&text);
    wf_buf_fini(&text);
}

static void claims_nested_deep_or_too_long_are_refused(void **state)
{
    (void)state;
    wf_buf text;
    char deep[6000];
    wf_buf_init(&text, 65536);
    memset(deep, '[', sizeof deep);
    forge(HEADER, deep, sizeof deep, &text);
    refused(&text);
    memset(deep, ' ', sizeof deep);
    memcpy(deep, GOOD, strlen(GOOD));
    forge(HEADER, deep, sizeof deep, &text);
    assert_true(text.len <= WF_TOKEN_MAX);
    assert_int_equal(verify_at(&text, NOW), WEFT_OK);
    char longer[8000];
    memset(longer, ' ', sizeof longer);
    memcpy(longer, GOOD, strlen(GOOD));
    forge(HEADER, longer, sizeof longer, &text);
    assert_true(text.len > WF_TOKEN_MAX);
    alloc_fail_at(0);
    refused(&text);
    assert_int_equal(alloc_bytes(), 0); /* before anything is made of it */
    wf_buf_fini(&text);
}

static void a_token_not_of_three_canonical_parts_is_refused(void **state)
{
    (void)state;
    wf_buf text, bad;
    wf_buf_init(&text, 65536);
    wf_buf_init(&bad, 65536);
    forge(HEADER, GOOD, strlen(GOOD), &text);
    for (size_t len = 0; len < text.len; len++) {
        wf_buf_clear(&bad);
        assert_int_equal(wf_buf_put(&bad, text.data, len), WEFT_OK);
        refused(&bad);
    }
    static const char *const tails[] = {"\n", " ", "=", ".", ".AAAA", "A", "AAAA"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        wf_buf_clear(&bad);
        assert_int_equal(wf_buf_put(&bad, text.data, text.len), WEFT_OK);
        assert_int_equal(wf_buf_put_text(&bad, tails[i]), WEFT_OK);
        refused(&bad);
    }
    /* 64 bytes leave four bits of the last letter without a meaning: they must be zero. */
    wf_buf_clear(&bad);
    assert_int_equal(wf_buf_put(&bad, text.data, text.len), WEFT_OK);
    uint8_t last = bad.data[bad.len - 1];
    assert_true(last == 'A' || last == 'Q' || last == 'g' || last == 'w');
    bad.data[bad.len - 1]++;
    refused(&bad);

    /* No signature at all, and an empty one. */
    uint8_t *dot = memrchr(text.data, '.', text.len);
    assert_non_null(dot);
    wf_buf_clear(&bad);
    assert_int_equal(wf_buf_put(&bad, text.data, (size_t)(dot - text.data)), WEFT_OK);
    refused(&bad);
    assert_int_equal(wf_buf_put_text(&bad, "."), WEFT_OK);
    refused(&bad);
    wf_buf_fini(&bad);
    wf_buf_fini(&text);
}

static void a_token_altered_anywhere_is_refused(void **state)
{
    (void)state;
    wf_buf text;
    wf_buf_init(&text, 65536);
    forge(HEADER, GOOD, strlen(GOOD), &text);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t was = text.data[i];
        static const char others[] = "AZaz09-_.=+/ \n";
        for (size_t k = 0; k < sizeof others; k++) {
            if ((uint8_t)others[k] == was)
                continue;
            text.data[i] = (uint8_t)others[k];
            assert_int_equal(verify_at(&text, NOW), WEFT_ECREDENTIAL);
        }
        text.data[i] = was;
    }
    assert_int_equal(verify_at(&text, NOW), WEFT_OK);
    wf_buf_fini(&text);
}

static void a_token_of_a_strangers_key_is_refused(void **state)
{
    (void)state;
    wf_buf text;
    pki_key *p256;
    struct pki_token token = good_token(), out;
    wf_buf_init(&text, WF_TOKEN_MAX);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &p256, NULL), WEFT_OK);
    assert_int_equal(pki_token_make(stranger, &token, &text), WEFT_OK);
    assert_int_equal(verify_at(&text, NOW), WEFT_ECREDENTIAL);
    const wf_span none[] = {pki_key_spki(p256)};
    assert_int_equal(pki_token_verify((const char *)text.data, text.len, NULL, 0, NOW, &out, NULL),
                     WEFT_ECREDENTIAL);
    assert_int_equal(pki_token_verify((const char *)text.data, text.len, none, 1, NOW, &out, NULL),
                     WEFT_ECREDENTIAL);
    /* The enrollee has no key yet and may read it: it checks the server instead. */
    assert_int_equal(pki_token_read((const char *)text.data, text.len, &out, NULL), WEFT_OK);
    pki_key_free(p256);
    wf_buf_fini(&text);
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    wf_buf text;
    struct pki_token token = good_token(), out;
    const wf_span keys[] = {pki_key_spki(key)};
    for (unsigned n = 1;; n = memory_next(n)) {
        wf_buf_init(&text, WF_TOKEN_MAX);
        alloc_fail_at(n);
        weft_err err = pki_token_make(key, &token, &text);
        if (err == WEFT_OK)
            err = pki_token_verify((const char *)text.data, text.len, keys, 1, NOW, &out, NULL);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        wf_buf_fini(&text);
        assert_int_equal(err == WEFT_OK, !failed); /* jansson does not always say why */
        if (!failed)
            break;
    }
}

int main(void)
{
    memory_hook();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_what_was_put_into_it),
        cmocka_unit_test(the_forged_good_one_is_good),
        cmocka_unit_test(what_can_not_be_read_is_not_made),
        cmocka_unit_test(a_token_ends_when_it_says),
        cmocka_unit_test(a_header_with_anything_else_is_refused),
        cmocka_unit_test(claims_of_another_shape_are_refused),
        cmocka_unit_test(claims_nested_deep_or_too_long_are_refused),
        cmocka_unit_test(a_token_not_of_three_canonical_parts_is_refused),
        cmocka_unit_test(a_token_altered_anywhere_is_refused),
        cmocka_unit_test(a_token_of_a_strangers_key_is_refused),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
