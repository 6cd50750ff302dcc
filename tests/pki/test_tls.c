/* TLS without I/O: two ends in memory. */
#include "pki/tls_inside.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/pair.h"
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull

/* ---- what must work */

static void client_and_server_know_each_other(void **state)
{
    struct world *w = *state;
    struct pair p;
    meet(&p, w);
    const struct pki_subject *server = pki_tls_peer(p.client.tls);
    const struct pki_subject *client = pki_tls_peer(p.server.tls);
    assert_string_equal(server->name, "r1");
    assert_int_equal(server->kind, PKI_ROUTER);
    assert_true(wf_id_equal(&server->id, &w->router.id));
    assert_true(pki_pin_equal(&server->pin, &w->router.pin));
    assert_string_equal(client->name, "ci");
    assert_string_equal(client->domain, "test.weft");
    assert_true(wf_id_equal(&client->id, &w->ci.id));
    assert_int_equal(pki_tls_alpn(p.client.tls), PKI_ALPN_LINK);
    assert_int_equal(pki_tls_alpn(p.server.tls), PKI_ALPN_LINK);
    say(&p.client, "hello", 5);
    say(&p.server, "goodbye", 7);
    pair_settle(&p);
    assert_heard(&p.server, "hello", 5);
    assert_heard(&p.client, "goodbye", 7);
    pair_close(&p);
}

static void the_chain_of_the_peer_is_there_for_who_asks(void **state)
{
    struct world *w = *state;
    struct pair p;
    meet(&p, w);
    const pki_chain *client = pki_tls_peer_chain(p.server.tls);
    const pki_chain *server = pki_tls_peer_chain(p.client.tls);
    assert_int_equal(pki_chain_count(client), pki_chain_count(w->ci.chain));
    assert_int_equal(pki_chain_count(server), pki_chain_count(w->router.chain));
    for (size_t i = 0; i < pki_chain_count(client); i++) {
        assert_true(wf_span_equal(pki_chain_der(client, i), pki_chain_der(w->ci.chain, i)));
        assert_true(wf_span_equal(pki_chain_der(server, i), pki_chain_der(w->router.chain, i)));
    }
    assert_ptr_equal(pki_tls_peer_chain(p.server.tls), client);
    pair_close(&p);
}

static void bytes_may_come_one_by_one(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    while (p.client.out.len + p.server.out.len > 0) {
        pair_carry(&p.client, &p.server, 1);
        pair_carry(&p.server, &p.client, 1);
    }
    say(&p.client, "hello", 5);
    pair_carry(&p.client, &p.server, 1);
    assert_heard(&p.server, "hello", 5);
    pair_close(&p);
}

static void the_server_sends_nothing_after_the_handshake(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    pair_carry(&p.client, &p.server, 0);
    pair_carry(&p.server, &p.client, 0);
    pair_carry(&p.client, &p.server, 0);
    assert_true(pki_tls_is_up(p.server.tls));
    assert_int_equal(p.server.out.len, 0); /* no ticket */
    pair_close(&p);
}

static void a_peer_is_named_only_once_it_has_proved_its_key(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    while (p.client.out.len + p.server.out.len > 0) {
        for (int i = 0; i < 2; i++) {
            struct end *from = i == 0 ? &p.client : &p.server;
            struct end *to = i == 0 ? &p.server : &p.client;
            wf_buf moving = from->out;
            wf_buf_init(&from->out, moving.max);
            for (size_t at = 0; at < moving.len; at++) {
                pair_feed(to, moving.data + at, 1);
                bool up = pki_tls_is_up(to->tls);
                assert_int_equal(pki_tls_peer(to->tls) != NULL, up);
                assert_int_equal(pki_tls_peer_chain(to->tls) != NULL, up);
                assert_int_equal(pki_tls_alpn(to->tls) != 0, up);
                assert_int_equal(pki_tls_can_write(to->tls), up);
            }
            wf_buf_fini(&moving);
        }
    }
    assert_true(pki_tls_is_up(p.client.tls) && pki_tls_is_up(p.server.tls));
    pair_close(&p);
}

