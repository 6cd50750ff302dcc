/*
 * Streams of two endpoints over a router: datagrams, what is acknowledged,
 * what a write that fails has sent, and what is no router any more.
 */
#include "proto/link/internal.h"
#include "sdk/endpoint.h"
#include "tests/helpers/alloc.h"
#include "tests/hostile/stage.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static struct stage stage;

struct talk {
    weft_stream *stream; /* NULL: none, or closed */
    bool opened, closed, ended;
    bool takes;
    size_t heard, datagrams;
    size_t sizes[8];
    uint8_t first[8];
    weft_err err;
    char why[WEFT_WHY_MAX];
};
static struct talk host, dialer;

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct talk *t = arg;
    (void)peer;
    assert_ptr_equal(weft_stream_arg(stream), arg);
    t->stream = stream;
    t->opened = true;
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    struct talk *t = arg;
    (void)stream, (void)data;
    if (!t->takes)
        return 0;
    t->heard += len;
    return len;
}

static void on_datagram(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    struct talk *t = arg;
    (void)stream;
    assert_true(t->datagrams < 8);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], data[0]);
    t->first[t->datagrams] = len > 0 ? data[0] : 0;
    t->sizes[t->datagrams++] = len;
}

static void on_ended(weft_stream *stream, void *arg)
{
    (void)stream;
    ((struct talk *)arg)->ended = true;
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct talk *t = arg;
    (void)stream;
    t->stream = NULL;
    t->closed = true;
    t->err = err;
    snprintf(t->why, sizeof t->why, "%s", why);
}

static const struct weft_stream_handler stream_handler = {.opened = on_opened,
                                                          .data = on_data,
                                                          .datagram = on_datagram,
                                                          .ended = on_ended,
                                                          .closed = on_closed};

static void on_bound(weft_listener *l, void *arg, unsigned routers, const char *why)
{
    (void)l, (void)arg, (void)why;
    stage.bound += routers > 0;
}

static void on_incoming(weft_listener *l, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    (void)l, (void)arg, (void)peer;
    assert_int_equal(weft_stream_accept(stream, &stream_handler, &host), WEFT_OK);
}

static void on_listener_closed(weft_listener *l, void *arg, weft_err err, const char *why)
{
    (void)l, (void)arg, (void)err, (void)why;
}

static const struct weft_listener_handler listener_handler = {on_bound, on_incoming,
                                                              on_listener_closed};

static int open_stage(void **state)
{
    weft_listener *l;
    (void)state;
    stage_open(&stage);
    weft_listener_close(stage.listeners[0]);
    stage_wait(&stage, 5000, stage.listeners[0] == NULL);
    stage.bound = 0;
    assert_int_equal(weft_listen(stage.host.endpoint, "web", &listener_handler, NULL, &l, NULL),
                     WEFT_OK);
    stage_wait(&stage, 5000, stage.bound > 0);
    assert_true(stage.bound > 0);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    alloc_fail_at(0);
    stage_close(&stage);
    return 0;
}

static void begin(weft_endpoint *from, int datagram)
{
    const struct weft_dial_options options = {.datagram = datagram};
    weft_why why = {""};
    memset(&host, 0, sizeof host);
    memset(&dialer, 0, sizeof dialer);
    assert_int_equal(
        weft_dial(from, "web", &options, &stream_handler, &dialer, &dialer.stream, &why), WEFT_OK);
    assert_ptr_equal(weft_stream_arg(dialer.stream), &dialer);
}

static void begin_open(int datagram)
{
    begin(stage.dialer.endpoint, datagram);
    stage_wait(&stage, 10000, (host.opened && dialer.opened) || dialer.closed);
    if (!host.opened || !dialer.opened)
        fail_msg("no stream: %s", dialer.why);
}

static void give_up(void)
{
    if (dialer.stream != NULL)
        weft_stream_close(dialer.stream);
    stage_wait(&stage, 10000, dialer.closed && (!host.opened || host.closed));
    assert_true(dialer.closed && (!host.opened || host.closed));
}

static void an_endpoint_says_who_it_is(void **state)
{
    char text[WF_ID_TEXT];
    (void)state;
    assert_string_equal(weft_endpoint_id(stage.host.endpoint),
                        wf_id_text(&stage.host_node.id, text));
    assert_string_equal(weft_endpoint_name(stage.host.endpoint), "host");
}

