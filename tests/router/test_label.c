/* Labels against a plain list of those that are held. */
#include "router/label.h"
#include "tests/helpers/test.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void a_label_finds_what_it_was_taken_for(void **state)
{
    struct labels labels;
    int a, b;
    uint32_t la, lb;

    (void)state;
    labels_init(&labels, 7, 100);
    assert_null(labels_find(&labels, 7));
    assert_int_equal(labels_take(&labels, &a, &la), WEFT_OK);
    assert_int_equal(labels_take(&labels, &b, &lb), WEFT_OK);
    assert_int_not_equal(la, lb);
    assert_ptr_equal(labels_find(&labels, la), &a);
    assert_ptr_equal(labels_find(&labels, lb), &b);
    assert_null(labels_find(&labels, 0));
    labels_put(&labels, la);
    assert_null(labels_find(&labels, la));
    assert_ptr_equal(labels_find(&labels, lb), &b);
    labels_put(&labels, lb);
    assert_null(labels.slots);
    labels_fini(&labels);
}

static void a_label_is_never_zero_and_skips_those_held(void **state)
{
    struct labels labels;
    int x;
    uint32_t first, second, third;

    (void)state;
    labels_init(&labels, UINT32_MAX, 100);
    assert_int_equal(labels_take(&labels, &x, &first), WEFT_OK);
    assert_int_equal(first, UINT32_MAX);
    assert_int_equal(labels_take(&labels, &x, &second), WEFT_OK);
    assert_int_equal(second, 1);
    /* The counter comes round to labels that are still held. */
    labels.next = UINT32_MAX;
    assert_int_equal(labels_take(&labels, &x, &third), WEFT_OK);
    assert_int_equal(third, 2);
    labels_put(&labels, first);
    labels_put(&labels, second);
    labels_put(&labels, third);
    labels_fini(&labels);
}

static void a_label_given_back_is_not_given_out_next(void **state)
{
    struct labels labels;
    int x;
    uint32_t a, b;

    (void)state;
    labels_init(&labels, 5, 100);
    assert_int_equal(labels_take(&labels, &x, &a), WEFT_OK);
    labels_put(&labels, a);
    assert_int_equal(labels_take(&labels, &x, &b), WEFT_OK);
    assert_int_not_equal(a, b);
    labels_put(&labels, b);
    labels_fini(&labels);
}

static void no_more_labels_than_allowed_are_held(void **state)
{
    struct labels labels;
    int x;
    uint32_t label[4];

    (void)state;
    labels_init(&labels, 1, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(labels_take(&labels, &x, &label[i]), WEFT_OK);
    assert_int_equal(labels_take(&labels, &x, &label[3]), WEFT_ELIMIT);
    labels_put(&labels, label[1]);
    assert_int_equal(labels_take(&labels, &x, &label[3]), WEFT_OK);
    labels_put(&labels, label[0]);
    labels_put(&labels, label[2]);
    labels_put(&labels, label[3]);
    labels_fini(&labels);
}

#define MANY 3000

static void random_use_agrees_with_a_plain_list(void **state)
{
    static struct {
        uint32_t label;
        int value;
    } held[MANY];
    size_t count = 0;
    struct labels labels;
    unsigned seed = 12345;

    (void)state;
    labels_init(&labels, UINT32_MAX - 500, MANY);
    for (int round = 0; round < 40000; round++) {
        seed = seed * 1103515245u + 12345u;
        unsigned dice = seed >> 16;
        /* Phases that grow and phases that shrink. */
        bool grow = (round / 5000) % 2 == 0 ? dice % 4 != 0 : dice % 4 == 0;

        if (grow && count < MANY) {
            assert_int_equal(labels_take(&labels, &held[count].value, &held[count].label), WEFT_OK);
            /* The value's address must stay, so values live where their index is. */
            count++;
        } else if (count > 0) {
            labels_put(&labels, held[count - 1].label);
            assert_null(labels_find(&labels, held[count - 1].label));
            count--;
        }
        if (count > 0) {
            size_t i = dice % count;
            assert_ptr_equal(labels_find(&labels, held[i].label), &held[i].value);
        }
        assert_int_equal(labels.count, count);
    }
    /* Put from the front, so that gaps close in the other order too. */
    uint32_t cursor = 0;
    size_t met = 0;
    while (labels_next(&labels, &cursor) != NULL)
        met++;
    assert_int_equal(met, count);
    for (size_t i = 0; i < count; i++) {
        labels_put(&labels, held[i].label);
        for (size_t j = i + 1; j < count; j += 97)
            assert_ptr_equal(labels_find(&labels, held[j].label), &held[j].value);
    }
    assert_null(labels.slots);
    labels_fini(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_finds_what_it_was_taken_for),
        cmocka_unit_test(a_label_is_never_zero_and_skips_those_held),
        cmocka_unit_test(a_label_given_back_is_not_given_out_next),
        cmocka_unit_test(no_more_labels_than_allowed_are_held),
        cmocka_unit_test(random_use_agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
