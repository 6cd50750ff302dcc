/* See bench.h. */
#include "tests/link/bench.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void bench_on_secured(wf_link *link, void *arg)
{
    struct end *end = arg;
    (void)link;
    end->secured++;
    if (end->on_secured != NULL)
        end->on_secured(end);
}

static void bench_on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct end *end = arg;
    (void)link;
    end->up++;
    (void)snprintf(end->agent, sizeof end->agent, "%s", hello->agent);
    if (end->on_up != NULL)
        end->on_up(end);
}

static void bench_on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct end *end = arg;
    (void)link;
    end->controls++;
    end->last_control = message->of_case;
    if (message->of_case == WEFT__WIRE__CONTROL__OF_CALL)
        end->last_call = message->call->id;
    if (end->on_control != NULL)
        end->on_control(end, message);
}

static void bench_on_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct end *end = arg;
    (void)link;
    end->frames++;
    end->bytes += frame->length;
    end->last_label = frame->label;
    if (end->on_frame != NULL)
        end->on_frame(end, frame);
}

static void bench_on_drained(wf_link *link, void *arg)
{
    struct end *end = arg;
    (void)link;
    end->drained++;
}

static void bench_on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct end *end = arg;
    assert_ptr_equal(end->link, link);
    end->closed++;
    end->err = err;
    end->why = *why;
    end->link = NULL;
    if (end->on_closed != NULL)
        end->on_closed(end);
}

const struct wf_link_handler bench_handler = {
    .secured = bench_on_secured,
    .up = bench_on_up,
    .control = bench_on_control,
    .frame = bench_on_frame,
    .drained = bench_on_drained,
    .closed = bench_on_closed,
};

static void crowd_on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    (void)link;
    (void)arg;
    (void)hello;
}

static void crowd_on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    (void)link;
    (void)arg;
    (void)message;
}

static void crowd_on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct bench *b = arg;
    (void)link;
    (void)err;
    (void)why;
    b->crowd_closed++;
}

static const struct wf_link_handler crowd_handler = {
    .up = crowd_on_up,
    .control = crowd_on_control,
    .closed = crowd_on_closed,
};

const struct wf_link_handler *bench_accepted(void *arg, wf_link *link, void **link_arg)
{
    struct bench *b = arg;
    b->accepted++;
    if (b->refuse)
        return NULL;
    if (b->crowd) {
        *link_arg = b;
        return &crowd_handler;
    }
    b->server.link = link;
    *link_arg = &b->server;
    return &bench_handler;
}

static void bench_take_line(void *arg, const char *text)
{
    struct bench *b = arg;
    size_t len = strlen(b->log);
    (void)snprintf(b->log + len, sizeof b->log - len, "%s\n", text);
}

void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    assert_int_equal(wf_net_open(&b->loop, &b->net), WEFT_OK);
    authority_init(&b->authority, "test.weft", wf_now_wall_ms());
    authority_issue(&b->authority, PKI_ROUTER, "edge", &b->router);
    authority_issue(&b->authority, PKI_IDENTITY, "ci", &b->ci);
    b->router_trust = authority_trust(&b->authority);
    b->ci_trust = authority_trust(&b->authority);
    b->router_tls = authority_tls(&b->router, b->router_trust);
    b->ci_tls = authority_tls(&b->ci, b->ci_trust);
    b->server.bench = b->client.bench = b;
    wf_log_open("test", WF_LOG_DEBUG, WF_LOG_TEXT);
    wf_log_redirect(bench_take_line, b);
}

void bench_listen(struct bench *b, const struct wf_listener_config *extra)
{
    struct wf_listener_config config = {.alpn = PKI_ALPN_LINK,
                                        .kinds = PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER,
                                        .handshakes_max = 4096,
                                        .per_address_max = 4096};
    wf_why why = {""};
    if (extra != NULL)
        config = *extra;
    config.tls = b->router_tls;
    config.accepted = config.accepted != NULL ? config.accepted : bench_accepted;
    config.arg = b;
    (void)snprintf(b->address.host, sizeof b->address.host, "127.0.0.1");
    b->address.port = 0;
    assert_int_equal(wf_listener_open(b->net, &b->address, &config, &b->listener, &why), WEFT_OK);
    b->address.port = wf_listener_port(b->listener);
    assert_int_not_equal(b->address.port, 0);
}

struct wf_link_config bench_config(struct bench *b, struct end *end)
{
    return (struct wf_link_config){
        .tls = b->ci_tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_ROUTER,
        .peer_id = &b->router.id,
        .handler = &bench_handler,
        .arg = end,
    };
}

void bench_dial(struct bench *b)
{
    struct wf_link_config config = bench_config(b, &b->client);
    assert_int_equal(wf_link_dial(b->net, &b->address, &config, &b->client.link), WEFT_OK);
}

/* Both ends up. */
void bench_connect(struct bench *b)
{
    bench_dial(b);
    bench_wait(b, 5000, b->client.up == 1 && b->server.up == 1);
}