static void datagrams_cross_whole_and_in_order_both_ways(void **state)
{
    static const size_t sizes[] = {1, 0, 1200, 16318, 65507};
    static uint8_t bytes[65508];
    (void)state;
    begin_open(1);
    for (size_t i = 0; i < 5; i++) {
        memset(bytes, (int)(i + 1), sizeof bytes);
        assert_int_equal(weft_stream_send_datagram(dialer.stream, bytes, sizes[i]), WEFT_OK);
        assert_int_equal(weft_stream_send_datagram(host.stream, bytes, sizes[4 - i]), WEFT_OK);
    }
    assert_int_equal(weft_stream_send_datagram(dialer.stream, bytes, sizeof bytes), WEFT_ELIMIT);
    stage_wait(&stage, 10000, host.datagrams == 5 && dialer.datagrams == 5);
    assert_int_equal(host.datagrams, 5);
    assert_int_equal(dialer.datagrams, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(host.sizes[i], sizes[i]);
        assert_int_equal(host.first[i], sizes[i] > 0 ? i + 1 : 0);
        assert_int_equal(dialer.sizes[i], sizes[4 - i]);
    }

    /* No bytes among datagrams, and both ends end as those of any stream. */
    size_t taken = 7;
    assert_int_equal(weft_stream_write(dialer.stream, "x", 1, &taken), WEFT_EINVAL);
    assert_int_equal(taken, 0);
    assert_int_equal(weft_stream_end(dialer.stream), WEFT_OK);
    assert_int_equal(weft_stream_end(host.stream), WEFT_OK);
    stage_wait(&stage, 10000, dialer.closed && host.closed);
    assert_true(dialer.ended && host.ended);
    assert_int_equal(dialer.err, WEFT_OK);
    assert_int_equal(host.err, WEFT_OK);
}

static void a_byte_stream_takes_no_datagrams(void **state)
{
    (void)state;
    begin_open(0);
    assert_int_equal(weft_stream_send_datagram(dialer.stream, "x", 1), WEFT_EINVAL);
    give_up();
}

static void what_is_unacknowledged_grows_with_writes_and_falls_to_less_than_a_quarter(void **state)
{
    static uint8_t piece[65536];
    size_t said = 0, taken = 1;
    (void)state;
    begin(stage.dialer.endpoint, 0);
    assert_int_equal(weft_stream_unacked(dialer.stream), 0); /* nothing went out yet */
    stage_wait(&stage, 10000, host.opened && dialer.opened);
    assert_true(host.opened && dialer.opened);
    uint64_t before = weft_stream_unacked(dialer.stream);
    assert_true(before <= WF_HANDSHAKE_BYTES_MAX);
    while (taken > 0) {
        assert_int_equal(weft_stream_write(dialer.stream, piece, sizeof piece, &taken), WEFT_OK);
        said += taken;
        if (taken > 0)
            assert_true(weft_stream_unacked(dialer.stream) >= before + said);
        for (int i = 0; i < 20; i++)
            stage_turn(&stage);
    }
    assert_true(said > WF_WINDOW_DEFAULT / 2);
    assert_true(weft_stream_unacked(dialer.stream) >= said); /* the host took nothing */

    host.takes = true;
    weft_stream_resume(host.stream);
    stage_wait(&stage, 10000,
               host.heard == said && weft_stream_unacked(dialer.stream) < WF_WINDOW_DEFAULT / 4);
    assert_int_equal(host.heard, said);
    assert_true(weft_stream_unacked(dialer.stream) < WF_WINDOW_DEFAULT / 4);
    give_up();
}

