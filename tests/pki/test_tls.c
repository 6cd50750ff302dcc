/* TLS without I/O: two ends in memory, and what a stranger or a liar between them can do. */
#include "pki/tls_inside.h"
#include "proto/base/clock.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/forge.h"
#include "tests/pki/pair.h"
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull

/* A router that serves, an identity and a host that dial; each end with a trust of its own. */
struct world {
    struct authority a;
    struct authority_node router, ci, host;
    pki_trust *near, *far; /* what the clients and what the servers believe */
    pki_tls_ctx *router_ctx, *ci_ctx, *host_ctx;
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    authority_init(&w->a, "test.weft", wf_now_wall_ms());
    authority_issue(&w->a, PKI_ROUTER, "r1", &w->router);
    authority_issue(&w->a, PKI_IDENTITY, "ci", &w->ci);
    authority_issue(&w->a, PKI_IDENTITY, "host", &w->host);
    w->near = authority_trust(&w->a);
    w->far = authority_trust(&w->a);
    w->router_ctx = authority_tls(&w->router, w->far);
    w->host_ctx = authority_tls(&w->host, w->far);
    w->ci_ctx = authority_tls(&w->ci, w->near);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    pki_tls_ctx_unref(w->router_ctx);
    pki_tls_ctx_unref(w->host_ctx);
    pki_tls_ctx_unref(w->ci_ctx);
    pki_trust_unref(w->near);
    pki_trust_unref(w->far);
    authority_node_fini(&w->router);
    authority_node_fini(&w->ci);
    authority_node_fini(&w->host);
    authority_fini(&w->a);
    free(w);
    return 0;
}

static const struct pki_tls_config link_to_router = {.alpn = PKI_ALPN_LINK, .kinds = PKI_ROUTER};
static const struct pki_tls_config link_from_identity = {.alpn = PKI_ALPN_LINK,
                                                         .kinds = PKI_IDENTITY};
static const struct pki_tls_config e2e_to_host = {.alpn = PKI_ALPN_E2E, .kinds = PKI_IDENTITY};
static const struct pki_tls_config e2e_from_dialer = {
    .alpn = PKI_ALPN_E2E, .kinds = PKI_IDENTITY, .half_rtt = true};

static void meet(struct pair *p, const struct world *w)
{
    pair_open(p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    pair_settle(p);
    assert_int_equal(p->client.err, WEFT_OK);
    assert_int_equal(p->server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p->client.tls));
    assert_true(pki_tls_is_up(p->server.tls));
}

static void say(struct end *end, const void *data, size_t len)
{
    wf_why why = {.text = ""};
    assert_true(pki_tls_can_write(end->tls));
    assert_int_equal(pki_tls_write(end->tls, data, len, &why), WEFT_OK);
}

static void assert_heard(const struct end *end, const void *data, size_t len)
{
    assert_int_equal(end->heard.len, len);
    assert_memory_equal(end->heard.data, data, len);
}

/* Both sides end with an error; a refusal by one reaches the other as an alert. */
static void assert_refused(struct pair *p, weft_err client, weft_err server)
{
    pair_settle(p);
    if (p->client.err != client || p->server.err != server)
        print_message("client %s (%s), server %s (%s)\n", weft_err_name(p->client.err),
                      p->client.why.text, weft_err_name(p->server.err), p->server.why.text);
    assert_int_equal(p->client.err, client);
    assert_int_equal(p->server.err, server);
    assert_int_equal(p->client.heard.len, 0);
    assert_int_equal(p->server.heard.len, 0);
    assert_true(strlen(p->client.why.text) > 0);
    assert_true(strlen(p->server.why.text) > 0);
    pair_close(p);
}

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

/* ---- who is refused */

static void a_peer_of_another_kind_is_refused(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config only_routers = link_from_identity, only_controllers = link_to_router;
    only_routers.kinds = PKI_ROUTER | PKI_CONTROLLER;
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, only_routers);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    only_controllers.kinds = PKI_CONTROLLER;
    pair_open(&p, w->ci_ctx, only_controllers, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
}

