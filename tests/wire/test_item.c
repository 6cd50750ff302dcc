/* Items: the same events however the plaintext is cut, and no memory before a bound. */
#include "proto/wire/item.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What came out, as text: neighbouring pieces of DATA are one run. */
struct seen {
    wf_buf text;
    int last_type;
    int answer_at; /* the event that answers with an error; 0: none */
    int events;
};

static weft_err note(void *arg, enum wf_item_type type, wf_span data)
{
    struct seen *seen = arg;
    if (++seen->events == seen->answer_at)
        return WEFT_ECREDENTIAL;
    assert_false(type == WF_ITEM_DATA && data.len == 0);
    if (type != WF_ITEM_DATA || seen->last_type != WF_ITEM_DATA)
        assert_int_equal(wf_buf_printf(&seen->text, " %d:", (int)type), WEFT_OK);
    assert_int_equal(wf_buf_put(&seen->text, data.data, data.len), WEFT_OK);
    seen->last_type = (int)type;
    return WEFT_OK;
}

static void start(struct wf_item_parser *p, struct seen *seen)
{
    wf_item_parser_init(p);
    *seen = (struct seen){.last_type = 0};
    wf_buf_init(&seen->text, 1u << 20);
}

static void stop(struct wf_item_parser *p, struct seen *seen)
{
    wf_item_parser_fini(p);
    wf_buf_fini(&seen->text);
}

static void put(wf_buf *wire, unsigned type, const char *content)
{
    assert_int_equal(wf_buf_put_u8(wire, (uint8_t)type), WEFT_OK);
    assert_int_equal(wf_buf_put_u24(wire, (uint32_t)strlen(content)), WEFT_OK);
    assert_int_equal(wf_buf_put_text(wire, content), WEFT_OK);
}

static void conversation(wf_buf *wire)
{
    wf_buf_init(wire, 1000);
    put(wire, WF_ITEM_HELLO, "hello");
    put(wire, WF_ITEM_ACCEPT, "");
    put(wire, WF_ITEM_DATA, "abc");
    put(wire, WF_ITEM_DATA, "d");
    put(wire, WF_ITEM_GRANT, "g");
    put(wire, WF_ITEM_DATAGRAM, "");
    put(wire, WF_ITEM_DATAGRAM, "datagram");
    put(wire, WF_ITEM_DATA, "e");
    put(wire, WF_ITEM_END, "");
    put(wire, WF_ITEM_RESET, "why");
    put(wire, WF_ITEM_REFUSE, "no");
}

static const char expected[] = " 1:hello 2: 4:abcd 7:g 5: 5:datagram 4:e 6: 8:why 3:no";

static void the_events_are_the_same_however_it_is_cut(void **state)
{
    (void)state;
    wf_buf wire;
    conversation(&wire);
    for (size_t piece = 1; piece <= wire.len; piece++) {
        struct wf_item_parser p;
        struct seen seen;
        start(&p, &seen);
        for (size_t at = 0; at < wire.len; at += piece) {
            size_t n = wire.len - at < piece ? wire.len - at : piece;
            uint8_t *copy = malloc(n); /* its own memory: a sanitizer sees any kept pointer */
            memcpy(copy, wire.data + at, n);
            assert_int_equal(wf_item_parser_feed(&p, copy, n, note, &seen, NULL), WEFT_OK);
            free(copy);
        }
        assert_string_equal(wf_buf_cstr(&seen.text), expected);
        stop(&p, &seen);
    }
    wf_buf_fini(&wire);
}

static void two_cuts_anywhere_change_nothing(void **state)
{
    (void)state;
    wf_buf wire;
    conversation(&wire);
    for (size_t a = 0; a <= wire.len; a++) {
        for (size_t b = a; b <= wire.len; b++) {
            struct wf_item_parser p;
            struct seen seen;
            start(&p, &seen);
            const size_t ends[] = {a, b, wire.len};
            size_t at = 0;
            for (int i = 0; i < 3; i++) {
                assert_int_equal(
                    wf_item_parser_feed(&p, wire.data + at, ends[i] - at, note, &seen, NULL),
                    WEFT_OK);
                at = ends[i];
            }
            assert_string_equal(wf_buf_cstr(&seen.text), expected);
            stop(&p, &seen);
        }
    }
    wf_buf_fini(&wire);
}

