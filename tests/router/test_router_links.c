/* Several routers: links, flooding, circuits across them. */
#include "tests/router/fabric.h"
#include <stdlib.h>

struct row {
    struct fabric f;
    struct station s[3];
    struct raw dialer, host;
};

static int row_setup(void **state)
{
    struct row *r = test_calloc(1, sizeof *r);

    fabric_init(&r->f);
    for (int i = 0; i < 3; i++) {
        const char *const names[] = {"first", "middle", "last"};
        station_init(&r->s[i], &r->f, names[i]);
        station_start(&r->s[i]);
    }
    raw_init(&r->dialer, &r->f, "ci");
    raw_init(&r->host, &r->f, "web-host");
    *state = r;
    return 0;
}

static int row_teardown(void **state)
{
    struct row *r = *state;

    raw_fini(&r->dialer);
    raw_fini(&r->host);
    for (int i = 0; i < 3; i++)
        station_fini(&r->s[i]);
    fabric_fini(&r->f);
    test_free(r);
    return 0;
}

/* Tells a of b, without an address: a knows that b is a member and can't dial it. */
static void tell(struct station *a, const struct station *b)
{
    Weft__Wire__Signed *member = authority_member(&a->f->a, &b->node, NULL, 0);

    assert_int_equal(router_add_member(a->router, member, NULL), WEFT_OK);
    wf_signed_free(member);
}

static void bind_at(struct row *r, int last)
{
    raw_open(&r->host, &r->s[last]);
    raw_bind(&r->host, &r->s[last]);
}

static void a_circuit_runs_across_two_routers(void **state)
{
    struct row *r = *state;
    struct raw_circuit c;

    stations_join(&r->s[0], &r->s[1]);
    bind_at(r, 1);
    raw_open(&r->dialer, &r->s[0]);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    c = raw_connect(&r->dialer, &r->host, 0);
    raw_data(&r->dialer, c.dialer_out, "hello over there", 16);
    raw_data(&r->host, c.host_out, "hello", 5);
    fabric_wait(&r->f, 5000, r->host.data_bytes == 16 && r->dialer.data_bytes == 5);
    assert_memory_equal(r->host.data_last, "hello over there", 16);
    raw_ack(&r->host, c.host_out, 16, 100000);
    fabric_wait(&r->f, 5000, r->dialer.ack_count == 1);
    assert_int_equal(station_counters(&r->s[0])->circuits, 1);
    assert_int_equal(station_counters(&r->s[1])->circuits, 1);
    r->dialer.answers_close = false;
    raw_close(&r->dialer, c.dialer_out, 0);
    fabric_wait(&r->f, 5000, r->host.close_count == 1 && r->dialer.close_count == 1);
    fabric_wait(&r->f, 5000,
                station_counters(&r->s[0])->circuits == 0 &&
                    station_counters(&r->s[1])->circuits == 0);
    fabric_run(&r->f, 30);
    assert_int_equal(station_counters(&r->s[0])->routers, 1);
}

static void a_bind_made_before_the_routers_linked_is_known_after(void **state)
{
    struct row *r = *state;

    bind_at(r, 1);
    raw_open(&r->dialer, &r->s[0]);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&r->f, 5000, r->dialer.reply_count == 1);
    assert_int_equal(r->dialer.replies[0].code, WEFT_ENOHOST);
    stations_join(&r->s[0], &r->s[1]);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    raw_connect(&r->dialer, &r->host, 0);
    /* And it goes when the host goes. */
    wf_link_close(r->host.link);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 0);
}

static void a_circuit_runs_through_a_router_in_the_middle(void **state)
{
    struct row *r = *state;
    struct raw_circuit c;

    stations_join(&r->s[0], &r->s[1]);
    stations_join(&r->s[1], &r->s[2]);
    fabric_wait(&r->f, 5000, station_counters(&r->s[1])->routers == 2);
    bind_at(r, 2);
    raw_open(&r->dialer, &r->s[0]);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&r->f, 5000, r->dialer.reply_count == 1);
    assert_int_equal(r->dialer.replies[0].code, WEFT_ENOHOST); /* not known to be a member */
    tell(&r->s[0], &r->s[2]);
    c = raw_connect(&r->dialer, &r->host, 0);
    assert_int_equal(station_counters(&r->s[1])->circuits, 1);
    raw_data(&r->dialer, c.dialer_out, "far", 3);
    raw_data(&r->host, c.host_out, "back", 4);
    fabric_wait(&r->f, 5000, r->host.data_bytes == 3 && r->dialer.data_bytes == 4);
    /* The middle goes: both ends hear that the circuit is lost. */
    station_stop(&r->s[1]);
    fabric_wait(&r->f, 5000, r->host.close_count == 1 && r->dialer.close_count == 1);
    assert_int_equal(r->host.close_code, WEFT_ELOST);
    assert_int_equal(r->dialer.close_code, WEFT_ELOST);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&r->f, 5000, r->dialer.reply_count == 3);
    assert_int_equal(r->dialer.replies[2].code, WEFT_ENOHOST); /* no path: out of reach */
}

