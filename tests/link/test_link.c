/* Links: handshake, Hello, frames, limits, times, calls, and closing at every point. */
#include "tests/link/bench.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct bench bench; /* large: not on the stack */
static struct rogue rogue;

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

/* A DATA frame of len bytes of payload, in a buffer of the test's. */
static size_t data_frame(uint8_t *out, uint32_t label, uint32_t len)
{
    wf_frame_put_header(out, WF_FRAME_DATA, 0, label, len);
    for (uint32_t i = 0; i < len; i++)
        out[WF_FRAME_HEADER + i] = (uint8_t)(label + i);
    return WF_FRAME_HEADER + len;
}

/* ---- coming up */

static void two_nodes_say_hello_and_know_each_other(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    bench_connect(b);
    assert_int_equal(b->client.secured, 1);
    assert_int_equal(b->server.secured, 0);
    assert_string_equal(b->client.agent, "weft/0.1.0");
    assert_string_equal(b->server.agent, "weft/0.1.0");
    const struct pki_subject *router = wf_link_peer(b->client.link);
    const struct pki_subject *ci = wf_link_peer(b->server.link);
    assert_non_null(router);
    assert_non_null(ci);
    assert_true(wf_id_equal(&router->id, &b->router.id));
    assert_int_equal(router->kind, PKI_ROUTER);
    assert_true(wf_id_equal(&ci->id, &b->ci.id));
    assert_string_equal(ci->name, "ci");
    assert_int_equal(pki_chain_count(wf_link_peer_chain(b->server.link)), 2);
    uint8_t one[32], other[32];
    assert_int_equal(wf_link_export(b->client.link, "EXPORTER-weft-test", one), WEFT_OK);
    assert_int_equal(wf_link_export(b->server.link, "EXPORTER-weft-test", other), WEFT_OK);
    assert_memory_equal(one, other, 32);
    assert_int_equal(wf_net_counters(b->net)->links_open, 2);
    assert_int_equal(wf_net_counters(b->net)->handshakes_pending, 0);
}

static void idle_links_hold_no_buffers(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    bench_connect(b);
    bench_run(b, 20);
    assert_null(b->client.link->out_head);
    assert_null(b->server.link->out_head);
    assert_null(b->client.link->partial);
    assert_null(b->server.link->partial);
    assert_false(uv_is_active((uv_handle_t *)&b->net->flush));
    assert_false(uv_is_active((uv_handle_t *)&b->net->idle));
    assert_int_equal(wf_net_counters(b->net)->output_queued, 0);
}

static void hello_of_the_future(void *arg, Weft__Wire__Hello *hello)
{
    (void)arg;
    hello->version_min = 7;
    hello->version_max = 9;
}

static void hello_of_a_wide_range(void *arg, Weft__Wire__Hello *hello)
{
    (void)arg;
    hello->version_min = 1;
    hello->version_max = 4000000000u;
}

static void without_a_common_version_both_sides_say_so(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    struct wf_link_config config = bench_config(b, &b->client);
    config.hello = hello_of_the_future;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed && b->server.closed);
    assert_int_equal(b->server.err, WEFT_EVERSION);
    assert_int_equal(b->server.up, 0);
    assert_non_null(strstr(b->server.why.text, "7 to 9"));
    const char *line = strstr(b->log, "no protocol version in common: the peer speaks 7 to 9");
    assert_non_null(line);
    assert_null(strstr(line + 1,
                       "no protocol version in common: the peer speaks 7 to 9, we speak 1 "
                       "to 1; update"));
}

static void a_wider_version_range_is_welcome(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    struct wf_link_config config = bench_config(b, &b->client);
    config.hello = hello_of_a_wide_range;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.up && b->server.up);
}

static void unknown_fields_of_a_hello_are_ignored(void **state)
{
    struct bench *b = *state;
    /* version_min 1, version_max 1, then field 99 (varint) and field 98 (bytes) */
    static const uint8_t hello[] = {0x08, 1, 0x10, 1, 0x98, 0x06, 5, 0x92, 0x06, 2, 'h', 'i'};
    uint8_t frame[64];
    bench_listen(b, NULL);
    rogue_connect(&rogue, b);
    rogue_secure(&rogue, b->ci_tls, PKI_ALPN_LINK);
    rogue_wait(&rogue, 5000, rogue_is_up(&rogue));
    wf_frame_put_header(frame, WF_FRAME_CONTROL, 0, 0, sizeof hello + 2);
    frame[8] = 0x0a;
    frame[9] = sizeof hello;
    memcpy(frame + 10, hello, sizeof hello);
    rogue_send(&rogue, frame, sizeof hello + 10);
    rogue_wait(&rogue, 5000, b->server.up == 1);
    rogue_fini(&rogue);
    bench_wait(b, 5000, b->server.closed);
    assert_int_equal(b->server.err, WEFT_EUNREACHABLE);
}