static void keys_of_all_three_kinds_are_accepted(void **state)
{
    struct world *w = *state;
    static const enum pki_key_kind kinds[] = {PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_ED25519};
    for (size_t i = 0; i < 3; i++) {
        struct authority_node n = {.kind = PKI_IDENTITY, .id = wf_id_random(), .name = "k"};
        wf_why why;
        assert_int_equal(pki_key_new(kinds[i], &n.key, &why), WEFT_OK);
        authority_renew(&w->a, &n, w->a.now, w->a.now + DAY_MS);
        pki_tls_ctx *ctx = authority_tls(&n, w->near);
        struct pair p;
        pair_open(&p, ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
        pair_settle(&p);
        assert_int_equal(p.client.err, WEFT_OK);
        assert_true(pki_tls_is_up(p.server.tls));
        pair_close(&p);
        pki_tls_ctx_unref(ctx);
        authority_node_fini(&n);
    }
}

static size_t count_records(const wf_buf *out)
{
    size_t at = 0, n = 0;
    while (at + 5 <= out->len) {
        at += 5 + ((size_t)out->data[at + 3] << 8) + out->data[at + 4];
        n++;
    }
    assert_int_equal(at, out->len);
    return n;
}

static void one_write_of_a_record_is_one_record(void **state)
{
    static const struct {
        size_t plain, sealed, records;
    } rows[] = {{1, 23, 1},        {WF_E2E_PLAINTEXT, 16340, 1}, {WF_HOP_PLAINTEXT, 16370, 1},
                {16384, 16406, 1}, {16385, 16406 + 23, 2},       {3 * 16384, 3 * 16406, 3}};
    uint8_t *plain = calloc(1, 3 * 16384);
    for (size_t i = 0; i < 3 * 16384; i++)
        plain[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair p;
        meet(&p, *state);
        p.client.outputs = 0;
        say(&p.client, plain, rows[i].plain);
        assert_int_equal(p.client.out.len, rows[i].sealed);
        assert_int_equal(count_records(&p.client.out), rows[i].records);
        assert_int_equal(p.client.outputs, rows[i].records);
        pair_carry(&p.client, &p.server, i % 2 == 0 ? 0 : 777);
        assert_heard(&p.server, plain, rows[i].plain);
        pair_close(&p);
    }
    free(plain);
}

static void a_host_speaks_in_its_first_flight(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
    assert_false(pki_tls_can_write(p.server.tls));
    pair_carry(&p.client, &p.server, 0);
    assert_true(pki_tls_can_write(p.server.tls));
    assert_false(pki_tls_is_up(p.server.tls));
    assert_null(pki_tls_peer(p.server.tls));
    say(&p.server, "host's hello", 12);
    pair_carry(&p.server, &p.client, 0);
    assert_true(pki_tls_is_up(p.client.tls));
    assert_heard(&p.client, "host's hello", 12);
    say(&p.client, "first data", 10);
    pair_carry(&p.client, &p.server, 0);
    assert_true(pki_tls_is_up(p.server.tls));
    assert_heard(&p.server, "first data", 10);
    assert_string_equal(pki_tls_peer(p.server.tls)->name, "ci");
    say(&p.server, "!", 1);
    pair_settle(&p);
    assert_heard(&p.client, "host's hello!", 13);
    pair_close(&p);
}

static void a_host_may_speak_early_more_than_once_and_after_waiting(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
    pair_carry(&p.client, &p.server, 3);
    say(&p.server, "one", 3);
    pair_carry(&p.server, &p.client, 11);
    /* Half of the client's flight: the server has begun to read it. */
    wf_buf flight = p.client.out;
    wf_buf_init(&p.client.out, flight.max);
    pair_feed(&p.server, flight.data, flight.len / 2);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_false(pki_tls_is_up(p.server.tls));
    say(&p.server, "two", 3);
    pair_feed(&p.server, flight.data + flight.len / 2, flight.len - flight.len / 2);
    wf_buf_fini(&flight);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p.server.tls));
    pair_settle(&p);
    assert_heard(&p.client, "onetwo", 6);
    pair_close(&p);
}

