#include "tests/hostile/mallory.h"
#include "sdk/session_inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABEL 77u /* on which she receives */

/* ---- her session */

static void send_data(struct mallory *m, const uint8_t *data, size_t len)
{
    static uint8_t frame[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX];
    if (m->link == NULL || m->out_label == 0 || len == 0)
        return;
    wf_frame_put_header(frame, WF_FRAME_DATA, 0, m->out_label, (uint32_t)len);
    memcpy(frame + WF_FRAME_HEADER, data, len);
    (void)wf_link_send_frame(m->link, frame, WF_FRAME_HEADER + len);
}

static weft_err on_output(void *arg, const uint8_t *data, size_t len)
{
    struct mallory *m = arg;
    if (m->collecting)
        return wf_buf_put(&m->first, data, len);
    send_data(m, data, len);
    return WEFT_OK;
}

static bool on_blocked(void *arg)
{
    (void)arg;
    return false;
}

static void on_ack(void *arg, const struct wf_ack *ack)
{
    struct mallory *m = arg;
    if (m->link != NULL && m->out_label != 0)
        (void)wf_link_send_ack(m->link, m->out_label, ack);
}

static void on_floors(void *arg, const Weft__Wire__Signed *set)
{
    (void)arg, (void)set;
}

static void on_verified(void *arg)
{
    ((struct mallory *)arg)->verified++;
}

static void on_opened(void *arg)
{
    ((struct mallory *)arg)->opened++;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    (void)data;
    ((struct mallory *)arg)->heard += (unsigned)len;
    return len;
}

static void on_datagram(void *arg, const uint8_t *data, size_t len)
{
    (void)arg, (void)data, (void)len;
}

static void on_nothing(void *arg)
{
    (void)arg;
}

static void on_over(void *arg, weft_err err, const char *why)
{
    struct mallory *m = arg;
    (void)why;
    m->over++;
    m->err = err;
}

static const struct wf_session_handler session_handler = {.output = on_output,
                                                          .blocked = on_blocked,
                                                          .ack = on_ack,
                                                          .floors = on_floors,
                                                          .verified = on_verified,
                                                          .opened = on_opened,
                                                          .data = on_data,
                                                          .datagram = on_datagram,
                                                          .ended = on_nothing,
                                                          .writable = on_nothing,
                                                          .over = on_over};

static void new_session(struct mallory *m, bool host, uint64_t window)
{
    wf_why why = {""};
    struct wf_session_config config = {.tls = m->end_to_end,
                                       .host = host,
                                       .self = m->pretence.hello,
                                       .window = window,
                                       .scratch = m->scratch,
                                       .handler = &session_handler,
                                       .arg = m};
    struct wf_hello *hello = &config.self;
    if (wf_id_is_zero(&hello->service))
        hello->service = m->stage->web;
    if (wf_id_is_zero(&hello->session))
        hello->session = m->session_id;
    if (host && wf_id_is_zero(&hello->instance))
        hello->instance = m->instance;
    if (hello->role == WEFT__WIRE__ROLE__ROLE_NONE)
        hello->role = host ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL;
    wf_session_free(m->session);
    struct wf_hello said = config.self; /* what she says; what she expects is what is right */
    config.self.service = m->stage->web;
    config.self.session = m->session_id;
    config.self.role = host ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL;
    if (wf_session_new(&config, &m->session, &why) != WEFT_OK)
        fail_msg("mallory: %s", why.text);
    wf_buf_clear(&m->session->hello);
    assert_int_equal(wf_hello_put(&said, &m->session->hello), WEFT_OK);
    m->verified = m->opened = m->heard = m->over = 0;
}

/* A host takes what she can: accepts, and says something the application must never hear. */
static void act(struct mallory *m)
{
    size_t taken;
    if (wf_session_state(m->session) == WF_SESSION_DECISION)
        (void)wf_session_accept(m->session);
    if (wf_session_state(m->session) == WF_SESSION_OPEN && m->evil[0] == 0) {
        memset(m->evil, 'E', sizeof m->evil);
        (void)wf_session_write(m->session, m->evil, sizeof m->evil, &taken);
    }
}

/* ---- her link */

static void on_link_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    (void)link, (void)hello;
    ((struct mallory *)arg)->up = true;
}