static void a_peer_with_another_id_is_refused(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    wf_id other = wf_id_random();
    struct wf_link_config config = bench_config(b, &b->client);
    config.peer_id = &other;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed);
    assert_int_equal(b->client.err, WEFT_ECREDENTIAL);
    assert_int_equal(b->client.secured, 0);
    bench_wait(b, 5000, wf_net_counters(b->net)->handshakes_pending == 0);
    assert_int_equal(b->accepted, 0);
}

static void a_peer_with_another_key_is_refused(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    struct wf_link_config config = bench_config(b, &b->client);
    config.peer_pins = &b->ci.pin; /* not the router's */
    config.peer_pin_count = 1;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed);
    assert_int_equal(b->client.err, WEFT_ECREDENTIAL);
    assert_int_equal(b->client.secured, 0);
}

static void a_peer_of_another_kind_is_refused(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    struct wf_link_config config = bench_config(b, &b->client);
    config.kinds = PKI_CONTROLLER;
    config.peer_id = NULL;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed);
    assert_int_equal(b->client.err, WEFT_ECREDENTIAL);
}

static void a_port_where_nobody_listens_is_unreachable(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    wf_listener_close(b->listener);
    b->listener = NULL;
    bench_run(b, 5);
    bench_dial(b);
    assert_int_equal(b->client.closed, 0); /* never from inside the call */
    bench_wait(b, 5000, b->client.closed);
    assert_int_equal(b->client.err, WEFT_EUNREACHABLE);
    assert_non_null(strstr(b->client.why.text, "refused"));
}

static void a_name_is_resolved_and_each_address_tried(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL); /* on 127.0.0.1 alone: ::1, if it comes first, refuses */
    (void)snprintf(b->address.host, sizeof b->address.host, "localhost");
    bench_connect(b);
}

static void a_name_that_is_none_is_unreachable(void **state)
{
    struct bench *b = *state;
    (void)snprintf(b->address.host, sizeof b->address.host, "nobody.invalid");
    b->address.port = 1;
    bench_dial(b);
    bench_wait(b, 15000, b->client.closed);
    assert_true(b->client.err == WEFT_EUNREACHABLE || b->client.err == WEFT_ETIMEDOUT);
}

static void a_listener_that_never_answers_times_out(void **state)
{
    struct bench *b = *state;
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    (void)snprintf(b->address.host, sizeof b->address.host, "127.0.0.1");
    b->address.port = ntohs(in.sin_port);
    b->net->times.handshake_ms = 200;
    bench_dial(b);
    bench_wait(b, 3000, b->client.closed);
    assert_int_equal(b->client.err, WEFT_ETIMEDOUT);
    close(fd);
}

/* ---- breaches */

static void rogue_up(struct bench *b)
{
    bench_listen(b, NULL);
    rogue_connect(&rogue, b);
    rogue_secure(&rogue, b->ci_tls, PKI_ALPN_LINK);
    rogue_wait(&rogue, 5000, rogue_is_up(&rogue) && b->accepted == 1);
}

static void rogue_up_and_greeted(struct bench *b)
{
    rogue_up(b);
    rogue_send_hello(&rogue, 1, 1);
    rogue_wait(&rogue, 5000, b->server.up == 1);
}

static void expect_cut(struct bench *b, weft_err err)
{
    rogue_wait(&rogue, 5000, b->server.closed == 1 && rogue.ended);
    assert_int_equal(b->server.err, err);
    rogue_fini(&rogue);
}

static void a_frame_before_the_hello_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t frame[64];
    rogue_up(b);
    rogue_send(&rogue, frame, data_frame(frame, 1, 10));
    expect_cut(b, WEFT_EPROTO);
    assert_int_equal(b->server.frames, 0);
}

static void a_ping_before_the_hello_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t frame[16] = {0};
    rogue_up(b);
    wf_frame_put_header(frame, WF_FRAME_PING, 0, 0, 8);
    rogue_send(&rogue, frame, sizeof frame);
    expect_cut(b, WEFT_EPROTO);
}

static void a_message_before_the_hello_cuts(void **state)
{
    struct bench *b = *state;
    Weft__Wire__Control control;
    Weft__Wire__FloorsWanted wanted;
    weft__wire__control__init(&control);
    weft__wire__floors_wanted__init(&wanted);
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted;
    rogue_up(b);
    rogue_send_control(&rogue, &control);
    expect_cut(b, WEFT_EPROTO);
    assert_int_equal(b->server.controls, 0);
}