static void a_router_that_comes_back_is_linked_again(void **state)
{
    struct row *r = *state;

    stations_join(&r->s[0], &r->s[1]);
    bind_at(r, 1);
    raw_open(&r->dialer, &r->s[0]);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    station_stop(&r->s[1]);
    fabric_wait(&r->f, 5000, r->host.link == NULL && station_counters(&r->s[0])->routers == 0);
    station_start(&r->s[1]); /* at the same port, and the members tell each other */
    if (wf_id_compare(&r->s[1].node.id, &r->s[0].node.id) < 0)
        stations_join(&r->s[0], &r->s[1]);
    fabric_wait(&r->f, 10000, station_counters(&r->s[0])->routers == 1);
    /* The bind it held before went with it. */
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 0);
    bind_at(r, 1);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    raw_connect(&r->dialer, &r->host, 0);
}

/* ---- a router gone bad, or one that only says it is one */

/* An id below all others', so that it is the one to dial. */
static void rogue_init(struct raw *rogue, struct row *r)
{
    raw_init_as(rogue, &r->f, PKI_ROUTER, "rogue");
    memset(rogue->node.id.b, 0, sizeof rogue->node.id.b);
    rogue->node.id.b[15] = 1;
    authority_renew(&r->f.a, &rogue->node, r->f.a.now - 1000, r->f.a.now + 3600000);
    pki_tls_ctx_unref(rogue->tls);
    rogue->tls = authority_tls(&rogue->node, rogue->trust);
}

static void dial_in(struct raw *rogue, struct station *s)
{
    rogue->member = authority_member(&rogue->f->a, &rogue->node, NULL, 0);
    raw_open(rogue, s);
}

static void a_router_without_a_member_record_is_turned_away(void **state)
{
    struct row *r = *state;
    struct raw rogue;
    struct authority_node other;
    static const char refused[] = "no member record that holds";

    rogue_init(&rogue, r);
    /* No record; another router's; one with its own id and another's key. */
    authority_issue(&r->f.a, PKI_ROUTER, "other", &other);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            other.id = rogue.node.id;
        rogue.member = i == 0 ? NULL : authority_member(&r->f.a, &other, NULL, 0);
        raw_start(&rogue, &r->s[0]);
        fabric_wait(&r->f, 5000, rogue.link == NULL);
        assert_int_equal(station_counters(&r->s[0])->routers, 0);
        wf_signed_free(rogue.member);
        rogue.member = NULL;
    }
    assert_non_null(strstr(r->f.log, refused));
    assert_non_null(strstr(r->f.log, "another key than its member record"));
    authority_node_fini(&other);
    raw_fini(&rogue);
}

static void send_terminator(struct raw *rogue, Weft__Wire__Signed *bind, Weft__Wire__Signed *grant,
                            const pki_chain *chain)
{
    Weft__Wire__Terminators message = WEFT__WIRE__TERMINATORS__INIT;
    Weft__Wire__Terminator one = WEFT__WIRE__TERMINATOR__INIT, *list[] = {&one};
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];

    one.bind = bind;
    one.grant = grant;
    one.chain = certs;
    for (size_t i = 0; i < pki_chain_count(chain); i++) {
        wf_span der = pki_chain_der(chain, i);
        certs[one.n_chain++] = wf_pb_bytes(der.data, der.len);
    }
    message.n_add = 1;
    message.add = list;
    control.of_case = WEFT__WIRE__CONTROL__OF_TERMINATORS;
    control.terminators = &message;
    assert_int_equal(wf_link_send_control(rogue->link, &control), WEFT_OK);
}

