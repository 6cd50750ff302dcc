/* Uplinks: they come up, come back, wait with calls, and end at every point. */
#include "proto/link/uplink.h"
#include "tests/link/bench.h"
#include <stdio.h>

static struct bench bench;

struct up {
    struct bench *bench;
    wf_uplink *uplink; /* NULL once closed */
    unsigned secured, up, controls, down, closed;
    weft_err err;
    wf_why why;
    uint64_t retry_ms[64];
    void (*on_down)(struct up *up);
    void (*on_up)(struct up *up);
};

static void on_secured(wf_uplink *uplink, void *arg, wf_link *link)
{
    struct up *up = arg;
    assert_ptr_equal(wf_uplink_link(uplink), link);
    assert_false(wf_uplink_is_up(uplink));
    up->secured++;
}

static void on_up(wf_uplink *uplink, void *arg, wf_link *link, const Weft__Wire__Hello *hello)
{
    struct up *up = arg;
    assert_ptr_equal(wf_uplink_link(uplink), link);
    assert_true(wf_uplink_is_up(uplink));
    assert_string_equal(hello->agent, "weft/0.1.0");
    up->up++;
    if (up->on_up != NULL)
        up->on_up(up);
}

static void on_control(wf_uplink *uplink, void *arg, Weft__Wire__Control *message)
{
    struct up *up = arg;
    (void)uplink;
    (void)message;
    up->controls++;
}

static void on_down(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why,
                    uint64_t retry_ms)
{
    struct up *up = arg;
    assert_null(wf_uplink_link(uplink));
    up->err = err;
    up->why = *why;
    if (up->down < 64)
        up->retry_ms[up->down] = retry_ms;
    up->down++;
    if (up->on_down != NULL)
        up->on_down(up);
}

static void on_closed(wf_uplink *uplink, void *arg)
{
    struct up *up = arg;
    assert_ptr_equal(up->uplink, uplink);
    up->uplink = NULL;
    up->closed++;
}

static const struct wf_uplink_handler handler = {
    .secured = on_secured,
    .up = on_up,
    .control = on_control,
    .down = on_down,
    .closed = on_closed,
};

static void open_capped(struct bench *b, struct up *up, const wf_address *addresses, size_t count,
                        unsigned backoff_max_ms)
{
    struct wf_uplink_config config = {
        .link = bench_config(b, NULL),
        .addresses = addresses,
        .address_count = count,
        .backoff_max_ms = backoff_max_ms,
        .handler = &handler,
        .arg = up,
    };
    up->bench = b;
    assert_int_equal(wf_uplink_open(b->net, &config, &up->uplink), WEFT_OK);
}

static void open_uplink(struct bench *b, struct up *up, const wf_address *addresses, size_t count)
{
    open_capped(b, up, addresses, count, 0);
}

static void close_uplink(struct up *up)
{
    if (up->uplink == NULL)
        return;
    wf_uplink_close(up->uplink);
    wf_uplink_close(up->uplink);
    assert_int_equal(up->closed, 0);
    bench_wait(up->bench, 5000, up->closed == 1);
}

static int setup(void **state)
{
    bench_init(&bench);
    bench.net->times.backoff_min_ms = 100;
    bench.net->times.backoff_max_ms = 1000;
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    bench_fini(*state);
    return 0;
}

/* An address where nobody listens. */
static wf_address dead_address(struct bench *b)
{
    bench_listen(b, NULL);
    wf_listener_close(b->listener);
    b->listener = NULL;
    bench_run(b, 3);
    return b->address;
}

static void an_uplink_comes_up_and_comes_back(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    bench_listen(b, NULL);
    open_uplink(b, &up, &b->address, 1);
    assert_null(wf_uplink_link(up.uplink));
    bench_wait(b, 5000, up.up == 1 && b->server.up == 1);
    wf_link_cut(b->server.link, WEFT_ECANCELED, "the router went away");
    bench_wait(b, 5000, up.down == 1);
    assert_int_equal(up.retry_ms[0], 0); /* the first time at once */
    bench_wait(b, 5000, up.up == 2);
    close_uplink(&up);
}

