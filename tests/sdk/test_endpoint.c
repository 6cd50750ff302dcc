/* Endpoints on one loop against a real controller and real routers. */
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include "tests/helpers/fabric.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include <weft/weft.h>

static struct fabric fabric;
static uv_loop_t loop;

/* ---- a host and a dialer that count what happens to them */

struct flow {
    weft_stream *stream;
    unsigned opened, ended, closed, gone;
    weft_err err;
    char why[WEFT_WHY_MAX];
    char peer[65], session[33];
    uint8_t *heard; /* owned */
    size_t heard_len;
    bool echo;          /* sends back what comes, and ends when the other side ends */
    bool paused;        /* takes nothing */
    const uint8_t *out; /* what is left to write */
    size_t out_len;
    bool end_after;
    uint8_t *pending; /* owned: of an echo, what could not be written yet */
    size_t pending_len;
};

struct host {
    weft_endpoint *endpoint;
    weft_listener *listener;
    unsigned bound, incoming, closed;
    weft_err err;
    char why[WEFT_WHY_MAX];
    bool refuse, hold, echo;
    weft_stream *held;
    struct flow flows[64];
};

static void write_on(struct flow *f)
{
    while (f->stream != NULL && f->out_len > 0) {
        size_t taken = 0;
        if (weft_stream_write(f->stream, f->out, f->out_len, &taken) != WEFT_OK || taken == 0)
            return;
        f->out += taken;
        f->out_len -= taken;
    }
    if (f->out_len == 0 && f->end_after && f->stream != NULL) {
        f->end_after = false;
        weft_stream_end(f->stream);
    }
}

static void on_opened(weft_stream *s, void *arg, const struct weft_peer *peer)
{
    struct flow *f = arg;
    f->stream = s;
    f->opened++;
    snprintf(f->peer, sizeof f->peer, "%s", peer->name);
    snprintf(f->session, sizeof f->session, "%s", peer->session);
    write_on(f);
}

static size_t on_data(weft_stream *s, void *arg, const uint8_t *data, size_t len)
{
    struct flow *f = arg;
    assert_int_equal(f->ended, 0);
    if (f->paused)
        return 0;
    if (f->echo) {
        size_t taken = 0;
        assert_int_equal(weft_stream_write(s, data, len, &taken), WEFT_OK);
        return taken; /* the rest comes again after resume, when we may write */
    }
    f->heard = realloc(f->heard, f->heard_len + len);
    memcpy(f->heard + f->heard_len, data, len);
    f->heard_len += len;
    return len;
}

static void on_ended(weft_stream *s, void *arg)
{
    struct flow *f = arg;
    f->ended++;
    if (f->echo)
        weft_stream_end(s);
}

static void on_writable(weft_stream *s, void *arg)
{
    struct flow *f = arg;
    if (f->echo)
        weft_stream_resume(s);
    else
        write_on(f);
}

static void on_closed(weft_stream *s, void *arg, weft_err err, const char *why)
{
    struct flow *f = arg;
    (void)s;
    f->stream = NULL;
    f->closed++;
    f->err = err;
    snprintf(f->why, sizeof f->why, "%s", why);
}

static const struct weft_stream_handler stream_handler = {.opened = on_opened,
                                                          .data = on_data,
                                                          .ended = on_ended,
                                                          .writable = on_writable,
                                                          .closed = on_closed};

static void on_bound(weft_listener *l, void *arg, unsigned routers, const char *why)
{
    struct host *h = arg;
    (void)l;
    h->bound = routers;
    snprintf(h->why, sizeof h->why, "%s", why != NULL ? why : "");
}

static void on_gone(void *arg)
{
    struct host *h = arg;
    h->held = NULL;
    h->flows[0].gone++;
}

static void on_incoming(weft_listener *l, void *arg, weft_stream *s, const struct weft_peer *peer)
{
    struct host *h = arg;
    struct flow *f = &h->flows[h->incoming++ % 64];
    (void)l;
    (void)peer;
    if (h->refuse) {
        weft_stream_refuse(s, WEFT_EBACKEND, "the server is away");
        return;
    }
    if (h->hold) {
        h->held = s;
        weft_stream_on_gone(s, on_gone, h);
        return;
    }
    f->echo = h->echo;
    assert_int_equal(weft_stream_accept(s, &stream_handler, f), WEFT_OK);
}

static void on_listener_closed(weft_listener *l, void *arg, weft_err err, const char *why)
{
    struct host *h = arg;
    (void)l;
    h->listener = NULL;
    h->closed++;
    h->err = err;
    snprintf(h->why, sizeof h->why, "%s", why);
}

