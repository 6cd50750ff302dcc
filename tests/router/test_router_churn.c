/*
 * Much at random: well-behaved endpoints, whose every byte must arrive, beside
 * one that says anything; and the n-th allocation failing in what they do.
 */
#include "router/inside.h"
#include "tests/helpers/alloc.h"
#include "tests/router/fabric.h"
#include <stdlib.h>

struct pair {
    struct fabric f;
    struct station s;
    struct raw dialer, host;
};

static int pair_setup(void **state)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    station_init(&p->s, &p->f, "edge");
    station_start(&p->s);
    raw_init(&p->dialer, &p->f, "ci");
    raw_init(&p->host, &p->f, "web-host");
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    alloc_fail_at(0);
    raw_fini(&p->dialer);
    raw_fini(&p->host);
    station_fini(&p->s);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Nothing of any circuit is left at the router. */
static void assert_clean(struct station *s)
{
    const struct router *router = s->router;

    assert_int_equal(router->counters.circuits, 0);
    assert_int_equal(router->counters.pending, 0);
    assert_true(wf_list_is_empty(&router->circuits.pending));
    assert_int_equal(router->circuits.pool.used, 0);
    for (wf_node *n = router->circuits.wires.next; n != &router->circuits.wires; n = n->next) {
        const struct wire *wire = wf_container_of(n, struct wire, node);

        assert_int_equal(wire->labels.count, 0);
        assert_int_equal(wire->pending, 0);
        assert_true(schedule_is_idle(&wire->schedule));
    }
}

static void a_dial_that_nobody_answers_times_out(void **state)
{
    struct pair *p = *state;
    struct circuits *circuits = &p->s.router->circuits;
    uint64_t now = wf_now_mono_ms();

    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    assert_true(circuits_expire(circuits, now + WF_SETUP_MS - 1000) > now);
    assert_int_equal(circuits_expire(circuits, now + WF_SETUP_MS + 5000), 0);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    assert_int_equal(p->dialer.replies[0].code, WEFT_ETIMEDOUT);
    assert_int_equal(station_counters(&p->s)->setups_timed_out, 1);
    /* The answer comes after all: it is closed, and then nothing is left. */
    p->host.out_label = p->host.setups[0].label;
    raw_answer(&p->host, p->host.setups[0].label, 3, 65536, 0, NULL, 0);
    fabric_wait(&p->f, 5000, p->host.close_count == 1);
    fabric_run(&p->f, 30);
    assert_clean(&p->s);
}

static void an_unanswered_dial_is_refused_late_without_a_trace(void **state)
{
    struct pair *p = *state;

    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 9});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    circuits_expire(&p->s.router->circuits, wf_now_mono_ms() + 2 * WF_SETUP_MS);
    raw_answer(&p->host, p->host.setups[0].label, 0, 0, WEFT_EBUSY, NULL, 0);
    fabric_run(&p->f, 50);
    assert_non_null(p->host.link);
    assert_clean(&p->s);
}

#define FLOWS 12

