/* Certificates of other authorities: which vouch, and each way in which one doesn't. */
#include "pki/foreign.h"
#include "tests/helpers/test.h"
#include "tests/pki/forge.h"
#include <stdio.h>
#include <string.h>

#define NOW 1800000000000ull
#define DAY_MS 86400000ull

static pki_key *ca_key, *leaf_key, *mid_key;
static X509 *ca;
static wf_why why;

struct der {
    uint8_t bytes[8192];
    wf_span span;
};

static void to_der(X509 *x, struct der *out)
{
    unsigned char *at = out->bytes;
    int len = i2d_X509(x, NULL);

    assert_in_range(len, 1, sizeof out->bytes);
    assert_int_equal(i2d_X509(x, &at), len);
    out->span = wf_span_of(out->bytes, (size_t)len);
}

static struct forge authority(void)
{
    return forge_authority(ca_key, NULL, pki_key_evp(ca_key), "corp", NULL, NOW);
}

static struct forge workload(void)
{
    struct forge f = forge_leaf(ca_key, ca, pki_key_evp(leaf_key), NULL, NOW);

    f.cn = "worker";
    f.extended = "clientAuth";
    return f;
}

static int make(void **state)
{
    (void)state;
    assert_int_equal(pki_key_new(PKI_KEY_P256, &ca_key, NULL), WEFT_OK);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &mid_key, NULL), WEFT_OK);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &leaf_key, NULL), WEFT_OK);
    struct forge f = authority();
    ca = forge_make(&f);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    X509_free(ca);
    pki_key_free(ca_key);
    pki_key_free(mid_key);
    pki_key_free(leaf_key);
    return 0;
}

static weft_err check_at(const struct forge *f, const struct forge *mid, uint64_t now,
                         struct pki_foreign_leaf *out)
{
    static struct der root, certs[2];
    wf_span chain[2];
    X509 *between = mid != NULL ? forge_make(mid) : NULL, *x;
    struct forge leaf = *f;
    weft_err err;

    if (between != NULL)
        leaf.issuer = between;
    x = forge_make(&leaf);
    to_der(ca, &root);
    to_der(x, &certs[0]);
    chain[0] = certs[0].span;
    if (between != NULL) {
        to_der(between, &certs[1]);
        chain[1] = certs[1].span;
    }
    why.text[0] = '\0';
    err = pki_foreign_check(root.span, chain, between != NULL ? 2 : 1, now, out, &why);
    X509_free(x);
    X509_free(between);
    return err;
}

static void refused(const struct forge *f, const struct forge *mid, weft_err err, const char *words)
{
    struct pki_foreign_leaf leaf;
    weft_err got = check_at(f, mid, NOW, &leaf);

    if (got != err || strstr(why.text, words) == NULL)
        fail_msg("%s: %s, wanted %s '%s'", weft_err_name((int)got), why.text,
                 weft_err_name((int)err), words);
}

static void a_certificate_of_the_authority_vouches_until_the_first_end(void **state)
{
    struct forge f = workload(),
                 mid = forge_authority(ca_key, ca, pki_key_evp(mid_key), "mid", NULL, NOW);
    struct pki_foreign_leaf leaf;
    pki_pin pin;

    (void)state;
    f.uri = "spiffe://corp/w";
    f.dns = "w.corp";
    assert_int_equal(check_at(&f, NULL, NOW, &leaf), WEFT_OK);
    assert_string_equal(leaf.cn, "worker");
    assert_string_equal(leaf.san_uri, "spiffe://corp/w");
    assert_string_equal(leaf.san_dns, "w.corp");
    pki_key_pin(leaf_key, &pin);
    assert_true(pki_pin_equal(&pin, &leaf.pin));
    assert_int_equal(leaf.not_after, NOW + DAY_MS);
    f.issuer_key = mid_key;
    mid.not_after = NOW + DAY_MS / 2;
    assert_int_equal(check_at(&f, &mid, NOW, &leaf), WEFT_OK);
    assert_int_equal(leaf.not_after, NOW + DAY_MS / 2);
}

static void what_does_not_vouch_is_refused(void **state)
{
    struct forge f = workload(), mid;
    pki_key *other;

    (void)state;
    assert_int_equal(pki_key_new(PKI_KEY_P256, &other, NULL), WEFT_OK);
    f.issuer_key = other; /* another authority of the same name */
    refused(&f, NULL, WEFT_ECREDENTIAL, "foreign certificate is refused");
    pki_key_free(other);
    f = workload();
    f.not_after = NOW - 1000;
    refused(&f, NULL, WEFT_EEXPIRED, "expired");
    f = workload();
    f.not_before = NOW + DAY_MS / 2;
    refused(&f, NULL, WEFT_ECREDENTIAL, "not yet valid");
    f = workload();
    f.extended = "serverAuth";
    refused(&f, NULL, WEFT_ECREDENTIAL, "purpose");
    f = workload();
    f.usage = "critical,keyEncipherment";
    refused(&f, NULL, WEFT_ECREDENTIAL, "purpose");
    f = workload();
    f.constraints = "critical,CA:TRUE";
    f.usage = "critical,keyCertSign,digitalSignature";
    refused(&f, NULL, WEFT_ECREDENTIAL, "an authority's, not a workload's");
    f = workload();
    f.unknown_critical = true;
    refused(&f, NULL, WEFT_ECREDENTIAL, "foreign certificate is refused");
    f = workload();
    f.digest = EVP_sha1();
    refused(&f, NULL, WEFT_ECREDENTIAL, "foreign certificate is refused");
    f = workload();
    f.issuer_key = mid_key; /* a leaf as issuer */
    mid = forge_leaf(ca_key, ca, pki_key_evp(mid_key), NULL, NOW);
    refused(&f, &mid, WEFT_ECREDENTIAL, "foreign certificate is refused");
    mid = forge_authority(ca_key, ca, pki_key_evp(mid_key), "mid", NULL, NOW);
    mid.usage = "critical,digitalSignature"; /* may not sign certificates */
    refused(&f, &mid, WEFT_ECREDENTIAL, "foreign certificate is refused");
}