static void on_setup(struct mallory *m, const Weft__Wire__Setup *setup)
{
    Weft__Wire__SetupReply reply;
    Weft__Wire__Control control;
    m->setups++;
    m->session_id = wf_pb_get_id(setup->session);
    m->evil[0] = 0;
    wf_buf_clear(&m->first);
    new_session(m, true, setup->window);
    m->collecting = true;
    wf_session_input(m->session, setup->first.data, setup->first.len, wf_now_wall_ms());
    m->collecting = false;
    weft__wire__setup_reply__init(&reply);
    reply.to = m->out_label = setup->label;
    reply.label = LABEL;
    reply.window = setup->window;
    reply.first = wf_pb_bytes(m->first.data, m->first.len);
    reply.instance = wf_pb_id(&m->instance);
    weft__wire__control__init(&control);
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
    control.setup_reply = &reply;
    (void)wf_link_send_control(m->link, &control);
}

static void on_setup_reply(struct mallory *m, const Weft__Wire__SetupReply *reply)
{
    m->setup_replies++;
    m->setup_code = (weft_err)reply->code;
    if (reply->code != 0 || m->session == NULL)
        return;
    m->out_label = reply->label;
    m->instance = wf_pb_get_id(reply->instance);
    wf_session_answered(m->session, reply->window, &m->instance);
    wf_session_input(m->session, reply->first.data, reply->first.len, wf_now_wall_ms());
}

static void on_link_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct mallory *m = arg;
    (void)link;
    if (message->of_case == WEFT__WIRE__CONTROL__OF_BIND_REPLY) {
        assert_int_equal(message->bind_reply->code, 0);
        m->bind_replies++;
    } else if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP) {
        on_setup(m, message->setup);
    } else if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP_REPLY) {
        on_setup_reply(m, message->setup_reply);
    }
}

static void on_link_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct mallory *m = arg;
    if (frame->type == WF_FRAME_CLOSE && m->out_label != 0) {
        (void)wf_link_send_close(link, m->out_label, WEFT_OK);
        m->out_label = 0;
    }
    if (m->session == NULL || wf_session_state(m->session) == WF_SESSION_OVER)
        return;
    if (frame->type == WF_FRAME_DATA) {
        wf_session_input(m->session, frame->bytes + WF_FRAME_HEADER, frame->length,
                         wf_now_wall_ms());
        act(m);
    } else if (frame->type == WF_FRAME_CLOSE) {
        wf_session_lost(m->session, WEFT_ELOST, "closed");
    }
}

static void on_link_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    (void)link, (void)err, (void)why;
    ((struct mallory *)arg)->link = NULL;
}

static const struct wf_link_handler link_handler = {
    .up = on_link_up, .control = on_link_control, .frame = on_link_frame, .closed = on_link_closed};

void mallory_open(struct mallory *m, struct stage *stage)
{
    struct pretence pretence = m->pretence;
    memset(m, 0, sizeof *m);
    m->pretence = pretence;
    m->stage = stage;
    m->instance = wf_id_random();
    m->session_id = wf_id_random();
    m->scratch = calloc(1, sizeof *m->scratch);
    assert_non_null(m->scratch);
    wf_buf_init(&m->first, WF_SETUP_BYTES_MAX);
    m->trust = authority_trust(&stage->a);
    m->hop = authority_tls(&stage->mallory, m->trust);
    m->end_to_end = authority_tls(pretence.who != NULL ? pretence.who : &stage->mallory,
                                  pretence.trust != NULL ? pretence.trust : m->trust);
    struct wf_link_config config = {.tls = m->hop,
                                    .alpn = PKI_ALPN_LINK,
                                    .kinds = PKI_ROUTER,
                                    .handler = &link_handler,
                                    .arg = m};
    assert_int_equal(wf_link_dial(stage->net, &stage->address, &config, &m->link), WEFT_OK);
    stage_wait(stage, 5000, m->up);
    assert_true(m->up);
}