static void a_second_hello_cuts(void **state)
{
    struct bench *b = *state;
    rogue_up_and_greeted(b);
    rogue_send_hello(&rogue, 1, 1);
    expect_cut(b, WEFT_EPROTO);
    assert_int_equal(b->server.up, 1);
}

static void an_unknown_frame_type_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t frame[8] = {0xf0, 0, 0, 0, 0, 0, 0, 1};
    rogue_up_and_greeted(b);
    rogue_send(&rogue, frame, sizeof frame);
    expect_cut(b, WEFT_EPROTO);
}

static void an_oversize_frame_is_refused_by_its_header(void **state)
{
    struct bench *b = *state;
    uint8_t frame[8] = {WF_FRAME_DATA << 4, 1, 0, 1, 0, 0, 0, 1}; /* 65,537 bytes */
    rogue_up_and_greeted(b);
    rogue_send(&rogue, frame, sizeof frame);
    expect_cut(b, WEFT_EPROTO);
    assert_int_equal(b->server.frames, 0);
}

static void garbage_in_a_control_frame_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t frame[24];
    rogue_up_and_greeted(b);
    memset(frame, 0xff, sizeof frame);
    wf_frame_put_header(frame, WF_FRAME_CONTROL, 0, 0, 16);
    rogue_send(&rogue, frame, sizeof frame);
    expect_cut(b, WEFT_EPROTO);
}

static void a_flood_of_pings_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t frame[16] = {0};
    rogue_up_and_greeted(b);
    wf_frame_put_header(frame, WF_FRAME_PING, 0, 0, 8);
    for (int i = 0; i < 40; i++)
        rogue_send(&rogue, frame, sizeof frame);
    expect_cut(b, WEFT_ELIMIT);
}

static void an_altered_record_cuts(void **state)
{
    struct bench *b = *state;
    uint8_t record[64] = {23, 3, 3, 0, 59}; /* looks like one, opens as none */
    rogue_up_and_greeted(b);
    assert_int_equal(send(rogue.fd, record, sizeof record, MSG_NOSIGNAL), sizeof record);
    expect_cut(b, WEFT_ETAMPERED);
}

static void a_frame_in_single_bytes_arrives_whole(void **state)
{
    struct bench *b = *state;
    uint8_t frame[64];
    rogue_up_and_greeted(b);
    size_t len = data_frame(frame, 9, 20);
    for (size_t i = 0; i < len; i++) {
        rogue_send(&rogue, frame + i, 1);
        (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        assert_true(i + 1 == len || b->server.frames == 0);
    }
    rogue_wait(&rogue, 5000, b->server.frames == 1);
    assert_int_equal(b->server.last_label, 9);
    assert_int_equal(b->server.bytes, 20);
    assert_null(b->server.link->partial);
    rogue_fini(&rogue);
}

static void check_payload(struct end *end, struct wf_frame *frame)
{
    const uint8_t *payload = frame->bytes + WF_FRAME_HEADER;
    (void)end;
    for (uint32_t i = 0; i < frame->length; i += 97)
        assert_int_equal(payload[i], (uint8_t)(frame->label + i));
    if (frame->length > 0)
        assert_int_equal(payload[frame->length - 1], (uint8_t)(frame->label + frame->length - 1));
}

/* Frames of many sizes in records that begin and end anywhere in them. */
static void send_unaligned(struct bench *b, bool all_at_once)
{
    static const uint32_t sizes[] = {1,     7,     1000,  16318, 16340, 16376, 16377,
                                     16384, 16385, 32768, 40000, 65535, 65536, 2};
    static const size_t parts[] = {1, 16384, 5, 4093, 8, 16383, 9000};
    static uint8_t stream[1 << 20];
    size_t len = 0, total = 0, part = 0;
    unsigned count = 0;
    rogue_up_and_greeted(b);
    b->server.on_frame = check_payload;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            len += data_frame(stream + len, ++count, sizes[i]);
            total += sizes[i];
        }
    for (size_t at = 0; at < len; at += part) {
        static size_t i;
        part = all_at_once ? 16384 : parts[i++ % (sizeof parts / sizeof parts[0])];
        if (part > len - at)
            part = len - at;
        rogue_send(&rogue, stream + at, part);
        if (!all_at_once && i % 3 == 0)
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
    }
    rogue_wait(&rogue, 5000, b->server.frames == count);
    assert_int_equal(b->server.bytes, total);
    assert_null(b->server.link->partial);
    rogue_fini(&rogue);
}

