/* The session in memory: an honest client meets an honest server, and liars of every kind. */
#include "proto/base/clock.h"
#include "proto/wire/control.h"
#include "tests/helpers/test.h"
#include "tests/sdk/talk.h"
#include <stdlib.h>
#include <string.h>

static struct talk world, *t = &world;

static void assert_heard(int side, const char *text)
{
    assert_int_equal(t->end[side].heard.len, strlen(text));
    assert_memory_equal(t->end[side].heard.data, text, strlen(text));
}

static void assert_over(int side, weft_err err)
{
    assert_int_equal(t->end[side].over, 1);
    assert_string_equal(weft_err_name((int)t->end[side].err), weft_err_name((int)err));
    assert_int_equal(wf_session_state(t->end[side].session), WF_SESSION_OVER);
}

static void end_both(void)
{
    assert_int_equal(wf_session_end(t->end[DIALER].session), WEFT_OK);
    assert_int_equal(wf_session_end(t->end[HOST].session), WEFT_OK);
    talk_settle(t);
}

/* ---- honest ends */

static void a_dial_opens_when_the_host_accepts(void **state)
{
    (void)state;
    talk_open(t);
    talk_start(t);
    assert_int_equal(t->end[DIALER].verified, 1);
    assert_int_equal(t->end[HOST].verified, 1);
    assert_int_equal(t->end[DIALER].opened, 0);
    assert_int_equal(wf_session_state(t->end[DIALER].session), WF_SESSION_ANSWER);
    assert_int_equal(wf_session_state(t->end[HOST].session), WF_SESSION_DECISION);
    assert_string_equal(wf_session_peer(t->end[HOST].session)->name, "ci");
    assert_string_equal(wf_session_peer(t->end[DIALER].session)->name, "web-host");
    assert_string_equal(wf_session_grant(t->end[HOST].session)->service_name, "web");
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
    talk_settle(t);
    assert_int_equal(t->end[DIALER].opened, 1);
}

static void the_dialer_knows_the_host_after_one_round_trip(void **state)
{
    wf_why why = {""};
    (void)state;
    talk_open(t);
    assert_int_equal(wf_session_start(t->end[DIALER].session, &why), WEFT_OK);
    /* One flight there, one back: no third is needed before the dialer has verified. */
    struct message *hello = t->end[DIALER].first;
    t->end[DIALER].first = t->end[DIALER].last = NULL;
    wf_session_input(t->end[HOST].session, hello->bytes, hello->len, t->a.now);
    free(hello);
    struct message *flight = t->end[HOST].first;
    t->end[HOST].first = t->end[HOST].last = NULL;
    assert_non_null(flight);
    assert_null(flight->next);
    wf_session_answered(t->end[DIALER].session, t->window, &t->instance);
    wf_session_input(t->end[DIALER].session, flight->bytes, flight->len, t->a.now);
    free(flight);
    assert_int_equal(t->end[DIALER].verified, 1);
    assert_non_null(t->end[DIALER].first);
}

static void bytes_go_both_ways_and_both_ends_close_cleanly(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    talk_write(t, DIALER, "ping", 4);
    talk_write(t, HOST, "pong", 4);
    assert_heard(HOST, "ping");
    assert_heard(DIALER, "pong");
    end_both();
    assert_over(DIALER, WEFT_OK);
    assert_over(HOST, WEFT_OK);
    assert_int_equal(t->end[DIALER].ended, 1);
    assert_int_equal(t->end[HOST].ended, 1);
}

static void one_direction_lives_on_after_the_other_has_ended(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        int second = 1 - first;
        size_t taken;
        talk_open(t);
        talk_meet(t);
        talk_write(t, first, "question", 8);
        assert_int_equal(wf_session_end(t->end[first].session), WEFT_OK);
        talk_settle(t);
        assert_int_equal(t->end[second].ended, 1);
        assert_int_equal(t->end[second].over, 0);
        assert_int_equal(wf_session_write(t->end[first].session, (const uint8_t *)"x", 1, &taken),
                         WEFT_EINVAL);
        talk_write(t, second, "answer", 6);
        assert_heard(first, "answer");
        assert_int_equal(t->end[first].ended, 0);
        assert_int_equal(wf_session_end(t->end[second].session), WEFT_OK);
        talk_settle(t);
        assert_over(DIALER, WEFT_OK);
        assert_over(HOST, WEFT_OK);
        talk_close(t);
    }
}

static void an_end_waits_for_the_application_to_take_what_came_before(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    t->end[HOST].take = 2;
    talk_write(t, DIALER, "slow", 4);
    end_both();
    assert_int_equal(t->end[HOST].ended, 0);
    assert_over(HOST, WEFT_OK); /* the circuit is done with; the application is not */
    assert_int_equal(wf_session_held(t->end[HOST].session), 2);
    t->end[HOST].over = 0; /* `data` asserts that it isn't called afterwards: here it may be */
    t->end[HOST].take = SIZE_MAX;
    wf_session_resume(t->end[HOST].session);
    assert_heard(HOST, "slow");
    assert_int_equal(t->end[HOST].ended, 1);
    assert_true(wf_session_both_ended(t->end[HOST].session));
}

