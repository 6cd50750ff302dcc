/* Arguments of administrators, hostile ones first. */
#include "controller/args.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static weft_err open_text(struct args *args, const char *json, wf_why *why)
{
    return args_open(args, wf_span_of(json, strlen(json)), why);
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const bad[] = {
        "[]",      "\"x\"",       "1",       "null",  "{",
        "{\"a\"}", "{\"a\":1,}",  "{} {}",   "\xff",  "{\"a\":\"\xc3\"}",
        " ",       "{\"a\":nan}", "{'a':1}", "{a:1}", "{\"a\":\"\\u0000\"}"};
    struct args args;
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why.text[0] = '\0';
        assert_int_not_equal(open_text(&args, bad[i], &why), WEFT_OK);
        assert_int_not_equal(why.text[0], '\0');
    }
}

static void duplicate_keys_are_refused(void **state)
{
    struct args args;
    wf_why why;

    (void)state;
    assert_int_equal(open_text(&args, "{\"name\":\"a\",\"name\":\"b\"}", &why), WEFT_EINVAL);
}

static void deep_nesting_is_refused_before_it_is_parsed(void **state)
{
    char *deep = malloc(30001);
    struct args args;
    wf_why why;

    (void)state;
    assert_non_null(deep);
    memset(deep, '[', 30000);
    deep[30000] = '\0';
    assert_int_equal(open_text(&args, deep, &why), WEFT_ELIMIT);
    memcpy(deep, "{\"a\":", 5);
    assert_int_equal(open_text(&args, deep, &why), WEFT_ELIMIT);
    /* Brackets inside of text are no nesting. */
    assert_int_equal(open_text(&args, "{\"a\":\"[[[[[[[[\\\"[[[[\"}", &why), WEFT_OK);
    args_close(&args);
    free(deep);
}

static void large_arguments_are_refused(void **state)
{
    char *large = malloc(ARGS_SIZE_MAX + 2);
    struct args args;
    wf_why why;

    (void)state;
    assert_non_null(large);
    memset(large, ' ', ARGS_SIZE_MAX + 1);
    large[ARGS_SIZE_MAX + 1] = '\0';
    large[0] = '{';
    large[ARGS_SIZE_MAX] = '}';
    assert_int_equal(open_text(&args, large, &why), WEFT_ELIMIT);
    large[ARGS_SIZE_MAX - 1] = '}';
    large[ARGS_SIZE_MAX] = '\0';
    assert_int_equal(open_text(&args, large, &why), WEFT_OK);
    args_close(&args);
    free(large);
}

static void a_misspelt_key_never_passes(void **state)
{
    struct args args;
    char name[WF_NAME_MAX + 1];
    wf_why why;

    (void)state;
    assert_int_equal(open_text(&args, "{\"name\":\"a\",\"Roles\":[]}", &why), WEFT_OK);
    assert_int_equal(args_name(&args, "name", true, name), WEFT_OK);
    assert_int_equal(args_end(&args), WEFT_EINVAL);
    assert_non_null(strstr(why.text, "Roles"));
    args_close(&args);
    assert_int_equal(args_open(&args, wf_span_of(NULL, 0), &why), WEFT_OK);
    assert_int_equal(args_end(&args), WEFT_OK);
    args_close(&args);
}

static void names_are_names(void **state)
{
    static const char *const bad[] = {
        "\"\"",
        "\"a b\"",
        "\"a\\n\"",
        "\"../x\"",
        "\"-a\"",
        "\"@a\"",
        "\"\\u00e9\"",
        "\"a/b\"",
        "7",
        "null",
        "[\"a\"]",
        "{\"a\":1}",
        "\".a\"",
        "true",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""};
    char json[256], name[WF_NAME_MAX + 1];
    struct args args;
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(json, sizeof json, "{\"name\":%s}", bad[i]);
        assert_int_equal(open_text(&args, json, &why), WEFT_OK);
        assert_int_equal(args_name(&args, "name", true, name), WEFT_EINVAL);
        args_close(&args);
    }
}

static void numbers_have_bounds(void **state)
{
    static const struct {
        const char *json;
        weft_err err;
        uint64_t value;
    } cases[] = {
        {"{}", WEFT_OK, 7},
        {"{\"n\":1}", WEFT_OK, 1},
        {"{\"n\":100}", WEFT_OK, 100},
        {"{\"n\":0}", WEFT_EINVAL, 0},
        {"{\"n\":101}", WEFT_EINVAL, 0},
        {"{\"n\":-1}", WEFT_EINVAL, 0},
        {"{\"n\":1.0}", WEFT_EINVAL, 0},
        {"{\"n\":\"1\"}", WEFT_EINVAL, 0},
        {"{\"n\":9223372036854775807}", WEFT_EINVAL, 0},
        {"{\"n\":null}", WEFT_EINVAL, 0},
    };
    struct args args;
    uint64_t n;
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(open_text(&args, cases[i].json, &why), WEFT_OK);
        assert_int_equal(args_number(&args, "n", 7, 1, 100, &n), cases[i].err);
        if (cases[i].err == WEFT_OK)
            assert_int_equal(n, cases[i].value);
        args_close(&args);
    }
    /* What doesn't fit an integer at all is no JSON of ours. */
    assert_int_equal(open_text(&args, "{\"n\":99999999999999999999}", &why), WEFT_EINVAL);
}

