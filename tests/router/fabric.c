#include "tests/router/fabric.h"
#include "proto/base/log.h"
#include "proto/link/internal.h"
#include "router/inside.h"
#include <stdio.h>
#include <stdlib.h>

static void take_line(void *arg, const char *text)
{
    struct fabric *f = arg;
    size_t len = strlen(f->log);

    if (getenv("FABRIC_LOG") != NULL)
        fprintf(stderr, "%s\n", text);
    (void)snprintf(f->log + len, sizeof f->log - len, "%s\n", text);
}

void fabric_init(struct fabric *f)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(wf_net_open(&f->loop, &f->net), WEFT_OK);
    authority_init(&f->a, "test.weft", wf_now_wall_ms());
    f->service = wf_id_random();
    wf_log_open("test", WF_LOG_DEBUG, WF_LOG_TEXT);
    wf_log_redirect(take_line, f);
}

static void net_gone(void *arg)
{
    struct fabric *f = arg;
    f->net_gone = true;
}

void fabric_fini(struct fabric *f)
{
    wf_net_close(f->net, net_gone, f);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_true(f->net_gone);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    authority_fini(&f->a);
    wf_log_redirect(NULL, NULL);
}

void fabric_run(struct fabric *f, unsigned ms)
{
    uint64_t end = wf_now_mono_ms() + ms;

    while (wf_now_mono_ms() < end) {
        (void)uv_run(&f->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

void fabric_digest(const Weft__Wire__Signed *record, uint8_t out[32])
{
    wf_buf encoded;

    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    assert_int_equal(wf_signed_encode(record, &encoded), WEFT_OK);
    pki_record_digest(wf_span_of(encoded.data, encoded.len), out);
    wf_buf_fini(&encoded);
}

Weft__Wire__Signed *fabric_floor(struct fabric *f, uint64_t version, const uint8_t *previous,
                                 Weft__Wire__Floor *floor)
{
    return authority_floors(&f->a, version, previous, &floor, floor == NULL ? 0 : 1);
}

/* ---- routers */

void station_init(struct station *s, struct fabric *f, const char *name)
{
    memset(s, 0, sizeof *s);
    s->f = f;
    authority_issue(&f->a, PKI_ROUTER, name, &s->node);
    (void)snprintf(s->address.host, sizeof s->address.host, "127.0.0.1");
}

void station_start(struct station *s)
{
    struct router_options options = {.home = s->home,
                                     .listen = s->address,
                                     .memory = s->memory,
                                     .links_per_identity = s->links_per_identity,
                                     .no_controller = true};
    struct pki_identity identity;
    char text[WF_ADDRESS_TEXT];
    const char *addresses[] = {text};
    Weft__Wire__Signed *member;
    wf_why why = {""};

    authority_identity(&s->f->a, &s->node, &identity);
    if (router_open(s->f->net, &identity, &options, &s->router, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    s->address.port = router_port(s->router);
    wf_address_text(&s->address, text);
    if (s->home != NULL && router_is_ready(s->router, NULL))
        return; /* it remembers */
    member = authority_member(&s->f->a, &s->node, addresses, 1);
    assert_int_equal(router_add_member(s->router, member, NULL), WEFT_OK);
    wf_signed_free(member);
    assert_true(router_is_ready(s->router, NULL));
}

static void router_gone(void *arg)
{
    struct station *s = arg;
    s->router = NULL;
}

void station_stop(struct station *s)
{
    router_close(s->router, 0, router_gone, s);
    fabric_wait(s->f, 5000, s->router == NULL);
}

void station_fini(struct station *s)
{
    if (s->router != NULL)
        station_stop(s);
    authority_node_fini(&s->node);
}

const struct router_counters *station_counters(struct station *s)
{
    return router_counters(s->router);
}

static wf_link *link_to(const struct station *s, const struct raw *r)
{
    for (wf_node *n = s->router->edges.next; n != &s->router->edges; n = n->next) {
        wf_link *link = wf_container_of(n, struct edge, node)->link;

        if (wf_id_equal(&wf_link_peer(link)->id, &r->node.id))
            return link;
    }
    fail_msg("the router has no such edge");
    return NULL;
}

void station_stall(struct station *s, const struct raw *r)
{
    wf_link *link = link_to(s, r);

    fabric_wait(s->f, 1000, link->queued == 0);
    link->is_blocked = true;
}

void station_release(struct station *s, const struct raw *r)
{
    wf_link *link = link_to(s, r);

    link->is_blocked = false;
    link->handler->drained(link, link->arg);
}

void stations_join(struct station *a, struct station *b)
{
    struct station *pair[] = {a, b};

    for (int i = 0; i < 2; i++) {
        char text[WF_ADDRESS_TEXT];
        const char *addresses[] = {wf_address_text(&pair[i]->address, text)};
        Weft__Wire__Signed *member = authority_member(&a->f->a, &pair[i]->node, addresses, 1);

        assert_int_equal(router_add_member(pair[1 - i]->router, member, NULL), WEFT_OK);
        wf_signed_free(member);
    }
    fabric_wait(a->f, 5000, station_counters(a)->routers > 0 && station_counters(b)->routers > 0);
}

/* ---- endpoints */

static void raw_secured(wf_link *link, void *arg)
{
    (void)link;
    (void)arg;
}

static void raw_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct raw *r = arg;

    (void)link;
    (void)hello;
    r->is_up = true;
}

static void take_setup(struct raw *r, const Weft__Wire__Setup *m)
{
    struct raw_setup *s = &r->setups[r->setup_count++ % RAW_SEEN];

    memset(s, 0, sizeof *s);
    s->label = m->label;
    s->service = wf_pb_get_id(m->service_id);
    s->session = wf_pb_get_id(m->session);
    s->instance = wf_pb_get_id(m->instance);
    s->window = m->window;
    s->first_len = m->first.len;
    s->path_len = m->n_path;
    s->chain_len = m->n_chain;
    s->has_grant = m->grant != NULL;
    if (m->first.len > 0 && m->first.len <= sizeof s->first)
        memcpy(s->first, m->first.data, m->first.len);
}

static void take_reply(struct raw *r, const Weft__Wire__SetupReply *m)
{
    struct raw_reply *s = &r->replies[r->reply_count++ % RAW_SEEN];

    memset(s, 0, sizeof *s);
    s->to = m->to;
    s->label = m->label;
    s->code = m->code;
    s->window = m->window;
    s->first_len = m->first.len;
    if (m->first.len > 0 && m->first.len <= sizeof s->first)
        memcpy(s->first, m->first.data, m->first.len);
    (void)snprintf(s->reason, sizeof s->reason, "%s", m->reason);
}

static void raw_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct raw *r = arg;

    (void)link;
    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_SETUP:
        take_setup(r, message->setup);
        break;
    case WEFT__WIRE__CONTROL__OF_SETUP_REPLY:
        take_reply(r, message->setup_reply);
        break;
    case WEFT__WIRE__CONTROL__OF_BIND_REPLY:
        r->bind_code = message->bind_reply->code;
        r->bind_count++;
        break;
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        r->floors_count++;
        break;
    case WEFT__WIRE__CONTROL__OF_TERMINATORS:
    case WEFT__WIRE__CONTROL__OF_LINK_STATE:
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        assert_int_equal(r->node.kind, PKI_ROUTER);
        break;
    default:
        fail_msg("a message that a router doesn't send: %d", (int)message->of_case);
    }
}

static void raw_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct raw *r = arg;
    const uint8_t *payload = frame->bytes + WF_FRAME_HEADER;

    switch (frame->type) {
    case WF_FRAME_DATA:
        r->data_count++;
        r->data_label = frame->label;
        r->data_bytes += frame->length;
        r->bytes_of[frame->label % RAW_LABELS] += frame->length;
        memcpy(r->data_last, payload,
               frame->length < sizeof r->data_last ? frame->length : sizeof r->data_last);
        for (uint32_t i = 0; i < frame->length; i++)
            r->data_sum += payload[i];
        break;
    case WF_FRAME_ACK:
        r->ack_count++;
        assert_true(wf_ack_decode(payload, frame->length, &r->ack));
        break;
    case WF_FRAME_CLOSE:
        r->closes[r->close_count++ % RAW_SEEN] = frame->label;
        r->close_label = frame->label;
        r->close_code = (uint32_t)(payload[0] << 8 | payload[1]);
        if (r->answers_close && r->out_label != 0)
            wf_link_send_close(link, r->out_label, (weft_err)r->close_code);
        break;
    default:
        fail_msg("a frame of type %d", (int)frame->type);
    }
}

static void raw_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct raw *r = arg;

    (void)link;
    r->link = NULL;
    r->is_up = false;
    r->err = err;
    r->why = *why;
}