static void a_refusal_reaches_the_dialer_with_code_and_reason(void **state)
{
    (void)state;
    talk_open(t);
    talk_start(t);
    wf_session_refuse(t->end[HOST].session, WEFT_EBACKEND, "nothing listens on port 8080");
    talk_settle(t);
    assert_over(DIALER, WEFT_EBACKEND);
    assert_over(HOST, WEFT_EBACKEND);
    assert_non_null(strstr(t->end[DIALER].why, "nothing listens on port 8080"));
    assert_int_equal(t->end[DIALER].opened, 0);
}

static void a_reset_reaches_the_other_side_with_code_and_reason(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        talk_open(t);
        talk_meet(t);
        wf_session_reset(t->end[side].session, WEFT_EBACKEND, "it\ncrashed");
        talk_settle(t);
        assert_over(side, WEFT_ECANCELED);
        assert_over(1 - side, WEFT_EBACKEND);
        assert_non_null(strstr(t->end[1 - side].why, "it?crashed"));
        assert_int_equal(t->end[1 - side].ended, 0);
        talk_close(t);
    }
}

static void the_dialer_may_give_up_while_the_host_decides(void **state)
{
    (void)state;
    talk_open(t);
    talk_start(t);
    wf_session_reset(t->end[DIALER].session, WEFT_ECANCELED, "too slow");
    talk_settle(t);
    assert_over(HOST, WEFT_ECANCELED);
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_ECANCELED);
}

static void a_reset_may_follow_an_end(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    assert_int_equal(wf_session_end(t->end[DIALER].session), WEFT_OK);
    talk_settle(t);
    wf_session_reset(t->end[DIALER].session, WEFT_ETIMEDOUT, "no answer");
    talk_settle(t);
    assert_int_equal(t->end[HOST].ended, 1);
    assert_over(HOST, WEFT_ETIMEDOUT);
}

static void the_application_may_give_up_from_inside_data(struct end *end)
{
    wf_session_reset(end->session, WEFT_ERESET, "enough");
}

static void giving_up_from_inside_data_delivers_nothing_more(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    t->end[HOST].on_data = the_application_may_give_up_from_inside_data;
    talk_write(t, DIALER, "one", 3);
    assert_heard(HOST, "one");
    assert_over(DIALER, WEFT_ERESET);
    assert_over(HOST, WEFT_ECANCELED);
}

static void a_lost_circuit_is_never_a_clean_end(void **state)
{
    (void)state;
    /* At every point: after n messages were delivered the circuit is gone. */
    for (unsigned n = 0;; n++) {
        unsigned left = n;
        bool complete = true;
        wf_why why = {""};
        talk_open(t);
        assert_int_equal(wf_session_start(t->end[DIALER].session, &why), WEFT_OK);
        bool accepted = false, wrote = false, ended = false;
        for (;;) {
            struct message *m = NULL;
            int from = t->end[DIALER].first != NULL ? DIALER : HOST;
            m = t->end[from].first;
            if (m == NULL) {
                if (!accepted && t->end[HOST].verified) {
                    accepted = true;
                    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
                } else if (!wrote && t->end[DIALER].opened) {
                    size_t taken;
                    wrote = true;
                    assert_int_equal(
                        wf_session_write(t->end[DIALER].session, (const uint8_t *)"all", 3, &taken),
                        WEFT_OK);
                } else if (wrote && !ended) {
                    ended = true;
                    assert_int_equal(wf_session_end(t->end[DIALER].session), WEFT_OK);
                    assert_int_equal(wf_session_end(t->end[HOST].session), WEFT_OK);
                } else {
                    break;
                }
                continue;
            }
            if (left == 0) {
                complete = false;
                break;
            }
            left--;
            t->end[from].first = m->next;
            if (m->next == NULL)
                t->end[from].last = NULL;
            if (from == HOST && !t->answered) {
                t->answered = true;
                wf_session_answered(t->end[DIALER].session, t->window, &t->instance);
            }
            if (m->is_ack)
                wf_session_acked(t->end[1 - from].session, &m->ack);
            else
                wf_session_input(t->end[1 - from].session, m->bytes, m->len, t->a.now);
            free(m);
        }
        bool was_over[2] = {t->end[0].over > 0, t->end[1].over > 0};
        talk_cut(t);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(t->end[i].over, 1);
            if (!was_over[i])
                assert_int_equal(t->end[i].err, WEFT_ELOST);
            else
                assert_int_equal(t->end[i].err, WEFT_OK);
        }
        talk_close(t);
        if (complete) {
            assert_true(n >= 8); /* the loop has seen the handshake, the data and the closing */
            return;
        }
    }
}

