/* The web's certificates: good for their names and for nothing in the fabric. */
#include "pki/web.h"
#include "proto/base/clock.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static const char *const ours[] = {"api.test", "127.0.0.1", "::1"};
static wf_buf ca_key, ca, key, chain;

static int begin(void **state)
{
    (void)state;
    wf_buf_init(&ca_key, 65536);
    wf_buf_init(&ca, 65536);
    wf_buf_init(&key, 65536);
    wf_buf_init(&chain, 65536);
    return 0;
}

static int end(void **state)
{
    (void)state;
    wf_buf_wipe(&ca_key);
    wf_buf_fini(&ca);
    wf_buf_wipe(&key);
    wf_buf_fini(&chain);
    return 0;
}

static wf_span span(const wf_buf *b)
{
    return wf_span_of(b->data, b->len);
}

static void make_ca(const char *const *names, size_t count)
{
    assert_int_equal(pki_web_ca_new(names, count, wf_now_wall_ms(), 86400000, &ca_key, &ca, NULL),
                     WEFT_OK);
}

static weft_err issue(const char *const *names, size_t count)
{
    wf_buf_clear(&key);
    wf_buf_clear(&chain);
    return pki_web_issue(span(&ca_key), span(&ca), names, count, wf_now_wall_ms(), 3600000, &key,
                         &chain, NULL);
}

static X509 *first_of(const wf_buf *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(x);
    return x;
}

/* What a browser would say of the leaf under that authority: an X509_V_ code. */
static int verdict(const char *name, int purpose)
{
    X509 *leaf = first_of(&chain), *root = first_of(&ca);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_VERIFY_PARAM_set_purpose(param, purpose), 1);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) != 1)
        assert_int_equal(X509_VERIFY_PARAM_set1_host(param, name, 0), 1);
    (void)X509_verify_cert(ctx);
    int code = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    X509_free(leaf);
    return code;
}

static void a_web_certificate_is_good_for_its_names_alone(void **state)
{
    (void)state;
    make_ca(NULL, 0);
    assert_int_equal(issue(ours, 3), WEFT_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(verdict(ours[i], X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_equal(verdict("other.test", X509_PURPOSE_SSL_SERVER), X509_V_ERR_HOSTNAME_MISMATCH);
    assert_int_equal(verdict("127.0.0.2", X509_PURPOSE_SSL_SERVER), X509_V_ERR_IP_ADDRESS_MISMATCH);
    assert_int_not_equal(verdict("api.test", X509_PURPOSE_SSL_CLIENT), X509_V_OK);
}

static void a_web_authority_made_for_names_can_sign_for_no_others(void **state)
{
    static const char *const wide[] = {"api.test", "evil.test"};
    static const char *const addresses[] = {"127.0.0.1", "10.0.0.1"};
    (void)state;
    make_ca(ours, 3);
    assert_int_equal(issue(ours, 3), WEFT_OK);
    assert_int_equal(verdict("api.test", X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_equal(verdict("::1", X509_PURPOSE_SSL_SERVER), X509_V_OK);
    assert_int_equal(issue(wide, 2), WEFT_OK); /* it signs, and nobody believes it */
    assert_int_equal(verdict("evil.test", X509_PURPOSE_SSL_SERVER), X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(issue(addresses, 2), WEFT_OK);
    assert_int_equal(verdict("10.0.0.1", X509_PURPOSE_SSL_SERVER), X509_V_ERR_PERMITTED_VIOLATION);
}

static void the_web_authority_and_the_fabrics_are_strangers(void **state)
{
    struct authority a;
    struct pki_subject subject;
    pki_ca *none;
    pki_chain *shown;
    (void)state;
    make_ca(NULL, 0);
    assert_int_equal(issue(ours, 1), WEFT_OK);
    assert_int_equal(pki_ca_from_pem(span(&ca_key), NULL, span(&ca), &none, NULL),
                     WEFT_ECREDENTIAL);
    authority_init(&a, "test.weft", wf_now_wall_ms());
    pki_trust *trust = authority_trust(&a);
    assert_int_equal(pki_chain_from_pem(span(&chain), &shown, NULL), WEFT_OK);
    assert_int_equal(pki_trust_check_chain(trust, shown, PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER,
                                           PKI_SERVER, false, wf_now_wall_ms(), &subject, NULL),
                     WEFT_ECREDENTIAL);
    pki_chain_free(shown);
    wf_buf_clear(&ca_key);
    wf_buf_clear(&ca);
    assert_int_equal(pki_key_put_pem(pki_ca_key(a.identities), NULL, &ca_key), WEFT_OK);
    assert_int_equal(pki_chain_put_pem(pki_ca_chain(a.identities), &ca), WEFT_OK);
    assert_int_equal(issue(ours, 1), WEFT_ECREDENTIAL);
    pki_trust_unref(trust);
    authority_fini(&a);
}

static void a_name_that_no_server_has_is_refused(void **state)
{
    static const char *const bad[] = {"",        "a b",      "-a.test",      "a-.test",
                                      "a..test", "*.test",   "a.test.",      "a/b",
                                      "a:1",     "1.2.3.4.", "\xc3\xa4.test"};
    (void)state;
    make_ca(NULL, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(issue(&bad[i], 1), WEFT_EINVAL);
    assert_int_equal(issue(NULL, 0), WEFT_EINVAL);
}

static void a_replacement_that_fails_changes_nothing(void **state)
{
    pki_web *web;
    wf_buf other;
    (void)state;
    make_ca(NULL, 0);
    assert_int_equal(issue(ours, 1), WEFT_OK);
    wf_buf_init(&other, 65536);
    assert_int_equal(wf_buf_put(&other, key.data, key.len), WEFT_OK);
    assert_int_equal(pki_web_new(span(&chain), span(&key), NULL, &web, NULL), WEFT_OK);
    uint64_t until = pki_web_not_after(web);
    assert_int_equal(issue(ours, 1), WEFT_OK);
    assert_int_equal(pki_web_replace(web, span(&chain), span(&other), NULL), WEFT_ECREDENTIAL);
    assert_int_equal(pki_web_replace(web, span(&key), span(&key), NULL), WEFT_ECREDENTIAL);
    assert_int_equal(pki_web_replace(web, span(&chain), span(&chain), NULL), WEFT_ECREDENTIAL);
    assert_int_equal(pki_web_not_after(web), until);
    assert_int_equal(pki_web_replace(web, span(&chain), span(&key), NULL), WEFT_OK);
    wf_buf_wipe(&other);
    pki_web_unref(web);
}

static void without_memory_no_web_certificate_is_half_made(void **state)
{
    (void)state;
    make_ca(NULL, 0);
    for (unsigned n = 1;; n++) {
        pki_web *web = NULL;
        alloc_fail_at(n);
        weft_err err = issue(ours, 3);
        if (err == WEFT_OK)
            err = pki_web_new(span(&chain), span(&key), NULL, &web, NULL);
        else
            assert_true(key.len == 0 && chain.len == 0);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        pki_web_unref(web);
        if (!failed) {
            assert_int_equal(err, WEFT_OK);
            break;
        }
        assert_int_equal(err, WEFT_ENOMEM);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_web_certificate_is_good_for_its_names_alone, begin, end),
        cmocka_unit_test_setup_teardown(a_web_authority_made_for_names_can_sign_for_no_others,
                                        begin, end),
        cmocka_unit_test_setup_teardown(the_web_authority_and_the_fabrics_are_strangers, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_name_that_no_server_has_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_replacement_that_fails_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(without_memory_no_web_certificate_is_half_made, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
