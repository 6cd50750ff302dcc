/* A router and its controller: what it takes, what it tells, and its own certificate. */
#include "router/inside.h"
#include "tests/router/fabric.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A controller that answers "sync", "sessions" and "renew", and pushes what the test says. */
struct world {
    struct fabric f;
    struct authority_node controller;
    pki_trust *trust;
    pki_tls_ctx *tls;
    wf_listener *listener;
    wf_address address;
    wf_link *link; /* the router's; NULL: none */
    unsigned ups, syncs, reports, renewals, closed, wanted;
    size_t rows;
    Weft__Wire__SessionRow row; /* the first of the last report; its bytes are below */
    wf_id row_session, row_dialer, row_host;
    bool refuse_renewal, foreign_renewal;
    struct authority_node *router; /* borrowed */

    struct router *r;
    struct raw dialer, host;
    struct station s; /* for the helpers that want one */
};

static void reply(wf_link *link, uint64_t id, const ProtobufCMessage *message)
{
    wf_buf result;

    wf_buf_init(&result, WF_CONTROL_MAX);
    if (message != NULL)
        assert_int_equal(wf_message_put(message, &result), WEFT_OK);
    wf_link_reply(link, id, WEFT_OK, "", wf_span_of(result.data, result.len));
    wf_buf_fini(&result);
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct world *w = arg;

    (void)hello;
    w->ups++;
    if (w->link == NULL) /* a probe is a second link */
        w->link = link;
}

static void on_sync(struct world *w, wf_link *link, uint64_t id)
{
    Weft__Wire__SyncResult result = WEFT__WIRE__SYNC_RESULT__INIT;
    Weft__Wire__Signed *sets[1];
    char text[WF_ADDRESS_TEXT] = "127.0.0.1:9";
    const char *addresses[] = {text};

    w->syncs++;
    result.member = authority_member(&w->f.a, w->router, addresses, 1);
    sets[0] = authority_floors(&w->f.a, 1, NULL, NULL, 0);
    result.n_floors = 1;
    result.floors = sets;
    reply(link, id, &result.base);
    wf_signed_free(result.member);
    wf_signed_free(sets[0]);
}

static void on_report(struct world *w, wf_link *link, const Weft__Wire__Call *call)
{
    Weft__Wire__SessionReport *report = NULL;

    w->reports++;
    assert_int_equal(
        wf_session_report_decode(call->arguments.data, call->arguments.len, &report, NULL),
        WEFT_OK);
    w->rows = report->n_rows;
    if (report->n_rows > 0) {
        w->row_session = wf_pb_get_id(report->rows[0]->session);
        w->row_dialer = wf_pb_get_id(report->rows[0]->dialer);
        w->row_host = wf_pb_get_id(report->rows[0]->host);
        w->row = *report->rows[0];
    }
    wf_session_report_free(report);
    reply(link, call->id, NULL);
}

static void on_renew(struct world *w, wf_link *link, const Weft__Wire__Call *call)
{
    Weft__Wire__RenewCall *renewal = NULL;
    Weft__Wire__RenewResult result = WEFT__WIRE__RENEW_RESULT__INIT;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    struct authority_node fresh = *w->router;
    uint8_t exporter[32];
    wf_buf spki;

    w->renewals++;
    if (w->refuse_renewal) {
        wf_link_reply(link, call->id, WEFT_EBUSY, "not now", wf_span_of(NULL, 0));
        return;
    }
    wf_buf_init(&spki, 256);
    assert_int_equal(
        wf_renew_call_decode(call->arguments.data, call->arguments.len, &renewal, NULL), WEFT_OK);
    assert_int_equal(pki_csr_open(wf_pb_span(renewal->csr), &spki, NULL), WEFT_OK);
    assert_int_equal(wf_link_export(link, "EXPORTER-weft-renew", exporter), WEFT_OK);
    assert_int_equal(pki_proof_check(wf_span_of(spki.data, spki.len), PKI_LABEL_RENEW,
                                     wf_pb_span(renewal->csr), exporter,
                                     wf_pb_span(renewal->proof)),
                     WEFT_OK);
    if (w->foreign_renewal)
        authority_issue(&w->f.a, PKI_ROUTER, "another", &fresh);
    else {
        fresh.chain = NULL;
        authority_renew(&w->f.a, &fresh, w->f.a.now - 1000, w->f.a.now + WF_LEAF_LIFE_MS);
    }
    result.chain = certs;
    for (size_t i = 0; i < pki_chain_count(fresh.chain); i++) {
        wf_span der = pki_chain_der(fresh.chain, i);
        certs[result.n_chain++] = wf_pb_bytes(der.data, der.len);
    }
    reply(link, call->id, &result.base);
    if (w->foreign_renewal)
        authority_node_fini(&fresh);
    else
        pki_chain_free(fresh.chain);
    wf_renew_call_free(renewal);
    wf_buf_fini(&spki);
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct world *w = arg;

    if (message->of_case == WEFT__WIRE__CONTROL__OF_FLOORS) {
        w->wanted++;
        return;
    }
    assert_int_equal(message->of_case, WEFT__WIRE__CONTROL__OF_CALL);
    if (strcmp(message->call->operation, "sync") == 0)
        on_sync(w, link, message->call->id);
    else if (strcmp(message->call->operation, "sessions") == 0)
        on_report(w, link, message->call);
    else if (strcmp(message->call->operation, "renew") == 0)
        on_renew(w, link, message->call);
    else
        fail_msg("a call that routers don't make: %s", message->call->operation);
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct world *w = arg;

    (void)err;
    (void)why;
    w->closed++;
    if (w->link == link)
        w->link = NULL;
}