static void datagrams_keep_their_boundaries(void **state)
{
    uint8_t big[WF_DATAGRAM_MAX];
    (void)state;
    memset(big, 7, sizeof big);
    t->datagram = true;
    talk_open(t);
    talk_meet(t);
    assert_true(wf_session_is_datagram(t->end[HOST].session));
    assert_int_equal(wf_session_send_datagram(t->end[DIALER].session, big, 0), WEFT_OK);
    assert_int_equal(wf_session_send_datagram(t->end[DIALER].session, big, 1), WEFT_OK);
    assert_int_equal(wf_session_send_datagram(t->end[HOST].session, big, sizeof big), WEFT_OK);
    assert_int_equal(wf_session_send_datagram(t->end[HOST].session, big, sizeof big + 0u), WEFT_OK);
    talk_settle(t);
    assert_int_equal(t->end[HOST].datagrams, 2);
    assert_int_equal(t->end[HOST].datagram_bytes, 1);
    assert_int_equal(t->end[DIALER].datagrams, 2);
    assert_int_equal(t->end[DIALER].datagram_bytes, 2 * sizeof big);
    size_t taken;
    assert_int_equal(wf_session_write(t->end[DIALER].session, big, 1, &taken), WEFT_EINVAL);
    end_both();
    assert_over(HOST, WEFT_OK);
    t->datagram = false;
}

static void the_oldest_datagrams_make_room_and_are_counted(void **state)
{
    uint8_t big[WF_DATAGRAM_MAX];
    (void)state;
    memset(big, 7, sizeof big);
    t->datagram = true;
    talk_open(t);
    talk_meet(t);
    t->end[DIALER].blocked = true;
    for (int i = 0; i < 10; i++)
        assert_int_equal(wf_session_send_datagram(t->end[DIALER].session, big, sizeof big),
                         WEFT_OK);
    assert_int_equal(wf_session_dropped_datagrams(t->end[DIALER].session), 6);
    t->end[DIALER].blocked = false;
    wf_session_drained(t->end[DIALER].session);
    talk_settle(t);
    assert_int_equal(t->end[HOST].datagrams, 4);
    t->datagram = false;
}

static void a_fresher_grant_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    uint64_t before = wf_session_grant(t->end[HOST].session)->expiry;
    t->a.now += 3600000;
    Weft__Wire__Signed *fresh =
        authority_grant(&t->a, &t->ci, &t->service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    assert_int_equal(wf_session_send_grant(t->end[DIALER].session, fresh), WEFT_OK);
    talk_settle(t);
    assert_int_equal(wf_session_grant(t->end[HOST].session)->expiry, before + 3600000);
    wf_signed_free(fresh);
    t->a.now -= 3600000;
}

static void a_session_ends_when_the_peers_grant_runs_out_and_no_grace_is_given(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    uint64_t expiry = wf_session_grant(t->end[HOST].session)->expiry;
    wf_session_check(t->end[HOST].session, expiry + 1000, 0);
    assert_int_equal(t->end[HOST].over, 0); /* clocks may differ by five minutes */
    wf_session_check(t->end[HOST].session, expiry + WF_CLOCK_TOLERANCE_MS + 1000,
                     WF_SESSION_GRACE_MS);
    assert_int_equal(t->end[HOST].over, 0);
    wf_session_check(t->end[HOST].session, expiry + WF_CLOCK_TOLERANCE_MS + 1000, 0);
    assert_over(HOST, WEFT_EEXPIRED);
    talk_settle(t);
    assert_over(DIALER, WEFT_EEXPIRED);
}

static void apply_floor(pki_trust *trust, Weft__Wire__Floor *floor)
{
    bool changed = false;
    wf_why why = {""};
    Weft__Wire__Floor *floors[] = {floor};
    floor->expires = t->a.now + 86400000;
    Weft__Wire__Signed *set =
        authority_floors(&t->a, pki_floors_version(pki_trust_floors(trust)) + 1, NULL, floors, 1);
    assert_int_equal(pki_trust_apply_floors(trust, set, t->a.now, &changed, &why), WEFT_OK);
    assert_true(changed);
    wf_signed_free(set);
}

/* ---- liars after TLS: each lie is one that TLS alone lets through */

/* The liar dials with this HELLO; the honest host must turn it away. */
static void assert_host_refuses(pki_tls_ctx *ctx, const struct wf_hello *hello, weft_err err)
{
    talk_open_end(t, HOST);
    talk_open_liar(t, DIALER, ctx);
    talk_start(t);
    if (t->end[HOST].over == 0) {
        liar_hello(&t->end[DIALER], hello);
        talk_settle(t);
    }
    assert_int_equal(t->end[HOST].verified, 0);
    talk_cut(t);
    assert_over(HOST, err);
    talk_close(t);
}