/* The dialer's link to the router; it can hold little outside of our own queue. */
static wf_link *narrow_link(void)
{
    wf_link *link = NULL;
    int size = 1, fd = -1;
    for (size_t i = 0; i < WF_EDGES_MAX && link == NULL; i++)
        if (stage.dialer.endpoint->routers.routes[i].edge != NULL)
            link = wf_edge_link(stage.dialer.endpoint->routers.routes[i].edge);
    assert_non_null(link);
    assert_int_equal(uv_fileno((uv_handle_t *)&link->tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    return link;
}

static void a_write_that_fails_says_what_had_left_before(void **state)
{
    static uint8_t bytes[60 * WEFT_PIECE];
    bool partial = false;
    (void)state;
    for (unsigned n = 1; n < 50; n++) {
        begin_open(0);
        host.takes = true;
        wf_net *net = narrow_link()->net;
        struct wf_chunk *pool = net->pool; /* nothing is at hand: each chunk is an allocation */
        net->pool = NULL;
        net->pool_count = 0;
        size_t taken = SIZE_MAX;
        alloc_fail_at(n);
        weft_err err = weft_stream_write(dialer.stream, bytes, sizeof bytes, &taken);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        while (pool != NULL) {
            struct wf_chunk *next = pool->next;
            wf_chunk_put(net, pool);
            pool = next;
        }
        assert_true(taken <= sizeof bytes);
        partial |= err != WEFT_OK && taken > 0;
        if (err != WEFT_OK)
            assert_int_equal(taken % WEFT_PIECE, 0);
        stage_wait(&stage, 2000, host.heard == taken || host.closed);
        assert_true(host.heard <= taken);
        give_up();
        stage_wait(&stage, 1000, stage.bound > 0);
        if (!failed)
            break;
    }
    assert_true(partial);
}

struct race {
    struct wf_wait wait;
    bool is_over;
    weft_err err;
    char why[WEFT_WHY_MAX];
};

static void on_race_over(struct wf_wait *wait, weft_err err, const char *why)
{
    struct race *race = wf_container_of(wait, struct race, wait);
    race->is_over = true;
    race->err = err;
    snprintf(race->why, sizeof race->why, "%s", why != NULL ? why : "");
}

static void a_router_whose_record_has_expired_is_not_dialed(void **state)
{
    weft_endpoint *other = stage_endpoint(&stage, &stage.mallory, WEFT__WIRE__ROLE__ROLE_DIAL);
    (void)state;
    assert_int_equal(other->grants.router_count, 1);
    uint64_t expiry = other->grants.routers[0].member.expiry;
    other->grants.routers[0].member.expiry = 1;
    begin(other, 0);
    stage_wait(&stage, 10000, dialer.closed);
    assert_true(dialer.closed);
    assert_int_equal(dialer.err, WEFT_EUNREACHABLE);
    for (size_t i = 0; i < WF_EDGES_MAX; i++)
        assert_null(other->routers.routes[i].edge);

    /* Nor in a race for any router, which says why. */
    struct race race = {.wait.done = on_race_over};
    wf_routers_await(other, &race.wait);
    stage_wait(&stage, 5000, race.is_over);
    assert_int_equal(race.err, WEFT_EUNREACHABLE);
    assert_non_null(strstr(race.why, "expired"));
    for (size_t i = 0; i < WF_EDGES_MAX; i++)
        assert_null(other->routers.routes[i].edge);

    other->grants.routers[0].member.expiry = expiry;
    begin(other, 0);
    stage_wait(&stage, 10000, dialer.opened);
    assert_true(dialer.opened);
    give_up();
    weft_endpoint_close(other, NULL, NULL);
}

static void on_line(void *arg, const char *text)
{
    *(unsigned *)arg += strstr(text, "is not believed") != NULL;
}

static void records_that_nobody_believes_are_a_few_lines_in_the_log(void **state)
{
    unsigned lines = 0;
    Weft__Wire__Signed *grant = authority_grant(&stage.a, &stage.dialer_node, &stage.web, "web",
                                                WEFT__WIRE__ROLE__ROLE_DIAL);
    (void)state;
    wf_log_redirect(on_line, &lines);
    for (unsigned i = 0; i < 1000; i++) {
        wf_endpoint_take_floors(stage.host.endpoint, grant, NULL);
        wf_endpoint_take_router(stage.host.endpoint, grant);
        wf_endpoint_take_bundle(stage.host.endpoint, grant);
    }
    wf_log_redirect(NULL, NULL);
    wf_log_open("test", WF_LOG_ERROR, WF_LOG_TEXT);
    wf_signed_free(grant);
    assert_int_equal(lines, WF_LINES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_says_who_it_is),
        cmocka_unit_test(records_that_nobody_believes_are_a_few_lines_in_the_log),
        cmocka_unit_test(datagrams_cross_whole_and_in_order_both_ways),
        cmocka_unit_test(a_byte_stream_takes_no_datagrams),
        cmocka_unit_test(what_is_unacknowledged_grows_with_writes_and_falls_to_less_than_a_quarter),
        cmocka_unit_test(a_router_whose_record_has_expired_is_not_dialed),
        cmocka_unit_test(a_write_that_fails_says_what_had_left_before),
    };
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
