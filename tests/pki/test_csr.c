/* Requests: only the key is taken, and only from one who holds it. */
#include "pki/internal.h"
#include "pki/record.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include "tests/pki/memory.h"
#include <string.h>

static const enum pki_key_kind kinds[] = {PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_ED25519};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

static pki_key *new_key(enum pki_key_kind kind)
{
    pki_key *key = NULL;
    assert_int_equal(pki_key_new(kind, &key, NULL), WEFT_OK);
    return key;
}

static wf_span span(const wf_buf *buf)
{
    return wf_span_of(buf->data, buf->len);
}

static void refused(wf_span der)
{
    wf_buf spki;
    wf_why why = {.text = ""};
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_csr_open(der, &spki, &why), WEFT_ECREDENTIAL);
    assert_int_equal(spki.len, 0);
    assert_true(why.text[0] != '\0');
    wf_buf_fini(&spki);
}

static void a_request_yields_the_key_that_made_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf der, spki;
        pki_key *key = new_key(kinds[i]);
        wf_buf_init(&der, WF_CSR_MAX);
        wf_buf_init(&spki, 256);
        assert_int_equal(pki_csr_make(key, &der, NULL), WEFT_OK);
        assert_int_equal(pki_csr_open(span(&der), &spki, NULL), WEFT_OK);
        assert_true(wf_span_equal(span(&spki), pki_key_spki(key)));
        wf_buf_fini(&spki);
        wf_buf_fini(&der);
        pki_key_free(key);
    }
}

static void a_request_cut_flipped_or_extended_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf der;
        pki_key *key = new_key(kinds[i]);
        wf_buf_init(&der, WF_CSR_MAX);
        assert_int_equal(pki_csr_make(key, &der, NULL), WEFT_OK);
        for (size_t len = 0; len < der.len; len++)
            refused(wf_span_of(der.data, len));
        for (size_t k = 0; k < der.len; k++) {
            static const uint8_t flips[] = {0x01, 0x40, 0xff};
            for (size_t f = 0; f < sizeof flips; f++) {
                der.data[k] ^= flips[f];
                refused(span(&der));
                der.data[k] ^= flips[f];
            }
        }
        assert_int_equal(wf_buf_put_u8(&der, 0), WEFT_OK);
        refused(span(&der));
        wf_buf_fini(&der);
        pki_key_free(key);
    }
}

/* A request for any key, signed by any key, with a name asked for. */
static void forge(EVP_PKEY *subject, EVP_PKEY *signer, const EVP_MD *md, const char *cn,
                  wf_buf *out)
{
    unsigned char *der = NULL;
    X509_REQ *request = X509_REQ_new();
    assert_non_null(request);
    X509_NAME *name = X509_REQ_get_subject_name(request);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0),
        1);
    assert_int_equal(X509_REQ_set_pubkey(request, subject), 1);
    assert_true(X509_REQ_sign(request, signer, md) > 0);
    int len = i2d_X509_REQ(request, &der);
    assert_true(len > 0);
    assert_int_equal(wf_buf_put(out, der, (size_t)len), WEFT_OK);
    OPENSSL_free(der);
    X509_REQ_free(request);
}

static void a_name_in_a_request_is_nothing_to_us(void **state)
{
    (void)state;
    wf_buf der, spki;
    pki_key *key = new_key(PKI_KEY_P256);
    wf_buf_init(&der, WF_CSR_MAX);
    wf_buf_init(&spki, 256);
    forge(pki_key_evp(key), pki_key_evp(key), EVP_sha256(), "admin", &der);
    assert_int_equal(pki_csr_open(span(&der), &spki, NULL), WEFT_OK);
    assert_true(wf_span_equal(span(&spki), pki_key_spki(key)));
    assert_null(memmem(spki.data, spki.len, "admin", 5));
    wf_buf_fini(&spki);
    wf_buf_fini(&der);
    pki_key_free(key);
}

static void a_request_for_anothers_key_is_refused(void **state)
{
    (void)state;
    wf_buf der;
    pki_key *mine = new_key(PKI_KEY_P256), *theirs = new_key(PKI_KEY_P256);
    wf_buf_init(&der, WF_CSR_MAX);
    forge(pki_key_evp(theirs), pki_key_evp(mine), EVP_sha256(), "x", &der);
    refused(span(&der));
    wf_buf_fini(&der);
    pki_key_free(theirs);
    pki_key_free(mine);
}