/* The liar hosts with this HELLO; the honest dialer must stop there, its certificate unsent. */
static void assert_dialer_refuses(pki_tls_ctx *ctx, const struct wf_hello *hello, weft_err err)
{
    wf_why why = {""};
    talk_open_end(t, DIALER);
    talk_open_liar(t, HOST, ctx);
    assert_int_equal(wf_session_start(t->end[DIALER].session, &why), WEFT_OK);
    uint64_t sent = t->end[DIALER].sent;
    struct message *m = t->end[DIALER].first;
    t->end[DIALER].first = t->end[DIALER].last = NULL;
    uint8_t plain[64];
    size_t got;
    pki_tls_feed(t->end[HOST].liar, m->bytes, m->len);
    assert_int_equal(pki_tls_read(t->end[HOST].liar, plain, sizeof plain, &got, &why), WEFT_OK);
    free(m);
    liar_hello(&t->end[HOST], hello);
    talk_settle(t);
    assert_int_equal(t->end[DIALER].verified, 0);
    assert_over(DIALER, err);
    assert_int_equal(t->end[DIALER].sent, sent);
    talk_close(t);
}

static void each_side_refuses_a_hello_for_another_service(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        hello.service = wf_id_random();
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_ETAMPERED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_ETAMPERED);
    }
}

static void each_side_refuses_a_hello_for_another_session(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        hello.session = wf_id_random();
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_ETAMPERED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_ETAMPERED);
    }
}

static void each_side_refuses_a_hello_for_another_instance(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        hello.instance = wf_id_random();
        if (side == DIALER) {
            assert_host_refuses(NULL, &hello, WEFT_ETAMPERED);
        } else {
            /* What the answer to SETUP said counts, and SETUP if an instance was asked for. */
            wf_why why = {""};
            talk_open_end(t, DIALER);
            talk_open_liar(t, HOST, NULL);
            assert_int_equal(wf_session_start(t->end[DIALER].session, &why), WEFT_OK);
            talk_settle(t);
            liar_hello(&t->end[HOST], &hello);
            talk_settle(t);
            assert_over(DIALER, WEFT_ETAMPERED);
            talk_close(t);
        }
    }
}

static void a_router_can_not_put_another_instance_in_place_of_the_one_asked_for(void **state)
{
    (void)state;
    t->asked = wf_id_random();
    talk_open_end(t, DIALER);
    t->asked = (wf_id){{0}};
    talk_open_end(t, HOST); /* an honest host, but not that one; the answer to SETUP names it */
    talk_start(t);
    assert_int_equal(t->end[DIALER].verified, 0);
    assert_over(DIALER, WEFT_ETAMPERED);
    talk_close(t);

    t->asked = t->instance;
    talk_open(t);
    talk_meet(t);
    t->asked = (wf_id){{0}};
}

static void each_side_refuses_the_other_role(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        /* A grant of the wrong role, and a role that the grant doesn't say. */
        struct authority_node *node = side == DIALER ? &t->ci : &t->host;
        Weft__Wire__Role role =
            side == DIALER ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL;
        Weft__Wire__Signed *wrong = authority_grant(&t->a, node, &t->service, "web", role);
        hello.grant = wrong;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EREFUSED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EREFUSED);
        hello = talk_hello(t, side);
        hello.role = role;
        hello.instance = t->instance; /* or the message itself isn't well formed */
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_ETAMPERED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_ETAMPERED);
        wf_signed_free(wrong);
    }
}

static void each_side_refuses_a_grant_of_another_identity(void **state)
{
    (void)state;
    /* Another enrolled identity shows the right one's grant: the key isn't its own. */
    struct wf_hello hello = talk_hello(t, DIALER);
    assert_host_refuses(t->other_ctx, &hello, WEFT_EREFUSED);
    hello = talk_hello(t, HOST);
    assert_dialer_refuses(t->other_ctx, &hello, WEFT_EREFUSED);
}

/* As in a change of keys gone wrong: the key fits, the identity doesn't. */
static void each_side_refuses_a_grant_for_another_subject_with_its_own_key(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct authority_node *node = side == DIALER ? &t->ci : &t->host;
        pki_pin own = node->pin;
        struct wf_hello hello = talk_hello(t, side);
        node->pin = t->other.pin;
        Weft__Wire__Signed *grant = authority_grant(&t->a, node, &t->service, "web", hello.role);
        node->pin = own;
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(t->other_ctx, &hello, WEFT_EREFUSED);
        else
            assert_dialer_refuses(t->other_ctx, &hello, WEFT_EREFUSED);
        wf_signed_free(grant);
    }
}

