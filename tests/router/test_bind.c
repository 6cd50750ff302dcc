/* Terminators by themselves: what one identity may hold, and what stays known of those that go. */
#include "proto/base/clock.h"
#include "router/bind.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

static struct binds binds;
static struct authority a;
static struct authority_node host;
static Weft__Wire__Signed *grant;
static wf_id service;

static int setup(void **state)
{
    (void)state;
    authority_init(&a, "test", wf_now_wall_ms());
    authority_issue(&a, PKI_IDENTITY, "host", &host);
    service = wf_id_random();
    grant = authority_grant(&a, &host, &service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    assert_int_equal(binds_init(&binds), WEFT_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    binds_fini(&binds);
    wf_signed_free(grant);
    authority_node_fini(&host);
    authority_fini(&a);
    return 0;
}

/* What trust let through, as far as this module looks at it. */
static struct pki_bind made(const wf_id *subject, uint32_t instance, uint64_t sequence)
{
    struct pki_bind bind = {.service = service, .subject = *subject, .sequence = sequence};

    memcpy(bind.instance.b, &instance, sizeof instance);
    bind.router.b[0] = 1;
    bind.expiry = bind.grant.expiry = wf_now_wall_ms() + 3600000;
    return bind;
}

static weft_err add(const struct pki_bind *bind, enum bind_from from, bool *learned)
{
    struct terminator *terminator;
    struct pki_subject who = {.id = bind->subject};

    return binds_add(&binds, bind, &who, grant, grant, host.chain, from, NULL, &terminator,
                     learned);
}

static void withdraw(const struct pki_bind *bind)
{
    struct bind_key key = bind_key(bind);

    assert_non_null(binds_find(&binds, &key));
    binds_remove(&binds, binds_find(&binds, &key));
}

static void one_identity_cannot_fill_the_table(void **state)
{
    wf_id greedy = wf_id_random(), other = wf_id_random();
    struct pki_bind bind;
    bool learned;

    (void)state;
    for (uint32_t i = 0; i < TERMINATORS_PER_SUBJECT; i++) {
        bind = made(&greedy, i, 1);
        assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
    }
    bind = made(&greedy, TERMINATORS_PER_SUBJECT, 1);
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_ELIMIT);
    assert_false(learned);
    bind = made(&greedy, 7, 2); /* what it has it may renew */
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
    assert_true(learned);
    bind = made(&other, 7, 1);
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
    assert_int_equal(binds.remote, TERMINATORS_PER_SUBJECT + 1);
    bind = made(&greedy, 8, 1);
    withdraw(&bind);
    bind = made(&greedy, TERMINATORS_PER_SUBJECT, 1);
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
}

static void what_was_withdrawn_comes_back_with_a_higher_sequence_only(void **state)
{
    wf_id subject = wf_id_random();
    struct pki_bind bind = made(&subject, 1, 5), older = made(&subject, 1, 4),
                    newer = made(&subject, 1, 6);
    bool learned;

    (void)state;
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
    withdraw(&bind);
    assert_int_equal(add(&bind, BIND_OTHER, &learned), WEFT_OK);
    assert_false(learned);
    assert_int_equal(add(&older, BIND_HOLDER, &learned), WEFT_OK);
    assert_false(learned);
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK); /* after its link came back */
    assert_true(learned);
    withdraw(&bind);
    assert_int_equal(add(&newer, BIND_OTHER, &learned), WEFT_OK);
    assert_true(learned);
    assert_int_equal(binds.remote, 1);
    withdraw(&newer);
    assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
    assert_false(learned);
}

static void who_comes_and_goes_makes_forget_only_his_own(void **state)
{
    wf_id restless = wf_id_random(), quiet = wf_id_random();
    struct pki_bind first = made(&quiet, 1, 1), bind;
    bool learned;

    (void)state;
    assert_int_equal(add(&first, BIND_HOLDER, &learned), WEFT_OK);
    withdraw(&first);
    for (uint32_t i = 0; i < TERMINATORS_PER_SUBJECT + 1; i++) {
        bind = made(&restless, i, 1);
        assert_int_equal(add(&bind, BIND_HOLDER, &learned), WEFT_OK);
        withdraw(&bind);
    }
    assert_int_equal(wf_map_count(binds.graves), TERMINATORS_PER_SUBJECT + 1);
    assert_int_equal(add(&first, BIND_OTHER, &learned), WEFT_OK);
    assert_false(learned);
    bind = made(&restless, 0, 1); /* the oldest of his */
    assert_int_equal(add(&bind, BIND_OTHER, &learned), WEFT_OK);
    assert_true(learned);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_identity_cannot_fill_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_withdrawn_comes_back_with_a_higher_sequence_only,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_and_goes_makes_forget_only_his_own, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