static void an_item_is_handed_on_with_its_last_byte(void **state)
{
    (void)state;
    wf_buf wire;
    struct wf_item_parser p;
    struct seen seen;
    wf_buf_init(&wire, 100);
    put(&wire, WF_ITEM_GRANT, "g");
    put(&wire, WF_ITEM_END, ""); /* nothing may follow it for a long time */
    start(&p, &seen);
    static const int events[] = {0, 0, 0, 0, 1, 1, 1, 1, 2};
    for (size_t i = 0; i < wire.len; i++) {
        assert_int_equal(wf_item_parser_feed(&p, wire.data + i, 1, note, &seen, NULL), WEFT_OK);
        assert_int_equal(seen.events, events[i]);
    }
    wf_buf_fini(&wire);
    stop(&p, &seen);
}

/* Feeds the header alone. */
static weft_err judge(unsigned type, uint32_t length)
{
    struct wf_item_parser p;
    struct seen seen;
    uint8_t header[4] = {(uint8_t)type, (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                         (uint8_t)length};
    start(&p, &seen);
    weft_err err = wf_item_parser_feed(&p, header, 4, note, &seen, NULL);
    assert_null(p.whole.data);
    stop(&p, &seen);
    return err;
}

static void each_type_has_its_lengths_and_they_are_judged_by_the_header(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        uint32_t min, max;
    } rows[] = {
        {WF_ITEM_HELLO, 1, WF_ITEM_CONTROL_MAX},  {WF_ITEM_ACCEPT, 0, 0},
        {WF_ITEM_REFUSE, 1, WF_ITEM_CONTROL_MAX}, {WF_ITEM_DATA, 1, (1u << 24) - 1},
        {WF_ITEM_DATAGRAM, 0, WF_DATAGRAM_MAX},   {WF_ITEM_END, 0, 0},
        {WF_ITEM_GRANT, 1, WF_ITEM_CONTROL_MAX},  {WF_ITEM_RESET, 1, WF_ITEM_CONTROL_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t lengths[] = {
            0, 1, rows[i].max - 1, rows[i].max, rows[i].max + 1, (1u << 24) - 1};
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            uint32_t length = lengths[k];
            if (length > (1u << 24) - 1)
                continue; /* can't be written */
            assert_int_equal(judge(rows[i].type, length),
                             length >= rows[i].min && length <= rows[i].max ? WEFT_OK
                                                                            : WEFT_EPROTO);
        }
    }
}

static void an_unknown_type_is_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++)
        if (type < 1 || type > 8)
            assert_int_equal(judge(type, 0), WEFT_EPROTO);
}

static void the_largest_data_is_handed_on_without_being_kept(void **state)
{
    (void)state;
    struct wf_item_parser p;
    struct seen seen;
    start(&p, &seen);
    wf_buf_fini(&seen.text);
    wf_buf_init(&seen.text, 1u << 25);
    static uint8_t lot[65536];
    uint8_t header[WF_ITEM_HEADER];
    uint32_t left = (1u << 24) - 1;
    wf_item_put_header(header, WF_ITEM_DATA, left);
    assert_int_equal(wf_item_parser_feed(&p, header, 4, note, &seen, NULL), WEFT_OK);
    while (left > 0) {
        size_t n = left < sizeof lot ? left : sizeof lot;
        assert_int_equal(wf_item_parser_feed(&p, lot, n, note, &seen, NULL), WEFT_OK);
        assert_null(p.whole.data);
        left -= (uint32_t)n;
    }
    assert_int_equal(seen.text.len, 3 + (1u << 24) - 1);
    assert_int_equal(p.header_len, 0);
    stop(&p, &seen);
}

static void a_whole_item_in_one_piece_takes_no_memory(void **state)
{
    (void)state;
    struct wf_item_parser p;
    struct seen seen;
    static uint8_t wire[WF_ITEM_HEADER + WF_DATAGRAM_MAX];
    wf_item_put_header(wire, WF_ITEM_DATAGRAM, WF_DATAGRAM_MAX);
    start(&p, &seen);
    assert_int_equal(wf_buf_reserve(&seen.text, 1u << 17), WEFT_OK);
    alloc_fail_at(0);
    assert_int_equal(wf_item_parser_feed(&p, wire, sizeof wire, note, &seen, NULL), WEFT_OK);
    assert_int_equal(alloc_bytes(), 0);
    assert_int_equal(seen.text.len, 3 + WF_DATAGRAM_MAX);
    stop(&p, &seen);
}

static void memory_grows_with_what_arrived_not_with_what_was_announced(void **state)
{
    (void)state;
    struct wf_item_parser p;
    struct seen seen;
    uint8_t wire[WF_ITEM_HEADER + 1];
    wf_item_put_header(wire, WF_ITEM_DATAGRAM, WF_DATAGRAM_MAX);
    wire[4] = 'x';
    start(&p, &seen);
    alloc_fail_at(0);
    assert_int_equal(wf_item_parser_feed(&p, wire, sizeof wire, note, &seen, NULL), WEFT_OK);
    assert_in_range(alloc_bytes(), 1, 64);
    stop(&p, &seen);
}

