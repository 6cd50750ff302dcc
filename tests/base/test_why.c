/* Explanations: cut, printable, wrapped. */
#include "proto/base/why.h"
#include "tests/helpers/test.h"
#include <string.h>

static void an_explanation_is_kept_beside_the_error(void **state)
{
    (void)state;
    wf_why why;
    assert_int_equal(wf_fail(&why, WEFT_EREFUSED, "no %s for %d", "grant", 7), WEFT_EREFUSED);
    assert_string_equal(why.text, "no grant for 7");
}

static void nobody_has_to_listen(void **state)
{
    (void)state;
    assert_int_equal(wf_fail(NULL, WEFT_EIO, "%s", "x"), WEFT_EIO);
    assert_int_equal(wf_wrap(NULL, WEFT_EIO, "%s", "x"), WEFT_EIO);
}

static void a_wrap_puts_its_words_first(void **state)
{
    (void)state;
    wf_why why;
    wf_fail(&why, WEFT_EIO, "disk full");
    assert_int_equal(wf_wrap(&why, WEFT_EIO, "save %s", "a.json"), WEFT_EIO);
    assert_string_equal(why.text, "save a.json: disk full");
}

static void no_byte_from_outside_can_start_a_line(void **state)
{
    (void)state;
    wf_why why;
    wf_fail(&why, WEFT_EINVAL, "%s", "a\nb\r\x1b[2J\x7f\x80\xff");
    assert_string_equal(why.text, "a?b??[2J???");
    wf_wrap(&why, WEFT_EINVAL, "%s", "\n");
    assert_string_equal(why.text, "?: a?b??[2J???");
}

static void a_long_explanation_is_cut_and_ends(void **state)
{
    (void)state;
    char lot[2 * WF_WHY_MAX];
    memset(lot, 'x', sizeof lot - 1);
    lot[sizeof lot - 1] = '\0';
    wf_why why;
    memset(&why, 'y', sizeof why);
    wf_fail(&why, WEFT_EINVAL, "%s", lot);
    assert_int_equal(strlen(why.text), WF_WHY_MAX - 1);
    wf_wrap(&why, WEFT_EINVAL, "%s", lot);
    assert_int_equal(strlen(why.text), WF_WHY_MAX - 1);
    wf_fail(&why, WEFT_EINVAL, "tail");
    wf_wrap(&why, WEFT_EINVAL, "%.*s", WF_WHY_MAX - 4, lot);
    assert_int_equal(strlen(why.text), WF_WHY_MAX - 1);
}

static void an_explanation_may_quote_itself(void **state)
{
    (void)state;
    wf_why why;
    wf_fail(&why, WEFT_EINVAL, "inner");
    wf_fail(&why, WEFT_EINVAL, "outer (%s)", why.text);
    assert_string_equal(why.text, "outer (inner)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_explanation_is_kept_beside_the_error),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(a_wrap_puts_its_words_first),
        cmocka_unit_test(no_byte_from_outside_can_start_a_line),
        cmocka_unit_test(a_long_explanation_is_cut_and_ends),
        cmocka_unit_test(an_explanation_may_quote_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
