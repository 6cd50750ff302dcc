/*
 * A router that lies about who is at the other end. Each row of the tables
 * below is wrong in exactly one way, so each check of the session stands
 * alone between Mallory and the application.
 */
#include "tests/hostile/mallory.h"
#include <stdio.h>
#include <string.h>

static struct stage stage;
static struct mallory mallory;

enum fault {
    NONE, /* the control: with all rights she gets through, so the rows below can fail */
    ROUTER_CERTIFICATE,
    FOREIGN_AUTHORITY,
    EXPIRED_CERTIFICATE,
    OTHER_ROLE,
    STOLEN_GRANT,
    OTHER_SUBJECT,
    OTHER_KEY,
    OTHER_SERVICE,
    OTHER_DOMAIN,
    OTHER_SIGNER,
    EXPIRED_GRANT,
    FUTURE_GRANT,
    WITHDRAWN_GRANT,
    HELLO_SERVICE,
    HELLO_SESSION,
    HELLO_INSTANCE,
    HELLO_ROLE,
    FAULTS
};

static const char *const fault_names[] = {
    "no fault",        "router certificate", "foreign authority", "expired certificate",
    "other role",      "stolen grant",       "other subject",     "other key",
    "other service",   "other domain",       "other signer",      "expired grant",
    "future grant",    "withdrawn grant",    "HELLO: service",    "HELLO: session",
    "HELLO: instance", "HELLO: role",
};

static struct authority foreign;
static struct authority_node foreigner, expired;
static pki_trust *foreign_trust;

/* Mallory as `role`, with this one fault. Returns her grant, to be freed after she closed. */
static Weft__Wire__Signed *prepare(enum fault fault, Weft__Wire__Role role)
{
    bool host = role == WEFT__WIRE__ROLE__ROLE_BIND;
    Weft__Wire__Role other_role = host ? WEFT__WIRE__ROLE__ROLE_DIAL : WEFT__WIRE__ROLE__ROLE_BIND;
    const struct authority_node *victim = host ? &stage.host_node : &stage.dialer_node;
    const struct authority_node *who = fault == ROUTER_CERTIFICATE    ? &stage.router_node
                                       : fault == FOREIGN_AUTHORITY   ? &foreigner
                                       : fault == EXPIRED_CERTIFICATE ? &expired
                                                                      : &stage.mallory;
    struct mint m = mint_of(&stage, who, &stage.web, role);
    memset(&mallory, 0, sizeof mallory);
    mallory.pretence.who = who;
    struct wf_hello *hello = &mallory.pretence.hello;
    switch (fault) {
    case NONE:
    case ROUTER_CERTIFICATE:
    case FOREIGN_AUTHORITY:
    case EXPIRED_CERTIFICATE:
    case FAULTS:
        break;
    case OTHER_ROLE:
        m.role = other_role;
        break;
    case STOLEN_GRANT:
        m.subject = victim->id;
        m.pin = victim->pin;
        break;
    case OTHER_SUBJECT:
        m.subject = victim->id;
        break;
    case OTHER_KEY:
        m.pin = victim->pin;
        break;
    case OTHER_SERVICE:
        m.service = stage.other;
        break;
    case OTHER_DOMAIN:
        m.domain = "other.weft";
        break;
    case OTHER_SIGNER:
        m.key = stage.a.audit;
        break;
    case EXPIRED_GRANT:
        m.not_before -= 2 * 86400000;
        m.expiry = stage.a.now - 2 * WF_CLOCK_TOLERANCE_MS;
        break;
    case FUTURE_GRANT:
        m.not_before = stage.a.now + 2 * WF_CLOCK_TOLERANCE_MS;
        break;
    case WITHDRAWN_GRANT:
        m.epoch -= 1000; /* below the floor that was raised at the start */
        break;
    case HELLO_SERVICE:
        hello->service = stage.other;
        break;
    case HELLO_SESSION:
        hello->session = wf_id_random();
        break;
    case HELLO_INSTANCE:
        hello->instance = wf_id_random();
        break;
    case HELLO_ROLE:
        hello->role = other_role;
        break;
    }
    Weft__Wire__Signed *grant = mint(&stage, &m);
    hello->grant = grant;
    if (fault == FOREIGN_AUTHORITY)
        mallory.pretence.trust = foreign_trust;
    return grant;
}