static void bench_net_closed(void *arg)
{
    struct bench *b = arg;
    b->net_closed = true;
}

/* Closes everything, runs the loop to its end, and lets the leak checker judge. */
void bench_fini(struct bench *b)
{
    if (b->client.link != NULL)
        wf_link_close(b->client.link);
    if (b->server.link != NULL)
        wf_link_close(b->server.link);
    if (b->listener != NULL)
        wf_listener_close(b->listener);
    wf_net_close(b->net, bench_net_closed, b);
    bench_wait(b, 5000, b->net_closed);
    assert_int_equal(uv_run(&b->loop, UV_RUN_NOWAIT), 0);
    assert_null(b->client.link);
    assert_null(b->server.link);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    pki_tls_ctx_unref(b->router_tls);
    pki_tls_ctx_unref(b->ci_tls);
    pki_trust_unref(b->router_trust);
    pki_trust_unref(b->ci_trust);
    authority_node_fini(&b->router);
    authority_node_fini(&b->ci);
    authority_fini(&b->authority);
    wf_log_redirect(NULL, NULL);
}

void bench_run(struct bench *b, unsigned ms)
{
    uint64_t end = wf_now_mono_ms() + ms;
    while (wf_now_mono_ms() < end) {
        (void)uv_run(&b->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

/* ---- the rogue */

void rogue_connect(struct rogue *r, struct bench *b)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(b->address.port)};
    int one = 1;
    memset(r, 0, sizeof *r);
    r->bench = b;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(r->fd >= 0);
    assert_int_equal(connect(r->fd, (struct sockaddr *)&in, sizeof in), 0);
    (void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static weft_err rogue_output(void *arg, const uint8_t *data, size_t len)
{
    struct rogue *r = arg;
    while (len > 0) {
        ssize_t n = send(r->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return WEFT_OK; /* reading will tell */
        data += n;
        len -= (size_t)n;
    }
    return WEFT_OK;
}

void rogue_secure(struct rogue *r, pki_tls_ctx *tls, enum pki_alpn alpn)
{
    const struct pki_tls_config config = {
        .side = PKI_CLIENT, .alpn = alpn, .kinds = PKI_ROUTER, .output = rogue_output, .arg = r};
    wf_why why = {""};
    assert_int_equal(pki_tls_new(tls, &config, &r->tls), WEFT_OK);
    assert_int_equal(pki_tls_handshake(r->tls, &why), WEFT_OK);
}

void rogue_pump(struct rogue *r)
{
    uint8_t data[16384];
    wf_why why = {""};
    for (;;) {
        ssize_t n = recv(r->fd, data, sizeof data, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            r->ended = true;
            return;
        }
        if (n < 0)
            return;
        if (r->tls == NULL || r->err != WEFT_OK)
            continue;
        pki_tls_feed(r->tls, data, (size_t)n);
        for (;;) {
            size_t got = 0;
            r->err =
                pki_tls_read(r->tls, r->got + r->got_len, sizeof r->got - r->got_len, &got, &why);
            r->got_len += got;
            if (r->err != WEFT_OK || got == 0)
                break;
        }
    }
}

bool rogue_is_up(struct rogue *r)
{
    return r->tls != NULL && pki_tls_is_up(r->tls);
}

void rogue_send(struct rogue *r, const void *data, size_t len)
{
    wf_why why = {""};
    if (r->tls == NULL)
        (void)rogue_output(r, data, len);
    else
        assert_int_equal(pki_tls_write(r->tls, data, len, &why), WEFT_OK);
}

void rogue_send_control(struct rogue *r, const Weft__Wire__Control *message)
{
    wf_buf buf;
    const uint8_t header[WF_FRAME_HEADER] = {0};
    wf_buf_init(&buf, 1 << 17);
    assert_int_equal(wf_buf_put(&buf, header, sizeof header), WEFT_OK);
    assert_int_equal(wf_message_put(&message->base, &buf), WEFT_OK);
    wf_frame_put_header(buf.data, WF_FRAME_CONTROL, 0, 0, (uint32_t)(buf.len - WF_FRAME_HEADER));
    rogue_send(r, buf.data, buf.len);
    wf_buf_fini(&buf);
}

void rogue_send_hello(struct rogue *r, unsigned version_min, unsigned version_max)
{
    Weft__Wire__Control control;
    Weft__Wire__Hello hello;
    char agent[] = "rogue/1";
    weft__wire__control__init(&control);
    weft__wire__hello__init(&hello);
    hello.version_min = version_min;
    hello.version_max = version_max;
    hello.agent = agent;
    control.of_case = WEFT__WIRE__CONTROL__OF_HELLO;
    control.hello = &hello;
    rogue_send_control(r, &control);
}

void rogue_fini(struct rogue *r)
{
    pki_tls_free(r->tls);
    close(r->fd);
}