static const struct wf_link_handler handler = {
    .up = on_up, .control = on_control, .closed = on_closed};

static const struct wf_link_handler *accepted(void *arg, wf_link *link, void **link_arg)
{
    (void)link;
    *link_arg = arg;
    return &handler;
}

static void controller_start(struct world *w)
{
    const struct wf_listener_config config = {.tls = w->tls,
                                              .alpn = PKI_ALPN_LINK,
                                              .kinds = PKI_IDENTITY | PKI_ROUTER,
                                              .accepted = accepted,
                                              .arg = w};
    wf_why why = {""};

    (void)snprintf(w->address.host, sizeof w->address.host, "127.0.0.1");
    if (wf_listener_open(w->f.net, &w->address, &config, &w->listener, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    w->address.port = wf_listener_port(w->listener);
}

static void controller_stop(struct world *w)
{
    wf_listener_close(w->listener);
    w->listener = NULL;
    if (w->link != NULL)
        wf_link_cut(w->link, WEFT_ECANCELED, "test");
    fabric_wait(&w->f, 5000, w->link == NULL);
}

static void router_start(struct world *w)
{
    struct router_options options = {
        .listen = w->s.address, .controllers = &w->address, .controller_count = 1};
    struct pki_identity identity;
    wf_why why = {""};

    w->s.address.port = 0;
    authority_identity(&w->f.a, w->router, &identity);
    if (router_open(w->f.net, &identity, &options, &w->s.router, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    w->r = w->s.router;
    w->s.address.port = router_port(w->r);
}

static int world_setup(void **state)
{
    struct world *w = test_calloc(1, sizeof *w);

    fabric_init(&w->f);
    authority_issue(&w->f.a, PKI_CONTROLLER, "controller", &w->controller);
    w->trust = authority_trust(&w->f.a);
    w->tls = authority_tls(&w->controller, w->trust);
    station_init(&w->s, &w->f, "edge");
    w->router = &w->s.node;
    controller_start(w);
    raw_init(&w->dialer, &w->f, "ci");
    raw_init(&w->host, &w->f, "web-host");
    *state = w;
    return 0;
}

static int world_teardown(void **state)
{
    struct world *w = *state;

    raw_fini(&w->dialer);
    raw_fini(&w->host);
    station_fini(&w->s);
    if (w->listener != NULL)
        controller_stop(w);
    pki_tls_ctx_unref(w->tls);
    pki_trust_unref(w->trust);
    authority_node_fini(&w->controller);
    fabric_fini(&w->f);
    test_free(w);
    return 0;
}

static void push(struct world *w, const Weft__Wire__Control *message)
{
    assert_int_equal(wf_link_send_control(w->link, message), WEFT_OK);
}

static void notice(struct world *w, bool members, const wf_id *cut)
{
    Weft__Wire__Notice body = WEFT__WIRE__NOTICE__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    ProtobufCBinaryData ids[1];

    body.members = members;
    if (cut != NULL) {
        ids[0] = wf_pb_id(cut);
        body.n_cut_sessions = 1;
        body.cut_sessions = ids;
    }
    control.of_case = WEFT__WIRE__CONTROL__OF_NOTICE;
    control.notice = &body;
    push(w, &control);
}

static void a_router_syncs_when_the_controller_is_there_and_when_told(void **state)
{
    struct world *w = *state;

    router_start(w);
    assert_false(router_is_ready(w->r, NULL));
    fabric_wait(&w->f, 5000, w->syncs == 1 && router_is_ready(w->r, NULL));
    assert_int_equal(station_counters(&w->s)->floors_applied, 1);
    notice(w, true, NULL);
    fabric_wait(&w->f, 5000, w->syncs == 2);
    notice(w, false, NULL);
    fabric_run(&w->f, 50);
    assert_int_equal(w->syncs, 2);
    /* It goes away and comes back: the router syncs again, by itself. */
    controller_stop(w);
    controller_start(w);
    fabric_wait(&w->f, 10000, w->syncs == 3);
}

static void floors_from_the_controller_are_applied_and_told_back_when_asked(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list[] = {&floor};
    Weft__Wire__Floors floors = WEFT__WIRE__FLOORS__INIT;
    Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    Weft__Wire__Signed *set;

    router_start(w);
    fabric_wait(&w->f, 5000, w->syncs == 1 && router_is_ready(w->r, NULL));
    raw_open(&w->dialer, &w->s);
    floor.identity = wf_pb_id(&w->dialer.node.id);
    floor.epoch = wf_now_wall_ms() + 1000;
    floor.cut = true;
    set = authority_floors(&w->f.a, 2, NULL, list, 1);
    floors.n_sets = 1;
    floors.sets = &set;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
    control.floors = &floors;
    push(w, &control);
    fabric_wait(&w->f, 1000, w->dialer.link == NULL);
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted;
    push(w, &control);
    fabric_wait(&w->f, 1000, w->wanted == 1);
    wf_signed_free(set);
}

static void sessions_are_reported_a_second_after_they_change(void **state)
{
    struct world *w = *state;
    wf_id session = wf_id_random();
    unsigned before;

    router_start(w);
    fabric_wait(&w->f, 5000, w->syncs == 1 && router_is_ready(w->r, NULL));
    raw_open(&w->dialer, &w->s);
    raw_open(&w->host, &w->s);
    raw_bind(&w->host, &w->s);
    raw_dial(&w->dialer, &(struct raw_dial){.label = 9, .session = &session});
    fabric_wait(&w->f, 5000, w->host.setup_count == 1);
    raw_answer(&w->host, w->host.setups[0].label, 3, w->host.setups[0].window, 0, "1234", 4);
    fabric_wait(&w->f, 5000, w->rows == 1);
    assert_true(wf_id_equal(&w->row_session, &session));
    assert_true(wf_id_equal(&w->row_dialer, &w->dialer.node.id));
    assert_true(wf_id_equal(&w->row_host, &w->host.node.id));
    assert_int_equal(w->row.bytes_to_dialer, 4);
    before = w->reports;
    fabric_run(&w->f, 1300);
    assert_int_equal(w->reports, before); /* nothing changed, nothing said */
    /* The controller cuts it by name. */
    w->dialer.out_label = w->dialer.replies[0].label;
    w->host.out_label = w->host.setups[0].label;
    notice(w, false, &session);
    fabric_wait(&w->f, 1000, w->dialer.close_count == 1 && w->host.close_count == 1);
    fabric_wait(&w->f, 5000, w->rows == 0);
}

/* The certificate in use is one past its half life. */
static void grow_old(struct world *w)
{
    authority_renew(&w->f.a, w->router, w->f.a.now - WF_LEAF_LIFE_MS * 3 / 4,
                    w->f.a.now + WF_LEAF_LIFE_MS / 4);
}

static uint64_t end_of(const struct router *r)
{
    uint64_t begin, end;
    pki_chain_validity(r->identity.chain, &begin, &end);
    return end;
}

static void a_certificate_past_half_of_its_life_is_renewed_after_a_probe(void **state)
{
    struct world *w = *state;
    uint64_t old;

    grow_old(w);
    router_start(w);
    old = end_of(w->r);
    fabric_wait(&w->f, 5000, end_of(w->r) > old);
    assert_int_equal(w->renewals, 1);
    assert_int_equal(w->ups, 2); /* the router's link, and the probe */
    /* Who comes now sees the new one. */
    raw_open(&w->dialer, &w->s);
    assert_true(wf_link_peer(w->dialer.link)->not_after > old + 1000000);
    fabric_run(&w->f, 50);
    assert_int_equal(w->renewals, 1);
}

static void a_refused_or_foreign_renewal_leaves_the_old_certificate(void **state)
{
    struct world *w = *state;
    uint64_t old;

    grow_old(w);
    w->foreign_renewal = true;
    router_start(w);
    old = end_of(w->r);
    fabric_wait(&w->f, 5000, strstr(w->f.log, "not for our id and key") != NULL);
    assert_int_equal(end_of(w->r), old);
    station_stop(&w->s);
    w->foreign_renewal = false;
    w->refuse_renewal = true;
    router_start(w);
    fabric_wait(&w->f, 5000, strstr(w->f.log, "not renewed: not now") != NULL);
    assert_int_equal(end_of(w->r), old);
    fabric_run(&w->f, 1200);
    assert_int_equal(w->renewals, 2); /* not again at once */
}

static void a_router_that_closes_while_it_renews_leaves_nothing(void **state)
{
    struct world *w = *state;

    grow_old(w);
    router_start(w);
    fabric_wait(&w->f, 5000, w->renewals == 1);
    station_stop(&w->s);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_router_syncs_when_the_controller_is_there_and_when_told),
        IN_WORLD(floors_from_the_controller_are_applied_and_told_back_when_asked),
        IN_WORLD(sessions_are_reported_a_second_after_they_change),
        IN_WORLD(a_certificate_past_half_of_its_life_is_renewed_after_a_probe),
        IN_WORLD(a_refused_or_foreign_renewal_leaves_the_old_certificate),
        IN_WORLD(a_router_that_closes_while_it_renews_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
