/* Hex, base64 and names: what is written comes back, and nothing else is read. */
#include "proto/base/text.h"
#include "tests/helpers/test.h"
#include <stdbool.h>
#include <string.h>

static void only_ascii_from_space_to_tilde_is_printable(void **state)
{
    (void)state;
    char all[256];
    for (unsigned i = 0; i < 256; i++) {
        all[i] = (char)i;
        assert_int_equal(wf_is_printable(&all[i], 1), i >= 0x20 && i <= 0x7e);
    }
    wf_make_printable(all, sizeof all);
    assert_true(wf_is_printable(all, sizeof all));
    assert_int_equal(all['A'], 'A');
    assert_int_equal(all['\n'], '?');
    assert_int_equal(all[0], '?');
}

static void hex_goes_out_and_comes_back(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x0f, 0xf0, 0xff, 0xa5};
    char text[11];
    uint8_t back[5];
    assert_string_equal(wf_hex(bytes, 5, text), "000ff0ffa5");
    assert_true(wf_unhex(text, 10, back, 5));
    assert_memory_equal(bytes, back, 5);
    assert_string_equal(wf_hex(bytes, 0, text), "");
    assert_true(wf_unhex("", 0, back, 0));
}

static void hex_of_another_length_case_or_alphabet_is_refused(void **state)
{
    (void)state;
    uint8_t out[2] = {7, 7};
    assert_false(wf_unhex("0f0", 3, out, 2));
    assert_false(wf_unhex("0f0f0", 5, out, 2));
    assert_false(wf_unhex("0f", 2, out, 2));
    assert_false(wf_unhex("0F0F", 4, out, 2));
    assert_false(wf_unhex("0f0g", 4, out, 2));
    assert_false(wf_unhex("0x0f", 4, out, 2));
    assert_int_equal(out[0], 7);
}

static void base64_gives_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *padded, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_buf out;
        wf_buf_init(&out, 100);
        assert_int_equal(wf_base64_encode(rows[i].plain, strlen(rows[i].plain), &out), WEFT_OK);
        assert_string_equal(wf_buf_cstr(&out), rows[i].padded);
        wf_buf_clear(&out);
        assert_int_equal(wf_base64url_encode(rows[i].plain, strlen(rows[i].plain), &out), WEFT_OK);
        assert_string_equal(wf_buf_cstr(&out), rows[i].url);
        wf_buf_clear(&out);
        assert_int_equal(wf_base64_decode(rows[i].padded, strlen(rows[i].padded), &out), WEFT_OK);
        assert_string_equal(wf_buf_cstr(&out), rows[i].plain);
        wf_buf_clear(&out);
        assert_int_equal(wf_base64url_decode(rows[i].url, strlen(rows[i].url), &out), WEFT_OK);
        assert_string_equal(wf_buf_cstr(&out), rows[i].plain);
        wf_buf_fini(&out);
    }
}

static void every_byte_at_every_place_survives_base64(void **state)
{
    (void)state;
    uint8_t bytes[3 * 256];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        wf_buf text, back;
        wf_buf_init(&text, 2000);
        wf_buf_init(&back, 2000);
        assert_int_equal(wf_base64_encode(bytes, len, &text), WEFT_OK);
        assert_int_equal(wf_base64_decode(wf_buf_cstr(&text), text.len, &back), WEFT_OK);
        assert_int_equal(back.len, len);
        wf_buf_clear(&text);
        assert_int_equal(wf_base64url_encode(bytes, len, &text), WEFT_OK);
        assert_int_equal(wf_base64url_decode(wf_buf_cstr(&text), text.len, &back), WEFT_OK);
        assert_int_equal(back.len, 2 * len);
        if (len > 0) {
            assert_memory_equal(back.data, bytes, len);
            assert_memory_equal(back.data + len, bytes, len);
        }
        wf_buf_fini(&text);
        wf_buf_fini(&back);
    }
}

