/* One router between two raw endpoints: binds, dials, frames, closes. */
#include "tests/router/fabric.h"
#include <stdlib.h>

struct pair {
    struct fabric f;
    struct station s;
    struct raw dialer, host;
};

static int pair_setup_with(void **state, uint64_t memory)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    station_init(&p->s, &p->f, "edge");
    p->s.memory = memory;
    station_start(&p->s);
    raw_init(&p->dialer, &p->f, "ci");
    raw_init(&p->host, &p->f, "web-host");
    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    *state = p;
    return 0;
}

static int pair_setup(void **state)
{
    return pair_setup_with(state, 0);
}
static int pair_setup_small(void **state)
{
    return pair_setup_with(state, 1 << 20);
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    raw_fini(&p->dialer);
    raw_fini(&p->host);
    station_fini(&p->s);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

/* ---- binds */

static void a_bind_with_its_grant_is_taken(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    assert_int_equal(station_counters(&p->s)->binds, 1);
}

static void a_bind_is_refused_when_its_grant_is_for_dialing(void **state)
{
    struct pair *p = *state;
    wf_id instance = wf_id_random();
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s.node.id);
    Weft__Wire__Signed *grant =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);

    assert_int_equal(raw_bind_with(&p->host, bind, grant), WEFT_EREFUSED);
    assert_int_equal(station_counters(&p->s)->binds, 0);
    assert_int_equal(station_counters(&p->s)->binds_refused, 1);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

static void a_bind_is_refused_when_its_grant_is_for_another_service(void **state)
{
    struct pair *p = *state;
    wf_id instance = wf_id_random(), other = wf_id_random();
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s.node.id);
    Weft__Wire__Signed *grant =
        authority_grant(&p->f.a, &p->host.node, &other, "db", WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(&p->host, bind, grant), WEFT_EREFUSED);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

static void a_bind_is_refused_when_it_names_another_router(void **state)
{
    struct pair *p = *state;
    wf_id instance = wf_id_random(), router = wf_id_random();
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &router);
    Weft__Wire__Signed *grant =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(&p->host, bind, grant), WEFT_EREFUSED);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

static void a_bind_of_another_identity_is_refused_though_it_is_genuine(void **state)
{
    struct pair *p = *state;
    wf_id instance = wf_id_random();
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s.node.id);
    Weft__Wire__Signed *grant =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(&p->dialer, bind, grant), WEFT_EREFUSED);
    assert_int_equal(station_counters(&p->s)->binds, 0);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

static void two_identities_with_one_instance_do_not_meet(void **state)
{
    struct pair *p = *state;
    wf_id instance = raw_bind(&p->host, &p->s);
    Weft__Wire__Unbind unbind = WEFT__WIRE__UNBIND__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->dialer.node, &p->f.service, &instance, &p->s.node.id);
    Weft__Wire__Signed *grant = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                                                WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(&p->dialer, bind, grant), WEFT_OK);
    assert_int_equal(station_counters(&p->s)->binds, 2);
    unbind.instance = wf_pb_id(&instance);
    control.of_case = WEFT__WIRE__CONTROL__OF_UNBIND;
    control.unbind = &unbind;
    wf_link_send_control(p->dialer.link, &control);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->binds == 1);
    raw_connect(&p->dialer, &p->host, 0); /* the host's own is the one that stayed */
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5, .instance = &instance});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

static void binds_go_with_their_edge(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    assert_int_equal(station_counters(&p->s)->binds, 2);
    wf_link_close(p->host.link);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->binds == 0);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5});
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_ENOHOST);
}

static void unbinding_ends_dials_but_not_circuits(void **state)
{
    struct pair *p = *state;
    wf_id instance = raw_bind(&p->host, &p->s);
    struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);
    Weft__Wire__Unbind unbind = WEFT__WIRE__UNBIND__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    unbind.instance = wf_pb_id(&instance);
    control.of_case = WEFT__WIRE__CONTROL__OF_UNBIND;
    control.unbind = &unbind;
    wf_link_send_control(p->host.link, &control);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->binds == 0);
    raw_data(&p->dialer, c.dialer_out, "still", 5);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 5);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5});
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 2);
    assert_int_equal(p->dialer.replies[1].code, WEFT_ENOHOST);
}

