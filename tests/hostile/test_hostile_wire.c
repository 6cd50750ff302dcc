/*
 * A router that tampers with what it carries. Whatever it does, nothing that
 * was not said is heard, nothing after the tampered byte is delivered, and
 * nobody sees a clean end that the other side did not send.
 */
#include "proto/wire/frame.h"
#include "tests/hostile/stage.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct stage stage;

/* What the bad router does, and what it has seen go by towards its victim. */
static struct plan {
    const struct authority_node *victim; /* the side whose input is tampered with */
    uint64_t at;                         /* offset in the stream towards it */
    uint8_t flip;                        /* bits to turn there */
    uint64_t seen;                       /* bytes of the stream so far */
    uint64_t in_frame;                   /* the offset within its frame */
    size_t before;   /* bytes of data in whole records before the tampered one */
    size_t data_end; /* what went by of the conversation's own data */
    bool done;
    unsigned number; /* of a DATA frame towards the victim, from 0 */
    unsigned frames;
    uint8_t kept[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX];
    size_t kept_len;
    weft_err code;
    uint8_t bytes[WF_SETUP_BYTES_MAX]; /* a copy of first bytes */
    wf_id id;
} plan;

static const struct side *victim_side(void)
{
    return plan.victim == &stage.host_node ? &stage.host : &stage.dialer;
}

static void begin(const struct authority_node *victim)
{
    memset(&bad, 0, sizeof bad);
    memset(&plan, 0, sizeof plan);
    plan.victim = victim;
}

static bool is_exhaustive(void)
{
    return getenv("WEFT_FULL") != NULL;
}

/*
 * Data in a frame that an honest sender made: a full record, or the last one
 * of what it had to say. All else is handshake, END or smaller items.
 */
static size_t data_in(size_t payload, size_t said)
{
    const size_t cost = WF_ITEM_HEADER + WF_TLS_OVERHEAD;
    if (payload == WF_E2E_RECORD || payload == said % WF_ITEM_DATA_FULL + cost)
        return payload - cost;
    return 0;
}

static size_t to_say(void)
{
    return plan.victim == &stage.host_node ? stage.dialer.to_say : stage.host.to_say;
}

/* ---- flipping */

static void flip_within(uint8_t *data, size_t len)
{
    if (!plan.done && plan.at >= plan.seen && plan.at - plan.seen < len) {
        data[plan.at - plan.seen] ^= plan.flip;
        plan.done = true;
        plan.before = plan.data_end;
        plan.in_frame = plan.at - plan.seen;
    }
    plan.seen += len;
    plan.data_end += data_in(len, to_say());
}

static void flip_first(ProtobufCBinaryData *first)
{
    assert_true(first->len <= sizeof plan.bytes);
    memcpy(plan.bytes, first->data, first->len);
    first->data = plan.bytes;
    flip_within(plan.bytes, first->len);
}

static bool flip_control(void *arg, wf_link *to, Weft__Wire__Control *m)
{
    static Weft__Wire__Setup setup;
    static Weft__Wire__SetupReply reply;
    (void)arg;
    if (!stage_is(to, plan.victim))
        return false;
    if (m->of_case == WEFT__WIRE__CONTROL__OF_SETUP) {
        setup = *m->setup;
        flip_first(&setup.first);
        m->setup = &setup;
    } else if (m->of_case == WEFT__WIRE__CONTROL__OF_SETUP_REPLY) {
        reply = *m->setup_reply;
        flip_first(&reply.first);
        m->setup_reply = &reply;
    }
    return false;
}

static bool flip_frame(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg;
    if (stage_is(to, plan.victim))
        flip_within(bytes + WF_FRAME_HEADER, len - WF_FRAME_HEADER);
    return false;
}

