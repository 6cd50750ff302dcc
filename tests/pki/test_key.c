/* Keys: what is read, what is refused, and what a signature covers. */
#include "pki/internal.h"
#include "pki/key.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include "tests/pki/memory.h"
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <stdlib.h>
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

static wf_span text(const char *text)
{
    return wf_span_of(text, strlen(text));
}

static void refused(wf_span pem, const char *passphrase)
{
    pki_key *key = NULL;
    wf_why why = {.text = ""};
    assert_int_equal(pki_key_from_pem(pem, passphrase, &key, &why), WEFT_ECREDENTIAL);
    assert_null(key);
    assert_true(why.text[0] != '\0');
}

/* Any key of OpenSSL's as PKCS#8 PEM. */
static void put_evp(EVP_PKEY *evp, wf_buf *out)
{
    unsigned char *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(evp);
    assert_non_null(info);
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    assert_true(len > 0);
    assert_int_equal(pki_pem_put("PRIVATE KEY", wf_span_of(der, (size_t)len), out), WEFT_OK);
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
}

static void a_key_of_each_kind_survives_pem(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf pem;
        pki_key *again;
        pki_pin before, after;
        pki_key *key = new_key(kinds[i]);
        wf_buf_init(&pem, 4096);
        assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);
        assert_int_equal(pki_key_from_pem(span(&pem), NULL, &again, NULL), WEFT_OK);
        pki_key_pin(key, &before);
        pki_key_pin(again, &after);
        assert_true(pki_pin_equal(&before, &after));
        assert_int_equal(pki_key_kind_of(again), kinds[i]);
        /* With carriage returns, as an editor elsewhere leaves it. */
        wf_buf crlf;
        wf_buf_init(&crlf, 8192);
        for (size_t k = 0; k < pem.len; k++) {
            if (pem.data[k] == '\n')
                assert_int_equal(wf_buf_put(&crlf, "\r", 1), WEFT_OK);
            assert_int_equal(wf_buf_put(&crlf, pem.data + k, 1), WEFT_OK);
        }
        pki_key_free(again);
        assert_int_equal(pki_key_from_pem(span(&crlf), NULL, &again, NULL), WEFT_OK);
        pki_key_free(again);
        wf_buf_fini(&crlf);
        wf_buf_wipe(&pem);
        pki_key_free(key);
    }
}

static void a_key_under_a_passphrase_opens_with_that_one_alone(void **state)
{
    (void)state;
    wf_buf pem;
    pki_key *again;
    pki_pin before, after;
    pki_key *key = new_key(PKI_KEY_P256);
    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_put_pem(key, "correct horse", &pem), WEFT_OK);
    assert_non_null(memmem(pem.data, pem.len, "ENCRYPTED PRIVATE KEY", 21));
    refused(span(&pem), NULL);
    refused(span(&pem), "");
    refused(span(&pem), "correct hors");
    assert_int_equal(pki_key_from_pem(span(&pem), "correct horse", &again, NULL), WEFT_OK);
    pki_key_pin(key, &before);
    pki_key_pin(again, &after);
    assert_true(pki_pin_equal(&before, &after));
    pki_key_free(again);
    pki_key_free(key);
    wf_buf_fini(&pem);
}