static void a_peer_of_another_fabric_is_refused(void **state)
{
    struct world *w = *state;
    /* Another name; and the same name with other keys. */
    static const char *const domains[] = {"other.weft", "test.weft"};
    for (size_t i = 0; i < 2; i++) {
        struct authority b;
        struct authority_node stranger;
        struct pair p;
        authority_init(&b, domains[i], w->a.now);
        authority_issue(&b, PKI_IDENTITY, "ci", &stranger);
        pki_tls_ctx *ctx = authority_tls(&stranger, w->near);
        pair_open(&p, ctx, link_to_router, w->router_ctx, link_from_identity);
        assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
        pki_tls_ctx_unref(ctx);

        pki_trust *trust = authority_trust(&b);
        ctx = authority_tls(&stranger, trust);
        pair_open(&p, ctx, link_to_router, w->router_ctx, link_from_identity);
        assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
        pki_trust_unref(trust);
        pki_tls_ctx_unref(ctx);
        authority_node_fini(&stranger);
        authority_fini(&b);
    }
}

static void both_sides_learn_that_the_client_expired(void **state)
{
    struct world *w = *state;
    struct pair p;
    authority_renew(&w->a, &w->ci, w->a.now - 3 * DAY_MS, w->a.now - DAY_MS);
    pki_tls_ctx *ctx = authority_tls(&w->ci, w->near);
    pair_open(&p, ctx, link_to_router, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_EEXPIRED, WEFT_EEXPIRED);
    pki_tls_ctx_unref(ctx);
}

static void both_sides_learn_that_the_server_expired(void **state)
{
    struct world *w = *state;
    struct pair p;
    authority_renew(&w->a, &w->router, w->a.now - 3 * DAY_MS, w->a.now - DAY_MS);
    pki_tls_ctx *ctx = authority_tls(&w->router, w->far);
    struct pki_tls_config renewing = link_to_router, serving = link_from_identity;
    pair_open(&p, w->ci_ctx, link_to_router, ctx, link_from_identity);
    assert_refused(&p, WEFT_EEXPIRED, WEFT_EEXPIRED);
    renewing.alpn = serving.alpn = PKI_ALPN_RENEW; /* forgives clients alone */
    pair_open(&p, w->ci_ctx, renewing, ctx, serving);
    assert_refused(&p, WEFT_EEXPIRED, WEFT_EEXPIRED);
    pki_tls_ctx_unref(ctx);
}

static void a_certificate_of_tomorrow_is_refused(void **state)
{
    struct world *w = *state;
    struct pair p;
    authority_renew(&w->a, &w->ci, w->a.now + DAY_MS, w->a.now + 2 * DAY_MS);
    pki_tls_ctx *ctx = authority_tls(&w->ci, w->near);
    pair_open(&p, ctx, link_to_router, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    pki_tls_ctx_unref(ctx);
}

static void cut(struct world *w, pki_trust *trust, const struct authority_node *node)
{
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list[1] = {&floor};
    bool changed;
    wf_why why;
    (node->kind == PKI_ROUTER ? &floor.router : &floor.identity)[0] = wf_pb_id(&node->id);
    floor.epoch = w->a.now;
    floor.cut = true;
    Weft__Wire__Signed *set = authority_floors(&w->a, 1, NULL, list, 1);
    assert_int_equal(pki_trust_apply_floors(trust, set, w->a.now, &changed, &why), WEFT_OK);
    wf_signed_free(set);
}

static void both_sides_learn_that_the_client_is_revoked(void **state)
{
    struct world *w = *state;
    struct pair p;
    meet(&p, w); /* verified before, and remembered */
    const struct pki_subject *ci = pki_tls_peer(p.server.tls);
    wf_why why;
    assert_int_equal(pki_trust_check_again(w->far, ci, w->a.now, &why), WEFT_OK);
    cut(w, w->far, &w->ci);
    assert_int_equal(pki_trust_check_again(w->far, ci, w->a.now, &why), WEFT_EREVOKED);
    pair_close(&p);
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_EREVOKED, WEFT_EREVOKED);
}

static void both_sides_learn_that_the_server_is_revoked(void **state)
{
    struct world *w = *state;
    struct pair p;
    cut(w, w->near, &w->router);
    pair_open(&p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_EREVOKED, WEFT_EREVOKED);
}