/* Flips each byte towards a victim in turn (sampled unless exhaustive); returns their number. */
static uint64_t flip_all(const struct authority_node *victim)
{
    uint64_t length, tried = 0;
    begin(victim);
    plan.at = UINT64_MAX;
    bad.control = flip_control;
    bad.frame = flip_frame;
    stage_talk(&stage, 300, 300, 5000);
    stage_assert_whole(&stage);
    length = plan.seen;
    uint64_t stride = is_exhaustive() ? 1 : 13;
    for (uint64_t at = 0; at < length; at += at < 16 ? 1 : stride, tried++) {
        begin(victim);
        plan.at = at;
        plan.flip = (uint8_t)(1u << (at % 8));
        bad.control = flip_control;
        bad.frame = flip_frame;
        stage_talk(&stage, 300, 300, 1500);
        if (!plan.done)
            continue; /* signatures vary in length: the stream was shorter this time */
        stage_assert_no_gain(&stage);
        const struct side *side = victim_side();
        if (side->closed && side->err == WEFT_OK)
            fail_msg("byte %llu of %llu: closed cleanly", (unsigned long long)at,
                     (unsigned long long)length);
        if (side->heard > plan.before)
            fail_msg("byte %llu: %zu bytes delivered after it", (unsigned long long)at,
                     side->heard - plan.before);
        /* A record whose length grew waits for bytes: that is the router's power to drop. */
        bool waits = !side->opened || plan.in_frame == 3 || plan.in_frame == 4;
        if (side->closed && side->err == WEFT_ECANCELED && (!waits || side->ended))
            fail_msg("byte %llu: unnoticed until given up", (unsigned long long)at);
    }
    print_message("%llu of %llu bytes flipped\n", (unsigned long long)tried,
                  (unsigned long long)length);
    return length;
}

static void each_byte_flipped_towards_the_host_is_noticed(void **state)
{
    (void)state;
    assert_true(flip_all(&stage.host_node) > 1500);
}

static void each_byte_flipped_towards_the_dialer_is_noticed(void **state)
{
    (void)state;
    assert_true(flip_all(&stage.dialer_node) > 1500);
}

/* ---- whole frames: dropped, repeated, exchanged, cut short, crossed */

enum trick { DROP, REPEAT, EXCHANGE, SHORTEN, INVENT, CROSS };
static enum trick trick;

static bool trick_frame(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg;
    if (!stage_is(to, plan.victim))
        return false;
    unsigned n = plan.frames++;
    if (n < plan.number)
        plan.data_end += data_in(len - WF_FRAME_HEADER, to_say());
    if (trick == EXCHANGE && n == plan.number + 1 && plan.kept_len != 0) {
        (void)wf_link_send_frame(to, bytes, len);
        (void)wf_link_send_frame(to, plan.kept, plan.kept_len);
        plan.done = true;
        return true;
    }
    if (n != plan.number)
        return false;
    plan.before = plan.data_end;
    switch (trick) {
    case DROP:
        plan.done = true;
        return true;
    case REPEAT:
        (void)wf_link_send_frame(to, bytes, len);
        plan.done = true;
        return false;
    case EXCHANGE:
        memcpy(plan.kept, bytes, len);
        plan.kept_len = len;
        return true;
    case SHORTEN: {
        uint32_t label = (uint32_t)bytes[4] << 24 | (uint32_t)bytes[5] << 16 |
                         (uint32_t)bytes[6] << 8 | bytes[7];
        uint32_t less = (uint32_t)(len - WF_FRAME_HEADER) / 2;
        if (less == 0)
            return false;
        wf_frame_put_header(bytes, WF_FRAME_DATA, 0, label, less);
        (void)wf_link_send_frame(to, bytes, WF_FRAME_HEADER + less);
        plan.done = true;
        return true;
    }
    case INVENT: { /* a record of its own making, as an ACCEPT or anything else would have to be */
        uint8_t forged[WF_FRAME_HEADER + 64] = {0};
        memcpy(forged, bytes, WF_FRAME_HEADER);
        forged[1] = 0, forged[2] = 0, forged[3] = 64;
        memcpy(forged + WF_FRAME_HEADER, "\x17\x03\x03\x00\x3b", 5);
        (void)wf_link_send_frame(to, forged, sizeof forged);
        plan.done = true;
        return false;
    }
    case CROSS:
        if (plan.kept_len == len) { /* the payload of an earlier conversation, under this label */
            memcpy(bytes + WF_FRAME_HEADER, plan.kept + WF_FRAME_HEADER, len - WF_FRAME_HEADER);
            plan.done = true;
        }
        return false;
    }
    return false;
}