static void a_file_with_anything_but_one_key_is_refused(void **state)
{
    (void)state;
    wf_buf pem, twice;
    pki_key *key = new_key(PKI_KEY_P256);
    wf_buf_init(&pem, 4096);
    wf_buf_init(&twice, 8192);
    assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);

    assert_int_equal(wf_buf_printf(&twice, "%s%s", wf_buf_cstr(&pem), wf_buf_cstr(&pem)), WEFT_OK);
    refused(span(&twice), NULL);
    wf_buf_clear(&twice);
    assert_int_equal(wf_buf_printf(&twice, "a note\n%s", wf_buf_cstr(&pem)), WEFT_OK);
    refused(span(&twice), NULL);
    wf_buf_clear(&twice);
    assert_int_equal(wf_buf_printf(&twice, "%sa note\n", wf_buf_cstr(&pem)), WEFT_OK);
    refused(span(&twice), NULL);
    wf_buf_clear(&twice);
    assert_int_equal(wf_buf_printf(&twice, "%s-----BEGIN CERT", wf_buf_cstr(&pem)), WEFT_OK);
    refused(span(&twice), NULL);

    refused(text(""), NULL);
    refused(text("\n \n"), NULL);
    refused(text("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"), NULL);
    refused(text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"), NULL);
    refused(text("-----BEGIN PRIVATE KEY-----\nAAA\n-----END PRIVATE KEY-----\n"), NULL);
    refused(text("-----BEGIN PRIVATE KEY-----\nAA=A\n-----END PRIVATE KEY-----\n"), NULL);
    refused(text("-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n"
                 "-----END PRIVATE KEY-----\n"),
            NULL);
    refused(text("-----BEGIN -----\nAAAA\n-----END -----\n"), NULL);
    refused(text("-----BEGIN AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-----\nAAAA\n"), NULL);

    /* Cut off anywhere, it is refused; the last line end alone may be absent. */
    for (size_t len = 0; len + 1 < pem.len; len++)
        refused(wf_span_of(pem.data, len), NULL);
    wf_buf_fini(&twice);
    wf_buf_wipe(&pem);
    pki_key_free(key);
}

static void a_key_in_another_form_is_refused_with_the_way_out(void **state)
{
    (void)state;
    pki_key *key = NULL;
    wf_why why;
    wf_span pem = text("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n");
    assert_int_equal(pki_key_from_pem(pem, NULL, &key, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "openssl pkcs8"));
}

static void keys_of_other_algorithms_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *others[] = {
        EVP_EC_gen("secp256k1"),
        EVP_EC_gen("P-521"),
        EVP_PKEY_Q_keygen(NULL, NULL, "X25519"),
        EVP_PKEY_Q_keygen(NULL, NULL, "ED448"),
        EVP_RSA_gen(2048),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        wf_buf pem;
        wf_buf_init(&pem, 8192);
        assert_non_null(others[i]);
        put_evp(others[i], &pem);
        refused(span(&pem), NULL);
        wf_buf_fini(&pem);
        EVP_PKEY_free(others[i]);
    }
}

static void a_curve_that_is_spelled_out_is_refused(void **state)
{
    (void)state;
    wf_buf pem;
    wf_buf_init(&pem, 8192);
    EVP_PKEY *evp = EVP_EC_gen("P-256");
    assert_non_null(evp);
    assert_int_equal(EVP_PKEY_set_utf8_string_param(evp, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"),
                     1);
    put_evp(evp, &pem);
    refused(span(&pem), NULL);
    EVP_PKEY_free(evp);
    wf_buf_fini(&pem);
}

static void a_key_whose_halves_do_not_fit_is_refused(void **state)
{
    (void)state;
    wf_buf pem, der;
    char label[PKI_PEM_LABEL_MAX];
    uint8_t *at;
    pki_key *key = new_key(PKI_KEY_P256), *other = new_key(PKI_KEY_P256);
    wf_buf_init(&pem, 4096);
    wf_buf_init(&der, 4096);
    assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);
    wf_span at_pem = span(&pem);
    assert_int_equal(pki_pem_next(&at_pem, label, &der, NULL), WEFT_OK);
    /* The public half stands in the DER as it does at the end of the SPKI. */
    wf_span own = pki_key_spki(key), wrong = pki_key_spki(other);
    at = memmem(der.data, der.len, own.data + 27, 64);
    assert_non_null(at);
    memcpy(at, wrong.data + 27, 64);
    wf_buf_clear(&pem);
    assert_int_equal(pki_pem_put("PRIVATE KEY", span(&der), &pem), WEFT_OK);
    refused(span(&pem), NULL);
    wf_buf_fini(&der);
    wf_buf_fini(&pem);
    pki_key_free(other);
    pki_key_free(key);
}