static void each_side_refuses_a_grant_that_names_another_key(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct authority_node *node = side == DIALER ? &t->ci : &t->host;
        pki_pin own = node->pin;
        struct wf_hello hello = talk_hello(t, side);
        node->pin = t->other.pin;
        Weft__Wire__Signed *grant = authority_grant(&t->a, node, &t->service, "web", hello.role);
        node->pin = own;
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EREFUSED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EREFUSED);
        wf_signed_free(grant);
    }
}

static void each_side_refuses_a_grant_for_another_service(void **state)
{
    wf_id elsewhere = wf_id_random();
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        Weft__Wire__Signed *grant = authority_grant(&t->a, side == DIALER ? &t->ci : &t->host,
                                                    &elsewhere, "elsewhere", hello.role);
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EREFUSED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EREFUSED);
        wf_signed_free(grant);
    }
}

static void each_side_refuses_a_grant_with_a_forged_signature(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        Weft__Wire__Signed *grant = authority_grant(&t->a, side == DIALER ? &t->ci : &t->host,
                                                    &t->service, "web", hello.role);
        grant->signature.data[10] ^= 1;
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_ECREDENTIAL);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_ECREDENTIAL);
        wf_signed_free(grant);
    }
}

static void each_side_refuses_an_expired_grant(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        uint64_t now = t->a.now;
        t->a.now = now - 3 * 86400000ull;
        Weft__Wire__Signed *grant = authority_grant(&t->a, side == DIALER ? &t->ci : &t->host,
                                                    &t->service, "web", hello.role);
        t->a.now = now;
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EEXPIRED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EEXPIRED);
        wf_signed_free(grant);
    }
}

static void each_side_refuses_a_grant_that_has_not_begun(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct wf_hello hello = talk_hello(t, side);
        t->a.now += 3600000;
        Weft__Wire__Signed *grant = authority_grant(&t->a, side == DIALER ? &t->ci : &t->host,
                                                    &t->service, "web", hello.role);
        t->a.now -= 3600000;
        hello.grant = grant;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_ECREDENTIAL);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_ECREDENTIAL);
        wf_signed_free(grant);
    }
}

/* A host whose own HELLO brings the news that it was cut: TLS had let it through. */
static void floors_that_come_with_a_hello_count_for_that_hello(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        int side = round % 2;
        struct talk *shared = t;
        t = calloc(1, sizeof *t);
        talk_world_open(t);
        t->apply_floors = true;
        struct wf_hello hello = talk_hello(t, side);
        /* One, or as many as the item takes. */
        static Weft__Wire__Floor all[260];
        static wf_id others[260];
        Weft__Wire__Floor *floors[260];
        size_t count = round < 2 ? 1 : 260;
        for (size_t i = 0; i < count; i++) {
            weft__wire__floor__init(&all[i]);
            floors[i] = &all[i];
            all[i].epoch = t->a.now + 1;
            all[i].expires = t->a.now + 86400000;
            others[i] = wf_id_random();
            all[i].identity = wf_pb_id(&others[i]);
            all[i].service = wf_pb_id(&t->service);
            all[i].role = WEFT__WIRE__ROLE__ROLE_DIAL;
        }
        weft__wire__floor__init(&all[count - 1]);
        all[count - 1].epoch = t->a.now + 1;
        all[count - 1].expires = t->a.now + 86400000;
        all[count - 1].key = wf_pb_bytes((side == DIALER ? &t->ci : &t->host)->pin.b, PKI_PIN_LEN);
        Weft__Wire__Signed *set = authority_floors(&t->a, 1, NULL, floors, count);
        assert_true(count == 1 || set->body.len > 14000);
        hello.floors = set;
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EREVOKED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EREFUSED);
        wf_signed_free(set);
        talk_world_close(t);
        free(t);
        t = shared;
    }
}

/* Each gets its own world, because floors stay. */
static void each_side_refuses_a_grant_below_its_floor(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct talk *shared = t;
        t = calloc(1, sizeof *t);
        talk_world_open(t);
        struct authority_node *node = side == DIALER ? &t->ci : &t->host;
        struct wf_hello hello = talk_hello(t, side);
        Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
        floor.identity = wf_pb_id(&node->id);
        floor.service = wf_pb_id(&t->service);
        floor.role = hello.role;
        floor.epoch = t->a.now + 1;
        apply_floor(t->trust[1 - side], &floor);
        if (side == DIALER)
            assert_host_refuses(NULL, &hello, WEFT_EREVOKED);
        else
            assert_dialer_refuses(NULL, &hello, WEFT_EREFUSED);
        talk_world_close(t);
        free(t);
        t = shared;
    }
}

