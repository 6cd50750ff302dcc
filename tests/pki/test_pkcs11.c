/* Names of keys in tokens: what RFC 7512 allows and we serve, and no more. */
#include "pki/key.h"
#include "pki/pkcs11.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

static struct pki_pkcs11 uri;
static wf_why why;

static void a_name_is_read_and_normalised(void **state)
{
    (void)state;
    assert_int_equal(
        pki_pkcs11_parse("pkcs11:token=my%20token;object=ci?pin-source=file:/etc/weft/pin", &uri,
                         &why),
        WEFT_OK);
    assert_string_equal(uri.name, "pkcs11:token=my%20token;object=ci;type=private");
    assert_string_equal(uri.token, "my token");
    assert_string_equal(uri.object, "ci");
    assert_string_equal(uri.pin_file, "/etc/weft/pin");
    assert_int_equal(pki_pkcs11_parse("pkcs11:id=%00%ff;type=private", &uri, &why), WEFT_OK);
    assert_string_equal(uri.name, "pkcs11:id=%00%ff;type=private");
    assert_string_equal(uri.pin_file, "");
    assert_int_equal(pki_pkcs11_parse("pkcs11:object=x?pin-source=file:///p", &uri, &why), WEFT_OK);
    assert_string_equal(uri.pin_file, "/p");
    assert_int_equal(pki_pkcs11_parse("pkcs11:object=x?pin-source=/p", &uri, &why), WEFT_OK);
    assert_string_equal(uri.pin_file, "/p");
}

static void a_pin_in_the_name_is_refused_and_not_repeated(void **state)
{
    static const char *const bad[] = {"pkcs11:object=x?pin-value=31415",
                                      "pkcs11:object=x;pin-value=31415",
                                      "pkcs11:object=x?pin-source=/p&pin-value=31415"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pki_pkcs11_parse(bad[i], &uri, &why), WEFT_EINVAL);
        assert_non_null(strstr(why.text, "pin-source"));
        assert_null(strstr(why.text, "31415"));
    }
}

static void whatever_else_is_refused_by_one_line(void **state)
{
    static const char *const bad[] = {
        "",
        "pkcs11",
        "pkcs11:",
        "PKCS11:object=x",
        "pkcs11:token=weft",
        "pkcs11:object",
        "pkcs11:object=",
        "pkcs11:object=a;object=b",
        "pkcs11:object=a;;id=%01",
        "pkcs11:object=%0",
        "pkcs11:object=%zz",
        "pkcs11:object=a b",
        "pkcs11:object=a\nb",
        "pkcs11:object=%0a",
        "pkcs11:object=%00",
        "pkcs11:object=x;type=public",
        "pkcs11:object=x;slot-id=1",
        "pkcs11:object=x?",
        "pkcs11:object=x?module-path=/evil.so",
        "pkcs11:object=x?module-name=p",
        "pkcs11:object=x?pin-source=pin",
        "pkcs11:object=x?pin-source=|cat",
        "pkcs11:object=x?pin-source=/a&pin-source=/b",
        "pkcs11:object=x#y",
        "pkcs11:object=\xff",
    };
    static char lengthy[2048];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why.text[0] = '\0';
        if (pki_pkcs11_parse(bad[i], &uri, &why) != WEFT_EINVAL || why.text[0] == '\0')
            fail_msg("%s was taken", bad[i]);
    }
    memset(lengthy, 'a', sizeof lengthy - 1);
    memcpy(lengthy, "pkcs11:object=", 14);
    assert_int_equal(pki_pkcs11_parse(lengthy, &uri, &why), WEFT_EINVAL);
    lengthy[400] = '\0';
    assert_int_equal(pki_pkcs11_parse(lengthy, &uri, &why), WEFT_EINVAL);
}

static void a_module_that_is_not_there_is_named(void **state)
{
    pki_key *key = NULL;

    (void)state;
    assert_int_equal(setenv("WEFT_PKCS11_MODULE", "/none.so", 1), 0);
    assert_int_equal(pki_key_from_token("pkcs11:object=x", &key, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "/none.so"));
    assert_int_equal(setenv("WEFT_PKCS11_MODULE", "relative.so", 1), 0);
    assert_int_equal(pki_key_from_token("pkcs11:object=x", &key, &why), WEFT_ECREDENTIAL);
    assert_int_equal(pki_key_from_token("pkcs11:bad=x", &key, &why), WEFT_EINVAL);
    assert_null(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_read_and_normalised),
        cmocka_unit_test(a_pin_in_the_name_is_refused_and_not_repeated),
        cmocka_unit_test(whatever_else_is_refused_by_one_line),
        cmocka_unit_test(a_module_that_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