static void bytes_behind_a_key_or_in_it_are_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf pem, der, bad;
        char label[PKI_PEM_LABEL_MAX];
        pki_pin own;
        pki_key *key = new_key(kinds[i]);
        pki_key_pin(key, &own);
        wf_buf_init(&pem, 4096);
        wf_buf_init(&der, 4096);
        wf_buf_init(&bad, 4096);
        assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);
        wf_span at_pem = span(&pem);
        assert_int_equal(pki_pem_next(&at_pem, label, &der, NULL), WEFT_OK);
        for (size_t k = 0; k < der.len; k++) {
            der.data[k] ^= 0x55;
            wf_buf_clear(&bad);
            assert_int_equal(pki_pem_put("PRIVATE KEY", span(&der), &bad), WEFT_OK);
            pki_key *read = NULL;
            if (pki_key_from_pem(span(&bad), NULL, &read, NULL) == WEFT_OK) {
                /* Without its public half it is the same key still; with it, or another scalar,
                 * only Ed25519 makes another whole key of it. */
                pki_pin pin;
                pki_key_pin(read, &pin);
                assert_true(kinds[i] == PKI_KEY_ED25519 || pki_pin_equal(&pin, &own));
                pki_key_free(read);
            }
            der.data[k] ^= 0x55;
        }
        assert_int_equal(wf_buf_put_u8(&der, 0), WEFT_OK);
        wf_buf_clear(&bad);
        assert_int_equal(pki_pem_put("PRIVATE KEY", span(&der), &bad), WEFT_OK);
        refused(span(&bad), NULL);
        wf_buf_fini(&bad);
        wf_buf_fini(&der);
        wf_buf_fini(&pem);
        pki_key_free(key);
    }
}

