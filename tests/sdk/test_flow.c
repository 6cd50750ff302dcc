/* Credit: arithmetic first, then properties of whole transfers in memory. */
#include "sdk/flow.h"
#include "tests/helpers/test.h"
#include "tests/sdk/talk.h"
#include <string.h>

/* ---- arithmetic */

static void both_directions_start_with_the_window(void **state)
{
    struct wf_flow f;
    (void)state;
    wf_flow_init(&f, 100000);
    assert_int_equal(wf_flow_room(&f), 100000);
    assert_int_equal(wf_flow_data_room(&f), 100000 - WF_WINDOW_RESERVE);
    assert_int_equal(wf_flow_received(&f, 100000, NULL), WEFT_OK);
    assert_int_equal(wf_flow_received(&f, 1, NULL), WEFT_EPROTO);
    assert_int_equal(f.received, 100000);
}

static void data_leaves_the_reserve_to_other_items(void **state)
{
    struct wf_flow f;
    (void)state;
    wf_flow_init(&f, WF_WINDOW_MIN);
    wf_flow_sent(&f, WF_WINDOW_MIN - WF_WINDOW_RESERVE);
    assert_int_equal(wf_flow_data_room(&f), 0);
    assert_int_equal(wf_flow_room(&f), WF_WINDOW_RESERVE);
}

static void a_router_may_lower_the_window_but_not_raise_it(void **state)
{
    struct wf_flow f;
    (void)state;
    wf_flow_init(&f, 500000);
    wf_flow_limit(&f, 100000);
    assert_int_equal(wf_flow_room(&f), 100000);
    wf_flow_limit(&f, UINT64_MAX);
    assert_int_equal(wf_flow_room(&f), 100000);
}

static void a_window_lowered_by_the_answer_never_stalls_the_way_back(void **state)
{
    struct wf_flow dialer, host;
    struct wf_ack ack;
    (void)state;
    /* any offer, any lower answer: small records flow back for ever */
    for (uint64_t offer = WF_WINDOW_MIN; offer <= WF_WINDOW_DEFAULT; offer += 65536) {
        for (uint64_t answer = WF_WINDOW_MIN; answer <= offer; answer += 40000) {
            wf_flow_init(&dialer, offer);
            wf_flow_init(&host, answer);
            wf_flow_limit(&dialer, answer);
            for (uint64_t total = 0; total < 3 * WF_WINDOW_DEFAULT; total += 90) {
                assert_true(wf_flow_data_room(&host) >= 90);
                wf_flow_sent(&host, 90);
                assert_int_equal(wf_flow_received(&dialer, 90, NULL), WEFT_OK);
                if (wf_flow_ack_due(&dialer, 0, &ack))
                    assert_int_equal(wf_flow_acked(&host, &ack, NULL), WEFT_OK);
            }
        }
    }
}

static void credit_is_given_by_the_quarter(void **state)
{
    struct wf_flow f;
    struct wf_ack ack;
    (void)state;
    wf_flow_init(&f, 100000);
    assert_int_equal(wf_flow_received(&f, 24999, NULL), WEFT_OK);
    assert_false(wf_flow_ack_due(&f, 0, &ack));
    assert_int_equal(wf_flow_received(&f, 1, NULL), WEFT_OK);
    assert_true(wf_flow_ack_due(&f, 0, &ack));
    assert_int_equal(ack.received, 25000);
    assert_int_equal(ack.credit, 125000);
    assert_false(wf_flow_ack_due(&f, 0, &ack));
}

static void what_the_application_holds_is_not_credited(void **state)
{
    struct wf_flow f;
    struct wf_ack ack;
    (void)state;
    wf_flow_init(&f, 100000);
    assert_int_equal(wf_flow_received(&f, 60000, NULL), WEFT_OK);
    assert_false(wf_flow_ack_due(&f, 50000, &ack));
    assert_true(wf_flow_ack_due(&f, 30000, &ack));
    assert_int_equal(ack.credit, 130000);
}

