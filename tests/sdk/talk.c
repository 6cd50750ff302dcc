#include "tests/sdk/talk.h"
#include "proto/base/clock.h"
#include "proto/wire/control.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

/* ---- the router's hands */

static void push(struct end *end, struct message *m)
{
    m->next = NULL;
    if (end->last != NULL)
        end->last->next = m;
    else
        end->first = m;
    end->last = m;
}

static struct message *message_new(const void *bytes, size_t len)
{
    struct message *m = calloc(1, sizeof *m + len);
    assert_non_null(m);
    m->len = len;
    if (len > 0)
        memcpy(m->bytes, bytes, len);
    return m;
}

static weft_err put(void *arg, const uint8_t *data, size_t len)
{
    struct end *end = arg;
    end->sent += len;
    push(end, message_new(data, len));
    return WEFT_OK;
}

static struct message *pop(struct end *end)
{
    struct message *m = end->first;
    if (m != NULL) {
        end->first = m->next;
        if (end->first == NULL)
            end->last = NULL;
    }
    return m;
}

/* ---- an honest end's handler */

static bool is_blocked(void *arg)
{
    const struct end *end = arg;
    return end->blocked;
}

static void put_ack(void *arg, const struct wf_ack *ack)
{
    struct end *end = arg;
    struct message *m = message_new(NULL, 0);
    m->is_ack = true;
    m->ack = *ack;
    push(end, m);
}

static void on_floors(void *arg, const Weft__Wire__Signed *set)
{
    struct end *end = arg;
    bool changed;
    end->floors++;
    if (end->talk->apply_floors)
        (void)pki_trust_apply_floors(end->talk->trust[end->side], set, end->talk->a.now, &changed,
                                     NULL);
}

static void on_verified(void *arg)
{
    struct end *end = arg;
    end->verified++;
}

static void on_opened(void *arg)
{
    struct end *end = arg;
    end->opened++;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    struct end *end = arg;
    size_t n = len < end->take ? len : end->take;
    assert_int_equal(end->ended, 0);
    assert_int_equal(end->over, 0);
    if (n > 0)
        assert_int_equal(wf_buf_put(&end->heard, data, n), WEFT_OK);
    if (end->take != SIZE_MAX)
        end->take -= n;
    if (end->on_data != NULL)
        end->on_data(end);
    return n;
}

static void on_datagram(void *arg, const uint8_t *data, size_t len)
{
    struct end *end = arg;
    (void)data;
    end->datagrams++;
    end->datagram_bytes += len;
}

static void on_ended(void *arg)
{
    struct end *end = arg;
    end->ended++;
}

static void on_writable(void *arg)
{
    struct end *end = arg;
    end->writable++;
}

static void on_over(void *arg, weft_err err, const char *why)
{
    struct end *end = arg;
    end->over++;
    end->err = err;
    assert_true(strlen(why) > 0);
    memcpy(end->why, why, strlen(why) + 1);
}

static const struct wf_session_handler handler = {
    .output = put,
    .blocked = is_blocked,
    .ack = put_ack,
    .floors = on_floors,
    .verified = on_verified,
    .opened = on_opened,
    .data = on_data,
    .datagram = on_datagram,
    .ended = on_ended,
    .writable = on_writable,
    .over = on_over,
};

/* ---- the world */

/* Ed25519 signatures have one length, so that every run puts the same byte at the same offset. */
static void issue(struct authority *a, const char *name, struct authority_node *node)
{
    wf_why why = {""};
    authority_issue(a, PKI_IDENTITY, name, node);
    pki_key_free(node->key);
    assert_int_equal(pki_key_new(PKI_KEY_ED25519, &node->key, &why), WEFT_OK);
    pki_key_pin(node->key, &node->pin);
    authority_renew(a, node, a->now - 300000, a->now + WF_LEAF_LIFE_MS);
}

