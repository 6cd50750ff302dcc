#include "tests/hostile/stage.h"
#include "proto/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Byte i of what a host (or a dialer) says: far from periodic in frames. */
static uint8_t word(bool host, size_t i)
{
    uint64_t x = (uint64_t)i * 2654435761u + (host ? 97 : 0);
    return (uint8_t)(x >> 11 ^ x >> 3);
}

static void speak(struct side *side)
{
    static uint8_t piece[6 * WEFT_PIECE]; /* whole records */
    while (side->stream != NULL && side->said < side->to_say) {
        size_t some = side->to_say - side->said, taken = 0;
        some = some < sizeof piece ? some : sizeof piece;
        for (size_t i = 0; i < some; i++)
            piece[i] = word(side->is_host, side->said + i);
        if (weft_stream_write(side->stream, piece, some, &taken) != WEFT_OK)
            return;
        side->said += taken;
        if (taken < some)
            return;
    }
    if (side->stream != NULL)
        (void)weft_stream_end(side->stream);
}

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct side *side = arg;
    side->stream = stream;
    side->opened = true;
    snprintf(side->peer, sizeof side->peer, "%s", peer->name);
    speak(side);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    struct side *side = arg;
    (void)stream;
    for (size_t i = 0; i < len; i++)
        side->spoilt |= data[i] != word(!side->is_host, side->heard + i);
    side->heard += len;
    return len;
}

static void on_ended(weft_stream *stream, void *arg)
{
    (void)stream;
    ((struct side *)arg)->ended = true;
}

static void on_writable(weft_stream *stream, void *arg)
{
    (void)stream;
    if (((struct side *)arg)->opened)
        speak(arg);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct side *side = arg;
    (void)stream;
    side->stream = NULL;
    side->closed = true;
    side->err = err;
    snprintf(side->why, sizeof side->why, "%s", why != NULL ? why : "");
}

static const struct weft_stream_handler stream_handler = {.opened = on_opened,
                                                          .data = on_data,
                                                          .ended = on_ended,
                                                          .writable = on_writable,
                                                          .closed = on_closed};

static void on_bound(weft_listener *listener, void *arg, unsigned routers, const char *why)
{
    struct stage *s = arg;
    (void)why;
    s->bound += routers > 0;
    if (listener == s->listeners[0])
        s->web_is_bound = routers > 0;
}

static void on_incoming(weft_listener *listener, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    struct stage *s = arg;
    (void)listener, (void)peer;
    s->incoming++;
    if (s->host.stream != NULL) {
        weft_stream_refuse(stream, WEFT_EBUSY, "one at a time");
        return;
    }
    if (weft_stream_accept(stream, &stream_handler, &s->host) == WEFT_OK)
        s->host.stream = stream;
}

static void on_listener_closed(weft_listener *listener, void *arg, weft_err err, const char *why)
{
    struct stage *s = arg;
    (void)err, (void)why;
    for (unsigned i = 0; i < 2; i++)
        if (s->listeners[i] == listener)
            s->listeners[i] = NULL;
}

static const struct weft_listener_handler listener_handler = {on_bound, on_incoming,
                                                              on_listener_closed};

static void carry(struct stage *s, struct pki_identity *identity, const struct authority_node *node,
                  const wf_id *service, const char *name, Weft__Wire__Role role)
{
    Weft__Wire__Signed *grant = authority_grant_bound(
        &s->a, node, service, name, role, &s->terms[role == WEFT__WIRE__ROLE__ROLE_BIND]);
    authority_carry(identity, &identity->grants, &identity->grant_count, grant);
    wf_signed_free(grant);
}