static const struct weft_listener_handler listener_handler = {
    .bound = on_bound, .incoming = on_incoming, .closed = on_listener_closed};

/* ---- waiting */

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static bool ran_out;
static void on_alarm(uv_timer_t *timer)
{
    (void)timer;
    ran_out = true;
    uv_stop(&loop);
}

/* Runs the loop until the condition holds; fails the test after ms. */
#define run_until(condition, ms)                                                                   \
    do {                                                                                           \
        uv_timer_t alarm, tick;                                                                    \
        ran_out = false;                                                                           \
        uv_timer_init(&loop, &alarm);                                                              \
        uv_timer_init(&loop, &tick);                                                               \
        uv_timer_start(&alarm, on_alarm, (ms), 0);                                                 \
        uv_timer_start(&tick, on_tick, 10, 10);                                                    \
        while (!(condition) && !ran_out)                                                           \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        uv_close((uv_handle_t *)&alarm, NULL);                                                     \
        uv_close((uv_handle_t *)&tick, NULL);                                                      \
        uv_run(&loop, UV_RUN_NOWAIT);                                                              \
        if (!(condition))                                                                          \
            fail_msg("%s did not come to pass in %d ms", #condition, (int)(ms));                   \
    } while (0)

static void run_for(unsigned ms)
{
    uv_timer_t alarm;
    ran_out = false;
    uv_timer_init(&loop, &alarm);
    uv_timer_start(&alarm, on_alarm, ms, 0);
    while (!ran_out)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&alarm, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void note(void *arg)
{
    *(bool *)arg = true;
}

static void close_endpoint(weft_endpoint *endpoint)
{
    bool closed = false;
    weft_endpoint_close(endpoint, note, &closed);
    run_until(closed, 20000);
}

static unsigned events[16];

static void on_event(void *arg, const struct weft_event *event)
{
    (void)arg;
    assert_non_null(event->text);
    events[event->kind]++;
}

static weft_endpoint *open_endpoint(const char *identity, const char *state_dir)
{
    weft_why why = {""};
    weft_endpoint *endpoint = NULL;
    const struct weft_options options = {.identity = fabric_path(&fabric, identity),
                                         .loop = &loop,
                                         .state_dir = state_dir,
                                         .event = on_event,
                                         .dial_timeout_ms = 8000};
    weft_err err = weft_endpoint_open(&options, &endpoint, &why);
    if (err != WEFT_OK)
        fail_msg("%s: %s: %s", identity, weft_err_name((int)err), why.text);
    return endpoint;
}

static void host_open(struct host *h, const char *identity, const char *service, unsigned routers)
{
    weft_why why = {""};
    memset(h, 0, sizeof *h);
    h->endpoint = open_endpoint(identity, NULL);
    assert_int_equal(weft_listen(h->endpoint, service, &listener_handler, h, &h->listener, &why),
                     WEFT_OK);
    run_until(h->bound >= routers || h->closed > 0, 15000);
    assert_int_equal(h->closed, 0);
}

static void host_close(struct host *h)
{
    close_endpoint(h->endpoint);
    for (size_t i = 0; i < 64; i++)
        free(h->flows[i].heard);
}

static void dial(weft_endpoint *endpoint, const char *service, struct flow *f)
{
    weft_why why = {""};
    assert_int_equal(weft_dial(endpoint, service, NULL, &stream_handler, f, &f->stream, &why),
                     WEFT_OK);
}

static void assert_closed(const struct flow *f, weft_err err)
{
    assert_int_equal(f->closed, 1);
    if (f->err != err)
        fail_msg("%s (%s), not %s", weft_err_name((int)f->err), f->why, weft_err_name((int)err));
}

/* One round trip of some bytes, with a clean end. */
static void assert_echo(weft_endpoint *dialer, const char *service)
{
    struct flow f = {.out = (const uint8_t *)"hello there", .out_len = 11, .end_after = true};
    dial(dialer, service, &f);
    run_until(f.closed > 0, 15000);
    assert_closed(&f, WEFT_OK);
    assert_int_equal(f.opened, 1);
    assert_int_equal(f.heard_len, 11);
    assert_memory_equal(f.heard, "hello there", 11);
    free(f.heard);
}

/* ---- tests */

static void the_first_bytes_flow_through_a_router(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, "web-host.jwt", "web", 1);
    h.echo = true;
    weft_endpoint *dialer = open_endpoint("web-dial.jwt", NULL);
    assert_echo(dialer, "web");
    assert_echo(dialer, "web");
    run_until(h.flows[0].closed + h.flows[1].closed == 2, 5000);
    assert_int_equal(h.flows[0].err, WEFT_OK);
    assert_string_equal(h.flows[0].peer, weft_endpoint_name(dialer));
    close_endpoint(dialer);
    host_close(&h);
}

static void megabytes_go_both_ways_at_once(void **state)
{
    enum { SIZE = 20 << 20 };
    struct host h;
    struct flow f = {.end_after = true};
    uint8_t *bytes = malloc(SIZE);
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    f.out = bytes;
    f.out_len = SIZE;
    host_open(&h, "web-host.json", "web", 1);
    h.echo = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.closed > 0, 60000);
    assert_closed(&f, WEFT_OK);
    assert_int_equal(f.heard_len, SIZE);
    assert_memory_equal(f.heard, bytes, SIZE);
    free(f.heard);
    free(bytes);
    close_endpoint(dialer);
    host_close(&h);
}