static void a_pin_is_the_hash_of_the_public_key(void **state)
{
    (void)state;
    pki_pin pin, again;
    wf_buf spki;
    pki_key *key = new_key(PKI_KEY_P256);
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(key, &spki), WEFT_OK);
    pki_key_pin(key, &pin);
    pki_pin_of_spki(span(&spki), &again);
    assert_true(pki_pin_equal(&pin, &again));
    again.b[31] ^= 1;
    assert_false(pki_pin_equal(&pin, &again));
    wf_buf_fini(&spki);
    pki_key_free(key);

    /* FIPS 180-2, B.1 */
    uint8_t digest[32];
    char hex[65];
    pki_sha256("abc", 3, digest);
    assert_string_equal(wf_hex(digest, 32, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pki_sha256(NULL, 0, digest);
    assert_string_equal(wf_hex(digest, 32, hex),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_signature_holds_for_its_label_and_bytes_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf signature;
        uint8_t body[] = "what was agreed";
        pki_key *key = new_key(kinds[i]), *other = new_key(kinds[i]);
        wf_span spki = pki_key_spki(key);
        wf_buf_init(&signature, 256);
        assert_int_equal(pki_key_sign(key, "weft-a-1", wf_span_of(body, sizeof body), &signature),
                         WEFT_OK);
        wf_span s = span(&signature), b = wf_span_of(body, sizeof body);
        assert_int_equal(pki_verify(spki, "weft-a-1", b, s), WEFT_OK);
        assert_int_equal(pki_verify(spki, "weft-b-1", b, s), WEFT_ECREDENTIAL);
        assert_int_equal(pki_verify(spki, "weft-a-1", wf_span_of(body, sizeof body - 1), s),
                         WEFT_ECREDENTIAL);
        assert_int_equal(pki_verify(pki_key_spki(other), "weft-a-1", b, s), WEFT_ECREDENTIAL);
        for (size_t k = 0; k < sizeof body; k++) {
            body[k] ^= 1;
            assert_int_equal(pki_verify(spki, "weft-a-1", b, s), WEFT_ECREDENTIAL);
            body[k] ^= 1;
        }
        for (size_t k = 0; k < signature.len; k++) {
            signature.data[k] ^= 0x10;
            assert_int_equal(pki_verify(spki, "weft-a-1", b, s), WEFT_ECREDENTIAL);
            signature.data[k] ^= 0x10;
        }
        for (size_t len = 0; len < signature.len; len++)
            assert_int_equal(pki_verify(spki, "weft-a-1", b, wf_span_of(signature.data, len)),
                             WEFT_ECREDENTIAL);
        assert_int_equal(wf_buf_put_u8(&signature, 0), WEFT_OK);
        assert_int_equal(pki_verify(spki, "weft-a-1", b, span(&signature)), WEFT_ECREDENTIAL);
        wf_buf_fini(&signature);
        pki_key_free(other);
        pki_key_free(key);
    }
}

static void the_border_between_label_and_body_can_not_move(void **state)
{
    (void)state;
    static const struct {
        const char *label, *body;
        size_t len;
        weft_err err;
    } tries[] = {
        {"weft-a", "bc", 2, WEFT_OK},          {"weft-ab", "c", 1, WEFT_ECREDENTIAL},
        {"weft-", "abc", 3, WEFT_ECREDENTIAL}, {"weft-a", "\0bc", 3, WEFT_ECREDENTIAL},
        {"weft-abc", "", 0, WEFT_ECREDENTIAL}, {"weft-", "a\0bc", 4, WEFT_ECREDENTIAL},
    };
    wf_buf signature;
    pki_key *key = new_key(PKI_KEY_ED25519);
    wf_buf_init(&signature, 64);
    assert_int_equal(pki_key_sign(key, "weft-a", wf_span_of("bc", 2), &signature), WEFT_OK);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        assert_int_equal(pki_verify(pki_key_spki(key), tries[i].label,
                                    wf_span_of(tries[i].body, tries[i].len), span(&signature)),
                         tries[i].err);
    wf_buf_fini(&signature);
    pki_key_free(key);
}

static void a_public_key_in_another_form_verifies_nothing(void **state)
{
    (void)state;
    wf_buf signature;
    pki_key *key = new_key(PKI_KEY_P256);
    wf_span spki = pki_key_spki(key), body = text("x");
    uint8_t bad[PKI_SPKI_MAX + 1];
    wf_buf_init(&signature, 256);
    assert_int_equal(pki_key_sign(key, "weft-a-1", body, &signature), WEFT_OK);
    memcpy(bad, spki.data, spki.len);
    bad[spki.len] = 0;
    assert_int_equal(pki_verify(wf_span_of(bad, spki.len + 1), "weft-a-1", body, span(&signature)),
                     WEFT_ECREDENTIAL);
    for (size_t len = 0; len < spki.len; len++) {
        uint8_t *exact = malloc(len + 1); /* so that one byte read too far is seen */
        assert_non_null(exact);
        memcpy(exact + 1, bad, len);
        assert_int_equal(pki_verify(wf_span_of(exact + 1, len), "weft-a-1", body, span(&signature)),
                         WEFT_ECREDENTIAL);
        free(exact);
    }
    for (size_t i = 0; i < spki.len; i++) {
        bad[i] ^= 1; /* also the point: off the curve, or another one */
        assert_int_equal(pki_verify(wf_span_of(bad, spki.len), "weft-a-1", body, span(&signature)),
                         WEFT_ECREDENTIAL);
        bad[i] ^= 1;
    }
    wf_buf_fini(&signature);
    pki_key_free(key);
}

/* One round of everything that allocates; WEFT_OK only if all of it did its work. */
static weft_err round_trip(enum pki_key_kind kind)
{
    pki_key *key = NULL, *again = NULL;
    wf_buf pem, signature;
    wf_buf_init(&pem, 4096);
    wf_buf_init(&signature, 256);
    weft_err err = pki_key_new(kind, &key, NULL);
    if (err == WEFT_OK)
        err = pki_key_put_pem(key, NULL, &pem);
    if (err == WEFT_OK)
        err = pki_key_from_pem(span(&pem), NULL, &again, NULL);
    if (err == WEFT_OK)
        err = pki_key_sign(again, "weft-a-1", text("x"), &signature);
    if (err == WEFT_OK)
        err = pki_verify(pki_key_spki(key), "weft-a-1", text("x"), span(&signature));
    wf_buf_wipe(&pem);
    wf_buf_fini(&signature);
    pki_key_free(again);
    pki_key_free(key);
    return err;
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        assert_int_equal(round_trip(kinds[i]), WEFT_OK);
        memory_reach_openssl(kinds[i] == PKI_KEY_ED25519);
        for (unsigned n = 1;; n = memory_next(n)) {
            alloc_fail_at(n);
            weft_err err = round_trip(kinds[i]);
            bool failed = alloc_has_failed();
            alloc_fail_at(0);
            if (!failed) {
                assert_int_equal(err, WEFT_OK);
                break;
            }
            /* OpenSSL goes on without some of its caches, and forgets why for others. */
            assert_true(err == WEFT_OK || err == WEFT_ENOMEM || err == WEFT_EINTERNAL ||
                        err == WEFT_ECREDENTIAL);
        }
        memory_reach_openssl(false);
        assert_int_equal(round_trip(kinds[i]), WEFT_OK);
    }
}

