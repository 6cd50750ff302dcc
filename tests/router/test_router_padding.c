/* Endpoints that write more into a message than any version knows: fields that nobody reads must
 * not travel on, or the next message is larger than a link takes. */
#include "tests/router/fabric.h"
#include <stdlib.h>

struct pair {
    struct fabric f;
    struct station s[2];
    struct raw dialer, host;
};

static int pair_setup(void **state)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    for (int i = 0; i < 2; i++) {
        const char *const names[] = {"first", "last"};
        station_init(&p->s[i], &p->f, names[i]);
        station_start(&p->s[i]);
    }
    raw_init(&p->dialer, &p->f, "ci");
    raw_init(&p->host, &p->f, "web-host");
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    raw_fini(&p->dialer);
    raw_fini(&p->host);
    for (int i = 0; i < 2; i++)
        station_fini(&p->s[i]);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

/* One unknown field of so many bytes, its head of four aside. */
struct padding {
    ProtobufCMessageUnknownField field;
    uint8_t bytes[WF_CONTROL_MAX];
};

static void pad(ProtobufCMessage *message, struct padding *padding, size_t len)
{
    assert_in_range(len, 16384, sizeof padding->bytes - 3); /* a varint of three bytes */
    memset(padding, 0, sizeof *padding);
    padding->bytes[0] = (uint8_t)(len | 0x80);
    padding->bytes[1] = (uint8_t)(len >> 7 | 0x80);
    padding->bytes[2] = (uint8_t)(len >> 14);
    padding->field = (ProtobufCMessageUnknownField){
        .tag = 15, .wire_type = 2, .len = len + 3, .data = padding->bytes};
    message->n_unknown_fields = 1;
    message->unknown_fields = &padding->field;
}

static void unpad(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    message->unknown_fields = NULL;
}

static void a_dialers_padding_costs_no_link_between_routers(void **state)
{
    static struct padding padding;
    struct pair *p = *state;
    Weft__Wire__Signed *grant;

    stations_join(&p->s[0], &p->s[1]);
    raw_open(&p->host, &p->s[1]);
    raw_bind(&p->host, &p->s[1]);
    raw_open(&p->dialer, &p->s[0]);
    fabric_wait(&p->f, 5000, station_counters(&p->s[0])->remote_binds == 1);
    grant = authority_grant(&p->f.a, &p->dialer.node, &p->f.service, "web",
                            WEFT__WIRE__ROLE__ROLE_DIAL);
    pad(&grant->base, &padding, WF_CONTROL_MAX - 600);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 1, .grant = grant});
    unpad(&grant->base);
    wf_signed_free(grant);
    fabric_wait(&p->f, 5000, p->host.setup_count == 1 || p->dialer.reply_count == 1);
    fabric_run(&p->f, 30);
    assert_int_equal(station_counters(&p->s[0])->routers, 1);
    assert_int_equal(p->host.setup_count, 1);
}

static void a_hosts_padding_costs_no_link_of_its_dialers(void **state)
{
    static struct padding padding;
    struct pair *p = *state;
    Weft__Wire__SetupReply reply;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    size_t size;

    stations_join(&p->s[0], &p->s[1]);
    raw_open(&p->host, &p->s[1]);
    raw_bind(&p->host, &p->s[1]);
    raw_open(&p->dialer, &p->s[0]);
    fabric_wait(&p->f, 5000, station_counters(&p->s[0])->remote_binds == 1);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 1});
    fabric_wait(&p->f, 5000, p->host.setup_count == 1);
    weft__wire__setup_reply__init(&reply);
    reply.to = p->host.setups[0].label;
    reply.label = 1; /* one byte; the router's own, that it puts there, has up to five */
    reply.window = WF_WINDOW_MIN;
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
    control.setup_reply = &reply;
    pad(&reply.base, &padding, WF_CONTROL_MAX - 100);
    size = protobuf_c_message_get_packed_size(&control.base);
    pad(&reply.base, &padding, WF_CONTROL_MAX - 100 + WF_CONTROL_MAX - size);
    assert_int_equal(protobuf_c_message_get_packed_size(&control.base), WF_CONTROL_MAX);
    assert_int_equal(wf_link_send_control(p->host.link, &control), WEFT_OK);
    fabric_wait(&p->f, 5000, p->dialer.reply_count == 1);
    fabric_run(&p->f, 30);
    assert_int_equal(p->dialer.replies[0].code, 0);
    assert_int_equal(station_counters(&p->s[0])->routers, 1);
    assert_non_null(p->dialer.link);
}

static void padded_binds_keep_no_routers_apart(void **state)
{
    static struct padding padding;
    struct pair *p = *state;

    raw_open(&p->host, &p->s[0]);
    for (int i = 0; i < 3; i++) {
        wf_id instance = wf_id_random();
        Weft__Wire__Signed *bind =
            authority_bind(&p->f.a, &p->host.node, &p->f.service, &instance, &p->s[0].node.id);
        Weft__Wire__Signed *grant = authority_grant(&p->f.a, &p->host.node, &p->f.service, "web",
                                                    WEFT__WIRE__ROLE__ROLE_BIND);
        pad(&bind->base, &padding, 60000);
        assert_int_equal(raw_bind_with(&p->host, bind, grant), WEFT_OK);
        unpad(&bind->base);
        wf_signed_free(bind);
        wf_signed_free(grant);
    }
    stations_join(&p->s[0], &p->s[1]);
    fabric_wait(&p->f, 5000, station_counters(&p->s[1])->remote_binds == 3);
    fabric_run(&p->f, 30);
    assert_int_equal(station_counters(&p->s[1])->routers, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_dialers_padding_costs_no_link_between_routers, pair_setup,
                                        pair_teardown),
        cmocka_unit_test_setup_teardown(a_hosts_padding_costs_no_link_of_its_dialers, pair_setup,
                                        pair_teardown),
        cmocka_unit_test_setup_teardown(padded_binds_keep_no_routers_apart, pair_setup,
                                        pair_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