static void a_request_for_another_sort_of_key_is_refused(void **state)
{
    (void)state;
    EVP_PKEY *others[] = {EVP_RSA_gen(2048), EVP_EC_gen("P-521"), EVP_EC_gen("secp256k1")};
    for (size_t i = 0; i < 3; i++) {
        wf_buf der;
        wf_buf_init(&der, WF_CSR_MAX);
        assert_non_null(others[i]);
        forge(others[i], others[i], EVP_sha256(), "x", &der);
        refused(span(&der));
        wf_buf_fini(&der);
        EVP_PKEY_free(others[i]);
    }
}

static void a_request_over_the_limit_is_refused_unread(void **state)
{
    (void)state;
    static const uint8_t zeros[WF_CSR_MAX + 1];
    memory_reach_openssl(true);
    alloc_fail_at(0);
    refused(wf_span_of(zeros, WF_CSR_MAX + 1));
    assert_int_equal(alloc_bytes(), 0);
    memory_reach_openssl(false);
    refused(wf_span_of(zeros, 0));
}

/* ---- possession */

static void a_proof_holds_for_its_key_label_subject_and_channel_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf proof;
        uint8_t exporter[32] = {1, 2, 3};
        wf_span token = wf_span_of("token", 5), other = wf_span_of("tokem", 5);
        pki_key *key = new_key(kinds[i]), *stranger = new_key(kinds[i]);
        wf_span spki = pki_key_spki(key);
        wf_buf_init(&proof, 256);
        assert_int_equal(pki_proof_make(key, PKI_LABEL_ENROLL, token, exporter, &proof), WEFT_OK);
        wf_span p = span(&proof);
        assert_int_equal(pki_proof_check(spki, PKI_LABEL_ENROLL, token, exporter, p), WEFT_OK);
        assert_int_equal(pki_proof_check(spki, PKI_LABEL_RENEW, token, exporter, p),
                         WEFT_ECREDENTIAL);
        assert_int_equal(pki_proof_check(spki, PKI_LABEL_ENROLL, other, exporter, p),
                         WEFT_ECREDENTIAL);
        assert_int_equal(
            pki_proof_check(pki_key_spki(stranger), PKI_LABEL_ENROLL, token, exporter, p),
            WEFT_ECREDENTIAL);
        exporter[31] ^= 1; /* replayed in another TLS connection */
        assert_int_equal(pki_proof_check(spki, PKI_LABEL_ENROLL, token, exporter, p),
                         WEFT_ECREDENTIAL);
        exporter[31] ^= 1;
        proof.data[proof.len - 1] ^= 1;
        assert_int_equal(pki_proof_check(spki, PKI_LABEL_ENROLL, token, exporter, p),
                         WEFT_ECREDENTIAL);
        assert_int_equal(
            pki_proof_check(spki, PKI_LABEL_ENROLL, token, exporter, wf_span_of("", 0)),
            WEFT_ECREDENTIAL);
        wf_buf_fini(&proof);
        pki_key_free(stranger);
        pki_key_free(key);
    }
}

static weft_err make_and_open(const pki_key *key)
{
    wf_buf der, spki;
    wf_buf_init(&der, WF_CSR_MAX);
    wf_buf_init(&spki, 256);
    weft_err err = pki_csr_make(key, &der, NULL);
    if (err == WEFT_OK)
        err = pki_csr_open(span(&der), &spki, NULL);
    wf_buf_fini(&spki);
    wf_buf_fini(&der);
    return err;
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    pki_key *key = new_key(PKI_KEY_ED25519);
    assert_int_equal(make_and_open(key), WEFT_OK);
    for (int reach = 0; reach < 2; reach++) {
        memory_reach_openssl(reach == 1);
        for (unsigned n = 1;; n = memory_next(n)) {
            alloc_fail_at(n);
            weft_err err = make_and_open(key);
            bool failed = alloc_has_failed();
            alloc_fail_at(0);
            if (!failed) {
                assert_int_equal(err, WEFT_OK);
                break;
            }
            if (reach == 0)
                assert_int_equal(err, WEFT_ENOMEM);
        }
        memory_reach_openssl(false);
    }
    assert_int_equal(make_and_open(key), WEFT_OK);
    pki_key_free(key);
}

int main(void)
{
    memory_hook();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_yields_the_key_that_made_it),
        cmocka_unit_test(a_request_cut_flipped_or_extended_is_refused),
        cmocka_unit_test(a_name_in_a_request_is_nothing_to_us),
        cmocka_unit_test(a_request_for_anothers_key_is_refused),
        cmocka_unit_test(a_request_for_another_sort_of_key_is_refused),
        cmocka_unit_test(a_request_over_the_limit_is_refused_unread),
        cmocka_unit_test(a_proof_holds_for_its_key_label_subject_and_channel_alone),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