void talk_world_open(struct talk *t)
{
    memset(t, 0, sizeof *t);
    t->scratch = malloc(sizeof *t->scratch);
    assert_non_null(t->scratch);
    authority_init(&t->a, "test.weft", wf_now_wall_ms());
    issue(&t->a, "ci", &t->ci);
    issue(&t->a, "web-host", &t->host);
    issue(&t->a, "other", &t->other);
    t->trust[DIALER] = authority_trust(&t->a);
    t->trust[HOST] = authority_trust(&t->a);
    t->ctx[DIALER] = authority_tls(&t->ci, t->trust[DIALER]);
    t->ctx[HOST] = authority_tls(&t->host, t->trust[HOST]);
    t->other_ctx = authority_tls(&t->other, t->trust[DIALER]);
    t->service = wf_id_random();
    t->session = wf_id_random();
    t->instance = wf_id_random();
    t->window = WF_WINDOW_DEFAULT;
    t->grant[DIALER] =
        authority_grant(&t->a, &t->ci, &t->service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    t->grant[HOST] =
        authority_grant(&t->a, &t->host, &t->service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
}

void talk_world_close(struct talk *t)
{
    for (int i = 0; i < 2; i++) {
        wf_signed_free(t->grant[i]);
        pki_tls_ctx_unref(t->ctx[i]);
        pki_trust_unref(t->trust[i]);
    }
    pki_tls_ctx_unref(t->other_ctx);
    authority_node_fini(&t->ci);
    authority_node_fini(&t->host);
    authority_node_fini(&t->other);
    authority_fini(&t->a);
    free(t->scratch);
}

struct wf_hello talk_hello(const struct talk *t, int side)
{
    struct wf_hello hello = {
        .service = t->service,
        .session = t->session,
        .role = side == HOST ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL,
        .grant = t->grant[side],
        .datagram = t->datagram,
    };
    hello.instance = side == HOST ? t->instance : t->asked;
    return hello;
}

static void end_init(struct talk *t, int side)
{
    t->end[side] = (struct end){.talk = t, .side = side, .take = SIZE_MAX};
    wf_buf_init(&t->end[side].heard, 256u * 1024u * 1024u);
}

void talk_open_end(struct talk *t, int side)
{
    wf_why why = {""};
    end_init(t, side);
    const struct wf_session_config config = {
        .tls = t->ctx[side],
        .host = side == HOST,
        .self = talk_hello(t, side),
        .window = t->window,
        .scratch = t->scratch,
        .handler = &handler,
        .arg = &t->end[side],
    };
    assert_int_equal(wf_session_new(&config, &t->end[side].session, &why), WEFT_OK);
}

void talk_open_liar(struct talk *t, int side, pki_tls_ctx *ctx)
{
    end_init(t, side);
    const struct pki_tls_config config = {
        .side = side == HOST ? PKI_SERVER : PKI_CLIENT,
        .alpn = PKI_ALPN_E2E,
        .kinds = PKI_IDENTITY | PKI_ROUTER,
        .half_rtt = side == HOST,
        .output = put,
        .arg = &t->end[side],
    };
    assert_int_equal(pki_tls_new(ctx != NULL ? ctx : t->ctx[side], &config, &t->end[side].liar),
                     WEFT_OK);
}

void talk_open(struct talk *t)
{
    t->answered = t->is_lost = false;
    t->offset[DIALER] = t->offset[HOST] = 0;
    talk_open_end(t, DIALER);
    talk_open_end(t, HOST);
}

void talk_close(struct talk *t)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &t->end[i];
        struct message *m;
        while ((m = pop(end)) != NULL)
            free(m);
        wf_session_free(end->session);
        pki_tls_free(end->liar);
        wf_buf_fini(&end->heard);
        *end = (struct end){.talk = t};
    }
    t->meddle = NULL;
    t->answered = t->is_lost = false;
    t->offset[DIALER] = t->offset[HOST] = 0;
}

/* ---- delivery */

static void liar_input(struct end *end, const uint8_t *bytes, size_t len)
{
    uint8_t plain[16384];
    size_t got;
    wf_why why = {""};
    pki_tls_feed(end->liar, bytes, len);
    while (end->err == WEFT_OK) {
        weft_err err = pki_tls_read(end->liar, plain, sizeof plain, &got, &why);
        if (err != WEFT_OK) {
            end->err = err;
            memcpy(end->why, why.text, sizeof end->why);
            return;
        }
        if (got == 0)
            return;
        assert_int_equal(wf_buf_put(&end->heard, plain, got), WEFT_OK);
    }
}

