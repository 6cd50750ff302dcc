/* Wiping and constant-time comparison: what they answer, not how long they take. */
#include "proto/base/secret.h"
#include "tests/helpers/test.h"
#include <string.h>

static void a_wipe_leaves_zeros_and_stays_inside(void **state)
{
    (void)state;
    unsigned char bytes[] = {1, 2, 3, 4};
    wf_wipe(bytes + 1, 2);
    assert_memory_equal(bytes, ((unsigned char[]){1, 0, 0, 4}), 4);
    wf_wipe(NULL, 0);
}

static void one_differing_bit_anywhere_is_seen(void **state)
{
    (void)state;
    unsigned char a[33] = {0}, b[33] = {0};
    assert_true(wf_equal_ct(a, b, sizeof a));
    for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_false(wf_equal_ct(a, b, sizeof a));
        b[bit / 8] = 0;
    }
    b[32] = 1;
    assert_true(wf_equal_ct(a, b, 32));
    assert_true(wf_equal_ct(NULL, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wipe_leaves_zeros_and_stays_inside),
        cmocka_unit_test(one_differing_bit_anywhere_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