static const struct wf_link_handler raw_handler = {
    .secured = raw_secured,
    .up = raw_up,
    .control = raw_control,
    .frame = raw_frame,
    .closed = raw_closed,
};

static void raw_hello(void *arg, Weft__Wire__Hello *hello)
{
    struct raw *r = arg;
    hello->floors_version = r->floors_version;
    hello->member = r->member;
}

void raw_init(struct raw *r, struct fabric *f, const char *name)
{
    raw_init_as(r, f, PKI_IDENTITY, name);
}

void raw_pause(struct raw *r)
{
    (void)uv_read_stop((uv_stream_t *)&r->link->tcp);
}
void raw_resume(struct raw *r)
{
    assert_int_equal(wf_input_start(r->link), WEFT_OK);
}

void raw_init_as(struct raw *r, struct fabric *f, enum pki_kind kind, const char *name)
{
    memset(r, 0, sizeof *r);
    r->f = f;
    r->answers_close = true;
    authority_issue(&f->a, kind, name, &r->node);
    r->trust = authority_trust(&f->a);
    r->tls = authority_tls(&r->node, r->trust);
}

void raw_init_same(struct raw *r, struct fabric *f, const struct raw *other)
{
    raw_init(r, f, "unused");
    pki_tls_ctx_unref(r->tls);
    r->tls = authority_tls(&other->node, r->trust);
}