static void try_trick(enum trick what, const struct authority_node *victim, unsigned number)
{
    struct plan before;
    trick = what;
    begin(victim);
    plan.number = number;
    if (what == CROSS) {
        trick = EXCHANGE; /* keeps the frame and never gives it back */
        plan.number = number;
        bad.frame = trick_frame;
        stage_talk(&stage, 100000, 100000, 300);
        before = plan;
        begin(victim);
        plan.number = number;
        memcpy(plan.kept, before.kept, sizeof plan.kept);
        plan.kept_len = before.kept_len;
        trick = CROSS;
    }
    bad.frame = trick_frame;
    stage_talk(&stage, 100000, 100000, 1000);
    stage_assert_no_gain(&stage);
    if (!plan.done)
        return;
    const struct side *side = victim_side();
    if (side->opened && (!side->closed || side->err == WEFT_OK))
        fail_msg("trick %d on frame %u went unpunished", what, number);
    /* a repeated frame is the first one's honest self; of all others nothing may be heard */
    size_t honest = plan.before + (what == REPEAT ? WF_ITEM_DATA_FULL : 0);
    if (side->heard > honest)
        fail_msg("trick %d on frame %u: %zu bytes delivered after it", what, number,
                 side->heard - honest);
}

static void
frames_dropped_repeated_exchanged_shortened_invented_or_crossed_are_noticed(void **state)
{
    (void)state;
    const struct authority_node *victims[] = {&stage.host_node, &stage.dialer_node};
    for (enum trick t = DROP; t <= CROSS; t++)
        for (unsigned v = 0; v < 2; v++)
            for (unsigned number = 0; number < (is_exhaustive() ? 9 : 4); number++)
                try_trick(t, victims[v], number);
}

/* ---- ends */

static bool end_early(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg, (void)len;
    if (!stage_is(to, plan.victim) || plan.frames++ != plan.number)
        return false;
    uint32_t label =
        (uint32_t)bytes[4] << 24 | (uint32_t)bytes[5] << 16 | (uint32_t)bytes[6] << 8 | bytes[7];
    (void)wf_link_send_close(to, label, plan.code);
    plan.done = true;
    return true;
}

static void an_end_that_the_router_made_up_is_a_loss_with_every_code(void **state)
{
    (void)state;
    const struct authority_node *victims[] = {&stage.host_node, &stage.dialer_node};
    for (unsigned v = 0; v < 2; v++) {
        for (int code = 0; code <= WEFT_EEOF; code += is_exhaustive() ? 1 : 3) {
            begin(victims[v]);
            plan.number = 3;
            plan.code = (weft_err)code;
            bad.frame = end_early;
            stage_talk(&stage, 100000, 100000, 1000);
            assert_true(plan.done);
            stage_assert_no_gain(&stage);
            assert_true(victim_side()->closed);
            assert_int_equal(victim_side()->err, WEFT_ELOST);
            assert_false(victim_side()->ended);
        }
    }
}

static bool cut_link(void *arg, wf_link *to, uint8_t *bytes, size_t len)
{
    (void)arg, (void)bytes, (void)len;
    if (!stage_is(to, plan.victim) || plan.frames++ != plan.number)
        return false;
    plan.done = true;
    wf_link_cut(to, WEFT_ELOST, "pulled the plug");
    return true;
}

static void a_link_cut_before_the_end_is_a_loss(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    plan.number = 3;
    bad.frame = cut_link;
    stage_talk(&stage, 100000, 100000, 2000);
    assert_true(plan.done);
    stage_assert_no_gain(&stage);
    assert_int_equal(stage.dialer.err, WEFT_ELOST);
    assert_int_equal(stage.host.err, WEFT_ELOST);
}

static void close_frames_kept_back_never_make_an_end_of_their_own(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    stage_talk(&stage, 1000, 1000, 5000);
    stage_assert_whole(&stage);
}

/* ---- acknowledgements and credit */

static bool forge_ack(void *arg, wf_link *to, uint32_t label, struct wf_ack *ack)
{
    (void)arg, (void)label;
    if (!stage_is(to, plan.victim))
        return false;
    if (plan.number == 1)
        ack->received = ack->credit; /* more than was sent, and no credit that was not given */
    else
        ack->credit = UINT64_MAX;
    plan.done = true;
    return false;
}

static void an_acknowledgement_of_what_was_never_sent_ends_the_session(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    plan.number = 1;
    bad.ack = forge_ack;
    stage_talk(&stage, 400000, 10, 5000);
    assert_true(plan.done);
    stage_assert_no_gain(&stage);
    assert_true(stage.dialer.closed);
    assert_int_not_equal(stage.dialer.err, WEFT_OK);
    assert_int_not_equal(stage.dialer.err, WEFT_ECANCELED);
}