static void an_imposter_in_the_host_s_place_is_refused_for_each_single_fault(void **state)
{
    (void)state;
    /* the real host leaves the stage: the router has but her to choose */
    weft_listener_close(stage.listeners[0]);
    stage_wait(&stage, 300, false);
    for (enum fault fault = NONE; fault < FAULTS; fault++) {
        Weft__Wire__Signed *grant = prepare(fault, WEFT__WIRE__ROLE__ROLE_BIND);
        memset(&bad, 0, sizeof bad);
        bad.believes = true;
        mallory_open(&mallory, &stage);
        mallory_bind(&mallory, grant);
        stage_talk(&stage, 500, 0, 1500);
        if (mallory.setups == 0)
            fail_msg("%s: the dial was not steered to mallory", fault_names[fault]);
        if (fault == NONE) {
            assert_true(stage.dialer.opened);
            assert_string_equal(stage.dialer.peer, "mallory");
            assert_true(stage.dialer.spoilt); /* her word was heard, since she had the right */
        } else {
            if (stage.dialer.opened || stage.dialer.heard != 0 || mallory.heard != 0)
                fail_msg("%s: got through", fault_names[fault]);
            if (!stage.dialer.closed || stage.dialer.err == WEFT_OK ||
                stage.dialer.err == WEFT_ECANCELED)
                fail_msg("%s: no error: %s", fault_names[fault], weft_err_name(stage.dialer.err));
        }
        mallory_close(&mallory);
        wf_signed_free(grant);
    }
}

static void an_imposter_in_the_dialer_s_place_is_refused_for_each_single_fault(void **state)
{
    (void)state;
    for (enum fault fault = NONE; fault < FAULTS; fault++) {
        if (fault == HELLO_INSTANCE)
            continue; /* a dialer may ask for an instance, and the host is it or is not: below */
        Weft__Wire__Signed *grant = prepare(fault, WEFT__WIRE__ROLE__ROLE_DIAL);
        unsigned incoming = stage.incoming;
        memset(&bad, 0, sizeof bad);
        bad.believes = true;
        stage.host.to_say = 0;
        mallory_open(&mallory, &stage);
        mallory_dial(&mallory, grant);
        if (mallory.setup_replies == 0)
            fail_msg("%s: the host was not reached", fault_names[fault]);
        if (fault == NONE)
            assert_int_equal(stage.incoming, incoming + 1);
        else if (stage.incoming != incoming || mallory.opened != 0)
            fail_msg("%s: got through", fault_names[fault]);
        mallory_close(&mallory);
        if (stage.host.stream != NULL)
            weft_stream_close(stage.host.stream);
        stage_wait(&stage, 2000, stage.host.stream == NULL);
        wf_signed_free(grant);
    }
}

static void a_dialer_that_asks_for_another_instance_is_refused(void **state)
{
    (void)state;
    Weft__Wire__Signed *grant = prepare(HELLO_INSTANCE, WEFT__WIRE__ROLE__ROLE_DIAL);
    unsigned incoming = stage.incoming;
    memset(&bad, 0, sizeof bad);
    bad.believes = true;
    mallory_open(&mallory, &stage);
    mallory_dial(&mallory, grant);
    assert_int_equal(stage.incoming, incoming);
    assert_int_equal(mallory.opened, 0);
    mallory_close(&mallory);
    wf_signed_free(grant);
}

/* ---- a whole conversation recorded, and played to the host again */

static wf_buf first, rest;

static bool record_control(void *arg, wf_link *to, Weft__Wire__Control *m)
{
    (void)arg;
    if (m->of_case == WEFT__WIRE__CONTROL__OF_SETUP && stage_is(to, &stage.host_node))
        (void)wf_buf_put(&first, m->setup->first.data, m->setup->first.len);
    return false;
}