static void without_half_rtt_a_server_waits_for_the_client(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    pair_carry(&p.client, &p.server, 0);
    assert_false(pki_tls_can_write(p.server.tls));
    assert_int_equal(pki_tls_write(p.server.tls, (const uint8_t *)"x", 1, NULL), WEFT_EINVAL);
    pair_settle(&p);
    assert_true(pki_tls_can_write(p.server.tls));
    pair_close(&p);
}

static void both_ends_export_the_same_secret_for_the_same_context(void **state)
{
    struct world *w = *state;
    struct pair p;
    uint8_t a[32], b[32], c[32];
    wf_span context = wf_span_of("session", 7), other = wf_span_of("sessioN", 7);
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    assert_int_equal(pki_tls_export(p.client.tls, "EXPORTER-weft", context, a, 32), WEFT_EINVAL);
    pair_settle(&p);
    assert_int_equal(pki_tls_export(p.client.tls, "EXPORTER-weft", context, a, 32), WEFT_OK);
    assert_int_equal(pki_tls_export(p.server.tls, "EXPORTER-weft", context, b, 32), WEFT_OK);
    assert_int_equal(pki_tls_export(p.server.tls, "EXPORTER-weft", other, c, 32), WEFT_OK);
    assert_memory_equal(a, b, 32);
    assert_memory_not_equal(a, c, 32);
    assert_int_equal(pki_tls_export(p.client.tls, "EXPORTER-weft", (wf_span){NULL, 0}, c, 32),
                     WEFT_OK);
    pair_close(&p);
}

static void keys_change_after_so_many_records_and_nothing_is_lost(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config mine = link_to_router, theirs = link_from_identity;
    mine.rekey_records = 64;
    theirs.rekey_records = 100;
    pair_open(&p, w->ci_ctx, mine, w->router_ctx, theirs);
    pair_settle(&p);
    wf_buf said;
    wf_buf_init(&said, 1 << 20);
    size_t records = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t text[3] = {(uint8_t)i, (uint8_t)(i >> 8), 'x'};
        say(&p.client, text, 3);
        assert_int_equal(wf_buf_put(&said, text, 3), WEFT_OK);
        if (i % 10 == 0)
            say(&p.server, "y", 1);
        records += count_records(&p.client.out);
        pair_settle(&p);
    }
    assert_int_equal(records, 1000 + (1000 - 1) / 64); /* a KeyUpdate before each 65th */
    assert_int_equal(p.client.err, WEFT_OK);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_heard(&p.server, said.data, said.len);
    assert_int_equal(p.client.heard.len, 100);
    wf_buf_fini(&said);
    pair_close(&p);
}

/* ---- the end */

static void close_notify_ends_one_direction_only(void **state)
{
    struct pair p;
    meet(&p, *state);
    say(&p.client, "last", 4);
    assert_int_equal(pki_tls_shutdown(p.client.tls), WEFT_OK);
    size_t len = p.client.out.len;
    assert_int_equal(pki_tls_shutdown(p.client.tls), WEFT_OK);
    assert_int_equal(p.client.out.len, len);
    assert_false(pki_tls_can_write(p.client.tls));
    assert_int_equal(pki_tls_write(p.client.tls, (const uint8_t *)"x", 1, NULL), WEFT_EINVAL);
    pair_carry(&p.client, &p.server, 0);
    assert_heard(&p.server, "last", 4);
    assert_int_equal(p.server.err, WEFT_EEOF);
    say(&p.server, "answer", 6);
    assert_int_equal(pki_tls_shutdown(p.server.tls), WEFT_OK);
    pair_carry(&p.server, &p.client, 0);
    assert_heard(&p.client, "answer", 6);
    assert_int_equal(p.client.err, WEFT_EEOF);
    uint8_t byte;
    size_t got = 1;
    assert_int_equal(pki_tls_read(p.client.tls, &byte, 1, &got, NULL), WEFT_EEOF);
    assert_int_equal(got, 0);
    pair_close(&p);
}