static void names_are_one_of_a_kind_and_plain_ascii(void **state)
{
    struct forge f = workload();

    (void)state;
    f.cn2 = "admin";
    refused(&f, NULL, WEFT_ECREDENTIAL, "two common names");
    f = workload();
    f.cn = "w\xc3\xb6rker";
    refused(&f, NULL, WEFT_ECREDENTIAL, "printable ASCII");
    f = workload();
    f.uri = "spiffe://corp/a\0/admin";
    f.uri_len = 23;
    refused(&f, NULL, WEFT_ECREDENTIAL, "printable ASCII");
    f = workload();
    f.uri = "spiffe://corp/a";
    f.uri2 = "spiffe://corp/b";
    refused(&f, NULL, WEFT_ECREDENTIAL, "two SAN URIs");
    f.two_extensions = true;
    refused(&f, NULL, WEFT_ECREDENTIAL, "");
}

static void chains_are_bounded(void **state)
{
    static struct der root, leaf;
    struct forge f = workload();
    struct pki_foreign_leaf out;
    char comment[5000];
    X509 *x = forge_make(&f);
    wf_span chain[WF_CHAIN_DEPTH + 1];

    (void)state;
    to_der(ca, &root);
    to_der(x, &leaf);
    X509_free(x);
    for (size_t i = 0; i <= WF_CHAIN_DEPTH; i++)
        chain[i] = leaf.span;
    assert_int_equal(pki_foreign_check(root.span, chain, WF_CHAIN_DEPTH + 1, NOW, &out, &why),
                     WEFT_ELIMIT);
    assert_int_equal(pki_foreign_check(root.span, chain, 0, NOW, &out, &why), WEFT_ECREDENTIAL);
    memset(comment, 'x', sizeof comment - 1);
    comment[sizeof comment - 1] = '\0';
    f.comment = comment;
    refused(&f, NULL, WEFT_ELIMIT, "1 to 4096 bytes");
}

static void an_authority_says_that_it_is_one(void **state)
{
    static const struct {
        const char *constraints, *usage;
        const char *words;
    } rows[] = {
        {"critical,CA:FALSE", "critical,keyCertSign", "CA:TRUE"},
        {NULL, "critical,keyCertSign", "CA:TRUE"},
        {"critical,CA:TRUE", "critical,digitalSignature", "keyCertSign"},
        {"critical,CA:TRUE", NULL, "keyCertSign"},
    };
    struct pki_foreign_ca info;
    static struct der der;

    (void)state;
    to_der(ca, &der);
    assert_int_equal(pki_foreign_ca_read(der.span, NOW, &info, &why), WEFT_OK);
    assert_string_equal(info.subject, "/CN=corp");
    assert_int_equal(pki_foreign_ca_read(der.span, NOW + DAY_MS, &info, &why), WEFT_EEXPIRED);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct forge f = authority();
        X509 *x;

        f.constraints = rows[i].constraints;
        f.usage = rows[i].usage;
        x = forge_make(&f);
        to_der(x, &der);
        X509_free(x);
        assert_int_equal(pki_foreign_ca_read(der.span, NOW, &info, &why), WEFT_ECREDENTIAL);
        assert_non_null(strstr(why.text, rows[i].words));
    }
}

static void a_proof_is_for_its_token_request_and_channel(void **state)
{
    const wf_span token = wf_span_of("token", 5), csr = wf_span_of("csr", 3);
    uint8_t channel[32] = {7}, other[32] = {8}, body[PKI_FOREIGN_BODY];
    pki_foreign_key *key = NULL;
    struct forge f = workload();
    static struct der leaf;
    wf_buf pem, proof;
    X509 *x = forge_make(&f);

    (void)state;
    to_der(x, &leaf);
    X509_free(x);
    wf_buf_init(&pem, 4096);
    wf_buf_init(&proof, 1024);
    assert_int_equal(pki_key_put_pem(leaf_key, NULL, &pem), WEFT_OK);
    assert_int_equal(pki_foreign_key_from_pem(wf_span_of(pem.data, pem.len), &key, &why), WEFT_OK);
    pki_foreign_body(token, csr, channel, body);
    assert_int_equal(pki_foreign_sign(key, wf_span_of(body, sizeof body), &proof), WEFT_OK);
    const wf_span signature = wf_span_of(proof.data, proof.len);
    assert_int_equal(pki_foreign_verify(leaf.span, wf_span_of(body, sizeof body), signature, &why),
                     WEFT_OK);
    pki_foreign_body(token, csr, other, body);
    assert_int_equal(pki_foreign_verify(leaf.span, wf_span_of(body, sizeof body), signature, &why),
                     WEFT_ECREDENTIAL);
    pki_foreign_body(csr, token, channel, body);
    assert_int_equal(pki_foreign_verify(leaf.span, wf_span_of(body, sizeof body), signature, &why),
                     WEFT_ECREDENTIAL);
    pki_foreign_key_free(key);
    wf_buf_fini(&proof);
    wf_buf_wipe(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_of_the_authority_vouches_until_the_first_end),
        cmocka_unit_test(what_does_not_vouch_is_refused),
        cmocka_unit_test(names_are_one_of_a_kind_and_plain_ascii),
        cmocka_unit_test(chains_are_bounded),
        cmocka_unit_test(an_authority_says_that_it_is_one),
        cmocka_unit_test(a_proof_is_for_its_token_request_and_channel),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
