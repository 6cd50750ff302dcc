/* Configuration files: what is taken, and that every refusal names its line. */
#include "proto/node/yaml.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static weft_err parse(const char *text, wf_yaml **root, wf_why *why)
{
    return wf_yaml_parse("f.yaml", wf_span_of(text, strlen(text)), root, why);
}

static void maps_lists_and_text_are_read_as_written(void **state)
{
    (void)state;
    wf_yaml *root;
    wf_why why;
    const char *text =
        "identity: /x/y.json\nhost:\n  - service: web\n    to: 127.0.0.1:80\n  - service: db\n";
    assert_int_equal(parse(text, &root, &why), WEFT_OK);
    const char *out = NULL;
    assert_int_equal(wf_yaml_text(root, "identity", true, &out, &why), WEFT_OK);
    assert_string_equal(out, "/x/y.json");
    const wf_yaml *host = wf_yaml_get(root, "host");
    assert_int_equal(wf_yaml_count(host), 2);
    assert_int_equal(wf_yaml_text(wf_yaml_item(host, 0), "to", true, &out, &why), WEFT_OK);
    assert_string_equal(out, "127.0.0.1:80");
    assert_int_equal(wf_yaml_line(wf_yaml_item(host, 1)), 5);
    assert_string_equal(wf_yaml_key(root, 1), "host");
    assert_null(wf_yaml_item(host, 2));
    wf_yaml_free(root);
}

static void an_unknown_setting_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const keys[] = {"identity", NULL};
    wf_yaml *root;
    wf_why why;
    assert_int_equal(parse("identity: x\nidentitty: y\n", &root, &why), WEFT_OK);
    assert_int_equal(wf_yaml_only(root, keys, &why), WEFT_EINVAL);
    assert_string_equal(why.text, "f.yaml:2: unknown setting \"identitty\"");
    wf_yaml_free(root);
}

static void a_missing_or_misshapen_setting_is_refused(void **state)
{
    (void)state;
    wf_yaml *root;
    wf_why why;
    const char *out = NULL;
    assert_int_equal(parse("a: [x]\nb: \"\"\n", &root, &why), WEFT_OK);
    assert_int_equal(wf_yaml_text(root, "a", true, &out, &why), WEFT_EINVAL);
    assert_int_equal(wf_yaml_text(root, "b", true, &out, &why), WEFT_EINVAL);
    assert_int_equal(wf_yaml_text(root, "c", true, &out, &why), WEFT_EINVAL);
    assert_int_equal(wf_yaml_text(root, "c", false, &out, &why), WEFT_OK);
    assert_null(out);
    wf_yaml_free(root);
}

static void what_is_not_plain_yaml_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "a: 1\na: 2\n",
        "a: &x 1\nb: *x\n",
        "a: !!int 1\n",
        "a: !tag [1]\n",
        "a: 1\n---\nb: 2\n",
        "a: [1\n",
        "a: \"\\0\"\n",
        "[a]: b\n",
        "a:\n\t- b\n",
        "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wf_yaml *root = NULL;
        wf_why why = {""};
        if (parse(bad[i], &root, &why) != WEFT_EINVAL)
            fail_msg("taken: %s", bad[i]);
        assert_null(root);
        assert_memory_equal(why.text, "f.yaml:", 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_lists_and_text_are_read_as_written),
        cmocka_unit_test(an_unknown_setting_is_refused_with_its_line),
        cmocka_unit_test(a_missing_or_misshapen_setting_is_refused),
        cmocka_unit_test(what_is_not_plain_yaml_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
