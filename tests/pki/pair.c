#include "tests/pki/pair.h"
#include "proto/base/clock.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        weft_err must_ = (call);                                                                   \
        if (must_ != WEFT_OK) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, weft_err_name(must_));              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static weft_err put_out(void *arg, const uint8_t *data, size_t len)
{
    struct end *end = arg;
    if (end->refuse_output != WEFT_OK)
        return end->refuse_output;
    end->outputs++;
    return wf_buf_put(&end->out, data, len);
}

static void end_open(struct end *end, pki_tls_ctx *ctx, struct pki_tls_config config)
{
    *end = (struct end){.err = WEFT_OK};
    wf_buf_init(&end->out, SIZE_MAX / 2);
    wf_buf_init(&end->in, SIZE_MAX / 2);
    wf_buf_init(&end->heard, SIZE_MAX / 2);
    config.output = put_out;
    config.arg = end;
    MUST(pki_tls_new(ctx, &config, &end->tls));
}

void pair_open(struct pair *p, pki_tls_ctx *client, struct pki_tls_config client_config,
               pki_tls_ctx *server, struct pki_tls_config server_config)
{
    client_config.side = PKI_CLIENT;
    server_config.side = PKI_SERVER;
    end_open(&p->client, client, client_config);
    end_open(&p->server, server, server_config);
    p->client.err = pki_tls_handshake(p->client.tls, &p->client.why);
}

static void end_close(struct end *end)
{
    pki_tls_free(end->tls);
    wf_buf_fini(&end->out);
    wf_buf_fini(&end->in);
    wf_buf_fini(&end->heard);
}

void pair_close(struct pair *p)
{
    end_close(&p->client);
    end_close(&p->server);
}

void pair_feed(struct end *to, const void *data, size_t len)
{
    uint8_t plain[20000];
    size_t got;
    if (to->err != WEFT_OK)
        return;
    wf_buf_clear(&to->in);
    MUST(wf_buf_put(&to->in, data, len));
    pki_tls_feed(to->tls, to->in.data, to->in.len);
    do {
        to->err = pki_tls_read(to->tls, plain, sizeof plain, &got, &to->why);
        MUST(wf_buf_put(&to->heard, plain, got));
    } while (to->err == WEFT_OK && got > 0);
}

void pair_carry(struct end *from, struct end *to, size_t step)
{
    wf_buf moving = from->out;
    wf_buf_init(&from->out, moving.max);
    if (step == 0)
        step = moving.len;
    for (size_t at = 0; at < moving.len; at += step)
        pair_feed(to, moving.data + at, moving.len - at < step ? moving.len - at : step);
    wf_buf_fini(&moving);
}

void pair_settle(struct pair *p)
{
    while (p->client.out.len + p->server.out.len > 0) {
        pair_carry(&p->client, &p->server, 0);
        pair_carry(&p->server, &p->client, 0);
    }
}

/* ---- who meets in the tests */

int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    authority_init(&w->a, "test.weft", wf_now_wall_ms());
    authority_issue(&w->a, PKI_ROUTER, "r1", &w->router);
    authority_issue(&w->a, PKI_IDENTITY, "ci", &w->ci);
    authority_issue(&w->a, PKI_IDENTITY, "host", &w->host);
    w->near = authority_trust(&w->a);
    w->far = authority_trust(&w->a);
    w->router_ctx = authority_tls(&w->router, w->far);
    w->host_ctx = authority_tls(&w->host, w->far);
    w->ci_ctx = authority_tls(&w->ci, w->near);
    *state = w;
    return 0;
}

int close_world(void **state)
{
    struct world *w = *state;
    pki_tls_ctx_unref(w->router_ctx);
    pki_tls_ctx_unref(w->host_ctx);
    pki_tls_ctx_unref(w->ci_ctx);
    pki_trust_unref(w->near);
    pki_trust_unref(w->far);
    authority_node_fini(&w->router);
    authority_node_fini(&w->ci);
    authority_node_fini(&w->host);
    authority_fini(&w->a);
    free(w);
    return 0;
}

const struct pki_tls_config link_to_router = {.alpn = PKI_ALPN_LINK, .kinds = PKI_ROUTER};
const struct pki_tls_config link_from_identity = {.alpn = PKI_ALPN_LINK, .kinds = PKI_IDENTITY};
const struct pki_tls_config e2e_to_host = {.alpn = PKI_ALPN_E2E, .kinds = PKI_IDENTITY};
const struct pki_tls_config e2e_from_dialer = {
    .alpn = PKI_ALPN_E2E, .kinds = PKI_IDENTITY, .half_rtt = true};

void meet(struct pair *p, const struct world *w)
{
    pair_open(p, w->ci_ctx, link_to_router, w->router_ctx, link_from_identity);
    pair_settle(p);
    assert_int_equal(p->client.err, WEFT_OK);
    assert_int_equal(p->server.err, WEFT_OK);
    assert_true(pki_tls_is_up(p->client.tls));
    assert_true(pki_tls_is_up(p->server.tls));
}

void say(struct end *end, const void *data, size_t len)
{
    wf_why why = {.text = ""};
    assert_true(pki_tls_can_write(end->tls));
    assert_int_equal(pki_tls_write(end->tls, data, len, &why), WEFT_OK);
}

void assert_heard(const struct end *end, const void *data, size_t len)
{
    assert_int_equal(end->heard.len, len);
    assert_memory_equal(end->heard.data, data, len);
}