static void the_addresses_are_tried_in_turn(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    wf_address addresses[3] = {dead_address(b)};
    addresses[1] = addresses[0];
    bench_listen(b, NULL);
    addresses[2] = b->address;
    open_uplink(b, &up, addresses, 3);
    bench_wait(b, 5000, up.up == 1);
    assert_int_equal(up.down, 2);
    assert_int_equal(up.retry_ms[0] + up.retry_ms[1], 0);
    assert_int_equal(up.err, WEFT_EUNREACHABLE);
    close_uplink(&up);
}

static void failures_back_off_with_jitter_up_to_a_limit(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    wf_address dead = dead_address(b);
    b->net->times.backoff_min_ms = 10;
    b->net->times.backoff_max_ms = 200;
    open_uplink(b, &up, &dead, 1);
    bench_wait(b, 20000, up.down == 14);
    close_uplink(&up);
    assert_int_equal(up.retry_ms[0], 0);
    assert_true(up.retry_ms[1] >= 10 && up.retry_ms[1] <= 20);
    assert_true(up.retry_ms[2] >= 20 && up.retry_ms[2] <= 40);
    bool differ = false;
    for (unsigned i = 6; i < 14; i++) {
        assert_true(up.retry_ms[i] >= 100 && up.retry_ms[i] <= 200);
        differ = differ || up.retry_ms[i] != up.retry_ms[6];
    }
    assert_true(differ);
}

static void an_uplink_has_its_own_limit_of_back_off(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    wf_address dead = dead_address(b);
    b->net->times.backoff_min_ms = 10;
    open_capped(b, &up, &dead, 1, 60);
    bench_wait(b, 20000, up.down == 10);
    close_uplink(&up);
    for (unsigned i = 4; i < 10; i++)
        assert_in_range(up.retry_ms[i], 30, 60);
}

static void lose_server(struct bench *b, struct up *up)
{
    unsigned down = up->down;
    bench_wait(b, 5000, b->server.link != NULL && wf_link_is_up(b->server.link));
    bench_run(b, 150);
    wf_link_cut(b->server.link, WEFT_ECANCELED, "the router went away");
    bench_wait(b, 5000, up->down == down + 1);
}

static void a_link_that_stayed_up_a_moment_resets_the_back_off(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    b->net->times.settled_ms = 100;
    bench_listen(b, NULL);
    open_uplink(b, &up, &b->address, 1);
    for (unsigned i = 1; i <= 4; i++) {
        bench_wait(b, 5000, up.up == i);
        lose_server(b, &up);
        assert_int_equal(up.retry_ms[i - 1], 0);
    }
    b->net->times.settled_ms = 100000;
    bench_wait(b, 5000, up.up == 5);
    lose_server(b, &up);
    assert_true(up.retry_ms[4] > 0);
    close_uplink(&up);
}

static void cut_server(struct end *end)
{
    wf_link_cut(end->link, WEFT_EREVOKED, "not you");
}

static void a_peer_that_throws_us_out_is_not_stormed(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    b->net->times.backoff_min_ms = 300;
    b->server.on_up = cut_server;
    bench_listen(b, NULL);
    open_uplink(b, &up, &b->address, 1);
    bench_run(b, 1000);
    assert_true(up.up >= 2 && up.up <= 5);
    close_uplink(&up);
}

static void new_addresses_and_retry_now_end_the_waiting(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    wf_address dead = dead_address(b);
    b->net->times.backoff_min_ms = 20000;
    b->net->times.backoff_max_ms = 40000;
    open_uplink(b, &up, &dead, 1);
    bench_wait(b, 5000, up.down == 2);
    assert_true(up.retry_ms[1] >= 20000);
    bench_listen(b, NULL);
    wf_uplink_set_addresses(up.uplink, &b->address, 1);
    wf_uplink_retry_now(up.uplink);
    bench_wait(b, 2000, up.up == 1);
    close_uplink(&up);
}

