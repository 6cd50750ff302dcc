/* Listeners: what strangers may cost, and what others notice of them. */
#include "tests/link/bench.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static struct bench bench;
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

static struct wf_listener_config usual(void)
{
    return (struct wf_listener_config){.alpn = PKI_ALPN_LINK,
                                       .kinds = PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER};
}

static void a_second_listener_on_a_port_is_refused_with_a_remedy(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual();
    wf_listener *other = NULL;
    wf_why why = {""};
    bench_listen(b, NULL);
    config.tls = b->router_tls;
    config.accepted = bench_accepted;
    config.arg = b;
    assert_int_equal(wf_listener_open(b->net, &b->address, &config, &other, &why), WEFT_EIO);
    assert_null(other);
    assert_non_null(strstr(why.text, "another program listens there"));
    wf_address name = {.host = "example.org", .port = 1};
    assert_int_equal(wf_listener_open(b->net, &name, &config, &other, &why), WEFT_EIO);
    assert_non_null(strstr(why.text, "give an IP address"));
}

static void garbage_instead_of_tls_is_one_line_in_the_log(void **state)
{
    struct bench *b = *state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    bench_listen(b, NULL);
    rogue_connect(&rogue, b);
    rogue_send(&rogue, text, sizeof text - 1);
    rogue_wait(&rogue, 5000, rogue.ended);
    assert_int_equal(b->accepted, 0);
    const char *line = strstr(b->log, "listener: no link with 127.0.0.1:");
    assert_non_null(line);
    assert_non_null(strstr(line, "TLS handshake"));
    assert_null(strstr(line + 1, "listener:"));
    assert_int_equal(wf_net_counters(b->net)->handshakes_failed, 1);
    rogue_fini(&rogue);
    bench_connect(b);
}

static void who_only_looks_whether_the_port_is_open_is_no_line_in_the_log(void **state)
{
    struct bench *b = *state;
    bench_listen(b, NULL);
    for (unsigned i = 1; i <= 3; i++) {
        rogue_connect(&rogue, b);
        bench_run(b, 20); /* it is taken in */
        rogue_fini(&rogue);
        bench_wait(b, 5000, wf_net_counters(b->net)->handshakes_failed == i);
    }
    assert_null(strstr(b->log, "listener: no link"));
    assert_non_null(strstr(b->log, "came and went without a byte"));
    bench_connect(b);
}

static void a_stranger_of_another_authority_is_refused(void **state)
{
    struct bench *b = *state;
    struct authority other;
    struct authority_node mallory;
    bench_listen(b, NULL);
    authority_init(&other, "test.weft", wf_now_wall_ms());
    authority_issue(&other, PKI_IDENTITY, "mallory", &mallory);
    pki_tls_ctx *tls = authority_tls(&mallory, b->ci_trust);
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = tls;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed == 1);
    assert_int_equal(b->client.err, WEFT_ECREDENTIAL);
    assert_int_equal(b->client.up, 0);
    bench_wait(b, 5000, wf_net_counters(b->net)->handshakes_failed == 2);
    assert_int_equal(b->accepted, 0);
    pki_tls_ctx_unref(tls);
    authority_node_fini(&mallory);
    authority_fini(&other);
}

/* A client that shows no certificate: as if to enroll, but for another protocol. */
static pki_tls_ctx *nobody(struct bench *b)
{
    const struct pki_tls_identity identity = {.server_pins = &b->router.pin, .server_pin_count = 1};
    pki_tls_ctx *tls = NULL;
    wf_why why = {""};
    assert_int_equal(pki_tls_ctx_new(&identity, &tls, &why), WEFT_OK);
    return tls;
}