weft_endpoint *stage_endpoint(struct stage *s, const struct authority_node *node,
                              Weft__Wire__Role role)
{
    char text[WF_ADDRESS_TEXT];
    const char *address = wf_address_text(&s->address, text);
    Weft__Wire__Signed *member = authority_member(&s->a, &s->router_node, &address, 1);
    struct pki_identity identity;
    struct weft_options options = {.loop = &s->loop, .state_dir = "", .dial_timeout_ms = 5000};
    weft_endpoint *out;
    weft_why why = {""};
    wf_buf json;
    authority_identity(&s->a, node, &identity);
    carry(s, &identity, node, &s->web, "web", role);
    carry(s, &identity, node, &s->other, "other", role);
    authority_carry(&identity, &identity.members, &identity.member_count, member);
    wf_signed_free(member);
    wf_buf_init(&json, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, &json), WEFT_OK);
    options.identity = wf_buf_cstr(&json);
    if (weft_endpoint_open(&options, &out, &why) != WEFT_OK)
        fail_msg("%s: %s", node->name, why.text);
    wf_buf_wipe(&json);
    pki_identity_fini(&identity);
    return out;
}

weft_err stage_listen(struct stage *s)
{
    return weft_listen(s->host.endpoint, "web", &listener_handler, s, &s->listeners[0], NULL);
}

static void quiet(void *arg, const char *text)
{
    (void)arg;
    if (getenv("HOSTILE_LOG") != NULL)
        fprintf(stderr, "%s\n", text);
}

void stage_open(struct stage *s)
{
    stage_open_bound(s, NULL, NULL, "127.0.0.1");
    stage_wait(s, 5000, s->bound == 2);
    assert_int_equal(s->bound, 2);
}

void stage_open_bound(struct stage *s, const struct pki_terms *dialer, const struct pki_terms *host,
                      const char *listen)
{
    struct router_options options = {.no_controller = true};
    struct pki_identity identity;
    char text[WF_ADDRESS_TEXT];
    wf_why why = {""};
    memset(s, 0, sizeof *s);
    if (dialer != NULL)
        s->terms[0] = *dialer;
    if (host != NULL)
        s->terms[1] = *host;
    memset(&bad, 0, sizeof bad);
    wf_log_open("hostile", WF_LOG_DEBUG, WF_LOG_TEXT);
    wf_log_redirect(quiet, NULL);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(uv_timer_init(&s->loop, &s->timer), 0);
    assert_int_equal(wf_net_open(&s->loop, &s->net), WEFT_OK);
    authority_init(&s->a, "test.weft", wf_now_wall_ms());
    s->web = wf_id_random();
    s->other = wf_id_random();
    authority_issue(&s->a, PKI_ROUTER, "bad-router", &s->router_node);
    authority_issue(&s->a, PKI_IDENTITY, "host", &s->host_node);
    authority_issue(&s->a, PKI_IDENTITY, "dialer", &s->dialer_node);
    authority_issue(&s->a, PKI_IDENTITY, "mallory", &s->mallory);

    authority_identity(&s->a, &s->router_node, &identity);
    snprintf(options.listen.host, sizeof options.listen.host, "%s", listen);
    if (router_open(s->net, &identity, &options, &s->router, &why) != WEFT_OK)
        fail_msg("router: %s", why.text);
    s->address = options.listen;
    s->address.port = router_port(s->router);
    const char *address = wf_address_text(&s->address, text);
    Weft__Wire__Signed *member = authority_member(&s->a, &s->router_node, &address, 1);
    assert_int_equal(router_add_member(s->router, member, &why), WEFT_OK);
    wf_signed_free(member);

    s->host.is_host = true;
    s->host.endpoint = stage_endpoint(s, &s->host_node, WEFT__WIRE__ROLE__ROLE_BIND);
    s->dialer.endpoint = stage_endpoint(s, &s->dialer_node, WEFT__WIRE__ROLE__ROLE_DIAL);
    assert_int_equal(
        weft_listen(s->host.endpoint, "web", &listener_handler, s, &s->listeners[0], &why),
        WEFT_OK);
    assert_int_equal(
        weft_listen(s->host.endpoint, "other", &listener_handler, s, &s->listeners[1], &why),
        WEFT_OK);
}

