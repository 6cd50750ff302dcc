/* The hash map against a plain array, and its hash against its paper. */
#include "proto/base/map.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void siphash_gives_the_published_vectors(void **state)
{
    (void)state;
    /* The first, and the one of appendix A in "SipHash: a fast short-input PRF". */
    uint8_t key[16], data[64];
    for (unsigned i = 0; i < 16; i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(wf_siphash(key, data, 0), 0x726fdb47dd0e0e31u);
    assert_int_equal(wf_siphash(key, data, 1), 0x74f839c593dc67fdu);
    assert_int_equal(wf_siphash(key, data, 7), 0xab0200f58b01d137u);
    assert_int_equal(wf_siphash(key, data, 8), 0x93f5f5799a932462u);
    assert_int_equal(wf_siphash(key, data, 15), 0xa129ca6149be45e5u);
    assert_int_equal(wf_siphash(key, data, 63), 0x958a324ceb064572u);
}

static void what_was_added_is_found_until_it_is_removed(void **state)
{
    (void)state;
    wf_map *map = wf_map_new(10);
    int one, two;
    assert_null(wf_map_find(map, "a", 1));
    assert_null(wf_map_remove(map, "a", 1));
    assert_int_equal(wf_map_add(map, "a", 1, &one), WEFT_OK);
    assert_int_equal(wf_map_add(map, "a\0", 2, &two), WEFT_OK);
    assert_int_equal(wf_map_add(map, "a", 1, &two), WEFT_EEXIST);
    assert_ptr_equal(wf_map_find(map, "a", 1), &one);
    assert_ptr_equal(wf_map_find(map, "a\0", 2), &two);
    assert_ptr_equal(wf_map_remove(map, "a", 1), &one);
    assert_null(wf_map_find(map, "a", 1));
    assert_ptr_equal(wf_map_find(map, "a\0", 2), &two);
    assert_int_equal(wf_map_count(map), 1);
    wf_map_free(map);
    wf_map_free(NULL);
}

static void the_key_is_copied(void **state)
{
    (void)state;
    wf_map *map = wf_map_new(1);
    char key[64];
    memset(key, 'k', sizeof key);
    assert_int_equal(wf_map_add(map, key, sizeof key, map), WEFT_OK);
    memset(key, 'x', sizeof key);
    assert_null(wf_map_find(map, key, sizeof key));
    memset(key, 'k', sizeof key);
    assert_non_null(wf_map_find(map, key, sizeof key));
    wf_map_free(map);
}

static void a_key_of_a_wrong_length_is_just_absent(void **state)
{
    (void)state;
    wf_map *map = wf_map_new(1);
    char lot[65] = {0};
    wf_map_add(map, lot, 64, map);
    assert_null(wf_map_find(map, lot, 65));
    assert_null(wf_map_find(map, lot, 0));
    assert_null(wf_map_remove(map, lot, 65));
    wf_map_free(map);
}

static void the_maximum_counts_live_entries(void **state)
{
    (void)state;
    wf_map *map = wf_map_new(3);
    assert_int_equal(wf_map_add(map, "a", 1, map), WEFT_OK);
    assert_int_equal(wf_map_add(map, "b", 1, map), WEFT_OK);
    assert_int_equal(wf_map_add(map, "c", 1, map), WEFT_OK);
    assert_int_equal(wf_map_add(map, "d", 1, map), WEFT_ELIMIT);
    assert_int_equal(wf_map_add(map, "a", 1, map), WEFT_EEXIST);
    wf_map_remove(map, "b", 1);
    assert_int_equal(wf_map_add(map, "d", 1, map), WEFT_OK);
    wf_map_free(map);

    map = wf_map_new(0);
    assert_int_equal(wf_map_add(map, "a", 1, map), WEFT_ELIMIT);
    wf_map_free(map);
}

#define KEYS 500

static void ten_thousand_random_moves_agree_with_a_plain_array(void **state)
{
    (void)state;
    int *present[KEYS] = {0};
    int values[KEYS];
    size_t count = 0;
    wf_map *map = wf_map_new(KEYS);
    srand(20260101);
    for (int move = 0; move < 10000; move++) {
        unsigned k = (unsigned)rand() % KEYS;
        if (rand() % 2 == 0) {
            weft_err err = wf_map_add(map, &k, sizeof k, &values[k]);
            assert_int_equal(err, present[k] == NULL ? WEFT_OK : WEFT_EEXIST);
            count += present[k] == NULL;
            present[k] = &values[k];
        } else {
            assert_ptr_equal(wf_map_remove(map, &k, sizeof k), present[k]);
            count -= present[k] != NULL;
            present[k] = NULL;
        }
        assert_int_equal(wf_map_count(map), count);
        k = (unsigned)rand() % KEYS;
        assert_ptr_equal(wf_map_find(map, &k, sizeof k), present[k]);
    }
    for (unsigned k = 0; k < KEYS; k++)
        assert_ptr_equal(wf_map_find(map, &k, sizeof k), present[k]);
    wf_map_free(map);
}

static void endless_adding_and_removing_keeps_its_memory_bounded(void **state)
{
    (void)state;
    wf_map *map = wf_map_new(4);
    alloc_fail_at(0);
    for (unsigned k = 0; k < 100000; k++) {
        assert_int_equal(wf_map_add(map, &k, sizeof k, map), WEFT_OK);
        assert_ptr_equal(wf_map_remove(map, &k, sizeof k), map);
    }
    assert_true(alloc_largest() <= 256);
    wf_map_free(map);
}

static void a_walk_sees_each_value_once_even_while_it_removes(void **state)
{
    (void)state;
    struct {
        unsigned key;
        int seen;
    } rows[KEYS] = {0};
    wf_map *map = wf_map_new(KEYS);
    for (unsigned k = 0; k < KEYS; k++) {
        rows[k].key = k;
        wf_map_add(map, &rows[k].key, sizeof k, &rows[k]);
    }
    size_t cursor = 0;
    unsigned *key; /* the first member of the row */
    int turn = 0;
    while ((key = wf_map_next(map, &cursor)) != NULL) {
        rows[*key].seen++;
        if (turn++ % 2 == 0)
            assert_ptr_equal(wf_map_remove(map, key, sizeof *key), &rows[*key]);
    }
    for (unsigned k = 0; k < KEYS; k++)
        assert_int_equal(rows[k].seen, 1);
    assert_int_equal(wf_map_count(map), KEYS / 2);
    assert_null(wf_map_next(map, &cursor));
    wf_map_free(map);
}

static void where_a_key_lands_is_not_known_to_a_stranger(void **state)
{
    (void)state;
    /* The same keys in two maps come out in two orders; by chance they agree once in 100!. */
    uint8_t keys[100];
    wf_map *a = wf_map_new(100), *b = wf_map_new(100);
    for (unsigned i = 0; i < sizeof keys; i++) {
        keys[i] = (uint8_t)i;
        wf_map_add(a, &keys[i], 1, &keys[i]);
        wf_map_add(b, &keys[i], 1, &keys[i]);
    }
    size_t at = 0, bt = 0;
    unsigned differ = 0;
    for (unsigned i = 0; i < sizeof keys; i++)
        differ += wf_map_next(a, &at) != wf_map_next(b, &bt);
    assert_true(differ > 0);
    wf_map_free(a);
    wf_map_free(b);
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    alloc_fail_at(1);
    assert_null(wf_map_new(1));
    wf_map *map = wf_map_new(1000);
    for (unsigned k = 0; k < 100; k++) {
        unsigned n = 1;
        for (;; n++) {
            alloc_fail_at(n);
            weft_err err = wf_map_add(map, &k, sizeof k, map);
            if (!alloc_has_failed()) {
                assert_int_equal(err, WEFT_OK);
                break;
            }
            assert_int_equal(err, WEFT_ENOMEM);
            assert_int_equal(wf_map_count(map), k);
        }
        assert_true(n >= 2);
        alloc_fail_at(0);
        for (unsigned seen = 0; seen <= k; seen++)
            assert_non_null(wf_map_find(map, &seen, sizeof seen));
    }
    wf_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_gives_the_published_vectors),
        cmocka_unit_test(what_was_added_is_found_until_it_is_removed),
        cmocka_unit_test(the_key_is_copied),
        cmocka_unit_test(a_key_of_a_wrong_length_is_just_absent),
        cmocka_unit_test(the_maximum_counts_live_entries),
        cmocka_unit_test(ten_thousand_random_moves_agree_with_a_plain_array),
        cmocka_unit_test(endless_adding_and_removing_keeps_its_memory_bounded),
        cmocka_unit_test(a_walk_sees_each_value_once_even_while_it_removes),
        cmocka_unit_test(where_a_key_lands_is_not_known_to_a_stranger),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