static bool record_frame(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg;
    if (stage_is(to, &stage.host_node))
        (void)wf_buf_put(&rest, bytes + WF_FRAME_HEADER, len - WF_FRAME_HEADER);
    return false;
}

static void a_recorded_conversation_played_again_opens_nothing(void **state)
{
    (void)state;
    Weft__Wire__Signed *grant = prepare(NONE, WEFT__WIRE__ROLE__ROLE_DIAL);
    wf_buf_init(&first, WF_SETUP_BYTES_MAX);
    wf_buf_init(&rest, WF_FRAME_PAYLOAD_MAX);
    memset(&bad, 0, sizeof bad);
    bad.control = record_control;
    bad.frame = record_frame;
    stage_talk(&stage, 500, 500, 5000);
    stage_assert_whole(&stage);
    unsigned incoming = stage.incoming;
    memset(&bad, 0, sizeof bad);
    bad.believes = true;
    mallory_open(&mallory, &stage);
    mallory_replay(&mallory, grant, wf_span_of(first.data, first.len),
                   wf_span_of(rest.data, rest.len));
    assert_int_equal(mallory.setup_replies, 1);
    assert_int_equal(stage.incoming, incoming);
    mallory_close(&mallory);
    wf_signed_free(grant);
    wf_buf_fini(&first);
    wf_buf_fini(&rest);
}

static void an_honest_router_refuses_her_itself(void **state)
{
    (void)state;
    Weft__Wire__Signed *grant = prepare(STOLEN_GRANT, WEFT__WIRE__ROLE__ROLE_DIAL);
    memset(&bad, 0, sizeof bad);
    mallory_open(&mallory, &stage);
    mallory_dial(&mallory, grant);
    assert_int_equal(mallory.setup_code, WEFT_EREFUSED);
    mallory_close(&mallory);
    wf_signed_free(grant);
}

static int open_stage(void **state)
{
    (void)state;
    wf_why why = {""};
    stage_open(&stage);
    authority_init(&foreign, "test.weft", stage.a.now); /* the same name, other keys */
    authority_issue(&foreign, PKI_IDENTITY, "host", &foreigner);
    foreign_trust = authority_trust(&stage.a);
    authority_issue(&stage.a, PKI_IDENTITY, "mallory-late", &expired);
    authority_renew(&stage.a, &expired, stage.a.now - 2 * 86400000, stage.a.now - 86400000);

    /* Mallory's rights were withdrawn half a second ago, in both roles. */
    Weft__Wire__Floor floors[2], *list[2] = {&floors[0], &floors[1]};
    for (int i = 0; i < 2; i++) {
        weft__wire__floor__init(&floors[i]);
        floors[i].identity = wf_pb_id(&stage.mallory.id);
        floors[i].service = wf_pb_id(&stage.web);
        floors[i].role = i == 0 ? WEFT__WIRE__ROLE__ROLE_DIAL : WEFT__WIRE__ROLE__ROLE_BIND;
        floors[i].epoch = stage.a.now - 500;
        floors[i].expires = stage.a.now + 86400000;
    }
    Weft__Wire__Signed *set = authority_floors(&stage.a, 1, NULL, list, 2);
    assert_int_equal(router_add_floors(stage.router, set, &why), WEFT_OK);
    wf_signed_free(set);
    stage_wait(&stage, 300, false); /* the router floods them to both endpoints */
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    authority_node_fini(&foreigner);
    authority_node_fini(&expired);
    pki_trust_unref(foreign_trust);
    authority_fini(&foreign);
    stage_close(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_imposter_in_the_dialer_s_place_is_refused_for_each_single_fault),
        cmocka_unit_test(a_dialer_that_asks_for_another_instance_is_refused),
        cmocka_unit_test(a_recorded_conversation_played_again_opens_nothing),
        cmocka_unit_test(an_honest_router_refuses_her_itself),
        cmocka_unit_test(an_imposter_in_the_host_s_place_is_refused_for_each_single_fault),
    };
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