static void without_a_certificate_only_enrollment_is_served(void **state)
{
    struct bench *b = *state;
    pki_tls_ctx *tls = nobody(b);
    bench_listen(b, NULL); /* weft/1 alone */
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = tls;
    config.alpn = PKI_ALPN_ENROLL;
    config.peer_id = NULL;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.closed == 1);
    assert_int_equal(b->client.secured, 0);
    assert_int_equal(b->client.err, WEFT_EVERSION);
    assert_int_equal(b->accepted, 0);
    pki_tls_ctx_unref(tls);
}

static void an_enrollee_is_accepted_and_has_no_name(void **state)
{
    struct bench *b = *state;
    pki_tls_ctx *tls = nobody(b);
    struct wf_listener_config listen = usual();
    listen.alpn = PKI_ALPN_LINK | PKI_ALPN_ENROLL;
    bench_listen(b, &listen);
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = tls;
    config.alpn = PKI_ALPN_ENROLL;
    config.peer_id = NULL;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->client.up == 1 && b->server.up == 1);
    assert_int_equal(wf_link_alpn(b->server.link), PKI_ALPN_ENROLL);
    assert_null(wf_link_peer(b->server.link));
    assert_null(wf_link_peer_chain(b->server.link));
    pki_tls_ctx_unref(tls);
}

static void an_enrollee_who_stays_is_shown_out(void **state)
{
    struct bench *b = *state;
    pki_tls_ctx *tls = nobody(b);
    struct wf_listener_config listen = usual();
    listen.alpn = PKI_ALPN_ENROLL;
    b->net->times.handshake_ms = b->net->times.hello_ms = b->net->times.call_ms = 200;
    bench_listen(b, &listen);
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = tls;
    config.alpn = PKI_ALPN_ENROLL;
    config.peer_id = NULL;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->server.up == 1);
    bench_wait(b, 3000, b->server.closed == 1);
    assert_int_equal(b->server.err, WEFT_ETIMEDOUT);
    pki_tls_ctx_unref(tls);
}

static void an_enrollee_keeps_his_place_until_he_goes(void **state)
{
    struct bench *b = *state;
    pki_tls_ctx *tls = nobody(b);
    struct wf_listener_config listen = usual();
    struct end second = {.bench = b};
    listen.alpn = PKI_ALPN_ENROLL;
    listen.per_address_max = 1;
    bench_listen(b, &listen);
    struct wf_link_config config = bench_config(b, &b->client);
    config.tls = tls;
    config.alpn = PKI_ALPN_ENROLL;
    config.peer_id = NULL;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
    bench_wait(b, 5000, b->server.up == 1);
    b->crowd = true;
    config.arg = &second;
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &second.link), WEFT_OK);
    bench_run(b, 1300); /* he is past his fair second, but not to be dropped */
    assert_int_equal(second.secured, 0);
    assert_int_equal(b->server.closed, 0);
    wf_link_close(b->client.link);
    bench_wait(b, 5000, second.up == 1);
    wf_link_cut(second.link, WEFT_ECANCELED, NULL);
    bench_wait(b, 5000, second.closed == 1 && b->crowd_closed == 1);
    pki_tls_ctx_unref(tls);
}

static void the_owner_may_refuse_a_secured_peer(void **state)
{
    struct bench *b = *state;
    b->refuse = true;
    bench_listen(b, NULL);
    bench_dial(b);
    bench_wait(b, 5000, b->client.closed == 1);
    assert_int_equal(b->accepted, 1);
    assert_int_equal(b->server.closed, 0); /* nobody took it, so nobody is told */
}

#define SLOW 200

