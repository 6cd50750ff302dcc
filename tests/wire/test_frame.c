/* Frames: every type at every length that matters, from whole and from pieces. */
#include "proto/wire/frame.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

static uint8_t bytes[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX];

static size_t put(unsigned type, unsigned flags, uint32_t length, uint32_t label)
{
    bytes[0] = (uint8_t)(type << 4 | flags);
    bytes[1] = (uint8_t)(length >> 16);
    bytes[2] = (uint8_t)(length >> 8);
    bytes[3] = (uint8_t)length;
    bytes[4] = (uint8_t)(label >> 24);
    bytes[5] = (uint8_t)(label >> 16);
    bytes[6] = (uint8_t)(label >> 8);
    bytes[7] = (uint8_t)label;
    return WF_FRAME_HEADER + (size_t)length;
}

static weft_err judge(unsigned type, unsigned flags, uint32_t length, uint32_t label)
{
    struct wf_frame frame;
    size_t need = 99;
    put(type, flags, length, label);
    return wf_frame_decode(bytes, WF_FRAME_HEADER, &frame, &need, NULL);
}

static void a_header_is_laid_out_as_the_protocol_says(void **state)
{
    (void)state;
    uint8_t header[WF_FRAME_HEADER];
    wf_frame_put_header(header, WF_FRAME_DATA, 0, 0xa1b2c3d4, 0x00fedc);
    assert_memory_equal(header, ((uint8_t[]){0x20, 0x00, 0xfe, 0xdc, 0xa1, 0xb2, 0xc3, 0xd4}), 8);
    wf_frame_set_label(header, 0x01020304);
    assert_memory_equal(header, ((uint8_t[]){0x20, 0x00, 0xfe, 0xdc, 1, 2, 3, 4}), 8);
    wf_frame_put_header(header, WF_FRAME_PING, WF_FRAME_FLAG_REPLY, 0, 8);
    assert_memory_equal(header, ((uint8_t[]){0x51, 0, 0, 8, 0, 0, 0, 0}), 8);
    wf_frame_put_header(header, WF_FRAME_CONTROL, 0, 0, WF_CONTROL_MAX);
    assert_memory_equal(header, ((uint8_t[]){0x10, 1, 0, 0, 0, 0, 0, 0}), 8);
}

static void what_was_put_is_decoded(void **state)
{
    (void)state;
    struct wf_frame frame;
    size_t need = 99;
    wf_frame_put_header(bytes, WF_FRAME_DATA, 0, UINT32_MAX, WF_DATA_MAX);
    assert_int_equal(wf_frame_decode(bytes, sizeof bytes, &frame, &need, NULL), WEFT_OK);
    assert_int_equal(need, 0);
    assert_int_equal(frame.type, WF_FRAME_DATA);
    assert_int_equal(frame.flags, 0);
    assert_int_equal(frame.label, UINT32_MAX);
    assert_int_equal(frame.length, WF_DATA_MAX);
    assert_ptr_equal(frame.bytes, bytes);
}

static void a_frame_in_pieces_says_how_much_it_needs(void **state)
{
    (void)state;
    struct wf_frame frame = {.label = 77};
    size_t whole = put(WF_FRAME_DATA, 0, 100, 5);
    for (size_t len = 0; len < whole; len++) {
        size_t need = 99;
        /* A copy of just so many bytes: a sanitizer sees any look behind them. */
        uint8_t *some = malloc(len + 1);
        memcpy(some, bytes, len);
        some = realloc(some, len > 0 ? len : 1);
        assert_int_equal(wf_frame_decode(some, len, &frame, &need, NULL), WEFT_OK);
        assert_int_equal(need, len < WF_FRAME_HEADER ? WF_FRAME_HEADER : whole);
        assert_int_equal(frame.label, 77);
        free(some);
    }
    for (size_t len = whole; len <= whole + 1; len++) {
        size_t need = 99;
        assert_int_equal(wf_frame_decode(bytes, len, &frame, &need, NULL), WEFT_OK);
        assert_int_equal(need, 0);
    }
}

static void each_type_has_its_lengths(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        uint32_t min, max, label;
    } rows[] = {
        {WF_FRAME_CONTROL, 1, WF_CONTROL_MAX, 0},
        {WF_FRAME_DATA, 1, WF_FRAME_PAYLOAD_MAX, 1},
        {WF_FRAME_ACK, 16, 16, 1},
        {WF_FRAME_CLOSE, 2, 2, 1},
        {WF_FRAME_PING, 8, 8, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t min = rows[i].min, max = rows[i].max;
        const uint32_t lengths[] = {0,   1,       min - 1,        min,           max - 1,
                                    max, max + 1, (1u << 16) + 1, (1u << 24) - 1};
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            uint32_t length = lengths[k];
            assert_int_equal(judge(rows[i].type, 0, length, rows[i].label),
                             length >= min && length <= max ? WEFT_OK : WEFT_EPROTO);
        }
    }
}