static void a_live_session_is_cut_by_a_floor_on_either_side(void **state)
{
    (void)state;
    for (int cut = 0; cut < 4; cut++) {
        int side = cut % 2; /* who notices */
        struct talk *shared = t;
        t = calloc(1, sizeof *t);
        talk_world_open(t);
        struct authority_node *peer = side == HOST ? &t->ci : &t->host;
        Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
        floor.identity = wf_pb_id(&peer->id);
        floor.epoch = t->a.now + 1;
        if (cut < 2) {
            floor.cut = true; /* the identity as a whole */
        } else {
            floor.service = wf_pb_id(&t->service);
            floor.role = talk_hello(t, 1 - side).role;
        }
        talk_open(t);
        talk_meet(t);
        apply_floor(t->trust[side], &floor);
        wf_session_check(t->end[side].session, t->a.now, WF_SESSION_GRACE_MS);
        /* Who notices may go on with others; who was cut learns what it is for itself. */
        assert_over(side, WEFT_EREFUSED);
        talk_settle(t);
        assert_over(1 - side, cut < 2 ? WEFT_EREVOKED : WEFT_EREFUSED);
        talk_close(t);
        talk_world_close(t);
        free(t);
        t = shared;
    }
}

static void a_live_session_ends_with_the_peers_certificate(void **state)
{
    (void)state;
    struct talk *shared = t;
    t = calloc(1, sizeof *t);
    talk_world_open(t);
    authority_renew(&t->a, &t->ci, t->a.now - 300000, t->a.now + 3600000);
    pki_tls_ctx_unref(t->ctx[DIALER]);
    t->ctx[DIALER] = authority_tls(&t->ci, t->trust[DIALER]);
    talk_open(t);
    talk_meet(t);
    wf_session_check(t->end[HOST].session, t->a.now + 3500000, WF_SESSION_GRACE_MS);
    assert_int_equal(t->end[HOST].over, 0);
    wf_session_check(t->end[HOST].session, t->a.now + 3700000, WF_SESSION_GRACE_MS);
    assert_over(HOST, WEFT_EEXPIRED);
    talk_close(t);
    talk_world_close(t);
    free(t);
    t = shared;
}

static void a_router_can_not_pose_as_an_endpoint(void **state)
{
    struct authority_node router;
    (void)state;
    authority_issue(&t->a, PKI_ROUTER, "r1", &router);
    pki_tls_ctx *ctx = authority_tls(&router, t->trust[DIALER]);
    struct wf_hello hello = talk_hello(t, DIALER);
    assert_host_refuses(ctx, &hello, WEFT_ECREDENTIAL);

    talk_open_end(t, DIALER);
    talk_open_liar(t, HOST, ctx);
    talk_start(t);
    assert_over(DIALER, WEFT_ECREDENTIAL);
    pki_tls_ctx_unref(ctx);
    authority_node_fini(&router);
}

/* ---- liars after HELLO: a permitted endpoint that breaks the rules of items */

static void meet_lying_dialer(void)
{
    talk_open_end(t, HOST);
    talk_open_liar(t, DIALER, NULL);
    talk_start(t);
    struct wf_hello hello = talk_hello(t, DIALER);
    liar_hello(&t->end[DIALER], &hello);
    talk_settle(t);
    assert_int_equal(t->end[HOST].verified, 1);
}

static void data_before_accept_is_held_until_then(void **state)
{
    (void)state;
    meet_lying_dialer();
    liar_item(&t->end[DIALER], WF_ITEM_DATA, "early", 5);
    liar_item(&t->end[DIALER], WF_ITEM_END, NULL, 0);
    talk_settle(t);
    assert_int_equal(wf_session_state(t->end[HOST].session), WF_SESSION_DECISION);
    assert_int_equal(t->end[HOST].heard.len, 0);
    assert_int_equal(t->end[HOST].ended, 0);
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
    wf_session_resume(t->end[HOST].session);
    assert_int_equal(t->end[HOST].heard.len, 5);
    assert_int_equal(t->end[HOST].ended, 1);
}

static void an_end_before_accept_is_held_until_then(void **state)
{
    (void)state;
    meet_lying_dialer();
    liar_item(&t->end[DIALER], WF_ITEM_END, NULL, 0);
    talk_settle(t);
    assert_int_equal(t->end[HOST].ended, 0);
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
    wf_session_resume(t->end[HOST].session);
    assert_int_equal(t->end[HOST].ended, 1);
}

static void data_in_the_record_of_the_hello_is_held_too(void **state)
{
    wf_buf both;
    (void)state;
    talk_open_end(t, HOST);
    talk_open_liar(t, DIALER, NULL);
    talk_start(t);
    struct wf_hello hello = talk_hello(t, DIALER);
    wf_buf_init(&both, 65536);
    assert_int_equal(wf_hello_put(&hello, &both), WEFT_OK);
    uint8_t item[] = {WF_ITEM_DATA, 0, 0, 1, 'x'};
    assert_int_equal(wf_buf_put(&both, item, sizeof item), WEFT_OK);
    liar_say(&t->end[DIALER], both.data, both.len);
    wf_buf_fini(&both);
    talk_settle(t);
    assert_int_equal(wf_session_state(t->end[HOST].session), WF_SESSION_DECISION);
    assert_int_equal(t->end[HOST].heard.len, 0);
}