void mallory_bind(struct mallory *m, const Weft__Wire__Signed *grant)
{
    union {
        const Weft__Wire__Signed *in;
        Weft__Wire__Signed *out;
    } borrowed = {.in = grant};
    Weft__Wire__Control control;
    Weft__Wire__Bind bind;
    weft__wire__bind__init(&bind);
    bind.request = 1;
    bind.bind = authority_bind(&m->stage->a, &m->stage->mallory, &m->stage->web, &m->instance,
                               &m->stage->router_node.id);
    bind.grant = borrowed.out;
    weft__wire__control__init(&control);
    control.of_case = WEFT__WIRE__CONTROL__OF_BIND;
    control.bind = &bind;
    assert_int_equal(wf_link_send_control(m->link, &control), WEFT_OK);
    stage_wait(m->stage, 5000, m->bind_replies > 0 || m->link == NULL);
    assert_int_equal(m->bind_replies, 1);
    wf_signed_free(bind.bind);
}

static void send_setup(struct mallory *m, const Weft__Wire__Signed *grant, wf_span first)
{
    union {
        const Weft__Wire__Signed *in;
        Weft__Wire__Signed *out;
    } borrowed = {.in = grant};
    Weft__Wire__Control control;
    Weft__Wire__Setup setup;
    weft__wire__setup__init(&setup);
    setup.label = LABEL;
    setup.service_id = wf_pb_id(&m->stage->web);
    setup.session = wf_pb_id(&m->session_id);
    setup.window = WF_WINDOW_DEFAULT;
    setup.first = wf_pb_bytes(first.data, first.len);
    setup.grant = borrowed.out;
    weft__wire__control__init(&control);
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
    control.setup = &setup;
    assert_int_equal(wf_link_send_control(m->link, &control), WEFT_OK);
}

void mallory_dial(struct mallory *m, const Weft__Wire__Signed *outer_grant)
{
    wf_why why = {""};
    new_session(m, false, WF_WINDOW_DEFAULT);
    m->collecting = true;
    assert_int_equal(wf_session_start(m->session, &why), WEFT_OK);
    m->collecting = false;
    send_setup(m, outer_grant, wf_span_of(m->first.data, m->first.len));
    stage_wait(m->stage, 2000, m->over > 0 || m->opened > 0 || m->setup_code != 0);
}

void mallory_replay(struct mallory *m, const Weft__Wire__Signed *outer_grant, wf_span first,
                    wf_span rest)
{
    send_setup(m, outer_grant, first);
    stage_wait(m->stage, 2000, m->setup_replies > 0);
    send_data(m, rest.data, rest.len);
    stage_wait(m->stage, 500, m->out_label == 0);
}

void mallory_close(struct mallory *m)
{
    if (m->link != NULL)
        wf_link_cut(m->link, WEFT_ECANCELED, "done");
    stage_wait(m->stage, 2000, m->link == NULL);
    wf_session_free(m->session);
    wf_buf_fini(&m->first);
    pki_tls_ctx_unref(m->hop);
    pki_tls_ctx_unref(m->end_to_end);
    pki_trust_unref(m->trust);
    free(m->scratch);
    memset(m, 0, sizeof *m);
}

/* ---- grants to order */

struct mint mint_of(const struct stage *stage, const struct authority_node *node,
                    const wf_id *service, Weft__Wire__Role role)
{
    return (struct mint){.service = *service,
                         .subject = node->id,
                         .pin = node->pin,
                         .role = role,
                         .not_before = stage->a.now - 60000,
                         .expiry = stage->a.now + 86400000,
                         .epoch = stage->a.now};
}

Weft__Wire__Signed *mint(const struct stage *stage, const struct mint *m)
{
    static char web[] = "web";
    char domain[PKI_DOMAIN_MAX + 1];
    Weft__Wire__GrantBody body;
    struct mint copy = *m;
    ProtobufCBinaryData pin = wf_pb_bytes(copy.pin.b, sizeof copy.pin.b);
    (void)snprintf(domain, sizeof domain, "%s", m->domain != NULL ? m->domain : stage->a.domain);
    weft__wire__grant_body__init(&body);
    body.trust_domain = domain;
    body.service_id = wf_pb_id(&copy.service);
    body.service_name = web;
    body.role = m->role;
    body.subject = wf_pb_id(&copy.subject);
    body.n_pins = 1;
    body.pins = &pin;
    body.not_before = m->not_before;
    body.expiry = m->expiry;
    body.epoch = m->epoch;
    return authority_sign(m->key != NULL ? m->key : stage->a.policy, PKI_LABEL_GRANT, &body.base);
}