static void a_shutdown_within_the_handshake_waits_for_its_end(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
    pair_carry(&p.client, &p.server, 0);
    say(&p.server, "refused", 7);
    assert_int_equal(pki_tls_shutdown(p.server.tls), WEFT_OK);
    assert_false(pki_tls_can_write(p.server.tls));
    pair_settle(&p);
    assert_heard(&p.client, "refused", 7);
    assert_int_equal(p.client.err, WEFT_EEOF);
    assert_int_equal(p.server.err, WEFT_OK);
    pair_close(&p);
}

static void a_cut_connection_is_no_end(void **state)
{
    struct pair p;
    meet(&p, *state);
    say(&p.client, "all of it", 9);
    pair_feed(&p.server, p.client.out.data, p.client.out.len - 1);
    assert_int_equal(p.server.err, WEFT_OK); /* wants more: never EEOF */
    assert_int_equal(p.server.heard.len, 0);
    pair_close(&p);
}

/* ---- the owner */

static void output_that_fails_ends_the_tls_with_its_error(void **state)
{
    struct pair p;
    meet(&p, *state);
    p.client.refuse_output = WEFT_ELIMIT;
    wf_why why = {.text = ""};
    assert_int_equal(pki_tls_write(p.client.tls, (const uint8_t *)"x", 1, &why), WEFT_ELIMIT);
    p.client.refuse_output = WEFT_OK;
    assert_int_equal(pki_tls_write(p.client.tls, (const uint8_t *)"x", 1, &why), WEFT_ELIMIT);
    assert_false(pki_tls_can_write(p.client.tls));
    pair_close(&p);
}

static void a_replaced_certificate_is_shown_by_new_connections_and_old_ones_go_on(void **state)
{
    struct world *w = *state;
    struct pair old, new;
    pki_chain *before = pki_chain_dup(w->ci.chain);
    wf_why why;
    meet(&old, w);
    authority_renew(&w->a, &w->ci, w->a.now, w->a.now + 30 * DAY_MS);
    assert_int_equal(pki_tls_ctx_replace(w->ci_ctx, w->ci.key, w->ci.chain, &why), WEFT_OK);
    meet(&new, w);
    say(&old.client, "still here", 10);
    pair_settle(&old);
    assert_heard(&old.server, "still here", 10);
    assert_true(wf_span_equal(pki_chain_der(pki_tls_peer_chain(old.server.tls), 0),
                              pki_chain_der(before, 0)));
    assert_true(wf_span_equal(pki_chain_der(pki_tls_peer_chain(new.server.tls), 0),
                              pki_chain_der(w->ci.chain, 0)));
    pair_close(&old);
    pair_close(&new);
    pki_chain_free(before);
    /* A key that does not fit changes nothing. */
    assert_int_equal(pki_tls_ctx_replace(w->ci_ctx, w->host.key, w->ci.chain, &why),
                     WEFT_ECREDENTIAL);
    meet(&new, w);
    pair_close(&new);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(client_and_server_know_each_other),
        IN_WORLD(the_chain_of_the_peer_is_there_for_who_asks),
        IN_WORLD(bytes_may_come_one_by_one),
        IN_WORLD(the_server_sends_nothing_after_the_handshake),
        IN_WORLD(a_peer_is_named_only_once_it_has_proved_its_key),
        IN_WORLD(keys_of_all_three_kinds_are_accepted),
        IN_WORLD(one_write_of_a_record_is_one_record),
        IN_WORLD(a_host_speaks_in_its_first_flight),
        IN_WORLD(a_host_may_speak_early_more_than_once_and_after_waiting),
        IN_WORLD(without_half_rtt_a_server_waits_for_the_client),
        IN_WORLD(both_ends_export_the_same_secret_for_the_same_context),
        IN_WORLD(keys_change_after_so_many_records_and_nothing_is_lost),
        IN_WORLD(close_notify_ends_one_direction_only),
        IN_WORLD(a_shutdown_within_the_handshake_waits_for_its_end),
        IN_WORLD(a_cut_connection_is_no_end),
        IN_WORLD(output_that_fails_ends_the_tls_with_its_error),
        IN_WORLD(a_replaced_certificate_is_shown_by_new_connections_and_old_ones_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
