/* Ids: fresh, compared, and parsed strictly. */
#include "proto/base/id.h"
#include "tests/helpers/test.h"
#include <string.h>

static void two_fresh_ids_differ_and_are_not_zero(void **state)
{
    (void)state;
    wf_id a = wf_id_random(), b = wf_id_random();
    assert_false(wf_id_equal(&a, &b));
    assert_false(wf_id_is_zero(&a));
    assert_true(wf_id_equal(&a, &a));
    wf_id zero = {{0}};
    assert_true(wf_id_is_zero(&zero));
    assert_true(wf_id_compare(&zero, &a) < 0);
    assert_true(wf_id_compare(&a, &zero) > 0);
}

static void text_goes_out_and_comes_back(void **state)
{
    (void)state;
    char text[WF_ID_TEXT];
    wf_id id, back;
    for (unsigned i = 0; i < WF_ID_LEN; i++)
        id.b[i] = (uint8_t)(0xf0 + i);
    assert_string_equal(wf_id_text(&id, text), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    assert_true(wf_id_parse(text, 32, &back));
    assert_true(wf_id_equal(&id, &back));
}

static void only_32_lower_case_hex_digits_are_an_id(void **state)
{
    (void)state;
    static const char good[] = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff0";
    wf_id id, before = wf_id_random();
    id = before;
    for (size_t len = 0; len <= 33; len++)
        if (len != 32)
            assert_false(wf_id_parse(good, len, &id));
    static const char bad[] = {'F', 'g', ' ', '\0', '-', '/', ':', '`', '\xff'};
    for (size_t i = 0; i < 32; i++) {
        for (size_t k = 0; k < sizeof bad; k++) {
            char text[33];
            memcpy(text, good, 33);
            text[i] = bad[k];
            assert_false(wf_id_parse(text, 32, &id));
        }
    }
    assert_true(wf_id_equal(&id, &before));
}

static void only_16_bytes_that_are_not_all_zero_are_an_id(void **state)
{
    (void)state;
    uint8_t bytes[17] = {0};
    wf_id id, before = wf_id_random();
    id = before;
    assert_false(wf_id_from_bytes(bytes, 16, &id));
    bytes[15] = 1;
    assert_false(wf_id_from_bytes(bytes, 15, &id));
    assert_false(wf_id_from_bytes(bytes, 17, &id));
    assert_false(wf_id_from_bytes(NULL, 0, &id));
    assert_true(wf_id_equal(&id, &before));
    assert_true(wf_id_from_bytes(bytes, 16, &id));
    assert_memory_equal(id.b, bytes, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_fresh_ids_differ_and_are_not_zero),
        cmocka_unit_test(text_goes_out_and_comes_back),
        cmocka_unit_test(only_32_lower_case_hex_digits_are_an_id),
        cmocka_unit_test(only_16_bytes_that_are_not_all_zero_are_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
