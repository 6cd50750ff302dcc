/* A router that is not on the way keeps an old bind alive: nearer than the present one, so that
 * dials that never touch the bad router find nobody. */
#include "tests/router/fabric.h"
#include <stdlib.h>

static struct fabric f;
static struct station s[2];
static struct raw host, rogue;

static void rogue_init(void)
{
    raw_init_as(&rogue, &f, PKI_ROUTER, "rogue");
    memset(rogue.node.id.b, 0, sizeof rogue.node.id.b);
    rogue.node.id.b[15] = 1;
    authority_renew(&f.a, &rogue.node, f.a.now - 1000, f.a.now + 3600000);
    pki_tls_ctx_unref(rogue.tls);
    rogue.tls = authority_tls(&rogue.node, rogue.trust);
    rogue.member = authority_member(&f.a, &rogue.node, NULL, 0);
}

static void say_again(Weft__Wire__Signed *bind, Weft__Wire__Signed *grant)
{
    Weft__Wire__Terminators message = WEFT__WIRE__TERMINATORS__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    Weft__Wire__Terminator one = WEFT__WIRE__TERMINATOR__INIT, *list = &one;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    one.bind = bind;
    one.grant = grant;
    one.chain = certs;
    for (size_t i = 0; i < pki_chain_count(host.node.chain); i++) {
        wf_span der = pki_chain_der(host.node.chain, i);
        certs[one.n_chain++] = wf_pb_bytes(der.data, der.len);
    }
    message.n_add = 1;
    message.add = &list;
    control.of_case = WEFT__WIRE__CONTROL__OF_TERMINATORS;
    control.terminators = &message;
    assert_int_equal(wf_link_send_control(rogue.link, &control), WEFT_OK);
}

static void what_a_host_unbound_stays_unbound_whoever_repeats_it(void **state)
{
    static const char *const names[] = {"near", "here"};
    wf_id old = wf_id_random();
    Weft__Wire__Signed *bind, *grant;
    (void)state;
    fabric_init(&f);
    for (int i = 0; i < 2; i++) {
        station_init(&s[i], &f, names[i]);
        station_start(&s[i]);
    }
    raw_init(&host, &f, "web-host");
    rogue_init();
    stations_join(&s[0], &s[1]);
    raw_open(&rogue, &s[1]);
    raw_open(&host, &s[0]);
    bind = authority_bind(&f.a, &host.node, &f.service, &old, &s[0].node.id);
    grant = authority_grant(&f.a, &host.node, &f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    assert_int_equal(raw_bind_with(&host, bind, grant), WEFT_OK);
    fabric_wait(&f, 5000, station_counters(&s[1])->remote_binds == 1);
    wf_link_close(host.link); /* it goes, and says so: its router tells all others */
    fabric_wait(&f, 5000, station_counters(&s[1])->remote_binds == 0);
    say_again(bind, grant); /* the rogue has seen it go by */
    fabric_run(&f, 100);
    assert_int_equal(station_counters(&s[1])->remote_binds, 0);
    wf_signed_free(bind);
    wf_signed_free(grant);
    raw_fini(&host);
    raw_fini(&rogue);
    for (int i = 0; i < 2; i++)
        station_fini(&s[i]);
    fabric_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_host_unbound_stays_unbound_whoever_repeats_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