static void many_streams_share_one_connection(void **state)
{
    struct host h;
    struct flow f[40] = {{0}};
    static uint8_t bytes[200000];
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    host_open(&h, "web-host.json", "web", 1);
    h.echo = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    for (size_t i = 0; i < 40; i++) {
        f[i].out = bytes;
        f[i].out_len = sizeof bytes;
        f[i].end_after = true;
        dial(dialer, "web", &f[i]);
    }
    for (size_t i = 0; i < 40; i++) {
        run_until(f[i].closed > 0, 60000);
        assert_closed(&f[i], WEFT_OK);
        assert_int_equal(f[i].heard_len, sizeof bytes);
        free(f[i].heard);
    }
    close_endpoint(dialer);
    host_close(&h);
}

static void a_reader_that_stalls_holds_its_sender_and_nobody_else(void **state)
{
    struct host h;
    struct flow stalled = {0}, f = {0};
    static uint8_t bytes[4 << 20];
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    h.flows[0].paused = true;
    stalled.out = bytes;
    stalled.out_len = sizeof bytes;
    stalled.end_after = true;
    dial(dialer, "web", &stalled);
    run_until(stalled.opened > 0, 10000);
    run_for(500);
    assert_true(stalled.out_len > sizeof bytes / 2); /* held back by the window */
    h.flows[1].paused = false;
    f.out = bytes;
    f.out_len = 1 << 20;
    f.end_after = true;
    dial(dialer, "web", &f);
    run_until(h.flows[1].heard_len == 1 << 20, 20000);
    h.flows[0].paused = false;
    weft_stream_resume(h.flows[0].stream);
    run_until(h.flows[0].heard_len == sizeof bytes && h.flows[0].ended == 1, 20000);
    close_endpoint(dialer);
    run_until(h.flows[0].closed == 1, 5000);
    host_close(&h);
}

static void a_host_that_refuses_is_heard_by_the_dialer(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    h.refuse = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.closed > 0, 10000);
    assert_closed(&f, WEFT_EBACKEND);
    assert_non_null(strstr(f.why, "the server is away"));
    assert_int_equal(f.opened, 0);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_host_that_decides_hears_when_the_dialer_gives_up(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    h.hold = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(h.held != NULL, 10000);
    weft_stream_close(f.stream);
    run_until(h.flows[0].gone == 1, 10000);
    assert_closed(&f, WEFT_ECANCELED);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_reset_tells_the_other_side_why(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.opened && h.flows[0].opened, 10000);
    weft_stream_reset(h.flows[0].stream, WEFT_EBACKEND, "the server died");
    run_until(f.closed && h.flows[0].closed, 10000);
    assert_closed(&f, WEFT_EBACKEND);
    assert_non_null(strstr(f.why, "the server died"));
    assert_closed(&h.flows[0], WEFT_ECANCELED);
    close_endpoint(dialer);
    host_close(&h);
}

/* Whoever makes a router send them, the host holds so many strangers and no more. */
static void a_host_greets_a_bounded_number_of_strangers(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    h.echo = true;
    assert_echo(dialer, "web");
    assert_int_equal(h.endpoint->greetings, 0);
    h.endpoint->greetings = WF_GREETINGS_MAX;
    dial(dialer, "web", &f);
    run_until(f.closed > 0, 15000);
    assert_closed(&f, WEFT_EBUSY);
    h.endpoint->greetings = WF_GREETINGS_MAX - 1;
    assert_echo(dialer, "web");
    assert_int_equal(h.endpoint->greetings, WF_GREETINGS_MAX - 1);
    h.endpoint->greetings = 0;
    close_endpoint(dialer);
    host_close(&h);
}

static void a_dial_without_a_host_says_so(void **state)
{
    struct flow f = {0};
    (void)state;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.closed > 0, 10000);
    assert_closed(&f, WEFT_ENOHOST);
    close_endpoint(dialer);
}