static void an_unknown_type_is_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 16; type++)
        for (uint32_t label = 0; label < 2; label++)
            if (type < 1 || type > 5)
                assert_int_equal(judge(type, 0, 8, label), WEFT_EPROTO);
}

static void an_unknown_flag_is_refused(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 16; flags++) {
        weft_err none = flags == 0 ? WEFT_OK : WEFT_EPROTO;
        assert_int_equal(judge(WF_FRAME_CONTROL, flags, 8, 0), none);
        assert_int_equal(judge(WF_FRAME_DATA, flags, 8, 1), none);
        assert_int_equal(judge(WF_FRAME_ACK, flags, 16, 1), none);
        assert_int_equal(judge(WF_FRAME_CLOSE, flags, 2, 1), none);
        assert_int_equal(judge(WF_FRAME_PING, flags, 8, 0), flags <= 1 ? WEFT_OK : WEFT_EPROTO);
    }
}

static void a_label_stands_on_circuit_frames_and_on_no_other(void **state)
{
    (void)state;
    static const uint32_t labels[] = {0, 1, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        uint32_t label = labels[i];
        weft_err with = label != 0 ? WEFT_OK : WEFT_EPROTO;
        weft_err without = label == 0 ? WEFT_OK : WEFT_EPROTO;
        assert_int_equal(judge(WF_FRAME_CONTROL, 0, 8, label), without);
        assert_int_equal(judge(WF_FRAME_PING, 0, 8, label), without);
        assert_int_equal(judge(WF_FRAME_DATA, 0, 8, label), with);
        assert_int_equal(judge(WF_FRAME_ACK, 0, 16, label), with);
        assert_int_equal(judge(WF_FRAME_CLOSE, 0, 2, label), with);
    }
}

static void a_refusal_touches_no_result_and_says_why(void **state)
{
    (void)state;
    struct wf_frame frame = {.label = 77};
    size_t need = 99;
    wf_why why = {.text = ""};
    put(9, 0, 8, 0);
    assert_int_equal(wf_frame_decode(bytes, sizeof bytes, &frame, &need, &why), WEFT_EPROTO);
    assert_int_equal(frame.label, 77);
    assert_int_equal(need, 99);
    assert_string_equal(why.text, "frame of unknown type 9");
}

static void acks_go_out_and_come_back(void **state)
{
    (void)state;
    uint8_t wire[WF_ACK_LEN];
    struct wf_ack out;
    wf_ack_encode(&(struct wf_ack){.received = 0x0102030405060708u, .credit = UINT64_MAX}, wire);
    assert_memory_equal(
        wire, ((uint8_t[]){1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255, 255, 255}), 16);
    assert_true(wf_ack_decode(wire, 16, &out));
    assert_int_equal(out.received, 0x0102030405060708u);
    assert_int_equal(out.credit, UINT64_MAX);
}

static void an_ack_of_a_wrong_size_or_with_credit_below_is_refused(void **state)
{
    (void)state;
    uint8_t wire[17] = {0};
    struct wf_ack out = {.received = 5, .credit = 6};
    assert_true(wf_ack_decode(wire, 16, &(struct wf_ack){0}));
    assert_false(wf_ack_decode(wire, 15, &out));
    assert_false(wf_ack_decode(wire, 17, &out));
    assert_false(wf_ack_decode(NULL, 0, &out));
    wire[7] = 1;
    assert_false(wf_ack_decode(wire, 16, &out));
    assert_int_equal(out.received, 5);
    wire[15] = 1;
    assert_true(wf_ack_decode(wire, 16, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_laid_out_as_the_protocol_says),
        cmocka_unit_test(what_was_put_is_decoded),
        cmocka_unit_test(a_frame_in_pieces_says_how_much_it_needs),
        cmocka_unit_test(each_type_has_its_lengths),
        cmocka_unit_test(an_unknown_type_is_refused),
        cmocka_unit_test(an_unknown_flag_is_refused),
        cmocka_unit_test(a_label_stands_on_circuit_frames_and_on_no_other),
        cmocka_unit_test(a_refusal_touches_no_result_and_says_why),
        cmocka_unit_test(acks_go_out_and_come_back),
        cmocka_unit_test(an_ack_of_a_wrong_size_or_with_credit_below_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