static void a_thing_is_named_by_name_or_by_id_not_both(void **state)
{
    char name[WF_NAME_MAX + 1];
    struct args args;
    bool by_id;
    wf_id id;
    wf_why why;
    static const struct {
        const char *json;
        weft_err err;
    } cases[] = {
        {"{\"name\":\"a\"}", WEFT_OK},
        {"{\"id\":\"00112233445566778899aabbccddeeff\"}", WEFT_OK},
        {"{}", WEFT_EINVAL},
        {"{\"name\":\"a\",\"id\":\"00112233445566778899aabbccddeeff\"}", WEFT_EINVAL},
        {"{\"id\":\"00112233445566778899AABBCCDDEEFF\"}", WEFT_EINVAL},
        {"{\"id\":\"0011\"}", WEFT_EINVAL},
        {"{\"id\":5}", WEFT_EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(open_text(&args, cases[i].json, &why), WEFT_OK);
        assert_int_equal(args_which(&args, &id, name, &by_id), cases[i].err);
        args_close(&args);
    }
}

static weft_err find(void *arg, const char *name, wf_id *id)
{
    (void)arg;
    if (strcmp(name, "known") != 0)
        return WEFT_ENOTFOUND;
    memset(id->b, 1, sizeof id->b);
    return WEFT_OK;
}

static void roles_are_all_attribute_or_a_known_name(void **state)
{
    static const struct {
        const char *json;
        weft_err err;
        size_t count;
    } cases[] = {
        {"{\"r\":[]}", WEFT_OK, 0},
        {"{\"r\":[\"#all\"]}", WEFT_OK, 1},
        {"{\"r\":[\"#ci\",\"@known\"]}", WEFT_OK, 2},
        {"{\"r\":[\"#all\",\"#ci\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"#ci\",\"#all\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"@unknown\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"ci\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"#\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"@\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"# ci\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[\"@all\"]}", WEFT_EINVAL, 0},
        {"{\"r\":[1]}", WEFT_EINVAL, 0},
        {"{\"r\":[null]}", WEFT_EINVAL, 0},
        {"{\"r\":\"#ci\"}", WEFT_EINVAL, 0},
        {"{\"r\":{\"#ci\":1}}", WEFT_EINVAL, 0},
        {"{}", WEFT_EINVAL, 0},
        {"{\"r\":[\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\","
         "\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\","
         "\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\",\"#a\"]}",
         WEFT_EINVAL, 0},
    };
    struct policy_role roles[POLICY_ROLES_MAX];
    struct args args;
    size_t count;
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        count = 99;
        assert_int_equal(open_text(&args, cases[i].json, &why), WEFT_OK);
        assert_int_equal(args_roles(&args, "r", true, find, NULL, roles, &count), cases[i].err);
        if (cases[i].err == WEFT_OK)
            assert_int_equal(count, cases[i].count);
        args_close(&args);
    }
}

static void a_thing_carries_attributes_only(void **state)
{
    struct store_roles roles;
    struct args args;
    wf_why why;

    (void)state;
    assert_int_equal(open_text(&args, "{\"r\":[\"#ci\",\"dev\"]}", &why), WEFT_OK);
    assert_int_equal(args_attributes(&args, "r", &roles), WEFT_OK);
    assert_int_equal(roles.count, 2);
    assert_string_equal(roles.names[0], "ci");
    assert_string_equal(roles.names[1], "dev");
    args_close(&args);
    assert_int_equal(open_text(&args, "{\"r\":[\"@known\"]}", &why), WEFT_OK);
    assert_int_equal(args_attributes(&args, "r", &roles), WEFT_EINVAL);
    args_close(&args);
    /* A thing that carries `all` would be no more than others, and look like everything. */
    assert_int_equal(open_text(&args, "{\"r\":[\"#all\"]}", &why), WEFT_OK);
    assert_int_equal(args_attributes(&args, "r", &roles), WEFT_EINVAL);
    args_close(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(deep_nesting_is_refused_before_it_is_parsed),
        cmocka_unit_test(large_arguments_are_refused),
        cmocka_unit_test(a_misspelt_key_never_passes),
        cmocka_unit_test(names_are_names),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(a_thing_is_named_by_name_or_by_id_not_both),
        cmocka_unit_test(roles_are_all_attribute_or_a_known_name),
        cmocka_unit_test(a_thing_carries_attributes_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