void raw_start(struct raw *r, struct station *s)
{
    const struct wf_link_config config = {
        .tls = r->tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_ROUTER,
        .peer_id = &s->node.id,
        .hello = raw_hello,
        .hello_arg = r,
        .handler = &raw_handler,
        .arg = r,
    };

    assert_null(r->link);
    assert_int_equal(wf_link_dial(r->f->net, &s->address, &config, &r->link), WEFT_OK);
}

static uint64_t links_of(struct station *s)
{
    return station_counters(s)->edges + station_counters(s)->routers;
}

void raw_open(struct raw *r, struct station *s)
{
    uint64_t before = links_of(s);

    raw_start(r, s);
    fabric_wait(r->f, 5000, r->is_up && links_of(s) == before + 1);
}

void raw_fini(struct raw *r)
{
    if (r->link != NULL) {
        wf_link_close(r->link);
        fabric_wait(r->f, 5000, r->link == NULL);
    }
    wf_signed_free(r->member);
    pki_tls_ctx_unref(r->tls);
    pki_trust_unref(r->trust);
    authority_node_fini(&r->node);
}

uint32_t raw_bind_with(struct raw *r, Weft__Wire__Signed *bind, Weft__Wire__Signed *grant)
{
    Weft__Wire__Bind message = WEFT__WIRE__BIND__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    unsigned before = r->bind_count;

    message.request = before + 1;
    message.bind = bind;
    message.grant = grant;
    control.of_case = WEFT__WIRE__CONTROL__OF_BIND;
    control.bind = &message;
    assert_int_equal(wf_link_send_control(r->link, &control), WEFT_OK);
    fabric_wait(r->f, 5000, r->bind_count == before + 1);
    return r->bind_code;
}

