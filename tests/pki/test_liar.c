/*
 * A liar between two ends, who holds every byte: each is altered in turn.
 * Thousands of handshakes, so it is not run under valgrind.
 */
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/pair.h"
#include <string.h>

static void an_altered_certificate_is_refused(void **state)
{
    struct world *w = *state;
    wf_span leaf = pki_chain_der(w->ci.chain, 0);
    uint8_t bytes[WF_CERT_MAX];
    for (size_t at = 0; at < leaf.len; at++) {
        memcpy(bytes, leaf.data, leaf.len);
        bytes[at] ^= (uint8_t)(1u << (at % 8));
        wf_span certs[] = {wf_span_of(bytes, leaf.len), pki_chain_der(w->ci.chain, 1)};
        pki_chain *chain = NULL;
        wf_why why;
        struct pki_subject who;
        if (pki_chain_from_der(certs, 2, &chain, &why) == WEFT_OK)
            assert_int_equal(pki_trust_check_chain(w->far, chain, PKI_IDENTITY, PKI_CLIENT, false,
                                                   w->a.now, &who, &why),
                             WEFT_ECREDENTIAL);
        pki_chain_free(chain);
    }
}

/* Every byte of both first flights and of the client's second: nothing altered is ever believed. */
static void a_flipped_byte_of_the_handshake_is_never_believed(void **state)
{
    struct world *w = *state;
    size_t flights[3] = {1, 1, 1};
    for (int flight = 0; flight < 3; flight++) {
        for (size_t at = 0; at < flights[flight]; at++) {
            struct pair p;
            bool flipped = false; /* a flight differs in length by the signature in it */
            pair_open(&p, w->ci_ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
            for (int i = 0; i < 3; i++) {
                struct end *from = i == 1 ? &p.server : &p.client;
                struct end *to = i == 1 ? &p.client : &p.server;
                flights[i] = from->out.len > 0 ? from->out.len : flights[i];
                if (i == flight && at < from->out.len) {
                    from->out.data[at] ^= (uint8_t)(1u << (at % 8));
                    flipped = true;
                }
                pair_carry(from, to, 0);
            }
            bool up = pki_tls_is_up(p.client.tls) && pki_tls_is_up(p.server.tls) &&
                      p.client.err == WEFT_OK && p.server.err == WEFT_OK;
            /* Two bytes are for old middleboxes and protect nothing: the version in the header of
             * a record in the clear. */
            bool is_version = flight < 2 && (at == 1 || at == 2);
            if (up && flipped && !is_version)
                fail_msg("flight %d byte %zu", flight, at);
            assert_int_equal(p.server.heard.len, 0);
            assert_int_equal(p.client.heard.len, 0);
            pair_close(&p);
        }
    }
    assert_in_range(flights[0], 150, 1000);
    assert_in_range(flights[1], 1000, 4000);
    assert_in_range(flights[2], 1000, 4000);
}

static void a_flipped_byte_of_a_record_is_found_and_nothing_after_it_is_delivered(void **state)
{
    for (size_t at = 0;; at++) {
        struct pair p;
        meet(&p, *state);
        say(&p.client, "before", 6);
        size_t start = p.client.out.len;
        say(&p.client, "altered", 7);
        size_t end = p.client.out.len;
        say(&p.client, "after", 5);
        if (start + at == end) {
            pair_close(&p);
            assert_int_equal(at, 7 + WF_TLS_OVERHEAD);
            break;
        }
        p.client.out.data[start + at] ^= 0x20;
        pair_carry(&p.client, &p.server, 0);
        /* A length made longer swallows what follows: then more may be wanted first. */
        if (p.server.err == WEFT_OK) {
            uint8_t filler[20000] = {0};
            pair_feed(&p.server, filler, sizeof filler);
        }
        assert_int_equal(p.server.err, WEFT_ETAMPERED);
        assert_heard(&p.server, "before", 6);
        pair_carry(&p.server, &p.client, 0);
        assert_int_equal(p.client.err, WEFT_ETAMPERED); /* told by the alert */
        pair_close(&p);
    }
}

static void records_dropped_repeated_or_exchanged_are_found(void **state)
{
    enum { ONE = 1 + WF_TLS_OVERHEAD };
    static const int orders[][3] = {{0, 2, -1}, {0, 0, -1}, {1, 0, -1}, {0, 1, 1}, {2, -1, -1}};
    static const size_t good[] = {1, 1, 0, 2, 0};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct pair p;
        meet(&p, *state);
        say(&p.client, "a", 1);
        say(&p.client, "b", 1);
        say(&p.client, "c", 1);
        assert_int_equal(p.client.out.len, 3 * ONE);
        for (size_t j = 0; j < 3 && orders[i][j] >= 0; j++)
            pair_feed(&p.server, p.client.out.data + (size_t)orders[i][j] * ONE, ONE);
        assert_int_equal(p.server.err, WEFT_ETAMPERED);
        assert_int_equal(p.server.heard.len, good[i]);
        pair_close(&p);
    }
}

static void records_of_another_connection_are_found(void **state)
{
    struct pair p, q;
    meet(&p, *state);
    meet(&q, *state);
    say(&p.client, "a", 1);
    pair_feed(&q.server, p.client.out.data, p.client.out.len);
    assert_int_equal(q.server.err, WEFT_ETAMPERED);
    assert_int_equal(q.server.heard.len, 0);
    say(&p.server, "b", 1); /* and what a side sent itself */
    pair_feed(&p.server, p.server.out.data, p.server.out.len);
    assert_int_equal(p.server.err, WEFT_ETAMPERED);
    pair_close(&p);
    pair_close(&q);
}

static void a_forged_close_is_no_end(void **state)
{
    struct pair p;
    meet(&p, *state);
    static const uint8_t close_in_clear[] = {0x15, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00};
    pair_feed(&p.server, close_in_clear, sizeof close_in_clear);
    assert_int_equal(p.server.err, WEFT_ETAMPERED);
    pair_close(&p);
    const struct world *w = *state;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    pair_feed(&p.server, close_in_clear, sizeof close_in_clear);
    assert_int_not_equal(p.server.err, WEFT_EEOF);
    assert_int_not_equal(p.server.err, WEFT_OK);
    pair_close(&p);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(an_altered_certificate_is_refused),
        IN_WORLD(a_flipped_byte_of_the_handshake_is_never_believed),
        IN_WORLD(a_flipped_byte_of_a_record_is_found_and_nothing_after_it_is_delivered),
        IN_WORLD(records_dropped_repeated_or_exchanged_are_found),
        IN_WORLD(records_of_another_connection_are_found),
        IN_WORLD(a_forged_close_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