static void frames_of_every_size_and_cut_arrive_unchanged(void **state)
{
    send_unaligned(*state, false);
}

/* Small frames in large records, more of them than one read takes, hardly ever ending together. */
static void frames_that_fill_the_scratch_arrive_unchanged(void **state)
{
    struct bench *b = *state;
    enum { COUNT = 600, SIZE = 1531 };
    static uint8_t stream[COUNT * (WF_FRAME_HEADER + SIZE)];
    size_t len = 0;
    send_unaligned(b, true);
    bench_wait(b, 5000, b->server.link == NULL);
    wf_listener_close(b->listener);
    memset(&b->server, 0, sizeof b->server);
    b->server.bench = b;
    b->accepted = 0;
    rogue_up_and_greeted(b);
    b->server.on_frame = check_payload;
    for (unsigned i = 0; i < COUNT; i++)
        len += data_frame(stream + len, i + 1, SIZE);
    /* With records of this size what libssl has kept and what is read make six at a time. */
    for (size_t at = 0; at < len; at += 12000)
        rogue_send(&rogue, stream + at, len - at < 12000 ? len - at : 12000);
    rogue_wait(&rogue, 5000, b->server.frames == COUNT);
    assert_int_equal(b->server.last_label, COUNT);
    rogue_fini(&rogue);
}

static void the_beginning_of_a_frame_costs_what_has_come(void **state)
{
    struct bench *b = *state;
    uint8_t frame[16] = {0};
    rogue_up_and_greeted(b);
    wf_frame_put_header(frame, WF_FRAME_DATA, 0, 1, 65536);
    rogue_send(&rogue, frame, 10);
    rogue_wait(&rogue, 5000, b->server.link->partial_len == 10);
    assert_true(b->server.link->partial_cap <= 4096);
    rogue_fini(&rogue);
}

/* ---- data */

static void echo(struct end *end, struct wf_frame *frame)
{
    wf_frame_set_label(frame->bytes, frame->label + 1);
    (void)wf_link_send_frame(end->link, frame->bytes, WF_FRAME_HEADER + frame->length);
}

static void a_frame_is_relabelled_and_sent_from_where_it_lies(void **state)
{
    struct bench *b = *state;
    static uint8_t frame[70000];
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_frame = echo;
    assert_int_equal(wf_link_send_frame(b->client.link, frame, data_frame(frame, 41, WF_DATA_MAX)),
                     WEFT_OK);
    bench_wait(b, 5000, b->client.frames == 1);
    assert_int_equal(b->client.last_label, 42);
    assert_int_equal(b->client.bytes, WF_DATA_MAX);
}

static void acks_and_closes_arrive(void **state)
{
    struct bench *b = *state;
    const struct wf_ack ack = {.received = 5, .credit = 500};
    bench_listen(b, NULL);
    bench_connect(b);
    assert_int_equal(wf_link_send_ack(b->client.link, 3, &ack), WEFT_OK);
    assert_int_equal(wf_link_send_close(b->client.link, 4, WEFT_ELOST), WEFT_OK);
    bench_wait(b, 5000, b->server.frames == 2);
    assert_int_equal(b->server.last_label, 4);
}

static void a_reader_that_stops_blocks_then_cuts_at_the_cap(void **state)
{
    struct bench *b = *state;
    static uint8_t frame[70000];
    size_t len = data_frame(frame, 1, WF_DATA_MAX);
    rogue_up_and_greeted(b); /* and then it never reads */
    bool was_blocked = false;
    weft_err err = WEFT_OK;
    for (unsigned i = 0; i < 5000 && err == WEFT_OK && b->server.link != NULL; i++) {
        err = wf_link_send_frame(b->server.link, frame, len);
        was_blocked = was_blocked || wf_link_is_blocked(b->server.link);
        assert_true(wf_net_counters(b->net)->output_queued <= WF_OUTPUT_MAX);
        if (i % 16 == 0)
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
    }
    assert_true(was_blocked);
    assert_int_equal(err, WEFT_ELIMIT);
    bench_wait(b, 5000, b->server.closed);
    assert_int_equal(b->server.err, WEFT_ELIMIT);
    assert_int_equal(b->server.drained, 0);
    assert_int_equal(wf_net_counters(b->net)->output_queued, 0);
    rogue_fini(&rogue);
}