static void a_key_that_the_peer_has_changed_is_let_in_once_it_is_told(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    bench_listen(b, NULL);
    struct wf_uplink_config config = {
        .link = bench_config(b, NULL),
        .addresses = &b->address,
        .address_count = 1,
        .handler = &handler,
        .arg = &up,
    };
    config.link.peer_pins = &b->ci.pin; /* not the router's */
    config.link.peer_pin_count = 1;
    up.bench = b;
    assert_int_equal(wf_uplink_open(b->net, &config, &up.uplink), WEFT_OK);
    bench_wait(b, 5000, up.down == 2);
    assert_int_equal(up.err, WEFT_ECREDENTIAL);
    wf_uplink_set_pins(up.uplink, &b->router.pin, 1);
    bench_wait(b, 5000, up.up == 1);

    /* Another key later: the link goes on, the next one isn't let in. */
    wf_uplink_set_pins(up.uplink, &b->ci.pin, 1);
    bench_run(b, 50);
    assert_true(wf_uplink_is_up(up.uplink));
    bench_wait(b, 5000, b->server.link != NULL && wf_link_is_up(b->server.link));
    unsigned down = up.down;
    wf_link_cut(b->server.link, WEFT_ECANCELED, "the router went away");
    bench_wait(b, 5000, up.down == down + 2);
    assert_int_equal(up.err, WEFT_ECREDENTIAL);
    assert_int_equal(up.up, 1);
    close_uplink(&up);
}

/* ---- calls */

struct answer {
    unsigned done;
    weft_err code;
    char reason[WEFT_WHY_MAX];
};

static void on_answer(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct answer *answer = arg;
    (void)result;
    (void)snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    answer->done++;
    answer->code = code;
}

static void reply_to_call(struct end *end, Weft__Wire__Control *message)
{
    if (message->of_case == WEFT__WIRE__CONTROL__OF_CALL)
        (void)wf_link_reply(end->link, message->call->id, WEFT_OK, NULL, wf_span_of("ok", 2));
}

static void a_call_waits_for_the_link(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    struct answer first = {0}, second = {0};
    b->server.on_control = reply_to_call;
    bench_listen(b, NULL);
    open_uplink(b, &up, &b->address, 1);
    assert_int_equal(wf_uplink_call(up.uplink, "early", wf_span_of("x", 1), 0, on_answer, &first),
                     WEFT_OK);
    assert_int_equal(first.done, 0);
    bench_wait(b, 5000, first.done == 1);
    assert_int_equal(first.code, WEFT_OK);
    assert_int_equal(wf_uplink_call(up.uplink, "late", wf_span_of("x", 1), 0, on_answer, &second),
                     WEFT_OK);
    bench_wait(b, 5000, second.done == 1);
    assert_int_equal(second.code, WEFT_OK);
    close_uplink(&up);
}

static void a_call_over_a_dead_uplink_ends_with_the_reason(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    struct answer answer = {0};
    wf_address dead = dead_address(b);
    open_uplink(b, &up, &dead, 1);
    assert_int_equal(wf_uplink_call(up.uplink, "op", wf_span_of(NULL, 0), 150, on_answer, &answer),
                     WEFT_OK);
    bench_wait(b, 3000, answer.done == 1);
    assert_int_equal(answer.code, WEFT_EUNREACHABLE);
    assert_non_null(strstr(answer.reason, "refused"));
    close_uplink(&up);
}