static void renewing_forgives_expiry_and_neither_revocation_nor_old_age(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config renewing = link_to_router, serving = link_from_identity;
    renewing.alpn = PKI_ALPN_RENEW;
    serving.alpn = PKI_ALPN_LINK | PKI_ALPN_RENEW | PKI_ALPN_ENROLL;
    authority_renew(&w->a, &w->ci, w->a.now - 3 * DAY_MS, w->a.now - DAY_MS);
    pki_tls_ctx *ctx = authority_tls(&w->ci, w->near);
    pair_open(&p, ctx, renewing, w->router_ctx, serving);
    pair_settle(&p);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p.server.tls));
    assert_int_equal(pki_tls_alpn(p.server.tls), PKI_ALPN_RENEW);
    assert_string_equal(pki_tls_peer(p.server.tls)->name, "ci");
    pair_close(&p);
    pair_open(&p, ctx, link_to_router, w->router_ctx, serving);
    assert_refused(&p, WEFT_EEXPIRED, WEFT_EEXPIRED);
    cut(w, w->far, &w->ci);
    pair_open(&p, ctx, renewing, w->router_ctx, serving);
    assert_refused(&p, WEFT_EREVOKED, WEFT_EREVOKED);
    pki_tls_ctx_unref(ctx);

    authority_renew(&w->a, &w->host, w->a.now - 90 * DAY_MS, w->a.now - 31 * DAY_MS);
    ctx = authority_tls(&w->host, w->near);
    pair_open(&p, ctx, renewing, w->router_ctx, serving);
    assert_refused(&p, WEFT_EEXPIRED, WEFT_EEXPIRED);
    pki_tls_ctx_unref(ctx);
}

static void a_peer_that_is_not_the_one_expected_is_refused(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config exact = e2e_to_host;
    exact.peer_id = &w->host.id;
    exact.peer_pins = &w->host.pin;
    exact.peer_pin_count = 1;
    pair_open(&p, w->ci_ctx, exact, w->host_ctx, e2e_from_dialer);
    pair_settle(&p);
    assert_true(pki_tls_is_up(p.client.tls));
    pair_close(&p);
    exact.peer_id = &w->ci.id; /* another enrolled identity */
    pair_open(&p, w->ci_ctx, exact, w->host_ctx, e2e_from_dialer);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    exact.peer_id = &w->host.id;
    exact.peer_pins = &w->ci.pin; /* another key */
    pair_open(&p, w->ci_ctx, exact, w->host_ctx, e2e_from_dialer);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    exact.peer_pin_count = 0; /* none of no keys */
    pair_open(&p, w->ci_ctx, exact, w->host_ctx, e2e_from_dialer);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
}