static void deliver(struct talk *t, int from, struct message *m)
{
    struct end *to = &t->end[1 - from];
    if (m->is_ack) {
        if (to->session != NULL)
            wf_session_acked(to->session, &m->ack);
        return;
    }
    size_t len = m->len;
    uint64_t offset = t->offset[from];
    t->offset[from] += m->len;
    if (t->meddle != NULL && !t->meddle(t->meddle_arg, from, offset, m->bytes, &len))
        return;
    if (to->session == NULL) {
        if (to->liar != NULL)
            liar_input(to, m->bytes, len);
        return;
    }
    if (to->side == DIALER && !t->answered) {
        t->answered = true;
        if (wf_session_state(to->session) == WF_SESSION_FLIGHT)
            wf_session_answered(to->session, t->window, &t->instance);
    }
    /* As frames would bring it, in odd pieces. */
    size_t half = len / 3 + 1;
    if (len > half) {
        wf_session_input(to->session, m->bytes, half, t->a.now);
        wf_session_input(to->session, m->bytes + half, len - half, t->a.now);
    } else if (len > 0) {
        wf_session_input(to->session, m->bytes, len, t->a.now);
    }
}

static void lose(struct end *end)
{
    if (end->session != NULL)
        wf_session_lost(end->session, WEFT_OK, "the circuit is gone");
}

void talk_cut(struct talk *t)
{
    t->is_lost = true;
    lose(&t->end[DIALER]);
    lose(&t->end[HOST]);
}

void talk_settle(struct talk *t)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (int from = 0; from < 2; from++) {
            struct message *m = pop(&t->end[from]);
            if (m == NULL)
                continue;
            moved = true;
            deliver(t, from, m);
            free(m);
        }
    }
    /* An end that is over closes its circuit; what it sent before came first. */
    for (int i = 0; i < 2; i++)
        if (t->end[i].over > 0 && !t->is_lost)
            lose(&t->end[1 - i]);
}

void talk_start(struct talk *t)
{
    wf_why why = {""};
    struct end *dialer = &t->end[DIALER];
    if (dialer->session != NULL)
        assert_int_equal(wf_session_start(dialer->session, &why), WEFT_OK);
    else
        assert_int_equal(pki_tls_handshake(dialer->liar, &why), WEFT_OK);
    talk_settle(t);
}

void talk_meet(struct talk *t)
{
    talk_start(t);
    assert_int_equal(t->end[HOST].verified, 1);
    assert_int_equal(wf_session_accept(t->end[HOST].session), WEFT_OK);
    talk_settle(t);
    assert_int_equal(t->end[DIALER].opened, 1);
}

/* ---- liars */

void liar_say(struct end *end, const void *bytes, size_t len)
{
    wf_why why = {""};
    assert_non_null(end->liar);
    assert_int_equal(pki_tls_write(end->liar, bytes, len, &why), WEFT_OK);
}

void liar_item(struct end *end, enum wf_item_type type, const void *content, size_t len)
{
    uint8_t item[WF_ITEM_HEADER + 16380];
    assert_true(len <= sizeof item - WF_ITEM_HEADER);
    item[0] = (uint8_t)type;
    item[1] = 0;
    item[2] = (uint8_t)(len >> 8);
    item[3] = (uint8_t)len;
    if (len > 0)
        memcpy(item + WF_ITEM_HEADER, content, len);
    liar_say(end, item, WF_ITEM_HEADER + len);
}

void liar_hello(struct end *end, const struct wf_hello *hello)
{
    wf_buf item;
    wf_buf_init(&item, WF_ITEM_HEADER + WF_ITEM_CONTROL_MAX);
    assert_int_equal(wf_hello_put(hello, &item), WEFT_OK);
    liar_say(end, item.data, item.len);
    wf_buf_fini(&item);
}

/* ---- bytes */

void talk_write(struct talk *t, int side, const void *data, size_t len)
{
    const uint8_t *at = data;
    unsigned stuck = 0;
    while (len > 0) {
        size_t taken = 0;
        assert_int_equal(wf_session_write(t->end[side].session, at, len, &taken), WEFT_OK);
        at += taken;
        len -= taken;
        if (taken == 0) {
            talk_settle(t);
            assert_true(stuck++ < 2);
        } else {
            stuck = 0;
        }
    }
    talk_settle(t);
}

/* ---- for CMocka */

static struct talk *used; /* borrowed */

void talk_use(struct talk *t)
{
    used = t;
}

int open_world(void **state)
{
    (void)state;
    talk_world_open(used);
    return 0;
}

int close_world(void **state)
{
    (void)state;
    talk_world_close(used);
    return 0;
}

int close_talk(void **state)
{
    (void)state;
    talk_close(used);
    return 0;
}