static void a_call_times_out_while_the_first_attempt_hangs(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    struct answer answer = {0};
    struct wf_listener_config config = {
        .alpn = PKI_ALPN_LINK, .kinds = PKI_IDENTITY, .handshakes_max = 1, .per_address_max = 1};
    static struct rogue rogue;
    bench_listen(b, &config);
    rogue_connect(&rogue, b); /* has the only place, so ours waits */
    bench_run(b, 20);
    open_uplink(b, &up, &b->address, 1);
    assert_int_equal(wf_uplink_call(up.uplink, "op", wf_span_of(NULL, 0), 150, on_answer, &answer),
                     WEFT_OK);
    bench_wait(b, 3000, answer.done == 1);
    assert_int_equal(answer.code, WEFT_ETIMEDOUT);
    close_uplink(&up);
    rogue_fini(&rogue);
}

static void waiting_calls_are_bounded_and_end_with_the_uplink(void **state)
{
    struct bench *b = *state;
    struct up up = {0};
    struct answer answers[WF_CALLS_PER_LINK + 1] = {0};
    wf_address dead = dead_address(b);
    open_uplink(b, &up, &dead, 1);
    for (unsigned i = 0; i < WF_CALLS_PER_LINK; i++)
        assert_int_equal(
            wf_uplink_call(up.uplink, "op", wf_span_of(NULL, 0), 0, on_answer, &answers[i]),
            WEFT_OK);
    assert_int_equal(wf_uplink_call(up.uplink, "op", wf_span_of(NULL, 0), 0, on_answer,
                                    &answers[WF_CALLS_PER_LINK]),
                     WEFT_ELIMIT);
    close_uplink(&up);
    for (unsigned i = 0; i < WF_CALLS_PER_LINK; i++) {
        assert_int_equal(answers[i].done, 1);
        assert_int_equal(answers[i].code, WEFT_ECANCELED);
    }
}

/* ---- the end */

static void an_uplink_may_be_closed_wherever_it_waits(void **state)
{
    struct bench *b = *state;
    bool came_up = false;
    b->crowd = true;
    bench_listen(b, NULL);
    for (unsigned turns = 0; turns < 200 && !came_up; turns++) {
        struct up up = {0};
        open_uplink(b, &up, &b->address, 1);
        for (unsigned i = 0; i < turns; i++)
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        came_up = up.up == 1;
        close_uplink(&up);
        assert_int_equal(up.down, 0);
    }
    assert_true(came_up);
    bench_wait(b, 5000, wf_net_counters(b->net)->links_open == 0);
}

static void close_self(struct up *up)
{
    wf_uplink_close(up->uplink);
}

static void an_uplink_may_be_closed_in_its_callbacks(void **state)
{
    struct bench *b = *state;
    struct up in_up = {.on_up = close_self}, in_down = {.on_down = close_self};
    wf_address dead = dead_address(b);
    open_uplink(b, &in_down, &dead, 1);
    bench_wait(b, 5000, in_down.closed == 1);
    assert_int_equal(in_down.down, 1);
    bench_listen(b, NULL);
    open_uplink(b, &in_up, &b->address, 1);
    bench_wait(b, 5000, in_up.closed == 1);
    assert_int_equal(in_up.up, 1);
    assert_int_equal(in_up.down, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_uplink_comes_up_and_comes_back),
        T(the_addresses_are_tried_in_turn),
        T(failures_back_off_with_jitter_up_to_a_limit),
        T(an_uplink_has_its_own_limit_of_back_off),
        T(a_link_that_stayed_up_a_moment_resets_the_back_off),
        T(a_peer_that_throws_us_out_is_not_stormed),
        T(new_addresses_and_retry_now_end_the_waiting),
        T(a_key_that_the_peer_has_changed_is_let_in_once_it_is_told),
        T(a_call_waits_for_the_link),
        T(a_call_over_a_dead_uplink_ends_with_the_reason),
        T(a_call_times_out_while_the_first_attempt_hangs),
        T(waiting_calls_are_bounded_and_end_with_the_uplink),
        T(an_uplink_may_be_closed_wherever_it_waits),
        T(an_uplink_may_be_closed_in_its_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