static void a_blocked_link_tells_when_it_has_drained(void **state)
{
    struct bench *b = *state;
    static uint8_t frame[70000];
    size_t len = data_frame(frame, 1, WF_DATA_MAX);
    unsigned sent = 0;
    bench_listen(b, NULL);
    bench_connect(b);
    for (unsigned round = 0; round < 3; round++) {
        unsigned drained = b->client.drained;
        while (!wf_link_is_blocked(b->client.link)) {
            assert_int_equal(wf_link_send_frame(b->client.link, frame, len), WEFT_OK);
            assert_true(++sent < 5000);
        }
        assert_int_equal(b->client.drained, drained); /* never from inside the call */
        bench_wait(b, 5000, b->client.drained == drained + 1);
        assert_false(wf_link_is_blocked(b->client.link));
    }
    bench_wait(b, 5000, b->server.frames == sent);
    bench_run(b, 10);
    assert_null(b->client.link->out_head);
    assert_true(b->net->pool_count <= WF_CHUNK_POOL);
}

/* ---- times */

static void a_silent_peer_is_pinged_and_then_cut(void **state)
{
    struct bench *b = *state;
    b->net->times.ping_ms = 150;
    b->net->times.silence_ms = 700;
    rogue_up_and_greeted(b);
    size_t before = rogue.got_len;
    uint64_t start = wf_now_mono_ms();
    rogue_wait(&rogue, 3000, rogue.got_len >= before + 16); /* a ping came, we don't answer */
    assert_int_equal(rogue.got[before] >> 4, WF_FRAME_PING);
    rogue_wait(&rogue, 3000, b->server.closed == 1);
    assert_true(wf_now_mono_ms() - start >= 500);
    assert_int_equal(b->server.err, WEFT_ETIMEDOUT);
    assert_non_null(strstr(b->server.why.text, "no byte from the peer"));
    rogue_fini(&rogue);
}

static void idle_peers_keep_each_other_alive(void **state)
{
    struct bench *b = *state;
    b->net->times.ping_ms = 150;
    b->net->times.silence_ms = 500;
    bench_listen(b, NULL);
    bench_connect(b);
    bench_run(b, 1500);
    assert_int_equal(b->client.closed + b->server.closed, 0);
}

static void on_end_of_watch(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void idle_links_wake_for_heartbeats_alone(void **state)
{
    struct bench *b = *state;
    uv_timer_t watch;
    unsigned turns = 0;
    b->net->times.ping_ms = 500;
    bench_listen(b, NULL);
    bench_connect(b);
    bench_run(b, 20);
    (void)uv_timer_init(&b->loop, &watch);
    (void)uv_timer_start(&watch, on_end_of_watch, 2000, 0);
    while (uv_is_active((uv_handle_t *)&watch)) {
        (void)uv_run(&b->loop, UV_RUN_ONCE);
        turns++;
    }
    /* Four pings and their answers, the alarms of two ends, and the watch. */
    assert_in_range(turns, 4, 24);
    uv_close((uv_handle_t *)&watch, NULL);
    bench_run(b, 3);
}

static void time_in_which_we_did_not_run_is_not_silence(void **state)
{
    struct bench *b = *state;
    b->net->times.ping_ms = 300;
    b->net->times.silence_ms = 1000;
    bench_listen(b, NULL);
    bench_connect(b);
    uv_sleep(3500); /* as after SIGSTOP or a lid that was closed */
    bench_run(b, 300);
    assert_int_equal(b->client.closed + b->server.closed, 0);
}

static void a_peer_without_a_hello_is_cut(void **state)
{
    struct bench *b = *state;
    b->net->times.hello_ms = 200;
    rogue_up(b);
    rogue_wait(&rogue, 3000, b->server.closed == 1);
    assert_int_equal(b->server.err, WEFT_ETIMEDOUT);
    assert_int_equal(b->server.up, 0);
    rogue_fini(&rogue);
}

/* ---- calls */

struct answer {
    unsigned done;
    weft_err code;
    char reason[300];
    char result[64];
};

static void on_answer(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct answer *answer = arg;
    answer->done++;
    answer->code = code;
    (void)snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    (void)snprintf(answer->result, sizeof answer->result, "%.*s", (int)result.len,
                   result.len > 0 ? (const char *)result.data : "");
}

struct kept {
    uint64_t ids[8];
    char operations[8][32];
    unsigned count;
};

static void keep_call(struct end *end, Weft__Wire__Control *message)
{
    struct kept *kept = end->extra;
    assert_int_equal(message->of_case, WEFT__WIRE__CONTROL__OF_CALL);
    kept->ids[kept->count] = message->call->id;
    (void)snprintf(kept->operations[kept->count++], 32, "%s", message->call->operation);
}

static void replies_find_their_calls_in_any_order(void **state)
{
    struct bench *b = *state;
    struct answer answers[3] = {0};
    struct kept kept = {0};
    static const char *const names[] = {"alpha", "beta", "gamma"};
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_control = keep_call;
    b->server.extra = &kept;
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            wf_link_call(b->client.link, names[i], wf_span_of("x", 1), 0, on_answer, &answers[i]),
            WEFT_OK);
    bench_wait(b, 5000, kept.count == 3);
    for (int i = 2; i >= 0; i--) {
        assert_string_equal(kept.operations[i], names[i]);
        (void)wf_link_reply(b->server.link, kept.ids[i], i == 1 ? WEFT_EREFUSED : WEFT_OK,
                            i == 1 ? "not\nallowed" : NULL, wf_span_of(names[i], strlen(names[i])));
        bench_wait(b, 5000, answers[i].done == 1);
    }
    assert_string_equal(answers[0].result, "alpha");
    assert_int_equal(answers[0].code, WEFT_OK);
    assert_int_equal(answers[1].code, WEFT_EREFUSED);
    assert_null(strchr(answers[1].reason, '\n'));
    assert_string_equal(answers[2].result, "gamma");
    assert_int_equal(b->client.controls, 0); /* replies aren't handed up */
}

