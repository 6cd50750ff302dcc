/* The n-th allocation fails as links come up, carry, end: no crash, no leak, every end is told. */
#include "proto/link/uplink.h"
#include "tests/helpers/alloc.h"
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

static void echo(struct end *end, struct wf_frame *frame)
{
    (void)wf_link_send_frame(end->link, frame->bytes, WF_FRAME_HEADER + frame->length);
}

static void reply(struct end *end, Weft__Wire__Control *message)
{
    if (message->of_case == WEFT__WIRE__CONTROL__OF_CALL)
        (void)wf_link_reply(end->link, message->call->id, WEFT_OK, NULL, wf_span_of("yes", 3));
}

static void on_answer(void *arg, weft_err code, const char *reason, wf_span result)
{
    unsigned *answers = arg;
    (void)code;
    (void)reason;
    (void)result;
    (*answers)++;
}

/* Both ends have ended, or what was asked for has come. */
static void settle(struct bench *b, const unsigned *counter, unsigned wanted)
{
    bench_wait(b, 5000, *counter >= wanted || (b->client.link == NULL && b->server.link == NULL));
}

static void all_gone(struct bench *b)
{
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    bench_wait(b, 5000,
               b->client.link == NULL && b->server.link == NULL && counters->links_open == 0 &&
                   counters->handshakes_pending == 0);
}

/* Up, a frame in pieces and back, a call and its answer, the end. True: all of it worked. */
static bool live_once(struct bench *b)
{
    static uint8_t frame[WF_FRAME_HEADER + 40000];
    unsigned answers = 0, called = 0;

    memset(&b->client, 0, sizeof b->client);
    memset(&b->server, 0, sizeof b->server);
    b->client.bench = b->server.bench = b;
    b->server.on_frame = echo;
    b->server.on_control = reply;
    struct wf_link_config config = bench_config(b, &b->client);
    if (wf_link_dial(b->net, &b->address, &config, &b->client.link) != WEFT_OK) {
        b->client.link = NULL;
        return false;
    }
    settle(b, &b->client.up, 1);
    if (b->client.link != NULL) {
        wf_frame_put_header(frame, WF_FRAME_DATA, 0, 1, 40000);
        wf_why why = {""};
        /* Its beginning alone, so that the other side must keep it. */
        (void)pki_tls_write(b->client.link->tls, frame, 12000, &why);
        wf_link_flush(b->client.link);
        for (int i = 0; i < 4; i++)
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        if (b->client.link != NULL && pki_tls_can_write(b->client.link->tls))
            (void)pki_tls_write(b->client.link->tls, frame + 12000, sizeof frame - 12000, &why);
        settle(b, &b->client.frames, 1);
    }
    if (b->client.link != NULL && wf_link_call(b->client.link, "op", wf_span_of("x", 1), 1000,
                                               on_answer, &answers) == WEFT_OK) {
        called = 1;
        settle(b, &answers, 1);
    }
    bool worked = b->client.frames == 1 && answers == 1 && b->client.link != NULL;
    if (b->client.link != NULL)
        wf_link_close(b->client.link);
    all_gone(b);
    assert_int_equal(b->client.closed, 1);
    assert_int_equal(answers, called);
    return worked;
}

static void any_allocation_of_a_link_s_life_may_fail(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    unsigned n = 0;
    bool worked, failed;
    b->net->times.close_ms = 100;
    do {
        alloc_fail_at(++n);
        worked = live_once(b);
        failed = alloc_has_failed();
        alloc_fail_at(0);
        assert_true(failed || worked);
    } while (failed && n < 2000);
    assert_true(worked);
    assert_true(n > 10);
}

static void any_allocation_in_opening_may_fail(void **state)
{
    struct bench *b = *state;
    const struct wf_listener_config config = {.tls = b->router_tls,
                                              .alpn = PKI_ALPN_LINK,
                                              .kinds = PKI_IDENTITY,
                                              .accepted = bench_accepted,
                                              .arg = b};
    wf_address address = {.host = "127.0.0.1"};
    static const struct wf_uplink_handler handler = {0};
    const struct wf_uplink_config up = {.link = {.tls = b->ci_tls,
                                                 .alpn = PKI_ALPN_LINK,
                                                 .kinds = PKI_ROUTER,
                                                 .peer_id = &b->router.id,
                                                 .peer_pins = &b->router.pin,
                                                 .peer_pin_count = 1},
                                        .addresses = &address,
                                        .address_count = 1,
                                        .handler = &handler};
    wf_why why = {""};
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        wf_listener *listener = NULL;
        wf_uplink *uplink = NULL;
        wf_net *net = NULL;
        alloc_fail_at(n);
        weft_err err = wf_listener_open(b->net, &address, &config, &listener, &why);
        weft_err up_err = wf_uplink_open(b->net, &up, &uplink);
        weft_err net_err = wf_net_open(&b->loop, &net);
        failed = alloc_has_failed();
        alloc_fail_at(0);
        assert_int_equal(failed,
                         err == WEFT_ENOMEM || up_err == WEFT_ENOMEM || net_err == WEFT_ENOMEM);
        if (err == WEFT_OK)
            wf_listener_close(listener);
        if (up_err == WEFT_OK)
            wf_uplink_close(uplink);
        if (net_err == WEFT_OK)
            wf_net_close(net, NULL, NULL);
        bench_run(b, 3);
    }
}

static void a_listener_accepts_again_after_memory_was_short(void **state)
{
    struct bench *b = *state;
    static struct rogue strangers[3];
    bench_listen(b, NULL);
    memset(strangers, 0, sizeof strangers);
    for (size_t i = 0; i < 3; i++)
        rogue_connect(&strangers[i], b);
    alloc_fail_all();
    for (int i = 0; i < 10; i++)
        (void)uv_run(&b->loop, UV_RUN_NOWAIT);
    bool failed = alloc_has_failed();
    alloc_fail_at(0);
    assert_true(failed);
    for (size_t i = 0; i < 3; i++) {
        rogue_wait(&strangers[i], 5000, strangers[i].ended); /* refused, not left waiting */
        rogue_fini(&strangers[i]);
    }
    bench_connect(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(any_allocation_of_a_link_s_life_may_fail),
        T(any_allocation_in_opening_may_fail),
        T(a_listener_accepts_again_after_memory_was_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