static void a_host_that_came_back_takes_its_bind_over(void **state)
{
    struct pair *p = *state;
    wf_id instance = wf_id_random();
    struct raw again;
    Weft__Wire__Signed *bind =
        authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s.node.id);
    Weft__Wire__Signed *grant =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(&p->host, bind, grant), WEFT_OK);
    /* The same identity over a second link, before the first is known to be dead. */
    raw_init_same(&again, &p->f, &p->host);
    raw_open(&again, &p->s);
    assert_int_equal(raw_bind_with(&again, bind, grant), WEFT_OK);
    assert_int_equal(station_counters(&p->s)->binds, 1);
    wf_link_close(p->host.link);
    fabric_wait(&p->f, 5000, p->host.link == NULL);
    assert_int_equal(station_counters(&p->s)->binds, 1);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5});
    fabric_wait(&p->f, 5000, again.setup_count == 1);
    raw_fini(&again);
    wf_signed_free(bind);
    wf_signed_free(grant);
}

/* ---- dials */

static void a_dial_reaches_the_host_with_what_it_must_know(void **state)
{
    struct pair *p = *state;
    wf_id instance = raw_bind(&p->host, &p->s), session = wf_id_random();
    const struct raw_setup *setup = &p->host.setups[0];
    const struct raw_reply *reply = &p->dialer.replies[0];

    raw_dial(&p->dialer, &(struct raw_dial){.label = 77,
                                            .session = &session,
                                            .window = 200000,
                                            .first = "client hello",
                                            .first_len = 12});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    assert_true(wf_id_equal(&setup->instance, &instance));
    assert_true(wf_id_equal(&setup->session, &session));
    assert_true(wf_id_equal(&setup->service, &p->f.service));
    assert_int_equal(setup->window, 200000);
    assert_memory_equal(setup->first, "client hello", 12);
    assert_int_not_equal(setup->label, 0);
    assert_int_equal(setup->path_len, 0);
    raw_answer(&p->host, setup->label, 88, 150000, 0, "server hello", 12);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->to, 77);
    assert_int_equal(reply->window, 150000);
    assert_memory_equal(reply->first, "server hello", 12);
    assert_int_equal(station_counters(&p->s)->circuits, 1);

    raw_data(&p->dialer, reply->label, "there", 5);
    raw_data(&p->host, setup->label, "back", 4);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 5 && p->dialer.data_bytes == 4);
    assert_int_equal(p->host.data_label, 88);
    assert_int_equal(p->dialer.data_label, 77);
    assert_memory_equal(p->host.data_last, "there", 5);
    assert_memory_equal(p->dialer.data_last, "back", 4);
    /* First bytes and data both count as received. */
    raw_ack(&p->host, setup->label, 17, 17 + 150000);
    fabric_wait(&p->f, 5000, p->dialer.ack_count == 1);
    assert_int_equal(p->dialer.ack.received, 17);
    assert_int_equal(p->dialer.ack.credit, 17 + 150000);
}

static void refuse_with(struct pair *p, const struct raw_dial *dial, uint32_t code)
{
    unsigned before = p->dialer.reply_count, setups = p->host.setup_count;

    raw_dial(&p->dialer, dial);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == before + 1);
    assert_int_equal(p->dialer.replies[before].code, code);
    assert_int_equal(p->dialer.replies[before].to, dial->label);
    assert_int_equal(p->dialer.replies[before].label, 0);
    assert_int_equal(p->host.setup_count, setups);
    assert_int_equal(station_counters(&p->s)->circuits, 0);
    assert_int_equal(station_counters(&p->s)->pending, 0);
}

