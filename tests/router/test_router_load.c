/* Links that don't take what they are sent: queues, the budget, fairness, ACKs. */
#include "tests/router/fabric.h"
#include <stdlib.h>

struct pair {
    struct fabric f;
    struct station s;
    struct raw dialer, host;
};

static int pair_setup(void **state)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    station_init(&p->s, &p->f, "edge");
    p->s.memory = 4u << 20;
    station_start(&p->s);
    raw_init(&p->dialer, &p->f, "ci");
    raw_init(&p->host, &p->f, "web-host");
    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    raw_fini(&p->dialer);
    raw_fini(&p->host);
    station_fini(&p->s);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

/* The host gives a circuit much more credit than the window that the router allowed. */
static void give_credit(struct pair *p, const struct raw_circuit *c)
{
    unsigned before = p->dialer.ack_count;

    raw_ack(&p->host, c->host_out, 0, WF_WINDOW_MAX);
    fabric_wait(&p->f, 5000, p->dialer.ack_count == before + 1);
}

/* Sends full frames until the router has queued this many bytes, or closes it; what was sent. */
static uint64_t fill(struct pair *p, uint32_t label, uint64_t queued)
{
    uint64_t sent = 0;

    while (station_counters(&p->s)->queued_bytes < queued && p->dialer.close_count == 0) {
        raw_zeros(&p->dialer, label, WF_DATA_MAX);
        sent += WF_DATA_MAX;
        assert_true(sent < 15u << 20);
        (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
    }
    return sent;
}

/* As fill, until the sockets take nothing more: they grow for a while. */
static uint64_t plug(struct pair *p, uint32_t label, uint64_t queued)
{
    uint64_t sent = 0, before;

    do {
        sent += fill(p, label, queued);
        before = station_counters(&p->s)->queued_bytes;
        fabric_run(&p->f, 60);
    } while (station_counters(&p->s)->queued_bytes < before);
    return sent;
}

static void what_a_blocked_link_can_not_take_waits_and_arrives_whole(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);
    uint64_t sent;

    give_credit(p, &c);
    raw_pause(&p->host);
    sent = plug(p, c.dialer_out, 2u << 20);
    raw_data(&p->dialer, c.dialer_out, "the last", 8);
    p->dialer.answers_close = false;
    raw_close(&p->dialer, c.dialer_out, 0);
    fabric_run(&p->f, 30);
    assert_int_equal(p->dialer.close_count, 1); /* answered at once: it has nothing more to say */
    raw_resume(&p->host);
    fabric_wait(&p->f, 10000, p->host.close_count == 1);
    assert_int_equal(p->host.data_bytes, sent + 8);
    assert_memory_equal(p->host.data_last, "the last", 8);
    assert_int_equal(p->host.close_code, 0);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->queued_bytes == 0);
    assert_true(station_counters(&p->s)->frames_queued > 0);
}

static void over_the_budget_the_circuit_above_its_window_goes_first(void **state)
{
    struct pair *p = *state;
    struct raw_circuit good = raw_connect(&p->dialer, &p->host, 0);
    struct raw_circuit greedy = raw_connect(&p->dialer, &p->host, 0);
    uint64_t window = p->host.setups[1].window;

    assert_int_equal(window, (4u << 20) / 16); /* lowered to the router's share */
    give_credit(p, &greedy);
    station_stall(&p->s, &p->host);
    for (int i = 0; i < 15; i++) /* all within its window */
        raw_zeros(&p->dialer, good.dialer_out, WF_DATA_MAX);
    fill(p, greedy.dialer_out, UINT64_MAX);
    assert_int_equal(p->dialer.close_count, 1);
    assert_int_equal(p->dialer.close_label, greedy.dialer_in);
    assert_int_equal(p->dialer.close_code, WEFT_ELIMIT);
    assert_int_equal(station_counters(&p->s)->closed_budget, 1);
    assert_int_equal(station_counters(&p->s)->circuits, 1);
    assert_true(station_counters(&p->s)->queued_bytes < 15u * 17000);
    p->host.out_label = greedy.host_out;
    station_release(&p->s, &p->host);
    fabric_wait(&p->f, 5000,
                p->host.bytes_of[good.host_in % RAW_LABELS] == 15u * WF_DATA_MAX &&
                    p->host.close_count == 1);
    assert_int_equal(p->host.close_label, greedy.host_in);
    assert_int_equal(p->host.close_code, WEFT_ELIMIT);
    assert_int_equal(p->host.bytes_of[greedy.host_in % RAW_LABELS], 0);
    assert_non_null(strstr(p->f.log, "over the memory budget"));
}

#define MANY 40