static void nothing_but_grant_and_reset_may_follow_an_end(void **state)
{
    static const enum wf_item_type wrong[] = {WF_ITEM_DATA,  WF_ITEM_END,      WF_ITEM_ACCEPT,
                                              WF_ITEM_HELLO, WF_ITEM_DATAGRAM, WF_ITEM_REFUSE};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        meet_lying_dialer();
        assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
        liar_item(&t->end[DIALER], WF_ITEM_DATA, "all", 3);
        liar_item(&t->end[DIALER], WF_ITEM_END, NULL, 0);
        talk_settle(t);
        assert_int_equal(t->end[HOST].ended, 1);
        liar_item(&t->end[DIALER], wrong[i], wrong[i] == WF_ITEM_DATA ? "more" : NULL,
                  wrong[i] == WF_ITEM_DATA ? 4 : 0);
        talk_settle(t);
        assert_int_equal(t->end[HOST].over, 1);
        assert_int_equal(t->end[HOST].err, WEFT_EPROTO);
        assert_heard(HOST, "all");
        talk_close(t);
    }
}

static void a_second_hello_is_a_breach(void **state)
{
    (void)state;
    meet_lying_dialer();
    struct wf_hello hello = talk_hello(t, DIALER);
    liar_hello(&t->end[DIALER], &hello);
    talk_settle(t);
    assert_over(HOST, WEFT_EPROTO);
}

static void a_dialer_can_not_accept_itself(void **state)
{
    (void)state;
    meet_lying_dialer();
    liar_item(&t->end[DIALER], WF_ITEM_ACCEPT, NULL, 0);
    liar_item(&t->end[DIALER], WF_ITEM_DATA, "x", 1);
    talk_settle(t);
    assert_over(HOST, WEFT_EPROTO);
    assert_int_equal(t->end[HOST].heard.len, 0);
}

static void close_notify_without_an_end_is_a_loss(void **state)
{
    (void)state;
    meet_lying_dialer();
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
    liar_item(&t->end[DIALER], WF_ITEM_DATA, "cut sho", 7);
    assert_int_equal(pki_tls_shutdown(t->end[DIALER].liar), WEFT_OK);
    talk_settle(t);
    assert_over(HOST, WEFT_ELOST);
    assert_int_equal(t->end[HOST].ended, 0);
}

static void a_grant_item_of_another_service_is_a_breach(void **state)
{
    wf_id elsewhere = wf_id_random();
    wf_buf buf;
    (void)state;
    meet_lying_dialer();
    Weft__Wire__ItemGrant item = WEFT__WIRE__ITEM_GRANT__INIT;
    item.grant =
        authority_grant(&t->a, &t->ci, &elsewhere, "elsewhere", WEFT__WIRE__ROLE__ROLE_DIAL);
    wf_buf_init(&buf, 65536);
    assert_int_equal(wf_message_put(&item.base, &buf), WEFT_OK);
    liar_item(&t->end[DIALER], WF_ITEM_GRANT, buf.data, buf.len);
    talk_settle(t);
    assert_over(HOST, WEFT_EREFUSED);
    wf_signed_free(item.grant);
    wf_buf_fini(&buf);
}

static void items_are_bounded_before_they_are_gathered(void **state)
{
    (void)state;
    meet_lying_dialer();
    /* A RESET of 16 MB is announced; not one byte of it is waited for. */
    uint8_t header[] = {WF_ITEM_RESET, 0xff, 0xff, 0xff};
    liar_say(&t->end[DIALER], header, sizeof header);
    talk_settle(t);
    assert_int_equal(t->end[HOST].over, 1);
    assert_int_not_equal(t->end[HOST].err, WEFT_OK);
}

/* ---- a router that forges acknowledgements and credit, or ignores them */

static void an_ack_beyond_what_was_sent_closes_the_session(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        talk_open(t);
        talk_meet(t);
        uint64_t sent = wf_session_flow(t->end[side].session)->sent;
        const struct wf_ack forged = {.received = sent + 1, .credit = sent + WF_WINDOW_DEFAULT};
        wf_session_acked(t->end[side].session, &forged);
        assert_over(side, WEFT_EPROTO);
        talk_close(t);
    }
}

static void forged_credit_does_not_make_a_sender_run_away(void **state)
{
    uint8_t block[65536] = {0};
    size_t taken, total = 0;
    (void)state;
    talk_open(t);
    talk_meet(t);
    const struct wf_ack forged = {.received = 0, .credit = UINT64_MAX};
    wf_session_acked(t->end[DIALER].session, &forged);
    do {
        assert_int_equal(wf_session_write(t->end[DIALER].session, block, sizeof block, &taken),
                         WEFT_OK);
        total += taken;
    } while (taken > 0);
    assert_true(total <= WF_WINDOW_MAX);
    t->end[HOST].take = 0;
    talk_settle(t); /* the host closes it: more came than it had granted */
    assert_over(HOST, WEFT_EPROTO);
}