static void an_assembled_item_frees_its_memory(void **state)
{
    (void)state;
    struct wf_item_parser p;
    struct seen seen;
    wf_buf wire;
    start(&p, &seen);
    wf_buf_init(&wire, 100);
    put(&wire, WF_ITEM_HELLO, "hello");
    assert_int_equal(wf_item_parser_feed(&p, wire.data, 6, note, &seen, NULL), WEFT_OK);
    assert_non_null(p.whole.data);
    assert_int_equal(wf_item_parser_feed(&p, wire.data + 6, 3, note, &seen, NULL), WEFT_OK);
    assert_null(p.whole.data);
    wf_buf_fini(&wire);
    stop(&p, &seen);
}

static void an_answer_stops_the_parser_for_good(void **state)
{
    (void)state;
    wf_buf wire;
    conversation(&wire);
    for (int at = 1; at <= 11; at++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct wf_item_parser p;
            struct seen seen;
            start(&p, &seen);
            seen.answer_at = at;
            weft_err err = WEFT_OK;
            size_t piece = bytewise ? 1 : wire.len;
            for (size_t i = 0; i < wire.len && err == WEFT_OK; i += piece)
                err = wf_item_parser_feed(&p, wire.data + i, piece, note, &seen, NULL);
            assert_int_equal(err, WEFT_ECREDENTIAL);
            assert_int_equal(seen.events, at);
            assert_int_equal(wf_item_parser_feed(&p, wire.data, wire.len, note, &seen, NULL),
                             WEFT_ECREDENTIAL);
            assert_int_equal(wf_item_parser_feed(&p, NULL, 0, note, &seen, NULL), WEFT_ECREDENTIAL);
            assert_int_equal(seen.events, at);
            assert_null(p.whole.data);
            stop(&p, &seen);
        }
    }
    wf_buf_fini(&wire);
}

static void nothing_behind_a_bad_item_is_delivered(void **state)
{
    (void)state;
    wf_buf wire;
    struct wf_item_parser p;
    struct seen seen;
    wf_why why = {.text = ""};
    wf_buf_init(&wire, 100);
    put(&wire, WF_ITEM_DATA, "good");
    put(&wire, 9, "bad");
    put(&wire, WF_ITEM_DATA, "behind");
    start(&p, &seen);
    assert_int_equal(wf_item_parser_feed(&p, wire.data, wire.len, note, &seen, &why), WEFT_EPROTO);
    assert_string_equal(why.text, "item of unknown type 9");
    assert_string_equal(wf_buf_cstr(&seen.text), " 4:good");
    assert_int_equal(wf_item_parser_feed(&p, wire.data, wire.len, note, &seen, &why), WEFT_EPROTO);
    assert_string_equal(wf_buf_cstr(&seen.text), " 4:good");
    stop(&p, &seen);
    wf_buf_fini(&wire);
}

static void without_memory_it_stops(void **state)
{
    (void)state;
    wf_buf wire;
    struct wf_item_parser p;
    struct seen seen;
    wf_buf_init(&wire, 1000);
    put(&wire, WF_ITEM_HELLO, "a hello of some length");
    start(&p, &seen);
    alloc_fail_at(1);
    assert_int_equal(wf_item_parser_feed(&p, wire.data, 8, note, &seen, NULL), WEFT_ENOMEM);
    alloc_fail_at(0);
    assert_int_equal(wf_item_parser_feed(&p, wire.data + 8, 1, note, &seen, NULL), WEFT_ENOMEM);
    assert_int_equal(seen.events, 0);
    stop(&p, &seen);
    wf_buf_fini(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_events_are_the_same_however_it_is_cut),
        cmocka_unit_test(two_cuts_anywhere_change_nothing),
        cmocka_unit_test(an_item_is_handed_on_with_its_last_byte),
        cmocka_unit_test(each_type_has_its_lengths_and_they_are_judged_by_the_header),
        cmocka_unit_test(an_unknown_type_is_refused),
        cmocka_unit_test(the_largest_data_is_handed_on_without_being_kept),
        cmocka_unit_test(a_whole_item_in_one_piece_takes_no_memory),
        cmocka_unit_test(memory_grows_with_what_arrived_not_with_what_was_announced),
        cmocka_unit_test(an_assembled_item_frees_its_memory),
        cmocka_unit_test(an_answer_stops_the_parser_for_good),
        cmocka_unit_test(nothing_behind_a_bad_item_is_delivered),
        cmocka_unit_test(without_memory_it_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