static void credit_without_bound_makes_nobody_hold_more_than_a_window(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    bad.ack = forge_ack;
    stage_talk(&stage, TALK_MAX * 4, 10, 5000);
    assert_true(plan.done);
    stage_assert_no_gain(
        &stage); /* too much was sent, or not: never more than was granted is heard */
}

/* ---- the outer dial */

static bool change_setup(void *arg, wf_link *to, Weft__Wire__Control *m)
{
    static Weft__Wire__Setup setup;
    (void)arg;
    if (m->of_case != WEFT__WIRE__CONTROL__OF_SETUP || !stage_is(to, &stage.host_node))
        return false;
    setup = *m->setup;
    if (plan.number == 0) {
        setup.service_id = wf_pb_id(&stage.other); /* the right host, another service */
    } else if (plan.number == 1) {
        plan.id = wf_id_random();
        setup.session = wf_pb_id(&plan.id);
    }
    m->setup = &setup;
    plan.done = true;
    return false;
}

static bool change_instance(void *arg, wf_link *to, Weft__Wire__Control *m)
{
    static Weft__Wire__SetupReply reply;
    (void)arg;
    if (m->of_case != WEFT__WIRE__CONTROL__OF_SETUP_REPLY || !stage_is(to, &stage.dialer_node))
        return false;
    reply = *m->setup_reply;
    plan.id = wf_id_random();
    reply.instance = wf_pb_id(&plan.id);
    m->setup_reply = &reply;
    plan.done = true;
    return false;
}

static void a_dial_steered_to_another_service_of_the_right_host_is_refused(void **state)
{
    (void)state;
    begin(&stage.host_node);
    bad.control = change_setup;
    unsigned incoming = stage.incoming;
    stage_talk(&stage, 1000, 1000, 2000);
    assert_true(plan.done);
    stage_assert_no_gain(&stage);
    assert_false(stage.dialer.opened);
    assert_int_not_equal(stage.dialer.err, WEFT_OK);
    assert_int_equal(stage.incoming, incoming);
}

static void a_dial_under_another_session_id_is_refused(void **state)
{
    (void)state;
    begin(&stage.host_node);
    plan.number = 1;
    bad.control = change_setup;
    unsigned incoming = stage.incoming;
    stage_talk(&stage, 1000, 1000, 2000);
    assert_true(plan.done);
    assert_false(stage.dialer.opened);
    assert_int_not_equal(stage.dialer.err, WEFT_OK);
    assert_int_equal(stage.incoming, incoming);
}

static void an_instance_that_the_router_made_up_is_refused(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    bad.control = change_instance;
    unsigned incoming = stage.incoming;
    stage_talk(&stage, 1000, 1000, 2000);
    assert_true(plan.done);
    assert_false(stage.dialer.opened);
    assert_int_not_equal(stage.dialer.err, WEFT_OK);
    assert_int_equal(stage.incoming, incoming);
}

static void an_honest_router_carries_a_whole_conversation(void **state)
{
    (void)state;
    begin(&stage.dialer_node);
    stage_talk(&stage, TALK_MAX, TALK_MAX, 10000);
    stage_assert_whole(&stage);
}

static int open_stage(void **state)
{
    (void)state;
    stage_open(&stage);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_router_carries_a_whole_conversation),
        cmocka_unit_test(each_byte_flipped_towards_the_host_is_noticed),
        cmocka_unit_test(each_byte_flipped_towards_the_dialer_is_noticed),
        cmocka_unit_test(
            frames_dropped_repeated_exchanged_shortened_invented_or_crossed_are_noticed),
        cmocka_unit_test(an_end_that_the_router_made_up_is_a_loss_with_every_code),
        cmocka_unit_test(a_link_cut_before_the_end_is_a_loss),
        cmocka_unit_test(close_frames_kept_back_never_make_an_end_of_their_own),
        cmocka_unit_test(an_acknowledgement_of_what_was_never_sent_ends_the_session),
        cmocka_unit_test(credit_without_bound_makes_nobody_hold_more_than_a_window),
        cmocka_unit_test(a_dial_steered_to_another_service_of_the_right_host_is_refused),
        cmocka_unit_test(a_dial_under_another_session_id_is_refused),
        cmocka_unit_test(an_instance_that_the_router_made_up_is_refused),
        cmocka_unit_test(an_honest_router_carries_a_whole_conversation),
    };
    srand((unsigned)wf_now_wall_ms());
    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
