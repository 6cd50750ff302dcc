/* The bounded reader: all or nothing, and the first failure sticks. */
#include "proto/base/reader.h"
#include "tests/helpers/test.h"
#include <string.h>

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};

static void numbers_are_big_endian(void **state)
{
    (void)state;
    wf_reader r;
    uint8_t a = 0;
    uint16_t b = 0;
    uint32_t c = 0, d = 0;
    uint64_t e = 0;
    wf_reader_init(&r, bytes, sizeof bytes);
    assert_true(wf_get_u8(&r, &a) && wf_get_u16(&r, &b) && wf_get_u24(&r, &c) &&
                wf_get_u32(&r, &d) && wf_get_u64(&r, &e));
    assert_int_equal(a, 0x01);
    assert_int_equal(b, 0x0203);
    assert_int_equal(c, 0x040506);
    assert_int_equal(d, 0x0708090a);
    assert_int_equal(e, 0x0b0c0d0e0f101112u);
    assert_true(wf_reader_end(&r));
}

static void a_number_cut_short_leaves_its_target_alone(void **state)
{
    (void)state;
    for (size_t len = 0; len < 8; len++) {
        wf_reader r;
        uint64_t v = 42;
        wf_reader_init(&r, bytes, len);
        assert_false(wf_get_u64(&r, &v));
        assert_int_equal(v, 42);
        uint32_t w = 42;
        wf_reader_init(&r, bytes, len < 4 ? len : 3);
        assert_false(wf_get_u32(&r, &w));
        assert_int_equal(w, 42);
        wf_reader_init(&r, bytes, len < 3 ? len : 2);
        assert_false(wf_get_u24(&r, &w));
        assert_int_equal(w, 42);
    }
}

static void after_one_failure_every_getter_fails(void **state)
{
    (void)state;
    wf_reader r;
    uint32_t v;
    uint8_t one = 9, many[2];
    wf_span span;
    wf_reader_init(&r, bytes, 3);
    assert_false(wf_get_u32(&r, &v));
    assert_false(wf_get_u8(&r, &one));
    assert_false(wf_get_bytes(&r, many, 2));
    assert_false(wf_get_span(&r, 0, &span));
    assert_false(wf_reader_end(&r));
    assert_int_equal(one, 9);
}

static void trailing_bytes_are_not_the_end(void **state)
{
    (void)state;
    wf_reader r;
    uint8_t v;
    wf_reader_init(&r, bytes, 2);
    assert_true(wf_get_u8(&r, &v));
    assert_false(wf_reader_end(&r));
    assert_true(wf_get_u8(&r, &v));
    assert_true(wf_reader_end(&r));
}

static void a_span_is_a_view_of_exactly_what_was_asked(void **state)
{
    (void)state;
    wf_reader r;
    wf_span span;
    wf_reader_init(&r, bytes, 5);
    assert_true(wf_get_span(&r, 5, &span));
    assert_ptr_equal(span.data, bytes);
    assert_int_equal(span.len, 5);
    assert_true(wf_get_span(&r, 0, &span));
    assert_int_equal(span.len, 0);
    assert_true(wf_reader_end(&r));
}

static void bytes_are_copied_out(void **state)
{
    (void)state;
    wf_reader r;
    uint8_t out[4] = {0};
    wf_reader_init(&r, bytes, 5);
    assert_true(wf_get_bytes(&r, out, 1));
    assert_true(wf_get_bytes(&r, out + 1, 3));
    assert_memory_equal(out, bytes, 4);
    assert_false(wf_get_bytes(&r, out, 2));
    assert_memory_equal(out, bytes, 4);
}

static void a_length_of_any_size_is_only_compared(void **state)
{
    (void)state;
    static const size_t lengths[] = {6, (size_t)1 << 31, ((size_t)1 << 32) - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        wf_reader r;
        wf_span span = wf_span_of(bytes, 1);
        wf_reader_init(&r, bytes, 5);
        assert_false(wf_get_span(&r, lengths[i], &span));
        assert_int_equal(span.len, 1);
    }
}

static void nothing_can_be_read_from_nothing(void **state)
{
    (void)state;
    wf_reader r;
    wf_span span;
    uint8_t v;
    wf_reader_init(&r, NULL, 0);
    assert_true(wf_reader_end(&r));
    assert_true(wf_get_span(&r, 0, &span));
    assert_true(wf_get_bytes(&r, NULL, 0));
    assert_false(wf_get_u8(&r, &v));
}

static void spans_are_equal_by_content(void **state)
{
    (void)state;
    assert_true(wf_span_equal(wf_span_of("ab", 2), wf_span_of("abc", 2)));
    assert_false(wf_span_equal(wf_span_of("ab", 2), wf_span_of("ab", 1)));
    assert_false(wf_span_equal(wf_span_of("ab", 2), wf_span_of("ac", 2)));
    assert_true(wf_span_equal(wf_span_of(NULL, 0), wf_span_of("x", 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(a_number_cut_short_leaves_its_target_alone),
        cmocka_unit_test(after_one_failure_every_getter_fails),
        cmocka_unit_test(trailing_bytes_are_not_the_end),
        cmocka_unit_test(a_span_is_a_view_of_exactly_what_was_asked),
        cmocka_unit_test(bytes_are_copied_out),
        cmocka_unit_test(a_length_of_any_size_is_only_compared),
        cmocka_unit_test(nothing_can_be_read_from_nothing),
        cmocka_unit_test(spans_are_equal_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