static void shrinking_credit_is_ignored(void **state)
{
    (void)state;
    talk_open(t);
    talk_meet(t);
    uint64_t room = wf_flow_room(wf_session_flow(t->end[DIALER].session));
    const struct wf_ack less = {.received = 0, .credit = 0};
    wf_session_acked(t->end[DIALER].session, &less);
    assert_int_equal(wf_flow_room(wf_session_flow(t->end[DIALER].session)), room);
    assert_int_equal(t->end[DIALER].over, 0);
}

static void a_stalled_reader_can_still_be_reset(void **state)
{
    uint8_t block[65536] = {0};
    size_t taken;
    (void)state;
    talk_open(t);
    talk_meet(t);
    t->end[HOST].take = 0;
    do {
        assert_int_equal(wf_session_write(t->end[DIALER].session, block, sizeof block, &taken),
                         WEFT_OK);
        talk_settle(t);
    } while (taken > 0);
    assert_true(wf_session_held(t->end[HOST].session) <= WF_WINDOW_DEFAULT);
    wf_session_reset(t->end[DIALER].session, WEFT_ETIMEDOUT, "stalled");
    talk_settle(t);
    assert_over(HOST, WEFT_ETIMEDOUT);
    assert_int_equal(wf_session_held(t->end[HOST].session), 0);
}

#define TALK(name) cmocka_unit_test_teardown(name, close_talk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK(a_dial_opens_when_the_host_accepts),
        TALK(the_dialer_knows_the_host_after_one_round_trip),
        TALK(bytes_go_both_ways_and_both_ends_close_cleanly),
        TALK(one_direction_lives_on_after_the_other_has_ended),
        TALK(an_end_waits_for_the_application_to_take_what_came_before),
        TALK(a_refusal_reaches_the_dialer_with_code_and_reason),
        TALK(a_reset_reaches_the_other_side_with_code_and_reason),
        TALK(the_dialer_may_give_up_while_the_host_decides),
        TALK(a_reset_may_follow_an_end),
        TALK(giving_up_from_inside_data_delivers_nothing_more),
        TALK(a_lost_circuit_is_never_a_clean_end),
        TALK(datagrams_keep_their_boundaries),
        TALK(the_oldest_datagrams_make_room_and_are_counted),
        TALK(a_fresher_grant_takes_the_place_of_the_old_one),
        TALK(a_session_ends_when_the_peers_grant_runs_out_and_no_grace_is_given),
        TALK(each_side_refuses_a_hello_for_another_service),
        TALK(each_side_refuses_a_hello_for_another_session),
        TALK(each_side_refuses_a_hello_for_another_instance),
        TALK(a_router_can_not_put_another_instance_in_place_of_the_one_asked_for),
        TALK(each_side_refuses_the_other_role),
        TALK(each_side_refuses_a_grant_of_another_identity),
        TALK(each_side_refuses_a_grant_for_another_subject_with_its_own_key),
        TALK(each_side_refuses_a_grant_that_names_another_key),
        TALK(each_side_refuses_a_grant_that_has_not_begun),
        TALK(floors_that_come_with_a_hello_count_for_that_hello),
        TALK(each_side_refuses_a_grant_for_another_service),
        TALK(each_side_refuses_a_grant_with_a_forged_signature),
        TALK(each_side_refuses_an_expired_grant),
        TALK(each_side_refuses_a_grant_below_its_floor),
        TALK(a_live_session_is_cut_by_a_floor_on_either_side),
        TALK(a_live_session_ends_with_the_peers_certificate),
        TALK(a_router_can_not_pose_as_an_endpoint),
        TALK(data_before_accept_is_held_until_then),
        TALK(an_end_before_accept_is_held_until_then),
        TALK(data_in_the_record_of_the_hello_is_held_too),
        TALK(nothing_but_grant_and_reset_may_follow_an_end),
        TALK(a_second_hello_is_a_breach),
        TALK(a_dialer_can_not_accept_itself),
        TALK(close_notify_without_an_end_is_a_loss),
        TALK(a_grant_item_of_another_service_is_a_breach),
        TALK(items_are_bounded_before_they_are_gathered),
        TALK(an_ack_beyond_what_was_sent_closes_the_session),
        TALK(forged_credit_does_not_make_a_sender_run_away),
        TALK(shrinking_credit_is_ignored),
        TALK(a_stalled_reader_can_still_be_reset),
    };
    talk_use(&world);
    return cmocka_run_group_tests_name("sdk_session", tests, open_world, close_world);
}
