/*
 * A router and two endpoints in one process, and no memory at some moment:
 * each allocation of a dial, a transfer and a bind fails once. Nothing
 * crashes or leaks, nothing false is heard, and afterwards all of it works.
 */
#include "proto/link/internal.h"
#include "sdk/endpoint.h"
#include "tests/helpers/alloc.h"
#include "tests/hostile/stage.h"

static struct stage stage;

/* A router that had no memory refused the bind: the next look, 15 s away, asks again. */
static void look_soon(void)
{
    wf_house_by(stage.host.endpoint, wf_now_mono_ms());
}

/* The endpoints find each other again: links are dialed, binds made. */
static void recover(unsigned n)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        stage_talk(&stage, 1000, 1000, 2000);
        stage_assert_no_gain(&stage);
        if (stage.dialer.err == WEFT_OK && stage.host.closed && stage.host.err == WEFT_OK)
            return;
        look_soon();
        stage_wait(&stage, 100, false);
    }
    fail_msg("allocation %u: nothing works any more: %s", n, stage.dialer.why);
}

static void a_dial_and_a_transfer_survive_each_failing_allocation(void **state)
{
    unsigned failures = 0;
    (void)state;
    recover(0);
    for (unsigned n = 1;; n++) {
        alloc_fail_at(n);
        stage_talk(&stage, 60000, 60000, 2000);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        stage_assert_no_gain(&stage);
        if (!failed) {
            stage_assert_whole(&stage);
            break;
        }
        failures++;
        recover(n);
    }
    print_message("%u allocations failed in turn\n", failures);
    assert_true(failures > 10);
}

static void a_bind_survives_each_failing_allocation(void **state)
{
    unsigned failures = 0;
    (void)state;
    for (unsigned n = 1;; n++) {
        if (stage.listeners[0] != NULL)
            weft_listener_close(stage.listeners[0]);
        stage_wait(&stage, 2000, stage.listeners[0] == NULL);
        assert_null(stage.listeners[0]);
        stage.web_is_bound = false;
        alloc_fail_at(n);
        weft_err err = stage_listen(&stage);
        if (err == WEFT_OK)
            stage_wait(&stage, 1000, stage.web_is_bound || alloc_has_failed());
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        if (err != WEFT_OK) {
            assert_int_equal(err, WEFT_ENOMEM);
            assert_int_equal(stage_listen(&stage), WEFT_OK);
        }
        look_soon();
        stage_wait(&stage, 5000, stage.web_is_bound);
        assert_true(stage.web_is_bound);
        if (!failed)
            break;
        failures++;
    }
    print_message("%u allocations failed in turn\n", failures);
    assert_true(failures > 5);
    recover(0);
}

static int open_stage(void **state)
{
    (void)state;
    stage_open(&stage);
    /* A link that fails every time is dialed after ever longer waits: not here. */
    stage.host.endpoint->net->times.backoff_max_ms = 20;
    stage.dialer.endpoint->net->times.backoff_max_ms = 20;
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bind_survives_each_failing_allocation),
        cmocka_unit_test(a_dial_and_a_transfer_survive_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
