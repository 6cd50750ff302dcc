/* What a leaf may say of itself: certificates that no authority of ours would write. */
#include "pki/internal.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <string.h>

#define ID "0123456789abcdef0123456789abcdef"
#define OWN "URI:spiffe://test.weft/identity/" ID
#define ARC PKI_ARC_TEXT
#define USES "clientAuth,serverAuth,"

static pki_key *key;

static int start(void **state)
{
    (void)state;
    return pki_key_new(PKI_KEY_P256, &key, NULL) == WEFT_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    pki_key_free(key);
    return 0;
}

struct wish {
    const char *san, *uses, *constraints; /* NULL: absent; as OpenSSL's configuration writes it */
    const char *cn;
    size_t cn_len;       /* 0: strlen */
    const char *more_cn; /* a second common name */
    int cn_type;         /* 0: UTF-8 */
    const char *san_twice;
};

static const struct wish good = {
    .san = OWN, .uses = USES ARC ".1", .constraints = "critical,CA:FALSE", .cn = "ci"};

static void add(X509 *x, int nid, const char *value)
{
    if (value == NULL)
        return;
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *forge(const struct wish *wish)
{
    X509 *x = X509_new();
    X509_NAME *issuer = X509_NAME_new();
    assert_non_null(x);
    assert_non_null(issuer);
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 7), 1);
    X509_NAME *subject = X509_get_subject_name(x);
    int type = wish->cn_type == 0 ? V_ASN1_UTF8STRING : wish->cn_type;
    if (wish->cn != NULL)
        assert_int_equal(X509_NAME_add_entry_by_NID(
                             subject, NID_commonName, type, (const unsigned char *)wish->cn,
                             wish->cn_len == 0 ? -1 : (int)wish->cn_len, -1, 0),
                         1);
    if (wish->more_cn != NULL)
        assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
                                                    (const unsigned char *)wish->more_cn, -1, -1,
                                                    0),
                         1);
    assert_int_equal(X509_NAME_add_entry_by_NID(issuer, NID_commonName, V_ASN1_UTF8STRING,
                                                (const unsigned char *)"issuer", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(x, issuer), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(x), 1800000000));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(x), 1800001000));
    assert_int_equal(X509_set_pubkey(x, pki_key_evp(key)), 1);
    add(x, NID_basic_constraints, wish->constraints);
    add(x, NID_ext_key_usage, wish->uses);
    add(x, NID_subject_alt_name, wish->san);
    add(x, NID_subject_alt_name, wish->san_twice);
    assert_true(X509_sign(x, pki_key_evp(key), EVP_sha256()) > 0);
    X509_NAME_free(issuer);

    /* As it would come from the wire. */
    unsigned char *der = NULL;
    X509 *again = NULL;
    int len = i2d_X509(x, &der);
    assert_true(len > 0);
    assert_int_equal(pki_x509_from_der(wf_span_of(der, (size_t)len), &again, NULL), WEFT_OK);
    OPENSSL_free(der);
    X509_free(x);
    return again;
}

static weft_err judge(const struct wish *wish)
{
    struct pki_subject who = {.kind = PKI_ROUTER};
    wf_why why = {.text = ""};
    X509 *x = forge(wish);
    weft_err err = pki_x509_subject(x, &who, &why);
    X509_free(x);
    if (err != WEFT_OK) {
        assert_int_equal(who.kind, PKI_ROUTER); /* untouched */
        assert_true(why.text[0] != '\0');
    }
    return err;
}

static void the_form_that_we_issue_is_read(void **state)
{
    (void)state;
    assert_int_equal(judge(&good), WEFT_OK);
    struct wish router = good;
    router.san = "URI:spiffe://test.weft/router/" ID;
    router.uses = USES ARC ".2";
    assert_int_equal(judge(&router), WEFT_OK);
}

static void anything_but_one_uri_of_ours_is_refused(void **state)
{
    (void)state;
    static const char *const sans[] = {
        NULL,
        OWN "," OWN,
        OWN ",DNS:test.weft",
        "DNS:test.weft," OWN,
        OWN ",URI:spiffe://test.weft/controller/" ID,
        "DNS:spiffe://test.weft/identity/" ID,
        "email:ci@test.weft",
        "IP:127.0.0.1",
        "URI:https://test.weft/identity/" ID,
        "URI:spiffe://test.weft/identity/" ID "/",
        "URI:spiffe://test.weft",
    };
    for (size_t i = 0; i < sizeof sans / sizeof *sans; i++) {
        struct wish wish = good;
        wish.san = sans[i];
        assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
    }
}

static void two_lists_of_names_are_refused(void **state)
{
    (void)state;
    struct wish wish = good;
    wish.san_twice = "URI:spiffe://test.weft/identity/11111111111111111111111111111111";
    assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
}

static void a_uri_with_a_nul_in_it_is_refused(void **state)
{
    (void)state;
    /* GENERAL_NAMES with the one URI, a NUL and more behind a name that would pass. */
    static const char uri[] = "spiffe://test.weft/identity/" ID "\0.evil.weft";
    uint8_t der[128] = {0x30, (uint8_t)(sizeof uri - 1 + 2), 0x86, (uint8_t)(sizeof uri - 1)};
    char value[300] = "DER:";
    memcpy(der + 4, uri, sizeof uri - 1);
    (void)wf_hex(der, sizeof uri - 1 + 4, value + 4);
    struct wish wish = good;
    wish.san = value;
    assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
    /* The same way without the tail passes, so it is the tail that is refused. */
    der[1] = (uint8_t)(strlen(uri) + 2);
    der[3] = (uint8_t)strlen(uri);
    (void)wf_hex(der, strlen(uri) + 4, value + 4);
    assert_int_equal(judge(&wish), WEFT_OK);
}