static void a_call_times_out_and_its_late_reply_finds_nobody(void **state)
{
    struct bench *b = *state;
    struct answer answer = {0};
    struct kept kept = {0};
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_control = keep_call;
    b->server.extra = &kept;
    assert_int_equal(
        wf_link_call(b->client.link, "slow", wf_span_of(NULL, 0), 100, on_answer, &answer),
        WEFT_OK);
    bench_wait(b, 3000, answer.done == 1);
    assert_int_equal(answer.code, WEFT_ETIMEDOUT);
    (void)wf_link_reply(b->server.link, kept.ids[0], WEFT_OK, NULL, wf_span_of(NULL, 0));
    bench_wait(b, 3000, wf_net_counters(b->net)->replies_unmatched == 1);
    assert_int_equal(answer.done, 1);
    assert_int_equal(b->client.closed, 0);
}

static void pending_calls_end_with_their_link(void **state)
{
    struct bench *b = *state;
    struct answer answers[WF_CALLS_PER_LINK + 1] = {0};
    bench_listen(b, NULL);
    bench_connect(b);
    for (unsigned i = 0; i < WF_CALLS_PER_LINK; i++)
        assert_int_equal(
            wf_link_call(b->client.link, "op", wf_span_of(NULL, 0), 0, on_answer, &answers[i]),
            WEFT_OK);
    assert_int_equal(wf_link_call(b->client.link, "op", wf_span_of(NULL, 0), 0, on_answer,
                                  &answers[WF_CALLS_PER_LINK]),
                     WEFT_ELIMIT);
    wf_link_cut(b->client.link, WEFT_EREVOKED, "cut by the test");
    assert_int_equal(answers[0].done, 0);
    bench_wait(b, 3000, b->client.closed == 1);
    for (unsigned i = 0; i < WF_CALLS_PER_LINK; i++) {
        assert_int_equal(answers[i].done, 1);
        assert_int_equal(answers[i].code, WEFT_EUNREACHABLE);
        assert_non_null(strstr(answers[i].reason, "cut by the test"));
    }
    assert_int_equal(answers[WF_CALLS_PER_LINK].done, 0);
    assert_int_equal(b->client.err, WEFT_EREVOKED);
}

static void an_unknown_code_in_a_reply_is_a_failure(void **state)
{
    struct bench *b = *state;
    struct answer answer = {0};
    struct kept kept = {0};
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_control = keep_call;
    b->server.extra = &kept;
    assert_int_equal(wf_link_call(b->client.link, "op", wf_span_of(NULL, 0), 0, on_answer, &answer),
                     WEFT_OK);
    bench_wait(b, 3000, kept.count == 1);
    (void)wf_link_reply(b->server.link, kept.ids[0], (weft_err)999, NULL, wf_span_of(NULL, 0));
    bench_wait(b, 3000, answer.done == 1);
    assert_int_equal(answer.code, WEFT_EINTERNAL);
}

/* ---- closing */

