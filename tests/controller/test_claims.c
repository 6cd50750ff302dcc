/* Conditions on claims, and names made from them: what holds, what doesn't, what is neither. */
#include "controller/claims.h"
#include "controller/template.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <string.h>

static void a_claim_equals_to_the_last_letter(void **state)
{
    (void)state;
    assert_true(claims_fit("ref == refs/heads/main", "refs/heads/main"));
    assert_false(claims_fit("ref == refs/heads/main", "refs/heads/main2"));
    assert_false(claims_fit("ref == refs/heads/main", "Refs/heads/main"));
    assert_false(claims_fit("ref == refs/heads/main", ""));
    assert_true(claims_fit("ref == refs/*", "refs/*")); /* a star is a star here */
    assert_false(claims_fit("ref == refs/*", "refs/a"));
}

static void a_claim_that_must_differ_must_be_there(void **state)
{
    (void)state;
    assert_true(claims_fit("ref != refs/heads/wip", "refs/heads/main"));
    assert_false(claims_fit("ref != refs/heads/wip", "refs/heads/wip"));
    assert_false(claims_fit("ref != refs/heads/wip", NULL));
    assert_false(claims_fit("ref == x", NULL));
    assert_false(claims_fit("ref ~ x*", NULL));
}

static void a_star_stands_for_any_run_of_characters(void **state)
{
    (void)state;
    assert_true(claims_fit("ref ~ refs/tags/v*", "refs/tags/v1.2"));
    assert_true(claims_fit("ref ~ refs/tags/v*", "refs/tags/v"));
    assert_false(claims_fit("ref ~ refs/tags/v*", "refs/tags/1.2"));
    assert_false(claims_fit("ref ~ refs/tags/v*", "x/refs/tags/v1"));
    assert_true(claims_fit("ref ~ a*b*c", "aXbXbXc"));
    assert_true(claims_fit("ref ~ a*b*c", "abc"));
    assert_false(claims_fit("ref ~ a*b*c", "aXbX"));
    assert_false(claims_fit("ref ~ a*b*c", "aXcXb"));
    assert_true(claims_fit("ref ~ a**", "a"));
    assert_false(claims_fit("ref ~ abc", "abcd"));
    assert_true(claims_fit("ref ~ *ab", "aaab")); /* the first try of the star is too short */
}

static void what_is_no_condition_is_refused_and_never_holds(void **state)
{
    static const char *const wrong[] = {"",        "ref",      "ref==main", "ref = main",
                                        "ref == ", "== main",  " == x",     "ref =~ x",
                                        "ref ~ *", "ref ~ **", "ref ==  x"};
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(claims_check(wrong[i], &why), WEFT_EINVAL);
        if (strchr(wrong[i], '*') == NULL)
            assert_false(claims_fit(wrong[i], "main"));
    }
    assert_int_equal(claims_check("ref ~ v*", &why), WEFT_OK);
    assert_int_equal(claims_check("sub == repo:acme/shop:ref:x y", &why), WEFT_OK);
}

/* ---- names */

static const char *value(void *arg, const char *placeholder)
{
    return strcmp(placeholder, "cn") == 0 ? arg : NULL;
}

static const char *name_of(const char *template, const char *cn)
{
    static char out[WF_NAME_MAX + 1];
    static char text[512];
    wf_why why;

    snprintf(text, sizeof text, "%s", cn);
    return template_fill(template, value, text, out, &why) == WEFT_OK ? out : NULL;
}

static void a_template_names_what_it_was_given(void **state)
{
    (void)state;
    assert_string_equal(name_of("{cn}", "web-1.acme"), "web-1.acme");
    assert_string_equal(name_of("ci-{cn}-{cn}", "a"), "ci-a-a");
    assert_string_equal(name_of("ci:{cn}", "acme/shop"), "ci_3aacme_2fshop");
}

static void no_two_texts_make_one_name(void **state)
{
    static const char *const texts[] = {"a/b",  "a_2fb", "a_5f2fb", "a__2fb",
                                        "a_/b", "a_b",   "a b",     "a_20b"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t k = 0; k < i; k++) {
            char first[WF_NAME_MAX + 1];

            snprintf(first, sizeof first, "%s", name_of("x{cn}", texts[i]));
            assert_string_not_equal(first, name_of("x{cn}", texts[k]));
        }
}

static void a_name_that_can_t_be_made_is_refused(void **state)
{
    char longest[WF_NAME_MAX + 2];

    (void)state;
    memset(longest, 'a', sizeof longest);
    longest[WF_NAME_MAX + 1] = '\0';
    assert_null(name_of("{cn}", longest));
    assert_non_null(name_of("{cn}", longest + 1));
    assert_null(name_of("{cn}", longest + 1 + WF_NAME_MAX)); /* empty */
    assert_null(name_of("{sub}", "a"));
    assert_null(name_of("{cn}", "a\nb"));
}

static void a_template_without_a_placeholder_is_none(void **state)
{
    static const char *const known[] = {"cn", NULL};
    wf_why why;

    (void)state;
    assert_int_equal(template_check("x-{cn}", known, &why), WEFT_OK);
    assert_int_equal(template_check("x", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("{cn", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("cn}", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("{}", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("{sub}", known, &why), WEFT_EINVAL);
    assert_int_equal(template_check("{sub}", NULL, &why), WEFT_OK);
    assert_int_equal(template_check("{cn}\n", known, &why), WEFT_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_equals_to_the_last_letter),
        cmocka_unit_test(a_claim_that_must_differ_must_be_there),
        cmocka_unit_test(a_star_stands_for_any_run_of_characters),
        cmocka_unit_test(what_is_no_condition_is_refused_and_never_holds),
        cmocka_unit_test(a_template_names_what_it_was_given),
        cmocka_unit_test(no_two_texts_make_one_name),
        cmocka_unit_test(a_name_that_can_t_be_made_is_refused),
        cmocka_unit_test(a_template_without_a_placeholder_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