static void a_dial_without_a_right_grant_is_refused_with_one_answer(void **state)
{
    struct pair *p = *state;
    wf_id other = wf_id_random();
    Weft__Wire__Signed *bind_grant = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                                                     WEFT__WIRE__ROLE__ROLE_BIND);
    Weft__Wire__Signed *of_host =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    Weft__Wire__Signed *elsewhere =
        authority_grant(&p->f.a, &p->dialer.node, &other, "db", WEFT__WIRE__ROLE__ROLE_DIAL);
    Weft__Wire__Signed *forged = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                                                 WEFT__WIRE__ROLE__ROLE_DIAL);
    char reasons[5][WF_REASON_MAX + 1];

    raw_bind(&p->host, &p->s);
    forged->body.data[forged->body.len - 1] ^= 1;
    refuse_with(p, &(struct raw_dial){.label = 1, .grant = bind_grant}, WEFT_EREFUSED);
    refuse_with(p, &(struct raw_dial){.label = 2, .grant = of_host}, WEFT_EREFUSED);
    refuse_with(p, &(struct raw_dial){.label = 3, .grant = elsewhere}, WEFT_EREFUSED);
    refuse_with(p, &(struct raw_dial){.label = 4, .grant = forged}, WEFT_EREFUSED);
    /* A service that nobody has heard of looks the same as one that is forbidden. */
    refuse_with(p, &(struct raw_dial){.label = 5, .service = &other}, WEFT_EREFUSED);
    for (int i = 0; i < 5; i++)
        memcpy(reasons[i], p->dialer.replies[i].reason, sizeof reasons[i]);
    for (int i = 1; i < 5; i++)
        assert_string_equal(reasons[0], reasons[i]);
    assert_int_equal(station_counters(&p->s)->setups_refused_policy, 5);
    assert_non_null(strstr(p->f.log, "not dial it")); /* the log has the rule */
    wf_signed_free(bind_grant);
    wf_signed_free(of_host);
    wf_signed_free(elsewhere);
    wf_signed_free(forged);
}

static void a_dial_with_an_expired_grant_is_refused_as_expired(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Signed *grant;
    uint64_t now = p->f.a.now;

    p->f.a.now = now - 2ull * WF_GRANT_LIFE_MS;
    grant = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                            WEFT__WIRE__ROLE__ROLE_DIAL);
    p->f.a.now = now;
    raw_bind(&p->host, &p->s);
    refuse_with(p, &(struct raw_dial){.label = 1, .grant = grant}, WEFT_EEXPIRED);
    wf_signed_free(grant);
}

static void a_dial_to_a_service_without_host_says_so(void **state)
{
    struct pair *p = *state;

    refuse_with(p, &(struct raw_dial){.label = 1}, WEFT_ENOHOST);
    assert_int_equal(station_counters(&p->s)->setups_refused_no_host, 1);
}

static void a_dial_by_instance_finds_that_instance_or_nothing(void **state)
{
    struct pair *p = *state;
    wf_id one = raw_bind(&p->host, &p->s), two = raw_bind(&p->host, &p->s);
    wf_id none = wf_id_random();

    for (unsigned i = 0; i < 6; i++) {
        const wf_id *want = i % 2 == 0 ? &one : &two;
        raw_dial(&p->dialer, &(struct raw_dial){.label = 10 + i, .instance = want});
        fabric_wait(&p->f, 5000, p->host.setup_count == i + 1);
        assert_true(wf_id_equal(&p->host.setups[i].instance, want));
    }
    raw_dial(&p->dialer, &(struct raw_dial){.label = 30, .instance = &none});
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_ENOHOST);
}

static void dials_spread_over_the_hosts_of_a_service(void **state)
{
    struct pair *p = *state;
    wf_id one = raw_bind(&p->host, &p->s);
    unsigned of_one = 0;

    raw_bind(&p->host, &p->s);
    for (unsigned i = 0; i < 10; i++) {
        raw_dial(&p->dialer, &(struct raw_dial){.label = 10 + i});
        fabric_wait(&p->f, 5000, p->host.setup_count == i + 1);
        of_one += wf_id_equal(&p->host.setups[i].instance, &one);
    }
    assert_int_equal(of_one, 5);
}

static void a_host_whose_circuits_ended_is_chosen_again(void **state)
{
    struct pair *p = *state;
    wf_id one = raw_bind(&p->host, &p->s);
    struct raw_circuit of_one[2];
    unsigned found = 0;

    raw_bind(&p->host, &p->s);
    for (unsigned i = 0; i < 4; i++) {
        struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);
        if (wf_id_equal(&p->host.setups[i].instance, &one))
            of_one[found++ % 2] = c;
    }
    assert_int_equal(found, 2);
    p->dialer.answers_close = p->host.answers_close = false;
    for (unsigned i = 0; i < 2; i++) {
        raw_close(&p->dialer, of_one[i].dialer_out, 0);
        raw_close(&p->host, of_one[i].host_out, 0);
    }
    fabric_wait(&p->f, 5000, station_counters(&p->s)->circuits == 2);
    for (unsigned i = 4; i < 6; i++) {
        raw_connect(&p->dialer, &p->host, 0);
        assert_true(wf_id_equal(&p->host.setups[i].instance, &one));
    }
}