static void two_hundred_slow_handshakes_harm_nobody(void **state)
{
    struct bench *b = *state;
    int fds[SLOW];
    struct wf_listener_config config = usual(); /* the caps as they are by default */
    b->net->times.handshake_ms = 1500;
    bench_listen(b, &config);
    bench_connect(b); /* an old link */
    struct end old_client = b->client, old_server = b->server;
    wf_link_set_arg(old_client.link, &old_client);
    wf_link_set_arg(old_server.link, &old_server);
    memset(&b->client, 0, sizeof b->client);
    memset(&b->server, 0, sizeof b->server);
    for (int i = 0; i < SLOW; i++) {
        rogue_connect(&rogue, b);
        fds[i] = rogue.fd;
        assert_int_equal(send(fds[i], "\x16", 1, MSG_NOSIGNAL), 1); /* the first byte of a hello */
    }
    bench_run(b, 1300); /* the strangers have had their fair second */
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    assert_true(counters->handshakes_pending - counters->handshakes_waiting <= 64);
    bench_connect(b); /* a new one, from the same address */
    uint8_t frame[16] = {0};
    wf_frame_put_header(frame, WF_FRAME_DATA, 0, 1, 8);
    assert_int_equal(wf_link_send_frame(old_client.link, frame, sizeof frame), WEFT_OK);
    bench_wait(b, 1000, old_server.frames == 1);
    bench_wait(b, 5000, counters->handshakes_pending == 0); /* the deadline has got the rest */
    for (int i = 0; i < SLOW; i++)
        close(fds[i]);
    /* Many failed; the log has at most ten single lines of it, and one that sums up at the end. */
    unsigned lines = 0;
    for (const char *at = b->log; (at = strstr(at, "listener: no link with")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 10);
    wf_listener_close(b->listener);
    b->listener = NULL;
    assert_non_null(strstr(b->log, "listener: refused "));
    wf_link_cut(old_client.link, WEFT_ECANCELED, NULL);
    bench_wait(b, 3000, old_client.closed == 1 && old_server.closed == 1);
}

static void one_address_cannot_take_every_place(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual();
    config.handshakes_max = 8;
    config.per_address_max = 4;
    int fds[16];
    bench_listen(b, &config);
    for (int i = 0; i < 16; i++) {
        rogue_connect(&rogue, b);
        fds[i] = rogue.fd;
    }
    bench_run(b, 800);
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    assert_int_equal(counters->handshakes_pending - counters->handshakes_waiting, 4);
    assert_int_equal(counters->handshakes_waiting, 12);
    assert_int_equal(counters->handshakes_refused, 0);
    for (int i = 0; i < 16; i++)
        close(fds[i]);
}

static void not_even_the_queue_grows_without_end(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual();
    config.handshakes_max = 4;
    config.per_address_max = 2;
    int fds[64];
    bench_listen(b, &config);
    for (int i = 0; i < 64; i++) {
        rogue_connect(&rogue, b);
        fds[i] = rogue.fd;
    }
    bench_run(b, 300);
    const struct wf_net_counters *counters = wf_net_counters(b->net);
    assert_int_equal(counters->handshakes_pending, 2 + 14); /* two seats are for other addresses */
    assert_int_equal(counters->handshakes_waiting, 14);
    assert_int_equal(counters->handshakes_refused, 64 - 16);
    for (int i = 0; i < 64; i++)
        close(fds[i]);
}

static void few_descriptors_are_not_all_given_to_strangers(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual(); /* 256 places, 1,024 seats, if there are enough */
    struct rlimit before, few;
    int fds[200];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    bench_listen(b, &config);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0); /* the strangers are of this process */
    for (int i = 0; i < 200; i++) {
        rogue_connect(&rogue, b);
        fds[i] = rogue.fd;
    }
    bench_run(b, 300);
    assert_in_range(wf_net_counters(b->net)->handshakes_pending, 1, 128 / 8 + 128 / 4);
    for (int i = 0; i < 200; i++)
        close(fds[i]);
}

static void the_newest_stranger_is_served_first(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual();
    int fds[300];
    bench_listen(b, &config);
    for (int i = 0; i < 300; i++) {
        rogue_connect(&rogue, b);
        fds[i] = rogue.fd;
    }
    bench_run(b, 50);
    bench_dial(b); /* 236 have waited longer, and 64 are served in a second */
    bench_wait(b, 2500, b->client.up == 1);
    for (int i = 0; i < 300; i++)
        close(fds[i]);
}