static void the_largest_backlog_goes_first_but_behind_those_above_their_window(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c[MANY], small;

    for (int i = 0; i < MANY; i++)
        c[i] = raw_connect(&p->dialer, &p->host, 0);
    small = raw_connect(&p->dialer, &p->host, WF_WINDOW_MIN);
    give_credit(p, &small);
    p->dialer.answers_close = p->host.answers_close = false;
    station_stall(&p->s, &p->host);
    for (int n = 0; n < 16; n++) /* number 7 is the fullest of those within their windows */
        raw_zeros(&p->dialer, c[7].dialer_out, WF_DATA_MAX);
    for (int n = 0; n < 6; n++) /* little, but more than its own small window */
        raw_zeros(&p->dialer, small.dialer_out, WF_DATA_MAX);
    for (int i = 0; i < MANY && p->dialer.close_count < 2; i++) {
        for (int n = 0; n < (i == 0 ? 10 : 14) && i != 7; n++)
            raw_zeros(&p->dialer, c[i].dialer_out, WF_DATA_MAX);
        fabric_run(&p->f, 5);
    }
    fabric_wait(&p->f, 5000, p->dialer.close_count >= 2);
    assert_int_equal(p->dialer.closes[0], small.dialer_in);
    assert_int_equal(p->dialer.closes[1], c[7].dialer_in);
    fabric_run(&p->f, 50);
    assert_true(station_counters(&p->s)->queued_bytes <= 4u << 20);
    assert_int_equal(station_counters(&p->s)->circuits, MANY + 1 - p->dialer.close_count);
    assert_int_equal(station_counters(&p->s)->closed_budget, p->dialer.close_count);
    station_release(&p->s, &p->host);
    fabric_wait(&p->f, 10000, p->host.bytes_of[c[0].host_in % RAW_LABELS] == 10u * WF_DATA_MAX);
    fabric_wait(&p->f, 10000, station_counters(&p->s)->queued_bytes == 0);
}

static void a_stalled_reader_does_not_stall_the_others(void **state)
{
    struct pair *p = *state;
    struct raw other;
    struct raw_circuit stalled = raw_connect(&p->dialer, &p->host, 0), c;

    raw_init(&other, &p->f, "second-host");
    raw_open(&other, &p->s);
    give_credit(p, &stalled);
    station_stall(&p->s, &p->host);
    fill(p, stalled.dialer_out, 1u << 20);
    /* A circuit of the same dialer to another host goes on at once. */
    raw_bind(&other, &p->s);
    c = raw_connect(&p->dialer, &other, 0);
    raw_data(&p->dialer, c.dialer_out, "through", 7);
    fabric_wait(&p->f, 1000, other.data_bytes == 7);
    assert_int_equal(p->host.data_bytes, 0);
    station_release(&p->s, &p->host);
    raw_fini(&other);
}

static void acks_to_a_blocked_link_are_kept_as_one(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);

    raw_data(&p->dialer, c.dialer_out, "1234567890", 10);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 10);
    station_stall(&p->s, &p->dialer);
    for (uint64_t i = 0; i < 5000; i++) {
        raw_ack(&p->host, c.host_out, i % 11, WF_WINDOW_DEFAULT + i);
        if (i % 200 == 0)
            (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
    }
    fabric_run(&p->f, 50);
    assert_int_equal(p->dialer.ack_count, 0);
    assert_true(station_counters(&p->s)->queued_bytes < 1000);
    station_release(&p->s, &p->dialer);
    fabric_run(&p->f, 50);
    assert_int_equal(p->dialer.ack_count, 1);
    assert_int_equal(p->dialer.ack.received, 10);
    assert_int_equal(p->dialer.ack.credit, WF_WINDOW_DEFAULT + 4999);
}

static void closes_to_a_blocked_link_wait_and_labels_with_them(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);

    p->dialer.answers_close = p->host.answers_close = false;
    station_stall(&p->s, &p->dialer);
    raw_close(&p->host, c.host_out, WEFT_ERESET);
    fabric_wait(&p->f, 1000, p->host.close_count == 1); /* answered there */
    raw_data(&p->dialer, c.dialer_out, "too late", 8);
    raw_close(&p->dialer, c.dialer_out, 0);
    fabric_run(&p->f, 30);
    assert_int_equal(p->dialer.close_count, 0);
    assert_int_equal(p->host.data_count, 0);
    /* Its own CLOSE was its last word on this label, though ours is still on the way. */
    raw_data(&p->dialer, c.dialer_out, "never", 5);
    fabric_wait(&p->f, 1000, p->dialer.link == NULL);
}

static void circuits_through_one_blocked_link_get_equal_shares(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c[8];

    for (int i = 0; i < 8; i++) {
        c[i] = raw_connect(&p->dialer, &p->host, 0);
        give_credit(p, &c[i]);
    }
    station_stall(&p->s, &p->host);
    for (int n = 0; n < 20; n++)
        for (int i = 0; i < 8; i++)
            raw_zeros(&p->dialer, c[i].dialer_out, i % 2 == 0 ? WF_DATA_MAX : 4000);
    fabric_run(&p->f, 20);
    assert_int_equal(station_counters(&p->s)->closed_budget, 0);
    station_release(&p->s, &p->host);
    /* When the last of the small ones is through, the large ones have had about as much each. */
    while (p->host.bytes_of[c[1].host_in % RAW_LABELS] < 20u * 4000) {
        (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
        for (int i = 0; i < 8; i += 2) {
            uint64_t large = p->host.bytes_of[c[i].host_in % RAW_LABELS];
            uint64_t first = p->host.bytes_of[c[0].host_in % RAW_LABELS];

            assert_true(large + 4u * WF_DATA_MAX >= first && first + 4u * WF_DATA_MAX >= large);
        }
    }
    fabric_wait(&p->f, 10000, p->host.data_bytes == 80u * (WF_DATA_MAX + 4000));
}

int main(void)
{
#define IN_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        IN_PAIR(what_a_blocked_link_can_not_take_waits_and_arrives_whole),
        IN_PAIR(over_the_budget_the_circuit_above_its_window_goes_first),
        IN_PAIR(the_largest_backlog_goes_first_but_behind_those_above_their_window),
        IN_PAIR(a_stalled_reader_does_not_stall_the_others),
        IN_PAIR(acks_to_a_blocked_link_are_kept_as_one),
        IN_PAIR(closes_to_a_blocked_link_wait_and_labels_with_them),
        IN_PAIR(circuits_through_one_blocked_link_get_equal_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