static void a_refusal_of_the_host_reaches_the_dialer(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    raw_answer(&p->host, p->host.setups[0].label, 0, 0, WEFT_EBUSY, NULL, 0);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_EBUSY);
    assert_int_equal(station_counters(&p->s)->pending, 0);
}

static void a_host_that_goes_before_it_answers_is_told_to_the_dialer(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    wf_link_cut(p->host.link, WEFT_ECANCELED, "test");
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_ELOST);
}

static void a_dialer_that_goes_before_the_answer_leaves_nothing(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    wf_link_cut(p->dialer.link, WEFT_ECANCELED, "test");
    fabric_wait(&p->f, 5000, station_counters(&p->s)->pending == 0);
    p->host.out_label = p->host.setups[0].label;
    raw_answer(&p->host, p->host.setups[0].label, 3, 65536, 0, NULL, 0);
    fabric_wait(&p->f, 5000, p->host.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_ECANCELED);
    fabric_run(&p->f, 20);
    assert_non_null(p->host.link); /* and its CLOSE found the label it belongs to */
}

/* ---- what is not allowed */

static void data_beyond_the_credit_closes_the_circuit_on_both_sides(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 100000);
    raw_zeros(&p->dialer, c.dialer_out, 60000);
    raw_zeros(&p->dialer, c.dialer_out, 40000);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 100000);
    assert_int_equal(p->host.close_count, 0);
    raw_zeros(&p->dialer, c.dialer_out, 1);
    fabric_wait(&p->f, 5000, p->host.close_count == 1 && p->dialer.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_EPROTO);
    assert_int_equal(p->dialer.close_code, WEFT_EPROTO);
    assert_int_equal(p->host.data_bytes, 100000);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->circuits == 0);
    assert_int_equal(station_counters(&p->s)->closed_breach, 1);
    assert_non_null(p->dialer.link); /* other circuits of the link live on */
}

static void new_credit_lets_more_through(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 65536);
    raw_zeros(&p->dialer, c.dialer_out, 65536);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 65536);
    raw_ack(&p->host, c.host_out, 65536, 2 * 65536);
    fabric_wait(&p->f, 5000, p->dialer.ack_count == 1);
    raw_zeros(&p->dialer, c.dialer_out, 65536);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 2 * 65536);
    assert_int_equal(p->host.close_count, 0);
}

static void the_host_is_held_to_its_credit_too(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 65536);
    raw_zeros(&p->host, c.host_out, 65536);
    raw_zeros(&p->host, c.host_out, 1);
    fabric_wait(&p->f, 5000, p->host.close_count == 1 && p->dialer.close_count == 1);
    assert_int_equal(p->dialer.close_code, WEFT_EPROTO);
    assert_int_equal(p->dialer.data_bytes, 65536);
}

static void an_ack_beyond_what_was_sent_closes_the_circuit(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    raw_data(&p->dialer, c.dialer_out, "12345", 5);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 5);
    raw_ack(&p->host, c.host_out, 6, 70000);
    fabric_wait(&p->f, 5000, p->host.close_count == 1 && p->dialer.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_EPROTO);
    assert_int_equal(p->dialer.close_code, WEFT_EPROTO);
    assert_int_equal(p->dialer.ack_count, 0);
}

static void credit_beyond_any_window_closes_the_circuit(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    raw_ack(&p->host, c.host_out, 0, WF_WINDOW_MAX + 1);
    fabric_wait(&p->f, 5000, p->dialer.close_count == 1);
    assert_int_equal(p->dialer.close_code, WEFT_EPROTO);
}