static void a_wrong_signature_is_not_accepted_for_want_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        wf_buf signature;
        pki_key *key = new_key(kinds[i]);
        wf_buf_init(&signature, 256);
        assert_int_equal(pki_key_sign(key, "weft-a-1", text("x"), &signature), WEFT_OK);
        memory_reach_openssl(kinds[i] == PKI_KEY_ED25519);
        for (unsigned n = 1;; n = memory_next(n)) {
            alloc_fail_at(n);
            weft_err err = pki_verify(pki_key_spki(key), "weft-a-1", text("y"), span(&signature));
            bool failed = alloc_has_failed();
            alloc_fail_at(0);
            assert_int_not_equal(err, WEFT_OK);
            if (!failed)
                break;
        }
        memory_reach_openssl(false);
        wf_buf_fini(&signature);
        pki_key_free(key);
    }
}

static void two_keys_of_a_curve_agree_and_others_do_not(void **state)
{
    static const enum pki_key_kind agreeing[] = {PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_ED25519};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            pki_key *a = NULL, *b = NULL, *copy = NULL;
            wf_buf one, two, a_spki, b_spki;
            wf_buf_init(&one, 256);
            wf_buf_init(&two, 256);
            wf_buf_init(&a_spki, 256);
            wf_buf_init(&b_spki, 256);
            assert_int_equal(pki_key_new(agreeing[i], &a, NULL), WEFT_OK);
            assert_int_equal(pki_key_new(agreeing[j], &b, NULL), WEFT_OK);
            assert_int_equal(pki_key_dup(b, &copy), WEFT_OK);
            pki_key_free(b); /* the copy stays */
            assert_int_equal(pki_key_put_spki(a, &a_spki), WEFT_OK);
            assert_int_equal(pki_key_put_spki(copy, &b_spki), WEFT_OK);
            weft_err err = i == j && i < 2 ? WEFT_OK : WEFT_ECREDENTIAL;
            assert_int_equal(pki_key_agree(a, span(&b_spki), &one, NULL), err);
            assert_int_equal(pki_key_agree(copy, span(&a_spki), &two, NULL), err);
            assert_true(wf_span_equal(span(&one), span(&two)));
            assert_int_equal(one.len, err == WEFT_OK ? (i == 0 ? 32 : 48) : 0);
            wf_buf_wipe(&one);
            wf_buf_wipe(&two);
            wf_buf_fini(&a_spki);
            wf_buf_fini(&b_spki);
            pki_key_free(a);
            pki_key_free(copy);
        }
    }
}

int main(void)
{
    memory_hook();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_keys_of_a_curve_agree_and_others_do_not),
        cmocka_unit_test(a_key_of_each_kind_survives_pem),
        cmocka_unit_test(a_key_under_a_passphrase_opens_with_that_one_alone),
        cmocka_unit_test(a_file_with_anything_but_one_key_is_refused),
        cmocka_unit_test(a_key_in_another_form_is_refused_with_the_way_out),
        cmocka_unit_test(keys_of_other_algorithms_are_refused),
        cmocka_unit_test(a_curve_that_is_spelled_out_is_refused),
        cmocka_unit_test(a_key_whose_halves_do_not_fit_is_refused),
        cmocka_unit_test(bytes_behind_a_key_or_in_it_are_noticed),
        cmocka_unit_test(a_pin_is_the_hash_of_the_public_key),
        cmocka_unit_test(a_signature_holds_for_its_label_and_bytes_alone),
        cmocka_unit_test(the_border_between_label_and_body_can_not_move),
        cmocka_unit_test(a_public_key_in_another_form_verifies_nothing),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_wrong_signature_is_not_accepted_for_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