static void a_hostile_router_can_not_claim_a_service(void **state)
{
    struct row *r = *state;
    struct raw rogue;
    struct authority_node web, stranger;
    wf_id instance = wf_id_random(), nowhere = wf_id_random();
    Weft__Wire__Signed *bind, *grant, *dial, *of_stranger, *elsewhere, *here;

    rogue_init(&rogue, r);
    dial_in(&rogue, &r->s[0]);
    authority_issue(&r->f.a, PKI_IDENTITY, "web", &web);
    authority_issue(&r->f.a, PKI_IDENTITY, "stranger", &stranger);
    bind = authority_bind(&r->f.a, &web, &r->f.service, &instance, &rogue.node.id);
    grant = authority_grant(&r->f.a, &web, &r->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    dial = authority_grant(&r->f.a, &web, &r->f.service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    of_stranger = authority_bind(&r->f.a, &stranger, &r->f.service, &instance, &rogue.node.id);
    elsewhere = authority_bind(&r->f.a, &web, &r->f.service, &instance, &nowhere);
    here = authority_bind(&r->f.a, &web, &r->f.service, &instance, &r->s[0].node.id);

    send_terminator(&rogue, bind, dial, web.chain);              /* a grant that doesn't say bind */
    send_terminator(&rogue, of_stranger, grant, stranger.chain); /* another's grant */
    send_terminator(&rogue, of_stranger, grant, web.chain);      /* another's signature */
    send_terminator(&rogue, here, grant, web.chain);             /* at ourselves */
    bind->body.data[bind->body.len - 1] ^= 1;
    send_terminator(&rogue, bind, grant, web.chain); /* tampered with */
    bind->body.data[bind->body.len - 1] ^= 1;
    fabric_run(&r->f, 50);
    assert_int_equal(station_counters(&r->s[0])->remote_binds, 0);
    send_terminator(&rogue, elsewhere, grant, web.chain); /* at a router that is no member */
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    raw_open(&r->dialer, &r->s[0]);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&r->f, 5000, r->dialer.reply_count == 1);
    assert_int_equal(r->dialer.replies[0].code, WEFT_ENOHOST); /* so it is never chosen */
    assert_int_equal(rogue.setup_count, 0);
    send_terminator(&rogue, bind, grant, web.chain); /* as the host made it */
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 2);

    wf_signed_free(bind);
    wf_signed_free(grant);
    wf_signed_free(dial);
    wf_signed_free(of_stranger);
    wf_signed_free(elsewhere);
    wf_signed_free(here);
    authority_node_fini(&web);
    authority_node_fini(&stranger);
    raw_fini(&rogue);
}

static void send_links(struct raw *rogue, const pki_key *key, const pki_chain *chain,
                       const wf_id *router, const wf_id *neighbours, size_t count)
{
    Weft__Wire__LinkStateBody body = WEFT__WIRE__LINK_STATE_BODY__INIT;
    Weft__Wire__LinkState message = WEFT__WIRE__LINK_STATE__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    ProtobufCBinaryData ids[4], certs[WF_CHAIN_DEPTH];

    for (size_t i = 0; i < count; i++)
        ids[i] = wf_pb_id(&neighbours[i]);
    body.router_id = wf_pb_id(router);
    body.sequence = wf_now_wall_ms();
    body.n_neighbours = count;
    body.neighbours = ids;
    message.state = authority_sign(key, PKI_LABEL_LINKS, &body.base);
    message.chain = certs;
    for (size_t i = 0; i < pki_chain_count(chain); i++) {
        wf_span der = pki_chain_der(chain, i);
        certs[message.n_chain++] = wf_pb_bytes(der.data, der.len);
    }
    control.of_case = WEFT__WIRE__CONTROL__OF_LINK_STATE;
    control.link_state = &message;
    assert_int_equal(wf_link_send_control(rogue->link, &control), WEFT_OK);
    wf_signed_free(message.state);
}

static void a_hostile_router_can_not_draw_links_of_another(void **state)
{
    struct row *r = *state;
    struct raw rogue;
    struct station *ghost = &r->s[2]; /* a member with a host, linked to nobody */
    const wf_id ours[] = {r->s[0].node.id, ghost->node.id};
    wf_id instance = wf_id_random();
    Weft__Wire__Signed *bind, *grant;

    rogue_init(&rogue, r);
    dial_in(&rogue, &r->s[0]);
    tell(&r->s[0], ghost);
    bind = authority_bind(&r->f.a, &r->host.node, &r->f.service, &instance, &ghost->node.id);
    grant =
        authority_grant(&r->f.a, &r->host.node, &r->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    send_terminator(&rogue, bind, grant, r->host.node.chain);
    send_links(&rogue, rogue.node.key, rogue.node.chain, &rogue.node.id, ours, 2);
    /* It says what the ghost would have to say: under its own name, and under the ghost's. */
    send_links(&rogue, rogue.node.key, rogue.node.chain, &ghost->node.id, &rogue.node.id, 1);
    send_links(&rogue, rogue.node.key, ghost->node.chain, &ghost->node.id, &rogue.node.id, 1);
    fabric_wait(&r->f, 5000, station_counters(&r->s[0])->remote_binds == 1);
    raw_open(&r->dialer, &r->s[0]);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&r->f, 5000, r->dialer.reply_count == 1);
    assert_int_equal(r->dialer.replies[0].code, WEFT_ENOHOST);
    assert_int_equal(rogue.setup_count, 0);
    /* The ghost itself may say it: then there is a path. */
    send_links(&rogue, ghost->node.key, ghost->node.chain, &ghost->node.id, &rogue.node.id, 1);
    fabric_run(&r->f, 30);
    raw_dial(&r->dialer, &(struct raw_dial){.label = 2});
    fabric_wait(&r->f, 5000, rogue.setup_count == 1);
    assert_int_equal(rogue.setups[0].path_len, 1);
    assert_true(rogue.setups[0].has_grant && rogue.setups[0].chain_len > 0);
    wf_signed_free(bind);
    wf_signed_free(grant);
    raw_fini(&rogue);
}