static void a_certificate_of_a_client_makes_no_server(void **state)
{
    struct world *w = *state;
    struct pair p;
    char uri[PKI_SPIFFE_MAX];
    X509 *ca = pki_chain_x509(pki_ca_chain(w->a.identities), 0);
    pki_spiffe_text("test.weft", PKI_IDENTITY, &w->host.id, uri);
    struct forge f =
        forge_leaf(pki_ca_key(w->a.identities), ca, pki_key_evp(w->host.key), uri, w->a.now);
    f.extended = "clientAuth," PKI_ARC_TEXT ".1";
    X509 *leaf = forge_make(&f);
    STACK_OF(X509) *rest = sk_X509_new_null();
    struct authority_node half = w->host;
    wf_why why;
    sk_X509_push(rest, ca);
    assert_int_equal(pki_chain_from_x509s(leaf, rest, &half.chain, &why), WEFT_OK);
    pki_tls_ctx *ctx = authority_tls(&half, w->near);
    pair_open(&p, ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
    pair_settle(&p);
    assert_true(pki_tls_is_up(p.server.tls));
    pair_close(&p);
    pair_open(&p, w->ci_ctx, e2e_to_host, ctx, e2e_from_dialer);
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    pki_tls_ctx_unref(ctx);
    pki_chain_free(half.chain);
    sk_X509_free(rest);
    X509_free(leaf);
}

static void no_common_protocol_is_refused(void **state)
{
    struct world *w = *state;
    struct pair p;
    pair_open(&p, w->ci_ctx, e2e_to_host, w->router_ctx, link_from_identity);
    assert_refused(&p, WEFT_EVERSION, WEFT_EVERSION);
}

/* ---- enrolling */

static pki_tls_ctx *enrollee(const pki_pin *pins, size_t count)
{
    const struct pki_tls_identity own = {.server_pins = pins, .server_pin_count = count};
    pki_tls_ctx *ctx;
    wf_why why;
    assert_int_equal(pki_tls_ctx_new(&own, &ctx, &why), WEFT_OK);
    return ctx;
}

static void an_enrollee_knows_the_server_by_its_key_alone(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config mine = {.alpn = PKI_ALPN_ENROLL};
    struct pki_tls_config theirs = {.alpn = PKI_ALPN_LINK | PKI_ALPN_ENROLL, .kinds = PKI_IDENTITY};
    const pki_pin pins[] = {w->ci.pin, w->router.pin};
    pki_tls_ctx *ctx = enrollee(pins, 2);
    pair_open(&p, ctx, mine, w->router_ctx, theirs);
    pair_settle(&p);
    assert_int_equal(p.client.err, WEFT_OK);
    assert_true(pki_tls_is_up(p.client.tls));
    assert_true(pki_tls_is_up(p.server.tls));
    assert_int_equal(pki_tls_alpn(p.server.tls), PKI_ALPN_ENROLL);
    assert_null(pki_tls_peer(p.server.tls));
    assert_null(pki_tls_peer_chain(p.server.tls));
    assert_null(pki_tls_peer(p.client.tls));
    say(&p.client, "token", 5);
    pair_settle(&p);
    assert_heard(&p.server, "token", 5);
    pair_close(&p);
    pki_tls_ctx_unref(ctx);
}

static void an_enrollee_sends_nothing_to_a_server_with_another_key(void **state)
{
    struct world *w = *state;
    struct pair p;
    struct pki_tls_config mine = {.alpn = PKI_ALPN_ENROLL};
    struct pki_tls_config theirs = {.alpn = PKI_ALPN_ENROLL};
    pki_tls_ctx *ctx = enrollee(&w->ci.pin, 1);
    pair_open(&p, ctx, mine, w->router_ctx, theirs);
    pair_carry(&p.client, &p.server, 0);
    pair_carry(&p.server, &p.client, 0);
    assert_int_equal(p.client.err, WEFT_ECREDENTIAL);
    assert_false(pki_tls_can_write(p.client.tls));
    assert_in_range(p.client.out.len, 1, 64); /* the alert */
    assert_refused(&p, WEFT_ECREDENTIAL, WEFT_ECREDENTIAL);
    pki_tls_ctx_unref(ctx);
}

static void an_enrollee_can_do_nothing_else(void **state)
{
    struct world *w = *state;
    pki_tls_ctx *ctx = enrollee(&w->router.pin, 1);
    struct pki_tls_config config = link_to_router;
    struct end end;
    pki_tls *tls = NULL;
    config.output = NULL;
    assert_int_equal(pki_tls_new(ctx, &config, &tls), WEFT_EINVAL);
    (void)end;
    pki_tls_ctx_unref(ctx);
    const struct pki_tls_identity nothing = {.key = NULL};
    assert_int_equal(pki_tls_ctx_new(&nothing, &ctx, NULL), WEFT_EINVAL);
}

/* ---- strangers: libssl as someone else would set it up */

struct stranger {
    SSL_CTX *ctx;
    SSL *ssl;
};

static void stranger_open(struct stranger *s, bool server, const struct authority_node *as)
{
    s->ctx = SSL_CTX_new(TLS_method());
    assert_non_null(s->ctx);
    if (as != NULL) {
        STACK_OF(X509) *rest = pki_chain_untrusted(as->chain);
        assert_int_equal(SSL_CTX_use_certificate(s->ctx, pki_chain_x509(as->chain, 0)), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, pki_key_evp(as->key)), 1);
        assert_int_equal(SSL_CTX_set1_chain(s->ctx, rest), 1);
        sk_X509_free(rest);
    }
    s->ssl = SSL_new(s->ctx);
    SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (server)
        SSL_set_accept_state(s->ssl);
    else
        SSL_set_connect_state(s->ssl);
}