static void what_was_sent_before_a_close_arrives(void **state)
{
    struct bench *b = *state;
    static uint8_t frame[70000];
    size_t len = data_frame(frame, 1, WF_DATA_MAX);
    bench_listen(b, NULL);
    bench_connect(b);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(wf_link_send_frame(b->client.link, frame, len), WEFT_OK);
    wf_link_close(b->client.link);
    wf_link_close(b->client.link);
    assert_int_equal(wf_link_send_frame(b->client.link, frame, len), WEFT_EUNREACHABLE);
    assert_int_equal(b->client.closed, 0);
    bench_wait(b, 5000, b->client.closed == 1 && b->server.closed == 1);
    assert_int_equal(b->server.frames, 40);
    assert_int_equal(b->server.err, WEFT_EEOF);
    assert_int_equal(b->client.err, WEFT_OK);
}

static void a_peer_that_never_ends_is_left_after_a_moment(void **state)
{
    struct bench *b = *state;
    b->net->times.close_ms = 200;
    rogue_up_and_greeted(b);
    wf_link_close(b->server.link);
    bench_wait(b, 3000, b->server.closed == 1); /* the rogue neither reads nor closes */
    assert_int_equal(b->server.err, WEFT_OK);
    rogue_fini(&rogue);
}

static void a_lost_connection_is_told(void **state)
{
    struct bench *b = *state;
    rogue_up_and_greeted(b);
    rogue_fini(&rogue); /* no close_notify */
    bench_wait(b, 3000, b->server.closed == 1);
    assert_int_equal(b->server.err, WEFT_EUNREACHABLE);
}

static void cut_in_frame(struct end *end, struct wf_frame *frame)
{
    (void)frame;
    wf_link_cut(end->link, WEFT_EPROTO, "enough");
}

static void close_in_frame(struct end *end, struct wf_frame *frame)
{
    (void)frame;
    wf_link_close(end->link);
}

static void a_handler_may_cut_its_own_link(void **state)
{
    struct bench *b = *state;
    uint8_t frames[128];
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_frame = cut_in_frame;
    size_t len = data_frame(frames, 1, 10);
    len += data_frame(frames + len, 2, 10); /* in the same record: not handed up any more */
    uint8_t *bytes = frames;
    wf_why why = {""};
    assert_int_equal(pki_tls_write(b->client.link->tls, bytes, len, &why), WEFT_OK);
    bench_wait(b, 3000, b->server.closed == 1 && b->client.closed == 1);
    assert_int_equal(b->server.frames, 1);
    assert_int_equal(b->server.err, WEFT_EPROTO);
    assert_string_equal(b->server.why.text, "enough");
}

static void a_handler_may_close_its_own_link(void **state)
{
    struct bench *b = *state;
    uint8_t frame[64];
    bench_listen(b, NULL);
    bench_connect(b);
    b->server.on_frame = close_in_frame;
    assert_int_equal(wf_link_send_frame(b->client.link, frame, data_frame(frame, 1, 10)), WEFT_OK);
    assert_int_equal(wf_link_send_frame(b->client.link, frame, data_frame(frame, 2, 10)), WEFT_OK);
    bench_wait(b, 3000, b->server.closed == 1 && b->client.closed == 1);
    assert_int_equal(b->server.frames, 1);
}

static void close_self(struct end *end)
{
    wf_link_close(end->link);
}
static void cut_self(struct end *end)
{
    wf_link_cut(end->link, WEFT_ECANCELED, NULL);
}

/* Every link of the net has ended, also one that was still in the kernel's queue. */
static void all_gone(struct bench *b)
{
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    bench_run(b, 3);
    bench_wait(b, 5000,
               b->server.link == NULL && counters->links_open == 0 &&
                   counters->handshakes_pending == 0);
}

static void a_link_may_be_ended_in_any_of_its_callbacks(void **state)
{
    struct bench *b = *state;
    void (*const ways[])(struct end *) = {close_self, cut_self};
    bench_listen(b, NULL);
    for (unsigned i = 0; i < 8; i++) {
        struct end *end = i < 4 ? &b->client : &b->server;
        memset(&b->client, 0, sizeof b->client);
        memset(&b->server, 0, sizeof b->server);
        b->client.bench = b->server.bench = b;
        if (i / 2 % 2 == 0)
            end->on_secured = ways[i % 2];
        else
            end->on_up = ways[i % 2];
        bench_dial(b);
        bench_wait(b, 3000, b->client.closed == 1 || b->client.up == 1);
        if (b->client.link != NULL)
            wf_link_cut(b->client.link, WEFT_ECANCELED, NULL);
        bench_wait(b, 3000, b->client.closed == 1);
        all_gone(b);
    }
}