static void on_finished(void *arg)
{
    *(bool *)arg = true;
}

void stage_close(struct stage *s)
{
    memset(&bad, 0, sizeof bad);
    weft_endpoint_close(s->dialer.endpoint, on_finished, &s->finished[0]);
    weft_endpoint_close(s->host.endpoint, on_finished, &s->finished[1]);
    stage_wait(s, 5000, s->finished[0] && s->finished[1]);
    router_close(s->router, 0, on_finished, &s->finished[2]);
    stage_wait(s, 5000, s->finished[2]);
    assert_true(s->finished[0] && s->finished[1] && s->finished[2]);
    wf_net_close(s->net, NULL, NULL);
    uv_close((uv_handle_t *)&s->timer, NULL);
    assert_int_equal(uv_run(&s->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    authority_node_fini(&s->router_node);
    authority_node_fini(&s->host_node);
    authority_node_fini(&s->dialer_node);
    authority_node_fini(&s->mallory);
    authority_fini(&s->a);
    wf_log_redirect(NULL, NULL);
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
}

void stage_turn(struct stage *s)
{
    uv_timer_start(&s->timer, wake, 5, 0); /* so that the loop waits, but not for long */
    uv_run(&s->loop, UV_RUN_ONCE);
    uv_timer_stop(&s->timer);
}

static void reset(struct side *side)
{
    struct side fresh = {.endpoint = side->endpoint, .is_host = side->is_host};
    *side = fresh;
}

void stage_talk(struct stage *s, size_t up, size_t down, unsigned ms)
{
    weft_why why = {""};
    unsigned incoming = s->incoming;
    reset(&s->host);
    reset(&s->dialer);
    s->dialer.to_say = up;
    s->host.to_say = down;
    if (weft_dial(s->dialer.endpoint, "web", NULL, &stream_handler, &s->dialer, &s->dialer.stream,
                  &why) != WEFT_OK) {
        s->dialer.closed = true;
        s->dialer.err = WEFT_ENOMEM;
    }
    stage_wait(s, ms, s->dialer.closed && (s->host.closed || s->incoming == incoming));
    if (s->dialer.stream != NULL)
        weft_stream_close(s->dialer.stream);
    if (s->host.stream != NULL)
        weft_stream_close(s->host.stream);
    stage_wait(s, 2000, s->dialer.stream == NULL && s->host.stream == NULL);
    assert_null(s->dialer.stream);
    assert_null(s->host.stream);
}

static void assert_side(const struct side *hearer, const struct side *speaker)
{
    assert_false(hearer->spoilt);
    assert_true(hearer->heard <= speaker->said);
    if (hearer->ended)
        assert_int_equal(hearer->heard, speaker->to_say);
    if (hearer->closed && hearer->err == WEFT_OK)
        assert_true(hearer->ended);
}

void stage_assert_no_gain(const struct stage *s)
{
    assert_side(&s->host, &s->dialer);
    assert_side(&s->dialer, &s->host);
    if (s->dialer.opened)
        assert_string_equal(s->dialer.peer, "host");
    if (s->host.opened)
        assert_string_equal(s->host.peer, "dialer");
}

void stage_assert_whole(const struct stage *s)
{
    stage_assert_no_gain(s);
    if (!s->dialer.closed || s->dialer.err != WEFT_OK)
        fail_msg("dialer: %s: %s", weft_err_name(s->dialer.err), s->dialer.why);
    assert_true(s->host.closed);
    assert_int_equal(s->host.err, WEFT_OK);
    assert_true(s->dialer.ended && s->host.ended);
}

bool stage_is(const wf_link *link, const struct authority_node *node)
{
    const struct pki_subject *peer = wf_link_peer(link);
    return peer != NULL && wf_id_equal(&peer->id, &node->id);
}
