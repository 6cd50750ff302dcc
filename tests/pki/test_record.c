/* Signed records: whose word they are, and under which label. */
#include "pki/internal.h"
#include "pki/record.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <string.h>

static pki_key *one, *two;

static int start(void **state)
{
    (void)state;
    return pki_key_new(PKI_KEY_ED25519, &one, NULL) == WEFT_OK &&
                   pki_key_new(PKI_KEY_P256, &two, NULL) == WEFT_OK
               ? 0
               : -1;
}

static int stop(void **state)
{
    (void)state;
    pki_key_free(two);
    pki_key_free(one);
    return 0;
}

static weft_err seal(const pki_key *key, wf_buf *out)
{
    static uint8_t id[16] = {7};
    Weft__Wire__LinkStateBody body;
    weft__wire__link_state_body__init(&body);
    body.router_id = wf_pb_bytes(id, sizeof id);
    body.sequence = 42;
    return pki_record_seal(key, PKI_LABEL_LINKS, &body.base, out);
}

static Weft__Wire__Signed *sealed(const pki_key *key)
{
    wf_buf encoded;
    Weft__Wire__Signed *s;
    wf_buf_init(&encoded, WF_SIGNED_MAX);
    assert_int_equal(seal(key, &encoded), WEFT_OK);
    assert_int_equal(wf_signed_decode(encoded.data, encoded.len, &s, NULL), WEFT_OK);
    wf_buf_fini(&encoded);
    return s;
}

static weft_err verify(const Weft__Wire__Signed *s, const char *label)
{
    const wf_span keys[] = {pki_key_spki(two), pki_key_spki(one)};
    return pki_record_verify(s, label, keys, 2, NULL);
}

static void a_record_is_verified_under_the_key_it_names(void **state)
{
    (void)state;
    const pki_key *keys[] = {one, two};
    for (size_t i = 0; i < 2; i++) {
        Weft__Wire__Signed *s = sealed(keys[i]);
        pki_pin pin;
        Weft__Wire__LinkStateBody *body;
        pki_key_pin(keys[i], &pin);
        assert_int_equal(s->signer.len, 32);
        assert_memory_equal(s->signer.data, pin.b, 32);
        assert_int_equal(verify(s, PKI_LABEL_LINKS), WEFT_OK);
        assert_int_equal(wf_link_state_body_decode(s->body.data, s->body.len, &body, NULL),
                         WEFT_OK);
        assert_int_equal(body->sequence, 42);
        wf_link_state_body_free(body);
        wf_signed_free(s);
    }
}

static void a_record_of_one_sort_is_none_of_another(void **state)
{
    (void)state;
    static const char *const labels[] = {PKI_LABEL_BUNDLE, PKI_LABEL_GRANT, PKI_LABEL_MEMBER,
                                         PKI_LABEL_FLOORS, PKI_LABEL_BIND,  PKI_LABEL_ENROLL,
                                         PKI_LABEL_RENEW,  "weft-links-2",  "weft-links-"};
    Weft__Wire__Signed *s = sealed(one);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        assert_int_equal(verify(s, labels[i]), WEFT_ECREDENTIAL);
    wf_signed_free(s);
}

static void a_changed_record_is_refused(void **state)
{
    (void)state;
    Weft__Wire__Signed *s = sealed(one);
    ProtobufCBinaryData *parts[] = {&s->body, &s->signature, &s->signer};
    for (size_t p = 0; p < 3; p++) {
        for (size_t i = 0; i < parts[p]->len; i++) {
            parts[p]->data[i] ^= 1;
            assert_int_equal(verify(s, PKI_LABEL_LINKS), WEFT_ECREDENTIAL);
            parts[p]->data[i] ^= 1;
        }
        parts[p]->len--;
        assert_int_equal(verify(s, PKI_LABEL_LINKS), WEFT_ECREDENTIAL);
        parts[p]->len++;
    }
    assert_int_equal(verify(s, PKI_LABEL_LINKS), WEFT_OK);
    wf_signed_free(s);
}

static void a_record_that_names_another_signer_is_refused(void **state)
{
    (void)state;
    Weft__Wire__Signed *s = sealed(one);
    pki_pin pin;
    wf_why why;
    const wf_span others[] = {pki_key_spki(two)};
    assert_int_equal(pki_record_verify(s, PKI_LABEL_LINKS, others, 1, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "not trusted"));
    assert_int_equal(pki_record_verify(s, PKI_LABEL_LINKS, NULL, 0, NULL), WEFT_ECREDENTIAL);
    pki_key_pin(two, &pin); /* trusted too, but it did not sign */
    memcpy(s->signer.data, pin.b, 32);
    assert_int_equal(verify(s, PKI_LABEL_LINKS), WEFT_ECREDENTIAL);
    wf_signed_free(s);
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        wf_buf out;
        wf_buf_init(&out, WF_SIGNED_MAX);
        alloc_fail_at(n);
        weft_err err = seal(one, &out);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        assert_int_equal(err, failed ? WEFT_ENOMEM : WEFT_OK);
        assert_true(failed ? out.len == 0 : out.len > 0);
        wf_buf_fini(&out);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_verified_under_the_key_it_names),
        cmocka_unit_test(a_record_of_one_sort_is_none_of_another),
        cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(a_record_that_names_another_signer_is_refused),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