static void a_service_that_policy_forbids_is_refused(void **state)
{
    struct flow f = {0};
    (void)state;
    free(fabric_call(&fabric, "service.create", "{\"name\":\"secret\"}"));
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "secret", &f);
    run_until(f.closed > 0, 10000);
    assert_closed(&f, WEFT_EREFUSED);
    /* The same answer for what doesn't exist at all. */
    struct flow g = {0};
    dial(dialer, "nowhere", &g);
    run_until(g.closed > 0, 10000);
    assert_closed(&g, WEFT_EREFUSED);
    close_endpoint(dialer);
}

static void a_listener_that_policy_forbids_closes(void **state)
{
    struct host h = {0};
    weft_why why = {""};
    (void)state;
    h.endpoint = open_endpoint("web-dial.json", NULL);
    assert_int_equal(weft_listen(h.endpoint, "web", &listener_handler, &h, &h.listener, &why),
                     WEFT_OK);
    run_until(h.closed > 0, 10000);
    assert_int_equal(h.err, WEFT_EREFUSED);
    close_endpoint(h.endpoint);
}

static void dials_work_with_the_controller_dead(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    h.echo = true;
    struct flow f = {0};
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.opened > 0, 10000);
    fabric_kill_controller(&fabric);
    assert_echo(dialer, "web"); /* same process */
    close_endpoint(dialer);
    dialer = open_endpoint("web-dial.json", NULL);
    assert_echo(dialer, "web"); /* a new one, from its state file */
    /* A service without a grant at hand: not reachable, not refused. */
    struct flow g = {0};
    dial(dialer, "secret", &g);
    run_until(g.closed > 0, 15000);
    assert_true(g.err == WEFT_EUNREACHABLE || g.err == WEFT_ETIMEDOUT);
    /* Without a state there is nothing to dial with. */
    weft_endpoint *bare = open_endpoint("web-dial.json", "");
    struct flow b = {0};
    dial(bare, "web", &b);
    run_until(b.closed > 0, 15000);
    assert_true(b.err == WEFT_EUNREACHABLE || b.err == WEFT_ETIMEDOUT);
    close_endpoint(bare);
    fabric_start_controller(&fabric);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_listener_binds_again_after_its_router_came_back(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    h.echo = true;
    struct flow f = {0};
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.opened > 0, 10000);
    fabric_kill_router(&fabric, 0);
    fabric_kill_router(&fabric, 1);
    run_until(f.closed > 0 && h.bound == 0, 10000);
    assert_closed(&f, WEFT_ELOST);
    fabric_start_router(&fabric, 0);
    fabric_start_router(&fabric, 1);
    run_until(h.bound == 2, 40000);
    assert_echo(dialer, "web");
    close_endpoint(dialer);
    host_close(&h);
}

