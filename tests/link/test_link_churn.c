/* Ten thousand links, some ended early, half of them cut: nothing may stay. */
#include "tests/link/bench.h"

static struct bench bench;

static int setup(void **state)
{
    bench_init(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    bench_fini(*state);
    return 0;
}

/* The sanitizer is the judge of the memory; here of what is counted. */
static void ten_thousand_links_come_and_go_without_a_trace(void **state)
{
    struct bench *b = *state;
    enum { BATCH = 50, ROUNDS = 200 };
    static struct end ends[BATCH];
    b->crowd = true;
    bench_listen(b, NULL);
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    for (unsigned round = 0; round < ROUNDS; round++) {
        memset(ends, 0, sizeof ends);
        for (unsigned i = 0; i < BATCH; i++) {
            struct wf_link_config dial = bench_config(b, &ends[i]);
            ends[i].bench = b;
            assert_int_equal(wf_link_dial(b->net, &b->address, &dial, &ends[i].link), WEFT_OK);
            if (i % 5 == 4) /* some never get far */
                wf_link_cut(ends[i].link, WEFT_ECANCELED, NULL);
        }
        for (unsigned i = 0; i < BATCH; i++)
            bench_wait(b, 10000, ends[i].up == 1 || ends[i].closed == 1);
        for (unsigned i = 0; i < BATCH; i++)
            if (ends[i].link != NULL) {
                if (i % 2 == 0)
                    wf_link_close(ends[i].link);
                else
                    wf_link_cut(ends[i].link, WEFT_ECANCELED, NULL);
            }
        for (unsigned i = 0; i < BATCH; i++)
            bench_wait(b, 10000, ends[i].closed == 1);
    }
    bench_wait(b, 5000, counters->links_open == 0 && counters->handshakes_pending == 0);
    bench_run(b, 5);
    assert_int_equal(counters->output_queued, 0);
    assert_true(b->net->wheel.count <= 1); /* the log's ten seconds at most */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ten_thousand_links_come_and_go_without_a_trace, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