static void the_kind_must_be_one_and_that_of_the_name(void **state)
{
    (void)state;
    static const char *const uses[] = {
        NULL,
        "clientAuth,serverAuth",
        USES ARC ".2",
        USES ARC ".3",
        USES ARC ".1," ARC ".2",
        USES ARC ".1," ARC ".1",
        USES ARC ".0",
        USES ARC ".4",
        USES ARC,
        USES ARC ".1.1",
        USES "2.25.209977654935969180292048665748541247101.1",
        USES "1.3.6.1.4.1.1",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        struct wish wish = good;
        wish.uses = uses[i];
        assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
    }
}

static void an_authority_is_no_node(void **state)
{
    (void)state;
    struct wish wish = good;
    wish.constraints = "critical,CA:TRUE";
    assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
    wish.constraints = NULL; /* it must say that it is none */
    assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
}

static void the_display_name_must_be_one_name(void **state)
{
    (void)state;
    static const struct {
        const char *cn;
        size_t len;
        int type;
    } names[] = {
        {NULL, 0, 0},
        {"a b", 0, 0},
        {"a/b", 0, 0},
        {"a\nb", 0, 0},
        {"a\0b", 3, 0},
        {"ci\0", 3, 0},
        {"\xc3\xa9", 0, 0},
        {"\0c\0i", 4, V_ASN1_BMPSTRING},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 64, 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct wish wish = good;
        wish.cn = names[i].cn;
        wish.cn_len = names[i].len;
        wish.cn_type = names[i].type;
        assert_int_equal(judge(&wish), names[i].len == 64 ? WEFT_OK : WEFT_ECREDENTIAL);
    }
    struct wish wish = good;
    wish.more_cn = "admin";
    assert_int_equal(judge(&wish), WEFT_ECREDENTIAL);
}

static void a_certificate_that_is_no_authoritys_makes_none(void **state)
{
    (void)state;
    static const char *const constraints[] = {"critical,CA:TRUE", "critical,CA:FALSE", NULL};
    for (size_t i = 0; i < 3; i++) {
        wf_buf key_pem, cert_pem;
        unsigned char *der = NULL;
        pki_ca *ca = NULL;
        struct wish wish = good;
        wish.san = "URI:spiffe://test.weft";
        wish.constraints = constraints[i];
        X509 *x = forge(&wish);
        int len = i2d_X509(x, &der);
        assert_true(len > 0);
        wf_buf_init(&key_pem, 4096);
        wf_buf_init(&cert_pem, 8192);
        assert_int_equal(pki_key_put_pem(key, NULL, &key_pem), WEFT_OK);
        assert_int_equal(pki_pem_put("CERTIFICATE", wf_span_of(der, (size_t)len), &cert_pem),
                         WEFT_OK);
        weft_err err = pki_ca_from_pem(wf_span_of(key_pem.data, key_pem.len), NULL,
                                       wf_span_of(cert_pem.data, cert_pem.len), &ca, NULL);
        assert_int_equal(err, i == 0 ? WEFT_OK : WEFT_ECREDENTIAL);
        pki_ca_free(ca);
        wf_buf_fini(&cert_pem);
        wf_buf_wipe(&key_pem);
        OPENSSL_free(der);
        X509_free(x);
    }
}

static void a_certificate_over_the_limit_is_not_parsed(void **state)
{
    (void)state;
    /* Whole but for its size: a name list of 4 KiB. */
    char san[5200] = OWN;
    for (size_t used = strlen(san); used < 5000; used = strlen(san))
        (void)snprintf(san + used, sizeof san - used, ",DNS:a-long-name-of-a-host.test.weft");
    X509 *small = forge(&good), *again = NULL;
    add(small, NID_subject_alt_name, san);
    assert_true(X509_sign(small, pki_key_evp(key), EVP_sha256()) > 0);
    unsigned char *der = NULL;
    int len = i2d_X509(small, &der);
    assert_true(len > (int)WF_CERT_MAX);
    assert_int_equal(pki_x509_from_der(wf_span_of(der, (size_t)len), &again, NULL), WEFT_ELIMIT);
    assert_null(again);
    OPENSSL_free(der);
    X509_free(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_that_we_issue_is_read),
        cmocka_unit_test(anything_but_one_uri_of_ours_is_refused),
        cmocka_unit_test(two_lists_of_names_are_refused),
        cmocka_unit_test(a_uri_with_a_nul_in_it_is_refused),
        cmocka_unit_test(the_kind_must_be_one_and_that_of_the_name),
        cmocka_unit_test(an_authority_is_no_node),
        cmocka_unit_test(the_display_name_must_be_one_name),
        cmocka_unit_test(a_certificate_that_is_no_authoritys_makes_none),
        cmocka_unit_test(a_certificate_over_the_limit_is_not_parsed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