static void the_last_router_checks_the_dial_grant_itself(void **state)
{
    struct row *r = *state;
    struct raw rogue;
    wf_id session = wf_id_random();
    Weft__Wire__Signed *good, *bad;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    const pki_chain *chain = r->dialer.node.chain;

    rogue_init(&rogue, r);
    bind_at(r, 0);
    dial_in(&rogue, &r->s[0]);
    good = authority_grant(&r->f.a, &r->dialer.node, &r->f.service, "web",
                           WEFT__WIRE__ROLE__ROLE_DIAL);
    bad = authority_grant(&r->f.a, &r->dialer.node, &r->f.service, "web",
                          WEFT__WIRE__ROLE__ROLE_BIND);
    for (unsigned i = 0; i < 3; i++) {
        Weft__Wire__Setup setup = WEFT__WIRE__SETUP__INIT;
        Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

        setup.label = 10 + i;
        setup.service_id = wf_pb_id(&r->f.service);
        setup.session = wf_pb_id(&session);
        setup.window = 65536;
        setup.grant = i == 0 ? bad : good;
        setup.chain = certs;
        for (size_t k = 0; i != 1 && k < pki_chain_count(chain); k++) {
            wf_span der = pki_chain_der(chain, k);
            certs[setup.n_chain++] = wf_pb_bytes(der.data, der.len);
        }
        control.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
        control.setup = &setup;
        assert_int_equal(wf_link_send_control(rogue.link, &control), WEFT_OK);
        if (i < 2) {
            fabric_wait(&r->f, 5000, rogue.reply_count == i + 1);
            assert_int_equal(rogue.replies[i].code, WEFT_EREFUSED);
            assert_int_equal(r->host.setup_count, 0);
        }
    }
    fabric_wait(&r->f, 5000, r->host.setup_count == 1);
    wf_signed_free(good);
    wf_signed_free(bad);
    raw_fini(&rogue);
}

static void a_router_that_links_again_replaces_its_old_link(void **state)
{
    struct row *r = *state;
    struct raw rogue, again;

    rogue_init(&rogue, r);
    dial_in(&rogue, &r->s[0]);
    raw_init_as(&again, &r->f, PKI_ROUTER, "unused");
    authority_node_fini(&again.node);
    pki_tls_ctx_unref(again.tls);
    again.node = rogue.node;
    again.tls = authority_tls(&rogue.node, again.trust);
    again.member = authority_member(&r->f.a, &rogue.node, NULL, 0);
    raw_start(&again, &r->s[0]);
    fabric_wait(&r->f, 5000, rogue.link == NULL && again.is_up);
    assert_int_equal(station_counters(&r->s[0])->routers, 1);
    memset(&again.node, 0, sizeof again.node); /* rogue's, and freed with it */
    again.node.kind = PKI_ROUTER;
    raw_fini(&again);
    raw_fini(&rogue);
}

int main(void)
{
#define IN_ROW(test) cmocka_unit_test_setup_teardown(test, row_setup, row_teardown)
    const struct CMUnitTest tests[] = {
        IN_ROW(a_circuit_runs_across_two_routers),
        IN_ROW(a_bind_made_before_the_routers_linked_is_known_after),
        IN_ROW(a_circuit_runs_through_a_router_in_the_middle),
        IN_ROW(a_router_that_comes_back_is_linked_again),
        IN_ROW(a_router_without_a_member_record_is_turned_away),
        IN_ROW(a_hostile_router_can_not_claim_a_service),
        IN_ROW(a_hostile_router_can_not_draw_links_of_another),
        IN_ROW(the_last_router_checks_the_dial_grant_itself),
        IN_ROW(a_router_that_links_again_replaces_its_old_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
