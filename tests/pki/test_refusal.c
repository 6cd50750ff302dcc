/* Whom TLS refuses, and what both sides learn of it: wrong certificates, and strangers. */
#include "pki/tls_inside.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/forge.h"
#include "tests/pki/pair.h"
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull

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

static void a_stranger_who_must_say_hello_twice_comes_up_with_a_host(void **state)
{
    struct world *w = *state;
    struct stranger s;
    struct pair p;
    static char groups[] = "P-384:X25519"; /* the share it sends first is none of ours */
    pair_open(&p, w->ci_ctx, e2e_to_host, w->host_ctx, e2e_from_dialer);
    stranger_open(&s, false, &w->ci);
    offer(&s, "weft-e2e/1");
    assert_int_equal(SSL_set1_groups_list(s.ssl, groups), 1);
    stranger_meets(&s, &p.server);
    assert_int_equal(p.server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p.server.tls));
    assert_string_equal(pki_tls_peer(p.server.tls)->name, "ci");
    say(&p.server, "hello", 5);
    stranger_close(&s);
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

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
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
        IN_WORLD(a_stranger_who_must_say_hello_twice_comes_up_with_a_host),
        IN_WORLD(garbage_is_refused),
        IN_WORLD(a_handshake_without_end_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
