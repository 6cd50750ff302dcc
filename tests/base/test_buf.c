/* The growing buffer: maxima, all-or-nothing appends, failing memory. */
#include "proto/base/buf.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <string.h>

static void an_append_up_to_the_maximum_fits_and_one_more_does_not(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 2, 63, 64, 65, 4096, (1u << 24) - 1};
    static uint8_t bytes[1u << 24];
    for (size_t i = 0; i < sizeof maxima / sizeof maxima[0]; i++) {
        size_t max = maxima[i];
        wf_buf buf;
        wf_buf_init(&buf, max);
        assert_int_equal(wf_buf_put(&buf, bytes, max + 1), WEFT_ELIMIT);
        assert_int_equal(buf.len, 0);
        if (max > 0)
            assert_int_equal(wf_buf_put(&buf, bytes, max - 1), WEFT_OK);
        assert_int_equal(wf_buf_put(&buf, bytes, 2), WEFT_ELIMIT);
        if (max > 0)
            assert_int_equal(wf_buf_put(&buf, "z", 1), WEFT_OK);
        assert_int_equal(wf_buf_put(&buf, "z", 1), WEFT_ELIMIT);
        assert_int_equal(wf_buf_put(&buf, NULL, 0), WEFT_OK);
        assert_int_equal(buf.len, max);
        assert_true(buf.cap <= max || buf.cap == 64);
        wf_buf_fini(&buf);
    }
}

static void a_length_near_the_end_of_size_t_does_not_wrap(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 100);
    assert_int_equal(wf_buf_put_u8(&buf, 1), WEFT_OK);
    assert_int_equal(wf_buf_reserve(&buf, SIZE_MAX), WEFT_ELIMIT);
    assert_int_equal(wf_buf_reserve(&buf, 100), WEFT_ELIMIT);
    assert_int_equal(wf_buf_reserve(&buf, 99), WEFT_OK);
    wf_buf_fini(&buf);
}

static void it_grows_a_byte_at_a_time_and_keeps_every_byte(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 10000);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(wf_buf_put_u8(&buf, (uint8_t)(i * 7)), WEFT_OK);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(buf.data[i], (uint8_t)(i * 7));
    assert_int_equal(wf_buf_put_u8(&buf, 0), WEFT_ELIMIT);
    wf_buf_fini(&buf);
}

static void numbers_are_written_big_endian(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 18);
    wf_buf_put_u8(&buf, 0x01);
    wf_buf_put_u16(&buf, 0x0203);
    wf_buf_put_u24(&buf, 0x040506);
    wf_buf_put_u32(&buf, 0x0708090a);
    wf_buf_put_u64(&buf, 0x0b0c0d0e0f101112u);
    assert_int_equal(buf.len, 18);
    for (unsigned i = 0; i < 18; i++)
        assert_int_equal(buf.data[i], i + 1);
    wf_buf_fini(&buf);
}

static void a_number_that_does_not_fit_writes_no_part_of_itself(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 7);
    assert_int_equal(wf_buf_put_u64(&buf, 1), WEFT_ELIMIT);
    assert_int_equal(buf.len, 0);
    assert_int_equal(wf_buf_put_u32(&buf, 1), WEFT_OK);
    assert_int_equal(wf_buf_put_u32(&buf, 1), WEFT_ELIMIT);
    assert_int_equal(buf.len, 4);
    assert_int_equal(wf_buf_put_u24(&buf, (1u << 24) - 1), WEFT_OK);
    wf_buf_fini(&buf);
}

static void printf_fills_to_the_last_byte_and_no_further(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 5);
    assert_int_equal(wf_buf_printf(&buf, "%d", 123456), WEFT_ELIMIT);
    assert_int_equal(buf.len, 0);
    assert_int_equal(wf_buf_printf(&buf, "%d", 123), WEFT_OK);
    assert_int_equal(wf_buf_printf(&buf, "%s", "456"), WEFT_ELIMIT);
    assert_int_equal(wf_buf_printf(&buf, "%s", "45"), WEFT_OK);
    assert_string_equal(wf_buf_cstr(&buf), "12345");
    assert_int_equal(buf.len, 5);
    wf_buf_fini(&buf);
}

static void an_empty_buffer_reads_as_an_empty_string(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 0);
    assert_string_equal(wf_buf_cstr(&buf), "");
    wf_buf_fini(&buf);
}

static void dropping_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 10);
    wf_buf_drop(&buf, 0);
    wf_buf_put_text(&buf, "abcdef");
    wf_buf_drop(&buf, 0);
    wf_buf_drop(&buf, 2);
    assert_string_equal(wf_buf_cstr(&buf), "cdef");
    wf_buf_drop(&buf, 4);
    assert_int_equal(buf.len, 0);
    assert_int_equal(wf_buf_put_text(&buf, "0123456789"), WEFT_OK);
    wf_buf_fini(&buf);
}

static void it_may_be_used_again_after_fini(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 3);
    wf_buf_put_text(&buf, "abc");
    wf_buf_wipe(&buf);
    assert_null(buf.data);
    assert_int_equal(wf_buf_put_text(&buf, "abcd"), WEFT_ELIMIT);
    assert_int_equal(wf_buf_put_text(&buf, "xyz"), WEFT_OK);
    wf_buf_clear(&buf);
    assert_int_equal(wf_buf_put_text(&buf, "xyz"), WEFT_OK);
    wf_buf_fini(&buf);
    wf_buf_fini(&buf);
}

static void without_memory_the_content_stays(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 1000);
    alloc_fail_at(1);
    assert_int_equal(wf_buf_put_text(&buf, "first"), WEFT_ENOMEM);
    assert_int_equal(buf.len, 0);
    wf_buf_put_text(&buf, "first");
    char lot[201];
    memset(lot, 'x', 200);
    lot[200] = '\0';
    alloc_fail_at(1);
    assert_int_equal(wf_buf_put_text(&buf, lot), WEFT_ENOMEM);
    alloc_fail_at(1);
    assert_int_equal(wf_buf_printf(&buf, "%s", lot), WEFT_ENOMEM);
    alloc_fail_at(1);
    assert_int_equal(wf_buf_reserve(&buf, 900), WEFT_ENOMEM);
    alloc_fail_at(0);
    assert_string_equal(wf_buf_cstr(&buf), "first");
    wf_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_up_to_the_maximum_fits_and_one_more_does_not),
        cmocka_unit_test(a_length_near_the_end_of_size_t_does_not_wrap),
        cmocka_unit_test(it_grows_a_byte_at_a_time_and_keeps_every_byte),
        cmocka_unit_test(numbers_are_written_big_endian),
        cmocka_unit_test(a_number_that_does_not_fit_writes_no_part_of_itself),
        cmocka_unit_test(printf_fills_to_the_last_byte_and_no_further),
        cmocka_unit_test(an_empty_buffer_reads_as_an_empty_string),
        cmocka_unit_test(dropping_moves_the_rest_to_the_front),
        cmocka_unit_test(it_may_be_used_again_after_fini),
        cmocka_unit_test(without_memory_the_content_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
