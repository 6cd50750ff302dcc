/* The web's certificates: good for their names and for nothing in the fabric. */
#include "pki/web.h"
#include "proto/base/clock.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
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

/* ---- a client that changes its keys */

struct visit {
    pki_web *web;
    pki_web_tls *server;
    SSL_CTX *ctx;
    SSL *client;
    size_t answered; /* bytes that the server has sent since it was up */
};

static weft_err to_client(void *arg, const uint8_t *data, size_t len)
{
    struct visit *v = arg;
    v->answered += len;
    assert_int_equal(BIO_write(SSL_get_rbio(v->client), data, (int)len), (int)len);
    return WEFT_OK;
}

/* What the client has written goes to the server, at once or byte by byte. */
static weft_err to_server(struct visit *v, size_t each)
{
    static uint8_t cipher[1 << 20], plain[16384];
    int n = BIO_read(SSL_get_wbio(v->client), cipher, sizeof cipher);
    weft_err err = WEFT_OK;
    for (size_t at = 0; n > 0 && at < (size_t)n && err == WEFT_OK; at += each) {
        size_t left = (size_t)n - at, got;
        pki_web_tls_feed(v->server, cipher + at, left < each ? left : each);
        do
            err = pki_web_tls_read(v->server, plain, sizeof plain, &got, NULL);
        while (err == WEFT_OK && got > 0);
    }
    return err;
}

static void visit_begin(struct visit *v)
{
    *v = (struct visit){.answered = 0};
    make_ca(NULL, 0);
    assert_int_equal(issue(ours, 1), WEFT_OK);
    assert_int_equal(pki_web_new(span(&chain), span(&key), NULL, &v->web, NULL), WEFT_OK);
    assert_int_equal(pki_web_tls_new(v->web, to_client, v, &v->server), WEFT_OK);
    v->ctx = SSL_CTX_new(TLS_client_method());
    v->client = SSL_new(v->ctx);
    assert_non_null(v->client);
    SSL_set_bio(v->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(v->client);
    for (unsigned i = 0; i < 8 && !pki_web_tls_is_up(v->server); i++) {
        (void)SSL_do_handshake(v->client);
        assert_int_equal(to_server(v, SIZE_MAX), WEFT_OK);
    }
    assert_true(pki_web_tls_is_up(v->server));
    v->answered = 0;
}

static void visit_end(struct visit *v)
{
    pki_web_tls_free(v->server);
    pki_web_unref(v->web);
    SSL_free(v->client);
    SSL_CTX_free(v->ctx);
    ERR_clear_error();
}

static void change_keys(struct visit *v)
{
    assert_int_equal(SSL_key_update(v->client, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(v->client), 1);
}

static void a_client_that_changes_its_keys_without_end_is_cut(void **state)
{
    const size_t each[] = {SIZE_MAX, 1};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct visit v;
        weft_err err = WEFT_OK;
        unsigned count = 0;
        visit_begin(&v);
        for (; err == WEFT_OK && count < 1000; count++) {
            change_keys(&v);
            err = to_server(&v, each[i]);
        }
        assert_int_equal(err, WEFT_EPROTO);
        assert_true(count > 16 && count < 64);
        assert_true(v.answered < 8192);
        visit_end(&v);
        end(state);
        begin(state);
    }
    /* All of them in one piece: one read's worth is taken at most. */
    struct visit v;
    visit_begin(&v);
    for (unsigned i = 0; i < 4000; i++)
        change_keys(&v);
    assert_int_equal(to_server(&v, SIZE_MAX), WEFT_EPROTO);
    assert_true(v.answered < 65536);
    visit_end(&v);
}

static void a_client_that_changes_its_keys_now_and_then_goes_on(void **state)
{
    struct visit v;
    (void)state;
    visit_begin(&v);
    for (unsigned i = 0; i < 200; i++) {
        change_keys(&v);
        for (unsigned k = 0; k < 1100; k++)
            assert_int_equal(SSL_write(v.client, "x", 1), 1);
        assert_int_equal(to_server(&v, SIZE_MAX), WEFT_OK);
    }
    visit_end(&v);
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
        cmocka_unit_test_setup_teardown(a_client_that_changes_its_keys_without_end_is_cut, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_client_that_changes_its_keys_now_and_then_goes_on, begin,
                                        end),
        cmocka_unit_test_setup_teardown(without_memory_no_web_certificate_is_half_made, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