static void a_crowd_is_served_without_refusing_anyone(void **state)
{
    struct bench *b = *state;
    static struct end ends[300];
    struct wf_listener_config config = usual(); /* 64 places for one address */
    memset(ends, 0, sizeof ends);
    b->crowd = true;
    /* Both sides are one thread, and that may run under valgrind. */
    b->net->times.handshake_ms = b->net->times.hello_ms = b->net->times.fair_ms = 60000;
    bench_listen(b, &config);
    for (unsigned i = 0; i < 300; i++) {
        struct wf_link_config dial = bench_config(b, &ends[i]);
        ends[i].bench = b;
        assert_int_equal(wf_link_dial(b->net, &b->address, &dial, &ends[i].link), WEFT_OK);
    }
    for (unsigned i = 0; i < 300; i++)
        bench_wait(b, 60000, ends[i].up == 1);
    assert_int_equal(wf_net_counters(b->net)->handshakes_refused, 0);
    for (unsigned i = 0; i < 300; i++)
        wf_link_cut(ends[i].link, WEFT_ECANCELED, NULL);
    bench_wait(b, 5000, wf_net_counters(b->net)->links_open == 0);
    bench_run(b, 5);
}

static void links_above_the_cap_are_refused(void **state)
{
    struct bench *b = *state;
    struct wf_listener_config config = usual();
    config.links_max = 1;
    bench_listen(b, &config);
    bench_connect(b);
    struct end second = {.bench = b};
    struct wf_link_config dial = bench_config(b, &second);
    assert_int_equal(wf_link_dial(b->net, &b->address, &dial, &second.link), WEFT_OK);
    bench_wait(b, 5000, second.closed == 1);
    assert_int_equal(second.err, WEFT_EUNREACHABLE);
    assert_int_equal(b->client.closed, 0);
    wf_link_close(b->client.link);
    bench_wait(b, 5000, b->client.closed == 1 && b->server.closed == 1);
    b->client.up = b->server.up = 0;
    bench_connect(b); /* the place is free again */
}

static void links_outlive_their_listener(void **state)
{
    struct bench *b = *state;
    uint8_t frame[16] = {0};
    bench_listen(b, NULL);
    bench_connect(b);
    rogue_connect(&rogue, b); /* one that is still shaking hands goes */
    bench_wait(b, 1000, wf_net_counters(b->net)->handshakes_pending == 1);
    wf_listener_close(b->listener);
    b->listener = NULL;
    rogue_wait(&rogue, 1000, rogue.ended);
    rogue_fini(&rogue);
    wf_frame_put_header(frame, WF_FRAME_DATA, 0, 1, 8);
    assert_int_equal(wf_link_send_frame(b->client.link, frame, sizeof frame), WEFT_OK);
    bench_wait(b, 1000, b->server.frames == 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_second_listener_on_a_port_is_refused_with_a_remedy),
        T(garbage_instead_of_tls_is_one_line_in_the_log),
        T(who_only_looks_whether_the_port_is_open_is_no_line_in_the_log),
        T(a_stranger_of_another_authority_is_refused),
        T(without_a_certificate_only_enrollment_is_served),
        T(an_enrollee_is_accepted_and_has_no_name),
        T(an_enrollee_who_stays_is_shown_out),
        T(an_enrollee_keeps_his_place_until_he_goes),
        T(the_owner_may_refuse_a_secured_peer),
        T(two_hundred_slow_handshakes_harm_nobody),
        T(one_address_cannot_take_every_place),
        T(not_even_the_queue_grows_without_end),
        T(few_descriptors_are_not_all_given_to_strangers),
        T(the_newest_stranger_is_served_first),
        T(a_crowd_is_served_without_refusing_anyone),
        T(links_above_the_cap_are_refused),
        T(links_outlive_their_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