static void credit_that_was_given_is_never_taken_back(void **state)
{
    struct wf_flow f;
    struct wf_ack ack;
    (void)state;
    wf_flow_init(&f, 1000000);
    wf_flow_set_window(&f, WF_WINDOW_MIN);
    assert_int_equal(wf_flow_received(&f, 900000, NULL), WEFT_OK);
    assert_false(wf_flow_ack_due(&f, 0, &ack)); /* it may still send 100,000 */
    assert_int_equal(wf_flow_received(&f, 100000, NULL), WEFT_OK);
    assert_true(wf_flow_ack_due(&f, 0, &ack));
    assert_int_equal(ack.credit, 1000000 + WF_WINDOW_MIN);
}

static void no_ack_makes_a_sender_run_more_than_the_largest_window_ahead(void **state)
{
    struct wf_flow f;
    const struct wf_ack ack = {.received = 0, .credit = UINT64_MAX};
    (void)state;
    wf_flow_init(&f, WF_WINDOW_MIN);
    assert_int_equal(wf_flow_acked(&f, &ack, NULL), WEFT_OK);
    assert_int_equal(wf_flow_room(&f), WF_WINDOW_MAX);
    wf_flow_sent(&f, WF_WINDOW_MAX);
    assert_int_equal(wf_flow_room(&f), 0);
}

static void an_ack_of_what_was_never_sent_changes_nothing(void **state)
{
    struct wf_flow f;
    const struct wf_ack ack = {.received = 11, .credit = 1000000};
    (void)state;
    wf_flow_init(&f, WF_WINDOW_MIN);
    wf_flow_sent(&f, 10);
    assert_int_equal(wf_flow_acked(&f, &ack, NULL), WEFT_EPROTO);
    assert_int_equal(f.credit, WF_WINDOW_MIN);
    assert_int_equal(f.acked, 0);
}

/* ---- properties: random chunks, random readers, random windows */

static struct talk world, *const t = &world;
static uint32_t seed;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 2654435761u >> 7);
}

static void check_and_forget(struct end *end, uint64_t *at)
{
    for (size_t i = 0; i < end->heard.len; i++)
        assert_int_equal(end->heard.data[i], byte_at((*at)++));
    wf_buf_clear(&end->heard);
}

/* Writes a chunk in one direction; what doesn't fit is tried again in a later round. */
static void write_some(int side, uint64_t *at, uint64_t total)
{
    static uint8_t chunk[70000];
    size_t n = 1 + next_random() % (next_random() % 4 == 0 ? sizeof chunk : 300);
    if (n > total - *at)
        n = (size_t)(total - *at);
    for (size_t i = 0; i < n; i++)
        chunk[i] = byte_at(*at + i);
    size_t taken = 0;
    assert_int_equal(wf_session_write(t->end[side].session, chunk, n, &taken), WEFT_OK);
    *at += taken;
}

static void every_byte_arrives_once_and_in_order_and_memory_is_bounded(void **state)
{
    static const uint64_t windows[] = {WF_WINDOW_MIN, 100000, 300000, WF_WINDOW_DEFAULT};
    (void)state;
    for (unsigned run = 0; run < 24; run++) {
        uint64_t window = windows[run % 4], total = 200000 + next_random() % 3000000;
        uint64_t sent[2] = {0}, heard[2] = {0};
        seed = run * 7919 + 1;
        t->window = window;
        talk_open(t);
        talk_meet(t);
        for (unsigned round = 0; heard[0] < total || heard[1] < total; round++) {
            assert_true(round < 2000000);
            for (int side = 0; side < 2; side++) {
                struct end *end = &t->end[side];
                if (sent[side] < total && next_random() % 3 > 0)
                    write_some(side, &sent[side], total);
                end->take = next_random() % 8 == 0 ? SIZE_MAX : next_random() % 5000;
            }
            if (next_random() % 2 == 0)
                talk_settle(t);
            for (int side = 0; side < 2; side++) {
                struct end *end = &t->end[side];
                assert_int_equal(end->over, 0);
                /* And one record that was half here when credit was given. */
                assert_true(wf_session_held(end->session) <= window + WF_E2E_RECORD);
                if (next_random() % 3 == 0) {
                    end->take = next_random() % 100000;
                    wf_session_resume(end->session);
                }
                check_and_forget(end, &heard[side]);
            }
        }
        assert_int_equal(heard[DIALER], total);
        assert_int_equal(heard[HOST], total);
        assert_int_equal(wf_session_held(t->end[HOST].session), 0);
        for (int side = 0; side < 2; side++) {
            t->end[side].take = SIZE_MAX;
            assert_int_equal(wf_session_end(t->end[side].session), WEFT_OK);
        }
        talk_settle(t);
        assert_int_equal(t->end[DIALER].err, WEFT_OK);
        assert_int_equal(t->end[HOST].over, 1);
        assert_int_equal(t->end[HOST].err, WEFT_OK);
        talk_close(t);
    }
    t->window = WF_WINDOW_DEFAULT;
}

