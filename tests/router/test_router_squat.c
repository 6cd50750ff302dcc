/* One identity takes the instance of another's bind while that one is away for a moment. */
#include "tests/router/fabric.h"
#include <stdlib.h>

static void a_host_comes_back_though_another_took_its_instance(void **state)
{
    static struct fabric f;
    static struct station s;
    static struct raw host, squatter;
    wf_id instance, other_service = wf_id_random();
    Weft__Wire__Signed *bind, *grant;
    (void)state;
    fabric_init(&f);
    station_init(&s, &f, "router");
    station_start(&s);
    raw_init(&host, &f, "web-host");
    raw_init(&squatter, &f, "squatter");
    raw_open(&host, &s);
    raw_open(&squatter, &s);
    instance = raw_bind(&host, &s); /* each dialer learns it with the answer to its SETUP */
    wf_link_close(host.link);
    fabric_wait(&f, 5000, host.link == NULL && station_counters(&s)->binds == 0);
    /* A service of the squatter's own: it has no right to "web". */
    bind = authority_bind(&f.a, &squatter.node, &other_service, &instance, &s.node.id);
    grant =
        authority_grant(&f.a, &squatter.node, &other_service, "own", WEFT__WIRE__ROLE__ROLE_BIND);
    assert_int_equal(raw_bind_with(&squatter, bind, grant), WEFT_OK);
    wf_signed_free(bind);
    wf_signed_free(grant);
    raw_open(&host, &s);
    bind = authority_bind(&f.a, &host.node, &f.service, &instance, &s.node.id);
    grant = authority_grant(&f.a, &host.node, &f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    assert_int_equal(raw_bind_with(&host, bind, grant), WEFT_OK); /* says WEFT_EEXIST, for ever */
    wf_signed_free(bind);
    wf_signed_free(grant);
    raw_fini(&host);
    raw_fini(&squatter);
    station_fini(&s);
    fabric_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_comes_back_though_another_took_its_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
