/* Paths against an oracle that relaxes every edge until nothing changes. */
#include "router/path.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

#define N 24

static wf_id id_of(unsigned n)
{
    wf_id id = {{0}};
    id.b[0] = 1;
    id.b[15] = (uint8_t)n;
    return id;
}

static void report(struct paths *paths, unsigned who, uint64_t sequence, const unsigned *to,
                   size_t count, bool expect)
{
    wf_id self = id_of(who), ids[N];
    bool changed = !expect;

    for (size_t i = 0; i < count; i++)
        ids[i] = id_of(to[i]);
    assert_int_equal(paths_set(paths, &self, sequence, ids, count, &changed), WEFT_OK);
    assert_int_equal(changed, expect);
}

static uint32_t distance(struct paths *paths, unsigned to)
{
    wf_id id = id_of(to);
    return paths_distance(paths, &id);
}

static void a_link_counts_only_if_both_ends_report_it(void **state)
{
    wf_id self = id_of(0);
    struct paths *paths = paths_new(&self);

    (void)state;
    report(paths, 0, 1, (unsigned[]){1}, 1, true);
    assert_int_equal(distance(paths, 1), UINT32_MAX);
    report(paths, 1, 1, (unsigned[]){2}, 1, true);
    report(paths, 2, 1, (unsigned[]){1, 0}, 2, true);
    assert_int_equal(distance(paths, 1), UINT32_MAX);
    assert_int_equal(distance(paths, 2), UINT32_MAX); /* 2 claims us, we don't know it */
    report(paths, 1, 2, (unsigned[]){0, 2}, 2, true);
    assert_int_equal(distance(paths, 1), 1);
    assert_int_equal(distance(paths, 2), 2);
    assert_int_equal(distance(paths, 0), 0);
    paths_free(paths);
}

static void an_older_report_changes_nothing(void **state)
{
    wf_id self = id_of(0), one = id_of(1);
    struct paths *paths = paths_new(&self);

    (void)state;
    report(paths, 0, 1, (unsigned[]){1}, 1, true);
    report(paths, 1, 9, (unsigned[]){0}, 1, true);
    report(paths, 1, 9, (unsigned[]){2}, 1, false);
    report(paths, 1, 8, NULL, 0, false);
    assert_int_equal(distance(paths, 1), 1);
    assert_int_equal(paths_sequence(paths, &one), 9);
    report(paths, 1, 10, NULL, 0, true);
    assert_int_equal(distance(paths, 1), UINT32_MAX);
    paths_free(paths);
}

static void a_forgotten_router_carries_no_path(void **state)
{
    wf_id self = id_of(0), one = id_of(1);
    struct paths *paths = paths_new(&self);

    (void)state;
    report(paths, 0, 1, (unsigned[]){1}, 1, true);
    report(paths, 1, 1, (unsigned[]){0, 2}, 2, true);
    report(paths, 2, 1, (unsigned[]){1}, 1, true);
    assert_int_equal(distance(paths, 2), 2);
    paths_remove(paths, &one);
    assert_int_equal(distance(paths, 2), UINT32_MAX);
    paths_free(paths);
}

static void a_path_longer_than_a_setup_carries_is_none(void **state)
{
    wf_id self = id_of(0), out[WF_PATH_MAX], far = id_of(WF_PATH_MAX),
          farther = id_of(WF_PATH_MAX + 1);
    struct paths *paths = paths_new(&self);

    (void)state;
    for (unsigned i = 0; i <= WF_PATH_MAX + 1; i++)
        report(paths, i, 1, (unsigned[]){i + 1, i == 0 ? 1 : i - 1}, 2, true);
    assert_int_equal(paths_find(paths, &far, out), WF_PATH_MAX);
    assert_int_equal(paths_find(paths, &farther, out), 0);
    assert_int_equal(paths_distance(paths, &farther), UINT32_MAX);
    paths_free(paths);
}

static void every_path_is_a_shortest_one(void **state)
{
    unsigned seed = 99;

    (void)state;
    for (int round = 0; round < 300; round++) {
        bool says[N][N] = {{false}};
        uint32_t want[N];
        wf_id self = id_of(0);
        struct paths *paths = paths_new(&self);

        for (unsigned a = 0; a < N; a++) {
            unsigned to[N];
            size_t count = 0;

            for (unsigned b = 0; b < N; b++) {
                seed = seed * 1103515245u + 12345u;
                says[a][b] = (seed >> 16) % 100 < 10 + (unsigned)round % 30;
                if (says[a][b])
                    to[count++] = b;
            }
            report(paths, a, 1, to, count, true);
        }
        for (unsigned i = 0; i < N; i++)
            want[i] = i == 0 ? 0 : UINT32_MAX;
        for (int step = 0; step < N; step++)
            for (unsigned a = 0; a < N; a++)
                for (unsigned b = 0; b < N; b++)
                    if (a != b && says[a][b] && says[b][a] && want[a] < WF_PATH_MAX &&
                        want[a] + 1 < want[b])
                        want[b] = want[a] + 1;
        for (unsigned i = 1; i < N; i++) {
            wf_id to = id_of(i), out[WF_PATH_MAX];
            size_t count = paths_find(paths, &to, out);
            unsigned at = 0;

            assert_int_equal(distance(paths, i), want[i]);
            assert_int_equal(count, want[i] == UINT32_MAX ? 0 : want[i]);
            for (size_t k = 0; k < count; k++) { /* every step is a link that both report */
                unsigned next = out[k].b[15];
                assert_true(says[at][next] && says[next][at]);
                at = next;
            }
            assert_true(count == 0 || at == i);
        }
        paths_free(paths);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_counts_only_if_both_ends_report_it),
        cmocka_unit_test(an_older_report_changes_nothing),
        cmocka_unit_test(a_forgotten_router_carries_no_path),
        cmocka_unit_test(a_path_longer_than_a_setup_carries_is_none),
        cmocka_unit_test(every_path_is_a_shortest_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