static void base64_that_is_not_canonical_is_refused(void **state)
{
    (void)state;
    static const char *const padded[] = {"Zg",     "Zg=",      "Zg===",      "=",      "====",
                                         "Z===",   "Zh==",     "Zm9=",       "Zm8 ",   " Zm8",
                                         "Zm8\n",  "Zg==Zg==", "Z=g=",       "-__-",   "Zm9vY",
                                         "Zm9v\n", "Zm9*",     "Z\xc3\xa9=", "Zg==\n", "=Zg="};
    static const char *const url[] = {"Zg==", "Zm8=",  "Z",    "Zh",  "Zm9",
                                      "+//+", "Zm9vY", "Zm 8", "Zg\n"};
    wf_buf out;
    wf_buf_init(&out, 100);
    wf_buf_put_text(&out, "kept");
    for (size_t i = 0; i < sizeof padded / sizeof padded[0]; i++)
        assert_int_equal(wf_base64_decode(padded[i], strlen(padded[i]), &out), WEFT_EINVAL);
    for (size_t i = 0; i < sizeof url / sizeof url[0]; i++)
        assert_int_equal(wf_base64url_decode(url[i], strlen(url[i]), &out), WEFT_EINVAL);
    assert_int_equal(wf_base64_decode("Zm\0v", 4, &out), WEFT_EINVAL);
    assert_string_equal(wf_buf_cstr(&out), "kept");
    wf_buf_fini(&out);
}

static void base64_of_any_text_of_four_has_one_spelling(void **state)
{
    (void)state;
    /* Whatever decodes must encode to the same text again. */
    static const char few[] = "AQgwBZz09+/=-_ \n";
    char text[5] = {0};
    for (unsigned i = 0; i < 16 * 16 * 16 * 16; i++) {
        for (unsigned k = 0; k < 4; k++)
            text[k] = few[i >> 4 * k & 15];
        wf_buf out, back;
        wf_buf_init(&out, 10);
        wf_buf_init(&back, 10);
        if (wf_base64_decode(text, 4, &out) == WEFT_OK) {
            wf_base64_encode(out.data, out.len, &back);
            assert_string_equal(wf_buf_cstr(&back), text);
        }
        wf_buf_clear(&out);
        wf_buf_clear(&back);
        if (wf_base64url_decode(text, 4, &out) == WEFT_OK) {
            wf_base64url_encode(out.data, out.len, &back);
            assert_string_equal(wf_buf_cstr(&back), text);
        }
        wf_buf_fini(&out);
        wf_buf_fini(&back);
    }
}

static void base64_that_does_not_fit_writes_nothing(void **state)
{
    (void)state;
    wf_buf out;
    wf_buf_init(&out, 5);
    assert_int_equal(wf_base64_encode("abcd", 4, &out), WEFT_ELIMIT);
    assert_int_equal(wf_base64_decode("Zm9vYmFy", 8, &out), WEFT_ELIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(wf_base64_decode("Zm9vYmE=", 8, &out), WEFT_OK);
    assert_int_equal(out.len, 5);
    wf_buf_fini(&out);
}

static void a_name_is_letters_digits_dot_dash_and_underscore(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "A", "0", "web", "ci-runner.7_x", "0-", "a..b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(wf_name_check(good[i], strlen(good[i]), "name", NULL), WEFT_OK);
    for (unsigned c = 0; c < 256; c++) {
        char text[2] = {'a', (char)c};
        bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == '_' || c == '-';
        assert_int_equal(wf_name_check(text, 2, "name", NULL) == WEFT_OK, allowed);
        bool starts = allowed && c != '.' && c != '_' && c != '-';
        assert_int_equal(wf_name_check(text + 1, 1, "name", NULL) == WEFT_OK, starts);
    }
}

static void a_name_has_1_to_64_characters(void **state)
{
    (void)state;
    char lot[66];
    memset(lot, 'n', sizeof lot);
    wf_why why;
    assert_int_equal(wf_name_check(lot, 0, "service", &why), WEFT_EINVAL);
    assert_string_equal(why.text, "the service is empty");
    assert_int_equal(wf_name_check(lot, 1, "service", &why), WEFT_OK);
    assert_int_equal(wf_name_check(lot, 63, "service", &why), WEFT_OK);
    assert_int_equal(wf_name_check(lot, 64, "service", &why), WEFT_OK);
    assert_int_equal(wf_name_check(lot, 65, "service", &why), WEFT_EINVAL);
    assert_int_equal(wf_name_check(lot, SIZE_MAX, "service", &why), WEFT_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_ascii_from_space_to_tilde_is_printable),
        cmocka_unit_test(hex_goes_out_and_comes_back),
        cmocka_unit_test(hex_of_another_length_case_or_alphabet_is_refused),
        cmocka_unit_test(base64_gives_the_vectors_of_rfc_4648),
        cmocka_unit_test(every_byte_at_every_place_survives_base64),
        cmocka_unit_test(base64_that_is_not_canonical_is_refused),
        cmocka_unit_test(base64_of_any_text_of_four_has_one_spelling),
        cmocka_unit_test(base64_that_does_not_fit_writes_nothing),
        cmocka_unit_test(a_name_is_letters_digits_dot_dash_and_underscore),
        cmocka_unit_test(a_name_has_1_to_64_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