static void a_withdrawn_permission_cuts_a_live_session(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    fabric_share(&fabric, "cut");
    host_open(&h, "cut-host.jwt", "cut", 1);
    weft_endpoint *dialer = open_endpoint("cut-dial.jwt", NULL);
    dial(dialer, "cut", &f);
    run_until(f.opened > 0, 10000);
    free(fabric_call(&fabric, "disallow",
                     "{\"who\":\"@cut-dialer\",\"type\":\"dial\",\"what\":\"@cut\"}"));
    uint64_t before = uv_now(&loop);
    run_until(f.closed > 0 && h.flows[0].closed > 0, 5000);
    uv_update_time(&loop);
    print_message("cut after %d ms\n", (int)(uv_now(&loop) - before));
    assert_int_not_equal(f.err, WEFT_OK);
    assert_int_not_equal(h.flows[0].err, WEFT_OK);
    struct flow g = {0};
    dial(dialer, "cut", &g);
    run_until(g.closed > 0, 10000);
    assert_closed(&g, WEFT_EREFUSED);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_disabled_identity_is_cut_everywhere(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    fabric_share(&fabric, "gone");
    host_open(&h, "gone-host.jwt", "gone", 1);
    weft_endpoint *dialer = open_endpoint("gone-dial.jwt", NULL);
    dial(dialer, "gone", &f);
    run_until(f.opened > 0, 10000);
    free(fabric_call(&fabric, "identity.disable", "{\"name\":\"gone-dialer\"}"));
    run_until(f.closed > 0 && h.flows[0].closed > 0, 5000);
    assert_int_not_equal(f.err, WEFT_OK);
    assert_int_not_equal(h.flows[0].err, WEFT_OK);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_dial_takes_whichever_router_is_up(void **state)
{
    struct host h;
    (void)state;
    host_open(&h, "web-host.json", "web", 2);
    h.echo = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    assert_echo(dialer, "web");
    for (unsigned gone = 0; gone < 2; gone++) {
        fabric_kill_router(&fabric, gone);
        run_until(h.bound == 1, 10000);
        assert_echo(dialer, "web"); /* one that was connected already */
        weft_endpoint *fresh = open_endpoint("web-dial.json", NULL);
        assert_echo(fresh, "web"); /* and one that has to find out */
        close_endpoint(fresh);
        fabric_start_router(&fabric, gone);
        run_until(h.bound == 2, 40000);
    }
    fabric_kill_router(&fabric, 0);
    fabric_kill_router(&fabric, 1);
    weft_endpoint *fresh = open_endpoint("web-dial.json", NULL);
    struct flow f = {0};
    dial(fresh, "web", &f);
    run_until(f.closed > 0, 10000);
    assert_closed(&f, WEFT_EUNREACHABLE);
    close_endpoint(fresh);
    fabric_start_router(&fabric, 0);
    fabric_start_router(&fabric, 1);
    close_endpoint(dialer);
    host_close(&h);
}

static void a_certificate_is_renewed_in_the_background(void **state)
{
    struct host h;
    struct flow f = {0};
    (void)state;
    host_open(&h, "web-host.json", "web", 1);
    h.echo = true;
    weft_endpoint *dialer = open_endpoint("web-dial.json", NULL);
    dial(dialer, "web", &f);
    run_until(f.opened > 0, 10000);
    uint64_t end = dialer->self.not_after;
    sleep(1); /* certificates count in seconds */
    events[WEFT_EVENT_RENEWED] = 0;
    dialer->renew_at = 0; /* as if it were half its life later */
    wf_house_look(dialer);
    run_until(events[WEFT_EVENT_RENEWED] > 0, 15000);
    assert_true(dialer->self.not_after > end);
    assert_true(dialer->renew_at > dialer->self.not_before);
    assert_int_equal(f.closed, 0); /* what is open goes on */
    assert_echo(dialer, "web");
    close_endpoint(dialer);
    dialer = open_endpoint("web-dial.json", NULL);
    assert_true(dialer->self.not_after > end); /* it is in the file */
    assert_echo(dialer, "web");

    /* With the controller dead it is tried again later; the old one goes on. */
    fabric_kill_controller(&fabric);
    end = dialer->self.not_after;
    dialer->renew_at = 0;
    wf_house_look(dialer);
    run_until(dialer->renewal == NULL, 25000);
    assert_int_equal(dialer->self.not_after, end);
    assert_echo(dialer, "web");
    /* Closing in the midst of it waits for the worker and leaves nothing behind. */
    dialer->renew_at = 0;
    wf_house_look(dialer);
    close_endpoint(dialer);
    fabric_start_controller(&fabric);
    host_close(&h);
}

static int setup(void **state)
{
    (void)state;
    if (getenv("WEFT_LOG") != NULL)
        wf_log_open("test", WF_LOG_DEBUG, WF_LOG_TEXT);
    fabric_open(&fabric, 2);
    fabric_share(&fabric, "web");
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    fabric_close(&fabric);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bytes_flow_through_a_router),
        cmocka_unit_test(megabytes_go_both_ways_at_once),
        cmocka_unit_test(many_streams_share_one_connection),
        cmocka_unit_test(a_reader_that_stalls_holds_its_sender_and_nobody_else),
        cmocka_unit_test(a_host_that_refuses_is_heard_by_the_dialer),
        cmocka_unit_test(a_host_that_decides_hears_when_the_dialer_gives_up),
        cmocka_unit_test(a_reset_tells_the_other_side_why),
        cmocka_unit_test(a_host_greets_a_bounded_number_of_strangers),
        cmocka_unit_test(a_dial_without_a_host_says_so),
        cmocka_unit_test(a_service_that_policy_forbids_is_refused),
        cmocka_unit_test(a_listener_that_policy_forbids_closes),
        cmocka_unit_test(dials_work_with_the_controller_dead),
        cmocka_unit_test(a_listener_binds_again_after_its_router_came_back),
        cmocka_unit_test(a_dial_takes_whichever_router_is_up),
        cmocka_unit_test(a_certificate_is_renewed_in_the_background),
        cmocka_unit_test(a_withdrawn_permission_cuts_a_live_session),
        cmocka_unit_test(a_disabled_identity_is_cut_everywhere),
    };
    return cmocka_run_group_tests_name("sdk_endpoint", tests, setup, teardown);
}