wf_id raw_bind(struct raw *r, struct station *s)
{
    wf_id instance = wf_id_random();
    Weft__Wire__Signed *bind =
        authority_bind(&r->f->a, &r->node, &r->f->service, &instance, &s->node.id);
    Weft__Wire__Signed *grant =
        authority_grant(&r->f->a, &r->node, &r->f->service, "web", WEFT__WIRE__ROLE__ROLE_BIND);

    assert_int_equal(raw_bind_with(r, bind, grant), WEFT_OK);
    wf_signed_free(bind);
    wf_signed_free(grant);
    return instance;
}

void raw_dial(struct raw *r, const struct raw_dial *dial)
{
    Weft__Wire__Setup setup = WEFT__WIRE__SETUP__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    wf_id session = wf_id_random();
    Weft__Wire__Signed *own = NULL;

    setup.label = dial->label;
    setup.service_id = wf_pb_id(dial->service != NULL ? dial->service : &r->f->service);
    setup.session = wf_pb_id(dial->session != NULL ? dial->session : &session);
    if (dial->instance != NULL)
        setup.instance = wf_pb_id(dial->instance);
    setup.window = dial->window != 0 ? dial->window : WF_WINDOW_DEFAULT;
    setup.first = wf_pb_bytes(dial->first, dial->first_len);
    setup.grant = dial->grant;
    if (setup.grant == NULL)
        setup.grant = own =
            authority_grant(&r->f->a, &r->node, &r->f->service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
    control.setup = &setup;
    assert_true(wf_link_send_control(r->link, &control) == WEFT_OK || r->may_fail);
    wf_signed_free(own);
}

void raw_answer(struct raw *r, uint32_t to, uint32_t label, uint64_t window, uint32_t code,
                const void *first, size_t first_len)
{
    Weft__Wire__SetupReply reply;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    weft__wire__setup_reply__init(&reply);
    reply.to = to;
    reply.label = label;
    reply.window = window;
    reply.code = code;
    reply.first = wf_pb_bytes(first, first_len);
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
    control.setup_reply = &reply;
    assert_true(wf_link_send_control(r->link, &control) == WEFT_OK || r->may_fail);
}

void raw_data(struct raw *r, uint32_t label, const void *data, size_t len)
{
    static uint8_t frame[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX];

    wf_frame_put_header(frame, WF_FRAME_DATA, 0, label, (uint32_t)len);
    memcpy(frame + WF_FRAME_HEADER, data, len);
    (void)wf_link_send_frame(r->link, frame, WF_FRAME_HEADER + len);
}

void raw_zeros(struct raw *r, uint32_t label, size_t len)
{
    static const uint8_t zeros[WF_FRAME_PAYLOAD_MAX];
    raw_data(r, label, zeros, len);
}

void raw_ack(struct raw *r, uint32_t label, uint64_t received, uint64_t credit)
{
    const struct wf_ack ack = {.received = received, .credit = credit};
    (void)wf_link_send_ack(r->link, label, &ack);
}

void raw_close(struct raw *r, uint32_t label, weft_err code)
{
    (void)wf_link_send_close(r->link, label, code);
}

struct raw_circuit raw_connect(struct raw *dialer, struct raw *host, uint64_t window)
{
    static uint32_t next = 1000;
    struct raw_circuit c = {.dialer_in = next, .host_in = next + 1};
    unsigned setups = host->setup_count, replies = dialer->reply_count;
    const struct raw_setup *setup = &host->setups[setups % RAW_SEEN];
    const struct raw_reply *reply = &dialer->replies[replies % RAW_SEEN];

    next += 2;
    raw_dial(dialer, &(struct raw_dial){.label = c.dialer_in, .window = window});
    fabric_wait(dialer->f, 5000, host->setup_count == setups + 1);
    raw_answer(host, setup->label, c.host_in, setup->window, 0, NULL, 0);
    fabric_wait(dialer->f, 5000, dialer->reply_count == replies + 1);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->to, c.dialer_in);
    c.dialer_out = dialer->out_label = reply->label;
    c.host_out = host->out_label = setup->label;
    return c;
}