static void whatever_order_things_come_in_nothing_is_left_and_nothing_lost(void **state)
{
    struct pair *p = *state;
    struct {
        struct raw_circuit c;
        uint64_t there, back;
        bool is_open;
    } flow[FLOWS];
    uint64_t there = 0, back = 0;
    unsigned seed = 7, opened = 0;

    memset(flow, 0, sizeof flow);
    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    p->dialer.answers_close = p->host.answers_close = false;
    for (int step = 0; step < 3000; step++) {
        unsigned i = next_random(&seed) % FLOWS, what = next_random(&seed) % 16;
        size_t len = 1 + next_random(&seed) % 3000;

        if (!flow[i].is_open) {
            memset(&flow[i], 0, sizeof flow[i]);
            flow[i].c = raw_connect(&p->dialer, &p->host, 1 << 20);
            flow[i].is_open = true;
            opened++;
        } else if (what < 7 && flow[i].there + len < 1 << 20) {
            raw_zeros(&p->dialer, flow[i].c.dialer_out, len);
            flow[i].there += len;
            there += len;
        } else if (what < 14 && flow[i].back + len < 1 << 20) {
            raw_zeros(&p->host, flow[i].c.host_out, len);
            flow[i].back += len;
            back += len;
        } else if (what == 15) {
            unsigned a = p->dialer.close_count, b = p->host.close_count;
            bool dialer_first = next_random(&seed) % 2 == 0;

            /* All data first: a CLOSE from one side ends the other direction too. */
            fabric_wait(&p->f, 5000, p->host.data_bytes == there && p->dialer.data_bytes == back);
            if (dialer_first)
                raw_close(&p->dialer, flow[i].c.dialer_out, 0);
            else
                raw_close(&p->host, flow[i].c.host_out, 0);
            if (next_random(&seed) % 2 == 0) { /* both at once: closes cross on the way */
                if (dialer_first)
                    raw_close(&p->host, flow[i].c.host_out, 0);
                else
                    raw_close(&p->dialer, flow[i].c.dialer_out, 0);
                fabric_wait(&p->f, 5000,
                            p->dialer.close_count == a + 1 && p->host.close_count == b + 1);
            } else {
                fabric_wait(&p->f, 5000,
                            p->dialer.close_count == a + 1 && p->host.close_count == b + 1);
                if (dialer_first)
                    raw_close(&p->host, flow[i].c.host_out, 0);
                else
                    raw_close(&p->dialer, flow[i].c.dialer_out, 0);
            }
            flow[i].is_open = false;
        }
    }
    fabric_wait(&p->f, 5000, p->host.data_bytes == there && p->dialer.data_bytes == back);
    assert_true(opened > 2 * FLOWS);
    for (unsigned i = 0; i < FLOWS; i++) {
        if (!flow[i].is_open)
            continue;
        raw_close(&p->dialer, flow[i].c.dialer_out, 0);
        raw_close(&p->host, flow[i].c.host_out, 0);
    }
    fabric_run(&p->f, 100);
    assert_non_null(p->dialer.link);
    assert_non_null(p->host.link);
    assert_clean(&p->s);
}

/* One word of an endpoint that means no good. */
static void say_anything(struct raw *r, unsigned *seed, uint32_t label)
{
    switch (next_random(seed) % 8) {
    case 0:
        raw_zeros(r, label, 1 + next_random(seed) % 60000);
        break;
    case 1:
        raw_ack(r, label, next_random(seed), next_random(seed) + 65536u);
        break;
    case 2:
        raw_close(r, label, (weft_err)(next_random(seed) % 30));
        break;
    case 3:
        raw_answer(r, label, 1 + next_random(seed) % 5, 1 + next_random(seed), 0, "x", 1);
        break;
    case 4:
        raw_answer(r, label, 0, 0, 1 + next_random(seed) % 40, NULL, 0);
        break;
    case 5:
        raw_dial(r, &(struct raw_dial){.label = 1 + next_random(seed) % 5,
                                       .window = 1 + next_random(seed)});
        break;
    case 6:
        raw_zeros(r, label, 1);
        break;
    default:
        break;
    }
}