static void a_frame_for_no_circuit_cuts_the_link(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    raw_data(&p->dialer, c.dialer_out + 1, "x", 1);
    fabric_wait(&p->f, 5000, p->dialer.link == NULL);
    /* The circuit goes with the link of the one who broke the rules. */
    fabric_wait(&p->f, 5000, p->host.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_ELOST);
    assert_non_null(p->host.link);
    assert_non_null(strstr(p->f.log, "stands for no circuit"));
}

static void one_link_can_not_reach_into_anothers_circuit(void **state)
{
    struct pair *p = *state;
    struct raw thief;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    raw_init(&thief, &p->f, "thief");
    raw_open(&thief, &p->s);
    raw_data(&thief, c.dialer_out, "x", 1);
    fabric_wait(&p->f, 5000, thief.link == NULL);
    assert_int_equal(p->host.data_count, 0);
    assert_int_equal(p->host.close_count, 0);
    raw_fini(&thief);
}

static void a_reply_to_no_setup_cuts_the_link(void **state)
{
    struct pair *p = *state;

    raw_answer(&p->host, 4711, 3, 65536, 0, NULL, 0);
    fabric_wait(&p->f, 5000, p->host.link == NULL);
}

static void a_reply_with_a_larger_window_closes_the_circuit(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9, .window = 100000});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    p->host.out_label = p->host.setups[0].label;
    raw_answer(&p->host, p->host.setups[0].label, 3, 100001, 0, NULL, 0);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1 && p->host.close_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_EPROTO);
    assert_int_equal(p->host.close_code, WEFT_EPROTO);
}

static void a_message_that_endpoints_do_not_send_cuts_the_link(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Notice notice = WEFT__WIRE__NOTICE__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    notice.members = true;
    control.of_case = WEFT__WIRE__CONTROL__OF_NOTICE;
    control.notice = &notice;
    wf_link_send_control(p->dialer.link, &control);
    fabric_wait(&p->f, 5000, p->dialer.link == NULL);
}

/* ---- closing */

static void a_close_goes_through_behind_the_data_and_comes_back(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    p->dialer.answers_close = false; /* it closes first, so the CLOSE that comes is the answer */
    raw_data(&p->dialer, c.dialer_out, "last words", 10);
    raw_close(&p->dialer, c.dialer_out, WEFT_ERESET);
    fabric_wait(&p->f, 5000, p->host.close_count == 1 && p->dialer.close_count == 1);
    assert_int_equal(p->host.close_label, c.host_in);
    assert_int_equal(p->host.close_code, WEFT_ERESET);
    assert_int_equal(p->host.data_bytes, 10);
    assert_int_equal(p->dialer.close_label, c.dialer_in);
    assert_int_equal(station_counters(&p->s)->circuits, 0);
    fabric_run(&p->f, 20);
    assert_non_null(p->host.link);
    assert_non_null(p->dialer.link);
}

static void a_label_is_not_used_again_before_both_closes_have_crossed(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->dialer, &p->host, 0);
    p->dialer.answers_close = p->host.answers_close = false;
    raw_close(&p->dialer, c.dialer_out, 0);
    fabric_wait(&p->f, 5000, p->host.close_count == 1 && p->dialer.close_count == 1);
    /* The host hasn't answered: what it still sends belongs to the old circuit and goes nowhere. */
    raw_data(&p->host, c.host_out, "late", 4);
    raw_ack(&p->host, c.host_out, 0, 100000);
    fabric_run(&p->f, 30);
    assert_non_null(p->host.link);
    assert_int_equal(p->dialer.data_count, 0);
    assert_int_equal(p->dialer.ack_count, 0);
    raw_close(&p->host, c.host_out, 0);
    fabric_run(&p->f, 30);
    assert_non_null(p->host.link);
    /* Now they have crossed; the label stands for nothing. */
    raw_data(&p->host, c.host_out, "later", 5);
    fabric_wait(&p->f, 5000, p->host.link == NULL);
}

static void a_lost_link_closes_its_circuits_as_lost(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    for (int i = 0; i < 5; i++)
        raw_connect(&p->dialer, &p->host, 0);
    p->host.answers_close = false;
    wf_link_cut(p->dialer.link, WEFT_ECANCELED, "test");
    fabric_wait(&p->f, 5000, p->host.close_count == 5);
    assert_int_equal(p->host.close_code, WEFT_ELOST);
    assert_int_equal(station_counters(&p->s)->circuits, 0);
    assert_int_equal(station_counters(&p->s)->closed_lost, 5);
}