static void a_writer_that_was_held_back_is_told_when_it_may_go_on(void **state)
{
    static uint8_t block[65536];
    size_t taken;
    (void)state;
    t->window = WF_WINDOW_MIN;
    talk_open(t);
    talk_meet(t);
    t->end[HOST].take = 0;
    do {
        assert_int_equal(wf_session_write(t->end[DIALER].session, block, sizeof block, &taken),
                         WEFT_OK);
        talk_settle(t);
    } while (taken > 0);
    assert_int_equal(t->end[DIALER].writable, 0);
    t->end[HOST].take = SIZE_MAX;
    wf_session_resume(t->end[HOST].session);
    talk_settle(t);
    assert_int_equal(t->end[DIALER].writable, 1);
    t->window = WF_WINDOW_DEFAULT;
}

static void a_blocked_hop_holds_data_until_it_drains(void **state)
{
    size_t taken = 99;
    (void)state;
    talk_open(t);
    talk_meet(t);
    t->end[DIALER].blocked = true;
    assert_int_equal(wf_session_write(t->end[DIALER].session, (const uint8_t *)"x", 1, &taken),
                     WEFT_OK);
    assert_int_equal(taken, 0);
    /* Credit alone doesn't wake it: the hop is still full. */
    const struct wf_ack more = {.received = 0, .credit = 2 * WF_WINDOW_DEFAULT};
    wf_session_acked(t->end[DIALER].session, &more);
    assert_int_equal(t->end[DIALER].writable, 0);
    t->end[DIALER].blocked = false;
    wf_session_drained(t->end[DIALER].session);
    assert_int_equal(t->end[DIALER].writable, 1);
}

static void acknowledgements_are_few(void **state)
{
    static uint8_t block[1 << 20];
    unsigned acks = 0;
    size_t sent = 0, taken;
    (void)state;
    talk_open(t);
    talk_meet(t);
    while (sent < sizeof block) {
        assert_int_equal(
            wf_session_write(t->end[DIALER].session, block + sent, sizeof block - sent, &taken),
            WEFT_OK);
        sent += taken;
        if (taken == 0 || sent == sizeof block)
            for (uint64_t before = wf_session_flow(t->end[HOST].session)->granted;;) {
                talk_settle(t);
                uint64_t after = wf_session_flow(t->end[HOST].session)->granted;
                acks += (unsigned)((after - before) / (WF_WINDOW_DEFAULT / 4));
                break;
            }
    }
    /* 65 records; an ACK for each quarter of the window that was given anew. */
    assert_in_range(acks, 3, 5);
}

#define TALK(name) cmocka_unit_test_teardown(name, close_talk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_start_with_the_window),
        cmocka_unit_test(data_leaves_the_reserve_to_other_items),
        cmocka_unit_test(a_router_may_lower_the_window_but_not_raise_it),
        cmocka_unit_test(a_window_lowered_by_the_answer_never_stalls_the_way_back),
        cmocka_unit_test(credit_is_given_by_the_quarter),
        cmocka_unit_test(what_the_application_holds_is_not_credited),
        cmocka_unit_test(credit_that_was_given_is_never_taken_back),
        cmocka_unit_test(no_ack_makes_a_sender_run_more_than_the_largest_window_ahead),
        cmocka_unit_test(an_ack_of_what_was_never_sent_changes_nothing),
        TALK(every_byte_arrives_once_and_in_order_and_memory_is_bounded),
        TALK(a_writer_that_was_held_back_is_told_when_it_may_go_on),
        TALK(a_blocked_hop_holds_data_until_it_drains),
        TALK(acknowledgements_are_few),
    };
    talk_use(&world);
    return cmocka_run_group_tests_name("sdk_flow", tests, open_world, close_world);
}