static void an_endpoint_that_says_anything_harms_only_itself(void **state)
{
    struct pair *p = *state;
    struct raw honest, hostile;
    struct raw_circuit c;
    unsigned seed = 31, cuts = 0;
    uint64_t sent = 0;

    raw_init(&honest, &p->f, "honest");
    raw_init(&hostile, &p->f, "hostile");
    raw_open(&p->dialer, &p->s);
    raw_open(&honest, &p->s);
    raw_bind(&honest, &p->s);
    c = raw_connect(&p->dialer, &honest, WF_WINDOW_DEFAULT);
    for (int round = 0; round < 400; round++) {
        if (hostile.link == NULL) {
            hostile.is_up = false;
            raw_open(&hostile, &p->s);
            hostile.setup_count = hostile.reply_count = 0;
            if (next_random(&seed) % 2 == 0)
                raw_bind(&hostile, &p->s);
            cuts++;
        }
        for (int i = 0; i < 6 && hostile.link != NULL; i++) {
            uint32_t label = 1 + next_random(&seed);

            /* Labels that mean something are the more dangerous ones. */
            if (hostile.setup_count > 0 && next_random(&seed) % 4 != 0)
                label = hostile.setups[(hostile.setup_count - 1) % RAW_SEEN].label;
            else if (hostile.reply_count > 0 && next_random(&seed) % 4 != 0)
                label = hostile.replies[(hostile.reply_count - 1) % RAW_SEEN].label;
            if (label != 0)
                say_anything(&hostile, &seed, label);
            (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
        }
        if (sent < 900000) {
            raw_zeros(&p->dialer, c.dialer_out, 1000);
            sent += 1000;
        }
        (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
    }
    assert_true(cuts > 10);
    fabric_wait(&p->f, 5000, honest.bytes_of[c.host_in % RAW_LABELS] >= sent);
    assert_non_null(p->dialer.link);
    raw_fini(&hostile);
    raw_fini(&honest);
    raw_fini(&p->dialer);
    raw_init(&p->dialer, &p->f, "again");
    fabric_wait(&p->f, 5000, station_counters(&p->s)->edges == 0);
    assert_clean(&p->s);
}

/* Sends a whole exchange without waiting for it to succeed. */
static void exchange(struct pair *p)
{
    wf_id instance = wf_id_random();
    Weft__Wire__Bind bind = WEFT__WIRE__BIND__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    bind.request = 1;
    bind.bind = authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s.node.id);
    bind.grant =
        authority_grant(&p->f.a, &p->host.node, &p->f.service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    control.of_case = WEFT__WIRE__CONTROL__OF_BIND;
    control.bind = &bind;
    if (p->host.link != NULL)
        (void)wf_link_send_control(p->host.link, &control);
    wf_signed_free(bind.bind);
    wf_signed_free(bind.grant);
}

static void turn(struct pair *p, int times)
{
    for (int i = 0; i < times; i++)
        (void)uv_run(&p->f.loop, UV_RUN_NOWAIT);
}

static void no_failed_allocation_breaks_the_router(void **state)
{
    struct pair *p = *state;
    unsigned failures = 0;

    p->dialer.may_fail = p->host.may_fail = true;

    /* Each round does the same; the n-th allocation of its second half fails, wherever it is. */
    for (unsigned n = 1; n < 400; n++) {
        unsigned setups, replies;
        struct raw_reply *reply;
        struct raw_setup *setup;
        Weft__Wire__Signed *grant;

        if (p->dialer.link == NULL)
            raw_open(&p->dialer, &p->s);
        if (p->host.link == NULL)
            raw_open(&p->host, &p->s);
        exchange(p);
        fabric_run(&p->f, 2);
        grant = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                                WEFT__WIRE__ROLE__ROLE_DIAL);
        setups = p->host.setup_count;
        replies = p->dialer.reply_count;
        alloc_fail_at(n);
        raw_dial(&p->dialer, &(struct raw_dial){.label = 1 + n, .grant = grant});
        turn(p, 6);
        setup = &p->host.setups[setups % RAW_SEEN];
        if (p->host.link != NULL && p->host.setup_count > setups) {
            p->host.out_label = setup->label;
            raw_answer(&p->host, setup->label, n, setup->window, 0, NULL, 0);
        }
        turn(p, 6);
        reply = &p->dialer.replies[replies % RAW_SEEN];
        if (p->dialer.link != NULL && p->dialer.reply_count > replies && reply->code == 0) {
            raw_zeros(&p->dialer, reply->label, 100);
            turn(p, 4);
            p->dialer.answers_close = false;
            if (p->dialer.link != NULL)
                raw_close(&p->dialer, reply->label, 0);
        }
        turn(p, 6);
        failures += alloc_has_failed();
        if (!alloc_has_failed())
            n = 400;
        alloc_fail_at(0);
        wf_signed_free(grant);
        /* Start the next round afresh, so that it takes the same way. */
        if (p->dialer.link != NULL)
            wf_link_cut(p->dialer.link, WEFT_ECANCELED, "test");
        if (p->host.link != NULL)
            wf_link_cut(p->host.link, WEFT_ECANCELED, "test");
        fabric_wait(&p->f, 5000,
                    p->dialer.link == NULL && p->host.link == NULL &&
                        station_counters(&p->s)->edges == 0);
        assert_clean(&p->s);
    }
    assert_true(failures > 20);
}

int main(void)
{
#define IN_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        IN_PAIR(a_dial_that_nobody_answers_times_out),
        IN_PAIR(an_unanswered_dial_is_refused_late_without_a_trace),
        IN_PAIR(whatever_order_things_come_in_nothing_is_left_and_nothing_lost),
        IN_PAIR(an_endpoint_that_says_anything_harms_only_itself),
        IN_PAIR(no_failed_allocation_breaks_the_router),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