/* Ends a link after the n-th turn of the loop, for every n until it is up: wherever it waits. */
static void end_at_every_point(struct bench *b, void (*way)(struct end *), bool server)
{
    bool came_up = false;
    for (unsigned turns = 0; turns < 200 && !came_up; turns++) {
        memset(&b->client, 0, sizeof b->client);
        memset(&b->server, 0, sizeof b->server);
        b->client.bench = b->server.bench = b;
        bench_dial(b);
        for (unsigned i = 0; i < turns; i++)
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        came_up = b->client.up == 1 && b->server.up == 1;
        struct end *end = server ? &b->server : &b->client;
        if (end->link != NULL) {
            way(end);
            assert_int_equal(end->closed, 0);
        }
        if (b->client.link != NULL && server && end->link == NULL)
            close_self(&b->client);
        bench_wait(b, 5000, b->client.closed == 1);
        all_gone(b);
        assert_true(b->server.closed <= 1);
    }
    assert_true(came_up);
}

static void a_link_may_be_ended_wherever_it_waits(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    end_at_every_point(b, close_self, false);
    end_at_every_point(b, cut_self, false);
    end_at_every_point(b, close_self, true);
    end_at_every_point(b, cut_self, true);
    /* And while a name is being resolved. */
    (void)snprintf(b->address.host, sizeof b->address.host, "localhost");
    end_at_every_point(b, cut_self, false);
}

static void a_link_that_is_open_when_the_net_closes_still_ends(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    bench_connect(b);
    /* teardown closes both, the listener and the net in one turn */
}

static void late_news_about_our_certificate_is_a_credential_error(void **state)
{
    struct bench *b = *state;
    authority_renew(&b->authority, &b->ci, b->authority.now - 7200000, b->authority.now - 3600000);
    pki_tls_ctx *expired = authority_tls(&b->ci, b->ci_trust);
    bench_listen(b, NULL);
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = expired;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed == 1);
    assert_int_equal(b->client.err, WEFT_EEXPIRED);
    assert_int_equal(b->client.up, 0);
    bench_wait(b, 5000, strstr(b->log, "listener: no link with 127.0.0.1:") != NULL);
    assert_int_equal(b->accepted, 0);
    pki_tls_ctx_unref(expired);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(two_nodes_say_hello_and_know_each_other),
        T(idle_links_hold_no_buffers),
        T(without_a_common_version_both_sides_say_so),
        T(a_wider_version_range_is_welcome),
        T(unknown_fields_of_a_hello_are_ignored),
        T(a_peer_with_another_id_is_refused),
        T(a_peer_with_another_key_is_refused),
        T(a_peer_of_another_kind_is_refused),
        T(a_port_where_nobody_listens_is_unreachable),
        T(a_name_is_resolved_and_each_address_tried),
        T(a_name_that_is_none_is_unreachable),
        T(a_listener_that_never_answers_times_out),
        T(a_frame_before_the_hello_cuts),
        T(a_ping_before_the_hello_cuts),
        T(a_message_before_the_hello_cuts),
        T(a_second_hello_cuts),
        T(an_unknown_frame_type_cuts),
        T(an_oversize_frame_is_refused_by_its_header),
        T(garbage_in_a_control_frame_cuts),
        T(a_flood_of_pings_cuts),
        T(an_altered_record_cuts),
        T(a_frame_in_single_bytes_arrives_whole),
        T(frames_of_every_size_and_cut_arrive_unchanged),
        T(frames_that_fill_the_scratch_arrive_unchanged),
        T(the_beginning_of_a_frame_costs_what_has_come),
        T(a_frame_is_relabelled_and_sent_from_where_it_lies),
        T(acks_and_closes_arrive),
        T(a_reader_that_stops_blocks_then_cuts_at_the_cap),
        T(a_blocked_link_tells_when_it_has_drained),
        T(a_silent_peer_is_pinged_and_then_cut),
        T(idle_peers_keep_each_other_alive),
        T(idle_links_wake_for_heartbeats_alone),
        T(time_in_which_we_did_not_run_is_not_silence),
        T(a_peer_without_a_hello_is_cut),
        T(replies_find_their_calls_in_any_order),
        T(a_call_times_out_and_its_late_reply_finds_nobody),
        T(pending_calls_end_with_their_link),
        T(an_unknown_code_in_a_reply_is_a_failure),
        T(what_was_sent_before_a_close_arrives),
        T(a_peer_that_never_ends_is_left_after_a_moment),
        T(a_lost_connection_is_told),
        T(a_handler_may_cut_its_own_link),
        T(a_handler_may_close_its_own_link),
        T(a_link_may_be_ended_in_any_of_its_callbacks),
        T(a_link_may_be_ended_wherever_it_waits),
        T(a_link_that_is_open_when_the_net_closes_still_ends),
        T(late_news_about_our_certificate_is_a_credential_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
