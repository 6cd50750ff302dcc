#include "proto/base/quota.h"
#include "tests/helpers/test.h"

static void one_key_holds_no_more_than_its_share(void **state)
{
    wf_map *rows = wf_map_new(2);
    struct wf_quota *a = NULL, *b = NULL, *none = NULL;

    (void)state;
    assert_int_equal(wf_quota_take(rows, "a", 1, 2, &a), WEFT_OK);
    assert_int_equal(wf_quota_take(rows, "a", 1, 2, &a), WEFT_OK);
    assert_int_equal(wf_quota_take(rows, "a", 1, 2, &none), WEFT_ELIMIT);
    assert_int_equal(wf_quota_take(rows, "b", 1, 2, &b), WEFT_OK);
    assert_int_equal(wf_quota_take(rows, "c", 1, 2, &none), WEFT_ELIMIT);
    assert_null(none);
    wf_quota_give(rows, a, 1);
    assert_int_equal(wf_quota_take(rows, "a", 1, 2, &a), WEFT_OK);
    wf_quota_give(rows, b, 1);
    assert_int_equal(wf_map_count(rows), 1);
    wf_quota_free(rows);
}

static void what_was_drawn_is_remembered_until_it_is_full_again(void **state)
{
    wf_map *rows = wf_map_new(2);
    struct wf_quota *row = NULL;

    (void)state;
    assert_int_equal(wf_quota_take(rows, "a", 1, 1, &row), WEFT_OK);
    assert_int_equal(wf_quota_draw(&row->full_at, 1000, 1, 500), 0);
    wf_quota_give(rows, row, 1000);
    assert_int_equal(wf_quota_take(rows, "a", 1, 1, &row), WEFT_OK);
    assert_int_equal(wf_quota_draw(&row->full_at, 1100, 1, 500), 400);
    wf_quota_give(rows, row, 1100);
    wf_quota_sweep(rows, 1499);
    assert_int_equal(wf_map_count(rows), 1);
    wf_quota_sweep(rows, 1500);
    assert_int_equal(wf_map_count(rows), 0);
    wf_quota_free(rows);
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
    uint64_t full_at = 0, now = 5000;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(wf_quota_draw(&full_at, now, 4, 125), 0);
    assert_int_equal(wf_quota_draw(&full_at, now, 4, 125), 125);
    assert_int_equal(wf_quota_draw(&full_at, now + 124, 4, 125), 1);
    assert_int_equal(wf_quota_draw(&full_at, now + 125, 4, 125), 0);
    assert_int_equal(wf_quota_draw(&full_at, now + 125, 4, 125), 125);
    now += 100000;
    for (int i = 0; i < 4; i++)
        assert_int_equal(wf_quota_draw(&full_at, now, 4, 125), 0);
    assert_int_not_equal(wf_quota_draw(&full_at, now, 4, 125), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_key_holds_no_more_than_its_share),
        cmocka_unit_test(what_was_drawn_is_remembered_until_it_is_full_again),
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