static void stranger_close(struct stranger *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
    ERR_clear_error();
}

static void offer(struct stranger *s, const char *alpn)
{
    unsigned char list[32];
    list[0] = (unsigned char)strlen(alpn);
    memcpy(list + 1, alpn, strlen(alpn));
    assert_int_equal(SSL_set_alpn_protos(s->ssl, list, 1u + list[0]), 0);
}

/* The stranger and one end of ours, until nothing moves. */
static void stranger_meets(struct stranger *s, struct end *end)
{
    for (int i = 0; i < 6; i++) {
        uint8_t bytes[20000];
        int n;
        (void)SSL_do_handshake(s->ssl);
        (void)SSL_read(s->ssl, bytes, sizeof bytes);
        while ((n = BIO_read(SSL_get_wbio(s->ssl), bytes, sizeof bytes)) > 0)
            pair_feed(end, bytes, (size_t)n);
        BIO_write(SSL_get_rbio(s->ssl), end->out.data, (int)end->out.len);
        wf_buf_clear(&end->out);
    }
    ERR_clear_error();
}

static void our_server(struct pair *p, const struct world *w)
{
    pair_open(p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
}

static void a_client_that_withholds_its_certificate_is_refused(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    our_server(&p, w);
    stranger_open(&s, false, NULL);
    offer(&s, "weft/1");
    stranger_meets(&s, &p.server);
    assert_int_equal(p.server.err, WEFT_ECREDENTIAL);
    assert_string_equal(p.server.why.text, "the peer shows no certificate");
    assert_false(pki_tls_is_up(p.server.tls));
    stranger_close(&s);
    pair_close(&p);
}

static void a_client_without_alpn_is_refused(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    our_server(&p, w);
    stranger_open(&s, false, &w->ci);
    stranger_meets(&s, &p.server);
    assert_int_equal(p.server.err, WEFT_EVERSION);
    assert_false(pki_tls_is_up(p.server.tls));
    stranger_close(&s);
    pair_close(&p);
}

static void a_server_without_alpn_is_refused(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    our_server(&p, w);
    stranger_open(&s, true, &w->router);
    stranger_meets(&s, &p.client);
    assert_int_equal(p.client.err, WEFT_EVERSION);
    assert_false(pki_tls_is_up(p.client.tls));
    stranger_close(&s);
    pair_close(&p);
}

static void tls_1_2_is_refused(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    our_server(&p, w);
    stranger_open(&s, false, &w->ci);
    offer(&s, "weft/1");
    assert_int_equal(SSL_set_max_proto_version(s.ssl, TLS1_2_VERSION), 1);
    stranger_meets(&s, &p.server);
    assert_int_equal(p.server.err, WEFT_EVERSION);
    stranger_close(&s);
    stranger_open(&s, true, &w->router);
    assert_int_equal(SSL_set_max_proto_version(s.ssl, TLS1_2_VERSION), 1);
    stranger_meets(&s, &p.client);
    assert_int_not_equal(p.client.err, WEFT_OK);
    assert_false(pki_tls_is_up(p.client.tls));
    stranger_close(&s);
    pair_close(&p);
}

static void an_honest_stranger_comes_up(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    our_server(&p, w);
    stranger_open(&s, false, &w->ci); /* so that the refusals above are for the reason named */
    offer(&s, "weft/1");
    stranger_meets(&s, &p.server);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p.server.tls));
    stranger_close(&s);
    pair_close(&p);
}