static void an_identity_may_dial_a_service_that_it_hosts_over_the_same_link(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c;

    raw_bind(&p->host, &p->s);
    c = raw_connect(&p->host, &p->host, 0);
    assert_int_not_equal(c.dialer_out, c.host_out);
    raw_data(&p->host, c.dialer_out, "self", 4);
    fabric_wait(&p->f, 5000, p->host.data_bytes == 4);
    assert_int_equal(p->host.data_label, c.host_in);
    /* Pending and open ones both go with the one link. */
    raw_dial(&p->host, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 2);
    wf_link_cut(p->host.link, WEFT_ECANCELED, "test");
    fabric_wait(&p->f, 5000, station_counters(&p->s)->edges == 1);
    assert_int_equal(station_counters(&p->s)->circuits, 0);
    assert_int_equal(station_counters(&p->s)->pending, 0);
}

/* ---- memory */

static void a_window_is_lowered_to_what_the_memory_allows(void **state)
{
    struct pair *p = *state;

    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9, .window = WF_WINDOW_MAX});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    assert_int_equal(p->host.setups[0].window, WF_WINDOW_MIN); /* a sixteenth of 1 MiB */
}

int main(void)
{
#define IN_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)
#define IN_SMALL(test) cmocka_unit_test_setup_teardown(test, pair_setup_small, pair_teardown)
    const struct CMUnitTest tests[] = {
        IN_PAIR(a_bind_with_its_grant_is_taken),
        IN_PAIR(a_bind_is_refused_when_its_grant_is_for_dialing),
        IN_PAIR(a_bind_is_refused_when_its_grant_is_for_another_service),
        IN_PAIR(a_bind_is_refused_when_it_names_another_router),
        IN_PAIR(a_bind_of_another_identity_is_refused_though_it_is_genuine),
        IN_PAIR(two_identities_with_one_instance_do_not_meet),
        IN_PAIR(binds_go_with_their_edge),
        IN_PAIR(unbinding_ends_dials_but_not_circuits),
        IN_PAIR(a_host_that_came_back_takes_its_bind_over),
        IN_PAIR(a_dial_reaches_the_host_with_what_it_must_know),
        IN_PAIR(a_dial_without_a_right_grant_is_refused_with_one_answer),
        IN_PAIR(a_dial_with_an_expired_grant_is_refused_as_expired),
        IN_PAIR(a_dial_to_a_service_without_host_says_so),
        IN_PAIR(a_dial_by_instance_finds_that_instance_or_nothing),
        IN_PAIR(dials_spread_over_the_hosts_of_a_service),
        IN_PAIR(a_host_whose_circuits_ended_is_chosen_again),
        IN_PAIR(a_refusal_of_the_host_reaches_the_dialer),
        IN_PAIR(a_host_that_goes_before_it_answers_is_told_to_the_dialer),
        IN_PAIR(a_dialer_that_goes_before_the_answer_leaves_nothing),
        IN_PAIR(data_beyond_the_credit_closes_the_circuit_on_both_sides),
        IN_PAIR(new_credit_lets_more_through),
        IN_PAIR(the_host_is_held_to_its_credit_too),
        IN_PAIR(an_ack_beyond_what_was_sent_closes_the_circuit),
        IN_PAIR(credit_beyond_any_window_closes_the_circuit),
        IN_PAIR(a_frame_for_no_circuit_cuts_the_link),
        IN_PAIR(one_link_can_not_reach_into_anothers_circuit),
        IN_PAIR(a_reply_to_no_setup_cuts_the_link),
        IN_PAIR(a_reply_with_a_larger_window_closes_the_circuit),
        IN_PAIR(a_message_that_endpoints_do_not_send_cuts_the_link),
        IN_PAIR(a_close_goes_through_behind_the_data_and_comes_back),
        IN_PAIR(a_label_is_not_used_again_before_both_closes_have_crossed),
        IN_PAIR(a_lost_link_closes_its_circuits_as_lost),
        IN_PAIR(an_identity_may_dial_a_service_that_it_hosts_over_the_same_link),
        IN_SMALL(a_window_is_lowered_to_what_the_memory_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