static void a_flood_of_key_updates_is_cut_off(void **state)
{
    struct pair p;
    meet(&p, *state);
    for (unsigned i = 0; i < 200 && p.server.err == WEFT_OK; i++) {
        assert_int_equal(SSL_key_update(p.client.tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        say(&p.client, "x", 1);
        pair_carry(&p.client, &p.server, 0);
    }
    assert_int_equal(p.server.err, WEFT_EPROTO);
    assert_in_range(p.server.heard.len, 20, 40);
    pair_close(&p);
}

static void garbage_is_refused(void **state)
{
    struct world *w = *state;
    static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                                        "\x16\x03\x01\xff\xff", "\x17\x03\x03\x00\x01x",
                                        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"};
    static const size_t lens[] = {18, 21, 5, 6, 10};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct pair p;
        our_server(&p, w);
        pair_feed(&p.server, texts[i], lens[i]);
        assert_int_not_equal(p.server.err, WEFT_OK);
        assert_int_not_equal(p.server.err, WEFT_EEOF);
        weft_err first = p.server.err;
        uint8_t byte;
        size_t got;
        assert_int_equal(pki_tls_read(p.server.tls, &byte, 1, &got, NULL), first);
        assert_int_equal(pki_tls_write(p.server.tls, &byte, 1, NULL), first);
        assert_int_equal(pki_tls_shutdown(p.server.tls), first);
        pair_close(&p);
    }
}

static void a_handshake_without_end_is_cut_off(void **state)
{
    struct world *w = *state;
    struct pair p;
    our_server(&p, w);
    /* A ClientHello of 120,000 bytes, in records. */
    uint8_t record[5 + 16384] = {0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x01, 0xd4, 0xc0, 0x03, 0x03};
    size_t sent = 0;
    for (int i = 0; i < 7 && p.server.err == WEFT_OK; i++) {
        pair_feed(&p.server, record, sizeof record);
        sent += sizeof record;
        memset(record + 5, 0, 6);
    }
    assert_int_equal(p.server.err, WEFT_ELIMIT);
    assert_in_range(sent, WF_HANDSHAKE_BYTES_MAX, WF_HANDSHAKE_BYTES_MAX + 20000);
    pair_close(&p);
}

/* ---- a liar in the middle */

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
    our_server(&p, *state);
    pair_feed(&p.server, close_in_clear, sizeof close_in_clear);
    assert_int_not_equal(p.server.err, WEFT_EEOF);
    assert_int_not_equal(p.server.err, WEFT_OK);
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
        IN_WORLD(a_peer_of_another_kind_is_refused),
        IN_WORLD(a_peer_of_another_fabric_is_refused),
        IN_WORLD(both_sides_learn_that_the_client_expired),
        IN_WORLD(both_sides_learn_that_the_server_expired),
        IN_WORLD(a_certificate_of_tomorrow_is_refused),
        IN_WORLD(both_sides_learn_that_the_client_is_revoked),
        IN_WORLD(both_sides_learn_that_the_server_is_revoked),
        IN_WORLD(renewing_forgives_expiry_and_neither_revocation_nor_old_age),
        IN_WORLD(a_peer_that_is_not_the_one_expected_is_refused),
        IN_WORLD(a_certificate_of_a_client_makes_no_server),
        IN_WORLD(no_common_protocol_is_refused),
        IN_WORLD(an_enrollee_knows_the_server_by_its_key_alone),
        IN_WORLD(an_enrollee_sends_nothing_to_a_server_with_another_key),
        IN_WORLD(an_enrollee_can_do_nothing_else),
        IN_WORLD(an_honest_stranger_comes_up),
        IN_WORLD(a_client_that_withholds_its_certificate_is_refused),
        IN_WORLD(a_client_without_alpn_is_refused),
        IN_WORLD(a_server_without_alpn_is_refused),
        IN_WORLD(tls_1_2_is_refused),
        IN_WORLD(a_flood_of_key_updates_is_cut_off),
        IN_WORLD(garbage_is_refused),
        IN_WORLD(a_handshake_without_end_is_cut_off),
        IN_WORLD(a_flipped_byte_of_the_handshake_is_never_believed),
        IN_WORLD(a_flipped_byte_of_a_record_is_found_and_nothing_after_it_is_delivered),
        IN_WORLD(records_dropped_repeated_or_exchanged_are_found),
        IN_WORLD(records_of_another_connection_are_found),
        IN_WORLD(a_forged_close_is_no_end),
        IN_WORLD(output_that_fails_ends_the_tls_with_its_error),
        IN_WORLD(a_replaced_certificate_is_shown_by_new_connections_and_old_ones_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
